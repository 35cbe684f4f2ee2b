"""What the ledger counts of messages, and what it shows of a commit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from metrics_sidecar.benchmarks import Benchmarks, SuiteTotals
from metrics_sidecar.epochs import Epochs
from metrics_sidecar.publishers import Publishers, PublisherTotals
from metrics_sidecar.rows import ServiceCounter, TotalsRow
from metrics_sidecar.tallies import SIDES, Applied, SymbolTotals, Tallies
from trade_telemetry.benchmark_messages import Benchmark
from trade_telemetry.messages import NANO, RejectReason, Side


@dataclass(slots=True)
class Counts:
    """What became of each message; see Snapshot. Applied ones are counted by symbol."""

    received: int
    rejected: dict[RejectReason, int]
    duplicates: int
    gaps: int
    beats: int
    skips: int
    turned_away: int
    benchmarks: int
    untracked: int
    service: dict[ServiceCounter, int | float]

    @classmethod
    def of(cls, row: TotalsRow) -> Counts:
        """Go on from what was kept."""
        return cls(
            received=row.received,
            rejected=dict.fromkeys(RejectReason, 0) | row.rejected,
            duplicates=row.duplicates,
            gaps=row.gaps,
            beats=row.beats,
            skips=row.skips,
            turned_away=row.turned_away,
            benchmarks=row.benchmarks,
            untracked=row.untracked,
            service={each: row.service.get(each, 0) for each in ServiceCounter},
        )

    def by_name(self) -> dict[str, Any]:
        """Every figure now; a copy that does not change later."""
        values = ((name, getattr(self, name)) for name in self.__slots__)
        return {name: dict(each) if isinstance(each, dict) else each for name, each in values}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that was counted up to one commit. Never changes.

    Identity: received = applied + duplicates + gaps + beats + skips + rejected + turned_away +
    benchmarks. ``epochs`` are live and ``spent`` are settled; ``listened_s`` is the time spent
    listening. ``tests`` are what benchmarks found, latest last, ``suites`` how they go.
    """

    received: int
    rejected: dict[RejectReason, int]
    duplicates: int
    gaps: int
    beats: int
    skips: int
    turned_away: int
    untracked: int
    symbols: dict[str, SymbolTotals]
    publishers: dict[str, PublisherTotals]
    last_trade_ts_s: float
    age_counts: tuple[int, ...]
    age_sum_s: float
    recent: tuple[Applied, ...]
    service: dict[ServiceCounter, int | float]
    epochs: int
    spent: int
    listened_s: float
    benchmarks: int = 0
    tests: dict[str, Benchmark] = field(default_factory=dict)
    suites: dict[str, SuiteTotals] = field(default_factory=dict)

    def trades(self, side: Side) -> int:
        """Trades counted of a side."""
        return sum(totals.trades[side] for totals in self.symbols.values())

    def volume(self, side: Side) -> float:
        """Volume counted of a side, in units: the double nearest to the exact sum."""
        return sum(totals.volume_nano[side] for totals in self.symbols.values()) / NANO

    @property
    def residue(self) -> int:
        """Trades in the totals that no account explains, or if negative that are missing there."""
        accounts = sum(totals.applied for totals in self.publishers.values())
        return self.applied - self.untracked - accounts

    @property
    def applied(self) -> int:
        """Trades counted of both sides."""
        return sum(self.trades(side) for side in SIDES)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a ledger is made of, put together for a commit: its row of totals, and what it shows."""

    counts: Counts
    tallies: Tallies
    publishers: Publishers
    epochs: Epochs
    benchmarks: Benchmarks

    def totals_row(self) -> TotalsRow:
        """What is counted once, as it is now."""
        epochs = self.epochs
        of_publishers = len(self.publishers) + len(epochs.live) + len(epochs.spent)
        return TotalsRow(
            rows=1 + len(self.tallies) + of_publishers + len(self.benchmarks),
            **self.counts.by_name(),
            applied=self.tallies.applied(),
            last_trade_ts_s=self.tallies.last_trade_ts_s(),
            age_counts=tuple(self.tallies.age_counts),
            age_sum_s=self.tallies.age_sum_s,
            listened_s=epochs.listened_s,
            forgotten_since_s=epochs.forgotten_since_s,
        )

    def snapshot(self) -> Snapshot:
        """Everything, as it is now."""
        return Snapshot(
            **self.counts.by_name(),
            symbols=self.tallies.totals(),
            publishers=self.publishers.totals(),
            last_trade_ts_s=self.tallies.last_trade_ts_s(),
            age_counts=tuple(self.tallies.age_counts),
            age_sum_s=self.tallies.age_sum_s,
            recent=self.tallies.recent(),
            epochs=len(self.epochs.live),
            spent=len(self.epochs.spent),
            listened_s=self.epochs.listened_s,
            tests=self.benchmarks.tests,
            suites=self.benchmarks.suites,
        )
