"""The last known equity of each day of a portfolio, without reading its snapshots again and again.

Each day is one look into an index, and of days before yesterday the answer is remembered: what
could not be stored at midnight may come later. Reads only, and never under the desk's lock.
"""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection, select

from market_engine.paper.performance import DAY_NS
from market_engine.storage import desk_tables as tables
from market_engine.storage.database import Database

_snapshots: Final = tables.portfolio_snapshots
DailyEquity = tuple[int, Decimal]


class DailyEquities:
    """Of the desk's database; any thread. Remembers one equity a portfolio and day."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._ended: dict[str, list[DailyEquity]] = {}
        self._through_ns: dict[str, int] = {}  # all days before then are remembered

    def until(self, portfolio: str, now_ns: int) -> list[DailyEquity]:
        """(ns, equity) of each UTC day that has one, oldest first, today's so far included.

        ``now_ns`` is the desk's time; what is stored of later is left out. Raises StorageError.
        """
        with self._lock:
            through_ns = self._through_ns.get(portfolio, 0)
            ended = self._ended.get(portfolio, [])
            yesterday_ns = (now_ns // DAY_NS - 1) * DAY_NS
            if yesterday_ns < through_ns:  # the time went back
                through_ns, ended = 0, []
            found = self._between(portfolio, through_ns, now_ns)
            ended = ended + [each for each in found if each[0] < yesterday_ns]
            self._ended[portfolio], self._through_ns[portfolio] = ended, yesterday_ns
            return ended + [each for each in found if each[0] >= yesterday_ns]

    def _between(self, portfolio: str, from_ns: int, to_ns: int) -> list[DailyEquity]:
        """The last of each day; the newest is found first, and leads to the day before it."""
        found: list[DailyEquity] = []
        with self._database.reading() as connection:
            before_ns = to_ns + 1
            while (last := _last(connection, portfolio, from_ns, before_ns)) is not None:
                found.append(last)
                before_ns = last[0] // DAY_NS * DAY_NS
        return found[::-1]


def _last(
    connection: Connection, portfolio: str, from_ns: int, before_ns: int
) -> DailyEquity | None:
    """The newest known one in a stretch of time; of those of one moment, the last."""
    at_ns = _snapshots.c.at_ns
    newest = (
        select(at_ns, _snapshots.c.equity)
        .where(_snapshots.c.portfolio == portfolio, at_ns >= from_ns, at_ns < before_ns)
        .where(_snapshots.c.equity.is_not(None))
        .order_by(at_ns.desc(), _snapshots.c.number.desc())
        .limit(1)
    )
    row = connection.execute(newest).first()
    return None if row is None else (row.at_ns, Decimal(row.equity))
