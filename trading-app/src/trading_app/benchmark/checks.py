"""What is wanted of the figures: each bar is a line here, and nowhere else. Pure.

It must not know how a figure was measured.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from trading_app.benchmark.findings import ratios_to_sends
from trading_app.benchmark.results import Check, Figure, Peer, Workload
from trading_app.benchmark.wording import figure

_HOLDS: Final[dict[str, Callable[[float, float], bool]]] = {
    "≤": operator.le,
    "≥": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run has found so far, by name."""

    workloads: dict[str, Workload] = field(default_factory=dict)
    peers: dict[str, Peer] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)

    @classmethod
    def of(
        cls, workloads: Sequence[Workload], peers: Sequence[Peer], figures: Sequence[Figure]
    ) -> Measured:
        """The parts of a result."""
        return cls(
            {each.name: each for each in workloads},
            {each.name: each for each in peers},
            {each.name: each for each in figures},
        )


@dataclass(frozen=True, slots=True)
class Bar:
    """What is wanted of one figure. ``value`` raises KeyError when that part was not measured.

    None: it was, and there is no figure.
    """

    name: str
    title: str
    sign: str
    limit: float
    unit: str
    value: Callable[[Measured], float | None]
    is_ratio: bool = True


def checks(measured: Measured) -> list[Check]:
    """The figures that were measured, against the bars."""
    found = []
    for bar in BARS:
        try:
            value = bar.value(measured)
        except KeyError:
            continue
        found.append(_check(bar, value))
    return found


def _check(bar: Bar, value: float | None) -> Check:
    return Check(
        name=bar.name,
        title=bar.title,
        value=value,
        unit=bar.unit,
        wanted=f"{bar.sign} {figure(bar.limit, bar.unit)}",
        passed=value is not None and _HOLDS[bar.sign](value, bar.limit),
        is_ratio=bar.is_ratio,
    )


def _publish_to_send(measured: Measured) -> float:
    """The median of the rounds."""
    return median(ratios_to_sends(measured.workloads["burst"], measured.workloads["burst-send"]))


def _counted_percent(measured: Measured) -> float | None:
    counts = measured.workloads["burst"].counts
    return None if counts.applied is None else 100 * counts.applied / counts.offered


def _paced_p50(measured: Measured) -> float:
    ours, bare = measured.workloads["paced"], measured.workloads["paced-send"]
    return ours.call.p50_ns / bare.call.p50_ns


def _paced_p99(measured: Measured) -> float:
    ours, bare = measured.workloads["paced"], measured.workloads["paced-send"]
    return ours.call.p99_ns / bare.call.p99_ns


def _busy_p99_us(measured: Measured) -> float:
    return measured.workloads["busy"].call.p99_ns / 1e3


def _peer(name: str) -> Callable[[Measured], float | None]:
    def ratio(measured: Measured) -> float | None:
        ratios = measured.peers[name].ratios
        return median(ratios) if ratios else None

    return ratio


def _figure(name: str) -> Callable[[Measured], float]:
    return lambda measured: measured.figures[name].value


BARS: Final = (
    Bar("burst-to-send", "Burst: publish to a bare send, p50", "≤", 2, "×", _publish_to_send),
    Bar(
        "burst-counted", "Burst: offered trades that were applied", "=", 100, "%", _counted_percent
    ),
    Bar("paced-p50", "Paced: publish to a bare send, p50", "<", 1, "×", _paced_p50),
    Bar("paced-p99", "Paced: publish to a bare send, p99", "<", 1, "×", _paced_p99),
    Bar(
        "busy-p99",
        "Beside a busy thread: publish, p99",
        "≤",
        20,
        "µs",
        _busy_p99_us,
        is_ratio=False,
    ),
    Bar("statsd", "statsd to publish, p50", "≥", 10, "×", _peer("statsd")),
    Bar("dogstatsd", "DogStatsD to publish, p50", "≥", 25, "×", _peer("dogstatsd")),
    Bar("opentelemetry", "OpenTelemetry to publish, p50", "≥", 6, "×", _peer("opentelemetry")),
    Bar(
        "prometheus-labels",
        "prometheus-client with labels() to publish, p50",
        ">",
        1,
        "×",
        _peer("prometheus-labels"),
    ),
    Bar(
        "plain-to-bare",
        "Sidecar: plain messages to a bare recv loop",
        "≥",
        0.5,
        "×",
        _figure("plain_to_bare"),
    ),
    Bar(
        "committed",
        "Sidecar: tracked and committed",
        "≥",
        300_000,
        "events/s",
        _figure("committed_per_s"),
        is_ratio=False,
    ),
    Bar(
        "committed-p50",
        "Publish to committed, p50",
        "≤",
        60,
        "ms",
        _figure("committed_p50_ms"),
        is_ratio=False,
    ),
    Bar(
        "committed-p99",
        "Publish to committed, p99",
        "≤",
        150,
        "ms",
        _figure("committed_p99_ms"),
        is_ratio=False,
    ),
    Bar(
        "idle-sidecar",
        "Sidecar: idle",
        "≤",
        1,
        "% of a core",
        _figure("idle_sidecar"),
        is_ratio=False,
    ),
    Bar("idle-desk", "Desk: idle", "≤", 1, "% of a core", _figure("idle_desk"), is_ratio=False),
    Bar("idle-bot", "Bot: idle", "≤", 1, "% of a core", _figure("idle_bot"), is_ratio=False),
    Bar(
        "imports",
        "trade_telemetry imports without other packages: failures",
        "=",
        0,
        "",
        _figure("imports"),
    ),
)
