"""Which fill each life of the telemetry began with, and how far the ledger's fills go.

Knows tables and numbers of fills; nothing of publishers.
"""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import func, select

from market_engine.storage import desk_tables as tables
from market_engine.storage.database import Database

_fills: Final = tables.fills
_epochs: Final = tables.telemetry_epochs


class TelemetryEpoch(msgspec.Struct, frozen=True):
    """One life of the publisher."""

    number: int
    """1, 2, 3, …"""
    epoch: int
    """What the publisher calls itself in that life."""
    first_fill: int
    """The number of the fill that its sequence 1 is, or will be."""
    through_fill: int
    """All fills up to this number are known to be published, in this life or before."""


class TelemetryStore:
    """Of the desk's database; raises StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counted = (0, 0)  # up to this number there are so many fills: they only grow

    def last(self) -> TelemetryEpoch | None:
        """The newest life; None before the first."""
        with self._database.reading() as connection:
            newest = select(_epochs).order_by(_epochs.c.number.desc()).limit(1)
            row = connection.execute(newest).first()
        if row is None:
            return None
        return TelemetryEpoch(row.number, int(row.epoch), row.first_fill, row.through_fill)

    def write(self, epoch: TelemetryEpoch) -> None:
        """Keep it, in place of what was known of that life."""
        row = (epoch.number, str(epoch.epoch), epoch.first_fill, epoch.through_fill)
        with self._database.writing() as connection:
            self._database.insert(connection, _epochs, [row], replace=True)

    def nth_fill(self, first_fill: int, nth: int) -> int | None:
        """The number of the ``nth`` fill (1 is the first) from a number on; None: not so many."""
        numbers = select(_fills.c.number).where(_fills.c.number >= first_fill)
        with self._database.reading() as connection:
            return connection.scalar(numbers.order_by(_fills.c.number).offset(nth - 1).limit(1))

    def nth_fill_back(self, last_fill: int, nth: int) -> int | None:
        """The same, counted down from a number on."""
        numbers = select(_fills.c.number).where(_fills.c.number.between(1, last_fill))
        newest_first = numbers.order_by(_fills.c.number.desc())
        with self._database.reading() as connection:
            return connection.scalar(newest_first.offset(nth - 1).limit(1))

    def counts(self, cursor: int) -> tuple[int, int]:
        """How many fills there are in the ledger, and how many of them are above ``cursor``."""
        through, counted = self._counted
        newest = select(func.max(_fills.c.number), func.count()).where(_fills.c.number > through)
        above = select(func.count()).select_from(_fills).where(_fills.c.number > cursor)
        with self._database.reading() as connection:
            highest, more = connection.execute(newest).one()
            waiting = connection.scalar(above) or 0
        if more:
            self._counted = (highest, counted + more)
        return counted + more, waiting

    def count_through(self, number: int) -> int:
        """How many fills have a number up to this one."""
        total, above = self.counts(number)
        return total - above
