"""What the desk's store gives back: the same at a start, beside a desk at work, and fast."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import event
from test_paper_audit_desk import SEEDS, Story, model_of, steps_of
from test_paper_desk import FREE, START_NS, UNLIMITED, Rig, nano
from test_paper_desk_faults import unwritable

from market_engine.paper.audit import audit, read_desk
from market_engine.paper.errors import PaperError
from market_engine.paper.model import (
    BookName,
    NewOrder,
    Order,
    OrderState,
    OrderType,
    Portfolio,
    TradingState,
)
from market_engine.paper.reading import OrderQuery, PaperReading
from market_engine.paper.reasons import Why
from market_engine.paper.store import DeskStore
from market_engine.storage.database import RowError


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path / "desk.db")
    rig.make()
    rig.quote("99", "100", size="5")
    yield rig
    rig.database.close()


def plant(rig: Rig, sql: str) -> None:
    """Change the file of a desk that ended, and start it again."""
    rig.database.close()
    with closing(sqlite3.connect(rig.path)) as connection, connection:
        assert connection.execute(sql).rowcount > 0
    rig._begin()
    rig.quote("99", "100")


NEWEST = "WHERE number = (SELECT max(number) FROM portfolio_snapshots)"
PLANTED = {
    "position, cost": ("UPDATE positions SET cost = '100.01'", "0.01"),
    "position, realised": ("UPDATE positions SET realised = '-0.01'", "-0.01"),
    "position, quantity": ("UPDATE positions SET qty = '1.01'", "0.01"),
    "position, gone": ("DELETE FROM positions", "-100"),
    "position, of nothing": (
        "INSERT INTO positions VALUES ('main', 'ETHUSDT', '0', '0.01', '0')",
        "0.01",
    ),
    "snapshot, cash": (f"UPDATE portfolio_snapshots SET cash = '99900.01' {NEWEST}", "0.01"),
    "snapshot, realised": (f"UPDATE portfolio_snapshots SET realised = '0.01' {NEWEST}", "0.01"),
    "snapshot, fees": (f"UPDATE portfolio_snapshots SET fees = '0.01' {NEWEST}", "0.01"),
    "snapshot, equity": (f"UPDATE portfolio_snapshots SET equity = '99999.01' {NEWEST}", "0.01"),
    "snapshot, no equity": (f"UPDATE portfolio_snapshots SET equity = NULL {NEWEST}", "-99999"),
    "snapshot, unrealised": (
        f"UPDATE portfolio_snapshots SET unrealised = '-0.99' {NEWEST}",
        "0.01",
    ),
    "snapshot, peak": (f"UPDATE portfolio_snapshots SET peak = '99998.99' {NEWEST}", "0.01"),
    "snapshots, gone": ("DELETE FROM portfolio_snapshots", "100"),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_cent_planted_beside_the_ledger_shows_in_the_residue_after_the_next_start(rig, what):
    sql, residue = PLANTED[what]
    rig.buy(1, "1")
    rig.quote("99", "100")
    plant(rig, sql)
    assert rig.desk.portfolio("main").residue == Decimal(residue)


def test_what_a_desk_stored_in_a_random_story_agrees_after_each_restart(tmp_path):
    for seed in list(SEEDS)[:3]:
        chance, folder = Random(seed), tmp_path / str(seed)
        folder.mkdir()
        story = Story(folder, model_of(chance))
        for number, step in enumerate(steps_of(chance)):
            story.step(step)
            if number % 15 == 0:
                if number % 30:
                    story.desk.end()
                story.step(("restart",))
                assert story.desk.portfolio("main").residue == 0, (seed, number)
        story.database.close()


class Interrupted(DeskStore):
    """Whoever reads orders finds, before the next thing is read, that more was traded."""

    rig: Rig

    def orders(self, *given: Any, **named: Any) -> list[Order]:
        found = super().orders(*given, **named)
        self.rig.quote("99", "101", size="5")
        return found


def test_an_audit_of_a_desk_that_trades_meanwhile_sees_one_moment(rig):
    rig.quote("99", "100", size="1")
    rig.buy(1, "50")
    store = Interrupted(rig.database)
    store.rig = rig
    desk = read_desk(store)
    assert len(list(rig.desk.store.fills("main", BookName.NEUTRAL))) > len(
        [fill for fill in desk.fills if fill.book is BookName.NEUTRAL]
    ), "it went on trading"
    assert [each for each in audit(desk, []).findings if each.rule == "filled"] == []


def plans(rig: Rig, call: Any) -> list[str]:
    """How SQLite does what is asked of it meanwhile."""
    asked: list[tuple[str, Any]] = []

    def note(_c: object, _u: object, sql: str, parameters: Any, *_: object) -> None:
        asked.append((sql, parameters))

    engine = rig.database._engine
    event.listen(engine, "before_cursor_execute", note)
    call()
    event.remove(engine, "before_cursor_execute", note)
    with closing(sqlite3.connect(rig.path)) as connection:
        return [
            row[3]
            for sql, parameters in asked
            if sql.startswith("SELECT")
            for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
        ]


@pytest.mark.parametrize(
    "query",
    [
        OrderQuery("main", 100),
        OrderQuery("main", 100, before=7),
        OrderQuery("main", 100, symbol="BTCUSDT"),
        OrderQuery("main", 100, open_only=True),
    ],
)
def test_a_list_of_the_newest_orders_is_read_in_the_order_of_the_key_and_sorts_nothing(rig, query):
    for number in range(3):
        rig.buy(number, "1")
    found = plans(rig, lambda: PaperReading(rig.database).orders(query))
    found += plans(rig, lambda: rig.desk.store.orders("main", 100, query.before, query.symbol))
    assert len(found) == 2
    for plan in found:
        assert "USING PRIMARY KEY (portfolio=?" in plan


def test_a_start_reads_each_book_once_and_fills_of_an_order_by_their_key(rig, monkeypatch):
    monkeypatch.setattr("market_engine.paper.store._PAGE_ROWS", 2)
    for number in range(20):
        rig.quote("99", "100", size="100")
        rig.buy(number, "1")
    for book in BookName:
        made: list[Any] = []
        found = plans(rig, lambda book=book, made=made: made.extend(_fills(rig, book)))
        assert len(made) == 20
        assert [fill.order_number for fill in made] == list(range(1, 21))
        assert len([plan for plan in found if "fills" in plan]) == 1, "one query, not one a page"
    found = plans(rig, lambda: rig.desk.store.fills_of([1, 2]))
    assert "USING PRIMARY KEY (book=? AND order_number=?" in found[0]


def _fills(rig: Rig, book: BookName) -> list[Any]:
    return list(rig.desk.store.fills("main", book))


def test_of_states_that_cannot_be_stored_only_the_newest_waits(rig):
    with unwritable(rig):
        for number in range(3):
            state = (TradingState.HALTED, TradingState.REDUCING)[number % 2]
            with pytest.raises(PaperError, match="cannot be stored yet"):
                rig.desk.set_state(state, f"by hand {number}")
        assert len(rig.desk._log._waiting) == 1
    rig.quote("99", "100")
    (stored,) = rig.desk.store.states()
    assert stored == rig.desk.state()
    assert (stored.state, stored.reason) == (TradingState.HALTED, "by hand 2")


def an_order(client_order_id: str, number: int, submitted_ns: int) -> Order:
    asked = NewOrder("main", client_order_id, "BTCUSDT", "buy", OrderType.MARKET, nano("1"))
    return Order(asked, number, OrderState.WORKING, Why.PRICE, submitted_ns, 0)


@pytest.mark.parametrize(
    "record",
    [
        an_order("half of a pair \ud800", 9, START_NS),
        an_order("a", 1 << 70, START_NS),
        an_order("a", 9, 1 << 70),
        Portfolio("x\ud800", "USDT", Decimal(1), 0, limits=UNLIMITED, model=FREE),
    ],
)
def test_a_record_that_no_row_can_hold_is_an_error_of_the_store_and_nothing_of_it_stays(
    rig, record
):
    with pytest.raises(RowError):
        rig.desk.store.write([an_order("b", 8, START_NS), record])
    assert rig.desk.store.orders("main", 10) == []
    rig.desk.store.write([an_order("b", 8, START_NS)])


def test_a_state_whose_reason_cannot_be_stored_does_not_block_the_desk(rig):
    rig.desk.set_state(TradingState.HALTED, "half of a pair \ud800")
    rig.quote("99", "100")
    rig.desk.set_state(TradingState.ACTIVE, "")
    assert rig.buy(1).filled_nano == nano("1")
    assert [each.reason for each in rig.desk.store.states()] == ["half of a pair ?", ""]
