"""One epoch on its way: which message is next, and what an acknowledgement changes. Pure.

A ``Stream`` reads a ring and gives out messages in order; it hears acknowledgements, lets go of
what is settled, and goes back where something was lost. It must not know sockets or threads, and is
told the time (seconds of a clock that never goes back). Why a beat is a marker: docs/delivery.md.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from trade_telemetry.acknowledgements import Acknowledgement
from trade_telemetry.batches import BATCH_TRADES_MAX, Batch, TradeRow
from trade_telemetry.messages import Beat, LossReason, Message, RefusalReason, Skip, Trade

WINDOW_EVENTS: Final = 65_536
BEAT_INTERVAL_S: Final = 1.0
BEAT_INTERVAL_ASKING_S: Final = 0.1
HOLD_S_MAX: Final = 1.0
BACK_AGAIN_S_MIN: Final = 0.1
BACK_AGAIN_S_MAX: Final = 5.0
BEATS_REMEMBERED: Final = 64
INCARNATIONS_REMEMBERED: Final = 16
LOST_RUN_EVENTS_MAX: Final = 4_096
"""How far one message looks for the end of a damaged stretch; each of its slots is read."""


class ReadsEvents(Protocol):
    """What a stream needs of a ``Ring``, or of a ``Leftover`` of an earlier life."""

    epoch: int
    since_s: float
    capacity: int
    durable: bool
    head: int

    @property
    def tail(self) -> int:
        """The highest sequence that is settled."""
        ...

    @property
    def oldest(self) -> int:
        """The lowest sequence whose slot is not written over."""
        ...

    def rows(self, first: int, last: int) -> list[TradeRow]:
        """Give the events from ``first`` to ``last``, up to one whose slot cannot be read."""
        ...

    def lost_run(self, seq: int, last: int) -> int:
        """Give the end of the unreadable stretch that begins at ``seq``, at most ``last``."""
        ...

    def trim(self, seq: int) -> None:
        """Let go of everything up to ``seq``."""
        ...

    def rewind(self, seq: int) -> None:
        """Take back what was let go above ``seq``."""
        ...

    def close(self, *, delete: bool) -> None:
        """Let go of it; with ``delete`` for good."""
        ...

    def abandon(self) -> None:
        """In a forked child: close what was inherited, without touching what is the parent's."""
        ...


class ContestedEpochError(Exception):
    """The sidecar settled what was never sent: another publisher uses this source and epoch."""


class Stream:
    """A ring's events as messages of one source and epoch, until the sidecar has settled them all.

    ``sent`` is the send cursor. At most ``WINDOW_EVENTS`` are sent and not acknowledged. A leftover
    says nothing but beats until it has heard how far its epoch came.
    """

    def __init__(
        self,
        source: str,
        ring: ReadsEvents,
        refused: Mapping[RefusalReason, int],
        *,
        leftover: bool = False,
    ) -> None:
        self.ring = ring
        self.source = source
        self.leftover = leftover
        self.sent = ring.tail
        self.resent = 0
        self.closing = False
        self._refused = refused
        self._last_word = math.inf
        self._sent_before_back = 0
        self._acknowledged_max = ring.tail
        self._head_heard = self._head_said = 0
        self._number = self._marker = 0
        self._sent_before: dict[int, int] = {}
        self._beat_due_s = -math.inf
        self._hold_until_s = -math.inf
        self._asking_until_s = -math.inf
        self._back_to = -1
        self._back_again_s = -math.inf
        self._back_delay_s = 0.0
        self._incarnation = 0
        self._retired: deque[int] = deque(maxlen=INCARNATIONS_REMEMBERED)

    @property
    def sent_max(self) -> int:
        """The highest that the send cursor ever was."""
        return max(self.sent, self._sent_before_back)

    @property
    def settled(self) -> bool:
        """Whether nothing waits; of a leftover, only the sidecar knows."""
        return self.waiting == 0 and (self._incarnation > 0 or not self.leftover)

    @property
    def head(self) -> int:
        """The last sequence of the epoch, damaged slots at its end included."""
        return max(self.ring.head, self._head_heard) if self.leftover else self.ring.head

    @property
    def waiting(self) -> int:
        """How many events the sidecar has not settled yet."""
        return self.head - self.ring.tail

    def supersede(self) -> None:
        """Its publisher goes on in a new epoch: a leftover, once its refusals have been heard."""
        self._last_word = self._number + 1

    def connection_made(self, now_s: float) -> None:
        """Say a beat first; where something was on its way, wait for the answer before going on."""
        self._beat_due_s = -math.inf
        self._marker = self._number + 1
        self._asking_until_s = now_s + HOLD_S_MAX  # the answers' own connection may come later
        if self.leftover:
            self._hold_until_s = math.inf
        elif self.sent_max > self.ring.tail:
            self._hold_until_s = now_s + HOLD_S_MAX

    def outgoing(self, count_max: int, now_s: float) -> Iterator[Message]:
        """The next messages in order: a beat when it is due, then at most ``count_max`` events.

        Each counts as sent once the next one is asked for: who cannot push one just stops.
        """
        if now_s >= self._beat_due_s:
            yield self._beat()
            self._note_beat(now_s)
        if now_s < self._hold_until_s:
            return
        ring, seq = self.ring, self.sent
        last = min(self.head, ring.tail + WINDOW_EVENTS, seq + count_max)
        while seq < last:
            rows = ring.rows(seq + 1, min(last, seq + BATCH_TRADES_MAX))
            if rows:
                yield self._events(seq + 1, rows)
                seq += len(rows)
            else:
                skip = self._skip(seq + 1)
                yield skip
                seq = skip.last
            self.sent = seq

    def _events(self, seq: int, rows: list[TradeRow]) -> Trade | Batch:
        if len(rows) > 1:
            return Batch(self.source, self.ring.epoch, seq, rows)
        row = rows[0]
        stamps = self.source, self.ring.epoch, seq
        return Trade(row.side, row.qty, row.ts, row.symbol, row.price, *stamps)

    def ending(self) -> Beat:
        """The last word on this epoch from this process."""
        return self._beat(ending=True)

    def hear(self, acknowledgement: Acknowledgement, now_s: float) -> bool:
        """Take in the sidecar's word; whether it was news for this epoch.

        Raises ContestedEpochError, and then changes nothing, when it settles what was never sent.
        What was only announced in a beat may be settled: as silent, after a long time unheard.
        """
        last = acknowledgement.last
        if acknowledgement.epoch != self.ring.epoch:
            return False
        if last > max(self.sent_max, self._head_said) and not self.leftover:
            raise ContestedEpochError
        if not self._is_current(acknowledgement):
            return False
        self._head_heard = max(self._head_heard, acknowledgement.head)
        if acknowledgement.beat >= self._last_word:
            self._refused = {}
        older = last < self.ring.tail
        if older:  # another incarnation, with an older state: it wants to be filled again
            self.ring.rewind(last)
        else:
            self.ring.trim(last)
            self._acknowledged_max = max(self._acknowledged_max, last)
            self.sent = max(self.sent, last)
        self._weigh(acknowledgement, now_s, older=older)
        return True

    def _is_current(self, acknowledgement: Acknowledgement) -> bool:
        """Whether it is of the latest incarnation, and no late word of it."""
        incarnation = acknowledgement.incarnation
        if incarnation == self._incarnation:
            return acknowledgement.last >= self.ring.tail
        if incarnation in self._retired:
            return False
        if self._incarnation:
            self._retired.append(self._incarnation)
        self._incarnation = incarnation
        return True

    def _weigh(self, acknowledgement: Acknowledgement, now_s: float, *, older: bool) -> None:
        """Go back if events pushed before an answered beat are proven to be lost on the way."""
        sent_before = self._sent_before.get(acknowledgement.beat)
        proven = older
        if sent_before is not None and acknowledgement.beat >= self._marker:
            self._hold_until_s = -math.inf
            proven |= acknowledgement.gap or acknowledgement.last < sent_before
        if proven and self.sent > acknowledgement.last:
            self._go_back(acknowledgement.last, now_s)

    def _go_back(self, last: int, now_s: float) -> None:
        """Send again from above ``last``; for the same ``last`` later and later."""
        if last != self._back_to:
            self._back_to = last
            self._back_delay_s = BACK_AGAIN_S_MIN
        elif now_s < self._back_again_s:
            return
        else:
            self._back_delay_s = min(2 * self._back_delay_s, BACK_AGAIN_S_MAX)
        self._back_again_s = now_s + self._back_delay_s
        self.resent += self.sent - last
        self._sent_before_back = self.sent_max
        self.sent = last
        self._marker = self._number + 1
        self._beat_due_s = -math.inf

    def _beat(self, *, ending: bool = False) -> Beat:
        ring = self.ring
        return Beat(
            self.source,
            ring.epoch,
            since=ring.since_s,
            number=self._number + 1,
            head=self.head,
            sent=self.sent,
            oldest=ring.oldest,
            capacity=ring.capacity,
            refused={str(reason): count for reason, count in self._refused.items()},
            durable=ring.durable,
            ending=ending,
            acknowledged=self._acknowledged_max,
        )

    def _note_beat(self, now_s: float) -> None:
        self._number += 1
        self._sent_before[self._number] = self.sent
        self._head_said = self.head
        self._sent_before.pop(self._number - BEATS_REMEMBERED, None)
        asking = self.closing or now_s < self._asking_until_s
        self._beat_due_s = now_s + (BEAT_INTERVAL_ASKING_S if asking else BEAT_INTERVAL_S)

    def hurry(self) -> None:
        """The publisher closes: ask for acknowledgements more often."""
        if not self.closing:
            self.closing = True
            self._beat_due_s = -math.inf

    def _skip(self, seq: int) -> Skip:
        """The stretch from ``seq`` on that cannot be sent, and why; of one reason."""
        ring = self.ring
        last, reason = self.head, LossReason.JOURNAL
        if seq < ring.oldest:
            last, reason = ring.oldest - 1, LossReason.OVERWRITTEN
        elif seq <= ring.head:
            last = ring.lost_run(seq, min(ring.head, seq + LOST_RUN_EVENTS_MAX))
        if seq <= self._acknowledged_max:
            last, reason = min(last, self._acknowledged_max), LossReason.STATE
        return Skip(self.source, ring.epoch, seq, last, reason)
