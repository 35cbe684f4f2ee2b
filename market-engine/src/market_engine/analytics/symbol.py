"""All analytics of one symbol: what each trade moves, and what can be asked at a moment.

By event time. The moment that is asked about is the newest event, or later where time passed
without one. Knows no feed, no bus and no wall clock.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from market_engine.analytics.averages import AverageConfig, Averages, AverageValues
from market_engine.analytics.bars import Bar, BarSeries
from market_engine.analytics.session import SessionVwap
from market_engine.analytics.tape import Tape, Window, order_key
from market_engine.analytics.volatility import YEAR_S, SecondGrid, volatility
from market_engine.analytics.window_metrics import WindowMetrics, window_metrics
from market_engine.events import SECOND_NS, Candle, Trade

OUTAGES_MAX: Final = 256


class AnalyticsConfig(msgspec.Struct, frozen=True):
    """What is calculated; the same for every symbol but for the session."""

    windows_s: tuple[int, ...] = (60, 300, 3_600)
    """Lengths of the windows, shortest first."""
    bar_s: int = 60
    bar_grace_s: int = 2
    """How long a bar stays open for late trades after its end."""
    averages: AverageConfig = AverageConfig()
    session_opens_s: int = 0
    """When a session begins, in seconds after 00:00 UTC."""


class SymbolMetrics(msgspec.Struct, frozen=True, gc=False):
    """Everything about one symbol at a moment."""

    symbol: str
    as_of_ns: int
    price_nano: int
    """Of the newest trade by event time."""
    session_vwap: float | None
    windows: tuple[WindowMetrics, ...]
    averages: AverageValues | None
    """As of the newest closed bar."""
    bar_start_ns: int | None
    """When that bar began."""
    year_s: int = YEAR_S
    """The annual factor of volatility: seconds in a year."""


class ClosedBar(NamedTuple):
    """A bar, and the metrics as of its end: what came after it changes nothing in them."""

    bar: Bar
    metrics: SymbolMetrics


class SymbolAnalytics:
    """The state of one symbol; ``add`` is cheap, ``metrics`` is asked at a bounded rate."""

    def __init__(self, symbol: str, config: AnalyticsConfig) -> None:
        longest_s = max(config.windows_s)
        self.symbol = symbol
        self.too_late = 0
        """Trades older than the longest window when they came: counted, and in no window."""
        slack_s = config.bar_grace_s + 1
        self._tape = Tape(longest_s * SECOND_NS, slack_s * SECOND_NS)
        self._grid = SecondGrid(longest_s, slack_s)
        self._windows = [self._tape.window(span_s * SECOND_NS) for span_s in config.windows_s]
        self._session = SessionVwap(config.session_opens_s)
        self._bar_session = SessionVwap(config.session_opens_s)
        self._bars = BarSeries(
            config.bar_s * SECOND_NS, config.bar_grace_s * SECOND_NS, Averages(config.averages)
        )
        self._newest_bar: Bar | None = None
        self._clock_ns = 0
        self._first_ns = 1 << 62
        self._newest_key = -1
        self._price_nano = 0
        self._arrivals = 0
        self._outages: list[tuple[int, int]] = []
        self._outage_began_ns: int | None = None

    @property
    def late_for_bar(self) -> int:
        """Trades that came after their bar had closed: in the windows, but not in the bar."""
        return self._bars.late

    @property
    def clock_ns(self) -> int:
        """The newest event time, or the moment that ``pass_time`` said."""
        return self._clock_ns

    def add(self, trade: Trade) -> None:
        """Take a trade that is no duplicate."""
        event_ns, order = trade.event_ns, trade.trade_id
        if order is None:
            self._arrivals += 1
            order = self._arrivals
        key = order_key(event_ns, order)
        price_nano, qty_nano = trade.price_nano, trade.qty_nano
        if key > self._newest_key:
            self._newest_key, self._price_nano = key, price_nano
            self._clock_ns = max(self._clock_ns, event_ns)
        self._first_ns = min(self._first_ns, event_ns)
        if self._tape.add(key, price_nano, qty_nano):
            self._grid.add(key, price_nano)
        else:
            self.too_late += 1
        self._session.add(event_ns, price_nano * qty_nano, qty_nano)
        self._bars.add(key, price_nano, qty_nano)

    def take_candle(self, candle: Candle) -> list[ClosedBar]:
        """Take a closed candle where there are no trades; what it closes."""
        self._clock_ns = max(self._clock_ns, candle.open_ns + candle.span_ns)
        if self._newest_key < 0:
            self._price_nano = candle.close_nano
        return self._closed(self._bars.take(candle))

    @property
    def due_ns(self) -> int:
        """When the next bar closes, by ``clock_ns``."""
        return self._bars.due_ns

    def pass_time(self, clock_ns: int) -> None:
        """Say that time passed: the windows move on, and no bar closes."""
        self._clock_ns = max(self._clock_ns, clock_ns)

    def close_bars(self, known_ns: int) -> list[ClosedBar]:
        """Close the bars that are due when the events up to a moment are known, oldest first."""
        return self._closed(self._bars.close(known_ns))

    def end_bars(self, until_ns: int) -> list[ClosedBar]:
        """Close what ended by a moment, and whatever else is open; what follows begins anew."""
        return self._closed(self._bars.end(until_ns))

    def begin_bars_at(self, begins_ns: int) -> None:
        """Say that nobody watched right before a moment: no bar without trades is made for it."""
        self._bars.begin_at(begins_ns)

    def resume(self, bar: Bar) -> None:
        """Go on after a bar that was kept; give them oldest first, before any trade."""
        self._bars.resume(bar)
        self._take_bar(bar)

    def resume_session(self, event_ns: int, notional: int, qty_nano: int) -> None:
        """Go on after Σpq and Σq of a session's trades that are older than those that follow."""
        self._session.add(event_ns, notional, qty_nano)

    def watched_since(self, first_ns: int) -> None:
        """Say that trades from a moment on were taken before a restart."""
        self._first_ns = min(self._first_ns, first_ns)

    def begin_outage(self, since_ns: int) -> None:
        """After a moment nothing is known; again, when more of it became known."""
        self._outage_began_ns = since_ns

    def end_outage(self, until_ns: int, *, filled: bool) -> None:
        """It is known again; ``filled``: and so is all that was missed."""
        if self._outage_began_ns is not None and not filled:
            self._outages.append((self._outage_began_ns, until_ns))
            del self._outages[:-OUTAGES_MAX]
        self._outage_began_ns = None

    def metrics(self) -> SymbolMetrics | None:
        """As of the clock; None before the first trade."""
        if not self._price_nano:
            return None
        session_vwap = self._session.value(self._clock_ns)
        return self._metrics(self._clock_ns, self._price_nano, session_vwap, self._newest_bar)

    def _metrics(
        self, as_of_ns: int, price_nano: int, session_vwap: float | None, bar: Bar | None
    ) -> SymbolMetrics:
        return SymbolMetrics(
            self.symbol,
            as_of_ns,
            price_nano,
            session_vwap,
            tuple(self._window(window, as_of_ns) for window in self._windows),
            bar.averages if bar else None,
            bar.start_ns if bar else None,
        )

    def _window(self, window: Window, as_of_ns: int) -> WindowMetrics:
        begins_ns = as_of_ns - window.span_ns
        window_s = window.span_ns // SECOND_NS
        is_whole = not self._has_outage(begins_ns, as_of_ns)
        return window_metrics(
            window_s,
            window.summary(as_of_ns),
            volatility(self._grid, window_s, as_of_ns) if is_whole else None,
            complete=is_whole and self._first_ns <= begins_ns,
        )

    def _has_outage(self, from_ns: int, until_ns: int) -> bool:
        began_ns = self._outage_began_ns
        if began_ns is not None and until_ns > began_ns:
            return True
        return any(began < until_ns and ended > from_ns for began, ended in self._outages[::-1])

    def _closed(self, bars: list[Bar]) -> list[ClosedBar]:
        return [ClosedBar(bar, self._bar_metrics(bar)) for bar in bars]

    def _bar_metrics(self, bar: Bar) -> SymbolMetrics:
        """The session's price is that of its closed bars, so that it is the same for ever."""
        self._take_bar(bar)
        session_vwap = self._bar_session.value(bar.start_ns)
        return self._metrics(bar.start_ns + bar.span_ns, bar.close_nano, session_vwap, bar)

    def _take_bar(self, bar: Bar) -> None:
        self._newest_bar = bar
        if bar.notional or not bar.volume_nano:  # a venue's candle does not say Σpq
            self._bar_session.add(bar.start_ns, bar.notional, bar.volume_nano)
