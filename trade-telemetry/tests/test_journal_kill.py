"""Real processes, really killed: the journal holds what was accepted, and at most one more."""

from __future__ import annotations

import random
import signal
import struct
import subprocess
import sys
from contextlib import contextmanager

import pytest

from trade_telemetry import Trade
from trade_telemetry.journal_recovery import leftovers

COMMON = """if True:
    import os, struct, sys
    from pathlib import Path
    from trade_telemetry.journal import open_ring
    from trade_telemetry.messages import Trade

    directory, capacity, lag = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

    def trade(seq):
        side = "buy" if seq % 2 else "sell"
        return Trade(side, seq / 3, 1e9 + seq, f"S{seq}", seq + 0.5)

    def begin():
        ring = open_ring(directory, "bot", capacity, overwrite=lag == 0)
        assert ring.problem is None
        return ring
"""
APPENDS = (
    COMMON
    + """
    ring = begin()
    while True:
        seq = ring.append(trade(ring.head + 1))
        os.write(1, struct.pack("=Q", seq))
        ring.trim(seq - lag if lag else 0)
"""
)


def trade(seq):
    return Trade("buy" if seq % 2 else "sell", seq / 3, 1e9 + seq, f"S{seq}", seq + 0.5)


def never(path, problem):
    raise AssertionError(f"{path}: {problem}")


@contextmanager
def running(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def accepted_until_killed(directory, capacity, lag, after):
    """Append in a process, kill it once it accepted that many; the last that it told of."""
    with running(APPENDS, directory, capacity, lag) as process:
        process.stdout.read(8 * after)
        process.kill()
        rest = process.stdout.read()
    assert process.returncode == -signal.SIGKILL
    told = rest[: len(rest) // 8 * 8]
    return struct.unpack("=Q", told[-8:])[0] if told else after


MOMENTS = random.Random(20).sample(range(1, 3000), 15)


@pytest.mark.parametrize("lag", [40, 0], ids=["refuse", "drop oldest"])
def test_what_was_accepted_before_a_kill_is_there_and_at_most_one_more(tmp_path, lag):
    capacity = 64
    for after in MOMENTS:
        last = accepted_until_killed(tmp_path, capacity, lag, after)
        [leftover] = leftovers(tmp_path, "bot", never)
        assert last <= leftover.head <= last + 1
        if lag:
            assert last - lag - 1 <= leftover.tail <= last - lag + 1 or last <= lag
            first = leftover.tail + 1
        else:  # a kill in the middle of writing over the oldest may cost that one
            assert leftover.tail == 0
            first = max(1, leftover.oldest + 1)
        for seq in range(first, leftover.head + 1):
            assert leftover.read(seq) == trade(seq)
        leftover.close(delete=True)
    assert list(tmp_path.iterdir()) == []


FORKS = (
    COMMON
    + """
    ring = begin()
    ring.append(trade(1))
    if os.fork():
        sys.stdin.read()
    if sys.argv[4] == "abandon":
        ring.abandon()
    os.write(1, b"*")
    sys.stdin.buffer.raw.read()
    os._exit(0)
"""
)


@pytest.mark.parametrize(("what", "count"), [("abandon", 1), ("keep", 0)])
def test_a_parents_lock_ends_with_it_when_its_child_abandoned_the_journal(tmp_path, what, count):
    with running(FORKS, tmp_path, 8, 0, what) as process:
        assert process.stdout.read(1) == b"*"
        process.kill()
        process.wait()
        found = leftovers(tmp_path, "bot", never)  # the child lives: it waits for its input's end
        assert len(found) == count
        for leftover in found:
            assert leftover.read(1) == trade(1)
            leftover.close(delete=True)
        process.stdin.close()
        assert process.stdout.read() == b""


TWO = (
    COMMON
    + """
    ring = begin()
    ring.append(trade(1))
    child = os.fork()
    if not child:
        ring.abandon()
        own = begin()
        own.append(trade(1))
        own.append(trade(2))
        assert own.epoch != ring.epoch
        own.close(delete=False)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    ring.append(trade(2))
    ring.append(trade(3))
    os.write(1, b"*")
    sys.stdin.read()
"""
)


def test_a_forked_child_has_a_journal_of_its_own_and_leaves_the_parents_alone(tmp_path):
    with running(TWO, tmp_path, 8, 0) as process:
        assert process.stdout.read(1) == b"*"
        [childs] = leftovers(tmp_path, "bot", never)
        assert childs.head == 2
        childs.close(delete=True)
        process.kill()
        process.wait()
    [parents] = leftovers(tmp_path, "bot", never)
    assert [parents.read(seq) for seq in (1, 2, 3)] == [trade(1), trade(2), trade(3)]
    assert parents.head == 3
    parents.close(delete=True)
