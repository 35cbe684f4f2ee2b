"""The last equity of each day, found without reading all snapshots, is what reading all gives."""

from __future__ import annotations

import itertools
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from market_engine.paper.daily import DailyEquities
from market_engine.paper.performance import DAY_NS
from market_engine.storage import desk_tables as tables
from market_engine.storage.database import Database

NAMES = itertools.count()
Row = tuple[int, str | None]
"""(ns, equity), in the order in which they are stored."""


def write(database: Database, rows: list[Row], first: int = 1, portfolio: str = "main") -> None:
    values = [
        (portfolio, number, at_ns, number, "1", "0", "0", None, equity, None, 0.0, "{}")
        for number, (at_ns, equity) in enumerate(rows, first)
    ]
    with database.writing() as connection:
        database.insert(connection, tables.portfolio_snapshots, values, replace=False)


def oracle(rows: list[Row], now_ns: int) -> list[tuple[int, Decimal]]:
    last = {
        at_ns // DAY_NS: (at_ns, Decimal(equity))
        for at_ns, equity in rows
        if equity is not None and at_ns <= now_ns
    }
    return list(last.values())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("daily")


steps = st.lists(
    st.tuples(
        st.integers(0, 3 * DAY_NS) | st.integers(0, 5),
        st.none() | st.integers(-5, 100).map(str),
        st.booleans(),
    ),
    max_size=30,
)


@settings(max_examples=25)
@given(steps, st.data())
def test_each_day_has_its_last_known_equity_however_often_it_is_asked_for(folder, story, data):
    database = Database(f"sqlite:///{folder}/{next(NAMES)}.db")
    days, now_ns = DailyEquities(database), 20_000 * DAY_NS
    rows: list[Row] = []
    for step_ns, equity, is_asked in story:
        now_ns += step_ns
        write(database, [(now_ns, equity)], len(rows) + 1)
        write(database, [(now_ns, "7")], len(rows) + 1, "other")
        rows.append((now_ns, equity))
        if is_asked:
            assert days.until("main", now_ns) == oracle(rows, now_ns)
    earlier_ns = data.draw(st.integers(20_000 * DAY_NS, now_ns))
    assert days.until("main", earlier_ns) == oracle(rows, earlier_ns)
    assert days.until("main", now_ns) == oracle(rows, now_ns)
    assert days.until("nobody", now_ns) == []
    database.close()


def test_days_that_ended_are_not_looked_up_again_and_no_snapshot_but_the_last_is_read(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/desk.db")
    rows: list[Row] = [(day * DAY_NS + n, str(n)) for day in range(100, 140) for n in range(50)]
    write(database, rows)
    days, now_ns = DailyEquities(database), rows[-1][0]
    statements: list[str] = []
    with database.reading() as connection:
        engine = connection.engine
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    assert days.until("main", now_ns) == oracle(rows, now_ns)
    assert len(statements) <= 42, "one a day"
    statements.clear()
    assert days.until("main", now_ns) == oracle(rows, now_ns)
    selects = [each for each in statements if each.startswith("SELECT")]
    assert len(selects) == 3, "today, yesterday, and that there is no more"
    with database.reading() as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN " + selects[0], ("main", 0, now_ns, 1, 0)
        ).all()
    assert "ix_portfolio_snapshots_portfolio_at_ns" in str(plan)
    assert "TEMP B-TREE" not in str(plan)
    database.close()
