"""Files through the pipeline into the store, as fast as it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from market_engine.bus.base import Full
from market_engine.bus.memory import InProcessBus
from market_engine.errors import FileError, StorageError
from market_engine.events import SECOND_NS, Event, Quote, Trade
from market_engine.feeds.archive import ArchiveOptions
from market_engine.feeds.replay import ReplayFeed, ReplayOptions, ReplayPosition
from market_engine.pipeline import BarOutput, MetricsOutput, Output, Pipeline
from market_engine.restore import newest_trades, restore
from market_engine.routing import publish
from market_engine.storage.batches import BatchWriter
from market_engine.storage.conflicts import Stored, contradicts, stored_as
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
    """Bars that were new to the store."""
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
    """Store everything in files that are in order of time; again changes nothing.

    What is stored already is left alone, bars too. Averages go on from bars that were kept when all
    that is kept is older than the files; otherwise they begin anew with the files, and so do those
    of bars that fill a hole. The bar in which the files begin is left out then: what was before it
    in its minute is not known. Raises FileError for a file that cannot be used, or whose ids are
    stored as other trades, and StorageError where not all of it could be stored.
    """
    options = ReplayOptions(batch_max=BATCH_EVENTS, archive=ArchiveOptions(symbol=symbol or None))
    feed = ReplayFeed(list(files), options=options)
    store = MarketStore(database)
    kept = _kept(store, feed)
    pipeline = Pipeline(feed.venue, feed.symbols, kept=kept)
    first = restore(store, pipeline, MarketView(pipeline), kept)
    check, whole = _Check(database, store, feed, kept), _WholeBars(kept)
    bus = InProcessBus()
    subscription = bus.subscribe(WRITER_TOPICS, "load", MESSAGES_MAX, Full.WAIT)
    writer = Writer(BatchWriter(database, replaces_bars=False), subscription)
    writer.start()

    def take(events: Sequence[Event]) -> None:
        outputs = pipeline.handle(events)
        check.take(events, outputs)
        publish(bus, [each for each in outputs if type(each) not in _NOT_STORED and whole(each)])
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


def _kept(store: MarketStore, feed: ReplayFeed) -> dict[str, Trade]:
    """What to go on from: the newest trades, where they are older than the files."""
    begins_ns = feed.position().first_ns
    newest = newest_trades(store, feed.venue, feed.symbols)
    return {name: last for name, last in newest.items() if last.event_ns < begins_ns}


class _WholeBars:
    """Tells the bars that are whole: the first of a symbol of which nothing was kept may not be."""

    def __init__(self, kept: Iterable[str]) -> None:
        self._begun = set(kept)

    def __call__(self, output: Output) -> bool:
        if not isinstance(output, BarOutput) or output.closed.metrics.symbol in self._begun:
            return True
        bar, metrics = output.closed
        self._begun.add(metrics.symbol)
        is_candle = bar.volume_nano > 0 and not bar.notional  # a venue's own is whole
        return is_candle or metrics.windows[0].complete


class _Check:
    """Refuses trades whose ids are stored as others, before anything of their batch is stored."""

    def __init__(
        self, database: Database, store: MarketStore, feed: ReplayFeed, kept: Mapping[str, Trade]
    ) -> None:
        self._database = database
        self._feed = feed
        self._kept = kept
        rows = store.symbols()
        self._symbol_ids = {row.symbol: row.symbol_id for row in rows if row.venue == feed.venue}

    def take(self, events: Iterable[Event], outputs: Iterable[Output]) -> None:
        """Look at the trades that are new, and at those that count as kept; raises FileError.

        Others came before in these files: what became of them does not matter.
        """
        looked_at = [each for each in outputs if type(each) is Trade]
        if self._kept:
            looked_at += [each for each in events if type(each) is Trade and self._is_old(each)]
        by_symbol: dict[str, dict[int, Trade]] = {}
        for trade in looked_at:
            if trade.trade_id is not None:
                by_symbol.setdefault(trade.symbol, {})[trade.trade_id] = trade
        with self._database.reading() as connection:
            for symbol, trades in by_symbol.items():
                symbol_id = self._symbol_ids.get(symbol)
                if symbol_id is not None:
                    stored = stored_as(connection, symbol_id, list(trades))
                    self._compare(trades, stored)

    def _is_old(self, trade: Trade) -> bool:
        kept = self._kept.get(trade.symbol)
        if kept is None or kept.trade_id is None or trade.trade_id is None:
            return False
        return trade.trade_id <= kept.trade_id

    def _is_later(self, trade: Trade) -> bool:
        return trade.event_ns > self._kept[trade.symbol].event_ns + SECOND_NS

    def _compare(self, trades: Mapping[int, Trade], stored: Mapping[int, Stored]) -> None:
        for trade_id, trade in trades.items():
            found = stored.get(trade_id)
            if found is not None and contradicts(trade, found):
                raise self._conflict(trade, "is stored with another time or price")
            if found is None and self._is_old(trade) and self._is_later(trade):
                raise self._conflict(trade, "is below that of an older trade")

    def _conflict(self, trade: Trade, what: str) -> FileError:
        files = " or ".join(map(str, self._feed.paths_at(trade.received_ns))) or "a file"
        return FileError(
            f"{files}: trade {trade.trade_id:,} of {trade.symbol} {what} in the database: its ids "
            "are those of another market: name another MARKET_DATABASE_URL"
        )


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
        sum((each.ids_missing or 0) + (each.ids_given_up or 0) for each in health),
        position.first_ns,
    )
