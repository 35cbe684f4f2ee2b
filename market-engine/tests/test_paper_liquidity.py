"""What is remembered of a side of a quote: bounded, and never less than what is still taken."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from paper_matching_parts import quote

from market_engine.paper import liquidity
from market_engine.paper.liquidity import LEVELS_MAX, Displayed

SIZE = 10
MOVES = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3)), max_size=60)


def show(side: Displayed, price: int, at_ms: int = 1) -> None:
    side.show(price, SIZE, quote(price, price, at_ms))


def test_beyond_its_limit_the_farthest_prices_count_as_taken_until_the_touch_moves_past() -> None:
    side, first = Displayed(is_ask=True), 1_000
    for step in range(LEVELS_MAX + 5):
        show(side, first - 2 * step)
        side.take(step + 1, "")
    show(side, 100)
    show(side, first - 2 * 10)
    assert side.taken_nano == 11
    show(side, first - 3)
    assert side.taken_nano == 5, "between those that were forgotten: no less than any"
    show(side, first)
    assert side.taken_nano >= 1
    show(side, first + 1)
    assert side.taken_nano == 0
    show(side, first)
    assert side.taken_nano == 0


@given(MOVES, st.sampled_from(["ask", "bid"]), st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_no_less_is_remembered_than_all_levels_would_say_and_just_that_where_they_fit(
    moves: list[tuple[int, int]], name: str, levels_max: int
) -> None:
    is_ask = name == "ask"
    for limit in (LEVELS_MAX, levels_max):
        liquidity.LEVELS_MAX = limit  # type: ignore[misc]
        try:
            side, taken = Displayed(is_ask=is_ask), dict[int, int]()
            for price, qty in moves:
                show(side, price)
                passed = [p for p in taken if (p < price if is_ask else p > price)]
                for each in passed:
                    del taken[each]
                assert side.taken_nano >= taken.get(price, 0)
                assert limit < LEVELS_MAX or side.taken_nano == taken.get(price, 0)
                if qty:
                    side.take(qty, "")
                    taken[price] = taken.get(price, 0) + qty
        finally:
            liquidity.LEVELS_MAX = LEVELS_MAX  # type: ignore[misc]
