"""The Live page's last panel, as HTML: how the last benchmark went, and what it found. Pure."""

from __future__ import annotations

from datetime import tzinfo
from html import escape
from typing import Final

from trading_app.benchmark.findings import MAIN
from trading_app.benchmark.wording import nanoseconds, times
from trading_app.formats import UNKNOWN, age, clock, number, plural
from trading_app.sidecar_answers import BenchmarkResult, Benchmarks, SuiteState
from trading_app.sidecar_client import Away
from trading_app.status import SHAPES, Status
from trading_app.ui.components import tile, with_commands

SILENT_AFTER_S: Final = 180.0
"""No part of a suite takes this long."""
TO_SEND: Final = "publish_to_send_ratio"
COMMAND: Final = "`make benchmark` takes about two minutes"
EMPTY: Final = Status(
    "waiting",
    "this will show what a publish costs on this machine, and whether all of them are counted",
    COMMAND,
    "none yet",
)
NOTHING: Final = "The last run did not measure this"
_OLD: Final = ("away", "broken", "stale")
"""In these the figures are of a run before."""


def benchmark(answer: Benchmarks | Away[Benchmarks]) -> str:
    """Show the panel: the state in a line, and below it the figures of the last run."""
    if isinstance(answer, Away):
        known, status = answer.last, Status("away", f"not known: {answer.reason}")
    else:
        known, status = answer, benchmark_status(answer)
    run = last_run(known) if known else ()
    return _line(status) + (_figures(run, old=status.state in _OLD) if run else "")


def note(answer: Benchmarks | Away[Benchmarks], zone: tzinfo) -> str:
    """Say of when the figures are, for the panel's heading."""
    known = answer.last if isinstance(answer, Away) else answer
    if known is None or not (run := last_run(known)):
        return ""
    ended_s = run[0].timestamp
    return f"figures of {clock(ended_s, zone)}, {age(known.now_s - ended_s)}"


def benchmark_status(answer: Benchmarks) -> Status:
    """Say how the suite goes that was heard last."""
    if not answer.suites:
        return EMPTY
    suite = max(answer.suites, key=lambda each: each.timestamp)
    if suite.status == "completed":
        return Status("live", suite.message or suite.suite, "", "completed")
    if suite.status == "failed":
        words = suite.message or "no reason was said"
        return Status("broken", words, f"It found nothing. {COMMAND}", "failed")
    return _under_way(suite, answer.now_s - suite.timestamp)


def _under_way(suite: SuiteState, age_s: float) -> Status:
    part = f"at {suite.test_name}" if suite.status == "running" else "it has begun"
    if age_s > SILENT_AFTER_S:
        words = f"{part}, {age(age_s)}, and nothing since"
        return Status("stale", words, f"It was broken off, or its end was not heard. {COMMAND}")
    return Status("live", part, "", "running")


def last_run(answer: Benchmarks) -> tuple[BenchmarkResult, ...]:
    """Find the results that were told together, last of all; empty before the first."""
    latest_s = max((each.timestamp for each in answer.tests), default=0.0)
    return tuple(each for each in answer.tests if each.timestamp == latest_s)


def _line(status: Status) -> str:
    cure = f'<span class="ta-cure">{with_commands(status.cure)}</span>' if status.cure else ""
    return (
        f'<div class="ta-benchmark ta-{status.state}" role="status">'
        f'<span class="ta-shape" aria-hidden="true">{SHAPES[status.state]}</span>'
        f"<b>{status.name or status.state}</b><span>· {escape(status.words)}</span>{cure}</div>"
    )


def _figures(run: tuple[BenchmarkResult, ...], *, old: bool) -> str:
    tiles = (_cost(run), _dearest(run), _ratio(run), _counted(run))
    css = "ta-totals ta-found ta-old" if old else "ta-totals ta-found"
    return f'<div class="{css}">{"".join(tiles)}</div>'


def _cost(run: tuple[BenchmarkResult, ...]) -> str:
    timed = sorted((each for each in run if each.latency), key=_is_not_main)
    if not timed or timed[0].latency is None:
        return tile("A publish", UNKNOWN, "median", "", NOTHING)
    latency, name = timed[0].latency, timed[0].test_name
    hover = f"Median of {plural(latency.count, 'call')} of publish() in the test {name}"
    small = f"median, {escape(name)} · p99 {nanoseconds(latency.p99 * 1e9)}"
    return tile("A publish", nanoseconds(latency.p50 * 1e9), small, "", hover)


def _is_not_main(result: BenchmarkResult) -> bool:
    return result.test_name != MAIN


def _dearest(run: tuple[BenchmarkResult, ...]) -> str:
    timed = [(each.latency.p99, each.test_name) for each in run if each.latency]
    if not timed:
        return tile("Dearest p99", UNKNOWN, "of all tests", "", NOTHING)
    p99_s, name = max(timed)
    hover = f"Of {plural(len(timed), 'test')}, the one whose 99th percentile is highest"
    return tile("Dearest p99", nanoseconds(p99_s * 1e9), escape(name), "", hover)


def _ratio(run: tuple[BenchmarkResult, ...]) -> str:
    measured = sorted((each for each in run if TO_SEND in each.figures), key=_is_not_main)
    if not measured:
        return tile("Beside a bare send", UNKNOWN, "of the same bytes", "", NOTHING)
    name = measured[0].test_name
    hover = f"How many times as long as socket.send, by the medians of the test {name}"
    ratio = times(measured[0].figures[TO_SEND])
    return tile("Beside a bare send", ratio, "of the same bytes", "", hover)


def _counted(run: tuple[BenchmarkResult, ...]) -> str:
    totals = [each.totals for each in run if each.totals]
    if not totals:
        return tile("Counted", UNKNOWN, "of accepted", "", NOTHING)
    accepted = sum(each.accepted for each in totals)
    of = f"of {number(accepted)} accepted"
    if any(each.applied is None for each in totals):
        return tile("Counted", UNKNOWN, of, "", "What the sidecar counted could not be read")
    applied = sum(each.applied or 0 for each in totals)
    waiting = sum(each.waiting or 0 for each in totals)
    css = "" if applied + waiting == accepted else "ta-danger"
    hover = f"By the sidecar's own totals, in {plural(len(totals), 'test')}"
    of += f", {number(waiting)} wait" if waiting else ""
    return tile("Counted", number(applied), of, css, hover)
