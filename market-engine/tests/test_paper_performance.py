"""The figures agree with empyrical and with formulas written anew, and are null where undefined."""

from __future__ import annotations

import math
import statistics
from decimal import Decimal

import empyrical
import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from market_engine.paper.account import PortfolioAccount
from market_engine.paper.model import BookName, Evidence, EvidenceKind, Fill, Mark, Portfolio
from market_engine.paper.performance import daily_equities, performance
from market_engine.paper.round_trips import RoundTrip

DAY_NS = 86_400 * 10**9
START_NS = 20_000 * DAY_NS
PRINT = Evidence(EvidenceKind.PRINT, 0, 0, 1, 1, 0)
ALL_IN = Fill(
    1, BookName.NEUTRAL, "main", "o", 1, 1, "BTC", "buy", 10**12, 10**9, Decimal(0), False, 1, PRINT
)  # fmt: skip
"""One for all the balance."""
STILL = [1_020] * 7
UP = [Decimal(1_010) * Decimal("1.01") ** day for day in range(12)]
"""The same return each day, exactly."""
RATIOS = ("cagr", "volatility", "sharpe", "sortino", "calmar")


def a_portfolio(annual_days=365, balance=1_000) -> Portfolio:
    return Portfolio("main", "USDT", Decimal(balance), START_NS, annual_days)


def daily(*equities, has_weekends=True) -> list[tuple[int, Decimal]]:
    """One a day, somewhen in it; from a Friday on, or Monday to Friday alone."""
    days = range(len(equities))
    if not has_weekends:
        days = [3 + day // 5 * 7 + day % 5 for day in days]
    return [
        (START_NS + day * DAY_NS + day * 7_919, Decimal(each))
        for day, each in zip(days, equities, strict=True)
    ]


def figures(*equities, annual_days=365, max_drawdown=0.0, **options):
    portfolio = a_portfolio(annual_days)
    course = daily(*equities, has_weekends=annual_days >= 365)
    return performance(portfolio, course, max_drawdown, [], **options)


def a_trip(profit) -> RoundTrip:
    return RoundTrip("BTC", 1, 2, "buy", 1, Decimal(profit), Decimal(0), 2)


def of_trips(*profits):
    return performance(a_portfolio(), [], 0.0, [a_trip(profit) for profit in profits])


def agrees(found, oracle) -> bool:
    return math.isclose(found, oracle, rel_tol=1e-9, abs_tol=1e-9)


courses = st.lists(st.integers(20_000, 500_000), min_size=10, max_size=60)
years = st.sampled_from([252, 365])


@settings(max_examples=150)
@given(courses, years, st.sampled_from([0.0, 0.03]), st.sampled_from([0.0, 0.0004]))
def test_all_ratios_are_those_of_empyrical(cents, annual_days, risk_free, target):
    equities = [Decimal(each) / 100 for each in cents]
    path = np.array([1_000.0, *map(float, equities)])
    returns = path[1:] / path[:-1] - 1
    assume(np.std(returns, ddof=1) > 1e-6)
    drawdown = float(empyrical.max_drawdown(returns))
    assume(drawdown < 0)
    assume((returns < target).any())
    found = figures(
        *equities,
        annual_days=annual_days, max_drawdown=drawdown, risk_free=risk_free, target=target,
    )  # fmt: skip
    year = {"annualization": annual_days}
    assert found.annual_days == annual_days
    assert found.days == len(cents)
    assert agrees(found.total_return, empyrical.cum_returns_final(returns))
    assert agrees(found.volatility, empyrical.annual_volatility(returns, **year))
    sharpe = empyrical.sharpe_ratio(returns, risk_free=risk_free / annual_days, **year)
    assert agrees(found.sharpe, sharpe)
    sortino = empyrical.sortino_ratio(returns, required_return=target, **year)
    assert agrees(found.sortino, sortino)
    growth = empyrical.cagr(returns, **year)
    if math.isfinite(growth):
        assert agrees(found.cagr, growth)
        assert agrees(found.calmar, empyrical.calmar_ratio(returns, **year))


@given(courses)
def test_the_drawdown_of_the_ends_of_days_is_that_of_empyrical(cents):
    account = PortfolioAccount(a_portfolio())
    account.open()
    account.fill(ALL_IN)
    for each in cents:
        account.mark("BTC", Mark(each * 10**7, "bid", 0, is_stale=False))
    path = np.array([1_000.0, *(each / 100 for each in cents)])
    assert agrees(account.max_drawdown, empyrical.max_drawdown(path[1:] / path[:-1] - 1))


def test_the_ratios_of_ten_days_are_those_of_a_calculation_by_hand():
    found = figures(1_010, 1_000, 1_020, *STILL, max_drawdown=-0.02, annual_days=252)
    returns = [0.01, 1_000 / 1_010 - 1, 0.02, *[0.0] * 7]
    assert agrees(found.volatility, statistics.stdev(returns) * 252**0.5)
    mean = statistics.mean(returns)
    assert agrees(found.sharpe, 252**0.5 * mean / statistics.stdev(returns))
    assert agrees(found.sortino, 252**0.5 * mean / (returns[1] ** 2 / 10) ** 0.5)
    assert agrees(found.cagr, 1.02 ** (252 / 10) - 1)
    assert agrees(found.calmar, found.cagr / 0.02)


def test_the_last_equity_of_each_utc_day_counts_and_the_balance_is_point_0():
    equities = [
        (START_NS, Decimal(5)),
        (START_NS + DAY_NS - 1, Decimal(6)),
        (START_NS + DAY_NS, Decimal(7)),
        (START_NS + DAY_NS + 1, Decimal(8)),
    ]
    assert daily_equities(a_portfolio(), equities) == [1_000, 6, 8]


def test_a_day_without_an_equity_has_that_of_the_day_before_where_all_days_trade():
    equities = [(START_NS, Decimal(5)), (START_NS + 3 * DAY_NS, Decimal(8))]
    assert daily_equities(a_portfolio(365), equities) == [1_000, 5, 5, 5, 8]
    assert daily_equities(a_portfolio(252), equities) == [1_000, 5, 8]


def test_days_count_from_the_one_on_which_the_portfolio_was_made():
    equities = [(START_NS + 5 * DAY_NS, Decimal(990)), (START_NS + 6 * DAY_NS, Decimal(995))]
    assert daily_equities(a_portfolio(365), equities) == [*[1_000] * 6, 990, 995]
    assert performance(a_portfolio(365), equities, 0.0, []).days == 7
    assert daily_equities(a_portfolio(252), equities) == [1_000, 990, 995]


def test_a_portfolio_of_two_minutes_over_midnight_has_no_year():
    portfolio = msgspec.structs.replace(a_portfolio(), created_ns=START_NS - 60 * 10**9)
    equities = [(START_NS - 30 * 10**9, Decimal(1_001)), (START_NS + 60 * 10**9, Decimal(1_012))]
    found = performance(portfolio, equities, -0.001, [])
    assert [getattr(found, name) for name in RATIOS] == [None] * 5
    assert agrees(found.total_return, 0.012)
    assert set(found.undefined) == {*RATIOS, "win_rate", "profit_factor", "expectancy"}


def test_every_figure_that_is_null_says_why_and_no_other():
    for found in (figures(), figures(*UP), of_trips(3, -1), figures(*UP, max_drawdown=-0.5)):
        nulls = {name for name, value in msgspec.structs.asdict(found).items() if value is None}
        assert set(found.undefined) == nulls


def test_nothing_is_annualised_with_fewer_than_ten_returns():
    for found in (
        figures(),
        figures(1_100, max_drawdown=-0.1),
        figures(*UP[:9], max_drawdown=-0.1),
    ):
        assert [getattr(found, name) for name in RATIOS] == [None] * 5
        assert found.undefined["sharpe"] == f"fewer than 10 daily returns: {found.days}"
    assert figures(*UP[:10], max_drawdown=-0.1).cagr is not None
    assert figures().total_return is None
    assert agrees(figures(1_100).total_return, 0.1)


def test_sharpe_is_null_where_nothing_varies():
    for found in (figures(*[1_000] * 10), figures(*UP[:10])):
        assert found.sharpe is None
        assert found.volatility == 0
        assert found.cagr is not None


@pytest.mark.parametrize("tenths", [11, 12, 13, 17])
def test_sharpe_is_null_where_a_mean_of_equal_returns_is_a_float_off(tenths):
    for days in range(10, 60):
        found = figures(*(f"{tenths**day}e{3 - day}" for day in range(1, days + 1)))
        assert (found.sharpe, found.volatility) == (None, 0)


def test_sortino_is_null_where_no_return_is_below_the_target():
    assert figures(*UP).sortino is None
    assert figures(*UP).undefined["sortino"] == "no daily return is below the target"
    assert figures(*UP, target=0.02).sortino is not None


def test_calmar_is_null_without_a_drawdown():
    assert figures(*UP).undefined["calmar"] == "there was no drawdown"
    assert figures(*UP).calmar is None
    assert figures(*UP, max_drawdown=-0.5).calmar is not None


@pytest.mark.parametrize("last", [0, -50])
def test_after_a_total_loss_there_is_no_growth_and_after_it_no_return(last):
    found = figures(*[900] * 9, last, max_drawdown=-1.0)
    assert (found.cagr, found.calmar) == (None, None)
    assert agrees(found.total_return, last / 1_000 - 1)
    assert found.sharpe is not None
    found = figures(*[900] * 9, last, 100, max_drawdown=-1.0)
    assert [getattr(found, name) for name in RATIOS] == [None] * 5
    assert [found.undefined[name] for name in RATIOS] == ["nothing was left to return on"] * 5


def test_a_growth_beyond_what_a_float_holds_is_null():
    found = figures(*(10 ** (30 + 10 * day) for day in range(10)), max_drawdown=-0.1)
    assert (found.cagr, found.calmar) == (None, None)


def test_the_win_rate_is_of_wins_and_losses_and_breakevens_are_apart():
    found = of_trips(10, -5, 0, 20, "0.00")
    assert (found.round_trips, found.wins, found.losses, found.breakevens) == (5, 2, 1, 2)
    assert found.win_rate == 2 / 3
    assert found.profit_factor == 6.0
    assert found.expectancy == 5


def test_what_has_no_trips_or_no_losses_is_null():
    assert (of_trips().win_rate, of_trips().profit_factor, of_trips().expectancy) == (None,) * 3
    assert of_trips().undefined["win_rate"] == "no round trip has ended"
    assert of_trips(0).win_rate is None
    assert of_trips(0).undefined["win_rate"] == "every round trip broke even"
    assert of_trips(3).undefined["profit_factor"] == "no round trip lost"
    assert of_trips(0).expectancy == 0
    assert of_trips(3).win_rate == 1.0
    assert of_trips(3).profit_factor is None
    assert of_trips(-3).profit_factor == 0.0


def test_the_expectancy_is_rounded_once_to_18_places():
    assert of_trips(1, 1, 0).expectancy == Decimal("0.666666666666666667")


@given(st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=50))
def test_figures_of_trips_are_those_of_a_count_by_hand(nanos):
    found = of_trips(*(Decimal(each).scaleb(-9) for each in nanos))
    gains, costs = (sum(max(sign * each, 0) for each in nanos) for sign in (1, -1))
    assert found.wins == sum(each > 0 for each in nanos)
    assert found.losses == sum(each < 0 for each in nanos)
    assert found.breakevens == nanos.count(0)
    if costs:
        assert agrees(found.profit_factor / (gains / costs) if gains else 1, 1)
    assert agrees(float(found.expectancy), sum(nanos) / len(nanos) / 1e9)


def test_weekends_do_not_count_where_markets_close_though_the_feed_goes_on_ticking():
    week = daily(1_010, 1_010, 1_010, 1_020, 1_030)  # Friday to Tuesday
    assert daily_equities(a_portfolio(252), week) == [1_000, 1_010, 1_020, 1_030]
    assert daily_equities(a_portfolio(364), week) == [1_000, 1_010, 1_020, 1_030]
    assert daily_equities(a_portfolio(365), week) == [1_000, 1_010, 1_010, 1_010, 1_020, 1_030]
    assert daily_equities(a_portfolio(252), week[1:3]) == [1_000]
    moved = daily(1_010, 900, 800, 1_020)
    assert performance(a_portfolio(252), moved, 0.0, []).days == 2
