"""The figures of a portfolio's performance, and of those that are undefined, why.

Owns their names and the sentences; ``performance`` works them out.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

RETURNS_MIN: Final = 10
"""With fewer daily returns nothing is annualised: the first day and today's are parts of days, and
a year made of a few of them says more of the hours than of the trading."""


class Performance(msgspec.Struct, frozen=True):
    """Figures since the portfolio was made; fractions, not percent."""

    annual_days: int
    """N: how many daily returns make a year."""
    days: int
    """Daily returns there are, today's so far included."""
    total_return: float | None
    cagr: float | None
    """Compound annual growth."""
    volatility: float | None
    """Standard deviation of the daily returns, ddof 1, times √N."""
    sharpe: float | None
    sortino: float | None
    max_drawdown: float
    """At any event, not at the ends of days: 0 or less."""
    calmar: float | None
    """``cagr`` over the size of the drawdown."""
    round_trips: int
    wins: int
    losses: int
    breakevens: int
    win_rate: float | None
    """Wins of wins and losses; breakevens are apart."""
    profit_factor: float | None
    """What the wins brought for each unit that the losses cost."""
    expectancy: Decimal | None
    """Mean profit of a round trip, net of fees, rounded to 18 places."""
    undefined: dict[str, str] = {}
    """Of each figure that is None: why, as half a sentence."""


def why_undefined(found: Performance, lowest: Decimal) -> dict[str, str]:
    """Of each figure that is None; ``lowest`` is the least equity at an end of a day."""
    few = f"fewer than {RETURNS_MIN} daily returns: {found.days}"
    lost = "nothing was left to return on" if lowest <= 0 else ""
    if found.days < RETURNS_MIN:
        lost = few
    growth = lost or "it is more than a number can say"
    no_trip = "" if found.round_trips else "no round trip has ended"
    reasons = {
        "total_return": "no equity is known yet",
        "cagr": growth,
        "volatility": lost,
        "sharpe": lost or "the daily returns do not vary",
        "sortino": lost or "no daily return is below the target",
        "calmar": growth if found.cagr is None else "there was no drawdown",
        "win_rate": no_trip or "every round trip broke even",
        "profit_factor": no_trip or "no round trip lost",
        "expectancy": no_trip,
    }
    return {name: why for name, why in reasons.items() if getattr(found, name) is None}
