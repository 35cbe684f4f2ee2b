"""The figures of the receiving side: of real processes, and held against committed totals."""

from __future__ import annotations

import math
import os
import signal
import time
from statistics import median

import msgspec
import psutil
import pytest
import zmq
from tests.parts import until

from trading_app.benchmark import BenchmarkError, bot
from trading_app.benchmark import account as accounts
from trading_app.benchmark.account import Account
from trading_app.benchmark.child import Child
from trading_app.benchmark.receiving import (
    FIGURES,
    ROUNDS,
    filled,
    flooded,
    measure_receiving,
    paced,
    received,
)
from trading_app.benchmark.sidecar import Sidecar

TRADE = b'{"type":"trade","side":"sell","qty":1,"ts":1.0}'


@pytest.fixture(scope="module")
def measured():
    """The figures, and what was told meanwhile."""
    told = []
    return measure_receiving(0.0, told.append), told


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory):
    with Sidecar(tmp_path_factory.mktemp("sidecar")) as sidecar:
        yield sidecar


@pytest.fixture
def account(sidecar, tmp_path):
    return Account(sidecar, tmp_path)


def push(address, *frames):
    """Send these as somebody else."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.connect(address)
        for frame in frames:
            push.send(frame)


def test_every_figure_is_the_median_of_its_rounds(measured):
    figures, _ = measured
    assert [figure.name for figure in figures] == [kind.name for kind in FIGURES]
    for figure in figures:
        assert len(figure.rounds) == ROUNDS
        assert figure.value == median(figure.rounds)
        assert all(map(math.isfinite, figure.rounds))
        assert figure.what.endswith(".")


def test_a_ratio_is_that_of_one_round(measured):
    plain, bare, ratio = (
        next(figure.rounds for figure in measured[0] if figure.name == name)
        for name in ("plain_per_s", "bare_recv_per_s", "plain_to_bare")
    )
    assert ratio == [ours / theirs for ours, theirs in zip(plain, bare, strict=True)]


def test_the_99th_percentile_is_not_below_the_median(measured):
    p50, p99 = (
        next(figure.rounds for figure in measured[0] if figure.name == name)
        for name in ("committed_p50_ms", "committed_p99_ms")
    )
    assert all(0 < low <= high for low, high in zip(p50, p99, strict=True))


def test_it_tells_each_round(measured):
    assert [text.split(",")[0] for text in measured[1]] == [
        f"receiving: round {number} of {ROUNDS}" for number in range(1, ROUNDS + 1)
    ]


def test_each_part_gives_the_sidecar_as_many_events_as_it_says(account):
    before = account.sidecar.totals()
    flooded(account, 300)
    filled(account, 500)
    after_both = account.sidecar.totals()
    assert after_both.since(before).applied == 800
    found = paced(account, 700)
    since = account.sidecar.totals().since(after_both)
    assert since.applied >= 701  # with those that were sent until an answer was heard
    assert (since.lost, since.waiting, since.residue) == (0, 0, 0)
    assert found["memory_bot"] > 2**20


def test_the_bare_loop_receives_all_that_is_sent():
    assert received(1_000) > 0


def test_a_trade_of_somebody_else_is_a_difference_and_an_error(account):
    push(account.sidecar.address, TRADE)
    with pytest.raises(BenchmarkError, match=r"given (\S+) trades in all, and .* have \S+: no fig"):
        flooded(account, 1_000)


def test_a_trade_that_never_came_is_a_difference_and_an_error(account, monkeypatch):
    monkeypatch.setattr(accounts, "QUIET_S_MAX", 0.3)
    given = account.sidecar.totals().applied + 3
    push(account.sidecar.address, TRADE, TRADE)
    with pytest.raises(BenchmarkError, match=f"given {given:,} .* have {given - 1:,}: no figure"):
        account.give(3)


def test_a_sidecar_that_dies_meanwhile_is_one_clear_error():
    before = psutil.Process().children()

    def kill(_text):
        for child in psutil.Process().children():
            if child not in before and "metrics-sidecar" in child.name():
                child.kill()

    with pytest.raises(BenchmarkError, match=r"^the metrics-sidecar of the benchmark ended: "):
        measure_receiving(0.0, kill)


@pytest.mark.parametrize("measure", [flooded, filled, paced])
def test_a_sidecar_that_dies_in_any_part_is_one_clear_error(tmp_path, measure):
    with Sidecar(tmp_path / "sidecar") as sidecar:
        account = Account(sidecar, tmp_path)
        os.kill(sidecar.process_id, signal.SIGKILL)
        with pytest.raises(BenchmarkError, match=r"^the metrics-sidecar of the benchmark ended: "):
            measure(account, 10_000)


def test_nothing_is_left_running(sidecar, account):
    before = set(psutil.Process().children())
    flooded(account, 100)
    filled(account, 100)
    paced(account, 100)
    assert set(psutil.Process().children()) == before


def test_a_scrape_is_taken_at_least_once_while_messages_are_sent(account):
    scrapes_s = []
    flooded(account, 1, lambda: scrapes_s.append(account.scrape()))
    assert scrapes_s
    assert all(seconds > 0 for seconds in scrapes_s)


def test_a_sidecar_that_stands_still_goes_on_whatever_happens(account):
    def fail_when_it_stands_still():
        with account.paused():
            raise BenchmarkError(account.process.status())

    with pytest.raises(BenchmarkError, match=psutil.STATUS_STOPPED):
        fail_when_it_stands_still()
    until(lambda: account.process.status() != psutil.STATUS_STOPPED)


def test_what_holds_up_a_commit_is_in_the_latency_of_every_trade_that_waited_for_it(account):
    arguments = ("pace", account.sidecar.address, str(account.folder), "100", "10000")
    with Child(bot.__name__, *arguments) as child:
        child.hear()
        with account.paused():
            child.say()
            time.sleep(1.0)  # all of them are due within 15 ms
        found = msgspec.json.decode(child.hear(), type=bot.Paced)
        child.say()
    assert 300 < found.p50_ms <= found.p99_ms
