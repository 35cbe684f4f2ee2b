"""One open database: its transactions, its version, its size, and its errors as StorageError.

Knows no table, and leaves what is special to one kind of database to ``dialect``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, Table, make_url
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    ProgrammingError,
    SQLAlchemyError,
)

from market_engine.errors import StorageError
from market_engine.storage.dialect import WRITES, DiskUse, dialect_of
from market_engine.storage.migrate import is_current, upgrade

_ROW_ERRORS = (DataError, IntegrityError, InterfaceError, ProgrammingError)


class RowError(StorageError):
    """A row does not fit into its table, and never will: to try again is of no use."""


class Database:
    """Opened and brought to this version; any thread may use it, and one of them at a time writes.

    ``url`` is like ``sqlite:///state/market.db``; the folder is made. The file never grows beyond
    ``size_bytes_max`` (None: as far as the disk goes). Raises StorageError when it cannot be
    opened, is damaged, is of a newer version or is not one of ours.
    """

    def __init__(self, url: str, *, size_bytes_max: int | None = None) -> None:
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError) as error:
            raise StorageError(f"{url!r} is no URL like sqlite:///state/market.db") from error
        self.name = parsed.render_as_string(hide_password=True)
        self._dialect = dialect_of(parsed, size_bytes_max)
        self._engine = self._dialect.engine(parsed)
        self._writers = self._engine.execution_options(**{WRITES: True})
        self._turn = threading.Lock()
        self._writer: Connection | None = None
        self._small: DBAPICursor | None = None  # of the writer, for small transactions
        self._sql: dict[tuple[Table, bool], str] = {}
        try:
            self._migrate()
        except StorageError:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One state of the database for as long as this lasts; writers are not held up.

        Keep it short: meanwhile the write-ahead log cannot be emptied.
        """
        with self._translating(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, kept when this ends well and undone when it raises.

        They share a connection that stays open: to take one from the pool and to give it back costs
        twice what a small transaction does.
        """
        with self._turn, self._translating():
            if self._writer is None:
                self._writer = self._writers.connect()
            try:
                with self._writer.begin():
                    yield self._writer
            except BaseException:
                self._let_go()
                raise

    def insert(
        self,
        connection: Connection,
        table: Table,
        rows: Sequence[tuple[object, ...]],
        *,
        replace: bool,
    ) -> int:
        """Insert rows with all columns in the table's order; how many were written.

        A row whose key is there replaces the one that is there, or is left out. Raises RowError
        when a row does not fit.
        """
        if not rows:
            return 0
        try:
            return self._dialect.insert(connection, self._statement(table, replace), rows)
        except (OverflowError, TypeError, ValueError) as error:
            raise RowError(f"{table.name}: {error}") from error

    def write(self, rows: Mapping[tuple[Table, bool], Sequence[tuple[object, ...]]]) -> None:
        """Insert rows into tables, which replace what is there or not, in one small transaction.

        Raises RowError when one of them does not fit, and StorageError; then none was written.
        """
        statements = [(self._statement(*into), values) for into, values in rows.items()]
        dialect = self._dialect
        with self._turn:
            try:
                dialect.write(self._small or self._open_small(), statements)
            except BaseException as error:
                self._let_go()
                if isinstance(error, (*dialect.row_errors, OverflowError, ValueError)):
                    raise RowError(f"{self.name}: {error}") from error
                if isinstance(error, dialect.driver_error):
                    cure = dialect.cure(error)
                    raise StorageError(f"{self.name}: {error}: {cure}") from error
                raise

    def disk_use(self) -> DiskUse:
        """What it takes on its disk now."""
        with self.reading() as connection:
            return self._dialect.disk_use(connection)

    def check(self) -> None:
        """Read all of it; raises StorageError with what is damaged."""
        with self.reading() as connection:
            problems = self._dialect.problems(connection)
        if problems:
            raise StorageError(f"{self.name} is damaged: {'; '.join(problems)[:300]}")

    def close(self) -> None:
        """Close what no thread uses now, and the rest as soon as it is given back."""
        with self._turn:
            self._let_go()
        self._engine.dispose()

    def _statement(self, table: Table, replace: bool) -> str:  # noqa: FBT001 - half of a key
        sql = self._sql.get((table, replace))
        if sql is None:
            sql = self._dialect.insert_sql(table, replace=replace)
            self._sql[table, replace] = sql
        return sql

    def _open_small(self) -> DBAPICursor:
        with self._translating():
            if self._writer is None:
                self._writer = self._writers.connect()
            self._small = self._writer.connection.cursor()
            return self._small

    def _let_go(self) -> None:
        writer, self._writer, self._small = self._writer, None, None
        if writer is not None:
            writer.close()

    def _migrate(self) -> None:
        with self.reading() as connection:
            if is_current(connection):
                return
        with self.writing() as connection:
            if not is_current(connection):  # another process may have been faster
                upgrade(connection)

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except _ROW_ERRORS as error:
            raise RowError(f"{self.name}: {error.orig}") from error
        except (OverflowError, UnicodeEncodeError) as error:  # the driver's, of a parameter
            raise RowError(f"{self.name}: {error}") from error
        except DBAPIError as error:
            cure = self._dialect.cure(error.orig)
            raise StorageError(f"{self.name}: {error.orig}: {cure}") from error
        except SQLAlchemyError as error:
            raise StorageError(f"{self.name}: {error}") from error
