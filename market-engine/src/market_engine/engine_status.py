"""How the running engine is, for who asks."""

from __future__ import annotations

import msgspec


class EngineStatus(msgspec.Struct, frozen=True):
    """How the engine is."""

    feed: str
    venue: str
    running: bool
    connected: bool | None
    """None where the feed has not said."""
    failure: str | None
    """Why no event comes, where that is known."""
    schedule_open: bool
    next_change_ns: int | None
    started_ns: int
    busy_s: float
    """Spent by the thread that runs the feed, outside of the feed itself."""
