"""The one path: what follows from events, gaps and restarts included."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

import msgspec
import pytest

from market_engine.bar_rows import bar_of, row_of
from market_engine.events import Event, Notice, NoticeKind, Tick, Trade
from market_engine.feeds.binance_parser import BinanceParser
from market_engine.feeds.simulated_market import MarketConfig, SimulatedMarket
from market_engine.health.faults import Fault, FaultKind, SymbolState
from market_engine.pipeline import BarOutput, MetricsOutput, Output, Pipeline
from market_engine.pipeline_config import PipelineConfig

S = 1_000_000_000
START_NS = 1_790_035_200 * S
SYMBOLS = ("BTCUSDT", "AAPL")
WAITS = PipelineConfig(waits_for_backfill=True)


def market(minutes: float, seed: int = 1) -> list[Event]:
    """Some minutes of two symbols, with a tick each second."""
    simulated = SimulatedMarket(
        MarketConfig(START_NS, seed=seed, symbols=SYMBOLS, events_a_day=600_000)
    )
    parser, events, tick_ns = BinanceParser("simulated"), [], START_NS
    for received_ns, frame in simulated.frames():
        if received_ns >= START_NS + minutes * 60 * S:
            return events
        while received_ns - tick_ns >= S:
            tick_ns += S
            events.append(Tick(tick_ns))
        events += parser.parse(frame, received_ns)
    raise AssertionError


def trades_of(outputs: Iterable[Output], symbol: str) -> list[int | None]:
    return [o.trade_id for o in outputs if isinstance(o, Trade) and o.symbol == symbol]


def bars_of(outputs: Iterable[Output]) -> list[object]:
    return [row_of(output) for output in outputs if isinstance(output, BarOutput)]


def played(events: Iterable[Event], pipeline: Pipeline | None = None) -> list[Output]:
    pipeline = pipeline or Pipeline("simulated", SYMBOLS, WAITS)
    return [output for event in events for output in pipeline.handle([event])]


def test_how_events_are_grouped_makes_no_difference():
    events = market(5)
    whole = Pipeline("simulated", SYMBOLS).handle(events)
    assert played(events, Pipeline("simulated", SYMBOLS)) == whole
    assert len(bars_of(whole)) >= 6


def test_metrics_are_told_at_a_bounded_rate_and_a_quiet_symbol_never_starves():
    events = [e for e in market(10) if not (isinstance(e, Trade) and e.symbol == "AAPL")]
    first = next(e for e in market(10) if isinstance(e, Trade) and e.symbol == "AAPL")
    outputs = played([first, *events])
    told: dict[str, list[int]] = {symbol: [] for symbol in SYMBOLS}
    for output in outputs:
        if isinstance(output, MetricsOutput):
            told[output.metrics.symbol].append(output.metrics.as_of_ns)
    for times in told.values():
        steps = [b - a for a, b in itertools.pairwise(times)]
        assert max(steps) <= 12 * S
        assert sum(steps) / len(steps) >= 0.99 * S
    quiet = [o.metrics for o in outputs if isinstance(o, MetricsOutput)]
    last = next(m for m in reversed(quiet) if m.symbol == "AAPL")
    assert last.windows[0].trades == 0, "the window of a quiet symbol empties"
    assert last.windows[0].vwap is None


def without(events: list[Event], symbol: str, ids: range) -> tuple[list[Event], list[Trade]]:
    """A stream that leaves trades out, and those."""
    missed = [
        e for e in events if isinstance(e, Trade) and e.symbol == symbol and e.trade_id in ids
    ]
    return [e for e in events if e not in missed], missed


@pytest.mark.parametrize("seed", range(3))
def test_a_gap_that_is_filled_leaves_no_trace(seed):
    events = market(8)
    choose = random.Random(seed)
    first = choose.randrange(300, 600)
    stream, missed = without(events, "BTCUSDT", range(first, first + choose.randrange(1, 400)))
    after = next(
        n
        for n, e in enumerate(stream)
        if isinstance(e, Trade) and e.symbol == "BTCUSDT" and (e.trade_id or 0) > first
    )
    arrives = after + choose.randrange(1, 800)
    now_ns = stream[arrives].received_ns
    found = [msgspec.structs.replace(t, received_ns=now_ns, backfilled=True) for t in missed]
    filled = Notice(NoticeKind.BACKFILLED, now_ns, "BTCUSDT")
    outputs = played([*stream[:arrives], *found, filled, *stream[arrives:]])
    undisturbed = played(events)
    assert trades_of(outputs, "BTCUSDT") == trades_of(undisturbed, "BTCUSDT")
    assert sorted(map(repr, bars_of(outputs))) == sorted(map(repr, bars_of(undisturbed)))
    named = [o.kind for o in outputs if isinstance(o, Fault)]
    assert named in ([FaultKind.GAP], [FaultKind.FROZEN, FaultKind.GAP])


def test_a_gap_that_cannot_be_filled_is_an_outage_for_as_long_as_a_window_sees_it():
    events = market(20)
    stream, _ = without(events, "BTCUSDT", range(1_000, 1_400))
    after = next(n for n, e in enumerate(stream) if isinstance(e, Trade) and e.trade_id == 1_400)
    now_ns = stream[after + 50].received_ns
    failed = Notice(NoticeKind.BACKFILL_FAILED, now_ns, "BTCUSDT", "the venue has none")
    outputs = played([*stream[: after + 50], failed, *stream[after + 50 :]])
    ids = trades_of(outputs, "BTCUSDT")
    assert ids == [n for n in trades_of(played(events), "BTCUSDT") if not 1_000 <= n < 1_400]
    until_ns = stream[after].event_ns
    seen = {False: 0, True: 0}
    for output in outputs:
        if isinstance(output, MetricsOutput) and output.metrics.symbol == "BTCUSDT":
            minute, five, _ = output.metrics.windows
            in_minute = until_ns < output.metrics.as_of_ns < until_ns + 60 * S
            seen[in_minute] += 1
            if in_minute:
                assert minute.volatility is None
                assert not minute.complete
                assert not five.complete
            elif output.metrics.as_of_ns >= until_ns + 300 * S:
                assert minute.volatility is not None
                assert five.complete
    assert seen[True] > 10
    assert seen[False] > 10


@pytest.mark.parametrize("seed", range(12))
def test_gaps_that_overlap_are_filled_in_any_order_wholly_partly_or_not_at_all(seed):
    """As if what could be had had come by the stream, and the rest never."""
    choose = random.Random(seed)
    events = market(6)
    places = {
        e.trade_id: n
        for n, e in enumerate(events)
        if isinstance(e, Trade) and e.symbol == "BTCUSDT"
    }
    told: dict[int, list[Event]] = {}
    missed: set[int] = set()
    lost: set[int] = set()
    first = 200
    while first < 700:
        hole = range(first, first + choose.randrange(1, 12))
        first = hole.stop + choose.randrange(1, 60)
        had = hole[choose.choice((0, len(hole), choose.randrange(len(hole) + 1))) :]
        gone = hole[: len(hole) - len(had)]  # of a stretch that is too long, the newest are fetched
        missed |= set(hole)
        lost |= set(gone)
        shown = places[hole.stop]
        if gone:
            at = shown + choose.choice((0, 1, choose.randrange(300)))
            failed = Notice(NoticeKind.BACKFILL_FAILED, 0, "BTCUSDT", "", gone[0], gone[-1])
            told.setdefault(at, []).append(failed)
        if had:
            fetched = [msgspec.structs.replace(events[places[n]], backfilled=True) for n in had]
            done = Notice(NoticeKind.BACKFILLED, 0, "BTCUSDT", "", had[0], had[-1])
            told.setdefault(shown + choose.randrange(1, 300), []).extend([*fetched, done])
    unsent, unheard = {places[n] for n in missed}, {places[n] for n in lost}
    stream: list[Event] = []
    for place, event in enumerate(events):
        now_ns = event.received_ns
        stream += [msgspec.structs.replace(e, received_ns=now_ns) for e in told.get(place, ())]
        if place not in unsent:
            stream.append(event)
    reachable = [e for place, e in enumerate(events) if place not in unheard]
    outputs, undisturbed = played(stream), played(reachable, Pipeline("simulated", SYMBOLS))
    assert trades_of(outputs, "BTCUSDT") == trades_of(undisturbed, "BTCUSDT")
    assert sorted(map(repr, bars_of(outputs))) == sorted(map(repr, bars_of(undisturbed)))


def test_a_gap_that_nobody_fills_holds_a_symbol_for_a_bounded_time_only():
    events = market(9)
    stream, _ = without(events, "BTCUSDT", range(300, 310))
    outputs = played(stream, Pipeline("simulated", SYMBOLS, msgspec.structs.replace(
        WAITS, waiting_s_max=20)))  # fmt: skip
    assert trades_of(outputs, "BTCUSDT")[298:301] == [299, 310, 311]
    full = msgspec.structs.replace(WAITS, waiting_trades_max=50)
    assert trades_of(played(stream, Pipeline("simulated", SYMBOLS, full)), "BTCUSDT") == [
        *range(1, 300),
        *range(310, trades_of(outputs, "BTCUSDT")[-1] + 1),
    ]


@pytest.mark.parametrize("seed", range(4))
def test_a_restart_anywhere_leaves_no_trace_in_what_is_kept(seed):
    """As an engine does: what was kept is restored, and what came since is fetched."""
    events = market(12)
    undisturbed = played(events)
    choose = random.Random(seed)
    cut = choose.randrange(len(events) // 4, len(events) - 2_000)
    away = choose.randrange(10, 1_500)
    before = played(events[:cut])
    # not everything that came before was written
    kept = before[: len(before) - choose.randrange(0, 200)]
    trades = [o for o in kept if isinstance(o, Trade)]
    bars = [bar_of(row) for row in bars_of(kept)]
    newest = {
        s: max((t for t in trades if t.symbol == s), key=lambda t: t.trade_id) for s in SYMBOLS
    }
    pipeline = Pipeline("simulated", SYMBOLS, WAITS, newest)
    after: list[Output] = []
    for symbol in SYMBOLS:
        after += pipeline.restore(
            symbol,
            [b.bar for b in bars if b.metrics.symbol == symbol],
            [t for t in trades if t.symbol == symbol],
            min(t.event_ns for t in trades if t.symbol == symbol),
            (0, 0, 0),
        )
    now_ns = events[cut + away].received_ns
    for symbol in SYMBOLS:
        missed = [
            msgspec.structs.replace(e, received_ns=now_ns, backfilled=True)
            for e in events[: cut + away]
            if isinstance(e, Trade) and e.symbol == symbol
            and e.trade_id > newest[symbol].trade_id
        ]  # fmt: skip
        after += pipeline.handle([Tick(now_ns), *missed[: len(missed) // 2]])
        now_ns += 2 * S  # time passes in the middle of it
        missed = [msgspec.structs.replace(t, received_ns=now_ns) for t in missed]
        after += pipeline.handle([Tick(now_ns), *missed[len(missed) // 2 :]])
        after += pipeline.handle([Notice(NoticeKind.BACKFILLED, now_ns, symbol)])
    after += played(events[cut + away :], pipeline)
    for symbol in SYMBOLS:
        assert trades_of(trades, symbol) + trades_of(after, symbol) == trades_of(
            undisturbed, symbol
        )
    stored = {(row.symbol, row.bar_start_ns): row for row in map(row_of, map_bars(kept, after))}
    wanted = {(row.symbol, row.bar_start_ns): row for row in bars_of(undisturbed)}
    assert stored == wanted
    assert not [o for o in after if isinstance(o, Fault) and o.kind is not FaultKind.GAP]


def map_bars(*outputs: list[Output]) -> list[BarOutput]:
    return [o for each in outputs for o in each if isinstance(o, BarOutput)]


@pytest.mark.parametrize("every_s", [2, 10, 15, 20])
def test_a_slow_symbol_that_falls_silent_and_is_filled_later_closes_no_bar_too_early(every_s):
    def stream(lost: range) -> list[Event]:
        events: list[Event] = []
        missed: list[Trade] = []
        for second in range(1_500):
            now_ns = START_NS + second * S
            events.append(Tick(now_ns))
            if second % every_s:
                continue
            trade_id = second // every_s + 1
            price = (100 + trade_id % 7) * S
            trade = Trade("simulated", "BTCUSDT", price, S, "buy", trade_id, now_ns, now_ns)
            if second in lost:
                missed.append(trade)
                continue
            events.append(trade)
            if missed:
                found = [
                    msgspec.structs.replace(t, received_ns=now_ns, backfilled=True) for t in missed
                ]
                first, last = missed[0].trade_id or 0, missed[-1].trade_id or 0
                events += [
                    *found,
                    Notice(NoticeKind.BACKFILLED, now_ns, "BTCUSDT", "", first, last),
                ]
                missed = []
        return events

    disturbed, whole = played(stream(range(610, 700))), played(stream(range(0)))
    assert bars_of(disturbed) == bars_of(whole)
    assert len(bars_of(whole)) >= 20


def test_a_bar_row_keeps_everything():
    for output in map_bars(played(market(6))):
        assert bar_of(row_of(output)) == output.closed


DAY = 86_400 * S


def test_a_closed_window_makes_no_bars_and_averages_begin_anew_when_it_opens():
    pipeline, closes_ns = Pipeline("simulated", SYMBOLS, WAITS), START_NS + 600 * S
    first = [e for e in market(10) if e.received_ns < closes_ns]
    before = played(
        [
            *first,
            Notice(NoticeKind.CLOSED, closes_ns, detail="the ingestion window"),
        ],
        pipeline,
    )
    assert {s.state for s in pipeline.health.snapshot()} == {SymbolState.CLOSED}
    assert not [o for o in before if isinstance(o, Fault)]
    ends = [o.closed for o in map_bars(before) if o.closed.metrics.symbol == "BTCUSDT"]
    assert [c.bar.start_ns for c in ends] == [START_NS + n * 60 * S for n in range(10)]
    assert sum(c.bar.trades for c in ends) == len(trades_of(before, "BTCUSDT"))
    assert not ends[-1].metrics.windows[0].complete, "its last trades may have been on their way"
    assert ends[-3].metrics.windows[0].complete
    opened = Notice(NoticeKind.OPENED, START_NS + DAY)
    later = [
        msgspec.structs.replace(
            e, event_ns=e.event_ns + DAY, received_ns=e.received_ns + DAY,
            trade_id=e.trade_id + 10**6,
        )
        for e in market(5) if isinstance(e, Trade)
    ]  # fmt: skip
    after = played([opened, *later], pipeline)
    assert not [o for o in after if isinstance(o, Fault)]
    assert {s.state for s in pipeline.health.snapshot()} == {SymbolState.LIVE}
    bars = [o.closed.bar for o in map_bars(after) if o.closed.metrics.symbol == "BTCUSDT"]
    assert [bar.start_ns for bar in bars] == [START_NS + DAY + n * 60 * S for n in range(4)]
    assert bars[0].averages.ema_fast == bars[0].close_nano / S
    assert bars[3].averages.sma is None


def test_a_window_that_closes_while_a_symbol_waits_lets_its_trades_into_their_bars():
    stream, _ = without(market(3), "BTCUSDT", range(200, 210))
    last_ns = stream[-1].received_ns
    pipeline = Pipeline("simulated", SYMBOLS, WAITS)
    outputs = played([*stream, Notice(NoticeKind.CLOSED, last_ns)], pipeline)
    wanted = [e.trade_id for e in stream if isinstance(e, Trade) and e.symbol == "BTCUSDT"]
    assert trades_of(outputs, "BTCUSDT") == wanted
    bars = [o.closed.bar for o in map_bars(outputs) if o.closed.metrics.symbol == "BTCUSDT"]
    assert sum(bar.trades for bar in bars) == len(wanted)


def test_a_symbol_whose_window_was_closed_since_its_last_trade_begins_anew_after_a_restart():
    pipeline = Pipeline("simulated", SYMBOLS, WAITS)
    first = [e for e in market(2) if isinstance(e, Trade) and e.symbol == "BTCUSDT"]
    assert not pipeline.restore("BTCUSDT", [], first[:50], first[0].event_ns, (0, 0, 0))
    now_ns = START_NS + DAY
    (bar,) = map_bars(pipeline.begin_anew(first[49], now_ns))
    assert bar.closed.bar.trades == 50
    assert not bar.closed.metrics.windows[0].complete
    late = msgspec.structs.replace(
        first[60], event_ns=now_ns + S, received_ns=now_ns + S, trade_id=10**6
    )
    later = [Tick(now_ns), late, Tick(now_ns + 120 * S)]
    outputs = played(later, pipeline)
    assert not [o for o in outputs if isinstance(o, Fault)]
    assert trades_of(outputs, "BTCUSDT") == [10**6]
    health = next(s for s in pipeline.health.snapshot() if s.symbol == "BTCUSDT")
    assert (health.id_gaps, health.ids_missing) == (0, 0)
    assert all(o.closed.bar.start_ns >= now_ns for o in map_bars(outputs))
