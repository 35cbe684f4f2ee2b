"""The metrics of publishers: the account of each, and what it said of itself.

Read from what was committed. All begin with ``telemetry_publisher_``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from metrics_sidecar.publishers import PublisherTotals
from metrics_sidecar.snapshot import Snapshot
from trade_telemetry.messages import LossReason

_Read = Callable[[PublisherTotals], float]
_COUNTERS: Final[tuple[tuple[str, str, _Read], ...]] = (
    ("published", "Events accepted by the publisher, as far as heard.", lambda p: p.published),
    ("applied", "Events of the publisher that are in the totals.", lambda p: p.applied),
    ("duplicates", "Events of the publisher that had been counted before.", lambda p: p.duplicates),
    ("gaps", "Its events above a hole: not applied, and sent again.", lambda p: p.gaps),
    (
        "refilled",
        "Events applied that had been committed once, and that an older state did not know of.",
        lambda p: p.refilled,
    ),
)
_GAUGES: Final[tuple[tuple[str, str, _Read], ...]] = (
    ("waiting", "Events published that are neither applied nor lost yet.", lambda p: p.waiting),
    (
        "residue",
        "Events that no other figure of the publisher explains: anything but 0 is a defect.",
        lambda p: p.residue,
    ),
    ("open", "1 until the publisher says that it ends, then 0.", lambda p: p.open),
    ("epochs", "Lives of the publisher that have not ended.", lambda p: p.epochs),
    (
        "instances",
        "Publishers of this name that run now: above 1, they share the name.",
        lambda p: p.instances,
    ),
    ("durable", "1 if its events survive the publisher, 0 if not.", lambda p: p.durable),
    ("ring_capacity", "Events that the publisher's ring holds.", lambda p: p.capacity),
    ("held", "Events in the publisher's ring that it can send again.", lambda p: p.held),
    (
        "last_seen_timestamp_seconds",
        "When the publisher was last heard, in unix seconds.",
        lambda p: p.last_seen_s,
    ),
)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Every metric of publishers."""
    for name, text, read in _COUNTERS:
        counter = CounterMetricFamily(f"telemetry_publisher_{name}", text, labels=["publisher"])
        for publisher, totals in snapshot.publishers.items():
            counter.add_metric([publisher], read(totals))
        yield counter
    for name, text, read in _GAUGES:
        gauge = GaugeMetricFamily(f"telemetry_publisher_{name}", text, labels=["publisher"])
        for publisher, totals in snapshot.publishers.items():
            gauge.add_metric([publisher], read(totals))
        yield gauge
    yield from _reasons(snapshot)


def _reasons(snapshot: Snapshot) -> Iterator[Metric]:
    labels = ["publisher", "reason"]
    lost = CounterMetricFamily(
        "telemetry_publisher_lost",
        "Events that were published and will never be in the totals, by reason.",
        labels=labels,
    )
    refused = CounterMetricFamily(
        "telemetry_publisher_refused",
        "Trades that the publisher did not take, by reason; they were never published.",
        labels=labels,
    )
    for publisher, totals in snapshot.publishers.items():
        for loss in LossReason:  # from the first sight on, so that the first loss is a growth
            lost.add_metric([publisher, loss], totals.lost.get(loss, 0))
        for reason, count in totals.refused.items():
            refused.add_metric([publisher, reason], count)
    yield lost
    yield refused
