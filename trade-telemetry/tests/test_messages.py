"""The contract: what is a trade, what is not, and by which name it is refused."""

from __future__ import annotations

import contextlib
import json
import math
from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trade_telemetry import InvalidTradeError, RejectedMessageError, RejectReason, Trade
from trade_telemetry.messages import (
    FRAME_BYTES_MAX,
    QTY_MAX,
    STAMP_MAX,
    Beat,
    LossReason,
    Skip,
    check_trade,
    decode,
    encode,
    quantity_nano,
)

NOW_S = 1_790_000_000.0
PLAIN = {"type": "trade", "side": "buy", "qty": 3, "ts": NOW_S}
STAMPS = {"src": "bot", "epoch": 7, "seq": 1}


def frame(**fields: object) -> bytes:
    """The plain four fields with some replaced; ``...`` leaves one out."""
    merged = PLAIN | fields
    return json.dumps({k: v for k, v in merged.items() if v is not ...}).encode()


def test_the_four_plain_fields_are_a_trade():
    assert decode(frame(), NOW_S) == Trade("buy", 3.0, NOW_S)


def test_unknown_fields_and_null_options_are_ignored():
    message = decode(frame(colour="blue", nested={"a": [1]}, symbol=None, price=None), NOW_S)
    assert message == Trade("buy", 3.0, NOW_S)


BEAT = Beat(
    "bot", 7, 1.5, number=4, head=5, sent=3, oldest=1, capacity=100, refused={"ring_full": 3}
)
SKIP = Skip("bot", 7, first=2, last=5, reason=LossReason.OVERWRITTEN)


def frame_of(message, **changes):
    return json.dumps(json.loads(encode(message)) | changes).encode()


BAD_FRAMES = [
    (b"", RejectReason.EMPTY),
    (b'{"type":"trade","side"', RejectReason.MALFORMED),
    (b"\x00\xff\xfe\x80 binary", RejectReason.MALFORMED),
    (b'{"type":"trade","side":"buy","qty":1,"ts":1,"x":"\xff"}', RejectReason.MALFORMED),
    (b'{"type":"trade","side":"buy","qty":1,"ts":1} {}', RejectReason.MALFORMED),
    (b"[" * 8_000, RejectReason.TOO_DEEP),
    (b'{"x":' + b"[" * 6_000 + b"]" * 6_000 + b"}", RejectReason.TOO_DEEP),
    (b" " * (FRAME_BYTES_MAX + 1), RejectReason.TOO_LARGE),
    (b"[1, 2]", RejectReason.NOT_OBJECT),
    (b"42", RejectReason.NOT_OBJECT),
    (b'"trade"', RejectReason.NOT_OBJECT),
    (b"null", RejectReason.NOT_OBJECT),
    (frame(type="order"), RejectReason.UNKNOWN_TYPE),
    (frame(type=5), RejectReason.UNKNOWN_TYPE),
    (frame(type=["trade"]), RejectReason.UNKNOWN_TYPE),
    (frame(type=...), RejectReason.MISSING_FIELD),
    (frame(side=...), RejectReason.MISSING_FIELD),
    (frame(qty=...), RejectReason.MISSING_FIELD),
    (frame(ts=...), RejectReason.MISSING_FIELD),
    (frame(side="hold"), RejectReason.SIDE),
    (frame(side="BUY"), RejectReason.SIDE),
    (frame(side=1), RejectReason.SIDE),
    (frame(qty="3"), RejectReason.QTY),
    (frame(qty=True), RejectReason.QTY),
    (frame(qty=None), RejectReason.QTY),
    (frame(qty=-0.001), RejectReason.QTY),
    (frame(qty=math.nan), RejectReason.QTY),
    (frame(qty=math.inf), RejectReason.QTY),
    (frame(qty=-math.inf), RejectReason.QTY),
    (frame(qty=QTY_MAX * 1.01), RejectReason.QTY),
    (frame(qty=2**63), RejectReason.QTY),
    (frame(qty=2**64), RejectReason.QTY),
    (frame(qty=10**400), RejectReason.QTY),
    (b'{"type":"trade","side":"buy","qty":1e999,"ts":1}', RejectReason.QTY),
    (b'{"type":"trade","side":"buy","qty":1' + b"0" * 9_000 + b',"ts":1}', RejectReason.MALFORMED),
    (frame(ts="now"), RejectReason.TS),
    (frame(ts=0), RejectReason.TS),
    (frame(ts=-1), RejectReason.TS),
    (frame(ts=math.nan), RejectReason.TS),
    (frame(ts=math.inf), RejectReason.TS),
    (frame(ts=NOW_S + 10.5), RejectReason.TS_FUTURE),
    (frame(ts=NOW_S * 1e3), RejectReason.TS_UNIT),
    (frame(ts=int(NOW_S * 1e6)), RejectReason.TS_UNIT),
    (frame(ts=int(NOW_S * 1e9)), RejectReason.TS_UNIT),
    (frame(symbol=""), RejectReason.SYMBOL),
    (frame(symbol="A" * 25), RejectReason.SYMBOL),
    (frame(symbol="BTC USDT"), RejectReason.SYMBOL),
    (frame(symbol="BTC\n"), RejectReason.SYMBOL),
    (frame(symbol="₿"), RejectReason.SYMBOL),
    (frame(symbol=5), RejectReason.SYMBOL),
    (frame(price=0), RejectReason.PRICE),
    (frame(price=-1), RejectReason.PRICE),
    (frame(price=math.inf), RejectReason.PRICE),
    (frame(price="1"), RejectReason.PRICE),
    (frame(seq=1), RejectReason.STAMP),
    (frame(src="bot", epoch=1), RejectReason.STAMP),
    (frame(src="bot"), RejectReason.STAMP),
    (frame(**STAMPS | {"seq": 0}), RejectReason.STAMP),
    (frame(**STAMPS | {"seq": -1}), RejectReason.STAMP),
    (frame(**STAMPS | {"seq": 1.5}), RejectReason.STAMP),
    (frame(**STAMPS | {"seq": STAMP_MAX + 1}), RejectReason.STAMP),
    (frame(**STAMPS | {"epoch": 2**63}), RejectReason.STAMP),
    (frame(**STAMPS | {"src": ""}), RejectReason.STAMP),
    (frame(**STAMPS | {"src": "a" * 65}), RejectReason.STAMP),
    (frame(**STAMPS | {"src": "a:b"}), RejectReason.STAMP),
    (b'{"type":"batch","src":"bot"}', RejectReason.BATCH),
    (b'{"type":"beat","src":"bot"}', RejectReason.BEAT),
    (frame_of(BEAT, since=0), RejectReason.BEAT),
    (frame_of(BEAT, number=0), RejectReason.BEAT),
    (frame_of(BEAT, head=STAMP_MAX + 1), RejectReason.BEAT),
    (frame_of(BEAT, refused={"ring_full": -1}), RejectReason.BEAT),
    (b'{"type":"skip","src":"bot"}', RejectReason.SKIP),
    (frame_of(SKIP, first=6), RejectReason.SKIP),
    (frame_of(SKIP, first=0), RejectReason.SKIP),
    (frame_of(SKIP, reason="bored"), RejectReason.SKIP),
    (b'{"type":"benchmark"}', RejectReason.BENCHMARK),
    (b'{"type":"benchmark_status"}', RejectReason.BENCHMARK_STATUS),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_FRAMES)
def test_a_bad_frame_is_rejected_by_its_reason(bad, reason):
    with pytest.raises(RejectedMessageError) as caught:
        decode(bad, NOW_S)
    assert caught.value.reason is reason
    assert caught.value.detail


@pytest.mark.parametrize("wrong", [{"qty": -1}, {"side": "hold"}, {"ts": NOW_S + 60}, {"qty": ...}])
def test_a_rejected_trade_with_whole_stamps_is_known_by_them(wrong):
    with pytest.raises(RejectedMessageError) as caught:
        decode(frame(**STAMPS | wrong), NOW_S)
    assert caught.value.stamps == ("bot", 7, 1)


@pytest.mark.parametrize("stamps", [{}, {"src": "bot"}, STAMPS | {"seq": "1"}, STAMPS | {"seq": 0}])
def test_a_rejected_trade_without_whole_stamps_is_known_by_none(stamps):
    with pytest.raises(RejectedMessageError) as caught:
        decode(frame(qty=-1, **stamps), NOW_S)
    assert caught.value.stamps is None


def test_what_is_told_of_a_bad_frame_is_short():
    with pytest.raises(RejectedMessageError) as caught:
        decode(frame(side="x" * 10_000), NOW_S)
    assert len(caught.value.detail) <= 200


def test_every_reason_of_a_frame_is_tested():
    by_transport = {RejectReason.OVERSIZED, RejectReason.MULTIPART}
    assert {reason for _, reason in BAD_FRAMES} == set(RejectReason) - by_transport


@given(st.binary(max_size=300))
def test_random_bytes_are_a_message_or_rejected_and_never_anything_else(raw):
    with contextlib.suppress(RejectedMessageError):
        decode(raw, NOW_S)


@given(st.data())
def test_a_mutated_trade_is_a_message_or_rejected(data):
    raw = bytearray(frame(symbol="BTCUSDT", price=1.5, **STAMPS))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        message = decode(bytes(raw), NOW_S)
    except RejectedMessageError:
        return
    assert decode(encode(message), NOW_S) == message


trades = st.builds(
    Trade,
    side=st.sampled_from(["buy", "sell"]),
    qty=st.floats(0, QTY_MAX),
    ts=st.floats(1e-3, NOW_S + 10),
    symbol=st.none() | st.from_regex(r"[A-Za-z0-9._:/-]{1,24}", fullmatch=True),
    price=st.none() | st.floats(1e-300, 1e300),
)


@given(trades)
def test_a_trade_survives_the_wire_to_the_bit(trade):
    assert decode(encode(trade), NOW_S) == trade


def test_a_beat_survives_the_wire():
    assert decode(encode(BEAT), NOW_S) == BEAT


def test_a_skip_survives_the_wire():
    assert decode(encode(SKIP), NOW_S) == SKIP


anything = (
    st.floats()
    | st.integers()
    | st.booleans()
    | st.none()
    | st.text(max_size=30)
    | st.sampled_from(["buy", "sell", "BTCUSDT", NOW_S, NOW_S * 1000, NOW_S + 11, 2**63])
)


@given(side=anything, qty=anything, ts=anything, symbol=anything, price=anything)
@example(side="buy", qty=1, ts=NOW_S, symbol="A", price=1)
@example(side="buy", qty=1, ts=NOW_S + 10, symbol=None, price=None)
def test_a_publisher_accepts_only_what_the_sidecar_accepts(side, qty, ts, symbol, price):
    try:
        trade = check_trade(side, qty, ts, symbol, price, NOW_S)
    except InvalidTradeError:
        return
    assert decode(encode(trade), NOW_S) == trade


@given(trade=trades)
def test_a_publisher_accepts_all_that_the_sidecar_accepts(trade):
    arguments = (trade.side, trade.qty, trade.ts, trade.symbol, trade.price)
    assert check_trade(*arguments, NOW_S) == trade


def test_numbers_of_other_kinds_are_coerced():
    trade = check_trade("sell", Decimal("1.5"), int(NOW_S), None, 2, NOW_S)
    assert trade == Trade("sell", 1.5, NOW_S, None, 2.0)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("hold", 1, None, None, None), "side"),
        ((None, 1, None, None, None), "side"),
        (("buy", "3", None, None, None), "qty"),
        (("buy", True, None, None, None), "qty"),
        (("buy", None, None, None, None), "qty"),
        (("buy", 10**400, None, None, None), "qty"),
        (("buy", math.nan, None, None, None), "qty"),
        (("buy", -1, None, None, None), "qty"),
        (("buy", 1, 0, None, None), "ts"),
        (("buy", 1, NOW_S * 1000, None, None), "ts"),
        (("buy", 1, NOW_S + 11, None, None), "ts"),
        (("buy", 1, None, "BTC USDT", None), "symbol"),
        (("buy", 1, None, 5, None), "symbol"),
        (("buy", 1, None, None, 0), "price"),
    ],
)
def test_a_bad_argument_is_an_error_that_names_its_field(arguments, field):
    with pytest.raises(InvalidTradeError, match=f"^{field} ") as caught:
        check_trade(*arguments, NOW_S)
    assert caught.value.field == field


@given(st.decimals(0, 8_000_000, places=9))
def test_a_quantity_of_up_to_nine_decimals_is_counted_as_written(written):
    assert quantity_nano(float(written)) == int(written * 10**9)


@given(st.integers(0, int(QTY_MAX)))
def test_a_whole_quantity_is_counted_exactly(units):
    assert quantity_nano(float(units)) == units * 10**9


@given(st.floats(0, QTY_MAX))
def test_any_quantity_is_within_one_part_in_a_thousand_million_of_its_double(qty):
    exact = (Decimal(qty) * 10**9).quantize(Decimal(1), ROUND_HALF_EVEN)
    assert abs(quantity_nano(qty) - int(exact)) <= 1
