"""The kept state in one life and the next: rows, the lock, and a file that is not what it was."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from metrics_sidecar import store_file
from metrics_sidecar.store import (
    StateDamagedError,
    StateLockedError,
    Store,
    StoreFigures,
    open_store,
)

CHILD = Path(__file__).with_name("store_child.py")
ROWS = {"totals": b'{"applied":7}', "epoch/1/bot": b"\x00\xff", "symbol/Ü": b""}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def kept(directory: Path) -> Path:
    """A state that was closed in order, holding ROWS."""
    with closing(open_store(directory)) as store:
        store.load()
        store.commit(ROWS)
    return directory


@pytest.fixture
def store(directory: Path) -> Iterator[Store]:
    with closing(open_store(directory)) as store:
        store.load()
        yield store


def loaded(directory: Path) -> tuple[dict[str, bytes], list[str]]:
    with closing(open_store(directory)) as store:
        return store.load(), store.set_aside


def killed(directory: Path, copy: Path) -> Path:
    """What a kill at this moment would leave, in another place."""
    shutil.copytree(directory, copy)
    return copy


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def set_aside_files(directory: Path) -> dict[str, list[str]]:
    """The folders under set-aside by the reason in their name, and the files in them."""
    folders = sorted((directory / "set-aside").glob("*"))
    return {folder.name.split("-", 1)[1]: names_in(folder) for folder in folders}


@pytest.mark.parametrize("where", ["memory", "file"])
def test_a_new_store_holds_nothing_takes_commits_and_closes_twice(where, directory):
    store = open_store(None if where == "memory" else directory)
    assert store.load() == {}
    store.commit(ROWS)
    store.commit({"totals": None, "never there": None})
    store.commit({})
    store.rewrite(ROWS)
    store.commit({"one": b"more"})
    figures = store.figures()
    store.close()
    store.close()
    assert store.durable == (where == "file")
    assert (figures.size_bytes > 0, figures.free_bytes > 0) == (store.durable, store.durable)


def test_a_store_in_memory_keeps_nothing():
    with closing(open_store(None)) as store:
        store.commit(ROWS)
        assert store.load() == {}
        assert store.figures() == StoreFigures(0, 0)
        assert store.set_aside == []


def test_what_was_committed_is_there_in_the_next_life(directory, store):
    store.commit(ROWS)
    store.commit({"totals": b"8", "symbol/Ü": None})
    store.close()
    assert loaded(directory) == ({"totals": b"8", "epoch/1/bot": b"\x00\xff"}, [])
    assert names_in(directory) == ["ledger.db", "lock"]


def test_a_kill_after_a_commit_loses_nothing(directory, store, tmp_path):
    store.commit(ROWS)
    assert loaded(killed(directory, tmp_path / "copy")) == (ROWS, [])


def test_a_store_may_be_loaded_again_and_goes_on_from_there(store):
    store.commit(ROWS)
    assert store.load() == ROWS
    store.commit({"totals": b"8"})
    assert store.load() == {**ROWS, "totals": b"8"}
    assert store.set_aside == []


def test_the_directory_is_for_its_user_only(store, directory):
    assert directory.stat().st_mode & 0o777 == 0o700


def test_a_rewritten_state_is_exactly_these_rows_and_the_one_before_is_set_aside(store, directory):
    store.commit(ROWS)
    store.rewrite({"a": b"1"})
    store.commit({"b": b"2"})
    store.close()
    assert loaded(directory) == ({"a": b"1", "b": b"2"}, [])
    assert "ledger.db" in set_aside_files(directory)["rewritten"]
    assert "written anew; set aside whole in" in store.set_aside[0]


def test_states_set_aside_within_a_second_stay_apart_and_can_be_used_again(store, directory):
    for number in range(4):
        store.rewrite({"number": b"%d" % number})
    store.close()
    folders = sorted((directory / "set-aside").iterdir())
    contents = [loaded(folder)[0] for folder in folders]
    assert sorted(row.get("number", b"") for row in contents) == [b"", b"0", b"1", b"2"]


def test_a_file_that_never_came_to_its_name_is_not_taken_up_later(kept):
    store_file.build(kept / "ledger.db.new", {"totals": b"of long ago"})
    assert loaded(kept) == (ROWS, [])
    (kept / "ledger.db").unlink()
    assert loaded(kept) == ({}, [])


# ---- the lock


def test_a_second_store_names_the_directory_the_process_and_the_key(store, directory):
    with pytest.raises(StateLockedError) as caught:
        open_store(directory, lock_wait_s=0)
    for part in (str(directory), f"(pid {os.getpid()})", "SIDECAR_STATE_DIR"):
        assert part in str(caught.value)


def test_the_lock_of_another_process_is_free_once_that_is_killed(directory):
    command = [sys.executable, CHILD, "hold", directory, "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StateLockedError, match=rf"\(pid {holder.pid}\)"):
            open_store(directory, lock_wait_s=0)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    open_store(directory, lock_wait_s=0).close()


def test_a_predecessor_that_is_ending_is_waited_for(directory, monkeypatch):
    first = open_store(directory)
    monkeypatch.setattr("time.sleep", lambda _: first.close())
    open_store(directory, lock_wait_s=60).close()


def test_a_forked_child_does_not_keep_the_lock_of_a_parent_that_was_killed(directory):
    command = [sys.executable, CHILD, "fork", directory, "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        forked = int(parent.stdout.readline())
        try:
            parent.kill()
            os.waitpid(parent.pid, 0)
            open_store(directory, lock_wait_s=0).close()
        finally:
            os.kill(forked, signal.SIGKILL)


def test_a_started_program_does_not_inherit_the_lock(directory, store):
    with subprocess.Popen(["sleep", "60"], close_fds=False) as started:
        try:
            store.close()
            open_store(directory, lock_wait_s=0).close()
        finally:
            started.kill()


def test_a_lock_file_that_was_deleted_is_not_held_by_two_who_write(directory, store):
    store.commit(ROWS)
    (directory / "lock").unlink()
    with closing(open_store(directory, lock_wait_s=0)) as second:
        assert second.load() == ROWS
        second.commit({"totals": b"of the second"})
        with pytest.raises(StateDamagedError):
            store.commit({"totals": b"of the first"})
        with pytest.raises(StateLockedError):
            store.rewrite(ROWS)
        second.commit({"more": b""})


# ---- damage found at loading


def flipped(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def run_sql(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a lost row": lambda path: run_sql(path, "DELETE FROM rows WHERE key = 'totals'"),
    "a stray row": lambda path: run_sql(path, "INSERT INTO rows VALUES ('stray', x'00')"),
    "a changed value": lambda path: run_sql(path, "UPDATE rows SET value = x'01'"),
    "two values changed for each other": lambda path: run_sql(
        path,
        "UPDATE rows SET value = CASE key WHEN 'totals' THEN x'' ELSE CAST('{\"applied\":7}' AS"
        " BLOB) END WHERE key IN ('totals', 'symbol/Ü')",
    ),
    "another time of commit": lambda path: run_sql(path, "UPDATE seal SET committed_ms = 5"),
    "a time that is none": lambda path: run_sql(path, "UPDATE seal SET committed_ms = 'noon'"),
    "no seal": lambda path: run_sql(path, "DELETE FROM seal"),
    "no rows": lambda path: run_sql(path, "DROP TABLE rows"),
    "a key that is no text": lambda path: run_sql(
        path, "UPDATE rows SET key = CAST(x'ff' AS TEXT) WHERE key = 'totals'"
    ),
    "a list of free pages that is wrong": lambda path: overwrite(path, 36, b"\0\0\0\7"),
    "nothing": lambda path: path.write_bytes(b""),
    "half a header": lambda path: path.write_bytes(path.read_bytes()[:50]),
    "half a page": lambda path: path.write_bytes(path.read_bytes()[:2048]),
    "a page less": lambda path: path.write_bytes(path.read_bytes()[:-4096]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "text": lambda path: path.write_text("not a database " * 1000),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_state_is_set_aside_whole_and_told(damage, kept):
    DAMAGE[damage](kept / "ledger.db")
    found = (kept / "ledger.db").read_bytes()
    rows, sentences = loaded(kept)
    assert rows == {}
    assert len(sentences) == 1
    (folder,) = (kept / "set-aside").iterdir()
    assert f"set aside whole in {folder}" in sentences[0]
    assert (folder / "ledger.db").read_bytes() == found
    assert folder.name.endswith("-damaged")
    assert loaded(kept) == ({}, [])


def test_a_damaged_state_and_its_log_stay_together_as_they_were_found(kept, tmp_path):
    with closing(open_store(kept)) as store:
        store.load()
        store.commit({"totals": b"8"})
        left = killed(kept, tmp_path / "copy")
    overwrite(left / "ledger.db", 100, bytes(100))  # no commit writes the table of tables
    found = {name: (left / name).read_bytes() for name in ("ledger.db", "ledger.db-wal")}
    assert loaded(left)[0] == {}
    (folder,) = (left / "set-aside").iterdir()
    assert {name: (folder / name).read_bytes() for name in found} == found


@pytest.mark.parametrize("remains", ["nothing", "no file"])
def test_a_log_without_its_database_is_set_aside_and_not_deleted(remains, directory, tmp_path):
    with closing(open_store(directory)) as store:
        store.load()
        store.commit(ROWS)
        left = killed(directory, tmp_path / "copy")
    log = (left / "ledger.db-wal").read_bytes()
    (left / "ledger.db").unlink()
    if remains == "nothing":
        (left / "ledger.db").touch()
    rows, sentences = loaded(left)
    assert (rows, len(sentences)) == ({}, 1)
    (folder,) = (left / "set-aside").iterdir()
    assert (folder / "ledger.db-wal").read_bytes() == log


def test_a_state_copied_without_its_log_is_an_older_state_that_is_whole(kept, tmp_path):
    with closing(open_store(kept)) as store:
        store.load()
        store.commit({"totals": b"8"})
        left = killed(kept, tmp_path / "copy")
    for suffix in ("-wal", "-shm"):
        (left / f"ledger.db{suffix}").unlink()
    assert loaded(left) == (ROWS, [])


def test_a_newer_state_is_set_aside_with_the_cure_and_can_be_put_back(kept):
    run_sql(kept / "ledger.db", "PRAGMA user_version = 2")
    rows, sentences = loaded(kept)
    assert rows == {}
    assert "install that one again" in sentences[0]
    (folder,) = (kept / "set-aside").glob("*-newer")
    run_sql(folder / "ledger.db", "PRAGMA user_version = 1")
    assert loaded(folder) == (ROWS, [])


def test_a_file_of_another_program_is_set_aside(directory):
    directory.mkdir()
    run_sql(directory / "ledger.db", "CREATE TABLE rows (key, value)")
    assert loaded(directory)[0] == {}
    assert "ledger.db" in set_aside_files(directory)["foreign"]


def test_a_state_of_version_0_is_brought_to_this_version_with_all_its_rows(kept):
    run_sql(kept / "ledger.db", "DROP TABLE seal; PRAGMA user_version = 0")
    assert loaded(kept) == (ROWS, [])
    run_sql(kept / "ledger.db", "DELETE FROM rows WHERE key = 'totals'")
    assert loaded(kept)[0] == {}


def test_any_flipped_bit_is_harmless_or_found(kept, tmp_path):
    chosen = random.Random(4)
    length = 8 * (kept / "ledger.db").stat().st_size
    header = [byte * 8 + chosen.randrange(8) for byte in range(100)]
    bits = [*header, *chosen.sample(range(800, length), 120)]
    found = 0
    for bit in bits:
        copy = tmp_path / f"{bit}"
        shutil.copytree(kept, copy)
        flipped(copy / "ledger.db", bit)
        with closing(open_store(copy)) as store:
            rows = store.load()
            assert (rows, len(store.set_aside)) in ((ROWS, 0), ({}, 1)), bit
            found += len(store.set_aside)
            store.commit({"more": b"1"})
        assert loaded(copy) == ({**rows, "more": b"1"}, []), bit
        shutil.rmtree(copy)
    assert found > 20
