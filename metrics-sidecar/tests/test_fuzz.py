"""Random and mutated messages, from bytes to a commit: nothing raises, all is accounted for."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_sidecar.inbox import Inbox
from metrics_sidecar.ledger import Ledger
from trade_telemetry.errors import RejectedMessageError
from trade_telemetry.messages import (
    STAMP_MAX,
    Beat,
    LossReason,
    RefusalReason,
    Skip,
    Trade,
    decode,
    encode,
)

NOW_S = 1_790_000_000.0
stamps = st.sampled_from([1, 2, 3, 4, 5, 7, 100, STAMP_MAX - 1, STAMP_MAX]) | st.integers(
    1, STAMP_MAX
)
counts = st.just(0) | stamps
sources = st.sampled_from(["bot", "bot-2", "a/b", "x" * 64])
epochs = st.integers(1, 3)
times = st.sampled_from([1.0, NOW_S - 5, NOW_S, NOW_S + 5, NOW_S + 60, NOW_S * 1000])
trades = st.builds(
    Trade,
    side=st.sampled_from(["buy", "sell"]),
    qty=st.floats(0, 1e15),
    ts=times,
    symbol=st.none() | st.from_regex(r"[A-Z]{1,24}", fullmatch=True),
    price=st.none() | st.floats(1e-9, 1e9),
)
stamped = st.builds(
    Trade,
    side=st.just("buy"),
    qty=st.just(1.5),
    ts=times,
    src=sources,
    epoch=epochs,
    seq=st.integers(1, 12) | stamps,
)
beats = st.builds(
    Beat,
    src=sources,
    epoch=epochs,
    since=times,
    number=stamps,
    head=st.integers(0, 12) | counts,
    sent=counts,
    oldest=stamps,
    capacity=counts,
    refused=st.dictionaries(st.sampled_from([*RefusalReason, "unheard-of"]), counts),
    durable=st.booleans(),
    ending=st.booleans(),
)
skips = st.builds(
    Skip, src=sources, epoch=epochs, first=stamps, last=stamps, reason=st.sampled_from(LossReason)
)
real = (trades | stamped | beats | skips).map(encode)


@st.composite
def mutated(draw):
    """A real message with a few bytes changed, taken out or put in, cut off, or said twice."""
    frame = bytearray(draw(real))
    for _ in range(draw(st.integers(1, 4))):
        where = draw(st.integers(0, len(frame)))
        with_what = draw(
            st.binary(max_size=4) | st.sampled_from([b'"', b"{", b"1e999", b"-", b"9" * 30])
        )
        frame[where : where + draw(st.integers(0, 4))] = with_what
    cut = draw(st.integers(0, len(frame)) | st.just(len(frame)))
    return bytes(frame[:cut])


frames = st.binary(max_size=64) | real | real | mutated()


messages = st.lists(
    st.lists(frames, min_size=1, max_size=1) | st.lists(frames, min_size=2, max_size=3), max_size=30
)


class Line:
    """A real inbox, and a real socket that sends to it from within the same thread."""

    def __init__(self):
        self.inbox = Inbox()
        self.inbox._socket.bind("inproc://line")
        self._push = self.inbox._context.socket(zmq.PUSH)
        self._push.connect("inproc://line")

    def pass_on(self, messages, ledger):
        for parts in messages:
            self._push.send_multipart(parts)
        assert self.inbox.take(ledger)

    def close(self):
        self._push.close(linger=0)
        self.inbox.close()


@pytest.fixture(scope="module")
def line():
    line = Line()
    yield line
    line.close()


def check(ledger):
    """What must hold of everything that was ever committed."""
    snapshot = ledger.snapshot()
    rejected = sum(snapshot.rejected.values())
    others = snapshot.duplicates + snapshot.gaps + snapshot.beats + snapshot.skips
    others += snapshot.benchmarks
    assert snapshot.received == snapshot.applied + others + rejected + snapshot.turned_away
    tracked = 0
    for totals in snapshot.publishers.values():
        assert totals.residue == 0
        assert totals.published == totals.applied + sum(totals.lost.values()) + totals.waiting
        assert 0 <= totals.published <= STAMP_MAX
        tracked += totals.applied
    assert snapshot.applied == tracked + snapshot.untracked
    return snapshot


def commit(ledger, rows):
    """What the store does, in memory."""
    for key, value in ledger.changes().items():
        if value is None:
            del rows[key]
        else:
            rows[key] = value
    ledger.committed()
    return check(ledger)


@settings(max_examples=150)
@given(st.lists(messages, min_size=1, max_size=4))
def test_whatever_comes_is_accounted_for_and_a_restart_changes_nothing(line, batches):
    ledger, rows, sent = Ledger(), {}, 0
    for batch in batches:
        line.pass_on(batch, ledger)
        sent += len(batch)
        before = commit(ledger, rows)
        assert before.received == sent
        for _source, said in ledger.acknowledgements():
            assert said.last <= said.head
        ledger = Ledger(rows)
        after = check(ledger)
        assert (after.received, after.applied, after.rejected) == (
            before.received,
            before.applied,
            before.rejected,
        )
        assert after.publishers == {
            name: replace(each, instances=0)  # who runs now is not known before it is heard
            for name, each in before.publishers.items()
        }
        assert after.symbols == before.symbols


def stamps_of(batch):
    """The stamps of the trades in it that are whole."""
    for parts in batch:
        with suppress(RejectedMessageError):
            message = decode(parts[0], time.time())
            if len(parts) == 1 and isinstance(message, Trade) and message.seq:
                yield message.src, message.epoch, message.seq


@settings(max_examples=100)
@given(messages)
def test_however_often_it_is_sent_no_stamped_trade_is_counted_twice(line, batch):
    ledger, rows = Ledger(), {}
    for _ in range(3):
        line.pass_on(batch, ledger)
        found = commit(ledger, rows)
        ledger = Ledger(rows)
    assert found.applied - found.untracked <= len(set(stamps_of(batch)))


def test_real_messages_are_taken_at_all(line):
    """Or the tests above would prove nothing."""
    ledger = Ledger()
    beat = Beat("bot", 1, NOW_S, 1, 2, 0, 1, 100, {})
    trade = Trade("buy", 1.5, NOW_S, src="bot", epoch=1, seq=1)
    skip = Skip("bot", 1, 2, 2, LossReason.JOURNAL)
    batch = [[encode(each)] for each in (beat, trade, skip, Trade("sell", 1, NOW_S))]
    line.pass_on([*batch, [b"a", b"b"], [b"rubbish"]], ledger)
    found = commit(ledger, {})
    assert (found.beats, found.applied, found.skips, found.untracked) == (1, 2, 1, 1)
    assert (found.rejected["multipart"], found.rejected["malformed"]) == (1, 1)
    assert found.publishers["bot"].lost[LossReason.JOURNAL] == 1
