"""One epoch on its way: each rule of the send cursor by itself; tests/ has them all at random."""

from __future__ import annotations

from itertools import pairwise

import pytest

from trade_telemetry import delivery
from trade_telemetry.acknowledgements import Acknowledgement
from trade_telemetry.delivery import ContestedEpochError, Stream
from trade_telemetry.journal import open_ring
from trade_telemetry.messages import Batch, Beat, RefusalReason, Skip, Trade
from trade_telemetry.plain import PlainStream


def overwriting(ring, on=True):
    ring.overwrite = on
    return ring


TRADE = Trade("buy", 1.0, 1_000.0)


class Life:
    """A stream over a ring in memory, with a clock; messages are kept as short words."""

    def __init__(self, count: int, capacity: int = 100, *, leftover: bool = False) -> None:
        self.ring = open_ring(None, "bot", capacity)
        self.publish(count)
        self.stream = Stream("bot", self.ring, {RefusalReason.CLOSED: 2}, leftover=leftover)
        self.now_s = 100.0

    def publish(self, count: int) -> None:
        for _ in range(count):
            overwriting(self.ring).append(TRADE)

    def send(self, count_max: int = 1_000) -> list[object]:
        """Trades as their sequence, beats as "beat N", skips as (first, last, reason)."""
        sent: list[object] = []
        for message in self.stream.outgoing(count_max, self.now_s):
            if isinstance(message, Beat):
                sent.append(f"beat {message.number}")
            elif isinstance(message, Skip):
                sent.append((message.first, message.last, message.reason))
            elif isinstance(message, Batch):
                sent += range(message.seq, message.last + 1)
            else:
                sent.append(message.seq)
        return sent

    def hear(self, last: int, beat: int = 0, *, gap: bool = False, incarnation: int = 1) -> bool:
        head = max(last, self.ring.head)
        answer = Acknowledgement(incarnation, self.ring.epoch, last, head, beat, gap)
        return self.stream.hear(answer, self.now_s)


def test_what_was_only_announced_may_be_settled_and_more_is_contested():
    life = Life(5)
    assert life.send(count_max=2) == ["beat 1", 1, 2]
    assert life.hear(5)  # silent for so long that the sidecar gave up what it knew of
    life.publish(2)
    assert life.send() == [6, 7]
    with pytest.raises(ContestedEpochError):
        life.hear(8)


def test_the_first_word_is_a_beat_and_then_trades_come_in_order():
    life = Life(3)
    assert life.send() == ["beat 1", 1, 2, 3]
    assert life.send() == []
    life.publish(1)
    assert life.send() == [4]


def test_trades_are_stamped():
    life = Life(1)
    _, trade = life.stream.outgoing(10, life.now_s)
    assert (trade.src, trade.epoch, trade.seq) == ("bot", life.ring.epoch, 1)
    assert (trade.side, trade.qty, trade.ts) == (TRADE.side, TRADE.qty, TRADE.ts)


def test_a_message_that_could_not_be_pushed_comes_again(monkeypatch):
    monkeypatch.setattr(delivery, "BATCH_TRADES_MAX", 2)
    life = Life(3)
    outgoing = life.stream.outgoing(10, life.now_s)
    assert isinstance(next(outgoing), Beat)
    assert [(next(outgoing).seq, life.stream.sent) for _ in range(2)] == [(1, 0), (3, 2)]
    outgoing.close()  # as the sender does, whose push of the second batch failed
    assert life.stream.sent == 2
    assert life.send() == [3]


def test_a_beat_is_due_each_second_and_tells_the_state():
    life = Life(2, capacity=3)
    assert life.send(1) == ["beat 1", 1]
    life.now_s += 0.99
    assert life.send() == [2]
    life.now_s += 0.02
    life.publish(3)
    beat = next(life.stream.outgoing(10, life.now_s))
    assert (beat.number, beat.head, beat.sent, beat.oldest, beat.capacity) == (2, 5, 2, 3, 3)
    assert (beat.since, beat.refused, beat.durable) == (life.ring.since_s, {"closed": 2}, False)


def test_a_beat_is_due_ten_times_a_second_while_it_closes():
    life = Life(1)
    life.send()
    life.stream.hurry()
    numbers = []
    for _ in range(10):
        numbers += life.send()
        life.now_s += 0.1001
        life.stream.hurry()
    assert numbers == [f"beat {n}" for n in range(2, 12)]


def test_only_what_is_acknowledged_is_let_go_of():
    life = Life(5)
    life.send()
    assert (life.ring.tail, life.stream.waiting, life.stream.settled) == (0, 5, False)
    assert life.hear(3, beat=1)
    assert (life.ring.tail, life.stream.waiting) == (3, 2)
    life.hear(5)
    assert life.stream.settled


def test_another_epochs_acknowledgement_changes_nothing():
    life = Life(5)
    life.send()
    assert not life.stream.hear(Acknowledgement(1, life.ring.epoch ^ 1, 5, 5), life.now_s)
    assert life.ring.tail == 0


def test_at_most_a_window_is_sent_and_not_acknowledged(monkeypatch):
    monkeypatch.setattr(delivery, "WINDOW_EVENTS", 4)
    life = Life(10)
    assert life.send() == ["beat 1", 1, 2, 3, 4]
    life.hear(3)
    assert life.send() == [5, 6, 7]


def test_what_was_pushed_before_an_answered_beat_and_is_not_settled_was_lost():
    life = Life(5)
    life.send()
    life.now_s += 1.01
    assert life.send() == ["beat 2"]
    life.hear(2, beat=1)  # 3 to 5 came after that beat: they may be on their way
    assert life.send() == []
    life.hear(2, beat=2)
    assert life.send() == ["beat 3", 3, 4, 5]
    assert life.stream.resent == 3


def test_a_gap_proves_a_loss_too():
    life = Life(5)
    life.send()
    life.hear(2, beat=1, gap=True)
    assert life.send() == ["beat 2", 3, 4, 5]


def test_after_going_back_evidence_from_before_is_ignored():
    life = Life(5)
    life.send()
    life.hear(2, beat=1, gap=True)
    life.send()
    for last in (2, 3, 4):
        life.now_s += 0.5
        life.hear(last, beat=1, gap=True)
        assert not [each for each in life.send() if isinstance(each, int)]
    assert life.stream.resent == 3


def test_going_back_to_the_same_place_again_takes_longer_each_time():
    life = Life(5)
    life.send()
    back_s = []
    for _ in range(600):
        life.now_s += 0.05
        resent = life.stream.resent
        life.hear(2, beat=life.stream._number, gap=True)
        if life.stream.resent > resent:
            back_s.append(life.now_s)
        life.send()
    pauses_s = [after - before for before, after in pairwise(back_s)]
    assert pauses_s == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0], abs=0.051)


def test_a_new_connection_asks_before_it_sends_on_what_follows_the_unacknowledged():
    life = Life(3)
    life.send()
    life.publish(2)
    life.stream.connection_made(life.now_s)
    assert life.send() == ["beat 2"]
    life.hear(1, beat=2)
    assert life.send() == ["beat 3", 2, 3, 4, 5]


def test_it_asks_again_and_goes_on_after_a_second_without_an_answer():
    life = Life(3)
    life.send()
    life.stream.connection_made(life.now_s)
    assert life.send() == ["beat 2"]
    life.publish(1)
    for number in range(3, 7):  # the answers' connection may have been made later
        life.now_s += 0.101
        assert life.send() == [f"beat {number}"]
    life.now_s += 1
    assert 4 in life.send()


def test_a_leftover_says_only_beats_until_it_has_heard_how_far_it_came():
    life = Life(5, leftover=True)
    life.stream.connection_made(life.now_s)
    for number in range(1, 4):
        assert life.send() == [f"beat {number}"]
        life.now_s += 5
    assert not life.stream.settled
    life.hear(4, beat=3)
    assert life.send()[-1] == 5
    life.hear(5)
    assert life.stream.settled


def test_an_empty_leftover_is_settled_only_when_it_was_heard():
    life = Life(0, leftover=True)
    life.stream.connection_made(life.now_s)
    life.send()
    assert not life.stream.settled
    life.hear(0, beat=1)
    assert life.stream.settled


def test_the_end_of_a_leftover_that_only_the_sidecar_knows_of_is_lost_to_the_journal():
    life = Life(5, leftover=True)
    life.stream.connection_made(life.now_s)
    life.send()
    life.stream.hear(Acknowledgement(1, life.ring.epoch, last=3, head=9, beat=1), life.now_s)
    assert life.send()[-3:] == [4, 5, (6, 9, "journal")]
    assert life.stream.waiting == 6


def test_what_was_overwritten_is_announced_in_its_place():
    life = Life(3, capacity=4)
    assert life.send(2) == ["beat 1", 1, 2]
    life.publish(10)
    assert life.send() == [(3, 9, "overwritten"), 10, 11, 12, 13]


def test_what_is_damaged_is_announced_run_by_run():
    life = Life(7)
    for seq in (2, 3, 6):
        life.ring.memory[4096 + seq * 64] ^= 1
    assert life.send()[1:] == [1, (2, 3, "journal"), 4, 5, (6, 6, "journal"), 7]


def test_an_older_state_is_filled_again_and_what_is_gone_is_lost_to_the_state():
    life = Life(10, capacity=4)
    life.send()
    life.hear(10, beat=1)
    life.publish(1)
    life.send()
    life.hear(3, incarnation=2)
    assert life.send() == ["beat 2", (4, 7, "state"), 8, 9, 10, 11]
    assert life.stream.waiting == 8
    life.hear(11, beat=2, incarnation=2)
    assert life.stream.settled


def test_a_late_word_of_a_dead_sidecar_is_not_heard():
    life = Life(5)
    life.send()
    assert life.hear(2)
    assert life.hear(2, incarnation=2)
    assert not life.hear(4)
    assert life.ring.tail == 2
    assert not life.hear(1, incarnation=2)  # nor one that was overtaken


def test_an_epoch_is_contested_when_what_was_never_sent_is_settled():
    life = Life(3)
    life.send()
    life.publish(2)
    with pytest.raises(ContestedEpochError):
        life.hear(4, incarnation=9)
    assert (life.ring.tail, life.stream.sent_max) == (0, 3)
    assert life.hear(3)


def test_one_that_was_superseded_says_what_it_refused_until_a_beat_with_it_was_answered():
    life = Life(0)
    life.send()
    life.stream.supersede()
    life.hear(0, beat=1)
    assert life.stream.ending().refused == {"closed": 2}
    life.now_s += 1
    assert life.send() == ["beat 2"]
    life.hear(0, beat=2)
    assert life.stream.ending().refused == {}


def test_the_last_beat_says_that_it_is():
    assert Life(0).stream.ending().ending


def test_plain_trades_have_no_stamps_and_are_let_go_of_when_handed_over():
    life = Life(6, capacity=4)
    stream = PlainStream("bot", life.ring)
    outgoing = stream.outgoing(3, 0.0)
    assert next(outgoing) == TRADE
    assert stream.sent == 0
    next(outgoing)
    assert (stream.sent, stream.settled) == (3, False)  # the two oldest were written over
    outgoing.close()
    assert len(list(stream.outgoing(100, 0.0))) == 3
    assert stream.settled
