"""The one path of every event, live, recorded or simulated: health, then analytics, then told.

Pure: the only clock is the receipt of the events, so that the same events give the same outputs,
byte for byte. What it returns is for the bus, the view and the store; it knows none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from market_engine.analytics.bars import Bar
from market_engine.analytics.symbol import ClosedBar, SymbolAnalytics, SymbolMetrics
from market_engine.events import (
    SECOND_NS,
    Candle,
    Event,
    Notice,
    NoticeKind,
    Quote,
    Rejected,
    Tick,
    Trade,
)
from market_engine.health.faults import Fault, StateChange, SymbolState
from market_engine.health.feed_health import FeedHealth
from market_engine.pipeline_config import PipelineConfig
from market_engine.pipeline_symbol import PipelineSymbol
from market_engine.waiting import Ready, WaitingTrades


class MetricsOutput(msgspec.Struct, frozen=True, gc=False):
    """The metrics of a symbol, told at a bounded rate."""

    venue: str
    metrics: SymbolMetrics


class BarOutput(msgspec.Struct, frozen=True, gc=False):
    """A bar that closed, with the metrics as of its end; told once."""

    venue: str
    closed: ClosedBar


Output = (
    Trade | Quote | Candle | Rejected | Notice | Fault | StateChange | MetricsOutput | BarOutput
)
"""In the order in which they came about."""


class Pipeline:
    """Takes the events of one feed in the order of their receipt, and gives what follows from them.

    ``kept`` are the newest trades that were kept before a restart, by symbol: what came since is
    missing until the feed has fetched it.
    """

    def __init__(
        self,
        venue: str,
        symbols: Iterable[str] = (),
        config: PipelineConfig | None = None,
        kept: Mapping[str, Trade] | None = None,
    ) -> None:
        kept = kept or {}
        last_ids = {name: last.trade_id for name, last in kept.items() if last.trade_id is not None}
        self.venue, self.config = venue, config or PipelineConfig()
        self.health = FeedHealth(self.config.health, venue, symbols, last_ids)
        self.received_ns = 0
        """The receipt of the newest event."""
        self._late_before: dict[str, tuple[int, int]] = {}  # of the trades that were restored
        self._symbols: dict[str, PipelineSymbol] = {}
        self._due_ns = 0
        for name, last in kept.items():
            self._resume(name, last)

    def handle(self, events: Iterable[Event]) -> list[Output]:
        """What follows from some events."""
        out: list[Output] = []
        for event in events:
            received_ns = event.received_ns
            if received_ns > self.received_ns:
                self._pass_time(received_ns, out)
            verdict = self.health.take(event)
            if verdict.faults:
                out += verdict.faults
            if verdict.changes:
                self._take_changes(verdict.changes, out)
            if not verdict.taken:
                continue
            if type(event) is Trade:
                self._take_trade(event, out)
            else:
                self._take_other(event, out)
        return out

    def analytics_of(self, symbol: str) -> SymbolAnalytics:
        """The analytics of a symbol; new ones where it is not known yet."""
        return self._symbol(symbol).analytics

    def restore(
        self,
        name: str,
        bars: Iterable[Bar],
        trades: Iterable[Trade],
        first_ns: int,
        session: tuple[int, int, int],
    ) -> list[Output]:
        """Take what was kept of a symbol: bars oldest first, trades in the order of their ids.

        ``session`` is when it began, and Σpq and Σq of its trades before these. Bars that close by
        it and were not among those that were kept are returned.
        """
        out: list[Output] = []
        symbol, analytics = self._symbol(name), self._symbol(name).analytics
        for bar in bars:
            analytics.resume(bar)
        analytics.resume_session(*session)
        analytics.watched_since(first_ns)
        for trade in trades:
            if trade.event_ns >= analytics.due_ns:
                self._close(symbol, trade.event_ns, out)
            analytics.add(trade)
        self._late_before[name] = (analytics.late_for_bar, analytics.too_late)
        return out

    def late_counts(self) -> dict[str, tuple[int, int]]:
        """By symbol: trades too late for their bar, and for every window; not those restored."""
        counts = {}
        for each in [symbol.analytics for symbol in self._symbols.copy().values()]:
            for_bar, for_windows = self._late_before.get(each.symbol, (0, 0))
            counts[each.symbol] = (each.late_for_bar - for_bar, each.too_late - for_windows)
        return counts

    def _resume(self, name: str, last: Trade) -> None:
        symbol = self._symbol(name)
        symbol.last_id, symbol.last_event_ns = last.trade_id, last.event_ns
        symbol.interrupt(last.event_ns)

    def _symbol(self, name: str) -> PipelineSymbol:
        symbol = self._symbols.get(name)
        if symbol is None:
            symbol = PipelineSymbol(self.venue, SymbolAnalytics(name, self.config.analytics))
            self._symbols[name] = symbol
        return symbol

    def _take_trade(self, trade: Trade, out: list[Output]) -> None:
        symbol = self._symbols.get(trade.symbol) or self._symbol(trade.symbol)
        trade_id, last_id = trade.trade_id, symbol.last_id
        if trade_id is None or last_id is None:
            self._go_on(symbol, trade, complete=False)
        elif symbol.waiting is not None:
            self._let_go(symbol, symbol.waiting, symbol.waiting.take(trade_id, trade), out)
            return
        elif trade_id == last_id + 1:
            if symbol.interrupted_ns is not None:
                self._come_closer(symbol, trade)
        elif trade_id > last_id:
            symbol.interrupt(symbol.last_event_ns)
            if self.config.waits_for_backfill:
                waiting = self._wait(symbol, last_id)
                self._let_go(symbol, waiting, waiting.take(trade_id, trade), out)
                return
            self._go_on(symbol, trade, complete=False)
        self._apply(symbol, trade, out)

    def _apply(self, symbol: PipelineSymbol, trade: Trade, out: list[Output]) -> None:
        analytics, trade_id = symbol.analytics, trade.trade_id
        if trade_id is not None and (symbol.last_id is None or trade_id > symbol.last_id):
            symbol.last_id, symbol.last_event_ns = trade_id, trade.event_ns
        if trade.event_ns >= analytics.due_ns:
            self._close(symbol, trade.event_ns, out)
        analytics.add(trade)
        symbol.changes += 1
        out.append(trade)

    def _close(self, symbol: PipelineSymbol, known_ns: int, out: list[Output]) -> None:
        out += [BarOutput(symbol.venue, bar) for bar in symbol.analytics.close_bars(known_ns)]

    def _come_closer(self, symbol: PipelineSymbol, trade: Trade) -> None:
        """After an interruption the next id came: by the stream, or as one of those fetched."""
        if trade.backfilled and self.config.waits_for_backfill:
            symbol.analytics.begin_outage(trade.event_ns)  # all before it is known now
        else:
            self._go_on(symbol, trade, complete=True)

    def _go_on(self, symbol: PipelineSymbol, trade: Trade | None, *, complete: bool) -> None:
        """End an interruption, if there was one; ``complete``: nothing is missing."""
        symbol.go_on(self.received_ns if trade is None else trade.event_ns, complete=complete)

    def _wait(self, symbol: PipelineSymbol, last_id: int) -> WaitingTrades:
        """Have the symbol's trades wait from here on."""
        symbol.waiting = WaitingTrades(last_id, self.config.waiting_trades_max)
        return symbol.waiting

    def _let_go(
        self, symbol: PipelineSymbol, waiting: WaitingTrades, ready: Ready, out: list[Output]
    ) -> None:
        """Take trades that waited; where ids were passed over, nothing is known in between."""
        for trade, is_behind_a_hole in ready:
            if is_behind_a_hole:
                symbol.analytics.end_outage(trade.event_ns, filled=False)
            if is_behind_a_hole or (trade.trade_id or 0) > (symbol.last_id or 0):
                symbol.analytics.begin_outage(trade.event_ns)  # all before it is known, or lost
            self._apply(symbol, trade, out)
        if waiting.is_over:
            symbol.waiting = None
            self._go_on(symbol, None, complete=True)

    def _take_other(self, event: Event, out: list[Output]) -> None:
        if isinstance(event, Tick):
            return
        if isinstance(event, Candle):
            symbol = self._symbol(event.symbol)
            symbol.changes += 1
            out.append(event)
            out += [BarOutput(event.venue, bar) for bar in symbol.analytics.take_candle(event)]
            return
        if isinstance(event, Notice):
            self._take_notice(event, out)
        out.append(event)

    def _take_notice(self, notice: Notice, out: list[Output]) -> None:
        concerned = [
            each
            for name, each in self._symbols.items()
            if notice.symbol is None or name == notice.symbol
        ]
        for symbol in concerned:
            if notice.kind is NoticeKind.BACKFILL_FAILED:
                self._give_up(symbol, notice, out)
            elif notice.kind is NoticeKind.BACKFILLED:
                if symbol.waiting is None and notice.last_id <= (symbol.last_id or 0):
                    self._go_on(symbol, None, complete=True)
            elif notice.kind is NoticeKind.DISCONNECTED:
                symbol.interrupt(notice.received_ns)
            elif notice.kind is NoticeKind.CLOSED and notice.symbol is None:
                self._leave(symbol, notice.received_ns, out)
            elif notice.kind is NoticeKind.OPENED and notice.symbol is None:
                self._begin_anew(symbol, notice.received_ns, out)

    def _give_up(self, symbol: PipelineSymbol, notice: Notice, out: list[Output]) -> None:
        """Ids cannot be had: pass over them, now or when they are reached."""
        waiting = symbol.waiting
        if symbol.last_id is None or not self.config.waits_for_backfill:
            return
        if waiting is None:
            symbol.interrupt(symbol.last_event_ns)
            waiting = self._wait(symbol, symbol.last_id)
        self._let_go(symbol, waiting, waiting.give_up(notice.first_id, notice.last_id), out)

    def begin_anew(self, last: Trade, now_ns: int) -> list[Output]:
        """Say that the ingestion window was closed since a symbol's newest trade that was kept."""
        out: list[Output] = []
        symbol = self._symbol(last.symbol)
        symbol.last_event_ns = last.event_ns
        symbol.interrupt(last.event_ns)
        self.health.recall(last.symbol, ())  # its ids are counted anew
        self._begin_anew(symbol, now_ns, out)
        return out

    def _begin_anew(self, symbol: PipelineSymbol, now_ns: int, out: list[Output]) -> None:
        """What traded while the window was closed was left out on purpose."""
        self._leave(symbol, now_ns, out)
        symbol.go_on(now_ns, complete=False)

    def _leave(self, symbol: PipelineSymbol, now_ns: int, out: list[Output]) -> None:
        """The ingestion window closes: what waits is taken, and what is open is closed."""
        if symbol.waiting is not None:
            self._let_go(symbol, symbol.waiting, symbol.waiting.release(), out)
        out += [BarOutput(symbol.venue, bar) for bar in symbol.leave(now_ns)]

    def _take_changes(self, changes: Iterable[StateChange], out: list[Output]) -> None:
        for change in changes:
            out.append(change)
            symbol = self._symbols.get(change.symbol)
            if symbol is not None and change.state is SymbolState.STALE:
                symbol.interrupt(symbol.last_event_ns)

    def _pass_time(self, received_ns: int, out: list[Output]) -> None:
        paused = self.received_ns and received_ns - self.received_ns > self.config.pause_ns
        self.received_ns = received_ns
        if paused:
            for symbol in self._symbols.values():
                symbol.interrupt(symbol.last_event_ns)
        if received_ns >= self._due_ns:
            self._tell(received_ns, out)

    def _tell(self, received_ns: int, out: list[Output]) -> None:
        """Tell every symbol's metrics that are due, as of the last whole step of receipt."""
        config = self.config
        moment_ns = received_ns - received_ns % config.publish_every_ns
        self._due_ns = moment_ns + config.publish_every_ns
        for symbol in self._symbols.values():
            analytics = symbol.analytics
            analytics.pass_time(moment_ns)
            # by time alone only when even this symbol would have traded by then, if it did
            known_ns = moment_ns - self.health.frozen_after_ns(analytics.symbol)
            if known_ns >= analytics.due_ns and not self._is_held(symbol, received_ns, out):
                self._close(symbol, known_ns, out)
            if symbol.is_due(config, moment_ns) and (metrics := analytics.metrics()):
                symbol.changes, symbol.told_ns = 0, moment_ns
                out.append(MetricsOutput(symbol.venue, metrics))

    def _is_held(self, symbol: PipelineSymbol, received_ns: int, out: list[Output]) -> bool:
        """Whether a symbol's time stands still, because what is missing is being fetched."""
        interrupted = symbol.interrupted_ns is not None and self.config.waits_for_backfill
        if symbol.waiting is None and not interrupted:
            return False
        if symbol.held_ns is None:
            symbol.held_ns = received_ns
        if received_ns - symbol.held_ns <= self.config.waiting_s_max * SECOND_NS:
            return True
        if symbol.waiting is not None:
            self._let_go(symbol, symbol.waiting, symbol.waiting.release(), out)
        return False  # what was missed shows with the next trade, if there is one
