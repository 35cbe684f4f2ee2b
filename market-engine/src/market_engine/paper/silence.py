"""How the market's time and real time differ: a silence, and a clock that was set back.

The market's time is that of its newest event, so it stands still when events do. Of a feed in real
time, prices grow old all the same, by a clock that only goes forward. What is stored may be of a
later time than the market's. Knows no desk, no order and no price.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from market_engine.events import SECOND_NS

QUIET_NS: Final = SECOND_NS
"""So long a silence is part of a quiet market, and of a busy machine."""


class Silence:
    """``is_live``: whether the market's time is real time; a replay's is not, and it never ages."""

    def __init__(
        self, *, is_live: bool, monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.is_live = is_live
        self._monotonic_ns = monotonic_ns
        self._heard_ns = monotonic_ns()
        self._ahead_ns = 0

    def heard(self, ahead_ns: int = 0) -> None:
        """Something came, or somebody said that nothing did.

        ``ahead_ns``: by how much what is stored is later than that; below 0 it is not.
        """
        self._heard_ns = self._monotonic_ns()
        self._ahead_ns = ahead_ns

    def ns(self) -> int:
        """By how much everything that is known is older than the market's time says."""
        if not self.is_live:
            return 0
        return max(0, self._monotonic_ns() - self._heard_ns - QUIET_NS)

    @property
    def problem(self) -> str | None:
        """What to say while the store is ahead of the market, with the cure."""
        if self._ahead_ns <= QUIET_NS:
            return None
        return (
            f"the desk's store is ahead of the market by {_span(self._ahead_ns)}: the clock was "
            "set back, and nothing is filled until the market is there. Wait for that, or begin "
            "a new desk with another MARKET_DESK_DATABASE_URL"
        )


def _span(span_ns: int) -> str:
    """In its largest unit, rounded down."""
    for unit, unit_s in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if span_ns >= 2 * unit_s * SECOND_NS:
            return f"{span_ns // (unit_s * SECOND_NS):,} {unit}"
    return f"{span_ns // SECOND_NS} s"
