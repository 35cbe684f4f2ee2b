"""What a run shows in a terminal, or in a pipe: how it goes, and what was found.

It must not know how anything was measured.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from statistics import median
from types import TracebackType
from typing import Final, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from trading_app.benchmark.findings import headline
from trading_app.benchmark.results import Check, Figure, Latency, Machine, Peer, Result, Workload
from trading_app.benchmark.wording import figure, nanoseconds, times
from trading_app.formats import UNKNOWN, duration, known, number, size

PIPED_WIDTH: Final = 120


class Steps:
    """How it goes, on stderr; a context manager. ``parts`` is how many there will be.

    A bar on a terminal; elsewhere a line for each part, without control codes.
    """

    def __init__(self, parts: int, stream: TextIO = sys.stderr) -> None:
        self._console = Console(file=stream)
        self._parts = parts
        self._begun = 0
        self._part = ""
        self._bar = Progress(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            transient=True,
            auto_refresh=False,  # a thread that draws would take its time from what is measured
        )
        self._task = self._bar.add_task("starting", total=parts)

    def part(self, name: str) -> None:
        """A part begins."""
        self._part, self._begun = name, self._begun + 1
        if self._console.is_terminal:
            self._bar.update(self._task, completed=self._begun - 1)
            self.tell("")
        else:
            self._console.file.write(f"{self._begun}/{self._parts} {name}\n")
            self._console.file.flush()

    def tell(self, text: str) -> None:
        """What it does now; shown on a terminal alone."""
        if self._console.is_terminal:
            said = text.removeprefix(f"{self._part}: ")
            self._bar.update(self._task, description=f"{self._part}  {said}", refresh=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()


def show(result: Result, stream: TextIO | None = None) -> None:
    """Print what was found, in tables; what is wrong comes last."""
    console = Console(file=stream or sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    console.print(Text(headline(result), style="bold"))
    console.print(Text(_where(result.machine), style="dim"))
    for table in _tables(result):
        console.print()
        console.print(table)
    for workload in result.workloads:
        if workload.problem:
            console.print(Text(f"{workload.title}: {workload.problem}", style="bold red"))


def _where(machine: Machine) -> str:
    changed = ", changed" if machine.modified else ""
    return (
        f"{machine.processor}, {machine.cores} cores, {size(machine.memory_bytes)}; "
        f"{machine.system}; {machine.python}; commit {machine.commit}{changed}; "
        f"load {machine.load_1m:.2f}; a reading of the clock {nanoseconds(machine.clock_ns)}"
    )


def _tables(result: Result) -> list[Table]:
    tables = []
    if result.workloads:
        tables += [_latencies(result.workloads), _counts(result.workloads)]
    if result.peers:
        tables.append(_peers(result.peers))
    if result.receiving:
        tables.append(_figures(result.receiving))
    if result.checks:
        tables.append(_checks(result.checks))
    return tables


def _table(title: str, names: Sequence[str], words: int = 1) -> Table:
    """The first so many columns are words, the others are numbers."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for index, name in enumerate(names):
        is_word = index < words
        table.add_column(name, justify="left" if is_word else "right", no_wrap=not is_word)
    return table


def _latencies(workloads: Sequence[Workload]) -> Table:
    names = ("", "p50", "p99", "p99.9", "p99.99", "max", "response p50", "p99")
    table = _table("The call, and the response since it was due", names)
    for each in workloads:
        call = each.call
        shown = (call.p50_ns, call.p99_ns, call.p99_9_ns, call.p99_99_ns, call.max_ns)
        table.add_row(each.title, *map(nanoseconds, shown), *_response(each.response))
    return table


def _response(response: Latency | None) -> list[str]:
    if response is None:
        return [UNKNOWN, UNKNOWN]
    return [nanoseconds(response.p50_ns), nanoseconds(response.p99_ns)]


def _counts(workloads: Sequence[Workload]) -> Table:
    names = ("", "offered", "accepted", "refused", "applied", "lost", "waiting", "accepted/s")
    table = _table("What became of the trades", names)
    for each in workloads:
        counts = each.counts
        table.add_row(
            each.title,
            number(counts.offered),
            number(counts.accepted),
            number(counts.refused),
            known(counts.applied),
            known(counts.lost),
            known(counts.waiting),
            number(each.accepted_per_s),
        )
    return table


def _peers(peers: Sequence[Peer]) -> Table:
    table = _table("The same for one trade", ("", "p50", "p99", "to publish", "from", "to"))
    for each in peers:
        if each.call is None or not each.ratios:
            table.add_row(each.title, Text(f"left out: {each.missing}"))
            continue
        ratios = (median(each.ratios), min(each.ratios), max(each.ratios))
        latencies = (each.call.p50_ns, each.call.p99_ns)
        table.add_row(each.title, *map(nanoseconds, latencies), *map(times, ratios))
    return table


def _figures(figures: Sequence[Figure]) -> Table:
    table = _table("The receiving side", ("", "median", "from", "to"))
    for each in figures:
        shown = (each.value, min(each.rounds), max(each.rounds))
        table.add_row(each.title, *(figure(value, each.unit) for value in shown))
    return table


def _checks(checks: Sequence[Check]) -> Table:
    table = _table("What is wanted", ("", "", "measured", "wanted"), words=2)
    for each in checks:
        mark = Text("met", style="green") if each.passed else Text("MISSED", style="bold red")
        table.add_row(mark, each.title, figure(each.value, each.unit), each.wanted)
    return table


def show_files(files: Sequence[object], seconds: float) -> None:
    """Print where the result was written, and how long it took."""
    print(f"\nMeasured in {duration(seconds)}; written to {', '.join(map(str, files))}")
