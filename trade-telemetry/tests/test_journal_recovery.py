"""Whatever happened to a file: what is read is right, the rest is a number, nothing raises."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path
from zlib import crc32

import pytest

from trade_telemetry import Trade
from trade_telemetry.journal import open_ring
from trade_telemetry.journal_files import (
    HEADER_BYTES,
    SLOT_BYTES,
    VERSION,
    WORDS_OFFSET,
    Header,
    encode_header,
    encode_word,
)
from trade_telemetry.journal_recovery import leftovers
from trade_telemetry.messages import STAMP_MAX


def overwriting(ring, on=True):
    ring.overwrite = on
    return ring


CAPACITY = 200
HEAD = 500
TAIL = 420
WORDS_END = WORDS_OFFSET + 16


def trade(number: int) -> Trade:
    symbol = f"S{number}" if number % 3 else None
    return Trade("buy" if number % 2 else "sell", number, 1e9 + number, symbol, number + 0.5)


def write_journal(directory: Path, *, capacity=CAPACITY, head=HEAD, tail=TAIL):
    """A journal left behind; its path and header."""
    ring = open_ring(directory, "bot/1", capacity)
    for seq in range(1, head + 1):
        overwriting(ring).append(trade(seq))
    ring.trim(tail)
    ring.close(delete=False)
    return ring.path, Header("bot/1", ring.epoch, ring.since_s, capacity)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    path, header = write_journal(tmp_path_factory.mktemp("pristine"))
    return path.name, path.read_bytes(), header


@pytest.fixture
def journal(tmp_path, pristine):
    """The path of a sound journal, and its bytes to spoil."""
    name, content, _ = pristine
    return tmp_path / name, bytearray(content)


def unexpected(path, problem):
    raise AssertionError(f"{path}: {problem}")


def recover(path: Path, content: bytes, on_unreadable=unexpected):
    """Head, tail and what is readable of a file with this content, or None when set aside."""
    path.write_bytes(content)
    found = leftovers(path.parent, "bot/1", on_unreadable)
    if not found:
        return None
    [leftover] = found
    readable, lost, seq = {}, set(), 1
    while seq <= leftover.head:
        got = leftover.read(seq)
        if got is not None:
            readable[seq] = got
            seq += 1
        else:
            end = leftover.lost_run(seq, leftover.head)
            lost |= {seq, end}
            seq = end + 1
    assert all(got == trade(seq) for seq, got in readable.items())
    assert leftover.durable
    assert leftover.waiting == leftover.head - leftover.tail
    figures = (leftover.head, leftover.tail, readable.keys())
    leftover.close(delete=True)
    assert leftover.problem is None
    assert list(path.parent.iterdir()) == []
    return figures


ALL = set(range(HEAD - CAPACITY + 1, HEAD + 1))


def slot_at(seq: int) -> int:
    return HEADER_BYTES + seq % CAPACITY * SLOT_BYTES


def test_a_sound_journal_comes_back_whole(journal, pristine):
    path, content = journal
    path.write_bytes(content)
    [leftover] = leftovers(path.parent, "bot/1", unexpected)
    header = pristine[2]
    assert (leftover.epoch, leftover.since_s) == (header.epoch, header.since_s)
    assert leftover.capacity == CAPACITY
    leftover.abandon()
    assert recover(path, content) == (HEAD, TAIL, ALL)


def test_what_is_trimmed_and_rewound_in_a_leftover_is_kept(journal):
    path, content = journal
    path.write_bytes(content)
    for change, expected in (("trim", 450), ("trim", 430), ("rewind", 310), ("rewind", 320)):
        [leftover] = leftovers(path.parent, "bot/1", unexpected)
        getattr(leftover, change)(expected)
        leftover.close(delete=False)
        [leftover] = leftovers(path.parent, "bot/1", unexpected)
        assert leftover.tail == {430: 450, 320: 310}.get(expected, expected)
        leftover.close(delete=False)


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("byte", range(SLOT_BYTES))
def test_a_flipped_bit_in_a_slot_costs_that_slot_alone(journal, byte, bit):
    path, content = journal
    content[slot_at(450) + byte] ^= 1 << bit
    padding = byte >= 62
    assert recover(path, content) == (HEAD, TAIL, ALL if padding else ALL - {450})


@pytest.mark.parametrize("byte", range(WORDS_END + 1))
def test_a_flipped_bit_in_the_header_costs_nothing(journal, pristine, byte):
    path, content = journal
    for bit in range(8):
        spoiled = bytearray(content)
        spoiled[byte] ^= 1 << bit
        head, tail, readable = recover(path, spoiled)
        assert (head, readable) == (HEAD, ALL)
        assert tail in (TAIL, HEAD - CAPACITY)  # never above what was acknowledged
        assert (tail == TAIL) == (not WORDS_OFFSET + 8 <= byte < WORDS_END)


@pytest.mark.parametrize("head", [3, 120, 199, 200, 201, 500])
def test_a_header_page_of_zeros_costs_nothing(tmp_path, head):
    path, header = write_journal(tmp_path, head=head, tail=1)
    path.write_bytes(bytes(HEADER_BYTES) + path.read_bytes()[HEADER_BYTES:])
    [leftover] = leftovers(tmp_path, "bot/1", unexpected)
    found = Header("bot/1", leftover.epoch, leftover.since_s, leftover.capacity)
    leftover.abandon()
    assert found == header
    window = set(range(max(1, head - CAPACITY + 1), head + 1))
    assert recover(path, path.read_bytes()) == (head, max(0, head - CAPACITY), window)


SIZE = HEADER_BYTES + CAPACITY * SLOT_BYTES
LENGTHS = [0, 1, 7, 8, 104, 123, 124, 127, 128, 129, 130, 135, 136, 137, 138, 143, 144, 145, 511,
    4095, 4096, 4097, 4159, 4160, 4161, 8191, 8192, 8193, 10_000, SIZE - 90, SIZE - 65, SIZE - 64,
    SIZE - 63, SIZE - 62, SIZE - 40, SIZE - 3, SIZE - 2, SIZE - 1]  # fmt: skip


@pytest.mark.parametrize("length", LENGTHS)
def test_a_truncated_journal_loses_what_is_beyond_its_end(journal, length):
    path, content = journal
    problems = []
    found = recover(path, content[:length], lambda path, problem: problems.append(problem))
    same = content[:length].ljust(SIZE, b"\0")  # zeros that are cut off are no loss

    def kept(first, last):
        return same[first:last] == content[first:last]

    if not kept(0, WORDS_OFFSET + 8):  # no head, no slots: nothing can be told
        assert found is None
        assert len(problems) == 1
        [aside] = path.parent.iterdir()
        assert aside.read_bytes() == content[:length]
        return
    there = {seq for seq in ALL if kept(slot_at(seq), slot_at(seq) + 62)}
    tail = TAIL if kept(WORDS_OFFSET + 8, WORDS_END) else HEAD - CAPACITY
    assert found == (HEAD, tail, there)
    assert problems == []


def test_a_page_of_zeros_among_the_slots_loses_that_page(journal):
    path, content = journal
    content[HEADER_BYTES : HEADER_BYTES + 4096] = bytes(4096)
    gone = {seq for seq in ALL if seq % CAPACITY < 64}
    assert len(gone) == 64
    assert recover(path, content) == (HEAD, TAIL, ALL - gone)


def test_slots_that_never_reached_the_disk_are_lost_by_number(journal):
    path, content = journal
    content[HEADER_BYTES:] = bytes(len(content) - HEADER_BYTES)
    assert recover(path, content) == (HEAD, TAIL, set())


@pytest.mark.parametrize("count", [1, 2, 64, 199])
def test_a_torn_tail_is_lost_by_number_when_the_header_knows_of_it(journal, count):
    path, content = journal
    for seq in range(HEAD - count + 1, HEAD + 1):
        content[slot_at(seq) + 30] ^= 0x55
    expected = ALL - set(range(HEAD - count + 1, HEAD + 1))
    assert recover(path, content) == (HEAD, TAIL, expected)


@pytest.mark.parametrize("written", [HEAD - 1, TAIL, 301, 300, 17, 0])
def test_slots_above_the_head_in_the_header_count(journal, written):
    path, content = journal
    struct.pack_into("=Q", content, WORDS_OFFSET, encode_word(written))
    head, tail, readable = recover(path, content)
    assert (head, readable) == (HEAD, ALL)
    assert tail == TAIL


def test_a_slot_of_an_earlier_lap_is_not_taken_for_this_one(tmp_path):
    ring = open_ring(tmp_path, "bot/1", CAPACITY)
    for seq in range(1, CAPACITY + 1):
        ring.append(trade(seq))
    before = ring.path.read_bytes()
    for seq in range(CAPACITY + 1, HEAD + 1):
        overwriting(ring).append(trade(seq))
    ring.close(delete=False)
    content = bytearray(ring.path.read_bytes())
    for seq in (450, 451, HEAD):
        offset = slot_at(seq)
        content[offset : offset + SLOT_BYTES] = before[offset : offset + SLOT_BYTES]
    assert recover(ring.path, content) == (HEAD, 0, ALL - {450, 451, HEAD})


def test_a_slot_of_another_epoch_is_not_taken_for_this_one(journal, tmp_path_factory):
    path, content = journal
    other, _ = write_journal(tmp_path_factory.mktemp("other"))
    offset = slot_at(450)
    content[offset : offset + SLOT_BYTES] = other.read_bytes()[offset : offset + SLOT_BYTES]
    assert recover(path, content) == (HEAD, TAIL, ALL - {450})


def test_a_slot_in_the_wrong_place_is_not_taken(journal):
    path, content = journal
    content[slot_at(450) : slot_at(451)] = content[slot_at(460) : slot_at(461)]
    assert recover(path, content) == (HEAD, TAIL, ALL - {450})


@pytest.mark.parametrize("word", [encode_word(STAMP_MAX), 2**64 - 1, 0, encode_word(HEAD + 200)])
def test_a_head_that_no_slot_bears_out_is_not_believed(journal, word):
    path, content = journal
    struct.pack_into("=Q", content, WORDS_OFFSET, word)
    assert recover(path, content) == (HEAD, TAIL, ALL)


@pytest.mark.parametrize("word", [encode_word(STAMP_MAX), encode_word(HEAD + 1), 2**64 - 1, 0])
def test_a_tail_that_cannot_be_loses_nothing(journal, word):
    path, content = journal
    struct.pack_into("=Q", content, WORDS_OFFSET + 8, word)
    assert recover(path, content) == (HEAD, HEAD - CAPACITY, ALL)


def test_huge_numbers_do_not_make_long_loops(journal):
    path, content = journal
    content[HEADER_BYTES:] = bytes(len(content) - HEADER_BYTES)
    struct.pack_into("=Q", content, WORDS_OFFSET, encode_word(STAMP_MAX))
    path.write_bytes(content)
    [leftover] = leftovers(path.parent, "bot/1", unexpected)
    assert leftover.read(1) is None
    assert leftover.lost_run(1, STAMP_MAX) == STAMP_MAX - CAPACITY
    assert leftover.lost_run(STAMP_MAX - CAPACITY + 1, STAMP_MAX) == STAMP_MAX
    assert leftover.lost_run(STAMP_MAX + 1, STAMP_MAX + 10**9) == STAMP_MAX + 10**9
    leftover.close(delete=True)


def unreadable(content: bytearray, header: Header) -> dict[str, tuple[bytes, str]]:
    sound = bytes(content)
    truncated_too = bytes(HEADER_BYTES) + sound[HEADER_BYTES:-SLOT_BYTES]
    newer = bytearray(sound)
    newer[:WORDS_OFFSET] = rewrite_version(sound[:WORDS_OFFSET], VERSION + 1)
    other = encode_header(Header("bot/2", header.epoch, header.since_s, header.capacity))
    return {
        "empty": (b"", "neither its header"),
        "zeros": (bytes(len(sound)), "neither its header"),
        "foreign": (b"#!/bin/sh\necho hello\n" * 500, "neither its header"),
        "newer": (
            bytes(newer),
            f"it is of format {VERSION + 1}, and this program reads format {VERSION}",
        ),
        "header and end": (truncated_too, "its header is damaged and its end is missing"),
        "another's": (other + sound[len(other) :], "it is a journal of 'bot/2'"),
    }


def rewrite_version(fields: bytes, version: int) -> bytes:
    changed = fields[:8] + struct.pack("=I", version) + fields[12:-4]
    return changed + struct.pack("=I", crc32(changed))


@pytest.mark.parametrize(
    "case", ["empty", "zeros", "foreign", "newer", "header and end", "another's"]
)
def test_a_file_of_which_nothing_can_be_told_is_set_aside_whole_and_told_once(
    journal, pristine, case
):
    path, sound = journal
    content, sentence = unreadable(sound, pristine[2])[case]
    told = []

    def tell(path, problem):
        told.append((path, problem))

    assert recover(path, content, tell) is None
    aside = path.with_name(path.name + ".unreadable")
    assert list(path.parent.iterdir()) == [aside]
    assert aside.read_bytes() == content
    assert leftovers(path.parent, "bot/1", tell) == []
    [(where, problem)] = told
    assert where == path
    assert problem.startswith(sentence)
    assert aside.name in problem


def test_nothing_that_was_set_aside_is_written_over(journal):
    path, _ = journal
    for content in (b"first", b"second", b"third"):
        recover(path, content, lambda path, problem: None)
    kept = sorted(found.read_bytes() for found in path.parent.iterdir())
    assert kept == [b"first", b"second", b"third"]


def test_a_directory_or_a_pipe_with_a_journals_name_stops_nothing(journal):
    path, content = journal
    (path.parent / "bot%2F1@1-1.journal").mkdir()
    os.mkfifo(path.parent / "bot%2F1@1-2.journal")
    path.write_bytes(content)
    told = []
    [leftover] = leftovers(path.parent, "bot/1", lambda path, problem: told.append(problem))
    assert leftover.head == HEAD
    leftover.close(delete=True)
    assert sorted(problem.split(";")[0] for problem in told) == [
        "it cannot be opened (Is a directory) and stays where it is",
        "it is not a file",
    ]


def test_a_copy_of_a_journal_is_drained_as_the_same_epoch(journal, pristine):
    path, content = journal
    path.write_bytes(content)
    shutil.copy(path, path.with_name("bot%2F1@1-1.journal"))
    found = leftovers(path.parent, "bot/1", unexpected)
    assert [leftover.epoch for leftover in found] == [pristine[2].epoch] * 2
    for leftover in found:
        leftover.close(delete=True)


def test_a_bad_sector_costs_its_page(journal, monkeypatch):
    path, content = journal
    path.write_bytes(content)
    [leftover] = leftovers(path.parent, "bot/1", unexpected)
    read = os.pread

    def fail_in_the_second_page(descriptor, size_bytes, offset):
        if offset == HEADER_BYTES + 4096:
            raise OSError(5, "Input/output error")
        return read(descriptor, size_bytes, offset)

    monkeypatch.setattr(os, "pread", fail_in_the_second_page)
    readable = {seq for seq in ALL if leftover.read(seq)}
    assert readable == {seq for seq in ALL if not 64 <= seq % CAPACITY < 128}
    leftover.close(delete=True)


def test_a_journal_truncated_while_it_is_drained_is_no_signal(journal):
    path, content = journal
    path.write_bytes(content)
    [leftover] = leftovers(path.parent, "bot/1", unexpected)
    os.truncate(path, HEADER_BYTES)
    assert leftover.read(450) is None
    leftover.trim(450)
    leftover.close(delete=True)
    assert leftover.problem is None
