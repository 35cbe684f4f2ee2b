"""The kept state: rows, key → value, all or none of a commit, on the disk when it returns.

The interface, its twin in memory, and ``open_store``, which chooses. Knows nothing of what the
rows say, and never waits for its cure: it raises, and the caller tries again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from metrics_sidecar.store_directory import StoreFigures
from metrics_sidecar.store_durable import DurableStore
from metrics_sidecar.store_errors import (
    StateDamagedError,
    StateError,
    StateLockedError,
    StateUnavailableError,
)

__all__ = [
    "DurableStore",
    "MemoryStore",
    "StateDamagedError",
    "StateError",
    "StateLockedError",
    "StateUnavailableError",
    "Store",
    "StoreFigures",
    "open_store",
]

LOCK_WAIT_S: Final = 5.0


class Store(Protocol):
    """Rows that are kept; one thread at a time, ``figures`` from any.

    ``set_aside`` tells in a sentence each what was set aside in this life, where and why.
    """

    durable: bool
    set_aside: list[str]

    def load(self) -> dict[str, bytes]:
        """All rows, {} for a new state; may be called again after an error.

        A damaged, foreign or newer state is set aside whole and told in ``set_aside``. Raises
        StateUnavailableError, and then nothing was set aside.
        """

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Set or (None) delete rows, all or none; on the disk when it returns.

        Raises StateUnavailableError: nothing was changed, the same changes may be tried again.
        Raises StateDamagedError: the file is not what was committed; ``rewrite`` is the cure.
        """

    def rewrite(self, rows: Mapping[str, bytes]) -> None:
        """Set aside whatever is there and keep exactly these rows in a new file.

        Raises StateUnavailableError with nothing changed, and StateLockedError when the directory
        was deleted and another sidecar has made it again.
        """

    def figures(self) -> StoreFigures:
        """The sizes now; never raises."""

    def close(self) -> None:
        """Let go of file and lock; twice is once."""


def open_store(directory: Path | None, *, lock_wait_s: float = LOCK_WAIT_S) -> Store:
    """The store in this directory, locked but not yet loaded; None keeps nothing.

    Waits up to ``lock_wait_s`` for a sidecar that is ending, then raises StateLockedError; raises
    StateUnavailableError when the directory cannot be made or locked.
    """
    return MemoryStore() if directory is None else DurableStore(directory, lock_wait_s)


class MemoryStore:
    """The store that keeps nothing: every life starts from 0."""

    durable = False

    def __init__(self) -> None:
        self.set_aside: list[str] = []

    def load(self) -> dict[str, bytes]:
        """Nothing was kept."""
        return {}

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Nothing is kept."""

    def rewrite(self, rows: Mapping[str, bytes]) -> None:
        """Nothing is kept."""

    def figures(self) -> StoreFigures:
        """Both 0."""
        return StoreFigures(0, 0)

    def close(self) -> None:
        """Nothing is held."""
