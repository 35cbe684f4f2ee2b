"""From what the timed loops recorded to the figures of a workload. Pure.

It must not know who was called, or where the counts come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hdrh.histogram import HdrHistogram

from trading_app.benchmark.clock import NANO, Times
from trading_app.benchmark.findings import imbalance, shortfall
from trading_app.benchmark.results import Counts, Latency, Moment, Setting, Workload

LATENCY_NS_MAX: Final = 60 * NANO
"""What takes longer is counted in the last bucket; ``max_ns`` and ``mean_ns`` stay exact."""
DIGITS: Final = 3
SLICES_MIN: Final = 5
SLICES_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class Recording:
    """What was done and what became of it: a recording a round.

    ``settled_s`` is the time from first calls until everything was committed, over all rounds; None
    where nothing is committed. ``cpu_seconds`` are of this process, until then.
    """

    rounds: Sequence[Times]
    counts: Counts
    settled_s: float | None
    cpu_seconds: float


def describe(
    recording: Recording,
    name: str,
    title: str,
    settings: dict[str, Setting],
    problem: str | None = None,
) -> Workload:
    """The figures of a workload; counts that do not add up are a problem, too."""
    rounds, counts = recording.rounds, recording.counts
    parts = rounds if len(rounds) > 1 else slices(rounds[0])
    seconds = sum(times.seconds for times in rounds)
    has_schedule = all(times.due is not None for times in rounds)
    calls = [call for times in rounds for call in times.calls_ns()]
    responses = [response for times in rounds for response in times.responses_ns()]
    return Workload(
        name=name,
        title=title,
        settings=settings,
        call=latency(calls),
        response=latency(responses) if has_schedule else None,
        moments=moments(parts),
        counts=counts,
        seconds=seconds,
        offered_per_s=_rate(counts.offered, seconds),
        accepted_per_s=_rate(counts.accepted, seconds),
        applied_per_s=_applied_per_s(counts.applied, recording.settled_s),
        cpu_seconds=recording.cpu_seconds,
        rounds_p50_ns=[latency(times.calls_ns()).p50_ns for times in parts],
        problem=problem or imbalance(counts) or shortfall(name, counts),
    )


def latency(durations_ns: Iterable[int]) -> Latency:
    """The distribution of at least one duration."""
    found = Counter(durations_ns)
    histogram = HdrHistogram(1, LATENCY_NS_MAX, DIGITS)
    for duration_ns, count in found.items():
        histogram.record_value(min(max(duration_ns, 1), LATENCY_NS_MAX), count)
    count, most = found.total(), max(found)

    def at(percentile: float) -> int:
        return min(int(histogram.get_value_at_percentile(percentile)), most)

    return Latency(
        count=count,
        mean_ns=sum(duration_ns * count for duration_ns, count in found.items()) / count,
        p50_ns=at(50),
        p90_ns=at(90),
        p99_ns=at(99),
        p99_9_ns=at(99.9),
        p99_99_ns=at(99.99),
        max_ns=most,
        histogram=histogram.encode().decode(),
    )


def moments(parts: Sequence[Times]) -> list[Moment]:
    """Each part of a run; its latency is the response where there was a schedule."""
    first_ns = parts[0].started[0]
    return [_moment(times, (times.started[0] - first_ns) / NANO) for times in parts]


def _moment(times: Times, at_s: float) -> Moment:
    ordered = sorted(times.responses_ns())
    return Moment(
        at_s=at_s,
        offered_per_s=_rate(len(times), times.seconds),
        p50_ns=ordered[len(ordered) // 2],
        p99_ns=ordered[len(ordered) * 99 // 100],
        max_ns=ordered[-1],
    )


def slices(times: Times) -> list[Times]:
    """A run in parts of about a second, with the same number of calls each."""
    wanted = min(max(SLICES_MIN, round(times.seconds)), SLICES_MAX)
    size = max(1, -(-len(times) // wanted))
    return [times.part(start, start + size) for start in range(0, len(times), size)]


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds else 0.0


def _applied_per_s(applied: int | None, settled_s: float | None) -> float | None:
    return None if applied is None or not settled_s else applied / settled_s
