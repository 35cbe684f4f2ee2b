"""What is filled in becomes an exact order, or says what is wrong; words for money and evidence."""

from datetime import UTC
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_app.formats import moment
from trading_app.order_ticket import Problem
from trading_app.paper_answers import EquityHistory, Evidence, Fill, Order, Performance
from trading_app.paper_formats import evidence_words, grouped, money, order_words, outcome, profit
from trading_app.paper_ticket import OrderForm, market_body, order_body, portfolio_body
from trading_app.paper_undefined import undefined
from trading_app.ui import portfolio_parts
from trading_app.ui.portfolio_charts import (
    GAP_MS,
    POINTS_MAX,
    Curve,
    Look,
    Point,
    _thinned,
    curve,
    drawdown_chart,
    equity_chart,
    limits,
)

ORDER = {"client_order_id": "a", "symbol": "BTCUSDT", "side": "buy", "qty": "1.50"}
FILL = ORDER | {
    "price": "62000.10", "filled_ms": 1,
    "evidence": {"kind": "quote", "price": "62000.10", "size": "0.42", "taken_before": "0"},
}  # fmt: skip


@given(st.decimals("0.000000001", "999999999", places=9))
def test_a_quantity_arrives_as_exactly_as_it_was_typed(qty):
    body = order_body(OrderForm("BTCUSDT", "buy", qty=f"{qty:f}"), "main")
    assert Decimal(body["qty"]) == qty
    assert "E" not in body["qty"]


@given(st.floats(1e-9, 1e6).map(lambda value: round(value, 9)).filter(bool))
def test_the_number_of_a_field_becomes_the_decimal_that_it_shows(qty):
    assert Decimal(market_body("BTCUSDT", "buy", qty, "main")["qty"]) == Decimal(repr(qty))


@given(st.text(max_size=20))
def test_no_text_breaks_the_ticket_and_only_numbers_above_0_pass(text):
    body = order_body(OrderForm("BTCUSDT", "buy", qty=text), "main")
    if isinstance(body, dict):
        assert Decimal(body["qty"]) > 0
    else:
        assert [problem.field for problem in body] == ["qty"]


def test_only_the_fields_of_a_type_are_sent():
    form = OrderForm("BTCUSDT", "sell", "stop_limit", "1", "2", "3", "day", True, True)
    body = order_body(form, "main")
    assert (body["limit_price"], body["stop_price"], body["post_only"]) == ("2", "3", True)
    body = order_body(OrderForm("BTCUSDT", "sell", "market", "1", "2", "3", "day", True), "main")
    assert (body["limit_price"], body["stop_price"], body["post_only"]) == (None, None, False)


def test_every_wrong_field_is_named():
    found = order_body(OrderForm(None, "buy", "stop_limit", "", "x", "-1"), "main")
    assert [problem.field for problem in found] == ["symbol", "qty", "limit price", "stop price"]


@pytest.mark.parametrize("name", ["", "Main", "a" * 33, "a b", "../a"])
def test_a_portfolio_has_a_plain_name(name):
    assert portfolio_body(name, "USDT", "1") == [Problem("name", "must be 1 to 32 of a-z 0-9 _ -")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "filled", "average_price": "62000.10"}, "filled at 62\u202f000.1"),
        ({"state": "denied", "why": "cash", "detail": "Not enough."}, "denied: Not enough."),
        ({"state": "denied", "why": "max_order"}, "denied: max order"),
        ({"state": "working", "why": "stale_price"}, "waits: stale price"),
        (
            {"state": "cancelled", "why": "ioc", "filled_qty": "0.5", "average_price": "62000"},
            "0.5 filled at 62\u202f000, the rest cancelled: ioc",
        ),
    ],
)
def test_what_became_of_an_order_is_said_in_words(changes, words):
    assert outcome(Order.model_validate(ORDER | changes)) == words


def test_an_order_is_said_as_it_was_asked():
    order = ORDER | {"type": "limit", "limit_price": "61000", "time_in_force": "day",
                     "post_only": True, "state": "working"}  # fmt: skip
    words = "buy 1.5 BTCUSDT limit 61\u202f000, DAY, post-only"
    assert order_words(Order.model_validate(order)) == words


def test_the_evidence_of_a_fill_names_the_side_that_displayed_or_the_print():
    fill = Fill.model_validate(FILL)
    assert evidence_words(fill) == "displayed 0.42 at the ask 62\u202f000.1"
    taken = fill.evidence.model_copy(update={"taken_before": Decimal("0.10")})
    sold = fill.model_copy(update={"side": "sell", "evidence": taken})
    assert evidence_words(sold) == "displayed 0.42 at the bid 62\u202f000.1, 0.1 taken before"
    printed = Evidence(kind="print", price=Decimal("61999"), size=Decimal(2))
    assert evidence_words(fill.model_copy(update={"evidence": printed})) == (
        "printed 2 at 61\u202f999"
    )


def test_unknown_money_is_a_dash_and_profit_has_its_sign():
    assert (money(None), profit(None)) == ("—", "—")
    assert (profit(Decimal("0.004")), profit(Decimal("12.4")), profit(Decimal(-3))) == (
        "0.00", "+12.40", "\u22123.00"
    )  # fmt: skip


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=9))
def test_an_axis_holds_every_value_and_little_more(values):
    low, high = limits(values)
    room = max(1e-6, max(values) - min(values), abs(max(values)) * 1e-4)
    assert low <= min(values) + 1e-6 * room
    assert high >= max(values) - 1e-6 * room
    assert high - low <= 4 * room


def test_a_long_curve_is_thinned_and_keeps_its_newest_point():
    points = [Point(place, Decimal(place), 0.0) for place in range(5 * POINTS_MAX + 3)]
    curve = Curve(_thinned(points), None)
    assert len(curve.points) <= POINTS_MAX
    assert curve.points[-1] == points[-1]
    assert list(curve.points) == sorted(curve.points, key=lambda point: point.at_ms)


def test_a_thinned_curve_keeps_its_lowest_its_highest_and_what_is_unknown():
    points = [Point(n * 60_000, Decimal(100_000 + n % 7), -0.001) for n in range(9_000)]
    points[4_321] = Point(4_321 * 60_000, Decimal(90_000), -0.1)
    points[5_555] = Point(5_555 * 60_000, Decimal(130_000), 0.0)
    points[7_001] = Point(7_001 * 60_000, None, None)
    kept = _thinned(points)
    assert len(kept) <= POINTS_MAX
    assert {points[0], points[4_321], points[5_555], points[7_001], points[-1]} <= set(kept)


def history(*snapshots):
    names = ("at_ms", "equity", "drawdown")
    rows = [dict(zip(names, each, strict=True)) for each in snapshots]
    return EquityHistory.model_validate({"snapshots": rows})


def test_a_curve_breaks_where_equity_is_not_known_and_where_nobody_looked():
    found = curve(
        history(
            (0, "100", 0.0),
            (60_000, None, None),
            (120_000, "90", -0.1),
            (GAP_MS + 120_001, "95", -0.05),
        ),
        None,
    )
    assert [point.equity for point in found.points] == [100, None, 90, None, 95]
    drawn = equity_chart(Look("light"), found, UTC)["datasets"]["line"]
    assert [row["v"] for row in drawn] == [100, None, 90, None, 95]
    below = drawdown_chart(Look("light"), found)["datasets"]["area"]
    assert [row["v"] for row in below] == [0, None, -10, None, -5]


def test_an_unknown_drawdown_is_not_none_at_all():
    found = curve(history((0, "-5", None), (60_000, "-4", None)), None)
    assert "at most — below the peak at the points shown" in portfolio_parts.curve_note(found, "")


@given(st.floats(0.5, 5e4))
def test_a_curve_fills_at_least_half_of_its_axis(spread):
    low, high = limits([100_000.0, 100_000.0 + spread])
    assert spread >= (high - low) / 2


def test_a_time_of_another_day_has_its_date():
    assert moment(86_400 * 3 + 5, UTC, 86_400 * 3 + 9) == "00:00:05"
    assert moment(86_400 * 3 - 5, UTC, 86_400 * 3 + 9) == "3 Jan 23:59:55"
    assert moment(5, UTC, 86_400 * 400) == "1 Jan 1970 00:00:05"


def test_a_sell_or_buy_that_was_cancelled_before_any_fill_has_no_rest():
    order = ORDER | {"state": "cancelled", "why": "cancelled", "detail": "Its owner cancelled."}
    assert outcome(Order.model_validate(order)) == "cancelled by its owner, nothing was filled"


def test_amounts_in_the_desks_sentences_are_grouped_and_ids_and_times_are_not():
    said = "59437413.09 USDT, above max_order 100000, of a-12345 at 2026-11-22"
    assert grouped(said) == (
        "59\u202f437\u202f413.09 USDT, above max_order 100\u202f000, of a-12345 at 2026-11-22"
    )


@pytest.mark.parametrize(
    ("figures", "figure", "said"),
    [
        ({"days": 3}, "sharpe", "it takes 10 daily returns"),
        ({"days": 30}, "sharpe", "the daily returns do not differ"),
        ({"days": 30}, "calmar", "no drawdown"),
        ({"round_trips": 0}, "win_rate", "no round trip"),
        ({"round_trips": 3, "breakevens": 3}, "win_rate", "every round trip broke even"),
        ({"round_trips": 3, "wins": 3}, "profit_factor", "no round trip has ended with a loss"),
        ({"days": 30, "undefined": {"sharpe": "It says so."}}, "sharpe", "It says so."),
    ],
)
def test_a_figure_that_is_not_defined_says_its_own_reason(figures, figure, said):
    assert said in undefined(Performance.model_validate(figures), figure)
