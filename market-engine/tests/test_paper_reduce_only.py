"""Reduce-only beside plain orders: whatever is filled first, nothing opens that risk did not judge.

The oracle tries every order of fills; the stories go through the real desk on its file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from test_paper_desk import Rig, nano
from test_paper_risk import FREE, NANO, SIDES, limits, opened, order, reason, view

from market_engine.events import Side
from market_engine.paper.errors import PaperError
from market_engine.paper.model import (
    FINAL,
    Limits,
    Model,
    NewOrder,
    Order,
    OrderState,
    OrderType,
    Portfolio,
    TradingState,
)
from market_engine.paper.reasons import Denial, Why
from market_engine.paper.risk import check, preview

SIGN = {"buy": 1, "sell": -1}
REACH_MAX = 10
"""What 1,000 USDT buys of something that never costs less than 92."""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path / "desk.db")
    yield rig
    rig.database.close()


def farthest(side: Side, position: int, orders: Sequence[NewOrder]) -> int:
    """How far on the side of ``side`` the position may come, whatever is filled when."""
    ways = tuple((SIGN[each.side], each.reduce_only) for each in orders)

    @cache
    def reached(position: int, left: tuple[int, ...]) -> int:
        most = SIGN[side] * position
        for index, (sign, reduces) in enumerate(ways):
            if left[index] and not (reduces and sign * position >= 0):
                after = position + sign
                still = [count - (at == index) for at, count in enumerate(left)]
                for at, (other, ends) in enumerate(ways):
                    if ends and other * after >= 0:
                        still[at] = 0
                most = max(most, reached(after, tuple(still)))
        return most

    return max(0, reached(position, tuple(each.qty_nano // NANO for each in orders)))


ASKED = st.builds(
    lambda side, qty, reduces: order(side, str(qty), limit="100", reduce_only=reduces),
    SIDES, st.integers(1, 3), st.booleans(),
)  # fmt: skip


@settings(max_examples=400)
@given(st.integers(-5, 5), st.lists(ASKED, max_size=4), ASKED)
def test_what_only_reduces_passes_if_and_only_if_no_order_of_fills_makes_it_open_anything(
    held: int, resting: list[NewOrder], asked: NewOrder
) -> None:
    before = farthest(asked.side, held, resting)
    is_harmless = farthest(asked.side, held, [*resting, asked]) == before
    is_harmless &= held * SIGN[asked.side] < 0
    others = [opened(each, number) for number, each in enumerate(resting)]
    for state in (TradingState.ACTIVE, TradingState.REDUCING):
        if asked.reduce_only or state is TradingState.REDUCING:
            seen = view(held=str(held), open_orders=others, state=state)
            assert (reason(asked, seen) is None) is is_harmless


PRICES = st.integers(97, 103)
STEPS = st.one_of(
    st.tuples(st.just("quote"), PRICES, st.integers(1, 6)),
    st.tuples(st.just("trade"), PRICES, st.integers(1, 6), SIDES),
    st.tuples(
        st.just("order"), st.sampled_from(["sell", "sell", "buy"]), st.sampled_from(OrderType),
        st.integers(1, 8), st.integers(99, 107), st.integers(93, 107), st.booleans(),
    ),
    st.one_of(
        st.tuples(st.just("cancel"), st.integers(1, 10)),
        st.tuples(st.just("state"), st.sampled_from([TradingState.ACTIVE, TradingState.REDUCING])),
    ),
)  # fmt: skip
NO_SHORTS = Limits(None, None, None, None, orders_a_second=None, allow_short=False)
RULES = [
    NO_SHORTS,
    msgspec.structs.replace(NO_SHORTS, max_position=Decimal(1000), allow_short=True),
    msgspec.structs.replace(NO_SHORTS, max_gross=Decimal(1000), allow_short=True),
    msgspec.structs.replace(NO_SHORTS, max_daily_loss=Decimal(5), allow_short=True),
]


class Story:
    """A desk of 1,000 USDT, and what may come of its position at worst, on either side."""

    def __init__(self, folder: str, rules: Limits, latency_ms: int) -> None:
        self.rig, self.rules, self.orders = Rig(Path(folder) / "desk.db"), rules, 0
        model = Model(latency_ms=latency_ms)
        self.rig.desk.create(Portfolio("main", "USDT", Decimal(1000), 0, limits=rules, model=model))
        self.rig.quote("99", "100", size="8")
        self.step("order", "buy", OrderType.MARKET, 8, 0, 0, False)
        self.step("quote", 100, 1)
        self.last = self.worst()

    def position(self) -> int:
        return sum(each.qty_nano for each in self.rig.desk.portfolio("main").positions) // NANO

    def worst(self) -> dict[Side, int]:
        """By arithmetic: reduce-only orders first, as far as they reach, and plain ones after."""
        position, lefts = self.position(), dict.fromkeys(product(SIGN, (True, False)), 0)
        for each in self.rig.desk.store.orders("main", 1_000):
            if each.state not in FINAL:
                lefts[each.asked.side, each.asked.reduce_only] += each.left_nano // NANO
        found: dict[Side, int] = {"buy": max(0, position), "sell": max(0, -position)}
        for side in found:
            closable = max(0, -SIGN[side] * position)
            reduced = min(lefts[side, True], closable)
            found[side] += max(0, lefts[side, False] + reduced - closable)
        return found

    def is_locked(self) -> bool:
        """By the loss of the day, or by the state."""
        limit, equity = self.rules.max_daily_loss, self.rig.desk.portfolio("main").equity
        is_lost = limit is not None and equity is not None and 1000 - equity > limit
        return is_lost or self.is_reducing()

    def is_reducing(self) -> bool:
        return self.rig.desk.state().state is TradingState.REDUCING

    def step(self, kind: str, *given: object) -> bool:
        """Do it, and say whether it was an order that may open something."""
        if kind == "order":
            return self._order(*given)  # type: ignore[arg-type]
        if kind == "quote":
            price, size = given
            self.rig.quote(str(price), str(int(str(price)) + 1), str(size))
        elif kind == "trade":
            price, size, side = given
            self.rig.trade(str(price), str(size), side=side)  # type: ignore[arg-type]
        elif kind == "cancel":
            with contextlib.suppress(PaperError):  # unknown, or closed
                self.rig.desk.cancel("main", f"o-{given[0]}")
        else:
            self.rig.desk.set_state(TradingState(str(given[0])), "")
        return False

    def _order(
        self, side: Side, kind: OrderType, qty: int, limit: int, stop: int, reduces: object
    ) -> bool:
        self.orders += 1
        self.rig.desk.submit(
            NewOrder(
                "main", f"o-{self.orders}", "BTCUSDT", side, kind, qty * NANO,
                limit * NANO if "limit" in kind else None, stop * NANO if "stop" in kind else None,
                reduce_only=bool(reduces),
            )
        )  # fmt: skip
        return not reduces


@settings(max_examples=30, phases=(Phase.reuse, Phase.generate))
@given(st.lists(STEPS, min_size=15, max_size=30), st.sampled_from(RULES), st.sampled_from([0, 150]))
def test_no_story_of_plain_and_reduce_only_orders_opens_more_than_was_judged(
    steps: list[tuple[object, ...]], rules: Limits, latency_ms: int
) -> None:
    with TemporaryDirectory() as folder:
        story = Story(folder, rules, latency_ms)
        try:
            for each in steps:
                _step_and_look(story, *each)
        finally:
            story.rig.database.close()


def _step_and_look(story: Story, kind: str, *given: object) -> None:
    before, held, was_locked = story.last, story.position(), story.is_locked()
    may_open = story.step(kind, *given) and not was_locked
    after, holds = story.worst(), story.position()
    story.last = after
    if not may_open:  # what comes now was judged when it was taken
        assert after["buy"] <= before["buy"]
        assert after["sell"] <= before["sell"]
    if story.is_reducing() or (was_locked and kind == "order"):
        assert abs(holds) <= abs(held)
        assert holds * held >= 0
    if not story.rules.allow_short:
        assert holds >= 0
        assert after["sell"] == 0
        assert story.rig.desk.portfolio("main").cash >= 0
    if story.rules.max_position is not None or story.rules.max_gross is not None:
        assert max(after.values()) <= REACH_MAX


def test_beside_a_plain_closing_order_a_reduce_only_one_gets_what_is_left(rig: Rig) -> None:
    rig.make(limits=msgspec.structs.replace(NO_SHORTS, price_collar=None))
    rig.quote("99", "100", size="100")
    rig.buy(1, "5")
    rig.sell(2, "4.999", limit="102")
    denied = rig.sell(3, "5", reduce_only=True)
    assert (denied.state, denied.why) == (OrderState.DENIED, Denial.REDUCE_ONLY)
    assert denied.detail == (
        "the position in BTCUSDT is 5, and the open sell orders close 4.999 of it already, 4.999 "
        "without reduce-only: make it at most 0.001, or cancel those without it"
    )
    assert rig.sell(4, "0.001", reduce_only=True).state is not OrderState.DENIED
    rig.trade("103", "100", side="buy")
    assert rig.desk.portfolio("main").positions[0].qty_nano == 0


def test_after_the_days_loss_a_plain_and_a_reduce_only_order_cannot_turn_the_position(
    rig: Rig,
) -> None:
    rig.make(limits=Limits(max_daily_loss=Decimal(100), price_collar=None))
    rig.quote("99", "100", size="10000")
    rig.buy(1, "100")
    rig.quote("90", "91", size="10000")
    assert rig.buy(2).why is Denial.MAX_DAILY_LOSS
    assert rig.sell(3, "99", limit="95").state is not OrderState.DENIED
    assert rig.sell(4, "100", reduce_only=True).why is Denial.REDUCE_ONLY
    rig.quote("95", "96", size="10000")
    assert rig.desk.portfolio("main").positions[0].qty_nano == nano("1")


def stop_loss(number: int, *, reduce_only: bool) -> NewOrder:
    return NewOrder(
        "main", f"o-{number}", "BTCUSDT", "sell", OrderType.STOP, nano("5"), None, nano("90"),
        reduce_only=reduce_only,
    )  # fmt: skip


@pytest.mark.parametrize("ends", ["take profit", "stop loss"])
def test_a_position_may_have_a_take_profit_and_a_stop_loss_and_one_ends_the_other(
    rig: Rig, ends: Literal["take profit", "stop loss"]
) -> None:
    rig.make(limits=msgspec.structs.replace(NO_SHORTS, price_collar=None))
    rig.quote("99", "100", size="100")
    rig.buy(1, "5")
    assert rig.sell(2, "5", limit="110", reduce_only=True).state is not OrderState.DENIED
    assert rig.desk.submit(stop_loss(3, reduce_only=False)).order.why is Denial.MAX_POSITION
    assert rig.desk.submit(stop_loss(4, reduce_only=True)).order.state is not OrderState.DENIED
    if ends == "take profit":
        rig.quote("110", "111", size="100")
    else:
        rig.trade("89")
    done, gone = (2, 4) if ends == "take profit" else (4, 2)
    assert found(rig, done).state is OrderState.FILLED
    assert (found(rig, gone).state, found(rig, gone).why) == (OrderState.CANCELLED, Why.REDUCE_ONLY)
    assert rig.desk.portfolio("main").positions[0].qty_nano == 0


def found(rig: Rig, number: int) -> Order:
    stored = rig.desk.store.order("main", f"o-{number}")
    assert stored is not None
    return stored


def test_a_plain_closing_order_beside_reduce_only_ones_is_judged_as_opening() -> None:
    resting = [opened(order("sell", qty="5", limit="110", reduce_only=True))]
    seen = view(limits(allow_short=False), held="5", open_orders=resting)
    verdict = check(order("sell", qty="1", limit="110"), seen)
    assert verdict.detail == (
        "the portfolio may not be short (allow_short): sell at most 0 BTCUSDT, open orders "
        "counted, or make it reduce-only"
    )
    poor = Portfolio("main", "USDT", Decimal(1), 0, limits=FREE, model=Model())
    seen = view(portfolio=poor, held="5", open_orders=resting)
    assert reason(order("sell", qty="1", limit="110"), seen) is Denial.CASH


@pytest.mark.parametrize(("held", "side", "after"), [("1", "sell", 0), ("-1", "buy", 0)])
def test_a_preview_counts_of_a_reduce_only_order_what_it_can_close(
    held: str, side: Side, after: int
) -> None:
    shown = preview(order(side, qty="10", reduce_only=True), view(held=held))
    assert (shown.verdict.denial, shown.position_after_nano) == (None, after)
    assert shown.notional == 100
    shown = preview(order("sell", qty="10", reduce_only=True), view())
    assert (shown.verdict.denial, shown.position_after_nano) == (Denial.REDUCE_ONLY, 0)
    assert shown.notional == 0
