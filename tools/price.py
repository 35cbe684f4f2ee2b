"""What a trade costs, and how many a second are committed: ``python tools/price.py``.

`publish` with a journal file beside a bare `socket.send` of the same bytes, in turns, because only
the ratio means something on a shared machine; then full rings, from the first acknowledgement to
the last, journal and state in files, bot and sidecar on the same cores. Every sidecar is a real one
of its own, on free ports. Exit 1 when a figure is not what is wanted.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import zmq

from measure import MeasureError, Sidecar
from trade_telemetry import Publisher
from trade_telemetry.messages import Trade, encode

RATIO_MAX: Final = 2.5
P99_US_MAX: Final = 15.0
BUSY_P99_US_MAX: Final = 20.0
COMMITTED_PER_S_MIN: Final = 250_000
BLOCK: Final = 500
LONG_BLOCK: Final = 10_000
"""Beside a busy thread: longer than the 5 ms after which the interpreter changes threads."""
FIRST_SHARE: Final = 0.05
PATIENCE_S: Final = 60.0


@dataclass(frozen=True)
class Price:
    """Of one call, in µs: the median and the 99th percentile of `publish` and of `send`.

    ``nothing_us`` are those of a call that does nothing: what measuring itself takes.
    """

    publish_us: tuple[float, float]
    send_us: tuple[float, float]
    nothing_us: tuple[float, float]

    @property
    def ratio(self) -> float:
        """Of the medians, without what measuring itself takes."""
        nothing_us = self.nothing_us[0]
        return (self.publish_us[0] - nothing_us) / (self.send_us[0] - nothing_us)


def measure_price(calls: int, block: int) -> Price:
    """Bursts of ``block`` calls of each kind, in turns."""
    with _sidecar() as (sidecar, folder), _pusher() as pusher:
        address = sidecar.address
        with Publisher(address, source="price", journal_dir=folder / "journal") as publisher:
            _wait_until(lambda: publisher.stats().connected)
            now_s = time.time()
            trade = Trade("buy", 1.5, now_s, "BTCUSDT", 64_000.0, "price", publisher.epoch, 12_345)
            frame = encode(trade)
            published: list[int] = []
            sent: list[int] = []
            nothing: list[int] = []
            for _ in range(max(1, calls // block)):
                published += _timed(
                    lambda: publisher.publish("buy", 1.5, symbol="BTCUSDT", price=64_000.0), block
                )
                sent += _timed(lambda: pusher.send(frame), block)
                nothing += _timed(lambda: None, block)
                _wait_until(lambda: publisher.stats().waiting < publisher.stats().capacity // 2)
    return Price(_percentiles_us(published), _percentiles_us(sent), _percentiles_us(nothing))


def _timed(call: Callable[[], object], count: int) -> list[int]:
    """Nanoseconds of each of a block of calls."""
    clock = time.perf_counter_ns
    found = []
    for _ in range(count):
        started = clock()
        call()
        found.append(clock() - started)
    return found


def _percentiles_us(found_ns: list[int]) -> tuple[float, float]:
    ordered = sorted(found_ns)
    return ordered[len(ordered) // 2] / 1e3, ordered[len(ordered) * 99 // 100] / 1e3


def committed_per_s(events: int) -> float:
    """Events a second from a full ring into committed totals, the first few not counted."""
    with _sidecar() as (sidecar, folder):
        os.kill(sidecar.process.pid, signal.SIGSTOP)
        journal = folder / "journal"
        with Publisher(sidecar.address, capacity=events, journal_dir=journal) as publisher:
            for _ in range(events):
                publisher.publish("buy", 1.5, symbol="BTCUSDT", price=64_000.0)
            os.kill(sidecar.process.pid, signal.SIGCONT)
            _wait_until(lambda: publisher.stats().acknowledged > events * FIRST_SHARE)
            began_s, first = time.perf_counter(), publisher.stats().acknowledged
            _wait_until(lambda: publisher.stats().waiting == 0)
            rate = (events - first) / (time.perf_counter() - began_s)
        counted = sidecar.summary()["trades"]["buy"]
        if counted != events:
            raise MeasureError(f"{events:,} were published, and {counted:,} counted")
        return rate


@contextmanager
def _sidecar() -> Iterator[tuple[Sidecar, Path]]:
    with tempfile.TemporaryDirectory(prefix="price-") as name:
        folder = Path(name)
        sidecar = Sidecar(state=folder / "state")
        try:
            sidecar.wait_until(sidecar.is_up)
            yield sidecar, folder
        finally:
            sidecar.process.send_signal(signal.SIGCONT)
            sidecar.stop()


@contextmanager
def _pusher() -> Iterator[zmq.Socket[bytes]]:
    """A bare PUSH socket whose peer, a process of its own, throws everything away."""
    command = [sys.executable, __file__, "--swallow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            address = process.stdout.readline().strip()
            with zmq.Context() as context, context.socket(zmq.PUSH) as pusher:
                pusher.setsockopt(zmq.SNDHWM, 100_000)
                pusher.setsockopt(zmq.LINGER, 0)
                pusher.connect(address)
                yield pusher
        finally:
            process.kill()


def _swallow() -> None:
    """Until nobody is there who wants it."""
    parent = os.getppid()
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        print(f"tcp://127.0.0.1:{pull.bind_to_random_port('tcp://127.0.0.1')}", flush=True)
        pull.setsockopt(zmq.RCVTIMEO, 1_000)
        while os.getppid() == parent:
            with suppress(zmq.Again):
                while True:
                    pull.recv()


@contextmanager
def _busy_thread() -> Iterator[None]:
    """A Python thread that computes, and wants the interpreter all the time."""
    stopping = threading.Event()

    def compute() -> None:
        while not stopping.is_set():
            sum(range(100))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise MeasureError(f"the publisher got nowhere in {PATIENCE_S:g} s")
        time.sleep(0.001)


def _say(name: str, figure: str, wanted: str, *, good: bool) -> bool:
    print(f"{name:<44}{figure:>12}   {wanted:<16}{'' if good else 'MISSED'}", flush=True)
    return good


def _say_price(name: str, price: Price, p99_us_max: float) -> list[bool]:
    (median_us, high_us), (send_us, send_high_us) = price.publish_us, price.send_us
    print(
        f"{name}: publish {median_us:.2f} µs, bare send {send_us:.2f} µs, a call that does nothing "
        f"{price.nothing_us[0]:.2f} µs (medians)"
    )
    return [
        _say(
            "  publish / send, less what measuring takes",
            f"{price.ratio:.2f}",
            f"≤ {RATIO_MAX}",
            good=price.ratio <= RATIO_MAX,
        ),
        _say(
            "  99th percentile of publish, µs",
            f"{high_us:.1f}",
            f"< {p99_us_max:g}",
            good=high_us < p99_us_max,
        ),
        _say("  99th percentile of send, µs", f"{send_high_us:.1f}", "", good=True),
    ]


def run(calls: int, events: int, rounds: int) -> int:
    """Measure and print all; the exit code."""
    good = _say_price("alone", measure_price(calls, BLOCK), P99_US_MAX)
    with _busy_thread():
        price = measure_price(calls, LONG_BLOCK)
    good += _say_price("beside a busy Python thread", price, BUSY_P99_US_MAX)
    rates = []
    for number in range(rounds):
        rates.append(committed_per_s(events))
        print(f"round {number + 1} of {rounds}: {rates[-1]:,.0f} events/s committed", flush=True)
    median = statistics.median(rates)
    wanted = f"≥ {COMMITTED_PER_S_MIN:,}"
    good.append(
        _say(
            "committed a second, median",
            f"{median:,.0f}",
            wanted,
            good=median >= COMMITTED_PER_S_MIN,
        )
    )
    return 0 if all(good) else 1


def main() -> int:
    """Parse the arguments; the peer that throws everything away is this program, too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=100_000, help="of each kind")
    parser.add_argument("--events", type=int, default=400_000, help="in a full ring")
    parser.add_argument("--rounds", type=int, default=5, help="of full rings")
    parser.add_argument("--swallow", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.swallow:
        _swallow()
        return 0
    try:
        return run(options.calls, options.events, options.rounds)
    except MeasureError as error:
        print(f"price: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
