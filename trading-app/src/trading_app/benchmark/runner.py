"""What is measured in which suite, how much of it, and in which order; and the result of it.

It must not know where a result is written, or how it is shown.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from trading_app.benchmark.checks import Measured, checks
from trading_app.benchmark.footprint import measure_footprint
from trading_app.benchmark.machine import this_machine
from trading_app.benchmark.results import FORMAT, Figure, Peer, Result, Workload
from trading_app.benchmark.session import Bench
from trading_app.benchmark.sidecar import Sidecar
from trading_app.benchmark.subject import Open, open_publisher
from trading_app.benchmark.workloads import (
    away,
    burst,
    busy,
    busy_paced,
    paced,
    profile,
    sustained,
    threads,
)

SUITES: Final[Mapping[str, tuple[str, ...]]] = {
    "suite": (
        "burst",
        "paced",
        "sustained",
        "profile",
        "threads",
        "busy",
        "busy-paced",
        "away",
        "peers",
        "receiving",
        "footprint",
    ),
    "burst": ("burst",),
    "sustained": ("sustained",),
    "profile": ("profile",),
    "peers": ("peers",),
    "receiving": ("receiving", "footprint"),
}
"""The parts of each; the first is what is measured when nothing is said."""

RATES_PER_S: Final = (
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    150_000,
    200_000,
    300_000,
    500_000,
)


class Progress(Protocol):
    """Who is told how it goes."""

    def part(self, name: str) -> None:
        """A part begins."""

    def tell(self, text: str) -> None:
        """What it does now."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: times in seconds, the rest in calls."""

    workloads: Mapping[str, Callable[..., list[Workload]]]
    warm_up: int
    peer_calls: int
    peer_rounds: int
    receiving_s: float
    idle_s: float


FULL: Final = Size(
    workloads={
        "burst": partial(burst, trades=100_000, rounds=7),
        "paced": partial(paced, rate_per_s=1_000, seconds=1.0, rounds=8),
        "sustained": partial(sustained, rate_per_s=10_000, seconds=10.0),
        "profile": partial(profile, rates_per_s=RATES_PER_S, seconds=1.0),
        "threads": partial(threads, rate_per_s=10_000, seconds=4.0, count=4),
        "busy": partial(busy, trades=20_000, rounds=5),
        "busy-paced": partial(busy_paced, rate_per_s=1_000, seconds=1.0, rounds=3),
        "away": partial(away, rate_per_s=10_000, seconds=4.0),
    },
    warm_up=5_000,
    peer_calls=5_000,
    peer_rounds=7,
    receiving_s=28.0,
    idle_s=10.0,
)
QUICK: Final = Size(
    workloads={
        "burst": partial(burst, trades=1_000, rounds=2),
        "paced": partial(paced, rate_per_s=1_000, seconds=0.1, rounds=2),
        "sustained": partial(sustained, rate_per_s=1_000, seconds=0.2),
        "profile": partial(profile, rates_per_s=RATES_PER_S[:2], seconds=0.1),
        "threads": partial(threads, rate_per_s=1_000, seconds=0.2, count=4),
        "busy": partial(busy, trades=1_000, rounds=2),
        "busy-paced": partial(busy_paced, rate_per_s=200, seconds=0.1, rounds=2),
        "away": partial(away, rate_per_s=1_000, seconds=0.2),
    },
    warm_up=200,
    peer_calls=200,
    peer_rounds=2,
    receiving_s=1.0,
    idle_s=0.5,
)
"""To see that everything works; the figures say nothing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for. ``folder`` is where journals and state are, as long as it takes.

    ``rate_per_s`` is of the part "sustained", None as it is in the suite.
    """

    suite: str
    folder: Path
    quick: bool = False
    rate_per_s: int | None = None
    open: Open = open_publisher

    @property
    def size(self) -> Size:
        """How much of each part."""
        size = QUICK if self.quick else FULL
        if self.rate_per_s is None:
            return size
        at_rate = partial(size.workloads["sustained"], rate_per_s=self.rate_per_s)
        return replace(size, workloads={**size.workloads, "sustained": at_rate})


@dataclass(slots=True)
class _Found:
    workloads: list[Workload] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)


def run(plan: Plan, progress: Progress) -> Result:
    """Measure all parts of the suite, one after another; raises BenchmarkError.

    Ends with nothing left: no process, no file.
    """
    machine = this_machine()
    started, began_s = datetime.now(UTC), time.monotonic()
    found = _Found()
    with _bench(plan, progress) as bench:
        for part in SUITES[plan.suite]:
            progress.part(part)
            _measure(part, bench, plan.size, found)
    return Result(
        format=FORMAT,
        suite=plan.suite,
        started=started.isoformat(timespec="seconds"),
        seconds=time.monotonic() - began_s,
        settings={"quick": plan.quick, "warm_up": plan.size.warm_up},
        machine=machine,
        workloads=found.workloads,
        peers=found.peers,
        receiving=found.figures,
        checks=checks(Measured.of(found.workloads, found.peers, found.figures)),
    )


@contextmanager
def _bench(plan: Plan, progress: Progress) -> Iterator[Bench]:
    plan.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=plan.folder) as name:
        folder = Path(name).absolute()
        with Sidecar(folder / "sidecar") as sidecar:
            yield Bench(sidecar, folder, progress.tell, plan.open, plan.size.warm_up)


def _measure(part: str, bench: Bench, size: Size, found: _Found) -> None:
    """One part; what only that part needs is imported for it alone."""
    if part == "peers":
        from trading_app.benchmark.peers import measure_peers  # noqa: PLC0415

        address = bench.sidecar.address
        found.peers += measure_peers(
            address, size.peer_calls, size.peer_rounds, bench.tell, folder=bench.folder
        )
    elif part == "receiving":
        from trading_app.benchmark.receiving import measure_receiving  # noqa: PLC0415

        found.figures += measure_receiving(size.receiving_s, bench.tell, folder=bench.folder)
    elif part == "footprint":
        found.figures += measure_footprint(bench.sidecar, bench.folder, size.idle_s, bench.tell)
    else:
        found.workloads += size.workloads[part](bench)
