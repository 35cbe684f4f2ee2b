"""The method of the benchmark: a publisher that is slow, lossy or blocked is shown for what it is.

What is asserted follows from what the publisher does, never from how fast this machine is.
"""

from __future__ import annotations

import time
from array import array
from dataclasses import replace
from functools import partial
from socket import socket
from threading import Thread, get_ident
from threading import enumerate as threads_alive

import msgspec
import pytest
from hdrh.histogram import HdrHistogram

from trade_telemetry.testing import RecordingPublisher
from trading_app.benchmark import BenchmarkError, clock, workloads
from trading_app.benchmark.checks import BARS, Measured, checks
from trading_app.benchmark.clock import NANO, Schedule, Times, back_to_back, on_schedule
from trading_app.benchmark.figures import latency
from trading_app.benchmark.findings import shortfall
from trading_app.benchmark.results import Counts, Figure, Peer
from trading_app.benchmark.runner import QUICK, SUITES
from trading_app.benchmark.session import Bench
from trading_app.benchmark.sidecar import Sidecar
from trading_app.benchmark.subject import open_publisher

MS = NANO // 1000


class Wrapped:
    """A publisher under test around a real one."""

    def __init__(self, opening):
        self.inner = open_publisher(opening)
        self.stats = self.inner.stats
        self.close = self.inner.close
        self.calls = 0

    def publish(self, *trade, **more):
        self.calls += 1
        return self.act(partial(self.inner.publish, *trade, **more))

    def act(self, publish):
        return publish()


class Slow(Wrapped):
    """2 ms in each call."""

    def act(self, publish):
        time.sleep(0.002)
        return publish()


class Lossy(Wrapped):
    """Says of each that it is accepted, and drops every tenth."""

    def act(self, publish):
        return True if self.calls % 10 == 0 else publish()


class Doubling(Wrapped):
    """Publishes every tenth twice."""

    def act(self, publish):
        return publish() and publish() if self.calls % 10 == 0 else publish()


class Stalled(Wrapped):
    """One stall of 300 ms in the middle of 1,000 calls, after those that warm up."""

    def act(self, publish):
        if self.calls == WARM_UP + 500:
            time.sleep(0.3)
        return publish()


class Hasty(Wrapped):
    """Says that nothing waits, and closes while it still sends."""

    def __init__(self, opening):
        super().__init__(opening)
        self.stats = lambda: msgspec.structs.replace(self.inner.stats(), waiting=0)
        self.ending = Thread(target=self.inner.close, args=(20.0,))
        self.close = lambda _: self.ending.start()


class Small(Wrapped):
    """Has room for 64."""

    def __init__(self, opening):
        super().__init__(replace(opening, capacity=64))


class Witness(Wrapped):
    """Notes which thread called, which others there were, and whether the sidecar was there."""

    def __init__(self, opening):
        super().__init__(opening)
        self.callers, self.threads, self.connected = set(), set(), False

    def act(self, publish):
        self.callers.add(get_ident())
        self.threads |= {thread.name for thread in threads_alive()}
        self.connected = self.stats().connected
        return publish()


WARM_UP = 50


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory):
    with Sidecar(tmp_path_factory.mktemp("sidecar")) as sidecar:
        yield sidecar


@pytest.fixture
def bench(sidecar, tmp_path):
    return Bench(sidecar, tmp_path, lambda _: None, warm_up=WARM_UP, patience_s=20)


def sustained(bench, publisher, seconds):
    """At 1,000/s."""
    (workload,) = workloads.sustained(
        replace(bench, open=publisher), rate_per_s=1_000, seconds=seconds
    )
    return workload


def counted_above(latency, limit_ns):
    """How many values of a distribution are above a limit, as far as its buckets tell."""
    buckets = HdrHistogram.decode(latency.histogram).get_recorded_iterator()
    return sum(
        bucket.count_at_value_iterated_to
        for bucket in buckets
        if bucket.value_iterated_to > limit_ns
    )


@pytest.fixture
def witnessed(bench):
    """A bench whose publishers tell what they saw, and these."""
    opened = []

    def open_witness(opening):
        opened.append(Witness(opening))
        return opened[-1]

    return replace(bench, open=open_witness), opened


def test_a_slow_publisher_shows_in_the_response_of_each_trade_that_it_keeps_waiting(bench):
    found = sustained(bench, Slow, seconds=0.4)
    # It falls behind by at least a millisecond with each of 400 calls.
    assert found.call.p50_ns >= 2 * MS
    assert found.response.max_ns >= 401 * MS
    assert found.response.p99_ns >= 396 * MS * 0.999
    assert found.response.p50_ns >= 200 * MS * 0.999
    assert found.offered_per_s <= 500
    assert found.problem is None


def test_a_lossy_publisher_shows_in_what_was_applied(bench):
    found = sustained(bench, Lossy, seconds=0.2)
    assert (found.counts.offered, found.counts.accepted, found.counts.refused) == (200, 200, 0)
    assert (found.counts.applied, found.counts.lost, found.counts.waiting) == (180, 0, 0)
    assert "20 missing" in found.problem


def test_a_publisher_that_counts_twice_shows_in_what_was_applied(bench):
    found = sustained(bench, Doubling, seconds=0.2)
    assert (found.counts.accepted, found.counts.applied) == (200, 220)
    assert "20 too many" in found.problem


def test_a_publisher_that_sends_nothing_is_not_believed(bench):
    found = sustained(bench, lambda opening: RecordingPublisher(source=opening.source), seconds=0.1)
    assert (found.counts.accepted, found.counts.applied) == (100, 0)
    assert "100 missing" in found.problem


def test_what_is_committed_after_the_publisher_was_closed_is_applied_too(bench):
    opened = []

    def hasty(opening):
        opened.append(Hasty(opening))
        return opened[-1]

    found = sustained(replace(bench, warm_up=0), hasty, seconds=0.1)
    opened[0].ending.join()
    assert found.counts.applied == 100
    assert found.problem is None


def test_one_stall_shows_in_the_response_of_all_that_it_held_up(bench):
    found = sustained(bench, Stalled, seconds=1.0)
    assert found.call.max_ns >= 300 * MS
    # 300 were due in the stall, and one in a hundred of all is 10: none of those waited less.
    assert found.response.max_ns >= 300 * MS
    assert found.response.p99_ns >= 290 * MS * 0.999
    assert counted_above(found.response, 100 * MS) >= 199
    # Of the calls themselves it was one.
    assert counted_above(found.call, 290 * MS) == 1
    assert found.call.p99_ns < found.response.p99_ns
    stalled = max(found.moments, key=lambda moment: moment.max_ns)
    assert stalled.max_ns == found.response.max_ns
    assert found.problem is None


def test_refused_trades_are_no_throughput(bench):
    (found,) = workloads.away(replace(bench, open=Small), rate_per_s=1_000, seconds=0.2)
    counts = found.counts
    assert (counts.offered, counts.accepted, counts.refused) == (200, 64, 136)
    assert (counts.applied, counts.lost, counts.waiting) == (64, 0, 0)
    assert found.accepted_per_s * found.seconds == pytest.approx(64)
    assert found.offered_per_s * found.seconds == pytest.approx(200)
    assert found.problem == "136 refused: what that took is among the times"


@pytest.mark.parametrize("name", QUICK.workloads)
def test_every_workload_of_a_right_publisher_adds_up(bench, sidecar, name):
    before = sidecar.totals().applied
    ours, *sends = QUICK.workloads[name](bench)
    counts = ours.counts
    assert ours.problem is None
    assert counts.offered == counts.accepted + counts.refused == ours.call.count
    assert counts.accepted == counts.applied
    assert (counts.lost, counts.waiting) == (0, 0)
    assert sidecar.totals().applied == before + WARM_UP + counts.accepted
    for each in (ours, *sends):
        if each.response:  # it has the call within, and the waiting before it
            assert each.response.count == each.call.count
            assert each.response.mean_ns >= each.call.mean_ns
            assert each.response.max_ns >= each.call.max_ns
    for send in sends:
        assert send.problem is None
        assert send.counts.applied == send.counts.offered == counts.offered
        assert len(send.rounds_p50_ns) == len(ours.rounds_p50_ns) == 2
        assert (send.response is None) == (ours.response is None)


def test_warming_up_is_not_recorded(witnessed):
    bench, opened = witnessed
    (found,) = workloads.sustained(bench, rate_per_s=1_000, seconds=0.1)
    assert opened[0].calls == WARM_UP + 100
    assert found.call.count == found.counts.applied == 100


def test_threads_publish_side_by_side_through_one_publisher(witnessed):
    bench, opened = witnessed
    (found,) = workloads.threads(bench, rate_per_s=1_000, seconds=0.2, count=4)
    (publisher,) = opened
    assert len(publisher.callers - {get_ident()}) == 4
    assert found.counts.applied == 200


def test_the_busy_thread_runs_beside_and_ends(witnessed):
    bench, opened = witnessed
    workloads.busy(bench, trades=100, rounds=1)
    assert workloads.BUSY_THREAD in opened[0].threads
    assert workloads.BUSY_THREAD not in {thread.name for thread in threads_alive()}


def test_away_means_that_there_is_no_sidecar_until_all_is_published(witnessed, sidecar):
    bench, opened = witnessed
    first = sidecar.process_id
    (found,) = workloads.away(bench, rate_per_s=1_000, seconds=0.2)
    assert not opened[0].connected
    assert sidecar.process_id != first
    assert found.counts.applied == 200


def test_the_profile_ends_at_the_first_rate_that_is_too_much(bench):
    rates = (250, 1_000, 2_000)
    (found,) = workloads.profile(replace(bench, open=Slow), rates_per_s=rates, seconds=0.2)
    assert found.settings["kept_per_s"] == 250
    assert len(found.moments) == 3  # what is too much is tried twice
    assert found.counts.offered == 50 + 200 + 200


def test_the_schedule_holds_whatever_a_call_takes():
    schedule = Schedule(time.perf_counter_ns() + MS, rate_per_s=1_000, count=50)
    times = on_schedule([lambda: time.sleep(0.0015)], schedule)
    assert list(times.due) == [schedule.begin_ns + index * MS for index in range(50)]
    assert all(start >= due for start, due in zip(times.started, times.due, strict=True))
    assert times.left_out == 0


def test_who_is_hopelessly_late_is_given_up_and_told(monkeypatch):
    monkeypatch.setattr(clock, "LATE_S_MAX", 0.05)
    schedule = Schedule(time.perf_counter_ns(), rate_per_s=1_000, count=100)
    times = on_schedule([partial(time.sleep, 0.1)], schedule)
    assert (len(times), times.left_out) == (1, 99)


def test_calls_take_turns_and_refusals_are_counted():
    called = []
    times = back_to_back([lambda: called.append(1) or True, lambda: called.append(2)], 5)
    assert called == [1, 2, 1, 2, 1]
    assert (len(times), times.refused) == (5, 2)


def test_parts_of_several_threads_are_put_in_order_of_time():
    first = Times(array("q", [10, 30]), array("q", [11, 35]), array("q", [9, 29]), 1)
    second = Times(array("q", [20]), array("q", [29]), array("q", [5]), 0, left_out=2)
    both = clock.in_order([first, second])
    assert list(both.started) == [10, 20, 30]
    assert both.calls_ns() == [1, 9, 5]
    assert both.responses_ns() == [2, 24, 6]
    assert (both.refused, both.left_out) == (1, 2)


def test_a_distribution_is_kept_whole():
    values = [*range(1, 1_001), 70 * NANO]
    found = latency(values)
    assert (found.count, found.p50_ns, found.p90_ns, found.p99_ns) == (1_001, 501, 901, 991)
    assert (found.max_ns, found.mean_ns) == (70 * NANO, sum(values) / 1_001)
    assert counted_above(found, 0) == 1_001
    assert counted_above(found, 990) == 11


def test_a_sidecar_that_cannot_start_says_why(tmp_path):
    sidecar = Sidecar(tmp_path)
    with socket() as taken:
        taken.bind(("127.0.0.1", int(sidecar.url.rpartition(":")[2])))
        with pytest.raises(BenchmarkError, match=r"ended: .* cannot be bound"):
            sidecar.__enter__()


def test_a_journal_that_cannot_be_had_ends_the_measurement_with_the_cure(bench):
    (bench.folder / "journal").write_text("in the way")
    with pytest.raises(BenchmarkError, match="name a directory, not a file"):
        sustained(bench, open_publisher, seconds=0.1)


def test_a_bar_without_its_part_is_left_out_and_one_without_a_figure_is_missed():
    assert checks(Measured()) == []
    peer = Peer(
        name="statsd", title="", version=None, what="", call=None, ratios=[], missing="not here"
    )
    figure = Figure(
        name="committed_per_s", title="", unit="events/s", value=300_000, rounds=[1], what=""
    )
    found = checks(Measured.of([], [peer], [figure]))
    assert [(check.name, check.value, check.passed) for check in found] == [
        ("statsd", None, False),
        ("committed", 300_000, True),
    ]


def test_a_burst_is_held_against_bare_sends_round_by_round_without_the_cost_of_measuring(bench):
    ours, sends = QUICK.workloads["burst"](bench)
    ours = msgspec.structs.replace(
        ours, rounds_p50_ns=[1_080, 1_180, 9_080], settings={"measuring_ns": 80}
    )
    sends = msgspec.structs.replace(sends, rounds_p50_ns=[580, 480, 580])
    ratio, counted = checks(Measured.of([ours, sends], [], []))
    assert (ratio.value, ratio.wanted, ratio.passed) == (2.75, "≤ 2 ×", False)
    assert (counted.value, counted.wanted, counted.passed) == (100, "= 100 %", True)


def test_bars_have_names_of_their_own():
    assert len({bar.name for bar in BARS}) == len(BARS)


def test_every_part_of_a_suite_can_be_measured():
    parts = {part for suite in SUITES.values() for part in suite}
    assert parts == {*QUICK.workloads, "peers", "receiving", "footprint"}


def test_trades_that_are_lost_or_wait_are_a_problem_and_those_of_a_bare_send_are_none():
    counts = Counts(offered=9, accepted=9, refused=0, applied=5, lost=1, waiting=3)
    assert shortfall("burst", counts) == "1 lost, 3 still wait"
    assert shortfall("burst-send", counts) is None
