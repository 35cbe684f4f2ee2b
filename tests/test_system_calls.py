"""G1: a thread that publishes makes no system call; traced by strace, over 100,000 calls a thread.

A `futex` is the interpreter's own: a thread that waits for its turn (the GIL), or for another one
that publishes. Where threads compete there are some for each call, so they are told apart there and
bounded where one thread publishes alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.parts import free_port, need

from metrics_sidecar.receiver import Receiver

CALLS = 100_000
CAPACITY = 4_096
THREADS = 4
FUTEXES_PER_CALL_MAX = 0.01

# A write to /dev/null before and after marks the stretch of each thread.
PROGRAM = f"""
import os, sys, threading, time
from trade_telemetry import Publisher

address, ack_address, journal_dir, thread_count, when_full, close_s = sys.argv[1:]
publisher = Publisher(
    address,
    ack_address=ack_address,
    journal_dir=journal_dir,
    capacity={CAPACITY},
    when_full=when_full,
)
while float(close_s) and not publisher.stats().connected:
    time.sleep(0.01)
mark = os.open("/dev/null", os.O_WRONLY)
accepted = []

def work():
    publish, calls, count = publisher.publish, range({CALLS}), 0
    start.wait()
    os.write(mark, b"begin")
    for _ in calls:
        if publish("buy", 1.5, symbol="BTCUSDT", price=64000.0):
            count += 1
    os.write(mark, b"end")
    accepted.append(count)

threads = [threading.Thread(target=work) for _ in range(int(thread_count))]
start = threading.Barrier(len(threads))
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
stats = publisher.stats()
assert stats.durable, stats.problem
assert stats.published == sum(accepted)
assert stats.refused["ring_full"] == {CALLS} * len(threads) - stats.published
print(stats.published, publisher.close(float(close_s)))
"""


class Traced:
    """A run of the program, and the system calls of its publishing threads between their marks."""

    def __init__(
        self,
        folder: Path,
        addresses: tuple[str, str],
        *options: str,
        threads: int = 1,
        when_full: str = "refuse",
        close_s: float = 0,
    ) -> None:
        strace = need("strace", package="strace")
        trace = folder / "trace"
        arguments = [*addresses, folder / "journal", str(threads), when_full, str(close_s)]
        result = subprocess.run(
            [strace, "-f", *options, "-o", trace, sys.executable, "-c", PROGRAM, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        self.published, self.remained = map(int, result.stdout.split())
        self.marked = 0
        self.calls = Counter(self._between_marks(trace))

    def _between_marks(self, trace: Path) -> Iterator[str]:
        """A call that is cut in two by another thread's ends in a line that says `resumed`."""
        inside: set[str] = set()
        with trace.open() as lines:
            for line in lines:
                thread, call = line.split(maxsplit=1)
                if re.match(r'write\(\d+, "begin", 5', call):
                    inside.add(thread)
                elif re.match(r'write\(\d+, "end", 3', call):
                    inside.remove(thread)
                    self.marked += 1
                elif thread in inside and not call.startswith(("<... ", "---")):
                    yield call.split("(")[0]
        assert not inside


@pytest.fixture
def addresses() -> tuple[str, str]:
    """Two addresses that are free."""
    return f"tcp://127.0.0.1:{free_port()}", f"tcp://127.0.0.1:{free_port()}"


@pytest.mark.parametrize("when_full", ["refuse", "drop_oldest"])
def test_four_threads_publish_without_a_system_call(tmp_path, addresses, when_full):
    """A sidecar drains the ring meanwhile; a full one refuses, or wraps about a hundred times."""
    receiver = Receiver(*addresses)
    receiver.start()
    try:
        options = ("--seccomp-bpf", "--trace=!futex")
        traced = Traced(
            tmp_path, addresses, *options, threads=THREADS, when_full=when_full, close_s=60
        )
    finally:
        receiver.stop()
    assert traced.marked == THREADS
    assert traced.calls == {}
    assert traced.remained == 0
    (totals,) = receiver.snapshot.publishers.values()
    assert totals.published == traced.published > CAPACITY
    assert totals.applied == traced.published - totals.lost["overwritten"]
    assert (traced.published == THREADS * CALLS) == (when_full == "drop_oldest")


def test_one_thread_publishes_and_is_refused_with_hardly_a_futex(tmp_path, addresses):
    traced = Traced(tmp_path, addresses)
    assert traced.marked == 1
    assert set(traced.calls) <= {"futex"}
    assert traced.calls["futex"] < FUTEXES_PER_CALL_MAX * CALLS, traced.calls
    assert traced.published == traced.remained == CAPACITY


def test_a_system_call_in_the_stretch_would_be_seen(tmp_path, addresses, monkeypatch):
    program = PROGRAM.replace("count += 1", "count += bool(os.getppid())")
    monkeypatch.setattr(f"{__name__}.PROGRAM", program)
    traced = Traced(tmp_path, addresses)
    assert traced.calls["getppid"] == traced.published == CAPACITY
