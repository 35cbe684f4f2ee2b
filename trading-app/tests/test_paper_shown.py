"""What the paper desk's pages show of small sums, of old figures, and of orders that ended late."""

from datetime import UTC
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trading_app.market_client import Refused
from trading_app.paper_answers import (
    EquityHistory,
    Fill,
    Order,
    Orders,
    PortfolioNow,
    Portfolios,
    Preview,
    TradingState,
)
from trading_app.paper_ended import ENDED_MAX, OPENED_MAX, Ended
from trading_app.paper_formats import amount, exactly, money
from trading_app.paper_status import orders_status, portfolio_status, without_answer
from trading_app.sidecar_client import Away
from trading_app.ui import orders_parts, portfolio_parts
from trading_app.ui.portfolio_charts import curve

NOW = {
    "portfolio": {"name": "main", "currency": "USDT", "balance": "100000"},
    "state": {"state": "active"}, "cash": "99990", "equity": "100000", "realised": "0",
    "fees": "0", "residue": "0", "gross": "10",
}  # fmt: skip
HELD = {"symbol": "BTCUSDT", "qty": "1", "cost": "10"}
FILL = {
    "client_order_id": "a", "symbol": "BTCUSDT", "side": "buy", "price": "62000.1",
    "qty": "0.0001", "fee": "0.0031", "filled_ms": 1,
    "evidence": {"kind": "quote", "price": "62000.1", "size": "1"},
}  # fmt: skip


def now(**changes):
    return PortfolioNow.model_validate(NOW | changes)


def plain(text):
    return Decimal(text.replace("\u202f", "").replace("\u2212", "-").replace("+", ""))


# --- small sums


@given(st.decimals(-(10**17), 10**17, places=18))
def test_an_exact_amount_has_every_decimal(value):
    assert plain(exactly(value)) == value


@pytest.mark.parametrize("residue", ["1E-12", "0.000000000000000001", "-0.0000000004"])
def test_a_residue_is_never_shown_as_0(residue):
    said = portfolio_status(now(residue=residue), 0.0).words.partition(" ")[0]
    assert plain(said) == Decimal(residue)
    assert amount(Decimal(residue)) in portfolio_parts.figures(now(residue=residue), "", old=False)


@given(st.decimals(-10, 10, places=18).filter(bool))
def test_no_sum_of_money_is_shown_as_0_where_it_is_not(value):
    assert plain(money(value))


@given(st.decimals("0.01", 10**9, places=4))
def test_money_of_a_cent_or_more_has_two_decimals(value):
    assert len(money(value).partition(".")[2]) == 2


def test_a_small_fee_is_shown_with_the_decimals_of_its_column():
    rows = [Fill.model_validate(FILL), Fill.model_validate(FILL | {"fee": "31.00005"})]
    html = orders_parts.fills(rows, UTC, 0.0, "", old=False)
    assert ">0.0031<" in html
    assert ">31.0000<" in html or ">31.0001<" in html


def test_the_average_of_a_small_price_has_its_digits():
    held = HELD | {"average_price": "0.00001234"}
    assert ">0.00001234<" in portfolio_parts.positions(now(positions=[held]), "", old=False)


def test_what_is_counted_at_cost_is_said():
    small = portfolio_parts.figures(now(positions=[HELD], equity=None), "", old=False)
    assert "10.00 in positions, BTCUSDT at cost" in small
    priced = portfolio_parts.figures(now(positions=[HELD | {"price": "10"}]), "", old=False)
    assert "at cost" not in priced


def test_a_preview_names_its_currency():
    html = orders_parts.preview(Preview(notional=Decimal(1)), "USDT", "")
    assert "<dt>notional, USDT</dt>" in html
    assert "<dt>cash after, USDT</dt>" in html


# --- what is old, or not stored


def test_old_figures_are_not_said_to_be_of_now():
    assert "every cent explained" in portfolio_parts.details(now(), old=False)
    assert "every cent explained" not in portfolio_parts.details(now(), old=True)
    assert "every cent explained" not in portfolio_parts.figures(now(), "", old=True)
    points = [{"at_ms": at, "equity": "100000", "drawdown": 0} for at in (1_000, 61_000)]
    shown = curve(EquityHistory.model_validate({"snapshots": points}), None)
    assert "100\u202f000.00 now" in portfolio_parts.curve_note(shown, "")
    late = portfolio_parts.curve_note(shown, "as of 9 s ago")
    assert "100\u202f000.00 as of 9 s ago" in late
    assert "ta-old" in late
    assert " now" not in late


def test_what_is_not_stored_yet_is_said():
    assert portfolio_status(now(), 0.0).state == "live"
    said = portfolio_status(now(is_stored=False), 0.0)
    assert said.state == "stale"
    assert "not stored yet" in said.words
    assert "gone after a crash" in said.words
    both = portfolio_status(now(is_stored=False, equity=None), 0.0)
    assert "equity is not known" in both.words
    assert "not stored yet" in both.words


@pytest.mark.parametrize(
    ("reason", "starts"),
    [("nothing answers at http://x", True), ("http://x took longer than 400 ms", False)],
)
def test_start_it_is_said_only_where_nothing_listens(reason, starts):
    cure = without_answer(Away(reason, 0.0, None, None), 100.0, "it").cure
    assert ("make apps-up" in cure) == starts
    assert starts or reason in cure


@pytest.mark.parametrize("field", ["closed_ms", "accepted_ms", "submitted_ms"])
@pytest.mark.parametrize("ms", [10**18, -1])
def test_a_time_far_off_cannot_be_read(field, ms):
    order = {"client_order_id": "a", "symbol": "B", "side": "buy", "qty": "1", "state": "working"}
    with pytest.raises(ValidationError):
        Order.model_validate(order | {field: ms})


def test_a_time_far_off_of_a_fill_a_state_or_a_point_cannot_be_read():
    for kind, body in (
        (Fill, FILL | {"filled_ms": 10**18}),
        (TradingState, {"state": "active", "since_ms": 10**18}),
        (PortfolioNow, NOW | {"now_ms": 10**18}),
        (EquityHistory, {"snapshots": [{"at_ms": 10**18}]}),
    ):
        with pytest.raises(ValidationError):
            kind.model_validate(body)


# --- what a halt leaves waiting


def halted(**opened):
    found = [{"name": name, "open_orders": count} for name, count in opened.items()]
    state = TradingState(state="halted", reason="a person")
    everyone = Portfolios.model_validate({"portfolios": found})
    return orders_status(state, now(open_orders=opened["main"]), everyone, 0.0)


def test_cancel_all_is_named_as_a_cure_only_of_what_it_cancels():
    other = halted(main=0, bot=1)
    assert "1 open order of all portfolios waits: 1 in bot" in other.words
    assert "Cancel all is for one portfolio: choose bot" in other.cure
    own = halted(main=2, bot=1)
    assert "3 open orders of all portfolios wait: 2 in main, 1 in bot" in own.words
    assert "Cancel all cancels those of main" in own.cure
    assert "Cancel all" not in halted(main=0).cure


# --- orders that ended


class Desk:
    """Answers as the engine does: orders by their numbers, newest first."""

    def __init__(self):
        self.states, self.closed_ms, self.asked = [], {}, []
        self.is_away = False

    def place(self, state):
        self.states.append(state)
        return len(self.states) - 1

    def end(self, number, at_ms):
        self.states[number], self.closed_ms[number] = "cancelled", at_ms

    def _order(self, number):
        return Order.model_validate({
            "client_order_id": f"o{number}", "number": number + 1, "symbol": "B", "side": "buy",
            "qty": "1", "state": self.states[number], "accepted_ms": number,
            "closed_ms": self.closed_ms.get(number, number),
        })  # fmt: skip

    def orders(self, _name, state, limit, before=None):
        if self.is_away:
            return Away("nothing answers", 0.0, None, None)
        numbers = [
            number
            for number in reversed(range(min(len(self.states), (before or 10**9) - 1)))
            if state == "all" or self.states[number] == "working"
        ]
        return Orders(orders=tuple(map(self._order, numbers[:limit])))

    def order(self, _name, which):
        self.asked.append(which)
        if self.is_away:
            return Away("nothing answers", 0.0, None, None)
        number = int(which[1:])
        return self._order(number) if number < len(self.states) else Refused("unknown_order", "")


def ids(found):
    return [order.client_order_id for order in found.orders]


def test_an_order_that_ends_late_is_the_first_of_those_that_ended():
    desk, ended = Desk(), Ended()
    late = desk.place("working")
    for _ in range(300):
        desk.place("filled")
    assert "o0" not in ids(ended.look(desk, "main"))
    desk.end(late, 10_000)
    found = ended.look(desk, "main")
    assert ids(found)[0] == "o0"
    assert len(found.orders) == ENDED_MAX
    assert found.is_cut
    assert ids(ended.look(desk, "main"))[0] == "o0"
    assert desk.asked == ["o0"]


def test_what_is_remembered_as_open_is_bounded_and_not_asked_for_where_it_is_listed():
    desk, ended = Desk(), Ended()
    first = desk.place("working")
    for look in range(40):
        made = [desk.place("working") for _ in range(90)]
        ended.look(desk, "main")
        for number in made:
            desk.end(number, 10_000 + look)
    assert desk.asked == [], "each was among the newest when it had ended"
    kept = ended._seen["main"].opened
    assert f"o{first}" in kept
    assert len(kept) <= OPENED_MAX


def test_those_that_ended_are_listed_by_when_they_ended():
    desk, ended = Desk(), Ended()
    for _ in range(5):
        desk.place("working")
    for at_ms, number in ((20_000, 3), (30_000, 0), (10_000, 4)):
        desk.end(number, at_ms)
    found = ended.look(desk, "main")
    assert ids(found) == ["o0", "o3", "o4"]
    assert not found.is_cut


def test_an_order_that_ended_while_the_engine_was_away_is_asked_for_when_it_is_back():
    desk, ended = Desk(), Ended()
    desk.place("working")
    for _ in range(300):
        desk.place("filled")
    ended.look(desk, "main")
    desk.end(0, 10_000)
    desk.is_away = True
    away = ended.look(desk, "main")
    assert away.orders is None
    assert away.answer.reason == "nothing answers"
    desk.is_away = False
    assert ids(ended.look(desk, "main"))[0] == "o0"


def test_many_orders_that_end_at_once_are_all_found_in_a_few_looks():
    desk, ended = Desk(), Ended()
    for _ in range(50):
        desk.place("working")
    for _ in range(1_200):
        desk.place("filled")
    ended.look(desk, "main")
    for number in range(50):
        desk.end(number, 10_000 + number)
    for _ in range(10):
        found = ended.look(desk, "main")
    assert ids(found)[:50] == [f"o{number}" for number in reversed(range(50))]
