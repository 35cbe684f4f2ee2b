"""What is stored beside trades and candles, as messages: bars with their metrics, and faults.

The same shape on the bus and from a read. Knows no table, and does not look into ``metrics``.
"""

from __future__ import annotations

import msgspec


class BarRow(msgspec.Struct, frozen=True, gc=False):
    """A closed bar of our own making: [``bar_start_ns``, ``bar_start_ns + span_s`` seconds).

    Its key is venue, symbol, ``span_s`` and ``bar_start_ns``: written again, it replaces the one
    that was there. Numbers are exact decimal text (``decimals``); what is undefined is None.
    """

    venue: str
    symbol: str
    bar_start_ns: int
    span_s: int
    open: str | None
    """The first price in the bar; None, like the next three, in a bar without a trade."""
    high: str | None
    low: str | None
    close: str | None
    volume: str
    notional: str
    """The sum of price × quantity."""
    trades: int
    metrics: bytes
    """JSON in UTF-8, made and read by the analytics."""


class FaultRow(msgspec.Struct, frozen=True, gc=False):
    """Something was wrong with a feed; the same fault told twice is stored once."""

    venue: str
    symbol: str
    """Empty where it befell the feed as a whole."""
    kind: str
    at_ns: int
    detail: str = ""
    """For a person; at most ``DETAIL_LENGTH_MAX`` characters of it are kept."""


DETAIL_LENGTH_MAX = 500


class SymbolRow(msgspec.Struct, frozen=True, gc=False):
    """A symbol that was ever stored."""

    symbol_id: int
    venue: str
    symbol: str
    kind: str
    """Such as ``crypto`` or ``equity``; ``unknown`` where nobody said it."""
    first_seen_ns: int


class IdGap(msgspec.Struct, frozen=True, gc=False):
    """Ids that are not stored, though one before and one after them are."""

    first_id: int
    last_id: int
