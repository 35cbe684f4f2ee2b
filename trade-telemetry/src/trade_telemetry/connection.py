"""The two sockets to one sidecar: PUSH for messages, SUB for acknowledgements, and their health.

Owned by one thread. It knows ZeroMQ and nothing of epochs or sequences.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from typing import Final

import zmq
from zmq.utils.monitor import recv_monitor_message

from trade_telemetry.acknowledgements import (
    Acknowledgement,
    acknowledgement_topic,
    decode_acknowledgement,
)
from trade_telemetry.errors import ConfigurationError

SEND_HIGH_WATER_MARK: Final = 256
"""Plain messages in ZeroMQ's own queue: what a lost connection may take with it."""
TRACKED_HIGH_WATER_MARK: Final = 1_024
"""Where what is lost comes again: deep enough that the two threads seldom wait for each other."""
RECONNECT_MS: Final = 100
STUCK_AFTER_S: Final = 5.0
ROOM_WAIT_MS: Final = 1
_MONITORED: Final = zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
_Socket = zmq.Socket[bytes]


class _Half:
    """One socket with its monitor, made anew when it is stuck."""

    def __init__(
        self, context: zmq.Context[_Socket], address: str, *, topic: bytes = b"", queue: int = 0
    ) -> None:
        self._context = context
        self._kind = zmq.SUB if topic else zmq.PUSH
        self._queue = queue
        self._address = address
        self._topic = topic
        self.connected = False
        self.inodes: dict[int, int] = {}  # of the open TCP connections, by descriptor
        self.open()

    def open(self) -> None:
        """Connect; raises ConfigurationError, and then everything is as it was."""
        opened: list[_Socket] = []
        try:
            opened.append(socket := self._context.socket(self._kind))
            socket.setsockopt(zmq.IPV6, 1)
            socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
            if self._kind == zmq.SUB:
                socket.setsockopt(zmq.SUBSCRIBE, self._topic)
            else:
                socket.setsockopt(zmq.SNDHWM, self._queue)
            opened.append(socket.get_monitor_socket(_MONITORED))
            socket.connect(self._address)
        except zmq.ZMQError as error:
            _close(opened, linger_ms=0)
            raise ConfigurationError(
                f"address {self._address!r} cannot be used ({error}): write it as tcp://HOST:PORT"
            ) from None
        self.socket, self.monitor = opened

    def renew(self) -> None:
        """A new socket in place of the old one, once it is there."""
        old = [self.socket, self.monitor]
        self.open()
        self.connected = False
        self.inodes.clear()
        _close(old, linger_ms=0)

    def close(self, linger_ms: int) -> None:
        """Let go, after at most ``linger_ms`` for what waits in ZeroMQ's queue."""
        self.connected = False
        self.inodes.clear()
        _close([self.socket, self.monitor], linger_ms)

    def follow(self) -> bool:
        """Take in what became of the connection; whether a new one was made."""
        made = False
        while self.monitor.poll(0):
            event = recv_monitor_message(self.monitor)
            if event["event"] == zmq.EVENT_CONNECTED:
                self._note_descriptor(event["value"])
                continue
            self.connected = made = event["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
            if not self.connected:
                self.inodes.pop(event["value"], None)
        return made

    def _note_descriptor(self, descriptor: int) -> None:
        with contextlib.suppress(OSError):  # it is gone already
            self.inodes[descriptor] = os.fstat(descriptor).st_ino


def _close(opened: list[_Socket], linger_ms: int) -> None:
    """A socket, and its monitor if that was made."""
    if len(opened) > 1:
        opened[0].disable_monitor()
        opened[1].close(linger=0)
    if opened:
        opened[0].close(linger=linger_ms)


class Connection:
    """A sidecar's PUSH address and, unless it is None, the one of its acknowledgements.

    Either end may start first. Raises ConfigurationError for an address that ZeroMQ cannot use.
    """

    def __init__(self, address: str, ack_address: str | None, source: str) -> None:
        self._source = source
        self._context: zmq.Context[_Socket] = zmq.Context()
        self._push: _Half | None = None
        self._acks: _Half | None = None
        try:
            queue = SEND_HIGH_WATER_MARK if ack_address is None else TRACKED_HIGH_WATER_MARK
            self._push = _Half(self._context, address, queue=queue)
            if ack_address is not None:
                topic = acknowledgement_topic(source)
                self._acks = _Half(self._context, ack_address, topic=topic)
        except BaseException:
            self.close(linger_ms=0)
            raise
        self._refused_since_s: float | None = None
        self._pushed = True
        self._heard_some = False
        self._watch()

    def _watch(self) -> None:
        self._poller = zmq.Poller()
        for half in self._halves():
            self._poller.register(half.monitor, zmq.POLLIN)
        if self._acks is not None:
            self._poller.register(self._acks.socket, zmq.POLLIN)

    def _halves(self) -> list[_Half]:
        return [half for half in (self._push, self._acks) if half is not None]

    @property
    def connected(self) -> bool:
        """Whether the sidecar is there, and has shaken hands."""
        return self._push is not None and self._push.connected

    def wait(self, wait_ms: int) -> bool:
        """Wait for news; whether the PUSH socket has a new connection."""
        news = [socket for socket, _ in self._poller.poll(wait_ms)]
        self._heard_some = self._acks is not None and self._acks.socket in news
        made = False
        for half in self._halves():
            if half.monitor in news:
                new = half.follow()
                made |= new and half is self._push
        if made:
            self._pushed = False
            self._refused_since_s = None
        return made

    def acknowledgements(self) -> Iterator[Acknowledgement]:
        """Those that had come by ``wait``; what is none for this source is passed over."""
        if self._acks is None or not self._heard_some:
            return
        while True:
            try:
                frame = self._acks.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            acknowledgement = decode_acknowledgement(self._source, frame)
            if acknowledgement is not None:
                yield acknowledgement

    def push(self, frame: bytes) -> bool:
        """Hand a frame to ZeroMQ; False when its queue stays full for a moment."""
        assert self._push is not None  # noqa: S101 - it is from the constructor to close
        socket = self._push.socket
        try:
            socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            try:
                socket.poll(ROOM_WAIT_MS, zmq.POLLOUT)
                socket.send(frame, zmq.NOBLOCK)
            except zmq.Again:
                if self._refused_since_s is None:
                    self._refused_since_s = time.monotonic()
                return False
        self._pushed = True
        return True

    def mend(self) -> bool:
        """Make the PUSH socket anew if it is stuck; whether it was.

        After a reconnect ZeroMQ sometimes never takes a message again (zeromq/libzmq 4693, 4917).
        """
        if self._pushed or not self.connected or self._refused_since_s is None:
            return False
        if time.monotonic() < self._refused_since_s + STUCK_AFTER_S:
            return False
        self.renew(push=True, acks=False)
        return True

    def renew(self, *, push: bool, acks: bool = True) -> None:
        """Make sockets anew: one is stuck, or frozen on the way without anybody telling us.

        Raises ConfigurationError while the system has no more of them; the old ones stay then.
        """
        try:
            for wanted, half in ((push, self._push), (acks, self._acks)):
                if wanted and half is not None:
                    half.renew()
        finally:
            self._watch()  # also if only one of them could be had

    def close(self, linger_ms: int) -> None:
        """Let go of everything, after at most ``linger_ms`` for what ZeroMQ still holds."""
        for half in self._halves():
            half.close(linger_ms)
        self._push = self._acks = None
        self._context.term()

    def abandon(self) -> None:
        """In a forked child: close the parent's connections here, so that its end is seen there."""
        for half in self._halves():
            for descriptor, inode in half.inodes.items():
                _close_socket(descriptor, inode)


def _close_socket(descriptor: int, inode: int) -> None:
    """Close a descriptor if it is still that socket: its number may have been given out anew."""
    with contextlib.suppress(OSError):
        status = os.fstat(descriptor)
        if stat.S_ISSOCK(status.st_mode) and status.st_ino == inode:
            os.close(descriptor)
