"""One order, however often it is pressed: while its answer is missing, and while doubt stands."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_app.market_client import Failed, Refused
from trading_app.paper_answers import Order
from trading_app.paper_button import Already, place, press
from trading_app.paper_client import Done
from trading_app.paper_status import UNKNOWN_PORTFOLIO
from trading_app.paper_unanswered import DOUBT_S, UNANSWERED_MAX, Unanswered
from trading_app.sidecar_client import Away

ORDER = {"client_order_id": "a", "portfolio": "main", "symbol": "BTCUSDT", "side": "buy",
         "qty": "1.50", "state": "filled"}  # fmt: skip
AWAY = Away("nothing answers", 0.0, None, None)
TAKEN = Done(Order.model_validate(ORDER))
BODY = {"portfolio": "main", "symbol": "BTCUSDT", "qty": "1"}


class Answers:
    """A client whose engine says what it is told to; ``ids`` are those it was sent."""

    def __init__(self, *answers):
        self.answers, self.ids, self.known = list(answers), [], AWAY

    def place(self, body):
        self.ids.append(body["client_order_id"])
        return self.answers.pop(0)

    def order(self, _name, _which):
        return self.known

    def make(self, _):
        return AWAY


class SlowDesk:
    """A desk that takes an order on arrival and answers ``takes_s`` later, by the clock given.

    Whoever waits for two seconds has no answer by then.
    """

    def __init__(self, takes_s):
        self.now_s, self.takes_s, self.orders = 100.0, takes_s, {}

    def clock(self):
        return self.now_s

    def place(self, body):
        which = body["client_order_id"]
        is_new = which not in self.orders
        self.orders.setdefault(which, Order.model_validate(ORDER | {"client_order_id": which}))
        self.now_s += min(self.takes_s, 2.0)
        if self.takes_s > 2.0:
            return Failed("took longer than 2 s")
        return Done(self.orders[which], is_new)

    def order(self, _name, which):
        return self.orders.get(which) or Refused("unknown_order", "No such order.")


@pytest.fixture
def at_s():
    return [0.0]


@pytest.fixture
def unanswered(at_s):
    return Unanswered(lambda: at_s[0])


# --- presses while doubt stands


@given(st.lists(st.floats(0, 9.9), min_size=1, max_size=8), st.booleans())
def test_presses_at_any_moment_after_an_answer_that_took_3_s_are_one_order(after_s, is_quick):
    desk = SlowDesk(3.0)
    unanswered = Unanswered(desk.clock)
    assert isinstance(place(desk, unanswered, BODY), Failed)
    unanswered.settle(desk)  # the redraw right after: it is there, and the toast of doubt stands
    first_s = desk.now_s
    assert unanswered.waiting() == []
    desk.takes_s = 0.0 if is_quick else 3.0
    for each in sorted(after_s):
        desk.now_s = max(desk.now_s, first_s + each)
        if desk.now_s < first_s + DOUBT_S:
            place(desk, unanswered, BODY)
            unanswered.settle(desk)
    assert len(desk.orders) == 1


def test_a_press_while_doubt_stands_is_told_the_order_and_when_another_may_come():
    desk = SlowDesk(3.0)
    unanswered = Unanswered(desk.clock)
    place(desk, unanswered, BODY)
    unanswered.settle(desk)
    desk.now_s += 4.0
    told = place(desk, unanswered, BODY)
    assert isinstance(told, Already)
    assert {told.answer.client_order_id} == set(desk.orders)
    assert told.for_s == pytest.approx(DOUBT_S - 4.0)
    desk.now_s, desk.takes_s = desk.now_s + told.for_s, 0.0
    assert not isinstance(place(desk, unanswered, BODY), Already)
    assert len(desk.orders) == 2


def test_an_order_is_held_as_long_when_a_second_press_found_it():
    desk = SlowDesk(3.0)
    unanswered = Unanswered(desk.clock)
    place(desk, unanswered, BODY)
    desk.takes_s = 0.0
    assert isinstance(place(desk, unanswered, BODY), Done)  # sent once more under its id
    desk.now_s += DOUBT_S - 0.1
    assert isinstance(place(desk, unanswered, BODY), Already)
    assert len(desk.orders) == 1


def test_an_order_that_turned_out_to_be_denied_may_be_sent_again_at_once():
    desk = SlowDesk(3.0)
    unanswered = Unanswered(desk.clock)
    place(desk, unanswered, BODY)
    (which,) = desk.orders
    desk.orders[which] = desk.orders[which].model_copy(update={"state": "denied"})
    unanswered.settle(desk)
    desk.takes_s = 0.0
    assert not isinstance(place(desk, unanswered, BODY), Already)
    assert len(desk.orders) == 2


def test_an_order_that_is_held_is_told_as_it_is_now(unanswered):
    client = Answers(TAKEN)
    place(client, unanswered, BODY)
    client.known = TAKEN.answer.model_copy(update={"state": "cancelled"})
    assert place(client, unanswered, BODY).answer.state == "cancelled"


def test_what_never_came_is_sent_under_the_same_id(unanswered, at_s):
    client = Answers(Failed("late"), TAKEN)
    place(client, unanswered, BODY)
    client.known = Refused("unknown_order", "No such order.")
    for at_s[0] in (2.0, 13.0):
        unanswered.settle(client)
    assert [each.order for each in unanswered.news(0)] == [None]
    assert place(client, unanswered, BODY) == TAKEN
    assert len(set(client.ids)) == 1


def test_what_turned_out_is_news_for_a_moment_and_to_each_who_has_not_heard_it(unanswered, at_s):
    client = Answers(Failed("late"))
    place(client, unanswered, BODY)
    client.known = TAKEN.answer
    at_s[0] = 2.0
    unanswered.settle(client)
    (news,) = unanswered.news(0)
    assert news.order == TAKEN.answer
    assert unanswered.news(news.number) == []
    at_s[0] = 2.1 + DOUBT_S
    assert unanswered.news(0) == []


def test_no_order_without_an_answer_is_forgotten_for_another():
    client, unanswered = Answers(*[Failed("late")] * UNANSWERED_MAX, TAKEN), Unanswered()
    for qty in range(UNANSWERED_MAX):
        place(client, unanswered, BODY | {"qty": str(qty)})
    assert isinstance(place(client, unanswered, BODY | {"qty": "99"}), Refused)
    assert place(client, unanswered, BODY | {"qty": "0"}) == TAKEN
    assert client.ids[-1] == client.ids[0]


# --- one order


def test_an_order_keeps_its_id_until_it_is_answered_whatever_the_order_of_its_fields():
    unanswered = Unanswered(prefix="trade-")
    first = unanswered.id_of(BODY)
    assert first.startswith("trade-")
    assert unanswered.id_of(dict(reversed(BODY.items()))) == first
    assert unanswered.id_of(BODY | {"qty": "2"}) != first
    unanswered.answered(BODY)
    assert unanswered.id_of(BODY) != first


@pytest.mark.parametrize("second", [AWAY, Refused("busy", "Not now.")])
def test_what_may_have_been_taken_stays_one_order_until_the_desk_says_so(unanswered, at_s, second):
    client = Answers(Failed("late"), second, TAKEN, TAKEN)
    for answered in (Failed, Failed, Done):
        assert isinstance(place(client, unanswered, BODY), answered)
    assert len(unanswered) == 0
    at_s[0] = DOUBT_S + 1
    place(client, unanswered, BODY)
    assert len(set(client.ids[:3])) == 1
    assert client.ids[3] != client.ids[0]


@pytest.mark.parametrize("first", [AWAY, Refused("busy", "Not now.")])
def test_what_was_certainly_not_taken_is_forgotten(first):
    client = Answers(first, TAKEN)
    unanswered = Unanswered()
    assert place(client, unanswered, BODY) == first
    assert len(unanswered) == 0
    place(client, unanswered, BODY)
    assert client.ids[0] != client.ids[1]


def test_a_double_click_is_one_order_and_a_later_click_another(unanswered, at_s):
    client = Answers(TAKEN, TAKEN)
    found = []
    for at_s[0] in (10.0, 10.1, 10.49, 10.51):
        found.append(place(client, unanswered, BODY))
    assert [isinstance(each, Already) for each in found] == [False, True, True, False]
    at_s[0] = 11.5
    assert isinstance(place(client, unanswered, BODY, 10.6), Already)  # pressed in time, sent late
    assert len(set(client.ids)) == len(client.ids) == 2


def test_a_portfolio_that_cannot_be_made_leaves_an_unanswered_order_as_it_is():
    client = Answers(Failed("late"), Refused(UNKNOWN_PORTFOLIO, "None."), TAKEN)
    unanswered = Unanswered()
    for answered in (Failed, Failed, Done):
        assert isinstance(press(client, unanswered, "BTCUSDT", "buy", 1.0).answer, answered)
    assert len(set(client.ids)) == 1


def test_clicks_at_once_in_one_session_are_one_order():
    release = threading.Event()

    class Slow(Answers):
        def place(self, body):
            release.wait(5)
            return super().place(body)

    client, unanswered = Slow(TAKEN, TAKEN), Unanswered()
    clicks = [threading.Thread(target=place, args=(client, unanswered, BODY)) for _ in "ab"]
    for each in clicks:
        each.start()
    release.set()
    for each in clicks:
        each.join()
    assert len(client.ids) == 1
