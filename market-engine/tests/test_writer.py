"""The thread between bus and database: in batches, once each, and never lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete
from storage_parts import START_NS, SYMBOL, VENUE, bar, candle, messages, trade, until, url_of

from market_engine.bus.base import Full, Message, Subscription, Topic
from market_engine.bus.memory import InProcessBus
from market_engine.events import Quote
from market_engine.storage.batches import BatchWriter
from market_engine.storage.database import Database
from market_engine.storage.market_store import MarketStore
from market_engine.storage.rows import FaultRow
from market_engine.storage.tables import trades
from market_engine.storage.writer import WRITER_TOPICS, BatchLimits, Writer

QUICK = BatchLimits(age_s=0.01)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "market.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with closing(Database(url_of(path))) as database:
        yield database


@pytest.fixture
def bus() -> Iterator[InProcessBus]:
    with closing(InProcessBus()) as bus:
        yield bus


class Tracked:
    """A subscription that notes how much was polled when it was committed."""

    def __init__(self, inner: Subscription) -> None:
        self.inner = inner
        self.dropped = 0
        self.polled = 0
        self.committed: list[int] = []

    def poll(self, limit: int, timeout_s: float) -> Sequence[Message]:
        found = self.inner.poll(limit, timeout_s)
        self.polled += len(found)
        return found

    def commit(self) -> None:
        self.committed.append(self.polled)
        self.inner.commit()

    def close(self) -> None:
        self.inner.close()


def subscribed(bus: InProcessBus, size: int = 10_000) -> Tracked:
    return Tracked(bus.subscribe(WRITER_TOPICS, "writer", size, Full.WAIT))


@pytest.fixture
def start(database: Database, bus: InProcessBus) -> Iterator[Callable[..., Writer]]:
    started: list[Writer] = []

    def start(
        subscription: Subscription | None = None,
        limits: BatchLimits = QUICK,
        on: Database = database,
        **options: Any,
    ) -> Writer:
        writer = Writer(BatchWriter(on), subscription or subscribed(bus), limits, **options)
        writer.start()
        started.append(writer)
        return writer

    yield start
    for writer in started:
        writer.stop(0)


def publish(bus: InProcessBus, first: int, last: int, batch: int = 100) -> None:
    for start in range(first, last + 1, batch):
        ids = range(start, min(start + batch, last + 1))
        bus.publish(Topic.MARKET_DATA, SYMBOL, [trade(number) for number in ids])


def stored_ids(database: Database) -> list[int | None]:
    return [each.trade_id for each in MarketStore(database).trades(VENUE, SYMBOL)]


def test_what_is_published_is_stored_each_kind_in_its_place(bus, database, start):
    writer = start()
    quote = Quote(VENUE, SYMBOL, 1, 1, 2, 1, START_NS, START_NS)
    fault = FaultRow(VENUE, SYMBOL, "gap", START_NS, "ids 5 to 6")
    bus.publish(Topic.MARKET_DATA, SYMBOL, [trade(1), quote, candle(1), trade(1)])
    bus.publish(Topic.METRICS, SYMBOL, [bar(1), {"live": True}])
    bus.publish(Topic.HEALTH, SYMBOL, [fault])
    assert writer.stop(10)
    store = MarketStore(database)
    assert list(store.trades(VENUE, SYMBOL)) == [trade(1)]
    assert store.candles(VENUE, SYMBOL, candle(1).span_ns) == [candle(1)]
    assert store.bars(VENUE, SYMBOL, 60) == [bar(1)]
    assert store.faults() == [fault]
    written = writer.stats().written
    assert (written.trades, written.candles, written.bars, written.faults) == (1, 1, 1, 1)
    assert (written.duplicates, written.ignored) == (1, 2)


def test_a_batch_is_written_when_it_is_full_or_old_whichever_comes_first(bus, database, start):
    full = start(limits=BatchLimits(messages=10, age_s=60))
    publish(bus, 1, 25)
    until(lambda: full.stats().batches == 2)
    until(lambda: full.stats().pending == 5)
    assert len(stored_ids(database)) == 20
    assert 0 < full.stats().lag_s < 60
    assert full.stop(10)
    assert len(stored_ids(database)) == 25
    old = start(limits=BatchLimits(messages=10, age_s=0.05))
    publish(bus, 26, 26)
    until(lambda: old.stats().batches == 1)
    assert len(stored_ids(database)) == 26


def test_large_metrics_fill_a_batch_by_their_size(bus, start):
    writer = start(limits=BatchLimits(bytes=1_000, age_s=60))
    bus.publish(Topic.METRICS, SYMBOL, [bar(1, metrics=b'"' + b"x" * 500 + b'"')])
    until(lambda: writer.stats().pending == 1)
    bus.publish(Topic.METRICS, SYMBOL, [bar(2, metrics=b'"' + b"x" * 500 + b'"')])
    until(lambda: writer.stats().written.bars == 2)
    bus.publish(Topic.METRICS, SYMBOL, [bar(3, metrics=b'"' + b"x" * 500 + b'"')])
    until(lambda: writer.stats().pending == 1)
    assert writer.stats().batches == 1


def test_the_bus_hears_of_a_batch_after_it_is_stored_and_only_of_that(bus, database, start):
    subscription = subscribed(bus)
    seen: list[tuple[int, int]] = []
    commit = subscription.commit

    def commit_and_look() -> None:
        seen.append((subscription.polled, len(stored_ids(database))))
        commit()

    subscription.commit = commit_and_look  # type: ignore[method-assign]
    writer = start(subscription)
    publish(bus, 1, 5_000)
    assert writer.stop(10)
    assert len(seen) == writer.stats().batches
    assert all(polled == stored for polled, stored in seen)
    assert seen[-1] == (5_000, 5_000)


def test_the_stats_tell_when_the_last_batch_was_stored(bus, start):
    writer = start(clock_ns=lambda: 1_234)
    assert writer.stats().last_commit_ns == 0
    publish(bus, 1, 1)
    assert writer.stop(10)
    assert writer.stats().last_commit_ns == 1_234
    assert (writer.stats().pending, writer.stats().lag_s) == (0, 0.0)


def test_while_the_database_is_locked_the_bus_waits_and_then_nothing_is_lost(
    path, bus, database, start
):
    subscription = subscribed(bus, size=500)
    writer = start(subscription, BatchLimits(messages=200, age_s=0.01))
    publisher = threading.Thread(target=publish, args=(bus, 1, 3_000))
    with closing(Database(url_of(path))) as other:
        with other.writing():
            publisher.start()
            until(lambda: writer.stats().failures)
            assert "end the other program" in str(writer.stats().problem)
            assert publisher.is_alive()
            assert subscription.committed == []
        publisher.join(20)
    assert writer.stop(20)
    assert stored_ids(database) == list(range(1, 3_001))
    assert writer.stats().problem is None
    assert (writer.stats().written.trades, writer.stats().written.duplicates) == (3_000, 0)


def test_while_the_database_is_full_the_bus_waits_until_something_is_deleted(path, bus, start):
    with (
        closing(Database(url_of(path))) as roomy,
        closing(Database(url_of(path), size_bytes_max=300_000)) as small,
    ):
        BatchWriter(roomy).write(messages([trade(n, symbol="OLD") for n in range(2_400)]))
        writer = start(subscribed(bus, size=100), on=small)
        publisher = threading.Thread(target=publish, args=(bus, 1, 1_500))
        publisher.start()
        until(lambda: writer.stats().failures)
        assert "free space" in str(writer.stats().problem)
        with roomy.writing() as connection:
            connection.execute(delete(trades).where(trades.c.symbol_id == 1))
        publisher.join(20)
        assert writer.stop(20)
        assert stored_ids(roomy) == list(range(1, 1_501))
        roomy.check()


def test_what_fits_into_no_table_is_left_out_alone_and_counted(bus, database, start):
    chosen = random.Random(3)
    values = [trade(number) for number in range(1, 301)]
    wrong = [trade(2**63), trade(-4), trade(400, side=None), bar(1, metrics=b"\xff")]
    for each in wrong:
        values.insert(chosen.randrange(len(values)), each)
    writer = start(limits=BatchLimits(messages=1_000, age_s=0.2))
    bus.publish(Topic.MARKET_DATA, SYMBOL, values)
    assert writer.stop(10)
    assert stored_ids(database) == list(range(1, 301))
    assert writer.stats().rejected == 4
    assert writer.stats().written.trades == 300


def test_stopping_stores_what_is_on_the_bus_and_closes_the_subscription(bus, database, start):
    writer = start(subscribed(bus, 20_000), BatchLimits(age_s=60))
    publish(bus, 1, 7_777)
    assert writer.stop(20)
    assert stored_ids(database) == list(range(1, 7_778))
    publish(bus, 8_000, 40_000, 1_000)  # more than there was room for: nobody is waited for
    assert len(stored_ids(database)) == 7_777


def test_a_bus_that_is_closed_is_drained(bus, database, start):
    writer = start(limits=BatchLimits(messages=50, age_s=0.05))
    publish(bus, 1, 1_000)
    bus.close()
    until(lambda: writer.stats().written.trades == 1_000)
    assert writer.stop(10)
    assert stored_ids(database) == list(range(1, 1_001))


def test_stopping_in_front_of_a_locked_database_gives_up_in_time_and_commits_nothing(
    path, bus, start
):
    subscription = subscribed(bus)
    writer = start(subscription)
    with closing(Database(url_of(path))) as other, other.writing():
        publish(bus, 1, 10)
        until(lambda: writer.stats().pending == 10)
        assert not writer.stop(0.1)
    assert subscription.committed == []


def test_a_writer_that_was_not_started_can_be_stopped(bus, database):
    assert Writer(BatchWriter(database), subscribed(bus)).stop(1)
