"""How a portfolio did, in the usual figures: of its daily returns, and of its round trips.

Pure functions; the formulas are those of the design. What is undefined is None, never 0. Ratios
are floats, money stays exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Final

import msgspec

from market_engine.paper.model import Portfolio
from market_engine.paper.money import ZERO, add, share
from market_engine.paper.round_trips import RoundTrip
from market_engine.paper.undefined import RETURNS_MIN, Performance, why_undefined

DAY_NS: Final = 86_400 * 10**9
ALL_DAYS: Final = 365
DAYS_OF_WEEK: Final = 7
WEEKEND: Final = (2, 3)


def performance(
    portfolio: Portfolio,
    equities: Sequence[tuple[int, Decimal]],
    max_drawdown: float,
    trips: Sequence[RoundTrip],
    risk_free: float = 0.0,
    target: float = 0.0,
) -> Performance:
    """All figures.

    ``equities`` are (ns, equity), oldest first; ``risk_free`` is a year's return, ``target`` a
    day's.
    """
    days = daily_equities(portfolio, equities)
    returns = daily_returns(days)
    annual_days = portfolio.annual_days
    growth = cagr(days, annual_days)
    deviation = standard_deviation(returns)
    wins = [trip.profit for trip in trips if trip.profit > 0]
    losses = [trip.profit for trip in trips if trip.profit < 0]
    found = Performance(
        annual_days,
        len(days) - 1,
        total_return(days),
        growth,
        None if deviation is None else deviation * math.sqrt(annual_days),
        sharpe(returns, annual_days, risk_free),
        sortino(returns, annual_days, target),
        max_drawdown,
        None if growth is None or not max_drawdown else growth / abs(max_drawdown),
        len(trips),
        len(wins),
        len(losses),
        len(trips) - len(wins) - len(losses),
        len(wins) / (len(wins) + len(losses)) if wins or losses else None,
        float(Fraction(_total(wins)) / -Fraction(_total(losses))) if losses else None,
        share(_total([trip.profit for trip in trips]), 1, len(trips)) if trips else None,
    )
    return msgspec.structs.replace(found, undefined=why_undefined(found, min(days)))


def daily_equities(portfolio: Portfolio, equities: Sequence[tuple[int, Decimal]]) -> list[Decimal]:
    """The balance it began with, then the last equity of each UTC day.

    A day without any has that of the day before where the year has 365 days, from the day on which
    the portfolio was made. Where it has fewer, markets close on some: the day is left out, and so
    is each Saturday and Sunday (UTC), on which a feed may go on ticking. What such a day moved is
    in the return of the next that counts.
    """
    last: dict[int, Decimal] = {}
    is_every_day = portfolio.annual_days >= ALL_DAYS
    for at_ns, equity in equities:
        day = at_ns // DAY_NS
        if is_every_day or not _is_weekend(day):
            last[day] = equity
    found = [portfolio.balance]
    before = portfolio.created_ns // DAY_NS - 1
    for day, equity in last.items():
        if is_every_day:
            found += found[-1:] * (day - before - 1)
        found.append(equity)
        before = day
    return found


def _is_weekend(day: int) -> bool:
    """Whether a day since 1970 is a Saturday or a Sunday; day 0 was a Thursday."""
    return day % DAYS_OF_WEEK in WEEKEND


def daily_returns(days: Sequence[Decimal]) -> list[float] | None:
    """Each rounded once from the exact ratio; None where there was nothing left to return on."""
    if any(equity <= 0 for equity in days[:-1]):
        return None
    return [float(Fraction(after) / Fraction(before) - 1) for before, after in pairwise(days)]


def total_return(days: Sequence[Decimal]) -> float | None:
    """Of the last equity over the first."""
    if len(days) < 2 or days[0] <= 0:
        return None
    return float(Fraction(days[-1]) / Fraction(days[0]) - 1)


def cagr(days: Sequence[Decimal], annual_days: int) -> float | None:
    """(last / first) ^ (N / returns) − 1; None after a total loss, or beyond what a float holds."""
    count = len(days) - 1
    if count < RETURNS_MIN or min(days) <= 0:
        return None
    try:
        return math.expm1(annual_days / count * math.log(Fraction(days[-1]) / Fraction(days[0])))
    except OverflowError:
        return None


def standard_deviation(returns: Sequence[float] | None) -> float | None:
    """With ddof 1; exactly 0 where all are equal."""
    if returns is None or len(returns) < RETURNS_MIN:
        return None
    if min(returns) == max(returns):
        return 0.0
    mean = math.fsum(returns) / len(returns)
    squares = math.fsum((each - mean) ** 2 for each in returns)
    return math.sqrt(squares / (len(returns) - 1))


def sharpe(
    returns: Sequence[float] | None, annual_days: int, risk_free: float = 0.0
) -> float | None:
    """√N · mean(r − rf/N) / std(r, ddof 1); None where nothing varies."""
    deviation = standard_deviation(returns)
    if not returns or not deviation:
        return None
    excess = math.fsum(each - risk_free / annual_days for each in returns) / len(returns)
    return math.sqrt(annual_days) * excess / deviation


def sortino(returns: Sequence[float] | None, annual_days: int, target: float = 0.0) -> float | None:
    """√N · mean(r − t) / √mean(min(r − t, 0)²); None where no return is below the target."""
    if returns is None or len(returns) < RETURNS_MIN:
        return None
    over = [each - target for each in returns]
    squares = math.fsum(min(each, 0.0) ** 2 for each in over) / len(over)
    if not squares:
        return None
    return math.sqrt(annual_days) * (math.fsum(over) / len(over)) / math.sqrt(squares)


def _total(amounts: Sequence[Decimal]) -> Decimal:
    total = ZERO
    for amount in amounts:
        total = add(total, amount)
    return total
