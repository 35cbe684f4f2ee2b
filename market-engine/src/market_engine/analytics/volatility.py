"""Realised volatility on a grid of whole seconds, the last price carried.

Never per trade: prices that bounce between bid and ask would count as movement. Squares of returns
are kept as integers, so that their sums are exact whatever their order.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import Final

from market_engine.analytics.packing import ID_BITS
from market_engine.events import SECOND_NS

YEAR_S: Final = 31_536_000
"""Seconds in the year that volatility is given for: 365 days."""
_SCALE_BITS: Final = 200
_DROPPED_AT_ONCE: Final = 64


class SecondGrid:
    """The price at each whole second at which it may have changed, as far back as ``span_s``.

    ``slack_s`` more are kept for those who ask as of a moment before the newest trade.
    """

    def __init__(self, span_s: int, slack_s: int) -> None:
        self._kept_s = span_s + slack_s + 1
        self._seconds: list[int] = []  # at which a price is known that was not carried
        self._keys: list[int] = []  # of the trade that set it
        self._prices: list[int] = []
        self._sums: list[int] = []  # of the squares up to and with each; without the newest

    def add(self, key: int, price_nano: int) -> None:
        """Take a trade: it sets the price at the whole second at or after it."""
        second = -(-(key >> ID_BITS) // SECOND_NS)
        seconds = self._seconds
        if not seconds or second > seconds[-1]:
            seconds.append(second)
            self._keys.append(key)
            self._prices.append(price_nano)
            self._drop(second)
        elif second == seconds[-1]:
            if key > self._keys[-1]:
                self._keys[-1], self._prices[-1] = key, price_nano
        else:
            self._insert(second, key, price_nano)

    def squares(self, after: int, until: int) -> int | None:
        """Σx² of the whole seconds in (after, until]; None unless the price at ``after`` is known.

        The difference of two sums of integers, and so exact: a bad tick leaves no trace.
        """
        seconds = self._seconds
        if not seconds or seconds[0] > after:
            return None
        self._sum_up()
        end = len(seconds) if seconds[-1] <= until else bisect_right(seconds, until)
        first = bisect_right(seconds, after)
        if first == end:
            return 0
        newest = self._square(end - 1)  # which is not in the sums as long as it can change
        return newest + (self._sums[end - 2] - self._sums[first - 1] if end - first > 1 else 0)

    def _sum_up(self) -> None:
        sums = self._sums
        for place in range(len(sums), len(self._seconds) - 1):
            sums.append(sums[-1] + self._square(place) if sums else 0)

    def _square(self, place: int) -> int:
        change = math.log(self._prices[place] / self._prices[place - 1])
        return int(math.ldexp(change * change, _SCALE_BITS))

    def _insert(self, second: int, key: int, price_nano: int) -> None:
        place = bisect_left(self._seconds, second)
        if self._seconds[place] == second:
            if key < self._keys[place]:
                return
            self._keys[place], self._prices[place] = key, price_nano
        else:
            self._seconds.insert(place, second)
            self._keys.insert(place, key)
            self._prices.insert(place, price_nano)
        del self._sums[place:]

    def _drop(self, second: int) -> None:
        """Keep one element before the longest window: its price is the one that is carried in."""
        count = bisect_right(self._seconds, second - self._kept_s) - 1
        if count > _DROPPED_AT_ONCE:
            self._sum_up()
            for kept in (self._seconds, self._keys, self._prices, self._sums):
                del kept[:count]


def volatility(grid: SecondGrid, span_s: int, as_of_ns: int) -> float | None:
    """√(Σx² · year / (nΔt)), as a fraction a year; None unless all of the span is known.

    x = ln(Pₖ/Pₖ₋₁) for the n = ``span_s`` whole seconds k up to the moment, Δt = 1 s.
    """
    until = as_of_ns // SECOND_NS
    total = grid.squares(until - span_s, until)
    if total is None:
        return None
    return math.sqrt(math.ldexp(total, -_SCALE_BITS) * YEAR_S / span_s)
