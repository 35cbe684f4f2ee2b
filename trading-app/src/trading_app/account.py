"""The account of what was published: where each trade is, by publisher and in all. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from trading_app.formats import age, number
from trading_app.sidecar_answers import PublisherState, Summary
from trading_app.status import SILENT_AFTER_S, Status

CURE_NOTHING_YET: Final = "Press Buy on the page Trade, or `make demo` shows a lively stream"
CURE_RESIDUE: Final = (
    "A defect of the telemetry: first keep its state, `metrics-sidecar backup FILE`, then see "
    "AccountingResidue in docs/operations.md"
)


@dataclass(frozen=True, slots=True)
class Account:
    """Sums over publishers. ``residue`` adds up how far each is off, so that two never cancel."""

    publishers: int
    published: int
    applied: int
    lost: int
    waiting: int
    residue: int

    def __str__(self) -> str:
        return (
            f"{number(self.published)} published = {number(self.applied)} applied + "
            f"{number(self.lost)} lost + {number(self.waiting)} waiting · "
            f"residue {number(self.residue)}"
        )


def account(states: Sequence[PublisherState]) -> Account:
    """Add up what became of everything that these published."""
    return Account(
        publishers=len(states),
        published=sum(state.published for state in states),
        applied=sum(state.applied for state in states),
        lost=sum(sum(state.lost.values()) for state in states),
        waiting=sum(state.waiting for state in states),
        residue=sum(abs(state.residue) for state in states),
    )


def losses(states: Iterable[PublisherState]) -> dict[str, int]:
    """Add up what was lost, by reason; only what happened."""
    found: dict[str, int] = {}
    for state in states:
        for reason, count in state.lost.items():
            found[reason] = found.get(reason, 0) + count
    return {reason: count for reason, count in found.items() if count}


def is_silent(state: PublisherState, now_s: float) -> bool:
    """Whether a publisher that has not said goodbye gives no sign of life."""
    return state.open and now_s - state.last_seen_s > SILENT_AFTER_S


def by_trouble(states: Iterable[PublisherState], now_s: float) -> list[PublisherState]:
    """Put the worst first, and within the same trouble go by name, so that rows stay put."""
    return sorted(states, key=lambda state: (_trouble(state, now_s), state.publisher))


def _trouble(state: PublisherState, now_s: float) -> int:
    if state.residue:
        return 0
    if state.waiting and is_silent(state, now_s):
        return 1
    return 2 if any(state.lost.values()) or any(state.refused.values()) else 3


def delivery_status(status: Status, summary: Summary | None, figures_age_s: float) -> Status:
    """Answer "is every trade accounted for?"; ``status`` is that of the desk's first line.

    ``figures_age_s`` is above 0 while the sidecar gives no newer figures than these.
    """
    if summary is None:
        return Status(status.state, "what became of each trade is not known yet", status.cure)
    sums = account(summary.publishers)
    sums = replace(sums, residue=sums.residue + abs(summary.residue))
    if sums.residue:
        return Status("broken", str(sums), CURE_RESIDUE, "not accounted for")
    if figures_age_s > 0:
        return Status(status.state, f"{age(figures_age_s)}: {sums}", status.cure)
    if summary.status != "ok":
        return status
    if sums.published == 0:
        return Status("waiting", "nothing has been published yet", CURE_NOTHING_YET)
    return Status("live", str(sums), "", "accounted for")
