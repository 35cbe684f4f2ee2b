"""The state as rows: what was counted comes back, and rows that make no sense are told apart."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from metrics_sidecar.epochs import SILENT_S
from metrics_sidecar.ledger import Ledger
from metrics_sidecar.rows import LedgerRowsError, ServiceCounter
from metrics_sidecar.tallies import SYMBOLS_MAX
from trade_telemetry import RejectReason, Trade
from trade_telemetry.messages import Beat, LossReason, Skip

NOW_S = 1_790_000_000.0


def busy_ledger():
    """Something of everything."""
    ledger = Ledger()
    for number, (source, epoch, qty) in enumerate(
        [("a/b", 1, 0.1), ("a/b", 2**53 - 1, 0.2), ("epoch/7", 3, 1e15), ("c", 4, 0.3)] * 3
    ):
        seq = number // 4 + 1
        trade = Trade("buy", qty, NOW_S - 0.1, f"S{number}", src=source, epoch=epoch, seq=seq)
        ledger.apply(trade, NOW_S + number)
    ledger.beat(Beat("c", 4, NOW_S, 7, 9, 9, 2, 50, {"ring_full": 3}, durable=True), NOW_S)
    ledger.skip(Skip("c", 4, 4, 5, LossReason.JOURNAL), NOW_S)
    ledger.reject(RejectReason.EMPTY, 3)
    ledger.note(ServiceCounter.RECEIVER_BUSY_S, 0.1 + 0.2)
    ledger.note(ServiceCounter.STARTS, 1)
    ledger.apply(Trade("sell", 0.7, NOW_S), NOW_S)
    ledger.apply(Trade("sell", 0.7, NOW_S, src="gone", epoch=5, seq=1), NOW_S)
    ledger.listened(SILENT_S / 2)
    for seq in (4, 9, 2, 2):
        ledger.apply(Trade("buy", 1.0, NOW_S, src="a/b", epoch=1, seq=seq), NOW_S)
    ledger.listened(SILENT_S / 2)
    ledger.changes()
    ledger.committed()
    return ledger


def test_what_was_committed_comes_back_but_for_the_latest_trades():
    ledger = busy_ledger()
    again = Ledger(ledger.rows())
    assert again.snapshot() == replace(ledger.snapshot(), recent=())
    assert list(again.snapshot().symbols) == list(ledger.snapshot().symbols)
    assert again.rows() == ledger.rows()
    assert (again.changes(), again.uncommitted, again.acknowledgements()) == ({}, 0, [])


def test_the_latest_trades_are_those_of_this_life_numbered_from_1():
    ledger = Ledger(busy_ledger().rows())
    ledger.apply(Trade("buy", 1.0, NOW_S), NOW_S)
    ledger.changes()
    ledger.committed()
    assert [number for number, _, _ in ledger.snapshot().recent] == [1]


def test_the_example_holds_every_kind_of_row():
    kinds = {key.split("/")[0] for key in busy_ledger().rows()}
    assert kinds == {"totals", "symbol", "publisher", "epoch", "spent"}


def test_rows_may_come_back_in_any_order():
    ledger = busy_ledger()
    again = Ledger(dict(sorted(ledger.rows().items(), reverse=True)))
    assert list(again.snapshot().symbols) == list(ledger.snapshot().symbols)
    assert again.rows() == ledger.rows()


def test_a_volume_beyond_64_bits_comes_back_exactly():
    ledger = Ledger()
    for _ in range(30):
        ledger.apply(Trade("buy", 1e15, NOW_S), NOW_S)
        ledger.apply(Trade("buy", 1e-9, NOW_S), NOW_S)
    volume = Ledger(ledger.rows()).snapshot().symbols["(none)"].volume_nano["buy"]
    assert volume == 30 * 10**24 + 30 > 2**64


def test_symbols_past_the_limit_are_the_same_ones_after_a_restart():
    ledger, again = Ledger(), Ledger()
    for number in range(SYMBOLS_MAX + 5):
        again = Ledger(again.rows())
        for each in (ledger, again):
            each.apply(Trade("buy", 1.0, NOW_S, symbol=f"S{number}"), NOW_S)
    for each in (ledger, again):
        each.apply(Trade("sell", 1.0, NOW_S, symbol="S0"), NOW_S)
        each.changes()
        each.committed()
    assert list(again.snapshot().symbols) == list(ledger.snapshot().symbols)
    assert again.snapshot().symbols == ledger.snapshot().symbols


def test_fields_of_a_later_version_are_ignored_and_missing_ones_have_a_default():
    rows = busy_ledger().rows()
    totals = msgspec.json.decode(rows["totals"])
    del totals["skips"]
    rows["totals"] = msgspec.json.encode(totals | {"later": [1, 2]})
    assert Ledger(rows).snapshot().skips == 0


def test_what_a_later_version_counts_of_itself_is_ignored():
    ledger = busy_ledger()
    rows = ledger.rows()
    totals = msgspec.json.decode(rows["totals"])
    totals["service"]["later"] = 7
    again = Ledger(rows | {"totals": msgspec.json.encode(totals)})
    assert again.snapshot().service == ledger.snapshot().service
    assert again.rows() == rows


def test_a_reason_of_a_later_version_is_refused_for_the_sums_need_it():
    rows = busy_ledger().rows()
    totals = msgspec.json.decode(rows["totals"])
    totals["rejected"]["later"] = 7
    with pytest.raises(LedgerRowsError):
        Ledger(rows | {"totals": msgspec.json.encode(totals)})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("totals", None),
        ("totals", b""),
        ("totals", b"\xff"),
        ("totals", b"[]"),
        ("totals", b"{}"),
        ("symbol/S0", None),
        ("symbol/S0", b'{"index":1,"buy_trades":2,"sell_trades":0,"buy_nano":"1","sell_nano":"0"}'),
        ("symbol/S0", b'{"index":1,"buy_trades":1,"sell_trades":0,"buy_nano":1,"sell_nano":"0"}'),
        ("symbol/S0", b'{"index":1,"buy_trades":1,"sell_trades":0,"buy_nano":"-","sell_nano":"0"}'),
        ("publisher/c", None),
        ("publisher/c", b"{}"),
        ("publisher/c", b'{"applied":-1}'),
        ("publisher/c", b'{"lost":{"whatever":1}}'),
        ("epoch/4/c", None),
        ("epoch/4/c", b'{"last":4,"head":9}'),
        ("epoch/4/c", b'{"last":10,"head":9}'),
        ("epoch/0/c", b'{"last":0,"head":0}'),
        ("epoch/x/c", b'{"last":0,"head":0}'),
        ("epoch/4", b'{"last":0,"head":0}'),
        ("spent/5/gone", None),
        ("spent/4/c", b'{"last":5,"since_s":1.0}'),
        ("spent/" + "9" * 5000 + "/c", b'{"last":5,"since_s":1.0}'),
        ("other/4", b"{}"),
    ],
)
def test_rows_that_make_no_sense_are_told_apart_in_a_sentence(key, value):
    rows = busy_ledger().rows()
    if value is None:
        del rows[key]
    else:
        rows[key] = value
    with pytest.raises(LedgerRowsError) as failure:
        Ledger(rows)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("key", "instead", "value"),
    [
        ("publisher/c", "publisher/d", b"{}"),
        ("spent/5/gone", "spent/4/c", b'{"last":5,"since_s":1.0}'),
    ],
)
def test_rows_that_contradict_each_other_are_told_apart(key, instead, value):
    rows = busy_ledger().rows()
    del rows[key]
    with pytest.raises(LedgerRowsError, match=r"missing|at once"):
        Ledger(rows | {instead: value})


@pytest.mark.parametrize("key", ["symbol/S0", "epoch/4/c", "publisher/c"])
def test_a_row_from_another_time_is_told_apart(key):
    ledger = busy_ledger()
    before = ledger.rows()
    ledger.apply(Trade("buy", 1.0, NOW_S, "S0", src="c", epoch=4, seq=6), NOW_S)
    with pytest.raises(LedgerRowsError):
        Ledger(ledger.rows() | {key: before[key]})
