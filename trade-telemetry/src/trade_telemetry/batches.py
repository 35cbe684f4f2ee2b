"""Many trades of one epoch in one frame: what a tracked publisher sends when it has several.

It is the same as its trades one by one, for less than a third of the work on both sides. It must
not know what is done with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

import msgspec

from trade_telemetry.fields import Name, Price, Quantity, Side, Timestamp
from trade_telemetry.stamps import Source, Stamp

BATCH_TRADES_MAX: Final = 64
"""A frame of so many is below 8 KiB, however long its numbers and symbols; more gain nothing."""
_FIELDS: Final = ("side", "qty", "ts", "symbol", "price")


class TradeRow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A trade in a batch: as ``Trade``, without stamps, and without the fields' names."""

    side: Side
    qty: Quantity
    ts: Timestamp
    symbol: Name | None = None
    price: Price | None = None


class Batch(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="batch"):
    """1 to ``BATCH_TRADES_MAX`` trades; the first has the sequence ``seq``, each one more."""

    src: Source
    epoch: Stamp
    seq: Stamp
    trades: Annotated[list[TradeRow], msgspec.Meta(min_length=1, max_length=BATCH_TRADES_MAX)]

    @property
    def last(self) -> int:
        """The sequence of the last one."""
        return self.seq + len(self.trades) - 1


class _Unread(msgspec.Struct, tag_field="type", tag="batch"):
    src: Source
    epoch: Stamp
    seq: Stamp
    trades: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=BATCH_TRADES_MAX)]


_unread: Final = msgspec.json.Decoder(_Unread)


def frames_of_each(frame: bytes) -> Iterator[bytes]:
    """A frame for each trade of a batch, sound or not; none if it is not even told what it is.

    For a batch that cannot be taken whole: each trade is then judged by itself.
    """
    try:
        batch = _unread.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    for seq, raw in enumerate(batch.trades, batch.seq):
        yield msgspec.json.encode(
            _fields(raw) | {"type": "trade", "src": batch.src, "epoch": batch.epoch, "seq": seq}
        )


def _fields(raw: msgspec.Raw) -> dict[str, object]:
    """By name; what is no row has none."""
    try:
        values = msgspec.json.decode(raw, type=list[msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    named = zip(_FIELDS, values, strict=False)
    return {name: value for name, value in named if bytes(value) != b"null"}
