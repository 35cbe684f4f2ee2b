"""The contract: every wire message, its limits, encode and decode.

The one definition of what a trade is. Publishers check with it, the sidecar decodes with it, the
desk's form explains with it. It must not know sockets, threads or metrics.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NoReturn

import msgspec

from trade_telemetry import acknowledgements, batches, benchmark_messages, fields, reasons, stamps
from trade_telemetry.errors import InvalidTradeError, RejectedMessageError

FRAME_BYTES_MAX: Final = 16 * 1024
CLOCK_AHEAD_S_MAX: Final = 10.0
NANO: Final = 10**9
TS_UNIT_S_MIN: Final = 1e11
"""A time above this (the year 5138) is a time in milliseconds or finer."""

_is_symbol: Final = fields.is_symbol
_is_source: Final = lru_cache(1_024)(re.compile(stamps.SOURCE_PATTERN).match)

# These have their own files, and are part of the contract as this one tells it.
RefusalReason = reasons.RefusalReason
RejectReason = reasons.RejectReason
LossReason = reasons.LossReason
Acknowledgement = acknowledgements.Acknowledgement
encode_acknowledgement = acknowledgements.encode_acknowledgement
STAMP_MAX: Final = stamps.STAMP_MAX
Source = stamps.Source
Stamp = stamps.Stamp
Count = stamps.Count
Batch = batches.Batch
TradeRow = batches.TradeRow
Benchmark = benchmark_messages.Benchmark
BenchmarkStatus = benchmark_messages.BenchmarkStatus
QTY_MAX: Final = fields.QTY_MAX
SYMBOL_PATTERN: Final = fields.SYMBOL_PATTERN
Side = fields.Side
Quantity = fields.Quantity
Timestamp = fields.Timestamp
Symbol = fields.Symbol
Name = fields.Name
Price = fields.Price


class Trade(
    msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag="trade"
):
    """One trade, as on the wire.

    ``qty`` is in units of the instrument, ``ts`` in unix seconds, ``price`` in the quote currency.
    ``src``, ``epoch`` and ``seq`` are the publisher's stamps: all three or none.
    """

    side: Side
    qty: Quantity
    ts: Timestamp
    symbol: Name | None = None
    price: Price | None = None
    src: Name | None = None
    epoch: Stamp | None = None
    seq: Stamp | None = None


class Beat(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag="beat"):
    """What a tracked publisher says of an epoch: first on each connection, and once a second.

    ``since`` is when the epoch began, in unix seconds. ``number`` counts the beats of one process
    from 1. ``head`` is the highest sequence accepted so far, ``sent`` the highest one handed to the
    socket before this beat, ``oldest`` the lowest one that can still be sent again. ``capacity`` is
    how many the ring holds, ``refused`` the trades refused since the start, by reason: none at all
    where another process only sends what an earlier life left. ``durable`` events survive the
    publisher. ``ending`` is true in the last beat of an epoch: silence after it means nothing.
    ``acknowledged`` is the highest sequence that it was ever told is committed, 0 if it does not
    say: a sidecar that knows of less has an older state.
    """

    src: Source
    epoch: Stamp
    since: Timestamp
    number: Stamp
    head: Count
    sent: Count
    oldest: Stamp
    capacity: Count
    refused: dict[str, Count]
    durable: bool = False
    ending: bool = False
    acknowledged: Count = 0


class Skip(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag="skip"):
    """The publisher's word, in their place, that ``first`` to ``last`` will never come."""

    src: Source
    epoch: Stamp
    first: Stamp
    last: Stamp
    reason: LossReason


Message = Trade | Batch | Beat | Skip | Benchmark | BenchmarkStatus

_decoder: Final = msgspec.json.Decoder(Message)
_encoder: Final = msgspec.json.Encoder()
_TRADE_FIELDS: Final[tuple[tuple[str, Any, RejectReason], ...]] = (
    ("side", Side, RejectReason.SIDE),
    ("qty", Quantity, RejectReason.QTY),
    ("ts", Timestamp, RejectReason.TS),
    ("symbol", Symbol | None, RejectReason.SYMBOL),
    ("price", Price | None, RejectReason.PRICE),
    ("src", Source | None, RejectReason.STAMP),
    ("epoch", Stamp | None, RejectReason.STAMP),
    ("seq", Stamp | None, RejectReason.STAMP),
)


def encode(message: Message) -> bytes:
    """The frame of a message: UTF-8 JSON without spaces."""
    return _encoder.encode(message)


def decode(frame: bytes, now_s: float) -> Message:
    """The message in a frame, checked against the whole contract.

    ``now_s`` is the receiver's clock in unix seconds. Raises RejectedMessageError, and nothing
    else, for anything that is not a message of the contract.
    """
    if len(frame) > FRAME_BYTES_MAX:
        raise RejectedMessageError(
            RejectReason.TOO_LARGE, f"{len(frame)} bytes, at most {FRAME_BYTES_MAX}"
        )
    try:
        if not frame.isascii():
            frame.decode()
        message: Message = _decoder.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        _explain(frame)
    if isinstance(message, Trade):
        symbol, source, number, seq = message.symbol, message.src, message.epoch, message.seq
        if source is None or number is None or seq is None:
            if source is not None or number is not None or seq is not None:
                raise RejectedMessageError(RejectReason.STAMP, "src, epoch, seq: all three or none")
        elif not _is_source(source):
            _explain(frame)
        if symbol is not None and not _is_symbol(symbol):
            _explain(frame)
        if message.ts > now_s + CLOCK_AHEAD_S_MAX:
            reason, problem = _time_problem(message.ts, now_s, "the sidecar's clock")
            stamped = _valid_stamps((source, number, seq))
            raise RejectedMessageError(reason, f"ts {problem}", stamped)
    elif isinstance(message, Batch):
        _check_batch(message, now_s)
    elif isinstance(message, Skip) and message.first > message.last:
        raise RejectedMessageError(RejectReason.SKIP, "first is above last")
    elif isinstance(message, Benchmark | BenchmarkStatus):
        benchmark_messages.check_benchmark(message, now_s + CLOCK_AHEAD_S_MAX)
    return message


def _check_batch(batch: Batch, now_s: float) -> None:
    if batch.last > STAMP_MAX:
        raise RejectedMessageError(RejectReason.BATCH, f"ends above {STAMP_MAX}")
    symbols = {row.symbol for row in batch.trades}
    if not all(symbol is None or _is_symbol(symbol) for symbol in symbols):
        raise RejectedMessageError(RejectReason.BATCH, "a symbol is not of the contract")
    if max([row.ts for row in batch.trades]) > now_s + CLOCK_AHEAD_S_MAX:
        raise RejectedMessageError(RejectReason.BATCH, "a ts is ahead of the clock")


def one_by_one(batch: Batch) -> Iterator[Trade]:
    """The trades of a batch, stamped."""
    src, epoch = batch.src, batch.epoch
    for seq, row in enumerate(batch.trades, batch.seq):
        yield Trade(row.side, row.qty, row.ts, row.symbol, row.price, src, epoch, seq)


_INFINITE: Final = math.inf


def _time_problem(ts: float, now_s: float, clock: str) -> tuple[RejectReason, str]:
    """Why a time cannot be, to be read after its field's name; ``now_s`` is what the clock says."""
    if ts >= TS_UNIT_S_MIN:
        unit = f"is {ts:.0f}: seconds are wanted, not milliseconds or finer"
        return RejectReason.TS_UNIT, unit
    return RejectReason.TS_FUTURE, (
        f"is {_utc(ts)}, {ts - now_s:.1f} s ahead of {clock} ({_utc(now_s)}), "
        f"at most {CLOCK_AHEAD_S_MAX:g}: check NTP on both machines"
    )


def _utc(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _explain(frame: bytes) -> NoReturn:
    """Find out slowly why a frame failed; only bad frames come here."""
    if not frame:
        raise RejectedMessageError(RejectReason.EMPTY, "the frame has no bytes")
    try:
        value = json.loads(frame.decode())
    except RecursionError:
        raise RejectedMessageError(RejectReason.TOO_DEEP, "nested too deeply") from None
    except ValueError as error:  # not UTF-8, not JSON, or a number of thousands of digits
        raise RejectedMessageError(RejectReason.MALFORMED, str(error)[:200]) from None
    if not isinstance(value, dict):
        raise RejectedMessageError(RejectReason.NOT_OBJECT, f"a {type(value).__name__}")
    if "type" not in value:
        raise RejectedMessageError(RejectReason.MISSING_FIELD, "type is missing")
    if value["type"] == "trade":
        _explain_trade(value)
    if value["type"] in ("batch", "beat", "skip", "benchmark", "benchmark_status"):
        reason = RejectReason(value["type"])
        raise RejectedMessageError(reason, f"a {reason} with a missing or wrong field")
    raise RejectedMessageError(RejectReason.UNKNOWN_TYPE, f"type is {str(value['type'])[:40]!r}")


def _explain_trade(value: dict[str, Any]) -> NoReturn:
    stamps = _valid_stamps((value.get("src"), value.get("epoch"), value.get("seq")))
    for name in ("side", "qty", "ts"):
        if name not in value:
            raise RejectedMessageError(RejectReason.MISSING_FIELD, f"{name} is missing", stamps)
    for name, kind, reason in _TRADE_FIELDS:
        item = value.get(name)
        try:
            checked = msgspec.convert(item, kind)
        except (msgspec.ValidationError, OverflowError) as error:
            raise RejectedMessageError(reason, f"{name}: {error}", stamps) from None
        if isinstance(checked, float) and not math.isfinite(checked):
            raise RejectedMessageError(reason, f"{name} is not finite", stamps)
    raise RejectedMessageError(RejectReason.MALFORMED, "not strict JSON", stamps)


def _valid_stamps(stamps: tuple[object, object, object]) -> tuple[str, int, int] | None:
    """The stamps of a trade that is rejected for something else, where they are whole."""
    try:
        return msgspec.convert(stamps, tuple[Source, Stamp, Stamp])
    except (msgspec.ValidationError, OverflowError):
        return None


def check_trade(
    side: str,
    qty: float,
    ts: float | None,
    symbol: str | None,
    price: float | None,
    now_s: float,
) -> Trade:
    """A trade from a caller's arguments, coerced and checked as the sidecar checks.

    Numbers of any kind that ``float()`` takes are accepted, text is not; ``ts`` defaults to
    ``now_s``. Raises InvalidTradeError, which names the field.
    """
    if side not in ("buy", "sell"):
        raise InvalidTradeError("side", f"must be 'buy' or 'sell', not {side!r}")
    if type(qty) is not float:
        qty = _number("qty", qty)
    if not 0.0 <= qty <= QTY_MAX:
        raise InvalidTradeError("qty", f"must be from 0 to {QTY_MAX:g}, not {qty!r}")
    if ts is None:
        ts = now_s
    else:
        ts = ts if type(ts) is float else _number("ts", ts)
        _check_time(ts, now_s)
    if symbol is not None and not (_is_text(symbol) and _is_symbol(symbol)):
        raise InvalidTradeError(
            "symbol", f"must be 1 to 24 of A-Z a-z 0-9 . _ : / -, not {symbol!r}"
        )
    if price is not None:
        price = price if type(price) is float else _number("price", price)
        if not 0.0 < price < _INFINITE:
            raise InvalidTradeError("price", f"must be finite and above 0, not {price!r}")
    return Trade(side, qty, ts, symbol, price)  # type: ignore[arg-type]  # side was checked


def _is_text(value: object) -> bool:
    """Whether it is text: not every caller is checked for types."""
    return isinstance(value, str)


def check_source(source: str) -> bool:
    """Whether a publisher may have this name."""
    return _is_text(source) and _is_source(source) is not None


def _check_time(ts: float, now_s: float) -> None:
    if not 0.0 < ts < math.inf:
        raise InvalidTradeError("ts", f"must be unix seconds above 0, not {ts!r}")
    if ts > now_s + CLOCK_AHEAD_S_MAX:
        raise InvalidTradeError("ts", _time_problem(ts, now_s, "this machine's clock")[1])


def _number(field: str, value: object) -> float:
    if isinstance(value, str | bytes | bytearray | bool):
        raise InvalidTradeError(field, f"must be a number, not {value!r}")
    try:
        return float(value)  # type: ignore[arg-type]  # what float() refuses is the answer
    except (TypeError, ValueError, OverflowError):
        raise InvalidTradeError(field, f"must be a number, not {value!r}") from None


def quantity_nano(qty: float) -> int:
    """A quantity in whole multiples of 10⁻⁹, so that sums are exact in any order.

    Whole units are taken exactly; the fraction is the double ``fraction × 10⁹`` rounded half to
    even. A quantity below 2²³ with at most nine decimals is therefore counted as it was written.
    """
    whole = int(qty)
    return whole * NANO + round((qty - whole) * 1e9)
