"""Where trades come in: the ring of the present epoch, and the count of what was refused.

Publishing threads append; the sender's thread reads the ring. It must not know sockets.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from trade_telemetry.delivery import Stream
from trade_telemetry.journal import Ring
from trade_telemetry.messages import RefusalReason


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """The answer to ``publish()``; true when the trade was accepted.

    ``seq`` counts from 1 within the publisher's epoch and is 0 for a refused trade; ``refused`` is
    the reason, or None.
    """

    seq: int
    refused: RefusalReason | None = None

    def __bool__(self) -> bool:
        return self.refused is None


class Intake:
    """The ring that trades go into, one epoch after another, until it is closed.

    A publisher appends to ``ring`` itself, and comes to ``take`` when that did not go.
    """

    def __init__(self, source: str, open_ring: Callable[[], Ring]) -> None:
        self.ring = open_ring()
        self.refused = dict.fromkeys(RefusalReason, 0)
        self._refused_before = dict.fromkeys(RefusalReason, 0)
        self._overwritten_before = 0
        self.closed = False
        self._lock = threading.Lock()
        self._source = source
        self._open_ring = open_ring

    def take(
        self, side: str, qty: float, ts: float, symbol: str | None, price: float | None
    ) -> Receipt:
        """Accept a trade, or refuse it with a reason and count that; by any thread."""
        while True:
            ring = self.ring
            seq = ring.append(side, qty, ts, symbol, price)
            if seq:
                return Receipt(seq)
            with self._lock:
                if ring is self.ring:  # and not a new one since
                    reason = RefusalReason.CLOSED if self.closed else RefusalReason.RING_FULL
                    self.refused[reason] += 1
                    return Receipt(0, reason)

    def refusals(self) -> dict[RefusalReason, int]:
        """Trades refused so far, in all epochs."""
        with self._lock:
            before = self._refused_before
            return {reason: count + before[reason] for reason, count in self.refused.items()}

    def overwritten(self) -> int:
        """Trades written over before they were settled, in all epochs."""
        with self._lock:
            return self._overwritten_before + self.ring.overwritten

    def close(self) -> None:
        """Refuse from now on."""
        with self._lock:
            self.closed = True
            self.ring.seal()

    def abandon(self) -> None:
        """In a forked child: refuse, and without waiting for a thread that is not here."""
        self._lock = threading.Lock()
        self.closed = True
        self.ring.abandon()

    def begin_anew(self, move_above: int | None = None) -> Stream:
        """Go on in a new ring with a new epoch; return its stream. The old ring is the caller's.

        What the old one holds above ``move_above`` moves to the new one. Refusals are counted from
        0 again, as they are said by epoch; ``refusals`` adds the earlier ones.
        """
        new = self._open_ring()
        with self._lock:
            old = self.ring
            old.seal()
            if move_above is not None:
                for seq in range(max(move_above + 1, old.oldest), old.head + 1):
                    trade = old.read(seq)
                    if trade is not None:
                        new.append_trade(trade)
            if self.closed:
                new.seal()
            self.ring = new
            self._overwritten_before += old.overwritten
            before, self.refused = self.refused, dict.fromkeys(RefusalReason, 0)
            for reason, count in before.items():
                self._refused_before[reason] += count
        return Stream(self._source, new, self.refused)
