"""Names: a label each, at most so many; what must give way is folded, and every sum stays."""

from __future__ import annotations

import pytest

from metrics_sidecar import epochs as epochs_module
from metrics_sidecar import publishers as module
from metrics_sidecar.epochs import SILENT_S
from metrics_sidecar.ledger import Ledger
from metrics_sidecar.publishers import OTHER
from trade_telemetry import Trade
from trade_telemetry.messages import STAMP_MAX, Beat, LossReason, Skip

NOW_S = 1_790_000_000.0


@pytest.fixture(autouse=True)
def two_names(monkeypatch):
    monkeypatch.setattr(module, "PUBLISHERS_MAX", 2)


@pytest.fixture
def any_claim(monkeypatch):
    """As after so many messages that the totals come to their end."""
    monkeypatch.setattr(epochs_module, "CLAIM_MAX", STAMP_MAX)


def live_once(ledger, source, now_s=NOW_S, lost=0, refused=0, epoch=1):
    """A publisher that sends, refuses, loses and closes, and is silent for a day."""
    for seq in (1, 1, 99):
        ledger.apply(Trade("buy", 1.0, now_s, src=source, epoch=epoch, seq=seq), now_s)
    if lost:
        ledger.skip(Skip(source, epoch, 2, 1 + lost, LossReason.STATE), now_s)
    head, said = 1 + lost, {"ring_full": refused}
    ledger.beat(Beat(source, epoch, now_s, 1, head, head, 1, 9, said, ending=True), now_s)
    ledger.listened(SILENT_S)


def shown(ledger):
    ledger.changes()
    ledger.committed()
    return ledger.snapshot().publishers


def test_a_name_that_is_needed_is_taken_from_who_is_spent_and_silent_the_longest():
    ledger = Ledger()
    live_once(ledger, "a", NOW_S + 5, lost=2, refused=4)
    live_once(ledger, "b", NOW_S, lost=3, refused=1)
    assert shown(ledger).keys() == {"a", "b"}
    live_once(ledger, "c", NOW_S + 9)
    names = shown(ledger)
    assert names.keys() == {"a", OTHER, "c"}
    assert (names[OTHER].published, names[OTHER].applied, names[OTHER].residue) == (4, 1, 0)
    assert (names[OTHER].lost[LossReason.STATE], names[OTHER].refused["ring_full"]) == (3, 1)
    assert (names[OTHER].duplicates, names[OTHER].gaps) == (1, 1)
    assert (names[OTHER].open, names[OTHER].epochs, names[OTHER].waiting) == (False, 0, 0)
    assert ledger.rows().keys() >= {"publisher/a", "publisher/other", "publisher/c"}
    assert "publisher/b" not in ledger.rows()


def test_what_was_refilled_of_a_name_that_is_folded_stays_in_the_sum():
    ledger = Ledger()
    ledger.beat(Beat("a", 1, NOW_S, 1, 1, 1, 1, 9, {}, acknowledged=1), NOW_S)
    for name in ("a", "b", "c"):
        live_once(ledger, name)
    names = shown(ledger)
    assert names.keys() == {"b", OTHER, "c"}
    assert [names[name].refilled for name in ("b", OTHER, "c")] == [0, 1, 0]


def test_sums_over_all_names_never_go_down_however_many_come():
    ledger = Ledger()
    for number in range(20):
        live_once(ledger, f"bot-{number}", NOW_S + number, lost=number % 3)
        totals = shown(ledger).values()
        assert sum(each.applied for each in totals) == number + 1
        assert all(each.residue == 0 for each in totals)
        assert len(totals) <= 3
        assert Ledger(ledger.rows()).snapshot().publishers == ledger.snapshot().publishers


def test_one_who_was_folded_comes_back_under_its_name_and_nothing_counts_again():
    ledger = Ledger()
    for name in ("a", "b", "c"):
        live_once(ledger, name, refused=2)
    assert "a" not in shown(ledger)
    live_once(ledger, "a", refused=5)
    ledger.apply(Trade("buy", 1.0, NOW_S, src="a", epoch=1, seq=2), NOW_S)
    names = shown(ledger)
    assert (names["a"].applied, names["a"].duplicates, names["a"].last_seq) == (1, 2, 2)
    assert (names["a"].published, names["a"].residue) == (1, 0)
    assert sum(each.refused["ring_full"] for each in names.values()) == 2 + 2 + 5


def test_names_with_a_live_epoch_stay_and_a_newcomer_is_turned_away():
    ledger = Ledger()
    for name in ("a", "b", "c"):
        ledger.apply(Trade("buy", 1.0, NOW_S, src=name, epoch=1, seq=1), NOW_S)
    names = shown(ledger)
    assert names.keys() == {"a", "b"}
    assert (ledger.snapshot().turned_away, ledger.snapshot().applied) == (1, 2)
    assert {source for source, _ in ledger.acknowledgements()} == {"a", "b"}


def test_with_the_real_limits_there_is_a_name_wherever_there_is_a_place(monkeypatch):
    """A name for every place: so only a full table turns anybody away."""
    monkeypatch.undo()
    assert module.PUBLISHERS_MAX >= epochs_module.EPOCHS_MAX


def test_a_publisher_that_calls_itself_other_keeps_what_was_folded_before():
    ledger = Ledger()
    for name in ("a", "b", "c", OTHER, "d"):
        live_once(ledger, name)
    names = shown(ledger)
    assert names.keys() == {"c", OTHER, "d"}
    assert sum(each.applied for each in names.values()) == 5
    assert names[OTHER].applied == 3


def test_a_publisher_that_calls_itself_other_needs_no_place_and_takes_none():
    ledger = Ledger()
    for name in ("a", OTHER, "b"):
        live_once(ledger, name)
    assert shown(ledger).keys() == {"a", "b", OTHER}
    ledger = Ledger()
    for name in ("a", "b", OTHER):
        live_once(ledger, name)
    assert shown(ledger).keys() == {"a", "b", OTHER}
    assert shown(ledger)[OTHER].applied == 1


def test_what_is_folded_together_never_exceeds_what_every_program_can_hold(any_claim):
    ledger = Ledger()
    for number in range(4):
        ledger.skip(Skip(f"bot-{number}", 1, 1, STAMP_MAX // 2, LossReason.STATE), NOW_S)
        ledger.listened(SILENT_S)
    live_once(ledger, "a")
    names = shown(ledger)
    assert names[OTHER].published == STAMP_MAX - 1
    assert names.keys() == {OTHER, "bot-2", "bot-3"}, "the newcomer found no name"


def test_one_who_claims_numbers_beyond_reason_keeps_its_name_and_others_are_folded(any_claim):
    ledger = Ledger()
    ledger.skip(Skip("liar", 1, 1, STAMP_MAX, LossReason.STATE), NOW_S)
    ledger.listened(SILENT_S)
    for name in ("a", "b", "c"):
        live_once(ledger, name)
    names = shown(ledger)
    assert names.keys() == {"liar", OTHER, "c"}
    assert (names[OTHER].published, names["liar"].published) == (2, STAMP_MAX)


def test_when_no_name_can_be_folded_a_newcomer_is_turned_away(any_claim):
    ledger = Ledger()
    for name in ("liar", "fibber"):
        ledger.skip(Skip(name, 1, 1, STAMP_MAX, LossReason.STATE), NOW_S)
    ledger.listened(SILENT_S)
    live_once(ledger, "a")
    assert shown(ledger).keys() == {"liar", "fibber"}
    assert ledger.snapshot().turned_away == 4, "three trades and a beat"


def test_when_it_was_last_seen_is_right_also_after_the_clock_was_set_back():
    ledger = Ledger()
    ledger.apply(Trade("buy", 1.0, NOW_S, src="a", epoch=1, seq=1), NOW_S + 1000)
    ledger.listened(1.0)
    ledger.apply(Trade("buy", 1.0, NOW_S, src="a", epoch=2, seq=1), NOW_S)
    assert shown(ledger)["a"].last_seen_s == NOW_S
    ledger.listened(SILENT_S)
    assert shown(ledger)["a"].last_seen_s == NOW_S
