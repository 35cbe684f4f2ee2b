"""The state directory: its layout, its lock, and setting files aside.

``ledger.db`` (with ``-wal``, ``-shm``, ``-journal`` while in use), ``ledger.db.new`` (a whole file
on its way to that name), ``lock``, and ``set-aside/<UTC time>-<why>/``. Knows nothing of what is
in the files.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from metrics_sidecar.store_errors import KEY, StateLockedError

LOCK_POLL_S: Final = 0.05
_SUFFIXES: Final = ("", "-wal", "-shm", "-journal")  # the database leaves first: without its
# -wal it would pass for an older state, while a -wal alone is seen to be a remainder


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """Bytes that the state takes, and that its disk has left; 0 when nothing is kept.

    ``refused`` are the others that wanted the state since this one has it.
    """

    size_bytes: int
    free_bytes: int
    refused: int = 0


class StateDirectory:
    """The paths of one state directory; making the object touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "ledger.db"
        self.log = path / "ledger.db-wal"
        self.new = path / "ledger.db.new"
        self.lock = path / "lock"

    def make(self) -> None:
        """Make it, for this user only; what is there already is left as it is."""
        if not self.path.is_dir():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync(self.path.parent)

    def present(self) -> list[Path]:
        """The files that make up the database now, the database itself first."""
        names = [self.path / f"ledger.db{suffix}" for suffix in _SUFFIXES]
        return [name for name in names if os.path.lexists(name)]

    def figures(self) -> StoreFigures:
        """The sizes now; what vanishes meanwhile counts 0."""
        size_bytes = free_bytes = 0
        with suppress(OSError):
            free_bytes = shutil.disk_usage(self.path).free
        for path in self.present():
            with suppress(OSError):
                size_bytes += path.stat().st_size
        return StoreFigures(size_bytes, free_bytes)

    def set_aside(self, why: str) -> Path | None:
        """Move the whole database into a folder of its own; None when there is none."""
        files = self.present()
        if not files:
            return None
        folder = self._fresh_folder(why)
        try:
            for file in files:
                file.rename(folder / file.name)
        except OSError:
            with suppress(OSError):  # it stays when something was moved already
                folder.rmdir()
            raise
        sync(folder)
        sync(self.path)
        return folder

    def clear_new(self) -> None:
        """Delete what was on its way to the database's name, and never came."""
        for suffix in _SUFFIXES:
            (self.path / f"ledger.db.new{suffix}").unlink(missing_ok=True)

    def put_in_place(self) -> None:
        """Give the new file its final name, so that it stays there over a power cut."""
        self.new.rename(self.database)
        sync(self.path)

    def _fresh_folder(self, why: str) -> Path:
        parent = self.path / "set-aside"
        parent.mkdir(mode=0o700, exist_ok=True)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{why}"
        number = 1
        while True:
            folder = parent / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                number += 1
            else:
                sync(parent)
                return folder


class DirectoryLock:
    """Held from its making to ``close`` or the end of the process, however that comes.

    Waits up to ``wait_s`` for a holder that is ending, then raises StateLockedError and leaves a
    line in the file, for the holder to count. A child made by fork does not hold it.
    """

    def __init__(self, directory: StateDirectory, wait_s: float) -> None:
        self._directory = directory
        deadline_s = time.monotonic() + wait_s
        while (descriptor := self._try()) is None:
            if time.monotonic() >= deadline_s:
                refusal = self._refusal()
                self._leave_a_line()
                raise refusal
            time.sleep(LOCK_POLL_S)
        self._descriptor: int | None = descriptor
        _held.add(descriptor)
        with suppress(OSError):  # it only helps who is refused: a full disk does not matter
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._first_bytes = self._size_bytes()

    def is_current(self) -> bool:
        """Whether the file that is locked is still the one under that name."""
        return self._descriptor is not None and _is_at(self._descriptor, self._directory.lock)

    def refused(self) -> int:
        """How many others were refused since this one holds it."""
        return max(0, self._size_bytes() - self._first_bytes)

    def close(self) -> None:
        """Let the next one have the directory; twice is once."""
        if self._descriptor is not None:
            _held.discard(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _try(self) -> int | None:
        path = self._directory.lock
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):  # not deleted between opening and locking
                return descriptor
        except BlockingIOError:
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def _size_bytes(self) -> int:
        with suppress(OSError):
            return 0 if self._descriptor is None else os.fstat(self._descriptor).st_size
        return 0

    def _leave_a_line(self) -> None:
        with suppress(OSError):
            descriptor = os.open(self._directory.lock, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                os.write(descriptor, b"\n")
            finally:
                os.close(descriptor)

    def _refusal(self) -> StateLockedError:
        pid = ""
        with suppress(OSError, ValueError):
            pid = f" (pid {int(self._directory.lock.read_text())})"
        return StateLockedError(
            f"{self._directory.path} is in use by another sidecar{pid}: "
            f"stop that one, or set {KEY} to another directory"
        )


def sync(path: Path) -> None:
    """Have a file's bytes, or a directory's names, on the disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


_held: set[int] = set()


def _let_go_in_child() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)
