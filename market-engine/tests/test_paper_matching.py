"""The rules of matching, one by one: what is said, event by event."""

from __future__ import annotations

from typing import Any

import pytest
from paper_matching_parts import Desk, order, quote, trade

DAY_MS = 86_400_000
ANY = ("neutral", "optimistic", "pessimistic")


def played(desk: Desk, *moves: Any) -> list[list[str]]:
    """What each event or order led to."""
    found = []
    for move in moves:
        is_order = hasattr(move, "asked")
        found.append(desk.add(move) if is_order else desk.on(move))
    return found


SCENES: dict[str, tuple[dict[str, Any], list[Any], list[list[str]]]] = {
    "a market order takes what is displayed at once, and waits for more": (
        {},
        [quote(99, 101, 1, ask_size=3), order(1, 1), quote(99, 101, 2, ask_size=3),
         quote(99, 102, 3, ask_size=9)],
        [[], ["o1 3@101 taker"], [], ["o1 2@102 taker"]],
    ),
    "what was taken stays taken at the same price, though more is displayed": (
        {},
        [quote(99, 101, 1, ask_size=3), order(1, 1), quote(99, 101, 2, ask_size=4)],
        [[], ["o1 3@101 taker"], ["o1 1@101 taker"]],
    ),
    "where the displayed size shrank below what was taken, nothing is left": (
        {},
        [quote(99, 101, 1, ask_size=4), order(1, 1), quote(99, 101, 2, ask_size=2),
         quote(99, 101, 3, ask_size=5)],
        [[], ["o1 4@101 taker"], [], ["o1 1@101 taker"]],
    ),
    "a price that the touch moved past displays anew when it comes back": (
        {},
        [quote(99, 101, 1, ask_size=4), order(1, 1, qty=8), quote(99, 103, 2, ask_size=1),
         quote(99, 101, 3, ask_size=2)],
        [[], ["o1 4@101 taker"], ["o1 1@103 taker"], ["o1 2@101 taker"]],
    ),
    "behind a better touch what was taken stays taken": (
        {},
        [quote(99, 101, 1, ask_size=2), order(1, 1, qty=6, limit_nano=101),
         quote(99, 100, 2, ask_size=1), quote(99, 101, 3, ask_size=2),
         quote(99, 100, 4, ask_size=1), quote(99, 101, 5, ask_size=3)],
        [[], ["o1 2@101 taker"], ["o1 1@101 maker"], [], ["o1 1@101 maker"], ["o1 1@101 maker"]],
    ),
    "a bid's levels mirror it": (
        {},
        [quote(99, 101, 1, bid_size=2), order(1, 1, "sell", qty=9), quote(100, 101, 2, bid_size=1),
         quote(99, 101, 3, bid_size=2), quote(98, 101, 4, bid_size=1),
         quote(99, 101, 5, bid_size=2)],
        [[], ["o1 2@99 taker"], ["o1 1@100 taker"], [], ["o1 1@98 taker"], ["o1 2@99 taker"]],
    ),
    "a level is moved past also while no order waits": (
        {},
        [quote(99, 101, 1, ask_size=4), order(1, 1, qty=4), quote(99, 100, 2), quote(99, 102, 3),
         quote(99, 101, 4, ask_size=4), order(2, 4, qty=4)],
        [[], ["o1 4@101 taker"], [], [], [], ["o2 4@101 taker"]],
    ),
    "a side that is missing for a moment brings nothing back": (
        {},
        [quote(99, 101, 1, ask_size=4), order(1, 1, qty=8), quote(99, 0, 2, ask_size=0),
         quote(99, 101, 3, ask_size=5)],
        [[], ["o1 4@101 taker"], [], ["o1 1@101 taker"]],
    ),
    "the other side's price does not bring this side back": (
        {},
        [quote(99, 101, 1, ask_size=4), order(1, 1, qty=8), quote(98, 101, 2, ask_size=4)],
        [[], ["o1 4@101 taker"], []],
    ),
    "an optimistic taker fills all at the touch": (
        {"book": "optimistic"},
        [quote(99, 101, 1, ask_size=1), order(1, 1, "buy", 50)],
        [[], ["o1 50@101 taker"]],
    ),
    "a pessimistic taker takes like a neutral one": (
        {"book": "pessimistic"},
        [quote(99, 101, 1, ask_size=1), order(1, 1, "buy", 5)],
        [[], ["o1 1@101 taker"]],
    ),
    "slippage makes the price worse, rounded against the taker": (
        {"slippage": "0.001"},
        [quote(99, 101, 1), order(1, 1), order(2, 1, "sell")],
        [[], ["o1 5@102 taker"], ["o2 5@98 taker"]],
    ),
    "slippage never goes beyond a limit": (
        {"slippage": "0.1"},
        [quote(99, 101, 1), order(1, 1, limit_nano=103), order(2, 1, "sell", collar=95)],
        [[], ["o1 5@103 taker"], ["o2 5@95 taker"]],
    ),
    "beyond its collar what is left of a market order is cancelled": (
        {},
        [quote(99, 101, 1, ask_size=3), order(1, 1, collar=102), quote(99, 102, 2, ask_size=1),
         quote(99, 103, 3)],
        [[], ["o1 3@101 taker"], ["o1 1@102 taker"], ["o1 cancelled collar"]],
    ),
    "an order of a symbol with quotes never takes prints": (
        {},
        [quote(99, 101, 1, ask_size=3), order(1, 1), trade(100, 9, 2)],
        [[], ["o1 3@101 taker"], []],
    ),
    "without quotes takers take later prints, in the order of their numbers, each size once": (
        {},
        [trade(100, 4, 1), order(1, 1), order(2, 1, "sell"), trade(101, 7, 2), trade(102, 9, 3)],
        [[], [], [], ["o1 5@101 taker", "o2 2@101 taker"], ["o2 3@102 taker"]],
    ),
    "without quotes a print beyond the collar ends a market order": (
        {},
        [trade(100, 4, 1), order(1, 1, collar=102), trade(103, 7, 2)],
        [[], [], ["o1 cancelled collar"]],
    ),
    "without quotes fill-or-kill takes the first print or nothing": (
        {},
        [trade(100, 4, 1), order(1, 1, tif="fok"), trade(101, 4, 2), order(2, 2, tif="fok"),
         trade(101, 5, 3)],
        [[], [], ["o1 cancelled fok"], [], ["o2 5@101 taker"]],
    ),
    "immediate-or-cancel takes what can be had and cancels the rest": (
        {},
        [quote(99, 101, 1, ask_size=3), order(1, 1, tif="ioc")],
        [[], ["o1 3@101 taker", "o1 cancelled ioc"]],
    ),
    "immediate-or-cancel with a limit that is not met is cancelled": (
        {},
        [quote(99, 101, 1), order(1, 1, limit_nano=100, tif="ioc")],
        [[], ["o1 cancelled ioc"]],
    ),
    "fill-or-kill takes all of it from one quote": (
        {},
        [quote(99, 101, 1, ask_size=5), order(1, 1, tif="fok")],
        [[], ["o1 5@101 taker"]],
    ),
    "fill-or-kill takes nothing where less is left": (
        {},
        [quote(99, 101, 1, ask_size=5), order(1, 1, qty=1), order(2, 1, tif="fok")],
        [[], ["o1 1@101 taker"], ["o2 cancelled fok"]],
    ),
    "an optimistic fill-or-kill fills whatever the size": (
        {"book": "optimistic"},
        [quote(99, 101, 1, ask_size=1), order(1, 1, tif="fok")],
        [[], ["o1 5@101 taker"]],
    ),
    "a limit at the other side takes, and what is left rests": (
        {},
        [quote(99, 101, 1, ask_size=2), order(1, 1, limit_nano=101), trade(101, 2, 2),
         quote(99, 101, 3, ask_size=2), quote(99, 100, 4, ask_size=2)],
        [[], ["o1 2@101 taker"], ["o1 2@101 maker"], [], ["o1 1@101 maker"]],
    ),
    "a resting limit fills at its limit where a print is at it or better": (
        {},
        [quote(99, 101, 1), order(1, 1, limit_nano=100), trade(101, 9, 2), trade(100, 2, 3),
         trade(98, 9, 4)],
        [[], [], [], ["o1 2@100 maker"], ["o1 3@100 maker"]],
    ),
    "a pessimistic resting limit fills only where prints go through it": (
        {"book": "pessimistic"},
        [quote(99, 101, 1), order(1, 1, limit_nano=100), trade(100, 9, 2), quote(98, 99, 3),
         trade(99, 3, 4), trade(99, 3, 5)],
        [[], [], [], [], ["o1 3@100 maker"], ["o1 2@100 maker"]],
    ),
    "an optimistic resting limit fills all of it at the first touch": (
        {"book": "optimistic"},
        [quote(99, 101, 1), order(1, 1, "sell", limit_nano=102), trade(102, 1, 2, "sell")],
        [[], [], ["o1 5@102 maker"]],
    ),
    "resting sells mirror resting buys": (
        {},
        [quote(99, 101, 1), order(1, 1, "sell", limit_nano=100), trade(99, 9, 2, "buy"),
         trade(100, 2, 3, "buy"), quote(100, 101, 4, bid_size=1)],
        [[], [], [], ["o1 2@100 maker"], ["o1 1@100 maker"]],
    ),
    "a print's size goes to the best price first, and then by number": (
        {},
        [quote(99, 101, 1), order(1, 1, limit_nano=98), order(2, 1, limit_nano=100, qty=2),
         order(3, 1, limit_nano=100, qty=2), trade(98, 7, 2)],
        [[], [], [], [], ["o2 2@100 maker", "o3 2@100 maker", "o1 3@98 maker"]],
    ),
    "of sells the lowest is the best": (
        {},
        [quote(95, 96, 1), order(1, 1, "sell", limit_nano=98), order(2, 1, "sell", limit_nano=97),
         trade(98, 7, 2, "buy")],
        [[], [], [], ["o2 5@97 maker", "o1 2@98 maker"]],
    ),
    "a quote's size goes to the best price first": (
        {},
        [quote(99, 103, 1), order(1, 1, limit_nano=100), order(2, 1, limit_nano=102),
         quote(99, 100, 2, ask_size=7)],
        [[], [], [], ["o2 5@102 maker", "o1 2@100 maker"]],
    ),
    "a print fills what rests only against its aggressor": (
        {},
        [quote(99, 101, 1), order(1, 1, "sell", limit_nano=100), order(2, 1, limit_nano=100),
         trade(100, 2, 2, "sell"), trade(100, 3, 3, "buy")],
        [[], [], [], ["o2 2@100 maker"], ["o1 3@100 maker"]],
    ),
    "a buyer's print of the very ask that was taken fills nothing more": (
        {},
        [quote(99, 101, 1, ask_size=5), order(1, 1, qty=10, limit_nano=101),
         trade(101, 5, 2, "buy"), trade(100, 5, 3, "buy")],
        [[], ["o1 5@101 taker"], [], []],
    ),
    "nor in the pessimistic book, be it beyond the limit": (
        {"book": "pessimistic"},
        [quote(99, 101, 1), order(1, 1, limit_nano=100), trade(99, 5, 2, "buy"), trade(99, 5, 3)],
        [[], [], [], ["o1 5@100 maker"]],
    ),
    "in the optimistic book any print fills what rests": (
        {"book": "optimistic"},
        [quote(99, 101, 1), order(1, 1, limit_nano=100), trade(100, 1, 2, "buy")],
        [[], [], ["o1 5@100 maker"]],
    ),
    "immediate-or-cancel that finds only a stale quote ends at once": (
        {},
        [quote(99, 101, 1), trade(100, 1, 20_000), order(1, 20_000, tif="ioc"),
         order(2, 20_000, tif="fok"), quote(99, 104, 20_001)],
        [[], [], ["o1 cancelled ioc"], ["o2 cancelled fok"], []],
    ),
    "with a latency it ends at the first print beside a stale quote": (
        {"latency_ms": 10},
        [quote(99, 101, 1), order(1, 1, tif="ioc"), trade(100, 1, 5), trade(100, 1, 20),
         trade(100, 1, 20_000), quote(99, 104, 20_001)],
        [[], [], [], [], ["o1 cancelled ioc"], []],
    ),
    "a triggered stop with immediate-or-cancel that finds only a stale quote ends": (
        {},
        [quote(99, 101, 1), order(1, 1, type="stop", stop_nano=100, tif="ioc"),
         trade(100, 9, 20_000)],
        [[], [], ["o1 triggered", "o1 cancelled ioc"]],
    ),
    "post-only that would take is cancelled": (
        {},
        [quote(99, 101, 1), order(1, 1, limit_nano=101, post_only=True)],
        [[], ["o1 cancelled post_only"]],
    ),
    "post-only that would not take rests": (
        {},
        [quote(99, 101, 1), order(1, 1, limit_nano=100, post_only=True), trade(100, 9, 2)],
        [[], [], ["o1 5@100 maker"]],
    ),
    "reduce-only never goes through flat": (
        {"position": 3},
        [quote(99, 101, 1), order(1, 1, "sell", reduce_only=True)],
        [[], ["o1 3@99 taker", "o1 cancelled reduce_only"]],
    ),
    "reduce-only without a position is cancelled when it is active": (
        {},
        [quote(99, 101, 1), order(1, 1, "sell", reduce_only=True)],
        [[], ["o1 cancelled reduce_only"]],
    ),
    "reduce-only on the side of the position is cancelled": (
        {"position": 3},
        [quote(99, 101, 1), order(1, 1, "buy", reduce_only=True)],
        [[], ["o1 cancelled reduce_only"]],
    ),
    "a reduce-only order ends as soon as another order closed the position": (
        {"position": 5},
        [quote(99, 101, 1), order(1, 1, "sell", limit_nano=110, reduce_only=True),
         order(2, 1, "sell")],
        [[], [], ["o2 5@99 taker", "o1 cancelled reduce_only"]],
    ),
    "a fill-or-kill that may reduce less than its size fills nothing": (
        {"position": 3},
        [quote(99, 101, 1), order(1, 1, "sell", tif="fok", reduce_only=True)],
        [[], ["o1 cancelled fok"]],
    ),
    "a buy stop waits for a print at its price, then takes the current quote": (
        {},
        [quote(99, 101, 1), order(1, 1, type="stop", stop_nano=105), quote(106, 107, 2),
         trade(104, 9, 3), trade(105, 9, 4)],
        [[], [], [], [], ["o1 triggered", "o1 5@107 taker"]],
    ),
    "a sell stop mirrors it": (
        {},
        [quote(99, 101, 1), order(1, 1, "sell", type="stop", stop_nano=95), trade(96, 1, 2),
         trade(94, 1, 3)],
        [[], [], [], ["o1 triggered", "o1 5@99 taker"]],
    ),
    "without quotes the print that triggers a stop does not fill it": (
        {},
        [trade(100, 1, 1), order(1, 1, type="stop", stop_nano=105), trade(105, 9, 2),
         trade(106, 9, 3)],
        [[], [], ["o1 triggered"], ["o1 5@106 taker"]],
    ),
    "a stop-limit rests after its trigger, and that print does not fill it": (
        {},
        [quote(99, 106, 1), order(1, 1, type="stop_limit", stop_nano=103, limit_nano=104),
         trade(103, 9, 2), trade(104, 2, 3)],
        [[], [], ["o1 triggered"], ["o1 2@104 maker"]],
    ),
    "a triggered stop with immediate-or-cancel takes the quote and ends": (
        {},
        [quote(99, 101, 1, ask_size=2), order(1, 1, type="stop", stop_nano=100, tif="ioc"),
         trade(100, 9, 2)],
        [[], [], ["o1 triggered", "o1 2@101 taker", "o1 cancelled ioc"]],
    ),
    "all stops are triggered before makers are served": (
        {},
        [quote(99, 101, 1), order(1, 1, limit_nano=100),
         order(2, 1, "sell", type="stop", stop_nano=100), trade(100, 9, 2)],
        [[], [], [], ["o2 triggered", "o2 5@99 taker", "o1 5@100 maker"]],
    ),
    "with a latency no quote of before counts": (
        {"latency_ms": 10},
        [quote(99, 101, 1), order(1, 1), quote(99, 101, 10), quote(99, 102, 11)],
        [[], [], [], ["o1 5@102 taker"]],
    ),
    "with a latency a limit arrives with a print, and may fill on it": (
        {"latency_ms": 10},
        [quote(99, 101, 1), order(1, 1, limit_nano=100), trade(100, 9, 5), trade(100, 2, 11)],
        [[], [], [], ["o1 2@100 maker"]],
    ),
    "a pessimistic limit that arrives with a print needs it to go through its limit": (
        {"book": "pessimistic", "latency_ms": 10},
        [quote(99, 101, 1), order(1, 1, limit_nano=100), trade(100, 2, 11), trade(99, 2, 12)],
        [[], [], [], ["o1 2@100 maker"]],
    ),
    "post-only that arrives with a print while the other side is at its limit is cancelled": (
        {"latency_ms": 10},
        [quote(99, 101, 1), order(1, 1, limit_nano=101, post_only=True), trade(100, 2, 11)],
        [[], [], ["o1 cancelled post_only"]],
    ),
    "with a latency a limit at the other side waits for the next quote to take": (
        {"latency_ms": 10},
        [quote(99, 101, 1), order(1, 1, limit_nano=101), trade(100, 9, 11), quote(99, 101, 12)],
        [[], [], [], ["o1 5@101 taker"]],
    ),
    "with a latency a stop needs a print after it": (
        {"latency_ms": 10},
        [quote(99, 101, 1), order(1, 1, type="stop", stop_nano=100), trade(100, 9, 5),
         trade(100, 9, 11), quote(99, 101, 12)],
        [[], [], [], ["o1 triggered"], ["o1 5@101 taker"]],
    ),
    "a stale quote fills nothing": (
        {},
        [quote(99, 101, 1), order(1, 20_000), trade(101, 9, 20_001), quote(99, 102, 20_002)],
        [[], [], [], ["o1 5@102 taker"]],
    ),
    "a stop triggered while the quote is stale waits for the next one": (
        {},
        [quote(99, 101, 1), order(1, 1, type="stop", stop_nano=100), trade(100, 9, 20_001),
         quote(99, 102, 20_002)],
        [[], [], ["o1 triggered"], ["o1 5@102 taker"]],
    ),
    "backfilled trades fill and trigger nothing": (
        {},
        [quote(99, 101, 1), order(1, 1, limit_nano=100), order(2, 1, type="stop", stop_nano=100),
         trade(100, 9, 2, backfilled=True)],
        [[], [], [], []],
    ),
    "a missing side is not a price": (
        {},
        [quote(99, 0, 1), order(1, 1), order(2, 1, tif="ioc"), order(3, 1, limit_nano=100),
         quote(99, 0, 2, ask_size=0)],
        [[], [], ["o2 cancelled ioc"], [], []],
    ),
    "a quote goes to those that take first, and then to those that rest": (
        {},
        [quote(99, 101, 1, ask_size=5), order(1, 1, limit_nano=100), order(2, 1, qty=7),
         quote(99, 100, 2, ask_size=6)],
        [[], [], ["o2 5@101 taker"], ["o2 2@100 taker", "o1 4@100 maker"]],
    ),
    "a quote after midnight does not fill a day order": (
        {},
        [quote(99, 101, 1), order(1, 1, limit_nano=100, tif="day"), quote(99, 100, DAY_MS)],
        [[], [], ["o1 expired day_ended"]],
    ),
    "a day order ends at midnight, before it may fill": (
        {},
        [quote(99, 101, 1), order(1, 1, limit_nano=100, tif="day"), trade(100, 1, DAY_MS - 1),
         trade(100, 9, DAY_MS)],
        [[], [], ["o1 1@100 maker"], ["o1 expired day_ended"]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_plays_as_the_rules_say(name: str) -> None:
    setting, moves, expected = SCENES[name]
    assert played(Desk(**setting), *moves) == expected


def test_an_evidence_names_the_event_what_it_had_and_what_was_taken_before() -> None:
    desk = Desk()
    played(desk, quote(99, 101, 7, ask_size=6), order(1, 7, qty=4), order(2, 8, qty=4))
    first, second = (match.evidence for match in desk.matches)
    assert (first.received_ns, first.price_nano, first.size_nano) == (7_000_000, 101, 6)
    assert (first.taken_before_nano, second.taken_before_nano) == (0, 4)
    played(desk, order(3, 8, limit_nano=100), trade(100, 3, 9))
    assert (desk.matches[-1].evidence.kind, desk.matches[-1].evidence.trade_id) == ("print", 9)
    assert [match.order_fill for match in desk.matches] == [1, 1, 1]
    played(desk, trade(99, 3, 10))
    assert [match.order_fill for match in desk.matches] == [1, 1, 1, 2]
    assert all(match.evidence.rule for match in desk.matches)


def test_why_says_what_an_order_waits_for() -> None:
    desk = Desk(latency_ms=10)
    desk.add(order(1, 1))
    assert desk.why(1, 5) == ("pending", "latency")
    assert desk.why(1, 11) == ("working", "no_price")
    played(desk, quote(99, 101, 20, ask_size=3), order(2, 20, limit_nano=95))
    played(desk, order(3, 20, type="stop", stop_nano=120), quote(99, 101, 30, ask_size=3))
    assert desk.why(1, 30) == ("working", "liquidity")
    assert desk.why(2, 30) == ("working", "price")
    assert desk.why(3, 30) == ("untriggered", "trigger")
    assert desk.why(1, 20_000) == ("working", "stale_price")
    played(desk, trade(100, 1, 20_000))
    assert desk.why(1, 20_000) == ("working", "stale_price")
    assert desk.why(2, 20_000) == ("working", "price")


@pytest.mark.parametrize("book", ANY)
def test_a_removed_order_is_gone_and_never_fills(book: str) -> None:
    desk = Desk(book)
    played(desk, quote(99, 101, 1), order(1, 1, limit_nano=100), order(2, 1, limit_nano=100))
    assert desk.matcher.remove("o1")
    assert not desk.matcher.remove("o1")
    assert desk.matcher.live("AAA") == ["o2"]
    assert all(said.startswith("o2") for said in desk.on(trade(99, 50, 2)))
    assert desk.matcher.live() == []


def test_time_alone_ends_days_and_fills_nothing() -> None:
    desk = Desk(latency_ms=10)
    played(desk, quote(99, 101, 1), order(1, 1), order(2, 1, limit_nano=90, tif="day"))
    assert desk.on_time(50) == []
    assert desk.on_time(DAY_MS) == ["o2 expired day_ended"]
    assert desk.matcher.live() == ["o1"]


def test_an_older_quote_that_came_late_fills_nothing() -> None:
    desk = Desk()
    played(desk, quote(99, 101, 3, ask_size=1), order(1, 3), quote(99, 101, 6, ask_size=1))
    assert desk.on(quote(99, 100, 4)) == []
    assert desk.on(quote(99, 100, 7)) == ["o1 4@100 taker"]


def test_a_limit_that_rested_rests_after_a_restart() -> None:
    desk = Desk("pessimistic")
    played(desk, quote(99, 101, 1), order(1, 1, limit_nano=100), quote(98, 101, 2))
    desk.restart()
    assert desk.on(quote(98, 99, 3)) == []
    assert desk.on(trade(99, 2, 4)) == ["o1 2@100 maker"]


def test_after_a_restart_the_same_print_is_not_taken_twice() -> None:
    desk = Desk()
    played(desk, quote(99, 101, 1), order(1, 1, limit_nano=100, qty=9), trade(100, 4, 2))
    desk.restart()
    assert desk.on(trade(100, 4, 2)) == []
    assert desk.on(trade(100, 4, 3)) == ["o1 4@100 maker"]


def test_after_a_restart_a_market_order_that_took_quotes_takes_no_prints() -> None:
    desk = Desk()
    played(desk, quote(99, 101, 1, ask_size=3), order(1, 1))
    desk.markets.clear()
    desk.restart()
    desk.markets["AAA"] = type(Desk().markets["AAA"])("AAA")
    assert desk.on(trade(100, 9, 2)) == []
    assert desk.on(quote(99, 101, 3, ask_size=4)) == ["o1 1@101 taker"]
