"""What is stored, read back as the same events that were written.

Every call reads one state of the database and lets go of it; long reads go page by page, so that
they hold up neither the writer nor the emptying of its log. Raises StorageError.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any, Final

from sqlalchemy import Connection, Select, func, select, tuple_

from market_engine.decimals import to_nano
from market_engine.events import Candle, Trade
from market_engine.storage.database import Database
from market_engine.storage.rows import BarRow, FaultRow, IdGap, SymbolRow
from market_engine.storage.tables import aggregated_metrics, candles, faults, symbols, trades
from market_engine.storage.trade_rows import Listing, trade_of

TIME_NS_MAX: Final = 2**63 - 1
ROWS_MAX: Final = 100_000
"""A list is at most so long, whatever ``limit`` says; the iterators go on."""
_PAGE_ROWS: Final = 5_000
_SUMMED_PAGE_ROWS: Final = 20_000
_SORTED_PAGE_ROWS: Final = 20_000
"""Larger, because each page of this order looks at the whole range."""


class Order(Enum):
    """Of trades."""

    EVENT = (trades.c.event_ns, trades.c.trade_key, trades.c.twin)
    """When they happened, as a chart needs it; the fast one."""
    ARRIVAL = (trades.c.received_ns, trades.c.trade_key, trades.c.twin)
    """When they came, as a replay needs it; what was backfilled comes as late as it came. Each page
    sorts the range anew, so keep the range to hours."""


class MarketStore:
    """Reads from any thread. A symbol that is not known has nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids: dict[Listing, int] = {}

    def symbols(self) -> list[SymbolRow]:
        """All that were ever stored, in the order of venue and symbol."""
        with self._database.reading() as connection:
            found = connection.execute(select(symbols).order_by(symbols.c.venue, symbols.c.symbol))
            return [SymbolRow(*row) for row in found]

    def last_trade_id(self, venue: str, symbol: str) -> int | None:
        """The highest id that is stored; None where there is none."""
        return self.last_trade_ids().get((venue, symbol))

    def last_trade_ids(self) -> dict[Listing, int]:
        """The highest id of each symbol that has one: where its feed goes on."""
        last = (
            select(trades.c.trade_key)
            .where(trades.c.symbol_id == symbols.c.id, trades.c.trade_key >= 0)
            .order_by(trades.c.trade_key.desc())
            .limit(1)
            .scalar_subquery()
        )
        with self._database.reading() as connection:
            found = connection.execute(select(symbols.c.venue, symbols.c.symbol, last)).all()
        return {(venue, symbol): key for venue, symbol, key in found if key is not None}

    def trades(
        self,
        venue: str,
        symbol: str,
        from_ns: int = 0,
        to_ns: int = TIME_NS_MAX,
        limit: int | None = None,
        order: Order = Order.ARRIVAL,
    ) -> Iterator[Trade]:
        """Trades that happened in [``from_ns``, ``to_ns``), the first ``limit`` in that order.

        Read as they are asked for, a page at a time; what is written meanwhile comes too if its
        place is still ahead.
        """
        by_event = order is Order.EVENT
        rows = _PAGE_ROWS if by_event else _SORTED_PAGE_ROWS
        left, place, start_ns = limit, None, from_ns
        while left is None or left > 0:
            page_rows = rows if left is None else min(rows, left)
            page = _in_range(start_ns, to_ns).order_by(*order.value).limit(page_rows)
            if place is not None:
                page = page.where(tuple_(*order.value) > place)
            found = self._trades(venue, symbol, page)
            yield from (trade for trade, _ in found)
            if len(found) < page_rows:
                return
            left = None if left is None else left - page_rows
            last, last_key = found[-1]
            place = (last.event_ns if by_event else last.received_ns, *last_key)
            start_ns = last.event_ns if by_event else from_ns

    def sums(self, venue: str, symbol: str, from_ns: int, to_ns: int) -> tuple[int, int]:
        """Σpq in 10⁻¹⁸ and Σq in billionths of the trades in [``from_ns``, ``to_ns``); exact.

        A tenth of what it costs to read the trades themselves.
        """
        keys, notional, qty_nano = Order.EVENT.value, 0, 0
        statement = (
            select(trades.c.price, trades.c.qty, *keys)
            .where(trades.c.event_ns < to_ns)
            .order_by(*keys)
            .limit(_SUMMED_PAGE_ROWS)
        )
        place: tuple[int, ...] = (from_ns, -TIME_NS_MAX, -1)
        while True:
            with self._database.reading() as connection:
                symbol_id = self._symbol_id(connection, venue, symbol)
                page = statement.where(trades.c.symbol_id == symbol_id, tuple_(*keys) > place)
                found = connection.execute(page).all()
            for price, qty, *_ in found:
                each_nano = to_nano(qty)
                notional += to_nano(price) * each_nano
                qty_nano += each_nano
            if len(found) < _SUMMED_PAGE_ROWS:
                return notional, qty_nano
            place = tuple(found[-1][2:])

    def trades_from_id(self, venue: str, symbol: str, first_id: int, limit: int) -> list[Trade]:
        """At most ``limit`` trades with this id or a higher one, in the order of their ids."""
        statement = (
            select(trades)
            .where(trades.c.trade_key >= max(0, first_id))
            .order_by(trades.c.trade_key)
            .limit(min(limit, ROWS_MAX))
        )
        return [trade for trade, _ in self._trades(venue, symbol, statement)]

    def latest_trades(
        self, venue: str, symbol: str, count: int, to_ns: int = TIME_NS_MAX
    ) -> list[Trade]:
        """The last ``count`` that happened before ``to_ns``, oldest first."""
        newest = [column.desc() for column in Order.EVENT.value]
        statement = _in_range(0, to_ns).order_by(*newest).limit(min(count, ROWS_MAX))
        return [trade for trade, _ in reversed(self._trades(venue, symbol, statement))]

    def first_id(self, venue: str, symbol: str, from_ns: int) -> int | None:
        """The lowest id of the trades that happened at ``from_ns`` or later.

        None where there is none, or one of them has no id. Looks at each of them.
        """
        lowest = func.min(trades.c.trade_key + 0)  # a bare key would be looked for among all ids
        with self._database.reading() as connection:
            symbol_id = self._symbol_id(connection, venue, symbol)
            found: int | None = connection.scalar(
                select(lowest).where(trades.c.symbol_id == symbol_id, trades.c.event_ns >= from_ns)
            )
        return None if found is None or found < 0 else found

    def id_gaps(
        self, venue: str, symbol: str, first_id: int = 0, limit: int = 1_000
    ) -> list[IdGap]:
        """The last ``limit`` stretches of ids that are missing between stored ones, in order.

        Looks at every id from ``first_id`` on.
        """
        key = trades.c.trade_key
        with self._database.reading() as connection:
            symbol_id = self._symbol_id(connection, venue, symbol)
            pairs = (
                select(key, func.lead(key).over(order_by=key).label("next"))
                .where(trades.c.symbol_id == symbol_id, key >= max(0, first_id))
                .subquery()
            )
            gaps = (
                select(pairs.c.trade_key + 1, pairs.c.next - 1)
                .where(pairs.c.next > pairs.c.trade_key + 1)
                .order_by(pairs.c.trade_key.desc())
                .limit(min(limit, ROWS_MAX))
            )
            return [IdGap(*row) for row in connection.execute(gaps)][::-1]

    def bars(
        self,
        venue: str,
        symbol: str,
        span_s: int,
        from_ns: int = 0,
        to_ns: int = TIME_NS_MAX,
        limit: int = ROWS_MAX,
    ) -> list[BarRow]:
        """The first ``limit`` bars that began in [``from_ns``, ``to_ns``), oldest first."""
        start = aggregated_metrics.c.bar_start_ns
        statement = _bars(span_s).where(start >= from_ns, start < to_ns).order_by(start)
        return self._bars(venue, symbol, statement.limit(min(limit, ROWS_MAX)))

    def latest_bars(self, venue: str, symbol: str, span_s: int, count: int) -> list[BarRow]:
        """The last ``count`` bars of this span, oldest first."""
        newest = aggregated_metrics.c.bar_start_ns.desc()
        statement = _bars(span_s).order_by(newest).limit(min(count, ROWS_MAX))
        return self._bars(venue, symbol, statement)[::-1]

    def latest_metrics(self, span_s: int) -> list[BarRow]:
        """The last bar of each symbol that has one of this span, in the order of ``symbols``."""
        every = (self.latest_bars(each.venue, each.symbol, span_s, 1) for each in self.symbols())
        return [bar for bars in every for bar in bars]

    def candles(
        self,
        venue: str,
        symbol: str,
        span_ns: int,
        from_ns: int = 0,
        to_ns: int = TIME_NS_MAX,
        limit: int = ROWS_MAX,
    ) -> list[Candle]:
        """The venue's own: the first ``limit`` that opened in [``from_ns``, ``to_ns``)."""
        with self._database.reading() as connection:
            start = candles.c.open_ns
            statement = (
                select(candles)
                .where(candles.c.symbol_id == self._symbol_id(connection, venue, symbol))
                .where(candles.c.span_ns == span_ns, start >= from_ns, start < to_ns)
                .order_by(start)
                .limit(min(limit, ROWS_MAX))
            )
            found = connection.execute(statement).all()
        return [_candle_of(venue, symbol, row) for row in found]

    def faults(
        self, from_ns: int = 0, to_ns: int = TIME_NS_MAX, limit: int = 1_000
    ) -> list[FaultRow]:
        """The last ``limit`` faults in [``from_ns``, ``to_ns``), oldest first."""
        at = faults.c.at_ns
        statement = (
            select(faults.c.venue, faults.c.symbol, faults.c.kind, at, faults.c.detail)
            .where(at >= from_ns, at < to_ns)
            .order_by(at.desc(), faults.c.venue.desc(), faults.c.symbol.desc())
            .limit(min(limit, ROWS_MAX))
        )
        with self._database.reading() as connection:
            return [FaultRow(*row) for row in connection.execute(statement)][::-1]

    def _trades(
        self, venue: str, symbol: str, statement: Select[Any]
    ) -> list[tuple[Trade, tuple[int, int]]]:
        with self._database.reading() as connection:
            symbol_id = self._symbol_id(connection, venue, symbol)
            found = connection.execute(statement.where(trades.c.symbol_id == symbol_id)).all()
        return [(trade_of(venue, symbol, row), (row[2], row[3])) for row in found]

    def _bars(self, venue: str, symbol: str, statement: Select[Any]) -> list[BarRow]:
        with self._database.reading() as connection:
            symbol_id = self._symbol_id(connection, venue, symbol)
            found = connection.execute(
                statement.where(aggregated_metrics.c.symbol_id == symbol_id)
            ).all()
        return [_bar_of(venue, symbol, row) for row in found]

    def _symbol_id(self, connection: Connection, venue: str, symbol: str) -> int:
        """Its id, which never changes; 0, which none has, when it is not known."""
        known = self._ids.get((venue, symbol))
        if known is None:
            known = connection.scalar(
                select(symbols.c.id).where(symbols.c.venue == venue, symbols.c.symbol == symbol)
            )
            if known is None:
                return 0
            self._ids[venue, symbol] = known
        return known


def _in_range(from_ns: int, to_ns: int) -> Select[Any]:
    return select(trades).where(trades.c.event_ns >= from_ns, trades.c.event_ns < to_ns)


def _bars(span_s: int) -> Select[Any]:
    return select(aggregated_metrics).where(aggregated_metrics.c.span_s == span_s)


def _bar_of(venue: str, symbol: str, row: Sequence[Any]) -> BarRow:
    _, span_s, start_ns, first, high, low, last, volume, notional, count, metrics = row
    return BarRow(
        venue,
        symbol,
        start_ns,
        span_s,
        first,
        high,
        low,
        last,
        volume,
        notional,
        count,
        metrics.encode(),
    )


def _candle_of(venue: str, symbol: str, row: Sequence[Any]) -> Candle:
    _, span_ns, open_ns, first, high, low, last, volume, count, received_ns, resolution_ns = row
    return Candle(
        venue,
        symbol,
        open_ns,
        span_ns,
        to_nano(first),
        to_nano(high),
        to_nano(low),
        to_nano(last),
        to_nano(volume),
        count,
        received_ns,
        resolution_ns,
    )
