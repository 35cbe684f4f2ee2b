"""Delivery through failures, over real sockets: each accepted trade is counted exactly once."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import zmq

from trade_telemetry import Publisher, delivery, sender
from trade_telemetry.acknowledgements import Acknowledgement


def committed(sidecar, epoch):
    """What a sidecar that was killed had counted for good."""
    last = max(sidecar.committed.get(key, 0) for key in [("bot", epoch)])
    return [trade.seq for trade in sidecar.trades if trade.seq <= last]


def test_what_is_published_while_the_sidecar_is_away_waits_and_arrives(
    free_address, start_sidecar, until
):
    with Publisher(free_address) as publisher:
        for n in range(50):
            publisher.publish("buy", n)
        stats = publisher.stats()
        assert (stats.waiting, stats.sent, stats.connected) == (50, 0, False)
        sidecar = start_sidecar(free_address)
        assert [trade.qty for trade in sidecar.await_trades(50)] == list(range(50))
        until(lambda: publisher.stats().waiting == 0)
        assert publisher.stats().connected


def test_each_trade_counts_once_through_five_deaths_of_the_sidecar(
    free_address, start_sidecar, until
):
    counted = []
    with Publisher(free_address, source="bot") as publisher:
        state = None
        for _ in range(5):
            sidecar = start_sidecar(free_address, state)
            for _ in range(2_000):
                assert publisher.publish("buy", 1)
            until(lambda: len(sidecar.trades) >= 100)  # noqa: B023
            sidecar.kill()
            counted += committed(sidecar, publisher.epoch)
            state = sidecar
        last = start_sidecar(free_address, state)
        until(lambda: publisher.stats().waiting == 0)
    assert counted + [trade.seq for trade in last.trades] == list(range(1, 10_001))


def test_an_older_state_is_filled_again_from_what_was_settled_already(
    free_address, start_sidecar, until
):
    with Publisher(free_address, source="bot", capacity=100) as publisher:
        first = start_sidecar(free_address)
        for _ in range(250):
            until(lambda: publisher.publish("buy", 1))
        until(lambda: publisher.stats().waiting == 0)
        first.kill()
        second = start_sidecar(free_address)  # it knows of nothing
        until(lambda: second.trades and publisher.stats().waiting == 0)
    assert [trade.seq for trade in second.trades] == list(range(151, 251))
    (skip,) = second.skips
    assert (skip.first, skip.last, skip.reason) == (1, 150, "state")


def test_a_pause_of_the_sidecar_causes_no_duplicates(sidecar, until):
    with Publisher(sidecar.address) as publisher:
        until(lambda: publisher.stats().connected)
        sidecar.receiving = False
        deadline_s = time.monotonic() + 2.5  # over two beats
        while time.monotonic() < deadline_s:
            publisher.publish("buy", 1)
            time.sleep(0.0001)
        published = publisher.stats().published
        sidecar.receiving = True
        until(lambda: publisher.stats().waiting == 0)
    assert len(sidecar.trades) == published
    assert (sidecar.duplicates, sidecar.gaps) == (0, 0)


def test_the_publisher_listens_anew_when_it_hears_nothing_for_long(sidecar, until, monkeypatch):
    monkeypatch.setattr(sender, "RENEW_AFTER_S_MIN", 0.1)
    monkeypatch.setattr(sender, "RENEW_AFTER_S_MAX", 0.2)
    sidecar.answering = False
    with Publisher(sidecar.address) as publisher:
        publisher.publish("buy", 1)
        until(lambda: sidecar.subscriptions >= 3)
        assert publisher.stats().waiting == 1
        sidecar.answering = True
        monkeypatch.undo()
        until(lambda: publisher.stats().waiting == 0)


def test_an_epoch_that_is_another_ones_too_is_left_and_nothing_is_counted_twice(
    sidecar, until, tmp_path, caplog
):
    with Publisher(sidecar.address, source="bot", journal_dir=tmp_path) as publisher:
        for _ in range(10):
            publisher.publish("buy", 1)
        until(lambda: publisher.stats().waiting == 0)
        sidecar.receiving = False
        first = publisher.epoch

        def other_is_heard():
            sidecar.say("bot", Acknowledgement(sidecar.incarnation, first, last=999, head=999))
            return publisher.epoch != first

        until(other_is_heard)
        publisher.publish("sell", 2)
        assert "another publisher used the source 'bot'" in publisher.stats().problem
        sidecar.receiving = True
        until(lambda: publisher.stats().waiting == 0)
        assert publisher.stats().published == 1
        assert publisher.stats().durable
    assert [(trade.side, trade.epoch == first) for trade in sidecar.trades] == [
        *[("buy", True)] * 10,
        ("sell", False),
    ]
    assert "going on with a new epoch" in caplog.text
    assert not list(tmp_path.iterdir())


def test_what_was_not_sent_moves_to_the_new_epoch(free_address, start_sidecar, until):
    with Publisher(free_address, source="bot") as publisher:
        for n in range(10):
            publisher.publish("buy", n)
        intake = publisher._intake
        publisher._sender.stream = intake.begin_anew(4)  # as if four of them had been sent
        assert publisher.publish("buy", 10) == 7
        sidecar = start_sidecar(free_address)
        until(lambda: publisher.stats().waiting == 0)
    assert [trade.qty for trade in sidecar.trades] == [4, 5, 6, 7, 8, 9, 10]


def test_the_sender_survives_an_unexpected_error_and_counts_it(sidecar, until, caplog):
    with Publisher(sidecar.address) as publisher:
        until(lambda: publisher.stats().connected)
        publisher._sender._look_again_s = None  # as a defect in our own code would
        until(lambda: publisher.stats().errors > 0)
        publisher._sender._look_again_s = 0.0
        publisher.publish("buy", 1)
        until(lambda: publisher.stats().waiting == 0)
    assert "the telemetry sender failed" in caplog.text


class FrozenProxy:
    """A way to the sidecar whose first connection takes everything and passes nothing on."""

    def __init__(self, address: str) -> None:
        self._target = int(address.rsplit(":", 1)[1])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.frozen = threading.Event()
        self.connections = 0
        self._opened: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._target))
                self._opened += [near, far]
                self.connections += 1
                may_freeze = self.connections == 1
                for source, sink in ((near, far), (far, near)):
                    pump = threading.Thread(
                        target=self._pump,
                        args=(source, sink),
                        kwargs={"may_freeze": may_freeze},
                        daemon=True,
                    )
                    pump.start()

    def _pump(self, source: socket.socket, sink: socket.socket, *, may_freeze: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if may_freeze and self.frozen.is_set():
                    continue
                sink.sendall(data)

    def close(self) -> None:
        for each in self._opened:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def test_a_connection_that_froze_on_the_way_is_made_anew(sidecar, until, monkeypatch):
    monkeypatch.setattr(sender, "RENEW_AFTER_S_MIN", 1.5)
    proxy = FrozenProxy(sidecar.address)
    host, port = sidecar.address.rsplit(":", 1)
    try:
        with Publisher(proxy.address, ack_address=f"{host}:{int(port) + 1}") as publisher:
            publisher.publish("buy", 1)
            until(lambda: publisher.stats().acknowledged == 1)
            proxy.frozen.set()
            for _ in range(100):
                publisher.publish("buy", 1)
            until(lambda: publisher.stats().waiting == 0)
            assert proxy.connections > 1
        assert [trade.seq for trade in sidecar.trades] == list(range(1, 102))
    finally:
        proxy.close()


def test_when_a_journal_file_is_removed_a_new_one_is_begun_and_nothing_is_lost(
    sidecar, until, monkeypatch, tmp_path
):
    monkeypatch.setattr(sender, "CHECK_EVERY_S", 0.01)
    sidecar.receiving = False
    with Publisher(sidecar.address, source="bot", journal_dir=tmp_path) as publisher:
        for _ in range(5):
            publisher.publish("buy", 1)
        first = publisher.epoch
        next(tmp_path.iterdir()).unlink()
        until(lambda: publisher.epoch != first)
        publisher.publish("sell", 1)
        assert (publisher.stats().durable, publisher.stats().leftover) == (True, 5)
        assert "was removed or cut while it was in use" in publisher.stats().problem
        sidecar.receiving = True
        until(lambda: publisher.stats().leftover + publisher.stats().waiting == 0)
    assert sorted(trade.side for trade in sidecar.trades) == ["buy"] * 5 + ["sell"]
    assert not list(tmp_path.iterdir())


def test_what_is_left_of_a_removed_file_does_not_pass_for_a_second_publisher(
    sidecar, until, monkeypatch, tmp_path
):
    monkeypatch.setattr(sender, "CHECK_EVERY_S", 0.01)
    monkeypatch.setattr(delivery, "BEAT_INTERVAL_S", 0.01)
    monkeypatch.setattr(delivery, "WINDOW_EVENTS", 1)  # so that it takes a while
    sidecar.receiving = False
    with Publisher(sidecar.address, capacity=50, journal_dir=tmp_path) as publisher:
        for _ in range(51):
            publisher.publish("buy", 1)
        first = publisher.epoch
        next(tmp_path.iterdir()).unlink()
        until(lambda: publisher.epoch != first and publisher.stats().leftover == 50)
        sidecar.receiving = True
        until(lambda: publisher.stats().leftover == 0)
    said = [beat.refused for beat in sidecar.beats if beat.epoch == first and not beat.ending]
    assert max(refused.get("ring_full", 0) for refused in said) == 1
    assert said[-1] == {}


def test_what_was_overwritten_is_counted_over_all_files(sidecar, until, monkeypatch, tmp_path):
    monkeypatch.setattr(sender, "CHECK_EVERY_S", 0.01)
    sidecar.receiving = sidecar.answering = False
    with Publisher(
        sidecar.address, capacity=4, journal_dir=tmp_path, when_full="drop_oldest"
    ) as publisher:
        for _ in range(7):
            publisher.publish("buy", 1)
        first = publisher.epoch
        next(tmp_path.iterdir()).unlink()
        until(lambda: publisher.epoch != first)
        for _ in range(6):
            publisher.publish("buy", 1)
        assert publisher.stats().overwritten == 3 + 2
        sidecar.receiving = sidecar.answering = True


def test_a_journal_file_that_was_cut_is_not_touched_again(sidecar, until, monkeypatch, tmp_path):
    monkeypatch.setattr(sender, "CHECK_EVERY_S", 0.01)
    with Publisher(sidecar.address, source="bot", journal_dir=tmp_path) as publisher:
        until(lambda: publisher.stats().connected)
        first = publisher.epoch
        os.truncate(next(tmp_path.iterdir()), 8_192)
        until(lambda: publisher.epoch != first)
        publisher.publish("buy", 1)
        until(lambda: publisher.stats().waiting == 0)
    assert len(sidecar.trades) == 1


@pytest.mark.parametrize("spare", range(7))  # the first socket, its monitor, the second …
def test_a_shortage_of_descriptors_while_a_connection_is_renewed_passes(sidecar, until, spare):
    with Publisher(sidecar.address) as publisher:
        publisher.publish("buy", 1)
        until(lambda: publisher.stats().waiting == 0)
        context = publisher._sender._connection._context
        opened = []  # ZeroMQ has a limit of its own, and reaching it looks the same
        with contextlib.suppress(zmq.ZMQError):
            while True:
                opened.append(context.socket(zmq.PAIR))
        for each in opened[:spare]:
            each.close(linger=0)
        before = publisher.stats().errors, publisher._sender._renewed_s
        publisher._sender._renew_after_s = 0.0
        until(lambda: (publisher.stats().errors, publisher._sender._renewed_s) != before)
        for each in opened[spare:]:
            each.close(linger=0)
        publisher.publish("buy", 1)
        until(lambda: publisher.stats().waiting == 0)
    assert len(sidecar.trades) == 2


# What earlier lives left.


KILLED = """
import os, sys
from trade_telemetry import Publisher
publisher = Publisher(sys.argv[1], source="bot", journal_dir=sys.argv[2])
for n in range(int(sys.argv[3])):
    assert publisher.publish("buy", n)
if sys.argv[4] == "wait":
    print(flush=True)
    sys.stdin.read()
os.kill(os.getpid(), 9)
"""


def start_life(address, directory, count, end="at once"):
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, address, str(directory), str(count), end],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def leave_behind(address, directory, count):
    life = start_life(address, directory, count)
    life.communicate(timeout=60)
    assert life.returncode == -signal.SIGKILL


def test_what_killed_publishers_left_is_sent_by_the_next_one_while_it_sends_its_own(
    free_address, start_sidecar, tmp_path, until
):
    for count in (1_000, 2_000):
        leave_behind(free_address, tmp_path, count)
    with Publisher(free_address, source="bot", journal_dir=tmp_path) as publisher:
        until(lambda: publisher.stats().leftover == 3_000)
        for n in range(500):
            publisher.publish("sell", n)
        sidecar = start_sidecar(free_address)
        until(lambda: publisher.stats().leftover == publisher.stats().waiting == 0)
    found = {}
    for trade in sidecar.trades:
        found.setdefault(trade.epoch, []).append(trade.seq)
    assert sorted(found.values(), key=len) == [
        list(range(1, count + 1)) for count in (500, 1_000, 2_000)
    ]
    assert (sidecar.duplicates, sidecar.gaps) == (0, 0)
    assert not list(tmp_path.iterdir())


def test_what_the_killed_one_had_sent_is_not_counted_again(sidecar, tmp_path, until):
    life = start_life(sidecar.address, tmp_path, 1_000, "wait")
    sidecar.await_trades(1_000)
    life.kill()
    life.communicate()
    with Publisher(sidecar.address, source="bot", journal_dir=tmp_path) as publisher:
        until(lambda: publisher.stats().leftover == 0 and len(list(tmp_path.iterdir())) == 1)
    assert len(sidecar.trades) == 1_000
    for epoch in (publisher.epoch, sidecar.trades[0].epoch):
        sidecar.await_beat(lambda beat: beat.ending and beat.epoch == epoch)  # noqa: B023


def test_two_at_once_share_source_and_directory_and_one_takes_over_from_the_other(
    sidecar, tmp_path, until, monkeypatch
):
    monkeypatch.setattr(sender, "LEFTOVERS_EVERY_S", 0.05)
    sidecar.receiving = False
    life = start_life(sidecar.address, tmp_path, 100, "wait")
    life.stdout.readline()
    with Publisher(sidecar.address, source="bot", journal_dir=tmp_path) as publisher:
        publisher.publish("sell", 1)
        until(lambda: publisher.stats().connected)
        assert publisher.stats().leftover == 0  # the other one has it
        life.kill()
        life.communicate()
        until(lambda: publisher.stats().leftover == 100)
        sidecar.receiving = True
        until(lambda: publisher.stats().leftover == publisher.stats().waiting == 0)
    assert len(sidecar.trades) == 101
    assert not list(tmp_path.iterdir())


def test_close_waits_for_what_earlier_lives_left(free_address, start_sidecar, tmp_path):
    leave_behind(free_address, tmp_path, 1_000)
    sidecar = start_sidecar(free_address)
    publisher = Publisher(free_address, source="bot", journal_dir=tmp_path)
    assert publisher.close(timeout_s=20) == 0
    assert len(sidecar.trades) == 1_000
    assert not list(tmp_path.iterdir())


def test_an_epoch_that_waits_in_a_journal_has_not_ended(sidecar, tmp_path, until):
    publisher = Publisher(sidecar.address, source="bot", journal_dir=tmp_path)
    sidecar.await_beat()
    sidecar.answering = False
    publisher.publish("buy", 1)
    assert publisher.close(timeout_s=0.2) == 1
    until(lambda: sidecar.connections == 0)
    assert not any(beat.ending for beat in sidecar.beats)
    assert len(list(tmp_path.iterdir())) == 1
