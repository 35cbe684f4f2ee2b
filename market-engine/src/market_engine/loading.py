"""Files through the pipeline into the store, as fast as it goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from market_engine.bus.base import Full
from market_engine.bus.memory import InProcessBus
from market_engine.errors import StorageError
from market_engine.events import Event, Quote, Trade
from market_engine.feeds.archive import ArchiveOptions
from market_engine.feeds.replay import ReplayFeed, ReplayOptions, ReplayPosition
from market_engine.pipeline import MetricsOutput, Output, Pipeline
from market_engine.restore import newest_trades, restore
from market_engine.routing import publish
from market_engine.storage.batches import BatchWriter
from market_engine.storage.database import Database
from market_engine.storage.market_store import MarketStore
from market_engine.storage.writer import WRITER_TOPICS, Writer
from market_engine.view import MarketView

MESSAGES_MAX = 20_000
BATCH_EVENTS = 2_000
STORED_WITHIN_S = 120.0
_NOT_STORED: Final = (Quote, MetricsOutput)
"""And nobody but the writer reads here."""


class Loaded(msgspec.Struct, frozen=True):
    """What became of some files."""

    events: int
    rejected: int
    trades: int
    """Trades that were new to the store."""
    duplicates: int
    """Trades that were there already."""
    repeated: int
    """Trades that the files hold more than once."""
    bars: int
    missing: int
    """Ids that the files leave out."""
    first_ns: int
    """When the files begin."""


def load_files(
    database: Database,
    files: Sequence[Path],
    symbol: str = "",
    progress: Callable[[ReplayPosition], None] = lambda _: None,
) -> Loaded:
    """Store everything in files that are in order of time; again is harmless.

    Averages go on from bars that were kept when those end before the files begin. Raises FileError
    for a file that cannot be used, and StorageError where not all of it could be stored.
    """
    options = ReplayOptions(batch_max=BATCH_EVENTS, archive=ArchiveOptions(symbol=symbol or None))
    feed = ReplayFeed(list(files), options=options)
    store = MarketStore(database)
    pipeline, first = _pipeline(store, feed)
    bus = InProcessBus()
    subscription = bus.subscribe(WRITER_TOPICS, "load", MESSAGES_MAX, Full.WAIT)
    writer = Writer(BatchWriter(database), subscription)
    writer.start()

    def take(events: Sequence[Event]) -> None:
        outputs = pipeline.handle(events)
        publish(bus, [each for each in outputs if type(each) not in _NOT_STORED])
        progress(feed.position())

    try:
        publish(bus, first)
        feed.run(take)
    finally:
        is_stored = writer.stop(STORED_WITHIN_S)
        bus.close()
    if not is_stored:
        raise StorageError(f"not everything was stored: {writer.stats().problem}: load it again")
    return _loaded(feed, pipeline, writer)


def _pipeline(store: MarketStore, feed: ReplayFeed) -> tuple[Pipeline, list[Output]]:
    """One that goes on from what is kept, where all of that is older than the files."""
    kept: dict[str, Trade] = newest_trades(store, feed.venue, feed.symbols)
    begins_ns = feed.position().first_ns
    kept = {name: last for name, last in kept.items() if last.event_ns < begins_ns}
    pipeline = Pipeline(feed.venue, feed.symbols, kept=kept)
    return pipeline, restore(store, pipeline, MarketView(pipeline), kept)


def _loaded(feed: ReplayFeed, pipeline: Pipeline, writer: Writer) -> Loaded:
    position, written = feed.position(), writer.stats().written
    health = pipeline.health.snapshot()
    return Loaded(
        position.events,
        position.rejected,
        written.trades,
        written.duplicates,
        sum(each.duplicates or 0 for each in health),
        written.bars,
        sum(each.ids_missing or 0 for each in health),
        position.first_ns,
    )
