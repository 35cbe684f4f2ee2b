"""A whole result of a benchmark, as a good run would leave it: built, not measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec
from hdrh.histogram import HdrHistogram

from trading_app.benchmark.results import (
    FORMAT,
    Check,
    Counts,
    Figure,
    Latency,
    Machine,
    Moment,
    Peer,
    Result,
    Workload,
)

COUNT = 20_000
ROUNDS = (1.0, 0.97, 1.04, 1.01, 0.99)
SHAPE = ((1, 0.75), (2, 1.0), (10, 1.3), (100, 2.4), (1_000, 9.0), (10_000, 70.0), (100_000, 300.0))
BUSY = ((1, 0.75), (2, 1.0), (10, 1.6), (100, 9.0), (1_000, 90.0), (10_000, 900.0), (1e5, 6e3))
BLOCKED = ((1, 0.75), (2, 1.0), (10, 2.0), (30, 7_100.0), (1_000, 7_400.0), (1e5, 15_000.0))


@cache
def latency(
    p50_ns: float, count: int = COUNT, shape: tuple[tuple[float, float], ...] = SHAPE
) -> Latency:
    """A distribution whose value, exceeded by one in ``n``, is a multiple of the median."""
    histogram = HdrHistogram(1, 60_000_000_000, 3)
    for place in range(count):
        histogram.record_value(max(1, round(p50_ns * _multiple(shape, count / (count - place)))))
    at = histogram.get_value_at_percentile
    return Latency(
        count=count,
        mean_ns=histogram.get_mean_value(),
        p50_ns=at(50),
        p90_ns=at(90),
        p99_ns=at(99),
        p99_9_ns=at(99.9),
        p99_99_ns=at(99.99),
        max_ns=histogram.get_max_value(),
        histogram=histogram.encode().decode(),
    )


def _multiple(shape: Sequence[tuple[float, float]], one_in: float) -> float:
    for (from_x, from_y), (to_x, to_y) in pairwise(shape):
        if one_in <= to_x:
            part = math.log(one_in / from_x) / math.log(to_x / from_x)
            return from_y * (to_y / from_y) ** part
    return shape[-1][1]


def counts(offered: int = COUNT, **changes: int | None) -> Counts:
    """All accepted, all applied."""
    whole = Counts(offered=offered, accepted=offered, refused=0, applied=offered, lost=0, waiting=0)
    return msgspec.structs.replace(whole, **changes)


def workload(name: str, title: str, p50_ns: int, **changes: Any) -> Workload:
    whole = Workload(
        name=name,
        title=title,
        settings={"events": COUNT, "journal": "file"},
        call=latency(p50_ns),
        response=None,
        moments=_moments(p50_ns, 1.0),
        counts=counts(),
        seconds=2.0,
        offered_per_s=COUNT / 2,
        accepted_per_s=COUNT / 2,
        applied_per_s=COUNT / 2.1,
        cpu_seconds=1.1,
        rounds_p50_ns=[round(p50_ns * round_) for round_ in ROUNDS],
    )
    return msgspec.structs.replace(whole, **changes)


def _moments(p50_ns: int, ramp: float) -> list[Moment]:
    return [
        Moment(
            at_s=at * 0.1,
            offered_per_s=10_000 * ramp**at,
            p50_ns=round(p50_ns * (1 + 0.1 * math.sin(at))),
            p99_ns=round(p50_ns * (2.4 + math.sin(at * 1.7))),
            max_ns=round(p50_ns * (40 + 35 * math.sin(at * 2.3))),
        )
        for at in range(21)
    ]


def sends(name: str, title: str, p50_ns: int, **changes: Any) -> Workload:
    """Bare sends in turns with the workload of that name."""
    return workload(f"{name}-send", f"bare sends: {title}", p50_ns, **changes)


def workloads() -> list[Workload]:
    measured = {"settings": {"trades": COUNT, "rounds": 5, "measuring_ns": 60}}
    paced = {"response": latency(1_900)}
    return [
        workload("burst", "20,000 at once", 1_100, **measured),
        sends("burst", "20,000 at once", 548, **measured),
        workload("paced", "1,000/s", 9_300, **paced),
        sends("paced", "1,000/s", 11_800, **paced),
        workload("busy", "Beside a busy thread", 1_500, call=latency(1_500, shape=BUSY)),
        sends("busy", "Beside a busy thread", 700, call=latency(700, shape=BLOCKED)),
        workload("sustained", "10,000/s, sustained", 1_300, **paced),
        workload("threads", "10,000/s from 4 threads", 1_800, **paced),
        workload(
            "away", "10,000/s, the sidecar is away", 1_050, **paced,
            counts=counts(accepted=16_384, refused=3_616, applied=0, waiting=16_384),
            applied_per_s=0.0,
        ),
        workload(
            "profile", "Higher and higher rates", 1_250, **paced, moments=_moments(1_250, 1.2)
        ),
    ]  # fmt: skip


def peer(name: str, title: str, ratio: float, what: str, **changes: Any) -> Peer:
    whole = Peer(
        name=name,
        title=title,
        version="1.2.3",
        what=what,
        call=latency(1_100 * ratio, 4_000),
        ratios=[ratio * round_ for round_ in ROUNDS],
    )
    return msgspec.structs.replace(whole, **changes)


UDP = "UDP: what the kernel has no room for, or nobody listens to, is lost without a word."
IN_PROCESS = (
    "Nothing leaves the process: what was not scraped dies with it, and the next one begins at 0."
)


def peers() -> list[Peer]:
    absent = {"version": None, "call": None, "ratios": []}
    return [
        peer("bare", "bare zmq send", 0.47, "One send on a PUSH socket. Nothing is checked."),
        peer("typical", "pydantic, json.dumps, send_string", 9.2, "Checked and encoded."),
        peer("statsd", "statsd", 23.0, f"Three datagrams: two counters and a gauge. {UDP}"),
        peer("dogstatsd", "DogStatsD as shipped", 61.0, f"Three datagrams with tags. {UDP}"),
        peer("prometheus-cached", "prometheus-client, children cached", 2.1, IN_PROCESS),
        peer("prometheus-labels", "prometheus-client, labels() each time", 4.3, IN_PROCESS),
        peer(
            "opentelemetry", "OpenTelemetry SDK", 1.0, "", **absent,
            missing="the package opentelemetry-sdk is not installed (opentelemetry)",
        ),
    ]  # fmt: skip


def figure(name: str, title: str, unit: str, value: float, what: str) -> Figure:
    rounds = [value * round_ for round_ in ROUNDS]
    return Figure(name=name, title=title, unit=unit, value=value, rounds=rounds, what=what)


def receiving() -> list[Figure]:
    what = "From the first send until all are in committed totals."
    return [
        figure("plain_per_s", "Plain messages", "events/s", 412_000, what),
        figure("bare_recv_per_s", "A bare recv loop", "messages/s", 735_000, "Only receives."),
        figure("plain_to_bare", "Plain messages to a bare recv loop", "×", 0.56, "In turns."),
        figure("committed_per_s", "Tracked and committed", "events/s", 356_000, what),
        figure("committed_p50_ms", "Publish to committed, p50", "ms", 52.0, "At 10,000 a second."),
        figure("committed_p99_ms", "Publish to committed, p99", "ms", 118.0, "The same."),
        figure("scrape_ms", "A scrape under load", "ms", 3.4, "One answer of /metrics."),
        figure("cpu_sidecar_s", "Processor time", "s per million", 2.6, "Of the sidecar."),
        figure("memory_sidecar", "Resident memory", "bytes", 71_000_000, "At the end."),
    ]


def checks() -> list[Check]:
    return [
        check(
            "burst-to-send", "Burst: publish to a bare send, p50", 2.13, "×", "≤ 2 ×", passed=False
        ),
        check("statsd", "statsd to publish, p50", 23.0, "×", "≥ 10 ×"),
        check("busy-p99", "Beside a busy thread: publish, p99", 13.5, "µs", "≤ 20 µs", here=True),
        check("burst-counted", "Burst: offered trades that were applied", 100, "%", "= 100 %"),
        check("idle-desk", "Desk: idle", None, "% of a core", "≤ 1 %", passed=False, here=True),
    ]


def check(
    name: str, title: str, value: float | None, unit: str, wanted: str, *,
    passed: bool = True, here: bool = False,
) -> Check:  # fmt: skip
    return Check(
        name=name, title=title, value=value, unit=unit, wanted=wanted, passed=passed,
        is_ratio=not here,
    )  # fmt: skip


def machine(**changes: Any) -> Machine:
    whole = Machine(
        processor="AMD EPYC 9R14",
        cores=2,
        memory_bytes=8_200_000_000,
        system="Linux 6.1.0 x86_64",
        python="CPython 3.11.2",
        versions={"pyzmq": "27.1.0", "libzmq": "4.3.5", "msgspec": "0.22.0"},
        commit="9764a4b2f00dfeed9764a4b2f00dfeed9764a4b2",
        modified=False,
        load_1m=0.41,
        clock_ns=58,
        switch_interval_s=0.005,
    )
    return msgspec.structs.replace(whole, **changes)


def result(**changes: Any) -> Result:
    """The whole of it, with the parts that are given put in the place of its own."""
    parts: dict[str, Any] = {
        "workloads": workloads, "peers": peers, "receiving": receiving, "checks": checks,
        "machine": machine,
    }  # fmt: skip
    built = {
        name: changes.pop(name) if name in changes else build() for name, build in parts.items()
    }
    whole = {
        "format": FORMAT,
        "suite": "all",
        "started": "2026-11-21T16:04:11Z",
        "seconds": 118.4,
        "settings": {"rounds": 5, "rate_per_s": 1_000, "journal": "file"},
    }
    return Result(**(whole | changes | built))
