"""Faults that are put into a simulated stream by request, between the market and the wire.

Times are those of receipt, so that a fault falls at the same place in each run. It must not know
how a fault is found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from market_engine.errors import SettingsError
from market_engine.events import SECOND_NS
from market_engine.feeds.simulated_block import Row

INJECTIONS_MAX: Final = 64
"""Wait or last at the same time; one more raises SettingsError."""
HELD_MAX: Final = 100_000
"""Rows that a frozen symbol holds back; beyond that the oldest are lost."""
FOR_S_MAX: Final = 3_600.0

Sent = tuple[int, bytes]


class InjectedFault(StrEnum):
    """What can be put in."""

    GAP = "gap"
    """The next ``count`` trades are lost on the way."""
    DUPLICATE = "duplicate"
    """The next ``count`` trades come twice."""
    LATE = "late"
    """The next ``count`` trades are reported ``by_s`` after they happened: the next id, an old
    time."""
    FROZEN = "frozen"
    """For ``for_s`` nothing of the symbol comes; then all its trades of that time do, at once."""
    CLOCK_SKEW = "clock_skew"
    """For ``for_s`` the venue's times are ``by_s`` ahead (or behind, below 0)."""
    TIME_UNIT = "time_unit"
    """For ``for_s`` every other trade has its time in microseconds."""
    MALFORMED = "malformed"
    """``count`` times half a frame comes in between."""
    DISCONNECT = "disconnect"
    """For ``for_s`` nothing of any symbol comes, and it is lost."""


class Injection(msgspec.Struct, frozen=True):
    """One fault. What its kind does not name is left out of account."""

    kind: InjectedFault
    symbol: str = ""
    """Empty for DISCONNECT only."""
    at_ns: int = 0
    """From this receipt on; 0 from now on."""
    for_s: float = 60.0
    """At most an hour."""
    by_s: float = 5.0
    count: int = 1


class FaultLine:
    """Rows in, frames out, with what was injected in between; not for two threads at once."""

    def __init__(self, symbols: Sequence[str], encode: Callable[[Row], bytes]) -> None:
        self._places = {symbol: place for place, symbol in enumerate(symbols)}
        self._encode = encode
        self._active: list[_Active] = []

    def inject(self, injection: Injection) -> None:
        """Put a fault in; raises SettingsError for one that cannot be."""
        if injection.kind is not InjectedFault.DISCONNECT and injection.symbol not in self._places:
            raise SettingsError(f"symbol: {injection.symbol!r} is not one of this feed's")
        if self.is_full:
            raise SettingsError(f"at most {INJECTIONS_MAX} faults at the same time: wait for some")
        if not (0 < injection.for_s <= FOR_S_MAX and injection.count > 0):
            raise SettingsError("for_s: above 0 and at most an hour; count: at least 1")
        self._active.append(_Active(injection, self._places.get(injection.symbol, -1)))

    @property
    def is_full(self) -> bool:
        """Whether no more can be put in for now."""
        return len(self._active) >= INJECTIONS_MAX

    @property
    def is_cut(self) -> bool:
        """Whether the connection is lost just now, by request."""
        return any(active.is_cutting for active in self._active)

    def pass_on(self, rows: Sequence[Row], until_ns: int) -> list[Sent]:
        """What comes of rows, by receipt; ``until_ns``: no later row is before it."""
        if not self._active:
            encode = self._encode
            return [(row[0], encode(row)) for row in rows]
        sent: list[tuple[int, int, bytes]] = []
        for row in rows:
            self._release(row[0], sent)
            self._pass(row, sent)
        self._release(until_ns, sent)
        self._active = [active for active in self._active if not active.is_over(until_ns)]
        sent.sort(key=lambda item: item[0])
        return [(received_ns, frame) for received_ns, _, frame in sent]

    def _pass(self, row: Row, sent: list[tuple[int, int, bytes]]) -> None:
        passing = [row]
        for active in self._active:
            if active.meets(row):
                passing = [out for one in passing for out in active.change(one)]
                if active.breaks():
                    frame = self._encode(row)
                    sent.append((row[0], 0, frame[: len(frame) // 2]))
        sent.extend((one[0], 1, self._encode(one)) for one in passing)

    def _release(self, now_ns: int, sent: list[tuple[int, int, bytes]]) -> None:
        for active in self._active:
            if active.held and now_ns >= active.end_ns:
                sent.extend((active.end_ns, 0, self._encode(row)) for row in active.held)
                active.held.clear()


class _Active:
    """An injection that waits or lasts."""

    def __init__(self, injection: Injection, place: int) -> None:
        self._place = place
        self._injection = injection
        self._kind = injection.kind
        self._left = injection.count
        self._by_ms = round(injection.by_s * 1_000)
        self._start_ns = injection.at_ns
        self.end_ns = 0
        self.is_cutting = False
        self.held: list[Row] = []
        if self._start_ns:
            self._begin(self._start_ns)

    def _begin(self, at_ns: int) -> None:
        self._start_ns, self.end_ns = at_ns, at_ns + round(self._injection.for_s * SECOND_NS)

    def meets(self, row: Row) -> bool:
        """Whether a row is one that the fault falls on."""
        if self._place not in (-1, row[1]):
            return False
        if not self.end_ns:
            self._begin(row[0])
        if row[0] < self._start_ns:
            return False
        if self._kind in _COUNTED:
            return self._left > 0 and (row[3] or self._kind is InjectedFault.MALFORMED)
        return row[0] < self.end_ns

    def change(self, row: Row) -> list[Row]:
        """What comes of a row that it meets."""
        kind = self._kind
        if kind is InjectedFault.DISCONNECT:
            self.is_cutting = True
            return []
        if kind is InjectedFault.FROZEN:
            if row[3]:
                self.held.append(row)
                del self.held[:-HELD_MAX]
            return []
        if not row[3] or kind is InjectedFault.MALFORMED:
            return [row]
        return self._change_trade(row)

    def _change_trade(self, row: Row) -> list[Row]:
        self._left -= self._kind in _COUNTED
        match self._kind:
            case InjectedFault.GAP:
                return []
            case InjectedFault.DUPLICATE:
                return [row, row]
            case InjectedFault.LATE:
                return [(*row[:8], row[8] - self._by_ms)]
            case InjectedFault.CLOCK_SKEW:
                return [(*row[:8], row[8] + self._by_ms)]
            case _:
                return [(*row[:8], row[8] * 1_000)] if row[4] % 2 else [row]

    def breaks(self) -> bool:
        """Whether half a frame comes before the row that it meets."""
        if self._kind is not InjectedFault.MALFORMED:
            return False
        self._left -= 1
        return True

    def is_over(self, now_ns: int) -> bool:
        """Whether nothing will come of it any more."""
        if self._kind in _COUNTED:
            return self._left <= 0
        return 0 < self.end_ns <= now_ns and not self.held


_COUNTED: Final = frozenset(
    {InjectedFault.GAP, InjectedFault.DUPLICATE, InjectedFault.LATE, InjectedFault.MALFORMED}
)
