"""The words of feed health: faults, states, and what the health says of one event.

Nothing here changes after it is made, and nothing here finds a fault: that is ``symbol_health``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec


class FaultKind(StrEnum):
    """What can be wrong with a symbol's stream: the closed set of a metric's label."""

    GAP = "gap"
    """Trade ids jumped: those between did not come."""
    TIME_GAP = "time_gap"
    """The ids go on, but far more time passed than this symbol ever leaves between trades."""
    DUPLICATE = "duplicate"
    LATE = "late"
    """A trade older than the newest by more than ``late_s``."""
    OUT_OF_ORDER = "out_of_order"
    """Older than the newest, but within ``late_s``: counted, never named."""
    FROZEN = "frozen"
    """The feed goes on, but this symbol brings no trade."""
    CLOCK_SKEW = "clock_skew"
    """The venue's clock and ours disagree by about the same amount, trade after trade."""
    TIME_UNIT = "time_unit"
    """The venue's times changed between milliseconds and microseconds."""
    MALFORMED = "malformed"
    DISCONNECTED = "disconnected"
    BACKFILL_FAILED = "backfill_failed"


class SymbolState(StrEnum):
    """How a symbol's stream is, the worst that holds."""

    UNKNOWN = "unknown"
    """Nothing has come yet."""
    LIVE = "live"
    LATE = "late"
    """What comes is old, and more so or less so with each trade."""
    STALE = "stale"
    """Nothing comes: frozen, or disconnected."""
    GAP = "gap"
    """Trades are missing."""
    BACKFILLING = "backfilling"
    CLOSED = "closed"
    """The market, or the ingestion window, is closed: silence is no fault."""


class Fault(msgspec.Struct, frozen=True, gc=False):
    """One fault, named once an episode and at most once in ``fault_every_s`` a kind and symbol."""

    venue: str
    symbol: str | None
    """None where what came does not say whose it was."""
    kind: FaultKind
    at_ns: int
    """When it was found, by the receipt of the event that showed it."""
    detail: str


class StateChange(msgspec.Struct, frozen=True, gc=False):
    """A symbol's state from ``since_ns`` on."""

    symbol: str
    state: SymbolState
    since_ns: int
    why: str


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What the health says of one event."""

    taken: bool
    """False for a duplicate, which must go no further."""
    faults: tuple[Fault, ...] = ()
    changes: tuple[StateChange, ...] = ()


TAKEN: Final = Verdict(True)
"""Of every event with which nothing is wrong; the same object each time."""
DROPPED: Final = Verdict(False)


class SymbolHealthView(msgspec.Struct, frozen=True, gc=False):
    """A symbol's health at one moment. None is unknown, and is never shown as 0."""

    venue: str
    symbol: str
    state: SymbolState
    since_ns: int
    why: str
    trades: int
    """Taken, backfilled ones included."""
    id_gaps: int | None
    """Jumps, or None where the venue gives no trade ids; so are the next three."""
    ids_missing: int | None
    """Now: what came later is no longer missing."""
    ids_given_up: int | None
    """Of those that were missing: too many stretches to remember; came one, it would be taken for a
    duplicate."""
    duplicates: int | None
    time_gaps: int
    late: int
    out_of_order: int
    malformed: int
    backfilled: int
    last_id: int | None
    last_event_ns: int | None
    """The newest, never ahead of its receipt."""
    last_received_ns: int | None
    lag_ns: int | None
    """Receipt minus event of the last trade that came by the stream; below 0 where the venue's
    clock is ahead."""
    lag_counts: tuple[int, ...]
    """Of trades a bucket of ``LAG_BOUNDS_S``, not cumulative; the last one is beyond the bounds."""
    lag_sum_ns: int
