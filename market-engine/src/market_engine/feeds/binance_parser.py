"""Binance's frames as events: combined-stream and bare JSON, spot and futures, live or recorded.

The common forms are decoded straight into typed messages; whatever does not fit one is looked at
field by field, so that a rejection names its reason. Knows no socket, no clock and no file.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final, Literal

from market_engine.decimals import to_nano
from market_engine.errors import RejectedError, RejectReason
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
from market_engine.feeds.binance_messages import (
    SHUTDOWN,
    BookMessage,
    KlineMessage,
    Message,
    TradeMessage,
    read,
)

TradeStream = Literal["aggTrade", "trade"]

FRAME_BYTES_MAX: Final = 2**20
RAW_CHARS_MAX: Final = 500
AHEAD_NS_MAX: Final = 10 * SECOND_NS
"""An event further ahead of its receipt than this is rejected."""
SYMBOLS_MAX: Final = 4_096
"""So many symbols that were found sound are remembered; the others are checked each time."""
_MS_MIN: Final = 1_230_768_000_000  # 2009-01-01
_MS_MAX: Final = 4_102_444_800_000  # 2100-01-01
_SPAN_NS_MAX: Final = 31 * 86_400 * SECOND_NS
SYMBOL_FORM: Final = re.compile(r"[A-Z0-9._-]{1,32}")


class BinanceParser:
    """Frames in, events out; one for each feed, because it counts.

    Only frames of ``trade_stream`` become trades: the ids of ``aggTrade`` and of ``trade`` are two
    series, so the other kind is ignored. ``ignored`` counts, by type, what is known and not wanted;
    ``shutdowns`` counts how often the venue said that it is about to close the connection.
    """

    def __init__(self, venue: str = "binance", trade_stream: TradeStream = "aggTrade") -> None:
        self.ignored: Counter[str] = Counter()
        self.shutdowns = 0
        self._venue = venue
        self._trade_stream = trade_stream
        self._symbols: set[str] = set()

    def parse(self, frame: bytes | str, received_ns: int) -> list[Event]:
        """The events of one frame, mostly one or none; never raises.

        What cannot be used is a ``Rejected``. ``received_ns`` is when the frame came.
        """
        try:
            if isinstance(frame, str):
                frame = frame.encode()
            if len(frame) > FRAME_BYTES_MAX:
                raise RejectedError(RejectReason.TOO_LARGE, f"{len(frame)} bytes")
            return self._take(read(frame), received_ns)
        except RejectedError as error:
            return [self.rejected(error, frame, received_ns)]
        except UnicodeError as error:  # half of a surrogate pair
            broken = RejectedError(RejectReason.MALFORMED, str(error))
            return [self.rejected(broken, frame, received_ns)]

    @staticmethod
    def rejected(error: RejectedError, frame: bytes | str, received_ns: int) -> Rejected:
        """What is said of a frame that was not taken: text whatever came, a symbol if it is one."""
        head = frame[: 4 * RAW_CHARS_MAX]
        raw = head if isinstance(head, str) else head.decode(errors="replace")
        raw = raw.encode(errors="replace").decode()[:RAW_CHARS_MAX]
        symbol = error.symbol if error.symbol and SYMBOL_FORM.fullmatch(error.symbol) else None
        return Rejected(error.reason, error.detail, received_ns, symbol, raw)

    def _take(self, message: Message | str, received_ns: int) -> list[Event]:
        if isinstance(message, str):
            return self._ignore(message)
        if message.symbol not in self._symbols:
            self._check_symbol(message.symbol)
        if isinstance(message, BookMessage):
            return [self._quote(message, received_ns)]
        if isinstance(message, KlineMessage):
            return [self._candle(message, received_ns)] if message.candle.is_closed else []
        if message.kind != self._trade_stream:
            return self._ignore(message.kind)
        return [self.trade(message, received_ns)]

    def _ignore(self, kind: str) -> list[Event]:
        if kind == SHUTDOWN:
            self.shutdowns += 1
        else:
            self.ignored[kind] += 1
        return []

    def _check_symbol(self, symbol: str) -> None:
        if not SYMBOL_FORM.fullmatch(symbol):
            raise RejectedError(RejectReason.SYMBOL, f"symbol {symbol[:40]!r}")
        if len(self._symbols) < SYMBOLS_MAX:
            self._symbols.add(symbol)

    def trade(self, message: TradeMessage, received_ns: int) -> Trade:
        """The trade of a message of a symbol that is known; raises RejectedError."""
        symbol = message.symbol
        event_ns, resolution_ns = _time(message.time, received_ns, symbol)
        return Trade(
            self._venue,
            symbol,
            _above_0(message.price, RejectReason.PRICE, symbol),
            _above_0(message.qty, RejectReason.QTY, symbol),
            "sell" if message.is_buyer_maker else "buy",
            message.trade_id,
            event_ns,
            received_ns,
            resolution_ns,
        )

    def _quote(self, message: BookMessage, received_ns: int) -> Quote:
        symbol, event_ns, source = message.symbol, received_ns, TimeSource.RECEIPT
        if message.time is not None:
            event_ns, source = _time(message.time, received_ns, symbol)[0], TimeSource.TRADE
        elif message.event_time is not None:
            event_ns, source = _time(message.event_time, received_ns, symbol)[0], TimeSource.EVENT
        return Quote(
            self._venue,
            symbol,
            _above_0(message.bid, RejectReason.PRICE, symbol),
            _above_0(message.bid_qty, RejectReason.QTY, symbol),
            _above_0(message.ask, RejectReason.PRICE, symbol),
            _above_0(message.ask_qty, RejectReason.QTY, symbol),
            event_ns,
            received_ns,
            source,
        )

    def _candle(self, message: KlineMessage, received_ns: int) -> Candle:
        symbol, candle = message.symbol, message.candle
        open_ns, resolution_ns = _time(candle.open_time, received_ns, symbol)
        close_ns, close_resolution_ns = _time(candle.close_time, received_ns, symbol)
        span_ns = close_ns - open_ns + resolution_ns  # the venue's close is the last instant inside
        if resolution_ns != close_resolution_ns or not 0 < span_ns <= _SPAN_NS_MAX:
            raise RejectedError(RejectReason.TIME, "the candle's close is no close of it", symbol)
        open_, high, low, close = (
            _above_0(text, RejectReason.PRICE, symbol)
            for text in (candle.open, candle.high, candle.low, candle.close)
        )
        if not low <= min(open_, close) <= max(open_, close) <= high:
            raise RejectedError(RejectReason.PRICE, "the candle's prices contradict", symbol)
        return Candle(
            venue=self._venue,
            symbol=symbol,
            open_ns=open_ns,
            span_ns=span_ns,
            open_nano=open_,
            high_nano=high,
            low_nano=low,
            close_nano=close,
            volume_nano=_nano(candle.volume, RejectReason.QTY, symbol),
            trades=candle.trades,
            received_ns=received_ns,
            resolution_ns=resolution_ns,
        )


def _time(time: int, received_ns: int, symbol: str) -> tuple[int, int]:
    """A venue's time in nanoseconds, and what it was counted in, which its size tells."""
    if _MS_MIN <= time < _MS_MAX:
        event_ns, resolution_ns = time * MS_NS, MS_NS
    elif _MS_MIN * 1_000 <= time < _MS_MAX * 1_000:
        event_ns, resolution_ns = time * US_NS, US_NS
    elif _MS_MIN * MS_NS <= time < _MS_MAX * MS_NS:
        event_ns, resolution_ns = time, 1
    else:
        detail = f"{time} is no time from 2009 to 2100 in ms, us or ns"
        raise RejectedError(RejectReason.TIME, detail, symbol)
    if event_ns > received_ns + AHEAD_NS_MAX:
        ahead_s = (event_ns - received_ns) / SECOND_NS
        raise RejectedError(RejectReason.FUTURE, f"{ahead_s:.3f} s ahead of its receipt", symbol)
    return event_ns, resolution_ns


def _nano(text: str, reason: RejectReason, symbol: str) -> int:
    try:
        return to_nano(text)
    except ValueError as error:
        raise RejectedError(reason, str(error), symbol) from None


def _above_0(text: str, reason: RejectReason, symbol: str) -> int:
    try:
        nano = to_nano(text)
    except ValueError as error:
        raise RejectedError(reason, str(error), symbol) from None
    if not nano:
        raise RejectedError(reason, "it is 0", symbol)
    return nano
