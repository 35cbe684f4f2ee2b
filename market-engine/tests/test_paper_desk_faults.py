"""The desk where something is wrong: a feed that stands still, a store that refuses, a cent."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from test_paper_desk import START_NS, Rig, nano

from market_engine.events import SECOND_NS
from market_engine.paper.errors import PaperError
from market_engine.paper.model import Limits, NewOrder, OrderState, OrderType, TradingState
from market_engine.paper.reasons import Denial, Why


class Clock:
    """Real time, which passes when a test says so."""

    def __init__(self) -> None:
        self.s = 1_000.0

    def ns(self) -> int:
        return int(self.s * SECOND_NS)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def live(tmp_path: Path, clock: Clock) -> Iterator[Rig]:
    """Of a feed in real time."""
    rig = Rig(tmp_path / "desk.db", monotonic_ns=clock.ns, is_live=True)
    rig.make()
    rig.quote("99", "100", size="5")
    yield rig
    rig.database.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path / "desk.db")
    rig.make()
    rig.quote("99", "100", size="5")
    yield rig
    rig.database.close()


@contextmanager
def unwritable(rig: Rig) -> Iterator[None]:
    """Another program has the desk's file."""
    with closing(sqlite3.connect(rig.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.rollback()


def test_a_feed_that_stands_still_makes_prices_old_by_real_time(live: Rig, clock: Clock):
    clock.s += 10  # the model's limit, and one second that may be a quiet market
    assert live.buy(1).state is not OrderState.DENIED
    clock.s += 1.5
    denied = live.buy(2)
    assert (denied.why, denied.filled_nano) == (Denial.STALE_PRICE, 0)
    assert denied.submitted_ns == live.now_ns, "the market's time stands still all the same"
    clock.s += 3_600
    asked = NewOrder("main", "p", "BTCUSDT", "buy", OrderType.MARKET, nano("1"))
    assert live.desk.preview(asked).verdict.denial is Denial.STALE_PRICE
    live.quote("99", "100")
    assert live.desk.preview(asked).verdict.denial is None
    assert live.buy(3).state is not OrderState.DENIED


def test_the_time_of_a_replay_is_not_real_time(tmp_path: Path, clock: Clock):
    rig = Rig(tmp_path / "desk.db", monotonic_ns=clock.ns, is_live=False)
    rig.make()
    rig.quote("99", "100")
    clock.s += 3_600  # a replay that somebody paused
    assert rig.buy(1).state is not OrderState.DENIED
    rig.database.close()


def test_the_order_rate_holds_while_the_feed_stands_still(live: Rig, clock: Clock):
    live.make("slow", limits=Limits(orders_a_second=2))
    clock.s += 5
    made = [live.buy(number, "0.1", portfolio="slow") for number in range(3)]
    assert [order.why is Denial.ORDER_RATE for order in made] == [False, False, True]
    clock.s += 1.1
    assert live.buy(3, "0.1", portfolio="slow").why is not Denial.ORDER_RATE


def test_a_flatten_waits_for_the_market_where_the_feed_stands_still(live: Rig, clock: Clock):
    live.buy(1, "1")
    clock.s += 60
    live.desk.set_state(TradingState.FLATTEN, "")
    view = live.desk.portfolio("main")
    assert view.positions[0].qty_nano == nano("1"), "nothing is sold at what was displayed before"
    assert view.state.state is TradingState.FLATTEN
    for _ in range(2):
        live.quote("98", "99", after_s=2)
    view = live.desk.portfolio("main")
    assert (view.positions[0].qty_nano, view.state.state) == (0, TradingState.HALTED)


def test_a_state_that_cannot_be_stored_is_in_force_and_said_and_stored_as_soon_as_it_can(rig):
    with unwritable(rig):
        with pytest.raises(PaperError, match=r"halted from now on.*would forget it") as caught:
            rig.desk.set_state(TradingState.HALTED, "by hand")
        assert caught.value.code == "not_stored"
        assert rig.desk.state().state is TradingState.HALTED
    assert rig.buy(1).why is Denial.HALTED
    rig.restart()
    assert rig.desk.state().state is TradingState.HALTED


def test_all_orders_of_a_portfolio_are_cancelled_at_once_and_no_others(rig):
    rig.make("other")
    for number in range(3):
        rig.buy(number, "1", limit="90")
    rig.buy(9, "1", limit="90", portfolio="other")
    assert rig.desk.cancel_all("main") == 3
    assert rig.desk.cancel_all("main") == 0
    assert rig.desk.portfolio("other").open_orders == 1
    rig.restart()
    assert rig.desk.portfolio("main").open_orders == 0
    stored = rig.desk.store.orders("main", 10)
    assert {(order.state, order.why) for order in stored} == {(OrderState.CANCELLED, Why.CANCELLED)}
    with pytest.raises(PaperError, match="POST /portfolio/init"):
        rig.desk.cancel_all("nobody")


def test_a_cancel_of_all_that_cannot_be_stored_leaves_all_of_them(rig):
    for number in range(3):
        rig.buy(number, "1", limit="90")
    with unwritable(rig), pytest.raises(PaperError, match="stored"):
        rig.desk.cancel_all("main")
    assert rig.desk.portfolio("main").open_orders == 3
    assert rig.desk.cancel_all("main") == 3


def test_flatten_says_what_stays_because_the_feed_does_not_have_it(rig):
    rig.buy(1, "1")
    del rig.kinds["BTCUSDT"]
    rig.desk.set_state(TradingState.FLATTEN, "")
    state = rig.desk.state()
    assert state.state is TradingState.HALTED
    assert state.reason.endswith("the feed does not have it: BTCUSDT in main")


def test_the_worst_residue_of_any_fill_is_kept(rig):
    rig.buy(1, "1")
    assert rig.desk.figures.worst_residue == {"main": 0}
    account = rig.desk._portfolios["main"].account
    account.cash += Decimal("0.01")
    rig.buy(2, "1")
    account.cash -= Decimal("0.01")
    rig.buy(3, "1")
    assert rig.desk.portfolio("main").residue == 0
    assert rig.desk.figures.worst_residue == {"main": Decimal("0.01")}


def test_from_a_tick_to_an_order_is_until_that_is_stored_and_of_real_time_alone(tmp_path, rig):
    rig.buy(1)
    assert sum(rig.desk.figures.tick_to_order.counts) == 0, "of a replay"
    walls = iter(range(1_000))
    first_tick_ns = START_NS + SECOND_NS // 10
    other = Rig(
        tmp_path / "live.db", wall_ns=lambda: first_tick_ns + next(walls) * SECOND_NS, is_live=True
    )
    other.make()
    other.quote("99", "100")
    other.desk.take([], other.now_ns + 5 * SECOND_NS)  # time passes without an event
    order = other.buy(1)
    times = other.desk.figures.tick_to_order
    accepted_s = (order.accepted_wall_ns - first_tick_ns) / SECOND_NS
    assert (sum(times.counts), times.sum_s) == (1, accepted_s + 1), "the clock is read afterwards"
    other.database.close()
