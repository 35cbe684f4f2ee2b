"""The desk as a whole, on its store: orders, states, restarts, a store that fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from market_engine.decimals import NANO
from market_engine.events import SECOND_NS, Quote, Side, Trade
from market_engine.paper import trading
from market_engine.paper.desk import PaperDesk
from market_engine.paper.errors import PaperError
from market_engine.paper.model import (
    BookName,
    Limits,
    Model,
    NewOrder,
    OrderState,
    OrderType,
    Portfolio,
    TradingState,
)
from market_engine.paper.reasons import Denial, Why
from market_engine.paper.store import DeskStore
from market_engine.storage.database import Database

START_NS = 1_790_035_200 * SECOND_NS
UNLIMITED = Limits(None, None, None, None, None, None)
FREE = Model(maker_fee=Decimal(0), taker_fee=Decimal(0))


class Rig:
    """A desk on a file, which can be ended and begun again, and a market told what to say."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path = path
        self.now_ns = START_NS
        self.kinds = {"BTCUSDT": "crypto", "AAPL": "equity"}
        self._options = options
        self._begin()

    def _begin(self) -> None:
        self.database = Database(f"sqlite:///{self.path}")
        self.desk = PaperDesk(DeskStore(self.database), self.kinds, **self._options)

    def restart(self) -> None:
        self.database.close()
        self._begin()

    def make(self, name: str = "main", **more: object) -> None:
        given = {"limits": UNLIMITED, "model": FREE, **more}
        self.desk.create(Portfolio(name, "USDT", Decimal(100_000), START_NS, **given))  # type: ignore[arg-type]

    def quote(self, bid: str, ask: str, size: str = "1", after_s: float = 0.1) -> None:
        self.now_ns += int(after_s * SECOND_NS)
        prices = (nano(bid), nano(size), nano(ask), nano(size))
        self._take(Quote("t", "BTCUSDT", *prices, self.now_ns, self.now_ns))

    def trade(self, price: str, qty: str = "1", after_s: float = 0.1, side: Side = "sell") -> None:
        self.now_ns += int(after_s * SECOND_NS)
        self._take(
            Trade("t", "BTCUSDT", nano(price), nano(qty), side, None, self.now_ns, self.now_ns)
        )

    def _take(self, event: Quote | Trade) -> None:
        self.desk.take([event], self.now_ns)

    def buy(self, number: int, qty: str = "1", **more: object):
        return self.order(number, "buy", qty, **more)

    def sell(self, number: int, qty: str = "1", **more: object):
        return self.order(number, "sell", qty, **more)

    def order(self, number: int, side: str, qty: str, limit: str | None = None, **more: object):
        kind = OrderType.MARKET if limit is None else OrderType.LIMIT
        price = None if limit is None else nano(limit)
        portfolio = str(more.pop("portfolio", "main"))
        asked = NewOrder(
            portfolio, f"o-{number}", "BTCUSDT", side, kind, nano(qty), price, **more  # type: ignore[arg-type]
        )  # fmt: skip
        return self.desk.submit(asked).order


def nano(text: str) -> int:
    return int(Decimal(text) * NANO)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path / "desk.db")
    yield rig
    rig.database.close()


def test_an_order_at_the_market_takes_what_is_displayed_and_the_rest_waits_with_a_reason(rig):
    rig.make()
    rig.quote("99", "100", size="0.4")
    order = rig.buy(1, "1")
    assert (order.state, order.filled_nano) == (OrderState.PENDING, nano("0.4"))
    now, state, why = rig.desk.current(order)
    assert (state, why, now.left_nano) == (OrderState.WORKING, Why.LIQUIDITY, nano("0.6"))
    rig.quote("99", "101", size="5")
    now, state, why = rig.desk.current(order)
    assert (state, why) == (OrderState.FILLED, Why.FILLED)
    (position,) = rig.desk.portfolio("main").positions
    assert position.cost == Decimal("40") + Decimal("60.6")


def test_profit_is_explained_to_the_cent_after_every_event(rig):
    rig.make(model=Model())
    rig.quote("99", "100", size="10")
    rig.buy(1, "3")
    rig.quote("110", "111", size="10")
    rig.sell(2, "5")
    rig.trade("105")
    view = rig.desk.portfolio("main")
    assert view.residue == 0
    assert view.realised == Decimal(30)
    assert view.positions[0].qty_nano == nano("-2")
    assert view.positions[0].mark.source == "ask"
    assert view.unrealised == Decimal(-2)
    assert view.fees == Decimal("0.0005") * (300 + 550)
    assert view.equity == Decimal(100_000) + 30 - 2 - view.fees


def test_the_same_order_again_is_the_same_order_and_another_body_is_refused(rig):
    rig.make()
    rig.quote("99", "100")
    first = rig.buy(1, "0.5")
    for _ in range(3):
        assert rig.buy(1, "0.5").number == first.number
    with pytest.raises(PaperError, match="another order") as caught:
        rig.buy(1, "0.6")
    assert caught.value.code == "other_order"
    rig.restart()
    assert rig.buy(1, "0.5").number == first.number
    with pytest.raises(PaperError, match="another order"):
        rig.sell(1, "0.5")
    assert len(rig.desk.store.orders("main", 10)) == 1


def test_a_denied_order_keeps_its_id_and_its_reason(rig):
    rig.make(limits=Limits(max_order=Decimal(50)))
    rig.quote("99", "100")
    denied = rig.buy(1, "1")
    assert (denied.state, denied.why) == (OrderState.DENIED, Denial.MAX_ORDER)
    assert "50" in denied.detail
    rig.restart()
    assert rig.buy(1, "1") == denied


def test_a_halt_stops_the_very_next_order_and_cancels_still_pass(rig):
    rig.make()
    rig.quote("99", "100")
    resting = rig.buy(1, "1", limit="90")
    rig.desk.set_state(TradingState.HALTED, "by hand")
    assert rig.buy(2).why is Denial.HALTED
    cancelled = rig.desk.cancel("main", resting.asked.client_order_id)
    assert (cancelled.state, cancelled.why) == (OrderState.CANCELLED, Why.CANCELLED)
    with pytest.raises(PaperError, match="already") as caught:
        rig.desk.cancel("main", resting.asked.client_order_id)
    assert caught.value.code == "order_closed"
    rig.restart()
    assert rig.desk.now_ns == rig.now_ns
    assert rig.desk.state().state is TradingState.HALTED
    rig.quote("99", "100")
    assert rig.buy(3).why is Denial.HALTED
    rig.desk.set_state(TradingState.ACTIVE, "")
    assert rig.buy(4).state is not OrderState.DENIED
    assert sum(rig.desk.figures.halt.counts) >= 1


def test_reducing_lets_through_only_what_reduces(rig):
    rig.make()
    rig.quote("99", "100", size="10")
    rig.buy(1, "2")
    rig.desk.set_state(TradingState.REDUCING, "")
    assert rig.buy(2, "1").why is Denial.REDUCING
    assert rig.sell(3, "3").why is Denial.REDUCING
    assert rig.sell(4, "2").filled_nano == nano("2")


def test_flatten_cancels_closes_and_halts(rig):
    rig.make()
    rig.quote("99", "100", size="1")
    rig.buy(1, "1")
    resting = rig.buy(2, "1", limit="90")
    rig.desk.set_state(TradingState.FLATTEN, "enough")
    _, state, why = rig.desk.current(resting)
    assert (state, why) == (OrderState.CANCELLED, Why.FLATTENED)
    rig.quote("98", "99", size="1")
    view = rig.desk.portfolio("main")
    assert [position.qty_nano for position in view.positions] == [0]
    assert rig.desk.state().state is TradingState.HALTED
    assert view.open_orders == 0


def test_a_restart_changes_nothing_that_is_shown(rig):
    rig.make(model=Model())
    rig.quote("99", "100", size="1")
    rig.buy(1, "0.7")
    rig.sell(2, "2", limit="103")
    rig.buy(3, "1", limit="95")
    rig.trade("103.5", "0.5", side="buy")
    rig.quote("102", "103", size="0.2")
    before = rig.desk.portfolio("main")
    orders = [rig.desk.current(order) for order in rig.desk.store.orders("main", 10)]
    rig.restart()
    rig.desk.take([], rig.now_ns)
    after = rig.desk.portfolio("main")
    for name in ("cash", "realised", "fees", "fills", "open_orders", "max_drawdown", "residue"):
        assert getattr(after, name) == getattr(before, name), name
    assert [(p.symbol, p.qty_nano, p.cost) for p in after.positions] == [
        (p.symbol, p.qty_nano, p.cost) for p in before.positions
    ]
    assert [b.fills for b in after.books] == [b.fills for b in before.books]
    assert [each.filled_nano for each, _, _ in orders] == [
        each.filled_nano for each in rig.desk.store.orders("main", 10)
    ]
    rig.quote("102", "103", size="0.2")  # the same liquidity: what was taken of it stays taken
    assert rig.desk.portfolio("main").books[1].fills == before.books[1].fills
    rig.trade("104", "9", side="buy")
    assert rig.desk.portfolio("main").open_orders == 1


def test_what_waits_in_other_books_alone_is_bounded(rig, monkeypatch):
    monkeypatch.setattr(trading, "LEFTOVERS_MAX", 20)
    rig.make(limits=msgspec.structs.replace(UNLIMITED, open_orders=10))
    rig.quote("99", "100", size="100")
    for number in range(100):  # a touch fills the neutral book, and never the pessimistic one
        order = rig.buy(number, "1", limit="98")
        rig.trade("98", "1")
        assert rig.desk.current(order)[1] is OrderState.FILLED
    assert len(rig.desk.store.open_orders()) <= 31
    rig.restart()
    assert rig.desk.portfolio("main").fills == 100


def test_the_profit_of_the_day_outlives_a_restart(rig):
    rig.make()
    rig.quote("99", "100", size="5")
    rig.buy(1, "1")
    rig.quote("120", "121")
    rig.quote("125", "126", after_s=86_400)  # the day before ended with +20
    rig.quote("130", "131", after_s=60)
    assert rig.desk.portfolio("main").day_profit == 10
    rig.restart()
    rig.quote("131", "132")
    assert rig.desk.portfolio("main").day_profit == 11


def test_what_is_stored_is_what_the_log_says(rig):
    rig.make(model=Model())
    for step in range(30):
        rig.quote(str(100 + step % 7), str(101 + step % 7), size="1")
        rig.order(step, ("buy", "sell")[step % 3 == 0], "0.3")
    store = rig.desk.store
    before = rig.desk.portfolio("main")
    rig.restart()
    for row in store.positions("main"):
        (position,) = rig.desk.portfolio("main").positions
        assert (row.qty_nano, row.cost, row.realised) == (
            position.qty_nano, position.cost, position.realised,
        )  # fmt: skip
    fills = list(rig.desk.store.fills("main", BookName.NEUTRAL))
    snapshots = rig.desk.store.snapshots("main", 0, 1_000)
    by_fill = {snapshot.transaction: snapshot for snapshot in snapshots}
    assert before.fills == len(fills) == 30
    assert set(by_fill) >= set(range(2, 32)), "one after each fill"
    cash = {}
    for posting in rig.desk.store.postings("main"):
        if posting.account == "cash":
            cash[posting.transaction] = posting.amount
    total = Decimal(0)
    for transaction in range(1, 32):
        total += cash[transaction]
        if transaction in by_fill:
            assert by_fill[transaction].cash == total


def test_one_cent_put_in_by_hand_shows_in_the_residue(rig):
    rig.make()
    rig.quote("99", "100", size="5")
    rig.buy(1, "2")
    rig.database.close()
    with closing(sqlite3.connect(rig.path)) as connection, connection:
        connection.execute(
            "UPDATE ledger_entries SET amount = '-199.99'"
            " WHERE account = 'cash' AND transaction_number = 2"
        )
    rig.restart()
    assert rig.desk.portfolio("main").residue == Decimal("0.01")


def test_while_nothing_can_be_stored_no_order_is_taken_and_none_is_filled(rig):
    rig.make()
    rig.quote("99", "100", size="1")
    resting = rig.buy(1, "1", limit="95")
    with closing(sqlite3.connect(rig.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(PaperError, match="stored") as caught:
            rig.buy(2)
        assert caught.value.code == "not_stored"
        rig.trade("94", "1")  # fills the one that rests, and that waits to be stored
        assert rig.desk.problem is not None
        rig.trade("94", "1")
        _, _, why = rig.desk.current(resting)
        assert why is Why.NOT_STORED
        other.rollback()
    rig.trade("94", "1")
    assert rig.desk.problem is None
    assert rig.desk.current(resting)[1] is OrderState.FILLED
    assert rig.desk.portfolio("main").residue == 0
    assert rig.buy(2).number == 2
    assert rig.desk.figures.store_failures >= 2


def test_a_cancel_that_cannot_be_stored_leaves_the_order_as_it_is(rig):
    rig.make()
    rig.quote("99", "100")
    rig.buy(1, "1", limit="90")
    with closing(sqlite3.connect(rig.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(PaperError, match="stored"):
            rig.desk.cancel("main", "o-1")
        other.rollback()
    assert rig.desk.portfolio("main").open_orders == 1
    assert rig.desk.cancel("main", "o-1").state is OrderState.CANCELLED
    rig.restart()
    assert rig.desk.portfolio("main").open_orders == 0


def test_what_is_not_stored_is_not_told_as_done(rig):
    rig.make()
    rig.quote("99", "100")
    order = rig.buy(1, "1", limit="95")
    with closing(sqlite3.connect(rig.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        rig.trade("94", "1")
        stored, state, why = rig.desk.current(order)
        assert (stored.filled_nano, state, why) == (0, OrderState.PENDING, Why.NOT_STORED)
        other.rollback()
    with pytest.raises(PaperError, match="filled already"):
        rig.desk.cancel("main", "o-1")


def test_a_flatten_that_was_broken_off_goes_on_after_a_restart(rig):
    rig.make()
    rig.quote("99", "100", size="1")
    rig.buy(1, "1")
    rig.now_ns += 60 * SECOND_NS  # no fresh price: what closes the position waits
    rig.desk.take([], rig.now_ns)
    rig.desk.set_state(TradingState.FLATTEN, "")
    rig.database.close()
    with closing(sqlite3.connect(rig.path)) as connection, connection:  # as if killed before it
        connection.execute("DELETE FROM orders WHERE number > 1")
    rig._begin()
    rig.quote("99", "100", size="1", after_s=2)
    rig.quote("99", "100", size="1", after_s=2)
    assert rig.desk.portfolio("main").positions[0].qty_nano == 0
    assert rig.desk.state().state is TradingState.HALTED


def test_when_nothing_comes_any_more_prices_grow_old(rig):
    rig.make()
    rig.quote("99", "100")
    rig.now_ns += 3_600 * SECOND_NS
    rig.desk.take([], rig.now_ns)
    assert rig.buy(1).why is Denial.STALE_PRICE


def test_a_portfolio_is_made_once_and_each_has_one_currency(rig):
    rig.make()
    rig.make()
    with pytest.raises(PaperError, match="made otherwise"):
        rig.desk.create(Portfolio("main", "USDT", Decimal(1), START_NS))
    rig.desk.create(Portfolio("dollars", "USD", Decimal(1_000), START_NS))
    rig.quote("99", "100")
    assert rig.buy(1, portfolio="dollars").why is Denial.CURRENCY
    with pytest.raises(PaperError, match="POST /portfolio/init"):
        rig.buy(1, portfolio="none")


def test_the_trading_state_binds_orders_that_were_accepted_and_a_restart_keeps_that(rig):
    rig.make()
    rig.quote("99", "100", size="5")
    kind, stop_nano = OrderType.STOP, nano("103")
    rig.desk.submit(NewOrder("main", "o-1", "BTCUSDT", "buy", kind, nano("1"), None, stop_nano))
    rig.buy(2, "1", limit="95")
    rig.desk.set_state(TradingState.HALTED, "")
    for _ in range(2):
        rig.trade("104", "9", side="buy")
        rig.trade("94", "9")
        rig.quote("93", "94", size="5")
        view = rig.desk.portfolio("main")
        assert (view.fills, view.open_orders) == (0, 2)
        waiting = [rig.desk.current(order) for order in rig.desk.store.orders("main", 10)]
        assert {why for _, _, why in waiting} == {Why.HALTED}
        rig.restart()
    rig.desk.set_state(TradingState.ACTIVE, "")
    rig.quote("93", "94", size="5")
    assert rig.desk.portfolio("main").fills == 1


def test_each_start_of_the_desk_is_stored(rig):
    rig.make()
    rig.quote("99", "100")
    rig.buy(1, "1")
    rig.restart()
    first, second = rig.desk.store.starts()
    assert (first.number, first.newest_ns) == (1, 0)
    assert (second.number, second.newest_ns) == (2, rig.now_ns)
