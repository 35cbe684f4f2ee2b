"""G1: a thread that publishes makes no system call; traced by strace, over 100,000 calls a thread.

A `futex` is the interpreter's own: a thread that waits for the GIL, or to count a refusal. A
`clock_nanosleep` is a wait for another thread that is writing into the ring: there are exactly as
many as the ring counted. Both are excepted and counted. To stop at each futex takes strace a minute
for a million, and makes threads compete more, so four threads are traced twice: over all their
calls without futexes, and over fewer calls with them. `pytest -s` shows the counts.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.parts import free_port, need

from metrics_sidecar.receiver import Receiver

CALLS = 100_000
FUTEX_TRACED_CALLS = 10_000
CAPACITY = 4_096
THREADS = 4
FUTEXES_PER_CALL_MAX = 0.01
"""Of one thread that publishes alone: its sender takes the GIL some hundred times a second."""
FUTEXES_PER_CALL_MAX_COMPETING = 10
"""A wait and a wake for each of five: the lock, the GIL's mutex (to get it, to give it up), the
GIL's condition, and the one by which it is handed over."""
WAITS_PER_CALL_MAX_COMPETING = 1
"""A thread sleeps for the others less often than it publishes; 0.002 to 0.4 were seen."""

# A write to /dev/null before and after marks the stretch of each thread.
PROGRAM = f"""
import os, resource, sys, threading, time
from trade_telemetry import Publisher

address, ack_address, journal_dir, thread_count, when_full, calls, close_s = sys.argv[1:]
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
accepted, waits = [], []

def waited():
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw

def work():
    publish, each, count = publisher.publish, range(int(calls)), 0
    start.wait()
    before = waited()
    os.write(mark, b"begin")
    for _ in each:
        if publish("buy", 1.5, symbol="BTCUSDT", price=64000.0):
            count += 1
    os.write(mark, b"end")
    waits.append(waited() - before)
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
assert stats.refused["ring_full"] == int(calls) * len(threads) - stats.published
turns = publisher._intake.ring.turn.waits
print(stats.published, publisher.close(float(close_s)), sum(waits), turns)
"""


class Traced:
    """A run of the program, and the system calls of its publishing threads between their marks.

    ``waits`` is how often these threads slept there, as the kernel counted it; ``turns`` how often
    they waited for another to write, as the ring counted it.
    """

    def __init__(
        self,
        folder: Path,
        addresses: tuple[str, str],
        *options: str,
        threads: int = 1,
        when_full: str = "refuse",
        calls: int = CALLS,
        close_s: float = 0,
    ) -> None:
        strace = need("strace", package="strace")
        trace = folder / "trace"
        traced = [strace, "-f", *options, "-o", trace, sys.executable, "-c", PROGRAM]
        arguments = [folder / "journal", str(threads), when_full, str(calls), str(close_s)]
        result = subprocess.run(
            [*traced, *addresses, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        figures = map(int, result.stdout.split())
        self.published, self.remained, self.waits, self.turns = figures
        self.marked = 0
        self.calls = Counter(self._between_marks(trace))
        assert self.calls.pop("clock_nanosleep", 0) == self.turns

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


@pytest.fixture
def drained(tmp_path, addresses):
    """Trace the program with a sidecar that drains the ring, and see that nothing is missing."""
    receiver = Receiver(*addresses)
    receiver.start()

    def trace(*options: str, **how: Any) -> Traced:
        traced = Traced(tmp_path, addresses, *options, close_s=60, **how)
        assert traced.marked == how.get("threads", 1)
        assert traced.remained == 0
        (totals,) = receiver.snapshot.publishers.values()
        assert totals.published == traced.published > CAPACITY
        assert totals.applied == traced.published - totals.lost["overwritten"]
        return traced

    yield trace
    receiver.stop()


@pytest.mark.parametrize("when_full", ["refuse", "drop_oldest"])
def test_four_threads_publish_without_a_system_call(drained, when_full):
    """A full ring refuses, or wraps about a hundred times; a thread sleeps for the others only."""
    traced = drained("--seccomp-bpf", "--trace=!futex", threads=THREADS, when_full=when_full)
    assert traced.calls == {}
    assert (traced.published == THREADS * CALLS) == (when_full == "drop_oldest")
    waits = f"{traced.waits} waits, {traced.turns} of them for a turn"
    print(f"\nfour threads, {when_full}: {waits}, in {THREADS * CALLS} calls")
    assert 0 < traced.waits < WAITS_PER_CALL_MAX_COMPETING * THREADS * CALLS


def test_the_futexes_of_four_threads_are_counted_and_few(drained):
    traced = drained(threads=THREADS, when_full="drop_oldest", calls=FUTEX_TRACED_CALLS)
    assert traced.published == THREADS * FUTEX_TRACED_CALLS
    assert set(traced.calls) == {"futex"}
    calls = THREADS * FUTEX_TRACED_CALLS
    waits = f"{traced.calls['futex']} futexes and {traced.turns} waits for a turn"
    print(f"\nfour threads, futexes traced: {waits} in {calls} calls")
    assert traced.calls["futex"] < FUTEXES_PER_CALL_MAX_COMPETING * calls


def test_one_thread_publishes_into_a_wrapping_ring_with_hardly_a_futex(drained):
    traced = drained(when_full="drop_oldest")
    assert traced.published == CALLS
    assert set(traced.calls) <= {"futex"}
    print(f"\none thread: {traced.calls['futex']} futexes in {CALLS} calls")
    assert traced.calls["futex"] < FUTEXES_PER_CALL_MAX * CALLS


def test_one_thread_is_refused_with_hardly_a_futex(tmp_path, addresses):
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
