"""One epoch: how far its sequence came, and what its publisher says of it. Pure.

It must not know other epochs of other names, rows' places, or the totals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from metrics_sidecar.publishers import OTHER, Publisher
from metrics_sidecar.rows import EpochRow, Key
from trade_telemetry.messages import Beat, LossReason, RefusalReason

BESIDE_S: Final = 5.0
"""Two that beat beside each other for this long share a name; less may be a quick restart."""
LEFT_S: Final = 35.0
"""A publisher finds what its earlier lives left within 30 s: of what is over it says nothing."""
_REFUSALS: Final = frozenset(RefusalReason)


@dataclass(slots=True, eq=False)
class Epoch:
    """One life of a publisher: ``last`` is settled, ``head`` the highest sequence heard of.

    ``since_s`` is when it began, for its order among others of its name, and 0 until a beat says
    it; ``claimed_s`` is the latest start that was claimed for it, by whatever clock. ``first_s``
    and ``heard_s`` are when it was heard first and last, in seconds of listening. What follows
    ``refused`` is not kept: ``beat`` and ``gap`` are for the acknowledgement, ``touched`` is that
    one is due. ``alive``: its own publisher beats, since ``alive_from_s`` of listening;
    ``shared``: beside another of its name; at ``look_s`` others are looked for. What is up to
    ``was_told`` had been committed once, and of that is up to ``refilled_to`` accounted for.
    """

    source: str
    number: int
    publisher: Publisher
    last: int = 0
    head: int = 0
    since_s: float = 0.0
    claimed_s: float = 0.0
    first_s: float = 0.0
    heard_s: float = 0.0
    last_seen_s: float = 0.0
    capacity: int = 0
    held: int = 0
    durable: bool = False
    ended: bool = False
    refused: dict[str, int] = field(default_factory=dict)
    beat: int = 0
    gap: bool = False
    touched: bool = False
    alive: bool = False
    alive_from_s: float = 0.0
    look_s: float = 0.0
    shared: bool = False
    was_told: int = 0
    refilled_to: int = 0

    @property
    def key(self) -> Key:
        """What it is known by."""
        return self.source, self.number

    @property
    def began_s(self) -> float:
        """When it began, in unix seconds; not before that, where no beat has said it."""
        return self.since_s or self.last_seen_s

    @property
    def is_closed(self) -> bool:
        """Whether its publisher has ended it, and nothing waits."""
        return self.ended and self.head == self.last

    @property
    def is_superseded(self) -> bool:
        """Whether its publisher has been heard of with an epoch that began later."""
        return self.began_s < self.publisher.newest_s

    @property
    def is_over(self) -> bool:
        """Its publisher has ended it, or lives on without it: a kill came before the last word."""
        if self.ended:
            return True
        silent_s = max(each.heard_s for each in self.publisher.epochs.values()) - self.heard_s
        return self.is_superseded and self.head == self.last and silent_s >= LEFT_S

    @property
    def is_open(self) -> bool:
        """Whether more is to be expected: not of one in memory that another has followed."""
        return not self.is_over and (self.durable or not self.is_superseded)

    def raise_head(self, head: int) -> None:
        """Note a higher sequence, once ``Epochs.check`` has found it plausible."""
        if head > self.head:
            self.publisher.published += head - self.head
            self.head = head

    def lose(self, last: int, reason: LossReason) -> None:
        """Settle what is up to ``last``, none of it applied."""
        self.publisher.lost[reason] += last - self.last
        self.refilled_to += max(0, min(last, self.was_told) - self.last)
        self.raise_head(last)
        self.last = last

    def count_refilled(self) -> None:
        """Count what was applied again because an older state did not know of it."""
        filled_to = min(self.last, self.was_told)
        if filled_to > self.refilled_to:
            self.publisher.refilled += filled_to - self.refilled_to
            self.refilled_to = filled_to

    def take_beat(self, beat: Beat) -> None:
        """Take in what a beat says, once ``Epochs.check`` has found it plausible.

        It began when it was first heard at the latest: a clock that is ahead supersedes nobody.
        """
        self.raise_head(beat.head)
        for reason, count in more_refused(self.refused, beat.refused).items():
            self.publisher.refused[reason] = self.publisher.refused.get(reason, 0) + count
            self.refused[reason] = self.refused.get(reason, 0) + count
        self.claimed_s = max(self.claimed_s, beat.since)
        if not self.since_s:
            self.since_s = min(beat.since, self.last_seen_s)
        self.publisher.newest_s = max(self.publisher.newest_s, self.since_s)
        self.capacity = beat.capacity
        self.held = max(0, beat.head - beat.oldest + 1)
        self.durable = beat.durable
        self.ended = beat.ending
        self.beat = beat.number
        self.gap = False

    def follow_all(self) -> None:
        """Be the latest of its name, whatever its clock said."""
        self.since_s = self.publisher.newest_s = math.nextafter(self.publisher.newest_s, math.inf)

    def row(self) -> EpochRow:
        """What is kept of it."""
        return EpochRow(
            last=self.last,
            head=self.head,
            since_s=self.since_s,
            claimed_s=self.claimed_s,
            first_s=self.first_s,
            heard_s=self.heard_s,
            last_seen_s=self.last_seen_s,
            capacity=self.capacity,
            held=self.held,
            durable=self.durable,
            ended=self.ended,
            refused=self.refused,
        )


def are_beside(one: Epoch, other: Epoch) -> bool:
    """Whether both have been alive together for long; each is beside itself."""
    until_s = min(one.heard_s, other.heard_s)
    together_s = until_s - max(one.alive_from_s, other.alive_from_s)
    return one.alive and other.alive and together_s >= BESIDE_S


def comes_last(epoch: Epoch) -> bool:
    """Whether all of its name that began later, by their clocks, were heard of before it."""
    later = [each for each in epoch.publisher.epochs.values() if each.began_s > epoch.began_s]
    return all(each.first_s <= epoch.first_s for each in later)


def more_refused(before: Mapping[str, int], said: Mapping[str, int]) -> dict[str, int]:
    """What is said above what was said before, which never lowers it, by reasons known here."""
    known: dict[str, int] = {}
    for reason, count in said.items():
        name = reason if reason in _REFUSALS else OTHER
        known[name] = known.get(name, 0) + count
    more = {name: count - before.get(name, 0) for name, count in known.items()}
    return {name: count for name, count in more.items() if count > 0}
