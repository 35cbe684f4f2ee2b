"""Publisher: what a bot calls. It checks, appends to the ring, and answers; no socket in it.

Follow a trade: ``publish`` → ``check_trade`` → ``Ring.append``; the Sender's thread does the rest.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
import threading
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from trade_telemetry.errors import ConfigurationError
from trade_telemetry.journal import Ring
from trade_telemetry.messages import STAMP_MAX, RefusalReason, check_source, check_trade
from trade_telemetry.sender import Sender

CAPACITY_EVENTS: Final = 65_536
CLOSE_TIMEOUT_S: Final = 2.0


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """The answer to ``publish()``; true when the trade was accepted.

    ``seq`` counts from 1 within the publisher's epoch and is 0 for a refused trade; ``refused`` is
    the reason, or None.
    """

    seq: int
    refused: RefusalReason | None = None

    def __bool__(self) -> bool:
        return self.refused is None


class PublisherStats(msgspec.Struct, frozen=True):
    """Where a publisher's trades are. ``published = sent + waiting``; refused ones are apart.

    ``sent`` trades were handed to ZeroMQ; whether they arrived, the sidecar's figures tell.
    """

    source: str
    epoch: int
    published: int
    sent: int
    waiting: int
    capacity: int
    refused: dict[RefusalReason, int]
    connected: bool
    errors: int


class Publisher:
    """Publish trades to one metrics-sidecar, from any thread, at the price of a memory write.

    ``address`` is where the sidecar's PULL socket is bound, for example ``tcp://127.0.0.1:5555``;
    the sidecar may start later. ``source`` names the publisher in metrics (1 to 64 of
    ``A-Za-z0-9._/-``; default: the program's name). ``capacity`` is how many trades may wait, at 64
    bytes each; when that many wait, new ones are refused and counted.

    What survives what: trades wait in memory while the sidecar is away. A trade that was sent is
    not kept, so a sidecar that is killed, or a connection that breaks, takes with it what had not
    been counted; a publisher that is killed loses what waits. ``ack_address`` and ``journal_dir``
    are reserved for acknowledged and durable delivery, which is not built yet: anything but None
    raises ConfigurationError.

    A forked child is a new publisher with a new epoch and an empty ring; one that ends by
    ``os._exit``, as those of multiprocessing do, must call ``close()`` itself. Raises
    ConfigurationError for settings that cannot work, never because the sidecar is away. Not for
    signal handlers.
    """

    def __init__(
        self,
        address: str,
        *,
        ack_address: str | None = None,
        source: str | None = None,
        journal_dir: str | os.PathLike[str] | None = None,
        capacity: int = CAPACITY_EVENTS,
    ) -> None:
        if ack_address is not None or journal_dir is not None:
            raise ConfigurationError(
                "acknowledgements and journal files are not built yet: "
                "leave ack_address and journal_dir at None"
            )
        if not _is_address(address):
            raise ConfigurationError(
                f"address {address!r} cannot be used: write it as tcp://HOST:PORT, or ipc://PATH"
            )
        if capacity < 1:
            raise ConfigurationError(f"capacity must be at least 1, not {capacity}")
        source = _program_name() if source is None else source
        if not check_source(source):
            raise ConfigurationError(
                f"source must be 1 to 64 of A-Z a-z 0-9 . _ / -, not {source!r}"
            )
        self.source: Final = source
        self._address = address
        self._capacity = capacity
        self._start()
        _publishers.add(self)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._ring = Ring(self._capacity)
        self._refused = dict.fromkeys(RefusalReason, 0)
        self._closed = False
        self.epoch = 1 + secrets.randbelow(STAMP_MAX)
        self._sender = Sender(self._ring, self._address, self.source, self.epoch, self._refused)
        self._finalizer = weakref.finalize(self, self._sender.stop, CLOSE_TIMEOUT_S)

    def _restart(self) -> None:
        self._finalizer.detach()  # the parent's thread is not here to be joined
        if not self._closed:
            self._start()

    def publish(
        self,
        side: str,
        qty: float,
        ts: float | None = None,
        *,
        symbol: str | None = None,
        price: float | None = None,
    ) -> Receipt:
        """Accept a trade, or refuse it with a reason.

        ``side`` is "buy" or "sell"; ``qty`` from 0 to 10¹⁵ units; ``ts`` unix seconds, by default
        now; ``symbol`` 1 to 24 of ``A-Za-z0-9._:/-``; ``price`` above 0. Does no I/O, makes no
        system call, and waits for nothing but other publishing threads. Raises InvalidTradeError
        for an argument outside the contract; never raises because of delivery.
        """
        trade = check_trade(side, qty, ts, symbol, price, time.time())
        with self._lock:
            reason = RefusalReason.CLOSED
            if not self._closed:
                seq = self._ring.append(trade)
                if seq:
                    return Receipt(seq)
                reason = RefusalReason.RING_FULL
            self._refused[reason] += 1
        return Receipt(0, reason)

    def stats(self) -> PublisherStats:
        """The figures of this moment; cheap enough to call every second."""
        with self._lock:
            head, tail = self._ring.head, self._ring.tail
            refused = dict(self._refused)
        return PublisherStats(
            source=self.source,
            epoch=self.epoch,
            published=head,
            sent=tail,
            waiting=head - tail,
            capacity=self._capacity,
            refused=refused,
            connected=self._sender.connected,
            errors=self._sender.errors,
        )

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> int:
        """Send what waits, for at most ``timeout_s``, and return how many trades may not have left.

        0 means that all were handed to the connection. Otherwise it is those that still waited, and
        if ZeroMQ could not empty its queue in time, up to 256 more. Trades published afterwards are
        refused. A second call returns the same number at once.
        """
        with self._lock:
            self._closed = True
        self._finalizer.detach()
        self._sender.stop(timeout_s)
        return len(self._ring) + self._sender.undelivered

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _is_address(address: str) -> bool:
    """Whether ZeroMQ can connect there and tell us when it has."""
    if not isinstance(address, str):
        return False
    if address.startswith("ipc://"):
        return len(address) > len("ipc://")
    match = re.fullmatch(r"tcp://[^\s/]+:(\d{1,5})", address)
    return match is not None and 1 <= int(match[1]) <= 65_535


def _program_name() -> str:
    """The script's name as a source, or "python" where there is none."""
    name = Path(sys.argv[0] if sys.argv else "").stem
    return re.sub(r"[^A-Za-z0-9._/-]", "-", name)[:64].strip("-") or "python"


def _restart_after_fork() -> None:
    """Give each publisher in the child of a fork a lock, ring, epoch and thread of its own."""
    for publisher in list(_publishers):
        publisher._restart()


_publishers: Final[weakref.WeakSet[Publisher]] = weakref.WeakSet()
os.register_at_fork(after_in_child=_restart_after_fork)
