"""Sequences: what arrived, what is missing, what came twice; and the bounds on all of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics_sidecar import publishers as module
from metrics_sidecar.publishers import OTHER, ImplausibleError, Publishers, Sequence
from trade_telemetry.messages import STAMP_MAX, Beat

NOW_S = 1_790_000_000.0


def beat(source="bot", epoch=1, head=0, waiting=0, refused=0, since=NOW_S - 60):
    """By default of an epoch that began before the sidecar did."""
    return Beat(source, epoch, since, head, waiting, 100, {"ring_full": refused})


def applied(publishers, source, epoch, seq, now_s=NOW_S):
    """Take an event and count it, as the ledger does."""
    publisher = publishers.take(source, epoch, seq, now_s)
    if publisher is not None:
        publisher.applied += 1
    return publisher is not None


@given(st.lists(st.integers(1, 40), max_size=80))
def test_a_sequence_takes_each_number_once_and_knows_what_is_missing(arrivals):
    sequence = Sequence(first=0)
    seen: set[int] = set()
    for seq in arrivals:
        assert sequence.take(seq) is (seq not in seen)
        seen.add(seq)
        assert sequence.missing == max(seen) - len(seen)


def test_a_sequence_forgets_its_oldest_gap_but_not_what_was_missing_in_it(monkeypatch):
    monkeypatch.setattr(module, "GAPS_MAX", 2)
    sequence = Sequence(first=0)
    for seq in (2, 4, 6):
        sequence.take(seq)
    assert sequence.missing == 3
    assert not sequence.take(1)
    assert sequence.take(3)
    assert sequence.missing == 2


def test_what_was_sent_before_the_sidecar_started_is_not_missing():
    publishers = Publishers(NOW_S)
    assert applied(publishers, "bot", 1, 501, NOW_S)
    totals = publishers.totals()["bot"]
    assert (totals.applied, totals.missing, totals.published, totals.last_seq) == (1, 0, 1, 501)


def test_a_beat_heard_first_does_not_make_what_waits_a_duplicate():
    publishers = Publishers(NOW_S)
    publishers.beat(beat(head=500, waiting=200), NOW_S)
    assert applied(publishers, "bot", 1, 301, NOW_S)
    totals = publishers.totals()["bot"]
    assert (totals.published, totals.applied, totals.missing, totals.waiting) == (200, 1, 0, 200)


def test_a_beat_shows_a_loss_at_the_end_of_the_sequence():
    publishers = Publishers(NOW_S)
    applied(publishers, "bot", 1, 1, NOW_S)
    publishers.beat(beat(head=5, waiting=1), NOW_S)
    totals = publishers.totals()["bot"]
    assert (totals.published, totals.applied, totals.missing, totals.waiting) == (5, 1, 3, 1)
    assert applied(publishers, "bot", 1, 3, NOW_S), "it comes late, over the older connection"
    assert publishers.totals()["bot"].missing == 2


def test_a_repeated_event_is_a_duplicate():
    publishers = Publishers(NOW_S)
    assert applied(publishers, "bot", 1, 1, NOW_S)
    assert not applied(publishers, "bot", 1, 1, NOW_S)
    assert publishers.duplicates == publishers.totals()["bot"].duplicates == 1


def test_two_lives_of_a_publisher_are_told_apart_and_summed():
    publishers = Publishers(NOW_S)
    applied(publishers, "bot", 1, 1, NOW_S)
    publishers.beat(beat(epoch=1, head=1, refused=2), NOW_S)
    applied(publishers, "bot", 2, 1, NOW_S + 1)
    publishers.beat(beat(epoch=2, head=1, refused=1), NOW_S + 1)
    publishers.beat(beat(epoch=2, head=1, refused=3), NOW_S + 2)
    totals = publishers.totals()["bot"]
    assert (totals.applied, totals.published, totals.duplicates) == (2, 2, 0)
    assert totals.refused["ring_full"] == 5
    assert (totals.epoch, totals.last_seen_s) == (2, NOW_S + 2)


def test_publishers_past_the_limit_are_counted_together(monkeypatch):
    monkeypatch.setattr(module, "PUBLISHERS_MAX", 2)
    publishers = Publishers(NOW_S)
    for name in ("a", "b", "c", "d"):
        assert applied(publishers, name, 1, 1, NOW_S)
        assert not applied(publishers, name, 1, 1, NOW_S)
    totals = publishers.totals()
    assert {name: t.applied for name, t in totals.items()} == {"a": 1, "b": 1, OTHER: 2}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.integers(1, 3),
            st.integers(1, 30),
            st.none() | st.integers(0, 40),
            st.sampled_from([NOW_S - 60, NOW_S + 60]),
        ),
        max_size=80,
    )
)
def test_whatever_is_heard_in_whatever_order_the_residue_is_0(heard):
    publishers = Publishers(NOW_S)
    for source, epoch, number, waiting, since in heard:
        if waiting is None:
            applied(publishers, source, epoch, number, NOW_S)
        else:
            publishers.beat(beat(source, epoch, number, min(waiting, number), 0, since), NOW_S)
        for totals in publishers.totals().values():
            assert totals.residue == 0
            assert totals.missing >= 0
            assert totals.published >= totals.applied + totals.missing


def test_an_event_that_is_taken_and_not_counted_shows_as_residue():
    publishers = Publishers(NOW_S)
    applied(publishers, "bot", 1, 1)
    publishers.take("bot", 1, 2, NOW_S)  # the ledger drops it on the floor
    assert publishers.totals()["bot"].residue == 1


def test_of_an_epoch_that_began_after_the_sidecar_everything_is_expected():
    """What was lost on a first connection that nobody saw is missing, not unknown."""
    by_beat, by_trade = Publishers(NOW_S), Publishers(NOW_S)
    later = NOW_S + 1
    by_beat.beat(beat(head=200, waiting=50, since=later), NOW_S + 2)
    applied(by_trade, "bot", 1, 151, NOW_S + 2)
    by_trade.beat(beat(head=200, waiting=49, since=later), NOW_S + 2)
    totals = by_beat.totals()["bot"]
    assert (totals.published, totals.missing, totals.waiting) == (200, 150, 50)
    totals = by_trade.totals()["bot"]
    assert (totals.published, totals.applied, totals.missing) == (200, 1, 150)
    assert applied(by_trade, "bot", 1, 7, NOW_S + 3), "it comes late, over the older connection"
    assert by_trade.totals()["bot"].missing == 149


def test_after_forgetting_nothing_that_was_counted_becomes_missing(monkeypatch):
    monkeypatch.setattr(module, "EPOCHS_MAX", 3)
    monkeypatch.setattr(module, "EPOCHS_FORGOTTEN_AT_ONCE", 1)
    publishers = Publishers(NOW_S)
    for number in range(1, 6):
        publishers.beat(beat("bot", number, since=NOW_S + 1), NOW_S + 1)
        for seq in range(1, 11):
            applied(publishers, "bot", number, seq, NOW_S + number)
    publishers.beat(beat("bot", 1, head=10, since=NOW_S + 1), NOW_S + 9)
    totals = publishers.totals()["bot"]
    assert (totals.applied, totals.published, totals.missing, totals.residue) == (50, 50, 0, 0)


def test_numbers_beyond_reason_are_refused_and_change_nothing():
    publishers = Publishers(NOW_S)
    applied(publishers, "bot", 1, 1)
    publishers.beat(beat(epoch=2, head=STAMP_MAX - 10, waiting=0), NOW_S)
    before = publishers.totals()["bot"]
    publishers.beat(beat(epoch=3, head=STAMP_MAX, waiting=STAMP_MAX - 5), NOW_S)
    for epoch in range(4, 50):
        with pytest.raises(ImplausibleError):
            publishers.beat(beat(epoch=epoch, head=STAMP_MAX, waiting=STAMP_MAX), NOW_S)
    assert publishers.totals()["bot"].published <= STAMP_MAX
    assert before.published == 1
    with pytest.raises(ImplausibleError):
        publishers.take("bot", 1, STAMP_MAX, NOW_S)
    assert publishers.totals()["bot"].residue == 0


def test_a_publisher_is_open_until_it_says_that_it_ends_and_again_in_its_next_life():
    publishers = Publishers(NOW_S)
    applied(publishers, "bot", 1, 1)
    assert publishers.totals()["bot"].open
    publishers.beat(Beat("bot", 1, NOW_S, 1, 0, 10, {}, ending=True), NOW_S)
    assert not publishers.totals()["bot"].open
    applied(publishers, "bot", 2, 1)
    assert publishers.totals()["bot"].open


def test_refusals_that_go_up_and_down_are_counted_at_their_highest():
    publishers = Publishers(NOW_S)
    for refused in (0, 100, 0, 100, 0, 120):
        publishers.beat(beat(refused=refused), NOW_S)
    assert publishers.totals()["bot"].refused["ring_full"] == 120


def test_a_refusal_for_a_reason_not_known_here_is_counted_as_other():
    publishers = Publishers(NOW_S)
    publishers.beat(Beat("bot", 1, NOW_S, 0, 0, 10, {"full_moon": 3}), NOW_S)
    assert publishers.totals()["bot"].refused == {"ring_full": 0, "closed": 0, OTHER: 3}


def test_publishers_counted_together_keep_lives_of_one_number_apart(monkeypatch):
    monkeypatch.setattr(module, "PUBLISHERS_MAX", 1)
    publishers = Publishers(NOW_S)
    for name in ("a", "b", "c"):
        applied(publishers, name, 7, 1, NOW_S)
        applied(publishers, name, 7, 3, NOW_S)
    totals = publishers.totals()
    assert (totals[OTHER].missing, totals["a"].missing) == (2, 1)


def test_a_flood_of_lives_stays_within_the_limit_and_loses_no_count(monkeypatch):
    monkeypatch.setattr(module, "EPOCHS_MAX", 10)
    publishers = Publishers(NOW_S)
    for epoch in range(1, 101):
        applied(publishers, "bot", epoch, 1, NOW_S)
        applied(publishers, "bot", epoch, 3, NOW_S)
    totals = publishers.totals()["bot"]
    assert (totals.applied, totals.missing) == (200, 100)
    assert len(publishers._epochs) == len(publishers._publishers["bot"].epochs) <= 10
