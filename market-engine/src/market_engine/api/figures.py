"""What the API counts of itself, and of what goes by on the bus. Any thread reads, few write."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Final

from market_engine.events import SECOND_NS

DELAY_BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the histogram from receipt to the stream."""
SYMBOLS_MAX: Final = 1_024
OTHER: Final = "other"
"""The symbol of what comes from further ones."""
_DELAY_BOUNDS_NS: Final = tuple(int(bound * SECOND_NS) for bound in DELAY_BOUNDS_S)


class Delays:
    """A histogram; one thread adds."""

    def __init__(self) -> None:
        self.counts = [0] * (len(DELAY_BOUNDS_S) + 1)
        """By bucket, not cumulative; the last one is beyond the bounds."""
        self.sum_ns = 0

    def add(self, received_ns: Sequence[int], now_ns: int) -> None:
        """Note trades that were received then and are handed over now."""
        counts = self.counts
        for each_ns in received_ns:
            delay_ns = now_ns - each_ns
            counts[bisect_left(_DELAY_BOUNDS_NS, delay_ns)] += 1
            self.sum_ns += delay_ns

    def quantile_s(self, part: float) -> float:
        """The upper bound of the bucket that holds this part of all; infinite beyond the last."""
        wanted, seen = part * sum(self.counts), 0
        for bound_s, count in zip(DELAY_BOUNDS_S, self.counts, strict=False):
            seen += count
            if seen >= wanted:
                return bound_s
        return float("inf")


class Figures:
    """The counts of one application."""

    def __init__(self) -> None:
        self.delays = Delays()
        self.faults: Counter[tuple[str, str]] = Counter()
        """By symbol (empty for the feed as a whole) and kind."""
        self.rejected: Counter[str] = Counter()
        """Frames, by reason."""
        self.requests: Counter[tuple[str, str]] = Counter()
        """By route and class of the status, such as 2xx."""
        self.clients_dropped: Counter[str] = Counter({"too_slow": 0})
        self.messages = 0
        """Handed to clients of streams."""
        self.fanout_errors = 0
        """Unexpected ones, that the threads survived."""

    def note_fault(self, symbol: str | None, kind: str) -> None:
        """Count a fault; the set of symbols is bounded."""
        key = (symbol or "", kind)
        if key not in self.faults and len({name for name, _ in self.faults}) >= SYMBOLS_MAX:
            key = (OTHER, kind)
        self.faults[key] += 1
