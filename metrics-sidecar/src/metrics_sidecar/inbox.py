"""What arrives: the PULL socket, who is connected to it, and each frame's way into the ledger.

Used by the receiver's thread. It must not know metrics, HTTP or when is committed.
"""

from __future__ import annotations

import time
from collections.abc import Container
from typing import Final

import structlog
import zmq

from metrics_sidecar.connections import Connections
from metrics_sidecar.ledger import Ledger
from trade_telemetry.batches import frames_of_each
from trade_telemetry.errors import RejectedMessageError
from trade_telemetry.messages import FRAME_BYTES_MAX, RejectReason, Trade, decode

RECEIVE_HIGH_WATER_MARK: Final = 64
TRANSPORT_FRAME_BYTES_MAX: Final = 4 * FRAME_BYTES_MAX
"""A frame above FRAME_BYTES_MAX is rejected; one above this costs its sender the connection."""
BATCH_MESSAGES_MAX: Final = 500
"""At once, before it is looked whether to commit: up to 32,000 trades."""
TURN_S_MAX: Final = 0.05
"""A turn ends after this, if what came takes long to judge: commits and health do not wait."""
UNFINISHED_BYTES_MAX: Final = 4 * 2**20
"""What ZeroMQ may hold for us when its queue has just been emptied: parts of messages without end.

Ours and ordinary ones are whole at once. Parts without content cost 64 bytes for 2 on the wire.
"""
HELD_BYTES_MAX: Final = 64 * 2**20
"""What ZeroMQ may hold for us at any time, also while nothing is received: 256 such queues."""
GUARD_INTERVAL_S: Final = 0.05
_MULTIPART: Final = RejectedMessageError(RejectReason.MULTIPART, "a message of several frames")
_OVERSIZED: Final = f"a frame above {TRANSPORT_FRAME_BYTES_MAX} bytes"
_NOBLOCK: Final = int(zmq.NOBLOCK)  # arithmetic on enums is slow


class Inbox:
    """Bound by ``bind``, emptied by ``take``.

    Bounds: 64 messages a connection in ZeroMQ's queue, 64 KiB a frame on the wire, 256
    connections, and ``HELD_BYTES_MAX`` in all. A peer that sends faster than this waits in its own
    queue.
    """

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PULL)
        self._socket.setsockopt(zmq.RCVHWM, RECEIVE_HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.MAXMSGSIZE, TRANSPORT_FRAME_BYTES_MAX)
        self.connections = Connections(self._context, self._socket)
        self._log = structlog.get_logger("receiver")
        self._in_multipart = False
        self._latest_rejection: dict[str, str] = {}
        self._taken_bytes = 0
        self._ended_some = False
        self._guarded_s = 0.0

    def bind(self, address: str) -> None:
        """Listen; raises BindError."""
        self.connections.bind(address, "SIDECAR_ZMQ_BIND")

    def register(self, poller: zmq.Poller) -> None:
        """Have a poller wake for messages, and for what ``handle`` handles."""
        poller.register(self._socket, zmq.POLLIN)
        self.connections.register(poller)

    def poll(self, wait_ms: int) -> bool:
        """Wait for a message, whoever else would like to connect; whether there is one."""
        return bool(self._socket.poll(wait_ms))

    def handle(self, ledger: Ledger, ready: Container[object] | None = None) -> None:
        """Do what is due for the connections, without waiting; for ``ready`` see there."""
        cut = self.connections.handle(ready)
        if cut:
            self._latest_rejection = {"latest": _OVERSIZED}
            ledger.reject(RejectReason.OVERSIZED, cut)

    def take(self, ledger: Ledger) -> bool:
        """Hand what is there to the ledger, at most a batch; whether the queue was emptied."""
        receive, now = self._socket.recv, time.time
        plain: list[Trade] = []
        taken_bytes = 0
        until_s = now() + TURN_S_MAX
        try:
            for _ in range(BATCH_MESSAGES_MAX):
                frame = receive(_NOBLOCK, copy=False)
                data = frame.bytes
                taken_bytes += len(data)
                taken_bytes += 2 if len(data) < 256 else 9  # its flags and length on the wire
                if frame.more or self._in_multipart:
                    self._take_part(ledger, more=frame.more)
                    continue
                now_s = now()
                try:
                    message = decode(data, now_s)
                except RejectedMessageError as error:
                    self._refuse(ledger, error, data, now_s)
                else:
                    if isinstance(message, Trade) and message.src is None:
                        plain.append(message)
                        continue
                    if plain:  # first: the last one counted is the last one that came
                        ledger.apply_plain(plain, now_s)
                        plain.clear()
                    ledger.take(message, now_s)
                if now_s > until_s:
                    break
        except zmq.Again:
            return True
        finally:
            self._taken_bytes += taken_bytes
            if plain:
                ledger.apply_plain(plain, now())
        return False

    def receive(self, ledger: Ledger, ready: Container[object] | None = None) -> None:
        """Take what is there, at most a batch, and see that ZeroMQ holds no more than it may.

        Where ``ready`` says that nothing has come, it is looked only if the bytes say otherwise.
        """
        read_bytes = self._read_bytes_if_due()  # before: what was read by then must have come
        nothing_came = ready is not None and self._socket not in ready and not self._ended_some
        few_bytes = read_bytes is None or read_bytes - self._taken_bytes <= UNFINISHED_BYTES_MAX
        if nothing_came and few_bytes:
            return
        emptied = self.take(ledger)
        if read_bytes is not None:
            self._guard(read_bytes, UNFINISHED_BYTES_MAX if emptied else HELD_BYTES_MAX)
            if emptied and self._ended_some:  # what came of those is no credit to the next
                self._ended_some, self.connections.admits = False, True
                self._taken_bytes = self.connections.read_bytes()

    def guard(self) -> None:
        """As ``receive``, for a time in which nothing is taken."""
        read_bytes = self._read_bytes_if_due()
        if read_bytes is not None:
            self._guard(read_bytes, HELD_BYTES_MAX)

    def tell_rejections(self, ledger: Ledger) -> None:
        """One line for all since the last, so that a flood of bad input is no flood of lines."""
        if self._latest_rejection:
            rejected = ledger.snapshot().rejected
            totals = {str(reason): count for reason, count in rejected.items() if count}
            self._log.warning("rejected input", **self._latest_rejection, totals=totals)
            self._latest_rejection = {}

    def close(self) -> None:
        """Let go of everything; what was not taken is lost to us."""
        self.connections.close()
        self._socket.close(linger=0)
        self._context.term()

    def _take_part(self, ledger: Ledger, *, more: bool) -> None:
        """Reject a message of several frames once, when its first frame comes."""
        if not self._in_multipart:
            self._reject(ledger, _MULTIPART, 0.0)
        self._in_multipart = more

    def _refuse(
        self, ledger: Ledger, error: RejectedMessageError, frame: bytes, now_s: float
    ) -> None:
        """Reject a frame; of a batch that is not sound only those trades that are not."""
        frames = [*frames_of_each(frame)] if error.reason is RejectReason.BATCH else []
        for each in frames:
            try:
                ledger.take(decode(each, now_s), now_s)
            except RejectedMessageError as problem:
                self._reject(ledger, problem, now_s)
        if not frames:
            self._reject(ledger, error, now_s)

    def _reject(self, ledger: Ledger, error: RejectedMessageError, now_s: float) -> None:
        self._latest_rejection = {"latest": error.detail}
        if error.stamps is None:
            ledger.reject(error.reason)
        else:
            self._latest_rejection["publisher"] = error.stamps[0]
            ledger.reject_stamped(error.reason, error.stamps, now_s)

    def _read_bytes_if_due(self) -> int | None:
        now_s = time.monotonic()
        if now_s < self._guarded_s + GUARD_INTERVAL_S:
            return None
        self._guarded_s = now_s
        return self.connections.read_bytes()

    def _guard(self, read_bytes: int, held_bytes_max: int) -> None:
        """End all connections when too much was read and not taken: ZeroMQ does not say of whom."""
        held_bytes = read_bytes - self._taken_bytes
        if held_bytes > held_bytes_max:
            ended = self.connections.shut()
            self._taken_bytes = 0
            # What came of those is still held: nobody may send more before it was taken.
            self._ended_some, self.connections.admits = True, False
            self._log.warning(
                "connections ended: unfinished messages, or more than is taken, fill the memory. "
                "Publishers come back and send again; find who sends other things to this port",
                ended=ended,
                held_bytes=held_bytes,
                held_bytes_max=held_bytes_max,
            )
