"""Messages become rows, and a batch of them one transaction that may be repeated.

Knows how a trade is told from another, and no thread and no time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from sqlalchemy import select

from market_engine.bus.base import Message
from market_engine.decimals import from_nano
from market_engine.events import Candle, Trade
from market_engine.health.faults import Fault
from market_engine.storage import tables
from market_engine.storage.conflicts import count_conflicts
from market_engine.storage.database import Database, RowError
from market_engine.storage.rows import DETAIL_LENGTH_MAX, BarRow, FaultRow
from market_engine.storage.trade_rows import Listing, Row, row_of

KIND_UNKNOWN: Final = "unknown"


class Written(msgspec.Struct, frozen=True, gc=False):
    """What became of a batch, in messages."""

    trades: int = 0
    candles: int = 0
    bars: int = 0
    """Without those that were left alone."""
    faults: int = 0
    duplicates: int = 0
    """Trades and faults that were there already."""
    ignored: int = 0
    """Of a kind that is not stored."""
    conflicts: int = 0
    """Of the duplicates, trades whose id is there with another time or price."""

    def plus(self, other: Written) -> Written:
        """Both together."""
        sums = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return Written(*(first + second for first, second in sums))


class BatchWriter:
    """Writes batches; one thread at a time.

    A trade with an id is stored once, whatever comes later with that id. A trade without one is
    told from its equals by ``received_ns`` and its message's offset: all are kept, and the same
    message written again is still one row. Bars and candles written again replace, but bars only if
    ``replaces_bars``. ``kinds`` says what a symbol is when it is seen for the first time, such as
    ``crypto``.
    """

    def __init__(
        self,
        database: Database,
        kinds: Mapping[Listing, str] | None = None,
        *,
        replaces_bars: bool = True,
    ) -> None:
        self._database = database
        self._replaces_bars = replaces_bars
        self._kinds = kinds or {}
        self._ids: dict[Listing, int] = {}

    def write(self, messages: Sequence[Message]) -> Written:
        """Write all of them in one transaction; raises StorageError, and then nothing was written.

        Raises RowError when one of them fits into no table.
        """
        sorted_ = _sort(messages)
        try:
            rows = self._rows(sorted_)
        except (ValueError, TypeError, AttributeError) as error:
            raise RowError(f"a message cannot be stored: {error}") from error
        database = self._database
        with database.writing() as connection:
            trades = database.insert(connection, tables.trades, rows.trades, replace=False)
            database.insert(connection, tables.candles, rows.candles, replace=True)
            table, replaces = tables.aggregated_metrics, self._replaces_bars
            bars = database.insert(connection, table, rows.bars, replace=replaces)
            faults = database.insert(connection, tables.faults, rows.faults, replace=False)
            conflicts = 0
            if trades < len(rows.trades):
                some = (trade for trade, _ in sorted_.trades)
                conflicts = count_conflicts(connection, some, self._ids)
        return Written(
            trades=trades,
            candles=len(rows.candles),
            bars=bars,
            faults=faults,
            duplicates=len(rows.trades) - trades + len(rows.faults) - faults,
            ignored=sorted_.ignored,
            conflicts=conflicts,
        )

    def _rows(self, values: _Sorted) -> _Rows:
        self._learn(values)
        ids = self._ids
        return _Rows(
            [row_of(ids[each.venue, each.symbol], each, at) for each, at in values.trades],
            [_candle_row(ids[each.venue, each.symbol], each) for each in values.candles],
            [_bar_row(ids[each.venue, each.symbol], each) for each in values.bars],
            [_fault_row(each) for each in values.faults],
        )

    def _learn(self, values: _Sorted) -> None:
        """Give an id to each symbol that has none; in a transaction of its own, as it is rare."""
        first_ns: dict[Listing, int] = {}
        for listing, seen_ns in values.seen():
            if listing not in self._ids:
                first_ns[listing] = min(seen_ns, first_ns.get(listing, seen_ns))
        if first_ns:
            self._add(first_ns)

    def _add(self, first_ns: Mapping[Listing, int]) -> None:
        table = tables.symbols
        rows: list[Row] = [
            (None, *listing, self._kinds.get(listing, KIND_UNKNOWN), seen_ns)
            for listing, seen_ns in first_ns.items()
        ]
        with self._database.writing() as connection:
            self._database.insert(connection, table, rows, replace=False)
            known = connection.execute(select(table.c.venue, table.c.symbol, table.c.id)).all()
        self._ids = {(venue, symbol): symbol_id for venue, symbol, symbol_id in known}


class _Rows(msgspec.Struct, gc=False):
    trades: list[Row]
    candles: list[Row]
    bars: list[Row]
    faults: list[Row]


class _Sorted(msgspec.Struct, gc=False):
    """The values of a batch by their kind; trades with the offset of their message."""

    trades: list[tuple[Trade, int]]
    candles: list[Candle]
    bars: list[BarRow]
    faults: list[FaultRow]
    ignored: int = 0

    def seen(self) -> Iterable[tuple[Listing, int]]:
        for trade, _ in self.trades:
            yield (trade.venue, trade.symbol), trade.received_ns
        for candle in self.candles:
            yield (candle.venue, candle.symbol), candle.received_ns
        for bar in self.bars:
            yield (bar.venue, bar.symbol), bar.bar_start_ns


def _sort(messages: Sequence[Message]) -> _Sorted:
    values = _Sorted([], [], [], [])
    for message in messages:
        value = message.value
        if isinstance(value, Trade):
            values.trades.append((value, message.offset))
        elif isinstance(value, BarRow):
            values.bars.append(value)
        elif isinstance(value, Candle):
            values.candles.append(value)
        elif isinstance(value, FaultRow):
            values.faults.append(value)
        elif isinstance(value, Fault):
            values.faults.append(_row_of_fault(value))
        else:
            values.ignored += 1
    return values


def _row_of_fault(fault: Fault) -> FaultRow:
    return FaultRow(fault.venue, fault.symbol or "", fault.kind, fault.at_ns, fault.detail)


def _candle_row(symbol_id: int, candle: Candle) -> Row:
    return (
        symbol_id,
        candle.span_ns,
        candle.open_ns,
        from_nano(candle.open_nano),
        from_nano(candle.high_nano),
        from_nano(candle.low_nano),
        from_nano(candle.close_nano),
        from_nano(candle.volume_nano),
        candle.trades,
        candle.received_ns,
        candle.resolution_ns,
    )


def _bar_row(symbol_id: int, bar: BarRow) -> Row:
    return (
        symbol_id,
        bar.span_s,
        bar.bar_start_ns,
        bar.open,
        bar.high,
        bar.low,
        bar.close,
        bar.volume,
        bar.notional,
        bar.trades,
        bar.metrics.decode(),
    )


def _fault_row(fault: FaultRow) -> Row:
    detail = fault.detail[:DETAIL_LENGTH_MAX]
    return (fault.at_ns, fault.venue, fault.symbol, str(fault.kind), detail)
