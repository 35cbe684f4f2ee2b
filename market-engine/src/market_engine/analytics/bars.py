"""Candles of one symbol, and what is only ever decided on closed ones.

A bar [start, start + span) closes when the symbol's clock has passed its end by the grace; what
comes for it later is counted, and changes nothing that was decided. Seconds without trades make
bars without volume that carry the price. Knows no wall clock.
"""

from __future__ import annotations

from typing import Final

import msgspec

from market_engine.analytics.averages import Averages, AverageValues
from market_engine.analytics.packing import ID_BITS
from market_engine.events import Candle

EMPTY_BARS_MAX: Final = 1_440
"""A silence of more bars than this is not filled: what follows begins anew."""
_NEVER: Final = 1 << 62


class Bar(msgspec.Struct, frozen=True, gc=False):
    """A closed candle with what its closing decided; prices and quantities in billionths."""

    start_ns: int
    span_ns: int
    open_nano: int
    high_nano: int
    low_nano: int
    close_nano: int
    volume_nano: int
    notional: int
    """Σpq, in 10⁻¹⁸; 0 where a venue's candle does not say."""
    trades: int
    averages: AverageValues


class _Open:
    """A bar that is still open; its first and last trade are by event time, then by id."""

    __slots__ = (
        "close_nano", "first_key", "high_nano", "last_key", "low_nano", "notional", "open_nano",
        "trades", "volume_nano",
    )  # fmt: skip

    def __init__(self, key: int, price_nano: int) -> None:
        self.first_key = self.last_key = key
        self.open_nano = self.high_nano = self.low_nano = self.close_nano = price_nano
        self.volume_nano = self.notional = self.trades = 0

    def add(self, key: int, price_nano: int, qty_nano: int) -> None:
        self.trades += 1
        self.volume_nano += qty_nano
        self.notional += price_nano * qty_nano
        if key >= self.last_key:
            self.last_key, self.close_nano = key, price_nano
        elif key < self.first_key:
            self.first_key, self.open_nano = key, price_nano
        if price_nano > self.high_nano:
            self.high_nano = price_nano
        elif price_nano < self.low_nano:
            self.low_nano = price_nano


class BarSeries:
    """The bars of one symbol and one span; ``late`` counts trades of bars that were closed."""

    def __init__(self, span_ns: int, grace_ns: int, averages: Averages) -> None:
        self.span_ns = span_ns
        self.late = 0
        self.due_ns = _NEVER
        """When the next bar closes, by the clock of the symbol."""
        self._grace_ns = grace_ns
        self._averages = averages
        self._open: dict[int, _Open] = {}
        self._start_ns = _NEVER  # of the bar that closes next
        self._closed_ns = -1  # nothing opens before it
        self._ended_ns = -1  # the end of the newest that was closed
        self._begins_ns = 0  # no bar without trades lies before it
        self._carried_nano: int | None = None  # its price, while bars without trades follow on it

    def add(self, key: int, price_nano: int, qty_nano: int) -> None:
        """Take a trade."""
        event_ns = key >> ID_BITS
        start_ns = event_ns - event_ns % self.span_ns
        bar = self._open.get(start_ns)
        if bar is None:
            if start_ns < self._closed_ns:
                self.late += 1
                return
            if self._start_ns == _NEVER:
                self._closed_ns = start_ns
                self._close_next_at(start_ns)
            bar = self._open[start_ns] = _Open(key, price_nano)
        bar.add(key, price_nano, qty_nano)

    def close(self, clock_ns: int) -> list[Bar]:
        """Close what is due, oldest first."""
        closed = []
        while clock_ns >= self.due_ns:
            bar = self._open.pop(self._start_ns, None)
            if bar is None and not self._open and self._is_over(clock_ns):
                self._begin_anew()
            else:
                closed.append(self._close_next(bar))
        return closed

    def take(self, candle: Candle) -> list[Bar]:
        """Take a closed candle of a venue, of this span: what is older is closed before it."""
        if candle.open_ns < self._closed_ns or candle.span_ns != self.span_ns:
            self.late += 1
            return []
        closed = self.close(candle.open_ns + self._grace_ns)
        bar = self._open[candle.open_ns] = _Open(0, candle.open_nano)
        bar.high_nano, bar.low_nano = candle.high_nano, candle.low_nano
        bar.close_nano, bar.volume_nano = candle.close_nano, candle.volume_nano
        bar.trades = candle.trades
        self._close_next_at(candle.open_ns)
        return closed + self.close(self.due_ns)

    def end(self, until_ns: int) -> list[Bar]:
        """Close what ended by a moment, and whatever else is open; what follows begins anew."""
        ends_ns = [start_ns + self.span_ns for start_ns in self._open]
        closed = self.close(max([until_ns, *ends_ns]) + self._grace_ns)
        self._begin_anew()
        return closed

    def begin_at(self, begins_ns: int) -> None:
        """Say that nobody watched right before a moment: no bar without trades is made for it."""
        self._begins_ns = begins_ns

    def resume(self, bar: Bar) -> None:
        """Go on after a bar that was kept; give them oldest first."""
        self._follow(bar.start_ns)
        self._carried_nano = bar.close_nano
        self._closed_ns = self._ended_ns = bar.start_ns + bar.span_ns
        self._close_next_at(self._closed_ns)
        self._averages.resume(bar.close_nano, bar.volume_nano, bar.averages)

    def _close_next_at(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self.due_ns = start_ns + self.span_ns + self._grace_ns

    def _is_over(self, clock_ns: int) -> bool:
        """Whether the silence up to now is not to be filled with bars."""
        silent_bars = (clock_ns - self.due_ns) // self.span_ns + 1
        return silent_bars > EMPTY_BARS_MAX or self._start_ns < self._begins_ns <= clock_ns

    def _begin_anew(self) -> None:
        self._carried_nano = None
        self._start_ns = self.due_ns = _NEVER

    def _follow(self, start_ns: int) -> None:
        """Averages are over bars that follow on each other; the same live and after a restart."""
        if start_ns != self._ended_ns:
            self._averages.reset()

    def _close_next(self, bar: _Open | None) -> Bar:
        start_ns = self._start_ns
        if bar is None:
            bar = _Open(0, self._carried_nano or 0)
        self._follow(start_ns)
        self._carried_nano = bar.close_nano
        self._closed_ns = self._ended_ns = start_ns + self.span_ns
        self._close_next_at(self._closed_ns)
        return Bar(
            start_ns,
            self.span_ns,
            bar.open_nano,
            bar.high_nano,
            bar.low_nano,
            bar.close_nano,
            bar.volume_nano,
            bar.notional,
            bar.trades,
            self._averages.take(bar.close_nano, bar.volume_nano),
        )
