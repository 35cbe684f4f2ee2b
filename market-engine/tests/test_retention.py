"""What is too old goes, in small steps, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storage_parts import (
    START_NS,
    SYMBOL,
    VENUE,
    bar,
    candle,
    emptied,
    messages,
    stored_rows,
    trade,
    until,
    url_of,
)

from market_engine.errors import StorageError
from market_engine.storage.batches import BatchWriter
from market_engine.storage.database import Database
from market_engine.storage.market_store import MarketStore, Order
from market_engine.storage.retention import DAY_NS, KeptDays, Pace, Retention
from market_engine.storage.rows import FaultRow

NOW_NS = START_NS + 100 * DAY_NS
HOUR_NS = DAY_NS // 24


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(url_of(tmp_path / "market.db"))) as database:
        yield database


def all_steps(retention: Retention, now_ns: int = NOW_NS) -> list[int]:
    steps = []
    while deleted := retention.step(now_ns):
        steps.append(deleted)
    return steps


def aged(number: int, age_ns: int, **changes: object):
    return trade(number, event_ns=NOW_NS - age_ns, **changes)


def times(database: Database, symbol: str = SYMBOL) -> list[int]:
    return [
        each.event_ns for each in MarketStore(database).trades(VENUE, symbol, order=Order.EVENT)
    ]


def test_what_is_older_than_its_days_goes_and_the_rest_stays(database):
    week = 7 * DAY_NS
    values = [aged(number, week + 2 - number) for number in range(6)]
    BatchWriter(database).write(messages(values))
    assert all_steps(Retention(database, KeptDays(trades=7))) == [2]
    assert times(database) == [each.event_ns for each in values[2:]]


def test_each_table_has_its_own_days_and_none_keeps_for_ever(database):
    age = {"event_ns": NOW_NS - 10 * DAY_NS}
    trades = [trade(1, **age), trade(2, **age), trade(3, event_ns=NOW_NS)]
    start_ns = NOW_NS - 10 * DAY_NS
    others = [
        candle(1, open_ns=start_ns),
        bar(1, bar_start_ns=start_ns),
        bar(1, bar_start_ns=start_ns, span_s=1),
        FaultRow(VENUE, "", "gap", start_ns),
    ]
    BatchWriter(database).write(messages(trades + others))
    for_ever = KeptDays(trades=None, candles=None, metrics=None, faults=None)
    assert all_steps(Retention(database, for_ever)) == []
    retention = Retention(database, KeptDays(trades=11, candles=11, metrics=9.5, faults=11))
    assert all_steps(retention) == [2]
    retention = Retention(database, KeptDays(trades=9, candles=11, metrics=None, faults=9))
    assert all_steps(retention) == [3]
    retention = Retention(database, KeptDays(trades=None, candles=9))
    assert all_steps(retention) == [1]
    assert [row[0] for row in stored_rows(database)] == ["symbols", "trades"]


def test_the_trade_with_the_highest_id_stays_because_the_feed_goes_on_from_it(database):
    very_old = 50 * DAY_NS
    values = [aged(1, very_old), aged(2, very_old), aged(5, very_old + 1), aged(4, very_old)]
    nameless = [aged(None, very_old, symbol="NAMELESS"), aged(None, very_old, symbol="NAMELESS")]
    BatchWriter(database).write(messages(values + nameless))
    all_steps(Retention(database, KeptDays(trades=7)))
    store = MarketStore(database)
    assert list(store.trades(VENUE, SYMBOL)) == [values[2]]
    assert store.last_trade_ids() == {(VENUE, SYMBOL): 5}
    assert list(store.trades(VENUE, "NAMELESS")) == []


def test_a_step_deletes_no_more_than_it_may_whatever_the_tables(database):
    values = [
        value
        for number in range(40)
        for symbol in ("A", "B")
        for value in (trade(number, symbol=symbol), bar(number, symbol=symbol))
    ]
    values += [FaultRow(VENUE, "A", "late", number) for number in range(15)]
    BatchWriter(database).write(messages(values))
    retention = Retention(database, KeptDays(), Pace(rows_a_step=25))
    total = 2 * 39 + 2 * 40 + 15
    steps = all_steps(retention)
    assert steps == [25] * (total // 25) + [total % 25]
    assert retention.stats().deleted == {
        "trades": 78,
        "candles": 0,
        "aggregated_metrics": 80,
        "faults": 15,
    }


def test_the_oldest_go_first(database):
    BatchWriter(database).write(messages([trade(number) for number in (5, 3, 9, 1, 7)]))
    Retention(database, KeptDays(), Pace(rows_a_step=2)).step(NOW_NS)
    assert times(database) == [trade(number).event_ns for number in (5, 7, 9)]


ages = st.lists(st.integers(0, 14 * 24), max_size=20)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ages=ages, days=st.integers(1, 13), rows_a_step=st.integers(1, 7))
def test_what_is_younger_is_never_deleted(database, ages, days, rows_a_step):
    values = [aged(number, hours * HOUR_NS) for number, hours in enumerate(ages)]
    nameless = [aged(None, each * HOUR_NS, symbol="N", received_ns=each) for each in ages]
    BatchWriter(emptied(database)).write(messages(values + nameless))
    all_steps(Retention(database, KeptDays(trades=days), Pace(rows_a_step=rows_a_step)))
    young = [NOW_NS - hours * HOUR_NS for hours in ages if hours <= days * 24]
    last = {values[-1].event_ns} - set(young) if values else set()
    assert times(database) == sorted([*young, *last])
    assert times(database, "N") == sorted(young)


def test_the_thread_deletes_in_rounds_while_another_writes(database):
    batches = BatchWriter(database)
    old = [trade(number) for number in range(2_000)]
    batches.write(messages(old))
    pace = Pace(rows_a_step=100, pause_s=0.001, interval_s=0.01)
    retention = Retention(database, KeptDays(trades=7), pace, clock_ns=lambda: NOW_NS)
    retention.start()
    written = 0
    while retention.stats().deleted.get("trades", 0) < 1_500:
        young = [aged(10_000 + written + number, number) for number in range(50)]
        written += batches.write(messages(young)).trades
    until(lambda: retention.stats().deleted["trades"] == 2_000)
    retention.stop()
    assert len(times(database)) == written > 0
    assert retention.stats().disk.free_bytes > 0
    assert retention.stats().failures == 0
    database.check()


def test_a_step_that_cannot_be_done_is_counted_and_tried_again(tmp_path):
    path = tmp_path / "market.db"
    with closing(Database(url_of(path))) as database, closing(Database(url_of(path))) as other:
        BatchWriter(database).write(messages([trade(1), trade(2)]))
        retention = Retention(database, KeptDays(), Pace(interval_s=0.01), lambda: NOW_NS)
        with other.writing():
            with pytest.raises(StorageError, match="end the other program"):
                retention.step(NOW_NS)
            retention.start()
            until(lambda: retention.stats().failures > 0)
        until(lambda: retention.stats().deleted.get("trades") == 1)
        retention.stop()


def test_it_can_be_stopped_before_it_was_started(database):
    Retention(database, KeptDays()).stop()
