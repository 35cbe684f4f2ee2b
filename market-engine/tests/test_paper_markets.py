"""What the desk takes a symbol's price for."""

from __future__ import annotations

from paper_matching_parts import MS, SYMBOL, quote, trade

from market_engine.paper.markets import SymbolMarket
from market_engine.paper.model import Mark

STALE = 1_000 * MS


def market(*events: object) -> SymbolMarket:
    found = SymbolMarket(SYMBOL)
    for event in events:
        if hasattr(event, "bid_nano"):
            found.note_quote(event)  # type: ignore[arg-type]
        else:
            found.note_trade(event)  # type: ignore[arg-type]
    return found


def test_nothing_is_no_price() -> None:
    empty = market()
    assert empty.mark(5, 0, STALE) == Mark(None, "", 0, is_stale=True)
    assert empty.price_nano(0, STALE) is None
    assert not empty.is_fresh(0, STALE)
    assert not empty.has_quotes


def test_a_long_is_worth_the_bid_a_short_the_ask() -> None:
    known = market(quote(99, 101, 1), trade(100, 1, 2))
    assert known.mark(5, 2 * MS, STALE) == Mark(99, "bid", MS, is_stale=False)
    assert known.mark(-5, 2 * MS, STALE) == Mark(101, "ask", MS, is_stale=False)
    assert known.mark(0, 2 * MS, STALE) == Mark(100, "last", 2 * MS, is_stale=False)


def test_a_missing_side_falls_back_to_the_last_trade() -> None:
    known = market(quote(0, 101, 1), trade(100, 1, 2))
    assert known.mark(5, 2 * MS, STALE) == Mark(100, "last", 2 * MS, is_stale=False)
    assert market(quote(0, 101, 1)).mark(5, 0, STALE).price_nano is None


def test_a_stale_mark_is_flagged_and_stays_in_use() -> None:
    known = market(quote(99, 101, 1))
    assert not known.mark(5, MS + STALE, STALE).is_stale
    assert known.mark(5, MS + STALE + 1, STALE) == Mark(99, "bid", MS, is_stale=True)


def test_the_price_is_the_newest_that_is_fresh() -> None:
    known = market(quote(99, 102, 1), trade(90, 1, 1))
    assert known.price_nano(MS, STALE) == 90
    known.note_quote(quote(99, 102, 2))
    assert known.price_nano(2 * MS, STALE) == 100
    assert known.price_nano(2 * MS + STALE, STALE) == 100
    assert known.price_nano(2 * MS + STALE + 1, STALE) is None
    known.note_quote(quote(0, 102, 3))
    assert known.price_nano(3 * MS, STALE) == 90


def test_it_is_fresh_while_either_came_lately() -> None:
    known = market(quote(99, 101, 1), trade(100, 1, 500))
    assert known.is_fresh(500 * MS + STALE, STALE)
    assert not known.is_fresh(500 * MS + STALE + 1, STALE)


def test_backfilled_and_older_events_change_nothing() -> None:
    known = market(trade(100, 1, 5), quote(99, 101, 5))
    known.note_trade(trade(50, 1, 6, backfilled=True))
    known.note_trade(trade(50, 1, 4))
    known.note_quote(quote(49, 51, 4))
    assert known.last == trade(100, 1, 5)
    assert known.quote == quote(99, 101, 5)
