"""Where trades come in: the one lock, the ring, and the count of what was refused.

Publishing threads call ``take``; the sender's thread reads the ring. It must not know sockets.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from trade_telemetry.delivery import Stream
from trade_telemetry.journal import Ring
from trade_telemetry.messages import RefusalReason, Trade


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
    """Takes trades into the ring that ``open_ring`` gives, until it is closed.

    A full ring refuses, or if it is to overwrite drops its oldest; both are counted.
    """

    def __init__(self, source: str, open_ring: Callable[[], Ring]) -> None:
        self.lock = threading.Lock()
        self.ring = open_ring()
        self.refused = dict.fromkeys(RefusalReason, 0)
        self.refused_before = dict.fromkeys(RefusalReason, 0)
        self.overwritten = 0
        self.closed = False
        self._source = source
        self._open_ring = open_ring

    def take(self, trade: Trade) -> Receipt:
        """Accept a trade, or refuse it with a reason; by any thread."""
        lock = self.lock
        lock.acquire()  # a with statement takes twice as long, a twentieth of a publish
        try:
            if not self.closed:
                ring = self.ring
                seq = ring.append(trade)
                if seq:
                    if ring.overwrite and seq - ring.tail > ring.capacity:
                        self.overwritten += 1
                    return Receipt(seq)
            reason = RefusalReason.CLOSED if self.closed else RefusalReason.RING_FULL
            self.refused[reason] += 1
            return Receipt(0, reason)
        finally:
            lock.release()

    def close(self) -> None:
        """Refuse from now on."""
        with self.lock:
            self.closed = True

    def abandon(self) -> None:
        """In a forked child: refuse, and without waiting for a thread that is not here."""
        self.lock = threading.Lock()
        self.closed = True

    def begin_anew(self, move_above: int | None = None) -> Stream:
        """Go on in a new ring with a new epoch; return its stream. The old ring is the caller's.

        What the old one holds above ``move_above`` moves to the new one. Refusals are counted from
        0 again, as they are said by epoch; ``refused_before`` has the earlier ones.
        """
        new = self._open_ring()
        with self.lock:
            old = self.ring
            if move_above is not None:
                for seq in range(max(move_above + 1, old.oldest), old.head + 1):
                    trade = old.read(seq)
                    if trade is not None:
                        new.append(trade)
            self.ring = new
            before, self.refused = self.refused, dict.fromkeys(RefusalReason, 0)
            for reason, count in before.items():
                self.refused_before[reason] += count
        return Stream(self._source, new, self.refused)
