"""Trades of one symbol that came behind a gap, while what is missing is fetched.

They are let go in the order of their ids as soon as nothing is missing before them, so that what
follows is the same as if the stream had brought them all, but that each says ``held_back``. Ids
that cannot be had are passed over, and that is said. Knows no feed and no clock.
"""

from __future__ import annotations

import heapq
from typing import Final

import msgspec

from market_engine.events import Trade

GONE_MAX: Final = 1_024
"""Stretches that cannot be had and are not reached yet; beyond that everything is let go."""

Ready = list[tuple[Trade, bool]]
"""Trades that may go, in order, each with whether ids right before it were passed over."""


class WaitingTrades:
    """``last_id`` is the newest that was let go before; at most ``trades_max`` wait."""

    def __init__(self, last_id: int, trades_max: int) -> None:
        self._last_id = last_id
        self._trades_max = trades_max
        self._heap: list[tuple[int, Trade]] = []
        self._gone: list[tuple[int, int]] = []
        self._skipped = False

    @property
    def is_over(self) -> bool:
        """Whether none waits, and no stretch lies ahead that cannot be had."""
        return not self._heap and not self._gone and not self._skipped

    def take(self, trade_id: int, trade: Trade) -> Ready:
        """Keep a trade, and say which may go now; all of them when too many wait."""
        if trade_id <= self._last_id:  # older than all of this: late, and not of the gap
            return [(trade, False)]
        held = msgspec.structs.replace(trade, held_back=True)
        heapq.heappush(self._heap, (trade_id, held))
        ready = self._ready() if len(self._heap) <= self._trades_max else self.release()
        return [(trade if each is held else each, passed) for each, passed in ready]

    def give_up(self, first_id: int, last_id: int) -> Ready:
        """Say that a stretch of ids cannot be had; 0 and 0: whatever is missing."""
        if not last_id or len(self._gone) >= GONE_MAX:
            return self.release()
        self._gone.append((first_id, last_id))
        return self._ready()

    def release(self) -> Ready:
        """Let all go that wait, in order, whatever is missing between them."""
        ready: Ready = []
        while self._heap:
            ready += self._ready()
            if self._heap:
                self._pass_to(self._heap[0][0] - 1)
        self._gone.clear()
        return ready

    def _ready(self) -> Ready:
        ready: Ready = []
        while self._heap or self._gone:
            wanted = self._last_id + 1
            ends = [last for first, last in self._gone if first <= wanted <= last]
            if self._heap and self._heap[0][0] <= wanted:
                trade_id, trade = heapq.heappop(self._heap)
                ready.append((trade, self._skipped and trade_id == wanted))
                self._skipped = self._skipped and trade_id < wanted
                self._last_id = max(self._last_id, trade_id)
            elif ends:
                self._pass_to(min([max(ends), *(first - 1 for first, _ in self._heap[:1])]))
            else:
                break
            self._gone = [each for each in self._gone if each[1] > self._last_id]
        return ready

    def _pass_to(self, last_id: int) -> None:
        self._skipped = True
        self._last_id = max(self._last_id, last_id)
