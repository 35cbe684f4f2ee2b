"""Old trades and skewed clocks of one symbol: which of the two it is takes several trades to tell.

One trade that is too old is late. Many in a row that are too old by the same amount are a clock
that is wrong, and are not named late as well. Knows no ids, and no clock of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from market_engine.events import SECOND_NS
from market_engine.health.config import HealthConfig
from market_engine.health.faults import FaultKind

Finding = tuple[FaultKind, str]


class ClockWatch:
    """What the times of the last trades say; ``is_late`` and ``is_quiet`` are for the symbol."""

    __slots__ = (
        "_config",
        "_good",
        "_lag_high",
        "_lag_low",
        "_late",
        "_late_from_ns",
        "_late_worst_ns",
        "_old",
        "_run",
        "_run_from_ns",
        "_usual_lag_ns",
        "ahead_ns",
        "behind_ns",
        "is_late",
        "is_skewed",
        "late_ns",
    )  # fmt: skip

    def __init__(self, config: HealthConfig) -> None:
        self._config = config
        self.late_ns = int(config.late_s * SECOND_NS)
        self.ahead_ns = -int(config.ahead_s_max * SECOND_NS)
        self.behind_ns = int(config.lag_s_max * SECOND_NS)
        self._usual_lag_ns: float | None = None
        self._good = self._run = self._old = self._late = 0
        self._run_from_ns = self._lag_low = self._lag_high = 0
        self._late_from_ns = self._late_worst_ns = 0
        self.is_late = self.is_skewed = False

    @property
    def is_quiet(self) -> bool:
        """No run is under way, nothing is to be named, and no episode lasts."""
        return not (self._run or self._late or self.is_late or self.is_skewed)

    def take(self, received_ns: int, lag_ns: int, older_ns: int) -> Iterator[Finding]:
        """Note a trade that is older than its symbol's newest by ``older_ns`` (below 0: newer)."""
        if lag_ns < self.ahead_ns:
            yield from self.ahead(f"the venue's clock is {-lag_ns / SECOND_NS:.3f} s ahead")
            return
        if older_ns > self.late_ns:
            self._note_late(received_ns, older_ns)
        elif lag_ns <= self.behind_ns:
            yield from self._on_time()
            return
        yield from self._behind(received_ns, lag_ns)

    def look(self, received_ns: int, usual_gap_ns: float) -> Iterator[Finding]:
        """Name late trades that waited long enough for the next one."""
        if not self._late or self.is_skewed:
            return
        config = self._config
        gap_s = usual_gap_ns / SECOND_NS
        wait_s = min(max(config.late_named_s, 3 * gap_s), config.late_named_s_max)
        if self._run > 1 and self._is_steady():  # may become a skew: the run has time to be told
            wait_s = max(config.late_named_s_max, 1.5 * config.run_trades * gap_s)
        if received_ns - self._late_from_ns >= wait_s * SECOND_NS:
            yield self._name_late()

    def learn(self, lag_ns: int) -> None:
        """Note what lag is usual here; called once a second or so, never in an episode."""
        usual = self._usual_lag_ns
        self._usual_lag_ns = usual = lag_ns if usual is None else usual + (lag_ns - usual) / 32
        limit_ns = int(self._config.lag_s_max * SECOND_NS)
        self.behind_ns = min(limit_ns, int(max(usual, 0)) + self.late_ns)

    def ahead(self, detail: str) -> Iterator[Finding]:
        """Note a trade that no clock but a wrong one can have stamped."""
        self._good = self._run = self._old = self._late = 0
        if not self.is_skewed:
            self.is_skewed = True
            yield FaultKind.CLOCK_SKEW, detail

    def _note_late(self, received_ns: int, older_ns: int) -> None:
        if not self._late:
            self._late_from_ns, self._late_worst_ns = received_ns, 0
        self._late += 1
        self._late_worst_ns = max(self._late_worst_ns, older_ns)

    def _on_time(self) -> Iterator[Finding]:
        self._run = self._old = 0
        self._good += 1
        if self._late and not self.is_skewed:
            yield self._name_late()
        self._late = 0
        if self._good >= self._config.run_trades:
            self.is_skewed = self.is_late = False

    def _behind(self, received_ns: int, lag_ns: int) -> Iterator[Finding]:
        self._good = 0
        if not self._run:
            self._run_from_ns, self._lag_low, self._lag_high = received_ns, lag_ns, lag_ns
        self._run += 1
        self._lag_low = min(self._lag_low, lag_ns)
        self._lag_high = max(self._lag_high, lag_ns)
        self._old = self._old + 1 if lag_ns > self._config.lag_s_max * SECOND_NS else 0
        if not (self.is_skewed or self.is_late) and self._run >= self._config.run_trades:
            yield from self._decide(received_ns - self._run_from_ns)

    def _decide(self, run_ns: int) -> Iterator[Finding]:
        if run_ns < self._config.run_s_min * SECOND_NS:
            return
        if self._is_steady() and self._spread_ns <= self._config.skew_spread_max * run_ns:
            self.is_skewed, self._late = True, 0
            lag_s = self._lag_high / SECOND_NS
            yield FaultKind.CLOCK_SKEW, f"{self._run} trades in a row about {lag_s:.3f} s old"
            return
        self.is_late = self._old >= self._config.run_trades
        if self.is_late and self._late:
            yield self._name_late()

    @property
    def _spread_ns(self) -> int:
        return self._lag_high - self._lag_low

    def _is_steady(self) -> bool:
        return self._spread_ns <= self._config.skew_spread_max * self._lag_high

    def _name_late(self) -> Finding:
        worst_s, count = self._late_worst_ns / SECOND_NS, self._late
        self._late = 0
        return FaultKind.LATE, f"{count} up to {worst_s:.3f} s older than the newest"
