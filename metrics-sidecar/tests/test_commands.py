"""Saving the state while a sidecar runs, and putting a copy back while none does."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from metrics_sidecar import store_file
from metrics_sidecar.commands import run_backup, run_restore
from metrics_sidecar.store import StateError, StateLockedError, Store, open_store
from metrics_sidecar.store_copy import backup

ROWS = {"totals": b'{"applied":1234567}', "epoch/1/bot": b"\x00"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def running(directory: Path) -> Iterator[Store]:
    with closing(open_store(directory)) as store:
        store.load()
        store.commit(ROWS)
        yield store


@pytest.fixture
def copy(running: Store, directory: Path, tmp_path: Path) -> Path:
    """Of ROWS; after it the sidecar went on, and ended."""
    backup(directory, tmp_path / "copy.db")
    running.commit({"totals": b'{"applied":1234570}', "more": b""})
    running.close()
    return tmp_path / "copy.db"


def loaded(directory: Path) -> dict[str, bytes]:
    with closing(open_store(directory)) as store:
        assert not store.set_aside
        return store.load()


def run_sql(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_state_is_saved_in_one_file_while_the_sidecar_goes_on(running, directory, tmp_path):
    sentence = run_backup(directory, tmp_path / "copy.db")
    running.commit({"more": b"1"})
    assert names_in(tmp_path) == {"state", "copy.db"}
    assert f"saved in {tmp_path}/copy.db: 1,234,567 trades in 2 rows, last committed" in sentence
    run_restore(tmp_path / "other", tmp_path / "copy.db")
    assert loaded(tmp_path / "other") == ROWS
    running.close()
    assert loaded(directory) == {**ROWS, "more": b"1"}


def test_what_a_killed_sidecar_left_can_be_saved(running, directory, tmp_path):
    shutil.copytree(directory, tmp_path / "left")
    assert backup(tmp_path / "left", tmp_path / "copy.db").rows == ROWS
    assert loaded(tmp_path / "left") == ROWS


def test_a_copy_never_overwrites_anything(running, directory, tmp_path):
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for target in (tmp_path / "file", tmp_path / "link", tmp_path):
        with pytest.raises(StateError, match="name a file that does not"):
            run_backup(directory, target)
    assert (tmp_path / "file").read_text() == "precious"
    with pytest.raises(StateError, match="is no directory"):
        run_backup(directory, tmp_path / "missing" / "copy.db")
    with pytest.raises(StateError, match="holds no state"):
        run_backup(tmp_path / "missing", tmp_path / "copy.db")


@pytest.mark.parametrize("harm", ["DELETE FROM rows", "DROP TABLE seal", "VACUUM"])
def test_a_damaged_state_is_not_saved(harm, running, directory, tmp_path):
    running.close()
    run_sql(directory / "ledger.db", harm)
    if harm == "VACUUM":
        (directory / "ledger.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(StateError, match="damaged"):
        run_backup(directory, tmp_path / "copy.db")
    assert names_in(tmp_path) == {"state"}


def test_a_state_that_another_program_holds_is_busy(running, directory, tmp_path):
    running.close()
    with closing(sqlite3.connect(directory / "ledger.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("DELETE FROM seal WHERE one = 2")
        with pytest.raises(StateError, match="end the other program"):
            run_backup(directory, tmp_path / "copy.db")
    assert names_in(tmp_path) == {"state"}


def test_a_restored_state_is_the_copy_and_says_what_it_replaced(copy, directory):
    sentence = run_restore(directory, copy)
    (folder,) = (directory / "set-aside").iterdir()
    assert f"the one of {copy}: 1,234,567 trades in 2 rows" in sentence
    assert "Before it was 1,234,570 trades in 3 rows" in sentence
    assert f"set aside whole in {folder}" in sentence
    assert loaded(directory) == ROWS
    assert loaded(folder)["totals"] == b'{"applied":1234570}'
    assert copy.exists()


def test_a_state_is_restored_where_there_was_none(copy, tmp_path):
    assert "There was none before" in run_restore(tmp_path / "other", copy)
    assert loaded(tmp_path / "other") == ROWS


def test_a_state_that_cannot_be_read_is_replaced_and_set_aside(copy, directory):
    (directory / "ledger.db").write_bytes(b"not a database")
    assert "could not be read" in run_restore(directory, copy)
    assert loaded(directory) == ROWS


def test_nothing_is_restored_under_a_running_sidecar(copy, directory):
    with closing(open_store(directory)) as store:
        before = store.load()
        with pytest.raises(StateLockedError, match="stop that one"):
            run_restore(directory, copy)
    assert loaded(directory) == before


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("PRAGMA user_version = 2", "newer sidecar"),
        ("PRAGMA application_id = 2", "no state of a sidecar"),
        ("DELETE FROM rows WHERE key = 'totals'", "damaged"),
    ],
)
def test_a_copy_that_cannot_be_used_changes_nothing(harm, told, copy, directory):
    run_sql(copy, harm)
    before = names_in(directory)
    with pytest.raises(StateError, match=f"{copy}.*{told}"):
        run_restore(directory, copy)
    assert names_in(directory) == before
    assert "more" in loaded(directory)
    with pytest.raises(StateError, match="name a backup"):
        run_restore(directory, directory / "missing")


def test_a_copy_of_an_older_version_is_restored(copy, directory):
    run_sql(copy, "DROP TABLE seal; PRAGMA user_version = 0")
    run_restore(directory, copy)
    assert loaded(directory) == ROWS


@pytest.mark.parametrize("totals", [b"", b"[]", b"{}", b'{"applied":"many"}'])
def test_rows_without_a_number_of_trades_are_told_all_the_same(totals, directory, tmp_path):
    directory.mkdir()
    store_file.build(directory / "ledger.db", {"totals": totals})
    assert f"saved in {tmp_path}/c: 1 rows, last" in run_backup(directory, tmp_path / "c")
