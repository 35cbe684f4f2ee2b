"""What is measured: a publisher under test and a bare `socket.send`, as calls with nothing to do.

The publisher comes from a factory, so that one with a known fault can be measured, too. It must not
know schedules or figures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import zmq

from trade_telemetry import Publisher, PublisherStats
from trade_telemetry.messages import Trade, encode
from trading_app.benchmark.clock import Calls
from trading_app.benchmark.sink import Sink
from trading_app.benchmark.ways import TRADES

QUEUE_MESSAGES: Final = 1_000_000
"""Of the bare socket: more than a round sends, so that none has to wait for the other process."""


class Subject(Protocol):
    """A publisher under test: what is used of ``trade_telemetry.Publisher``.

    ``publish`` answers with something true when the trade was accepted.
    """

    def publish(
        self,
        side: str,
        qty: float,
        ts: float | None = None,
        *,
        symbol: str | None = None,
        price: float | None = None,
    ) -> object:
        """Accept a trade, or refuse it."""

    def stats(self) -> PublisherStats:
        """Where its trades are."""

    def close(self, timeout_s: float = 2.0) -> int:
        """Send what waits."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a publisher is opened with; ``capacity`` is how many trades may wait."""

    address: str
    source: str
    journal_dir: Path
    capacity: int


Open = Callable[[Opening], Subject]


def open_publisher(opening: Opening) -> Subject:
    """The publisher that bots use, with a journal file."""
    return Publisher(
        opening.address,
        source=opening.source,
        journal_dir=opening.journal_dir,
        capacity=opening.capacity,
    )


def publishing(subject: Subject) -> Calls:
    """Trades of both sides and several symbols; checking and keeping them is within the call."""
    publish = subject.publish

    def call(side: str, qty: float, symbol: str, price: float) -> Callable[[], object]:
        return lambda: publish(side, qty, symbol=symbol, price=price)

    return [call(*trade) for trade in TRADES]


@dataclass(frozen=True, slots=True)
class Bare:
    """A bare PUSH socket: its calls, and how many messages arrived where they are thrown away."""

    calls: Calls
    received: Callable[[], int]


@contextmanager
def bare_socket() -> Iterator[Bare]:
    """Send the same bytes as a publisher, made beforehand, to a process that only takes them in."""
    with Sink("zmq") as sink, zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.SNDHWM, QUEUE_MESSAGES)
        push.setsockopt(zmq.LINGER, 0)
        push.connect(sink.address)
        yield Bare(_sending(push), sink.counted)


def _sending(push: zmq.Socket[bytes]) -> Calls:
    send = push.send

    def call(frame: bytes) -> Callable[[], object]:
        return lambda: send(frame)

    return [call(frame) for frame in _frames()]


def _frames() -> list[bytes]:
    stamps = ("benchmark", 2**52, 123_456)
    return [
        encode(Trade(side, qty, time.time(), symbol, price, *stamps))  # type: ignore[arg-type]
        for side, qty, symbol, price in TRADES
    ]


def doing_nothing() -> Calls:
    """What the timed loop itself takes."""
    return [lambda: None for _ in TRADES]
