"""Random markets and orders: what must hold whatever comes, re-derived from the events alone."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from paper_matching_parts import MS, Desk, order, quote, trade

from market_engine.events import Quote, Side, Trade
from market_engine.paper.matching import Match
from market_engine.paper.model import EvidenceKind, Order, OrderType, TimeInForce

STALE_NS = 10_000 * MS
PRICES = st.integers(96, 104)
SIZES = st.integers(0, 9)
STEPS_MS = st.sampled_from([0, 1, 1, 1, 4, 30, 10_001, 40_000_000])
BOOKS = ("optimistic", "neutral", "pessimistic")


@st.composite
def events(draw: st.DrawFn, quotes: str = "yes") -> Any:
    """A quote or a print as a function of its time and number."""
    if quotes == "yes" and draw(st.booleans()):
        bid, spread = draw(PRICES), draw(st.integers(0, 3))
        ask = 0 if spread == 0 else bid + spread
        sizes = {"bid_size": draw(SIZES), "ask_size": draw(SIZES)}
        return lambda at_ms, _: quote(bid, ask, at_ms, **sizes)
    price, qty, late = draw(PRICES), draw(st.integers(1, 9)), draw(st.integers(0, 9)) == 0
    side: Side = draw(st.sampled_from(["buy", "sell"]))
    return lambda at_ms, number: msgspec.structs.replace(
        trade(price, qty, at_ms, side, backfilled=late), trade_id=number
    )


@st.composite
def orders(draw: st.DrawFn, *, may_reduce: bool = True, only_limits: bool = False) -> Any:
    kind = "limit" if only_limits else draw(st.sampled_from(list(OrderType))).value
    tif = draw(st.sampled_from(["gtc", "day"] if only_limits else [*TimeInForce]))
    more: dict[str, Any] = {"type": kind, "tif": tif}
    if "limit" in kind:
        more["limit_nano"] = draw(PRICES)
        more["post_only"] = draw(st.integers(0, 3)) == 0
    elif draw(st.booleans()):
        more["collar"] = draw(PRICES)
    if "stop" in kind:
        more["stop_nano"] = draw(PRICES)
    more["reduce_only"] = may_reduce and draw(st.integers(0, 2)) == 0
    side, qty = draw(st.sampled_from(["buy", "sell"])), draw(st.integers(1, 12))
    return lambda at_ms, number: order(number, at_ms, side, qty, **more)


def streams(order_strategy: Any, min_size: int = 1) -> Any:
    """Moves with the time since the one before; some markets have no quotes."""
    moves = st.sampled_from(["yes", "no"]).flatmap(
        lambda quotes: st.lists(
            st.tuples(STEPS_MS, events(quotes) | events(quotes) | order_strategy),
            min_size=min_size,
            max_size=40,
        )
    )
    return moves.map(_numbered)


def _numbered(moves: list[Any]) -> list[Any]:
    at_ms, found = 1, []
    for number, (step_ms, make) in enumerate(moves, 1):
        at_ms += step_ms
        found.append(make(at_ms, number))
    return found


SETTINGS = st.tuples(st.sampled_from(["0", "0.013"]), st.sampled_from([0, 0, 5]))


def play(desk: Desk, moves: list[Any]) -> None:
    for move in moves:
        _ = desk.add(move) if isinstance(move, Order) else desk.on(move)


class Checker:
    """Knows the events and the orders, and judges each fill by them."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.quote: Quote | None = None
        self.has_quotes = False
        self.taken: dict[str, dict[int, int]] = {"buy": {}, "sell": {}}
        """By the side that takes, and the price."""
        self.print_taken: dict[int | None, int] = {}
        self.seen = 0
        self.triggered: set[str] = set()
        """By an earlier event."""

    def step(self, move: Any) -> None:
        if isinstance(move, Quote):
            self.quote = move
            for side, taken in self.taken.items():  # the touch moved past the better prices
                touch = move.ask_nano if side == "buy" else -move.bid_nano
                sign = 1 if side == "buy" else -1
                for price in [each for each in taken if touch and sign * each < touch]:
                    del taken[price]
        position = self.desk.position
        now_ns = move.submitted_ns if isinstance(move, Order) else move.received_ns
        _ = self.desk.add(move) if isinstance(move, Order) else self.desk.on(move)
        for match in self.desk.matches[self.seen :]:
            asked = self.desk.orders[match.client_order_id].asked
            signed = match.qty_nano if asked.side == "buy" else -match.qty_nano
            if asked.reduce_only:
                assert position * signed < 0
                assert abs(signed) <= abs(position)
            position += signed
            self.judge(match, move, now_ns)
        self.seen = len(self.desk.matches)
        self.judge_orders(move)
        self.triggered = set(self.desk.triggered_ns)

    def judge(self, match: Match, move: Any, now_ns: int) -> None:
        placed = self.desk.orders[match.client_order_id]
        asked, evidence = placed.asked, match.evidence
        sign = 1 if asked.side == "buy" else -1
        worst = placed.collar_nano if asked.limit_nano is None else asked.limit_nano
        active_ns = placed.submitted_ns + self.desk.model.latency_ms * MS
        assert match.qty_nano > 0
        assert worst is None or sign * match.price_nano <= sign * worst
        assert not (asked.post_only and not match.is_maker)
        assert now_ns - evidence.received_ns <= STALE_NS
        assert now_ns >= active_ns
        if match.is_maker:
            assert match.price_nano == asked.limit_nano
            assert isinstance(move, Quote | Trade)
        else:
            assert sign * match.price_nano >= sign * evidence.price_nano
        if evidence.kind is EvidenceKind.QUOTE:
            self.judge_quote(match, asked.side)
            if self.desk.model.latency_ms:
                assert evidence.received_ns >= active_ns
        else:
            self.judge_print(match, move, sign)

    def judge_quote(self, match: Match, side: str) -> None:
        assert self.quote is not None
        evidence = match.evidence
        is_buy = side == "buy"
        shown = (
            self.quote.ask_nano if is_buy else self.quote.bid_nano,
            self.quote.ask_qty_nano if is_buy else self.quote.bid_qty_nano,
            self.quote.received_ns,
        )
        assert (evidence.price_nano, evidence.size_nano, evidence.received_ns) == shown
        before = self.taken[side].get(evidence.price_nano, 0)
        assert evidence.taken_before_nano == before
        self.taken[side][evidence.price_nano] = before + match.qty_nano
        if self.desk.book != "optimistic":
            assert before + match.qty_nano <= evidence.size_nano
        assert not (self.desk.book == "pessimistic" and match.is_maker)

    def judge_print(self, match: Match, move: Any, sign: int) -> None:
        evidence = match.evidence
        assert isinstance(move, Trade)
        assert not move.backfilled
        assert (evidence.trade_id, evidence.size_nano) == (move.trade_id, move.qty_nano)
        assert evidence.price_nano == move.price_nano
        assert evidence.taken_before_nano == self.print_taken.get(move.trade_id, 0)
        taken = evidence.taken_before_nano + match.qty_nano
        self.print_taken[move.trade_id] = taken
        if self.desk.book != "optimistic":
            assert taken <= move.qty_nano
        assert match.is_maker or self.quote is None
        if self.desk.book != "optimistic" and match.is_maker:
            asked = self.desk.orders[match.client_order_id].asked
            assert move.side != asked.side
        if self.desk.book == "pessimistic" and match.is_maker:
            assert sign * move.price_nano < sign * match.price_nano
        assert match.client_order_id in self.triggered or not self.is_stop(match.client_order_id)

    def is_stop(self, name: str) -> bool:
        return self.desk.orders[name].asked.stop_nano is not None

    def judge_orders(self, move: Any) -> None:
        live = set(self.desk.matcher.live())
        for name, placed in self.desk.orders.items():
            filled, qty = self.desk.filled.get(name, 0), placed.asked.qty_nano
            assert filled <= qty
            assert (filled == qty or name in self.desk.ended) == (name not in live)
            if placed.asked.time_in_force is TimeInForce.FOK:
                assert filled in (0, qty)
            at_once = placed.asked.time_in_force in (TimeInForce.FOK, TimeInForce.IOC)
            if at_once and isinstance(move, Quote) and name in live:
                is_pending = move.received_ns < placed.submitted_ns + (
                    self.desk.model.latency_ms * MS
                )
                assert is_pending or (self.is_stop(name) and name not in self.desk.triggered_ns)


@given(streams(orders()), SETTINGS, st.sampled_from(BOOKS), st.integers(-20, 20))
@settings(max_examples=200, deadline=None)
def test_every_fill_follows_from_its_evidence(
    moves: list[Any], setting: tuple[str, int], book: str, position: int
) -> None:
    checker = Checker(Desk(book, position, *setting))
    for move in moves:
        checker.step(move)


@given(streams(orders(may_reduce=False, only_limits=True)), SETTINGS)
@settings(max_examples=70, deadline=None)
def test_a_lone_limit_fills_no_less_the_kinder_the_book(
    moves: list[Any], setting: tuple[str, int]
) -> None:
    first = next((move for move in moves if isinstance(move, Order)), None)
    assume(first is not None)
    desks = [Desk(book, 0, *setting) for book in BOOKS]
    for move in moves:
        if isinstance(move, Order) and move is not first:
            continue
        for desk in desks:
            play(desk, [move])
        filled = [sum(desk.filled.values()) for desk in desks]
        assert filled == sorted(filled, reverse=True)


@given(streams(orders(may_reduce=False)), SETTINGS)
@settings(max_examples=70, deadline=None)
def test_no_order_is_filled_less_in_the_optimistic_book(
    moves: list[Any], setting: tuple[str, int]
) -> None:
    optimistic, neutral, pessimistic = (Desk(book, 0, *setting) for book in BOOKS)
    for move in moves:
        for desk in (optimistic, neutral, pessimistic):
            play(desk, [move])
        for desk in (neutral, pessimistic):
            for name, filled in desk.filled.items():
                assert optimistic.filled.get(name, 0) >= filled


@given(streams(orders()), SETTINGS, st.sampled_from(BOOKS), st.data())
@settings(max_examples=70, deadline=None)
def test_how_events_are_grouped_does_not_matter(
    moves: list[Any], setting: tuple[str, int], book: str, data: st.DataObject
) -> None:
    plain, ticked = Desk(book, 5, *setting), Desk(book, 5, *setting)
    for move in moves:
        play(plain, [move])
        if not isinstance(move, Order) and data.draw(st.booleans()):
            ticked.on_time(move.received_ns // MS)
        play(ticked, [move])
    assert plain.matches == ticked.matches
    assert plain.triggered_ns == ticked.triggered_ns


def came_back(moves: list[Any], desk: Desk) -> bool:
    """Whether the touch moved past a price that was taken: that a restart cannot know."""
    for fill in desk.fills:
        if fill.evidence.kind is EvidenceKind.QUOTE:
            later = [
                each.ask_nano if fill.side == "buy" else each.bid_nano
                for each in moves
                if isinstance(each, Quote) and each.received_ns >= fill.evidence.received_ns
            ]
            sign = 1 if fill.side == "buy" else -1
            if any(price and sign * (price - fill.evidence.price_nano) > 0 for price in later):
                return True
    return False


@given(streams(orders(), 8), SETTINGS, st.sampled_from(BOOKS), st.data())
@settings(max_examples=120, deadline=None)
def test_a_restart_in_the_middle_gives_the_same_fills(
    moves: list[Any], setting: tuple[str, int], book: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(1, len(moves) - 1))
    plain, restarted = Desk(book, 5, *setting), Desk(book, 5, *setting)
    play(restarted, moves[:at])
    assume(not came_back(moves[:at], restarted))
    restarted.restart()
    play(restarted, moves[at:])
    play(plain, moves)
    assert plain.matches == restarted.matches
    assert plain.ended == restarted.ended
