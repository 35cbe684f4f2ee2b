"""The store that keeps: one transaction a commit, and what is done when its file is not its own.

Owns the lock and the connection, and knows the digest of all rows at any time, so that it finds
out when the file is damaged, replaced or gone. Knows nothing of what the rows say.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from metrics_sidecar import store_file
from metrics_sidecar.store_directory import DirectoryLock, StateDirectory, StoreFigures
from metrics_sidecar.store_errors import StateDamagedError, StateUnavailableError, translating
from metrics_sidecar.store_file import Content


class DurableStore:
    """The state in one directory, locked from its making to ``close``; see ``Store``.

    ``_total`` is the digest of what was committed, ``_sealed`` the seal that was written with it.
    """

    durable = True

    def __init__(self, directory: Path, lock_wait_s: float) -> None:
        self.set_aside: list[str] = []
        self._directory = StateDirectory(directory)
        self._connection: sqlite3.Connection | None = None
        self._hashes: dict[str, int] = {}
        self._total = 0
        self._sealed = b""
        self._identities: list[tuple[int, int]] = []
        self._stamps: list[_Stamp] = []
        self._damage: StateDamagedError | None = None
        with translating(directory):
            self._directory.make()
            self._lock = DirectoryLock(self._directory, lock_wait_s)

    def load(self) -> dict[str, bytes]:
        """See ``Store.load``."""
        self._disconnect()
        with translating(self._directory.database):
            content = self._open_or_replace()
            self._directory.clear_new()
        self._hashes, self._total = content.hashes, content.total
        return content.rows

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """See ``Store.commit``."""
        hashes = store_file.hashes_of(changes)
        total = self._total_after(hashes)
        try:
            with translating(self._directory.database):
                self._commit(changes, total)
        except StateDamagedError as damage:
            self._damage = damage
            raise
        self._total = total
        self._hashes.update(hashes)
        for key in [key for key, value in changes.items() if value is None]:
            del self._hashes[key]

    def rewrite(self, rows: Mapping[str, bytes]) -> None:
        """See ``Store.rewrite``."""
        with translating(self._directory.database):
            self._directory.make()
            self._lock_again()
            self._build_new(rows)
            self._swap(self._damage)
        self._damage = None
        self._hashes = store_file.hashes_of(rows)
        self._total = store_file.total(self._hashes)

    def figures(self) -> StoreFigures:
        """See ``Store.figures``."""
        return replace(self._directory.figures(), refused=self._lock.refused())

    def close(self) -> None:
        """See ``Store.close``."""
        self._disconnect()
        self._lock.close()

    def _open_or_replace(self) -> Content:
        self._directory.make()
        self._lock_again()
        damage: StateDamagedError | None = None
        if self._directory.present():
            try:
                return self._open()[1]
            except StateDamagedError as error:
                damage = error
        if not self._new_is_whole():  # whole: it was on its way when an earlier life was killed
            self._build_new({})
        self._swap(damage)
        return self._open()[1]

    def _open(self) -> tuple[sqlite3.Connection, Content]:
        path = self._directory.database
        with translating(path):
            store_file.check_header(path, path)
            connection = self._connection = store_file.connect(path, "rw")
            content = store_file.check(connection, path)
            store_file.log_ahead(connection, path)
            self._sealed = store_file.read_seal(connection)
            self._stamps = self._stamp_files()
            self._identities = [stamp.identity for stamp in self._stamps]
        return connection, content

    def _build_new(self, rows: Mapping[str, bytes]) -> None:
        self._directory.clear_new()
        store_file.build(self._directory.new, rows)

    def _new_is_whole(self) -> bool:
        path = self._directory.new
        if not path.exists():
            return False
        with suppress(StateDamagedError), translating(path):
            with closing(store_file.connect(path, "rw")) as connection:
                store_file.check(connection, path)
            return True
        return False

    def _swap(self, damage: StateDamagedError | None) -> None:
        """Set aside what is there, then put the new file in its place.

        The connection is closed after that: SQLite leaves files alone that were moved, and so
        what is set aside stays as it was found.
        """
        folder = self._directory.set_aside(damage.why if damage else "rewritten")
        if folder:
            reason = damage or f"{self._directory.database}: written anew"
            self.set_aside.append(f"{reason}; set aside whole in {folder}")
        self._disconnect()
        self._directory.put_in_place()

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):  # closed it is; what was committed is on the disk
                self._connection.close()
            self._connection = None

    def _lock_again(self) -> None:
        if not self._lock.is_current():
            self._lock.close()
            self._lock = DirectoryLock(self._directory, wait_s=0)

    def _commit(self, changes: Mapping[str, bytes | None], total: int) -> None:
        connection = self._checked_connection()
        try:
            self._sealed = store_file.commit(connection, changes, total, self._sealed)
        finally:
            self._stamps = self._stamp_files()
        self._check_identities(self._stamps)  # replaced meanwhile: it is not kept

    def _checked_connection(self) -> sqlite3.Connection:
        """The connection, when the files under their names are still the ones it writes.

        SQLite would go on writing into a deleted file for ever, and never tell.
        """
        if self._connection is None:
            return self._reopened()
        stamps = self._stamp_files()
        self._check_identities(stamps)
        if stamps != self._stamps:  # written by another hand, or only touched
            path = self._directory.database
            with closing(store_file.connect(path, "ro")) as fresh:
                if store_file.read(fresh, path).total != self._total:
                    raise self._replaced()
        return self._connection

    def _reopened(self) -> sqlite3.Connection:
        try:
            connection, content = self._open()
        except StateUnavailableError:
            self._disconnect()  # half open it would not be known as this store's own
            raise
        if content.total != self._total:
            self._disconnect()
            raise self._replaced()
        return connection

    def _check_identities(self, stamps: list[_Stamp]) -> None:
        if [stamp.identity for stamp in stamps] != self._identities:
            raise self._replaced()

    def _replaced(self) -> StateDamagedError:
        return StateDamagedError(f"{self._directory.database}: deleted or replaced", "replaced")

    def _stamp_files(self) -> list[_Stamp]:
        return [_stamp(path) for path in (self._directory.database, self._directory.log)]

    def _total_after(self, hashes: Mapping[str, int]) -> int:
        change = sum(new - self._hashes.get(key, 0) for key, new in hashes.items())
        return (self._total + change) % store_file.TOTAL_LIMIT


class _Stamp(NamedTuple):
    """What tells that a file is the same one; all 0 while there is none."""

    identity: tuple[int, int]
    size_bytes: int
    changed_ns: int


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except FileNotFoundError:
        return _Stamp((0, 0), 0, 0)
    return _Stamp((found.st_dev, found.st_ino), found.st_size, found.st_mtime_ns)
