"""Who is connected to a socket: admits peers, caps them, and sees which were cut off.

ZeroMQ drops a peer whose frame is above ZMQ_MAXMSGSIZE and tells nobody why. So each accepted
connection is held by a duplicate descriptor, and when ZeroMQ lets go of it, the duplicate answers:
end of stream means that the peer left; still open, or with unread bytes, means that it was cut.
Every peer waits in its handshake for our consent (ZAP), which is given after the duplicate is made,
so none can be cut before it is held. Owned by the receiver's thread; knows no metric.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Final, NamedTuple

import zmq
from zmq.utils.monitor import recv_monitor_message

from metrics_sidecar.peers import Peer

CONNECTIONS_MAX: Final = 256
HANDSHAKE_MS_MAX: Final = 3_000
_ZAP_ENDPOINT: Final = "inproc://zeromq.zap.01"  # fixed by ZeroMQ RFC 27
_FAILED: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_EVENTS: Final = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | _FAILED


class BindError(RuntimeError):
    """A socket cannot be bound; the message is one line that names the cure."""


class Refused(NamedTuple):
    """Connections closed: because of a limit, or because they never spoke ZeroMQ."""

    limit: int
    handshake: int


class Connections:
    """The peers of one socket, the only one in its context; make it before the socket is bound.

    While ``admits`` is false, who comes waits in the handshake, and is turned away in the end.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], socket: zmq.Socket[bytes]) -> None:
        self._refused_limit = 0
        self._refused_handshake = 0
        self._peers: dict[int, Peer] = {}
        self._gone_bytes = 0
        self._handshake_failed = False
        self._bound = False
        self.admits = True
        self._socket = socket
        socket.setsockopt(zmq.IPV6, 1)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS_MAX)
        socket.setsockopt_string(zmq.ZAP_DOMAIN, "telemetry")
        self._zap = context.socket(zmq.REP)
        self._zap.bind(_ZAP_ENDPOINT)
        self._monitor = socket.get_monitor_socket(_EVENTS)

    def __len__(self) -> int:
        """How many connections are open."""
        return len(self._peers)

    def bind(self, address: str, key: str) -> None:
        """Listen, once; raises BindError, which names ``key`` as the setting to change."""
        if self._bound:
            return
        try:
            self._socket.bind(address)
            self._bound = True
        except zmq.ZMQError as error:
            raise BindError(
                f"{key}={address} cannot be bound ({error}): "
                "stop what listens there, or set another address"
            ) from None

    def register(self, poller: zmq.Poller) -> None:
        """Have a poller wake for what ``handle`` handles."""
        poller.register(self._zap, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)

    def handle(self, ready: Container[object] | None = None) -> int:
        """Do what is due, without waiting; return how many oversized frames were cut off.

        ``ready`` is what a poller has just found; None if nobody has looked.
        """
        if ready is not None and self._zap not in ready and self._monitor not in ready:
            return 0
        cut = self._follow()
        while self.admits and self._zap.poll(0):
            request = self._zap.recv_multipart()
            cut += self._follow()  # the peer that asks is held before it is admitted
            self._admit_oldest()
            self._zap.send_multipart([request[0], request[1], b"200", b"OK", b"", b""])
        return cut

    def backlog_bytes(self) -> int:
        """Bytes that arrived and that ZeroMQ has not read: above 0 when the receiver is behind."""
        return sum(peer.unread_bytes() for peer in self._peers.values())

    def read_bytes(self) -> int:
        """Bytes that ZeroMQ has read since the last ``shut``; too few where they are not told."""
        open_ = sum(peer.read_bytes() for peer in self._peers.values() if not peer.is_shut)
        return open_ + self._gone_bytes

    def shut(self, read_bytes_min: int = 0) -> int:
        """End the connections on which that much was read; return how many. 0: end them all."""
        peers = [peer for peer in self._peers.values() if not peer.is_shut]
        chosen = [peer for peer in peers if peer.read_bytes() >= read_bytes_min]
        for peer in chosen:
            peer.shut()
        self._refused_limit += len(chosen)
        self._gone_bytes = 0
        return len(chosen)

    def take_refused(self) -> Refused:
        """How many were refused since the last call."""
        refused = Refused(self._refused_limit, self._refused_handshake)
        self._refused_limit = self._refused_handshake = 0
        return refused

    def close(self) -> None:
        """Let go of everything; the socket itself stays the caller's."""
        for peer in self._peers.values():
            peer.let_go()
        self._peers.clear()
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._zap.close(linger=0)

    def _follow(self) -> int:
        """Take in what ZeroMQ tells of connections; a failed handshake names the one told next."""
        cut = 0
        while self._monitor.poll(0):
            event: dict[str, Any] = dict(recv_monitor_message(self._monitor))
            if event["event"] == zmq.EVENT_ACCEPTED:
                self._accepted(event["value"])
            elif event["event"] & _FAILED:
                self._handshake_failed = True
            else:
                cut += self._gone(event["value"])
        return cut

    def _accepted(self, descriptor: int) -> None:
        peer = Peer(descriptor)
        if peer.is_held and len(self._peers) >= CONNECTIONS_MAX:
            self._refused_limit += 1
            peer.shut()
            peer.let_go()
            return
        self._peers[descriptor] = peer

    def _admit_oldest(self) -> None:
        for peer in self._peers.values():
            if not peer.admitted_by_order:
                peer.admitted_by_order = True
                return

    def _gone(self, descriptor: int) -> int:
        failed, self._handshake_failed = self._handshake_failed, False
        peer = self._peers.pop(descriptor, None)
        if peer is None:
            return 0
        if not peer.is_shut:
            self._gone_bytes += peer.read_bytes()
        cut, admitted = peer.was_cut(), peer.was_admitted()
        peer.let_go()
        if failed and peer.admitted_by_order:
            self._admit_oldest()  # the consent was another's: this one never came so far
        if peer.is_shut:
            return 0
        if failed or not admitted:
            self._refused_handshake += self.admits
            self._refused_limit += not self.admits
            return 0
        return int(cut)
