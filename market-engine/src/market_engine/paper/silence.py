"""How long the market has been silent by a clock that only goes forward.

The market's time is that of its newest event, so it stands still when events do. Of a feed in real
time, prices grow old all the same. Knows no desk, no order and no price.
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

    def heard(self) -> None:
        """Something came, or somebody said that nothing did."""
        self._heard_ns = self._monotonic_ns()

    def ns(self) -> int:
        """By how much everything that is known is older than the market's time says."""
        if not self.is_live:
            return 0
        return max(0, self._monotonic_ns() - self._heard_ns - QUIET_NS)
