"""Sequences: what arrived, what is missing, what came twice; and the bounds on all of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from metrics_sidecar import publishers as module
from metrics_sidecar.publishers import OTHER, Publishers, Sequence
from trade_telemetry.messages import Beat, RefusalReason

NOW_S = 1_790_000_000.0


def beat(source="bot", epoch=1, head=0, waiting=0, refused=0):
    return Beat(source, epoch, head, waiting, 100, {RefusalReason.RING_FULL: refused})


@given(st.lists(st.integers(1, 40), max_size=80))
def test_a_sequence_takes_each_number_once_and_knows_what_is_missing(arrivals):
    sequence = Sequence(last=0)
    seen: set[int] = set()
    for seq in arrivals:
        assert sequence.take(seq) is (seq not in seen)
        seen.add(seq)
        assert sequence.missing == max(seen) - len(seen)


def test_a_sequence_forgets_its_oldest_gap_but_not_what_was_missing_in_it(monkeypatch):
    monkeypatch.setattr(module, "GAPS_MAX", 2)
    sequence = Sequence(last=0)
    for seq in (2, 4, 6):
        sequence.take(seq)
    assert sequence.missing == 3
    assert not sequence.take(1)
    assert sequence.take(3)
    assert sequence.missing == 2


def test_what_was_sent_before_the_sidecar_started_is_not_missing():
    publishers = Publishers()
    assert publishers.take("bot", 1, 501, NOW_S)
    totals = publishers.totals()["bot"]
    assert (totals.applied, totals.missing, totals.published, totals.last_seq) == (1, 0, 1, 501)


def test_a_beat_heard_first_does_not_make_what_waits_a_duplicate():
    publishers = Publishers()
    publishers.beat(beat(head=500, waiting=200), NOW_S)
    assert publishers.take("bot", 1, 301, NOW_S)
    totals = publishers.totals()["bot"]
    assert (totals.published, totals.applied, totals.missing, totals.waiting) == (200, 1, 0, 199)


def test_a_beat_shows_a_loss_at_the_end_of_the_sequence():
    publishers = Publishers()
    publishers.take("bot", 1, 1, NOW_S)
    publishers.beat(beat(head=5, waiting=1), NOW_S)
    totals = publishers.totals()["bot"]
    assert (totals.published, totals.applied, totals.missing, totals.waiting) == (5, 1, 3, 1)
    assert publishers.take("bot", 1, 3, NOW_S), "it comes late, over the older connection"
    assert publishers.totals()["bot"].missing == 2


def test_a_repeated_event_is_a_duplicate():
    publishers = Publishers()
    assert publishers.take("bot", 1, 1, NOW_S)
    assert not publishers.take("bot", 1, 1, NOW_S)
    assert publishers.duplicates == publishers.totals()["bot"].duplicates == 1


def test_two_lives_of_a_publisher_are_told_apart_and_summed():
    publishers = Publishers()
    publishers.take("bot", 1, 1, NOW_S)
    publishers.beat(beat(epoch=1, head=1, refused=2), NOW_S)
    publishers.take("bot", 2, 1, NOW_S + 1)
    publishers.beat(beat(epoch=2, head=1, refused=1), NOW_S + 1)
    publishers.beat(beat(epoch=2, head=1, refused=3), NOW_S + 2)
    totals = publishers.totals()["bot"]
    assert (totals.applied, totals.published, totals.duplicates) == (2, 2, 0)
    assert totals.refused[RefusalReason.RING_FULL] == 5
    assert (totals.epoch, totals.last_seen_s) == (2, NOW_S + 2)


def test_publishers_past_the_limit_are_counted_together(monkeypatch):
    monkeypatch.setattr(module, "PUBLISHERS_MAX", 2)
    publishers = Publishers()
    for name in ("a", "b", "c", "d"):
        assert publishers.take(name, 1, 1, NOW_S)
        assert not publishers.take(name, 1, 1, NOW_S)
    totals = publishers.totals()
    assert {name: t.applied for name, t in totals.items()} == {"a": 1, "b": 1, OTHER: 2}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.integers(1, 3),
            st.integers(1, 30),
            st.none() | st.integers(0, 40),
        ),
        max_size=80,
    )
)
def test_whatever_is_heard_in_whatever_order_the_residue_is_0(heard):
    publishers = Publishers()
    for source, epoch, number, waiting in heard:
        if waiting is None:
            publishers.take(source, epoch, number, NOW_S)
        else:
            publishers.beat(beat(source, epoch, head=number, waiting=waiting), NOW_S)
        for totals in publishers.totals().values():
            assert totals.residue == 0
            assert min(totals.missing, totals.waiting, totals.applied) >= 0


def test_an_event_that_is_taken_and_not_counted_shows_as_residue():
    publishers = Publishers()
    publishers.take("bot", 1, 1, NOW_S)
    publishers._publishers["bot"].applied -= 1
    assert publishers.totals()["bot"].residue == 1


def test_publishers_counted_together_keep_lives_of_one_number_apart(monkeypatch):
    monkeypatch.setattr(module, "PUBLISHERS_MAX", 1)
    publishers = Publishers()
    for name in ("a", "b", "c"):
        publishers.take(name, 7, 1, NOW_S)
        publishers.take(name, 7, 3, NOW_S)
    totals = publishers.totals()
    assert (totals[OTHER].missing, totals["a"].missing) == (2, 1)


def test_a_flood_of_lives_stays_within_the_limit_and_loses_no_count(monkeypatch):
    monkeypatch.setattr(module, "EPOCHS_MAX", 10)
    publishers = Publishers()
    for epoch in range(1, 101):
        publishers.take("bot", epoch, 1, NOW_S)
        publishers.take("bot", epoch, 3, NOW_S)
    totals = publishers.totals()["bot"]
    assert (totals.applied, totals.missing) == (200, 100)
    assert len(publishers._epochs) == len(publishers._publishers["bot"].epochs) == 10
