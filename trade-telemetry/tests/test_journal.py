"""The ring against a model: a dictionary of what must be readable, through files and damage."""

from __future__ import annotations

import resource
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trade_telemetry import Trade, journal, journal_slots
from trade_telemetry.journal import Ring, open_ring
from trade_telemetry.journal_files import HEADER_BYTES, SLOT_BYTES
from trade_telemetry.journal_recovery import Leftover, leftovers


def overwriting(ring, on=True):
    ring.overwrite = on
    return ring


CAPACITY = 5
COVERED_BYTES = 62  # the last two of a slot are padding

trades = st.builds(
    Trade,
    side=st.sampled_from(["buy", "sell"]),
    qty=st.floats(0, 1e15),
    ts=st.floats(0, 1e10, exclude_min=True),
    symbol=st.none() | st.from_regex(r"[A-Za-z0-9._:/-]{1,24}", fullmatch=True),
    price=st.none() | st.floats(1e-9, 1e12),
)


def trade(number: int) -> Trade:
    return Trade("buy" if number % 2 else "sell", number, 1e9 + number, f"S{number}", number + 0.5)


def refuse(path: Path, problem: str) -> None:
    raise AssertionError(f"{path} was found unreadable: {problem}")


class RingAgainstModel(RuleBasedStateMachine):
    """What is readable is right; everything else is reported as lost, and nothing is made up."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.directory = Path(self.folder.name)
        self.begin()

    def begin(self):
        self.journal: Ring | Leftover = open_ring(self.directory, "bot", CAPACITY)
        assert self.journal.problem is None
        self.epoch = self.journal.epoch
        self.head = self.tail = 0
        self.slots: dict[int, tuple[int, Trade]] = {}
        self.damage = {position: bytearray(SLOT_BYTES) for position in range(CAPACITY)}

    def teardown(self):
        self.journal.close(delete=True)
        self.folder.cleanup()

    def is_open(self):
        return isinstance(self.journal, Ring)

    @precondition(is_open)
    @rule(trade=trades, overwrite=st.booleans())
    def append(self, trade, overwrite):
        seq = overwriting(self.journal, overwrite).append(trade)
        if self.head - self.tail >= CAPACITY and not overwrite:
            assert seq == 0
            return
        self.head += 1
        assert seq == self.head
        self.slots[seq % CAPACITY] = (seq, trade)
        self.damage[seq % CAPACITY] = bytearray(SLOT_BYTES)

    @rule(data=st.data())
    def trim(self, data):
        seq = data.draw(st.integers(0, self.head))
        self.journal.trim(seq)
        self.tail = max(self.tail, seq)

    @rule(data=st.data())
    def rewind(self, data):
        seq = data.draw(st.integers(0, self.head))
        self.journal.rewind(seq)
        self.tail = min(self.tail, seq)

    @precondition(is_open)
    @rule(
        position=st.integers(0, CAPACITY - 1),
        byte=st.integers(0, SLOT_BYTES - 1),
        mask=st.integers(1, 255),
    )
    def damage_a_slot(self, position, byte, mask):
        offset = HEADER_BYTES + position * SLOT_BYTES + byte
        flip(self.journal.path, offset, mask)
        self.damage[position][byte] ^= mask

    @rule()
    def reopen_as_leftover(self):
        self.journal.close(delete=False)
        assert self.journal.problem is None
        [self.journal] = leftovers(self.directory, "bot", refuse)
        assert self.journal.epoch == self.epoch

    @precondition(lambda self: not self.is_open())
    @rule()
    def finish_and_begin_anew(self):
        self.journal.close(delete=True)
        assert list(self.directory.iterdir()) == []
        self.begin()
        assert self.journal.epoch != self.epoch or self.head == 0

    def readable(self):
        return {
            seq: trade
            for position, (seq, trade) in self.slots.items()
            if not any(self.damage[position][:COVERED_BYTES])
        }

    @invariant()
    def what_is_not_readable_is_reported_as_lost_exactly(self):
        journal, readable = self.journal, self.readable()
        assert (journal.head, journal.tail) == (self.head, self.tail)
        assert journal.waiting == self.head - self.tail
        assert journal.oldest == max(1, self.head - CAPACITY + 1)
        every = range(-1, self.head + CAPACITY + 2)
        assert {seq: found for seq in every if (found := journal.read(seq))} == readable
        seq = 1
        while seq <= self.head:
            if seq in readable:
                seq += 1
                continue
            end = journal.lost_run(seq, self.head)
            assert seq <= end <= self.head
            assert not readable.keys() & set(range(seq, end + 1))
            one_cause = end < journal.oldest or seq >= journal.oldest
            assert one_cause
            assert end + 1 in readable or end == self.head or end + 1 == journal.oldest
            seq = end + 1


RingAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestRing = RingAgainstModel.TestCase


def flip(path: Path, offset: int, mask: int) -> None:
    with path.open("r+b", buffering=0) as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


@pytest.fixture(params=["memory", "file"])
def directory(request, tmp_path):
    return tmp_path if request.param == "file" else None


def test_a_ring_keeps_laps_apart(directory):
    ring = open_ring(directory, "bot", 8)
    for seq in range(1, 100):
        assert ring.append(trade(seq)) == seq
        assert ring.append(trade(0)) == 0 if ring.waiting == 8 else True
        assert ring.read(seq) == trade(seq)
        assert ring.read(seq - 8) is None
        ring.trim(seq - 3)
    assert [ring.read(seq) for seq in range(92, 100)] == [trade(seq) for seq in range(92, 100)]
    ring.close(delete=True)


def test_trimmed_trades_are_still_there_to_be_sent_again(directory):
    ring = open_ring(directory, "bot", 8)
    for seq in range(1, 11):
        overwriting(ring).append(trade(seq))
    ring.trim(10)
    assert ring.waiting == 0
    ring.rewind(4)
    assert ring.waiting == 6
    assert [ring.read(seq) for seq in range(3, 11)] == [trade(seq) for seq in range(3, 11)]
    ring.close(delete=True)


def test_after_a_rewind_below_what_it_holds_a_ring_is_full_until_it_is_trimmed(directory):
    ring = open_ring(directory, "bot", 4)
    for seq in range(1, 11):
        overwriting(ring).append(trade(seq))
    ring.trim(10)
    ring.rewind(2)
    assert ring.waiting == 8
    assert overwriting(ring, on=False).append(trade(11)) == 0
    assert overwriting(ring).append(trade(11)) == 11
    assert ring.lost_run(3, 11) == 7
    ring.trim(8)
    assert ring.append(trade(12)) == 12
    ring.close(delete=True)


def test_a_run_of_lost_ones_has_one_cause_and_never_ends_above_the_bound(tmp_path):
    ring = open_ring(tmp_path, "bot", 8)
    for seq in range(1, 21):
        overwriting(ring).append(trade(seq))
    for seq in (13, 14, 17):
        flip(ring.path, HEADER_BYTES + seq % 8 * SLOT_BYTES, 1)
    assert ring.lost_run(1, 20) == 12
    assert ring.lost_run(1, 5) == 5
    assert ring.lost_run(13, 20) == 14
    assert ring.lost_run(13, 13) == 13
    assert ring.lost_run(17, 20) == 17
    assert ring.lost_run(21, 30) == 30
    ring.close(delete=True)


def test_a_ring_has_all_its_memory_from_the_start(directory):
    capacity = 65_536
    ring = open_ring(directory, "bot", capacity)
    example = trade(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(capacity):
        ring.append(example)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < capacity * SLOT_BYTES / resource.getpagesize() / 4
    ring.close(delete=True)


def test_each_opening_is_a_new_epoch_in_a_new_file(tmp_path):
    rings = [open_ring(tmp_path, "bot", 4) for _ in range(5)]
    assert len({ring.epoch for ring in rings}) == 5
    assert len(list(tmp_path.iterdir())) == 5
    assert all(1 <= ring.epoch < 2**53 and ring.durable for ring in rings)
    for ring in rings:
        ring.close(delete=True)


def test_a_ring_in_memory_says_so():
    ring = open_ring(None, "bot", 4)
    assert (ring.durable, ring.path, ring.problem) == (False, None, None)
    ring.close(delete=True)
    assert ring.problem is None


def test_a_journal_removed_while_open_goes_on_and_is_told_at_the_end(tmp_path):
    ring = open_ring(tmp_path, "bot", 4)
    ring.append(trade(1))
    ring.path.unlink()
    assert ring.append(trade(2)) == 2
    assert ring.read(2) == trade(2)
    ring.close(delete=False)
    assert "was removed while it was in use" in ring.problem


def test_what_took_the_place_of_a_journal_is_not_deleted(tmp_path):
    ring = open_ring(tmp_path, "bot", 4)
    ring.path.unlink()
    ring.path.write_bytes(b"another's")
    ring.close(delete=True)
    assert ring.path.read_bytes() == b"another's"
    assert ring.problem is not None


def test_closing_twice_or_after_an_abandon_is_harmless(tmp_path):
    ring = open_ring(tmp_path, "bot", 4)
    ring.abandon()
    ring.abandon()
    ring.close(delete=True)
    [leftover] = leftovers(tmp_path, "bot", refuse)
    leftover.close(delete=True)
    leftover.close(delete=True)
    assert list(tmp_path.iterdir()) == []


def damaged_slot_is_lost(directory: Path) -> None:
    ring = open_ring(directory, "bot", 4)
    ring.append(trade(1))
    quantity = HEADER_BYTES + SLOT_BYTES + 16
    flip(ring.path, quantity + 6, 0x10)
    found = ring.read(1)
    ring.close(delete=True)
    assert found is None


def test_a_damaged_slot_is_lost(tmp_path):
    damaged_slot_is_lost(tmp_path)


def test_without_the_checksum_a_damaged_slot_would_be_a_trade(tmp_path, monkeypatch):
    for module in (journal, journal_slots):
        monkeypatch.setattr(module, "crc32", lambda *_: 0)
    with pytest.raises(AssertionError, match="assert Trade"):
        damaged_slot_is_lost(tmp_path)
