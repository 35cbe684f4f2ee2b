"""What is sent on streams: the messages of a moment, each written once for all who read it.

What came since the last moment becomes few messages: all trades of a symbol are one, and of its
metrics only the newest count. Knows no client and no thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
import orjson

from market_engine.analytics.symbol import SymbolMetrics
from market_engine.api.history import bar_shape
from market_engine.api.shapes import Shape, fault_shape, metrics_shape, state_shape, trade_shape
from market_engine.bar_rows import bar_of
from market_engine.bus.base import Message
from market_engine.events import MS_NS, SECOND_NS, Trade
from market_engine.health.faults import Fault, StateChange
from market_engine.pipeline import MetricsOutput
from market_engine.replay_desk import ReplayBegan
from market_engine.storage.rows import BarRow

TOPICS: Final = ("trades", "metrics", "bars", "health")
TRADES_MAX: Final = 1_000
"""In one message, the newest; ``left_out`` says how many more there were."""
BARS_MAX: Final = 4
"""Of one symbol at one moment, the newest: only a fast replay closes more."""
HEALTH_MAX: Final = 64
"""Faults and changes of state at one moment, the newest."""
HELLO: Final = "hello"


class StreamMessage:
    """One message; ``symbol`` None is for all, and ``received_ns`` of its live trades."""

    __slots__ = ("_sse", "number", "received_ns", "symbol", "text", "topic")

    def __init__(
        self, topic: str, symbol: str | None, body: Shape, received_ns: list[int] | None = None
    ) -> None:
        self.topic = topic
        self.symbol = symbol
        self.text = orjson.dumps(body).decode()
        self.number = 0
        """Its place among all messages of its source."""
        self.received_ns = received_ns
        self._sse: bytes | None = None

    @property
    def size(self) -> int:
        """About what it takes, in bytes."""
        return len(self.text)

    def sse(self) -> bytes:
        """As an event of SSE."""
        if self._sse is None:
            head = f"event: {self.topic}\nid: {self.number}\ndata: "
            self._sse = f"{head}{self.text}\n\n".encode()
        return self._sse

    def take_received(self) -> list[int]:
        """When its trades were received, for the first who asks."""
        taken, self.received_ns = self.received_ns, None
        return taken or []


def hello(source: str, symbols: Iterable[str], now_ns: int) -> StreamMessage:
    """The first message to each client, and to all when a replay begins anew."""
    body = {"type": HELLO, "source": source, "symbols": list(symbols), "sent_ms": now_ns // MS_NS}
    return StreamMessage(HELLO, None, body)


class _Trades(msgspec.Struct):
    """Of one symbol since the last moment."""

    newest: deque[Trade]
    count: int = 0


class Moment:
    """Collects what came, and makes messages of it; ``is_live``: delays mean something."""

    def __init__(self, source: str, *, is_live: bool) -> None:
        self.source = source
        self._is_live = is_live
        self._numbers = 0
        self._clear()

    def take(self, messages: Iterable[Message]) -> None:
        """Note what the bus brought, in order."""
        for message in messages:
            value = message.value
            if type(value) is Trade:
                trades = self._trades.get(value.symbol)
                if trades is None:
                    trades = self._trades[value.symbol] = _Trades(deque(maxlen=TRADES_MAX))
                trades.newest.append(value)
                trades.count += 1
            else:
                self._take_other(value)

    def messages(self, now_ns: int) -> list[StreamMessage]:
        """One after the other as they are to be sent; then it begins anew."""
        made = list(self._made(now_ns))
        for message in made:
            self._numbers += 1
            message.number = self._numbers
        self._clear()
        return made

    def forget(self) -> None:
        """Nobody listens: begin anew."""
        self._clear()

    def _clear(self) -> None:
        self._began: ReplayBegan | None = None
        self._trades: dict[str, _Trades] = {}
        self._metrics: dict[str, SymbolMetrics] = {}
        self._bars: dict[str, deque[BarRow]] = {}
        self._health: deque[Fault | StateChange] = deque(maxlen=HEALTH_MAX)

    def _take_other(self, value: object) -> None:
        if isinstance(value, MetricsOutput):
            self._metrics[value.metrics.symbol] = value.metrics
        elif isinstance(value, BarRow):
            self._bars.setdefault(value.symbol, deque(maxlen=BARS_MAX)).append(value)
        elif isinstance(value, Fault | StateChange):
            self._health.append(value)
        elif isinstance(value, ReplayBegan):
            self._clear()
            self._began = value

    def _made(self, now_ns: int) -> Iterator[StreamMessage]:
        sent_ms = now_ns // MS_NS
        if self._began is not None:
            yield hello(self.source, self._began.symbols, now_ns)
        for symbol, trades in self._trades.items():
            yield self._trades_message(symbol, trades, sent_ms)
        for symbol, rows in self._bars.items():
            for row in rows:
                yield StreamMessage("bars", symbol, _bar_body(row, sent_ms))
        for symbol, metrics in self._metrics.items():
            body = {"type": "metrics", **metrics_shape(metrics), "sent_ms": sent_ms}
            yield StreamMessage("metrics", symbol, body)
        for found in self._health:
            yield StreamMessage("health", found.symbol, _health_body(found, sent_ms))

    def _trades_message(self, symbol: str, trades: _Trades, sent_ms: int) -> StreamMessage:
        newest = trades.newest
        body = {
            "type": "trades",
            "symbol": symbol,
            "trades": [trade_shape(trade) for trade in newest],
            "left_out": trades.count - len(newest),
            "received_ms": newest[0].received_ns // MS_NS,  # the one that waited longest
            "sent_ms": sent_ms,
        }
        received_ns = None
        if self._is_live:
            received_ns = [trade.received_ns for trade in newest if not trade.backfilled]
        return StreamMessage("trades", symbol, body, received_ns)


def _bar_body(row: BarRow, sent_ms: int) -> Shape:
    bar, metrics = bar_of(row)
    head = {"type": "bar", "symbol": row.symbol, "span_s": bar.span_ns // SECOND_NS}
    return {**head, **bar_shape(bar, metrics), "sent_ms": sent_ms}


def _health_body(found: Fault | StateChange, sent_ms: int) -> Shape:
    if isinstance(found, Fault):
        return {"type": "fault", **fault_shape(found), "sent_ms": sent_ms}
    return {"type": "state", **state_shape(found), "sent_ms": sent_ms}
