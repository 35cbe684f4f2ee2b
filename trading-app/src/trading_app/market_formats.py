"""How prices, changes and spans are written on the Market page. Pure.

Prices are exact decimals; a column has fixed decimals, so that its digits stand below each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from trading_app.formats import UNKNOWN, number

PLACES_MAX: Final = 9
_SPANS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def places(values: Iterable[Decimal | None]) -> int:
    """Count the decimals with which each exact value can be written in full, at most nine."""
    found = (_places(value) for value in values if value is not None)
    return min(PLACES_MAX, max(found, default=0))


def _places(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def exact(value: Decimal | float | None, decimals: int) -> str:
    """Write a price or a quantity with fixed decimals, or that it is not known."""
    # a Decimal is formatted as it is, without a detour by binary
    return UNKNOWN if value is None else number(value, decimals)  # type: ignore[arg-type]


def signed(value: float | None, decimals: int, unit: str = "") -> str:
    """Write a number with + or −, or that it is not known."""
    if value is None:
        return UNKNOWN
    text = number(value, decimals)
    sign = "+" if value > 0 and float(f"{value:.{decimals}f}") else ""
    if not float(f"{value:.{decimals}f}"):
        text = number(0, decimals)
    return f"{sign}{text}{unit}"


def percent(fraction: float | None, decimals: int = 1) -> str:
    """Write a change as a signed percentage, or that it is not known."""
    return signed(None if fraction is None else 100 * fraction, decimals, " %")


def span(seconds: float) -> str:
    """Write the length of a window: 45 s, 1 min, 6 h."""
    for unit_s, unit in _SPANS:
        if seconds >= unit_s and not seconds % unit_s:
            return f"{number(seconds / unit_s)} {unit}"
    return f"{number(seconds)} s"
