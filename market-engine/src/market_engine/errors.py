"""Everything that this package raises on purpose.

MarketError
├── SettingsError          a setting is wrong; one line that names the key and the cure
├── InputError             what came from outside cannot be used
│   ├── RejectedError      one frame, row or field; counted by its reason, and the feed goes on
│   └── FileError          a file as a whole: not there, not readable, not of a known form
├── FeedError              a venue cannot be reached, or refuses
├── StorageError           the database cannot be opened, read or written
└── BusError               the bus is closed, or a topic is not known
"""

from __future__ import annotations

from enum import StrEnum


class RejectReason(StrEnum):
    """Why a frame or a row was not taken: the closed set of a metric's label."""

    MALFORMED = "malformed"
    """Not JSON, not a row of CSV, or cut short."""
    UNKNOWN_TYPE = "unknown_type"
    """Sound, but of no kind that the parser knows."""
    MISSING_FIELD = "missing_field"
    SYMBOL = "symbol"
    PRICE = "price"
    QTY = "qty"
    TRADE_ID = "trade_id"
    TIME = "time"
    """No time, or of no known unit, or outside of the years 2009 to 2100."""
    FUTURE = "future"
    """Further ahead of its receipt than any clock may be."""
    SIDE = "side"
    TOO_LARGE = "too_large"


class MarketError(Exception):
    """The root of them all."""


class SettingsError(MarketError, ValueError):
    """A setting is wrong; the message is one line for the person who set it."""


class InputError(MarketError, ValueError):
    """What came from outside cannot be used."""


class RejectedError(InputError):
    """One frame, row or field cannot be used; ``detail`` is for a person, at most 200 letters."""

    def __init__(self, reason: RejectReason, detail: str, symbol: str | None = None) -> None:
        super().__init__(f"{reason}: {detail[:200]}")
        self.reason = reason
        self.detail = detail[:200]
        self.symbol = symbol


class FileError(InputError):
    """A file cannot be used as a whole; the message names it, and the line where it is known."""


class FeedError(MarketError):
    """A venue cannot be reached, or refuses."""


class StorageError(MarketError):
    """The database cannot be opened, read or written; the message names the cure."""


class BusError(MarketError):
    """The bus is closed, or a topic is not known."""
