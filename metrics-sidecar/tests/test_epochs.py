"""Forgetting: who may be settled and when, how it comes back, and that nothing counts again."""

from __future__ import annotations

import pytest

from metrics_sidecar import epochs as module
from metrics_sidecar import publishers as publishers_module
from metrics_sidecar.epoch import LEFT_S
from metrics_sidecar.epochs import SILENT_S, SILENT_WHEN_FULL_S
from metrics_sidecar.ledger import Ledger
from trade_telemetry import RejectReason, Trade
from trade_telemetry.messages import Beat, LossReason, Skip

NOW_S = 1_790_000_000.0


def send(ledger, epoch=1, seq=1, source="bot", now_s=NOW_S):
    ledger.apply(Trade("buy", 1.0, now_s, src=source, epoch=epoch, seq=seq), now_s)


def say(ledger, epoch=1, head=1, source="bot", since=None, now_s=NOW_S, **fields):
    since = NOW_S - 1000 + epoch if since is None else since
    values = {"number": 1, "sent": head, "oldest": 1, "capacity": 9, "refused": {}}
    ledger.beat(Beat(source, epoch, since, head=head, **(values | fields)), now_s)


def shown(ledger):
    ledger.changes()
    ledger.committed()
    return ledger.snapshot()


def counts(ledger):
    """Live and spent epochs."""
    snapshot = shown(ledger)
    return snapshot.epochs, snapshot.spent


@pytest.mark.parametrize("is_closed", [True, False])
@pytest.mark.parametrize("durable", [True, False])
def test_after_a_day_of_listening_what_has_nothing_waiting_is_settled(is_closed, durable):
    ledger = Ledger()
    send(ledger)
    say(ledger, durable=durable, ending=is_closed)
    ledger.listened(SILENT_S - 1)
    assert counts(ledger) == (1, 0)
    ledger.listened(1)
    assert counts(ledger) == (0, 1)


def test_durable_epochs_with_nothing_waiting_do_not_fill_the_table_for_ever(monkeypatch):
    monkeypatch.setattr(module, "EPOCHS_MAX", 2)
    ledger = Ledger()
    for epoch, source in ((1, "pod-1"), (2, "pod-2")):
        say(ledger, epoch=epoch, head=0, source=source, durable=True)
        send(ledger, epoch=epoch, source=source)
    ledger.listened(SILENT_S)
    send(ledger, epoch=3, source="pod-3")
    for seq in (1, 2):
        send(ledger, epoch=1, source="pod-1", seq=seq)
    snapshot = shown(ledger)
    assert (snapshot.turned_away, snapshot.applied, snapshot.duplicates) == (0, 4, 1)


@pytest.mark.parametrize("ending", [True, False])
def test_a_durable_epoch_with_something_waiting_and_no_successor_is_kept(ending):
    ledger = Ledger()
    say(ledger, head=5, durable=True, ending=ending)
    ledger.listened(2 * SILENT_S)
    assert counts(ledger) == (1, 0)
    assert ledger.snapshot().publishers["bot"].waiting == 5


def test_a_durable_epoch_is_settled_once_a_newer_one_of_its_name_was_heard():
    ledger = Ledger()
    say(ledger, epoch=1, durable=True)
    say(ledger, epoch=2, durable=True)
    say(ledger, epoch=3, durable=True, source="bot-2")
    ledger.listened(SILENT_S)
    assert {key for key in ledger.rows() if key.startswith("epoch/")} == {
        "epoch/2/bot",
        "epoch/3/bot-2",
    }


def test_it_stays_superseded_when_the_newer_one_is_forgotten_first_and_over_a_restart():
    ledger = Ledger()
    say(ledger, epoch=1, durable=True)
    say(ledger, epoch=2, head=0, durable=True, ending=True)
    ledger.listened(SILENT_S / 2)
    say(ledger, epoch=1, durable=True)
    ledger.listened(SILENT_S / 2)
    assert counts(ledger) == (1, 1)
    ledger = Ledger(ledger.rows())
    ledger.listened(SILENT_S / 2)
    assert counts(ledger) == (0, 2)


def test_any_message_ends_the_silence():
    ledger = Ledger()
    send(ledger)
    for deliver in (
        lambda: send(ledger),
        lambda: send(ledger, seq=9),
        lambda: say(ledger, head=0),
        lambda: ledger.skip(Skip("bot", 1, 1, 1, LossReason.STATE), NOW_S),
        lambda: ledger.reject_stamped(RejectReason.QTY, ("bot", 1, 9), NOW_S),
    ):
        ledger.listened(SILENT_S - 1)
        deliver()
        ledger.listened(1)
        assert counts(ledger) == (1, 0)


def test_time_that_was_not_spent_listening_makes_nobody_silent():
    ledger = Ledger()
    send(ledger)
    ledger.listened(100.0)
    shown(ledger)
    ledger = Ledger(ledger.rows())
    send(ledger, source="bot-2", now_s=NOW_S + 30 * SILENT_S)
    ledger.listened(SILENT_S - 101)
    assert counts(ledger) == (2, 0)
    assert ledger.snapshot().listened_s == SILENT_S - 1
    ledger.listened(1)
    assert counts(ledger) == (1, 1)


def test_what_waits_in_one_that_is_settled_is_lost_as_silent():
    ledger = Ledger()
    send(ledger)
    say(ledger, head=5)
    shown(ledger)
    ledger.listened(SILENT_S)
    assert ledger.uncommitted == 1, "an epoch that was settled"
    bot = shown(ledger).publishers["bot"]
    assert (bot.lost[LossReason.SILENT], bot.waiting, bot.residue) == (4, 0, 0)
    assert (bot.published, bot.applied, bot.epoch, bot.last_seq) == (5, 1, 1, 5)
    assert (bot.open, bot.epochs) == (False, 0)


def test_a_spent_epoch_is_revived_as_it_was_and_nothing_of_it_counts_again():
    ledger = Ledger(incarnation=9)
    send(ledger)
    say(ledger, head=3, refused={"ring_full": 4})
    ledger.listened(SILENT_S)
    shown(ledger)
    ledger = Ledger(ledger.rows(), incarnation=9)
    for seq in (1, 2, 3, 5, 4):
        send(ledger, seq=seq)
    say(ledger, head=4, refused={"ring_full": 5})
    bot = shown(ledger).publishers["bot"]
    assert (bot.applied, bot.duplicates, bot.gaps, bot.last_seq) == (2, 3, 1, 4)
    assert (bot.published, bot.refused["ring_full"], bot.residue) == (4, 5, 0)
    ((_, acknowledgement),) = ledger.acknowledgements()
    assert (acknowledgement.last, acknowledgement.head) == (4, 4)
    assert counts(ledger) == (1, 0)
    assert "spent/1/bot" not in ledger.rows()


def test_a_clock_that_was_once_ahead_does_not_make_every_later_epoch_superseded():
    ledger = Ledger()
    say(ledger, epoch=1, head=0, since=4e9)
    send(ledger, epoch=1)
    say(ledger, epoch=2, head=5, since=NOW_S, durable=True)
    ledger.listened(SILENT_S)
    bot = shown(ledger).publishers["bot"]
    assert (bot.waiting, bot.open, bot.lost[LossReason.SILENT]) == (5, True, 0)


class TestAFullTable:
    @pytest.fixture(autouse=True)
    def two_places(self, monkeypatch):
        monkeypatch.setattr(module, "EPOCHS_MAX", 2)

    def test_a_minute_of_silence_is_enough_then_and_a_closed_one_goes_before_one_that_waits(
        self, monkeypatch
    ):
        monkeypatch.setattr(module, "SETTLED_AT_ONCE_WHEN_FULL", 1)
        ledger = Ledger()
        say(ledger, epoch=1, head=5)
        say(ledger, epoch=2, head=0, ending=True)
        ledger.listened(SILENT_WHEN_FULL_S)
        send(ledger, epoch=3)
        assert shown(ledger).applied == 1
        assert {"epoch/1/bot", "epoch/3/bot", "spent/2/bot"} <= ledger.rows().keys()

    def test_before_a_minute_or_while_all_are_durable_a_new_epoch_is_turned_away(self):
        ledger = Ledger()
        say(ledger, epoch=1, durable=True)
        say(ledger, epoch=2, head=0)
        ledger.listened(SILENT_WHEN_FULL_S - 1)
        shown(ledger)
        ledger.acknowledgements()
        send(ledger, epoch=3)
        say(ledger, epoch=3)
        ledger.skip(Skip("bot", 3, 1, 1, LossReason.STATE), NOW_S)
        ledger.reject_stamped(RejectReason.QTY, ("bot", 3, 1), NOW_S)
        snapshot = shown(ledger)
        assert (snapshot.turned_away, snapshot.received, snapshot.applied) == (4, 6, 0)
        assert ledger.acknowledgements() == []
        ledger.listened(1)
        send(ledger, epoch=3)
        assert shown(ledger).applied == 1
        assert {"epoch/1/bot", "epoch/3/bot", "spent/2/bot"} <= ledger.rows().keys()

    def test_a_spent_epoch_that_finds_no_place_stays_known(self):
        ledger = Ledger()
        send(ledger, epoch=1)
        ledger.listened(SILENT_S)
        for epoch in (2, 3):
            say(ledger, epoch=epoch, durable=True)
        send(ledger, epoch=1)
        assert shown(ledger).turned_away == 1
        assert counts(ledger) == (2, 1)

    def test_who_comes_back_is_not_forgotten_to_make_room_for_itself(self, monkeypatch):
        monkeypatch.setattr(module, "SPENT_MAX", 2)
        ledger = Ledger()
        for epochs in ((1, 2), (3, 4)):
            for epoch in epochs:
                send(ledger, epoch=epoch)
                say(ledger, epoch=epoch, ending=True)
            ledger.listened(SILENT_WHEN_FULL_S)
        assert {"spent/1/bot", "spent/2/bot"} <= ledger.rows().keys()
        send(ledger, epoch=1)
        snapshot = shown(ledger)
        assert (snapshot.applied, snapshot.duplicates) == (4, 1)
        assert (snapshot.epochs, snapshot.spent) == (1, 2)

    def test_who_finds_no_name_stays_known_within_the_limit(self, monkeypatch):
        monkeypatch.setattr(module, "SPENT_MAX", 1)
        monkeypatch.setattr(publishers_module, "PUBLISHERS_MAX", 1)
        ledger = Ledger()
        send(ledger, epoch=1, source="a")
        ledger.listened(SILENT_S)
        send(ledger, epoch=2, source="b")
        send(ledger, epoch=1, source="a")
        snapshot = shown(ledger)
        assert (snapshot.turned_away, snapshot.applied, snapshot.spent) == (1, 2, 1)
        assert "spent/1/a" in ledger.rows()

    def test_a_flood_of_epochs_stays_within_the_limits_and_loses_no_count(self, monkeypatch):
        monkeypatch.setattr(module, "SPENT_MAX", 5)
        ledger = Ledger()
        for epoch in range(1, 101):
            say(ledger, epoch=epoch, head=0)
            send(ledger, epoch=epoch)
            ledger.listened(SILENT_WHEN_FULL_S)
            live, spent = counts(ledger)
            assert live <= 2
            assert spent <= 5
        bot = ledger.snapshot().publishers["bot"]
        assert (bot.applied, bot.published, bot.residue) == (100, 100, 0)
        assert len(ledger.rows()) == 1 + 1 + 1 + 2 + 5


class TestForgetting:
    @pytest.fixture
    def ledger(self, monkeypatch):
        """Three epochs were settled, one row more than is kept: epoch 1, the oldest, is gone."""
        monkeypatch.setattr(module, "SPENT_MAX", 2)
        ledger = Ledger()
        for epoch in (2, 1, 3):
            say(ledger, epoch=epoch, head=0)
            send(ledger, epoch=epoch)
        ledger.listened(SILENT_S)
        shown(ledger)
        ledger.acknowledgements()
        assert "spent/1/bot" not in ledger.rows()
        return Ledger(ledger.rows())

    def test_the_oldest_is_forgotten_and_turned_away_when_it_comes_back(self, ledger):
        say(ledger, epoch=1)
        send(ledger, epoch=1)
        snapshot = shown(ledger)
        assert (snapshot.turned_away, snapshot.gaps, snapshot.applied) == (1, 1, 3)
        assert ledger.acknowledgements() == []

    def test_those_that_are_still_known_are_revived(self, ledger):
        for epoch in (2, 3):
            send(ledger, epoch=epoch)
            send(ledger, epoch=epoch, seq=2)
        snapshot = shown(ledger)
        assert (snapshot.duplicates, snapshot.applied) == (2, 5)

    def test_an_unknown_epoch_that_began_no_later_is_turned_away_too(self, ledger):
        say(ledger, epoch=9, since=NOW_S - 1000 + 1, source="bot-2")
        assert shown(ledger).turned_away == 1

    def test_a_new_epoch_is_opened_by_its_beat_and_not_before(self, ledger):
        send(ledger, epoch=4)
        ledger.skip(Skip("bot", 4, 1, 1, LossReason.STATE), NOW_S)
        ledger.reject_stamped(RejectReason.QTY, ("bot", 4, 1), NOW_S)
        assert (shown(ledger).gaps, ledger.acknowledgements()) == (3, [])
        say(ledger, epoch=4)
        send(ledger, epoch=4)
        assert shown(ledger).applied == 4


def test_an_epoch_without_a_beat_that_is_forgotten_cannot_be_counted_again(monkeypatch):
    monkeypatch.setattr(module, "SPENT_MAX", 0)
    ledger = Ledger()
    send(ledger)
    ledger.listened(SILENT_S)
    say(ledger, since=NOW_S - 1)
    send(ledger)
    assert shown(ledger).applied == 1


def test_epochs_that_claim_to_begin_in_the_future_do_not_shut_out_the_present(monkeypatch):
    monkeypatch.setattr(module, "SPENT_MAX", 0)
    ledger = Ledger()
    say(ledger, head=0, since=1e300)
    ledger.listened(SILENT_S)
    say(ledger, epoch=2, since=NOW_S + 1)
    send(ledger, epoch=2)
    assert shown(ledger).applied == 1


def test_a_flood_of_claims_to_begin_in_the_future_makes_no_honest_life_forgotten(monkeypatch):
    monkeypatch.setattr(module, "SPENT_MAX", 10)
    ledger = Ledger()
    for epoch in range(1, 4):
        send(ledger, epoch=epoch)
    for epoch in range(101, 201):
        say(ledger, epoch=epoch, head=0, since=4e9 + epoch, ending=True)
        ledger.listened(SILENT_S)
    assert {f"spent/{epoch}/bot" for epoch in range(1, 4)} <= ledger.rows().keys()
    assert counts(ledger) == (0, 10)
    say(ledger, epoch=9, head=0, since=NOW_S - 2000, source="bot-2")
    assert shown(ledger).turned_away == 0


def test_a_life_whose_clock_was_ahead_is_forgotten_by_what_it_claims_and_never_counts_again(
    monkeypatch,
):
    monkeypatch.setattr(module, "SPENT_MAX", 2)
    ledger = Ledger()
    say(ledger, epoch=1, head=0, since=NOW_S + 1000)
    send(ledger, epoch=1)
    ledger.listened(SILENT_S)
    send(ledger, epoch=2)
    ledger.listened(SILENT_S)
    assert "spent/1/bot" in ledger.rows(), "its time has not come"
    ledger = Ledger(ledger.rows())
    for epoch in (3, 4):
        send(ledger, epoch=epoch, now_s=NOW_S + 2000)  # an unknown one waits for its beat
        say(ledger, epoch=epoch, head=0, since=NOW_S + 2000 + epoch, now_s=NOW_S + 3000)
        send(ledger, epoch=epoch, now_s=NOW_S + 3000)
        ledger.listened(SILENT_S)
    assert "spent/1/bot" not in ledger.rows()
    say(ledger, epoch=1, since=NOW_S + 1000, now_s=NOW_S + 3000)
    send(ledger, epoch=1, now_s=NOW_S + 3000)
    assert (shown(ledger).applied, shown(ledger).turned_away) == (4, 1)


def test_forgetting_right_after_a_restart_knows_the_time_as_well(monkeypatch):
    monkeypatch.setattr(module, "SPENT_MAX", 0)
    ledger = Ledger()
    send(ledger)
    ledger = Ledger(ledger.rows())
    ledger.listened(SILENT_S)
    say(ledger)
    assert shown(ledger).turned_away == 1


def test_what_was_forgotten_stays_so_when_an_older_one_is_forgotten_later(monkeypatch):
    monkeypatch.setattr(module, "SPENT_MAX", 0)
    ledger = Ledger()
    say(ledger, epoch=1, durable=True)
    say(ledger, epoch=2, source="bot-2")
    ledger.listened(SILENT_S)
    assert counts(ledger) == (1, 0)
    say(ledger, epoch=1, durable=False)
    ledger.listened(SILENT_S)
    assert counts(ledger) == (0, 0)
    say(ledger, epoch=2, source="bot-2")
    assert shown(ledger).turned_away == 1


def test_a_beat_says_once_when_an_epoch_began():
    ledger = Ledger()
    say(ledger, since=NOW_S - 50)
    say(ledger, since=NOW_S - 10)
    ledger.listened(SILENT_S)
    assert f'"since_s":{NOW_S - 50}'.encode() in ledger.rows()["spent/1/bot"]


def test_a_reason_for_refusals_that_nobody_knows_is_shown_once_something_was_refused_for_it():
    ledger = Ledger()
    say(ledger, refused={"ring_full": 0, "moon": 0})
    assert "other" not in shown(ledger).publishers["bot"].refused
    say(ledger, refused={"ring_full": 0, "moon": 2})
    assert shown(ledger).publishers["bot"].refused["other"] == 2


@pytest.mark.parametrize("durable", [True, False])
def test_a_life_that_was_killed_is_open_until_another_of_its_name_follows_unless_it_is_durable(
    durable,
):
    ledger = Ledger()
    say(ledger, epoch=1, durable=durable)
    assert shown(ledger).publishers["bot"].open
    say(ledger, epoch=2, durable=durable)
    say(ledger, epoch=2, durable=durable, ending=True)
    assert shown(ledger).publishers["bot"].open == durable


def test_a_life_whose_last_word_a_kill_cut_off_is_over_once_its_publisher_lives_on_without_it():
    """Its journal is deleted before the last word is said, so that nobody can say it any more."""
    ledger = Ledger()
    say(ledger, epoch=1, head=0, durable=True)
    for _ in range(int(LEFT_S)):
        say(ledger, epoch=2, head=0, durable=True)
        assert shown(ledger).publishers["bot"].epochs == 2
        ledger.listened(1)
    say(ledger, epoch=2, head=0, durable=True)
    assert shown(ledger).publishers["bot"].epochs == 1
    say(ledger, epoch=2, head=0, durable=True, ending=True)
    assert not shown(ledger).publishers["bot"].open


def test_a_life_with_something_waiting_is_not_over_however_long_its_publisher_lives_on():
    ledger = Ledger()
    say(ledger, epoch=1, head=1, durable=True)
    ledger.listened(10 * LEFT_S)
    say(ledger, epoch=2, head=0, durable=True, ending=True)
    bot = shown(ledger).publishers["bot"]
    assert (bot.epochs, bot.open, bot.waiting) == (1, True, 1)
