"""What the pipeline keeps of one symbol, beside its analytics and its health."""

from __future__ import annotations

from market_engine.analytics.symbol import SymbolAnalytics
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
