"""Publisher: what a bot calls. It checks a trade, writes it into the ring, and answers.

Follow a trade: ``publish``, then the Sender's thread, which owns the sockets.
"""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import time
import weakref
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self
from zlib import crc32

from trade_telemetry.addresses import acknowledgement_address, check_address
from trade_telemetry.connection import Connection
from trade_telemetry.delivery import Stream
from trade_telemetry.errors import ConfigurationError
from trade_telemetry.intake import Intake
from trade_telemetry.journal import open_ring
from trade_telemetry.journal_files import HEAD, HEADER_BYTES, SLOT_BYTES
from trade_telemetry.journal_slots import NUMBERS, SLOT
from trade_telemetry.messages import (
    CLOCK_AHEAD_S_MAX,
    QTY_MAX,
    RefusalReason,
    check_source,
    check_trade,
)
from trade_telemetry.plain import PlainStream
from trade_telemetry.publisher_stats import PublisherStats
from trade_telemetry.sender import CLOSE_TIMEOUT_S, Sender, abandon_all, find_leftovers

AUTO: Final = "auto"
CAPACITY_EVENTS: Final = 65_536
CAPACITY_EVENTS_MAX: Final = 2**24
_INFINITE: Final = math.inf
_NAN: Final = math.nan
_pack_numbers: Final = NUMBERS.pack
_pack_slot: Final = SLOT.pack_into
_log: Final = logging.getLogger(__name__)


class Publisher:
    """Publish trades to one metrics-sidecar, from any thread, at the price of a memory write.

    ``address`` is where the sidecar's PULL socket is bound, for example ``tcp://127.0.0.1:5555``,
    ``ack_address`` where it publishes acknowledgements: by default the same host and the next port
    (``ipc://PATH.ack`` for ``ipc://PATH``). The sidecar may start later. ``source`` names the
    publisher in metrics (1 to 64 of ``A-Za-z0-9._/-``; default: the program's name). ``capacity``
    is how many trades may wait, at 64 bytes each, up to 2²⁴; when that many wait, new ones are
    refused and counted, or with ``when_full="drop_oldest"`` the oldest are dropped and counted.

    What survives what: an accepted trade is kept until the sidecar says that it is committed, and
    counted exactly once. Without ``journal_dir`` it is kept in memory: it survives every end of the
    sidecar and of the connection, not that of this process. With ``journal_dir`` it is kept in a
    file there and survives ``SIGKILL`` of this process too: the next publisher with the same source
    and directory sends what was left, also one that is in use at that time. A power cut may lose
    the last moments of the file, and that is counted. Where the file cannot be had, trades are kept
    in memory and ``stats().problem`` says why. With ``ack_address=None`` trades are sent and
    forgotten: without stamps, counted at most once, shown as untracked.

    A forked child is a new publisher with a new epoch and an empty ring; one that ends by
    ``os._exit``, as those of multiprocessing do, must call ``close()`` itself. Raises
    ConfigurationError for settings that cannot work, never because the sidecar is away. Not for
    signal handlers and finalizers: they may wait for the thread that they interrupt.
    """

    def __init__(
        self,
        address: str,
        *,
        ack_address: str | None = AUTO,
        source: str | None = None,
        journal_dir: str | os.PathLike[str] | None = None,
        capacity: int = CAPACITY_EVENTS,
        when_full: Literal["refuse", "drop_oldest"] = "refuse",
    ) -> None:
        if not getattr(sys, "_is_gil_enabled", lambda: True)():
            raise ConfigurationError("this Python runs without the GIL: set PYTHON_GIL=1")
        check_address("address", address)
        if ack_address == AUTO:
            ack_address = acknowledgement_address(address)
        if ack_address is not None:
            check_address("ack_address", ack_address)
        elif journal_dir is not None:
            raise ConfigurationError(
                "journal_dir needs acknowledgements: give an ack_address, or leave journal_dir out"
            )
        if type(capacity) is not int or not 1 <= capacity <= CAPACITY_EVENTS_MAX:
            raise ConfigurationError(
                f"capacity must be from 1 to {CAPACITY_EVENTS_MAX}, not {capacity}"
            )
        if when_full not in ("refuse", "drop_oldest"):
            raise ConfigurationError(f"when_full is 'refuse' or 'drop_oldest', not {when_full!r}")
        source = _program_name() if source is None else source
        if not check_source(source):
            raise ConfigurationError(
                f"source must be 1 to 64 of A-Z a-z 0-9 . _ / -, not {source!r}"
            )
        self.source: Final = source
        self._addresses = (address, ack_address)
        self._journal_dir = None if journal_dir is None else Path(journal_dir)
        self._capacity = capacity
        self._open_ring = partial(
            open_ring, self._journal_dir, source, capacity, overwrite=when_full == "drop_oldest"
        )
        self._start()
        _publishers.add(self)

    def _start(self) -> None:
        address, ack_address = self._addresses
        folder, source = self._journal_dir, self.source
        connection = Connection(address, ack_address, source)
        intake: Intake | None = None
        try:
            intake = Intake(source, self._open_ring)
            stream: Stream | PlainStream = PlainStream(source, intake.ring)
            if ack_address is not None:
                stream = Stream(source, intake.ring, intake.refused)
            find = partial(find_leftovers, folder, source)
            self._sender = Sender(connection, stream, intake, find)
        except BaseException:
            connection.close(linger_ms=0)
            if intake is not None:
                intake.ring.close(delete=True)
            raise
        self._intake = intake
        self._finalizer = weakref.finalize(self, self._sender.end_within, CLOSE_TIMEOUT_S)
        self._finalizer.atexit = False  # there the sender's own hook waits for it

    def _restart(self) -> None:
        """In a forked child: become a new publisher, or a closed one where that is impossible."""
        closed = self._intake.closed
        self._finalizer.detach()
        self._intake.abandon()
        if closed:
            return
        try:
            self._start()
        except Exception:  # noqa: BLE001 - a fork must survive it; every trade is refused then
            _log.exception("publisher %s cannot start in a forked child: it is closed", self.source)

    @property
    def epoch(self) -> int:
        """The random number of this life; trades of a life are told apart by it and ``seq``."""
        return self._intake.ring.epoch

    def publish(
        self,
        side: str,
        qty: float,
        ts: float | None = None,
        *,
        symbol: str | None = None,
        price: float | None = None,
    ) -> int:
        """Accept a trade and return its sequence, from 1 in this epoch; or refuse it and return 0.

        ``side`` is "buy" or "sell"; ``qty`` from 0 to 10¹⁵ units; ``ts`` unix seconds, by default
        now; ``symbol`` 1 to 24 of ``A-Za-z0-9._:/-``; ``price`` above 0. Why one was refused is
        in ``last_refusal``, how many in ``stats()``. Does no I/O, makes no system call, and waits
        for nothing but other publishing threads, 50 µs at a time. Raises InvalidTradeError for an
        argument outside the contract; never raises because of delivery.
        """
        # Written for speed: what is plainly within the contract is written at once, as Ring.append
        # would; the rest takes the long way, which comes back here.
        now_s = time.time()
        ring = self._intake.ring
        if ts is None:
            ts = now_s
        try:
            instrument, seed = ring.instruments[side, symbol]
        except (KeyError, TypeError):
            return self._publish_checked(side, qty, ts, symbol, price, now_s)
        if not (
            (type(qty) is float and 0.0 <= qty <= QTY_MAX)
            and (ts is now_s or (type(ts) is float and 0.0 < ts <= now_s + CLOCK_AHEAD_S_MAX))
            and (price is None or (type(price) is float and 0.0 < price < _INFINITE))
        ):
            return self._publish_checked(side, qty, ts, symbol, price, now_s)
        turn = ring.turn
        while True:
            try:
                del turn.free
            except AttributeError:
                turn.wait()
            else:
                break
        try:
            seq = ring.head + 1
            if seq - ring.tail <= ring.room or ring.make_room():
                ring.begun = seq
                numbers = _pack_numbers(seq, ts, qty, _NAN if price is None else price)
                _pack_slot(
                    ring.memory,
                    HEADER_BYTES + seq % ring.capacity * SLOT_BYTES,
                    numbers,
                    instrument,
                    crc32(numbers, seed),
                )
                ring.words[HEAD] = seq * 2047  # encode_word
                ring.head = seq
                return seq
        finally:
            turn.free = None
        if self._intake.refuse(ring):
            return 0
        return self.publish(side, qty, ts, symbol=symbol, price=price)

    def _publish_checked(
        self,
        side: str,
        qty: float,
        ts: float,
        symbol: str | None,
        price: float | None,
        now_s: float,
    ) -> int:
        """Publish what may have to be coerced, is of an instrument not seen yet, or is wrong."""
        trade = check_trade(side, qty, ts, symbol, price, now_s)
        self._intake.ring.instrument(trade.side, trade.symbol)  # known from now on
        return self.publish(trade.side, trade.qty, trade.ts, symbol=trade.symbol, price=trade.price)

    @property
    def last_refusal(self) -> RefusalReason | None:
        """Why the latest refused trade was, of all threads; None as long as none was."""
        return self._intake.last_refusal

    def stats(self) -> PublisherStats:
        """The figures of this moment; cheap enough to call every second."""
        sender, ring = self._sender, self._intake.ring
        tail = ring.tail  # first: it never comes above a head that is read later
        head = ring.head
        return PublisherStats(
            source=self.source,
            epoch=ring.epoch,
            published=head,
            sent=sender.stream.sent,
            acknowledged=tail,
            waiting=head - tail,
            capacity=self._capacity,
            refused=self._intake.refusals(),
            overwritten=self._intake.overwritten(),
            leftover=sum(stream.waiting for stream in sender.leftovers),
            connected=sender.connected,
            tracked=self._addresses[1] is not None,
            durable=ring.durable,
            errors=sender.errors,
            problem=self._problem(),
        )

    def _problem(self) -> str | None:
        if self._intake.ring.problem is not None:
            return self._intake.ring.problem
        if self._sender.unheard:
            return (
                f"connected, but no acknowledgement comes from {self._addresses[1]}: see the "
                "sidecar's /health, and set ack_address to its SIDECAR_ZMQ_ACK_BIND"
            )
        if self._sender.lost_files:
            return (
                f"a journal file in {self._journal_dir} was removed or cut while it was in use: "
                "leave the files there; new trades are in a new one"
            )
        if self._sender.contested:
            return (
                f"another publisher used the source {self.source!r} and the same epoch: "
                "give each process a journal directory of its own, never a copy"
            )
        return None

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> int:
        """Send what waits and hear that it is committed; return how many trades are not settled.

        Waits at most ``timeout_s``, for what earlier lives left too, which is not in the answer. 0
        means that the sidecar has committed them all. The others are lost with this process, or
        with a journal file wait there for the next publisher. Of one that is not tracked, 0 means
        that all were handed to the connection; otherwise it is those that still waited, and if
        ZeroMQ could not empty its queue in time, up to 256 more. Trades published afterwards are
        refused. A second call returns the same number at once.
        """
        self._finalizer.detach()
        self._sender.stop(timeout_s)
        ring = self._intake.ring
        return ring.head - ring.tail + self._sender.undelivered

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _program_name() -> str:
    """The script's name as a source, or "python" where there is none."""
    name = Path(sys.argv[0] if sys.argv else "").stem
    return re.sub(r"[^A-Za-z0-9._/-]", "-", name)[:64].strip("-") or "python"


def _restart_after_fork() -> None:
    """Give each publisher in the child of a fork a lock, ring, epoch and thread of its own."""
    abandon_all()
    for publisher in list(_publishers):
        publisher._restart()


_publishers: Final[weakref.WeakSet[Publisher]] = weakref.WeakSet()
os.register_at_fork(after_in_child=_restart_after_fork)
