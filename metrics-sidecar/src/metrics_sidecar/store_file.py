"""One SQLite file of rows, key → value, sealed by a digest over all of them.

Owns the schema, its versions, the seal, and how a file is built, opened and checked. Knows no
directory, no lock, and nothing of what the rows say.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final, Literal

from metrics_sidecar.store_directory import sync
from metrics_sidecar.store_errors import KEY, StateDamagedError, StateUnavailableError

APPLICATION_ID: Final = 0x54544C53
SCHEMA_VERSION: Final = 1
BUSY_WAIT_S: Final = 1.0
TOTAL_LIMIT: Final = 2**64
_HEADER_BYTES: Final = 100
_MAGIC: Final = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Content:
    """The rows of a file, the hash of each, and when (unix) they were last committed."""

    rows: dict[str, bytes]
    hashes: dict[str, int]
    committed_s: float

    @property
    def total(self) -> int:
        """The digest of all rows."""
        return total(self.hashes)


def row_hash(key: str, value: bytes) -> int:
    """64 bits of key and value; the key's length keeps the two apart."""
    name = key.encode()
    hashed = blake2b(len(name).to_bytes(4, "big") + name + value, digest_size=8)
    return int.from_bytes(hashed.digest(), "big")


def hashes_of(rows: Mapping[str, bytes | None]) -> dict[str, int]:
    """The hash of each row; 0 of one that is deleted."""
    return {key: 0 if value is None else row_hash(key, value) for key, value in rows.items()}


def total(hashes: Mapping[str, int]) -> int:
    """The digest of all rows: a sum, so that their order does not matter."""
    return sum(hashes.values()) % TOTAL_LIMIT


def seal(total: int, committed_ms: int) -> bytes:
    """What is written beside the rows: their digest together with the time of the commit."""
    return ((total + row_hash("", b"%d" % committed_ms)) % TOTAL_LIMIT).to_bytes(8, "big")


def connect(path: Path, mode: Literal["ro", "rw", "rwc"]) -> sqlite3.Connection:
    """A connection that begins no transaction by itself; used by one thread at a time."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_WAIT_S,
        isolation_level=None,
        check_same_thread=False,
    )


def build(path: Path, rows: Mapping[str, bytes]) -> None:
    """Write a new file of these rows, whole and synced; there is none under that name.

    Without a journal, so that it is one file: a build that was interrupted fails its check.
    """
    with closing(connect(path, "rwc")) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("BEGIN")
        connection.execute(
            "CREATE TABLE rows (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
        )
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.executemany("INSERT INTO rows VALUES (?, ?)", rows.items())
        _migrate(connection, 0)
        connection.execute("COMMIT")
    sync(path)


def commit(
    connection: sqlite3.Connection, changes: Mapping[str, bytes | None], total: int, sealed: bytes
) -> bytes:
    """One transaction: the changes and the new seal, which is returned; else nothing is changed.

    ``total`` is the digest of all rows after it, ``sealed`` the seal that must be there before.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        if read_seal(connection) != sealed:
            raise StateDamagedError("the state was written by another program", "replaced")
        new = _write(connection, changes, total)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.rollback()
        raise
    return new


def log_ahead(connection: sqlite3.Connection, name: Path) -> None:
    """Commit through a write-ahead log, and wait for the disk each time."""
    connection.execute("PRAGMA synchronous = FULL")
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StateUnavailableError(
            f"{name}: its file system cannot hold a write-ahead log: set {KEY} to a local directory"
        )


def read_seal(connection: sqlite3.Connection) -> bytes:
    """The seal as the file has it."""
    row = connection.execute("SELECT digest FROM seal").fetchone()
    return bytes(row[0]) if row and isinstance(row[0], bytes) else b""


def check(connection: sqlite3.Connection, name: Path) -> Content:
    """All rows of a file, once its form, its version and its seal are found to be right.

    An older version is brought to this one first. Raises StateDamagedError, or sqlite3.Error.
    """
    version = _version(connection, name)
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise StateDamagedError(f"{name}: damaged ({found})")
    if version < SCHEMA_VERSION:
        connection.execute("BEGIN IMMEDIATE")
        _migrate(connection, version)
        connection.execute("COMMIT")
    return read(connection, name)


def read(connection: sqlite3.Connection, name: Path) -> Content:
    """All rows, once they are found to be the ones that were sealed."""
    connection.execute("BEGIN")
    found = connection.execute("SELECT CAST(key AS BLOB), CAST(value AS BLOB) FROM rows").fetchall()
    sealed = connection.execute("SELECT digest, committed_ms FROM seal").fetchone()
    connection.execute("COMMIT")
    with suppress(TypeError, ValueError, AttributeError):  # of types that were never written
        rows = {key.decode(): value for key, value in found}
        content = Content(rows, hashes_of(rows), sealed[1] / 1000)
        if seal(content.total, sealed[1]) == sealed[0]:
            return content
    raise StateDamagedError(f"{name}: damaged (its rows are not the ones that were sealed)")


def check_header(path: Path, name: Path) -> None:
    """What SQLite itself takes for a file that is read-only for ever; before any connection."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        raise StateDamagedError(f"{name}: only its log is left") from None
    versions = set(header[18:20])
    if header[:16] != _MAGIC or len(header) < _HEADER_BYTES or not versions <= {1, 2}:
        raise StateDamagedError(f"{name}: damaged (it is not an SQLite file)")


def _version(connection: sqlite3.Connection, name: Path) -> int:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StateDamagedError(f"{name}: no state of a sidecar", "foreign")
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if not 0 <= version <= SCHEMA_VERSION:
        raise StateDamagedError(
            f"{name}: written by a newer sidecar (version {version}, this one knows "
            f"{SCHEMA_VERSION}): install that one again, or go on without it",
            "newer",
        )
    return version


def _write(
    connection: sqlite3.Connection, changes: Mapping[str, bytes | None], total: int
) -> bytes:
    kept = [(key, value) for key, value in changes.items() if value is not None]
    gone = [(key,) for key, value in changes.items() if value is None]
    connection.executemany("REPLACE INTO rows VALUES (?, ?)", kept)
    connection.executemany("DELETE FROM rows WHERE key = ?", gone)
    committed_ms = time.time_ns() // 1_000_000
    sealed = seal(total, committed_ms)
    connection.execute("UPDATE seal SET digest = ?, committed_ms = ?", (sealed, committed_ms))
    return sealed


def _seal_all_rows(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE seal (one INTEGER PRIMARY KEY CHECK (one = 1),"
        " digest BLOB NOT NULL, committed_ms INTEGER NOT NULL)"
    )
    connection.execute("INSERT INTO seal VALUES (1, x'', 0)")
    rows = dict(connection.execute("SELECT key, value FROM rows"))
    _write(connection, {}, total(hashes_of(rows)))


_MIGRATIONS: Final[tuple[Callable[[sqlite3.Connection], None], ...]] = (_seal_all_rows,)


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    for step in _MIGRATIONS[version:]:
        step(connection)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
