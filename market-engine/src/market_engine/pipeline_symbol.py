"""What the pipeline keeps of one symbol, beside its analytics and its health."""

from __future__ import annotations

from market_engine.analytics.symbol import ClosedBar, SymbolAnalytics
from market_engine.pipeline_config import PipelineConfig
from market_engine.waiting import WaitingTrades


class PipelineSymbol:
    """What the pipeline keeps of one symbol beside its analytics."""

    __slots__ = (
        "analytics", "changes", "held_ns", "interrupted_ns", "last_event_ns", "last_id", "told_ns",
        "venue", "waiting",
    )  # fmt: skip

    def __init__(self, venue: str, analytics: SymbolAnalytics) -> None:
        self.venue = venue
        self.analytics = analytics
        self.changes = 0
        self.told_ns = 0
        self.last_id: int | None = None
        self.last_event_ns = 0
        self.interrupted_ns: int | None = None  # since when its trades may be missing
        self.held_ns: int | None = None  # since when its time stands still for them
        self.waiting: WaitingTrades | None = None

    def interrupt(self, since_ns: int) -> None:
        """Its trades may be missing from a moment on; no matter if they may be already."""
        if self.interrupted_ns is None:
            self.interrupted_ns = since_ns
            self.analytics.begin_outage(since_ns)

    def go_on(self, until_ns: int, *, complete: bool) -> None:
        """End an interruption, if there was one; ``complete``: nothing is missing."""
        if self.interrupted_ns is not None:
            self.interrupted_ns = self.held_ns = None
            self.analytics.end_outage(until_ns, filled=complete)

    def leave(self, now_ns: int) -> list[ClosedBar]:
        """Watch it no longer: what is open is closed as it is, and the next id begins anew.

        A minute without trades makes a bar only where it was watched.
        """
        watched_ns = now_ns if self.interrupted_ns is None else self.interrupted_ns
        self.interrupt(self.last_event_ns or now_ns)
        self.held_ns = self.last_id = self.waiting = None
        return self.analytics.end_bars(watched_ns)

    def is_due(self, config: PipelineConfig, moment_ns: int) -> bool:
        """Whether its metrics are to be told at a moment."""
        waited_ns = moment_ns - self.told_ns
        return (
            self.changes >= config.publish_trades
            or waited_ns >= config.publish_quiet_ns
            or (self.changes > 0 and waited_ns >= config.publish_slow_ns)
        )
