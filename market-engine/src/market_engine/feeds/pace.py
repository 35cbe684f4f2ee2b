"""When a step of a recording is due, at a speed that may change and with silences made short.

Pure: the time of the clock is handed in. Knows no file, no event and no thread.
"""

from __future__ import annotations

from math import inf
from typing import Final

from market_engine.errors import SettingsError
from market_engine.events import SECOND_NS

SPEED_MIN: Final = 0.001
SPEED_MAX: Final = 1_000_000.0
BEHIND_S_MAX: Final = 1.0
"""Held back for longer than this, the replay goes on from where it is and does not catch up."""


class Pace:
    """The place in the recording against a monotonic clock.

    ``speed`` is 1.0 as recorded, None as fast as possible. A silence of more than ``silence_s_max``
    seconds of the recording takes no longer than they do; None leaves all as they were.
    """

    def __init__(self, speed: float | None, silence_s_max: float | None) -> None:
        self.speed = checked_speed(speed)
        self.is_paused = False
        if silence_s_max is not None and silence_s_max < 0:
            raise SettingsError(f"silence_s_max={silence_s_max} is below 0: leave it out, or 0")
        self._silence_ns = inf if silence_s_max is None else silence_s_max * SECOND_NS
        self.begin(0, 0.0)

    def begin(self, at_ns: int, now_s: float) -> None:
        """What is at ``at_ns`` of the recording is due now."""
        self._anchor_ns = self._spoke_ns = at_ns
        self._anchor_s = now_s
        self._skipped_ns = 0

    def wait_s(self, at_ns: int, now_s: float) -> float:
        """Seconds until a step is due; 0 or below when it is, infinite while paused."""
        if self.is_paused:
            return inf
        if self.speed is None:
            return 0.0
        ahead_ns = self._played_ns(at_ns) - self._anchor_ns
        return self._anchor_s + ahead_ns / SECOND_NS / self.speed - now_s

    def passed(self, at_ns: int, now_s: float, *, is_silent: bool) -> None:
        """Note that a step was given; ``is_silent`` when it holds nothing but the time."""
        played_ns = self._played_ns(at_ns)
        if self.wait_s(at_ns, now_s) < -BEHIND_S_MAX:
            self._anchor_ns, self._anchor_s = played_ns, now_s
        if not is_silent:
            self._skipped_ns = at_ns - played_ns
            self._spoke_ns = at_ns

    def change(self, at_ns: int, now_s: float, speed: float | None, *, is_paused: bool) -> None:
        """Go on at another speed from the same place, which after full speed is ``at_ns``."""
        if self.is_paused:
            pass  # the place is still where it was paused
        elif self.speed is None:
            self.begin(at_ns, now_s)
        else:
            self._anchor_ns += int((now_s - self._anchor_s) * self.speed * SECOND_NS)
        self._anchor_s = now_s
        self.speed, self.is_paused = checked_speed(speed), is_paused

    def _played_ns(self, at_ns: int) -> int:
        """The step's place when what is skipped of silences is taken out."""
        over_ns = at_ns - self._spoke_ns - self._silence_ns
        return at_ns - self._skipped_ns - (int(over_ns) if over_ns > 0 else 0)


def checked_speed(speed: float | None) -> float | None:
    """Raises SettingsError for what is no speed."""
    if speed is not None and not SPEED_MIN <= speed <= SPEED_MAX:
        raise SettingsError(
            f"speed={speed} is not from {SPEED_MIN} to {SPEED_MAX:,.0f}: "
            "1 is as recorded, None as fast as possible"
        )
    return speed
