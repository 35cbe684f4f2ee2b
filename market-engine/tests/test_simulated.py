"""The simulated market and feed: plausible, the same each time, and any trade again by its id."""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
import threading
from collections import defaultdict
from itertools import pairwise, takewhile

import msgspec
import pytest

from market_engine.decimals import NANO
from market_engine.errors import SettingsError
from market_engine.events import MS_NS, SECOND_NS, Notice, NoticeKind, Quote, Rejected, Tick, Trade
from market_engine.feeds.binance_parser import BinanceParser
from market_engine.feeds.frames import FramesFile
from market_engine.feeds.simulated import SimulatedConfig, SimulatedFeed
from market_engine.feeds.simulated_day import DAY_START_NS, write_day
from market_engine.feeds.simulated_faults import FaultLine, InjectedFault, Injection
from market_engine.feeds.simulated_market import (
    DAY_NS,
    MINUTE_NS,
    SYMBOLS,
    MarketConfig,
    SimulatedMarket,
)
from market_engine.feeds.simulated_plan import PlanConfig
from market_engine.feeds.simulated_profiles import profile_of
from market_engine.health.faults import FaultKind, SymbolState
from market_engine.health.feed_health import FeedHealth

TICK_NANO = NANO // 100


def events_of(frames):
    parser = BinanceParser("simulated")
    return [event for received_ns, frame in frames for event in parser.parse(frame, received_ns)]


def frames_until(market, until_ns, from_ns=None):
    return list(takewhile(lambda frame: frame[0] < until_ns, market.frames(from_ns)))


def trades_of(events):
    found = defaultdict(list)
    for event in events:
        if isinstance(event, Trade):
            found[event.symbol].append(event)
    return found


@pytest.fixture(scope="module")
def day():
    """A whole day of 100,000 events, as events."""
    market = SimulatedMarket(MarketConfig(DAY_START_NS, seed=11, events_a_day=100_000))
    return events_of(frames_until(market, DAY_START_NS + DAY_NS))


def test_the_parser_takes_every_frame_and_half_are_trades(day):
    assert len(day) == 100_000
    assert sum(isinstance(event, Trade) for event in day) == 50_000
    assert not any(isinstance(event, Rejected) for event in day)


def test_frames_come_in_order_a_few_ms_after_they_happened(day):
    assert all(one.received_ns <= two.received_ns for one, two in pairwise(day))
    lags_ms = [(e.received_ns - e.event_ns) / MS_NS for e in day if isinstance(e, Trade)]
    assert min(lags_ms) >= 3
    assert max(lags_ms) <= 51 + 1_000  # one that waits for the one before it waits no second
    assert 5 < statistics.median(lags_ms) < 15


def test_ids_are_contiguous_and_times_never_fall(day):
    for trades in trades_of(day).values():
        assert [trade.trade_id for trade in trades] == list(range(1, len(trades) + 1))
        assert all(one.event_ns <= two.event_ns for one, two in pairwise(trades))


def test_each_trade_is_at_the_bid_or_the_ask_that_was_quoted_before_it(day):
    quotes = {}
    for event in day:
        if isinstance(event, Quote):
            assert 0 < event.bid_nano < event.ask_nano
            assert event.bid_nano % TICK_NANO == event.ask_nano % TICK_NANO == 0
            quotes[event.symbol] = event
        else:
            quote = quotes[event.symbol]
            assert event.price_nano == (quote.ask_nano if event.side == "buy" else quote.bid_nano)


def test_prices_stay_plausible_and_sides_are_mixed(day):
    for symbol, trades in trades_of(day).items():
        usual = profile_of(symbol).price * NANO
        assert all(0.7 * usual < trade.price_nano < 1.4 * usual for trade in trades)
        assert 0.4 < sum(trade.side == "buy" for trade in trades) / len(trades) < 0.6
        assert len({trade.price_nano for trade in trades}) > 100


def test_sizes_have_a_long_tail_and_shares_are_whole(day):
    for symbol, trades in trades_of(day).items():
        sizes = [trade.qty_nano for trade in trades]
        assert max(sizes) > 20 * statistics.median(sizes)
        if profile_of(symbol).is_equity:
            assert all(size % NANO == 0 for size in sizes)


def test_equities_are_liveliest_at_the_open_and_the_close(day):
    counts = defaultdict(int)
    for trade in trades_of(day)["AAPL"]:
        counts[(trade.event_ns - DAY_START_NS) // (30 * MINUTE_NS)] += 1
    opening, noon, closing, night = counts[27], counts[33], counts[39], counts[6]
    assert opening > 1.4 * noon
    assert closing > 1.2 * noon
    assert night < 0.2 * noon


def test_trades_come_in_bursts():
    market = SimulatedMarket(MarketConfig(DAY_START_NS, events_a_day=2_000_000))
    trades = trades_of(events_of(frames_until(market, DAY_START_NS + 60 * MINUTE_NS)))["BTCUSDT"]
    seconds = [0] * 3_600
    for trade in trades:
        seconds[(trade.event_ns - DAY_START_NS) // SECOND_NS] += 1
    assert statistics.variance(seconds) > 2 * statistics.mean(seconds)  # 1 would be pure chance


def test_a_steady_market_keeps_its_rate_to_the_second():
    plan = PlanConfig(1, is_steady=True)
    config = MarketConfig(DAY_START_NS, events_a_day=2_000 * 86_400, plan=plan)
    frames = frames_until(SimulatedMarket(config), DAY_START_NS + 10 * SECOND_NS)
    counts = [0] * 10
    for received_ns, _ in frames:
        counts[(received_ns - DAY_START_NS) // SECOND_NS] += 1
    assert min(counts) > 1_950
    assert max(counts) < 2_050


def test_symbols_move_together():
    market = SimulatedMarket(MarketConfig(DAY_START_NS, symbols=("BTCUSDT", "ETHUSDT")))
    plans = [market._day(symbol, DAY_START_NS // DAY_NS) for symbol in market._symbols]
    moves = [[two - one for one, two in pairwise(plan.bounds)] for plan in plans]
    assert 0.3 < statistics.correlation(*moves) < 0.8


def test_a_busy_day_has_empty_minutes_for_every_symbol():
    market = SimulatedMarket(MarketConfig(DAY_START_NS, events_a_day=2_000_000))
    for symbol in market._symbols:
        before = market._day(symbol, DAY_START_NS // DAY_NS).before
        assert sum(one == two for one, two in pairwise(before)) >= 20
        assert before[-1] == symbol.trades_a_day


CHILD = """
import hashlib, sys
from pathlib import Path
from market_engine.feeds.simulated_day import DAY_START_NS, write_day
from market_engine.feeds.simulated_faults import InjectedFault, Injection
from market_engine.feeds.simulated_market import MINUTE_NS, MarketConfig
at_ns = DAY_START_NS + 2 * MINUTE_NS
faults = [Injection(kind, "TSLA", at_ns, count=3) for kind in InjectedFault]
path = Path(sys.argv[1])
write_day(path, MarketConfig(DAY_START_NS, seed=5), faults, for_ns=10 * MINUTE_NS)
print(hashlib.sha256(path.read_bytes()).hexdigest())
"""


def test_two_processes_with_other_hash_seeds_write_the_same_bytes(tmp_path):
    sums = set()
    for hash_seed in ("0", "1", "4242"):
        command = [sys.executable, "-c", CHILD, str(tmp_path / hash_seed)]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        sums.add(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    assert len(sums) == 1


def test_another_seed_is_another_market(tmp_path):
    sums = set()
    for seed in (1, 2):
        path = tmp_path / str(seed)
        write_day(path, MarketConfig(DAY_START_NS, seed=seed), for_ns=MINUTE_NS)
        sums.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(sums) == 2


def test_a_day_is_written_in_the_frames_form_and_tells_how_far_it_is(tmp_path):
    told = []
    path = tmp_path / "day.frames"
    config = MarketConfig(DAY_START_NS, seed=3, symbols=("ETHUSDT", "AAPL"))
    written = write_day(
        path, config, progress=lambda *so_far: told.append(so_far), for_ns=5 * MINUTE_NS
    )
    file = FramesFile(path)
    assert file.connected_at_ns == DAY_START_NS
    frames = list(file.frames())
    assert len(frames) == written == told[-1][0]
    assert frames == frames_until(SimulatedMarket(config), DAY_START_NS + 5 * MINUTE_NS)
    assert written == pytest.approx(told[-1][1], rel=0.9)


@pytest.mark.parametrize("events_a_day", [20_000, 2_000_000, 40_000_000])
@pytest.mark.parametrize("with_sessions", [False, True])
def test_any_trade_can_be_had_again_by_its_id(events_a_day, with_sessions):
    plan = PlanConfig(1, with_sessions=with_sessions, with_quiet=events_a_day < 10**7)
    start_ns = DAY_START_NS + 14 * 60 * MINUTE_NS + 17_123 * MS_NS
    config = MarketConfig(
        start_ns, symbols=("BTCUSDT", "TSLA"), events_a_day=events_a_day, plan=plan,
        first_ids={"TSLA": 5_000},
    )  # fmt: skip
    span_ns = min(DAY_NS, 30 * MINUTE_NS * 100_000 // events_a_day + SECOND_NS)
    market = SimulatedMarket(config)
    frames = frames_until(market, start_ns + span_ns)
    for symbol, first_id in (("BTCUSDT", 1), ("TSLA", 5_000)):
        trades = [f for f in frames if f'"{symbol}","a":'.encode() in f[1]]
        assert (
            list(SimulatedMarket(config).backfill(symbol, 0, first_id + len(trades) - 1)) == trades
        )
        assert list(market.backfill(symbol, first_id + 3, first_id + 5)) == trades[3:6]
        assert market.next_id(symbol, start_ns) == first_id
        assert market.next_id(symbol, start_ns + span_ns) >= first_id + len(trades)


def test_ids_go_on_over_days_and_weekends():
    friday_ns = DAY_START_NS + 3 * DAY_NS + 13 * 60 * MINUTE_NS
    for with_sessions in (False, True):
        plan = PlanConfig(1, with_sessions=with_sessions, with_quiet=False)
        config = MarketConfig(friday_ns, symbols=("AAPL",), events_a_day=4_000, plan=plan)
        market = SimulatedMarket(config)
        frames = frames_until(market, friday_ns + 4 * DAY_NS)
        trades = trades_of(events_of(frames))["AAPL"]
        assert [trade.trade_id for trade in trades] == list(range(1, len(trades) + 1))
        assert all(market.is_open("AAPL", trade.event_ns) for trade in trades)
        for number in range(1, len(trades), 137):
            again = events_of(market.backfill("AAPL", number, number))
            assert again == [trades[number - 1]]
        assert (len(trades) < 5_000) == with_sessions


def test_a_market_that_is_entered_later_goes_on_with_the_same_frames():
    market = SimulatedMarket(MarketConfig(DAY_START_NS, events_a_day=2_000_000))
    frames = frames_until(market, DAY_START_NS + 5 * MINUTE_NS)
    later_ns = DAY_START_NS + 2 * MINUTE_NS + 30 * SECOND_NS
    trades = [event for event in events_of(frames) if isinstance(event, Trade)]
    entered = events_of(frames_until(market, DAY_START_NS + 5 * MINUTE_NS, later_ns))
    assert [event for event in entered if isinstance(event, Trade)] == [
        trade for trade in trades if trade.event_ns >= later_ns
    ]


@pytest.mark.parametrize(
    "config",
    [
        MarketConfig(DAY_START_NS, symbols=()),
        MarketConfig(DAY_START_NS, symbols=("AAPL", "AAPL")),
        MarketConfig(DAY_START_NS, events_a_day=1),
    ],
)
def test_a_market_that_cannot_be_is_refused(config):
    with pytest.raises(SettingsError):
        SimulatedMarket(config)


class Clock:
    """A time that goes on when the feed waits, and ends the run after a while."""

    def __init__(self, start_ns, for_s):
        self.now_ns, self.end_ns = start_ns, start_ns + round(for_s * SECOND_NS)
        self.feed = None
        self.jumps = {}
        self.given = []

    def __call__(self):
        return self.now_ns

    def wait(self, seconds):
        self.now_ns += round(seconds * SECOND_NS)
        for at_ns in [at_ns for at_ns in self.jumps if at_ns <= self.now_ns]:
            self.jumps.pop(at_ns)(self)
        if self.now_ns >= self.end_ns:
            self.feed.stop()
        return self.now_ns >= self.end_ns

    def emit(self, events):
        assert 0 < len(events) <= 1_000
        self.given += events


def run(config, start_ns, for_s=20.0, last_ids=None, jumps=None):
    clock = Clock(start_ns, for_s)
    clock.jumps = {start_ns + round(at_s * SECOND_NS): do for at_s, do in (jumps or {}).items()}
    clock.feed = SimulatedFeed(config, last_ids, clock, clock.wait)
    clock.feed.run(clock.emit)
    return clock.given


NOW_NS = DAY_START_NS + 15 * 60 * MINUTE_NS + 12_345_678_901
BUSY = SimulatedConfig(events_a_second=200.0)
ANCHORED = SimulatedConfig(events_a_second=200.0, anchor_ns=NOW_NS - 100 * MINUTE_NS)


def last_ids(events):
    return {event.symbol: event.trade_id for event in events if isinstance(event, Trade)}


def test_the_feed_gives_what_is_due_within_50_ms_and_a_tick_each_second():
    events = run(BUSY, NOW_NS)
    assert events[0] == Notice(NoticeKind.CONNECTED, NOW_NS)
    trades = [event for event in events if isinstance(event, Trade)]
    assert 1_000 < len(trades) < 6_000
    assert {trade.symbol for trade in trades} == set(SYMBOLS)
    assert statistics.quantiles([t.received_ns - t.event_ns for t in trades])[2] <= 50 * MS_NS
    ticks = [event.received_ns for event in events if isinstance(event, Tick)]
    assert len(ticks) == 19 or len(ticks) == 20
    assert all(one.received_ns <= two.received_ns for one, two in pairwise(events))


def test_a_feed_without_faults_is_sound():
    health = FeedHealth()
    for event in run(SimulatedConfig(), NOW_NS, for_s=900.0):
        assert health.take(event).faults == ()
    assert {view.state for view in health.snapshot()} == {SymbolState.LIVE}


def test_on_a_sunday_night_the_desk_is_lively():
    sunday_ns = DAY_START_NS + 5 * DAY_NS + 3 * 60 * MINUTE_NS
    found = trades_of(run(SimulatedConfig(), sunday_ns, for_s=300.0))
    assert set(found) == set(SYMBOLS)
    assert sum(len(trades) for trades in found.values()) > 1_000


def test_ids_go_on_after_a_restart():
    first = run(BUSY, NOW_NS)
    again = run(BUSY, NOW_NS + 3_600 * SECOND_NS, last_ids=last_ids(first))
    for symbol, trades in trades_of(first + again).items():
        assert [trade.trade_id for trade in trades] == list(range(1, len(trades) + 1)), symbol


def test_with_an_anchor_a_restart_brings_what_was_missed_and_then_the_same_as_without():
    whole = trades_of(run(ANCHORED, NOW_NS, for_s=60.0))
    first = run(ANCHORED, NOW_NS, for_s=20.0)
    second = run(ANCHORED, NOW_NS + 40 * SECOND_NS, for_s=20.0, last_ids=last_ids(first))
    for symbol, trades in trades_of(first + second).items():
        key = [(t.trade_id, t.price_nano, t.qty_nano, t.event_ns) for t in trades]
        assert key == [(t.trade_id, t.price_nano, t.qty_nano, t.event_ns) for t in whole[symbol]]
        assert any(trade.backfilled for trade in trades)
    kinds = {event.kind for event in second if isinstance(event, Notice)}
    assert kinds == {NoticeKind.CONNECTED, NoticeKind.BACKFILLING, NoticeKind.BACKFILLED}


def test_kept_trades_that_the_market_has_yet_to_give_are_refused_with_the_cure():
    with pytest.raises(
        SettingsError, match=r"trade 999,999 of BTCUSDT, .* another MARKET_DATABASE"
    ):
        run(ANCHORED, NOW_NS, last_ids={"BTCUSDT": 999_999})
    slower = msgspec.structs.replace(ANCHORED, events_a_second=100.0)
    kept = last_ids(run(ANCHORED, NOW_NS))
    with pytest.raises(SettingsError, match="MARKET_SIMULATED_RATE as they were"):
        run(slower, NOW_NS + SECOND_NS, last_ids=kept)
    unanchored = msgspec.structs.replace(slower, anchor_ns=None)
    first = trades_of(run(unanchored, NOW_NS + SECOND_NS, last_ids=kept))["BTCUSDT"][0]
    assert first.trade_id == kept["BTCUSDT"] + 1


def test_a_clock_that_was_set_back_a_little_is_no_other_market():
    kept = last_ids(run(ANCHORED, NOW_NS))
    assert trades_of(run(ANCHORED, NOW_NS - 10 * SECOND_NS, last_ids=kept))


def test_what_is_too_much_to_be_backfilled_is_said():
    config = SimulatedConfig(
        events_a_second=200.0, anchor_ns=ANCHORED.anchor_ns, backfill_trades_max=50
    )
    events = run(config, NOW_NS, for_s=1.0, last_ids={"BTCUSDT": 10})
    failed = next(e for e in events if isinstance(e, Notice) and e.kind == "backfill_failed")
    assert failed.first_id == 11
    back = [event for event in events if isinstance(event, Trade) and event.backfilled]
    assert len(back) == 50
    assert back[0].trade_id == failed.last_id + 1


def test_after_a_long_sleep_what_was_missed_is_backfilled():
    def sleep(clock):
        clock.now_ns += 3_600 * SECOND_NS
        clock.end_ns = clock.now_ns + 10 * SECOND_NS

    events = run(SimulatedConfig(), NOW_NS, for_s=7_200.0, jumps={30.0: sleep})
    health = FeedHealth()
    assert [fault for event in events for fault in health.take(event).faults] == []
    for trades in trades_of(events).values():
        assert [trade.trade_id for trade in trades] == list(range(1, len(trades) + 1))
        assert all(t.backfilled or t.received_ns - t.event_ns < SECOND_NS for t in trades)


def test_equities_with_sessions_open_and_close():
    config = SimulatedConfig(around_the_clock=False, symbols=("BTCUSDT", "AAPL"))
    before_open_ns = DAY_START_NS + (13 * 60 + 29) * MINUTE_NS
    events = run(config, before_open_ns, for_s=120.0)
    notices = [(e.kind, e.symbol) for e in events if isinstance(e, Notice)]
    assert notices == [
        (NoticeKind.CONNECTED, None), (NoticeKind.CLOSED, "AAPL"), (NoticeKind.OPENED, "AAPL"),
    ]  # fmt: skip
    opened_ns = before_open_ns + MINUTE_NS
    assert all(trade.event_ns >= opened_ns for trade in trades_of(events)["AAPL"])
    assert trades_of(events)["BTCUSDT"][0].event_ns < opened_ns


@pytest.mark.parametrize("kind", list(InjectedFault))
def test_a_fault_is_put_in_while_the_feed_runs(kind):
    def inject(clock):
        symbol = "" if kind is InjectedFault.DISCONNECT else "ETHUSDT"
        clock.feed.inject(Injection(kind, symbol, for_s=40.0))

    health, named = FeedHealth(venue="simulated"), set()
    for event in run(BUSY, NOW_NS, for_s=90.0, jumps={30.0: inject}):
        named |= {fault.kind for fault in health.take(event).faults}
    if kind is InjectedFault.DISCONNECT:
        assert named == {FaultKind.DISCONNECTED, FaultKind.GAP}
    else:
        assert named == {FaultKind(kind)}


def test_faults_that_cannot_be_are_refused():
    feed = SimulatedFeed()
    with pytest.raises(SettingsError):
        feed.inject(Injection(InjectedFault.GAP, "NONE"))
    with pytest.raises(SettingsError):
        feed.inject(Injection(InjectedFault.FROZEN, "AAPL", for_s=1e9))
    line = FaultLine(["AAPL"], lambda row: b"")
    for _ in range(64):
        line.inject(Injection(InjectedFault.GAP, "AAPL"))
    with pytest.raises(SettingsError):
        line.inject(Injection(InjectedFault.GAP, "AAPL"))


@pytest.mark.parametrize("rate", [0.0, -1.0, 1e6])
def test_a_rate_that_cannot_be_is_refused(rate):
    with pytest.raises(SettingsError):
        SimulatedFeed(SimulatedConfig(events_a_second=rate))


def test_by_the_real_clock_it_gives_at_once_and_stops_at_once():
    feed, came, given = (
        SimulatedFeed(SimulatedConfig(events_a_second=2_000.0)),
        threading.Event(),
        [],
    )

    def emit(events):
        given.extend(events)
        if len(given) > 200:
            came.set()

    thread = threading.Thread(target=feed.run, args=(emit,))
    thread.start()
    try:
        assert came.wait(10.0)
    finally:
        feed.stop()
        thread.join(2.0)
    assert not thread.is_alive()
    feed.stop()
