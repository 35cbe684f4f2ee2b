"""What is asked of the desk's store beyond what the desk has in memory: lists, history, sums.

Reads only, and never under the desk's lock. Money in lists stays the text that was stored.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
from sqlalchemy import Row, Select, func, select

from market_engine.decimals import to_nano
from market_engine.paper.model import FINAL, BookName, Fill, Order
from market_engine.paper.money import ZERO, add
from market_engine.paper.rows import fill_of, order_of
from market_engine.storage import desk_tables as tables
from market_engine.storage.database import Database

POINTS_MAX: Final = 2_000
_PAGE_ROWS: Final = 5_000
_orders: Final = tables.orders
_fills: Final = tables.fills
_snapshots: Final = tables.portfolio_snapshots
_FINAL: Final = tuple(str(state) for state in FINAL)


class Taken(msgspec.Struct, frozen=True, gc=False):
    """What the fills of an order came to in one book."""

    qty_nano: int
    average_nano: int
    """Rounded to the nearest billionth: for display alone."""


class HistoryPoint(msgspec.Struct, frozen=True, gc=False):
    """A snapshot as it was stored, without its marks."""

    at_ns: int
    equity: str | None
    cash: str
    realised: str
    unrealised: str | None
    fees: str
    peak: str | None
    max_drawdown: float


class SymbolTally(msgspec.Struct, frozen=True, gc=False):
    """What the neutral fills of a symbol came to."""

    fills: int = 0
    fees: Decimal = ZERO


class OrderQuery(msgspec.Struct, frozen=True):
    """Which orders, newest first."""

    portfolio: str
    limit: int
    open_only: bool = False
    symbol: str | None = None
    before: int | None = None
    """Only those with lower numbers."""


class FillQuery(msgspec.Struct, frozen=True):
    """Which fills, newest first."""

    portfolio: str
    book: BookName
    limit: int
    client_order_id: str | None = None
    symbol: str | None = None
    before: int | None = None
    """Only those with lower numbers in the ledger: others than the neutral ones have none."""


class PaperReading:
    """Of the desk's database; any thread. Raises StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._tallied = 0
        self._tallies: dict[str, dict[str, SymbolTally]] = {}

    def orders(self, query: OrderQuery) -> list[Order]:
        """As they were stored."""
        found = select(_orders).where(_orders.c.portfolio == query.portfolio)
        if query.open_only:  # newest first until there are enough: no index has them
            found = found.where(_orders.c.open_books != "", _orders.c.state.not_in(_FINAL))
        if query.symbol is not None:
            found = found.where(_orders.c.symbol == query.symbol)
        if query.before is not None:
            found = found.where(_orders.c.number < query.before)
        rows = self._all(found.order_by(_orders.c.number.desc()).limit(query.limit))
        return [order_of(row) for row in rows]

    def taken(self, order_numbers: Sequence[int]) -> dict[int, dict[BookName, Taken]]:
        """What each book made of some orders, in one query; at most a few hundred at once."""
        columns = (_fills.c.order_number, _fills.c.book, _fills.c.price, _fills.c.qty)
        rows = self._all(select(*columns).where(_wanted(order_numbers)))
        sums: dict[tuple[int, BookName], tuple[int, int]] = {}
        for row in rows:
            qty_nano, key = to_nano(row.qty), (row.order_number, BookName(row.book))
            qty, notional = sums.get(key, (0, 0))
            sums[key] = (qty + qty_nano, notional + to_nano(row.price) * qty_nano)
        found: dict[int, dict[BookName, Taken]] = {}
        for (number, book), (qty, notional) in sums.items():
            found.setdefault(number, {})[book] = Taken(qty, (2 * notional + qty) // (2 * qty))
        return found

    def fills(self, query: FillQuery) -> list[Fill]:
        """With their evidence."""
        number = _fills.c.number
        found = select(_fills).where(
            _fills.c.portfolio == query.portfolio, _fills.c.book == query.book
        )
        if query.client_order_id is not None:
            of_order = select(_orders.c.number).where(
                _orders.c.portfolio == query.portfolio,
                _orders.c.client_order_id == query.client_order_id,
            )
            found = found.where(_fills.c.order_number == of_order.scalar_subquery())
        if query.symbol is not None:
            found = found.where(_fills.c.symbol == query.symbol)
        if query.before is not None:
            found = found.where(number < query.before, number > 0)
        newest = (_fills.c.filled_ns, number, _fills.c.order_number, _fills.c.order_fill)
        rows = self._all(found.order_by(*(key.desc() for key in newest)).limit(query.limit))
        return [fill_of(row) for row in rows]

    def history(self, portfolio: str, from_ns: int) -> list[HistoryPoint]:
        """Since a moment, oldest first: every one, or every n-th so that few enough are left.

        The newest is always there. Numbers have no gaps, so that the n-th is known by its number.
        """
        within = (_snapshots.c.portfolio == portfolio, _snapshots.c.at_ns >= from_ns)
        number = _snapshots.c.number
        ends = select(func.count(), func.max(number)).where(*within)
        columns = [_snapshots.c[name] for name in HistoryPoint.__struct_fields__]
        with self._database.reading() as connection:
            count, newest = connection.execute(ends).one()
            found = select(*columns).where(*within).order_by(number)
            step = -(-count // POINTS_MAX)
            if step > 1:
                found = found.where((newest - number) % step == 0)
            rows = connection.execute(found).all()
        return [HistoryPoint(*row) for row in rows]

    def tallies(self, portfolio: str) -> dict[str, SymbolTally]:
        """By symbol; only what came since the last time is read."""
        with self._lock:
            self._tally()
            return dict(self._tallies.get(portfolio, {}))

    def _tally(self) -> None:
        columns = (_fills.c.number, _fills.c.portfolio, _fills.c.symbol, _fills.c.fee)
        while True:
            page = select(*columns).where(_fills.c.number > self._tallied)
            rows = self._all(page.order_by(_fills.c.number).limit(_PAGE_ROWS))
            for row in rows:
                symbols = self._tallies.setdefault(row.portfolio, {})
                known = symbols.get(row.symbol, SymbolTally())
                fees = add(known.fees, Decimal(row.fee))
                symbols[row.symbol] = SymbolTally(known.fills + 1, fees)
                self._tallied = row.number
            if len(rows) < _PAGE_ROWS:
                return

    def _all(self, statement: Select[Any]) -> Sequence[Row[Any]]:
        with self._database.reading() as connection:
            return connection.execute(statement).all()


def _wanted(order_numbers: Sequence[int]) -> Any:  # noqa: ANN401 - a condition of SQL
    """By the primary key, which begins with the book."""
    books = [str(book) for book in BookName]
    return _fills.c.book.in_(books) & _fills.c.order_number.in_(order_numbers)
