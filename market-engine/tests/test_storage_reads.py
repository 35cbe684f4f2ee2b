"""What was stored is read back as the same events, in the order that was asked for."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from storage_parts import SECOND, START_NS, SYMBOL, VENUE, bar, candle, messages, trade, url_of

from market_engine.events import US_NS, Quote, TimeSource
from market_engine.storage.batches import BatchWriter
from market_engine.storage.database import Database
from market_engine.storage.market_store import MarketStore, Order
from market_engine.storage.rows import DETAIL_LENGTH_MAX, FaultRow, IdGap, SymbolRow


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(url_of(tmp_path / "market.db"))) as database:
        yield database


@pytest.fixture
def batches(database: Database) -> BatchWriter:
    return BatchWriter(database, {(VENUE, SYMBOL): "crypto"})


@pytest.fixture
def store(database: Database) -> MarketStore:
    return MarketStore(database)


def ids(trades) -> list[int | None]:
    return [each.trade_id for each in trades]


def test_every_field_of_a_trade_comes_back_exactly(batches, store):
    trades = [
        trade(0, price_nano=10**24 - 1, qty_nano=1),
        trade(1, price_nano=1, qty_nano=10**24 - 1, side="sell", resolution_ns=US_NS),
        trade(2, time_source=TimeSource.EVENT, backfilled=True),
        trade(3, time_source=TimeSource.RECEIPT),
        msgspec.structs.replace(trade(4), trade_id=2**63 - 1),
        trade(None, event_ns=START_NS + 4, received_ns=0),
        trade(None, event_ns=START_NS + 5, received_ns=2**63 - 1),
    ]
    assert batches.write(messages(trades)).trades == 7
    assert sorted(store.trades(VENUE, SYMBOL), key=repr) == sorted(trades, key=repr)


def test_a_symbol_that_is_not_known_has_nothing(batches, store):
    batches.write(messages([trade(1)]))
    for venue, symbol in ((VENUE, "NONE"), ("nowhere", SYMBOL)):
        assert list(store.trades(venue, symbol)) == []
        assert store.last_trade_id(venue, symbol) is None
        assert store.id_gaps(venue, symbol) == []
        assert store.bars(venue, symbol, 60) == store.candles(venue, symbol, 60) == []


def test_symbols_are_told_with_their_kind_and_when_they_were_first_seen(batches, store):
    batches.write(messages([trade(5), trade(3), trade(4), bar(1, venue="finnhub", symbol="AAPL")]))
    batches.write(messages([trade(1), trade(9, venue="other")]))
    assert store.symbols() == [
        SymbolRow(1, VENUE, SYMBOL, "crypto", trade(3).received_ns),
        SymbolRow(2, "finnhub", "AAPL", "unknown", bar(1).bar_start_ns),
        SymbolRow(3, "other", SYMBOL, "unknown", trade(9).received_ns),
    ]


def test_the_last_id_of_each_symbol_says_where_its_feed_goes_on(batches, store):
    values = [trade(7), trade(9), trade(8), trade(3, symbol="B"), trade(None, symbol="C")]
    batches.write(messages(values))
    assert store.last_trade_ids() == {(VENUE, SYMBOL): 9, (VENUE, "B"): 3}
    assert store.last_trade_id(VENUE, SYMBOL) == 9
    assert store.last_trade_id(VENUE, "C") is None


def test_a_store_finds_a_symbol_that_came_after_it_was_asked_for(batches, store):
    assert store.last_trade_id(VENUE, SYMBOL) is None
    assert list(store.trades(VENUE, SYMBOL)) == []
    batches.write(messages([trade(1)]))
    assert list(store.trades(VENUE, SYMBOL)) == [trade(1)]


@pytest.mark.parametrize("count", [4_999, 5_000, 5_001, 20_000, 23_456])
def test_long_reads_go_page_by_page_in_either_order(batches, store, count):
    chosen = random.Random(count)
    late = {chosen.randrange(count) for _ in range(count // 10)}
    trades = [
        trade(
            number, received_ns=START_NS + (count + number if number in late else number) * SECOND
        )
        for number in range(count)
    ]
    batches.write(messages(trades + [trade(number, symbol="OTHER") for number in range(100)]))
    assert list(store.trades(VENUE, SYMBOL, order=Order.EVENT)) == trades
    by_arrival = sorted(trades, key=lambda each: (each.received_ns, each.trade_id))
    assert list(store.trades(VENUE, SYMBOL)) == by_arrival
    assert list(store.trades(VENUE, SYMBOL, limit=count - 1)) == by_arrival[:-1]


def test_trades_of_one_moment_are_neither_lost_nor_repeated_between_pages(batches, store):
    trades = [trade(number, event_ns=START_NS, received_ns=START_NS) for number in range(12_345)]
    nameless = [trade(None, event_ns=START_NS, received_ns=START_NS) for _ in range(12_345)]
    batches.write(messages(trades + nameless))
    for order in Order:
        assert ids(store.trades(VENUE, SYMBOL, order=order)) == ids(nameless + trades)


def test_trades_without_an_id_that_happened_at_once_keep_the_order_in_which_they_came(
    batches, store
):
    trades = [trade(None, event_ns=START_NS, received_ns=number) for number in (3, 3, 4, 9)]
    batches.write(messages(trades))
    for order in Order:
        assert list(store.trades(VENUE, SYMBOL, order=order)) == trades


def test_a_range_holds_its_beginning_and_not_its_end(batches, store):
    batches.write(messages([trade(number) for number in range(10)]))
    start_ns, end_ns = START_NS + 3 * SECOND, START_NS + 6 * SECOND
    for order in Order:
        assert ids(store.trades(VENUE, SYMBOL, start_ns, end_ns, order=order)) == [3, 4, 5]
        assert ids(store.trades(VENUE, SYMBOL, start_ns, end_ns, 2, order)) == [3, 4]
        assert ids(store.trades(VENUE, SYMBOL, start_ns, end_ns, 0, order)) == []
        assert ids(store.trades(VENUE, SYMBOL, end_ns, start_ns, order=order)) == []


def test_the_latest_are_those_that_happened_last_oldest_first(batches, store):
    batches.write(messages([trade(number) for number in (1, 2, 5, 4, 3)]))
    assert ids(store.latest_trades(VENUE, SYMBOL, 3)) == [3, 4, 5]
    assert ids(store.latest_trades(VENUE, SYMBOL, 99)) == [1, 2, 3, 4, 5]
    assert ids(store.latest_trades(VENUE, SYMBOL, 2, trade(4).event_ns)) == [2, 3]
    assert store.latest_trades(VENUE, SYMBOL, 1, trade(1).event_ns) == []


def test_trades_can_be_read_by_id(batches, store):
    batches.write(messages([trade(number) for number in (9, 1, 5, None, 7)]))
    assert ids(store.trades_from_id(VENUE, SYMBOL, 5, 2)) == [5, 7]
    assert ids(store.trades_from_id(VENUE, SYMBOL, 0, 9)) == [1, 5, 7, 9]


def test_the_lowest_id_since_a_moment_need_not_be_that_of_the_first_trade(batches, store):
    at_ns = trade(10).event_ns
    batches.write(messages([trade(7), trade(8, event_ns=at_ns + 5), trade(10), trade(11)]))
    assert store.first_id(VENUE, SYMBOL, 0) == 7
    assert store.first_id(VENUE, SYMBOL, at_ns) == 8
    assert store.first_id(VENUE, SYMBOL, at_ns + 6) == 11
    assert store.first_id(VENUE, SYMBOL, trade(12).event_ns) is None
    batches.write(messages([trade(None, event_ns=at_ns)]))
    assert store.first_id(VENUE, SYMBOL, at_ns) is None


def test_gaps_are_the_ids_that_are_missing_between_stored_ones(batches, store):
    there = [3, 4, 7, 8, 20, 21, 23]
    batches.write(messages([trade(number) for number in [*there, None]]))
    assert store.id_gaps(VENUE, SYMBOL) == [IdGap(5, 6), IdGap(9, 19), IdGap(22, 22)]
    assert store.id_gaps(VENUE, SYMBOL, first_id=8) == [IdGap(9, 19), IdGap(22, 22)]
    assert store.id_gaps(VENUE, SYMBOL, limit=2) == [IdGap(9, 19), IdGap(22, 22)]
    batches.write(messages([trade(number) for number in (5, 6, 22)]))
    assert store.id_gaps(VENUE, SYMBOL) == [IdGap(9, 19)]


def test_bars_come_back_exactly_and_by_span(batches, store):
    empty = bar(3, open=None, high=None, low=None, close=None, volume="0", trades=0)
    bars = [bar(1), bar(2), empty]
    other_span = bar(1, span_s=1)
    batches.write(messages([empty, other_span, bar(2), bar(1)]))
    assert store.bars(VENUE, SYMBOL, 60) == bars
    assert store.bars(VENUE, SYMBOL, 1) == [other_span]
    assert store.bars(VENUE, SYMBOL, 60, bars[1].bar_start_ns) == bars[1:]
    assert store.bars(VENUE, SYMBOL, 60, 0, bars[1].bar_start_ns) == bars[:1]
    assert store.bars(VENUE, SYMBOL, 60, limit=2) == bars[:2]
    assert store.latest_bars(VENUE, SYMBOL, 60, 2) == bars[1:]


def test_the_latest_metrics_are_one_bar_a_symbol(batches, store):
    batches.write(messages([bar(1), bar(2), bar(1, symbol="B"), trade(1, symbol="NO-BAR")]))
    assert store.latest_metrics(60) == [bar(1, symbol="B"), bar(2)]
    assert store.latest_metrics(1) == []


def test_candles_of_the_venue_come_back_exactly(batches, store):
    batches.write(messages([candle(2), candle(1), candle(3, span_ns=SECOND)]))
    assert store.candles(VENUE, SYMBOL, 60 * SECOND) == [candle(1), candle(2)]
    assert store.candles(VENUE, SYMBOL, 60 * SECOND, candle(2).open_ns) == [candle(2)]
    assert store.candles(VENUE, SYMBOL, SECOND, limit=1) == [candle(3, span_ns=SECOND)]


def test_faults_are_kept_in_order_and_long_details_are_cut(batches, store):
    faults = [
        FaultRow(VENUE, "", "disconnected", 5),
        FaultRow(VENUE, SYMBOL, "gap", 6, "ids 5 to 6"),
    ]
    long_ = FaultRow(VENUE, SYMBOL, "late", 7, "x" * 5_000)
    written = batches.write(messages([long_, *faults, faults[0]]))
    assert (written.faults, written.duplicates) == (3, 1)
    cut = FaultRow(VENUE, SYMBOL, "late", 7, "x" * DETAIL_LENGTH_MAX)
    assert store.faults() == [*faults, cut]
    assert store.faults(6, 7) == faults[1:]
    assert store.faults(limit=1) == [cut]


def test_what_is_not_stored_is_ignored_and_counted(batches, store):
    quote = Quote(VENUE, SYMBOL, 1, 1, 2, 1, START_NS, START_NS)
    written = batches.write(messages([quote, {"live": "metrics"}, "text", None, trade(1)]))
    assert (written.trades, written.ignored) == (1, 4)
    assert [each.symbol for each in store.symbols()] == [SYMBOL]
