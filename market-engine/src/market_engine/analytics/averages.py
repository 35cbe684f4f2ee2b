"""What a series of closed bars says: moving averages, their crossings, and spikes of volume."""

from __future__ import annotations

import math
from collections import deque
from typing import Literal

import msgspec

from market_engine.decimals import NANO

Crossing = Literal["up", "down"]


class AverageConfig(msgspec.Struct, frozen=True):
    """Over how many closed bars."""

    sma_bars: int = 20
    ema_fast_bars: int = 12
    ema_slow_bars: int = 26
    spike_bars: int = 20


class AverageValues(msgspec.Struct, frozen=True, gc=False):
    """As of one closed bar; None where it is not defined (yet)."""

    sma: float | None
    """Mean of the last ``sma_bars`` closes; None until there are as many."""
    ema_fast: float
    """α = 2/(n+1); it begins with the first close."""
    ema_slow: float
    crossing: Crossing | None
    """Where the fast one passed the slow one with this bar: strictly, and ties do not count."""
    volume_z: float | None
    """(v − mean) / s of the ``spike_bars`` volumes before this one, s with n − 1; None until there
    are as many, and where s is 0."""
    side: int
    """On which side of the slow one the fast one last was: 1 above, −1 below, 0 never yet."""


class Averages:
    """Of the bars of one symbol, given one by one as they close."""

    def __init__(self, config: AverageConfig) -> None:
        self._config = config
        self.reset()

    def reset(self) -> None:
        """Forget every bar."""
        self._closes: deque[int] = deque(maxlen=self._config.sma_bars)
        self._volumes: deque[int] = deque(maxlen=self._config.spike_bars)
        self._fast: float | None = None
        self._slow: float | None = None
        self._side = 0

    def take(self, close_nano: int, volume_nano: int) -> AverageValues:
        """The values as of a bar that closes."""
        z = self._volume_z(volume_nano)
        self._volumes.append(volume_nano)
        self._closes.append(close_nano)
        close = close_nano / NANO
        fast = self._fast = _ema(self._fast, close, self._config.ema_fast_bars)
        slow = self._slow = _ema(self._slow, close, self._config.ema_slow_bars)
        crossing = self._crossing(fast, slow)
        return AverageValues(self._sma(), fast, slow, crossing, z, self._side)

    def resume(self, close_nano: int, volume_nano: int, values: AverageValues) -> None:
        """Take a bar that was kept, with what it said then."""
        self._volumes.append(volume_nano)
        self._closes.append(close_nano)
        self._fast, self._slow, self._side = values.ema_fast, values.ema_slow, values.side

    def _sma(self) -> float | None:
        count = len(self._closes)
        if count < self._config.sma_bars:
            return None
        return sum(self._closes) / (count * NANO)

    def _crossing(self, fast: float, slow: float) -> Crossing | None:
        side = (fast > slow) - (fast < slow)
        before, self._side = self._side, side or self._side
        if not side or not before or side == before:
            return None
        return "up" if side > 0 else "down"

    def _volume_z(self, volume_nano: int) -> float | None:
        n = len(self._volumes)
        if n < self._config.spike_bars or n < 2:
            return None
        total = sum(self._volumes)
        spread = n * sum(v * v for v in self._volumes) - total * total  # n(n−1)s²
        if not spread:
            return None
        return (n * volume_nano - total) / n / math.sqrt(spread / (n * (n - 1)))


def _ema(before: float | None, close: float, bars: int) -> float:
    return close if before is None else before + 2 / (bars + 1) * (close - before)
