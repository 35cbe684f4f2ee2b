"""Which trade ids of one symbol came: once, twice, or not at all. Exact, in little memory.

Venues number the trades of a symbol one by one, so a jump is a gap and a repetition is a duplicate.
Kept are the last id and the stretches below it that are missing, never the ids themselves.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from enum import Enum

HOLES_MAX = 1_024
"""So many stretches are remembered as missing; beyond that the oldest is given up: what comes of it
later counts as a duplicate."""

Stretch = tuple[int, int]
"""Ids from the first to the last, both included."""


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
    """The ids of one symbol; ``last`` is the highest that came, or was kept from before.

    ``holes`` are what was missing below it then, oldest first. One thread takes ids; any may read:
    each change is one step, so that nobody sees half of it.
    """

    __slots__ = ("_holes", "given_up", "last", "missing_count")

    def __init__(self, last: int | None = None, holes: Iterable[Stretch] = ()) -> None:
        self.last = last
        self._holes = list(holes)[-HOLES_MAX:]
        self.missing_count = sum(map(_count, self._holes))
        """How many ids are missing between those that came."""
        self.given_up = 0
        """Ids that were missing and are remembered no more."""

    def take(self, trade_id: int) -> Arrival:
        """Note that an id came, and say what it was; O(1) for the next, else by bisection."""
        last = self.last
        if last is None:
            self.last = trade_id
            if trade_id > 0:  # what is older than the first may still come: none of it came
                self._holes = [(0, trade_id - 1)]
            return Arrival.FIRST
        if trade_id == last + 1:
            self.last = trade_id
            return Arrival.NEXT
        if trade_id > last:
            self._replace(len(self._holes), [], [(last + 1, trade_id - 1)])
            self.last = trade_id
            return Arrival.AHEAD
        return self._fill(trade_id)

    def missing(self) -> list[Stretch]:
        """The stretches that are missing between ids that came, oldest first."""
        holes = self._holes[:]
        return holes[1:] if holes and holes[0][0] == 0 else holes

    @property
    def has_missing(self) -> bool:
        """Whether ``missing`` would say anything; O(1)."""
        return self.missing_count > 0

    def _fill(self, trade_id: int) -> Arrival:
        place = bisect_left(self._holes, (trade_id + 1,)) - 1
        if place < 0 or trade_id > self._holes[place][1]:
            return Arrival.DUPLICATE
        first, last = self._holes[place]
        parts = ((first, trade_id - 1), (trade_id + 1, last))
        self._replace(place, [(first, last)], [part for part in parts if part[0] <= part[1]])
        return Arrival.FILLING

    def _replace(self, place: int, old: list[Stretch], new: list[Stretch]) -> None:
        self._holes[place : place + len(old)] = new
        change = sum(map(_count, new)) - sum(map(_count, old))
        if len(self._holes) > HOLES_MAX:
            given_up = _count(self._holes.pop(0))
            self.given_up += given_up
            change -= given_up
        self.missing_count += change


def _count(hole: Stretch) -> int:
    """How many ids; 0 for what is older than the first that came: nobody says that it exists."""
    first, last = hole
    return last - first + 1 if first else 0
