"""Small hostile streams: at every event, every metric is what exact fractions say.

Ties, floods at one moment, silences that empty a window, bad ticks, and trades that come late by
anything from a nanosecond to more than the longest window.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
from brute_force import Print, S, session_vwap, volatility, window
from hypothesis import given, settings
from hypothesis import strategies as st

from market_engine.analytics.symbol import AnalyticsConfig, SymbolAnalytics
from market_engine.events import Trade

WINDOWS_S = (2, 5, 20)
START_NS = 1_700_006_390 * S  # ten seconds before a midnight
EXACT = ("volume", "high", "low", "range", "last")
CLOSE = ("vwap", "vwap_deviation", "drawdown")

steps_ns = st.sampled_from([0, 0, 1, 999_999, S // 3, S - 1, S, S + 1, 2 * S, 5 * S, 21 * S])
late_ns = st.sampled_from([0, 0, 0, 0, 1, S // 2, S, 4 * S, 19 * S, 20 * S - 1, 20 * S, 30 * S])
prices = st.one_of(
    st.integers(99 * S, 101 * S), st.sampled_from([1, 10**15 * S - 1, 100 * S, 100 * S])
)
quantities = st.sampled_from([1, S // 1000, S, 3 * S, 10**12 * S])


@st.composite
def streams(draw: st.DrawFn) -> list[Print]:
    now_ns, prints = START_NS, []
    for number in range(draw(st.integers(1, 90))):
        now_ns += draw(steps_ns)
        prints.append(Print(now_ns - draw(late_ns), 1_000 + number, draw(prices), draw(quantities)))
    if draw(st.booleans()):  # ids need not come in order
        prints = [p._replace(trade_id=2_000 - p.trade_id) for p in prints]
    return prints


def trade(each: Print) -> Trade:
    return Trade(
        "test", "X", each.price, each.qty, "buy", each.trade_id, each.event_ns, each.event_ns
    )


def same(value: float | None, wanted: float | None, rel: float = 1e-9) -> bool:
    if value is None or wanted is None:
        return value is wanted
    return value == pytest.approx(wanted, rel=rel)


@settings(max_examples=150)
@given(streams())
def test_every_metric_at_every_event_is_what_exact_fractions_say(prints: list[Print]) -> None:
    analytics = SymbolAnalytics("X", AnalyticsConfig(windows_s=WINDOWS_S))
    kept: list[Print] = []
    newest_ns = 0
    for each in prints:
        analytics.add(trade(each))
        newest_ns = max(newest_ns, each.event_ns)
        if each.event_ns > newest_ns - WINDOWS_S[-1] * S:
            kept.append(each)
        found = analytics.metrics()
        assert found is not None
        assert found.as_of_ns == newest_ns
        for measured, window_s in zip(found.windows, WINDOWS_S, strict=True):
            wanted = window(kept, newest_ns, window_s)
            assert measured.trades == wanted["trades"]
            for name in EXACT:
                value = getattr(measured, f"{name}_nano")
                assert (None if value is None else Fraction(value, S)) == wanted.get(name), name
            for name in CLOSE:
                assert same(getattr(measured, name), wanted.get(name)), name
    assert analytics.too_late == len(prints) - len(kept)


@settings(max_examples=60)
@given(streams())
def test_volatility_and_session_at_every_event_are_what_their_definitions_say(
    prints: list[Print],
) -> None:
    analytics = SymbolAnalytics("X", AnalyticsConfig(windows_s=WINDOWS_S))
    kept: list[Print] = []
    newest_ns = 0
    session: list[Print] = []
    for each in prints:
        analytics.add(trade(each))
        newest_ns = max(newest_ns, each.event_ns)
        if each.event_ns > newest_ns - WINDOWS_S[-1] * S:
            kept.append(each)
        session.append(each)
        found = analytics.metrics()
        assert found is not None
        assert same(found.session_vwap, session_vwap(session, newest_ns), rel=1e-12)
        for measured, window_s in zip(found.windows, WINDOWS_S, strict=True):
            wanted = volatility(kept, newest_ns, window_s)
            assert same(measured.volatility, wanted)


@settings(max_examples=60)
@given(streams(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_no_digit(prints: list[Print], random) -> None:
    """Where nothing is too late: the last trade of all is put first, so that nothing is dropped."""
    newest = max(prints)
    within = [p for p in prints if p.event_ns > newest.event_ns - WINDOWS_S[-1] * S]
    shuffled = list(within)
    random.shuffle(shuffled)
    found = []
    for order in (within, shuffled):
        analytics = SymbolAnalytics("X", AnalyticsConfig(windows_s=WINDOWS_S))
        for each in order:
            analytics.add(trade(each))
        metrics = analytics.metrics()
        assert metrics is not None
        found.append((metrics.price_nano, metrics.windows))
    assert found[0] == found[1]
