"""What is kept of benchmarks: bounded, over restarts, apart from all that counts trades."""

from __future__ import annotations

import json
import math
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from metrics_sidecar.benchmarks import SUITES_MAX, TESTS_MAX
from metrics_sidecar.exposition import Build, make_registry
from metrics_sidecar.ledger import Ledger
from metrics_sidecar.receiver import ReceiverFigures
from metrics_sidecar.rows import ServiceCounter
from trade_telemetry.benchmark_messages import (
    Benchmark,
    BenchmarkLatency,
    BenchmarkStatus,
    BenchmarkTotals,
)
from trade_telemetry.errors import RejectedMessageError
from trade_telemetry.messages import RejectReason, Trade, decode, encode

NOW_S = 1_790_000_000.0


def result(name="burst", suite="all", at_s=NOW_S, **fields):
    return Benchmark(suite, name, at_s, **fields)


def status(word, suite="all", test=None, at_s=NOW_S, message=""):
    return BenchmarkStatus(suite, test or suite, at_s, word, message)


WHOLE = result(
    at_s=NOW_S - 7,
    config={"events": 100, "journal": "file", "modified": False},
    totals=BenchmarkTotals(11, 10, 1, 7, 2, 3),
    latency=BenchmarkLatency(
        count=20, mean=21e-6, p50=22e-6, p90=23e-6, p99=24e-6, p99_9=25e-6, p99_99=26e-6, max=27e-6
    ),
    figures={
        "publish_to_send_ratio": 1.5,
        "committed_p99_seconds": 0.125,
        "plain_per_second": 400_000.0,
        "memory_bytes": 71e6,
    },
)


class Kept:
    """A ledger with a store: the rows that were committed."""

    def __init__(self):
        self.ledger = Ledger()
        self.rows = {}
        self.commit()

    def take(self, *messages):
        for message in messages:
            self.ledger.take(message, NOW_S)
        return self.commit()

    def commit(self):
        for key, value in self.ledger.changes().items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        self.ledger.committed()
        return self.ledger.snapshot()

    def restart(self):
        self.ledger = Ledger(self.rows)
        assert self.ledger.rows() == self.rows
        return self.ledger.snapshot()


@pytest.fixture
def kept():
    return Kept()


def of_trades(snapshot):
    """All that is shown of trades and publishers."""
    return (
        snapshot.symbols, snapshot.publishers, snapshot.applied, snapshot.untracked,
        snapshot.last_trade_ts_s, snapshot.age_counts, snapshot.age_sum_s, snapshot.recent,
        snapshot.epochs, snapshot.residue, snapshot.rejected,
    )  # fmt: skip


def test_a_benchmark_is_in_no_total_of_trades(kept):
    before = kept.take(Trade("buy", 2, NOW_S - 1), Trade("sell", 1, NOW_S, src="b", epoch=1, seq=1))
    after = kept.take(status("started"), status("running"), WHOLE, status("completed"))
    assert of_trades(after) == of_trades(before)
    assert (after.received, after.benchmarks) == (before.received + 4, 4)
    assert after.received == after.applied + after.benchmarks


def test_nothing_is_shown_before_it_is_committed(kept):
    kept.ledger.take(WHOLE, NOW_S)
    kept.ledger.take(status("started"), NOW_S)
    assert (kept.ledger.snapshot().tests, kept.ledger.snapshot().suites) == ({}, {})
    assert kept.ledger.uncommitted == 2
    shown = kept.commit()
    assert (shown.tests, kept.ledger.uncommitted) == ({"burst": WHOLE}, 0)


def test_the_last_result_of_a_test_takes_the_place_of_the_one_before(kept):
    kept.take(WHOLE, result("busy"))
    again = result(at_s=NOW_S + 1)
    shown = kept.take(again)
    assert list(shown.tests.items()) == [("busy", result("busy")), ("burst", again)]


def test_a_snapshot_never_changes(kept):
    before = kept.take(WHOLE, status("started"))
    kept.take(result(at_s=NOW_S + 1), result("busy"), status("failed"))
    assert before.tests == {"burst": WHOLE}
    assert before.suites["all"].latest.status == "started"
    assert before.suites["all"].runs == {"started": 1, "completed": 0, "failed": 0}


def test_past_the_limit_the_test_told_longest_ago_is_forgotten_and_counted(kept):
    kept.take(*(result(f"t{number}") for number in range(TESTS_MAX)))
    kept.take(result("t0", at_s=NOW_S + 1))
    shown = kept.take(result("new"), result("newer"))
    assert list(shown.tests) == [f"t{n}" for n in range(3, TESTS_MAX)] + ["t0", "new", "newer"]
    assert shown.service[ServiceCounter.BENCHMARK_TESTS_FORGOTTEN] == 2
    assert sum(key.startswith("benchmark/") for key in kept.rows) == TESTS_MAX
    assert list(kept.restart().tests) == list(shown.tests)


def test_the_ends_of_a_suite_are_counted_and_that_it_runs_is_not(kept):
    words = ["started", "running", "running", "failed", "started", "running", "completed"]
    shown = kept.take(*(status(word) for word in words), status("started", "peers"))
    assert shown.suites["all"].runs == {"started": 2, "completed": 1, "failed": 1}
    assert shown.suites["all"].latest == status("completed")
    assert shown.suites["peers"].runs == {"started": 1, "completed": 0, "failed": 0}


def test_past_the_limit_suites_share_other_so_that_no_count_goes_down(kept):
    kept.take(*(status("started", f"s{number}") for number in range(SUITES_MAX)))
    shown = kept.take(status("failed", "late"), status("failed", "later"), status("failed", "s3"))
    assert len(shown.suites) == SUITES_MAX + 1
    assert shown.suites["other"].runs == {"started": 0, "completed": 0, "failed": 2}
    assert shown.suites["other"].latest.test_type == "later"
    assert shown.suites["s3"].runs == {"started": 1, "completed": 0, "failed": 1}
    assert kept.restart().suites == shown.suites
    assert len(kept.take(status("started", "latest")).suites) == SUITES_MAX + 1


def test_what_is_kept_is_the_same_after_a_restart(kept):
    shown = kept.take(WHOLE, result("busy", "busy"), status("running", test="busy"))
    again = kept.restart()
    assert (again.tests, again.suites) == (shown.tests, shown.suites)
    assert list(again.tests) == list(shown.tests)
    assert again.benchmarks == again.received == 3
    assert kept.take(status("completed")).suites["all"].runs["completed"] == 1


def test_a_commit_without_news_of_benchmarks_writes_nothing_of_them(kept):
    kept.take(WHOLE, status("started"))
    changed = kept.ledger.changes()
    assert changed == {}
    kept.ledger.take(Trade("buy", 1, NOW_S), NOW_S)
    assert not {key for key in kept.ledger.changes() if key.startswith(("benchmark/", "suite/"))}


def test_a_commit_that_failed_is_made_up_for_by_the_next(kept):
    kept.take(*(result(f"t{number}") for number in range(TESTS_MAX)))
    kept.ledger.take(result("new"), NOW_S)
    kept.ledger.changes()  # and the store could not take them
    kept.ledger.take(status("started"), NOW_S)
    kept.commit()
    shown = kept.restart()
    assert "t0" not in shown.tests
    assert "new" in shown.tests
    assert "all" in shown.suites


texts = st.text(max_size=70) | st.sampled_from(["µs", "×", "\u202f", "\x7f", "\u202e", '"\\', "𝄞"])
names = st.sampled_from(["burst", "busy", "a.b-c_d", "x" * 64, "other", "totals"]) | texts
numbers = st.integers(-1, 2**53) | st.floats(-1.0, 1e15) | st.just(math.inf)
objects = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["benchmark", "benchmark_status"]),
        "test_type": names,
        "test_name": names,
        "timestamp": st.just(NOW_S) | numbers,
    },
    optional={
        "status": st.sampled_from(["started", "running", "completed", "failed", "x"]),
        "message": texts,
        "config": st.dictionaries(names, texts | numbers | st.booleans(), max_size=3),
        "figures": st.dictionaries(
            st.sampled_from(["a_ratio", "b_seconds", "c_bytes", "d_per_second", "e"]), numbers
        ),
        "totals": st.fixed_dictionaries(
            {name: st.integers(0, 2**53) for name in ("offered", "accepted", "refused")},
            optional={"applied": st.integers(0, 9) | st.none()},
        ),
        "latency": st.builds(
            lambda value: (
                dict.fromkeys(("mean", "p50", "p90", "p99", "p99_9", "p99_99", "max"), value)
                | {"count": 3}
            ),
            numbers,
        ),
    },
)


def counters(snapshot):
    found = {"forgotten": snapshot.service[ServiceCounter.BENCHMARK_TESTS_FORGOTTEN]}
    found["benchmarks"], found["received"] = snapshot.benchmarks, snapshot.received
    for name, suite in snapshot.suites.items():
        found |= {(name, end): count for end, count in suite.runs.items()}
    return found


def hear(kept, said):
    try:
        message = decode(json.dumps(said).encode(), NOW_S)
    except RejectedMessageError as error:
        kept.ledger.reject(error.reason)
        shown = kept.commit()
        assert shown.rejected[RejectReason(said["type"])] > 0
        return shown
    assert decode(encode(message), NOW_S) == message
    return kept.take(message)


@given(st.lists(objects | st.none(), max_size=60))
def test_whatever_is_said_it_is_rejected_or_kept_bounded_and_readable_and_no_count_falls(said):
    """None is a restart: what was taken must be a state that can be read."""
    kept, before = Kept(), {}
    for each in said:
        shown = kept.restart() if each is None else hear(kept, each)
        now = counters(shown)
        assert all(now[name] >= count for name, count in before.items())
        assert len(shown.tests) <= TESTS_MAX
        assert len(shown.suites) <= SUITES_MAX + 1
        assert shown.received == shown.benchmarks + sum(shown.rejected.values())
        before = now
    kept.restart()


# The metrics


def samples(snapshot):
    receiver = SimpleNamespace(
        snapshot=snapshot,
        figures=ReceiverFigures(),
        health=lambda: ("ok", None),
        heartbeat_age_s=lambda: 0.0,
    )
    text = generate_latest(make_registry(receiver, Build("1", "c", "3"))).decode()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("benchmark_") or sample.name == "telemetry_benchmarks_total"
    }


def test_each_figure_is_shown_under_its_own_name(kept):
    said = [status("started"), status("failed", at_s=NOW_S - 5, message="broken")]
    expected = {
        ("telemetry_benchmarks_total",): 3,
        ("benchmark_tests_forgotten_total",): 0,
        ("benchmark_publish_mean_seconds", "burst"): 21e-6,
        ("benchmark_publish_calls", "burst"): 20,
        ("benchmark_last_run_timestamp_seconds", "burst"): NOW_S - 7,
        ("benchmark_ratio", "burst", "publish_to_send"): 1.5,
        ("benchmark_duration_seconds", "burst", "committed_p99"): 0.125,
        ("benchmark_rate_per_second", "burst", "plain"): 400_000,
        ("benchmark_size_bytes", "burst", "memory"): 71e6,
        ("benchmark_status_timestamp_seconds", "all"): NOW_S - 5,
    }
    quantiles = {"0.5": 22, "0.9": 23, "0.99": 24, "0.999": 25, "0.9999": 26, "1": 27}
    for quantile, microseconds in quantiles.items():
        expected["benchmark_publish_seconds", quantile, "burst"] = microseconds * 1e-6
    outcomes = {"offered": 11, "accepted": 10, "refused": 1, "applied": 7, "lost": 2, "waiting": 3}
    for outcome, count in outcomes.items():
        expected["benchmark_trades", *sorted(("burst", outcome))] = count
    for word in ("started", "running", "completed", "failed"):
        expected["benchmark_status", "all", word] = int(word == "failed")
    for end, count in {"started": 1, "completed": 0, "failed": 1}.items():
        expected["benchmark_runs_total", "all", end] = count
    assert samples(kept.take(*said, WHOLE)) == pytest.approx(expected)


def test_an_outcome_that_is_not_known_has_no_series(kept):
    found = samples(kept.take(result(totals=BenchmarkTotals(2, 1, 1))))
    outcomes = {key[1:] for key in found if key[0] == "benchmark_trades"}
    assert outcomes == {("burst", "offered"), ("accepted", "burst"), ("burst", "refused")}
    assert not {key for key in found if key[0].startswith("benchmark_publish")}


def test_before_the_first_benchmark_nothing_is_said_of_any():
    assert samples(Ledger().snapshot()) == {
        ("telemetry_benchmarks_total",): 0,
        ("benchmark_tests_forgotten_total",): 0,
    }


# The real sidecar


def test_a_sidecar_takes_shows_and_keeps_them_and_rejects_bad_ones(sidecar, push):
    trade = {"type": "trade", "side": "buy", "qty": 2, "ts": time.time()}
    push.send_json(trade)
    for bad in ({"type": "benchmark"}, {"type": "benchmark_status", "status": "odd"}):
        push.send_json(bad)
    for message in (status("started"), WHOLE, status("completed", message="A publish: 0.8 µs")):
        push.send(encode(message))
    sidecar.until(lambda: sidecar.value("telemetry_received_total") == 6)
    check(sidecar)
    sidecar.stop()
    sidecar.start()
    check(sidecar)
    push.send(encode(status("started")))
    sidecar.until(lambda: sidecar.value("benchmark_runs_total", suite="all", status="started") == 2)


def check(sidecar):
    assert sidecar.value("trades_total", side="buy") == 1
    assert sidecar.value("volume_total", side="buy") == 2
    assert sidecar.value("telemetry_untracked_total") == 1
    assert sidecar.value("telemetry_benchmarks_total") == 3
    for reason in (RejectReason.BENCHMARK, RejectReason.BENCHMARK_STATUS):
        assert sidecar.value("telemetry_rejected_total", reason=reason) == 1
    assert sidecar.value("benchmark_publish_seconds", test="burst", quantile="0.5") == 22e-6
    assert sidecar.value("benchmark_status", suite="all", status="completed") == 1
    assert sidecar.value("telemetry_receiver_errors_total") == 0
    answer = sidecar.get("/api/benchmarks").json()
    assert abs(answer.pop("now_s") - time.time()) < 60
    assert answer == {
        "tests": [json.loads(encode(WHOLE))],
        "suites": [
            {
                "type": "benchmark_status",
                "suite": "all",
                "test_type": "all",
                "test_name": "all",
                "timestamp": NOW_S,
                "status": "completed",
                "message": "A publish: 0.8 µs",
                "runs": {"started": 1, "completed": 1, "failed": 0},
            }
        ],
    }
