"""Trades whose id is stored with something else: ids of two series, or of two markets.

Reads only. A time is the same when it is at the coarser of both resolutions, as a venue's archive
may be finer than its stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import Connection, select

from market_engine.decimals import from_nano
from market_engine.events import Trade
from market_engine.storage import tables
from market_engine.storage.trade_rows import Listing

IDS_AT_ONCE: Final = 500
Stored = tuple[int, str, int, str]
"""Event time, price, resolution and source of the time."""


def stored_as(
    connection: Connection, symbol_id: int, trade_ids: Sequence[int]
) -> dict[int, Stored]:
    """What is stored of these ids of a symbol."""
    table = tables.trades
    columns = table.c.event_ns, table.c.price, table.c.resolution_ns, table.c.time_source
    query = select(table.c.trade_key, *columns).where(table.c.symbol_id == symbol_id)
    between = table.c.trade_key.between(min(trade_ids, default=0), max(trade_ids, default=0))
    if connection.execute(query.where(between).limit(1)).first() is None:
        return {}  # the usual case, for one look
    found: dict[int, Stored] = {}
    for start in range(0, len(trade_ids), IDS_AT_ONCE):
        some = trade_ids[start : start + IDS_AT_ONCE]
        for key, *stored in connection.execute(query.where(table.c.trade_key.in_(some))):
            found[key] = (stored[0], stored[1], stored[2], stored[3])
    return found


def contradicts(trade: Trade, stored: Stored) -> bool:
    """Whether a trade is another than the one stored with its id."""
    event_ns, price, resolution_ns, time_source = stored
    if price != from_nano(trade.price_nano):
        return True
    coarser_ns = max(resolution_ns, trade.resolution_ns)
    same_source = time_source == str(trade.time_source)
    return same_source and event_ns // coarser_ns != trade.event_ns // coarser_ns


def count_conflicts(
    connection: Connection, trades: Iterable[Trade], symbol_ids: dict[Listing, int]
) -> int:
    """How many of some trades are stored as something else."""
    by_symbol: dict[int, list[tuple[int, Trade]]] = {}
    for trade in trades:
        if trade.trade_id is not None:
            symbol_id = symbol_ids[trade.venue, trade.symbol]
            by_symbol.setdefault(symbol_id, []).append((trade.trade_id, trade))
    count = 0
    for symbol_id, some in by_symbol.items():
        stored = stored_as(connection, symbol_id, [trade_id for trade_id, _ in some])
        count += sum(
            trade_id in stored and contradicts(trade, stored[trade_id]) for trade_id, trade in some
        )
    return count
