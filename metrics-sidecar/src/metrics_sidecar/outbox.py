"""What is answered: the PUB socket on which publishers hear how far they are committed.

Used by the receiver's thread. It knows nothing of epochs or sequences.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterable
from typing import Final

import structlog
import zmq

from metrics_sidecar.connections import Connections
from trade_telemetry.acknowledgements import Acknowledgement, encode_acknowledgement

TOPIC_FRAME_BYTES_MAX: Final = 256
"""A publisher's name takes 65 of them."""
SAID_BYTES_MAX: Final = 2_048
"""What a subscriber may say in the life of a connection: its handshake, and some 20 topics."""
UNHEARD_TOPICS_MAX: Final = 16
GUARD_INTERVAL_S: Final = 0.05
LAST_WORDS_MS: Final = 100


class Outbox:
    """Bound by ``bind``; a subscriber that does not read misses what is above 1,000 answers.

    Bounds: 256 connections, and ``SAID_BYTES_MAX`` from each, because ZeroMQ keeps every topic.
    """

    def __init__(self) -> None:
        # a context of its own: who floods one socket does not hold up the other
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.MAXMSGSIZE, TOPIC_FRAME_BYTES_MAX)
        self._socket.setsockopt(zmq.RCVHWM, UNHEARD_TOPICS_MAX)
        self.connections = Connections(self._context, self._socket)
        self._guarded_s = 0.0
        self._log = structlog.get_logger("receiver")

    def bind(self, address: str) -> None:
        """Listen; raises BindError."""
        self.connections.bind(address, "SIDECAR_ZMQ_ACK_BIND")

    def register(self, poller: zmq.Poller) -> None:
        """Have a poller wake for what ``handle`` handles."""
        self.connections.register(poller)

    def handle(self, ready: Container[object] | None = None) -> None:
        """Do what is due for the connections, without waiting; for ``ready`` see there."""
        self.connections.handle(ready)
        now_s = time.monotonic()
        if now_s >= self._guarded_s + GUARD_INTERVAL_S:
            self._guarded_s = now_s
            self._guard()
            self._socket.getsockopt(zmq.EVENTS)  # take in who came, went and subscribed

    def send(self, answers: Iterable[tuple[str, Acknowledgement]]) -> None:
        """Publish what was committed; never waits."""
        for source, acknowledgement in answers:
            self._socket.send(encode_acknowledgement(source, acknowledgement), zmq.NOBLOCK)

    def close(self) -> None:
        """Let go of everything, after at most ``LAST_WORDS_MS`` for the last answers."""
        self.connections.close()
        self._socket.close(linger=LAST_WORDS_MS)
        self._context.term()

    def _guard(self) -> None:
        ended = self.connections.shut(SAID_BYTES_MAX + 1)
        if ended:
            self._log.warning(
                "connections ended: a subscriber to acknowledgements has said too much",
                ended=ended,
                said_bytes_max=SAID_BYTES_MAX,
            )
