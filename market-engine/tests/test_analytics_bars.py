"""Bars, averages, crossings and spikes: what pandas says of the trades that came in time."""

from __future__ import annotations

import itertools
import random

import msgspec
import numpy as np
import pandas as pd
import pytest

from market_engine.analytics.averages import AverageConfig, Averages
from market_engine.analytics.bars import EMPTY_BARS_MAX, Bar
from market_engine.analytics.symbol import AnalyticsConfig, SymbolAnalytics
from market_engine.decimals import NANO
from market_engine.events import Candle, Trade

S = 1_000_000_000
START_NS = 1_700_000_000 * S
BAR_S, GRACE_S, N = 10, 2, 5
CONFIG = AnalyticsConfig(
    windows_s=(10,),
    bar_s=BAR_S,
    bar_grace_s=GRACE_S,
    averages=AverageConfig(sma_bars=N, ema_fast_bars=3, ema_slow_bars=7, spike_bars=N),
)


def stream(seed: int, count: int) -> list[Trade]:
    """Prices that wander, in ticks so that averages tie; silences, floods, and late ones."""
    choose = random.Random(seed)
    now_ns, price, trades = START_NS, 1_000, []
    for number in range(count):
        now_ns += choose.choices(
            (0, choose.randrange(S), choose.randrange(3 * S), 35 * S), (20, 60, 19, 1)
        )[0]
        price = max(price + choose.choice((-1, 0, 0, 1)), 1)
        late_ns = choose.choices((0, choose.randrange(2 * S), choose.randrange(30 * S)), (90, 8, 2))
        qty = choose.choice((1, 2, 5, 500)) * NANO // 10
        at_ns = now_ns - late_ns[0]
        trades.append(Trade("t", "X", price * NANO // 4, qty, "buy", number, at_ns, at_ns))
    return trades


def played(trades: list[Trade]) -> tuple[list[Bar], SymbolAnalytics]:
    analytics, bars = SymbolAnalytics("X", CONFIG), []
    for trade in trades:
        analytics.add(trade)
        bars += [closed.bar for closed in analytics.close_bars(analytics.clock_ns)]
    return bars, analytics


def expected(trades: list[Trade]) -> tuple[pd.DataFrame, int]:
    """By pandas: which trades were in time, the bars of those, and what follows from the bars."""
    table = pd.DataFrame(
        {
            "t": [t.event_ns for t in trades],
            "id": [t.trade_id for t in trades],
            "p": [t.price_nano / NANO for t in trades],
            "q": [t.qty_nano / NANO for t in trades],
        }
    )
    table["bar"] = table.t // (BAR_S * S) * BAR_S * S
    before = table.t.cummax().shift(1, fill_value=0)
    is_late = (before >= table.bar + (BAR_S + GRACE_S) * S) | (table.bar < table.bar.iloc[0])
    in_time = table[~is_late].sort_values(["t", "id"])
    last_bar = (table.t.max() - (BAR_S + GRACE_S) * S) // (BAR_S * S) * BAR_S * S
    starts = range(table.bar.iloc[0], last_bar + 1, BAR_S * S)
    by_bar = in_time.groupby("bar")
    bars = by_bar.p.agg(["first", "max", "min", "last"]).reindex(starts)
    bars["close"] = bars["last"].ffill()
    for name in ("first", "max", "min"):
        bars[name] = bars[name].fillna(bars.close)
    bars["volume"] = by_bar.q.sum().reindex(starts, fill_value=0.0)
    bars["trades"] = by_bar.q.count().reindex(starts, fill_value=0)
    bars["sma"] = bars.close.rolling(N).mean()
    bars["fast"] = bars.close.ewm(span=3, adjust=False).mean()
    bars["slow"] = bars.close.ewm(span=7, adjust=False).mean()
    prior = bars.volume.shift(1).rolling(N)
    # each window anew: the recurrence of rolling().std() is 2e-9 off after one large volume
    spread = prior.apply(lambda window: np.std(window, ddof=1), raw=True)
    bars["z"] = (bars.volume - prior.mean()) / spread.where(spread > 1e-9)
    return bars, int(is_late.sum())


@pytest.mark.parametrize("seed", range(5))
def test_bars_and_what_they_decide_are_what_pandas_says(seed):
    trades = stream(seed, 4_000)
    bars, analytics = played(trades)
    wanted, late = expected(trades)
    assert analytics.late_for_bar == late > 0
    assert [bar.start_ns for bar in bars] == list(wanted.index)
    for name, got in (
        ("first", [bar.open_nano / NANO for bar in bars]),
        ("max", [bar.high_nano / NANO for bar in bars]),
        ("min", [bar.low_nano / NANO for bar in bars]),
        ("close", [bar.close_nano / NANO for bar in bars]),
        ("trades", [bar.trades for bar in bars]),
    ):
        assert got == wanted[name].tolist(), name
    for name, got in (
        ("volume", [bar.volume_nano / NANO for bar in bars]),
        ("sma", [bar.averages.sma for bar in bars]),
        ("fast", [bar.averages.ema_fast for bar in bars]),
        ("slow", [bar.averages.ema_slow for bar in bars]),
        ("z", [bar.averages.volume_z for bar in bars]),
    ):
        found = np.array([np.nan if value is None else value for value in got], float)
        np.testing.assert_allclose(found, wanted[name].to_numpy(), rtol=1e-9, atol=1e-9)
    assert (wanted.trades == 0).any(), "no bar without trades"


@pytest.mark.parametrize("seed", range(5))
def test_a_crossing_is_told_where_the_sides_change_strictly(seed):
    bars, _ = played(stream(seed, 4_000))
    told = {bar.start_ns: bar.averages.crossing for bar in bars if bar.averages.crossing}
    sides = pd.Series(
        {b.start_ns: float(np.sign(b.averages.ema_fast - b.averages.ema_slow)) for b in bars}
    )
    strict = sides[sides != 0]
    changed = strict[strict.shift(1).notna() & (strict != strict.shift(1))]
    assert told == {at: "up" if side > 0 else "down" for at, side in changed.items()}
    assert len(told) > 5


def test_a_tie_is_no_crossing_and_the_next_strict_side_is_compared_with_the_one_before_it():
    averages = Averages(AverageConfig(ema_fast_bars=1, ema_slow_bars=3))
    closes = (4, 5, 4.5, 3, 2, 2)  # slow: 4, 4.5, 4.5, 3.75, 2.875, 2.4375
    found = [averages.take(int(close * NANO), NANO).crossing for close in closes]
    assert found == [None, None, None, "down", None, None]


def test_volumes_that_are_all_the_same_have_no_spike():
    averages = Averages(AverageConfig(spike_bars=3))
    for _ in range(3):
        assert averages.take(NANO, NANO).volume_z is None
    assert averages.take(NANO, 2 * NANO).volume_z is None, "σ of what came before is 0"
    assert averages.take(NANO, NANO).volume_z == pytest.approx((1 - 4 / 3) / (1 / 3) ** 0.5)


def test_after_a_silence_that_is_too_long_bars_begin_anew():
    trades = stream(1, 200)
    _, analytics = played(trades)
    later_ns = analytics.clock_ns + (EMPTY_BARS_MAX + 100) * BAR_S * S
    assert len(analytics.close_bars(later_ns)) < 10
    analytics.add(Trade("t", "X", NANO, NANO, "buy", 10**6, later_ns + BAR_S * S, later_ns))
    bars = [closed.bar for closed in analytics.close_bars(later_ns + 3 * BAR_S * S)]
    assert bars[0].start_ns >= later_ns
    assert bars[0].averages.ema_fast == 1.0
    assert bars[0].averages.sma is None


@pytest.mark.parametrize("cut", [1, 7, 60])
def test_bars_go_on_after_a_restart_as_if_there_had_been_none(cut):
    trades = stream(3, 2_000)
    whole, _ = played(trades)
    analytics = SymbolAnalytics("X", CONFIG)
    for bar in whole[:cut]:
        analytics.resume(bar)
    bars = []
    for trade in trades:  # what came for closed bars is late now, and changes nothing
        analytics.add(trade)
        bars += [closed.bar for closed in analytics.close_bars(analytics.clock_ns)]
    ends_ns = whole[cut - 1].start_ns + BAR_S * S
    in_time = [bar for bar in whole[cut:] if bar.start_ns > ends_ns + 60 * S]
    assert [bar for bar in bars if bar.start_ns > ends_ns + 60 * S] == in_time


def test_candles_of_a_venue_are_bars():
    trades = stream(4, 500)
    whole, _ = played(trades)
    analytics = SymbolAnalytics("X", CONFIG)
    bars = []
    for bar in whole:
        if bar.trades:
            candle = Candle(
                "t", "X", bar.start_ns, bar.span_ns, bar.open_nano, bar.high_nano, bar.low_nano,
                bar.close_nano, bar.volume_nano, bar.trades, bar.start_ns + bar.span_ns,
            )  # fmt: skip
            bars += [closed.bar for closed in analytics.take_candle(candle)]
    assert [(b.start_ns, b.close_nano, b.averages) for b in bars] == [
        (b.start_ns, b.close_nano, b.averages) for b in whole[: len(bars)]
    ]
    assert len(bars) > 20
    before = len(bars)
    assert analytics.take_candle(candle) == []
    assert len(bars) == before


def test_a_candle_that_does_not_say_its_turnover_leaves_the_session_unknown_after_a_restart_too():
    def candle(minute: int) -> Candle:
        open_ns = (START_NS // (BAR_S * S) + minute) * BAR_S * S
        return Candle(
            "t", "X", open_ns, BAR_S * S, 100 * NANO, 101 * NANO, 99 * NANO, 100 * NANO, 5 * NANO,
            3, open_ns + BAR_S * S,
        )  # fmt: skip

    live, again = SymbolAnalytics("X", CONFIG), SymbolAnalytics("X", CONFIG)
    for closed in [closed for n in range(3) for closed in live.take_candle(candle(n))]:
        again.resume(closed.bar)
    for analytics in (live, again):
        (closed,) = analytics.take_candle(candle(3))
        assert closed.bar.volume_nano
        assert closed.metrics.session_vwap is None


@pytest.mark.parametrize("cut", [30, 41, 42, 43, 44, 60])
def test_averages_begin_anew_at_the_same_bar_live_and_after_a_restart(cut):
    trades = stream(5, 3_000)
    away_ns = (EMPTY_BARS_MAX + 50) * BAR_S * S
    bars, _ = played(trades)
    middle_ns = bars[40].start_ns
    trades = [
        msgspec.structs.replace(t, event_ns=t.event_ns + away_ns * (t.event_ns > middle_ns))
        for t in trades
    ]
    whole, _ = played_as_a_pipeline_does(trades, SymbolAnalytics("X", CONFIG))
    assert len(whole) > 80
    assert max(b.start_ns - a.start_ns for a, b in itertools.pairwise(whole)) > away_ns
    again = SymbolAnalytics("X", CONFIG)
    for bar in whole[:cut]:
        again.resume(bar)
    rest = [t for t in trades if t.event_ns >= whole[cut].start_ns]
    in_time, _ = played_as_a_pipeline_does(rest, again)
    assert [(b.start_ns, b.averages.sma) for b in in_time][:25] == [
        (b.start_ns, b.averages.sma) for b in whole[cut:]
    ][:25]


def played_as_a_pipeline_does(
    trades: list[Trade], analytics: SymbolAnalytics
) -> tuple[list[Bar], SymbolAnalytics]:
    bars = []
    for trade in sorted(trades, key=lambda each: each.event_ns):
        bars += [closed.bar for closed in analytics.close_bars(trade.event_ns)]
        analytics.add(trade)
    return bars, analytics


def test_bars_that_are_ended_are_closed_at_once_and_no_time_that_was_not_watched_makes_any():
    analytics = SymbolAnalytics("X", CONFIG)
    begins_ns = START_NS // (BAR_S * S) * BAR_S * S
    for number, second in enumerate((1, 11, 52)):
        at_ns = begins_ns + second * S
        analytics.add(Trade("t", "X", NANO, NANO, "buy", number, at_ns, at_ns))
    ended = [closed.bar for closed in analytics.end_bars(begins_ns + 80 * S)]
    assert [(bar.start_ns - begins_ns) // S for bar in ended] == [0, 10, 20, 30, 40, 50, 60, 70]
    assert [bar.trades for bar in ended] == [1, 1, 0, 0, 0, 1, 0, 0]
    assert analytics.end_bars(begins_ns + 800 * S) == []
    at_ns = begins_ns + 905 * S
    analytics.add(Trade("t", "X", 3 * NANO, NANO, "buy", 9, at_ns, at_ns))
    (closed,) = analytics.close_bars(at_ns + BAR_S * S)
    assert closed.bar.start_ns == begins_ns + 900 * S
    assert closed.bar.averages.ema_fast == 3.0


def test_a_restart_right_after_an_opening_makes_no_bars_for_the_time_that_was_closed():
    bars, _ = played(stream(6, 300))
    again = SymbolAnalytics("X", CONFIG)
    opens_ns = bars[-1].start_ns + 1_000 * BAR_S * S
    again.begin_bars_at(opens_ns)
    for bar in bars:
        again.resume(bar)
    closed = []
    for number in range(4):
        at_ns = opens_ns + number * BAR_S * S
        closed += again.close_bars(at_ns)
        again.add(Trade("t", "X", NANO, NANO, "buy", 10**6 + number, at_ns, at_ns))
    assert [each.bar.start_ns for each in closed] == [opens_ns, opens_ns + BAR_S * S]
    assert closed[-1].bar.averages.sma is None
