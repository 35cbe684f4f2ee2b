"""The board *Pipeline health*: whether anything is lost."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

import pipeline_details as details
from panels import (
    DANGER,
    FAINT,
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
from pipeline_details import CHOSEN, each
from telemetry import HEALTH, HEALTH_QUERY
from trade_telemetry.messages import LossReason

ZERO: Final = "telemetry_received_total{@} * 0"
"""0 for each sidecar that answers: a count of nothing is 0, and unknown when nobody answers."""

PUBLISHER: Final = (
    State(0, "ended", FAINT),
    State(1, "silent", WARNING),
    State(2, "live", GOOD),
)
PUBLISHER_QUERY: Final = (
    f"telemetry_publisher_open{{{CHOSEN}}} * "
    f"(1 + (time() - telemetry_publisher_last_seen_timestamp_seconds{{{CHOSEN}}} < bool 3))"
)
"""2 while a publisher is heard, 1 when it has been silent for 3 s, 0 after it said that it ends."""

ABOUT: Final = """\
**Each publisher numbers its trades, and the sidecar accounts for each number.** For every publisher, at every moment:

    published = applied + lost + waiting

What is left of that is the residue, and it is 0. What a publisher refused was never numbered, and is told apart. An event that is on its way when
something breaks is sent again, until it is on the sidecar's disk: that makes gaps and duplicates, which are harmless, and no loss.

| you see | it means | do |
| --- | --- | --- |
| residue not 0 | the sidecar's own accounts do not balance | a defect: keep its state and log, and report it |
| lost: rejected | a publisher's event arrived and was no trade | the reason here, the detail in the sidecar's log |
| lost: overwritten | a ring that drops the oldest was full | a larger ring, or a sidecar that is back sooner |
| lost: journal | a publisher's journal file is damaged | its log, its disk |
| lost: state | the sidecar's state is an older or a new one | restore a backup |
| lost: silent | a publisher with events waiting was not heard for 24 hours | start it again sooner |
| waiting that grows | a publisher is faster than the way to the sidecar, or the sidecar is away | load and backlog below |
| turned away | there is no place for another publisher | one name for each program, closed at its end |
| commits that fail | the disk is full, read-only, or fails | the sidecar's `/health` names the cure |
| refused | a ring was full | a larger ring, or a sidecar that is back sooner |
| rejected | somebody sends what is no trade | the reason here, the detail in the sidecar's log |
| silent | a publisher that did not say that it ends is not heard | see whether its process lives |
"""


def make() -> Dashboard:
    """The board."""
    return board(
        "pipeline-health",
        "Pipeline health",
        "Is anything lost? Each publisher's account, what came in, the disk, and how the sidecar fares. "
        "The first line is of all publishers; a choice of some is for what follows.",
        [chooser("publisher", "Publisher", "telemetry_publisher_published_total")],
        [
            *_answer(),
            *_publishers(),
            row("Rings and repeats"),
            *details.repeats(),
            row("Input"),
            *details.arrivals(),
            row("The disk"),
            *details.disk(),
            row("The sidecar"),
            *details.sidecar(),
            row("What to do"),
            note("What is this", "How the account works, and what to do.", ABOUT, size=(24, 13)),
        ],
    )


def _count(title: str, description: str, expression: str, color: str, *, width: int = 3) -> object:
    """A number that should be 0."""
    return number(title, description, Query(expression), width=width, steps=[(1, color)])


def _answer() -> list[object]:
    return [
        state(
            "Sidecar",
            "The worst of the sidecars chosen: live, blocked (it cannot write its state), stalled, "
            "or away.",
            Query(f"min({HEALTH_QUERY})"),
            HEALTH,
            width=3,
        ),
        number(
            "Publishers heard",
            "Publishers that gave a sign of life in the last 3 s. They beat every second, so one "
            "that is missing here has ended, or is silent: the timeline below says which.",
            Query(
                "sum((time() - telemetry_publisher_last_seen_timestamp_seconds{@} < bool 3)"
                f" or {ZERO})"
            ),
            width=3,
        ),
        _count(
            "Residue",
            "Published events that are neither applied, nor lost, nor waiting, or are so twice; or "
            "trades in the totals and in no account. It is always 0; anything else is a defect of "
            "the sidecar, and an alert.",
            "max(sum(abs(telemetry_publisher_residue{@})) or abs(telemetry_residue{@})"
            f" or {ZERO})",
            DANGER,
        ),
        _count(
            "Lost",
            "Events that publishers had accepted and that will never be in the totals. By reason "
            "and publisher below.",
            f"sum(telemetry_publisher_lost_total{{@}} or {ZERO})",
            DANGER,
        ),
        number(
            "Waiting",
            "Events that the sidecar has heard of and that are not settled yet. A few are normal, "
            "for a moment; a number that grows means that it is behind.",
            Query(f"sum(telemetry_publisher_waiting{{@}} or {ZERO})"),
            width=3,
        ),
        _count(
            "Refused",
            "Trades that publishers did not take, because a ring was full or the publisher was "
            "closed. They are in no total.",
            f"sum(telemetry_publisher_refused_total{{@}} or {ZERO})",
            DANGER,
        ),
        _count(
            "Rejected",
            "Messages that arrived and were not counted. By reason below, in detail in the "
            "sidecar's log.",
            "sum(telemetry_rejected_total{@})",
            WARNING,
        ),
        _count(
            "Turned away",
            "Messages of publishers for which there was no place. What they publish waits in "
            "their rings, and is not counted.",
            "sum(telemetry_turned_away_total{@})",
            DANGER,
        ),
    ]


def _lost(reason: LossReason) -> Column:
    matchers = f'reason="{reason}", {CHOSEN}'
    return Column(f"Lost: {reason}", each("lost_total", matchers), danger_at=1)


def _publishers() -> list[object]:
    return [
        rows(
            "Publishers",
            "The account of each publisher: published = applied + lost + waiting. The residue is "
            "what is left of that, and is 0. Refused trades were never published. Last heard is an "
            "age: a living publisher beats every second.",
            {"instance": "Sidecar", "publisher": "Publisher"},
            [
                Column("Published", each("published_total")),
                Column("Applied", each("applied_total")),
                *(_lost(reason) for reason in LossReason),
                Column("Waiting", each("waiting")),
                Column("Residue", f"abs({each('residue')})", danger_at=1),
                Column("Refused", each("refused_total"), danger_at=1),
                Column(
                    "Last heard",
                    f"time() - ({each('last_seen_timestamp_seconds')})",
                    unit="s",
                    decimals=1,
                ),
            ],
            sort_by="Published",
            size=(24, 8),
        ),
        timeline(
            "Publishers over time",
            "Live: heard in the last 3 s. Silent: it did not say that it ends and is not heard, "
            "which after 10 s is an alert. Ended: it said so.",
            Query(PUBLISHER_QUERY, "{{publisher}} on {{instance}}"),
            PUBLISHER,
            size=(8, 7),
        ),
        lines(
            "Waiting by publisher",
            "Events that are published and not settled. A step up when the sidecar is back, and "
            "its fall to 0, is what had waited; what does not fall for half a minute is an alert.",
            Query(f"telemetry_publisher_waiting{{{CHOSEN}}}", "{{publisher}} on {{instance}}"),
            size=(8, 7),
        ),
        lines(
            "Lost by reason",
            "Events that will never be in the totals, of the publishers chosen. Each step is an "
            "alert; what the reasons mean is at the end of this board.",
            Query(
                f"sum by (reason) (telemetry_publisher_lost_total{{{CHOSEN}}})",
                "{{reason}}",
            ),
            unit="locale",
            size=(8, 7),
        ),
    ]
