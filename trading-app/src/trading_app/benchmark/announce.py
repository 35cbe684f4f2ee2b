"""Tells the running sidecar how a benchmark goes and what it found: messages of results, no trades.

Over a connection of its own, without stamps: what no sidecar takes is dropped, and nothing waits
for it. It must not know how anything is measured.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from statistics import median
from typing import Final

import msgspec

from trade_telemetry.benchmark_messages import (
    ENTRIES_MAX,
    FIGURE_MAX,
    SECONDS_MAX,
    SENTENCE_LENGTH_MAX,
    SETTING_LENGTH_MAX,
    UNPRINTABLE,
    Benchmark,
    BenchmarkLatency,
    BenchmarkStatus,
    BenchmarkTotals,
    RunStatus,
    Setting,
)
from trade_telemetry.connection import Connection
from trade_telemetry.messages import encode
from trading_app.benchmark import findings
from trading_app.benchmark.results import Counts, Figure, Latency, Machine, Peer, Result, Workload

LINGER_MS: Final = 500
PEERS: Final = "peers"
RECEIVING: Final = "receiving"
TO_SEND: Final = "publish_to_send_ratio"
_UNITS: Final = {
    "ns": ("seconds", 1e-9),
    "µs": ("seconds", 1e-6),
    "us": ("seconds", 1e-6),
    "ms": ("seconds", 1e-3),
    "s": ("seconds", 1.0),
    "bytes": ("bytes", 1.0),
    "×": ("ratio", 1.0),
    "%": ("ratio", 0.01),
    "/s": ("per_second", 1.0),
}
"""Base units of the contract, and what a number is multiplied by; others are not told."""


class Announcer:
    """Speaks to the sidecar at ``address``, if there is one; no call waits or fails without it.

    What is said before a sidecar is there waits for it, until ``close``. Used by one thread. Raises
    ConfigurationError for an address that cannot be used; ``clock`` gives unix seconds. A ``quick``
    run is told under names of its own, and replaces no result of a full one.
    """

    def __init__(
        self, address: str, *, quick: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        self._connection: Connection | None = Connection(address, None, "benchmark")
        self._quick = quick
        self._clock = clock

    def started(self, suite: str) -> None:
        """Say that a suite begins."""
        self._say(suite, suite, "started")

    def running(self, suite: str, part: str) -> None:
        """Say that a part of a suite begins: a workload, the peers, the receiving side."""
        self._say(suite, part, "running")

    def completed(self, result: Result) -> None:
        """Say what was found, and that the suite is over."""
        for message in messages(result, self._clock()):
            self._send(message)
        self._say(result.suite, result.suite, "completed", findings.headline(result))

    def failed(self, suite: str, reason: str) -> None:
        """Say that a suite ended without a result, and why."""
        self._say(suite, suite, "failed", reason)

    def close(self) -> None:
        """Let go, after at most half a second for what is on its way. A second time is nothing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(LINGER_MS)

    def _say(self, suite: str, test: str, status: RunStatus, text: str = "") -> None:
        said = _text(text, SENTENCE_LENGTH_MAX)
        self._send(BenchmarkStatus(_name(suite), _name(test), self._clock(), status, said))

    def _send(self, message: Benchmark | BenchmarkStatus) -> None:
        if self._quick:
            names = message.test_type, message.test_name
            suite, test = (_name(f"quick-{name}") for name in names)
            message = msgspec.structs.replace(message, test_type=suite, test_name=test)
        if self._connection is not None:
            self._connection.push(encode(message))


def messages(result: Result, now_s: float) -> Iterator[Benchmark]:
    """What a result says on the wire: each workload, then the peers, then the receiving side.

    Bare sends are no test of their own, but a figure of the one that they were measured beside.
    Everything is within the limits of the contract, whatever the result holds; figures in units
    that it does not know are left out.
    """
    suite, machine = _name(result.suite), _machine(result.machine)
    for workload in findings.published(result):
        yield Benchmark(
            suite,
            _name(workload.name),
            now_s,
            _config({"problem": workload.problem} | machine | workload.settings),
            _totals(workload.counts),
            _latency(workload.call),
            _limited(_beside_sends(workload, findings.beside(result, workload))),
        )
    for name, figures in ((PEERS, _ratios(result.peers)), (RECEIVING, _others(result.receiving))):
        if figures:
            yield Benchmark(suite, name, now_s, _config(machine), figures=_limited(figures))


def _totals(counts: Counts) -> BenchmarkTotals:
    return BenchmarkTotals(
        offered=counts.offered,
        accepted=counts.accepted,
        refused=counts.refused,
        applied=counts.applied,
        lost=counts.lost,
        waiting=counts.waiting,
    )


def _latency(latency: Latency) -> BenchmarkLatency:
    """In seconds. Quantiles of a histogram are upper ends of its buckets: none is above the max."""
    most_s = min(latency.max_ns / 1e9, SECONDS_MAX)
    return BenchmarkLatency(
        count=latency.count,
        mean=min(latency.mean_ns / 1e9, SECONDS_MAX),
        p50=min(latency.p50_ns / 1e9, most_s),
        p90=min(latency.p90_ns / 1e9, most_s),
        p99=min(latency.p99_ns / 1e9, most_s),
        p99_9=min(latency.p99_9_ns / 1e9, most_s),
        p99_99=min(latency.p99_99_ns / 1e9, most_s),
        max=most_s,
    )


def _beside_sends(workload: Workload, sends: Workload | None) -> dict[str, float]:
    """How many times as long as a bare send a publish takes, and how long that takes."""
    if sends is None:
        return {}
    ratios = findings.ratios_to_sends(workload, sends)
    found = {
        "send_p50_seconds": sends.call.p50_ns / 1e9,
        "send_p99_seconds": sends.call.p99_ns / 1e9,
    }
    return found | ({TO_SEND: median(ratios)} if ratios else {})


def _ratios(peers: list[Peer]) -> dict[str, float]:
    """How many times as long as a publish each peer takes; of a bare send, the other way, too."""
    found = {}
    for peer in peers:
        ratio = median(peer.ratios) if peer.ratios else 0.0
        if ratio > 0:
            found[_figure(f"{peer.name}_to_publish", "ratio")] = ratio
            if peer.name == findings.BARE:
                found[TO_SEND] = 1 / ratio
    return found


def _others(figures: list[Figure]) -> dict[str, float]:
    found = {}
    for figure in figures:
        unit, per = _parts(figure.unit)
        if unit in _UNITS:
            base, factor = _UNITS[unit]
            name = re.sub(r"_(per_s|ms|us|ns|s|percent)$", "", figure.name)
            found[_figure(f"{name} {per}", base)] = figure.value * factor
    return found


def _parts(unit: str) -> tuple[str, str]:
    """The unit alone, and what it is for each of: ("s", "per million"), ("/s", ""), ("%", "")."""
    unit, per, each = unit.partition(" per ")
    unit = "/s" if unit.endswith("/s") else unit.partition(" of ")[0]
    return unit, f"{per}{each}".strip()


def _limited(figures: dict[str, float]) -> dict[str, float]:
    fine = ((name, value) for name, value in figures.items() if 0 <= value <= FIGURE_MAX)
    return dict(islice(fine, ENTRIES_MAX))


def _machine(machine: Machine) -> dict[str, object]:
    """What a figure means nothing without."""
    known = msgspec.structs.asdict(machine)
    del known["versions"]
    return known


def _config(settings: Mapping[str, object]) -> dict[str, Setting]:
    found = {_name(name): _setting(value) for name, value in settings.items()}
    kept = ((name, value) for name, value in found.items() if value is not None)
    return dict(islice(kept, ENTRIES_MAX))


def _setting(value: object) -> Setting | None:
    """A setting as the contract has it; None for what it has no place for."""
    if isinstance(value, str):
        return _text(value, SETTING_LENGTH_MAX)
    if isinstance(value, int | float) and abs(value) <= FIGURE_MAX:
        return value
    return None


def _name(text: str) -> str:
    """A name of the contract for a name of ours, which mostly is one."""
    return re.sub(r"[^a-z0-9._-]+", "_", text.lower()).lstrip("._-")[:64] or "unnamed"


def _figure(name: str, unit: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).lstrip("_0123456789").rstrip("_")
    return f"{plain.removesuffix(f'_{unit}')[:48] or 'unnamed'}_{unit}"


def _text(text: str, length_max: int) -> str:
    text = text.encode("utf-8", "replace").decode()
    return re.sub(f"[{UNPRINTABLE}]+", " ", text)[:length_max]
