"""Exact decimals as integers: billionths, called nano, as in the sidecar's totals.

Sums and products of integers are exact and do not depend on their order, so that a window is the
same whether its trades came in order or shuffled, at once or over a restart. Knows no trade.
"""

from __future__ import annotations

from typing import Final

NANO: Final = 10**9
"""Billionths in one."""
WHOLE_DIGITS_MAX: Final = 15
"""Digits before the point; the largest number is just below 10^15."""
_SCALES: Final[tuple[int, ...]] = tuple(10 ** (9 - digits) for digits in range(10))


def to_nano(text: str) -> int:
    """A decimal number without a sign, such as ``39432.48000000``, in billionths.

    Raises ValueError for anything else: a sign, an exponent, no digits, more than 15 digits before
    the point, or a digit other than 0 beyond the ninth after it; never rounds.
    """
    whole, point, fraction = text.partition(".")
    digits, places = whole + fraction, len(fraction)
    if (
        digits.isdecimal()
        and digits.isascii()
        and 0 < len(whole) <= WHOLE_DIGITS_MAX
        and (places or not point)
        and places <= 9
    ):
        return int(digits) * _SCALES[places]
    return _to_nano_slowly(text)


def _to_nano_slowly(text: str) -> int:
    """What is rare: more than nine places, of which the rest may be zeros; or what is wrong."""
    whole, point, fraction = text.partition(".")
    digits = whole + fraction
    if not (whole and digits.isdecimal() and digits.isascii()) or (point and not fraction):
        raise ValueError(f"{text[:40]!r} is not a decimal number like 39432.48")
    fraction = fraction.rstrip("0")
    if len(whole) > WHOLE_DIGITS_MAX or len(fraction) > 9:
        raise ValueError(f"{text[:40]!r} has more digits than 15 before the point and 9 after it")
    return int(whole + fraction) * _SCALES[len(fraction)]


def from_nano(nano: int) -> str:
    """The shortest decimal text of a number of billionths, such as ``39432.48``; exact."""
    whole, fraction = divmod(abs(nano), NANO)
    sign = "-" if nano < 0 else ""
    if not fraction:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{fraction:09d}".rstrip("0")
