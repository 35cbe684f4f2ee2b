"""What a trade costs: `publish` beside a bare `socket.send`, and how fast one sender sends.

Everything is measured in one run, in turns, because only the ratio means something on a shared
machine. PUBLISHES, EVENTS and ROUNDS in the environment change how much is measured.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import zmq

from trade_telemetry import Publisher
from trade_telemetry.acknowledgements import Acknowledgement, encode_acknowledgement
from trade_telemetry.messages import Beat, Trade, decode, encode

PUBLISHES = int(os.environ.get("PUBLISHES", "100000"))
EVENTS = int(os.environ.get("EVENTS", "400000"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
BLOCK = 500
ACKNOWLEDGED_EACH = 2_000


@dataclass(frozen=True)
class Price:
    """Of one call, in µs, the median and the 99th percentile; and of the sender, events a second.

    ``busy`` is beside a Python thread that computes. The second rate is by the CPU time of the
    sender's thread, which others on the same machine hardly change.
    """

    publish_us: tuple[float, float]
    send_us: tuple[float, float]
    busy_publish_us: tuple[float, float]
    busy_send_us: tuple[float, float]
    sent_per_s: float
    sent_per_cpu_s: float


def measure_price() -> Price:
    """Measure all of it; takes about ten seconds."""
    publish_us, send_us = _prices()
    with _busy_thread():
        busy_publish_us, busy_send_us = _prices()
    per_s, per_cpu_s = _sender_rates()
    return Price(publish_us, send_us, busy_publish_us, busy_send_us, per_s, per_cpu_s)


def _prices() -> tuple[tuple[float, float], tuple[float, float]]:
    """Of `publish` with a journal file and of `send` of the same bytes, in turns."""
    address = _free_address()
    published, sent = [], []
    with (
        tempfile.TemporaryDirectory() as journal,
        _peer("acknowledge", address),
        _pusher() as pusher,
        Publisher(address, source="price", journal_dir=journal) as publisher,
    ):
        now_s = time.time()
        trade = Trade("buy", 1.5, now_s, "BTCUSDT", 64_000.0, "price", publisher.epoch, 12_345)
        frame = encode(trade)
        _wait_until(lambda: publisher.stats().connected)
        for _ in range(PUBLISHES // BLOCK):
            published += _timed(lambda: publisher.publish("buy", 1.5, now_s, symbol="BTCUSDT"))
            sent += _timed(lambda: pusher.send(frame))
            _wait_until(lambda: publisher.stats().waiting < publisher.stats().capacity // 2)
    return _percentiles_us(published), _percentiles_us(sent)


def _timed(call: Callable[[], object]) -> list[int]:
    """Nanoseconds of each of a block of calls."""
    clock = time.perf_counter_ns
    found = []
    for _ in range(BLOCK):
        started = clock()
        call()
        found.append(clock() - started)
    return found


def _percentiles_us(found_ns: list[int]) -> tuple[float, float]:
    ordered = sorted(found_ns)
    return ordered[len(ordered) // 2] / 1e3, ordered[len(ordered) * 99 // 100] / 1e3


def _sender_rates() -> tuple[float, float]:
    """Medians of rounds: a full ring from the first message to the last acknowledgement."""
    rounds = [_sender_round() for _ in range(ROUNDS)]
    return (
        statistics.median(EVENTS / wall_s for wall_s, _ in rounds),
        statistics.median(EVENTS / cpu_s for _, cpu_s in rounds),
    )


def _sender_round() -> tuple[float, float]:
    address = _free_address()
    with Publisher(address, source="price", capacity=EVENTS) as publisher:
        for _ in range(EVENTS):
            publisher.publish("buy", 1.5, symbol="BTCUSDT", price=64_000.0)
        with _peer("acknowledge", address):
            _wait_until(lambda: publisher.stats().acknowledged > 0)
            first = publisher.stats().acknowledged
            wall_s, cpu_s = time.perf_counter(), _sender_cpu_s()
            _wait_until(lambda: publisher.stats().waiting == 0)
            share = EVENTS / (EVENTS - first)
            return (
                (time.perf_counter() - wall_s) * share,
                (_sender_cpu_s() - cpu_s) * share,
            )


def _sender_cpu_s() -> float:
    """CPU time of the publisher's thread, in steps of 10 ms."""
    (number,) = (each.native_id for each in threading.enumerate() if "telemetry" in each.name)
    (times,) = (each for each in psutil.Process().threads() if each.id == number)
    return times.user_time + times.system_time


@contextmanager
def _pusher() -> Iterator[zmq.Socket[bytes]]:
    """A bare PUSH socket whose peer throws everything away."""
    address = _free_address()
    with _peer("swallow", address), zmq.Context() as context, context.socket(zmq.PUSH) as pusher:
        pusher.setsockopt(zmq.SNDHWM, 100_000)
        pusher.setsockopt(zmq.LINGER, 0)
        pusher.connect(address)
        yield pusher


@contextmanager
def _busy_thread() -> Iterator[None]:
    stopping = threading.Event()

    def compute() -> None:
        while not stopping.is_set():
            sum(range(100))

    thread = threading.Thread(target=compute)
    thread.start()
    yield
    stopping.set()
    thread.join()


@contextmanager
def _peer(role: str, address: str) -> Iterator[None]:
    command = [sys.executable, __file__, role, address]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        process.stdout.readline()
        yield
        process.kill()


def _swallow(address: str) -> None:
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.bind(address)
        print("ready", flush=True)
        while True:
            pull.recv()


def _acknowledge(address: str) -> None:
    """The least that a tracked publisher needs: one epoch, in order, nothing kept."""
    host, port = address.rsplit(":", 1)
    with zmq.Context() as context, context.socket(zmq.PULL) as pull, context.socket(zmq.PUB) as pub:
        pub.bind(f"{host}:{int(port) + 1}")
        pull.bind(address)
        print("ready", flush=True)
        last = epoch = beat = 0
        while True:
            frame = pull.recv()
            if frame.startswith(b'{"type":"beat"'):
                message = decode(frame, time.time())
                assert isinstance(message, Beat)  # noqa: S101 - it says so
                epoch, beat = message.epoch, message.number
            else:
                last += 1
                if last % ACKNOWLEDGED_EACH:
                    continue
            answer = Acknowledgement(1, epoch, last=last, head=last, beat=beat)
            pub.send(encode_acknowledgement("price", answer))


def _free_address() -> str:
    """One whose next port is most likely free too."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError("the publisher got nowhere in a minute")
        time.sleep(0.001)


def main() -> None:
    """Print the table, or be a peer."""
    if len(sys.argv) == 3:
        {"swallow": _swallow, "acknowledge": _acknowledge}[sys.argv[1]](sys.argv[2])
        return
    price = measure_price()
    print(f"{'':34}{'p50 µs':>9}{'p99 µs':>9}")
    for name, (median_us, high_us) in (
        ("publish, journal file", price.publish_us),
        ("bare socket.send", price.send_us),
        ("publish, beside a busy thread", price.busy_publish_us),
        ("bare socket.send, the same", price.busy_send_us),
    ):
        print(f"{name:34}{median_us:9.2f}{high_us:9.1f}")
    print(f"one sender thread: {price.sent_per_s:,.0f} events/s, ", end="")
    print(f"{price.sent_per_cpu_s:,.0f} for each second of its CPU time")


if __name__ == "__main__":
    main()
