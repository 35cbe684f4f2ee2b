"""What the desk remembers: records written in one transaction, and read back as the same values.

Knows tables and text, and nothing of what the records mean. One thread at a time writes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self

import msgspec
from sqlalchemy import Connection, Row, Select, Table, func, select

from market_engine.errors import StorageError
from market_engine.paper.model import (
    BookName,
    Fill,
    Order,
    Portfolio,
    PositionRow,
    Posting,
    Record,
    Snapshot,
    StateChange,
)
from market_engine.paper.rows import (
    RowValues,
    fill_of,
    order_of,
    portfolio_of,
    position_of,
    posting_of,
    row_of,
    snapshot_of,
    state_of,
)
from market_engine.storage import desk_tables as tables
from market_engine.storage.database import Database, RowError

ROWS_MAX: Final = 10_000
_PAGE_ROWS: Final = 5_000
_TABLES: Final[dict[type, tuple[Table, bool]]] = {
    Portfolio: (tables.portfolios, False),
    Order: (tables.orders, True),
    Fill: (tables.fills, False),
    Posting: (tables.ledger_entries, False),
    PositionRow: (tables.positions, True),
    Snapshot: (tables.portfolio_snapshots, False),
    StateChange: (tables.trading_states, False),
}
"""Where a record goes, and whether it replaces what is there."""


class DeskStart(msgspec.Struct, frozen=True, gc=False):
    """The desk began anew, and knew no quote until the next one came."""

    number: int
    wall_ns: int
    newest_ns: int
    """The market's time of the newest thing that was stored by then."""


class DeskStore:
    """Of one database; any thread reads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._frozen: Connection | None = None

    @contextmanager
    def frozen(self) -> Iterator[Self]:
        """All of it as it is now, to be read by one thread; a desk at work goes on meanwhile.

        Until it ends the write-ahead log cannot be emptied.
        """
        with self._database.reading() as connection:
            found = copy.copy(self)
            found._frozen = connection
            yield found

    def keep_venue(self, venue: str) -> None:
        """Whose prices come from here on. Raises StorageError where what is stored is another's."""
        self._database.write({(tables.desk_venues, False): [(1, venue)]})
        (known,) = self._all(select(tables.desk_venues.c.venue))
        if known.venue != venue:
            raise StorageError(
                f"{self._database.name}: this paper desk is of the market {known.venue}, and the "
                f"feed is {venue}: set another MARKET_DESK_DATABASE_URL, or the old MARKET_FEED"
            )

    def write(self, records: Sequence[Record]) -> None:
        """All of them in one transaction; raises StorageError, and then none was written.

        Orders and positions replace what is there; anything else that is there already stays.
        Raises RowError for what never can be written.
        """
        rows: dict[tuple[Table, bool], list[RowValues]] = {}
        try:
            for record in records:
                rows.setdefault(_TABLES[type(record)], []).append(row_of(record))
        except (ArithmeticError, ValueError) as error:  # such as half of a surrogate pair
            raise RowError(f"{self._database.name}: {error}") from error
        self._database.write(rows)

    def portfolios(self) -> list[Portfolio]:
        """All, in the order of their making."""
        order = tables.portfolios.c.created_ns, tables.portfolios.c.name
        return [portfolio_of(row) for row in self._all(select(tables.portfolios).order_by(*order))]

    def open_orders(self) -> list[Order]:
        """Those that are not done in every book, oldest first."""
        orders = tables.orders
        found = select(orders).where(orders.c.open_books != "").order_by(orders.c.number)
        return [order_of(row) for row in self._all(found)]

    def order(self, portfolio: str, client_order_id: str) -> Order | None:
        """One order, whatever its state."""
        orders = tables.orders
        found = select(orders).where(
            orders.c.portfolio == portfolio, orders.c.client_order_id == client_order_id
        )
        return next((order_of(row) for row in self._all(found)), None)

    def orders(
        self, portfolio: str, limit: int, before: int | None = None, symbol: str | None = None
    ) -> list[Order]:
        """The newest ``limit`` (below the number ``before``), newest first."""
        orders = tables.orders
        found = select(orders).where(orders.c.portfolio == portfolio)
        if before is not None:
            found = found.where(orders.c.number < before)
        if symbol is not None:
            found = found.where(orders.c.symbol == symbol)
        found = found.order_by(orders.c.number.desc()).limit(min(limit, ROWS_MAX))
        return [order_of(row) for row in self._all(found)]

    def fills(self, portfolio: str, book: BookName) -> Iterable[Fill]:
        """All of a book, in the order in which they were made; as of the first that is taken."""
        fills = tables.fills
        found = select(fills).where(fills.c.portfolio == portfolio, fills.c.book == book)
        keys = (fills.c.filled_ns, fills.c.order_number, fills.c.order_fill)
        order = (fills.c.number,) if book is BookName.NEUTRAL else keys
        return (fill_of(row) for row in self._each(found.order_by(*order)))

    def fills_of(self, order_numbers: Sequence[int]) -> list[Fill]:
        """Those of some orders, in all books, each order's in order."""
        fills = tables.fills
        books = [str(book) for book in BookName]  # the key begins with them
        wanted = fills.c.book.in_(books) & fills.c.order_number.in_(order_numbers)
        found = select(fills).where(wanted)
        return [fill_of(row) for row in self._all(found.order_by(fills.c.order_fill))]

    def fills_after(self, number: int, limit: int) -> list[Fill]:
        """Of the neutral books of all portfolios, by their numbers."""
        fills = tables.fills
        found = select(fills).where(fills.c.number > number).order_by(fills.c.number).limit(limit)
        return [fill_of(row) for row in self._all(found)]

    def postings(self, portfolio: str) -> Iterable[Posting]:
        """All of the ledger, in order; as of the first that is taken."""
        entries = tables.ledger_entries
        found = select(entries).where(entries.c.portfolio == portfolio)
        keys = (entries.c.transaction_number, entries.c.line)
        return (posting_of(row) for row in self._each(found.order_by(*keys)))

    def positions(self, portfolio: str) -> list[PositionRow]:
        """As they were stored, by symbol."""
        positions = tables.positions
        found = select(positions).where(positions.c.portfolio == portfolio)
        return [position_of(row) for row in self._all(found.order_by(positions.c.symbol))]

    def snapshots(self, portfolio: str, from_ns: int, limit: int) -> list[Snapshot]:
        """The newest ``limit`` since a moment, oldest first."""
        snapshots = tables.portfolio_snapshots
        found = (
            select(snapshots)
            .where(snapshots.c.portfolio == portfolio, snapshots.c.at_ns >= from_ns)
            .order_by(snapshots.c.number.desc())
            .limit(limit)
        )
        return [snapshot_of(row) for row in self._all(found)][::-1]

    def snapshot_before(self, portfolio: str, at_ns: int) -> Snapshot | None:
        """The newest before a moment; None where there is none."""
        snapshots = tables.portfolio_snapshots
        found = (
            select(snapshots)
            .where(snapshots.c.portfolio == portfolio, snapshots.c.at_ns < at_ns)
            .order_by(snapshots.c.at_ns.desc(), snapshots.c.number.desc())
            .limit(1)
        )
        return next((snapshot_of(row) for row in self._all(found)), None)

    def first_priced(self, portfolio: str, from_ns: int) -> Snapshot | None:
        """The oldest with an equity since a moment; None where there is none."""
        snapshots = tables.portfolio_snapshots
        found = (
            select(snapshots)
            .where(snapshots.c.portfolio == portfolio, snapshots.c.at_ns >= from_ns)
            .where(snapshots.c.equity.is_not(None))
            .order_by(snapshots.c.at_ns, snapshots.c.number)
            .limit(1)
        )
        return next((snapshot_of(row) for row in self._all(found)), None)

    def state(self) -> StateChange | None:
        """The newest; None before the first."""
        states = tables.trading_states
        found = self._all(select(states).order_by(states.c.number.desc()).limit(1))
        return next((state_of(row) for row in found), None)

    def states(self) -> list[StateChange]:
        """All changes of the trading state, in order."""
        states = tables.trading_states
        return [state_of(row) for row in self._all(select(states).order_by(states.c.number))]

    def note_start(self, wall_ns: int, newest_ns: int) -> None:
        """The desk begins anew; raises StorageError."""
        with self._database.reading() as connection:
            last = connection.scalar(select(func.max(tables.desk_starts.c.number)))
        row = ((last or 0) + 1, wall_ns, newest_ns)
        self._database.write({(tables.desk_starts, False): [row]})

    def starts(self) -> list[DeskStart]:
        """All of the desk, in order."""
        starts = tables.desk_starts
        found = self._all(select(starts).order_by(starts.c.number))
        return [DeskStart(row.number, row.wall_ns, row.newest_ns) for row in found]

    def newest_ns(self) -> int:
        """The market's time of the newest thing that is stored; 0 before the first."""
        newest = [
            select(func.max(column))
            for column in (
                tables.orders.c.submitted_ns,
                tables.orders.c.closed_ns,
                tables.portfolio_snapshots.c.at_ns,
                tables.trading_states.c.at_ns,
            )
        ]
        with self._database.reading() as connection:
            return max(connection.scalar(each) or 0 for each in newest)

    def last_numbers(self) -> tuple[int, int]:
        """The highest number of an order and of a fill; 0 before the first."""
        with self._database.reading() as connection:
            order = connection.scalar(select(func.max(tables.orders.c.number)))
            fill = connection.scalar(select(func.max(tables.fills.c.number)))
        return order or 0, fill or 0

    def _all(self, statement: Select[Any]) -> Sequence[Row[Any]]:
        with self._reading() as connection:
            return connection.execute(statement).all()

    def _each(self, statement: Select[Any]) -> Iterator[Row[Any]]:
        """The rows one after the other: no more than a page of them is in memory."""
        with self._reading() as connection:
            yield from connection.execute(statement, execution_options={"yield_per": _PAGE_ROWS})

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        if self._frozen is not None:
            yield self._frozen
            return
        with self._database.reading() as connection:
            yield connection
