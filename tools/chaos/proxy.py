"""A TCP proxy between bots and sidecar, whose connections can be reset or held at any moment.

It knows bytes and connections, and nothing of what they mean. What it holds when a connection is
reset is lost, as it would be in the buffers of two kernels.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_CHUNK_BYTES: Final = 65_536
_TICK_MS: Final = 20
_END_S_MAX: Final = 60.0
_NO_LINGER: Final = struct.pack("ii", 1, 0)


class _Side:
    """One end of a pair, with what is still to be written to it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.descriptor = connection.fileno()
        self.pending = b""
        self.other: _Side = self
        self.ended = False

    def flush(self) -> None:
        """Write what can be written now."""
        with suppress(BlockingIOError):
            sent = self.connection.send(self.pending)
            self.pending = self.pending[sent:]


class Proxy:
    """Listens on loopback and connects each who comes with ``upstream_port``; ends by ``close``.

    ``reset`` closes all connections with RST. ``hold`` lets no byte through for some seconds.
    """

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._sides: dict[int, _Side] = {}
        self._orders: list[Callable[[], None]] = []
        self._held_until_s = 0.0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """Cut every connection at once."""
        self._orders.append(self._cut_all)

    def hold(self, seconds: float) -> None:
        """Let nothing through for a while; 0 lets go at once."""
        self._held_until_s = time.monotonic() + seconds

    def close(self) -> None:
        """End the thread and every connection."""
        self._closing = True
        self._thread.join(_END_S_MAX)

    def _run(self) -> None:
        while not self._closing:
            while self._orders:
                self._orders.pop(0)()
            for descriptor, events in self._poll():
                if descriptor == self._listener.fileno():
                    self._accept()
                elif descriptor in self._sides:
                    self._move(self._sides[descriptor], events)
        self._cut_all()
        self._listener.close()

    def _poll(self) -> list[tuple[int, int]]:
        held = time.monotonic() < self._held_until_s
        poll = select.poll()
        poll.register(self._listener.fileno(), select.POLLIN)
        for side in self._sides.values():
            events = 0 if held or side.ended or side.other.pending else select.POLLIN
            if side.pending and not held:
                events |= select.POLLOUT
            if events:
                poll.register(side.descriptor, events)
        return poll.poll(_TICK_MS)

    def _accept(self) -> None:
        with suppress(OSError):
            client = _Side(self._listener.accept()[0])
            try:
                upstream = socket.create_connection(("127.0.0.1", self._upstream_port), 1)
            except OSError:
                _reset(client.connection)
                return
            server = _Side(upstream)
            client.other, server.other = server, client
            for side in (client, server):
                side.connection.setblocking(False)
                side.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sides[side.descriptor] = side

    def _move(self, side: _Side, events: int) -> None:
        try:
            if side.pending and events & select.POLLOUT:
                side.flush()
            if events & ~select.POLLOUT:
                self._read(side)
            if side.other.ended and not side.pending:  # all that came from there is delivered
                self._drop(side)
        except OSError:
            self._cut(side)

    def _read(self, side: _Side) -> None:
        if side.ended:
            return
        data = side.connection.recv(_CHUNK_BYTES)
        if not data:
            side.ended = True
            if not side.other.pending:
                self._drop(side)
            return
        side.other.pending += data
        side.other.flush()

    def _drop(self, side: _Side) -> None:
        """Close both ends in the ordinary way."""
        for each in (side, side.other):
            self._sides.pop(each.descriptor, None)
            each.connection.close()

    def _cut(self, side: _Side) -> None:
        for each in (side, side.other):
            self._sides.pop(each.descriptor, None)
            _reset(each.connection)

    def _cut_all(self) -> None:
        for side in list(self._sides.values()):
            if side.descriptor in self._sides:
                self._cut(side)


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    connection.close()
