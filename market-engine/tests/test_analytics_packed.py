"""Busy times, in which old trades are packed: nothing that is asked for changes by it."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_analytics_day import compare

from market_engine.analytics.packing import ID_BITS, pack, unpack
from market_engine.analytics.symbol import AnalyticsConfig, SymbolAnalytics
from market_engine.decimals import NANO
from market_engine.events import Trade

S = 1_000_000_000
START_NS = 1_790_035_200 * S
WINDOWS_S = (2, 5, 20)
numbers = st.integers(0, 2**63 - 1)
rows = st.lists(st.tuples(numbers, numbers, numbers, numbers), min_size=1, max_size=50)


@given(rows)
def test_what_is_packed_comes_out_again_or_is_not_packed(found):
    given_rows = [(at_ns << ID_BITS | order, p, q) for at_ns, order, p, q in found]
    packed = pack(given_rows)
    assert packed is None or unpack(packed) == given_rows


def test_prices_beyond_64_bits_are_left_as_they_are():
    assert pack([(1, 2**64, 1), (2, 1, 1)]) is None
    assert pack([(1, 1, 2**63)]) is None


@pytest.mark.parametrize("seed", [1, 2])
def test_busy_times_with_late_trades_are_what_numpy_says(seed):
    choose = random.Random(seed)
    analytics = SymbolAnalytics("X", AnalyticsConfig(windows_s=WINDOWS_S))
    now_ns, price, times, prices, quantities = START_NS, 64_000 * 100, [], [], []
    for number in range(24_000):
        now_ns += choose.randrange(3_000_000)
        price += choose.choice((-1, 0, 1))
        late_ns = choose.choices((0, choose.randrange(3 * S), choose.randrange(18 * S)), (96, 3, 1))
        times.append(now_ns - late_ns[0])
        prices.append(price / 100)
        quantities.append(choose.randrange(1, 10**6) / 1_000)
        analytics.add(
            Trade(
                "t", "X", price * NANO // 100, round(quantities[-1] * NANO), "buy", number,
                times[-1], now_ns,
            )
        )  # fmt: skip
        if number % 400 == 399:
            metrics = analytics.metrics()
            assert metrics is not None
            t, p, q = np.array(times), np.array(prices), np.array(quantities)
            for window, window_s in zip(metrics.windows, WINDOWS_S, strict=True):
                inside = t > metrics.as_of_ns - window_s * S
                order = np.lexsort((np.arange(len(t))[inside], t[inside]))
                compare(window, p[inside][order], q[inside][order])


def test_an_hour_of_busy_times_takes_some_ten_bytes_a_trade():
    choose = random.Random(1)
    analytics = SymbolAnalytics("X", AnalyticsConfig())
    tracemalloc.start()
    try:
        for number in range(100_000):
            at_ns = START_NS + number * 1_200_000 // 1_000_000 * 1_000_000
            price_nano = (64_000_00 + choose.randrange(-50, 50)) * NANO // 100
            qty_nano = choose.randrange(1, 5_000) * 10_000
            analytics.add(Trade("t", "X", price_nano, qty_nano, "buy", number, at_ns, at_ns))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / 100_000 < 25
