"""Journal files come whole, locked and private, or not at all; then the ring is in memory."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time

import pytest

from trade_telemetry import Trade, journal_files
from trade_telemetry.journal import open_ring
from trade_telemetry.journal_files import FILES_MAX, Header, file_name, parse_name
from trade_telemetry.journal_recovery import leftovers

TRADE = Trade("buy", 1.0, 1e9)


def never(path, problem):
    raise AssertionError(f"{path}: {problem}")


def works_in_memory(ring):
    assert not ring.durable
    assert ring.path is None
    assert ring.append(TRADE) == 1
    assert ring.read(1) == TRADE
    ring.trim(1)
    ring.close(delete=True)
    return True


def test_a_file_and_its_directory_are_private_and_allocated_in_full(tmp_path):
    ring = open_ring(tmp_path / "a" / "b", "bot", 1000)
    status = ring.path.stat()
    assert status.st_mode & 0o777 == 0o600
    assert ring.path.parent.stat().st_mode & 0o777 == 0o700
    assert status.st_size == 4096 + 64_000
    assert status.st_blocks * 512 >= status.st_size
    ring.close(delete=True)


@pytest.mark.parametrize("source", ["bot", "a/b", "../..", ".", "A-b_c.d", "x" * 64, "/" * 64])
def test_a_name_tells_source_epoch_and_since(source):
    header = Header(source, 2**53 - 1, 1795252572.467, 8)
    name = file_name(header)
    assert "/" not in name
    assert len(name) <= 255
    found = parse_name(name)
    assert (found.source, found.epoch, found.since_s) == (source, 2**53 - 1, 1795252572.467)
    assert not found.set_aside
    assert parse_name(name + ".unreadable").set_aside


@pytest.mark.parametrize(
    "name",
    ["bot.journal", "bot@1-0.journal", "bot@0-1.journal",
     "bot@1-9007199254740992.journal", "@1-1.journal"],
)  # fmt: skip
def test_other_names_are_not_journals(name):
    assert parse_name(name) is None


def test_a_journal_is_of_its_own_source_only(tmp_path):
    for source in ("bot", "bot-2", "bo", "bot/x"):
        open_ring(tmp_path, source, 4).close(delete=False)
    [leftover] = leftovers(tmp_path, "bot", never)
    assert leftover.path.name.startswith("bot@")
    leftover.close(delete=True)
    assert len(list(tmp_path.iterdir())) == 3


def test_leftovers_come_oldest_first(tmp_path, monkeypatch):
    moments = iter([3, 1, 2])
    monkeypatch.setattr(time, "time_ns", lambda: next(moments) * 10**9)
    for _ in range(3):
        open_ring(tmp_path, "bot", 4).close(delete=False)
    found = leftovers(tmp_path, "bot", never)
    assert [leftover.since_s for leftover in found] == [1, 2, 3]
    for leftover in found:
        leftover.close(delete=True)


def test_an_open_journal_is_nobodys_leftover(tmp_path):
    ring = open_ring(tmp_path, "bot", 4)
    assert leftovers(tmp_path, "bot", never) == []
    ring.close(delete=False)
    [leftover] = leftovers(tmp_path, "bot", never)
    assert leftovers(tmp_path, "bot", never) == []
    leftover.close(delete=True)


def test_a_file_that_is_just_being_created_is_nobodys_leftover(tmp_path, monkeypatch):
    seen = []
    synced = os.fsync

    def look(descriptor):
        seen.append(leftovers(tmp_path, "bot", never))
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    ring = open_ring(tmp_path, "bot", 4)
    monkeypatch.undo()
    assert len(seen) >= 2
    assert not any(seen)
    assert ring.path.exists()
    ring.close(delete=True)


def test_a_journal_that_was_deleted_before_its_lock_came_free_is_not_taken(tmp_path, monkeypatch):
    ring = open_ring(tmp_path, "bot", 4)
    opened = os.open

    def open_then_lose(path, *arguments):
        descriptor = opened(path, *arguments)
        if str(path).endswith(".journal"):
            monkeypatch.undo()
            ring.close(delete=True)
        return descriptor

    monkeypatch.setattr(os, "open", open_then_lose)
    assert leftovers(tmp_path, "bot", never) == []


def test_what_a_kill_left_half_created_is_cleared_when_it_is_old(tmp_path):
    old = tmp_path / "bot@1-1.journal.unfinished"
    new = tmp_path / "bot@1-2.journal.unfinished"
    old.touch()
    new.touch()
    os.utime(old, (1, 1))
    assert leftovers(tmp_path, "bot", never) == []
    assert list(tmp_path.iterdir()) == [new]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG])
def test_without_space_the_ring_is_in_memory_and_nothing_stays(tmp_path, monkeypatch, code):
    def fail(descriptor, offset, size_bytes):
        os.ftruncate(descriptor, size_bytes)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", fail)
    ring = open_ring(tmp_path, "bot", 100)
    assert os.strerror(code) in ring.problem
    assert str(tmp_path) in ring.problem
    assert "and start again" in ring.problem
    assert works_in_memory(ring)
    assert list(tmp_path.iterdir()) == []


def test_a_real_limit_on_the_size_of_files_is_told_and_nothing_stays(tmp_path):
    code = """if True:
        import errno, os, resource, sys
        from pathlib import Path
        from trade_telemetry.journal import open_ring
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
        print(open_ring(Path(sys.argv[1]), "bot", 100_000).problem)
        del os.posix_fallocate
        print(open_ring(Path(sys.argv[1]), "bot", 100_000).problem)
        print(open_ring(Path(sys.argv[1]), "bot", 64).problem)
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    allocated, written, small = done.stdout.splitlines()
    for problem in (allocated, written):
        assert "File too large" in problem
        assert "allow files of 6,404,096 bytes" in problem
    assert small == "None"
    [left] = tmp_path.iterdir()
    assert left.name.endswith(".journal")


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL, None])
def test_without_fallocate_the_file_is_filled_with_zeros(tmp_path, monkeypatch, code):
    def fail(*_):
        raise OSError(code, os.strerror(code))

    if code is None:
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        monkeypatch.setattr(os, "posix_fallocate", fail)
    ring = open_ring(tmp_path, "bot", 1000)
    status = ring.path.stat()
    assert (ring.problem, status.st_size) == (None, 4096 + 64_000)
    assert status.st_blocks * 512 >= status.st_size
    ring.close(delete=True)


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nothing/here", "nul\0byte"])
def test_where_no_directory_can_be_the_ring_is_in_memory(tmp_path, place):
    (tmp_path / "file").write_bytes(b"mine")
    ring = open_ring(tmp_path / place, "bot", 10)
    assert ring.problem.startswith(f"no journal file in {tmp_path / place} (")
    assert works_in_memory(ring)
    assert (tmp_path / "file").read_bytes() == b"mine"
    assert leftovers(tmp_path / place, "bot", never) == []


def test_a_directory_that_cannot_be_synced_is_put_up_with(tmp_path, monkeypatch):
    synced = os.fsync

    def refuse_directories(descriptor):
        if os.fstat(descriptor).st_mode & 0o040000:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_directories)
    ring = open_ring(tmp_path, "bot", 10)
    ring.close(delete=True)
    assert ring.problem is None
    assert list(tmp_path.iterdir()) == []


def test_creation_and_deletion_are_synced_file_first(tmp_path, monkeypatch):
    synced = []

    def note(descriptor):
        synced.append("directory" if os.fstat(descriptor).st_mode & 0o040000 else "file")

    monkeypatch.setattr(os, "fsync", note)
    ring = open_ring(tmp_path, "bot", 10)
    assert synced == ["file", "directory"]
    ring.close(delete=True)
    assert synced == ["file", "directory", "directory"]


def test_a_source_has_a_limited_number_of_files(tmp_path):
    for number in range(1, FILES_MAX):
        (tmp_path / f"bot@1-{number}.journal").touch()
    (tmp_path / "bot@1-64.journal.unreadable").touch()
    ring = open_ring(tmp_path, "bot", 10)
    assert "there are 64 journal files of 'bot'" in ring.problem
    assert "journal inspect" in ring.problem
    assert works_in_memory(ring)
    other = open_ring(tmp_path, "bot-2", 10)
    assert other.problem is None
    other.close(delete=True)


def test_a_file_that_cannot_be_deleted_is_told(tmp_path, monkeypatch):
    ring = open_ring(tmp_path, "bot", 10)

    def fail(self):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(journal_files.JournalFile, "delete", fail)
    ring.close(delete=True)
    assert "Permission denied" in ring.problem
