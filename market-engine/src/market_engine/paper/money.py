"""Money: exact decimals, and the few places where something is rounded, once and by name.

Prices and quantities have at most nine digits after the point (``market_engine.decimals``), so
their products have at most eighteen. Everything else here is a sum, and stays exact: a calculation
that would lose a digit raises instead.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation
from typing import Final

from market_engine.decimals import from_nano

PLACES: Final = 18
"""Digits after the point of money."""
ZERO: Final = Decimal(0)
_QUANTUM: Final = Decimal(1).scaleb(-PLACES)
_EXACT: Final = Context(prec=80, traps=[Inexact, InvalidOperation, DivisionByZero])
_ROUNDING: Final = Context(
    prec=80, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero]
)


def from_nanos(nano: int) -> Decimal:
    """A price or quantity in billionths, as the same Decimal."""
    return _EXACT.scaleb(Decimal(nano), -9)


def product(price_nano: int, qty_nano: int) -> Decimal:
    """Price × quantity, both in billionths; exact."""
    return _EXACT.scaleb(Decimal(price_nano * qty_nano), -18)


def add(first: Decimal, second: Decimal) -> Decimal:
    """The sum; exact. The decimal module's own + rounds to 28 digits without a word."""
    return _EXACT.add(first, second)


def subtract(first: Decimal, second: Decimal) -> Decimal:
    """The difference; exact."""
    return _EXACT.subtract(first, second)


def share(amount: Decimal, part_nano: int, whole_nano: int) -> Decimal:
    """``amount`` × part/whole, rounded once, half to even, to 18 places."""
    if part_nano == whole_nano:
        return amount
    whole = _ROUNDING.multiply(amount, Decimal(part_nano))
    return _ROUNDING.quantize(_ROUNDING.divide(whole, Decimal(whole_nano)), _QUANTUM)


def fee(notional: Decimal, rate: Decimal) -> Decimal:
    """``notional`` × ``rate``, rounded once, half to even, to 18 places."""
    return _ROUNDING.quantize(_ROUNDING.multiply(notional, rate), _QUANTUM)


def text(amount: Decimal) -> str:
    """The shortest plain decimal text, such as ``-12.5``; exact, never with an exponent."""
    found = format(amount, "f")
    if "." in found:
        found = found.rstrip("0").rstrip(".")
    return "0" if found in ("-0", "") else found


def price_text(nano: int) -> str:
    """A price or quantity in billionths as text."""
    return from_nano(nano)
