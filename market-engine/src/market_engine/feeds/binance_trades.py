"""Which trades to pass on: each id once, and in order while two connections overlap.

While a connection is being replaced, both bring the same trades, and one lags: what the faster one
brings ahead of the other is held until those between have come, or until the overlap ends.
Pure: knows no socket and no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from market_engine.events import Trade
from market_engine.feeds.binance_config import BinanceStats
from market_engine.health.ids import Arrival, IdLedger

HELD_MAX: Final = 10_000
"""Trades of one symbol; when so many are held, they are passed on, and the gap is filled later."""


class Stretch(msgspec.Struct, frozen=True):
    """Trades of a symbol from ``first`` to ``last``, both included."""

    symbol: str
    first: int
    last: int


class _Symbol:
    __slots__ = ("held", "ledger")

    def __init__(self, last: int | None) -> None:
        self.ledger = IdLedger(last)
        self.held: dict[int, Trade] = {}


class TradeMerge:
    """The ids of every symbol; ``is_overlapping`` says whether two connections bring them."""

    def __init__(
        self, symbols: Iterable[str], resume: Mapping[str, int], stats: BinanceStats
    ) -> None:
        self._symbols = {symbol: _Symbol(resume.get(symbol)) for symbol in symbols}
        self._stats = stats
        self.is_overlapping = False

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._symbols

    @property
    def is_holding(self) -> bool:
        """Whether any trade waits for one before it."""
        return any(symbol.held for symbol in self._symbols.values())

    def lasts(self) -> dict[str, int]:
        """The highest id of each symbol that has one."""
        pairs = ((name, symbol.ledger.last) for name, symbol in self._symbols.items())
        return {name: last for name, last in pairs if last is not None}

    def take(self, trade: Trade) -> tuple[list[Trade], list[Stretch]]:
        """The trades that may be passed on now, and the stretches found to be missing."""
        symbol = self._symbols[trade.symbol]
        if not symbol.held and not self.is_overlapping:
            return self._pass(symbol, (trade,))
        last, trade_id = symbol.ledger.last, trade.trade_id or 0
        if last is None or trade_id <= last + 1:
            return self._pass(symbol, [trade, *self._following(symbol, trade_id)])
        if trade_id in symbol.held:
            self._stats.overlap_dropped += 1
            return [], []
        symbol.held[trade_id] = trade
        if self.is_overlapping and len(symbol.held) < HELD_MAX:
            return [], []
        return self._pass(symbol, self._let_go(symbol))

    def release(self) -> tuple[list[Trade], list[Stretch]]:
        """Everything that is held: no other connection will bring what is between."""
        trades: list[Trade] = []
        gaps: list[Stretch] = []
        for symbol in self._symbols.values():
            if symbol.held:
                more_trades, more_gaps = self._pass(symbol, self._let_go(symbol))
                trades += more_trades
                gaps += more_gaps
        return trades, gaps

    def fill(self, trades: Iterable[Trade]) -> list[Trade]:
        """Of trades that were fetched, those that have not come meanwhile."""
        return [
            trade
            for trade in trades
            if trade.trade_id is not None
            and self._symbols[trade.symbol].ledger.take(trade.trade_id) is not Arrival.DUPLICATE
        ]

    def missing(self, stretch: Stretch) -> list[tuple[int, int]]:
        """What of a stretch is still missing, in order."""
        ledger = self._symbols[stretch.symbol].ledger
        clipped = (
            (max(first, stretch.first), min(last, stretch.last)) for first, last in ledger.missing()
        )
        return [(first, last) for first, last in clipped if first <= last]

    @staticmethod
    def _following(symbol: _Symbol, trade_id: int) -> list[Trade]:
        """What is held and comes right after ``trade_id``."""
        following: list[Trade] = []
        while trade := symbol.held.pop(trade_id + 1 + len(following), None):
            following.append(trade)
        return following

    @staticmethod
    def _let_go(symbol: _Symbol) -> list[Trade]:
        trades = [symbol.held[trade_id] for trade_id in sorted(symbol.held)]
        symbol.held.clear()
        return trades

    def _pass(self, symbol: _Symbol, trades: Iterable[Trade]) -> tuple[list[Trade], list[Stretch]]:
        passed: list[Trade] = []
        gaps: list[Stretch] = []
        for trade in trades:
            last, trade_id = symbol.ledger.last, trade.trade_id or 0
            arrival = symbol.ledger.take(trade_id)
            if arrival is Arrival.DUPLICATE:
                self._count_dropped()
                continue
            if arrival is Arrival.AHEAD and last is not None:
                gaps.append(Stretch(trade.symbol, last + 1, trade_id - 1))
            passed.append(trade)
        return passed, gaps

    def _count_dropped(self) -> None:
        if self.is_overlapping:
            self._stats.overlap_dropped += 1
        else:
            self._stats.duplicates_dropped += 1
