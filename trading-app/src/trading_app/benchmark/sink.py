"""A process that takes in what peers send, and counts trades: ``python -m …sink zmq`` or ``udp``.

It says its port, and for each line that it is told how many trades it has taken in. It must not
know who sends, and keeps nothing: what arrives is gone.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import zmq

from trading_app.benchmark.child import Child

TURN_MESSAGES_MAX: Final = 1_000
"""Then it looks whether it is asked something."""
TRADES: Final = b"trades"
"""The name of the counter of trades: in UDP, a trade is several metrics."""
RECEIVE_BUFFER_BYTES: Final = 4 * 1024**2
DATAGRAM_BYTES_MAX: Final = 65_536
LINE_BYTES_MAX: Final = 64


class Sink:
    """Such a process, seen from the one that sends to it; a context manager."""

    port: int

    def __init__(self, kind: str) -> None:
        self._child = Child(__name__, kind)

    def __enter__(self) -> Sink:
        try:
            self.port = int(self._child.hear())
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *arguments: object) -> None:
        self._child.__exit__(*arguments)  # type: ignore[arg-type]  # as they were given

    @property
    def address(self) -> str:
        """Where a PUSH socket connects."""
        return f"tcp://127.0.0.1:{self.port}"

    def counted(self) -> int:
        """How many trades it has taken in by now."""
        self._child.say()
        return int(self._child.hear())


@contextmanager
def _zmq_source() -> Iterator[tuple[int, zmq.Socket[bytes], Callable[[], int]]]:
    """A trade a message. The port, what to wait for, and a reading of one message."""
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        port = pull.bind_to_random_port("tcp://127.0.0.1")

        def take() -> int:
            pull.recv(zmq.NOBLOCK)
            return 1

        yield port, pull, take


@contextmanager
def _udp_source() -> Iterator[tuple[int, int, Callable[[], int]]]:
    """The same of datagrams, of which some say that there was a trade."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        udp.setblocking(False)
        udp.bind(("127.0.0.1", 0))
        yield udp.getsockname()[1], udp.fileno(), lambda: udp.recv(DATAGRAM_BYTES_MAX).count(TRADES)


def _take(take: Callable[[], int]) -> int:
    """What is there, up to a limit: the number of trades in it."""
    counted = 0
    for _ in range(TURN_MESSAGES_MAX):
        try:
            counted += take()
        except (zmq.Again, BlockingIOError):
            break
    return counted


def main(kind: str) -> None:
    """Count until standard input ends."""
    asked = sys.stdin.fileno()
    poller, counted = zmq.Poller(), 0
    with _zmq_source() if kind == "zmq" else _udp_source() as (port, source, take):
        poller.register(source, zmq.POLLIN)
        poller.register(asked, zmq.POLLIN)
        print(port, flush=True)
        while True:
            ready = dict(poller.poll())
            if source in ready:
                counted += _take(take)
            if asked in ready:
                if not os.read(asked, LINE_BYTES_MAX):
                    return
                print(counted, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
