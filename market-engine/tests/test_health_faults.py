"""Faults that are put into a generated stream are found and named in time, and nothing else is."""

from __future__ import annotations

from itertools import chain

import pytest

from market_engine.events import MS_NS, SECOND_NS, Trade
from market_engine.feeds.binance_parser import BinanceParser
from market_engine.feeds.frames import FramesFile
from market_engine.feeds.simulated_day import DAY_START_NS, faulty, write_day
from market_engine.feeds.simulated_faults import InjectedFault, Injection
from market_engine.feeds.simulated_market import SYMBOLS, MarketConfig, SimulatedMarket
from market_engine.feeds.simulated_plan import PlanConfig
from market_engine.health.faults import FaultKind, SymbolState
from market_engine.health.feed_health import FeedHealth

START_NS = DAY_START_NS + 14 * 3600 * SECOND_NS
AT_NS = START_NS + 180 * SECOND_NS
SPAN_NS = 400 * SECOND_NS


def watch(frames):
    """Every fault that is named, the trades that were taken, and the health at the end."""
    parser, health = BinanceParser("simulated"), FeedHealth(venue="simulated")
    faults, trades = [], []
    for received_ns, frame in frames:
        for event in parser.parse(frame, received_ns):
            verdict = health.take(event)
            faults += verdict.faults
            if verdict.taken and isinstance(event, Trade):
                trades.append(event)
    return faults, trades, {view.symbol: view for view in health.snapshot()}


def watch_with(injection, seed=1, events_a_day=1_000_000):
    plan = PlanConfig(seed, with_quiet=False)
    config = MarketConfig(START_NS, seed, events_a_day=events_a_day, plan=plan)
    market = SimulatedMarket(config)
    return watch(chain.from_iterable(faulty(market, [injection], START_NS + SPAN_NS)))


def only(faults, symbol, kind):
    """The only fault; how many seconds after ``AT_NS`` it was named."""
    assert [(fault.symbol, fault.kind) for fault in faults] == [(symbol, kind)]
    assert faults[0].venue == "simulated"
    return (faults[0].at_ns - AT_NS) / SECOND_NS


def receipts(symbol, trades):
    """When the trades of a symbol came from ``AT_NS`` on, in seconds after it."""
    return [
        (trade.received_ns - AT_NS) / SECOND_NS
        for trade in trades
        if trade.symbol == symbol and trade.received_ns >= AT_NS
    ]


each = pytest.mark.parametrize(("symbol", "seed"), [("BTCUSDT", 1), ("TSLA", 2), ("MSFT", 3)])


@each
def test_a_gap_is_named_with_the_first_trade_after_it(symbol, seed):
    injection = Injection(InjectedFault.GAP, symbol, AT_NS, count=7)
    faults, trades, health = watch_with(injection, seed)
    assert only(faults, symbol, FaultKind.GAP) == receipts(symbol, trades)[0]
    assert (health[symbol].id_gaps, health[symbol].ids_missing) == (1, 7)


@each
def test_a_duplicate_is_named_with_itself_and_goes_no_further(symbol, seed):
    injection = Injection(InjectedFault.DUPLICATE, symbol, AT_NS)
    faults, trades, health = watch_with(injection, seed)
    assert only(faults, symbol, FaultKind.DUPLICATE) == receipts(symbol, trades)[0]
    assert health[symbol].duplicates == 1
    assert len({(trade.symbol, trade.trade_id) for trade in trades}) == len(trades)


@each
@pytest.mark.parametrize("count", [1, 5])
def test_late_trades_are_named_with_the_first_one_on_time(symbol, seed, count):
    injection = Injection(InjectedFault.LATE, symbol, AT_NS, by_s=60.0, count=count)
    faults, trades, health = watch_with(injection, seed)
    named_s = only(faults, symbol, FaultKind.LATE)
    on_time_s = receipts(symbol, trades)[count]
    assert named_s <= on_time_s
    assert named_s == on_time_s or count == 1  # one alone waits for two seconds at most
    assert health[symbol].late == count


@each
def test_a_frozen_symbol_is_named_while_the_others_go_on(symbol, seed):
    injection = Injection(InjectedFault.FROZEN, symbol, AT_NS, for_s=120.0)
    faults, _, health = watch_with(injection, seed)
    assert 29.0 < only(faults, symbol, FaultKind.FROZEN) <= 33.0
    assert health[symbol].state is SymbolState.LIVE
    assert health[symbol].ids_missing == 0


@each
@pytest.mark.parametrize("by_s", [2.0, 5.0, 9.0])
def test_a_clock_that_is_ahead_is_named_with_the_first_trade_of_it(symbol, seed, by_s):
    injection = Injection(InjectedFault.CLOCK_SKEW, symbol, AT_NS, for_s=90.0, by_s=by_s)
    faults, trades, _ = watch_with(injection, seed)
    assert only(faults, symbol, FaultKind.CLOCK_SKEW) == receipts(symbol, trades)[0]


@each
@pytest.mark.parametrize("by_s", [-3.0, -6.0, -600.0])
def test_a_clock_that_is_behind_is_named_with_the_twentieth_trade_of_it(symbol, seed, by_s):
    injection = Injection(InjectedFault.CLOCK_SKEW, symbol, AT_NS, for_s=200.0, by_s=by_s)
    faults, trades, _ = watch_with(injection, seed)
    named_s = only(faults, symbol, FaultKind.CLOCK_SKEW)
    came_s = receipts(symbol, trades)
    assert came_s[19] <= named_s <= max(came_s[20], came_s[0] + 2.0)


@each
def test_a_mix_of_ms_and_us_is_named_with_the_first_trade_of_the_other_unit(symbol, seed):
    injection = Injection(InjectedFault.TIME_UNIT, symbol, AT_NS, for_s=60.0)
    faults, trades, _ = watch_with(injection, seed)
    first = next(trade for trade in trades if trade.resolution_ns != MS_NS)
    at_s = (first.received_ns - AT_NS) / SECOND_NS
    assert only(faults, symbol, FaultKind.TIME_UNIT) == at_s


def test_half_a_frame_is_malformed_and_loses_nothing():
    injection = Injection(InjectedFault.MALFORMED, "AAPL", AT_NS, count=1)
    faults, trades, health = watch_with(injection)
    only(faults, None, FaultKind.MALFORMED)
    assert health["AAPL"].ids_missing == 0
    assert len(trades) > 1_500


def test_a_lost_connection_leaves_a_gap_in_every_symbol():
    injection = Injection(InjectedFault.DISCONNECT, at_ns=AT_NS, for_s=20.0)
    faults, _, _ = watch_with(injection)
    assert sorted(fault.symbol for fault in faults) == sorted(SYMBOLS)
    assert {fault.kind for fault in faults} == {FaultKind.GAP}


@pytest.mark.parametrize("kind", [kind for kind in InjectedFault if kind in set(FaultKind)][:6])
def test_in_a_thin_market_it_takes_longer_and_the_fault_is_the_same(kind):
    injection = Injection(
        kind, "MSFT", AT_NS, for_s=200.0, by_s=-30.0 if kind == "clock_skew" else 30.0
    )
    faults, _, _ = watch_with(injection, events_a_day=200_000)
    assert only(faults, "MSFT", FaultKind(kind)) <= 200.0


def test_a_clean_generated_day_names_no_fault(tmp_path):
    path = tmp_path / "day.frames"
    written = write_day(path, MarketConfig(DAY_START_NS, seed=4, events_a_day=200_000))
    faults, trades, health = watch(FramesFile(path).frames())
    assert faults == []
    assert 2 * len(trades) == written == 200_000
    for view in health.values():
        assert view.state is SymbolState.LIVE
        assert (view.id_gaps, view.duplicates, view.late, view.out_of_order) == (0, 0, 0, 0)
        assert view.time_gaps == view.malformed == 0
