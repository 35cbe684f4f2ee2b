"""Every metric name, label and help text, read from what was committed.

The three names of the contract are fixed; every other one starts with ``telemetry_``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from metrics_sidecar.ledger import AGE_BOUNDS_S, SIDES, Ledger, Snapshot
from metrics_sidecar.publishers import PublisherTotals
from metrics_sidecar.receiver import Receiver
from trade_telemetry.messages import NANO

_Read = Callable[[PublisherTotals], float]
_PUBLISHER_COUNTERS: Final[tuple[tuple[str, str, _Read], ...]] = (
    (
        "published",
        "Events accepted by the publisher since it was first heard.",
        lambda p: p.published,
    ),
    ("applied", "Events of the publisher that are in the totals.", lambda p: p.applied),
    ("rejected", "Events of the publisher that arrived and were not trades.", lambda p: p.rejected),
    ("duplicates", "Events of the publisher that had been counted before.", lambda p: p.duplicates),
)
_PUBLISHER_GAUGES: Final[tuple[tuple[str, str, _Read], ...]] = (
    ("missing", "Events that were sent and have not arrived.", lambda p: p.missing),
    ("waiting", "Events in the publisher's ring, by its latest beat.", lambda p: p.waiting),
    (
        "residue",
        "Events that arrived and that no count explains: anything but 0 is a defect.",
        lambda p: p.residue,
    ),
    ("open", "1 until the publisher says that it ends, then 0.", lambda p: p.open),
    ("ring_capacity", "Events that the publisher's ring holds.", lambda p: p.capacity),
    (
        "last_seen_timestamp_seconds",
        "When the publisher was last heard, in unix seconds.",
        lambda p: p.last_seen_s,
    ),
)


@dataclass(frozen=True, slots=True)
class Build:
    """What runs: the label values of telemetry_build_info."""

    version: str
    commit: str
    python: str


def make_registry(receiver: Receiver, build: Build) -> CollectorRegistry:
    """A registry of its own with everything that the sidecar exposes."""
    registry = CollectorRegistry()
    registry.register(_SidecarCollector(receiver, build))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class _SidecarCollector(Collector):
    def __init__(self, receiver: Receiver, build: Build) -> None:
        self._receiver = receiver
        self._build = build

    def describe(self) -> Iterable[Metric]:
        """The names, for the registry: nothing is committed yet when the collector registers."""
        return self._families(Ledger(since_s=0.0).snapshot())

    def collect(self) -> Iterator[Metric]:
        snapshot = self._receiver.snapshot
        return iter(()) if snapshot is None else self._families(snapshot)

    def _families(self, snapshot: Snapshot) -> Iterator[Metric]:
        yield from _contract(snapshot)
        yield from _symbols(snapshot)
        yield from _input(snapshot)
        yield from _publishers(snapshot)
        yield from _receiver(self._receiver)
        info = InfoMetricFamily("telemetry_build", "What runs.")
        build = self._build
        labels = {"version": build.version, "commit": build.commit, "python": build.python}
        info.add_metric([], labels)
        yield info


def _contract(snapshot: Snapshot) -> Iterator[Metric]:
    trades = CounterMetricFamily("trades", "Trades counted.", labels=["side"])
    volume = CounterMetricFamily(
        "volume", "Quantity traded, in units of the instrument.", labels=["side"]
    )
    for side in SIDES:
        trades.add_metric([side], snapshot.trades(side))
        volume.add_metric([side], snapshot.volume(side))
    yield trades
    yield volume
    yield GaugeMetricFamily(
        "last_trade_ts_seconds",
        "Time of the last trade counted, in unix seconds; 0 before the first.",
        snapshot.last_trade_ts_s,
    )


def _symbols(snapshot: Snapshot) -> Iterator[Metric]:
    trades = CounterMetricFamily(
        "telemetry_symbol_trades",
        'Trades counted by symbol; "other" past 100 symbols, "(none)" without one.',
        labels=["symbol", "side"],
    )
    volume = CounterMetricFamily(
        "telemetry_symbol_volume",
        "Quantity traded by symbol, in units of the instrument.",
        labels=["symbol", "side"],
    )
    for symbol, totals in snapshot.symbols.items():
        for side in SIDES:
            trades.add_metric([symbol, side], totals.trades[side])
            volume.add_metric([symbol, side], totals.volume_nano[side] / NANO)
    yield trades
    yield volume


def _input(snapshot: Snapshot) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "telemetry_received",
        "Messages received: those applied, duplicate, rejected, and beats.",
        snapshot.received,
    )
    rejected = CounterMetricFamily(
        "telemetry_rejected", "Messages not counted, by reason.", labels=["reason"]
    )
    for reason, count in snapshot.rejected.items():
        rejected.add_metric([reason], count)
    yield rejected
    yield CounterMetricFamily(
        "telemetry_duplicates", "Events that had been counted before.", snapshot.duplicates
    )
    yield CounterMetricFamily(
        "telemetry_beats", "Messages in which publishers spoke of themselves.", snapshot.beats
    )
    yield CounterMetricFamily(
        "telemetry_untracked",
        "Trades counted that carried no stamps, so that their loss cannot be seen.",
        snapshot.untracked,
    )
    counts = accumulate(snapshot.age_counts)
    bounds = [*(f"{bound_s:g}" for bound_s in AGE_BOUNDS_S), "+Inf"]
    yield HistogramMetricFamily(
        "telemetry_event_age_seconds",
        "Time from a trade's ts to its being applied, in seconds.",
        buckets=list(zip(bounds, counts, strict=True)),
        sum_value=snapshot.age_sum_s,
    )


def _publishers(snapshot: Snapshot) -> Iterator[Metric]:
    for name, text, read in _PUBLISHER_COUNTERS:
        counter = CounterMetricFamily(f"telemetry_publisher_{name}", text, labels=["publisher"])
        for publisher, totals in snapshot.publishers.items():
            counter.add_metric([publisher], read(totals))
        yield counter
    for name, text, read in _PUBLISHER_GAUGES:
        gauge = GaugeMetricFamily(f"telemetry_publisher_{name}", text, labels=["publisher"])
        for publisher, totals in snapshot.publishers.items():
            gauge.add_metric([publisher], read(totals))
        yield gauge
    refused = CounterMetricFamily(
        "telemetry_publisher_refused",
        "Trades that the publisher did not take, by reason.",
        labels=["publisher", "reason"],
    )
    for publisher, totals in snapshot.publishers.items():
        for reason, count in totals.refused.items():
            refused.add_metric([publisher, reason], count)
    yield refused


def _receiver(receiver: Receiver) -> Iterator[Metric]:
    figures = receiver.figures
    status, _ = receiver.health()
    gauges = (
        ("up", "1 while the receiver works, 0 when it is stalled or dead.", status == "ok"),
        (
            "heartbeat_age_seconds",
            "Seconds since the receiver last came round.",
            receiver.heartbeat_age_s(),
        ),
        ("connections", "Open connections of publishers.", figures.connections),
        (
            "backlog_bytes",
            "Bytes that arrived and wait in the kernel: above 0 when the receiver is behind.",
            figures.backlog_bytes,
        ),
    )
    for name, text, value in gauges:
        yield GaugeMetricFamily(f"telemetry_receiver_{name}", text, float(value))
    yield CounterMetricFamily(
        "telemetry_receiver_busy_seconds",
        "Seconds in which the receiver was not waiting; its rate is its load, from 0 to 1.",
        figures.busy_s,
    )
    yield CounterMetricFamily(
        "telemetry_receiver_errors", "Unexpected errors that the receiver survived.", figures.errors
    )
    refused = CounterMetricFamily(
        "telemetry_connections_refused", "Connections refused, by reason.", labels=["reason"]
    )
    refused.add_metric(["limit"], figures.connections_refused_limit)
    refused.add_metric(["handshake"], figures.connections_refused_handshake)
    yield refused
