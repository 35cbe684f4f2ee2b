"""A copy of the kept state, made while a sidecar runs, and put back while none does.

Owns the copy's way to its final name: whole, checked and synced, or not at all. Knows nothing of
what the rows say.
"""

from __future__ import annotations

import os
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from metrics_sidecar import store_file
from metrics_sidecar.store_directory import DirectoryLock, StateDirectory, sync
from metrics_sidecar.store_errors import KEY, StateError, translating
from metrics_sidecar.store_file import Content


@dataclass(frozen=True, slots=True)
class Restored:
    """What is the state now, what was (None: nothing, or unreadable), and where that went."""

    content: Content
    before: Content | None
    set_aside: Path | None


def backup(directory: Path, target: Path) -> Content:
    """Copy the state into the new file ``target``; a running sidecar goes on meanwhile.

    Raises StateError; then there is no ``target``. One that exists is never overwritten.
    """
    source = StateDirectory(directory).database
    if not source.is_file():
        raise StateError(f"{directory} holds no state: set {KEY} to the sidecar's directory")
    if os.path.lexists(target):
        raise StateError(f"{target} exists: name a file that does not")
    if not target.parent.is_dir():
        raise StateError(f"{target.parent} is no directory: make it, or name another file")
    with (
        translating(target),
        TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder,
    ):
        partial = Path(folder) / target.name
        content = _copy(source, partial)
        partial.rename(target)
        sync(target.parent)
    return content


def restore(directory: Path, source: Path) -> Restored:
    """Make the copy ``source`` the state of ``directory``, and set aside what is there.

    Raises StateLockedError while a sidecar runs, and StateError when the copy cannot be used;
    then nothing was changed.
    """
    if not source.is_file():
        raise StateError(f"{source} is no file: name a backup")
    state = StateDirectory(directory)
    with translating(directory):
        state.make()
        with closing(DirectoryLock(state, wait_s=0)):
            try:
                state.clear_new()
                content = _copy(source, state.new)
                before = _readable(state.database)
                folder = state.set_aside("restored")
                state.put_in_place()
            finally:
                state.clear_new()
    return Restored(content, before, folder)


def _copy(source: Path, target: Path) -> Content:
    """Copy to one file of this version, checked and synced."""
    with translating(f"copying {source} to {target}"):
        with closing(store_file.connect(source, "ro")) as origin:
            origin.execute("BEGIN")  # a busy source raises here; copying would wait for ever
            origin.execute("SELECT 1 FROM sqlite_master").fetchone()
            with closing(store_file.connect(target, "rwc")) as copy:
                origin.backup(copy)
        store_file.check_header(target, source)
        with closing(store_file.connect(target, "rw")) as copy:
            copy.execute("PRAGMA journal_mode = DELETE")
            content = store_file.check(copy, source)
        sync(target)
    return content


def _readable(database: Path) -> Content | None:
    with (
        suppress(StateError),
        translating(database),
        closing(store_file.connect(database, "ro")) as connection,
    ):
        return store_file.read(connection, database)
    return None
