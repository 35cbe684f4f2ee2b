"""What the tests of the storage build and wait for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select

from market_engine.bus.base import Message, Topic
from market_engine.events import Candle, Trade
from market_engine.storage import tables
from market_engine.storage.database import Database
from market_engine.storage.rows import BarRow

VENUE = "binance"
SYMBOL = "BTCUSDT"
SECOND = 10**9
START_NS = 1_790_000_000 * SECOND
NOBODY = 65_534


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def trade(trade_id: int | None, **changes: Any) -> Trade:
    """Number ``trade_id`` of a symbol: one each second, and what it says follows from its id."""
    number = trade_id or 0
    fields: dict[str, Any] = {
        "venue": VENUE,
        "symbol": SYMBOL,
        "price_nano": 39_432_480_000_000 + number * 10_000_000,
        "qty_nano": 1 + number * 1_000,
        "side": "buy" if number % 3 else "sell",
        "trade_id": trade_id,
        "event_ns": START_NS + number * SECOND,
        "received_ns": START_NS + number * SECOND + 123_456,
    }
    return Trade(**{**fields, **changes})


def bar(number: int, **changes: Any) -> BarRow:
    fields: dict[str, Any] = {
        "venue": VENUE,
        "symbol": SYMBOL,
        "bar_start_ns": START_NS + number * 60 * SECOND,
        "span_s": 60,
        "open": "1.5",
        "high": "2",
        "low": "0.000000001",
        "close": "1.7",
        "volume": "999999999999999.999999999",
        "notional": "1700",
        "trades": number,
        "metrics": b'{"vwap":"1.6","note":"\xc3\xa9"}',
    }
    return BarRow(**{**fields, **changes})


def candle(number: int, **changes: Any) -> Candle:
    fields: dict[str, Any] = {
        "venue": VENUE,
        "symbol": SYMBOL,
        "open_ns": START_NS + number * 60 * SECOND,
        "span_ns": 60 * SECOND,
        "open_nano": 1,
        "high_nano": 10**24 - 1,
        "low_nano": 1,
        "close_nano": 2,
        "volume_nano": 0,
        "trades": number,
        "received_ns": START_NS + number * 60 * SECOND + 5,
    }
    return Candle(**{**fields, **changes})


def messages(values: Sequence[object], first: int = 0) -> list[Message]:
    """As the bus gives them."""
    return [
        Message(Topic.MARKET_DATA, getattr(value, "symbol", ""), value, offset)
        for offset, value in enumerate(values, first)
    ]


def stored_rows(database: Database) -> list[tuple[Any, ...]]:
    """Every row of every table but that of the version, in the order of its key."""
    rows: list[tuple[Any, ...]] = []
    with database.reading() as connection:
        for table in tables.metadata.sorted_tables:
            found = connection.execute(select(table).order_by(*table.primary_key.columns))
            rows += [(table.name, *row) for row in found]
    return rows


def emptied(database: Database) -> Database:
    """The same without a row: quicker than to make another."""
    with database.writing() as connection:
        for table in reversed(tables.metadata.sorted_tables):
            connection.execute(table.delete())
    return database


def until(condition: Callable[[], object], timeout_s: float = 30) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true"
        time.sleep(0.005)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Root may write everywhere, so be somebody else for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
