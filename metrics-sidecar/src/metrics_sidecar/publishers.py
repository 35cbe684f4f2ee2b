"""What is known of each publisher: how far its sequence came, what is missing, what it says itself.

Pure, and changed by one thread. It tells a new event from one that was taken before; what an event
means for the totals is the ledger's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from trade_telemetry.messages import STAMP_MAX, Beat, RefusalReason

PUBLISHERS_MAX: Final = 1_024
EPOCHS_MAX: Final = 4_096
EPOCHS_FORGOTTEN_AT_ONCE: Final = 512
GAPS_MAX: Final = 64
OTHER: Final = "other"
"""The name under which whatever is past a limit is counted."""


class ImplausibleError(Exception):
    """A publisher's numbers would make a total that no program can hold exactly (above 2⁵³ − 1)."""


@dataclass(frozen=True, slots=True)
class PublisherTotals:
    """What is known of one publisher, over all its epochs; ``waiting`` and below of the latest.

    ``missing`` events were sent and have not arrived; ``rejected`` ones arrived and were not
    trades; ``waiting`` is what it said itself in its latest beat; ``open`` is false once it said
    that it ends. ``residue`` is what no other figure explains: 0, or there is a defect.
    """

    published: int
    applied: int
    rejected: int
    missing: int
    residue: int
    duplicates: int
    refused: dict[str, int]
    last_seen_s: float
    waiting: int
    capacity: int
    open: bool
    epoch: int
    last_seq: int


class Sequence:
    """Which sequences of one epoch have arrived, given that what was up to ``first`` is not ours.

    After a reconnect the events of the old and the new connection mix, so a gap may be filled late.
    At most ``GAPS_MAX`` gaps are kept open; ``missing`` still counts those that were closed.
    """

    __slots__ = ("first", "gaps", "last", "missing")

    def __init__(self, first: int) -> None:
        self.first = first
        self.last = first
        self.missing = 0
        self.gaps: list[tuple[int, int]] = []

    def take(self, seq: int) -> bool:
        """Take note of an arrival; False if it has arrived before."""
        if seq > self.last:
            self.skip_to(seq - 1)
            self.last = seq
            return True
        return self._fill(seq)

    def skip_to(self, seq: int) -> None:
        """Everything up to ``seq`` was sent; what has not arrived of it is missing."""
        if seq > self.last:
            self._open_gap(self.last + 1, seq)
            self.last = seq

    def claim_all(self) -> None:
        """What was up to ``first`` is ours after all, so it is missing."""
        if self.first > 0:
            self._open_gap(1, self.first)
            self.first = 0

    def _open_gap(self, first: int, last: int) -> None:
        self.gaps.append((first, last))
        self.missing += last - first + 1
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
class Publisher:
    """One publisher by name; ``applied`` and ``rejected`` are kept by the ledger."""

    applied: int = 0
    rejected: int = 0
    duplicates: int = 0
    published: int = 0
    refused: dict[str, int] = field(default_factory=lambda: dict.fromkeys([*RefusalReason], 0))
    taken_forgotten: int = 0
    missing_forgotten: int = 0
    latest: _Epoch | None = None
    epochs: dict[tuple[str, int], _Epoch] = field(default_factory=dict)


@dataclass(slots=True)
class _Epoch:
    """One life of a publisher; ``head`` is the highest sequence that it is known to have given."""

    number: int
    publisher: Publisher
    sequence: Sequence
    head: int
    last_seen_s: float
    refused: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    capacity: int = 0
    open: bool = True

    def raise_head(self, head: int) -> None:
        """Note a higher sequence; raises ImplausibleError for one that would overflow."""
        if head > self.head:
            if self.publisher.published + head - self.head > STAMP_MAX:
                raise ImplausibleError
            self.publisher.published += head - self.head
            self.head = head


class Publishers:
    """All publishers heard of: at most ``PUBLISHERS_MAX`` by name, the others together as "other".

    ``since_s`` (unix seconds) is from when on everything is known. Of an epoch that began later,
    all that it sent is expected; of one that began before, what comes after the first word heard.
    At most ``EPOCHS_MAX`` epochs are told apart; past that, those silent the longest are forgotten,
    and everything is known only from then on.
    """

    def __init__(self, since_s: float) -> None:
        self.duplicates = 0
        self._since_s = since_s
        self._publishers: dict[str, Publisher] = {}
        self._epochs: dict[tuple[str, int], _Epoch] = {}

    def take(self, source: str, number: int, seq: int, now_s: float) -> Publisher | None:
        """Take note of a stamped event; None if it was taken before.

        Raises ImplausibleError for a sequence that would overflow a total.
        """
        epoch = self._epochs.get((source, number))
        if epoch is None:
            epoch = self._open(source, number, seq - 1, now_s)
        publisher = epoch.publisher
        epoch.raise_head(seq)
        epoch.last_seen_s = now_s
        publisher.latest = epoch
        if not epoch.sequence.take(seq):
            publisher.duplicates += 1
            self.duplicates += 1
            return None
        return publisher

    def beat(self, beat: Beat, now_s: float) -> None:
        """Take in what a publisher says of itself; raises ImplausibleError, and then takes nothing.

        Refusals for a reason not known here are counted as "other".
        """
        sent = beat.head - beat.waiting
        epoch = self._epochs.get((beat.src, beat.epoch))
        if epoch is None:
            epoch = self._open(beat.src, beat.epoch, sent, now_s)
        epoch.raise_head(beat.head)
        if beat.since >= self._since_s and epoch.publisher.published <= STAMP_MAX - beat.head:
            epoch.publisher.published += epoch.sequence.first
            epoch.sequence.claim_all()
        epoch.sequence.skip_to(sent)
        epoch.last_seen_s = now_s
        epoch.publisher.latest = epoch
        epoch.waiting = beat.waiting
        epoch.capacity = beat.capacity
        epoch.open = not beat.ending
        _add_refused(epoch, beat.refused)

    def totals(self) -> dict[str, PublisherTotals]:
        """An unchanging copy, by name."""
        return {name: _totals(publisher) for name, publisher in self._publishers.items()}

    def _open(self, source: str, number: int, first: int, now_s: float) -> _Epoch:
        if len(self._epochs) >= EPOCHS_MAX:
            self._forget_the_silent(now_s)
        full = len(self._publishers) >= PUBLISHERS_MAX
        name = OTHER if full and source not in self._publishers else source
        publisher = self._publishers.setdefault(name, Publisher())
        epoch = _Epoch(number, publisher, Sequence(first), head=first, last_seen_s=now_s)
        self._epochs[source, number] = publisher.epochs[source, number] = epoch
        return epoch

    def _forget_the_silent(self, now_s: float) -> None:
        by_silence = sorted(self._epochs.items(), key=lambda item: item[1].last_seen_s)
        for key, epoch in by_silence[:EPOCHS_FORGOTTEN_AT_ONCE]:
            publisher = epoch.publisher
            publisher.taken_forgotten += epoch.sequence.last - epoch.sequence.first
            publisher.missing_forgotten += epoch.sequence.missing
            del publisher.epochs[key], self._epochs[key]
        self._since_s = now_s


def _add_refused(epoch: _Epoch, refused: dict[str, int]) -> None:
    """Count what a beat says above what this epoch said before; never past what can be held."""
    totals = epoch.publisher.refused
    for reason, count in refused.items():
        known = reason if reason in totals else OTHER
        before = epoch.refused.get(known, 0)
        if before < count <= STAMP_MAX - totals.get(known, 0):
            totals[known] = totals.get(known, 0) + count - before
            epoch.refused[known] = count


def _totals(publisher: Publisher) -> PublisherTotals:
    epochs: Iterable[_Epoch] = publisher.epochs.values()
    taken = publisher.taken_forgotten + sum(e.sequence.last - e.sequence.first for e in epochs)
    missing = publisher.missing_forgotten + sum(e.sequence.missing for e in epochs)
    latest = publisher.latest
    return PublisherTotals(
        published=publisher.published,
        applied=publisher.applied,
        rejected=publisher.rejected,
        missing=missing,
        residue=taken - missing - publisher.applied - publisher.rejected,
        duplicates=publisher.duplicates,
        refused=dict(publisher.refused),
        last_seen_s=latest.last_seen_s if latest else 0.0,
        waiting=latest.waiting if latest else 0,
        capacity=latest.capacity if latest else 0,
        open=latest.open if latest else False,
        epoch=latest.number if latest else 0,
        last_seq=latest.sequence.last if latest else 0,
    )
