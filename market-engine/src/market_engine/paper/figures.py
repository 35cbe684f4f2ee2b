"""What the desk counts of itself, for its metrics. Written under the desk's lock, read by any."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from decimal import Decimal
from typing import Final

from market_engine.paper.money import ZERO

BOUNDS_S: Final = (
    2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.5, 1.0, 10.0,
)  # fmt: skip


class Times:
    """A histogram of durations in seconds; ``counts`` are of each bucket, not cumulative."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def note(self, duration_s: float) -> None:
        """Count one; below 0 counts as 0."""
        duration_s = max(0.0, duration_s)
        self.counts[bisect_left(BOUNDS_S, duration_s)] += 1
        self.sum_s += duration_s


class DeskFigures:
    """Counts since the start, and durations."""

    def __init__(self) -> None:
        self.orders: Counter[tuple[str, str]] = Counter()
        """By portfolio and what became of them at once: ``accepted``, ``denied``, ``repeated``."""
        self.denials: Counter[tuple[str, str]] = Counter()
        """By portfolio and reason."""
        self.fills: Counter[tuple[str, str]] = Counter()
        """By portfolio and book."""
        self.store_failures = 0
        self.tick_to_order = Times()
        """From the receipt of the newest event of a symbol to the moment when an order on it that
        risk let pass was stored: by the wall clock, where the market's time is real time."""
        self.submit = Times()
        """What it takes to accept or deny an order, storing it included."""
        self.order_to_fill = Times()
        """From acceptance to each fill, by the market's time."""
        self.halt = Times()
        """What it takes until no order passes any more."""
        self.worst_residue: dict[str, Decimal] = {}
        """By portfolio: the residue that was farthest from 0 after a fill."""

    def note_residue(self, portfolio: str, residue: Decimal) -> None:
        """Keep it if it is the worst."""
        if abs(residue) >= abs(self.worst_residue.get(portfolio, ZERO)):
            self.worst_residue[portfolio] = residue
