"""The errors of the kept state, by who can act, and how SQLite's and the system's become them.

StateError
 ├─ StateLockedError        another sidecar has the directory: stop it, or use another directory
 ├─ StateUnavailableError   busy, full, read-only, I/O error: nothing was changed, try again
 └─ StateDamagedError       corrupt, newer, foreign, replaced, deleted: another try cannot help
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

KEY: Final = "SIDECAR_STATE_DIR"
_DAMAGED: Final = {
    sqlite3.SQLITE_ERROR,  # our statements are right, so a table or a column is missing
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG,
}
_DAMAGED_EXTENDED: Final = {sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_READONLY_DBMOVED}
_FREE: Final = "free space on its disk"
_OPEN_UP: Final = f"make it writable for this user, or set {KEY}"
_CHECK_DISK: Final = f"check the disk, its quota and its limits, or set {KEY} to another one"
_CURES: Final = {
    sqlite3.SQLITE_BUSY: "end the other program that has it open",
    sqlite3.SQLITE_LOCKED: "end the other program that has it open",
    sqlite3.SQLITE_FULL: _FREE,
    sqlite3.SQLITE_READONLY: _OPEN_UP,
    sqlite3.SQLITE_CANTOPEN: _OPEN_UP,
    sqlite3.SQLITE_PERM: _OPEN_UP,
}
_SYSTEM_CURES: Final = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _FREE),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _OPEN_UP),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), f"set {KEY} to a directory"),
}


class StateError(RuntimeError):
    """The state cannot be used; the message is one line that names the cure."""


class StateLockedError(StateError):
    """Another sidecar has this directory."""


class StateUnavailableError(StateError):
    """Busy, full, read-only or an I/O error: nothing was changed or set aside, so try again."""


class StateDamagedError(StateError):
    """The file is not the one that was written; ``why`` is one word for it."""

    def __init__(self, message: str, why: str = "damaged") -> None:
        super().__init__(message)
        self.why = why


@contextmanager
def translating(what: Path | str) -> Iterator[None]:
    """Turn what SQLite and the system raise while doing ``what`` into a StateError."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # a defect of ours, not of the file
    except sqlite3.Error as error:
        raise _from_sqlite(error, what) from error
    except UnicodeDecodeError as error:  # a name in the file that SQLite tells about
        raise StateDamagedError(f"{what}: damaged ({error})") from error
    except OSError as error:
        cure = _SYSTEM_CURES.get(error.errno or 0, _CHECK_DISK)
        where = error.filename or what
        raise StateUnavailableError(f"{where}: {error.strerror or error}: {cure}") from error


def _from_sqlite(error: sqlite3.Error, what: Path | str) -> StateError:
    code = getattr(error, "sqlite_errorcode", None)  # none: text in the file was not text
    if code is None or code & 0xFF in _DAMAGED or code in _DAMAGED_EXTENDED:
        return StateDamagedError(f"{what}: damaged ({error})")
    cure = _CURES.get(code & 0xFF, _CHECK_DISK)
    name = getattr(error, "sqlite_errorname", "SQLite")
    return StateUnavailableError(f"{what}: {error} ({name}): {cure}")
