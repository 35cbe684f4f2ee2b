"""The trading state binds orders that were accepted before, in every book."""

from __future__ import annotations

import pytest
from paper_matching_parts import Desk, order, quote, trade

from market_engine.paper.model import TradingState

DAY_MS = 86_400_000
BOOKS = ("optimistic", "neutral", "pessimistic")


def desk_in(state: str, book: str = "neutral", position: int = 0, latency_ms: int = 0) -> Desk:
    """A desk at a quote of 99 to 101, which is ``active`` until the state is set."""
    desk = Desk(book, position, latency_ms=latency_ms)
    desk.on(quote(99, 101, 1))
    desk.gate.state = TradingState(state)
    return desk


@pytest.mark.parametrize("book", BOOKS)
def test_halted_fills_nothing_and_triggers_no_stop_and_all_goes_on_after_it(book: str) -> None:
    desk = desk_in("active", book)
    desk.add(order(1, 1, limit_nano=98))
    desk.add(order(2, 1, type="stop", stop_nano=103))
    desk.gate.state = TradingState.HALTED
    assert desk.on(trade(97, 9, 2)) == []
    assert desk.on(quote(95, 96, 3)) == []
    assert desk.on(trade(104, 9, 4, "buy")) == []
    assert (desk.why(1, 4), desk.why(2, 4)) == (
        ("working", "halted"), ("untriggered", "halted"),
    )  # fmt: skip
    desk.gate.state = TradingState.ACTIVE
    assert desk.on(quote(103, 104, 5)) == []
    assert desk.on(trade(104, 9, 6, "buy")) == ["o2 triggered", "o2 5@104 taker"]
    assert desk.on(trade(97, 9, 7)) == ["o1 5@98 maker"]


def test_halted_holds_a_market_order_that_waits_and_days_still_end() -> None:
    desk = Desk()
    desk.on(quote(99, 101, 1, ask_size=3))
    assert desk.add(order(1, 1)) == ["o1 3@101 taker"]
    desk.add(order(2, 1, limit_nano=95, tif="day"))
    desk.gate.state = TradingState.HALTED
    assert desk.on(quote(99, 102, 2)) == []
    assert desk.why(1, 2) == ("working", "halted")
    assert desk.on_time(DAY_MS) == ["o2 expired day_ended"]
    desk.gate.state = TradingState.ACTIVE
    assert desk.on(quote(99, 102, DAY_MS + 1)) == ["o1 2@102 taker"]


@pytest.mark.parametrize("state", ["halted", "reducing"])
@pytest.mark.parametrize("force", ["ioc", "fok"])
def test_an_order_that_takes_at_once_ends_when_it_arrives_in_it(state: str, force: str) -> None:
    desk = desk_in("active", latency_ms=10)
    desk.add(order(1, 1, tif=force))
    desk.gate.state = TradingState(state)
    assert desk.on(quote(99, 101, 11)) == [f"o1 cancelled {force}"]


@pytest.mark.parametrize("book", BOOKS)
def test_reducing_fills_only_what_makes_the_position_of_its_book_smaller(book: str) -> None:
    desk = desk_in("active", book, position=-3)
    desk.add(order(1, 1, limit_nano=98))
    desk.add(order(2, 1, "sell", limit_nano=105))
    desk.gate.state = TradingState.REDUCING
    assert desk.on(trade(97, 9, 2)) == ["o1 3@98 maker"]
    assert desk.on(trade(97, 9, 3)) == []
    assert desk.on(trade(106, 9, 4, "buy")) == []
    assert (desk.why(1, 4), desk.why(2, 4)) == (("working", "reducing"),) * 2
    desk.gate.state = TradingState.ACTIVE
    assert desk.on(trade(97, 9, 5)) == ["o1 2@98 maker"]
    assert desk.on(trade(106, 9, 6, "buy")) == ["o2 5@105 maker"]


def test_a_stop_that_triggers_in_reducing_waits_until_it_may_open_a_position() -> None:
    desk = desk_in("active")
    desk.add(order(1, 1, type="stop", stop_nano=100))
    desk.gate.state = TradingState.REDUCING
    assert desk.why(1, 1) == ("untriggered", "trigger")
    assert desk.on(trade(100, 9, 2)) == ["o1 triggered"]
    assert desk.on(quote(99, 101, 3)) == []
    assert desk.why(1, 3) == ("working", "reducing")
    desk.gate.state = TradingState.ACTIVE
    assert desk.on(quote(99, 101, 4)) == ["o1 5@101 taker"]


def test_a_reduce_only_order_without_a_position_still_ends() -> None:
    desk = desk_in("halted")
    assert desk.add(order(1, 1, "sell", reduce_only=True)) == ["o1 cancelled reduce_only"]
