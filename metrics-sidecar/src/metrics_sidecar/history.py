"""The last minutes at one sample a second, for the built-in live page. Pure.

A sample holds running totals, so that any span can be read by subtraction; the age percentiles are
those of its own second. A second in which the receiver could not look is absent, not invented.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from metrics_sidecar.ledger import AGE_BOUNDS_S, Snapshot

SAMPLES_MAX: Final = 900


@dataclass(frozen=True, slots=True)
class Sample:
    """The totals at ``t_s`` (whole unix seconds), and the event age within the second before."""

    t_s: int
    trades_buy: int
    trades_sell: int
    volume_buy: float
    volume_sell: float
    rejected: int
    age_p50_s: float | None
    age_p99_s: float | None


class History:
    """At most ``SAMPLES_MAX`` samples (15 minutes); the oldest goes first."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=SAMPLES_MAX)
        self._age_counts: tuple[int, ...] = (0,) * (len(AGE_BOUNDS_S) + 1)

    def add(self, now_s: float, snapshot: Snapshot) -> bool:
        """Keep a sample, unless this second has one; whether it was kept."""
        t_s = int(now_s)
        if self._samples and t_s == self._samples[-1].t_s:
            return False
        ages = [new - old for new, old in zip(snapshot.age_counts, self._age_counts, strict=True)]
        self._age_counts = snapshot.age_counts
        self._samples.append(
            Sample(
                t_s=t_s,
                trades_buy=snapshot.trades("buy"),
                trades_sell=snapshot.trades("sell"),
                volume_buy=snapshot.volume("buy"),
                volume_sell=snapshot.volume("sell"),
                rejected=sum(snapshot.rejected.values()),
                age_p50_s=quantile(ages, 0.5),
                age_p99_s=quantile(ages, 0.99),
            )
        )
        return True

    def samples(self) -> list[Sample]:
        """What is kept, oldest first; safe to call from another thread."""
        return list(self._samples.copy())


def quantile(counts: Sequence[int], q: float) -> float | None:
    """The q-quantile (0 to 1) in seconds of a histogram over AGE_BOUNDS_S; None when it is empty.

    Linear within the bucket, as Prometheus' ``histogram_quantile`` does; in the last, open bucket
    the highest bound is the answer.
    """
    rank = q * sum(counts)
    if rank == 0:
        return None
    below = 0
    lower_s = 0.0
    for bound_s, count in zip(AGE_BOUNDS_S, counts, strict=False):
        if count and below + count >= rank:
            return lower_s + (bound_s - lower_s) * (rank - below) / count
        below += count
        lower_s = bound_s
    return lower_s
