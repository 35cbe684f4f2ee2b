"""A publisher that records instead of sending, for the tests of programs that publish.

It checks arguments, numbers trades and refuses as ``Publisher`` does; nothing leaves the process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from trade_telemetry.messages import RefusalReason, Trade, check_trade
from trade_telemetry.publisher import CAPACITY_EVENTS
from trade_telemetry.publisher_stats import PublisherStats
from trade_telemetry.sender import CLOSE_TIMEOUT_S


class RecordingPublisher:
    """A stand-in for ``Publisher``; accepted trades are in ``trades``, in order.

    ``connected=False`` plays a sidecar that is away: trades then wait, up to ``capacity``. Set it
    back to True and they count as sent. ``clock`` gives the default ``ts`` in unix seconds.
    """

    def __init__(
        self,
        *,
        source: str = "test",
        capacity: int = CAPACITY_EVENTS,
        connected: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.source = source
        self.epoch = 1
        self.trades: list[Trade] = []
        self.last_refusal: RefusalReason | None = None
        self._capacity = capacity
        self._clock = clock
        self._sent = 0
        self._refused = dict.fromkeys(RefusalReason, 0)
        self._closed = False
        self._connected = connected

    @property
    def connected(self) -> bool:
        """Whether the pretended sidecar is there."""
        return self._connected

    @connected.setter
    def connected(self, value: bool) -> None:
        self._connected = value
        self._flush()

    def publish(
        self,
        side: str,
        qty: float,
        ts: float | None = None,
        *,
        symbol: str | None = None,
        price: float | None = None,
    ) -> int:
        """Record a trade, or refuse it as ``Publisher.publish`` would."""
        trade = check_trade(side, qty, ts, symbol, price, self._clock())
        if self._closed:
            return self._refuse(RefusalReason.CLOSED)
        if len(self.trades) - self._sent >= self._capacity:
            return self._refuse(RefusalReason.RING_FULL)
        self.trades.append(trade)
        self._flush()
        return len(self.trades)

    def stats(self) -> PublisherStats:
        """The same figures as ``Publisher.stats``."""
        return PublisherStats(
            source=self.source,
            epoch=self.epoch,
            published=len(self.trades),
            sent=self._sent,
            acknowledged=self._sent,
            waiting=len(self.trades) - self._sent,
            capacity=self._capacity,
            refused=dict(self._refused),
            overwritten=0,
            leftover=0,
            connected=self._connected,
            tracked=True,
            durable=False,
            errors=0,
            problem=None,
        )

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> int:  # noqa: ARG002 - nothing to wait for
        """Refuse from now on; return how many trades were never sent."""
        self._closed = True
        return len(self.trades) - self._sent

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _flush(self) -> None:
        if self._connected:
            self._sent = len(self.trades)

    def _refuse(self, reason: RefusalReason) -> int:
        self._refused[reason] += 1
        self.last_refusal = reason
        return 0
