"""The live feed of Binance: one thread reads the venue, the thread that runs the feed emits.

Between them is a bounded queue: if ``emit`` blocks until it is full, the sockets are no longer
read, and TCP holds the venue back. See ``binance_client`` for what happens on the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger

from market_engine.feeds.base import Emit
from market_engine.feeds.binance_client import LiveClient
from market_engine.feeds.binance_config import BinanceConfig, BinanceStats, streams_of, venue_of
from market_engine.feeds.binance_intake import Record
from market_engine.feeds.binance_outlet import Outlet

__all__ = ["BinanceConfig", "BinanceFeed", "BinanceStats"]

_JOIN_S_MAX: Final = 2.0
_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})


class BinanceFeed:
    """Trades, and quotes if wanted, of some symbols, as long as it runs; runs once.

    ``resume`` gives the last trade id that is kept of a symbol: what the venue has after it is
    fetched. Raises FeedError at once for symbols that the venue would refuse. Trades come in the
    order of their ids but for those that are fetched afterwards: these say ``backfilled``, and may
    come between others. No id is given twice.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        config: BinanceConfig | None = None,
        resume: Mapping[str, int] = _NOTHING,
        clock: Callable[[], int] = time.time_ns,
        draw: Callable[[], float] = random.random,
        record: Record | None = None,
        log: FilteringBoundLogger | None = None,
    ) -> None:
        self._record = record
        self.symbols = tuple(symbols)
        self.venue = venue_of(config or BinanceConfig())
        self._config = config or BinanceConfig()
        streams_of(self.symbols, self._config)
        self._resume = dict(resume)
        self._draw = draw
        self._log: FilteringBoundLogger = log or structlog.get_logger("binance")
        self._outlet = Outlet(self._config.events_queued_max, clock)
        self._stats = BinanceStats()
        self._lock = threading.Lock()
        self._is_stopped = False
        self._stopping: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._error: Exception | None = None

    def run(self, emit: Emit) -> None:
        """Emit until ``stop``; raises FeedError when the venue refuses for good.

        What was received before the stop is emitted. ``emit`` may block; then the venue waits.
        """
        thread = threading.Thread(target=self._live, name="binance", daemon=True)
        thread.start()
        try:
            while events := self._outlet.take():
                emit(events)
        finally:
            self.stop()
            thread.join(_JOIN_S_MAX)
        if self._error:
            raise self._error

    def stop(self) -> None:
        """Close the connections and have ``run`` return; from any thread, any number of times."""
        with self._lock:
            self._is_stopped = True
            if self._stopping:
                loop, event = self._stopping
                with contextlib.suppress(RuntimeError):  # it has ended already
                    loop.call_soon_threadsafe(event.set)

    def stats(self) -> BinanceStats:
        """The counts so far; from any thread."""
        return dataclasses.replace(
            self._stats, queued=len(self._outlet), stalls=self._outlet.stalls
        )

    def _live(self) -> None:
        try:
            asyncio.run(self._live_in_loop())
        finally:
            self._outlet.close()

    async def _live_in_loop(self) -> None:
        stopping = asyncio.Event()
        with self._lock:
            if self._is_stopped:
                return
            self._stopping = asyncio.get_running_loop(), stopping
        try:
            client = LiveClient(
                self.symbols, self._config, self._resume, self._outlet, self._stats, self._log
            )
            client.record_with(self._record)
            await client.run(stopping, self._draw)
        except Exception as error:  # noqa: BLE001 - raised again by ``run``
            self._error = error
        finally:
            self._outlet.close()
