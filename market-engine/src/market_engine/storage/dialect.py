"""All that differs from one kind of database to the next; SQLite is the only one so far.

How it is opened, how rows are written fast, how large it is, and what cures its errors. Knows no
table. PostgreSQL will be a second class with the same methods.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import URL, Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.interfaces import DBAPICursor

from market_engine.errors import StorageError

BUSY_TIMEOUT_MS: Final = 1_000
"""SQLite itself waits so long for another program; beyond that it is an error, and tried again."""
POOL_SIZE: Final = 8
"""Connections at once: one that writes, and readers."""
POOL_TIMEOUT_S: Final = 5.0
JOURNAL_BYTES_MAX: Final = 64 * 1024 * 1024
"""The write-ahead log is cut back to this when a long read had let it grow."""
CHECKPOINT_PAGES: Final = 8_000
"""The log is worked into the file when it has grown so far, by whoever writes then: 10 ms or more,
and so not once in a hundred small transactions."""
Statements = Sequence[tuple[str, Sequence[tuple[object, ...]]]]
"""With positional parameters, and the rows for them."""
WRITES: Final = "market_engine_writes"
"""The execution option of a connection that will write."""

_FREE: Final = "free space on its disk, or keep fewer days"
_OPEN_UP: Final = "make the file and its folder writable for this user, or use another database"
_OTHER: Final = "end the other program that has it open"
_RESTORE: Final = "put a backup in its place, or move the file away to begin anew"
_CURES: Final = {
    sqlite3.SQLITE_BUSY: _OTHER,
    sqlite3.SQLITE_LOCKED: _OTHER,
    sqlite3.SQLITE_FULL: _FREE,
    sqlite3.SQLITE_READONLY: _OPEN_UP,
    sqlite3.SQLITE_CANTOPEN: _OPEN_UP,
    sqlite3.SQLITE_PERM: _OPEN_UP,
    sqlite3.SQLITE_NOTADB: _RESTORE,
    sqlite3.SQLITE_CORRUPT: _RESTORE,
    sqlite3.SQLITE_ERROR: "it is not one of market-engine's, or was changed: use another database",
}


class DiskUse(msgspec.Struct, frozen=True, gc=False):
    """What a database takes on its disk, in bytes."""

    file_bytes: int
    """With what is free inside of it."""
    wal_bytes: int
    """The write-ahead log beside it."""
    free_bytes: int
    """Inside the file: deleted, and used again before the file grows."""


class SqliteDialect:
    """SQLite, in a file, with a write-ahead log: one writes while others read."""

    driver_error: Final = sqlite3.Error
    row_errors: Final = (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError)

    def __init__(self, url: URL, size_bytes_max: int | None) -> None:
        if not url.database or url.database == ":memory:":
            raise StorageError("SQLite needs a file: use a URL like sqlite:///state/market.db")
        self.path = Path(url.database)
        self._size_bytes_max = size_bytes_max

    def engine(self, url: URL) -> Engine:
        """An engine, which has opened nothing yet; makes the folder."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.path.parent}: {error.strerror}: {_OPEN_UP}") from error
        engine = create_engine(
            url, pool_size=POOL_SIZE, max_overflow=0, pool_timeout=POOL_TIMEOUT_S
        )
        event.listen(engine, "connect", self._prepare)
        event.listen(engine, "begin", _begin)
        return engine

    @staticmethod
    def insert_sql(table: Table, *, replace: bool) -> str:
        """An INSERT with positional parameters for all columns, in the table's order.

        A row whose key is there is left alone, or replaces the one that is there.
        """
        statement = sqlite.insert(table)
        if replace:
            others = {c.name: statement.excluded[c.name] for c in table.c if not c.primary_key}
            statement = statement.on_conflict_do_update(
                index_elements=list(table.primary_key.columns), set_=others
            )
        else:
            statement = statement.on_conflict_do_nothing()
        return str(statement.compile(dialect=sqlite.dialect(paramstyle="qmark")))

    @staticmethod
    def insert(connection: Connection, sql: str, rows: Sequence[tuple[object, ...]]) -> int:
        """Run it for every row, past SQLAlchemy's own handling of parameters; how many it took.

        That handling costs as much again as SQLite does (measured: 102,000 rows a second with it,
        205,000 without).
        """
        return connection.exec_driver_sql(sql, list(rows)).rowcount

    @staticmethod
    def write(cursor: DBAPICursor, statements: Statements) -> None:
        """All of them in one transaction, by the driver's own cursor; raises ``driver_error``.

        A small transaction costs a third of what it does through SQLAlchemy.
        """
        if len(statements) == 1 and len(statements[0][1]) == 1:
            cursor.execute(statements[0][0], statements[0][1][0])  # a transaction by itself
            return
        cursor.execute("BEGIN IMMEDIATE")
        try:
            for sql, rows in statements:
                cursor.executemany(sql, rows)
            cursor.execute("COMMIT")
        except BaseException:
            if cursor.connection.in_transaction:
                cursor.execute("ROLLBACK")
            raise

    def disk_use(self, connection: Connection) -> DiskUse:
        """The sizes now."""
        free_pages = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
        page_bytes = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
        wal = Path(f"{self.path}-wal")
        return DiskUse(_size_bytes(self.path), _size_bytes(wal), free_pages * page_bytes)

    @staticmethod
    def problems(connection: Connection) -> list[str]:
        """What a full check of the file finds; reads all of it."""
        found = connection.exec_driver_sql("PRAGMA integrity_check(10)").scalars()
        return [each for each in found if each != "ok"]

    @staticmethod
    def cure(error: BaseException | None) -> str:
        """What to do about an error of the driver."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_IOERR)
        return _CURES.get(code & 0xFF, "check the disk, its quota and its limits")

    def _prepare(self, connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit={JOURNAL_BYTES_MAX}")
        if self._size_bytes_max is not None:
            page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={self._size_bytes_max // page_bytes}")


def _begin(connection: Connection) -> None:
    """Who will write takes the lock at once, as a lock that comes later cannot be waited for."""
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _size_bytes(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def dialect_of(url: URL, size_bytes_max: int | None) -> SqliteDialect:
    """What to use for this URL; raises StorageError for an unknown kind of database."""
    if url.get_backend_name() != "sqlite":
        raise StorageError(f"{url.get_backend_name()} is not known: use sqlite:///FILE")
    return SqliteDialect(url, size_bytes_max)
