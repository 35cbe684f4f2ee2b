"""Trades of one symbol that came behind a gap, while what is missing is fetched.

They are let go in the order of their ids as soon as nothing is missing before them, so that what
follows is the same as if the stream had brought them all. Knows no feed and no clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from market_engine.events import Trade


class WaitingTrades:
    """``last_id`` is the newest that was let go before; at most ``trades_max`` wait."""

    def __init__(self, last_id: int, since_ns: int, trades_max: int) -> None:
        self.since_ns = since_ns
        """When the first of them came."""
        self._last_id = last_id
        self._trades_max = trades_max
        self._heap: list[tuple[int, int, Trade]] = []

    def take(self, trade_id: int, trade: Trade) -> tuple[Sequence[Trade], bool]:
        """Those that may go now, in order, and whether no more need to wait.

        It is over when nothing waits any more, or when more than may wait do: ``rest`` has them.
        """
        if trade_id <= self._last_id:  # older than all of this: late, and not of the gap
            return [trade], False
        heapq.heappush(self._heap, (trade_id, len(self._heap), trade))
        ready = []
        while self._heap and self._heap[0][0] == self._last_id + 1:
            self._last_id += 1
            ready.append(heapq.heappop(self._heap)[2])
        return ready, not self._heap or len(self._heap) > self._trades_max

    @property
    def is_empty(self) -> bool:
        """Whether none waits."""
        return not self._heap

    def rest(self) -> Sequence[Trade]:
        """All that still wait, in the order of their ids."""
        return [trade for *_, trade in sorted(self._heap, key=lambda each: each[:2])]
