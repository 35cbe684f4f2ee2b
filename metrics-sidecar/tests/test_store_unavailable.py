"""A state that cannot be used now, and one that is taken away from under a running sidecar."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from metrics_sidecar import store_file
from metrics_sidecar.store import (
    StateDamagedError,
    StateLockedError,
    StateUnavailableError,
    Store,
    open_store,
)
from metrics_sidecar.store_errors import translating

ROWS = {"totals": b"7", "epoch/1/bot": b"\x00\xff"}
BIG = {f"row/{number}": bytes([number]) * 5_000 for number in range(200)}
NOBODY = 65_534


@pytest.fixture
def directory() -> Iterator[Path]:
    """Not in tmp_path, whose parents only their owner may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder) / "state"


@pytest.fixture
def store(directory: Path) -> Iterator[Store]:
    with closing(open_store(directory)) as store:
        store.load()
        store.commit(ROWS)
        yield store


def loaded(directory: Path) -> tuple[dict[str, bytes], list[str]]:
    with closing(open_store(directory)) as store:
        return store.load(), store.set_aside


@contextmanager
def full_disk(size_max_bytes: int) -> Iterator[None]:
    """No file may grow beyond this; the system answers EFBIG."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_max_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Root may write everywhere, so be somebody else for a moment."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@contextmanager
def held_by_another(database: Path, statement: str) -> Iterator[None]:
    """Another program is in the middle of a transaction."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute(statement)
        yield


@pytest.fixture
def connections() -> Iterator[list[sqlite3.Connection]]:
    """Every connection that is made from here on."""
    made: list[sqlite3.Connection] = []
    _listeners.append(made)
    yield made
    _listeners.remove(made)


_listeners: list[list[sqlite3.Connection]] = []


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if event == "sqlite3.connect/handle":
        for made in _listeners:
            made.append(arguments[0])  # type: ignore[arg-type]


sys.addaudithook(_listen)  # never taken away again: Python has no way


def test_a_full_disk_changes_nothing_and_the_same_commit_succeeds_later(store, directory):
    with full_disk(60_000), pytest.raises(StateUnavailableError, match=str(directory)):
        store.commit(BIG)
    with full_disk(60_000), pytest.raises(StateUnavailableError):
        store.commit(BIG)
    store.commit({"small": b"1"})
    store.commit(BIG)
    store.close()
    assert loaded(directory) == ({**ROWS, **BIG, "small": b"1"}, [])


def test_a_state_that_fails_for_want_of_space_is_whole_after_a_kill(store, directory, tmp_path):
    with full_disk(60_000), pytest.raises(StateUnavailableError):
        store.commit(BIG)
    shutil.copytree(directory, tmp_path / "copy")
    assert loaded(tmp_path / "copy") == (ROWS, [])


def test_what_sqlite_calls_full_names_the_cure(connections, directory):
    with closing(open_store(directory)) as store:
        store.load()
        connections[-1].execute("PRAGMA max_page_count = 5")
        with pytest.raises(StateUnavailableError, match="free space"):
            store.commit(BIG)
        connections[-1].execute("PRAGMA max_page_count = 100000")
        store.commit(BIG)
    assert loaded(directory) == (BIG, [])


def test_a_new_state_on_a_full_disk_comes_up_once_there_is_space(directory):
    with closing(open_store(directory)) as store:
        with full_disk(2_000), pytest.raises(StateUnavailableError):
            store.load()
        assert store.load() == {}
        store.commit(ROWS)
    assert loaded(directory) == (ROWS, [])


@pytest.mark.parametrize("size_max_bytes", [0, 2_000, 10_000, 40_000])
def test_a_rewrite_on_a_full_disk_takes_nothing_away_and_may_be_tried_again(
    size_max_bytes, store, directory
):
    (directory / "ledger.db").unlink()
    for _ in range(3):
        with full_disk(size_max_bytes), pytest.raises(StateUnavailableError):
            store.rewrite(BIG)
        assert store.set_aside == []
    store.rewrite(BIG)
    store.commit({"more": b"1"})
    assert len(store.set_aside) == 1
    store.close()
    assert loaded(directory) == ({**BIG, "more": b"1"}, [])


def test_a_rewritten_state_that_cannot_be_opened_yet_is_kept_and_used_later(store, directory):
    (directory / "ledger.db").unlink()
    with full_disk(20_000):  # enough for the file, not for what SQLite keeps beside it
        store.rewrite(ROWS)
        for _ in range(3):
            with pytest.raises(StateUnavailableError):
                store.commit({"more": b"1"})
    store.commit({"more": b"1"})
    assert len(store.set_aside) == 1
    store.close()
    assert loaded(directory) == ({**ROWS, "more": b"1"}, [])


def test_a_damaged_state_on_a_full_disk_stays_where_it_is(store, directory):
    store.close()
    (directory / "ledger.db").write_bytes(b"nothing good")
    with closing(open_store(directory)) as again:
        with full_disk(2_000), pytest.raises(StateUnavailableError):
            again.load()
        assert (directory / "ledger.db").read_bytes() == b"nothing good"
        assert again.load() == {}


def test_a_state_that_another_program_writes_is_busy_until_it_ends(store, directory, monkeypatch):
    with held_by_another_writer(directory), pytest.raises(StateUnavailableError, match="end the"):
        store.commit({"totals": b"8"})
    store.commit({"totals": b"8"})
    store.close()
    assert loaded(directory) == ({**ROWS, "totals": b"8"}, [])


@contextmanager
def held_by_another_writer(directory: Path) -> Iterator[None]:
    with closing(sqlite3.connect(directory / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_a_state_that_is_locked_at_the_start_is_busy_and_not_set_aside(store, directory):
    store.close()
    with closing(open_store(directory)) as again:
        with (
            held_by_another(directory / "ledger.db", "DELETE FROM seal WHERE one = 2"),
            pytest.raises(StateUnavailableError, match="end the other program"),
        ):
            again.load()
        assert again.load() == ROWS
        assert again.set_aside == []


def test_a_state_that_this_user_may_not_write_names_the_cure(directory, store):
    store.close()
    for path in (directory, *directory.iterdir()):
        path.chmod(0o555 if path.is_dir() else 0o666 if path.name == "lock" else 0o444)
    with (
        ordinary_user(),
        closing(open_store(directory)) as again,
        pytest.raises(StateUnavailableError, match="make it writable"),
    ):
        again.load()
    for path in (directory, *directory.iterdir()):
        path.chmod(0o777)
    assert loaded(directory) == (ROWS, [])


def test_a_directory_that_cannot_be_made_or_is_none_names_the_key(directory):
    directory.mkdir(mode=0o755)
    directory.chmod(0o555)
    with ordinary_user(), pytest.raises(StateUnavailableError, match="SIDECAR_STATE_DIR"):
        open_store(directory / "below")
    with ordinary_user(), pytest.raises(StateUnavailableError, match="SIDECAR_STATE_DIR"):
        open_store(directory)
    directory.chmod(0o755)
    (directory / "file").touch()
    with pytest.raises(StateUnavailableError, match="SIDECAR_STATE_DIR to a directory"):
        open_store(directory / "file")
    with pytest.raises(StateUnavailableError, match="SIDECAR_STATE_DIR to a directory"):
        open_store(directory / "file" / "below")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EIO, StateUnavailableError),
        (errno.ENOSPC, StateUnavailableError),
        (errno.EROFS, StateUnavailableError),
    ],
)
def test_an_error_of_the_system_is_one_line_with_a_cure(code, kind):
    with pytest.raises(kind, match=r"^/some/where: .*: .+$"), translating(Path("/some/where")):
        raise OSError(code, os.strerror(code))


def test_a_defect_of_ours_is_no_error_of_the_state():
    with pytest.raises(sqlite3.ProgrammingError), translating(Path("/some/where")):
        sqlite3.connect(":memory:").execute("SELECT ?", ())


def test_every_commit_waits_for_the_disk(connections, directory):
    with closing(open_store(directory)) as store:
        store.load()
        assert connections[-1].execute("PRAGMA synchronous").fetchone() == (2,)
        assert connections[-1].execute("PRAGMA journal_mode").fetchone() == ("wal",)


# ---- taken away while it is in use


def replace_by_copy(directory: Path) -> None:
    shutil.copy(directory / "ledger.db", directory / "other")
    (directory / "other").rename(directory / "ledger.db")


def overwrite_in_place(directory: Path) -> None:
    """``cp`` of an older state over it, whose log is empty: the same file, other bytes."""
    with closing(sqlite3.connect(directory / "ledger.db")) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with tempfile.TemporaryDirectory() as older:
        store_file.build(Path(older) / "older.db", {"totals": b"5"})
        shutil.copyfile(Path(older) / "older.db", directory / "ledger.db")


def write_rows(directory: Path) -> None:
    with closing(sqlite3.connect(directory / "ledger.db", isolation_level=None)) as other:
        other.execute("INSERT INTO rows VALUES ('stray', x'00')")


def write_rows_and_seal(directory: Path) -> None:
    with closing(sqlite3.connect(directory / "ledger.db", isolation_level=None)) as other:
        other.execute("UPDATE seal SET digest = x'0011223344556677'")


TAKEN: dict[str, Callable[[Path], object]] = {
    "the file deleted": lambda path: (path / "ledger.db").unlink(),
    "the log deleted": lambda path: (path / "ledger.db-wal").unlink(),
    "all deleted": shutil.rmtree,
    "the file replaced": replace_by_copy,
    "the file overwritten": overwrite_in_place,
    "the file emptied": lambda path: os.truncate(path / "ledger.db", 0),
    "the log emptied": lambda path: os.truncate(path / "ledger.db-wal", 0),
    "the log cut": lambda path: os.truncate(path / "ledger.db-wal", 5_000),
    "a row written": write_rows,
    "the seal written": write_rows_and_seal,
}


@pytest.mark.parametrize("taken", TAKEN)
def test_a_state_taken_away_is_noticed_at_the_next_commit_and_written_anew(taken, store, directory):
    TAKEN[taken](directory)
    for _ in range(2):
        with pytest.raises(StateDamagedError):
            store.commit({"totals": b"8"})
    rows = {**ROWS, "totals": b"8"}
    store.rewrite(rows)
    store.commit({"more": b"1"})
    with pytest.raises(StateLockedError):
        open_store(directory, lock_wait_s=0)
    store.close()
    assert loaded(directory) == ({**rows, "more": b"1"}, [])
    assert len(store.set_aside) == (taken != "all deleted")


def test_what_was_put_there_meanwhile_is_set_aside_as_it_was(store, directory):
    overwrite_in_place(directory)
    found = (directory / "ledger.db").read_bytes()
    with pytest.raises(StateDamagedError):
        store.commit({"totals": b"8"})
    store.rewrite(ROWS)
    (folder,) = (directory / "set-aside").iterdir()
    assert folder.name.endswith("-replaced")
    assert (folder / "ledger.db").read_bytes() == found


def test_a_file_that_was_only_touched_or_read_is_still_the_state(store, directory):
    os.utime(directory / "ledger.db")
    store.commit({"totals": b"8"})
    with closing(sqlite3.connect(directory / "ledger.db")) as reader:
        assert reader.execute("SELECT count(*) FROM rows").fetchone() == (2,)
        reader.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.commit({"totals": b"9"})
    store.close()
    assert loaded(directory) == ({**ROWS, "totals": b"9"}, [])


def test_a_directory_made_again_by_another_sidecar_is_left_to_it(store, directory):
    shutil.rmtree(directory)
    with closing(open_store(directory)) as other:
        assert other.load() == {}
        for action in (lambda: store.rewrite(ROWS), store.load):
            with pytest.raises(StateLockedError):
                action()
        other.commit(ROWS)
