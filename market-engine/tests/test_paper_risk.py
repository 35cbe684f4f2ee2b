"""Risk: each reason at its exact boundary, the order of the checks, and what an order costs."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_engine.events import Quote, Side, Trade
from market_engine.paper.account import PortfolioAccount
from market_engine.paper.currencies import UNCLEAR
from market_engine.paper.markets import SymbolMarket
from market_engine.paper.model import (
    BookName,
    Evidence,
    EvidenceKind,
    Fill,
    Limits,
    Mark,
    Model,
    NewOrder,
    Order,
    OrderState,
    OrderType,
    Portfolio,
    TradingState,
)
from market_engine.paper.reasons import Denial, Why
from market_engine.paper.risk import CHECKS, RiskView, check, currency_of, preview

NANO = 10**9
NOW_NS = 1_000 * NANO
FREE = Limits(None, None, None, None, None, None, 1_000)
"""No limit but the number of open orders, and cash."""


def order(side: Side = "buy", qty: str = "1", **given: Any) -> NewOrder:
    """A market order for BTCUSDT, or whatever is given."""
    kind = OrderType.MARKET if "limit" not in given else OrderType.LIMIT
    prices = {f"{name}_nano": nano(given.pop(name)) for name in ("limit", "stop") if name in given}
    given = {"symbol": "BTCUSDT", "type": kind} | prices | given
    return NewOrder(portfolio="main", client_order_id="a", side=side, qty_nano=nano(qty), **given)


def nano(text: str) -> int:
    return int(Decimal(text) * NANO)


def market(symbol: str = "BTCUSDT", price: str = "100", age_ns: int = 0) -> SymbolMarket:
    found = SymbolMarket(symbol)
    at_ns = NOW_NS - age_ns
    found.note_trade(Trade("x", symbol, nano(price), nano("1"), "buy", 1, at_ns, at_ns))
    return found


def view(limits: Limits = FREE, held: str = "0", **given: Any) -> RiskView:
    """A portfolio of 100,000 USDT in a market at 100, that holds so much BTCUSDT bought at 100."""
    portfolio = Portfolio("main", "USDT", Decimal(100_000), 0, limits=limits, model=FREE_MODEL)
    portfolio = given.pop("portfolio", portfolio)
    account = PortfolioAccount(portfolio)
    account.open()
    if nano(held):
        _hold(account, nano(held))
    defaults: dict[str, Any] = {
        "market": market(), "currency": "USDT", "state": TradingState.ACTIVE, "now_ns": NOW_NS,
        "open_orders": [], "submitted_ns": deque(),
    }  # fmt: skip
    return RiskView(portfolio, account, **(defaults | given))


FREE_MODEL = Model(Decimal(0), Decimal(0))


def _hold(account: PortfolioAccount, qty_nano: int) -> None:
    side: Side = "buy" if qty_nano > 0 else "sell"
    evidence = Evidence(EvidenceKind.PRINT, 1, 1, nano("100"), abs(qty_nano), 0, 1)
    account.fill(
        Fill(1, BookName.NEUTRAL, "main", "x", 1, 1, "BTCUSDT", side, nano("100"), abs(qty_nano),
             Decimal(0), False, 1, evidence)
    )  # fmt: skip
    account.mark("BTCUSDT", Mark(nano("100"), "last", NOW_NS, is_stale=False))


def opened(asked: NewOrder, number: int = 1, collar: int | None = None) -> Order:
    return Order(asked, number, OrderState.WORKING, Why.PRICE, 1, 1, collar)


def limits(**given: Any) -> Limits:
    return msgspec.structs.replace(FREE, **given)


def reason(asked: NewOrder, seen: RiskView) -> Denial | None:
    verdict = check(asked, seen)
    assert bool(verdict.detail) is (verdict.denial is not None)
    return verdict.denial


AT_LIMIT = [
    pytest.param(
        Denial.MAX_ORDER, order(qty="10"), order(qty="10.000000001"),
        view(limits(max_order=Decimal(1000))), id="max_order"),
    pytest.param(
        Denial.MAX_POSITION, order(qty="5"), order(qty="5.000000001"),
        view(limits(max_position=Decimal(1000)), held="5"), id="max_position"),
    pytest.param(
        Denial.MAX_POSITION, order("sell", qty="15"), order("sell", qty="15.000000001"),
        view(limits(max_position=Decimal(1000)), held="5"), id="max_position-flipped"),
    pytest.param(
        Denial.MAX_POSITION, order(qty="2"), order(qty="2.000000001"),
        view(limits(max_position=Decimal(1000)), held="5",
             open_orders=[opened(order(qty="3", limit="90"))]), id="max_position-with-open"),
    pytest.param(
        Denial.MAX_POSITION, order("sell", qty="5"), order("sell", qty="5.000000001"),
        view(limits(allow_short=False), held="5"), id="no-shorts"),
    pytest.param(
        Denial.MAX_GROSS, order(qty="2"), order(qty="2.000000001"),
        view(limits(max_gross=Decimal(1000)), held="5",
             open_orders=[opened(order(qty="3", limit="100", symbol="ETHUSDT"))]),
        id="max_gross-with-open-of-another-symbol"),
    pytest.param(
        Denial.PRICE_COLLAR, order(limit="105"), order(limit="105.000000001"),
        view(limits(price_collar=Decimal("0.05"))), id="collar-of-a-buy"),
    pytest.param(
        Denial.PRICE_COLLAR, order("sell", limit="95"), order("sell", limit="94.999999999"),
        view(limits(price_collar=Decimal("0.05"))), id="collar-of-a-sell"),
    pytest.param(
        Denial.CASH, order(qty="1000"), order(qty="1000.000000001"), view(), id="cash"),
    pytest.param(
        Denial.CASH, order(qty="800", limit="100"), order(qty="800.00000001", limit="100"),
        view(open_orders=[opened(order(qty="200", limit="100", symbol="ETHUSDT"))]),
        id="cash-that-open-buys-hold"),
    pytest.param(
        Denial.CASH, order("sell", qty="1000"), order("sell", qty="1000.000000001"), view(),
        id="a-short-beyond-equity"),
    pytest.param(
        Denial.CASH, order("sell", qty="600"), order("sell", qty="600.000000001"),
        view(held="-400"), id="a-short-beside-a-short"),
    pytest.param(
        Denial.CASH, order("sell", qty="1100"), order("sell", qty="1100.000000001"),
        view(held="100"), id="a-sell-closes-without-funds"),
    pytest.param(
        Denial.REDUCE_ONLY, order("sell", reduce_only=True), order("buy", reduce_only=True),
        view(held="5"), id="reduce_only"),
    pytest.param(
        Denial.REDUCE_ONLY, order("buy", qty="2", reduce_only=True),
        order("buy", qty="2.000000001", reduce_only=True),
        view(held="-5", open_orders=[
            opened(order(qty="2", limit="90", reduce_only=True), 2),
            opened(order(qty="1", limit="90")),
        ]), id="reduce_only-beside-both"),
]  # fmt: skip


@pytest.mark.parametrize(("denial", "passes", "fails", "seen"), AT_LIMIT)
def test_what_equals_its_limit_passes_and_a_billionth_more_is_denied(
    denial: Denial, passes: NewOrder, fails: NewOrder, seen: RiskView
) -> None:
    assert reason(passes, seen) is None
    assert reason(fails, seen) is denial


STALE = limits(max_daily_loss=Decimal(0))
STATES = [
    (Denial.UNKNOWN_SYMBOL, view(), view(currency=None)),
    (Denial.CURRENCY, view(), view(currency="USD")),
    (Denial.HALTED, view(), view(state=TradingState.HALTED)),
    (Denial.HALTED, view(), view(state=TradingState.FLATTEN)),
    (Denial.REDUCING, view(held="-1", state=TradingState.REDUCING),
     view(held="-0.999999999", state=TradingState.REDUCING)),
    (Denial.STALE_PRICE, view(market=market(age_ns=10 * NANO)),
     view(market=market(age_ns=10 * NANO + 1))),
    (Denial.STALE_PRICE, view(), view(market=None)),
    (Denial.ORDER_RATE, view(limits(orders_a_second=2), submitted_ns=deque([NOW_NS - NANO, 2])),
     view(limits(orders_a_second=2), submitted_ns=deque([NOW_NS - NANO + 1, NOW_NS]))),
    (Denial.OPEN_ORDERS, view(limits(open_orders=1)),
     view(limits(open_orders=1), open_orders=[opened(order(limit="1"))])),
]  # fmt: skip


@pytest.mark.parametrize(("denial", "before", "after"), STATES)
def test_an_order_passes_just_before_the_circumstances_deny_it(
    denial: Denial, before: RiskView, after: RiskView
) -> None:
    assert reason(order(), before) is None
    assert reason(order(), after) is denial


def test_after_the_days_loss_only_orders_that_reduce_pass() -> None:
    at_limit, beyond = (
        view(limits(max_daily_loss=Decimal(loss)), held="10") for loss in ("50", "49.99")
    )
    for seen in (at_limit, beyond):
        seen.account.mark("BTCUSDT", Mark(nano("95"), "last", NOW_NS, is_stale=False))
    assert reason(order(), at_limit) is None
    assert reason(order(), beyond) is Denial.MAX_DAILY_LOSS
    assert reason(order("sell", qty="10"), beyond) is None
    assert reason(order("sell", qty="10.000000001"), beyond) is Denial.MAX_DAILY_LOSS


def test_what_is_open_on_the_closing_side_leaves_nothing_to_reduce() -> None:
    closing = opened(order("sell", qty="4", limit="110"))
    seen = view(held="5", state=TradingState.REDUCING, open_orders=[closing])
    assert reason(order("sell", qty="1"), seen) is None
    assert reason(order("sell", qty="1.1"), seen) is Denial.REDUCING
    assert reason(order("sell", qty="1", reduce_only=True), seen) is None
    assert reason(order("sell", qty="1.1", reduce_only=True), seen) is Denial.REDUCE_ONLY


def test_the_checks_run_in_the_order_that_is_documented() -> None:
    assert [denial for denial, _ in CHECKS] == [
        Denial.UNKNOWN_SYMBOL, Denial.CURRENCY, Denial.HALTED, Denial.REDUCING,
        Denial.MAX_DAILY_LOSS, Denial.STALE_PRICE, Denial.REDUCE_ONLY, Denial.ORDER_RATE,
        Denial.OPEN_ORDERS, Denial.MAX_ORDER, Denial.PRICE_COLLAR, Denial.MAX_POSITION,
        Denial.MAX_GROSS, Denial.CASH,
    ]  # fmt: skip
    assert {denial for denial, _ in CHECKS} == set(Denial)


def test_of_several_reasons_the_first_is_told() -> None:
    seen = view(limits(max_order=Decimal(1), open_orders=0), currency="USD")
    assert reason(order(), seen) is Denial.CURRENCY
    seen = msgspec.structs.replace(seen, currency="USDT")
    assert reason(order(), seen) is Denial.OPEN_ORDERS


def test_only_the_desks_own_orders_pass_while_it_is_flattened_whatever_the_limits() -> None:
    tight = limits(max_order=Decimal(1), orders_a_second=0, price_collar=Decimal("0.01"))
    seen = view(tight, held="5", state=TradingState.FLATTEN, market=None)
    way_out = order("sell", qty="5", reduce_only=True, source="flatten")
    assert check(way_out, seen).denial is None
    assert check(way_out, seen).collar_nano is None
    assert reason(msgspec.structs.replace(way_out, source="api"), seen) is Denial.HALTED
    assert reason(msgspec.structs.replace(way_out, reduce_only=False), seen) is Denial.HALTED
    active = msgspec.structs.replace(seen, state=TradingState.ACTIVE)
    assert reason(way_out, active) is Denial.STALE_PRICE


@pytest.mark.parametrize(
    ("asked", "price", "collar"),
    [
        (order(), "0.000000003", "0.000000003"),
        (order("sell"), "0.000000003", "0.000000003"),
        (order(), "100", "105"),
        (order("sell"), "100", "95"),
        (order(stop="120", type=OrderType.STOP), "100", "126"),
        (order(stop="80", type=OrderType.STOP), "100", "105"),
        (order("sell", stop="80", type=OrderType.STOP), "100", "76"),
        (order("sell", stop="120", type=OrderType.STOP), "100", "95"),
        (order(limit="99"), "100", None),
    ],
)
def test_the_collar_of_an_order_is_rounded_towards_the_price(
    asked: NewOrder, price: str, collar: str | None
) -> None:
    seen = view(limits(price_collar=Decimal("0.05")), market=market(price=price))
    expected = None if collar is None else nano(collar)
    assert check(asked, seen).collar_nano == expected


def test_a_passive_limit_may_be_as_far_away_as_it_likes() -> None:
    seen = view(limits(price_collar=Decimal("0.05")))
    assert reason(order(limit="1"), seen) is None
    assert reason(order("sell", limit="10000", qty="0.01"), seen) is None


def test_a_buy_counts_with_its_worst_price_and_the_takers_fee() -> None:
    fees = Portfolio(
        "main", "USDT", Decimal("105.105"), 0, limits=limits(price_collar=Decimal("0.05")),
        model=Model(taker_fee=Decimal("0.001")),
    )  # fmt: skip
    assert reason(order(), view(portfolio=fees)) is None
    less = msgspec.structs.replace(fees, balance=Decimal("105.104"))
    verdict = check(order(), view(portfolio=less))
    assert verdict.denial is Denial.CASH
    assert verdict.detail == (
        "it may need 105.105 USDT and 105.104 USDT of the cash is free of open orders and shorts: "
        "make it smaller, or cancel an open order"
    )


def test_a_denial_tells_the_numbers_and_the_cure() -> None:
    verdict = check(order(qty="12"), view(limits(max_order=Decimal(1000))))
    assert verdict.detail == (
        "the order is worth 1200 USDT, above max_order 1000 USDT: make it smaller"
    )
    verdict = check(order(), view(market=market(age_ns=12 * NANO)))
    assert verdict.detail == (
        "the newest price of BTCUSDT is 12,000 ms old and stale_ms is 10,000: "
        "wait for the next quote or trade"
    )


def test_a_preview_says_what_the_order_would_cost_and_changes_nothing() -> None:
    model = Model(Decimal("0.001"), Decimal("0.002"), slippage=Decimal("0.01"))
    portfolio = Portfolio("main", "USDT", Decimal(1000), 0, limits=FREE, model=model)
    quoted = market()
    quoted.note_quote(Quote("x", "BTCUSDT", nano("99"), NANO, nano("101"), NANO, NOW_NS, NOW_NS))
    seen = view(portfolio=portfolio, market=quoted)
    found = preview(order(qty="2"), seen)
    assert (found.price_nano, found.notional) == (nano("102.01"), Decimal("204.02"))
    assert (found.fee, found.cash_after) == (Decimal("0.40804"), Decimal("795.57196"))
    assert (found.position_after_nano, found.verdict.denial) == (nano("2"), None)
    resting = preview(order("sell", limit="103"), seen)
    assert (resting.price_nano, resting.fee) == (nano("103"), Decimal("0.103"))
    assert seen.account.cash == 1000
    assert preview(order(), view(market=None)).notional is None


@pytest.mark.parametrize(
    ("symbol", "kind", "currency"),
    [
        ("BTCUSDT", "crypto", "USDT"), ("BTCFDUSD", "crypto", "FDUSD"), ("ETHBTC", "crypto", "BTC"),
        ("USDTTRY", "crypto", "TRY"), ("BTCUSD", "crypto", "USD"), ("ETHUSDC", "crypto", "USDC"),
        ("AAPL", "equity", "USD"), ("ETH", "crypto", UNCLEAR), ("FOO", "crypto", UNCLEAR),
        ("AAPL", "bond", UNCLEAR), ("BNBUSD", "crypto", "USD"), ("DOTUSD", "crypto", "USD"),
        ("BTCTUSD", "crypto", "TUSD"), ("BTCBUSD", "crypto", "BUSD"), ("ADAEUR", "crypto", "EUR"),
        ("BTCPLN", "crypto", "PLN"), ("BTCEURI", "crypto", "EURI"), ("ETHARS", "crypto", "ARS"),
        ("SOLMXN", "crypto", "MXN"), ("TUSDUSDT", "crypto", "USDT"), ("BTC-USD", "crypto", "USD"),
        ("WIFFDUSD", "crypto", "FDUSD"), ("FOOBUSD", "crypto", UNCLEAR),
        ("QBTUSD", "crypto", UNCLEAR),
        ("BTCXYZ", "crypto", UNCLEAR),
    ],
)  # fmt: skip
def test_the_currency_of_a_symbol_is_what_its_name_ends_with_and_never_a_guess(
    symbol: str, kind: str, currency: str
) -> None:
    assert currency_of(symbol, kind) == currency


def test_a_symbol_whose_name_does_not_tell_its_currency_is_denied_with_that_as_the_reason() -> None:
    verdict = check(order(), view(currency=UNCLEAR))
    assert verdict.denial is Denial.UNKNOWN_SYMBOL
    assert "in which currency" in verdict.detail
    assert "GET /symbols" not in verdict.detail
    assert "GET /symbols" in check(order(), view(currency=None)).detail


QTYS = st.integers(1, 40)
SIDES: st.SearchStrategy[Side] = st.sampled_from(["buy", "sell"])


@st.composite
def judged(draw: st.DrawFn) -> tuple[NewOrder, RiskView]:
    """An order, and a portfolio with tight limits, a position and open orders."""
    rules = Limits(
        Decimal(3000), Decimal(2000), Decimal(3500), Decimal(20_000), Decimal("0.05"), 50, 10,
        draw(st.booleans()),
    )  # fmt: skip
    resting = [
        opened(order(draw(SIDES), str(draw(QTYS)), limit="100", reduce_only=draw(st.booleans())))
        for _ in range(draw(st.integers(0, 4)))
    ]
    limit = draw(st.sampled_from([None, "90", "100", "104", "106", "110"]))
    price = {} if limit is None else {"limit": limit}
    asked = order(draw(SIDES), qty=str(draw(QTYS)), reduce_only=draw(st.booleans()), **price)
    state = draw(st.sampled_from(TradingState))
    held = str(draw(st.integers(-20, 20)))
    return asked, view(rules, held=held, open_orders=resting, state=state)


@settings(max_examples=300)
@given(judged(), QTYS)
def test_an_order_that_is_denied_does_not_pass_by_being_made_larger(
    case: tuple[NewOrder, RiskView], more: int
) -> None:
    small, seen = case
    large = msgspec.structs.replace(small, qty_nano=small.qty_nano + more * NANO)
    if check(small, seen).denial is not None:
        assert check(large, seen).denial is not None


def test_a_collar_is_never_more_than_can_be_read_again() -> None:
    most = market(price="999999999999999.999999999")
    seen = view(limits(price_collar=Decimal("0.05")), market=most)
    rich = msgspec.structs.replace(seen.portfolio, balance=Decimal(10**30))
    account = PortfolioAccount(rich)
    account.open()
    seen = msgspec.structs.replace(seen, portfolio=rich, account=account)
    assert check(order(), seen).collar_nano == 10**24 - 1
    assert reason(order(limit="999999999999999.999999999"), seen) is None


def test_open_reduce_only_orders_use_up_what_can_be_closed() -> None:
    way_out = opened(order("sell", qty="10", limit="110", reduce_only=True))
    no_shorts = view(limits(allow_short=False), held="10", open_orders=[way_out])
    reducing = view(held="10", state=TradingState.REDUCING, open_orders=[way_out])
    assert reason(order("sell", qty="1", limit="110"), no_shorts) is Denial.MAX_POSITION
    assert reason(order("sell", qty="1", limit="110"), reducing) is Denial.REDUCING
    partly = [opened(order("sell", qty="4", limit="110", reduce_only=True))]
    reducing = msgspec.structs.replace(reducing, open_orders=partly)
    assert reason(order("sell", qty="6", limit="110"), reducing) is None
    assert reason(order("sell", qty="6.000000001", limit="110"), reducing) is Denial.REDUCING


def test_the_position_is_judged_as_if_reduce_only_orders_were_filled_first() -> None:
    resting = [
        opened(order("sell", qty="9", limit="110"), 1),
        opened(order("sell", qty="10", limit="110", reduce_only=True), 2),
    ]
    seen = view(limits(max_position=Decimal(1400)), held="10", open_orders=resting)
    assert reason(order("sell", qty="5"), seen) is None
    assert reason(order("sell", qty="5.000000001"), seen) is Denial.MAX_POSITION


@pytest.mark.parametrize("state", [TradingState.ACTIVE, TradingState.REDUCING])
def test_a_reduce_only_order_is_denied_where_open_ones_close_the_whole_position(
    state: TradingState,
) -> None:
    resting = opened(order("sell", qty="10", limit="110"))
    seen = view(limits(allow_short=False), held="10", state=state, open_orders=[resting])
    verdict = check(order("sell", qty="10", reduce_only=True), seen)
    assert verdict.denial is Denial.REDUCE_ONLY
    assert verdict.detail == (
        "the position in BTCUSDT is 10, and the open sell orders close all of it already, 10 "
        "without reduce-only: cancel those without it"
    )
    other_side = msgspec.structs.replace(seen, open_orders=[opened(order(qty="10", limit="90"))])
    assert reason(order("sell", qty="10", reduce_only=True), other_side) is None


@pytest.mark.parametrize("state", [TradingState.HALTED, TradingState.FLATTEN])
def test_the_desks_own_orders_pass_beside_open_ones(state: TradingState) -> None:
    resting = opened(order("sell", qty="10", limit="110"))
    seen = view(held="10", state=state, open_orders=[resting], market=None)
    way_out = order("sell", qty="10", reduce_only=True, source="flatten")
    assert reason(way_out, seen) is None


@pytest.mark.parametrize(
    ("age_ns", "asked", "cost"),
    [
        (0, order(), "102.01"), (10 * NANO + 1, order(), "101"),
        (0, order(stop="200", type=OrderType.STOP), "202"), (0, order(limit="100"), "100"),
    ],
)  # fmt: skip
def test_a_buy_without_a_collar_is_charged_at_the_ask_with_slippage(
    age_ns: int, asked: NewOrder, cost: str
) -> None:
    seen = market()
    at_ns = NOW_NS - age_ns
    seen.note_quote(Quote("x", "BTCUSDT", nano("97"), NANO, nano("101"), NANO, at_ns, at_ns))
    seen.note_trade(Trade("x", "BTCUSDT", nano("100"), NANO, "buy", 2, NOW_NS, NOW_NS))
    model = Model(Decimal(0), Decimal(0), slippage=Decimal("0.01"))
    exact = Portfolio("main", "USDT", Decimal(cost), 0, limits=FREE, model=model)
    less = msgspec.structs.replace(exact, balance=exact.balance - Decimal("0.000000001"))
    assert reason(asked, view(portfolio=exact, market=seen)) is None
    assert reason(asked, view(portfolio=less, market=seen)) is Denial.CASH
