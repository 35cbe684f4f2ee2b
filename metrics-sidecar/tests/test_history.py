"""The history: a sample a second of running totals, bounded, with nothing invented."""

from __future__ import annotations

import pytest

from metrics_sidecar.history import MARK_EVERY_S, MARKS_MAX, SAMPLES_MAX, History
from metrics_sidecar.ledger import Ledger
from metrics_sidecar.tallies import NO_SYMBOL
from trade_telemetry import RejectReason, Trade

NOW_S = 1_790_000_000.0


def committed(ledger):
    ledger.changes()
    ledger.committed()
    return ledger.snapshot()


def test_it_keeps_one_sample_a_second_and_fifteen_minutes():
    history, ledger = History(), Ledger()
    for second in range(SAMPLES_MAX + 10):
        ledger.apply(Trade("buy", 1.0, NOW_S + second), NOW_S + second + 0.004)
        assert history.is_due(NOW_S + second + 0.1)
        assert history.add(NOW_S + second + 0.1, committed(ledger))
        assert not history.is_due(NOW_S + second + 0.9)
        assert not history.add(NOW_S + second + 0.9, committed(ledger))
    samples = history.samples()
    assert len(samples) == SAMPLES_MAX
    assert samples[-1].at_s - samples[0].at_s == SAMPLES_MAX - 1
    assert samples[-1].trades_buy == SAMPLES_MAX + 10


def test_a_sample_holds_the_totals_of_its_moment():
    history, ledger = History(), Ledger()
    ledger.apply(Trade("buy", 1.5, NOW_S), NOW_S + 0.004)
    ledger.apply(Trade("sell", 0.25, NOW_S), NOW_S + 70)
    ledger.reject(RejectReason.EMPTY, 3)
    history.add(NOW_S + 0.1234567, committed(ledger), busy_s=0.25)
    (sample,) = history.samples()
    assert sample.at_s == NOW_S + 0.123
    assert (sample.trades_buy, sample.trades_sell, sample.rejected) == (1, 1, 3)
    assert (sample.volume_buy, sample.volume_sell, sample.busy_s) == (1.5, 0.25, 0.25)
    assert (sample.age_counts[2], sample.age_counts[-1], sum(sample.age_counts)) == (1, 1, 2)


def test_a_second_without_a_look_is_absent():
    history, snapshot = History(), Ledger().snapshot()
    for at_s in (NOW_S, NOW_S + 1, NOW_S + 7):
        history.add(at_s, snapshot)
    assert [sample.at_s - NOW_S for sample in history.samples()] == [0, 1, 7]


@pytest.mark.parametrize("back_s", [0.5, 1, 30, 100_000])
def test_times_always_grow_though_the_clock_is_set_back(back_s):
    history, snapshot = History(), Ledger().snapshot()
    for second in range(20):
        history.add(NOW_S + second, snapshot)
    for second in range(20):
        history.add(NOW_S + 19.2 - back_s + second, snapshot)
    for times_s in ([s.at_s for s in history.samples()], [m.at_s for m in history.marks()]):
        assert times_s == sorted(set(times_s))
        assert times_s[-1] >= NOW_S + 38 - back_s - MARK_EVERY_S


def test_by_symbol_it_keeps_a_mark_each_five_seconds_of_a_minute():
    history, ledger = History(), Ledger()
    for second in range(200):
        ledger.apply(Trade("sell", 1.0, NOW_S, symbol="ETHUSDT"), NOW_S)
        history.add(NOW_S + second, committed(ledger))
    marks = history.marks()
    assert len(marks) == MARKS_MAX
    assert marks[-1].at_s - marks[0].at_s == 60
    assert marks[-1].trades_sell[1] - marks[0].trades_sell[1] == 60


def test_a_later_symbol_comes_at_the_end_of_a_mark():
    history, ledger = History(), Ledger()
    ledger.apply(Trade("buy", 1.0, NOW_S, symbol="ZEC"), NOW_S)
    history.add(NOW_S, committed(ledger))
    ledger.apply(Trade("buy", 1.0, NOW_S, symbol="ADA"), NOW_S)
    history.add(NOW_S + MARK_EVERY_S, committed(ledger))
    assert list(committed(ledger).symbols) == [NO_SYMBOL, "ZEC", "ADA"]
    assert [mark.trades_buy for mark in history.marks()] == [(0, 1), (0, 1, 1)]
