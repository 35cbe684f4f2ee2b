"""Whatever is written again, in part, or in another order, leaves the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storage_parts import (
    SECOND,
    START_NS,
    SYMBOL,
    VENUE,
    bar,
    emptied,
    messages,
    stored_rows,
    trade,
    url_of,
)

from market_engine.bus.base import Message
from market_engine.storage.batches import BatchWriter
from market_engine.storage.database import Database
from market_engine.storage.market_store import MarketStore
from market_engine.storage.rows import FaultRow

symbols = st.sampled_from(["A", "B"])
ids = st.integers(0, 12)
times = st.integers(0, 3).map(lambda step: START_NS + step * SECOND)
with_id = st.builds(lambda number, symbol: trade(number, symbol=symbol), ids, symbols)
without_id = st.builds(
    lambda symbol, event_ns, received_ns: trade(
        None, symbol=symbol, event_ns=event_ns, received_ns=received_ns
    ),
    symbols,
    times,
    times,
)
bars = st.builds(lambda number, symbol: bar(number, symbol=symbol), ids, symbols)
faults = st.builds(lambda symbol, at_ns: FaultRow(VENUE, symbol, "gap", at_ns, "x"), symbols, times)
values = st.lists(with_id | without_id | bars | faults, max_size=25)


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Iterator[Database]:
    path = tmp_path_factory.mktemp("idempotence") / "market.db"
    with closing(Database(url_of(path))) as database:
        yield database


def rows_after(database: Database, *batches: Sequence[Message]) -> list[tuple[object, ...]]:
    """Symbols are numbered and dated as they come, so they are known before."""
    emptied(database)
    BatchWriter(database).write(messages([trade(0, symbol="A"), trade(0, symbol="B")]))
    for batch in batches:
        BatchWriter(database).write(batch)
    return stored_rows(database)


@settings(max_examples=60)
@given(values=values, data=st.data())
def test_batches_written_again_partly_or_shuffled_leave_the_same_rows(database, values, data):
    once = messages(values)
    cut = data.draw(st.integers(0, len(once)))
    again = data.draw(st.integers(0, cut))
    shuffled = data.draw(st.permutations(once))
    expected = rows_after(database, once)
    assert rows_after(database, once, once) == expected
    assert rows_after(database, once[:cut], once[again:]) == expected
    assert rows_after(database, shuffled, once[:cut]) == expected


@settings(max_examples=60)
@given(values=values)
def test_what_was_counted_as_written_is_what_is_there(database, values):
    written = BatchWriter(emptied(database)).write(messages(values))
    tables = [row[0] for row in stored_rows(database)]
    assert written.trades == tables.count("trades")
    assert written.faults == tables.count("faults")
    assert written.bars >= tables.count("aggregated_metrics")
    counted = written.trades + written.faults + written.bars + written.duplicates
    assert counted == len(values)


def test_the_first_trade_with_an_id_stays_whatever_comes_later(database):
    emptied(database)
    batches = BatchWriter(database)
    batches.write(messages([trade(7)]))
    again = trade(7, price_nano=1, event_ns=START_NS + 1, backfilled=True)
    written = batches.write(messages([again]))
    assert (written.trades, written.duplicates) == (0, 1)
    assert list(MarketStore(database).trades(VENUE, SYMBOL)) == [trade(7)]


def test_equal_trades_without_an_id_are_all_kept_and_a_message_given_again_is_not(database):
    emptied(database)
    twins = messages([trade(None)] * 5)
    for first, last in ((0, 2), (1, 4), (4, 5), (0, 5)):
        BatchWriter(database).write(twins[first:last])
    assert list(MarketStore(database).trades(VENUE, SYMBOL)) == [trade(None)] * 5


def test_a_bar_written_again_replaces_the_one_that_is_there(database):
    emptied(database)
    batches = BatchWriter(database)
    batches.write(messages([bar(1), bar(2)]))
    better = bar(1, close=None, trades=99, metrics=b"{}")
    batches.write(messages([better, better]))
    assert MarketStore(database).bars(VENUE, SYMBOL, 60) == [better, bar(2)]
