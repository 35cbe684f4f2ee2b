"""The trades of one symbol in the order of their events, as far back as the longest window.

They lie in small panes: a window merges whole panes, and looks into the one that its edge
cuts. A trade that comes late is put into its place. Knows no metric and no clock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import Final

from market_engine.analytics.packing import ID_BITS, Row, pack, unpack
from market_engine.analytics.summary import Summary, merge, summarise
from market_engine.analytics.two_stack import TwoStack

PANE_TRADES: Final = 16
PANE_TRADES_MAX: Final = 512
PANE_NS: Final = 250_000_000
"""A pane of more than 16 trades spans no longer than this."""
UNPACKED_PANES: Final = 4
"""The newest of a tape: late trades belong there most of the time."""
PACKED_TRADES_MIN: Final = 64
_PANE_KEYS: Final = PANE_NS << ID_BITS


def order_key(event_ns: int, order: int) -> int:
    """Where a trade belongs: by time, and within one time by its id, below 2⁶⁴."""
    return event_ns << ID_BITS | order


class Pane:
    """Neighbouring trades; rows are (key, price, quantity), in order.

    One that nobody adds to any more can be packed: then it takes some ten bytes a trade, and is
    unpacked for those who look into it.
    """

    __slots__ = ("_packed", "_rows", "_summary", "first_key", "last_key")

    def __init__(self, row: Row) -> None:
        self.first_key = self.last_key = row[0]
        self._rows: list[Row] = [row]
        self._packed: bytes | None = None
        self._summary: Summary | None = None

    @property
    def open_trades(self) -> int:
        """How many it holds, as long as it is not packed."""
        return len(self._rows)

    @property
    def rows(self) -> list[Row]:
        """All of them; not to be changed."""
        return self._rows if self._packed is None else unpack(self._packed)

    def append(self, row: Row) -> None:
        """Put the newest at the end."""
        self._rows.append(row)
        self.last_key = row[0]
        self._summary = None

    def insert(self, row: Row) -> None:
        """Put a late one into its place."""
        self._rows, self._packed = self.rows, None
        insort(self._rows, row)
        self.first_key, self.last_key = self._rows[0][0], self._rows[-1][0]
        self._summary = None

    def whole(self) -> Summary:
        """Of all its trades."""
        if self._summary is None:
            self._summary = _summary_of(self.rows)
        return self._summary

    def pack(self) -> None:
        """Take less memory, where that is worth it; again does nothing."""
        if len(self._rows) >= PACKED_TRADES_MIN:
            self.whole()
            self._packed = pack(self._rows)
            if self._packed is not None:
                self._rows = []


class Tape:
    """All trades of the last ``span_ns``, and the windows that look at them.

    ``slack_ns`` more are kept for those who ask as of a moment before the newest trade.
    """

    def __init__(self, span_ns: int, slack_ns: int) -> None:
        self.panes: list[Pane] = []
        self.first_keys: list[int] = []
        """Of each pane, in step with ``panes``."""
        self.dropped = 0
        """The number of the oldest pane that is left; each keeps its number."""
        self.last_key = -1
        """The key of the newest trade by event time; −1 before the first."""
        self._span_ns = span_ns
        self._kept_ns = span_ns + slack_ns
        self._windows: list[Window] = []

    def window(self, span_ns: int) -> Window:
        """A window over this tape, no longer than it."""
        window = Window(self, span_ns)
        self._windows.append(window)
        return window

    def add(self, key: int, price_nano: int, qty_nano: int) -> bool:
        """Take a trade; False where it is older than the tape, and so changes nothing."""
        if key <= self.last_key:
            return self._insert((key, price_nano, qty_nano))
        panes = self.panes
        if panes and not self._is_full(panes[-1], key):
            panes[-1].append((key, price_nano, qty_nano))
        else:
            self._open((key, price_nano, qty_nano))
        self.last_key = key
        return True

    def summary(self, number: int) -> Summary:
        """Of one pane, by its number."""
        return self.panes[number - self.dropped].whole()

    @staticmethod
    def _is_full(pane: Pane, key: int) -> bool:
        """Panes of busy times hold more, or there would be too many."""
        trades = pane.open_trades
        if trades < PANE_TRADES:
            return False
        return trades >= PANE_TRADES_MAX or key - pane.first_key > _PANE_KEYS

    def _open(self, row: Row) -> None:
        self._drop(row[0])
        if len(self.panes) >= UNPACKED_PANES:
            self.panes[-UNPACKED_PANES].pack()
        self.panes.append(Pane(row))
        self.first_keys.append(row[0])

    def _insert(self, row: Row) -> bool:
        if row[0] >> ID_BITS <= (self.last_key >> ID_BITS) - self._span_ns:
            return False
        place = max(bisect_right(self.first_keys, row[0]) - 1, 0)
        self.panes[place].insert(row)
        self.first_keys[place] = self.panes[place].first_key
        for window in self._windows:
            window.stack.change(place + self.dropped)
        return True

    def _drop(self, key: int) -> None:
        """Let go of the panes that lie wholly before the longest window."""
        edge = order_key((key >> ID_BITS) - self._kept_ns + 1, 0)
        count = bisect_left(self.first_keys, edge) - 1  # the one that the edge may cut stays
        if count > 0:
            del self.panes[:count], self.first_keys[:count]
            self.dropped += count


class Window:
    """What happened in the last ``span_ns`` up to a moment: (moment − span, moment]."""

    __slots__ = ("_tape", "span_ns", "stack")

    def __init__(self, tape: Tape, span_ns: int) -> None:
        self.span_ns = span_ns
        self.stack = TwoStack(tape.summary, merge)
        self._tape = tape

    def summary(self, as_of_ns: int) -> Summary | None:
        """Of the trades within; None where there are none."""
        low, high = order_key(as_of_ns - self.span_ns + 1, 0), order_key(as_of_ns + 1, 0)
        tape = self._tape
        panes, dropped, first_keys = tape.panes, tape.dropped, tape.first_keys
        end = len(panes) if tape.last_key < high else bisect_left(first_keys, high)
        first = max(bisect_right(first_keys, low) - 1, 0)
        if first < end and panes[first].last_key < low:
            first += 1
        if first >= end:
            return None
        found = _within(panes[first], low, high)
        if end - first == 1:
            return found
        for part in (
            self.stack.over(first + 1 + dropped, end - 1 + dropped),
            _within(panes[end - 1], low, high),
        ):
            if part is not None:
                found = part if found is None else merge(found, part)
        return found


def _within(pane: Pane, low: int, high: int) -> Summary | None:
    if pane.first_key >= low and pane.last_key < high:
        return pane.whole()
    rows = pane.rows
    rows = rows[bisect_left(rows, (low,)) : bisect_left(rows, (high,))]
    return _summary_of(rows) if rows else None


def _summary_of(rows: list[Row]) -> Summary:
    _, prices, quantities = zip(*rows, strict=True)
    return summarise(prices, quantities)
