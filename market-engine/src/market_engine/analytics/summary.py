"""What a stretch of trades amounts to, so that the summaries of two neighbours can be merged.

All sums are of integers, so they are exact: no order, no merge and no restart changes a digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import mul, truediv

import msgspec


class Summary(msgspec.Struct, frozen=True, gc=False):
    """Of at least one trade, in the order of their events; prices and quantities in billionths."""

    trades: int
    qty_nano: int
    notional: int
    """Σpq, in 10⁻¹⁸."""
    square: int
    """Σp²q, in 10⁻²⁷."""
    high_nano: int
    low_nano: int
    last_nano: int
    drawdown: float
    """The largest fall from a price to a later one, as a fraction from −1 to 0."""


def summarise(prices: Sequence[int], quantities: Sequence[int]) -> Summary:
    """Of trades in the order of their events; at least one."""
    notionals = list(map(mul, prices, quantities))
    high, low = max(prices), min(prices)
    return Summary(
        len(prices),
        sum(quantities),
        sum(notionals),
        sum(map(mul, notionals, prices)),
        high,
        low,
        prices[-1],
        min(map(truediv, prices, accumulate(prices, max))) - 1 if low < high else 0.0,
    )


def merge(earlier: Summary, later: Summary) -> Summary:
    """Of two neighbouring stretches; written out, because it is the inner loop of the windows."""
    high, low, fall = earlier.high_nano, earlier.low_nano, earlier.drawdown
    across = later.low_nano / high - 1
    if across < fall:  # noqa: PLR1730 - min() costs three times as much
        fall = across
    if later.drawdown < fall:  # noqa: PLR1730
        fall = later.drawdown
    return Summary(
        earlier.trades + later.trades,
        earlier.qty_nano + later.qty_nano,
        earlier.notional + later.notional,
        earlier.square + later.square,
        later.high_nano if later.high_nano > high else high,
        later.low_nano if later.low_nano < low else low,
        later.last_nano,
        fall,
    )
