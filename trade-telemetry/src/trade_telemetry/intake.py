"""Where trades come in: the ring of the present epoch, and the count of what was refused.

Publishing threads append; the sender's thread reads the ring. It must not know sockets.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from trade_telemetry.delivery import Stream
from trade_telemetry.journal import Ring
from trade_telemetry.messages import RefusalReason


class Intake:
    """The ring that trades go into, one epoch after another, until it is closed.

    A publisher writes into ``ring`` itself, and comes to ``refuse`` when that takes nothing.
    ``last_refusal`` is why the latest trade was refused, None before the first.
    """

    def __init__(self, source: str, open_ring: Callable[[], Ring]) -> None:
        self.ring = open_ring()
        self.refused = dict.fromkeys(RefusalReason, 0)
        self.last_refusal: RefusalReason | None = None
        self._refused_before = dict.fromkeys(RefusalReason, 0)
        self._overwritten_before = 0
        self.closed = False
        self._lock = threading.Lock()
        self._source = source
        self._open_ring = open_ring

    def refuse(self, ring: Ring) -> bool:
        """Count a trade that a ring did not take; False if there is a new ring to try, instead."""
        with self._lock:
            if ring is not self.ring:
                return False
            reason = RefusalReason.CLOSED if self.closed else RefusalReason.RING_FULL
            self.last_refusal = reason
            self.refused[reason] += 1
            return True

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
                        new.append(trade)
            if self.closed:
                new.seal()
            self.ring = new
            self._overwritten_before += old.overwritten
            before, self.refused = self.refused, dict.fromkeys(RefusalReason, 0)
            for reason, count in before.items():
                self._refused_before[reason] += count
        return Stream(self._source, new, self.refused)
