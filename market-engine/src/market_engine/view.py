"""What a market looks like now: bounded memory of one pipeline's outputs, for those who ask.

One thread updates it, any thread reads: every answer is made of values that never change, from
containers that are copied at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from market_engine.analytics.bars import Bar
from market_engine.analytics.symbol import SymbolMetrics
from market_engine.events import Notice, Quote, Rejected, Trade
from market_engine.health.faults import Fault, StateChange, SymbolHealthView
from market_engine.pipeline import BarOutput, MetricsOutput, Output, Pipeline

TRADES_KEPT: Final = 200
POINTS_KEPT: Final = 3_600
BARS_KEPT: Final = 1_500
FAULTS_KEPT: Final = 500


class BarPoint(msgspec.Struct, frozen=True, gc=False):
    """A closed bar and the metrics as of its end."""

    bar: Bar
    metrics: SymbolMetrics


class SymbolView:
    """One symbol: the newest of everything."""

    def __init__(self, venue: str, symbol: str) -> None:
        self.venue = venue
        self.symbol = symbol
        self.trade: Trade | None = None
        """The newest by receipt."""
        self.quote: Quote | None = None
        self.metrics: SymbolMetrics | None = None
        self.trades: deque[Trade] = deque(maxlen=TRADES_KEPT)
        """Oldest first, by receipt."""
        self.points: deque[SymbolMetrics] = deque(maxlen=POINTS_KEPT)
        """Metrics as they were told, oldest first: at most one a second."""
        self.bars: deque[BarPoint] = deque(maxlen=BARS_KEPT)
        """Closed bars, oldest first."""


class MarketView:
    """All symbols of one source, its health, and the newest faults."""

    def __init__(self, pipeline: Pipeline, symbols: Iterable[str] = ()) -> None:
        self.venue = pipeline.venue
        self._pipeline = pipeline
        self._symbols: dict[str, SymbolView] = {}
        self.faults: deque[Fault] = deque(maxlen=FAULTS_KEPT)
        """Oldest first."""
        self.notices: deque[Notice | StateChange] = deque(maxlen=FAULTS_KEPT)
        self.events = 0
        """Outputs that were taken."""
        self.rejected = 0
        for symbol in symbols:
            self._of(symbol)

    @property
    def received_ns(self) -> int:
        """The receipt of the newest event; 0 before one."""
        return self._pipeline.received_ns

    def symbols(self) -> tuple[str, ...]:
        """In alphabetical order."""
        return tuple(sorted(self._symbols.copy()))

    def symbol(self, name: str) -> SymbolView | None:
        """One symbol; None where it is not known."""
        return self._symbols.get(name)

    def health(self) -> tuple[SymbolHealthView, ...]:
        """Of every symbol, in the order of their names."""
        return self._pipeline.health.snapshot()

    def update(self, outputs: Iterable[Output]) -> None:
        """Take what a pipeline gave, in order."""
        for output in outputs:
            self.events += 1
            if type(output) is Trade:
                view = self._symbols.get(output.symbol) or self._of(output.symbol)
                view.trade = output
                view.trades.append(output)
            elif type(output) is Quote:
                view = self._symbols.get(output.symbol) or self._of(output.symbol)
                view.quote = output
            else:
                self._take_other(output)

    def restore(self, symbol: str, bars: Iterable[BarPoint], trades: Iterable[Trade]) -> None:
        """Show what was kept before a restart, oldest first."""
        view = self._of(symbol)
        view.bars.extend(bars)
        for trade in trades:
            view.trade = trade
            view.trades.append(trade)

    def _of(self, symbol: str) -> SymbolView:
        view = self._symbols.get(symbol)
        if view is None:
            view = self._symbols[symbol] = SymbolView(self.venue, symbol)
        return view

    def _take_other(self, output: Output) -> None:
        if isinstance(output, MetricsOutput):
            view = self._of(output.metrics.symbol)
            view.metrics = output.metrics
            view.points.append(output.metrics)
        elif isinstance(output, BarOutput):
            closed = output.closed
            self._of(closed.metrics.symbol).bars.append(BarPoint(closed.bar, closed.metrics))
        elif isinstance(output, Fault):
            self.faults.append(output)
        elif isinstance(output, Rejected):
            self.rejected += 1
        elif isinstance(output, StateChange | Notice):
            self.notices.append(output)
