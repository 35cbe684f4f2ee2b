"""The ledger: every message falls into one count, exactly; only what is committed is said."""

from __future__ import annotations

import random
from decimal import Decimal
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics_sidecar import epochs as epochs_module
from metrics_sidecar import ledger as ledger_module
from metrics_sidecar.epochs import CLAIM_MAX, EPOCHS_MAX
from metrics_sidecar.ledger import Ledger
from metrics_sidecar.publishers import OTHER
from metrics_sidecar.rows import ServiceCounter
from metrics_sidecar.tallies import NO_SYMBOL, RECENT_MAX, SYMBOLS_MAX
from trade_telemetry import RejectReason, Trade
from trade_telemetry.messages import (
    STAMP_MAX,
    Acknowledgement,
    Batch,
    Beat,
    LossReason,
    Skip,
    TradeRow,
    one_by_one,
)

NOW_S = 1_790_000_000.0


def trade(side="buy", qty=1.0, ts=NOW_S, **fields):
    return Trade(side, qty, ts, **fields)


def stamped(seq, epoch=1, source="bot"):
    return trade(src=source, epoch=epoch, seq=seq)


def beat(number=1, head=0, epoch=1, **fields):
    values = {"since": NOW_S - 60, "sent": head, "oldest": 1, "capacity": 100, "refused": {}}
    return Beat("bot", epoch, number=number, head=head, **(values | fields))


def committed(ledger):
    """The snapshot after a commit that the store took."""
    ledger.changes()
    ledger.committed()
    return ledger.snapshot()


def test_both_sides_stand_at_zero_from_the_start():
    snapshot = Ledger().snapshot()
    assert [snapshot.trades(side) for side in ("buy", "sell")] == [0, 0]
    assert [snapshot.volume(side) for side in ("buy", "sell")] == [0.0, 0.0]
    assert snapshot.last_trade_ts_s == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["buy", "sell"]),
            st.decimals(0, 1_000_000, places=9),
            st.sampled_from([None, "BTCUSDT", "AAPL"]),
        ),
        max_size=60,
    )
)
def test_totals_are_the_exact_sums_of_what_was_applied(rows):
    ledger = Ledger()
    for side, qty, symbol in rows:
        ledger.apply(trade(side, float(qty), symbol=symbol), NOW_S)
    snapshot = committed(ledger)
    for side in ("buy", "sell"):
        mine = [(qty, symbol or NO_SYMBOL) for s, qty, symbol in rows if s == side]
        assert snapshot.trades(side) == len(mine)
        assert snapshot.volume(side) == float(sum((qty for qty, _ in mine), Decimal(0)))
        for symbol, totals in snapshot.symbols.items():
            exact = sum((qty for qty, s in mine if s == symbol), Decimal(0))
            assert totals.volume_nano[side] == int(exact * 10**9)


def test_the_order_of_trades_never_changes_the_volume():
    quantities = [0.1, 1e15, 0.2, 1e-9, 123_456.789, 0.3] * 50
    volumes = set()
    for seed in range(5):
        ledger = Ledger()
        for qty in random.Random(seed).sample(quantities, len(quantities)):
            ledger.apply(trade(qty=qty), NOW_S)
        volumes.add(committed(ledger).symbols[NO_SYMBOL].volume_nano["buy"])
    assert len(volumes) == 1


def test_received_is_the_sum_of_what_became_of_each_message():
    ledger = Ledger()
    ledger.apply(trade(), NOW_S)
    for seq in (1, 1, 3):
        ledger.apply(stamped(seq), NOW_S)
    ledger.beat(beat(), NOW_S)
    ledger.skip(Skip("bot", 1, 2, 2, LossReason.STATE), NOW_S)
    ledger.reject(RejectReason.QTY, 3)
    shown = committed(ledger)
    assert (shown.applied, shown.untracked) == (2, 1)
    assert (shown.duplicates, shown.gaps, shown.beats, shown.skips) == (1, 1, 1, 1)
    assert shown.rejected[RejectReason.QTY] == 3
    assert shown.received == 2 + 1 + 1 + 1 + 1 + 3


# the sequence


def test_the_next_is_applied_what_came_before_is_a_duplicate_and_above_a_hole_nothing_is():
    ledger = Ledger()
    for seq in (1, 2, 2, 1, 4, 5, 3, 4):
        ledger.apply(stamped(seq), NOW_S)
    bot = committed(ledger).publishers["bot"]
    assert (bot.applied, bot.duplicates, bot.gaps, bot.last_seq) == (4, 2, 2, 4)
    assert (bot.published, bot.waiting, bot.residue) == (4, 0, 0)


def test_a_sequence_that_does_not_begin_at_1_waits_for_its_beginning():
    ledger = Ledger()
    ledger.apply(stamped(501), NOW_S)
    bot = committed(ledger).publishers["bot"]
    assert (bot.applied, bot.gaps, bot.last_seq, bot.published) == (0, 1, 0, 0)


def test_a_rejected_trade_with_stamps_takes_its_sequence_as_lost_so_that_successors_may_come():
    ledger = Ledger()
    ledger.apply(stamped(1), NOW_S)
    ledger.reject_stamped(RejectReason.TS_FUTURE, ("bot", 1, 2), NOW_S)
    ledger.reject_stamped(RejectReason.TS_FUTURE, ("bot", 1, 2), NOW_S)
    ledger.reject_stamped(RejectReason.TS_FUTURE, ("bot", 1, 9), NOW_S)
    ledger.apply(stamped(3), NOW_S)
    shown = committed(ledger)
    bot = shown.publishers["bot"]
    assert (bot.published, bot.applied, bot.lost[LossReason.REJECTED], bot.residue) == (3, 2, 1, 0)
    assert (shown.rejected[RejectReason.TS_FUTURE], shown.duplicates, shown.gaps) == (1, 1, 1)
    assert shown.received == 5


def test_a_skip_counts_as_lost_only_what_exceeds_what_was_taken():
    ledger = Ledger()
    for seq in (1, 2, 3):
        ledger.apply(stamped(seq), NOW_S)
    ledger.skip(Skip("bot", 1, 2, 5, LossReason.OVERWRITTEN), NOW_S)
    ledger.skip(Skip("bot", 1, 1, 4, LossReason.STATE), NOW_S)
    ledger.apply(stamped(6), NOW_S)
    shown = committed(ledger)
    bot = shown.publishers["bot"]
    assert (bot.applied, bot.lost[LossReason.OVERWRITTEN], bot.lost[LossReason.STATE]) == (4, 2, 0)
    assert (bot.last_seq, bot.residue, shown.skips) == (6, 0, 2)


def test_a_skip_above_a_hole_is_a_gap_and_loses_nothing():
    ledger = Ledger()
    ledger.skip(Skip("bot", 1, 2, 5, LossReason.STATE), NOW_S)
    shown = committed(ledger)
    assert (shown.gaps, shown.skips, shown.publishers["bot"].last_seq) == (1, 0, 0)


def test_a_beat_says_what_waits_and_never_lowers_what_is_known():
    ledger = Ledger()
    ledger.apply(stamped(1), NOW_S)
    ledger.beat(beat(head=10, oldest=4, durable=True), NOW_S)
    ledger.beat(beat(head=7, oldest=4, durable=True), NOW_S)
    bot = committed(ledger).publishers["bot"]
    assert (bot.published, bot.applied, bot.waiting, bot.residue) == (10, 1, 9, 0)
    assert (bot.capacity, bot.held, bot.durable, bot.open) == (100, 4, True, True)


def test_two_lives_of_a_publisher_are_told_apart_and_summed():
    ledger = Ledger()
    for epoch in (1, 2):
        ledger.apply(stamped(1, epoch), NOW_S + epoch)
        ledger.beat(beat(epoch=epoch, head=1, since=NOW_S + epoch, capacity=epoch), NOW_S + epoch)
    ledger.apply(stamped(2, epoch=1), NOW_S + 3)
    bot = committed(ledger).publishers["bot"]
    assert (bot.applied, bot.published, bot.epochs, bot.duplicates) == (3, 3, 2, 0)
    assert (bot.epoch, bot.last_seq, bot.capacity) == (2, 1, 2), "the newest, not the last heard"
    assert bot.last_seen_s == NOW_S + 3


def test_a_publisher_is_open_until_it_says_that_it_ends_and_again_in_its_next_life():
    ledger = Ledger()
    ledger.beat(beat(), NOW_S)
    ledger.beat(beat(ending=True), NOW_S)
    assert not committed(ledger).publishers["bot"].open
    ledger.beat(beat(epoch=2), NOW_S)
    bot = committed(ledger).publishers["bot"]
    assert (bot.open, bot.epochs) == (True, 1)


def test_refusals_that_go_up_and_down_are_counted_at_their_highest():
    ledger = Ledger()
    counted = []
    for count in (0, 100, 0, 100, 0, 120):
        ledger.beat(beat(refused={"ring_full": count}), NOW_S)
        counted.append(committed(ledger).publishers["bot"].refused["ring_full"])
    assert counted == [0, 100, 100, 100, 100, 120]


def test_refusals_for_reasons_not_known_here_are_counted_together_as_other():
    ledger = Ledger()
    ledger.beat(beat(refused={"full_moon": 3, "tide": 2}), NOW_S)
    ledger.beat(beat(refused={"full_moon": 3, "tide": 4}), NOW_S)
    refused = committed(ledger).publishers["bot"].refused
    assert refused == {"ring_full": 0, "closed": 0, OTHER: 7}


@pytest.mark.parametrize(("error", "residue"), [(-1, 1), (1, -1)])
def test_an_event_that_is_left_out_or_counted_twice_shows_as_residue(error, residue):
    ledger = Ledger()
    for seq in (1, 2, 3):
        ledger.apply(stamped(seq), NOW_S)
    ledger._publishers.by_name["bot"].applied += error
    ledger.apply(stamped(4), NOW_S)
    assert committed(ledger).publishers["bot"].residue == residue
    assert Ledger(ledger.rows()).snapshot().publishers["bot"].residue == residue


# numbers beyond reason


@pytest.fixture
def any_claim(monkeypatch):
    """As after so many messages that the totals come to their end."""
    monkeypatch.setattr(epochs_module, "CLAIM_MAX", STAMP_MAX)


def test_numbers_that_would_overflow_a_total_are_rejected_and_change_nothing_else():
    ledger = Ledger()
    ledger.apply(stamped(1), NOW_S)
    before = committed(ledger)
    ledger.apply(stamped(STAMP_MAX, epoch=2), NOW_S)
    ledger.apply(stamped(STAMP_MAX, epoch=2), NOW_S)
    ledger.reject_stamped(RejectReason.QTY, ("bot", 2, STAMP_MAX), NOW_S)
    ledger.skip(Skip("bot", 3, 1, STAMP_MAX, LossReason.STATE), NOW_S)
    ledger.beat(beat(epoch=4, head=STAMP_MAX), NOW_S)
    ledger.beat(beat(refused={"ring_full": STAMP_MAX, "closed": 1}), NOW_S)
    after = committed(ledger)
    reasons = {reason: count for reason, count in after.rejected.items() if count}
    assert reasons == {"stamp": 2, "qty": 1, "skip": 1, "beat": 2}
    assert (after.publishers, after.epochs) == (before.publishers, 1)
    assert ledger.acknowledgements() == [("bot", ANY)], "the first trade's alone"


def test_one_message_claims_so_much_beyond_what_is_settled_and_no_more():
    ledger = Ledger()
    ledger.apply(stamped(1), NOW_S)
    most = 1 + CLAIM_MAX
    for above in (1, 0):
        ledger.apply(stamped(most + above), NOW_S)
        ledger.reject_stamped(RejectReason.QTY, ("bot", 1, most + above), NOW_S)
        ledger.beat(beat(head=1, refused={"ring_full": CLAIM_MAX + above}), NOW_S)
        ledger.beat(beat(head=most + above), NOW_S)
        ledger.skip(Skip("bot", 1, 2, most + above, LossReason.STATE), NOW_S)
    shown = committed(ledger)
    reasons = {reason: count for reason, count in shown.rejected.items() if count}
    assert reasons == {"stamp": 1, "qty": 1, "beat": 2, "skip": 1}
    assert (shown.gaps, shown.beats, shown.skips) == (2, 2, 1)
    assert shown.publishers["bot"].published == most


def test_as_many_lies_as_there_are_places_leave_a_name_to_its_publisher():
    ledger = Ledger()
    for epoch in range(2, EPOCHS_MAX + 1):
        ledger.beat(beat(epoch=epoch, head=STAMP_MAX, refused={"ring_full": STAMP_MAX}), NOW_S)
        refused = {"ring_full": CLAIM_MAX}
        ledger.beat(beat(epoch=epoch, head=CLAIM_MAX, refused=refused), NOW_S)
    ledger.beat(beat(refused={"ring_full": 3}), NOW_S)
    ledger.apply(stamped(1), NOW_S)
    assert committed(ledger).applied == 1
    assert [each.last for _, each in ledger.acknowledgements() if each.epoch == 1] == [1]


def test_a_publisher_that_has_given_all_numbers_there_are_is_rejected_at_the_next(any_claim):
    ledger = Ledger()
    ledger.skip(Skip("bot", 1, 1, STAMP_MAX - 1, LossReason.STATE), NOW_S)
    ledger.apply(stamped(STAMP_MAX), NOW_S)
    ledger.apply(stamped(1, epoch=2), NOW_S)
    shown = committed(ledger)
    assert (shown.applied, shown.rejected[RejectReason.STAMP], shown.epochs) == (1, 1, 1)
    assert shown.publishers["bot"].published == STAMP_MAX
    assert Ledger(ledger.rows()).snapshot().publishers == shown.publishers


def test_a_second_life_that_is_live_is_rejected_then_too(any_claim):
    ledger = Ledger()
    ledger.apply(stamped(1, epoch=2), NOW_S)
    ledger.skip(Skip("bot", 1, 1, STAMP_MAX - 1, LossReason.STATE), NOW_S)
    ledger.apply(stamped(2, epoch=2), NOW_S)
    shown = committed(ledger)
    assert (shown.applied, shown.rejected[RejectReason.STAMP]) == (1, 1)
    assert shown.publishers["bot"].published == STAMP_MAX


def test_one_publisher_at_its_end_leaves_the_others_alone(any_claim):
    ledger = Ledger()
    ledger.beat(beat(head=STAMP_MAX), NOW_S)
    ledger.apply(stamped(1, source="bot-2"), NOW_S)
    assert committed(ledger).applied == 1


# what is committed, shown and acknowledged


def test_only_what_was_committed_is_shown_and_acknowledged():
    ledger = Ledger()
    ledger.apply(stamped(1), NOW_S)
    ledger.note(ServiceCounter.COMMITS, 1)
    assert ledger.snapshot().received == 0
    ledger.changes()
    assert (ledger.snapshot().received, ledger.acknowledgements()) == (0, [])
    ledger.apply(stamped(2), NOW_S)
    ledger.note(ServiceCounter.COMMITS, 1)
    ledger.committed()
    shown = ledger.snapshot()
    assert (shown.received, shown.service[ServiceCounter.COMMITS]) == (1, 1)
    assert (ledger.uncommitted, shown.publishers["bot"].last_seq) == (1, 1)
    assert [each.last for _, each in ledger.acknowledgements()] == [1]
    assert ledger.acknowledgements() == []


def test_changes_that_were_not_committed_come_again_with_what_is_new():
    ledger = Ledger()
    ledger.apply(stamped(1), NOW_S)
    first = ledger.changes()
    ledger.apply(stamped(1, epoch=2), NOW_S)
    second = ledger.changes()
    assert second.keys() == first.keys() | {"epoch/2/bot"}
    ledger.committed()
    assert {each.epoch for _, each in ledger.acknowledgements()} == {1, 2}
    assert ledger.changes() == {}


def test_a_commit_writes_only_the_rows_that_changed():
    ledger = Ledger()
    for name in ("a", "b"):
        ledger.apply(trade(symbol=name, src=name, epoch=7, seq=1), NOW_S)
    committed(ledger)
    ledger.apply(trade(symbol="a", src="a", epoch=7, seq=2), NOW_S)
    assert ledger.changes().keys() == {"totals", "symbol/a", "publisher/a", "epoch/7/a"}


def test_every_epoch_that_was_heard_is_answered_once_a_commit_a_duplicate_too():
    ledger = Ledger(incarnation=99)
    ledger.beat(beat(number=5, head=3), NOW_S)
    for seq in (1, 2):
        ledger.apply(stamped(seq), NOW_S)
    committed(ledger)
    assert ledger.acknowledgements() == [("bot", Acknowledgement(99, 1, 2, 3, 5, False))]
    committed(ledger)
    assert ledger.acknowledgements() == [], "nobody was heard"
    ledger.apply(stamped(1), NOW_S)
    committed(ledger)
    assert ledger.acknowledgements() == [("bot", Acknowledgement(99, 1, 2, 3, 5, False))]


def test_a_gap_is_told_until_the_next_beat_is_taken_in_whatever_its_number():
    ledger = Ledger(incarnation=99)
    said = []
    for message in (beat(number=5), stamped(2), stamped(1), beat(number=1)):
        take = ledger.beat if isinstance(message, Beat) else ledger.apply
        take(message, NOW_S)
        committed(ledger)
        said += [(each.last, each.beat, each.gap) for _, each in ledger.acknowledgements()]
    assert said == [(0, 5, False), (0, 5, True), (1, 5, True), (1, 1, False)]


def test_each_start_has_an_incarnation_of_its_own():
    said = set()
    for _ in range(3):
        ledger = Ledger()
        ledger.beat(beat(), NOW_S)
        committed(ledger)
        said |= {each.incarnation for _, each in ledger.acknowledgements()}
    assert len(said) == 3
    assert all(1 <= incarnation <= STAMP_MAX for incarnation in said)


# the totals of trades


def test_symbols_past_the_limit_are_counted_as_other():
    ledger = Ledger()
    for number in range(SYMBOLS_MAX + 10):
        for side in ("sell", "buy"):
            ledger.apply(trade(side, symbol=f"S{number}"), NOW_S)
    ledger.apply(trade(), NOW_S)
    snapshot = committed(ledger)
    assert len(snapshot.symbols) == SYMBOLS_MAX + 2
    assert snapshot.symbols[OTHER].trades == {"buy": 10, "sell": 10}
    assert snapshot.symbols[NO_SYMBOL].trades == {"buy": 1, "sell": 0}
    assert snapshot.trades("buy") == SYMBOLS_MAX + 11


def test_ages_fall_into_buckets_whose_upper_bound_is_included():
    ledger = Ledger()
    for age_s in (-5, 0, 0.001, 0.0011, 60, 61):
        ledger.apply(trade(ts=NOW_S - age_s), NOW_S)
    shown = committed(ledger)
    counts = shown.age_counts
    assert shown.age_sum_s == pytest.approx(0.001 + 0.0011 + 60 + 61, abs=1e-5)
    # a double near 1.79e9 is exact to 2.4e-7 s, so 0.001 may fall on either side of its bound
    assert counts[0] + counts[1] == 4
    assert counts[0] >= 2
    assert (counts[-2], counts[-1]) == (1, 1)


def test_a_snapshot_does_not_change_when_the_ledger_goes_on():
    ledger = Ledger()
    ledger.apply(trade(), NOW_S)
    before = committed(ledger)
    ledger.apply(trade(), NOW_S)
    ledger.reject(RejectReason.EMPTY)
    committed(ledger)
    assert (before.trades("buy"), before.received, len(before.recent)) == (1, 1, 1)
    assert before.rejected[RejectReason.EMPTY] == 0


def test_recent_trades_are_bounded_and_numbered():
    ledger = Ledger()
    for _ in range(RECENT_MAX + 5):
        ledger.apply(trade(), NOW_S)
    recent = committed(ledger).recent
    assert [number for number, _, _ in recent] == list(range(6, RECENT_MAX + 6))


def test_a_trade_that_is_left_out_of_the_totals_is_a_residue_of_one(monkeypatch):
    ledger = Ledger()
    stamped = {"src": "bot", "epoch": 1}
    ledger.apply(Trade("buy", 1.0, NOW_S, **stamped, seq=1), NOW_S)
    with monkeypatch.context() as patched:
        patched.setattr("metrics_sidecar.tallies.Tallies.count", lambda *_: None)
        ledger.apply(Trade("buy", 1.0, NOW_S, **stamped, seq=2), NOW_S)
    ledger.apply(Trade("buy", 1.0, NOW_S), NOW_S)
    ledger.changes()
    ledger.committed()
    assert ledger.snapshot().residue == -1


# Batches


def figures(ledger):
    """All that is shown, without what differs by design: who counted it when."""
    ledger.changes()
    ledger.committed()
    answers = [(each.last, each.head, each.gap) for _, each in ledger.acknowledgements()]
    return ledger.snapshot(), answers, ledger.rows()


@given(
    st.lists(
        st.tuples(
            st.integers(1, 12),
            st.lists(
                st.tuples(
                    st.sampled_from(["buy", "sell"]),
                    st.sampled_from([0.1, 1.0, 2.5, 1e15]),
                    st.sampled_from([NOW_S - 100, NOW_S - 1, NOW_S + 5]),
                    st.sampled_from([None, "A", "B"]),
                ),
                min_size=1,
                max_size=6,
            ),
        ),
        max_size=8,
    )
)
def test_a_batch_counts_as_its_trades_would_one_by_one_wherever_it_begins(batches):
    whole, apart = Ledger(incarnation=1), Ledger(incarnation=1)
    for seq, trades in batches:
        batch = Batch("bot", 1, seq, [TradeRow(*each, 10.0) for each in trades])
        whole.take(batch, NOW_S)
        for trade in one_by_one(batch):
            apart.take(trade, NOW_S)
    assert figures(whole) == figures(apart)


def test_a_batch_that_a_name_cannot_hold_is_counted_up_to_the_last_that_it_can(monkeypatch):
    monkeypatch.setattr(ledger_module, "STAMP_MAX", 3)
    ledger = Ledger()
    ledger.take(Batch("bot", 1, 1, [TradeRow("buy", 1.0, NOW_S)] * 5), NOW_S)
    shown = figures(ledger)[0]
    assert shown.publishers["bot"].applied == 3
    assert sum(shown.rejected.values()) + shown.gaps == 2


def test_the_latest_trades_of_batches_and_others_are_shown_stamped_and_in_order():
    ledger = Ledger()
    for seq in range(1, 2 * RECENT_MAX, 100):
        ledger.take(Batch("bot", 1, seq, [TradeRow("buy", 1.0, NOW_S)] * 100), NOW_S)
        ledger.take(Trade("sell", 1.0, NOW_S - 1), NOW_S)
    for _ in range(2):  # as often as it is asked
        recent = figures(ledger)[0].recent
        assert len(recent) == RECENT_MAX
        assert [number for number, _, _ in recent] == list(range(511, 1011))
        assert recent[-1][1].side == "sell"
        stamps = [trade.seq for _, trade, _ in recent if trade.src == "bot"]
        assert stamps == list(range(1001 - len(stamps), 1001))
        assert figures(ledger)[0].last_trade_ts_s == NOW_S - 1
