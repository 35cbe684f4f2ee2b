"""Feed health: each rule, on streams written by hand, and that a sound stream shows nothing."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_engine.errors import RejectReason
from market_engine.events import (
    MS_NS,
    SECOND_NS,
    US_NS,
    Notice,
    NoticeKind,
    Quote,
    Rejected,
    Tick,
    Trade,
)
from market_engine.health.config import HealthConfig
from market_engine.health.faults import TAKEN, FaultKind, SymbolState
from market_engine.health.feed_health import FeedHealth

START_NS = 1_790_000_000 * SECOND_NS
LAG_S = 0.02


class Stream:
    """A feed in miniature: a time that goes on, and all that the health said of it."""

    def __init__(self, config=None, **kwargs):
        self.health = FeedHealth(config, "venue", **kwargs)
        self.now_s = 0.0
        self.ids = {}
        self.faults, self.changes = [], []

    def take(self, event):
        verdict = self.health.take(event)
        self.faults += verdict.faults
        self.changes += verdict.changes
        return verdict.taken

    def trade(self, symbol="A", after_s=0.5, *, skip=0, old_s=0.0, lag_s=LAG_S, **changed):
        self.now_s += after_s
        next_id = self.ids[symbol] = self.ids.get(symbol, 100) + 1 + skip
        return self.give(symbol, next_id, old_s=old_s, lag_s=lag_s, **changed)

    def give(self, symbol, given_id, *, old_s=0.0, lag_s=LAG_S, **changed):
        received_ns = START_NS + round(self.now_s * 1e9)
        event_ns = received_ns - round((lag_s + old_s) * 1e9)
        trade = Trade("venue", symbol, 10**9, 10**9, "buy", given_id, event_ns, received_ns)
        return self.take(msgspec.structs.replace(trade, **changed))

    def trades(self, count, symbol="A", after_s=0.5, **changed):
        for _ in range(count):
            assert self.trade(symbol, after_s, **changed)

    def ticks(self, count):
        for _ in range(count):
            self.now_s += 1.0
            self.take(Tick(START_NS + round(self.now_s * 1e9)))

    def notice(self, kind, symbol=None, **changed):
        self.take(Notice(kind, START_NS + round(self.now_s * 1e9), symbol, **changed))

    def named(self):
        return [(fault.symbol, fault.kind) for fault in self.faults]

    def view(self, symbol="A"):
        return next(view for view in self.health.snapshot() if view.symbol == symbol)


@pytest.fixture
def stream():
    """One symbol that has traded for a while."""
    stream = Stream()
    stream.now_s, stream.ids["A"] = -45.0, 10
    stream.trades(150)
    assert stream.faults == []
    assert stream.view().state is SymbolState.LIVE
    return stream


def test_a_symbol_is_unknown_until_it_brings_a_trade():
    stream = Stream(symbols=["A", "B"])
    assert stream.view("B").state is SymbolState.UNKNOWN
    assert stream.view("B").last_event_ns is None
    stream.take(Quote("venue", "B", 1, 1, 2, 1, START_NS, START_NS))
    stream.trade("A")
    assert stream.view("B").state is SymbolState.UNKNOWN
    assert stream.view("A").state is SymbolState.LIVE


def test_a_sound_stream_is_taken_and_nothing_is_said(stream):
    event = Trade("venue", "A", 1, 1, "buy", 161, *[START_NS + 31 * SECOND_NS] * 2)
    assert stream.health.take(event) is TAKEN
    view = stream.view()
    assert (view.trades, view.id_gaps, view.ids_missing, view.duplicates) == (151, 0, 0, 0)
    assert sum(view.lag_counts) == 151
    assert view.lag_ns == 0
    assert len(view.lag_counts) == 12


def test_a_jump_in_the_ids_is_named_at_once_and_shown_until_it_is_filled(stream):
    stream.trade(skip=3)
    assert stream.named() == [("A", FaultKind.GAP)]
    assert stream.faults[0].detail == "3 missing: trades 161 to 163"
    assert (stream.view().state, stream.view().ids_missing) == (SymbolState.GAP, 3)
    for trade_id in (161, 162, 163):
        assert stream.give("A", trade_id, old_s=0.3, backfilled=True)
    view = stream.view()
    assert (view.state, view.ids_missing, view.id_gaps) == (SymbolState.LIVE, 0, 1)
    assert view.backfilled == 3
    assert stream.named() == [("A", FaultKind.GAP)]


def test_a_gap_that_nothing_fills_is_shown_for_five_minutes_and_counted_for_ever(stream):
    stream.trade(skip=1)
    stream.trades(500)
    assert stream.view().state is SymbolState.GAP
    stream.trades(110)
    assert stream.view().state is SymbolState.LIVE
    assert (stream.view().id_gaps, stream.view().ids_missing) == (1, 1)


def test_a_backfill_is_shown_and_its_failure_is_named(stream):
    stream.trade(skip=1)
    stream.notice(NoticeKind.BACKFILLING, "A", first_id=161, last_id=161)
    assert stream.view().state is SymbolState.BACKFILLING
    stream.notice(NoticeKind.BACKFILL_FAILED, "A", detail="too old")
    assert stream.view().state is SymbolState.GAP
    assert stream.named()[-1] == ("A", FaultKind.BACKFILL_FAILED)
    stream.notice(NoticeKind.BACKFILLING, "A")
    stream.give("A", 161, old_s=2.0, backfilled=True)
    stream.notice(NoticeKind.BACKFILLED, "A")
    assert stream.view().state is SymbolState.LIVE


def test_what_was_missed_over_a_restart_is_a_gap():
    stream = Stream(last_ids={"A": 95})
    stream.trade()
    assert stream.faults[0].detail == "5 missing: trades 96 to 100"


def test_a_duplicate_is_dropped_and_named_at_once(stream):
    assert not stream.give("A", 160)
    assert not stream.give("A", 120)
    assert stream.named() == [("A", FaultKind.DUPLICATE)]  # at most one a second is named
    assert stream.view().duplicates == 2
    assert stream.view().trades == 150


def test_a_backfill_that_overlaps_with_the_stream_is_no_duplicate(stream):
    assert not stream.give("A", 160, backfilled=True)
    assert stream.faults == []


def test_where_the_venue_gives_no_id_gaps_and_duplicates_are_unknown():
    stream = Stream()
    stream.trades(100, trade_id=None)
    view = stream.view()
    assert (view.id_gaps, view.ids_missing, view.duplicates) == (None, None, None)
    assert (view.trades, stream.faults) == (100, [])


def test_a_late_trade_is_counted_at_once_and_named_with_the_next_on_time(stream):
    stream.trade(old_s=3.0)
    assert (stream.view().late, stream.faults) == (1, [])
    stream.trade(after_s=0.1)
    assert stream.named() == [("A", FaultKind.LATE)]
    assert stream.faults[0].detail.startswith("1 up to 2.5")


def test_a_late_trade_that_none_follows_is_named_after_two_seconds(stream):
    stream.trade(old_s=3.0)
    stream.ticks(4)
    assert stream.named() == [("A", FaultKind.LATE)]
    late_s = (stream.faults[0].at_ns - START_NS) / SECOND_NS - 30.5
    assert 2.0 <= late_s <= 3.1


def test_a_trade_that_is_a_little_older_is_counted_and_not_named(stream):
    stream.trade(after_s=0.1, old_s=0.6)
    stream.trades(30)
    assert (stream.view().out_of_order, stream.view().late, stream.faults) == (1, 0, [])


@pytest.mark.parametrize("skew_s", [-30.0, -5.0, -3.0, -1.5, 1.5, 5.0, 100.0])
def test_a_skewed_clock_is_named_once_and_as_nothing_else(stream, skew_s):
    stream.trades(120, old_s=-skew_s)
    stream.trades(120)
    assert stream.named() == [("A", FaultKind.CLOCK_SKEW)]
    found_s = (stream.faults[0].at_ns - START_NS) / SECOND_NS - 30.0
    assert found_s <= (0.5 if skew_s > 0 else 10.0)


def test_a_skewed_clock_that_comes_back_is_named_again(stream):
    for _ in range(2):
        stream.trades(30, old_s=5.0)
        stream.trades(60)
    assert stream.named() == [("A", FaultKind.CLOCK_SKEW)] * 2


def test_trades_that_grow_older_and_older_are_late_as_a_state_and_no_skew(stream):
    for step in range(60):
        stream.trade(old_s=6.0 + step * 0.4)
    assert stream.view().state is SymbolState.LATE
    assert FaultKind.CLOCK_SKEW not in [kind for _, kind in stream.named()]
    stream.trades(60)
    assert stream.view().state is SymbolState.LIVE


def test_a_backlog_that_comes_at_once_is_neither_late_nor_a_skew(stream):
    stream.now_s += 20.0
    for step in range(39):
        stream.trade(after_s=0.0, old_s=19.5 - step * 0.5)
    stream.trades(40)
    assert stream.faults == []
    assert stream.view().late == 0


def test_a_mix_of_ms_and_us_is_named_once(stream):
    rng = random.Random(1)
    for _ in range(50):
        stream.trade(resolution_ns=rng.choice([MS_NS, US_NS]))
    stream.trades(50)
    assert stream.named() == [("A", FaultKind.TIME_UNIT)]
    assert stream.faults[0].detail == "from ms to µs"


def test_a_symbol_that_falls_silent_while_others_go_on_is_frozen(stream):
    stream.trades(200, "B")
    assert stream.named() == [("A", FaultKind.FROZEN)]
    assert (stream.faults[0].at_ns - START_NS) / SECOND_NS - 30.0 <= 32.0
    assert stream.view("A").state is SymbolState.STALE
    assert stream.view("B").state is SymbolState.LIVE
    stream.trade("A")
    assert stream.view("A").state is SymbolState.LIVE
    assert stream.named() == [("A", FaultKind.FROZEN)]


def test_a_feed_that_falls_silent_is_frozen_while_ticks_go_on(stream):
    stream.ticks(40)
    assert stream.named() == [("A", FaultKind.FROZEN)]


def test_a_slow_symbol_may_be_silent_for_longer():
    stream = Stream()
    stream.trades(60, after_s=10.0)
    stream.ticks(190)
    assert stream.faults == []
    stream.ticks(30)
    assert stream.named() == [("A", FaultKind.FROZEN)]


def test_a_very_slow_symbol_is_learned_and_not_named_again_and_again():
    stream = Stream()
    stream.trades(3_000, "B", after_s=0.0, trade_id=None)
    for _ in range(20):
        stream.ticks(800)
        stream.trade("A", after_s=0.0)
        stream.trade("B", after_s=0.0)
    assert ("A", FaultKind.FROZEN) not in stream.named()
    assert ("A", FaultKind.TIME_GAP) not in stream.named()


def test_a_symbol_that_slows_down_for_good_is_named_a_few_times_only(stream):
    for _ in range(200):
        stream.ticks(100)
        stream.trade("A", after_s=0.0)
    assert 1 <= len(stream.faults) <= 4
    assert stream.faults[-1].at_ns - stream.faults[0].at_ns < 500 * SECOND_NS


def test_a_recording_with_an_hour_cut_out_has_a_time_gap_and_no_frozen_symbol(stream):
    for _ in range(60):
        stream.trades(1, "B")
        stream.trades(1, "A")
    stream.trade("A", after_s=3600.0)
    stream.trade("B")
    assert stream.named() == [("A", FaultKind.TIME_GAP), ("B", FaultKind.TIME_GAP)]
    assert (stream.view("A").time_gaps, stream.view("A").id_gaps) == (1, 0)


def test_a_lost_connection_makes_every_symbol_stale_until_it_trades_again(stream):
    stream.trades(6, "B")
    for _ in range(2):
        stream.notice(NoticeKind.DISCONNECTED, detail="reset")
    assert stream.named() == [(symbol, FaultKind.DISCONNECTED) for symbol in "AB"]
    assert stream.view("A").state is stream.view("B").state is SymbolState.STALE
    stream.notice(NoticeKind.CONNECTED)
    assert stream.view("A").state is SymbolState.STALE
    stream.trade("A")
    assert stream.view("A").state is SymbolState.LIVE
    stream.ticks(400)
    assert ("B", FaultKind.FROZEN) in stream.named()  # connected, and still nothing of it


def test_a_connection_lost_before_anything_came_is_named_for_the_feed():
    stream = Stream(symbols=["A"])
    stream.notice(NoticeKind.DISCONNECTED)
    assert stream.named() == [(None, FaultKind.DISCONNECTED)]
    assert stream.view().state is SymbolState.UNKNOWN


def test_silence_of_a_closed_market_is_no_fault(stream):
    stream.notice(NoticeKind.CLOSED, "A")
    stream.ticks(3_600)
    assert stream.view().state is SymbolState.CLOSED
    stream.notice(NoticeKind.OPENED, "A")
    stream.trades(40)
    assert stream.faults == []
    assert stream.view().state is SymbolState.LIVE


def test_what_trades_while_the_ingestion_window_is_closed_is_no_gap(stream):
    stream.notice(NoticeKind.CLOSED)
    stream.ticks(100)
    stream.notice(NoticeKind.OPENED)
    stream.trade(skip=5_000)
    assert (stream.faults, stream.view().state) == ([], SymbolState.LIVE)
    stream.trade(skip=1)
    assert stream.named() == [("A", FaultKind.GAP)]


def test_bad_frames_are_counted_and_named_for_their_symbol_where_it_is_known(stream):
    now_ns = START_NS + 31 * SECOND_NS
    stream.take(Rejected(RejectReason.PRICE, "it is 0", now_ns, "A"))
    stream.take(Rejected(RejectReason.MALFORMED, "cut short", now_ns))
    stream.take(Rejected(RejectReason.UNKNOWN_TYPE, "aboutToTellYou", now_ns))
    stream.take(Rejected(RejectReason.FUTURE, "20 s ahead", now_ns, "A"))
    assert stream.named() == [
        ("A", FaultKind.MALFORMED), (None, FaultKind.MALFORMED), ("A", FaultKind.CLOCK_SKEW),
    ]  # fmt: skip
    assert (stream.view().malformed, stream.health.malformed) == (1, 1)


def test_symbols_beyond_the_limit_are_left_out_and_counted():
    health = FeedHealth(HealthConfig(symbols_max=3))
    for name in "ABCDEF":
        for number in (1, 2):
            trade = Trade("test", name, 1, 1, "buy", number, START_NS, START_NS)
            assert health.take(trade).taken == (name in "ABC")
    assert len(health.snapshot()) == 3
    assert health.unwatched == 6


def test_a_flood_of_faults_is_named_once_a_second(stream):
    for _ in range(1_000):
        stream.trade(after_s=0.01, skip=1)
    assert stream.view().id_gaps == 1_000
    assert len(stream.faults) == 10


EVENTS = st.tuples(
    st.sampled_from("AB"), st.floats(0, 100), st.integers(-3, 3), st.floats(-30, 30),
    st.sampled_from([MS_NS, US_NS]), st.booleans(), st.sampled_from([None, *NoticeKind]),
)  # fmt: skip


@given(plan=st.lists(EVENTS, max_size=60))
def test_whatever_comes_no_trade_is_taken_twice_and_a_second_run_says_the_same(plan):
    runs = []
    for _ in range(2):
        stream, taken = Stream(), set()
        for symbol, after_s, skip, old_s, resolution_ns, backfilled, notice in plan:
            if notice is not None and not (notice is NoticeKind.OPENED and skip > 0):
                stream.notice(notice, symbol)
            stream.now_s += after_s
            trade_id = stream.ids[symbol] = max(stream.ids.get(symbol, 100) + 1 + skip, 1)
            came = stream.give(
                symbol, trade_id, old_s=old_s, resolution_ns=resolution_ns, backfilled=backfilled
            )
            assert came == ((symbol, trade_id) not in taken)
            taken.add((symbol, trade_id))
        runs.append((stream.faults, stream.changes, stream.health.snapshot()))
    assert runs[0] == runs[1]
