"""The one thread that owns the PULL socket: receive, decode, hand to the ledger, show the totals.

It must not know metrics or HTTP. Other threads read ``snapshot``, ``health`` and the figures; they
are replaced whole, never changed in place.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import Final

import structlog
import zmq

from metrics_sidecar.connections import Connections
from metrics_sidecar.history import History
from metrics_sidecar.ledger import Ledger, Snapshot
from trade_telemetry.errors import RejectedMessageError
from trade_telemetry.messages import FRAME_BYTES_MAX, RejectReason, Trade, decode

RECEIVE_HIGH_WATER_MARK: Final = 4_096
TRANSPORT_FRAME_BYTES_MAX: Final = 4 * FRAME_BYTES_MAX
"""A frame above FRAME_BYTES_MAX is rejected; one above this costs its sender the connection."""
BATCH_MESSAGES_MAX: Final = 1_000
_MULTIPART: Final = RejectedMessageError(RejectReason.MULTIPART, "a message of several frames")
COMMIT_INTERVAL_S: Final = 0.05
POLL_MS_MAX: Final = 200
STALLED_AFTER_S: Final = 2.0
FAILURE_PAUSE_S: Final = 0.1
DRAIN_QUIET_S: Final = 0.1
DRAIN_S_MAX: Final = 2.0


class BindError(RuntimeError):
    """The PULL socket cannot be bound; the message is one line that names the cure."""


@dataclass(frozen=True, slots=True)
class ReceiverFigures:
    """How the receiver itself is doing; ``busy_s`` is the time not spent waiting."""

    busy_s: float = 0.0
    errors: int = 0
    connections: int = 0
    connections_refused_limit: int = 0
    connections_refused_handshake: int = 0
    backlog_bytes: int = 0


class Receiver:
    """Receives from the moment ``start`` returns until ``stop`` has drained what had arrived.

    Bounds: 4,096 messages a connection in ZeroMQ's queue, 64 KiB a frame on the wire, 256
    connections. A peer that sends faster than this waits in its own queue.
    """

    def __init__(self, bind: str) -> None:
        self._bind = bind
        self._ledger = Ledger(since_s=0.0)
        self.history = History()
        self._log = structlog.get_logger("receiver")
        self._stopping = threading.Event()
        self._in_multipart = False
        self._dirty = False
        self._committed_s = 0.0
        self._busy_s = 0.0
        self._errors = 0
        self._heartbeat_s = 0.0
        self._last_rejection = ""
        self._thread: threading.Thread | None = None
        self.started_s = 0.0
        self.snapshot: Snapshot | None = None
        self.figures = ReceiverFigures()

    def start(self) -> None:
        """Bind and start the thread; raises BindError when the address cannot be had.

        A second call does nothing: who wants the error early starts it before the server does.
        """
        if self._thread is not None:
            return
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PULL)
        self._socket.setsockopt(zmq.IPV6, 1)
        self._socket.setsockopt(zmq.RCVHWM, RECEIVE_HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.MAXMSGSIZE, TRANSPORT_FRAME_BYTES_MAX)
        self._connections = Connections(self._context, self._socket)
        try:
            self._socket.bind(self._bind)
        except zmq.ZMQError as error:
            self._close_sockets()
            raise BindError(
                f"SIDECAR_ZMQ_BIND={self._bind} cannot be bound ({error}): "
                "stop what listens there, or set another address"
            ) from None
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._connections.register(self._poller)
        self.started_s = time.time()
        self._heartbeat_s = time.monotonic()
        self._ledger = Ledger(self.started_s)
        self.snapshot = self._ledger.snapshot()
        self.history.add(self.started_s, self.snapshot)  # what the first trades are counted from
        self._thread = threading.Thread(target=self._run, name="receiver", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no new connections, drain what has arrived (2 s at most), and end the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def heartbeat_age_s(self) -> float:
        """Seconds since the thread last came round; it does so at least five times a second."""
        return time.monotonic() - self._heartbeat_s

    def health(self) -> tuple[str, str | None]:
        """("ok", None), or "starting", "stalled" or "dead" with the reason."""
        if self._thread is None:
            return "starting", "the receiver has not been started"
        if not self._thread.is_alive():
            return "dead", "the receiver thread has ended: nothing is counted until a restart"
        age_s = self.heartbeat_age_s()
        if age_s > STALLED_AFTER_S:
            return "stalled", f"the receiver has not come round for {age_s:.1f} s"
        return "ok", None

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._turn(POLL_MS_MAX)
        self._drain()
        self._close_sockets()

    def _turn(self, wait_ms: int) -> bool:
        """Wait for something, take what is there, commit if due; whether anything was there."""
        try:
            ready = self._wait(wait_ms)
            started_s = time.monotonic()
            if not self._stopping.is_set():
                self._reject_oversized(self._connections.handle())
            if ready:
                self._receive_batch()
            self._commit_if_due()
        except Exception:  # noqa: BLE001 - the loop must survive; counted, logged, not healthy
            self._errors += 1
            self._log.exception("the receiver failed and goes on", errors=self._errors)
            self.figures = replace(self.figures, errors=self._errors)
            self._stopping.wait(FAILURE_PAUSE_S)
            return False
        self._heartbeat_s = time.monotonic()  # only a turn that ended well is a sign of life
        self._busy_s += self._heartbeat_s - started_s
        return ready

    def _wait(self, wait_ms: int) -> bool:
        """Whether something is there before it is time to commit."""
        if self._stopping.is_set():
            return bool(self._socket.poll(wait_ms))
        if self._dirty:
            due_s = self._committed_s + COMMIT_INTERVAL_S - time.monotonic()
            wait_ms = min(wait_ms, max(0, int(due_s * 1000) + 1))
        return bool(self._poller.poll(wait_ms))

    def _receive_batch(self) -> None:
        receive, take = self._socket.recv, self._take
        try:
            for _ in range(BATCH_MESSAGES_MAX):
                take(receive(zmq.NOBLOCK, copy=False))
        except zmq.Again:
            pass

    def _take(self, frame: zmq.Frame) -> None:
        self._dirty = True
        if frame.more or self._in_multipart:
            if not self._in_multipart:
                self._reject(_MULTIPART, 0.0)
            self._in_multipart = frame.more
            return
        now_s = time.time()
        try:
            message = decode(frame.bytes, now_s)
        except RejectedMessageError as error:
            self._reject(error, now_s)
            return
        if isinstance(message, Trade):
            self._ledger.apply(message, now_s)
        else:
            self._ledger.beat(message, now_s)

    def _reject(self, error: RejectedMessageError, now_s: float) -> None:
        self._last_rejection = error.detail
        if error.stamps is None:
            self._ledger.reject(error.reason)
        else:
            self._ledger.reject_stamped(error.reason, error.stamps, now_s)

    def _reject_oversized(self, count: int) -> None:
        if count:
            self._dirty = True
            self._last_rejection = f"a frame above {TRANSPORT_FRAME_BYTES_MAX} bytes"
            self._ledger.reject(RejectReason.OVERSIZED, count)

    def _commit_if_due(self) -> None:
        now_s = time.time()
        sample_due = self.history.is_due(now_s)
        commit_due = time.monotonic() >= self._committed_s + COMMIT_INTERVAL_S
        if self._dirty and (commit_due or sample_due):  # a sample is exact at its moment
            self._commit()
        if self.snapshot is not None and self.history.add(now_s, self.snapshot, self._busy_s):
            self._each_second()

    def _commit(self) -> None:
        self._committed_s = time.monotonic()
        self._dirty = False
        self.snapshot = self._ledger.snapshot()

    def _each_second(self) -> None:
        connections = self._connections
        self.figures = ReceiverFigures(
            busy_s=self._busy_s,
            errors=self._errors,
            connections=len(connections),
            connections_refused_limit=connections.refused_limit,
            connections_refused_handshake=connections.refused_handshake,
            backlog_bytes=connections.backlog_bytes(),
        )
        self._tell_rejections()

    def _tell_rejections(self) -> None:
        """One line for all since the last, so that a flood of bad input is no flood of lines."""
        if self._last_rejection:
            rejected = self._ledger.snapshot().rejected
            totals = {str(reason): count for reason, count in rejected.items() if count}
            self._log.warning("rejected input", latest=self._last_rejection, totals=totals)
            self._last_rejection = ""

    def _drain(self) -> None:
        """Take what has arrived; new peers wait in their handshake, for nobody consents any more.

        The socket stays bound: ZeroMQ's unbind closes the connections, with what is still on them.
        """
        before = self._ledger.snapshot().received
        now_s = quiet_since_s = time.monotonic()
        deadline_s = now_s + DRAIN_S_MAX
        while now_s < min(deadline_s, quiet_since_s + DRAIN_QUIET_S):
            arrived = self._turn(wait_ms=20)
            now_s = time.monotonic()
            quiet_since_s = now_s if arrived else quiet_since_s
        self._commit()
        self._tell_rejections()
        snapshot = self._ledger.snapshot()
        self._log.info(
            "receiver drained",
            drained=snapshot.received - before,
            received=snapshot.received,
            applied=snapshot.applied,
        )

    def _close_sockets(self) -> None:
        self._connections.close()
        self._socket.close(linger=0)
        self._context.term()
