"""The cost basis: what a fill does to a position, and that lots would have said the same."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_engine.paper.errors import LedgerError
from market_engine.paper.money import add, product, subtract
from market_engine.paper.positions import Position

ONE = 10**9


def position(*fills) -> Position:
    """Of (side, price, quantity), in whole units."""
    found = Position("BTCUSDT")
    for side, price, qty in fills:
        found.apply(side, price * ONE, qty * ONE)
    return found


def state(of: Position) -> tuple[int, Decimal, Decimal]:
    return of.qty_nano, of.cost, of.realised


class Lots:
    """First in, first out, in exact fractions; nothing is shared with the position."""

    def __init__(self) -> None:
        self.open: deque[list[int]] = deque()  # [signed quantity, price], the oldest first
        self.realised = Fraction(0)

    def take(self, side: str, price: int, qty: int) -> None:
        left = qty if side == "buy" else -qty
        while left and self.open and (self.open[0][0] > 0) is not (left > 0):
            lot = self.open[0]
            closed = min(abs(left), abs(lot[0]))
            sign = 1 if lot[0] > 0 else -1
            self.realised += Fraction(sign * closed * (price - lot[1]), 10**18)
            lot[0] -= sign * closed
            left += sign * closed
            if not lot[0]:
                self.open.popleft()
        if left:
            self.open.append([left, price])


def follow(fills) -> int:
    """Run both; wherever flat they must agree. How often that was."""
    lots, held, flat = Lots(), Position("BTCUSDT"), 0
    for side, price, qty in fills:
        lots.take(side, price, qty)
        held.apply(side, price, qty)
        if not lots.open:
            flat += 1
            assert held.qty_nano == 0
            assert held.cost == 0
            assert Fraction(held.realised) == lots.realised
    return flat


sides = st.sampled_from(["buy", "sell"])
small = st.lists(
    st.tuples(sides, st.integers(1, 20).map(ONE.__mul__), st.integers(1, 4).map(ONE.__mul__)),
    max_size=40,
)
odd = st.lists(
    st.tuples(sides, st.integers(1, 10**14), st.integers(1, 10**12)), min_size=1, max_size=30
)


def closed(fills):
    """The same fills, and one that makes them flat."""
    held = sum(qty if side == "buy" else -qty for side, _, qty in fills)
    if held:
        fills = [*fills, ("sell" if held > 0 else "buy", 123_456_789_123, abs(held))]
    return fills


def test_buying_more_adds_to_the_cost():
    assert state(position(("buy", 100, 2), ("buy", 130, 1))) == (3 * ONE, 330, 0)


def test_selling_a_part_takes_its_share_of_the_cost_and_realises_the_rest():
    held = position(("buy", 100, 2), ("buy", 130, 1), ("sell", 120, 1))
    assert state(held) == (2 * ONE, 220, 10)


def test_a_short_costs_a_negative_amount_and_gains_when_bought_back_lower():
    held = position(("sell", 100, 3))
    assert state(held) == (-3 * ONE, -300, 0)
    held.apply("buy", 90 * ONE, ONE)
    assert state(held) == (-2 * ONE, -200, 10)


def test_a_flip_closes_all_there_is_and_opens_the_rest_at_the_fills_price():
    held = position(("buy", 100, 2), ("sell", 110, 5))
    assert state(held) == (-3 * ONE, -330, 20)
    held.apply("buy", 100 * ONE, 4 * ONE)
    assert state(held) == (ONE, 100, 50)


def test_closing_all_leaves_no_cost_although_a_share_was_rounded():
    held = position(("buy", 10, 3))
    held.apply("buy", 1, 1)  # a cost that three does not divide
    held.apply("sell", 11 * ONE, ONE)
    held.apply("sell", 11 * ONE, ONE)
    assert held.cost > 0
    held.apply("sell", 11 * ONE, held.qty_nano)
    assert held.qty_nano == 0
    assert held.cost == 0


def test_a_share_of_the_cost_is_rounded_once_half_to_even():
    held = Position("X")
    held.apply("buy", 1, 1)
    held.apply("buy", 2, 1)
    assert held.apply("sell", 5, 1).realised_change == Decimal("3E-18")  # 1.5 becomes 2
    held = Position("X")
    held.apply("buy", 2, 1)
    held.apply("buy", 3, 1)
    assert held.apply("sell", 5, 1).realised_change == Decimal("3E-18")  # 2.5 becomes 2


@pytest.mark.parametrize(("price_nano", "qty_nano"), [(0, 1), (1, 0), (-1, 1), (1, -1)])
def test_a_quantity_or_price_that_is_not_above_0_is_refused_and_changes_nothing(
    price_nano, qty_nano
):
    held = position(("buy", 100, 2))
    before = state(held)
    with pytest.raises(LedgerError, match="above 0"):
        held.apply("sell", price_nano, qty_nano)
    assert state(held) == before


@given(odd)
def test_cash_and_cost_less_what_is_realised_add_up_to_0_after_every_fill(fills):
    held = Position("X")
    for side, price, qty in fills:
        before = state(held)
        change = held.apply(side, price, qty)
        total = subtract(add(change.cash_change, change.cost_change), change.realised_change)
        assert total == 0
        assert change.cash_change == product(price, qty if side == "sell" else -qty)
        assert held.cost == add(before[1], change.cost_change)
        assert held.qty_nano == before[0] + (qty if side == "buy" else -qty)
        assert (held.cost > 0) is (held.qty_nano > 0)


@settings(max_examples=150)
@given(small)
def test_lots_first_in_first_out_realise_the_same_whenever_flat(fills):
    assert follow(closed(fills)) >= bool(fills)


@settings(max_examples=150)
@given(odd)
def test_lots_agree_whenever_flat_at_odd_prices_of_nine_digits(fills):
    assert follow(closed(fills)) >= 1
