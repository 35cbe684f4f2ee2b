"""The tables of the report. It must know no plot and no page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from trading_app.benchmark.findings import imbalance
from trading_app.benchmark.markup import Column, Markup, join, table, tag
from trading_app.benchmark.results import (
    Check,
    Figure,
    Latency,
    Machine,
    Peer,
    Setting,
    Workload,
)
from trading_app.benchmark.wording import figure, microseconds, nanoseconds, setting, span, times
from trading_app.formats import UNKNOWN, known, number, plural, size

VALUES_MIN: Final = 10
RECORDS: Final = "records"
"""The class of a table whose rows are set as records on a narrow page."""
_PERCENTILES: Final = {
    "p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999,
}  # fmt: skip
_STRIP_PX: Final = 110


def checks(found: Sequence[Check]) -> Markup:
    """What was wanted, what was measured, and whether that is enough."""
    columns = [Column("Result"), Column("What"), Column("Wanted", True), Column("Measured", True)]
    return table(columns, (_check(check) for check in found), RECORDS)


def _check(check: Check) -> list[str]:
    word, kind = ("✓ passed", "good") if check.passed else ("✗ failed", "warning")
    here = "" if check.is_ratio else tag("small", "on this machine")
    measured = figure(check.value, check.unit)
    return [tag("b", word, class_=kind), join([check.title, here]), check.wanted, measured]


def accounts(workloads: Sequence[Workload]) -> Markup:
    """Where every trade went, and how fast."""
    titles = ("Offered", "Refused", "Accepted", "Applied", "Lost", "Waiting")
    rates = ("Offered/s", "Accepted/s", "Applied/s")
    columns = [
        Column("Workload"),
        *(Column(title, True) for title in titles),
        Column("Do they add up?"),
        *(Column(title, True) for title in rates),
    ]
    return table(columns, (_account(workload) for workload in workloads), RECORDS)


def _account(workload: Workload) -> list[str]:
    counts = workload.counts
    wrong = imbalance(counts)
    word = (
        tag("b", f"✗ {wrong}", class_="danger")
        if wrong
        else tag("b", "✓ they add up", class_="good")
    )
    figures = (
        counts.offered, counts.refused, counts.accepted, counts.applied, counts.lost,
        counts.waiting,
    )  # fmt: skip
    rates = (workload.offered_per_s, workload.accepted_per_s, workload.applied_per_s)
    return [workload.title, *map(known, figures), word, *map(known, rates)]


def peers(found: Sequence[Peer]) -> Markup:
    """What each takes and does, and does not do; all have ratios."""
    columns = [
        Column("For one trade"), Column("p50, µs", True), Column("p99, µs", True),
        Column("× a publish", True), Column("What it does"),
    ]  # fmt: skip
    return table(columns, (_peer(peer) for peer in found), RECORDS)


def _peer(peer: Peer) -> list[str]:
    """Of one that has ratios."""
    version = tag("small", peer.version or "")
    latency = peer.call
    return [
        join([peer.title, version]),
        microseconds(latency.p50_ns) if latency else UNKNOWN,
        microseconds(latency.p99_ns) if latency else UNKNOWN,
        join([times(median(peer.ratios)), tag("small", spread(peer.ratios, "×"))]),
        peer.what,
    ]


def latencies(ours: Workload, sends: Workload | None) -> Markup:
    """The percentiles of a workload, and of bare sends; grey rests on fewer than ten values."""
    found = {"call": ours.call, "response": ours.response, "bare send": sends and sends.call}
    there = {name: latency for name, latency in found.items() if latency}
    columns = [Column("µs"), *(Column(name, True) for name in there)]
    rows = [
        [name, *(_percentile(name, latency) for latency in there.values())] for name in _PERCENTILES
    ]
    rows.append(["max", *(microseconds(latency.max_ns) for latency in there.values())])
    rows.append(["mean", *(microseconds(latency.mean_ns) for latency in there.values())])
    return table(columns, rows)


def _percentile(name: str, latency: Latency) -> str:
    said = microseconds(getattr(latency, f"{name.replace('.', '_')}_ns"))
    beyond = latency.count * (1 - _PERCENTILES[name])
    return said if beyond >= VALUES_MIN - 0.5 else tag("span", said, class_="thin")


def receiving(found: Sequence[Figure]) -> Markup:
    """The figures of the sidecar, each with the values of its rounds from 0 on."""
    columns = [
        Column("Receiving"), Column("Measured", True), Column("Rounds", True), Column(""),
        Column("What it is"),
    ]  # fmt: skip
    return table(columns, (_figure(each) for each in found), RECORDS)


def _figure(each: Figure) -> list[str]:
    said = figure(each.value, each.unit)
    return [each.title, said, spread(each.rounds, each.unit), _strip(each.rounds), each.what]


def spread(rounds: Sequence[float], unit: str) -> str:
    """Write the range of the rounds, and how many they are."""
    count = plural(len(rounds), "round")
    return f"{span(min(rounds), max(rounds), unit)}, {count}" if len(rounds) > 1 else count


def _strip(rounds: Sequence[float]) -> Markup:
    """Draw a dot for each round on a line that begins at 0, or ends there."""
    low, high = min(0.0, *rounds, 0.0), max(0.0, *rounds, 0.0)
    scale = (_STRIP_PX - 12) / ((high - low) or 1.0)
    nought, *places = (f"{6 + (value - low) * scale:.1f}" for value in (0.0, *rounds))
    dots = (tag("circle", cx=place, cy="8", r="3.5") for place in places)
    line = tag("line", x1="6", x2=str(_STRIP_PX - 6), y1="8", y2="8")
    zero = tag("line", x1=nought, x2=nought, y1="3", y2="13")
    box = f"0 0 {_STRIP_PX} 16"
    return tag("svg", line, zero, *dots, class_="strip", viewBox=box, aria_hidden="true")


def facts(found: Mapping[str, str]) -> Markup:
    """Names and values."""
    pairs = (tag("div", tag("dt", name), tag("dd", value)) for name, value in found.items())
    return tag("dl", *pairs)


def settings(found: Mapping[str, Setting]) -> dict[str, str]:
    """Settings in words."""
    return {name.replace("_", " "): setting(value) for name, value in found.items()}


def machine(found: Machine) -> dict[str, str]:
    """Where and with what it was measured."""
    return {
        "processor": found.processor,
        "cores": number(found.cores),
        "memory": size(found.memory_bytes),
        "system": found.system,
        "Python": found.python,
        "commit": found.commit[:12] + (", and changes not committed" if found.modified else ""),
        "load before": number(found.load_1m, 2),
        "a reading of the clock": nanoseconds(found.clock_ns),
        "switch interval": nanoseconds(found.switch_interval_s * 1e9),
    } | found.versions
