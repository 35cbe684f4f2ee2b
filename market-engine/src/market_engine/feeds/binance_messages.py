"""The messages of Binance's streams as they are written on the wire, decoded and nothing more.

``read`` decodes the common forms straight into a typed message, and looks at the rest field by
field to say what is wrong with it. Whether a value makes sense is for ``binance_parser`` to judge.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Generic, Literal, TypeVar

import msgspec

from market_engine.errors import RejectedError, RejectReason

INT_MAX: Final = 2**63 - 1
SHUTDOWN: Final = "serverShutdown"
REPLY: Final = "reply"
"""To a subscription: the venue writes no type."""
PARTIAL_DEPTH: Final = "partialDepth"
"""The top of the book: no type either."""
Count = Annotated[int, msgspec.Meta(ge=0, le=INT_MAX)]


class AggTradeMessage(msgspec.Struct, gc=False):
    """Trades of one taker order at one price, under one id."""

    kind: Literal["aggTrade"] = msgspec.field(name="e")
    symbol: str = msgspec.field(name="s")
    trade_id: Count = msgspec.field(name="a")
    price: str = msgspec.field(name="p")
    qty: str = msgspec.field(name="q")
    time: Count = msgspec.field(name="T")
    is_buyer_maker: bool = msgspec.field(name="m")


class SingleTradeMessage(msgspec.Struct, gc=False):
    """One trade."""

    kind: Literal["trade"] = msgspec.field(name="e")
    symbol: str = msgspec.field(name="s")
    trade_id: Count = msgspec.field(name="t")
    price: str = msgspec.field(name="p")
    qty: str = msgspec.field(name="q")
    time: Count = msgspec.field(name="T")
    is_buyer_maker: bool = msgspec.field(name="m")


class BookMessage(msgspec.Struct, gc=False):
    """The best bid and ask; only futures say their type and their times."""

    symbol: str = msgspec.field(name="s")
    bid: str = msgspec.field(name="b")
    bid_qty: str = msgspec.field(name="B")
    ask: str = msgspec.field(name="a")
    ask_qty: str = msgspec.field(name="A")
    kind: Literal["bookTicker"] = msgspec.field(name="e", default="bookTicker")
    time: Count | None = msgspec.field(name="T", default=None)
    event_time: Count | None = msgspec.field(name="E", default=None)


class KlineBody(msgspec.Struct, gc=False):
    """A candle: ``is_closed`` says that it changes no more."""

    open_time: Count = msgspec.field(name="t")
    close_time: Count = msgspec.field(name="T")
    open: str = msgspec.field(name="o")
    high: str = msgspec.field(name="h")
    low: str = msgspec.field(name="l")
    close: str = msgspec.field(name="c")
    volume: str = msgspec.field(name="v")
    trades: Count = msgspec.field(name="n")
    is_closed: bool = msgspec.field(name="x")


class KlineMessage(msgspec.Struct, gc=False):
    """A candle so far."""

    kind: Literal["kline"] = msgspec.field(name="e")
    symbol: str = msgspec.field(name="s")
    candle: KlineBody = msgspec.field(name="k")


TradeMessage = AggTradeMessage | SingleTradeMessage
Message = TradeMessage | BookMessage | KlineMessage
_Data = TypeVar("_Data")


class _Wrapped(msgspec.Struct, Generic[_Data], gc=False):
    """A frame of a combined stream."""

    data: _Data


_DECODERS: Final[dict[bytes, msgspec.json.Decoder[Any]]] = {
    b"aggTrade": msgspec.json.Decoder(_Wrapped[AggTradeMessage]),
    b"trade": msgspec.json.Decoder(_Wrapped[SingleTradeMessage]),
    b"bookTicker": msgspec.json.Decoder(_Wrapped[BookMessage]),
    b"kline_1m": msgspec.json.Decoder(_Wrapped[KlineMessage]),
    b'{"e":"aggTrade': msgspec.json.Decoder(AggTradeMessage),
    b'{"e":"trade': msgspec.json.Decoder(SingleTradeMessage),
    b'{"e":"bookTicker': msgspec.json.Decoder(BookMessage),
    b'{"e":"kline': msgspec.json.Decoder(KlineMessage),
}
"""By how the frame begins: the stream's name after its ``@``, or else all up to the type's end."""
_STREAM_AT: Final = len('{"stream":"')

_Fields = tuple[tuple[str, type, RejectReason], ...]
_PRICED: Final[_Fields] = (
    ("p", str, RejectReason.PRICE),
    ("q", str, RejectReason.QTY),
    ("T", int, RejectReason.TIME),
    ("m", bool, RejectReason.SIDE),
)
_SYMBOL: Final[_Fields] = (("s", str, RejectReason.SYMBOL),)
_BOOK: Final[_Fields] = (
    *((name, str, RejectReason.PRICE) for name in "ba"),
    *((name, str, RejectReason.QTY) for name in "BA"),
)
_KLINE: Final[_Fields] = (
    *((name, int, RejectReason.TIME) for name in "tT"),
    *((name, str, RejectReason.PRICE) for name in "ohlc"),
    ("v", str, RejectReason.QTY),
    ("n", int, RejectReason.QTY),
    ("x", bool, RejectReason.MALFORMED),
)
_FIELDS: Final[dict[str, _Fields]] = {
    "aggTrade": (*_SYMBOL, ("a", int, RejectReason.TRADE_ID), *_PRICED),
    "trade": (*_SYMBOL, ("t", int, RejectReason.TRADE_ID), *_PRICED),
    "bookTicker": (*_SYMBOL, *_BOOK),
    "kline": (*_SYMBOL, ("k", dict, RejectReason.MALFORMED)),
}
_TYPES: Final[dict[str, type[Message]]] = {
    "aggTrade": AggTradeMessage,
    "trade": SingleTradeMessage,
    "bookTicker": BookMessage,
    "kline": KlineMessage,
}
_NOT_WANTED: Final = frozenset(
    f"{SHUTDOWN} {REPLY} {PARTIAL_DEPTH} depthUpdate"
    " 24hrTicker 24hrMiniTicker 1hTicker 4hTicker 1dTicker avgPrice"
    " markPriceUpdate indexPriceUpdate forceOrder continuous_kline contractInfo compositeIndex"
    " assetIndexUpdate referencePrice blockTrade".split()
)


def read(frame: bytes) -> Message | str:
    """The message of a frame, or the type of one that is known and not wanted.

    Raises RejectedError for all else; of a key that is given twice the last counts.
    """
    begins = frame[frame.find(b"@", 0, 64) + 1 : frame.find(b'"', _STREAM_AT)]
    decoder = _DECODERS.get(begins)
    if decoder is None:
        return _read_slowly(frame)
    try:
        message: Any = decoder.decode(frame)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _read_slowly(frame)  # it says what is wrong
    found: Message = message.data if isinstance(message, _Wrapped) else message
    return found


def _read_slowly(frame: bytes) -> Message | str:
    try:
        body = msgspec.json.decode(frame)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise RejectedError(RejectReason.MALFORMED, str(error)) from None
    if isinstance(body, dict) and "stream" in body:
        if "data" not in body:
            raise RejectedError(RejectReason.MISSING_FIELD, "data")
        body = body["data"]
    return _read_list(body) if isinstance(body, list) else _read_body(body)


def _read_list(body: list[object]) -> str:
    """All symbols in one frame, such as ``!miniTicker@arr``: never wanted."""
    first = body[0] if body else None
    kind = first.get("e") if isinstance(first, dict) else None
    if isinstance(kind, str) and kind in _NOT_WANTED:
        return kind
    raise RejectedError(RejectReason.UNKNOWN_TYPE, "a list")


def _read_body(body: object) -> Message | str:
    if not isinstance(body, dict):
        raise RejectedError(RejectReason.UNKNOWN_TYPE, "neither an object nor a list")
    symbol = body["s"] if isinstance(body.get("s"), str) else None
    kind = _kind(body)
    if kind in _NOT_WANTED:
        return kind
    if kind not in _TYPES:
        raise RejectedError(RejectReason.UNKNOWN_TYPE, f"type {kind!r}", symbol)
    _check(body, _FIELDS[kind], symbol)
    if kind == "kline":
        _check(body["k"], _KLINE, symbol)
    try:
        return msgspec.convert({"e": kind} | body, _TYPES[kind])
    except msgspec.ValidationError as error:  # the times of a quote, which may be left out
        raise RejectedError(RejectReason.TIME, str(error), symbol) from None


def _kind(body: dict[str, object]) -> str:
    """The type, also where the venue does not write it."""
    kind = body.get("e")
    if isinstance(kind, str):
        return kind
    if kind is None and "id" in body and "result" in body:
        return REPLY
    if kind is None and "lastUpdateId" in body:
        return PARTIAL_DEPTH
    return "bookTicker" if kind is None and body.keys() >= set("sbBaA") else "none"


def _check(body: dict[str, object], fields: _Fields, symbol: str | None) -> None:
    for name, type_, reason in fields:
        if name not in body:
            raise RejectedError(RejectReason.MISSING_FIELD, name, symbol)
        value = body[name]
        is_sound = type(value) is type_  # a bool is no int
        if type_ is int and type(value) is int:
            is_sound = 0 <= value <= INT_MAX
        if not is_sound:
            raise RejectedError(reason, f"{name} is {str(value)[:40]!r}", symbol)
