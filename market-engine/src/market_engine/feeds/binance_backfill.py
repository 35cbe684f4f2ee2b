"""Fetches the trades that the stream did not bring, one gap after the other, while others come.

Each BACKFILLING notice is answered by BACKFILLED and BACKFILL_FAILED notices that together cover
its ids. Runs in the loop's thread; knows no websocket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import msgspec

from market_engine.errors import FeedError, RejectedError
from market_engine.events import Event, Notice, NoticeKind, Trade
from market_engine.feeds.binance_config import BinanceConfig, BinanceStats
from market_engine.feeds.binance_messages import TradeMessage
from market_engine.feeds.binance_outlet import Outlet
from market_engine.feeds.binance_parser import BinanceParser
from market_engine.feeds.binance_rest import TradeHistory
from market_engine.feeds.binance_trades import Stretch, TradeMerge

_NOT_THERE: Final = "the venue does not have them, or what it gave cannot be used"
HOLES_TOLD_MAX: Final = 16
"""Of one gap; where more stretches stay missing, the rest is told as one."""


class Backfill:
    """The queue of gaps, and the one task that works on it."""

    def __init__(
        self,
        config: BinanceConfig,
        stats: BinanceStats,
        parser: BinanceParser,
        merge: TradeMerge,
        outlet: Outlet,
    ) -> None:
        self._config = config
        self._stats = stats
        self._parser = parser
        self._merge = merge
        self._outlet = outlet
        self._gaps: asyncio.Queue[Stretch] = asyncio.Queue(config.gaps_queued_max)

    def note(self, gap: Stretch, now_ns: int) -> list[Event]:
        """Queue a gap to be filled; the notices that tell of it."""
        self._stats.gaps += 1
        events: list[Event] = []
        first = max(gap.first, gap.last - self._config.gap_trades_max + 1)
        if first > gap.first:
            why = f"more than the {self._config.gap_trades_max} trades that are fetched at most"
            events.append(self._failed(Stretch(gap.symbol, gap.first, first - 1), why, now_ns))
            gap = Stretch(gap.symbol, first, gap.last)
        if self._gaps.full():
            why = f"{self._config.gaps_queued_max} gaps are waiting already"
            return [*events, self._failed(gap, why, now_ns)]
        self._gaps.put_nowait(gap)
        return [*events, _notice(NoticeKind.BACKFILLING, gap, now_ns)]

    async def run(self, history: TradeHistory) -> None:
        """Fill gaps for ever."""
        while True:
            gap = await self._gaps.get()
            why = ""
            try:
                async for page in history.pages(gap.symbol, gap.first, gap.last):
                    await self._give(page)
            except FeedError as error:
                why = str(error)
            await self._outlet.room()
            self._settle(gap, why or _NOT_THERE)

    async def catch_up(self, history: TradeHistory, symbol: str, first: int) -> None:
        """Fetch what there is from ``first`` on, for a symbol that has been quiet since.

        Says nothing where there is nothing; what cannot be had is asked for again when a trade
        shows that it is missing.
        """
        for _ in range(self._config.gap_trades_max // self._config.page_trades_max + 1):
            try:
                page = await history.newest(symbol, first)
            except FeedError:
                return
            if not page:
                return
            stretch = Stretch(symbol, first, page[-1].trade_id)
            await self._outlet.room()
            now_ns = self._outlet.stamp()
            self._outlet.push([_notice(NoticeKind.BACKFILLING, stretch, now_ns)])
            await self._give(page)
            self._settle(stretch, _NOT_THERE)
            first = stretch.last + 1

    async def _give(self, page: list[TradeMessage]) -> None:
        await self._outlet.room()
        now_ns = self._outlet.stamp()
        trades: list[Trade] = []
        events: list[Event] = []
        for message in page:
            try:
                trades.append(self._parser.trade(message, now_ns))
            except RejectedError as error:
                self._stats.rejected += 1
                events.append(self._parser.rejected(error, msgspec.json.encode(message), now_ns))
        fresh = self._merge.fill(trades)
        self._stats.backfilled += len(fresh)
        self._stats.trades += len(fresh)
        self._outlet.push(events)
        self._outlet.push([msgspec.structs.replace(trade, backfilled=True) for trade in fresh])

    def _settle(self, gap: Stretch, why: str) -> None:
        now_ns = self._outlet.stamp()
        events: list[Event] = []
        first = gap.first
        for hole_first, hole_last in _told(self._merge.missing(gap), gap.last):
            if first < hole_first:
                done = Stretch(gap.symbol, first, hole_first - 1)
                events.append(_notice(NoticeKind.BACKFILLED, done, now_ns))
            hole = Stretch(gap.symbol, hole_first, hole_last)
            events.append(self._failed(hole, why, now_ns))
            first = hole_last + 1
        if first <= gap.last:
            rest = Stretch(gap.symbol, first, gap.last)
            events.append(_notice(NoticeKind.BACKFILLED, rest, now_ns))
        self._outlet.push(events)

    def _failed(self, gap: Stretch, why: str, now_ns: int) -> Notice:
        self._stats.backfill_failed += gap.last - gap.first + 1
        return _notice(NoticeKind.BACKFILL_FAILED, gap, now_ns, why)


def _told(holes: list[tuple[int, int]], last: int) -> Iterable[tuple[int, int]]:
    if len(holes) <= HOLES_TOLD_MAX:
        return holes
    return [*holes[: HOLES_TOLD_MAX - 1], (holes[HOLES_TOLD_MAX - 1][0], last)]


def _notice(kind: NoticeKind, gap: Stretch, now_ns: int, detail: str = "") -> Notice:
    return Notice(kind, now_ns, gap.symbol, detail[:200], gap.first, gap.last)
