"""The ring of trades that are accepted and not yet on the wire: fixed slots in memory.

It owns the slots and the sequence numbers. It must not know sockets, threads or JSON. One lock
(the publisher's) serialises ``append``; one reader (the sender) calls ``read`` and ``trim``.
"""

from __future__ import annotations

import math
import struct
from typing import Final

from trade_telemetry.messages import Trade

_SLOT: Final = struct.Struct("<QdddBB24s6x")  # seq, ts, qty, price, side, symbol length, symbol
SLOT_BYTES: Final = _SLOT.size
assert SLOT_BYTES == 64  # noqa: S101 - one cache line; the file format will rely on it


class Ring:
    """A bounded queue of trades, a slot each at ``seq % capacity``.

    Sequences start at 1 and never repeat. ``head`` is the last one appended, ``tail`` the last one
    trimmed; ``head - tail`` wait. Memory: 64 bytes a slot, allocated at once.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.head = 0
        self.tail = 0
        self._slots = bytearray(capacity * SLOT_BYTES)

    def __len__(self) -> int:
        """How many trades wait, from 0 to the capacity."""
        return self.head - self.tail

    def append(self, trade: Trade) -> int:
        """Keep a trade and return its sequence, or 0 when the ring is full."""
        seq = self.head + 1
        if seq - self.tail > self.capacity:
            return 0
        symbol = b"" if trade.symbol is None else trade.symbol.encode()
        _SLOT.pack_into(
            self._slots,
            seq % self.capacity * SLOT_BYTES,
            seq,
            trade.ts,
            trade.qty,
            math.nan if trade.price is None else trade.price,
            trade.side == "sell",
            len(symbol),
            symbol,
        )
        self.head = seq  # last: a reader never sees a slot that is half written
        return seq

    def read(self, seq: int) -> Trade:
        """The trade of a sequence above ``tail`` and up to ``head``, without stamps."""
        _, ts, qty, price, sell, length, symbol = _SLOT.unpack_from(
            self._slots, seq % self.capacity * SLOT_BYTES
        )
        return Trade(
            "sell" if sell else "buy",
            qty,
            ts,
            symbol[:length].decode() if length else None,
            None if math.isnan(price) else price,
        )

    def trim(self, seq: int) -> None:
        """Give the slots up to and including ``seq`` back."""
        self.tail = seq
