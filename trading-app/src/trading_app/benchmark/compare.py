"""What changed between two results, beyond the noise; ``noise.py`` has the rule.

Absolute figures are compared on the same machine only, ratios anywhere. What is measured only for
comparison, such as bare sends, is not judged. Pure; it must not know how anything was measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeVar

from trading_app.benchmark import findings
from trading_app.benchmark.noise import RULE, Change, Spread, Verdict
from trading_app.benchmark.results import (
    Figure,
    Machine,
    Result,
    ResultError,
    Setting,
    Workload,
)
from trading_app.benchmark.wording import RATIOS, figure, percent, setting
from trading_app.formats import plural

INCIDENTAL: Final = ("rounds", "measuring_ns", "kept_per_s")
"""Settings that a run finds out, or that do not change what its figures mean."""
MEMORY_MOVED_MAX: Final = 0.05
"""What a machine says of its memory changes with its kernel."""
_VERDICTS: Final[tuple[Verdict, ...]] = ("worse", "better", "unsure", "same")
_LEFT: Final = (0, 1, 4)
_HEADS: Final = ("", "figure", "base", "new", "unit", "moved")


class Alarm(NamedTuple):
    """What is wrong with one of the results by itself; ``result`` is "base" or "new"."""

    result: str
    text: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """``origins`` say where the two are from, ``notes`` what could not be compared, and why.

    ``fallen`` are checks that passed and fail now: a bar was crossed, perhaps by noise alone.
    """

    origins: tuple[str, str]
    changes: tuple[Change, ...]
    alarms: tuple[Alarm, ...]
    fallen: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """1 for a figure that is worse, or an alarm about the new result; else 0."""
        is_worse = any(change.verdict == "worse" for change in self.changes)
        return int(is_worse or any(alarm.result == "new" for alarm in self.alarms))

    def text(self) -> str:
        """For the terminal: alarms, the answer, the table, the notes."""
        parts = [
            [f"■ {alarm.result.upper()}: {alarm.text}" for alarm in self.alarms],
            [f"▲ NOW FAILS: {check}" for check in self.fallen],
            [self._answer(), RULE],
            [
                f"{name:<4}  {said}"
                for name, said in zip(("base", "new"), self.origins, strict=True)
            ],
            _table(self.changes),
            [f"- {note}" for note in self.notes],
        ]
        return "\n\n".join("\n".join(lines) for lines in parts if lines)

    def _answer(self) -> str:
        if not self.changes:
            return "Nothing could be compared."
        words: dict[Verdict, str] = {
            "worse": "worse",
            "better": "better",
            "unsure": "with too few rounds to tell",
        }
        found = [change.verdict for change in self.changes]
        said = [f"{found.count(verdict)} {word}" for verdict, word in words.items()]
        return f"{', '.join(said)}, {found.count('same')} unchanged within the noise."


def compare(base: Result, new: Result) -> Comparison:
    """Hold a new result against an older one. Raises ResultError for a quick one and a full one."""
    if base.settings.get("quick") != new.settings.get("quick"):
        raise ResultError("one of the two is of a quick run, which compares with quick ones only")
    is_same = same_machine(base.machine, new.machine)
    return Comparison(
        origins=(_origin(base), _origin(new)),
        changes=(
            *_against_sends(base, new),
            *_peers(base, new),
            *(change for change in _figures(base, new) if is_same or change.unit in RATIOS),
            *(_latencies(base, new) if is_same else ()),
        ),
        alarms=(*_alarms("base", base), *_alarms("new", new)),
        fallen=tuple(_fallen_checks(base, new)),
        notes=(*_machines(base, new), *_unpaired(base, new), *_settings(base, new)),
    )


def same_machine(base: Machine, new: Machine) -> bool:
    """Whether absolute figures of the two can be compared."""
    memory = abs(new.memory_bytes - base.memory_bytes) <= MEMORY_MOVED_MAX * base.memory_bytes
    return memory and (base.processor, base.cores) == (new.processor, new.cores)


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_N = TypeVar("_N", bound=_Named)


def _pairs(base: Sequence[_N], new: Sequence[_N]) -> Iterator[tuple[_N, _N]]:
    older = {each.name: each for each in base}
    return ((older[each.name], each) for each in new if each.name in older)


def _workloads(base: Result, new: Result) -> Iterator[tuple[Workload, Workload]]:
    """The workloads of both that mean the same, and whose figures can be trusted."""
    for older, newer in _pairs(findings.published(base), findings.published(new)):
        doubts = (older.problem, newer.problem, _imbalance(older), _imbalance(newer))
        if not any(doubts) and _essential(older.settings) == _essential(newer.settings):
            yield older, newer


def _imbalance(workload: Workload) -> str | None:
    return findings.imbalance(workload.counts)


def _essential(settings: Mapping[str, Setting]) -> dict[str, Setting]:
    return {name: value for name, value in settings.items() if name not in INCIDENTAL}


def _against_sends(base: Result, new: Result) -> Iterator[Change]:
    for older, newer in _workloads(base, new):
        sends = findings.beside(base, older), findings.beside(new, newer)
        if sends[0] and sends[1]:
            ratios = findings.ratios_to_sends(older, sends[0])
            new_ratios = findings.ratios_to_sends(newer, sends[1])
            yield from _change(f"{newer.title}: publish ÷ bare send", "×", ratios, new_ratios)


def _peers(base: Result, new: Result) -> Iterator[Change]:
    for older, newer in _pairs(base.peers, new.peers):
        yield from _change(f"{newer.title} ÷ publish", "×", older.ratios, newer.ratios, more=True)


def _figures(base: Result, new: Result) -> Iterator[Change]:
    """A rate or a ratio had better be high; a time, a share or a size low."""
    for older, newer in _pairs(base.receiving, new.receiving):
        is_high = newer.unit in RATIOS or newer.unit.endswith("/s")
        if not findings.is_reference(newer.name) and older.unit == newer.unit:
            sides = _spread(older), _spread(newer)
            yield Change(newer.title, newer.unit, *sides, more_is_better=is_high)


def _spread(of: Figure) -> Spread:
    return Spread.of(of.rounds or [of.value], of.value)


def _latencies(base: Result, new: Result) -> Iterator[Change]:
    for older, newer in _workloads(base, new):
        p50s = (older.rounds_p50_ns, newer.rounds_p50_ns)
        yield from _change(f"{newer.title}: publish p50", "ns", *p50s)
        p99s = ([moment.p99_ns for moment in each.moments] for each in (older, newer))
        kind = "response" if newer.response else "publish"
        yield from _change(f"{newer.title}: {kind} p99", "ns", *p99s)


def _change(
    title: str, unit: str, base: Sequence[float], new: Sequence[float], *, more: bool = False
) -> Iterator[Change]:
    if base and new:
        yield Change(title, unit, Spread.of(base), Spread.of(new), more_is_better=more)


def _alarms(name: str, result: Result) -> Iterator[Alarm]:
    for notice in findings.wrong_counts(result):
        yield Alarm(name, f"{notice.head.upper()} {notice.text}")
    for notice in findings.problems(result):
        yield Alarm(name, f"{notice.head} {notice.text}")


def _fallen_checks(base: Result, new: Result) -> Iterator[str]:
    """Those that depend on the machine only where it is the same."""
    is_same = same_machine(base.machine, new.machine)
    for older, newer in _pairs(base.checks, new.checks):
        if older.passed and not newer.passed and (is_same or newer.is_ratio):
            was, now = figure(older.value, older.unit), figure(newer.value, newer.unit)
            yield f"{newer.title}: {now}, wanted {newer.wanted}; it was {was}."


def _origin(result: Result) -> str:
    machine = result.machine
    changed = " and changes" if machine.modified else ""
    parts = (
        f"commit {machine.commit[:12]}{changed}", findings.when(result), f"suite {result.suite}",
        f"{machine.processor}, {plural(machine.cores, 'core')}",
    )  # fmt: skip
    return " · ".join(parts)


def _machines(base: Result, new: Result) -> Iterator[str]:
    if not same_machine(base.machine, new.machine):
        yield "The machines differ: only ratios are compared."
    older, newer = _versions(base), _versions(new)
    moved = [
        f"{name} {older.get(name, 'none')} → {newer.get(name, 'none')}"
        for name in dict.fromkeys([*older, *newer])
        if older.get(name) != newer.get(name)
    ]
    if moved:
        yield f"Not the same: {'; '.join(moved)}."


def _versions(result: Result) -> dict[str, str]:
    machine = result.machine
    peers = {peer.title: peer.version for peer in result.peers if peer.version}
    switch = {"switch interval": figure(machine.switch_interval_s, "s")}
    return {"system": machine.system, "Python": machine.python} | machine.versions | switch | peers


def _unpaired(base: Result, new: Result) -> Iterator[str]:
    for here, there, name in ((base, new, "base"), (new, base, "new")):
        titles = _titles(here)
        only = [title for key, title in titles.items() if key not in _titles(there)]
        if only:
            yield f"Only in {name}: {'; '.join(only)}."


def _titles(result: Result) -> dict[tuple[str, str], str]:
    """What there are figures of, by kind and name."""
    peers = [peer for peer in result.peers if peer.ratios]
    return {
        (kind, each.name): each.title
        for kind, found in (
            ("workload", findings.published(result)), ("peer", peers), ("figure", result.receiving)
        )
        for each in found
    }  # fmt: skip


def _settings(base: Result, new: Result) -> Iterator[str]:
    for older, newer in _pairs(findings.published(base), findings.published(new)):
        was, now = _essential(older.settings), _essential(newer.settings)
        moved = [
            f"{name} {setting(was.get(name))} → {setting(now.get(name))}"
            for name in dict.fromkeys([*was, *now])
            if was.get(name) != now.get(name)
        ]
        if moved:
            yield f"{newer.title} is not compared, it is another workload: {'; '.join(moved)}."


def _table(changes: Sequence[Change]) -> list[str]:
    """Lines of equal columns, what is worse first."""
    ordered = sorted(changes, key=lambda change: _VERDICTS.index(change.verdict))
    rows = [_HEADS, *map(_row, ordered)]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if place in _LEFT else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return [line.rstrip() for line in lines] if changes else []


def _row(change: Change) -> tuple[str, ...]:
    sides = [
        [figure(value, change.unit) for value in (side.middle, side.low, side.high)]
        for side in (change.base, change.new)
    ]
    units = {written.partition(" ")[2] for side in sides for written in side}
    if len(units) == 1:
        sides = [[written.partition(" ")[0] for written in side] for side in sides]
    cells = (f"{middle} ({low} – {high})" for middle, low, high in sides)
    moved = percent(change.moved) if math.isfinite(change.moved) else "from 0"
    return (change.verdict, change.title, *cells, units.pop() if len(units) == 1 else "", moved)
