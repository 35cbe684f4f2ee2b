"""How the figures of a benchmark are written: in a unit that a person would choose, three digits.

Pure; it must not know where a figure comes from.
"""

from __future__ import annotations

from typing import Final

from trading_app.benchmark.results import Setting
from trading_app.formats import UNKNOWN, decimals_needed, number, size

RATIOS: Final = ("×", "ratio")
_DURATIONS_NS: Final = {"ns": 1.0, "µs": 1e3, "us": 1e3, "ms": 1e6, "s": 1e9}


def significant(value: float) -> str:
    """Write a number with three digits, or all that it has before the point; whole as it is."""
    if value == int(value):
        return number(value)
    for limit, decimals in ((99.95, 0), (9.995, 1), (0.9995, 2)):
        if abs(value) >= limit:
            return number(value, decimals)
    return number(value, 3)


def nanoseconds(value_ns: float) -> str:
    """Write a duration: 87 ns, 1.10 µs, 14.2 µs, 5.01 ms, 2.00 s."""
    if value_ns < 999.5:
        return f"{number(value_ns)} ns"
    for limit, unit, divisor in ((999.5e3, "µs", 1e3), (999.5e6, "ms", 1e6)):
        if value_ns < limit:
            return f"{significant(value_ns / divisor)} {unit}"
    return f"{significant(value_ns / 1e9)} s"


def microseconds(value_ns: float) -> str:
    """Write a duration in µs with two decimals, for a column whose header has the unit."""
    return number(value_ns / 1e3, 2)


def figure(value: float | None, unit: str) -> str:
    """Write a number with its unit; a duration or a size in the unit that fits it."""
    if value is None:
        return UNKNOWN
    if unit in _DURATIONS_NS:
        return nanoseconds(value * _DURATIONS_NS[unit])
    if unit in ("bytes", "B"):
        return size(value)
    if unit in RATIOS:
        return times(value)
    return f"{significant(value)} {unit}".rstrip()


def times(value: float) -> str:
    """Write a ratio: "2.13 ×"."""
    return f"{significant(value)} ×"


def span(low: float, high: float, unit: str) -> str:
    """Write a range, its unit once if it is the same: "1.07 – 1.14 µs"."""
    written, high_written = figure(low, unit), figure(high, unit)
    value, _, low_unit = written.partition(" ")
    return f"{value if high_written.endswith(f' {low_unit}') else written} – {high_written}"


def percent(part: float) -> str:
    """Write a share, or by how much something moved, with its sign: "+12 %"."""
    hundredths = round(part * 100, 0 if abs(part) >= 0.0995 else 1)
    written = number(hundredths, 0 if abs(hundredths) >= 10 else 1) if hundredths else "0"
    return ("+" if hundredths > 0 else "") + f"{written} %"


def setting(value: Setting) -> str:
    """Write a setting as it is; yes and no for what is on or off."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return number(value, decimals_needed([value], most=3))
