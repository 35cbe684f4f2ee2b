"""What *Pipeline health* shows below its first screen: rings, input, disk, and the sidecar itself."""

from __future__ import annotations

from typing import Final

from panels import (
    DANGER,
    FAINT,
    GOOD,
    OF_SIDECARS,
    RATE,
    WARNING,
    Column,
    Query,
    lines,
    rows,
    timeline,
)
from telemetry import HEALTH, HEALTH_QUERY

CHOSEN: Final = 'publisher=~"$publisher", @'
OUTCOMES: Final = {
    "applied": "trades_total",
    "duplicate": "telemetry_duplicates_total",
    "gap": "telemetry_gaps_total",
    "skip": "telemetry_skips_total",
    "rejected": "telemetry_rejected_total",
    "turned away": "telemetry_turned_away_total",
    "beat": "telemetry_beats_total",
    "benchmark": "telemetry_benchmarks_total",
}


def each(metric: str, matchers: str = CHOSEN) -> str:
    """Query a metric of each publisher; ``metric`` is its name after ``telemetry_publisher_``."""
    return f"sum by (instance, publisher) (telemetry_publisher_{metric}{{{matchers}}})"


def repeats() -> list[object]:
    """The rings, and what came more than once."""
    return [
        rows(
            "Rings",
            "Each publisher's ring, and what came of it more than once. Lives are those that have "
            "not ended: a second one is what an earlier run left, being sent. Durable: 1 if its "
            "events are in a file. Held: what it can send again.",
            {"instance": "Sidecar", "publisher": "Publisher"},
            [
                Column("Ring", each("ring_capacity")),
                Column("Held", each("held")),
                Column("Durable", each("durable")),
                Column("Lives", each("epochs")),
                Column("Duplicates", each("duplicates_total")),
                Column("Gaps", each("gaps_total")),
            ],
            sort_by="Duplicates",
            size=(16, 7),
        ),
        lines(
            "Repeats per second",
            "Duplicates had been counted before, and gaps came too early: both arrive when a "
            "connection breaks and its events are sent again. Without end, something on the way "
            "loses events again and again.",
            *(
                Query(
                    f"sum(rate(telemetry_publisher_{name}s_total{{{CHOSEN}}}[{RATE}]))",
                    name,
                )
                for name in ("duplicate", "gap")
            ),
            size=(8, 7),
            colors={"duplicate": FAINT},
        ),
    ]


def arrivals() -> list[object]:
    """What arrived, by outcome."""
    return [
        lines(
            "Received per second by outcome",
            "Every message that arrived is one of these. A skip says what will never come; a gap "
            "came too early, and comes again.",
            *(
                Query(f"sum(rate({metric}{{@}}[{RATE}]))", name)
                for name, metric in OUTCOMES.items()
            ),
            colors={
                "applied": GOOD,
                "duplicate": FAINT,
                "rejected": WARNING,
                "turned away": DANGER,
            },
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


def disk() -> list[object]:
    """The state on its disk."""
    one = "{{instance}}"
    return [
        lines(
            "State size",
            "What the totals take on disk, with their log. It grows with publishers and symbols, "
            "not with trades, and stays at some MB.",
            Query("telemetry_state_bytes{@}", one),
            unit="bytes",
            size=(5, 6),
        ),
        lines(
            "Free on its disk",
            "What the disk of the state has left. Below 512 MiB an alert fires; when it is full, "
            "nothing more is taken.",
            Query(
                "telemetry_state_free_bytes{@} and on (job, instance) telemetry_state_durable{@} == 1",
                one,
            ),
            unit="bytes",
            size=(5, 6),
        ),
        lines(
            "Time of a commit",
            "The mean time that writing and syncing took, over the last minute. An event is "
            "counted some 100 ms after it came, and this.",
            Query("instance:telemetry_commit_seconds:mean1m{@}", one),
            unit="s",
            size=(5, 6),
        ),
        lines(
            "Commits per second",
            "Up to 10 while events come, 1 in 10 s while none do. A failure is tried again each "
            "second; it is shown once one has succeeded.",
            Query(
                f"sum by (instance) (rate(telemetry_commits_total{{@}}[{RATE}]))",
                "{{instance}} written",
            ),
            Query(
                f"sum by (instance) (rate(telemetry_commit_failures_total{{@}}[{RATE}]))",
                "{{instance}} failed",
            ),
            size=(5, 6),
        ),
        lines(
            "Last commit",
            "How long ago the state was written: at most some 10 s. More means that it cannot be.",
            Query("time() - (telemetry_last_commit_timestamp_seconds{@} > 0)", one),
            unit="s",
            size=(4, 6),
        ),
    ]


def sidecar() -> list[object]:
    """The process and its receiver."""
    one = "{{instance}}"
    return [
        timeline(
            "Receiver over time",
            "Each sidecar: live, blocked (it cannot write its state), stalled (it answers, and "
            "counts nothing), away.",
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
            Query(f"process_resident_memory_bytes{OF_SIDECARS}", one),
            unit="bytes",
            size=(6, 6),
        ),
        lines(
            "Connections",
            "Open connections of publishers, of at most 256, and open descriptors of the process.",
            Query("telemetry_receiver_connections{@}", "{{instance}} connections"),
            Query(f"process_open_fds{OF_SIDECARS}", "{{instance}} descriptors"),
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
            size=(8, 5),
        ),
        lines(
            "CPU",
            "Seconds of processor time a second; 1 is a whole core.",
            Query(f"sum by (instance) (rate(process_cpu_seconds_total{OF_SIDECARS}[{RATE}]))", one),
            size=(8, 5),
        ),
        lines(
            "Lives of publishers",
            "Live ones are told apart; of spent ones only the end is remembered, so that nothing "
            "of them counts again. At the limit, new publishers are turned away.",
            Query("sum(telemetry_epochs{@})", "live"),
            Query("sum(telemetry_epochs_limit{@})", "limit"),
            Query("sum(telemetry_epochs_spent{@})", "spent"),
            unit="locale",
            size=(8, 5),
            colors={"live": GOOD, "limit": WARNING, "spent": FAINT},
        ),
    ]
