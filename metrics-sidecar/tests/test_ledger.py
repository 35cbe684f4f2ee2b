"""The ledger: every message falls into one count, and volumes are summed exactly."""

from __future__ import annotations

import random
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from metrics_sidecar.ledger import NO_SYMBOL, RECENT_MAX, SYMBOLS_MAX, Ledger
from metrics_sidecar.publishers import OTHER
from trade_telemetry import RejectReason, Trade
from trade_telemetry.messages import Beat

NOW_S = 1_790_000_000.0


def trade(side="buy", qty=1.0, ts=NOW_S, **fields):
    return Trade(side, qty, ts, **fields)


def test_both_sides_stand_at_zero_from_the_start():
    snapshot = Ledger(NOW_S).snapshot()
    assert [snapshot.trades(side) for side in ("buy", "sell")] == [0, 0]
    assert [snapshot.volume(side) for side in ("buy", "sell")] == [0.0, 0.0]
    assert snapshot.last_trade_ts_s == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["buy", "sell"]),
            st.decimals(0, 1_000_000, places=9),
            st.sampled_from([None, "BTCUSDT", "AAPL"]),
        ),
        max_size=60,
    )
)
def test_totals_are_the_exact_sums_of_what_was_applied(rows):
    ledger = Ledger(NOW_S)
    for side, qty, symbol in rows:
        assert ledger.apply(trade(side, float(qty), symbol=symbol), NOW_S)
    snapshot = ledger.snapshot()
    for side in ("buy", "sell"):
        mine = [(qty, symbol or NO_SYMBOL) for s, qty, symbol in rows if s == side]
        assert snapshot.trades(side) == len(mine)
        assert snapshot.volume(side) == float(sum((qty for qty, _ in mine), Decimal(0)))
        for symbol, totals in snapshot.symbols.items():
            exact = sum((qty for qty, s in mine if s == symbol), Decimal(0))
            assert totals.volume_nano[side] == int(exact * 10**9)


def test_the_order_of_trades_never_changes_the_volume():
    quantities = [0.1, 1e15, 0.2, 1e-9, 123_456.789, 0.3] * 50
    volumes = set()
    for seed in range(5):
        ledger = Ledger(NOW_S)
        for qty in random.Random(seed).sample(quantities, len(quantities)):
            ledger.apply(trade(qty=qty), NOW_S)
        volumes.add(ledger.snapshot().symbols[NO_SYMBOL].volume_nano["buy"])
    assert len(volumes) == 1


def test_received_is_the_sum_of_what_became_of_each_message():
    ledger = Ledger(NOW_S)
    ledger.apply(trade(), NOW_S)
    ledger.apply(trade(src="bot", epoch=1, seq=1), NOW_S)
    ledger.apply(trade(src="bot", epoch=1, seq=1), NOW_S)
    ledger.beat(Beat("bot", 1, NOW_S, 1, 0, 10, {}), NOW_S)
    ledger.reject(RejectReason.QTY, 3)
    snapshot = ledger.snapshot()
    assert (snapshot.applied, snapshot.untracked) == (2, 1)
    assert (snapshot.duplicates, snapshot.beats, snapshot.rejected[RejectReason.QTY]) == (1, 1, 3)
    parts = snapshot.applied + snapshot.duplicates + snapshot.beats
    assert snapshot.received == parts + sum(snapshot.rejected.values()) == 7


def test_a_rejected_trade_with_stamps_arrived_and_is_not_missing():
    ledger = Ledger(NOW_S)
    ledger.apply(trade(src="bot", epoch=1, seq=1), NOW_S)
    ledger.reject_stamped(RejectReason.TS_FUTURE, ("bot", 1, 2), NOW_S)
    ledger.reject_stamped(RejectReason.TS_FUTURE, ("bot", 1, 2), NOW_S)
    ledger.apply(trade(src="bot", epoch=1, seq=3), NOW_S)
    snapshot = ledger.snapshot()
    bot = snapshot.publishers["bot"]
    assert (bot.published, bot.applied, bot.rejected, bot.missing, bot.residue) == (3, 2, 1, 0, 0)
    assert (snapshot.received, snapshot.rejected[RejectReason.TS_FUTURE]) == (4, 2)


def test_stamps_beyond_reason_are_rejected_and_the_identity_holds():
    ledger = Ledger(NOW_S)
    ledger.apply(trade(src="bot", epoch=1, seq=1), NOW_S)
    ledger.apply(trade(src="bot", epoch=1, seq=2**53 - 1), NOW_S)
    for epoch in (2, 3):
        ledger.beat(Beat("bot", epoch, NOW_S, 2**53 - 1, 2**53 - 1, 10, {}), NOW_S)
    snapshot = ledger.snapshot()
    parts = snapshot.applied + snapshot.duplicates + snapshot.beats
    assert snapshot.received == parts + sum(snapshot.rejected.values()) == 4
    assert snapshot.publishers["bot"].published <= 2**53 - 1


def test_symbols_past_the_limit_are_counted_as_other():
    ledger = Ledger(NOW_S)
    for number in range(SYMBOLS_MAX + 10):
        for side in ("sell", "buy"):
            ledger.apply(trade(side, symbol=f"S{number}"), NOW_S)
    ledger.apply(trade(), NOW_S)
    snapshot = ledger.snapshot()
    assert len(snapshot.symbols) == SYMBOLS_MAX + 2
    assert snapshot.symbols[OTHER].trades == {"buy": 10, "sell": 10}
    assert snapshot.symbols[NO_SYMBOL].trades == {"buy": 1, "sell": 0}
    assert snapshot.trades("buy") == SYMBOLS_MAX + 11


def test_ages_fall_into_buckets_whose_upper_bound_is_included():
    ledger = Ledger(NOW_S)
    for age_s in (-5, 0, 0.001, 0.0011, 60, 61):
        ledger.apply(trade(ts=NOW_S - age_s), NOW_S)
    counts = ledger.snapshot().age_counts
    # a double near 1.79e9 is exact to 2.4e-7 s, so 0.001 may fall on either side of its bound
    assert counts[0] + counts[1] == 4
    assert counts[0] >= 2
    assert (counts[-2], counts[-1]) == (1, 1)


def test_a_snapshot_does_not_change_when_the_ledger_goes_on():
    ledger = Ledger(NOW_S)
    ledger.apply(trade(), NOW_S)
    before = ledger.snapshot()
    ledger.apply(trade(), NOW_S)
    ledger.reject(RejectReason.EMPTY)
    assert (before.trades("buy"), before.received, len(before.recent)) == (1, 1, 1)
    assert before.rejected[RejectReason.EMPTY] == 0


def test_recent_trades_are_bounded_and_numbered():
    ledger = Ledger(NOW_S)
    for _ in range(RECENT_MAX + 5):
        ledger.apply(trade(), NOW_S)
    recent = ledger.snapshot().recent
    assert [number for number, _, _ in recent] == list(range(6, RECENT_MAX + 6))
