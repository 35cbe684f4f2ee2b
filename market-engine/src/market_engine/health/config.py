"""The constants of feed health: when silence, age and jumps count as faults. Knows no event."""

from __future__ import annotations

from typing import Final

import msgspec

from market_engine.events import SECOND_NS

LAG_BOUNDS_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the lag histogram; with the one beyond, twelve buckets."""
LAG_BOUNDS_NS: Final = tuple(int(bound * SECOND_NS) for bound in LAG_BOUNDS_S)


class HealthConfig(msgspec.Struct, frozen=True):
    """When a symbol counts as late, stale or skewed; the defaults suit trade streams."""

    late_s: float = 1.0
    """Older than the newest trade of its symbol by more than this is late."""
    late_named_s: float = 2.0
    """A late trade that no other follows is named after this; where the symbol trades slowly, after
    three of its own gaps."""
    late_named_s_max: float = 60.0
    """The longest that the naming of one waits. Several that are about equally late may be a clock
    skew: they wait at least so long, and as long as one and a half runs usually take."""
    ahead_s_max: float = 1.0
    """A trade further ahead of its receipt than this shows a clock skew."""
    lag_s_max: float = 5.0
    """A trade older than this at its receipt is behind."""
    run_trades: int = 20
    """So many trades behind, one after the other, are a clock skew or the state LATE; so many good
    ones end an episode."""
    run_s_min: float = 1.0
    """And over at least this long: a backlog that comes at once is neither."""
    skew_spread_max: float = 0.25
    """Lags that vary by less than this part of the largest, and of the time that the run took, are
    about constant."""
    stale_s: float = 30.0
    """Silence beyond this, and beyond ``stale_gaps`` of the symbol's usual gaps, is frozen."""
    stale_gaps: float = 20.0
    stale_s_max: float = 900.0
    time_gap_s: float = 60.0
    """A jump in event time beyond this, and beyond ``time_gap_gaps`` usual gaps, is a time gap."""
    time_gap_gaps: float = 40.0
    usual_gap_weight: float = 1 / 32
    """Of the newest gap in the running mean of a symbol's gaps between trades."""
    gap_shown_s: float = 300.0
    """A gap that nothing fills is shown as the state GAP for so long; its count stays."""
    fault_every_s: float = 1.0
    """A fault of one kind and symbol is named at most once in this time; each is counted."""
    pause_s_max: float = 5.0
    """Where a feed says nothing at all, no symbol's silence counts for more than this: a recording
    with an hour cut out holds no frozen symbol."""
    symbols_max: int = 1_024
    """Events of further symbols are left out; ``FeedHealth.unwatched`` counts them."""
