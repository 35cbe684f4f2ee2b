"""What is known of each publisher: how far its sequence came, what is missing, what it says itself.

Pure, and changed by one thread. It tells a new event from one that was counted before; what an
event means for the totals is the ledger's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from trade_telemetry.messages import Beat, RefusalReason

PUBLISHERS_MAX: Final = 1_024
EPOCHS_MAX: Final = 4_096
GAPS_MAX: Final = 64
OTHER: Final = "other"
"""The name under which whatever is past a limit is counted."""


@dataclass(frozen=True, slots=True)
class PublisherTotals:
    """What is known of one publisher, over all its epochs; ``capacity`` and below of the latest.

    ``missing`` events were sent and have not arrived, ``waiting`` ones were accepted and not sent,
    as far as the sidecar has heard.
    """

    published: int
    applied: int
    missing: int
    waiting: int
    duplicates: int
    refused: dict[RefusalReason, int]
    last_seen_s: float
    capacity: int
    epoch: int
    last_seq: int

    @property
    def residue(self) -> int:
        """Events that no count explains; 0, or there is a defect."""
        return self.published - self.applied - self.missing - self.waiting


class Sequence:
    """Which sequences of one epoch have arrived, given that what was up to ``last`` is not ours.

    After a reconnect the events of the old and the new connection mix, so a gap may be filled late.
    At most ``GAPS_MAX`` gaps are kept open; ``missing`` still counts those that were closed.
    """

    __slots__ = ("gaps", "last", "missing")

    def __init__(self, last: int) -> None:
        self.last = last
        self.missing = 0
        self.gaps: list[tuple[int, int]] = []

    def take(self, seq: int) -> bool:
        """Take note of an arrival; False if it has arrived before."""
        if seq > self.last:
            if seq > self.last + 1:
                self.skip_to(seq - 1)
            self.last = seq
            return True
        return self._fill(seq)

    def skip_to(self, seq: int) -> None:
        """Everything up to ``seq`` was sent; what has not arrived of it is missing."""
        if seq <= self.last:
            return
        self.gaps.append((self.last + 1, seq))
        self.missing += seq - self.last
        self.last = seq
        if len(self.gaps) > GAPS_MAX:
            del self.gaps[0]

    def _fill(self, seq: int) -> bool:
        for index, (first, last) in enumerate(self.gaps):
            if first <= seq <= last:
                rest = [(first, seq - 1), (seq + 1, last)]
                self.gaps[index : index + 1] = [gap for gap in rest if gap[0] <= gap[1]]
                self.missing -= 1
                return True
        return False


@dataclass(slots=True)
class _Publisher:
    applied: int = 0
    duplicates: int = 0
    missing_forgotten: int = 0
    waiting_forgotten: int = 0
    published: int = 0
    refused: dict[RefusalReason, int] = field(
        default_factory=lambda: dict.fromkeys(RefusalReason, 0)
    )
    last_seen_s: float = 0.0
    latest: _Epoch | None = None
    epochs: dict[tuple[str, int], _Epoch] = field(default_factory=dict)


@dataclass(slots=True)
class _Epoch:
    """One life of a publisher; ``head`` is the highest sequence that it is known to have given."""

    number: int
    publisher: _Publisher
    sequence: Sequence
    head: int
    refused: dict[RefusalReason, int] = field(default_factory=dict)
    capacity: int = 0

    @property
    def waiting(self) -> int:
        """How many it gave that have not been sent, as far as is known."""
        return self.head - self.sequence.last


class Publishers:
    """All publishers heard of: at most ``PUBLISHERS_MAX`` by name, the others together as "other".

    At most ``EPOCHS_MAX`` lives are told apart; past that the one heard of first is forgotten, and
    starts anew when it is heard again: what it sent before is then neither missing nor duplicate.
    """

    def __init__(self) -> None:
        self.duplicates = 0
        self._publishers: dict[str, _Publisher] = {}
        self._epochs: dict[tuple[str, int], _Epoch] = {}

    def take(self, source: str, number: int, seq: int, now_s: float) -> bool:
        """Take note of a stamped event; False if it was taken before."""
        epoch = self._epochs.get((source, number))
        if epoch is None:
            epoch = self._open(source, number, heard_up_to=seq - 1)
        publisher = epoch.publisher
        publisher.last_seen_s = now_s
        publisher.latest = epoch
        if not epoch.sequence.take(seq):
            publisher.duplicates += 1
            self.duplicates += 1
            return False
        publisher.applied += 1
        if seq > epoch.head:
            publisher.published += seq - epoch.head
            epoch.head = seq
        return True

    def beat(self, beat: Beat, now_s: float) -> None:
        """Take in what a publisher says of itself."""
        sent = max(0, beat.head - beat.waiting)  # never above head, whatever the beat says
        epoch = self._epochs.get((beat.src, beat.epoch))
        if epoch is None:
            epoch = self._open(beat.src, beat.epoch, heard_up_to=sent)
        publisher = epoch.publisher
        publisher.last_seen_s = now_s
        publisher.latest = epoch
        epoch.sequence.skip_to(sent)
        if beat.head > epoch.head:
            publisher.published += beat.head - epoch.head
            epoch.head = beat.head
        for reason, count in beat.refused.items():
            publisher.refused[reason] += max(0, count - epoch.refused.get(reason, 0))
        epoch.refused = beat.refused
        epoch.capacity = beat.capacity

    def totals(self) -> dict[str, PublisherTotals]:
        """An unchanging copy, by name."""
        return {name: _totals(publisher) for name, publisher in self._publishers.items()}

    def _open(self, source: str, number: int, heard_up_to: int) -> _Epoch:
        if len(self._epochs) >= EPOCHS_MAX:
            self._forget_oldest()
        full = len(self._publishers) >= PUBLISHERS_MAX
        name = OTHER if full and source not in self._publishers else source
        publisher = self._publishers.setdefault(name, _Publisher())
        epoch = _Epoch(number, publisher, Sequence(heard_up_to), head=heard_up_to)
        self._epochs[source, number] = epoch
        publisher.epochs[source, number] = epoch
        return epoch

    def _forget_oldest(self) -> None:
        key = next(iter(self._epochs))
        epoch = self._epochs.pop(key)
        epoch.publisher.missing_forgotten += epoch.sequence.missing
        epoch.publisher.waiting_forgotten += epoch.waiting
        del epoch.publisher.epochs[key]


def _totals(publisher: _Publisher) -> PublisherTotals:
    latest = publisher.latest
    epochs = publisher.epochs.values()
    return PublisherTotals(
        published=publisher.published,
        applied=publisher.applied,
        missing=publisher.missing_forgotten + sum(epoch.sequence.missing for epoch in epochs),
        waiting=publisher.waiting_forgotten + sum(epoch.waiting for epoch in epochs),
        duplicates=publisher.duplicates,
        refused=dict(publisher.refused),
        last_seen_s=publisher.last_seen_s,
        capacity=latest.capacity if latest else 0,
        epoch=latest.number if latest else 0,
        last_seq=latest.sequence.last if latest else 0,
    )
