"""What came late is no evidence: trades that the pipeline held back, silence, a clock set back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from paper_matching_parts import Desk, order, quote, trade
from test_paper_desk import Rig, nano
from test_paper_desk_faults import Clock

from market_engine.events import MS_NS, SECOND_NS, Event, Notice, NoticeKind, Quote, Tick, Trade
from market_engine.paper.audit import Audit, audit, read_desk
from market_engine.paper.model import BookName, NewOrder, OrderState, OrderType, TradingState
from market_engine.paper.reasons import Denial, Why
from market_engine.pipeline import Pipeline
from market_engine.pipeline_config import PipelineConfig

FAILED = NoticeKind.BACKFILL_FAILED


class Gapped(Rig):
    """A desk behind a pipeline that holds trades back, and the stream as it came."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.pipeline = Pipeline("t", ("BTCUSDT",), PipelineConfig(waits_for_backfill=True))
        self.raw: list[Event] = []
        self.number = 0
        self.make()
        self.print(1, "100", 0)
        self.quoted("100", "101", 100)

    def give(self, *events: Event) -> None:
        """As one batch."""
        self.raw += events
        self.now_ns = events[-1].received_ns
        self.desk.take(self.pipeline.handle(events), self.pipeline.received_ns)

    def quoted(self, bid: str, ask: str, after_ms: int, size: str = "1") -> None:
        at_ns = self.now_ns + after_ms * MS_NS
        sizes = nano(size), nano(ask), nano(size)
        self.give(Quote("t", "BTCUSDT", nano(bid), *sizes, at_ns, at_ns))

    def print(self, number: int, price: str, after_ms: int, side: str = "sell") -> None:
        self.give(self.trade_of(number, price, after_ms, side))

    def trade_of(
        self, number: int, price: str, after_ms: int, side: str = "sell", *, fetched: bool = False
    ) -> Trade:
        at_ns = self.now_ns + after_ms * MS_NS
        price_nano, qty_nano = nano(price), nano("1")
        return Trade(
            "t", "BTCUSDT", price_nano, qty_nano, side, number, at_ns, at_ns, backfilled=fetched  # type: ignore[arg-type]
        )  # fmt: skip

    def failed(self, after_ms: int, number: int = 2) -> Notice:
        return Notice(FAILED, self.now_ns + after_ms * MS_NS, "BTCUSDT", "", number, number)

    def send(self, side: str, *, limit: str | None = None, stop: str | None = None) -> None:
        self.number += 1
        kind = OrderType.MARKET if limit is None else OrderType.LIMIT
        kind = kind if stop is None else OrderType.STOP
        prices = (each and nano(each) for each in (limit, stop))
        name = f"o-{self.number}"
        asked = NewOrder("main", name, "BTCUSDT", side, kind, nano("1"), *prices)  # type: ignore[arg-type]
        assert self.desk.submit(asked).order.state is not OrderState.DENIED

    def fills(self) -> int:
        return sum(1 for book in BookName for _ in self.desk.store.fills("main", book))

    def audit(self) -> Audit:
        return audit(read_desk(self.desk.store), [self.raw])


@pytest.fixture
def gapped(tmp_path: Path) -> Iterator[Gapped]:
    rig = Gapped(tmp_path / "desk.db")
    yield rig
    rig.database.close()


def test_a_print_that_was_held_back_fills_nothing_and_triggers_nothing(gapped: Gapped) -> None:
    gapped.send("buy", limit="100")
    gapped.send("buy", stop="102")
    gapped.print(3, "99", 100)
    gapped.print(4, "102", 100, "buy")
    gapped.quoted("98", "103", 100)
    gapped.give(gapped.trade_of(2, "100", 100, fetched=True))
    assert gapped.fills() == 0
    stored = gapped.desk.store.orders("main", 10)
    assert [each.triggered_ns for each in stored] == [None, None]
    gapped.print(5, "99", 100)
    gapped.print(6, "102", 100, "buy")
    assert gapped.desk.store.orders("main", 1)[0].triggered_ns == gapped.now_ns
    assert gapped.fills() == 6, "what comes at once does, in all books"
    assert gapped.audit().findings == ()


@pytest.mark.parametrize("ticks", [0, 14])
def test_a_print_that_was_given_up_on_fills_nothing_however_quiet_the_market_was(
    gapped: Gapped, ticks: int
) -> None:
    gapped.send("buy", limit="100")
    gapped.print(3, "99", 200)
    gapped.send("buy", limit="99.5")  # after the print had come
    for _ in range(ticks):
        gapped.give(Tick(gapped.now_ns + SECOND_NS))
    gapped.give(gapped.failed(50))
    assert gapped.fills() == 0
    assert gapped.audit().findings == ()


def test_a_print_that_was_held_back_is_a_price_of_its_receipt(gapped: Gapped) -> None:
    gapped.print(3, "104", 100)
    received_ns = gapped.now_ns
    gapped.give(gapped.trade_of(2, "100", 100, fetched=True))
    last = gapped.desk._markets["BTCUSDT"].last
    assert last is not None
    assert (last.price_nano, last.received_ns) == (nano("104"), received_ns)


def test_the_audit_of_a_desk_whose_feed_has_gaps_finds_nothing(tmp_path: Path) -> None:
    fills = 0
    for seed in range(8):
        (tmp_path / str(seed)).mkdir()
        gapped = Gapped(tmp_path / str(seed) / "desk.db")
        random_gaps(gapped, Random(seed))
        found = gapped.audit()
        gapped.database.close()
        assert found.findings == (), seed
        fills += found.fills
    assert fills > 200


def test_events_of_one_nanosecond_fill_the_same_however_they_are_grouped(tmp_path: Path) -> None:
    fills = []
    for groups in ([4], [1, 3], [2, 2], [3, 1], [1, 1, 1, 1]):
        (tmp_path / str(groups)).mkdir()
        gapped = Gapped(tmp_path / str(groups) / "desk.db")
        gapped.send("buy", limit="100")
        prices = ((2, "105", 100), (3, "105", 100), (4, "99", 100), (5, "105", 101))
        events = [gapped.trade_of(*each) for each in prices]
        for size in groups:
            gapped.give(*events[:size])
            events = events[size:]
        fills.append([each.evidence for each in gapped.desk.store.fills("main", BookName.NEUTRAL)])
        gapped.database.close()
    assert fills[0]
    assert all(each == fills[0] for each in fills)


def random_gaps(gapped: Gapped, chance: Random) -> None:
    number, missing = 1, 0
    for _ in range(150):
        price, after_ms = 100 + chance.randint(-3, 3), chance.choice([0, 1, 50, 400, 3_000])
        what = chance.random()
        if what < 0.3:
            gapped.quoted(str(price), str(price + 1), after_ms, chance.choice(["0.4", "1", "3"]))
        elif what < 0.6:
            number += 1
            if not missing and chance.random() < 0.3:
                missing, number = number, number + 1
            gapped.print(number, str(price), after_ms, chance.choice(["buy", "sell"]))
        elif what < 0.7 and missing:
            fetched = gapped.trade_of(missing, str(price), after_ms, fetched=True)
            gapped.give(fetched if chance.random() < 0.5 else gapped.failed(after_ms, missing))
            missing = 0
        elif what < 0.75:
            gapped.give(Tick(gapped.now_ns + SECOND_NS))
        elif gapped.desk._markets["BTCUSDT"].is_fresh(gapped.now_ns, 10 * SECOND_NS):
            side, near = chance.choice(["buy", "sell"]), str(price + chance.randint(-2, 2))
            limit, stop = chance.choice([(None, None), (near, None), (None, near)])
            gapped.send(side, limit=limit, stop=stop)


def test_time_alone_makes_what_came_before_it_stale() -> None:
    desk = Desk()
    desk.add(order(1, 1, limit_nano=98))
    desk.on_time(20_000)
    assert desk.on(trade(97, 9, 2)) == []
    assert desk.on(quote(96, 97, 3)) == []
    assert desk.on(trade(97, 9, 20_000)) == ["o1 5@98 maker"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def live(tmp_path: Path, clock: Clock) -> Iterator[Rig]:
    rig = Rig(tmp_path / "desk.db", is_live=True, monotonic_ns=clock.ns)
    rig.make()
    rig.quote("99", "100")
    yield rig
    rig.database.close()


def test_no_order_takes_a_quote_that_a_silence_made_stale(live: Rig, clock: Clock) -> None:
    live.trade("100", after_s=9.5)
    clock.s += 10.5  # the trade is younger than that, the quote is not
    denied = live.buy(1, "0.1")
    assert (denied.why, denied.filled_nano) == (Denial.STALE_PRICE, 0)
    assert "19,000 ms old" in denied.detail
    asked = NewOrder("main", "p", "BTCUSDT", "buy", OrderType.MARKET, nano("1"))
    assert live.desk.preview(asked).verdict.denial is Denial.STALE_PRICE
    live.quote("99", "100")
    assert live.buy(2, "0.1").state is OrderState.FILLED


def test_a_silence_makes_marks_stale_and_is_why_nothing_is_filled(live: Rig, clock: Clock) -> None:
    live.buy(1, "1")
    resting = live.buy(2, "1", limit="90")
    assert not live.desk.portfolio("main").positions[0].mark.is_stale
    assert live.desk.current(resting)[2] is Why.PRICE
    clock.s += 3_600
    (view,) = live.desk.portfolios()
    assert view.positions[0].mark.is_stale
    assert live.desk.portfolio("main").positions[0].mark.is_stale
    assert live.desk.current(resting)[2] is Why.STALE_PRICE
    live.quote("99", "100")
    assert not live.desk.portfolio("main").positions[0].mark.is_stale
    assert live.desk.current(resting)[2] is Why.PRICE


@pytest.mark.parametrize("state", [TradingState.HALTED, TradingState.ACTIVE, TradingState.REDUCING])
def test_a_flatten_that_is_left_takes_back_its_orders(live: Rig, state: TradingState) -> None:
    live.buy(1, "1")
    live.quote("99", "100", size="0.4")
    live.desk.set_state(TradingState.FLATTEN, "")
    assert live.desk.portfolio("main").open_orders == 1
    live.desk.set_state(state, "enough")
    assert live.desk.portfolio("main").open_orders == 0
    newest = live.desk.store.orders("main", 1)[0]
    assert (newest.asked.source, newest.state) == ("flatten", OrderState.CANCELLED)
    assert newest.why is Why.FLATTENED
    live.restart()
    live.quote("50", "51")
    live.desk.set_state(TradingState.ACTIVE, "on")
    live.quote("50", "51")
    assert live.desk.portfolio("main").positions[0].qty_nano == nano("0.6")


def test_a_store_that_is_ahead_of_the_market_says_so_and_fills_nothing(live: Rig) -> None:
    live.buy(1, "1", limit="98")
    live.now_ns += 3_600 * SECOND_NS
    live.quote("99", "100")
    live.restart()
    assert not live.desk.problem, "nothing came yet"
    live.now_ns -= 3_600 * SECOND_NS
    live.quote("96", "97", after_s=60)
    live.trade("97")
    assert live.desk.portfolio("main").fills == 0
    denied = live.buy(2, "0.1")
    cure = "ahead of the market by 58 min"
    assert denied.why is Denial.STALE_PRICE
    assert cure in denied.detail
    assert "MARKET_DESK_DATABASE_URL" in denied.detail
    asked = NewOrder("main", "p", "BTCUSDT", "buy", OrderType.MARKET, nano("1"))
    assert cure in live.desk.preview(asked).verdict.detail
    assert cure in str(live.desk.problem)
    live.quote("96", "97", after_s=3_600)
    assert not live.desk.problem
    assert live.desk.portfolio("main").fills == 1
