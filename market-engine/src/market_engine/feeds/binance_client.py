"""Keeps connections to Binance up: back-off, rotation with overlap, the watch on silence, ticks.

Runs in a loop of its own; what the connections bring goes through ``Intake`` to the outlet.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Final

import httpx
from structlog.typing import FilteringBoundLogger

from market_engine.events import Tick
from market_engine.feeds.backoff import AttemptLimit, Backoff
from market_engine.feeds.binance_backfill import Backfill
from market_engine.feeds.binance_config import BinanceConfig, BinanceStats, streams_of, venue_of
from market_engine.feeds.binance_connection import (
    Connection,
    RefusedError,
    UnreachableError,
    open_connection,
)
from market_engine.feeds.binance_intake import Intake, Record
from market_engine.feeds.binance_outlet import Outlet
from market_engine.feeds.binance_parser import BinanceParser
from market_engine.feeds.binance_rest import TradeHistory
from market_engine.feeds.binance_trades import TradeMerge

_LOOK_S: Final = 0.02
"""How often it is looked whether an old connection may go."""


class LiveClient:
    """One life of the feed; made and run inside a running loop."""

    def __init__(
        self,
        symbols: Sequence[str],
        config: BinanceConfig,
        resume: Mapping[str, int],
        outlet: Outlet,
        stats: BinanceStats,
        log: FilteringBoundLogger,
    ) -> None:
        self._config = config
        self._outlet = outlet
        self._stats = stats
        self._log = log
        self._streams = streams_of(symbols, config)
        parser = BinanceParser(venue_of(config), config.trade_stream)
        self._merge = TradeMerge(symbols, resume, stats)
        self._backfill = Backfill(config, stats, parser, self._merge, outlet)
        self._intake = Intake(stats, parser, self._merge, self._backfill, outlet)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._readers: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] = self._loop.create_future()
        self._newest: Connection | None = None
        self._retiring: asyncio.Task[None] | None = None
        self._catching_up: asyncio.Task[None] | None = None

    def record_with(self, record: Record | None) -> None:
        """Hand every frame to this, too, before it is parsed."""
        self._intake.record = record

    async def run(self, stopping: asyncio.Event, draw: Callable[[], float]) -> None:
        """Go on until ``stopping`` is set; raises FeedError where going on makes no sense."""
        config = self._config
        async with httpx.AsyncClient(
            timeout=config.rest_timeout_s, trust_env=config.uses_environment_proxy
        ) as http:
            pauses = Backoff(config.backoff_base_s, config.backoff_cap_s, draw)
            history = TradeHistory(config, self._stats, http, pauses)
            parts = (self._keep_connected(history, draw), self._backfill.run(history), self._tick())
            for part in parts:
                self._start(part)
            stopped = asyncio.ensure_future(stopping.wait())
            try:
                await asyncio.wait((stopped, self._failed), return_when=asyncio.FIRST_COMPLETED)
            finally:
                stopped.cancel()
                await self._end()
            if self._failed.done():
                self._failed.result()

    def _start(self, part: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(part)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._readers.discard(task)
        error = None if task.cancelled() else task.exception()
        if error and not self._failed.done():
            self._failed.set_exception(error)

    async def _end(self) -> None:
        """End every task but the readers, close what is open, and read what has arrived."""
        await _cancel(self._tasks - self._readers)
        await asyncio.gather(*(connection.close() for connection in self._intake.open))
        if self._readers:
            await asyncio.wait(self._readers, timeout=self._config.close_timeout_s)
        await _cancel(self._readers)

    async def _keep_connected(self, history: TradeHistory, draw: Callable[[], float]) -> None:
        backoff = Backoff(self._config.backoff_base_s, self._config.backoff_cap_s, draw)
        attempts = AttemptLimit(self._config.attempts_max, self._config.attempts_window_s)
        while True:
            connection = await self._connect(backoff, attempts)
            was_alone = not self._intake.open
            self._intake.opened(connection)
            self._readers.add(self._start(self._read(connection)))
            old, self._newest = self._newest, connection
            if old and not old.is_ended:
                self._stats.rotations += 1
                self._retiring = self._start(self._retire(old))
            if was_alone:
                if self._catching_up:
                    self._catching_up.cancel()
                self._catching_up = self._start(self._catch_up(history, self._merge.lasts()))
            await self._until_replaced(connection)
            if connection.has_delivered:
                backoff.reset()
            self._log.info(
                "connection_to_replace", why=connection.why, is_ended=connection.is_ended
            )

    async def _connect(self, backoff: Backoff, attempts: AttemptLimit) -> Connection:
        """A connection, however long it takes; RefusedError if the first attempt is refused."""
        is_at_once = bool(self._intake.open) or not self._stats.attempts
        wait_s = 0.0 if is_at_once else backoff.next_s()
        while True:
            await asyncio.sleep(max(wait_s, attempts.wait_s()))
            attempts.note()
            self._stats.attempts += 1
            try:
                connection = await open_connection(self._config, self._streams)
            except RefusedError as error:
                if not self._stats.connections:
                    raise
                self._log.warning("connection_refused", error=str(error))
                wait_s = self._config.backoff_cap_s
            except UnreachableError as error:
                self._log.warning("connection_failed", error=str(error))
                wait_s = max(backoff.next_s(), error.wait_s)
            else:
                self._stats.connections += 1
                return connection

    async def _read(self, connection: Connection) -> None:
        try:
            await connection.read(self._intake.take, self._outlet.room)
        finally:
            self._intake.ended(connection)

    async def _until_replaced(self, connection: Connection) -> None:
        """Wait until it ended, is too old or too silent, or the venue says that it will end it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(connection.opened_s + self._config.rotate_after_s):
                await connection.to_replace.wait()
        connection.replace("it is old enough")
        retiring = self._retiring
        if retiring and not connection.is_ended:  # never more than two at a time
            ended = asyncio.ensure_future(connection.ended.wait())
            await asyncio.wait((retiring, ended), return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()

    async def _retire(self, old: Connection) -> None:
        """Close a connection when its successor delivers, and nothing waits for the old one."""
        started_s = self._loop.time()
        while not old.is_ended and not self._may_go(old, self._loop.time() - started_s):
            await asyncio.sleep(_LOOK_S)
        await old.close()

    def _may_go(self, old: Connection, overlap_s: float) -> bool:
        newest = self._newest
        if newest is None or newest.is_ended:
            return False
        if overlap_s >= self._config.overlap_s_max:
            return True
        if not newest.has_delivered:
            return False
        is_done = overlap_s >= self._config.overlap_s_min and not self._merge.is_holding
        return old.is_silent or is_done

    async def _catch_up(self, history: TradeHistory, lasts: Mapping[str, int]) -> None:
        """Ask for what symbols missed that have had no trade since we are connected again."""
        await asyncio.sleep(self._config.catch_up_after_s)
        for symbol, last in lasts.items():
            if self._merge.lasts().get(symbol) == last:
                await self._backfill.catch_up(history, symbol, last + 1)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._config.tick_s)
            newest = self._newest
            if self._outlet.is_full:  # who is behind needs no news of the time
                if newest:
                    newest.last_frame_s = self._loop.time()  # we do not listen: no silence
                continue
            self._outlet.push([Tick(self._outlet.stamp())])
            if newest and self._loop.time() - newest.last_frame_s > self._config.silence_s:
                newest.is_silent = True
                newest.replace("it is silent")


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
