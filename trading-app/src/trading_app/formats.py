"""How numbers, ages and times are written, the same everywhere. Pure.

Groups are set apart by a narrow no-break space, minus is a real minus, unknown is an em dash.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from typing import Final

UNKNOWN: Final = "—"
DECIMALS_MAX: Final = 9
_GROUP: Final = "\u202f"
_MINUS: Final = "\u2212"


def number(value: float, decimals: int = 0) -> str:
    """Write a number with fixed decimals and groups of three."""
    return f"{value:,.{decimals}f}".replace(",", _GROUP).replace("-", _MINUS)


def quantity(value: float) -> str:
    """Write a quantity as it was typed: no more decimals than it needs, at most nine."""
    return number(value, decimals_needed([value]))


def decimals_needed(values: Iterable[float], most: int = DECIMALS_MAX) -> int:
    """Count the decimals that a column needs to write each value in full, up to ``most``."""
    fractions = (f"{value:.{most}f}".partition(".")[2].rstrip("0") for value in values)
    return max((len(fraction) for fraction in fractions), default=0)


def decimals_in(values: Iterable[float], digits: int) -> int:
    """Count the decimals, at most four, with which each value has at most so many digits."""
    found = list(values)
    whole = max((len(f"{abs(value):.0f}") for value in found), default=1)
    return max(0, min(decimals_needed(found, most=4), digits - whole))


def rate_decimals(rates: Iterable[float | None]) -> int:
    """Choose a column's decimals by its largest rate: 2 below 10, 1 below 1,000, else none."""
    most = max((abs(rate) for rate in rates if rate is not None), default=0.0)
    return 2 if most < 10 else 1 if most < 1_000 else 0


def known(value: float | None, decimals: int = 0) -> str:
    """Write a number, or that it is not known."""
    return UNKNOWN if value is None else number(value, decimals)


def plural(count: int, word: str) -> str:
    """Write a count with its word: "1 trade", "2 trades"."""
    return f"{number(count)} {word}" if count == 1 else f"{number(count)} {word}s"


def age(seconds: float) -> str:
    """Say how long ago something was: "now" within a second, then "3 s ago" up to days."""
    if seconds < 1:
        return "now"
    for limit_s, unit_s, unit in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit_s:
            return f"{int(seconds // unit_s)} {unit} ago"
    return f"{int(seconds // 86_400)} d ago"


def duration(seconds: float) -> str:
    """Write a span in the unit that a person would choose: µs, ms, s or min."""
    if seconds < 0.000_999_5:
        return f"{max(0.0, seconds) * 1e6:.0f} µs"
    if seconds < 0.999_5:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 119.95:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min"


def size(count_bytes: float) -> str:
    """Write a number of bytes in the unit that a person would choose, in steps of 1,000."""
    for limit, unit, decimals in ((1e3, "B", 0), (1e6, "kB", 0), (1e9, "MB", 1)):
        if count_bytes < limit:
            return f"{number(count_bytes / limit * 1e3, decimals)} {unit}"
    return f"{number(count_bytes / 1e9, 1)} GB"


def clock(ts_s: float, zone: tzinfo, digits: int = 0) -> str:
    """Write the time of day in a zone; ``digits`` of the second's fraction, 0 or 3."""
    moment = datetime.fromtimestamp(ts_s, zone)
    return moment.strftime("%H:%M:%S") + (f".{moment.microsecond // 1000:03d}" if digits else "")


def moment(ts_s: float, zone: tzinfo, now_s: float) -> str:
    """Write a time in a zone, with its date unless that is today's there."""
    then, today = datetime.fromtimestamp(ts_s, zone), datetime.fromtimestamp(now_s, zone)
    if then.date() == today.date():
        return clock(ts_s, zone)
    year = "" if then.year == today.year else f" {then.year}"
    return f"{then.day} {then:%b}{year} {clock(ts_s, zone)}"


def utc(ts_s: float) -> str:
    """Write a unix time in full, in UTC, for a hover."""
    return datetime.fromtimestamp(ts_s, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"
