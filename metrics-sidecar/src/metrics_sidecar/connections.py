"""Who is connected to the PULL socket: admits peers, caps them, and sees which were cut off.

ZeroMQ drops a peer whose frame is above ZMQ_MAXMSGSIZE and tells nobody why. So each accepted
connection is held by a duplicate descriptor, and when ZeroMQ lets go of it, the duplicate answers:
end of stream means that the peer left; still open, or with unread bytes, means that it was cut.
Every peer waits in its handshake for our consent (ZAP), which is given after the duplicate is made,
so none can be cut before it is held. Owned by the receiver's thread; knows no metric.
"""

from __future__ import annotations

import fcntl
import os
import socket as sockets
import sys
import termios
from dataclasses import dataclass
from typing import Any, Final

import zmq
from zmq.utils.monitor import recv_monitor_message

CONNECTIONS_MAX: Final = 256
HANDSHAKE_MS_MAX: Final = 3_000
_ZAP_ENDPOINT: Final = "inproc://zeromq.zap.01"  # fixed by ZeroMQ RFC 27
_FAILED: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_EVENTS: Final = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | _FAILED


@dataclass
class _Peer:
    """``held`` is None when ZeroMQ had let go of it before it could be duplicated."""

    held: sockets.socket | None
    admitted: bool = False


class Connections:
    """The peers of one PULL socket; make it before the socket is bound.

    ``refused_limit`` counts connections closed because ``CONNECTIONS_MAX`` were open, and
    ``refused_handshake`` those that never spoke ZeroMQ.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], socket: zmq.Socket[bytes]) -> None:
        self.refused_limit = 0
        self.refused_handshake = 0
        self._peers: dict[int, _Peer] = {}
        self._handshake_failed = False
        self._socket = socket
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS_MAX)
        socket.setsockopt_string(zmq.ZAP_DOMAIN, "telemetry")
        self._zap = context.socket(zmq.REP)
        self._zap.bind(_ZAP_ENDPOINT)
        self._monitor = socket.get_monitor_socket(_EVENTS)

    def __len__(self) -> int:
        """How many connections are open."""
        return len(self._peers)

    def register(self, poller: zmq.Poller) -> None:
        """Have a poller wake for what ``handle`` handles."""
        poller.register(self._zap, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)

    def handle(self) -> int:
        """Do what is due, without waiting; return how many oversized frames were cut off."""
        cut = self._follow()
        while self._zap.poll(0):
            request = self._zap.recv_multipart()
            cut += self._follow()  # the peer that asks is held before it is admitted
            self._admit_oldest()
            self._zap.send_multipart([request[0], request[1], b"200", b"OK", b"", b""])
        return cut

    def backlog_bytes(self) -> int:
        """Bytes that arrived and that ZeroMQ has not read: above 0 when the receiver is behind."""
        return sum(_unread_bytes(peer.held) for peer in self._peers.values() if peer.held)

    def close(self) -> None:
        """Let go of everything; the PULL socket itself stays the caller's."""
        for peer in self._peers.values():
            _let_go(peer)
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
        held = _duplicate(descriptor)
        if held is not None and len(self._peers) >= CONNECTIONS_MAX:
            self.refused_limit += 1
            _shut(held)
            return
        self._peers[descriptor] = _Peer(held)

    def _admit_oldest(self) -> None:
        for peer in self._peers.values():
            if not peer.admitted:
                peer.admitted = True
                return

    def _gone(self, descriptor: int) -> int:
        failed, self._handshake_failed = self._handshake_failed, False
        peer = self._peers.pop(descriptor, None)
        if peer is None:
            return 0
        cut = peer.held is not None and _was_cut(peer.held)
        _let_go(peer)
        if failed and peer.admitted:
            self._admit_oldest()  # the consent was another's: this one never came so far
        if failed or not peer.admitted:
            self.refused_handshake += 1
            return 0
        return int(cut)


def _duplicate(descriptor: int) -> sockets.socket | None:
    """Hold a connection; None when there is no descriptor left, or nothing to hold any more."""
    try:
        duplicate = os.dup(descriptor)
    except OSError:
        return None
    try:
        return sockets.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        return None


def _let_go(peer: _Peer) -> None:
    if peer.held is not None:
        peer.held.close()


def _was_cut(held: sockets.socket) -> bool:
    try:
        return held.recv(1, sockets.MSG_PEEK | sockets.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:  # reset by the peer
        return False


def _unread_bytes(held: sockets.socket) -> int:
    try:
        answer = fcntl.ioctl(held, termios.FIONREAD, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(answer, sys.byteorder)


def _shut(held: sockets.socket) -> None:
    try:
        held.shutdown(sockets.SHUT_RDWR)
    except OSError:  # it is gone already
        pass
    finally:
        held.close()
