"""Every metric name, label and help text, read from what was committed.

The three names of the contract are fixed; every other one starts with ``telemetry_``, and those of
benchmarks with ``benchmark_``.
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

from metrics_sidecar import benchmark_exposition, publisher_exposition
from metrics_sidecar.epochs import EPOCHS_MAX
from metrics_sidecar.ledger import Ledger
from metrics_sidecar.receiver import Receiver, ReceiverFigures
from metrics_sidecar.rows import ServiceCounter
from metrics_sidecar.snapshot import Snapshot
from metrics_sidecar.tallies import AGE_BOUNDS_S, SIDES
from trade_telemetry.messages import NANO

_INPUT_COUNTERS: Final[tuple[tuple[str, str, Callable[[Snapshot], int]], ...]] = (
    (
        "received",
        "Messages received: applied, duplicate, gap, beat, skip, rejected, turned away, benchmark.",
        lambda s: s.received,
    ),
    ("duplicates", "Events that had been counted before.", lambda s: s.duplicates),
    ("gaps", "Events above a hole: not applied, and sent again.", lambda s: s.gaps),
    ("beats", "Messages in which publishers spoke of themselves.", lambda s: s.beats),
    ("skips", "Messages in which publishers said what will never come.", lambda s: s.skips),
    ("turned_away", "Messages of publishers for which no place was left.", lambda s: s.turned_away),
    ("benchmarks", "Messages in which a benchmark spoke of itself.", lambda s: s.benchmarks),
    (
        "untracked",
        "Trades counted that carried no stamps, so that their loss cannot be seen.",
        lambda s: s.untracked,
    ),
)
_SERVICE_COUNTERS: Final[tuple[tuple[str, str, ServiceCounter], ...]] = (
    (
        "receiver_busy_seconds",
        "Seconds in which the receiver was not waiting; its rate is its load, from 0 to 1.",
        ServiceCounter.RECEIVER_BUSY_S,
    ),
    ("receiver_errors", "Unexpected errors that it survived.", ServiceCounter.RECEIVER_ERRORS),
    ("commits", "Times that the state was written and synced.", ServiceCounter.COMMITS),
    (
        "commit_failures",
        "Times that the state could not be written; it is tried again.",
        ServiceCounter.COMMIT_FAILURES,
    ),
    ("commit_seconds", "Seconds spent writing and syncing the state.", ServiceCounter.COMMIT_S),
    (
        "state_set_aside",
        "States that were found damaged, foreign or newer, and were set aside whole.",
        ServiceCounter.STATES_SET_ASIDE,
    ),
    (
        "state_rewritten",
        "States that were damaged while it ran, and written anew: no total was lost.",
        ServiceCounter.STATES_REWRITTEN,
    ),
    ("starts", "Starts of the sidecar on this state.", ServiceCounter.STARTS),
    (
        "state_refused",
        "Others that wanted the state and were refused: a second sidecar, or a restore.",
        ServiceCounter.STATE_REFUSED,
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
        return self._families(Ledger().snapshot())

    def collect(self) -> Iterator[Metric]:
        snapshot = self._receiver.snapshot
        return iter(()) if snapshot is None else self._families(snapshot)

    def _families(self, snapshot: Snapshot) -> Iterator[Metric]:
        yield from _contract(snapshot)
        yield from _symbols(snapshot)
        yield from _input(snapshot)
        yield from publisher_exposition.families(snapshot)
        yield from _table(snapshot)
        yield from _service(snapshot)
        yield from benchmark_exposition.families(snapshot)
        yield from _state(self._receiver.figures)
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
    yield GaugeMetricFamily(
        "telemetry_residue",
        "Trades in the totals that no account explains: anything but 0 is a defect.",
        snapshot.residue,
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
    for name, text, read in _INPUT_COUNTERS:
        yield CounterMetricFamily(f"telemetry_{name}", text, read(snapshot))
    rejected = CounterMetricFamily(
        "telemetry_rejected", "Messages not counted, by reason.", labels=["reason"]
    )
    for reason, count in snapshot.rejected.items():
        rejected.add_metric([reason], count)
    yield rejected
    counts = accumulate(snapshot.age_counts)
    bounds = [*(f"{bound_s:g}" for bound_s in AGE_BOUNDS_S), "+Inf"]
    yield HistogramMetricFamily(
        "telemetry_event_age_seconds",
        "Time from a trade's ts to its being applied, in seconds.",
        buckets=list(zip(bounds, counts, strict=True)),
        sum_value=snapshot.age_sum_s,
    )


def _table(snapshot: Snapshot) -> Iterator[Metric]:
    gauges = (
        ("epochs", "Lives of publishers that are told apart.", snapshot.epochs),
        ("epochs_limit", "How many lives of publishers can be told apart.", EPOCHS_MAX),
        (
            "epochs_spent",
            "Lives of publishers of which only the end is remembered.",
            snapshot.spent,
        ),
    )
    for name, text, value in gauges:
        yield GaugeMetricFamily(f"telemetry_{name}", text, value)


def _service(snapshot: Snapshot) -> Iterator[Metric]:
    service = snapshot.service
    for name, text, counter in _SERVICE_COUNTERS:
        yield CounterMetricFamily(f"telemetry_{name}", text, service.get(counter, 0))
    refused = CounterMetricFamily(
        "telemetry_connections_refused", "Connections refused, by reason.", labels=["reason"]
    )
    refused.add_metric(["limit"], service.get(ServiceCounter.CONNECTIONS_REFUSED_LIMIT, 0))
    refused.add_metric(["handshake"], service.get(ServiceCounter.CONNECTIONS_REFUSED_HANDSHAKE, 0))
    yield refused


def _state(figures: ReceiverFigures) -> Iterator[Metric]:
    gauges = (
        (
            "last_commit_timestamp_seconds",
            "When the state was last written, in unix seconds; 0 before the first time.",
            figures.last_commit_s,
        ),
        ("state_bytes", "Size of the state on disk, in bytes.", figures.state_bytes),
        ("state_free_bytes", "Free space on its disk, in bytes.", figures.state_free_bytes),
        ("state_durable", "1 if the state is in a file, 0 if in memory.", figures.state_durable),
    )
    for name, text, value in gauges:
        yield GaugeMetricFamily(f"telemetry_{name}", text, float(value))


def _receiver(receiver: Receiver) -> Iterator[Metric]:
    figures = receiver.figures
    status, _ = receiver.health()
    gauges = (
        (
            "up",
            "1 while the receiver works, 0 when it cannot keep its state, is stalled or dead.",
            status == "ok",
        ),
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
