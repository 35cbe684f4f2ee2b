"""What a person should hear of: an older state, a name that is shared; and clocks that go back."""

from __future__ import annotations

import pytest

from metrics_sidecar.epoch import BESIDE_S
from metrics_sidecar.epochs import ALIVE_S, SILENT_S
from metrics_sidecar.ledger import Ledger
from metrics_sidecar.notices import NOTICES_MAX, OlderState, SharedName
from trade_telemetry import Trade
from trade_telemetry.errors import InvalidTradeError, RejectedMessageError
from trade_telemetry.messages import Beat, LossReason, Skip, check_trade, decode, encode

NOW_S = 1_790_000_000.0
OWN = {"ring_full": 0, "closed": 0}


def send(ledger, *seqs, epoch=1, source="bot"):
    for seq in seqs:
        ledger.apply(Trade("buy", 1.0, NOW_S, src=source, epoch=epoch, seq=seq), NOW_S)


def say(ledger, epoch=1, head=0, source="bot", since=NOW_S - 1000, refused=OWN, **fields):
    values = {"number": 1, "sent": head, "oldest": 1, "capacity": 100, "durable": True}
    ledger.beat(Beat(source, epoch, since, head=head, refused=refused, **(values | fields)), NOW_S)


def bot(ledger):
    ledger.changes()
    ledger.committed()
    return ledger.snapshot().publishers["bot"]


def restarted(ledger):
    """From what was committed last."""
    return Ledger(ledger.rows())


# A state that is older than its publishers


@pytest.fixture
def older():
    """A state that knows of 10 of the 100 that the publisher was told are committed."""
    ledger = Ledger()
    send(ledger, *range(1, 11))
    bot(ledger)
    return restarted(ledger)


def test_an_older_state_is_told_once_with_what_comes_again_and_what_is_lost(older):
    say(older, head=120, acknowledged=100, oldest=31)
    say(older, head=121, acknowledged=100, oldest=32, number=2)
    assert older.take_notices() == [OlderState("bot", 1, 10, 100, come_again=70, lost=20)]
    assert older.take_notices() == []


def test_what_fills_up_an_older_state_is_counted_as_refilled_and_nothing_else_is(older):
    say(older, head=120, acknowledged=100, oldest=31)
    older.skip(Skip("bot", 1, 11, 30, LossReason.STATE), NOW_S)
    send(older, *range(31, 61))
    assert bot(older).refilled == 30
    send(older, *range(61, 121))
    found = bot(older)
    assert (found.refilled, found.lost[LossReason.STATE], found.applied) == (70, 20, 100)
    assert (found.published, found.residue) == (120, 0)


def test_a_kill_while_it_is_filled_up_counts_nothing_twice(older):
    say(older, head=120, acknowledged=100)
    send(older, *range(11, 51))
    assert bot(older).refilled == 40
    older = restarted(older)
    say(older, head=120, acknowledged=100)
    assert older.take_notices() == [OlderState("bot", 1, 50, 100, come_again=50, lost=0)]
    send(older, *range(51, 121))
    assert bot(older).refilled == 90
    assert bot(restarted(older)).refilled == 90


def test_a_rejected_or_damaged_event_in_an_older_state_is_lost_and_not_refilled(older):
    say(older, head=120, acknowledged=100)
    send(older, *range(11, 21))
    older.reject_stamped("qty", ("bot", 1, 21), NOW_S)
    send(older, *range(22, 31))
    older.skip(Skip("bot", 1, 31, 110, LossReason.JOURNAL), NOW_S)
    found = bot(older)
    assert (found.refilled, sum(found.lost.values()), found.residue) == (19, 81, 0)


def test_what_was_only_on_its_way_at_a_kill_is_no_older_state():
    ledger = Ledger()
    send(ledger, *range(1, 11))
    bot(ledger)
    ledger = restarted(ledger)
    say(ledger, head=100, sent=90, acknowledged=10)
    send(ledger, *range(11, 91))
    assert ledger.take_notices() == []
    assert bot(ledger).refilled == 0


def test_a_publisher_that_claims_more_than_it_published_is_not_believed():
    ledger = Ledger()
    send(ledger, *range(1, 11))
    say(ledger, head=10, acknowledged=2**53 - 1)
    assert ledger.take_notices() == []


def test_a_flood_of_notices_is_bounded():
    ledger = Ledger()
    for number in range(NOTICES_MAX + 10):
        say(ledger, head=5, acknowledged=5, source=f"bot-{number}")
    assert len(ledger.take_notices()) == NOTICES_MAX


# A name that several use


def beat_for(ledger, seconds, *epochs, **fields):
    for _ in range(int(seconds)):
        ledger.listened(1.0)
        for epoch in epochs:
            say(ledger, epoch, **fields)


def test_publishers_that_beat_beside_each_other_are_told_once_and_counted():
    ledger = Ledger()
    beat_for(ledger, 1, 1)
    assert bot(ledger).instances == 1
    beat_for(ledger, BESIDE_S, 1, 2)
    assert (ledger.take_notices(), bot(ledger).instances) == ([], 1)
    beat_for(ledger, 10, 1, 2)
    assert ledger.take_notices() == [SharedName("bot", (1, 2))]
    assert bot(ledger).instances == 2
    beat_for(ledger, BESIDE_S + 1, 1, 2, 3)
    assert ledger.take_notices() == [SharedName("bot", (1, 2, 3))]
    assert bot(ledger).instances == 3
    say(ledger, 3, ending=True)
    beat_for(ledger, ALIVE_S, 1)
    assert bot(ledger).instances == 1, "one has ended, one is not heard any more"
    ledger.listened(ALIVE_S)
    assert bot(ledger).instances == 0
    assert ledger.take_notices() == []


def test_one_that_says_that_it_ends_runs_no_more():
    ledger = Ledger()
    beat_for(ledger, 2 * BESIDE_S, 1, 2)
    assert bot(ledger).instances == 2
    say(ledger, 2, ending=True)
    assert bot(ledger).instances == 1
    say(ledger, 1, ending=True)
    assert bot(ledger).instances == 0


def test_a_crashed_life_and_its_successor_that_sends_what_it_left_do_not_share_a_name():
    ledger = Ledger()
    beat_for(ledger, 20, 1, head=5)
    for _ in range(20):  # epoch 1 is a leftover now: it says nothing of refusals
        beat_for(ledger, 1, 2)
        say(ledger, 1, head=9, refused={})
    assert (ledger.take_notices(), bot(ledger).instances) == ([], 1)


def test_a_program_that_is_restarted_again_and_again_shares_its_name_with_nobody():
    ledger = Ledger()
    for epoch in range(1, 20):
        beat_for(ledger, 4, epoch)
    assert (ledger.take_notices(), bot(ledger).instances) == ([], 1)


def test_beats_that_a_pause_of_the_sidecar_held_up_share_no_name():
    ledger = Ledger()
    beat_for(ledger, 20, 1)
    for number in range(30):  # of the one that was killed, and of the one that followed, at once
        say(ledger, 1, number=21 + number)
        say(ledger, 2, number=1 + number)
    beat_for(ledger, 20, 2)
    assert (ledger.take_notices(), bot(ledger).instances) == ([], 1)


def test_names_are_told_apart():
    ledger = Ledger()
    for _ in range(20):
        beat_for(ledger, 1, 1)
        say(ledger, 1, source="bot-2")
    assert ledger.take_notices() == []


# Clocks that go back


def test_of_two_lives_that_are_first_heard_in_the_other_order_the_later_one_is_the_latest():
    ledger = Ledger()
    say(ledger, 2, since=NOW_S - 10)
    say(ledger, 1, since=NOW_S - 20)  # what it had sent before it was killed
    beat_for(ledger, 2 * ALIVE_S, 2)
    assert bot(ledger).epoch == 2


def test_of_two_that_use_a_name_none_that_began_earlier_becomes_the_latest_over_a_restart():
    ledger = Ledger()
    beat_for(ledger, 4, 1, since=NOW_S - 20)
    beat_for(ledger, 2, 1, since=NOW_S - 20)
    say(ledger, 2, head=5, since=NOW_S - 10)  # its machine goes down at once, its journal stays
    beat_for(ledger, 20, 1, since=NOW_S - 20)
    bot(ledger)
    ledger = restarted(ledger)
    beat_for(ledger, 20, 1, since=NOW_S - 20)
    assert bot(ledger).epoch == 2
    ledger.listened(SILENT_S)
    assert bot(ledger).waiting == 5, "nobody followed it"


def test_a_name_that_two_use_has_the_later_one_as_its_latest_whoever_speaks():
    ledger = Ledger()
    for _ in range(20):
        ledger.listened(1.0)
        say(ledger, 1, since=NOW_S - 20)
        say(ledger, 2, since=NOW_S - 10)
    beat_for(ledger, 2 * ALIVE_S, 1)
    assert (bot(ledger).epoch, bot(ledger).instances) == (2, 1)


@pytest.mark.parametrize("durable", [True, False])
def test_a_life_that_began_after_the_clock_was_set_back_is_the_latest_and_open(durable):
    ledger = Ledger()
    send(ledger, 1, 2)
    say(ledger, 1, head=2, durable=durable)
    beat_for(ledger, ALIVE_S + 1, 2, head=7, since=NOW_S - 5000, durable=durable)
    for state in (ledger, restarted(ledger)):
        found = bot(state)
        assert (found.epoch, found.open, found.waiting) == (2, True, 7)
    ledger.listened(SILENT_S)
    assert ("epoch/2/bot" in ledger.rows()) == durable, "what waits in it is not given up"
    assert "epoch/1/bot" not in ledger.rows()


def test_a_time_that_is_ahead_is_told_with_both_clocks_and_the_cure():
    frame = encode(Trade("buy", 1.0, NOW_S + 3600, src="bot", epoch=1, seq=1))
    told = (
        "is 2026-09-21T15:13:20Z, 3600.0 s ahead of {} (2026-09-21T14:13:20Z), "
        "at most 10: check NTP on both machines"
    )
    with pytest.raises(RejectedMessageError) as rejected:
        decode(frame, NOW_S)
    assert rejected.value.detail == "ts " + told.format("the sidecar's clock")
    with pytest.raises(InvalidTradeError) as invalid:
        check_trade("buy", 1.0, NOW_S + 3600, None, None, NOW_S)
    assert str(invalid.value) == "ts " + told.format("this machine's clock")


def test_what_an_earlier_life_left_is_not_the_latest_though_it_is_heard_last():
    ledger = Ledger()
    say(ledger, 2, since=NOW_S - 100)
    say(ledger, 1, head=3, since=NOW_S - 5000, refused={})
    assert bot(ledger).epoch == 2
