"""The receiver inside the test's own process, where the test can hold it at a chosen moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import zmq

from metrics_sidecar import connections as connections_module
from metrics_sidecar.inbox import TRANSPORT_FRAME_BYTES_MAX
from metrics_sidecar.receiver import Receiver

PLAIN = b'{"type":"trade","side":"buy","qty":1,"ts":1}'


def until(condition, timeout_s=30.0):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true"
        time.sleep(0.005)


@pytest.fixture
def receiver(free_ports, tmp_path) -> Iterator[Receiver]:
    port = free_ports()
    receiver = Receiver(f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port + 1}", tmp_path)
    receiver.start()
    yield receiver
    receiver.stop()


@pytest.fixture
def new_push(receiver) -> Iterator:
    context = zmq.Context()
    opened = []

    def new() -> zmq.Socket:
        push = context.socket(zmq.PUSH)
        push.setsockopt(zmq.SNDHWM, 0)
        push.connect(receiver.bind)
        opened.append(push)
        return push

    yield new
    for push in opened:
        push.close(linger=0)
    context.term()


class Hold:
    """Stops the receiver's thread at the start of a turn until it is let go."""

    def __init__(self, receiver: Receiver) -> None:
        self._handle = receiver._inbox.connections.handle
        self._held, self._go = threading.Event(), threading.Event()
        receiver._inbox.connections.handle = self._wait
        assert self._held.wait(10)

    def _wait(self, _ready: object) -> int:
        self._held.set()
        self._go.wait()
        return self._handle()

    def let_go(self) -> None:
        self._go.set()


def test_what_has_arrived_is_drained_when_it_is_stopped(receiver, new_push):
    push = new_push()
    push.send(PLAIN)
    until(lambda: receiver.snapshot.applied == 1)
    hold = Hold(receiver)
    for _ in range(9_999):  # more than ZeroMQ's queue holds: the rest waits on the connection
        push.send(PLAIN)
    stopper = threading.Thread(target=receiver.stop)
    stopper.start()
    until(receiver._stopping.is_set)
    hold.let_go()
    stopper.join()
    assert receiver.snapshot.applied == 10_000


@pytest.mark.parametrize("last_has_stamp", [True, False])
def test_the_last_trade_is_the_last_that_came(receiver, new_push, last_has_stamp):
    push = new_push()
    push.send(PLAIN)
    until(lambda: receiver.snapshot.applied == 1)
    hold = Hold(receiver)  # so that the next two are taken in one turn
    trades = [PLAIN, PLAIN.replace(b"}", b',"src":"bot","epoch":1,"seq":1}')]
    for ts, trade in enumerate(trades if last_has_stamp else reversed(trades), 2):
        push.send(trade.replace(b'"ts":1', f'"ts":{ts}'.encode()))
    until(lambda: receiver._inbox.poll(0))
    hold.let_go()
    until(lambda: receiver.snapshot.applied == 3)
    assert receiver.snapshot.last_trade_ts_s == 3
    assert [trade.ts for _, trade, _ in receiver.snapshot.recent] == [1, 2, 3]


def test_connections_above_the_cap_are_closed_and_those_within_go_on(
    receiver, new_push, monkeypatch
):
    monkeypatch.setattr(connections_module, "CONNECTIONS_MAX", 2)
    within = [new_push() for _ in range(2)]
    for push in within:
        push.send(PLAIN)
    until(lambda: receiver.snapshot.applied == 2)
    above = new_push()
    above.setsockopt(zmq.RECONNECT_IVL, -1)
    gone = above.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    above.connect(receiver.bind)
    assert gone.poll(10_000), "the sidecar did not close it"
    above.disable_monitor()
    gone.close()
    until(lambda: receiver.snapshot.service["connections_refused_limit"] >= 1)
    assert len(receiver._inbox.connections) == 2
    for push in within:
        push.send(PLAIN)
    until(lambda: receiver.snapshot.applied == 4)


def test_a_peer_that_shakes_hands_while_we_look_elsewhere_is_held_before_it_is_admitted(
    receiver, new_push
):
    """The news of a connection may come after our look at the news and before its request."""
    connections = receiver._inbox.connections
    hold = Hold(receiver)
    new_push().send(b"x" * (TRANSPORT_FRAME_BYTES_MAX + 1))
    until(lambda: connections._zap.poll(0))
    follow, looks = connections._follow, []

    def look_away_once() -> int:
        looks.append(1)
        return follow() if len(looks) > 1 else 0

    connections._follow = look_away_once
    hold.let_go()
    until(lambda: receiver.snapshot.rejected["oversized"] == 1)


def test_a_sidecar_that_was_stopped_for_a_day_has_not_listened_for_a_day(receiver, new_push):
    hold = Hold(receiver)
    receiver._second_s -= 24 * 3600.0  # as when the process is stopped, or the machine asleep
    before = receiver.figures
    hold.let_go()
    until(lambda: receiver.figures is not before)
    new_push().send(PLAIN)
    until(lambda: receiver.snapshot.applied == 1)
    assert receiver.snapshot.listened_s < 3600.0


def test_what_is_told_once_a_second_is_told_also_while_the_clock_stands_still(
    receiver, monkeypatch
):
    hold = Hold(receiver)
    stands_at_s = receiver.history.samples()[-1].at_s
    still = SimpleNamespace(time=lambda: stands_at_s, monotonic=time.monotonic)
    monkeypatch.setattr("metrics_sidecar.receiver.time", still)
    before = receiver.figures
    hold.let_go()
    until(lambda: receiver.figures is not before)
    noted = receiver.figures
    until(lambda: receiver.figures is not noted)
    assert receiver.history.samples()[-1].at_s == stands_at_s


def test_a_failing_receiver_shows_its_errors_while_it_fails(receiver, monkeypatch):
    monkeypatch.setattr("metrics_sidecar.receiver.FAILURE_PAUSE_S", 0.01)

    def fail(_ready: object) -> int:
        raise RuntimeError("a defect")

    working = receiver._inbox.connections.handle
    receiver._inbox.connections.handle = fail
    until(lambda: receiver.snapshot.service["receiver_errors"] >= 3)
    receiver._inbox.connections.handle = working
