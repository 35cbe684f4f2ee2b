"""The publisher over real sockets: what is accepted is counted, once, in order, accounted for."""

from __future__ import annotations

import gc
import math
import signal
import subprocess
import sys
import threading
import time
from decimal import Decimal

import msgspec
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from trade_telemetry import (
    ConfigurationError,
    InvalidTradeError,
    Publisher,
    RefusalReason,
    Trade,
)
from trade_telemetry.journal import Ring
from trade_telemetry.journal_files import Header
from trade_telemetry.messages import check_trade


def sender_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "telemetry" in thread.name]


def test_a_published_trade_arrives_stamped(sidecar):
    with Publisher(sidecar.address, source="bot") as publisher:
        before_s = time.time()
        assert publisher.publish("buy", 3, symbol="BTCUSDT", price=64_000) == 1
        (trade,) = sidecar.await_trades(1)
        assert (trade.side, trade.qty, trade.symbol, trade.price) == ("buy", 3, "BTCUSDT", 64_000)
        assert (trade.src, trade.epoch, trade.seq) == ("bot", publisher.epoch, 1)
        assert before_s <= trade.ts <= time.time()


def near(right, wrong):
    return st.sampled_from(right) | st.sampled_from(right) | st.sampled_from(wrong)


IN_A_YEAR_S = time.time() + 365 * 86_400


@settings(max_examples=400)
@given(
    side=near(["buy", "sell"], ["hold", None, 1]),
    qty=near([0.0, 1.5, 1e15], [2, Decimal(1), -5e-324, 2e15, math.nan, math.inf, True, "1"]),
    ts=near([1e9, 5e-324, None], [5, 0.0, -1.0, IN_A_YEAR_S, 1e12, math.nan, "1"]),
    symbol=near(["BTCUSDT", "A", None], ["", "B T", "A" * 25, 5, b"A", []]),
    price=near([64_000.0, 5e-324, None], [1, 0.0, -1.0, math.nan, math.inf, True]),
)
def test_publish_takes_what_check_trade_takes_each_time(side, qty, ts, symbol, price):
    with Publisher("ipc:///nobody-is-there", ack_address=None, capacity=2) as publisher:
        for seq in (1, 2):  # the second time the symbol is known
            before_s = time.time()
            try:
                wanted = check_trade(side, qty, ts, symbol, price, before_s)
            except InvalidTradeError as error:
                with pytest.raises(InvalidTradeError, match=f"^{error.field} "):
                    publisher.publish(side, qty, ts, symbol=symbol, price=price)
                continue
            assert publisher.publish(side, qty, ts, symbol=symbol, price=price) == seq
            kept = publisher._intake.ring.read(seq)
            assert kept == msgspec.structs.replace(wanted, ts=kept.ts)
            assert kept.ts == wanted.ts if ts is not None else before_s <= kept.ts <= time.time()
        publisher.close(0)


trades = st.builds(
    Trade,
    side=st.sampled_from(["buy", "sell"]),
    qty=st.floats(0, 1e15),
    ts=st.floats(0, 1e9, exclude_min=True),
    symbol=st.none() | st.sampled_from(["A", "BTCUSDT", "x" * 24]),
    price=st.none() | st.floats(1e-9, 1e12),
)


@settings(max_examples=200)
@given(trades=st.lists(trades, max_size=12), when_full=st.sampled_from(["refuse", "drop_oldest"]))
def test_publish_writes_what_the_ring_would_write(trades, when_full):
    address = "ipc:///nobody-is-there"
    with Publisher(address, ack_address=None, capacity=5, when_full=when_full) as publisher:
        ring = publisher._intake.ring
        twin = Ring(Header("twin", ring.epoch, ring.since_s, ring.capacity))
        twin.overwrite = ring.overwrite
        for trade in trades:
            seq = publisher.publish(
                trade.side, trade.qty, trade.ts, symbol=trade.symbol, price=trade.price
            )
            assert seq == twin.append(trade)
            assert ring.memory == twin.memory
            for name in ("head", "oldest", "overwritten"):
                assert getattr(ring, name) == getattr(twin, name)
        publisher.close(0)


class SignalledError(Exception):
    """What a signal handler raises, as Ctrl-C does."""


def test_what_a_signal_handler_raises_never_keeps_the_turn_and_costs_no_trade():
    def interrupt(*_):
        raise SignalledError

    publisher = Publisher("ipc:///nobody-is-there", capacity=64, when_full="drop_oldest")
    ring = publisher._intake.ring
    before = signal.signal(signal.SIGALRM, interrupt)
    interruptions, answered = 0, publisher.publish("buy", 1.5, symbol="A", price=1.0)
    try:
        while interruptions < 1_000:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002)
                while True:
                    answered = publisher.publish("buy", 1.5, symbol="A", price=1.0)
            except SignalledError:
                interruptions += 1
                assert hasattr(ring.turn, "free")
                assert answered <= ring.head <= answered + 1  # accepted, or interrupted in between
                assert ring.read(ring.head).qty == 1.5
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        publisher.close(0)


def test_without_the_gil_it_does_not_even_start(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    with pytest.raises(ConfigurationError, match="PYTHON_GIL=1"):
        Publisher("ipc:///nobody-is-there", journal_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_four_threads_share_one_publisher(sidecar):
    with Publisher(sidecar.address) as publisher:

        def work(number):
            for n in range(2_000):
                assert publisher.publish("buy", number * 10_000 + n)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        arrived = sidecar.await_trades(8_000)
    assert [trade.seq for trade in arrived] == list(range(1, 8_001))
    expected = {number * 10_000 + n for number in range(4) for n in range(2_000)}
    assert {trade.qty for trade in arrived} == expected


def test_what_is_committed_is_acknowledged_and_no_sooner(sidecar, until):
    with Publisher(sidecar.address) as publisher:
        until(lambda: publisher.stats().connected)
        sidecar.receiving = False
        publisher.publish("buy", 1)
        until(lambda: publisher.stats().sent == 1)
        assert (publisher.stats().acknowledged, publisher.stats().waiting) == (0, 1)
        sidecar.receiving = True
        until(lambda: publisher.stats().acknowledged == 1)
        stats = publisher.stats()
        assert (stats.published, stats.waiting, stats.tracked, stats.problem) == (1, 0, True, None)


def test_a_full_ring_refuses_and_counts(free_address):
    with Publisher(free_address, capacity=3) as publisher:
        assert publisher.last_refusal is None
        assert [publisher.publish("buy", 1) for _ in range(5)] == [1, 2, 3, 0, 0]
        assert publisher.last_refusal == RefusalReason.RING_FULL
        stats = publisher.stats()
        assert (stats.published, stats.waiting, stats.capacity) == (3, 3, 3)
        assert stats.refused[RefusalReason.RING_FULL] == 2
        assert publisher.close(timeout_s=0) == 3


def test_a_full_ring_may_drop_its_oldest_and_what_was_dropped_is_announced(sidecar, until):
    sidecar.receiving = False
    with Publisher(sidecar.address, capacity=4, when_full="drop_oldest") as publisher:
        until(lambda: publisher.stats().connected)
        assert all(publisher.publish("buy", n) for n in range(1, 2_001))
        assert publisher.stats().overwritten > 0
        sidecar.receiving = True
        until(lambda: publisher.stats().waiting == 0)
    lost = sum(skip.last - skip.first + 1 for skip in sidecar.skips)
    assert {skip.reason for skip in sidecar.skips} == {"overwritten"}
    assert len(sidecar.trades) + lost == 2_000
    assert [trade.qty for trade in sidecar.trades] == [trade.seq for trade in sidecar.trades]
    assert sidecar.trades[-1].seq == 2_000


def test_one_trade_and_close_leaves_nothing_behind_and_ends_soon(sidecar):
    for _ in range(5):
        publisher = Publisher(sidecar.address)
        publisher.publish("buy", 1)
        started_s = time.monotonic()
        assert publisher.close(timeout_s=20) == 0
        assert time.monotonic() - started_s < 10  # the second beat, and not the timeout
        sidecar.await_beat(lambda beat: beat.epoch == publisher.epoch and beat.ending)  # noqa: B023
    assert len(sidecar.trades) == 5


def test_close_says_what_is_not_settled_each_time(free_address):
    publisher = Publisher(free_address)
    publisher.publish("buy", 1)
    assert publisher.close(timeout_s=0.05) == 1
    assert publisher.close() == 1


@pytest.mark.parametrize("timeout_s", [math.inf, 1e12, math.nan, -1])
def test_any_timeout_will_do(sidecar, timeout_s, until):
    publisher = Publisher(sidecar.address)
    publisher.publish("buy", 1)
    until(lambda: publisher.stats().waiting == 0)
    assert publisher.close(timeout_s) == 0
    assert not sender_threads()


@pytest.mark.parametrize("journal", [False, True])
def test_a_closed_publisher_refuses_and_keeps_its_figures(sidecar, tmp_path, journal):
    publisher = Publisher(sidecar.address, journal_dir=tmp_path if journal else None)
    publisher.publish("buy", 1)
    assert publisher.close(timeout_s=20) == 0
    assert publisher.publish("buy", 1) == 0
    assert publisher.last_refusal == RefusalReason.CLOSED
    stats = publisher.stats()
    assert (stats.published, stats.acknowledged, stats.waiting) == (1, 1, 0)
    assert stats.refused[RefusalReason.CLOSED] == 1
    assert not stats.connected
    assert not list(tmp_path.iterdir())


def test_a_beat_tells_what_was_published_refused_and_can_be_sent_again(sidecar, until):
    before_s = time.time()
    with Publisher(sidecar.address, source="bot", capacity=10) as publisher:
        sidecar.answering = False
        for _ in range(11):
            publisher.publish("buy", 1)
        beat = sidecar.await_beat(lambda beat: beat.sent == 10)
        sidecar.answering = True
    assert (beat.src, beat.epoch, beat.head, beat.oldest) == ("bot", publisher.epoch, 10, 1)
    assert before_s - 0.001 <= beat.since <= time.time()
    assert (beat.capacity, beat.durable, beat.ending) == (10, False, False)
    assert beat.refused == {"ring_full": 1, "closed": 0}


def test_the_first_word_is_a_beat(sidecar):
    with Publisher(sidecar.address) as publisher:
        publisher.publish("buy", 1)
        sidecar.await_trades(1)
    assert sidecar.beats[0].number == 1
    assert sidecar.beats[0].sent == 0


def test_a_bad_argument_raises_and_takes_no_sequence(sidecar):
    with Publisher(sidecar.address) as publisher:
        with pytest.raises(InvalidTradeError):
            publisher.publish("hold", 1)
        with pytest.raises(InvalidTradeError):
            publisher.publish("buy", math.nan)
        assert publisher.publish("buy", 1) == 1


@pytest.mark.parametrize(
    ("address", "options", "cure"),
    [
        ("localhost:5555", {}, "tcp://HOST:PORT"),
        ("inproc://sidecar", {}, "tcp://HOST:PORT"),
        ("tcp://127.0.0.1:0", {}, "tcp://HOST:PORT"),
        ("tcp://127.0.0.1:99999", {}, "tcp://HOST:PORT"),
        ("tcp://127.0.0.1", {}, "tcp://HOST:PORT"),
        ("tcp://127.0.0.1:65535", {}, "ack_address 'tcp://127.0.0.1:65536'"),
        (None, {}, "tcp://HOST:PORT"),
        ("tcp://127.0.0.1:1", {"source": "a b"}, "1 to 64"),
        ("tcp://127.0.0.1:1", {"capacity": 0}, "from 1 to 16777216"),
        ("tcp://127.0.0.1:1", {"capacity": 2**24 + 1}, "from 1 to 16777216"),
        ("tcp://127.0.0.1:1", {"capacity": 1.5}, "from 1 to 16777216"),
        ("tcp://127.0.0.1:1", {"when_full": "wait"}, "'refuse' or 'drop_oldest'"),
        ("tcp://127.0.0.1:1", {"ack_address": "nowhere"}, "ack_address 'nowhere'"),
        ("tcp://127.0.0.1:1", {"ack_address": ""}, "ack_address ''"),
        ("tcp://127.0.0.1:1", {"ack_address": None, "journal_dir": "x"}, "needs acknowledgements"),
    ],
)
def test_settings_that_cannot_work_are_an_error_with_a_cure(address, options, cure, tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        Publisher(address, **options)
    assert cure in str(caught.value)
    assert not sender_threads()


def test_each_publisher_has_an_epoch_of_its_own(free_address):
    epochs = set()
    for _ in range(5):
        publisher = Publisher(free_address)
        epochs.add(publisher.epoch)
        publisher.close(timeout_s=0)
    assert len(epochs) == 5


def test_a_journal_that_cannot_be_had_is_a_problem_and_no_error(sidecar, tmp_path):
    taken = tmp_path / "file"
    taken.write_text("")
    with Publisher(sidecar.address, journal_dir=taken) as publisher:
        assert publisher.publish("buy", 1)
        stats = publisher.stats()
        assert not stats.durable
        assert str(taken) in stats.problem
        assert publisher.close(timeout_s=20) == 0


def test_a_sidecar_that_does_not_answer_is_a_problem(sidecar, until, monkeypatch):
    monkeypatch.setattr("trade_telemetry.sender.UNHEARD_AFTER_S", 0.05)
    sidecar.answering = False
    with Publisher(sidecar.address) as publisher:
        until(lambda: publisher.stats().problem is not None)
        assert "SIDECAR_ZMQ_ACK_BIND" in publisher.stats().problem
        sidecar.answering = True
        monkeypatch.undo()
        until(lambda: publisher.stats().problem is None)


# Fire and forget.


def test_without_acknowledgements_trades_are_plain_and_nothing_else_is_sent(sidecar, until):
    with Publisher(sidecar.address, ack_address=None) as publisher:
        for n in range(1_000):
            publisher.publish("buy", n)
        until(lambda: len(sidecar.plain) == 1_000)
        assert [trade.qty for trade in sidecar.plain] == list(range(1_000))
        stats = publisher.stats()
        assert (stats.tracked, stats.acknowledged, stats.waiting) == (False, 1_000, 0)
        assert publisher.close() == 0
    assert (sidecar.beats, sidecar.trades, sidecar.plain[0].seq) == ([], [], None)


def test_close_counts_what_zeromq_could_not_get_rid_of(free_address, until):
    """A peer that shakes hands and then reads nothing, as a suspended sidecar does."""
    context = zmq.Context()
    deaf = context.socket(zmq.PULL)
    deaf.setsockopt(zmq.RCVHWM, 1)
    deaf.bind(free_address)
    publisher = Publisher(free_address, ack_address=None)
    until(lambda: publisher.stats().connected)
    while publisher.publish("buy", 1):
        pass  # until the deaf peer's buffers, ZeroMQ's queue and the ring are full
    remained = publisher.close(timeout_s=0.2)
    stats = publisher.stats()
    assert stats.waiting < remained <= stats.waiting + 256
    deaf.close(linger=0)
    context.term()


# The end of a publisher.


AT_EXIT = """
import sys
from trade_telemetry import Publisher
publishers = [Publisher(sys.argv[1], source=f"bot-{n}") for n in range(3)]
for publisher in publishers:
    for _ in range(100):
        publisher.publish("buy", 1)
"""


def test_what_waits_is_sent_when_a_program_ends_without_closing(sidecar):
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", AT_EXIT, sidecar.address],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert sum(sidecar.committed.values()) == 300


def test_a_publisher_nobody_holds_sends_what_waits_and_ends_its_thread(sidecar, until):
    publishers = [Publisher(sidecar.address)]
    until(lambda: publishers[0].stats().connected)
    for _ in range(100):
        publishers[0].publish("buy", 1)
    publishers.clear()
    until(lambda: not sender_threads())
    assert len(sidecar.trades) == 100
    sidecar.await_beat(lambda beat: beat.ending)


def test_one_that_is_in_a_cycle_is_finalised_without_waiting(free_address, until):
    class Holder:
        pass

    holder = Holder()
    holder.publisher = Publisher(free_address)
    holder.publisher.publish("buy", 1)
    holder.itself = holder
    del holder
    started_s = time.monotonic()
    gc.collect()
    assert time.monotonic() - started_s < 1.5  # of the 2 s that its sender may take
    until(lambda: not sender_threads())


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


def test_no_thread_is_left_by_these_tests():
    assert sender_threads() == []
    assert zmq.Context._instance is None
