"""A process that is killed while it commits, rewrites, loads, saves or restores a state.

The oracle is the parent: it hears of each commit after that has returned. What is there after the
kill is that state or the next one, whole. A power cut also loses some of what was not synced.
"""

from __future__ import annotations

import random
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from metrics_sidecar.store import open_store
from metrics_sidecar.store_copy import backup

CHILD = Path(__file__).with_name("store_child.py")
_names: dict[str, Any] = runpy.run_path(str(CHILD))
rows_after, changes_of = _names["rows_after"], _names["changes_of"]
Rows = dict[str, bytes]


def loaded(directory: Path) -> tuple[Rows, list[str]]:
    with closing(open_store(directory)) as store:
        return store.load(), store.set_aside


def keep(directory: Path, number: int) -> None:
    with closing(open_store(directory)) as store:
        store.load()
        store.rewrite(rows_after(number))
    shutil.rmtree(directory / "set-aside")


def child(mode: str, directory: Path, point: int, *file: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, CHILD, mode, directory, str(point), *file]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def each_point(mode: str, tmp_path: Path, prepare: Callable[[Path], object]) -> Iterator[Path]:
    """The directory after a kill at the first point, the second one, … until there is none left."""
    for point in range(1, 1_000):
        directory = tmp_path / str(point)
        prepare(directory)
        with child(mode, directory, point, tmp_path / f"{point}.copy") as process:
            process.communicate()
        assert process.returncode in {0, -signal.SIGKILL}
        yield directory
        if process.returncode == 0:
            assert point > 10
            return


def test_a_kill_at_any_point_of_a_commit_leaves_that_state_or_the_next(tmp_path):
    directory = tmp_path / "state"
    keep(directory, 1)
    last = 1
    points = 0
    for point in range(1, 1_000):
        with child("commit", directory, point) as process:
            told = process.communicate()[0].split()
        last = max([last, *map(int, told)])
        rows, sentences = loaded(directory)
        assert rows in (rows_after(last), rows_after(last + 1))
        assert sentences == []
        last = int(rows["number"])
        points += process.returncode == -signal.SIGKILL
        if process.returncode == 0:
            break
    assert points > 20


def test_a_kill_at_any_moment_loses_no_commit_that_was_told(tmp_path):
    directory = tmp_path / "state"
    keep(directory, 1)
    last = 1
    chosen = random.Random(7)
    for _ in range(12):
        with child("commit", directory, 0) as process:
            assert process.stdout is not None
            for _ in range(chosen.randrange(1, 80)):
                last = int(process.stdout.readline())
            process.kill()
            last = max([last, *map(int, process.stdout.read().split())])
        rows, sentences = loaded(directory)
        assert rows in (rows_after(last), rows_after(last + 1))
        assert sentences == []
        last = int(rows["number"])
    assert last > 12


def test_a_kill_at_any_point_of_a_rewrite_leaves_the_old_rows_or_the_new(tmp_path):
    seen = []
    for directory in each_point("rewrite", tmp_path, lambda path: keep(path, 5)):
        rows, _ = loaded(directory)
        seen.append([rows_after(6), rows_after(9), rows_after(10)].index(rows))
    assert seen == sorted(seen)
    assert set(seen) == {0, 1, 2}


def test_a_kill_at_any_point_of_setting_aside_keeps_what_was_there(tmp_path):
    def prepare(directory: Path) -> None:
        keep(directory, 5)
        (directory / "ledger.db").write_bytes(b"damaged " * 1000)

    for directory in each_point("load", tmp_path, prepare):
        assert loaded(directory)[0] == {}
        kept = [path.read_bytes() for path in directory.glob("set-aside/*/ledger.db")]
        assert kept == [b"damaged " * 1000]


def test_a_kill_at_any_point_of_saving_leaves_a_whole_copy_or_none(tmp_path):
    for directory in each_point("backup", tmp_path, lambda path: keep(path, 5)):
        copy = directory.with_suffix(".copy")
        if copy.exists():
            (directory / "copy").mkdir()
            copy.rename(directory / "copy" / "ledger.db")
            assert loaded(directory / "copy") == (rows_after(5), [])
        assert loaded(directory) == (rows_after(5), [])


def test_a_kill_at_any_point_of_restoring_leaves_the_old_rows_or_the_restored(tmp_path):
    def prepare(directory: Path) -> None:
        keep(directory, 5)
        backup(directory, directory.with_suffix(".copy"))
        keep(directory, 9)

    seen = []
    for directory in each_point("restore", tmp_path, prepare):
        rows, _ = loaded(directory)
        seen.append([rows_after(9), rows_after(5)].index(rows))
    assert seen == sorted(seen)
    assert set(seen) == {0, 1}


# ---- a power cut


def torn(before: bytes, after: bytes, chosen: random.Random) -> bytes:
    """Some sectors of the later write are on the disk, some are not, and its end may be missing."""
    length = chosen.randrange(len(before), len(after) + 1) if len(after) > len(before) else None
    sectors = [
        (after if chosen.random() < 0.5 else before.ljust(len(after), b"\0"))[i : i + 512]
        for i in range(0, len(after), 512)
    ]
    return b"".join(sectors)[:length]


def files_of(directory: Path) -> tuple[bytes, bytes]:
    log = directory / "ledger.db-wal"
    return (directory / "ledger.db").read_bytes(), log.read_bytes() if log.exists() else b""


def big_changes(number: int) -> Rows:
    return {f"row/{(number * 3 + i) % 20}": b"%d" % number * 20_000 for i in range(6)}


def test_a_power_cut_during_a_commit_leaves_that_state_or_the_next(tmp_path):
    chosen = random.Random(3)
    written_back = torn_away = 0
    rows: Rows = {}
    with closing(open_store(tmp_path / "state")) as store:
        store.load()
        before = files_of(tmp_path / "state")
        for number in range(1, 61):
            store.commit(big_changes(number))
            after = files_of(tmp_path / "state")
            next_rows = {**rows, **big_changes(number)}
            cut = tmp_path / str(number)
            cut.mkdir()
            if after[0] == before[0]:
                allowed = [rows, next_rows]
                left = (after[0], torn(before[1], after[1], chosen))
            else:  # the log was synced before its pages went back into the database
                written_back += 1
                allowed = [next_rows]
                left = (torn(before[0], after[0], chosen), after[1])
            for suffix, content in zip(("", "-wal"), left, strict=True):
                (cut / f"ledger.db{suffix}").write_bytes(content)
            found, sentences = loaded(cut)
            assert sentences == []
            assert found in allowed, number
            torn_away += found == rows
            shutil.rmtree(cut)
            rows, before = next_rows, after
    assert written_back > 1
    assert torn_away > 10
