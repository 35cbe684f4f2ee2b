from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from market_engine.errors import RejectReason
from market_engine.events import (
    MS_NS,
    SECOND_NS,
    US_NS,
    Candle,
    Event,
    Quote,
    Rejected,
    TimeSource,
    Trade,
)
from market_engine.feeds.binance_parser import (
    AHEAD_NS_MAX,
    FRAME_BYTES_MAX,
    RAW_CHARS_MAX,
    BinanceParser,
)

DATA = Path(__file__).parents[2].parent / "shared/data"
RECORDINGS = ("binance-spot-combined-stream.frames", "binance-usdm-futures-combined-stream.frames")
TIME_MS = 1_633_998_523_963
NOW_NS = TIME_MS * MS_NS + 5 * MS_NS

AGG = {
    "e": "aggTrade", "E": TIME_MS, "s": "BTCUSDT", "a": 15683430, "p": "0.35280000",
    "q": "58.00000000", "f": 19862790, "l": 19862791, "T": TIME_MS, "m": False, "M": True,
}  # fmt: skip
SINGLE = {
    "e": "trade", "E": TIME_MS, "s": "BTCUSDT", "t": 19862790, "p": "39432.48",
    "q": "0.00100000", "T": TIME_MS, "m": True, "M": True,
}  # fmt: skip
BOOK = {"u": 4, "s": "BTCUSDT", "b": "10.1", "B": "2", "a": "10.2", "A": "3.5"}
KLINE = {
    "e": "kline", "E": TIME_MS, "s": "BTCUSDT",
    "k": {
        "t": 1_633_998_420_000, "T": 1_633_998_479_999, "s": "BTCUSDT", "i": "1m", "f": 1, "L": 9,
        "o": "10", "c": "11", "h": "12", "l": "9.5", "v": "0", "n": 0, "x": True, "q": "0",
        "V": "0", "Q": "0", "B": "0",
    },
}  # fmt: skip
STREAMS = {"aggTrade": "aggTrade", "trade": "trade", "kline": "kline_1m"}


def wrapped(data: Any) -> bytes:
    """As the combined stream writes it: no blanks, the stream's name first."""
    kind = data.get("e") if isinstance(data, dict) else None
    name = f"btcusdt@{STREAMS.get(str(kind), 'bookTicker')}"
    return json.dumps({"stream": name, "data": data}, separators=(",", ":")).encode()


def bare(data: Any) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()


def spaced(data: Any) -> bytes:
    return json.dumps({"data": data, "stream": "x"}, indent=1).encode()


def parse(frame: bytes | str, **options: Any) -> list[Event]:
    return BinanceParser(**options).parse(frame, NOW_NS)


def parse_one(frame: bytes | str, **options: Any) -> Event:
    (event,) = parse(frame, **options)
    return event


def reason_of(data: Any, frame: Any = wrapped) -> RejectReason:
    event = parse_one(frame(data))
    assert isinstance(event, Rejected)
    return event.reason


@pytest.mark.parametrize("frame", [wrapped, bare, spaced])
def test_an_aggregate_trade_is_taken_in_every_form_of_the_frame(frame) -> None:
    expected = Trade(
        venue="binance",
        symbol="BTCUSDT",
        price_nano=352_800_000,
        qty_nano=58 * 10**9,
        side="buy",
        trade_id=15683430,
        event_ns=TIME_MS * MS_NS,
        received_ns=NOW_NS,
    )
    assert parse(frame(AGG)) == [expected]
    assert parse(frame(AGG).decode()) == [expected]


@pytest.mark.parametrize("frame", [wrapped, bare, spaced])
def test_a_single_trade_is_taken_where_single_trades_are_asked_for(frame) -> None:
    trade = parse_one(frame(SINGLE), trade_stream="trade", venue="binance-us")
    assert isinstance(trade, Trade)
    assert (trade.venue, trade.trade_id, trade.price) == ("binance-us", 19862790, "39432.48")


def test_the_seller_is_the_aggressor_when_the_buyer_was_the_maker() -> None:
    assert parse_one(wrapped(AGG | {"m": True})).side == "sell"
    assert parse_one(wrapped(AGG | {"m": False})).side == "buy"


@pytest.mark.parametrize(("wanted", "unwanted"), [(AGG, SINGLE), (SINGLE, AGG)])
def test_of_two_series_of_ids_only_the_one_asked_for_becomes_trades(wanted, unwanted) -> None:
    parser = BinanceParser(trade_stream=wanted["e"])
    events = [event for data in (wanted, unwanted) for event in parser.parse(wrapped(data), NOW_NS)]
    assert len(events) == 1
    assert parser.ignored == Counter({unwanted["e"]: 1})


@pytest.mark.parametrize(("scale", "resolution_ns"), [(1, MS_NS), (1_000, US_NS), (MS_NS, 1)])
def test_the_unit_of_a_time_is_told_by_its_size(scale: int, resolution_ns: int) -> None:
    trade = parse_one(wrapped(AGG | {"T": TIME_MS * scale}))
    assert (trade.event_ns, trade.resolution_ns) == (TIME_MS * MS_NS, resolution_ns)


@pytest.mark.parametrize("frame", [wrapped, bare, spaced])
def test_a_quote_without_a_time_is_stamped_on_receipt_and_says_so(frame) -> None:
    quote = parse_one(frame(BOOK))
    assert quote == Quote(
        venue="binance",
        symbol="BTCUSDT",
        bid_nano=10_100_000_000,
        bid_qty_nano=2 * 10**9,
        ask_nano=10_200_000_000,
        ask_qty_nano=3_500_000_000,
        event_ns=NOW_NS,
        received_ns=NOW_NS,
        time_source=TimeSource.RECEIPT,
    )


def test_a_quote_of_futures_has_the_venues_time() -> None:
    times = {"e": "bookTicker", "E": TIME_MS, "T": TIME_MS - 3}
    quote = parse_one(wrapped(BOOK | times))
    assert (quote.event_ns, quote.time_source) == ((TIME_MS - 3) * MS_NS, TimeSource.TRADE)
    del times["T"]
    quote = parse_one(bare(times | BOOK))
    assert (quote.event_ns, quote.time_source) == (TIME_MS * MS_NS, TimeSource.EVENT)
    assert reason_of(BOOK | {"T": "soon"}) is RejectReason.TIME


def with_candle(**changes: Any) -> dict[str, Any]:
    return KLINE | {"k": KLINE["k"] | changes}


@pytest.mark.parametrize("frame", [wrapped, bare, spaced])
def test_only_a_closed_candle_is_an_event(frame) -> None:
    candle = parse_one(frame(KLINE))
    assert isinstance(candle, Candle)
    assert (candle.open_ns, candle.span_ns) == (1_633_998_420_000 * MS_NS, 60 * SECOND_NS)
    assert (candle.open_nano, candle.high_nano) == (10 * 10**9, 12 * 10**9)
    assert parse(frame(with_candle(x=False))) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"h": "9"}, RejectReason.PRICE),
        ({"l": "10.5"}, RejectReason.PRICE),
        ({"o": "0"}, RejectReason.PRICE),
        ({"v": "-1"}, RejectReason.QTY),
        ({"n": -1}, RejectReason.QTY),
        ({"T": 1_633_998_420_000 - 1}, RejectReason.TIME),
        ({"T": (TIME_MS - 1) * 1000}, RejectReason.TIME),
        ({"x": 1}, RejectReason.MALFORMED),
    ],
)
def test_a_candle_that_contradicts_itself_is_rejected(changes, reason: RejectReason) -> None:
    assert reason_of(with_candle(**changes)) is reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"e": "surprise"}, RejectReason.UNKNOWN_TYPE),
        ({"e": 7}, RejectReason.UNKNOWN_TYPE),
        ({"s": "btcusdt"}, RejectReason.SYMBOL),
        ({"s": "BTC USDT"}, RejectReason.SYMBOL),
        ({"s": "X" * 33}, RejectReason.SYMBOL),
        ({"s": ""}, RejectReason.SYMBOL),
        ({"s": None}, RejectReason.SYMBOL),
        ({"p": "0"}, RejectReason.PRICE),
        ({"p": "-1"}, RejectReason.PRICE),
        ({"p": "1e3"}, RejectReason.PRICE),
        ({"p": "NaN"}, RejectReason.PRICE),
        ({"p": "1.0000000001"}, RejectReason.PRICE),
        ({"p": 1.5}, RejectReason.PRICE),
        ({"q": "0.000"}, RejectReason.QTY),
        ({"q": "٣"}, RejectReason.QTY),
        ({"q": None}, RejectReason.QTY),
        ({"a": "15683430"}, RejectReason.TRADE_ID),
        ({"a": -1}, RejectReason.TRADE_ID),
        ({"a": True}, RejectReason.TRADE_ID),
        ({"a": 1.0}, RejectReason.TRADE_ID),
        ({"a": 2**63}, RejectReason.TRADE_ID),
        ({"T": 0}, RejectReason.TIME),
        ({"T": 1_633_998_523}, RejectReason.TIME),
        ({"T": TIME_MS * 10}, RejectReason.TIME),
        ({"T": 4_102_444_800_000}, RejectReason.TIME),
        ({"T": str(TIME_MS)}, RejectReason.TIME),
        ({"T": -TIME_MS}, RejectReason.TIME),
        ({"m": 1}, RejectReason.SIDE),
        ({"m": None}, RejectReason.SIDE),
    ],
)
@pytest.mark.parametrize("frame", [wrapped, bare, spaced])
def test_what_is_wrong_with_a_trade_is_said(change, reason: RejectReason, frame) -> None:
    assert reason_of(AGG | change, frame) is reason


@pytest.mark.parametrize("name", ["s", "a", "p", "q", "T", "m"])
def test_a_field_that_is_missing_is_named(name: str) -> None:
    event = parse_one(wrapped({key: value for key, value in AGG.items() if key != name}))
    assert (event.reason, event.detail) == (RejectReason.MISSING_FIELD, name)
    assert event.symbol == (None if name == "s" else "BTCUSDT")


def test_a_trade_may_be_ten_seconds_ahead_of_its_receipt_and_no_more() -> None:
    edge_us = (NOW_NS + AHEAD_NS_MAX) // US_NS
    assert isinstance(parse_one(wrapped(AGG | {"T": edge_us})), Trade)
    assert reason_of(AGG | {"T": edge_us + 1}) is RejectReason.FUTURE


@pytest.mark.parametrize(
    "frame",
    [
        b"", b"{", b"nonsense", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000,
        wrapped(AGG)[:-1], wrapped(AGG)[:60], wrapped(AGG) + b"x",
        wrapped(AGG).replace(b"15683430", b"NaN"), wrapped(AGG).replace(b"15683430", b"9" * 5_000),
        wrapped(AGG).replace(b"BTCUSDT", b"BTC\xff"), "\ud800", b"\x00" * 50,
    ],
    ids=range(14),
)  # fmt: skip
def test_what_is_not_json_is_malformed(frame: bytes | str) -> None:
    event = parse_one(frame)
    assert isinstance(event, Rejected)
    assert (event.reason, event.symbol) == (RejectReason.MALFORMED, None)
    assert len(event.raw) <= RAW_CHARS_MAX
    event.raw.encode()


@pytest.mark.parametrize("frame", [b"1", b"null", b'"x"', b"[]", b"{}", b"[1]", b'{"data":{}}'])
def test_json_that_is_no_event_is_of_an_unknown_type(frame: bytes) -> None:
    assert parse_one(frame).reason is RejectReason.UNKNOWN_TYPE


def test_the_stream_of_a_frame_without_data_is_missing_its_data() -> None:
    assert parse_one(b'{"stream":"btcusdt@aggTrade"}').reason is RejectReason.MISSING_FIELD


def test_a_frame_above_the_limit_is_not_even_looked_at() -> None:
    frame = wrapped(AGG)[:-1] + b',"pad":"' + b"x" * FRAME_BYTES_MAX + b'"}'
    event = parse_one(frame)
    assert (event.reason, len(event.raw)) == (RejectReason.TOO_LARGE, RAW_CHARS_MAX)


def test_of_a_key_that_is_given_twice_the_last_counts_like_everywhere() -> None:
    frame = wrapped(AGG).replace(b'"a":15683430', b'"a":1,"a":15683430')
    assert parse_one(frame).trade_id == json.loads(frame)["data"]["a"]


@pytest.mark.parametrize(
    "data",
    [
        {"e": "depthUpdate", "s": "BTCUSDT"}, {"e": "24hrTicker"}, [{"e": "24hrMiniTicker"}],
        {"result": None, "id": 1}, {"lastUpdateId": 1, "bids": [], "asks": []}, {"e": "avgPrice"},
    ],
)  # fmt: skip
def test_what_is_known_and_not_wanted_is_counted_and_no_more(data) -> None:
    for frame in (bare(data), wrapped(data)):
        parser = BinanceParser()
        assert parser.parse(frame, NOW_NS) == []
        assert parser.ignored.total() == 1


@pytest.mark.parametrize("frame", [bare, wrapped])
def test_a_planned_shutdown_is_noted(frame) -> None:
    parser = BinanceParser()
    assert parser.parse(frame({"e": "serverShutdown", "E": TIME_MS}), NOW_NS) == []
    assert (parser.shutdowns, parser.ignored.total()) == (1, 0)


def test_an_error_that_the_venue_replies_is_shown_and_not_swallowed() -> None:
    event = parse_one(b'{"error":{"code":2,"msg":"Invalid request"},"id":1}')
    assert event.reason is RejectReason.UNKNOWN_TYPE
    assert "Invalid request" in event.raw


def recorded(name: str) -> Iterator[tuple[int, str]]:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the recording {name} is not on this machine")
    for line in path.read_text().splitlines()[1:]:
        received_s, _, frame = line.partition(": ")
        if frame:
            yield int(float(received_s) * 1e6) * US_NS, frame


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_trade_of_a_recording_comes_out_and_none_twice(name: str) -> None:
    parser, expected, events = BinanceParser(), [], []
    kinds: Counter[str] = Counter()
    for received_ns, frame in recorded(name):
        data = json.loads(frame)["data"]
        kinds[data.get("e", "bookTicker")] += 1
        if data.get("e") == "aggTrade":
            expected.append((data["s"], data["a"], data["T"]))
        events += parser.parse(frame.encode(), received_ns)
    trades = [event for event in events if isinstance(event, Trade)]
    assert [(t.symbol, t.trade_id, t.event_ns // MS_NS) for t in trades] == expected
    assert len(set(expected)) == len(expected) > 0
    assert sum(isinstance(event, Quote) for event in events) == kinds["bookTicker"] > 0
    assert not [event for event in events if isinstance(event, Rejected)]
    assert parser.ignored == Counter({"depthUpdate": kinds["depthUpdate"]})


KEYS = st.sampled_from(["stream", "data", *AGG, *BOOK, *KLINE["k"]]) | st.text(max_size=3)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["aggTrade", "trade", "kline", "bookTicker", "BTCUSDT", "1.5", TIME_MS]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=12,
)
GOOD = st.sampled_from([AGG, SINGLE, BOOK, KLINE, with_candle(x=False), BOOK | {"T": TIME_MS}])


def check(frame: bytes | str) -> None:
    """At most one event, and whatever is taken is sound."""
    parser = BinanceParser()
    events = parser.parse(frame, NOW_NS)
    assert len(events) <= 1
    for event in events:
        assert event.received_ns == NOW_NS
        if isinstance(event, Rejected):
            assert len(event.raw) <= RAW_CHARS_MAX
            assert len(event.detail) <= 200
            continue
        assert event.symbol.isascii()
        assert event.symbol == event.symbol.upper()
        assert 1 <= len(event.symbol) <= 32
        if isinstance(event, Trade):
            assert 0 < event.price_nano < 10**24
            assert 0 < event.qty_nano < 10**24
            assert 0 <= event.trade_id < 2**63
        elif isinstance(event, Quote):
            assert min(event.bid_nano, event.bid_qty_nano, event.ask_nano, event.ask_qty_nano) > 0
        else:
            assert event.low_nano <= min(event.open_nano, event.close_nano) <= event.high_nano
            assert event.span_ns > 0
        when_ns = event.open_ns if isinstance(event, Candle) else event.event_ns
        assert 1_230_768_000 * SECOND_NS <= when_ns <= NOW_NS + AHEAD_NS_MAX


@given(GOOD, st.sampled_from([wrapped, bare, spaced]), st.data())
def test_a_good_frame_with_bytes_changed_never_raises_and_gives_nothing_unsound(data, frame, draw):
    raw = bytearray(frame(data))
    for _ in range(draw.draw(st.integers(1, 4))):
        place = draw.draw(st.integers(0, len(raw)))
        raw[place : place + draw.draw(st.integers(0, 3))] = draw.draw(st.binary(max_size=3))
    check(bytes(raw))


@given(GOOD, st.dictionaries(KEYS, JSON, max_size=3), st.sampled_from([wrapped, bare, spaced]))
def test_a_good_frame_with_fields_changed_never_raises_and_gives_nothing_unsound(
    data, changes, frame
):
    check(frame(data | changes))
    if "k" in data:
        check(frame(data | {"k": data["k"] | changes}))


@given(JSON)
def test_any_json_never_raises(value) -> None:
    check(json.dumps(value).encode())


@given(st.binary(max_size=200) | st.text(max_size=200))
@example("\udfff")
@example(b'{"stream":"a@aggTrade"')
def test_any_bytes_and_any_text_never_raise(frame) -> None:
    check(frame)
