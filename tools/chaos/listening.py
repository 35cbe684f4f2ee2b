"""The harness's ears: the actors' pipes, and the acknowledgements that the sidecar publishes.

Each is one thread. Neither judges what it hears.
"""

from __future__ import annotations

import os
import selectors
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import msgspec
import zmq

from chaos.cast import ChaosError
from chaos.control import RECORD, Report
from chaos.recovery import Key, Offsets

_READ_BYTES: Final = RECORD.size * 4096
_POLL_MS: Final = 20
_END_S_MAX: Final = 60.0


class Ears:
    """Reads pipes until their writers are gone; ``add`` returns what is set at the end of one."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ears", daemon=True)
        self._thread.start()

    def add(self, descriptor: int, take: Callable[[bytes], object]) -> threading.Event:
        """Hand every chunk to ``take``; the event is set when all was handed over."""
        ended = threading.Event()
        with self._lock:
            self._selector.register(descriptor, selectors.EVENT_READ, (take, ended))
        return ended

    def close(self) -> None:
        """End the thread."""
        self._ending.set()
        self._thread.join(_END_S_MAX)

    def _run(self) -> None:
        while not self._ending.is_set():
            for key, _ in self._selector.select(_POLL_MS / 1000):
                self._read(key.fd, *key.data)

    def _read(
        self, descriptor: int, take: Callable[[bytes], object], ended: threading.Event
    ) -> None:
        data = os.read(descriptor, _READ_BYTES)
        if data:
            take(data)
            return
        with self._lock:
            self._selector.unregister(descriptor)
        os.close(descriptor)
        ended.set()


def records(take: Callable[[Report], object]) -> Callable[[bytes], object]:
    """Cut chunks into records; a record is never split, for it was written whole."""

    def cut(data: bytes) -> None:
        for fields in RECORD.iter_unpack(data):
            take(Report(*fields))

    return cut


class Promises:
    """The highest ``last`` that was acknowledged of each epoch, to anybody who listened."""

    def __init__(self, port: int) -> None:
        self._address = f"tcp://127.0.0.1:{port}"
        self._context: zmq.Context[Any] = zmq.Context()
        self._orders: list[threading.Event] = []
        self._ending = threading.Event()
        self._heard: dict[Key, int] = {}
        self.count = 0
        self._thread = threading.Thread(target=self._run, name="promises", daemon=True)
        self._thread.start()

    def forget(self) -> None:
        """The state becomes an older one; nobody acknowledges now. Drops what is on its way too."""
        done = threading.Event()
        self._orders.append(done)
        if not done.wait(_END_S_MAX):
            raise ChaosError("nobody listens to acknowledgements any more")

    def broken_by(self, offsets: Offsets) -> list[str]:
        """What was promised, and is not in a state that is left behind."""
        return [
            f"{source} epoch {number}: {last} was acknowledged, "
            f"the state that was left has {offsets.last((source, number))}"
            for (source, number), last in list(self._heard.items())
            if offsets.last((source, number)) < last
        ]

    def close(self) -> None:
        """End the thread."""
        self._ending.set()
        self._thread.join(_END_S_MAX)
        self._context.destroy(linger=0)  # and what is left open by a thread that died

    def _open(self) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.setsockopt(zmq.RCVHWM, 100_000)
        socket.connect(self._address)
        return socket

    def _run(self) -> None:
        socket = self._open()
        while not self._ending.is_set():
            if socket.poll(_POLL_MS):
                self._take(socket.recv())
            if self._orders:
                socket.close()
                self._heard.clear()
                socket = self._open()
                self._orders.pop(0).set()
        socket.close()

    def _take(self, frame: bytes) -> None:
        source, _, body = frame.partition(b"\0")
        with suppress(msgspec.MsgspecError):
            word = msgspec.json.decode(body)
            key = (source.decode(), int(word["epoch"]))
            self._heard[key] = max(self._heard.get(key, 0), int(word["last"]))
            self.count += 1
