"""After a fork the child is a new publisher, and neither process is in the other's way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from trade_telemetry import Publisher

START = """
import os, sys, threading, time
from trade_telemetry import Publisher

def wait_for(condition):
    while not condition():
        time.sleep(0.002)

def end_child(publisher):
    remained = publisher.close(20)
    sys.stdout.flush()
    os._exit(remained)

def end_parent(publisher, *children):
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.exit(sum(codes) or publisher.close(20))

publisher = Publisher(sys.argv[1], source="forked", journal_dir=sys.argv[2] or None)
"""


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    flags = ["-W", "error", "-W", "ignore::DeprecationWarning"]  # 3.12 warns of fork with threads
    return subprocess.Popen(
        [sys.executable, *flags, "-c", START + program, *arguments],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run(program: str, *arguments: str) -> str:
    process = start(program, *arguments)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    return output


def by_epoch(trades):
    found = {}
    for trade in trades:
        found.setdefault(trade.epoch, []).append((trade.seq, trade.side, trade.qty))
    return sorted(found.values())


FORK = """
publisher.publish("buy", 1)
epoch = publisher.epoch
child = os.fork()
publisher.publish("sell", 2 if child else 3)
if not child:
    assert publisher.epoch != epoch and publisher.stats().published == 1
    end_child(publisher)
assert publisher.epoch == epoch
end_parent(publisher, child)
"""


@pytest.mark.parametrize("journal", [False, True])
def test_a_forked_child_is_a_new_publisher(sidecar, tmp_path, journal):
    run(FORK, sidecar.address, str(tmp_path) if journal else "")
    assert by_epoch(sidecar.trades) == [[(1, "buy", 1), (2, "sell", 2)], [(1, "sell", 3)]]
    assert not list(tmp_path.iterdir())


WHILE_PUBLISHING = """
stopping = threading.Event()
def work():
    while not stopping.is_set():
        publisher.publish("buy", 1)
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
children = []
for _ in range(5):
    child = os.fork()
    if not child:
        for _ in range(10):
            assert publisher.publish("sell", 1)
        end_child(publisher)
    children.append(child)
stopping.set()
for thread in threads:
    thread.join()
print(publisher.stats().published)
end_parent(publisher, *children)
"""


def test_a_fork_while_other_threads_publish(sidecar, tmp_path):
    published = int(run(WHILE_PUBLISHING, sidecar.address, str(tmp_path)))
    sizes = sorted(len(trades) for trades in by_epoch(sidecar.trades))
    assert sizes == [10, 10, 10, 10, 10, published]


WHILE_LOCKED = """
locked, done = threading.Event(), threading.Event()
def hold():
    del publisher._intake.ring.turn.free
    locked.set()
    done.wait()
    publisher._intake.ring.turn.free = None
thread = threading.Thread(target=hold)
thread.start()
locked.wait()
child = os.fork()
if not child:
    assert publisher.publish("sell", 1)
    end_child(publisher)
done.set()
thread.join()
end_parent(publisher, child)
"""


def test_a_fork_while_another_thread_writes(sidecar):
    run(WHILE_LOCKED, sidecar.address, "")
    assert by_epoch(sidecar.trades) == [[(1, "sell", 1)]]


CLOSED = """
publisher.publish("buy", 1)
publisher.close(20)
child = os.fork()
if not child:
    assert publisher.publish("buy", 1) == 0
    assert publisher.last_refusal == "closed"
    assert publisher.stats().published == 1
    end_child(publisher)
end_parent(publisher, child)
"""


def test_a_publisher_that_was_closed_stays_closed_in_the_child(sidecar):
    run(CLOSED, sidecar.address, "")
    assert len(sidecar.trades) == 1


NOT_STARTED = """
import trade_telemetry.publisher
def refuse(*arguments):
    raise OSError("no descriptors left")
trade_telemetry.publisher.Connection, original = refuse, trade_telemetry.publisher.Connection
child = os.fork()
if not child:
    assert publisher.publish("buy", 1) == 0
    assert publisher.last_refusal == "closed"
    end_child(publisher)
publisher.publish("buy", 1)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status) or publisher.close(20))
"""


def test_a_child_in_which_nothing_can_be_opened_refuses_and_does_not_raise(sidecar, tmp_path):
    process = start(NOT_STARTED, sidecar.address, str(tmp_path))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "it is closed" in errors
    assert len(sidecar.trades) == 1


TWO_LIVES = """
wait_for(lambda: publisher.stats().connected)
child = os.fork()
wait_for(lambda: publisher.stats().connected)
if child:
    print(child, flush=True)
    os.waitpid(child, 0)
sys.stdin.read()
"""


def test_each_death_is_seen_although_the_other_process_lives(sidecar, until):
    for first in ("parent", "child"):
        process = start(TWO_LIVES, sidecar.address, "")
        child = int(process.stdout.readline())
        until(lambda: sidecar.connections == 2)
        os.kill(child if first == "child" else process.pid, signal.SIGKILL)
        until(lambda: sidecar.connections == 1)
        os.kill(child if first == "parent" else process.pid, signal.SIGKILL)
        until(lambda: sidecar.connections == 0)
        process.communicate()


LEFT_BEHIND = """
for _ in range(5):
    publisher.publish("buy", 1)
child = os.fork()
if not child:
    for _ in range(3):
        publisher.publish("sell", 1)
    os._exit(0)
os.waitpid(child, 0)
os.kill(os.getpid(), 9)
"""


def test_what_both_left_in_their_journals_is_drained(free_address, start_sidecar, tmp_path, until):
    process = start(LEFT_BEHIND, free_address, str(tmp_path))
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    sidecar = start_sidecar(free_address)
    with Publisher(free_address, source="forked", journal_dir=tmp_path) as publisher:
        until(lambda: len(sidecar.trades) == 8 and publisher.stats().leftover == 0)
    assert sorted(map(len, by_epoch(sidecar.trades))) == [3, 5]
    assert not list(tmp_path.iterdir())
