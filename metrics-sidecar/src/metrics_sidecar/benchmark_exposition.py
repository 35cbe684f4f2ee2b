"""The metrics of benchmarks: what the last run of each test found, and how each suite goes.

Read from what was committed. All begin with ``benchmark_``; they are gauges of a run that is over,
but for the counts of runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from metrics_sidecar.rows import ServiceCounter
from metrics_sidecar.snapshot import Snapshot
from trade_telemetry.benchmark_messages import Benchmark, RunStatus, unit_of

_OUTCOMES: Final = ("offered", "accepted", "refused", "applied", "lost", "waiting")
_FIGURES: Final = {
    "ratio": ("ratio", "What the test compared, one through the other: a number without unit."),
    "seconds": ("duration_seconds", "Other durations that the test found, in seconds."),
    "per_second": ("rate_per_second", "Rates that the test found, in events per second."),
    "bytes": ("size_bytes", "Sizes that the test found, in bytes."),
}


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Every metric of benchmarks; without a sample where there was none."""
    tests = snapshot.tests
    yield from _latency(tests)
    yield _trades(tests)
    yield from _figures(tests)
    last = GaugeMetricFamily(
        "benchmark_last_run_timestamp_seconds",
        "When the test ended, in unix seconds.",
        labels=["test"],
    )
    for name, test in tests.items():
        last.add_metric([name], test.timestamp)
    yield last
    yield from _suites(snapshot)
    yield CounterMetricFamily(
        "benchmark_tests_forgotten",
        "Tests whose result was forgotten for that of another: only so many are kept.",
        snapshot.service.get(ServiceCounter.BENCHMARK_TESTS_FORGOTTEN, 0),
    )


def _latency(tests: dict[str, Benchmark]) -> Iterator[Metric]:
    quantiles = GaugeMetricFamily(
        "benchmark_publish_seconds",
        "Time of a call of publish in the test, in seconds, by quantile; 1 is the longest.",
        labels=["test", "quantile"],
    )
    mean = GaugeMetricFamily(
        "benchmark_publish_mean_seconds",
        "Mean time of a call of publish in the test, in seconds.",
        labels=["test"],
    )
    calls = GaugeMetricFamily(
        "benchmark_publish_calls", "Calls of publish that were timed in the test.", labels=["test"]
    )
    for name, test in tests.items():
        if test.latency is not None:
            for quantile, seconds in test.latency.by_quantile().items():
                quantiles.add_metric([name, quantile], seconds)
            mean.add_metric([name], test.latency.mean)
            calls.add_metric([name], test.latency.count)
    yield quantiles
    yield mean
    yield calls


def _trades(tests: dict[str, Benchmark]) -> Metric:
    """An outcome that is not known has no sample: 0 would be a lie."""
    trades = GaugeMetricFamily(
        "benchmark_trades",
        "Trades of the test by outcome: offered = accepted + refused, "
        "accepted = applied + lost + waiting.",
        labels=["test", "outcome"],
    )
    for name, test in tests.items():
        for outcome in _OUTCOMES:
            count = getattr(test.totals, outcome, None)
            if count is not None:
                trades.add_metric([name, outcome], count)
    return trades


def _figures(tests: dict[str, Benchmark]) -> Iterator[Metric]:
    for unit, (metric, text) in _FIGURES.items():
        family = GaugeMetricFamily(f"benchmark_{metric}", text, labels=["test", "figure"])
        for name, test in tests.items():
            for figure, value in test.figures.items():
                if unit_of(figure)[1] == unit:
                    family.add_metric([name, unit_of(figure)[0]], value)
        yield family


def _suites(snapshot: Snapshot) -> Iterator[Metric]:
    labels = ["suite", "status"]
    status = GaugeMetricFamily(
        "benchmark_status", "1 for what the suite said last of itself, else 0.", labels=labels
    )
    said = GaugeMetricFamily(
        "benchmark_status_timestamp_seconds",
        "When the suite said so, in unix seconds.",
        labels=["suite"],
    )
    runs = CounterMetricFamily(
        "benchmark_runs",
        "Runs of the suite that were started, completed, failed; more started: broken off.",
        labels=labels,
    )
    for name, suite in snapshot.suites.items():
        for each in get_args(RunStatus):
            status.add_metric([name, each], each == suite.latest.status)
        said.add_metric([name], suite.latest.timestamp)
        for end, count in suite.runs.items():
            runs.add_metric([name, end], count)
    yield status
    yield said
    yield runs
