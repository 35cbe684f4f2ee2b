"""The publisher over real sockets: what is accepted arrives, once, in order, accounted for."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
import zmq

from trade_telemetry import (
    ConfigurationError,
    InvalidTradeError,
    Publisher,
    Receipt,
    RefusalReason,
)


def until(condition, timeout_s=10.0):
    """Wait for what another thread will make true."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true"
        time.sleep(0.002)


def test_a_published_trade_arrives_stamped(pull):
    with Publisher(pull.address, source="bot") as publisher:
        before_s = time.time()
        assert publisher.publish("buy", 3, symbol="BTCUSDT", price=64_000) == Receipt(1)
        (trade,) = pull.trades(1)
        assert (trade.side, trade.qty, trade.symbol, trade.price) == ("buy", 3, "BTCUSDT", 64_000)
        assert (trade.src, trade.epoch, trade.seq) == ("bot", publisher.epoch, 1)
        assert before_s <= trade.ts <= time.time()


def test_a_burst_of_a_thousand_is_accepted_and_arrives_in_order(pull):
    with Publisher(pull.address) as publisher:
        receipts = [publisher.publish("sell", n) for n in range(1_000)]
        assert all(receipts)
        arrived = pull.trades(1_000)
    assert [trade.seq for trade in arrived] == list(range(1, 1_001))
    assert [trade.qty for trade in arrived] == list(range(1_000))


def test_four_threads_share_one_publisher(pull):
    with Publisher(pull.address) as publisher:

        def work(number):
            for n in range(2_000):
                assert publisher.publish("buy", number * 10_000 + n)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        arrived = pull.trades(8_000)
        for thread in threads:
            thread.join()
    assert [trade.seq for trade in arrived] == list(range(1, 8_001))
    expected = {number * 10_000 + n for number in range(4) for n in range(2_000)}
    assert {trade.qty for trade in arrived} == expected


def test_trades_published_while_the_sidecar_is_away_wait_and_arrive(free_address, pull_at):
    with Publisher(free_address) as publisher:
        for n in range(50):
            publisher.publish("buy", n)
        stats = publisher.stats()
        assert (stats.waiting, stats.sent, stats.connected) == (50, 0, False)
        pull = pull_at(free_address)
        assert [trade.qty for trade in pull.trades(50)] == list(range(50))
        until(lambda: publisher.stats().waiting == 0)
        assert publisher.stats().connected
        pull.close()


def test_the_publisher_survives_a_sidecar_that_goes_and_comes_back(free_address, pull_at):
    with Publisher(free_address) as publisher:
        first = pull_at(free_address)
        publisher.publish("buy", 1)
        assert first.trades(1)[0].seq == 1
        first.close()
        until(lambda: not publisher.stats().connected)
        publisher.publish("buy", 2)
        assert publisher.stats().waiting == 1
        second = pull_at(free_address)
        assert second.trades(1)[0].seq == 2
        second.close()


def test_a_full_ring_refuses_and_counts(free_address):
    with Publisher(free_address, capacity=3) as publisher:
        receipts = [publisher.publish("buy", 1) for _ in range(5)]
        assert [bool(receipt) for receipt in receipts] == [True, True, True, False, False]
        assert receipts[-1] == Receipt(0, RefusalReason.RING_FULL)
        stats = publisher.stats()
        assert (stats.published, stats.waiting, stats.capacity) == (3, 3, 3)
        assert stats.refused[RefusalReason.RING_FULL] == 2
        assert publisher.close(timeout_s=0) == 3


def test_close_sends_what_waits_and_says_what_remained(pull, free_address):
    publisher = Publisher(pull.address)
    for _ in range(5_000):
        publisher.publish("buy", 1)
    assert publisher.close(timeout_s=10) == 0
    assert len(pull.trades(5_000)) == 5_000

    away = Publisher(free_address)
    away.publish("buy", 1)
    started_s = time.monotonic()
    assert away.close(timeout_s=0.05) == 1
    assert time.monotonic() - started_s < 5
    assert away.close() == 1


def test_close_counts_what_zeromq_could_not_get_rid_of(free_address):
    """A peer that shakes hands and then reads nothing, as a suspended sidecar does."""
    context = zmq.Context()
    deaf = context.socket(zmq.PULL)
    deaf.setsockopt(zmq.RCVHWM, 1)
    deaf.bind(free_address)
    publisher = Publisher(free_address)
    until(lambda: publisher.stats().connected)
    while publisher.publish("buy", 1):
        pass  # until the deaf peer's buffers, ZeroMQ's queue and the ring are full
    remained = publisher.close(timeout_s=0.2)
    stats = publisher.stats()
    assert stats.waiting < remained <= stats.waiting + 256
    deaf.close(linger=0)
    context.term()


@pytest.mark.parametrize("timeout_s", [float("inf"), 1e12, -1])
def test_any_timeout_will_do(pull, timeout_s):
    publisher = Publisher(pull.address)
    publisher.publish("buy", 1)
    pull.trades(1)
    until(lambda: publisher.stats().waiting == 0)
    publisher.close(timeout_s)
    assert not [thread for thread in threading.enumerate() if "telemetry" in thread.name]


def test_a_closed_publisher_refuses(pull):
    publisher = Publisher(pull.address)
    publisher.close()
    assert publisher.publish("buy", 1) == Receipt(0, RefusalReason.CLOSED)
    assert publisher.stats().refused[RefusalReason.CLOSED] == 1


def test_a_beat_tells_what_was_published_refused_and_waits(pull):
    before_s = time.time()
    with Publisher(pull.address, source="bot", capacity=10) as publisher:
        publisher.publish("buy", 1)
        pull.trades(1)
        until(lambda: publisher.stats().waiting == 0)
        beat = pull.beat()
        while beat.head == 0:
            beat = pull.beat()
    assert (beat.src, beat.epoch, beat.head) == ("bot", publisher.epoch, 1)
    assert before_s <= beat.since <= time.time()
    assert (beat.waiting, beat.capacity) == (0, 10)
    assert beat.refused == {"ring_full": 0, "closed": 0}


def test_the_last_word_of_a_publisher_that_closes_says_so(pull):
    publisher = Publisher(pull.address)
    assert not pull.beat().ending
    publisher.close()
    while not pull.beat().ending:
        pass


def test_the_first_word_on_each_connection_is_a_beat(free_address, pull_at):
    with Publisher(free_address, capacity=2) as publisher:
        for _ in range(3):
            publisher.publish("buy", 1)
        for trades in (2, 0):  # what a broken connection left in the queue would be first
            pull = pull_at(free_address)
            beat = pull.message()
            assert (beat.head, beat.refused["ring_full"]) == (2, 1)
            assert len(pull.trades(trades)) == trades
            pull.close()
            until(lambda: not publisher.stats().connected)


def test_a_bad_argument_raises_and_takes_no_sequence(pull):
    with Publisher(pull.address) as publisher:
        with pytest.raises(InvalidTradeError):
            publisher.publish("hold", 1)
        with pytest.raises(InvalidTradeError):
            publisher.publish("buy", float("nan"))
        assert publisher.publish("buy", 1) == Receipt(1)


@pytest.mark.parametrize(
    ("address", "options", "cure"),
    [
        ("localhost:5555", {}, "tcp://HOST:PORT"),
        ("inproc://sidecar", {}, "tcp://HOST:PORT"),
        ("tcp://127.0.0.1:0", {}, "tcp://HOST:PORT"),
        ("tcp://127.0.0.1:99999", {}, "tcp://HOST:PORT"),
        ("tcp://127.0.0.1", {}, "tcp://HOST:PORT"),
        ("tcp://127.0.0.1:1", {"source": "a b"}, "1 to 64"),
        ("tcp://127.0.0.1:1", {"capacity": 0}, "at least 1"),
        ("tcp://127.0.0.1:1", {"journal_dir": "x"}, "not built yet"),
        ("tcp://127.0.0.1:1", {"ack_address": "tcp://127.0.0.1:2"}, "not built yet"),
    ],
)
def test_settings_that_cannot_work_are_an_error_with_a_cure(address, options, cure):
    with pytest.raises(ConfigurationError, match=cure):
        Publisher(address, **options)


def test_each_publisher_has_an_epoch_of_its_own(free_address):
    epochs = set()
    for _ in range(5):
        publisher = Publisher(free_address)
        epochs.add(publisher.epoch)
        publisher.close(timeout_s=0)
    assert len(epochs) == 5


FORK = """
import os, sys
from trade_telemetry import Publisher
publisher = Publisher(sys.argv[1], source="forked")
publisher.publish("buy", 1)
child = os.fork()
publisher.publish("sell", 2 if child else 3)
code = 0
if child:
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
code = code or publisher.close(10)
sys.exit(code)
"""


def test_a_forked_child_is_a_new_publisher(pull):
    result = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            FORK,
            pull.address,
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    by_epoch = {}
    for trade in pull.trades(3):
        by_epoch.setdefault(trade.epoch, []).append((trade.seq, trade.side, trade.qty))
    assert sorted(by_epoch.values()) == [[(1, "buy", 1), (2, "sell", 2)], [(1, "sell", 3)]]


AT_EXIT = """
import sys
from trade_telemetry import Publisher
publisher = Publisher(sys.argv[1])
for _ in range(100):
    publisher.publish("buy", 1)
"""


def test_what_waits_is_sent_when_a_program_ends_without_closing(pull):
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", AT_EXIT, pull.address],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert len(pull.trades(100)) == 100


def test_a_publisher_nobody_holds_ends_its_thread(pull):
    before = threading.active_count()
    publisher = Publisher(pull.address)
    assert threading.active_count() == before + 1
    del publisher
    until(lambda: threading.active_count() == before)


def test_the_sender_survives_an_unexpected_error_and_counts_it(pull, caplog):
    with Publisher(pull.address) as publisher:
        pull.beat()
        publisher._sender._beat_due_s = None  # as a defect in our own code would
        until(lambda: publisher.stats().errors > 0)
        publisher._sender._beat_due_s = 0.0
        publisher.publish("buy", 1)
        assert pull.trades(1)[0].qty == 1
    assert "the telemetry sender failed" in caplog.text


IMPORT = """
import socket, sys, threading
opened = []
events = ("socket.bind", "socket.connect")
sys.addaudithook(lambda event, args: opened.append(event) if event in events else None)
import trade_telemetry, trade_telemetry.testing, trade_telemetry.__main__
assert threading.active_count() == 1, threading.enumerate()
assert not opened, opened
import zmq
assert zmq.Context._instance is None
heavy = {"fastapi", "streamlit", "pydantic", "prometheus_client", "orjson"} & set(sys.modules)
assert not heavy, heavy
"""


def test_importing_the_library_starts_and_opens_nothing():
    subprocess.run([sys.executable, "-W", "error", "-c", IMPORT], check=True, timeout=30)


def test_the_command_line_sends(pull):
    command = [sys.executable, "-m", "trade_telemetry", "send", "buy", "3", "--symbol", "BTCUSDT"]
    result = subprocess.run(
        [*command, "--count", "5", "--address", pull.address],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert result.stdout == "sent 5 of 5\n"
    assert [(trade.qty, trade.symbol) for trade in pull.trades(5)] == [(3, "BTCUSDT")] * 5


def test_the_command_line_says_what_it_could_not_send(free_address):
    command = [sys.executable, "-m", "trade_telemetry", "send", "buy", "3", "--timeout", "0.1"]
    result = subprocess.run(
        [*command, "--address", free_address],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 1
    assert "1 not sent, 0 refused: is the sidecar up at " in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["buy", "-1"], "qty must be from 0 to 1e+15"),
        (["buy", "1", "--address", "nowhere"], "write it as tcp://HOST:PORT"),
        (["buy", "1", "--source", "a b"], "source must be"),
    ],
)
def test_the_command_line_answers_a_bad_argument_in_one_line(arguments, message):
    command = [sys.executable, "-m", "trade_telemetry", "send", *arguments, "--timeout", "0"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_no_thread_is_left_by_these_tests():
    assert [thread.name for thread in threading.enumerate() if "telemetry" in thread.name] == []
    assert zmq.Context._instance is None
