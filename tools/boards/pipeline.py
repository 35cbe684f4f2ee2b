"""The board *Pipeline health*: whether anything is lost."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from panels import (
    DANGER,
    FAINT,
    GOOD,
    RATE,
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
from telemetry import HEALTH, HEALTH_QUERY

CHOSEN: Final = 'publisher=~"$publisher", @'
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
**Each publisher numbers its trades, and the sidecar accounts for each number.** At every beat of a publisher that runs once:

    published = applied + rejected + missing + waiting

Between beats the difference is on its way. What a publisher refused was never numbered, and is told apart.

| you see | it means | do |
| --- | --- | --- |
| residue not 0 | the sidecar's own accounts do not balance | a defect: keep the log, and report it |
| missing | events were sent and did not arrive | look at what ended or cut the connection at that time |
| waiting that grows | a publisher is faster than the way to the sidecar, or the sidecar is away | load and backlog below |
| refused | a ring was full | a larger ring, or a sidecar that is back sooner |
| rejected | somebody sends what is no trade | the reason here, the detail in the sidecar's log |
| silent | a publisher that did not say that it ends is not heard | see whether its process lives |
"""


def make() -> Dashboard:
    """The board."""
    return board(
        "pipeline-health",
        "Pipeline health",
        "Is anything lost? Each publisher's account, what was rejected, and how the sidecar fares. "
        "The first line is of all publishers; a choice of some is for what follows.",
        [chooser("publisher", "Publisher", "telemetry_publisher_published_total")],
        [
            *_answer(),
            *_publishers(),
            row("Input"),
            *_input(),
            row("The sidecar"),
            *_sidecar(),
            row("What to do"),
            note("What is this", "How the account works, and what to do.", ABOUT, size=(24, 9)),
        ],
    )


def _count(title: str, description: str, expression: str, color: str, *, width: int = 3) -> object:
    """A number that should be 0."""
    return number(title, description, Query(expression), width=width, steps=[(1, color)])


def _answer() -> list[object]:
    return [
        state(
            "Sidecar",
            "The worst of the sidecars chosen: live, stalled, or away.",
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
            "Events that arrived and that no count explains. It is always 0; anything else is a "
            "defect of the sidecar, and an alert.",
            f"sum(abs(telemetry_publisher_residue{{@}}) or {ZERO})",
            DANGER,
        ),
        _count(
            "Missing",
            "Events that publishers sent and that have not arrived. For a moment after a cut "
            "connection that is normal; what stays is lost.",
            f"sum(telemetry_publisher_missing{{@}} or {ZERO})",
            DANGER,
        ),
        number(
            "Waiting",
            "Events in the publishers' rings, by their latest beats. A few are normal; a number "
            "that grows means that the sidecar is away or behind.",
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
            "Messages that arrived and were not counted, since the sidecar started. By reason "
            "below, in detail in the sidecar's log.",
            "sum(telemetry_rejected_total{@})",
            WARNING,
        ),
        number(
            "Duplicates",
            "Events that arrived again and were counted once. Harmless, and no work is lost.",
            Query("sum(telemetry_duplicates_total{@})"),
            width=3,
        ),
    ]


def _publishers() -> list[object]:
    def each(metric: str) -> str:
        return f"sum by (instance, publisher) (telemetry_publisher_{metric}{{{CHOSEN}}})"

    return [
        rows(
            "Publishers",
            "The account of each publisher: published = applied + rejected + missing + waiting at "
            "each of its beats. Refused trades were never published. Last heard is an age: a "
            "living publisher beats every second.",
            {"instance": "Sidecar", "publisher": "Publisher"},
            [
                Column("Published", each("published_total")),
                Column("Applied", each("applied_total")),
                Column("Rejected", each("rejected_total"), danger_at=1),
                Column("Missing", each("missing"), danger_at=1),
                Column("Waiting", each("waiting")),
                Column("Refused", each("refused_total"), danger_at=1),
                Column("Duplicates", each("duplicates_total")),
                Column("Residue", f"abs({each('residue')})", danger_at=1),
                Column("Ring", each("ring_capacity")),
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
            size=(12, 7),
        ),
        lines(
            "Waiting by publisher",
            "Events in each ring, by its latest beat. It rises while the sidecar is away and "
            "falls to 0 when it is back; a ring that fills refuses trades.",
            Query(f"telemetry_publisher_waiting{{{CHOSEN}}}", "{{publisher}} on {{instance}}"),
        ),
    ]


def _input() -> list[object]:
    return [
        lines(
            "Received per second by outcome",
            "Every message that arrived is one of these: applied, duplicate, rejected or a beat.",
            Query(f"sum(rate(trades_total{{@}}[{RATE}]))", "applied"),
            Query(f"sum(rate(telemetry_duplicates_total{{@}}[{RATE}]))", "duplicate"),
            Query(f"sum(rate(telemetry_rejected_total{{@}}[{RATE}]))", "rejected"),
            Query(f"sum(rate(telemetry_beats_total{{@}}[{RATE}]))", "beat"),
            colors={"applied": GOOD, "duplicate": FAINT, "rejected": WARNING},
            size=(8, 7),
        ),
        lines(
            "Rejected per second by reason",
            "What was not counted and why, over the last minute. The sidecar's log has the latest "
            "detail of each reason.",
            Query(
                "sum by (reason) (instance_reason:telemetry_rejected:rate1m{@}) > 0", "{{reason}}"
            ),
            size=(8, 7),
        ),
        lines(
            "Untracked trades per second",
            "Trades without stamps: they are counted, but nobody would know if one were lost. "
            "Publish with the library, or stamp them, to have them accounted for.",
            Query(f"sum(rate(telemetry_untracked_total{{@}}[{RATE}]))", "untracked"),
            colors={"untracked": WARNING},
            size=(8, 7),
        ),
    ]


def _sidecar() -> list[object]:
    one = "{{instance}}"
    return [
        timeline(
            "Receiver over time",
            "Each sidecar: live, stalled (it answers, and counts nothing), away.",
            Query(HEALTH_QUERY, one),
            HEALTH,
            size=(8, 6),
        ),
        lines(
            "Receiver load",
            "The part of its time that the receiver does not wait, over the last minute. Above "
            "90 % an alert fires: what publishers send beyond that waits with them.",
            Query("instance:telemetry_receiver_busy:rate1m{@}", one),
            unit="percentunit",
            size=(8, 6),
        ),
        lines(
            "Queue",
            "Bytes that arrived and wait in the kernel for the receiver. Above 0 for long: it is "
            "behind.",
            Query("telemetry_receiver_backlog_bytes{@}", one),
            unit="bytes",
            size=(8, 6),
        ),
        lines(
            "Memory",
            "Resident memory of the sidecar's process. It settles; a line that climbs for hours "
            "is a leak.",
            Query("process_resident_memory_bytes{@}", one),
            unit="bytes",
            size=(6, 6),
        ),
        lines(
            "Connections",
            "Open connections of publishers, of at most 256, and open descriptors of the process.",
            Query("telemetry_receiver_connections{@}", "{{instance}} connections"),
            Query("process_open_fds{@}", "{{instance}} descriptors"),
            size=(6, 6),
        ),
        lines(
            "Connections refused per second",
            "limit: 256 were open. handshake: what connected does not speak ZeroMQ.",
            Query(
                f"sum by (reason) (rate(telemetry_connections_refused_total{{@}}[{RATE}]))",
                "{{reason}}",
            ),
            size=(6, 6),
        ),
        lines(
            "Heartbeat age",
            "Since the receiver last came round: normally below 0.3 s. It is stalled above 2 s.",
            Query("telemetry_receiver_heartbeat_age_seconds{@}", one),
            unit="s",
            size=(6, 6),
        ),
        lines(
            "Errors survived per second",
            "Unexpected errors in the receiver. Anything above 0 is a defect: the log has it.",
            Query(f"sum by (instance) (rate(telemetry_receiver_errors_total{{@}}[{RATE}]))", one),
            size=(12, 5),
        ),
        lines(
            "CPU",
            "Seconds of processor time a second; 1 is a whole core.",
            Query(f"sum by (instance) (rate(process_cpu_seconds_total{{@}}[{RATE}]))", one),
            size=(12, 5),
        ),
    ]
