"""A PULL socket that plays the sidecar's side of the wire."""

from __future__ import annotations

import time
from collections.abc import Iterator

import hypothesis
import pytest
import zmq

from trade_telemetry.messages import Beat, Message, Trade, decode

TIMEOUT_MS = 10_000

hypothesis.settings.register_profile("project", deadline=None, derandomize=True)
hypothesis.settings.load_profile("project")


class Pull:
    """A bound PULL socket; ``trades(n)`` waits for that many trades."""

    def __init__(self, address: str = "tcp://127.0.0.1:*") -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PULL)
        self._socket.setsockopt(zmq.RCVTIMEO, TIMEOUT_MS)
        self._socket.bind(address)
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def message(self) -> Message:
        return decode(self._socket.recv(), time.time())

    def trades(self, count: int) -> list[Trade]:
        found: list[Trade] = []
        while len(found) < count:
            message = self.message()
            if isinstance(message, Trade):
                found.append(message)
        return found

    def beat(self) -> Beat:
        while True:
            message = self.message()
            if isinstance(message, Beat):
                return message

    def close(self) -> None:
        self._socket.close(linger=0)
        self._context.term()


@pytest.fixture
def pull() -> Iterator[Pull]:
    pull = Pull()
    yield pull
    pull.close()


@pytest.fixture
def pull_at() -> type[Pull]:
    """Bind a socket at a given address; the test closes it."""
    return Pull


@pytest.fixture
def free_address() -> str:
    """An address at which nothing listens."""
    pull = Pull()
    pull.close()
    return pull.address
