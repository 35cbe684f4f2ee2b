"""Many trades in one frame: the same trades, within a frame's size, each judged by itself."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_telemetry.batches import BATCH_TRADES_MAX, Batch, TradeRow, frames_of_each
from trade_telemetry.errors import RejectedMessageError
from trade_telemetry.messages import (
    FRAME_BYTES_MAX,
    STAMP_MAX,
    RejectReason,
    Trade,
    decode,
    encode,
    one_by_one,
)

NOW_S = 1_790_000_000.0
rows = st.builds(
    TradeRow,
    st.sampled_from(["buy", "sell"]),
    st.floats(0, 1e15),
    st.floats(0, NOW_S, exclude_min=True),
    st.none() | st.from_regex(r"\A[A-Za-z0-9._:/-]{1,24}\Z"),
    st.none() | st.floats(0, exclude_min=True, allow_infinity=False, allow_nan=False),
)


def frame(*trades, **changes):
    batch = {"type": "batch", "src": "bot", "epoch": 7, "seq": 5, "trades": list(trades)}
    return json.dumps(batch | changes).encode()


def reason_of(data):
    with pytest.raises(RejectedMessageError) as rejected:
        decode(data, NOW_S)
    return rejected.value.reason, rejected.value.stamps


@given(st.lists(rows, min_size=1, max_size=BATCH_TRADES_MAX))
def test_a_batch_says_what_its_trades_would_one_by_one(trades):
    batch = decode(encode(Batch("bot", 7, 5, trades)), NOW_S)
    frames = [encode(each) for each in one_by_one(batch)]
    assert [decode(each, NOW_S) for each in frames] == list(one_by_one(batch))
    assert [msgspec.to_builtins(row) for row in batch.trades] == [
        [each.side, each.qty, each.ts, each.symbol, each.price] for each in one_by_one(batch)
    ]
    assert [each.seq for each in one_by_one(batch)] == list(range(5, batch.last + 1))


def test_the_largest_batch_is_within_a_frame():
    row = TradeRow("sell", 1.2345678901234567e-300, 1.2345678901234567e-300, "S" * 24, 1.5e-300)
    longest = TradeRow(row.side, row.qty, row.ts, row.symbol, 1.2345678901234567e-300)
    batch = Batch("s" * 64, STAMP_MAX, STAMP_MAX - BATCH_TRADES_MAX, [longest] * BATCH_TRADES_MAX)
    assert len(encode(batch)) <= FRAME_BYTES_MAX
    assert decode(encode(batch), NOW_S) == batch


@pytest.mark.parametrize(
    "data",
    [
        b'{"type":"batch"}',
        frame(),
        frame(*[["buy", 1, 1]] * (BATCH_TRADES_MAX + 1)),
        frame(["buy", 1, 1], src="no spaces"),
        frame(["buy", 1, 1], epoch=0),
        frame(["buy", 1, 1], seq=None),
        frame(["buy", 1, 1], ["buy", 1, 1], seq=STAMP_MAX),
        frame(["buy", -1, 1]),
        frame(["buy", 1, NOW_S + 11]),
        frame(["buy", 1, 1, "no spaces"]),
        frame(["buy", 1]),
        frame("buy"),
        frame(trades={}),
    ],
)
def test_a_batch_that_is_not_of_the_contract_is_rejected_as_one(data):
    assert reason_of(data) == (RejectReason.BATCH, None)


def test_of_a_batch_with_bad_trades_each_is_judged_by_itself_in_its_place():
    bad = [
        (["hold", 1, 1], RejectReason.SIDE),
        (["buy", -1, 1], RejectReason.QTY),
        (["buy", 1, NOW_S + 11], RejectReason.TS_FUTURE),
        (["buy", 1, 1, "no spaces"], RejectReason.SYMBOL),
        (["buy", 1, 1, None, -1], RejectReason.PRICE),
        (["buy", float("nan"), 1], RejectReason.QTY),
        (["buy", 1, float("inf")], RejectReason.TS),
        (["buy", [[[]]], 1], RejectReason.QTY),
        (["buy", 1, 1, "\ud800"], RejectReason.SYMBOL),
        (["buy"], RejectReason.MISSING_FIELD),
        (17, RejectReason.MISSING_FIELD),
        ({"side": "buy"}, RejectReason.MISSING_FIELD),
    ]
    trades = [["sell", 2, 1, "X", 3], *(row for row, _ in bad), ["buy", 1, 1]]
    first, *middle, last = frames_of_each(frame(*trades))
    assert decode(first, NOW_S) == Trade("sell", 2, 1, "X", 3, "bot", 7, 5)
    for seq, (data, (_, reason)) in enumerate(zip(middle, bad, strict=True), 6):
        assert reason_of(data) == (reason, ("bot", 7, seq))
    assert decode(last, NOW_S) == Trade("buy", 1, 1, None, None, "bot", 7, 6 + len(bad))


@given(st.binary() | st.binary().map(lambda data: b'{"type":"batch","src":"a",' + data))
def test_what_is_no_batch_has_no_trades(data):
    assert list(frames_of_each(data)) == []
