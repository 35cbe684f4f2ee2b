"""A trade as a row of its table, and back. Knows how one trade is told from another.

A venue's id makes a trade unique among those of its symbol. Without one, ``received_ns`` and an
ordinal do: all trades are kept, and the same message written again is still the same row.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from market_engine.decimals import from_nano, to_nano
from market_engine.events import TimeSource, Trade

Listing = tuple[str, str]
"""Venue and symbol."""
Row = tuple[object, ...]
"""The columns of a table, in its order."""

NO_ID: Final = -(2**63)
"""With ``received_ns`` added, the ``trade_key`` of a trade without an id: below 0, and rising."""

_price = lru_cache(maxsize=4_096)(from_nano)  # prices come again, quantities hardly do
_TIME_SOURCES: Final = {source.value: source for source in TimeSource}


def row_of(symbol_id: int, trade: Trade, ordinal: int) -> Row:
    """The row; ``ordinal`` matters only without an id. Raises ValueError for an id below 0."""
    key, twin = trade.trade_id, 0
    if key is None:
        key, twin = NO_ID + trade.received_ns, ordinal
    elif key < 0:
        raise ValueError(f"the trade id {key} of {trade.symbol} is below 0")
    return (
        symbol_id,
        trade.event_ns,
        key,
        twin,
        _price(trade.price_nano),
        from_nano(trade.qty_nano),
        trade.side,
        trade.received_ns,
        trade.resolution_ns,
        str(trade.time_source),
        1 if trade.backfilled else 0,
    )


def trade_of(venue: str, symbol: str, row: Sequence[Any]) -> Trade:
    """The trade of a row."""
    _, event_ns, key, _, price, qty, side, received_ns, resolution_ns, source, backfilled = row
    return Trade(
        venue,
        symbol,
        to_nano(price),
        to_nano(qty),
        side,
        key if key >= 0 else None,
        event_ns,
        received_ns,
        resolution_ns,
        _TIME_SOURCES[source],
        bool(backfilled),
    )
