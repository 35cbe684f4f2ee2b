"""Who has a desk's database: one process at a time, for as long as it lives.

Two desks on one file would give the same numbers to different orders. Owns the lock file beside the
database and knows nothing of what is in it. Who only reads needs no claim.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from market_engine.errors import StorageError


class DeskClaim:
    """Held from the making on until ``release``, or until the process is gone, however it ends.

    The file stays: to delete it would let two processes lock two files of that name. Raises
    StorageError where another has it. A database that is no file of SQLite is not claimed.
    """

    def __init__(self, url: str) -> None:
        self._descriptor: int | None = None
        path = _path_of(url)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            message = f"{path}.lock: {error.strerror}: make it writable for this user"
            raise StorageError(message) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise StorageError(
                f"{path}: another market-engine has this paper desk: end that one, or give this "
                "one another MARKET_DESK_DATABASE_URL"
            ) from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Let another have it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _path_of(url: str) -> Path | None:
    """The one name of the file; what is no URL is told by who opens the database."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return None
    if not parsed.drivername.startswith("sqlite") or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database)).resolve()
