"""From frames to events: parsed, trades merged by id, gaps handed to the backfill.

Knows which connections are open, because while two are, both bring the same trades: those are
merged, and quotes and candles are taken from the older one. Runs in the loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from market_engine.errors import RejectedError, RejectReason
from market_engine.events import Candle, Event, Notice, NoticeKind, Quote, Rejected, Trade
from market_engine.feeds.binance_backfill import Backfill
from market_engine.feeds.binance_config import BinanceStats
from market_engine.feeds.binance_connection import Connection
from market_engine.feeds.binance_outlet import Outlet
from market_engine.feeds.binance_parser import BinanceParser
from market_engine.feeds.binance_trades import Stretch, TradeMerge

Record = Callable[[bytes, int], None]
"""Takes a frame and its receipt in ns."""


class Intake:
    """What the readers of all connections hand their frames to."""

    def __init__(
        self,
        stats: BinanceStats,
        parser: BinanceParser,
        merge: TradeMerge,
        backfill: Backfill,
        outlet: Outlet,
    ) -> None:
        self._stats = stats
        self._parser = parser
        self._merge = merge
        self._backfill = backfill
        self._outlet = outlet
        self.record: Record | None = None
        """Takes each frame with its receipt; must neither wait nor raise."""
        self.open: list[Connection] = []
        """Oldest first."""

    def opened(self, connection: Connection) -> None:
        """Frames of one more connection will come."""
        self.open.append(connection)
        self._count_open()
        if len(self.open) == 1:
            self._outlet.push([Notice(NoticeKind.CONNECTED, self._outlet.stamp())])

    def ended(self, connection: Connection) -> None:
        """It brings nothing more: what only it could have brought is a gap now."""
        self.open.remove(connection)
        self._count_open()
        now_ns = self._outlet.stamp()
        if not self._merge.is_overlapping:
            self._outlet.push(self._told(*self._merge.release(), now_ns))
        if not self.open:
            notice = Notice(NoticeKind.DISCONNECTED, now_ns, detail=connection.why)
            self._outlet.push([notice])

    def take(self, connection: Connection, frame: bytes) -> bool:
        """Pass on what a frame says; False when no more should be read now."""
        now_ns = self._outlet.stamp()
        if self.record is not None:
            self.record(frame, now_ns)
        shutdowns = self._parser.shutdowns
        events = self._parser.parse(frame, now_ns)
        self._stats.frames += 1
        connection.last_frame_s = asyncio.get_running_loop().time()
        if events:
            connection.has_delivered |= not isinstance(events[0], Rejected)
            is_older = connection is self.open[0]
            self._outlet.push(
                [
                    out
                    for event in events
                    for out in self._judge(event, frame, now_ns, is_older=is_older)
                ]
            )
        elif self._parser.shutdowns > shutdowns:
            connection.replace("the venue announces a shutdown")
        return not self._outlet.is_full

    def _judge(self, event: Event, frame: bytes, now_ns: int, *, is_older: bool) -> Sequence[Event]:
        if isinstance(event, (Trade, Quote, Candle)) and event.symbol not in self._merge:
            stranger = RejectedError(RejectReason.SYMBOL, "nobody asked for it", event.symbol)
            event = self._parser.rejected(stranger, frame, now_ns)
        if isinstance(event, Trade):
            return self._told(*self._merge.take(event), now_ns)
        if isinstance(event, Rejected):
            self._stats.rejected += 1
            return [event]
        return [event] if is_older else []

    def _told(self, trades: list[Trade], gaps: list[Stretch], now_ns: int) -> list[Event]:
        """Gaps first; a trade that was held back is stamped anew, so that time does not fall."""
        self._stats.trades += len(trades)
        events = [notice for gap in gaps for notice in self._backfill.note(gap, now_ns)]
        events += (
            trade
            if trade.received_ns == now_ns
            else msgspec.structs.replace(trade, received_ns=now_ns)
            for trade in trades
        )
        return events

    def _count_open(self) -> None:
        self._stats.open = len(self.open)
        self._merge.is_overlapping = len(self.open) > 1
