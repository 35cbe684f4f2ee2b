"""Whether a symbol's times keep being counted in the same unit."""

from __future__ import annotations

from typing import Final

from market_engine.events import MS_NS, US_NS
from market_engine.health.config import HealthConfig

_NAMES: Final = {MS_NS: "ms", US_NS: "µs", 1: "ns"}


class UnitWatch:
    """The unit of the last trade; an episode ends after a row of trades of one unit."""

    __slots__ = ("_mixed", "_row", "_row_min", "resolution_ns")

    def __init__(self, config: HealthConfig) -> None:
        self.resolution_ns = 0
        self._row_min = config.run_trades
        self._row = 0
        self._mixed = False

    @property
    def is_quiet(self) -> bool:
        """No episode lasts."""
        return not self._mixed

    def take(self, resolution_ns: int) -> str | None:
        """Note the unit of a trade; says what changed where an episode begins with it."""
        before, self.resolution_ns = self.resolution_ns, resolution_ns
        if before in (0, resolution_ns):
            self._row += 1
            self._mixed = self._mixed and self._row < self._row_min
            return None
        self._row = 1
        if self._mixed:
            return None
        self._mixed = True
        return f"from {_NAMES.get(before, before)} to {_NAMES.get(resolution_ns, resolution_ns)}"
