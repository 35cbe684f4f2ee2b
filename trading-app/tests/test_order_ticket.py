import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_telemetry import InvalidTradeError, Trade
from trade_telemetry.messages import check_trade
from trading_app.order_ticket import Problem, Ticket, parse, parse_text

NOW_S = 1_790_000_000.0


def test_a_good_ticket_is_a_trade_of_this_moment():
    assert parse(Ticket("buy", 3, "BTCUSDT", 64_000), NOW_S) == Trade(
        "buy", 3.0, NOW_S, "BTCUSDT", 64_000.0
    )


def test_symbol_and_price_may_be_left_out():
    assert parse(Ticket("sell", 0.5), NOW_S) == Trade("sell", 0.5, NOW_S)


def test_every_wrong_field_is_named_at_once():
    found = parse(Ticket("hold", -1, "no spaces", 0), NOW_S)
    assert [problem.field for problem in found] == ["side", "qty", "symbol", "price"]


def test_a_missing_quantity_says_that_it_is_missing():
    assert parse(Ticket("buy", None), NOW_S) == [
        Problem("qty", "is missing: give a number, 0 or more")
    ]


@pytest.mark.parametrize("qty", [math.nan, math.inf, -0.1, 1e16, "3", True, [], {}])
def test_a_quantity_outside_the_contract_is_refused(qty):
    assert [problem.field for problem in parse(Ticket("buy", qty), NOW_S)] == ["qty"]


@pytest.mark.parametrize(
    ("text", "qty"),
    [("3", 3.0), (" 0.25 ", 0.25), ("1e3", 1000.0), ("+2", 2.0), (".5", 0.5), ("7.", 7.0)],
)
def test_a_forms_text_becomes_a_number(text, qty):
    assert parse_text(Ticket("buy", text), NOW_S) == Trade("buy", qty, NOW_S)


@pytest.mark.parametrize("text", ["", "  ", "abc", "1,5", "nan", "inf", "0x10", "1_000", "٣", "-1"])
def test_a_forms_text_that_is_no_quantity_is_refused(text):
    assert [problem.field for problem in parse_text(Ticket("buy", text), NOW_S)] == ["qty"]


def test_empty_fields_of_a_form_are_left_out():
    assert parse_text(Ticket("buy", "1", " ", ""), NOW_S) == Trade("buy", 1.0, NOW_S)


def test_a_page_of_nonsense_is_not_echoed_back():
    (problem,) = parse_text(Ticket("buy", "x" * 10_000), NOW_S)
    assert len(str(problem)) < 120


_ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.lists(st.integers(), max_size=2),
)


@given(
    side=_ANYTHING | st.sampled_from(["buy", "sell"]),
    qty=_ANYTHING,
    symbol=_ANYTHING,
    price=_ANYTHING,
)
def test_a_ticket_is_a_trade_exactly_when_the_contract_takes_it(side, qty, symbol, price):
    answer = parse(Ticket(side, qty, symbol, price), NOW_S)
    expected = of_the_contract(side, qty, symbol, price)
    if isinstance(expected, Trade):
        assert answer == expected
    else:
        assert expected in {problem.field for problem in answer}


def of_the_contract(side, qty, symbol, price):
    """The trade, or the name of the field that the contract refuses first."""
    try:
        return check_trade(side, qty, NOW_S, symbol, price, NOW_S)
    except InvalidTradeError as error:
        return error.field


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_no_text_in_a_form_raises(qty, symbol, price):
    answer = parse_text(Ticket("buy", qty, symbol, price), NOW_S)
    assert isinstance(answer, Trade) or (answer and all(problem.problem for problem in answer))
