"""What every bot accepted, to the event, and what must have become of it.

It hears bots, reads what the dead left, and knows what the harness did to them. It must not know
what the sidecar counted: that comparison is ``settle``.
"""

from __future__ import annotations

import threading
from array import array
from dataclasses import dataclass, field, replace
from typing import Final

from chaos.control import Kind, Report
from chaos.events import Sums
from chaos.recovery import Journal, Key
from trade_telemetry import LossReason

REASONS: Final = tuple(LossReason)
Range = tuple[int, int]


class OracleError(AssertionError):
    """A guarantee is broken; the message says which."""


@dataclass(slots=True, eq=False)
class Epoch:
    """One life of a publisher as the oracle knows it.

    ``events`` are those accepted, packed, sequence 1 first. ``held`` is whether somebody still has
    them: a running bot, or a journal file. ``in_doubt`` is the one event that a bot without a file
    may have been accepting when it died. ``ends`` is set where the file was put back to an older
    one: nobody knows of what is above. ``undone`` is how many it had when an older state forgot it
    and nobody held it any more: a beat that was still on its way may tell of them, and then they
    wait for ever. ``suspects`` may be lost, by what was done since the last
    settling; ``lost`` are.
    """

    key: Key
    capacity: int
    durable: bool
    held: bool = True
    events: array[int] = field(default_factory=lambda: array("Q"))
    in_doubt: int | None = None
    ends: int | None = None
    undone: int = 0
    last: int = 0
    head: int = 0
    spent: bool = False
    silent: int = 0
    suspects: dict[LossReason, list[Range]] = field(default_factory=dict)
    lost: dict[LossReason, list[Range]] = field(default_factory=dict)
    lost_sums: Sums = field(default_factory=Sums)
    _summed: int = 0
    _sums: Sums = field(default_factory=Sums)

    def sums(self, last: int) -> Sums:
        """Of the events up to ``last``, losses not taken off."""
        if last < self._summed:
            self._summed, self._sums = 0, Sums()
        self._sums.add(self.events[self._summed : last])
        self._summed = last
        return replace(self._sums, counts=[*self._sums.counts], nano=[*self._sums.nano])

    def between(self, first: int, last: int) -> array[int]:
        """The events of a range."""
        return self.events[first - 1 : last]

    def lose(self, reason: LossReason, ranges: list[Range]) -> None:
        """These are lost for good."""
        self.lost[reason] = [*self.lost.get(reason, []), *ranges]
        for first, last in ranges:
            self.lost_sums.add(self.between(first, last))

    def suspect(self, reason: LossReason, first: int, last: int) -> None:
        """These may be lost; what is suspected or lost already stays as it is."""
        known = [
            each for kind in (self.suspects, self.lost) for part in kind.values() for each in part
        ]
        for part in without((first, last), known):
            self.suspects.setdefault(reason, []).append(part)


def without(whole: Range, known: list[Range]) -> list[Range]:
    """The parts of a range that no known one covers, in order."""
    parts = [whole]
    for first, last in known:
        parts = [
            part
            for low, high in parts
            for part in ((low, min(high, first - 1)), (max(low, last + 1), high))
            if part[0] <= part[1]
        ]
    return sorted(set(parts))


def size(ranges: list[Range]) -> int:
    """How many sequences the ranges hold."""
    return sum(last - first + 1 for first, last in ranges)


@dataclass(slots=True)
class Kept:
    """What the oracle knew of an epoch when a copy of the state was taken."""

    last: int
    head: int
    silent: int
    lost: dict[LossReason, list[Range]]


class Oracle:
    """The accounts of all publishers by epoch. ``take`` is called by the listening thread."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.epochs: dict[Key, Epoch] = {}
        self.accepted = 0
        self.refused = 0
        self.acquitted = 0
        self.broken: list[str] = []

    def of(self, source: str) -> list[Epoch]:
        """A publisher's epochs, oldest first."""
        return [epoch for key, epoch in self.epochs.items() if key[0] == source]

    def open(self, key: Key, capacity: int, *, durable: bool) -> Epoch:
        """A bot has begun a life."""
        with self.lock:
            if key in self.epochs:
                self.broken.append(f"{key[0]} opened the epoch {key[1]} twice")
            return self.epochs.setdefault(key, Epoch(key, capacity, durable))

    def accept(self, epoch: Epoch, seq: int, packed: int) -> None:
        """A bot was told that an event is accepted."""
        if seq != len(epoch.events) + 1:
            self.broken.append(
                f"{epoch.key[0]} epoch {epoch.key[1]}: accepted {seq} after {len(epoch.events)}"
            )
            return
        epoch.events.append(packed)
        self.accepted += 1

    def skipping(self, source: str, record: Report) -> None:
        """A bot is about to say that a range will never come."""
        with self.lock:
            epoch = self.epochs.get((source, record.first))
            reason = REASONS[record.info]
            if epoch is None:
                self.broken.append(f"{source} skips in an epoch that nobody opened: {record}")
            elif reason is LossReason.OVERWRITTEN:
                highest = len(epoch.events) + 1 - epoch.capacity  # one may be in doubt
                if record.third > highest:
                    self.broken.append(f"{source} skips {record.third}, which its ring still holds")
                epoch.suspect(reason, record.second, record.third)

    def bury(self, epoch: Epoch, next_event: int) -> None:
        """The bot of an epoch without a file is dead; ``next_event`` is the one in doubt."""
        with self.lock:
            epoch.held = False
            epoch.in_doubt = next_event

    def settle_with(self, journal: Journal, next_event: int) -> None:
        """The bot is dead: what its journal holds decides about the event in doubt."""
        with self.lock:
            epoch = self.epochs.get(journal.key)
            if epoch is None:
                if journal.head:
                    self.broken.append(f"{journal.key} has {journal.head} events nobody published")
                return
            self._check_journal(epoch, journal, next_event)
            for seq in journal.unreadable:
                epoch.suspect(LossReason.JOURNAL, seq, seq)

    def _check_journal(self, epoch: Epoch, journal: Journal, next_event: int) -> None:
        known = len(epoch.events) if epoch.ends is None else epoch.ends
        if journal.head == known + 1 and epoch.ends is None:
            self.accept(epoch, journal.head, next_event)
        elif journal.head != known:
            self.broken.append(
                f"{epoch.key}: its journal ends with {journal.head}, it accepted {known}"
            )
        for seq, packed in journal.events.items():
            if seq <= len(epoch.events) and epoch.events[seq - 1] != packed:
                self.broken.append(f"{epoch.key}: its journal holds another event as {seq}")
                return

    def keep(self) -> dict[Key, Kept]:
        """What is settled now, to be remembered with a copy of the state."""
        return {
            key: Kept(epoch.last, epoch.head, epoch.silent, dict(epoch.lost))
            for key, epoch in self.epochs.items()
        }

    def put_back(self, kept: dict[Key, Kept]) -> int:
        """The state is an older one, and nothing waits: how many that costs, besides the forgotten.

        What a ring or a journal still holds comes again. What they wrote over is lost (``state``);
        what nobody holds any more is as if it had never been published.
        """
        cost = 0
        with self.lock:
            for key, epoch in self.epochs.items():
                was = kept.get(key) or Kept(0, 0, 0, {})
                epoch.last, epoch.head, epoch.silent = was.last, was.head, was.silent
                epoch.suspects, epoch.spent = {}, False
                epoch.lost, epoch.lost_sums = {}, Sums()
                for reason, ranges in was.lost.items():
                    epoch.lose(reason, ranges)
                if not epoch.held:
                    epoch.undone = max(epoch.undone, len(epoch.events))
                    del epoch.events[was.head :]
                    epoch.in_doubt = None
                    continue
                overwritten = len(epoch.events) - epoch.capacity
                if overwritten > was.last:
                    epoch.lose(LossReason.STATE, [(was.last + 1, overwritten)])
                    cost += overwritten - was.last
        return cost


@dataclass(slots=True)
class Life:
    """One process of a bot, as heard on its pipe."""

    source: str
    capacity: int
    seed: int
    oracle: Oracle
    epoch: Epoch | None = None
    attempts: int = 0
    stats: Report | None = None
    closed: int | None = None

    def take(self, record: Report) -> None:
        """One record."""
        kind = record.kind
        if kind == Kind.ACCEPTED:
            self.attempts += 1
            if self.epoch is None or self.epoch.key[1] != record.first:
                self.oracle.broken.append(f"{self.source} went on in another epoch: {record}")
            else:
                self.oracle.accept(self.epoch, record.second, record.third)
        elif kind == Kind.REFUSED:
            self.attempts += 1
            self.oracle.refused += 1
        elif kind == Kind.OPENED:
            key = (self.source, record.first)
            self.epoch = self.oracle.open(key, self.capacity, durable=bool(record.second))
        elif kind == Kind.SKIPPING:
            self.oracle.skipping(self.source, record)
        elif kind == Kind.STATS:
            self.stats = record
        elif kind == Kind.CLOSED:
            self.closed = record.first
