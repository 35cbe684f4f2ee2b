"""The board *Benchmark*: what telemetry costs, by the last runs on this machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from panels import (
    DANGER,
    GOOD,
    WARNING,
    Column,
    Query,
    State,
    board,
    chooser,
    lines,
    note,
    number,
    row,
    rows,
    state,
    timeline,
)

CHOSEN: Final = 'test=~"$test", @'
SUITE: Final = (
    State(0, "silent", WARNING),
    State(1, "started", GOOD),
    State(2, "running", GOOD),
    State(3, "completed", GOOD),
    State(4, "failed", DANGER),
)
SILENT_S: Final = 180
"""No part of a suite takes this long."""
_SAID: Final = "benchmark_status_timestamp_seconds{@}"
_UNDER_WAY: Final = (
    f"* on (job, instance, suite) group_left () (time() - {_SAID} < bool {SILENT_S})"
)
SUITE_QUERY: Final = (
    "sum by (job, instance, suite) ("
    f'benchmark_status{{status="started", @}} {_UNDER_WAY}'
    f' or 2 * benchmark_status{{status="running", @}} {_UNDER_WAY}'
    ' or 3 * benchmark_status{status="completed", @}'
    ' or 4 * benchmark_status{status="failed", @})'
)
"""What a suite said last of itself; 0 when it is under way and has said nothing for so long."""
QUANTILES: Final = {
    "Median": "0.5",
    "p90": "0.9",
    "p99": "0.99",
    "p99.9": "0.999",
    "p99.99": "0.9999",
    "Longest": "1",
}
OUTCOMES: Final = ("Offered", "Accepted", "Refused", "Applied", "Lost", "Waiting")

ABOUT: Final = """\
**The last run of each test, as the benchmark told it.** `make benchmark` measures on the machine where it runs; its trades go to a sidecar of its own,
and only what it found comes here. It is never in the totals of trades.

    offered = accepted + refused        accepted = applied + lost + waiting

| you see | it means | do |
| --- | --- | --- |
| dashes | no benchmark was run yet | `make benchmark`, some two minutes |
| *silent* | a run was broken off, or its end was not heard | run it again |
| *failed* | it found nothing | its terminal says why; the desk's page Live has the sentence |
| lost or unexplained above 0 | a publisher said yes to what is in no total and does not wait | a defect: keep the result and report it |
| refused above 0 | a ring was full in that test | a larger ring, if your bots are as fast |
| p99 far above the median | the machine was busy, or the calls wait for each other | run it again on a quiet machine before you believe it |
| a ratio that moved | this version, or this machine | `make benchmark-compare` says what is beyond the noise |

Ratios mean the same on every machine, durations do not.
"""


def make() -> Dashboard:
    """The board."""
    return board(
        "benchmark",
        "Benchmark",
        "What does telemetry cost? The last run of each test: time of a publish, beside other ways to "
        "do the same, and whether all of it was counted.",
        [chooser("test", "Test", "benchmark_last_run_timestamp_seconds")],
        [
            *_answer(),
            *_over_time(),
            *_tests(),
            row("Beside other ways, and the receiving side"),
            *_figures(),
            row("Runs"),
            *_runs(),
            row("What to do"),
            note("What is this", "What the board shows, and what to do.", ABOUT, size=(24, 11)),
        ],
    )


def _publish(quantile: str) -> str:
    return f'benchmark_publish_seconds{{quantile="{quantile}", {CHOSEN}}}'


def _trades(outcome: str) -> str:
    return f'benchmark_trades{{outcome="{outcome}", {CHOSEN}}}'


def _answer() -> list[object]:
    return [
        state(
            "Last suite",
            "How the suite goes that was heard last. Silent: it was under way, and has said nothing "
            "for 3 minutes.",
            Query(f"max({SUITE_QUERY} and on (job, instance, suite) topk(1, {_SAID}))"),
            SUITE,
            width=4,
        ),
        number(
            "A publish, median",
            "Half of the calls of publish took no longer, in the dearest of the tests chosen.",
            Query(f"max({_publish('0.5')})"),
            unit="s",
            width=4,
        ),
        number(
            "A publish, p99",
            "99 in 100 calls of publish took no longer, in the dearest of the tests chosen.",
            Query(f"max({_publish('0.99')})"),
            unit="s",
            width=4,
        ),
        number(
            "Times a bare send",
            "How many times as long as a bare socket.send of the same bytes a publish takes, by the "
            "medians of one run, in the dearest of the tests chosen. The project promises at most 2.",
            Query(f'max(benchmark_ratio{{figure="publish_to_send", {CHOSEN}}})'),
            unit="short",
            width=3,
            steps=[(2, WARNING)],
        ),
        number(
            "Lost or unexplained",
            "Trades that a publisher accepted, and that neither are in the sidecar's committed totals "
            "nor wait. It is 0, or there is a defect.",
            Query(
                f"sum({_trades('accepted')} - ignoring (outcome) {_trades('applied')}"
                f" - ignoring (outcome) {_trades('waiting')})"
            ),
            width=3,
            steps=[(1, DANGER)],
        ),
        number(
            "Refused",
            "Trades that were offered and not accepted, because a ring was full.",
            Query(f"sum({_trades('refused')})"),
            width=3,
            steps=[(1, WARNING)],
        ),
        number(
            "Last run",
            "How long ago the last of the tests chosen ended.",
            Query(f"time() - max(benchmark_last_run_timestamp_seconds{{{CHOSEN}}})"),
            unit="s",
            width=3,
        ),
    ]


def _over_time() -> list[object]:
    return [
        lines(
            f"{title} of a publish by test",
            f"{words} A step is a new run: of another version, or on another machine.",
            Query(f"max by (test) ({_publish(quantile)})", "{{test}}"),
            unit="s",
            size=(12, 6),
        )
        for title, quantile, words in (
            ("Median", "0.5", "Half of the calls took no longer."),
            ("p99", "0.99", "99 in 100 calls took no longer."),
        )
    ]


def _tests() -> list[object]:
    times = [
        Column(name, f"max by (test) ({_publish(q)})", unit="s", decimals=2)
        for name, q in QUANTILES.items()
    ]
    counts = [
        Column(
            name,
            f"sum by (test) ({_trades(name.lower())})",
            danger_at=1 if name == "Lost" else None,
        )
        for name in OUTCOMES
    ]
    return [
        rows(
            "Tests",
            "The time of a call of publish by quantile, and what became of the trades. An outcome "
            "that could not be read is missing.",
            {"test": "Test"},
            [*times, *counts],
            sort_by="Median",
            size=(24, 8),
        )
    ]


def _figures() -> list[object]:
    return [
        _named(
            "Ratios",
            "What is compared with what. statsd_to_publish 12: it takes 12 times as long as a publish "
            "for the same trade, by the medians of one run.",
            Column("Times", "benchmark_ratio", unit="short", decimals=2),
            width=8,
        ),
        _named(
            "Rates",
            "What the receiving side takes in, in events per second.",
            Column("Per second", "benchmark_rate_per_second"),
            width=6,
        ),
        _named(
            "Durations",
            "From publish to committed, scrapes under load, and what else takes time.",
            Column("Time", "benchmark_duration_seconds", unit="s", decimals=2),
            width=5,
        ),
        _named(
            "Sizes",
            "Memory that the parts take.",
            Column("Size", "benchmark_size_bytes", unit="bytes", decimals=1),
            width=5,
        ),
    ]


def _named(title: str, description: str, column: Column, *, width: int) -> object:
    """A table of figures that have a name of their own; the column has the metric for a query."""
    query = f"max by (figure) ({column.expression}{{@}})"
    return rows(
        title,
        description,
        {"figure": "Figure"},
        [replace(column, expression=query)],
        sort_by=column.name,
        size=(width, 8),
    )


def _runs() -> list[object]:
    return [
        timeline(
            "Suites over time",
            "What each suite said last of itself. Silent: it was under way, and has said nothing "
            "for 3 minutes.",
            Query(SUITE_QUERY, "{{suite}} on {{instance}}"),
            SUITE,
            size=(14, 6),
        ),
        rows(
            "Runs by suite",
            "How often each suite was started, completed and failed. The rest was broken off, or is "
            "under way.",
            {"suite": "Suite"},
            [
                Column(
                    status.capitalize(),
                    f'sum by (suite) (benchmark_runs_total{{status="{status}", @}})',
                )
                for status in ("started", "completed", "failed")
            ],
            sort_by="Started",
            size=(10, 6),
        ),
    ]
