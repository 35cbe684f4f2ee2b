"""The audit finds each way in which a fill can be unjustified, and nothing wrong in sound ones."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from market_engine.events import MS_NS, Event, Quote, Side, Trade
from market_engine.paper.audit import Desk, audit
from market_engine.paper.model import (
    BookName,
    Evidence,
    EvidenceKind,
    Fill,
    Model,
    NewOrder,
    Order,
    OrderState,
    OrderType,
    Portfolio,
    StateChange,
    TimeInForce,
    TradingState,
)
from market_engine.paper.money import fee, product
from market_engine.paper.reasons import Denial, Why
from market_engine.paper.store import DeskStart

NANO = 10**9
DAY_MS = 86_400_000


def quote(at_ms: int, bid: int, ask: int, size: int = 5) -> Quote:
    prices = (bid * NANO, size * NANO, ask * NANO, size * NANO)
    return Quote("x", "AAA", *prices, at_ms * MS_NS, at_ms * MS_NS)


def trade(
    at_ms: int, price: int, qty: int, side: Side = "sell", *, backfilled: bool = False
) -> Trade:
    at_ns = at_ms * MS_NS
    return Trade(
        "x", "AAA", price * NANO, qty * NANO, side, at_ms, at_ns, at_ns, backfilled=backfilled
    )


Q1, T2, Q3, T4, T5, Q6, Q7, LATE = (
    quote(1_000, 99, 100), trade(2_000, 100, 2), quote(3_000, 99, 100), trade(4_000, 98, 3),
    trade(5_000, 99, 2), quote(6_000, 97, 98), quote(7_000, 99, 100), quote(DAY_MS, 99, 100),
)  # fmt: skip
B5 = trade(5_500, 98, 2, "buy")
OLD = trade(4_500, 98, 3, backfilled=True)
STREAM = (Q1, T2, Q3, T4, OLD, T5, B5, Q6, Q7, LATE)
MODEL = Model(Decimal("0.001"), Decimal("0.002"))


def order(number: int, at_ms: int, qty: int, side: Side = "buy", **given: Any) -> Order:
    """At the market, or with ``limit`` and ``stop``; ``with_`` changes the stored order."""
    changes = {name: given.pop(name) for name in ORDER_FIELDS if name in given}
    limit, stop = given.pop("limit", None), given.pop("stop", None)
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    if stop is not None:
        kind = OrderType.STOP if limit is None else OrderType.STOP_LIMIT
    asked = NewOrder(
        "main", f"o{number}", "AAA", side, kind, qty * NANO, limit and limit * NANO,
        stop and stop * NANO, **given,
    )  # fmt: skip
    known = Order(asked, number, OrderState.WORKING, Why.PRICE, at_ms * MS_NS, 1)
    return msgspec.structs.replace(known, **changes)


ORDER_FIELDS = ("state", "why", "collar_nano", "triggered_ns", "closed_ns")


def fill(asked: Order, by: Quote | Trade, price: int, qty: int, **changes: Any) -> Fill:
    """Sound in itself: evidence as in the stream, fees as they should be."""
    is_maker, side = changes.pop("is_maker", False), asked.asked.side
    if isinstance(by, Trade):
        kind, found, size, number = EvidenceKind.PRINT, by.price_nano, by.qty_nano, by.trade_id
    else:
        kind, number = EvidenceKind.QUOTE, None
        found, size = (
            (by.ask_nano, by.ask_qty_nano) if side == "buy" else (by.bid_nano, by.bid_qty_nano)
        )
    taken = changes.pop("taken", 0) * NANO
    evidence = Evidence(kind, by.received_ns, by.event_ns, found, size, taken, number)
    rate = MODEL.maker_fee if is_maker else MODEL.taker_fee
    charge = fee(product(price * NANO, qty * NANO), rate)
    made = Fill(
        0, BookName.NEUTRAL, "main", asked.asked.client_order_id, asked.number, 1, "AAA", side,
        price * NANO, qty * NANO, charge, is_maker, by.received_ns, evidence,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def rules(
    orders: Sequence[Order],
    *fills: Fill,
    stream: Sequence[Event] = STREAM,
    model: Model = MODEL,
    starts_ms: Sequence[int] = (),
    states: Sequence[StateChange] = (),
) -> list[str]:
    """What the audit finds, by rule; fills are numbered, and orders filled, as they should be."""
    numbered: list[Fill] = []
    for each in fills:
        same = [f for f in numbered if (f.order_number, f.book) == (each.order_number, each.book)]
        number = sum(f.book is BookName.NEUTRAL for f in numbered) + 1
        numbered.append(
            msgspec.structs.replace(
                each,
                order_fill=len(same) + 1,
                number=number if each.book is BookName.NEUTRAL else 0,
            )
        )
    filled = {
        known.number: sum(
            f.qty_nano
            for f in numbered
            if f.order_number == known.number and f.book is BookName.NEUTRAL
        )
        for known in orders
    }
    known_orders = [msgspec.structs.replace(o, filled_nano=filled[o.number]) for o in orders]
    portfolio = Portfolio("main", "USDT", Decimal(10_000), 0, model=model)
    starts = [DeskStart(number, 0, at_ms * MS_NS) for number, at_ms in enumerate(starts_ms)]
    found = audit(Desk([portfolio], known_orders, numbered, starts, states), [stream])
    assert (found.fills, found.orders) == (len(fills), len(orders))
    return [finding.rule for finding in found.findings]


BUY = order(1, 1_000, 3)
REST = order(2, 1_500, 4, limit=99)
STOP = order(3, 1_500, 2, "sell", stop=98, triggered_ns=T4.received_ns)


def at(at_ms: int) -> dict[str, int]:
    return {"filled_ns": at_ms * MS_NS}


def test_sound_fills_of_every_kind_give_no_finding() -> None:
    day = order(4, 2_500, 1, limit=100, time_in_force=TimeInForce.DAY)
    ioc = order(5, 3_500, 2, time_in_force=TimeInForce.IOC)
    fok = order(6, 3_500, 1, limit=100, time_in_force=TimeInForce.FOK)
    fills = [
        fill(BUY, Q1, 100, 3),
        fill(day, Q1, 100, 1, taken=3, **at(2_500)),
        fill(REST, T4, 99, 3, is_maker=True),
        fill(REST, T4, 99, 3, is_maker=True, book=BookName.PESSIMISTIC),
        fill(REST, T5, 99, 1, is_maker=True),
        fill(REST, T4, 99, 4, is_maker=True, book=BookName.OPTIMISTIC),
        fill(STOP, Q3, 99, 2, **at(4_000)),
        fill(ioc, Q3, 100, 1, taken=4, **at(3_500)),
        fill(fok, Q3, 100, 1, book=BookName.PESSIMISTIC, **at(3_500)),
    ]
    assert rules([BUY, REST, STOP, day, ioc, fok], *fills) == []


def test_liquidity_is_there_again_after_the_touch_had_moved_past_it() -> None:
    again = order(2, 7_000, 5)
    fills = [fill(BUY, Q1, 100, 3), fill(again, Q7, 100, 5)]
    past, missing = quote(6_500, 99, 101), quote(6_500, 99, 0)
    assert rules([BUY, again], *fills, stream=[Q1, Q6, past, Q7]) == []
    assert rules([BUY, again], *fills, stream=[Q1, Q7]) == ["taken"]
    assert rules([BUY, again], *fills, stream=[Q1, missing, Q7]) == ["taken"]


def test_what_was_taken_stays_taken_behind_a_better_touch_on_either_side() -> None:
    again = order(2, 7_000, 5)
    assert rules([BUY, again], fill(BUY, Q1, 100, 3), fill(again, Q7, 100, 5)) == ["taken"]
    sold, later = order(1, 1_000, 3, "sell"), order(2, 7_000, 5, "sell")
    fills = [fill(sold, Q1, 99, 3), fill(later, Q7, 99, 5)]
    better = quote(6_000, 99 + 1, 102)
    assert rules([sold, later], *fills, stream=[Q1, better, Q7]) == ["taken"]
    assert rules([sold, later], *fills, stream=[Q1, Q6, Q7]) == []


def test_a_worse_price_by_the_slippage_is_right_and_no_other() -> None:
    slipping = msgspec.structs.replace(MODEL, slippage=Decimal("0.01"))
    assert rules([BUY], fill(BUY, Q1, 101, 3), model=slipping) == []
    assert rules([BUY], fill(BUY, Q1, 100, 3), model=slipping) == ["price"]
    bounded = order(1, 1_000, 3, limit=100)
    assert rules([bounded], fill(bounded, Q1, 100, 3), model=slipping) == []


LIMITED = order(1, 1_000, 3, limit=99)
LATENT = msgspec.structs.replace(MODEL, latency_ms=1_500)
DAY = order(1, 1_000, 3, time_in_force=TimeInForce.DAY)
IOC = order(1, 1_000, 5, time_in_force=TimeInForce.IOC)
FOK = order(1, 1_000, 5, time_in_force=TimeInForce.FOK)
LARGE = order(1, 1_000, 8)

PLANTED = {
    "beyond the displayed size": (["size"], [LARGE], [fill(LARGE, Q1, 100, 6)]),
    "beyond the printed size": (["size"], [REST], [fill(REST, T4, 99, 4, is_maker=True)]),
    "displayed liquidity taken twice": (
        ["taken"], [BUY, LARGE2 := order(2, 1_000, 3)],
        [fill(BUY, Q1, 100, 3), fill(LARGE2, Q1, 100, 3, taken=3)]),
    "taken liquidity not told": (
        ["taken"], [BUY, LARGE2],
        [fill(BUY, Q1, 100, 2), fill(LARGE2, Q1, 100, 1, taken=0, filled_ns=Q1.received_ns)]),
    "taken again when the same price was quoted again": (
        ["taken"], [BUY, AGAIN := order(2, 3_000, 3)],
        [fill(BUY, Q1, 100, 3), fill(AGAIN, Q3, 100, 3, taken=3)]),
    "a print taken twice": (
        ["taken"], [REST, REST2 := order(3, 1_500, 4, limit=99)],
        [fill(REST, T4, 99, 3, is_maker=True), fill(REST2, T4, 99, 1, is_maker=True, taken=3)]),
    "a taker beyond its limit": (["limit"], [LIMITED], [fill(LIMITED, Q1, 100, 3)]),
    "a maker beyond its limit": (["limit"], [REST], [fill(REST, T4, 100, 3, is_maker=True)]),
    "a maker at another price than its limit": (
        ["price"], [REST], [fill(REST, T4, 98, 3, is_maker=True)]),
    "beyond the collar": (
        ["collar"], [COLLARED := order(1, 1_000, 3, collar_nano=99 * NANO)],
        [fill(COLLARED, Q1, 100, 3)]),
    "better than displayed": (["price"], [BUY], [fill(BUY, Q1, 99, 3)]),
    "a stale price": (
        ["stale"], [TARDY := order(1, 20_000, 3)], [fill(TARDY, Q7, 100, 3, **at(20_000))]),
    "a quote that another had replaced": (
        ["time"], [LATER := order(1, 3_500, 3)], [fill(LATER, Q1, 100, 3, **at(3_500))]),
    "a backfilled print": (["backfilled"], [REST], [fill(REST, OLD, 99, 3, is_maker=True)]),
    "a trade id that is not in the stream": (
        ["evidence"], [REST],
        [fill(REST, msgspec.structs.replace(T4, trade_id=1), 99, 3, is_maker=True)]),
    "a size that was not displayed": (
        ["evidence"], [BUY], [fill(BUY, quote(1_000, 99, 100, 6), 100, 3)]),
    "a quote that never came": (["evidence"], [BUY], [fill(BUY, quote(1_001, 99, 100), 100, 3)]),
    "evidence from before the order": (
        ["latency"], [REST3 := order(2, 4_100, 4, limit=99)],
        [fill(REST3, T4, 99, 3, is_maker=True)]),
    "a maker filled later than its evidence": (
        ["time"], [REST], [fill(REST, T4, 99, 3, is_maker=True, **at(4_001))]),
    "after the cancel": (
        ["closed"],
        [GONE := order(2, 1_500, 4, limit=99, state=OrderState.CANCELLED, why=Why.CANCELLED,
                       closed_ns=3_999 * MS_NS)],
        [fill(GONE, T4, 99, 3, is_maker=True)]),
    "after the cancel in another book": (
        ["closed"], [GONE],
        [fill(GONE, T4, 99, 3, is_maker=True, book=BookName.PESSIMISTIC)]),
    "of a denied order": (
        ["denied"],
        [NO := order(1, 1_000, 3, state=OrderState.DENIED, why=Denial.CASH,
                     closed_ns=1_000 * MS_NS)],
        [fill(NO, Q1, 100, 3)]),
    "a wrong fee": (["fee"], [BUY], [fill(BUY, Q1, 100, 3, fee=Decimal("0.3"))]),
    "a maker that pays as a taker": (
        ["maker"], [REST], [fill(REST, Q6, 98, 3)]),
    "a market order that rests": (["maker"], [BUY], [fill(BUY, T2, 100, 2, is_maker=True)]),
    "post-only that takes": (
        ["post_only"], [POST := order(1, 1_000, 3, limit=100, post_only=True)],
        [fill(POST, Q1, 100, 3)]),
    "reduce-only that turns the position": (
        ["reduce_only"], [BUY, CUT := order(2, 3_000, 5, "sell", reduce_only=True)],
        [fill(BUY, Q1, 100, 3), fill(CUT, Q3, 99, 4)]),
    "reduce-only that turns the position of another book": (
        ["reduce_only"], [BUY, CUT],
        [fill(BUY, Q1, 100, 3), fill(CUT, Q3, 99, 3),
         fill(CUT, Q3, 99, 3, book=BookName.PESSIMISTIC)]),
    "a pessimistic fill at a touch": (
        ["book"], [REST], [fill(REST, T5, 99, 2, is_maker=True, book=BookName.PESSIMISTIC)]),
    "a pessimistic fill by a quote": (
        ["book"], [REST], [fill(REST, Q6, 99, 2, is_maker=True, book=BookName.PESSIMISTIC)]),
    "an optimistic fill away from its limit": (
        ["book"], [REST], [fill(REST, T2, 99, 4, is_maker=True, book=BookName.OPTIMISTIC)]),
    "a stop that nothing triggered": (
        ["trigger"], [FAR := order(3, 1_500, 2, "sell", stop=96)], [fill(FAR, Q3, 99, 2)]),
    "a stop before its trigger": (["trigger"], [STOP], [fill(STOP, Q3, 99, 2)]),
    "a stop filled by its trigger": (
        ["trigger"], [BY_STOP := order(3, 1_500, 2, "sell", stop=98, limit=98,
                                       triggered_ns=B5.received_ns)],
        [fill(BY_STOP, B5, 98, 2, is_maker=True)]),
    "a maker by a print whose aggressor was on its side": (
        ["side"], [REST], [fill(REST, B5, 99, 2, is_maker=True)]),
    "a pessimistic maker by such a print": (
        ["side"], [REST], [fill(REST, B5, 99, 2, is_maker=True, book=BookName.PESSIMISTIC)]),
    "IOC later than at once": (["ioc"], [IOC], [fill(IOC, Q7, 100, 3)]),
    "IOC that rests": (
        ["ioc"], [order(1, 1_500, 4, limit=99, time_in_force=TimeInForce.IOC)],
        [fill(order(1, 1_500, 4, limit=99), T4, 99, 3, is_maker=True)]),
    "FOK that is filled in part": (["fok"], [FOK], [fill(FOK, Q1, 100, 4)]),
    "DAY after its day": (["day"], [DAY], [fill(DAY, LATE, 100, 3)]),
    "more than was asked": (
        ["overfill"], [BUY], [fill(BUY, Q1, 100, 3), fill(BUY, Q3, 100, 1, taken=3)]),
    "a fill without an order": (["order"], [], [fill(BUY, Q1, 100, 3)]),
    "a fill on the other side": (
        ["order"], [order(1, 1_000, 3, "sell")], [fill(BUY, Q1, 100, 3)]),
}  # fmt: skip


@pytest.mark.parametrize(("found", "orders", "fills"), PLANTED.values(), ids=[*map(str, PLANTED)])
def test_what_is_planted_is_found_and_nothing_else(
    found: list[str], orders: list[Order], fills: list[Fill]
) -> None:
    assert rules(orders, *fills) == found


def test_a_fill_before_the_latency_has_passed_is_found() -> None:
    assert rules([BUY], fill(BUY, Q1, 100, 3), model=LATENT) == ["latency"]
    assert rules([BUY], fill(BUY, Q3, 100, 3), model=LATENT) == []


def test_a_taker_that_pays_as_a_maker_is_found_unless_the_desk_began_anew_before() -> None:
    met = order(1, 1_000, 3, limit=100)
    assert rules([met], fill(met, Q1, 100, 3, is_maker=True)) == ["latency"]
    made = fill(met, Q3, 100, 3, is_maker=True)
    assert rules([met], made, model=LATENT) == ["restart"]
    assert rules([met], made, model=LATENT, starts_ms=[0]) == ["restart"]
    assert rules([met], made, model=LATENT, starts_ms=[0, 1_000]) == []


def test_what_came_right_before_an_order_fills_no_maker() -> None:
    rests = order(1, 4_000, 3, limit=99)
    made = fill(rests, T4, 99, 3, is_maker=True)
    assert rules([rests], made) == ["latency"]
    both: list[Event] = [*STREAM[:3], trade(4_000, 101, 1), *STREAM[3:]]
    assert rules([rests], made, stream=both) == []


def test_an_order_that_says_it_is_filled_without_fills_is_found() -> None:
    known = msgspec.structs.replace(BUY, filled_nano=NANO)
    portfolio = Portfolio("main", "USDT", Decimal(10_000), 0, model=MODEL)
    found = audit(Desk([portfolio], [known], []), [STREAM])
    assert [finding.rule for finding in found.findings] == ["filled"]


def test_a_taker_on_a_print_beside_quotes_is_found_unless_the_desk_began_between() -> None:
    made = fill(BUY, T2, 100, 2)
    assert rules([BUY], made) == ["restart"]
    assert rules([BUY], made, starts_ms=[999]) == ["restart"]
    assert rules([BUY], made, starts_ms=[2_001]) == ["restart"]
    assert rules([BUY], made, starts_ms=[999, 1_000]) == []
    portfolio = Portfolio("main", "USDT", Decimal(10_000), 0, model=MODEL)
    known = msgspec.structs.replace(BUY, filled_nano=2 * NANO)
    starts = [DeskStart(1, 0, 1_500 * MS_NS)]
    numbered = msgspec.structs.replace(made, number=1)
    found = audit(Desk([portfolio], [known], [numbered], starts), [STREAM])
    assert (found.findings, found.after_restarts) == ((), 1)


def test_an_order_that_takes_at_once_and_found_only_a_stale_quote_is_never_filled() -> None:
    stream = [Q1, again := quote(20_001, 99, 100)]
    for force in (TimeInForce.IOC, TimeInForce.FOK):
        late = order(1, 20_000, 3, time_in_force=force)
        assert rules([late], fill(late, again, 100, 3), stream=stream) == ["restart"]
        begun = rules([late], fill(late, again, 100, 3), stream=stream, starts_ms=[1_000])
        assert begun == []


def test_with_a_latency_such_an_order_ends_at_the_first_print() -> None:
    soon = order(1, 1_000, 3, time_in_force=TimeInForce.IOC)
    printed, again = trade(12_000, 100, 1), quote(12_001, 99, 100)
    made = fill(soon, again, 100, 3)
    assert rules([soon], made, stream=[Q1, printed, again], model=LATENT) == ["restart"]
    assert rules([soon], made, stream=[Q1, again], model=LATENT) == []


def test_a_limit_that_rested_where_no_quote_was_known_is_a_maker_at_the_first_one() -> None:
    rests = order(1, 1_000, 3, limit=100)
    stream: list[Event] = [trade(500, 100, 1), Q3]
    assert rules([rests], fill(rests, Q3, 100, 3, is_maker=True), stream=stream) == []


def test_a_fill_while_the_desk_was_halted_is_found() -> None:
    halted = StateChange(1, TradingState.HALTED, 3_500 * MS_NS, "")
    later = StateChange(2, TradingState.REDUCING, 3_900 * MS_NS, "")
    made = fill(REST, T4, 99, 3, is_maker=True)
    assert rules([REST], made, states=[halted]) == ["halted"]
    assert rules([REST], made, states=[halted, later]) == []
    same = msgspec.structs.replace(halted, at_ns=T4.received_ns)
    assert rules([REST], made, states=[same]) == []
