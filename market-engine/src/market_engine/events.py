"""What feeds say: trades, quotes, closed candles, and notices about the feed itself.

Nothing here changes after it is made. Every event has two times, in nanoseconds since 1970: when it
happened (by the venue's clock) and when we saw it. Prices and quantities are exact (``decimals``).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

import msgspec

from market_engine.decimals import from_nano
from market_engine.errors import RejectReason

Side = Literal["buy", "sell"]

MS_NS: Final = 1_000_000
US_NS: Final = 1_000
SECOND_NS: Final = 1_000_000_000


class TimeSource(StrEnum):
    """How an event's time was known."""

    TRADE = "trade"
    """The venue's time of the trade itself."""
    EVENT = "event"
    """The venue's time of the message."""
    RECEIPT = "receipt"
    """The venue gave none: our own clock, when it came."""


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One trade, normalised."""

    venue: str
    symbol: str
    """As the venue writes it, in upper case."""
    price_nano: int
    """Above 0."""
    qty_nano: int
    """Above 0."""
    side: Side
    """Of the aggressor: who took what was displayed."""
    trade_id: int | None
    """The venue's, which rises by one with each trade of a symbol; none where it gives none: there
    gaps and duplicates are unknown."""
    event_ns: int
    received_ns: int
    resolution_ns: int = MS_NS
    """What the venue's time was counted in: ``MS_NS``, ``US_NS`` or 1."""
    time_source: TimeSource = TimeSource.TRADE
    backfilled: bool = False
    """Fetched afterwards, because the stream did not bring it."""
    held_back: bool = False
    """It came behind a gap and had to wait: what follows is of its time, and no longer of now."""

    @property
    def price(self) -> str:
        """As exact decimal text."""
        return from_nano(self.price_nano)

    @property
    def qty(self) -> str:
        """As exact decimal text."""
        return from_nano(self.qty_nano)


class Quote(msgspec.Struct, frozen=True, gc=False):
    """The best bid and the best ask, and how much of each is displayed."""

    venue: str
    symbol: str
    bid_nano: int
    bid_qty_nano: int
    ask_nano: int
    ask_qty_nano: int
    event_ns: int
    received_ns: int
    time_source: TimeSource = TimeSource.RECEIPT


class Candle(msgspec.Struct, frozen=True, gc=False):
    """A closed candle as a venue or its archive gives it: [``open_ns``, ``open_ns + span_ns``)."""

    venue: str
    symbol: str
    open_ns: int
    span_ns: int
    open_nano: int
    high_nano: int
    low_nano: int
    close_nano: int
    volume_nano: int
    trades: int
    received_ns: int
    resolution_ns: int = MS_NS


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """A frame or a row that was not taken."""

    reason: RejectReason
    detail: str
    received_ns: int
    symbol: str | None = None
    """None where the frame does not even say whose it was."""
    raw: str = ""
    """At most its first 500 characters."""


class NoticeKind(StrEnum):
    """What can befall a feed."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    """No connection is left: what trades until the next CONNECTED is missed."""
    BACKFILLING = "backfilling"
    """Trades ``first_id`` to ``last_id`` are being fetched."""
    BACKFILLED = "backfilled"
    """All of them that the venue has were given before this."""
    BACKFILL_FAILED = "backfill_failed"
    """They cannot be had; ``detail`` says why."""
    OPENED = "opened"
    """The market of a symbol, or the ingestion window, opens."""
    CLOSED = "closed"
    """It closes: silence is no fault from here on."""


class Notice(msgspec.Struct, frozen=True, gc=False):
    """Something befell the feed, for one symbol or (``symbol`` None) for all of them."""

    kind: NoticeKind
    received_ns: int
    symbol: str | None = None
    detail: str = ""
    first_id: int = 0
    last_id: int = 0


class Tick(msgspec.Struct, frozen=True, gc=False):
    """Time passed, and nothing came: what live and simulated feeds say each second or so."""

    received_ns: int


Event = Trade | Quote | Candle | Rejected | Notice | Tick
"""In the order in which they were received: ``received_ns`` never falls within one feed."""
