"""One connection of a peer, held by a duplicate descriptor: what it sent, and how it ended.

The descriptor that ZeroMQ has stays ZeroMQ's; the duplicate outlives it, and can be asked. Knows
nothing of ZeroMQ.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket as sockets
import struct
import sys
import termios
from contextlib import suppress
from typing import Final

_TCP_INFO: Final[int | None] = getattr(sockets, "TCP_INFO", None)  # Linux only
_BYTES: Final = struct.Struct("=120xQQ")  # in struct tcp_info: acknowledged by the peer, received
_UNACKNOWLEDGED: Final = termios.TIOCOUTQ
_GREETING_BYTES: Final = 64
_CONSENT_BYTES_MIN: Final = 8
"""What ZeroMQ sends after its greeting when a peer is admitted, and not before: ``READY``."""

_connect: Final = ctypes.CDLL(None).connect
_NOWHERE: Final = bytes(16)
"""An address of the family AF_UNSPEC: to connect there resets a TCP connection (connect(2))."""


class Peer:
    """A connection; ``held`` is None when it was gone before it could be duplicated."""

    def __init__(self, descriptor: int) -> None:
        self.admitted_by_order = False
        """As far as the order of coming tells."""
        self._held = _duplicate(descriptor)
        self.is_shut = False

    @property
    def is_held(self) -> bool:
        """Whether it could be duplicated."""
        return self._held is not None

    def unread_bytes(self) -> int:
        """Bytes that have arrived and wait in the kernel."""
        return self._waiting(termios.FIONREAD)

    def read_bytes(self) -> int:
        """Bytes that have been read from it since it came; 0 where the system does not tell."""
        bytes_ = self._tcp_bytes()
        return max(0, bytes_[1] - self.unread_bytes()) if bytes_ else 0  # so never too much

    def was_admitted(self) -> bool:
        """Whether ZeroMQ has told it so: seen from what was sent to it, where that can be seen."""
        bytes_ = self._tcp_bytes()
        if bytes_ is None:
            return self.admitted_by_order
        while True:
            sent_bytes = bytes_[0] + self._waiting(_UNACKNOWLEDGED)
            again = self._tcp_bytes()
            if again in (None, bytes_):  # else what was acknowledged between is in neither
                return sent_bytes >= _GREETING_BYTES + _CONSENT_BYTES_MIN
            bytes_ = again

    def shut(self) -> None:
        """End the connection at once; ZeroMQ finds out by itself.

        It is reset: after a mere shutdown, ZeroMQ would read on as long as the peer sends.
        """
        self.is_shut = True
        if self._held is not None and _connect(self._held.fileno(), _NOWHERE, len(_NOWHERE)) != 0:
            with suppress(OSError):  # it is gone already
                self._held.shutdown(sockets.SHUT_RDWR)

    def was_cut(self) -> bool:
        """Of one that ZeroMQ has let go: whether ZeroMQ did it, and neither the peer nor we."""
        if self._held is None or self.is_shut:
            return False
        try:
            return self._held.recv(1, sockets.MSG_PEEK | sockets.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:  # reset by the peer
            return False

    def let_go(self) -> None:
        """Give the duplicate back."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def _waiting(self, direction: int) -> int:
        if self._held is None:
            return 0
        try:
            answer = fcntl.ioctl(self._held, direction, bytes(4))
        except OSError:
            return 0
        return int.from_bytes(answer, sys.byteorder)

    def _tcp_bytes(self) -> tuple[int, int] | None:
        """Bytes sent that the peer has, and bytes received; None where the system tells neither."""
        if self._held is None or _TCP_INFO is None:
            return None
        try:
            info = self._held.getsockopt(sockets.IPPROTO_TCP, _TCP_INFO, _BYTES.size)
            had, received = _BYTES.unpack(info)
        except (OSError, struct.error):  # no TCP, or an old kernel
            return None
        return had, received


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
