"""Deletes what is older than it is to be kept, in steps too small to hold up the writer.

Age is by when a thing happened. The trade with the highest id of a symbol is kept for ever, because
it says where the feed goes on after a restart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec
import structlog
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    ScalarSelect,
    Table,
    delete,
    func,
    select,
    tuple_,
)

from market_engine.errors import StorageError
from market_engine.storage.database import Database
from market_engine.storage.dialect import DiskUse
from market_engine.storage.tables import aggregated_metrics as metrics
from market_engine.storage.tables import candles, faults, symbols, trades

DAY_NS: Final = 86_400 * 10**9

_Which = Sequence[ColumnElement[bool]]


class KeptDays(msgspec.Struct, frozen=True):
    """How long things are kept, in days; None keeps them for ever."""

    trades: float | None = 7
    candles: float | None = None
    metrics: float | None = 30
    faults: float | None = 30


class Pace(msgspec.Struct, frozen=True):
    """How deleting goes on."""

    rows_a_step: int = 2_000
    """In one transaction: some hundredths of a second."""
    pause_s: float = 0.05
    """Between two steps, so that the writer has its turn."""
    interval_s: float = 60.0
    """Between two rounds."""


class RetentionStats(msgspec.Struct, frozen=True):
    """Since the start."""

    deleted: dict[str, int] = {}
    """Rows by table."""
    failures: int = 0
    """Steps that could not be done; they are tried again."""
    disk: DiskUse = DiskUse(0, 0, 0)
    """After the last round or step."""


class Retention:
    """Run it by ``step``, or by its own thread from ``start`` to ``stop``; ``stats`` from any."""

    def __init__(
        self,
        database: Database,
        days: KeptDays,
        pace: Pace | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._database = database
        self._pace = pace or Pace()
        self._clock_ns = clock_ns
        self._kept = [
            _Kept(trades, trades.c.event_ns, days.trades),
            _Kept(candles, candles.c.open_ns, days.candles, candles.c.span_ns),
            _Kept(metrics, metrics.c.bar_start_ns, days.metrics, metrics.c.span_s),
            _Kept(faults, faults.c.at_ns, days.faults),
        ]
        self._stats = RetentionStats()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="storage-retention", daemon=True)

    def step(self, now_ns: int) -> int:
        """Delete at most ``rows_a_step`` rows that are too old, and say how many; 0: none is left.

        Raises StorageError, and then nothing was deleted.
        """
        left = self._pace.rows_a_step
        deleted: dict[str, int] = dict(self._stats.deleted)
        with self._database.writing() as connection:
            for kept in self._kept:
                count = kept.delete(connection, now_ns, left)
                deleted[kept.table.name] = deleted.get(kept.table.name, 0) + count
                left -= count
        disk = self._database.disk_use()
        self._stats = msgspec.structs.replace(self._stats, deleted=deleted, disk=disk)
        return self._pace.rows_a_step - left

    def stats(self) -> RetentionStats:
        """Now."""
        return self._stats

    def start(self) -> None:
        """Begin at once with the first round; once."""
        self._thread.start()

    def stop(self) -> None:
        """End after the step that is being done."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            wait_s = self._pace.pause_s if self._tried_step() else self._pace.interval_s
            self._stopped.wait(wait_s)

    def _tried_step(self) -> bool:
        try:
            return self.step(self._clock_ns()) > 0
        except StorageError as error:
            structlog.get_logger("retention").warning("nothing deleted now", reason=str(error))
            failures = self._stats.failures + 1
            self._stats = msgspec.structs.replace(self._stats, failures=failures)
            return False


class _Kept(msgspec.Struct, frozen=True):
    """One table, the column that says how old a row is, and the days it is kept."""

    table: Table
    time: Column[int]
    days: float | None
    span: Column[int] | None = None
    """What lies between the symbol and the time in the table's key."""

    def delete(self, connection: Connection, now_ns: int, limit: int) -> int:
        """Delete at most ``limit`` rows, the oldest of each group first."""
        if self.days is None:
            return 0
        is_old = self.time < now_ns - int(self.days * DAY_NS)
        deleted = 0
        for group in self._groups(connection):
            if deleted < limit:
                deleted += self._delete_from(connection, [is_old, *group], limit - deleted)
        return deleted

    def _delete_from(self, connection: Connection, which: _Which, limit: int) -> int:
        key = tuple_(*self.table.primary_key.columns)
        oldest = select(*self.table.primary_key.columns).where(*which).order_by(self.time)
        return connection.execute(delete(self.table).where(key.in_(oldest.limit(limit)))).rowcount

    def _groups(self, connection: Connection) -> Iterator[_Which]:
        """Conditions under which the key leads straight to the oldest rows."""
        if self.table is faults:
            yield []
            return
        for symbol_id in connection.scalars(select(symbols.c.id).order_by(symbols.c.id)).all():
            of_symbol = self.table.c.symbol_id == symbol_id
            if self.table is trades:
                yield [of_symbol, trades.c.trade_key != _last_id(symbol_id)]
            elif self.span is not None:
                for span in _spans(connection, self.span, of_symbol):
                    yield [of_symbol, self.span == span]


def _last_id(symbol_id: int) -> ScalarSelect[int]:
    """The highest id, or -1 where the venue gives none: no row has that key."""
    key = trades.c.trade_key
    last = select(func.max(key)).where(trades.c.symbol_id == symbol_id, key >= 0)
    return select(func.coalesce(last.scalar_subquery(), -1)).scalar_subquery()


def _spans(
    connection: Connection, span: Column[int], of_symbol: ColumnElement[bool]
) -> Iterator[int]:
    """Each span of a symbol, by a look into the key for each instead of at every row."""
    after = 0
    while found := connection.scalar(select(func.min(span)).where(of_symbol, span > after)):
        yield found
        after = found
