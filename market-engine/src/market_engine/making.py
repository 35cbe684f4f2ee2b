"""From settings to a feed, and to the pipeline that suits it. Opens nothing but a replay's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from market_engine.errors import SettingsError
from market_engine.feeds.base import Feed
from market_engine.feeds.binance import BinanceFeed
from market_engine.feeds.binance_config import BinanceConfig
from market_engine.feeds.binance_intake import Record
from market_engine.feeds.replay import ReplayFeed
from market_engine.feeds.simulated import SimulatedConfig, SimulatedFeed
from market_engine.kinds import kind_of
from market_engine.paper.telemetry import FillTelemetry, fill_telemetry
from market_engine.pipeline_config import PipelineConfig
from market_engine.settings import Settings
from market_engine.storage.database import Database
from market_engine.storage.trade_rows import Listing


class Made(NamedTuple):
    """A feed, and what is known of it before it runs."""

    feed: Feed
    venue: str
    symbols: tuple[str, ...]
    kinds: dict[Listing, str]
    """What each symbol is that is known before: ``crypto`` or ``equity``."""
    backfills: bool
    """Whether it fetches what is missing, and so goes on from what was kept."""
    is_live: bool
    """Whether it is taken only while the ingestion window is open, and can be recorded."""


def make_feed(
    settings: Settings, last_ids: Mapping[str, int], record: Record | None = None
) -> Made:
    """The feed of these settings, to go on after the last trades that are known, by symbol.

    ``record`` takes each frame of a live feed. Raises SettingsError, FeedError or FileError where
    it cannot be.
    """
    if settings.feed == "simulated":
        return _simulated(settings, last_ids)
    if settings.feed == "binance":
        return _binance(settings, last_ids, record)
    return _replay(settings)


def make_telemetry(settings: Settings, database: Database) -> FillTelemetry | None:
    """What tells the sidecar of the paper desk's fills; None where no sidecar is set.

    And of a desk that is kept nowhere: its fills would stay in the sidecar's totals for good.
    """
    if settings.telemetry_addr is None or settings.has_scratch_desk:
        return None
    return fill_telemetry(database, settings.telemetry_addr, settings.telemetry_journal_dir)


def pipeline_config(made: Made) -> PipelineConfig:
    """What suits a feed: trades wait behind a gap only where it will be filled."""
    return PipelineConfig(waits_for_backfill=made.backfills)


def _simulated(settings: Settings, last_ids: Mapping[str, int]) -> Made:
    anchor_ms = settings.simulated_anchor_ms
    config = SimulatedConfig(
        seed=settings.simulated_seed,
        symbols=settings.feed_symbols,
        events_a_second=settings.simulated_rate,
        is_steady=settings.simulated_steady,
        anchor_ns=None if anchor_ms is None else anchor_ms * 1_000_000,
    )
    feed = SimulatedFeed(config, last_ids)
    kinds = _kinds(feed.venue, feed.symbols)
    return Made(feed, feed.venue, feed.symbols, kinds, backfills=True, is_live=False)


def _binance(settings: Settings, last_ids: Mapping[str, int], record: Record | None) -> Made:
    config = BinanceConfig(
        stream_url=settings.binance_stream_url, rest_url=settings.binance_rest_url
    )
    feed = BinanceFeed(
        settings.feed_symbols,
        config=config,
        resume=last_ids,
        record=record,
    )
    kinds = _kinds(feed.venue, feed.symbols)
    return Made(feed, feed.venue, feed.symbols, kinds, backfills=True, is_live=True)


def _replay(settings: Settings) -> Made:
    if settings.replay_file is None:
        raise SettingsError("MARKET_REPLAY_FILE is not set: name the recording to replay")
    feed = ReplayFeed(settings.replay_file, settings.replay_speed or None)
    kinds = _kinds(feed.venue, feed.symbols)
    return Made(feed, feed.venue, feed.symbols, kinds, backfills=False, is_live=False)


def _kinds(venue: str, symbols: tuple[str, ...]) -> dict[Listing, str]:
    return {(venue, symbol): kind_of(venue, symbol) for symbol in symbols}
