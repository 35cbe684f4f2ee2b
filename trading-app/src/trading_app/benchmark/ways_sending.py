"""Ways that send each trade to another process: ZeroMQ bare and as most people do, and StatsD.

Their packages may be missing, so they are imported when a way is opened. The other process only
counts; what these leave to it, it does not do either.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Annotated, Final, Literal

import zmq
from pydantic import BaseModel, Field

from trade_telemetry.messages import Trade, encode
from trading_app.benchmark import BenchmarkError
from trading_app.benchmark.sink import Sink
from trading_app.benchmark.ways import Count, Counter, Way

DEEP_QUEUE: Final = 100_000
SMALL_QUEUE: Final = 1_000
"""What ZeroMQ does unless it is told otherwise."""
LINGER_MS: Final = 5_000
SEND_MS_MAX: Final = 10_000
"""Nothing waits for ever, not even for a process that died."""


class Message(BaseModel):
    """A trade as it is written down in many a bot."""

    type: Literal["trade"] = "trade"
    side: Literal["buy", "sell"]
    qty: Annotated[float, Field(ge=0)]
    symbol: str
    price: Annotated[float, Field(gt=0)]
    ts: float


@contextmanager
def _pusher(port: int, queue: int) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.SNDHWM, queue)
        push.setsockopt(zmq.LINGER, LINGER_MS)
        push.setsockopt(zmq.SNDTIMEO, SEND_MS_MAX)
        push.connect(f"tcp://127.0.0.1:{port}")
        try:
            yield push
        except zmq.Again:
            raise BenchmarkError("the process that takes in what a peer sends is stuck") from None


@contextmanager
def bare(port: int) -> Iterator[Count]:
    """Send the bytes that a publisher would, made beforehand."""
    trade = Trade("buy", 1.5, time.time(), "BTCUSDT", 64_000.0, "benchmark", 2**52, 12_345)
    frame = encode(trade)
    with _pusher(port, DEEP_QUEUE) as push:
        send = push.send

        def count(_side: str, _qty: float, _symbol: str, _price: float) -> None:
            send(frame)

        yield count


@contextmanager
def typical(port: int) -> Iterator[Count]:
    """The publisher that most people write."""
    with _pusher(port, SMALL_QUEUE) as push:

        def count(side: Literal["buy", "sell"], qty: float, symbol: str, price: float) -> None:
            message = Message(side=side, qty=qty, symbol=symbol, price=price, ts=time.time())
            push.send_string(json.dumps(message.model_dump()))

        yield count  # type: ignore[misc]  # a side is a text to all others


@contextmanager
def statsd(port: int) -> Iterator[Count]:
    """Three calls for a trade, each a datagram of its own."""
    from statsd import StatsClient

    client = StatsClient("127.0.0.1", port)

    def count(side: str, qty: float, symbol: str, _price: float) -> None:
        client.incr(f"trades.{side}.{symbol}")
        client.incr(f"volume.{side}.{symbol}", qty)
        client.gauge("last_trade_ts_seconds", time.time())

    try:
        yield count
    finally:
        client.close()


@contextmanager
def dogstatsd(port: int) -> Iterator[Count]:
    """Three calls for a trade, with tags; nothing is set but where it sends to."""
    from datadog.dogstatsd.base import DogStatsd

    client = DogStatsd(host="127.0.0.1", port=port)

    def count(side: str, qty: float, symbol: str, _price: float) -> None:
        tags = [f"side:{side}", f"symbol:{symbol}"]
        client.increment("trades", tags=tags)
        client.increment("volume", qty, tags=tags)
        client.gauge("last_trade_ts_seconds", time.time())

    try:
        yield count
    finally:
        client.close_socket()
        client.stop()


@contextmanager
def _to_sink(kind: str, way: Callable[[int], AbstractContextManager[Count]]) -> Iterator[Counter]:
    with Sink(kind) as sink, way(sink.port) as count:
        yield Counter(count, sink.counted)


SENDING: Final = (
    Way(
        "bare",
        "bare zmq send",
        "pyzmq",
        "One send on a PUSH socket, of the bytes that a publisher would send, encoded beforehand. "
        "Nothing is checked, encoded or timed. What waits in the socket dies with this process, "
        "what a killed receiver had taken in dies with that one, and nobody knows.",
        partial(_to_sink, "zmq", bare),
    ),
    Way(
        "typical",
        "pydantic, json.dumps, send_string",
        "pyzmq",
        "A pydantic model, json.dumps, send_string on a PUSH socket that holds 1,000 messages. "
        "Checked and encoded; a receiver that is away for longer than that stops the bot, one that "
        "is killed takes with it what it had taken in, and nobody knows.",
        partial(_to_sink, "zmq", typical),
    ),
    Way(
        "statsd",
        "statsd",
        "statsd",
        "Three datagrams: two counters and a gauge. UDP: what the kernel has no room for, or "
        "nobody listens to, is lost without a word.",
        partial(_to_sink, "udp", statsd),
        lossy=True,
    ),
    Way(
        "dogstatsd",
        "DogStatsD as shipped",
        "datadog",
        "Three datagrams with tags: two counters and a gauge, every default of the package kept. "
        "UDP: what the kernel has no room for, or nobody listens to, is lost without a word.",
        partial(_to_sink, "udp", dogstatsd),
        lossy=True,
    ),
)
