"""`journal inspect` tells what waits, changes nothing, and works while a publisher runs."""

from __future__ import annotations

import hashlib
import json
import threading

import pytest

from trade_telemetry import Trade, journal_inspect
from trade_telemetry.__main__ import main
from trade_telemetry.journal import open_ring
from trade_telemetry.journal_files import HEADER_BYTES, SLOT_BYTES
from trade_telemetry.journal_inspect import inspect
from trade_telemetry.journal_recovery import Leftover


def overwriting(ring, on=True):
    ring.overwrite = on
    return ring


TRADE = Trade("buy", 1.0, 1e9, "BTCUSDT")
UNREADABLE = "neither its header nor one of its trades can be read"


def fill(ring, count):
    for _ in range(count):
        overwriting(ring).append(TRADE)


@pytest.fixture
def directory(tmp_path):
    """One in use, one left behind with damage, one of which nothing can be told, one set aside."""
    live = open_ring(tmp_path, "desk/1", 100)
    fill(live, 130)
    live.trim(90)
    left = open_ring(tmp_path, "bot", 10)
    fill(left, 15)
    left.trim(2)
    left.close(delete=False)
    content = bytearray(left.path.read_bytes())
    content[HEADER_BYTES + 12 % 10 * SLOT_BYTES] ^= 1
    left.path.write_bytes(content)
    (tmp_path / "bot@1-5.journal").write_bytes(b"nonsense")
    (tmp_path / "bot@1-6.journal.unreadable").write_bytes(b"nonsense")
    (tmp_path / "notes.txt").write_bytes(b"no journal")
    yield tmp_path
    live.close(delete=True)


def figures(directory):
    return {
        (record.source, record.epoch if record.epoch < 10 else 0): (
            record.capacity,
            record.head,
            record.acknowledged,
            record.waiting,
            record.damaged,
            record.locked,
        )
        for record in inspect(directory)
    }


def test_each_journal_has_its_figures(directory):
    assert figures(directory) == {
        ("desk/1", 0): (100, 130, 90, 40, 0, True),
        ("bot", 0): (10, 15, 2, 13, 3 + 1, False),  # 3 to 5 are written over, 12 is damaged
        ("bot", 5): (0, 0, 0, 0, 0, False),
        ("bot", 6): (0, 0, 0, 0, 0, False),
    }
    problems = [record.problem for record in inspect(directory)]
    assert problems.count(UNREADABLE) == 2
    assert problems.count(None) == 2


def test_looking_changes_no_byte(directory):
    def state():
        return {
            path.name: (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns)
            for path in directory.iterdir()
        }

    before = state()
    inspect(directory)
    assert state() == before


def test_a_journal_that_is_written_over_meanwhile_is_not_called_damaged(tmp_path):
    ring = open_ring(tmp_path, "bot", 1000)
    fill(ring, 2000)
    stop = threading.Event()

    def publish():
        while not stop.is_set():
            seq = overwriting(ring).append(TRADE)
            ring.trim(seq - 900)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        records = [inspect(tmp_path)[0] for _ in range(20)]
    finally:
        stop.set()
        thread.join()
    ring.close(delete=True)
    assert all(record.locked and record.problem is None for record in records)
    assert {record.damaged for record in records} == {0}
    assert all(0 < record.waiting <= 1000 for record in records)


def test_what_is_written_over_between_two_looks_is_counted_once(tmp_path, monkeypatch):
    ring = open_ring(tmp_path, "bot", 100)
    fill(ring, 200)

    def open_while_it_goes_on(file, name):
        journal = Leftover(file, name)
        fill(ring, 30)
        return journal

    monkeypatch.setattr(journal_inspect, "Leftover", open_while_it_goes_on)
    [record] = inspect(tmp_path)
    ring.close(delete=True)
    assert (record.head, record.waiting, record.damaged) == (230, 230, 130)


def test_the_slot_that_a_running_publisher_may_be_writing_is_not_called_damaged(tmp_path):
    ring = open_ring(tmp_path, "bot", 100)
    fill(ring, 250)
    ring.trim(150)
    for seq, damaged in ((151, 0), (152, 1)):
        with ring.path.open("r+b") as file:
            file.seek(HEADER_BYTES + seq % 100 * SLOT_BYTES)
            file.write(b"\xff")
        assert inspect(tmp_path)[0].damaged == damaged
    ring.close(delete=True)


def test_the_command_prints_a_table_and_what_happens_next(directory, capsys):
    assert main(["journal", "inspect", str(directory)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["SOURCE", "EPOCH"]
    assert len(lines) == 7
    state = lines[0].index("STATE")
    states = [line[state:].split("  ")[0] for line in lines[1:5]]
    assert states == [UNREADABLE, UNREADABLE, "left behind", "in use"]
    assert "drained by the next publisher with this source and directory" in lines[-1]


def test_the_command_prints_the_same_as_json(directory, capsys):
    assert main(["journal", "inspect", str(directory), "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["source"] for record in records] == ["bot", "bot", "bot", "desk/1"]
    assert records[-1]["waiting"] == 40
    assert records[-1]["locked"] is True


def test_an_empty_directory_is_no_error(tmp_path, capsys):
    assert main(["journal", "inspect", str(tmp_path)]) == 0
    assert "nothing waits there" in capsys.readouterr().out


def test_a_directory_that_is_not_there_is_one_clear_line(tmp_path, capsys):
    assert main(["journal", "inspect", str(tmp_path / "nowhere")]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == f"trade_telemetry: {tmp_path / 'nowhere'}: No such file or directory\n"
