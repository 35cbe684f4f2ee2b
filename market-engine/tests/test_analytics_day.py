"""A generated day through parser, health and analytics: at every event, what pandas says.

The windows fill and empty many times. In the second test the day is made hostile: bad ticks, ties,
duplicates, shuffles and late trades; there numpy looks at each window anew, because the running
sums of pandas keep a trace of a bad tick.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import pytest

from market_engine.analytics.symbol import SymbolMetrics
from market_engine.decimals import NANO
from market_engine.events import Event, Trade
from market_engine.feeds.binance_parser import BinanceParser
from market_engine.feeds.simulated_market import MarketConfig, SimulatedMarket
from market_engine.pipeline import Pipeline

S = 1_000_000_000
DAY_S = 86_400
START_NS = 1_790_035_200 * S
WINDOWS_S = (60, 300, 3_600)


def day(events: int, seed: int) -> Iterator[Event]:
    """Of one symbol, from midnight to midnight, through the live parser."""
    market = SimulatedMarket(
        MarketConfig(START_NS, seed=seed, symbols=("BTCUSDT",), events_a_day=events)
    )
    parser = BinanceParser("simulated")
    for received_ns, frame in market.frames():
        if received_ns >= START_NS + DAY_S * S:
            return
        yield from parser.parse(frame, received_ns)


def measured(events: Iterable[Event]) -> Iterator[tuple[Trade, SymbolMetrics]]:
    """Each trade that is taken, with the metrics right after it."""
    pipeline = Pipeline("simulated", ("BTCUSDT",))
    analytics = pipeline.analytics_of("BTCUSDT")
    for event in events:
        for output in pipeline.handle([event]):
            if isinstance(output, Trade):
                metrics = analytics.metrics()
                assert metrics is not None
                yield output, metrics


def column(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], float)


def table_of(trades: list[Trade]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "t": [t.event_ns for t in trades],
            "id": [t.trade_id for t in trades],
            "p": [t.price_nano / NANO for t in trades],
            "q": [t.qty_nano / NANO for t in trades],
        },
        index=pd.to_datetime([t.event_ns for t in trades]),
    )


def test_every_event_of_a_generated_day_is_what_pandas_says():
    found = list(measured(event for event in day(40_000, 1) if isinstance(event, Trade)))
    metrics = [each for _, each in found]
    table = table_of([trade for trade, _ in found])
    assert len(table) > 15_000
    assert table.t.is_monotonic_increasing
    # the clock may run ahead of a trade by its lag: then a window ends there
    exact = np.array([m.as_of_ns for m in metrics]) == table.t.to_numpy()
    assert exact.mean() > 0.5
    for place, window_s in enumerate(WINDOWS_S):
        windows = [m.windows[place] for m in metrics]
        rolled = table.rolling(f"{window_s}s")
        wanted = {
            "trades": rolled.p.count(),
            "volume_nano": rolled.q.sum() * NANO,
            "high_nano": rolled.p.max() * NANO,
            "low_nano": rolled.p.min() * NANO,
            "last_nano": table.p * NANO,
            "vwap": (table.p * table.q).rolling(f"{window_s}s").sum() / rolled.q.sum(),
        }
        for name, values in wanted.items():
            got = column([getattr(window, name) for window in windows])
            np.testing.assert_allclose(
                got[exact], values.to_numpy()[exact], rtol=1e-9, err_msg=f"{name} {window_s}"
            )
        assert min(window.trades for window in windows) == 1, "the window never emptied"
    grid = grid_volatility(table)
    seconds = np.array([m.as_of_ns // S for m in metrics])
    # the table knows all trades up to a whole second, also the one that is still under way to us
    settled = (table.t.shift(-1, fill_value=1 << 62) > seconds * S).to_numpy()
    assert settled.mean() > 0.999
    for place, window_s in enumerate(WINDOWS_S):
        wanted_volatility = grid[window_s].reindex(seconds).to_numpy()
        got = column([m.windows[place].volatility for m in metrics])
        np.testing.assert_allclose(got[settled], wanted_volatility[settled], rtol=1e-9)
        assert np.isfinite(got).mean() > 0.9
    session = (table.p * table.q).groupby(table.t // (DAY_S * S)).cumsum()
    session /= table.q.groupby(table.t // (DAY_S * S)).cumsum()
    np.testing.assert_allclose(column([m.session_vwap for m in metrics]), session, rtol=1e-9)


def grid_volatility(table: pd.DataFrame) -> dict[int, pd.Series]:
    """By whole second: √(Σx²·year/(nΔt)) over the windows, each summed anew."""
    last = table.groupby(-(-table.t // S)).p.last()
    carried = last.reindex(range(last.index[0], last.index[-1] + 2)).ffill()
    squares = np.log(carried / carried.shift(1)) ** 2
    return {
        window_s: np.sqrt(squares.rolling(window_s).sum() * 31_536_000 / window_s)
        for window_s in WINDOWS_S
    }


def hostile(events: Iterable[Event], seed: int) -> list[Trade]:
    """The trades of a day with everything that can be wrong with them, in their new order."""
    choose = random.Random(seed)
    trades = [event for event in events if isinstance(event, Trade)]
    told: list[tuple[int, Trade]] = []
    for number, trade in enumerate(trades):
        fields = {f: getattr(trade, f) for f in trade.__struct_fields__}
        if choose.random() < 0.002:  # a bad tick
            fields["price_nano"] *= choose.choice((100, 1_000_000))
        if number and choose.random() < 0.1:  # a tie
            fields["event_ns"] = trades[number - 1].event_ns
        delay_ns = choose.choices(
            (0, choose.randrange(2 * S), choose.randrange(90 * S)), (94, 5, 1)
        )
        told.append((trade.received_ns + delay_ns[0], Trade(**fields)))
        if choose.random() < 0.01:
            told.append((trade.received_ns + choose.randrange(5 * S), Trade(**fields)))
    told.sort(key=lambda each: each[0])
    return [
        Trade(**{f: getattr(t, f) for f in t.__struct_fields__} | {"received_ns": at_ns})
        for at_ns, t in told
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_every_event_of_a_hostile_day_is_what_numpy_says_of_its_windows(seed):
    stream = hostile(day(14_000, seed), seed)
    found = list(measured(stream))
    ids = [trade.trade_id for trade, _ in found]
    assert len(set(ids)) == len(ids) < len(stream), "each once, and duplicates were there"
    table = table_of([trade for trade, _ in found])
    t, number, p, q = (table[name].to_numpy() for name in ("t", "id", "p", "q"))
    assert (np.diff(t) < 0).any()
    newest = np.maximum.accumulate(t)
    for i, (_, metrics) in enumerate(found):
        assert metrics.as_of_ns >= newest[i]
        for window, window_s in zip(metrics.windows, WINDOWS_S, strict=True):
            start = np.searchsorted(newest[: i + 1], metrics.as_of_ns - window_s * S, "right")
            near = slice(start, i + 1)
            inside = t[near] > metrics.as_of_ns - window_s * S
            order = np.lexsort((number[near][inside], t[near][inside]))
            compare(window, p[near][inside][order], q[near][inside][order])


def compare(window, p: np.ndarray, q: np.ndarray) -> None:
    assert window.trades == len(p)
    if not len(p):
        assert window.vwap is None
        return
    close = {"rel_tol": 1e-9, "abs_tol": 0.0}
    vwap = np.average(p, weights=q)
    assert math.isclose(window.volume_nano, q.sum() * NANO, **close)
    assert math.isclose(window.vwap, vwap, **close)
    assert (window.high_nano, window.low_nano) == (round(p.max() * NANO), round(p.min() * NANO))
    assert window.last_nano == round(p[-1] * NANO)
    assert math.isclose(window.drawdown, (p / np.maximum.accumulate(p)).min() - 1, **close)
    if p.min() == p.max():
        assert window.vwap_deviation is None
        return
    sigma = math.sqrt(np.average((p - vwap) ** 2, weights=q))
    # in units of σ: numpy's own P − VWAP is no more exact than the price's last digit
    assert math.isclose(window.vwap_deviation, (p[-1] - vwap) / sigma, rel_tol=1e-9, abs_tol=1e-9)
