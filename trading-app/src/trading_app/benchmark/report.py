"""The report of a benchmark: one HTML file that needs no network, no script and no other file.

It composes what findings, plots and tables make of a result. It must not know how to measure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Final

from trading_app import palette
from trading_app.benchmark import findings, plots, tables
from trading_app.benchmark.curves import Curve, curve
from trading_app.benchmark.limits import limits
from trading_app.benchmark.markup import Markup, tag
from trading_app.benchmark.results import Peer, Result, Workload
from trading_app.benchmark.wording import nanoseconds
from trading_app.formats import duration

_SHEET: Final = Path(__file__).with_name("report.css")
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_READING: Final = (
    "“call” is the time inside publish(); “response” runs from the moment when the publish was "
    "due, so that a stall counts for all that it held up. Grey: the other workloads, on the same "
    "axes."
)
_SHAPES: Final = {"good": "●", "warning": "▲", "danger": "■"}


def render(result: Result) -> str:
    """Make the page. Raises ResultError where a histogram cannot be read."""
    sections = [_header(result), *_sections(result)]
    page = tag("html", _head(result), tag("body", tag("main", *sections)), lang="en")
    return f"<!doctype html>\n{page}\n"


def _head(result: Result) -> Markup:
    return tag(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        Markup('<link rel="icon" href="data:,">'),
        tag("title", f"Benchmark · {result.suite} · {findings.when(result)}"),
        tag("style", _style()),
    )


def _style() -> Markup:
    """The style sheet with the palette's colours; those for light are those for paper, too."""
    shades = {
        name.lower().replace("_", "-"): value
        for name, value in vars(palette).items()
        if isinstance(value, palette.Shades)
    }
    light = "".join(f"--{name}:{value.light};" for name, value in shades.items())
    dark = "".join(f"--{name}:{value.dark};" for name, value in shades.items())
    return Markup(
        f":root{{{light}--neutral-mark:{palette.NEUTRAL_MARK};}}\n"
        f"@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"
        f"{_SHEET.read_text(encoding='utf-8')}"
    )


def _header(result: Result) -> Markup:
    machine = result.machine
    commit = f"commit {machine.commit[:12]}{' and changes' if machine.modified else ''}"
    parts = [
        f"Benchmark “{result.suite}”", findings.when(result), f"took {duration(result.seconds)}",
        commit, machine.processor,
    ]  # fmt: skip
    notices = (
        tag(
            "li",
            tag("b", f"{_SHAPES[notice.kind]} {notice.head} "),
            notice.text,
            class_=notice.kind,
        )
        for notice in findings.notices(result)
    )
    return tag(
        "header",
        tag("p", " · ".join(parts), class_="kicker"),
        tag("h1", findings.headline(result)),
        tag("p", findings.against_peers(result) if result.workloads else "", class_="beside"),
        tag("ul", *notices, class_="notices"),
    )


def _sections(result: Result) -> Iterator[Markup]:
    if result.checks:
        yield _section(
            "Wanted and measured", tag("div", tables.checks(result.checks), class_="checks")
        )
    if result.peers:
        yield _section("What it costs beside other ways", *_peers(result))
    if result.workloads:
        yield _section("Is every trade counted?", tables.accounts(result.workloads))
        yield _section("How long a publish takes", *_workloads(result))
    if result.receiving:
        yield _section("The receiving side", tables.receiving(result.receiving))
    facts = tables.facts(tables.machine(result.machine))
    yield _section("Machine and versions", facts)
    if result.settings:
        yield _section("Settings", tables.facts(tables.settings(result.settings)))
    said = tag("ul", *(tag("li", limit) for limit in limits(result)), class_="limits")
    yield _section("What the numbers do not say", said)


def _section(title: str, *content: str) -> Markup:
    return tag("section", tag("h2", title), *content)


def _figure(title: str, svg: str, said: str) -> Markup:
    drawn = tag("div", Markup(svg), role="img", aria_label=said)
    return tag("figure", tag("figcaption", title), drawn)


def _peers(result: Result) -> Iterator[Markup]:
    there = [peer for peer in result.peers if peer.ratios and min(peer.ratios) > 0]
    there.sort(key=lambda peer: median(peer.ratios))
    if there:
        drawn = _figure(
            "Median of each, and the range of its rounds",
            plots.peers(there),
            findings.against_peers(result),
        )
        yield tag("div", drawn, tables.peers(there), class_="beside-plot")
    missing = [peer for peer in result.peers if peer not in there]
    if missing:
        yield tag("p", "Left out: ", *(_left_out(peer) for peer in missing))


def _left_out(peer: Peer) -> Markup:
    return tag("span", f"{peer.title}: {peer.missing or 'it has no figures'}. ")


def _workloads(result: Result) -> Iterator[Markup]:
    yield tag("p", _READING)
    ours = findings.published(result)
    lines = {work.name: _lines(work, findings.beside(result, work)) for work in ours}
    moments = [moment for work in ours for moment in work.moments]
    axes = plots.Axes.around([line for each in lines.values() for line in each.values()], moments)
    for work in ours:
        others = [each["call"] for name, each in lines.items() if name != work.name]
        sends = findings.beside(result, work)
        table = tables.latencies(work, sends)
        said = tag("div", tag("h3", work.title), tables.facts(_facts(work)), table)
        yield tag("article", said, *_plots(work, lines[work.name], others, axes))


def _lines(work: Workload, sends: Workload | None) -> dict[str, Curve]:
    found = {"call": work.call, "response": work.response}
    found[plots.BARE_SEND] = sends.call if sends else None
    return {name: curve(work.title, latency) for name, latency in found.items() if latency}


def _plots(
    work: Workload, lines: Mapping[str, Curve], others: list[Curve], axes: plots.Axes
) -> Iterator[Markup]:
    drawn = plots.percentiles(lines, others, axes)
    said = f"{work.title}: latency by percentile; the figures are in the table."
    yield _figure("Latency by percentile", drawn, said)
    if work.moments:
        kind = "Response" if work.response else "Call"
        said = f"{work.title}: p50, p99 and maximum over time, and how much was offered."
        yield _figure(f"{kind} over the run", plots.over_time(work.moments, axes), said)


def _facts(work: Workload) -> dict[str, str]:
    cpu_ns = work.cpu_seconds * 1e9 / max(work.counts.offered, 1)
    rounds = tables.spread([float(ns) for ns in work.rounds_p50_ns], "ns")
    return {
        **tables.settings(work.settings),
        "took": duration(work.seconds),
        "CPU of this process": f"{nanoseconds(cpu_ns)} a trade",
        "p50 of the rounds": rounds,
    }
