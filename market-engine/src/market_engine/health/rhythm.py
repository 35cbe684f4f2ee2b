"""How often a symbol trades, and from when on its silence or a jump in its times is too long."""

from __future__ import annotations

from typing import Final

from market_engine.events import SECOND_NS
from market_engine.health.config import HealthConfig

KNOWN_GAPS: Final = 4
"""With fewer, how often a symbol trades is not known: silence has to be at its longest, and no gap
is too long."""


class Rhythm:
    """The running mean of the gaps between a symbol's trades, in event time."""

    __slots__ = ("_config", "_gaps", "_is_warm", "_resting", "floor_ns", "usual_ns", "weight")

    def __init__(self, config: HealthConfig) -> None:
        self._config = config
        self._gaps = 0
        self._resting = False
        self.floor_ns = int(config.time_gap_s * SECOND_NS)
        """No gap shorter than this is ever too long."""
        self.weight = config.usual_gap_weight
        self.usual_ns = 15.0 * SECOND_NS
        """At first a guess, as if of four gaps, that keeps a slow symbol from a false alarm."""
        self._is_warm = False

    @property
    def is_ready(self) -> bool:
        """Whether a caller may move ``usual_ns`` by ``weight`` itself, to save a call."""
        return self._is_warm and not self._resting

    @property
    def stale_ns(self) -> float:
        """Silence beyond this is no longer usual."""
        config = self._config
        if self._gaps < KNOWN_GAPS:
            return config.stale_s_max * SECOND_NS
        usual_ns = min(config.stale_gaps * self.usual_ns, config.stale_s_max * SECOND_NS)
        return max(config.stale_s * SECOND_NS, usual_ns)

    def take(self, gap_ns: int) -> bool:
        """Note a gap, and say whether it is too long to be one of this symbol's."""
        if self._resting:  # the first after a pause that was announced says nothing
            self._resting = False
            return False
        limit_ns = max(self.floor_ns, self._config.time_gap_gaps * self.usual_ns)
        too_long = gap_ns > limit_ns and self._gaps >= KNOWN_GAPS
        self._gaps += 1
        self._is_warm = self._is_warm or self._gaps >= 1 / self.weight
        learned_ns = min(gap_ns, limit_ns)  # so that one gap does not become the usual
        weight = max(self.weight, 1 / (self._gaps + KNOWN_GAPS))
        self.usual_ns += (learned_ns - self.usual_ns) * weight
        return too_long

    def rest(self) -> None:
        """Note that there was a pause that nobody need explain: the next gap is left out."""
        self._resting = True
