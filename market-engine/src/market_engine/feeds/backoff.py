"""How long to wait before another attempt. Knows neither what is attempted nor how to sleep."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable


class Backoff:
    """Capped exponential back-off with full jitter: from 0 to min(cap, base · 2ⁿ), drawn evenly.

    The jitter keeps many clients from coming back at one moment.
    """

    def __init__(
        self, base_s: float, cap_s: float, draw: Callable[[], float] = random.random
    ) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self._draw = draw
        self._failures = 0

    def next_s(self) -> float:
        """How long to wait after one more failure."""
        limit_s = min(self._cap_s, self._base_s * 2.0 ** min(self._failures, 60))
        self._failures += 1
        return self._draw() * limit_s

    def reset(self) -> None:
        """It worked: start from the base again."""
        self._failures = 0


class AttemptLimit:
    """At most ``count_max`` attempts within any ``window_s``."""

    def __init__(
        self, count_max: int, window_s: float, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._window_s = window_s
        self._clock_s = clock_s
        self._attempts_s: deque[float] = deque(maxlen=count_max)

    def wait_s(self) -> float:
        """How long until the next attempt is allowed: 0 if it is now."""
        if len(self._attempts_s) < (self._attempts_s.maxlen or 0):
            return 0.0
        return max(0.0, self._attempts_s[0] + self._window_s - self._clock_s())

    def note(self) -> None:
        """An attempt is made now."""
        self._attempts_s.append(self._clock_s())
