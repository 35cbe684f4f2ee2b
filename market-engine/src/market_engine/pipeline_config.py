"""What the pipeline is told: what is calculated, how often it is told, and how long it waits."""

from __future__ import annotations

import msgspec

from market_engine.analytics.symbol import AnalyticsConfig
from market_engine.events import SECOND_NS
from market_engine.health.config import HealthConfig


class PipelineConfig(msgspec.Struct, frozen=True):
    """What is calculated, and how often it is told."""

    analytics: AnalyticsConfig = AnalyticsConfig()
    health: HealthConfig = HealthConfig()
    publish_every_ns: int = SECOND_NS
    """A symbol's metrics are told at most once in this time of receipt."""
    publish_trades: int = 5
    """And as often as that only when so many trades came since; a slower symbol's are told"""
    publish_slow_ns: int = 3 * SECOND_NS
    """once in this time when anything came, and"""
    publish_quiet_ns: int = 10 * SECOND_NS
    """once in this time when nothing did, so that its windows empty before our eyes."""
    pause_ns: int = 5 * SECOND_NS
    """Where a feed says nothing at all for so long, trades of any symbol may be missing."""
    waits_for_backfill: bool = False
    """Whether the feed fetches what is missing: then a symbol's trades wait behind a gap for it, so
    that they are taken in the order of their ids, as if there had been none."""
    waiting_trades_max: int = 200_000
    waiting_s_max: int = 300
