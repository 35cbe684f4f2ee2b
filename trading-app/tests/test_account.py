import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_app.account import account, by_trouble, delivery_status, losses
from trading_app.sidecar_answers import PublisherState
from trading_app.status import Status

NOW_S = 1_790_000_000.0
LIVE = Status("live", "3 publishers")


def state(name="bot", **changes):
    figures = {"publisher": name, "epoch": 1, "last_seq": 1, "last_seen_s": NOW_S}
    return PublisherState(**figures | changes)


GOOD = state(published=12_345, applied=12_340, lost={"rejected": 3}, waiting=2)
EQUATION = "12 345 published = 12 340 applied + 3 lost + 2 waiting · residue 0".replace(
    " 345", "\u202f345"
).replace(" 340", "\u202f340")


def test_the_account_in_words_is_the_identity():
    assert str(account([GOOD])) == EQUATION


def test_the_account_of_many_is_the_sum_of_each_and_residues_never_cancel():
    sums = account([GOOD, state("b", published=5, applied=3, residue=2), state("c", residue=-2)])
    assert (sums.publishers, sums.published, sums.applied) == (3, 12_350, 12_343)
    assert (sums.lost, sums.waiting, sums.residue) == (3, 2, 4)


def test_losses_add_up_by_reason_and_leave_out_what_did_not_happen():
    some = state("b", lost={"rejected": 1, "silent": 2, "journal": 0})
    assert losses([GOOD, some]) == {"rejected": 4, "silent": 2}


def test_trouble_comes_first_and_equal_trouble_goes_by_name():
    gone = {"last_seen_s": NOW_S - 60}
    states = [
        state("fine-2"),
        state("refused", refused={"ring_full": 1}),
        state("fine-1", waiting=5),
        state("lost", lost={"state": 1}),
        state("silent", waiting=1, **gone),
        state("silent-with-nothing", **gone),
        state("off", residue=-1),
        state("ended", waiting=1, open=False, **gone),
    ]
    assert [each.publisher for each in by_trouble(states, NOW_S)] == [
        "off", "silent", "lost", "refused", "ended", "fine-1", "fine-2", "silent-with-nothing"
    ]  # fmt: skip


@given(st.lists(st.integers(0, 9)), st.randoms())
def test_the_order_does_not_depend_on_the_order_in_which_they_come(waiting, random):
    states = [state(f"p{place}", waiting=each) for place, each in enumerate(waiting)]
    mixed = states.copy()
    random.shuffle(mixed)
    assert by_trouble(mixed, NOW_S) == by_trouble(states, NOW_S)


def test_every_trade_in_its_place_is_accounted_for(make_summary):
    said = delivery_status(LIVE, make_summary(publishers=[GOOD.model_dump()]), 0)
    assert (said.state, said.name, said.words, said.cure) == ("live", "accounted for", EQUATION, "")


def test_a_residue_is_not_accounted_for_even_when_the_figures_are_old(make_summary):
    off = make_summary(publishers=[state(published=5, applied=4, residue=1).model_dump()])
    for age_s in (0.0, 60.0):
        said = delivery_status(LIVE, off, age_s)
        assert (said.state, said.name) == ("broken", "not accounted for")
        assert said.words.endswith("residue 1")
        assert said.cure


@pytest.mark.parametrize("publishers", [[], [state().model_dump()]])
def test_before_the_first_trade_it_waits_and_says_what_to_press(make_summary, publishers):
    said = delivery_status(LIVE, make_summary(publishers=publishers), 0)
    assert (said.state, said.words) == ("waiting", "nothing has been published yet")
    assert "make demo" in said.cure


def test_figures_that_are_old_are_said_with_their_age_and_the_state_of_the_desk(make_summary):
    away = Status("away", "4 trades wait here", "Start it")
    said = delivery_status(away, make_summary(publishers=[GOOD.model_dump()]), 60)
    assert (said.state, said.name, said.cure) == ("away", "", "Start it")
    assert said.words == f"60 s ago: {EQUATION}"


def test_nothing_known_is_no_zero():
    said = delivery_status(Status("away", "4 trades wait here", "Start it"), None, 0)
    assert (said.state, said.words) == ("away", "what became of each trade is not known yet")


@pytest.mark.parametrize("trouble", ["stalled", "dead", "starting", "full disk"])
def test_a_sidecar_in_trouble_is_not_called_well(make_summary, trouble):
    base = Status("stale", "the sidecar has stopped counting", "Restart it")
    answer = make_summary(status=trouble, publishers=[GOOD.model_dump()])
    assert delivery_status(base, answer, 0) == base
