"""The one thread that owns the PUSH socket: it reads the ring, sends, and says a beat each second.

It takes a trade off the ring only while the sidecar is connected, so that what waits is known and
shown. It must not know who publishes, or why.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

import msgspec
import zmq
from zmq.utils.monitor import recv_monitor_message

from trade_telemetry.errors import ConfigurationError
from trade_telemetry.journal import Ring
from trade_telemetry.messages import Beat, RefusalReason, encode

BATCH_EVENTS_MAX: Final = 500
CLOSE_S_MAX: Final = 24 * 3600.0
PAUSE_MS_MIN: Final = 1
PAUSE_MS_MAX: Final = 20
BEAT_INTERVAL_S: Final = 1.0
SEND_HIGH_WATER_MARK: Final = 256
RECONNECT_MS: Final = 100
_MONITORED: Final = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
_log: Final = logging.getLogger(__name__)


class Sender:
    """Send a ring's trades to one address, stamped with one source and epoch.

    At most ``SEND_HIGH_WATER_MARK`` trades are in ZeroMQ's own queue; the rest wait in the ring.
    ``undelivered`` says after the end how many of those at most were given up with the queue.
    Raises ConfigurationError when ZeroMQ cannot use the address.
    """

    def __init__(
        self,
        ring: Ring,
        address: str,
        source: str,
        epoch: int,
        refused: dict[RefusalReason, int],
    ) -> None:
        self._ring = ring
        self._source = source
        self._epoch = epoch
        self._refused = refused
        self.connected = False
        self.errors = 0
        self.undelivered = 0
        self._since_s = time.time()
        self._beat_due_s = 0.0
        self._deadline_s: float | None = None
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.SNDHWM, SEND_HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.IPV6, 1)
        self._socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        self._monitor = self._socket.get_monitor_socket(_MONITORED)
        try:
            self._socket.connect(address)
        except zmq.ZMQError as error:
            self._close_sockets(linger_ms=0)
            raise ConfigurationError(
                f"address {address!r} cannot be used ({error}): write it as tcp://HOST:PORT"
            ) from None
        self._thread = threading.Thread(target=self._run, name=f"telemetry-{source}", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Send what waits for at most ``timeout_s``, then end the thread and close the socket."""
        if self._deadline_s is None:
            self._deadline_s = time.monotonic() + max(0.0, min(timeout_s, CLOSE_S_MAX))
        self._thread.join()

    def _run(self) -> None:
        pause_ms = PAUSE_MS_MIN
        while not self._finished():
            try:
                self._hear(pause_ms)
                self._say_beat()  # before the trades: the first word on a connection says who it is
                sent = self._send_waiting() if self.connected else 0
            except Exception:  # noqa: BLE001 - the loop must survive; counted and logged
                self.errors += 1
                _log.warning("the telemetry sender failed and goes on", exc_info=self.errors == 1)
                sent = 0
            if sent == BATCH_EVENTS_MAX:
                pause_ms = 0
            else:
                pause_ms = PAUSE_MS_MIN if sent else min(pause_ms * 2 or 1, PAUSE_MS_MAX)
        self._end()

    def _end(self) -> None:
        """Say a last beat, and give ZeroMQ what is left of the time to empty its queue."""
        self._beat_due_s = 0.0
        self._say_beat(ending=True)
        deadline_s = self._deadline_s or 0.0
        self._close_sockets(linger_ms=max(0, int((deadline_s - time.monotonic()) * 1000)))
        if time.monotonic() >= deadline_s:  # it took all the time, so it may not have emptied it
            self.undelivered = min(self._ring.tail, SEND_HIGH_WATER_MARK)

    def _finished(self) -> bool:
        if self._deadline_s is None:
            return False
        return len(self._ring) == 0 or time.monotonic() >= self._deadline_s

    def _hear(self, pause_ms: int) -> None:
        """Wait for news of the connection; this wait is also the pause between two looks."""
        while self._monitor.poll(pause_ms):
            event = recv_monitor_message(self._monitor)["event"]
            self.connected = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self._beat_due_s = 0.0
            pause_ms = 0

    def _send_waiting(self) -> int:
        """Push up to a batch of trades; those that ZeroMQ does not take stay in the ring."""
        ring = self._ring
        first = ring.tail + 1
        last = min(ring.head, ring.tail + BATCH_EVENTS_MAX)
        for seq in range(first, last + 1):
            trade = msgspec.structs.replace(
                ring.read(seq), src=self._source, epoch=self._epoch, seq=seq
            )
            frame = encode(trade)
            if not (self._push(frame) or (self._has_room() and self._push(frame))):
                return seq - first
            ring.trim(seq)
        return last - first + 1

    def _say_beat(self, *, ending: bool = False) -> None:
        now_s = time.monotonic()
        if not self.connected or now_s < self._beat_due_s:
            return
        self._beat_due_s = now_s + BEAT_INTERVAL_S
        head = self._ring.head
        beat = Beat(
            self._source,
            self._epoch,
            since=self._since_s,
            head=head,
            waiting=head - self._ring.tail,
            capacity=self._ring.capacity,
            refused={str(reason): count for reason, count in self._refused.items()},
            ending=ending,
        )
        self._push(encode(beat))

    def _has_room(self) -> bool:
        """Wait a moment for ZeroMQ to empty half of its queue."""
        return bool(self._socket.poll(PAUSE_MS_MIN, zmq.POLLOUT))

    def _push(self, frame: bytes) -> bool:
        try:
            self._socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _close_sockets(self, linger_ms: int) -> None:
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=linger_ms)
        self._context.term()
