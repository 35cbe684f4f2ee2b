"""What every metric must be, from all trades that came, in exact fractions: slow, and obvious."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any, NamedTuple

S = 1_000_000_000


class Print(NamedTuple):
    """A trade by event time and id, its price and quantity in billionths."""

    event_ns: int
    trade_id: int
    price: int
    qty: int


def window(prints: list[Print], as_of_ns: int, window_s: int) -> dict[str, Any]:
    """Over (as_of − window, as_of], of trades in any order."""
    found = sorted(p for p in prints if as_of_ns - window_s * S < p.event_ns <= as_of_ns)
    if not found:
        return {"trades": 0, "volume": Fraction(0), "vwap": None, "high": None, "low": None}
    volume = sum(p.qty for p in found)
    vwap = Fraction(sum(p.price * p.qty for p in found), volume)
    variance = sum(p.qty * (p.price - vwap) ** 2 for p in found) / volume
    last = found[-1].price
    falls = [Fraction(b.price, a.price) - 1 for i, a in enumerate(found) for b in found[i:]]
    return {
        "trades": len(found),
        "volume": Fraction(volume, S),
        "vwap": float(vwap / S),
        "high": Fraction(max(p.price for p in found), S),
        "low": Fraction(min(p.price for p in found), S),
        "range": Fraction(max(p.price for p in found) - min(p.price for p in found), S),
        "last": Fraction(last, S),
        "vwap_deviation": float(last - vwap) / math.sqrt(variance) if variance else None,
        "drawdown": float(min(falls)),
    }


def volatility(prints: list[Print], as_of_ns: int, window_s: int) -> float | None:
    """On the grid of whole seconds, price by price, each carried from the trade before it."""
    until = as_of_ns // S
    grid = []
    for second in range(until - window_s, until + 1):
        before = [p for p in prints if p.event_ns <= second * S]
        if not before:
            return None
        grid.append(max(before).price)
    squares = [math.log(b / a) ** 2 for a, b in itertools.pairwise(grid)]
    return math.sqrt(math.fsum(squares) * 31_536_000 / window_s)


def session_vwap(prints: list[Print], as_of_ns: int) -> float | None:
    """Since 00:00 UTC of the day of a moment."""
    day = as_of_ns // (86_400 * S)
    found = [p for p in prints if p.event_ns // (86_400 * S) == day]
    if not found:
        return None
    return float(Fraction(sum(p.price * p.qty for p in found), sum(p.qty for p in found)) / S)
