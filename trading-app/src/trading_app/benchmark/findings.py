"""What a result says in words: its sentence, and what speaks against it.

Pure; composed from the data alone. It must not know HTML or a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal

from trading_app.benchmark.results import Counts, Peer, Result, Workload
from trading_app.benchmark.wording import nanoseconds, times
from trading_app.formats import number, plural

MAIN: Final = "burst"
BARE: Final = "bare"
SENDS: Final = "-send"
"""How the name of a workload of bare sends ends; before it stands the one that it is beside."""
NOT_ADDING_UP: Final = "The counts do not add up."
UNREAD: Final = "what the sidecar counted could not be read"
Kind = Literal["good", "warning", "danger"]


@dataclass(frozen=True, slots=True)
class Notice:
    """A verdict in a sentence, and what it is about; ``danger`` is for counts that are wrong."""

    kind: Kind
    head: str
    text: str = ""


def imbalance(counts: Counts) -> str | None:
    """Say which sum is wrong, or that it could not be made; None: every trade is explained."""
    parts = {"accepted": counts.accepted, "refused": counts.refused}
    if wrong := _difference("offered", counts.offered, parts):
        return wrong
    if counts.applied is None or counts.lost is None or counts.waiting is None:
        return UNREAD
    parts = {"applied": counts.applied, "lost": counts.lost, "waiting": counts.waiting}
    return _difference("accepted", counts.accepted, parts)


def shortfall(name: str, counts: Counts) -> str | None:
    """Say which trades were not counted; None: all were, or a test is there to show such.

    A bare send may lose, and the profile goes on until trades are refused.
    """
    if is_reference(name):
        return None
    if counts.lost or counts.waiting:
        return f"{number(counts.lost or 0)} lost, {number(counts.waiting or 0)} still wait"
    if counts.refused and name != "profile":
        return f"{number(counts.refused)} refused: what that took is among the times"
    return None


def _difference(name: str, whole: int, parts: dict[str, int]) -> str | None:
    missing = whole - sum(parts.values())
    if not missing:
        return None
    added = " + ".join(f"{part} {number(count)}" for part, count in parts.items())
    said = f"{number(missing)} missing" if missing > 0 else f"{number(-missing)} too many"
    return f"{name} {number(whole)} is not {added}: {said}"


def when(result: Result) -> str:
    """The minute of its start."""
    return f"{result.started[:16].replace('T', ' ')} UTC"


def is_reference(name: str) -> bool:
    """Whether a workload or a figure is none of ours, but measured to hold ours against."""
    return name.endswith(SENDS) or name.startswith(BARE)


def published(result: Result) -> list[Workload]:
    """The workloads of `publish`; the others are bare sends, for comparison."""
    return [workload for workload in result.workloads if not is_reference(workload.name)]


def beside(result: Result, workload: Workload) -> Workload | None:
    """The bare sends that were measured in turns with a workload."""
    name = workload.name + SENDS
    return next((found for found in result.workloads if found.name == name), None)


def ratios_to_sends(ours: Workload, sends: Workload) -> list[float]:
    """How many times as long as a bare send a publish takes, round by round, by their medians.

    What measuring itself takes is no part of either, where the setting ``measuring_ns`` tells it.
    """
    measuring = ours.settings.get("measuring_ns")
    none_ns = float(measuring) if isinstance(measuring, int | float) else 0.0
    pairs = zip(ours.rounds_p50_ns, sends.rounds_p50_ns, strict=False)
    return [(our_ns - none_ns) / max(its_ns - none_ns, 1.0) for our_ns, its_ns in pairs]


def main_workload(result: Result) -> Workload | None:
    """The one that the sentence is about: the burst, or else the first."""
    found = sorted(published(result), key=lambda workload: workload.name != MAIN)
    return found[0] if found else None


def headline(result: Result) -> str:
    """The sentence of the result: what a publish costs, and how many trades were counted."""
    workload = main_workload(result)
    if workload is None:
        return against_peers(result) or "Nothing was measured."
    ratio = _to_send(result, workload)
    beside_it = "" if ratio is None else f", {times(ratio)} a bare send"
    cost = nanoseconds(workload.call.p50_ns)
    return f"A publish costs {cost}{beside_it}; {_counted(workload.counts)}."


def _to_send(result: Result, workload: Workload) -> float | None:
    """From the rounds in turns with bare sends, or else from the peers."""
    sends = beside(result, workload)
    if sends and (ratios := ratios_to_sends(workload, sends)):
        return median(ratios)
    bare = (peer for peer in _measured(result) if peer.name == BARE)
    return next((1 / median(peer.ratios) for peer in bare), None)


def _counted(counts: Counts) -> str:
    if counts.applied is None:
        return UNREAD
    said = f"{number(counts.applied)} of {number(counts.offered)} were counted"
    parts = {"refused": counts.refused, "lost": counts.lost, "waiting": counts.waiting}
    rest = (f"{number(count)} {name}" for name, count in parts.items() if count)
    return ", ".join([said, *rest])


def _measured(result: Result) -> list[Peer]:
    return [peer for peer in result.peers if peer.ratios and median(peer.ratios) > 0]


def against_peers(result: Result) -> str:
    """A second sentence: between what and what other ways take, and which take less."""
    found = sorted((median(peer.ratios), peer.title) for peer in _measured(result))
    slower = [f"{times(ratio)} ({title})" for ratio, title in found if ratio >= 1]
    faster = [f"{title} {times(ratio)}" for ratio, title in found if ratio < 1]
    said = []
    if slower:
        ends = dict.fromkeys([slower[0], slower[-1]])
        said.append(f"For the same trade other ways take {' to '.join(ends)} as long.")
    if faster:
        said.append(f"Less than a publish: {'; '.join(faster)}.")
    return " ".join(said)


def notices(result: Result) -> list[Notice]:
    """What a reader must know before any figure: the worst first, or that all is well."""
    found = [*wrong_counts(result), *problems(result), *_failed_checks(result)]
    return found or [_all_well(result)]


def wrong_counts(result: Result) -> Iterator[Notice]:
    """Workloads whose counts do not add up, or that lost trades; bare sends may lose them."""
    for workload in result.workloads:
        if wrong := imbalance(workload.counts):
            head = "What was counted is not known." if wrong == UNREAD else NOT_ADDING_UP
            yield Notice("danger", head, f"{workload.title}: {wrong}.")
        elif workload.counts.lost and not is_reference(workload.name):
            lost = number(workload.counts.lost)
            yield Notice("danger", "Trades were lost.", f"{workload.title}: {lost}.")


def problems(result: Result) -> Iterator[Notice]:
    """Workloads whose figures are not to be trusted for another reason."""
    for workload in result.workloads:
        if workload.problem and workload.problem != imbalance(workload.counts):
            said = f"{workload.title}: {workload.problem.rstrip('.')}."
            yield Notice("warning", "Not to be trusted.", said)


def _failed_checks(result: Result) -> Iterator[Notice]:
    failed = [check.title for check in result.checks if not check.passed]
    if failed:
        head = f"{len(failed)} of {plural(len(result.checks), 'check')} failed."
        yield Notice("warning", head, f"{'; '.join(failed)}.")


def _all_well(result: Result) -> Notice:
    said = ["Every trade is accounted for."] if result.workloads else []
    if result.checks:
        said.append(f"What was wanted was reached, in {plural(len(result.checks), 'check')}.")
    return Notice("good", " ".join(said) or "Nothing speaks against these figures.")
