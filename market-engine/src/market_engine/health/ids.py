"""Which trade ids of one symbol came: once, twice, or not at all. Exact, in little memory.

Venues number the trades of a symbol one by one, so a jump is a gap and a repetition is a duplicate.
Kept are the last id and the stretches below it that are missing, never the ids themselves.
"""

from __future__ import annotations

from bisect import bisect_right
from enum import Enum

HOLES_MAX = 1_024
"""So many stretches are remembered as missing; beyond that the oldest is given up: what comes of it
later counts as a duplicate."""


class Arrival(Enum):
    """What an id was when it came."""

    NEXT = 1
    """The one after the last."""
    FIRST = 2
    """The first that ever came."""
    AHEAD = 3
    """Beyond the next: those between are missing now."""
    FILLING = 4
    """One that was missing, or that is older than the first that came."""
    DUPLICATE = 5


class IdLedger:
    """The ids of one symbol; ``last`` is the highest that came, or was kept from before."""

    __slots__ = ("_ends", "_starts", "given_up", "last")

    def __init__(self, last: int | None = None) -> None:
        self.last = last
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.given_up = 0
        """Ids that were missing and are remembered no more."""

    def take(self, trade_id: int) -> Arrival:
        """Note that an id came, and say what it was; O(1) for the next, else by bisection."""
        last = self.last
        if last is None:
            self.last = trade_id
            if trade_id > 0:  # what is older than the first may still come: none of it came
                self._starts, self._ends = [0], [trade_id - 1]
            return Arrival.FIRST
        if trade_id == last + 1:
            self.last = trade_id
            return Arrival.NEXT
        if trade_id > last:
            self._add(last + 1, trade_id - 1)
            self.last = trade_id
            return Arrival.AHEAD
        return self._fill(trade_id)

    def missing(self) -> list[tuple[int, int]]:
        """The stretches that are missing between ids that came, first to last, both included."""
        holes = list(zip(self._starts, self._ends, strict=True))
        return holes[1:] if holes and holes[0][0] == 0 else holes

    @property
    def has_missing(self) -> bool:
        """Whether ``missing`` would say anything; O(1)."""
        return len(self._starts) > (self._starts[:1] == [0])

    @property
    def missing_count(self) -> int:
        """How many ids are missing; O(stretches)."""
        return sum(last - first + 1 for first, last in self.missing())

    def _add(self, first: int, last: int) -> None:
        self._starts.append(first)
        self._ends.append(last)
        self._keep_limit()

    def _keep_limit(self) -> None:
        if len(self._starts) > HOLES_MAX:
            self.given_up += self._ends[0] - self._starts[0] + 1 if self._starts[0] else 0
            del self._starts[0], self._ends[0]

    def _fill(self, trade_id: int) -> Arrival:
        place = bisect_right(self._starts, trade_id) - 1
        if place < 0 or trade_id > self._ends[place]:
            return Arrival.DUPLICATE
        first, last = self._starts[place], self._ends[place]
        del self._starts[place], self._ends[place]
        for start, end in ((trade_id + 1, last), (first, trade_id - 1)):
            if start <= end:
                self._starts.insert(place, start)
                self._ends.insert(place, end)
        self._keep_limit()  # an id from within a stretch makes two of it
        return Arrival.FILLING
