"""A bot as a process of its own: what it costs, and how long until its trades are committed.

``python -m …bot fill ADDRESS FOLDER EVENTS`` fills a ring while nobody receives, and ``… pace
ADDRESS FOLDER EVENTS RATE`` publishes on a schedule. It says what it found, and stays until it is
told to go, so that it can be looked at. To `pace`, its first word is how many it published before.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Final

import msgspec
import zmq

from trade_telemetry import Publisher
from trade_telemetry.acknowledgements import acknowledgement_topic, decode_acknowledgement
from trade_telemetry.addresses import acknowledgement_address
from trading_app.benchmark import BenchmarkError
from trading_app.benchmark.clock import FIRST_SHARE, HEAD_START_NS, NANO, Schedule
from trading_app.benchmark.ways import TRADES

PATIENCE_S: Final = 50.0
"""Below that of who listens to us, so that the reason is told and not only that time is up."""
LOOK_EVERY_S: Final = 0.001
SOURCE: Final = "benchmark-bot"


class Filled(msgspec.Struct, frozen=True):
    """What became of a full ring."""

    committed_per_s: float


class Paced(msgspec.Struct, frozen=True):
    """How long after they were due trades were committed, and heard to be."""

    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class _Seen:
    at_ns: int
    acknowledged: int


def fill(publisher: Publisher, events: int) -> Filled:
    """Events a second from a full ring into committed totals, the first few not counted."""
    _ask("ready")
    for _, trade in zip(range(events), cycle(TRADES), strict=False):
        side, qty, symbol, price = trade
        publisher.publish(side, qty, symbol=symbol, price=price)
    _say("full")
    began_ns = time.perf_counter_ns()
    first = _look(publisher, lambda settled: settled > events * FIRST_SHARE)
    if first.acknowledged == events:  # all in one commit
        first = _Seen(began_ns, 0)
    last = _look(publisher, lambda settled: settled >= events)
    return Filled((events - first.acknowledged) * NANO / (last.at_ns - first.at_ns))


def _look(publisher: Publisher, is_enough: Callable[[int], bool]) -> _Seen:
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_enough(settled := publisher.stats().acknowledged):
        if time.monotonic() > deadline_s:
            raise BenchmarkError(f"only {settled:,} trades were settled in {PATIENCE_S:g} s")
        time.sleep(LOOK_EVERY_S)
    return _Seen(time.perf_counter_ns(), settled)


def pace(publisher: Publisher, listener: zmq.Socket[bytes], events: int, per_s: float) -> Paced:
    """Publish on a schedule; a trade's latency ends when an acknowledgement of it is heard here.

    By a subscriber of our own, not by the publisher's word; and from when the trade was due.
    """
    before = _first_heard(publisher, listener)
    _ask(str(before))
    schedule = Schedule(time.perf_counter_ns() + HEAD_START_NS, per_s, events)
    trades = cycle(TRADES)
    published = settled = 0
    latencies_ns: list[int] = []
    deadline_ns = schedule.due_ns(events) + round(PATIENCE_S * NANO)
    while settled < events:
        while published < events and schedule.due_ns(published) <= time.perf_counter_ns():
            side, qty, symbol, price = next(trades)
            publisher.publish(side, qty, symbol=symbol, price=price)
            published += 1
        if listener.poll(1):
            last = _settled(listener.recv(), publisher.epoch) - before
            heard_ns = time.perf_counter_ns()
            latencies_ns += (heard_ns - schedule.due_ns(index) for index in range(settled, last))
            settled = max(settled, last)
        if time.perf_counter_ns() > deadline_ns:
            raise BenchmarkError(f"only {settled:,} of {events:,} trades were settled")
    latencies_ns.sort()
    p50_ns, p99_ns = (latencies_ns[events * share // 100] for share in (50, 99))
    return Paced(p50_ns / 1e6, p99_ns / 1e6)


def _first_heard(publisher: Publisher, listener: zmq.Socket[bytes]) -> int:
    """Publish until an acknowledgement is heard, then up to the last: how many that were.

    A subscription takes a while, and what is said before it is not heard.
    """
    published = heard = 0
    deadline_s = time.monotonic() + PATIENCE_S
    while heard < published or not heard:
        if not heard:
            publisher.publish("buy", 1.0)
            published += 1
        if listener.poll(10):
            heard = max(heard, _settled(listener.recv(), publisher.epoch))
        if time.monotonic() > deadline_s:
            raise BenchmarkError(f"no acknowledgement was heard in {PATIENCE_S:g} s")
    return published


def _settled(frame: bytes, epoch: int) -> int:
    """The last sequence that is settled, if it is of this epoch."""
    acknowledgement = decode_acknowledgement(SOURCE, frame)
    if acknowledgement is None or acknowledgement.epoch != epoch:
        return 0
    return acknowledgement.last


@contextmanager
def _listening(address: str) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.SUB) as listener:
        listener.subscribe(acknowledgement_topic(SOURCE))
        listener.connect(acknowledgement_address(address))
        yield listener


def _say(line: str) -> None:
    print(line, flush=True)


def _ask(line: str) -> None:
    """Say it, and go on when told to."""
    _say(line)
    if not sys.stdin.readline():
        sys.exit(1)  # nobody wants to know any more


def _answer(found: Filled | Paced) -> None:
    _ask(msgspec.json.encode(found).decode())


def main(what: str, address: str, folder: str, *numbers: str) -> None:
    """Do it, say what was found, and stay until told to go."""
    open_publisher = partial(Publisher, address, source=SOURCE, journal_dir=folder)
    events = int(numbers[0])
    if what == "fill":
        with open_publisher(capacity=events) as publisher:
            _answer(fill(publisher, events))
    else:
        with open_publisher() as publisher, _listening(address) as listener:
            _answer(pace(publisher, listener, events, float(numbers[1])))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except BenchmarkError as error:
        sys.exit(f"benchmark: {error}")
