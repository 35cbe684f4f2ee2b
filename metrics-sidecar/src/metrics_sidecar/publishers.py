"""What is known of each publisher by name, over all its epochs. Pure.

A name is a label: at most 1,024 of them, and one that is needed for a newcomer is folded into
"other", so that every sum stays. It must not know messages, rows' places or the totals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from metrics_sidecar.rows import LedgerRowsError, PublisherRow, encode_row, publisher_key
from trade_telemetry.messages import STAMP_MAX, LossReason, RefusalReason

if TYPE_CHECKING:
    from metrics_sidecar.epoch import Epoch

PUBLISHERS_MAX: Final = 1_024
OTHER: Final = "other"
"""The name under which whatever is past a limit is counted."""


@dataclass(frozen=True, slots=True)
class PublisherTotals:
    """What is known of one publisher, over all its epochs.

    Identity: published = applied + lost + waiting. ``residue`` is what these figures, each counted
    on its own, leave unexplained: 0, or there is a defect. ``duplicates`` and ``gaps`` arrived and
    were not applied. ``epochs`` are those that have not ended; ``open``: more is expected.
    ``capacity``, ``held`` (events that can be sent again, 0 unknown), ``durable``, ``epoch`` and
    ``last_seq`` (the highest sequence settled) are of the latest epoch.
    """

    published: int
    applied: int
    lost: dict[LossReason, int]
    waiting: int
    residue: int
    duplicates: int
    gaps: int
    refilled: int
    refused: dict[str, int]
    last_seen_s: float
    capacity: int
    held: int
    open: bool
    epochs: int
    instances: int
    durable: bool
    epoch: int
    last_seq: int


def _no_losses() -> dict[LossReason, int]:
    return dict.fromkeys(LossReason, 0)


def _no_refusals() -> dict[str, int]:
    return {str(reason): 0 for reason in RefusalReason}


@dataclass(slots=True, eq=False)
class Publisher:
    """One publisher by name, with its live epochs by number; see PublisherRow."""

    name: str
    published: int = 0
    applied: int = 0
    lost: dict[LossReason, int] = field(default_factory=_no_losses)
    duplicates: int = 0
    gaps: int = 0
    refilled: int = 0
    refused: dict[str, int] = field(default_factory=_no_refusals)
    newest_s: float = 0.0
    epoch: int = 0
    last_seq: int = 0
    last_seen_s: float = 0.0
    epochs: dict[int, Epoch] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """Events heard of and not settled; an epoch that is spent has none."""
        return sum([each.head - each.last for each in self.epochs.values()])

    @property
    def residue(self) -> int:
        """(last − applied − lost) + (published − head), over all epochs."""
        return self.published - self.applied - sum(self.lost.values()) - self.waiting

    def last_heard_s(self) -> float:
        """When it was heard last, in unix seconds; right also after the clock was set back."""
        heard = [(each.heard_s, each.last_seen_s) for each in self.epochs.values()]
        return max(heard)[1] if heard else self.last_seen_s

    def instances(self) -> int:
        """How many publishers of this name run now, as far as their beats tell."""
        alive = [each for each in self.epochs.values() if each.alive]
        return max(min(len(alive), 1), len([each for each in alive if each.shared]))

    def totals(self) -> PublisherTotals:
        """An unchanging copy."""
        epochs = self.epochs.values()
        latest = max(epochs, key=attrgetter("began_s", "number"), default=None)
        unended = len([each for each in epochs if not each.is_over])
        return PublisherTotals(
            published=self.published,
            applied=self.applied,
            lost=dict(self.lost),
            waiting=self.waiting,
            residue=self.residue,
            duplicates=self.duplicates,
            gaps=self.gaps,
            refilled=self.refilled,
            refused=dict(self.refused),
            last_seen_s=self.last_heard_s(),
            capacity=latest.capacity if latest else 0,
            held=latest.held if latest else 0,
            open=any(each.is_open for each in epochs),
            epochs=unended,
            instances=self.instances(),
            durable=latest.durable if latest else False,
            epoch=latest.number if latest else self.epoch,
            last_seq=latest.last if latest else self.last_seq,
        )

    def row(self) -> PublisherRow:
        """What is kept of it."""
        return PublisherRow(
            published=self.published,
            applied=self.applied,
            lost={reason: count for reason, count in self.lost.items() if count},
            duplicates=self.duplicates,
            gaps=self.gaps,
            refilled=self.refilled,
            refused={reason: count for reason, count in self.refused.items() if count},
            residue=self.residue,
            newest_s=self.newest_s,
            epoch=self.epoch,
            last_seq=self.last_seq,
            last_seen_s=self.last_seen_s,
        )

    def spend(self, epoch: Epoch) -> None:
        """Let go of an epoch that is settled; the last one to leave is remembered as the latest."""
        heard_s = self.last_heard_s()
        del self.epochs[epoch.number]
        if not self.epochs:
            self.epoch, self.last_seq, self.last_seen_s = epoch.number, epoch.last, heard_s

    def absorb(self, folded: Publisher) -> None:
        """Take over all that is counted of a publisher without live epochs."""
        self.published += folded.published
        self.applied += folded.applied
        self.duplicates += folded.duplicates
        self.gaps += folded.gaps
        self.refilled += folded.refilled
        self.last_seen_s = max(self.last_seen_s, folded.last_seen_s)
        for reason, count in folded.lost.items():
            self.lost[reason] += count
        for refusal, count in folded.refused.items():
            self.refused[refusal] = self.refused.get(refusal, 0) + count


class Publishers:
    """All publishers by name: at most ``PUBLISHERS_MAX``, and "other" for those folded."""

    def __init__(self, rows: Mapping[str, PublisherRow]) -> None:
        self.by_name = {name: _publisher(name, row) for name, row in rows.items()}
        self.changed: set[str] = set(self.by_name)
        self._shown: dict[str, PublisherTotals] = {}

    def __len__(self) -> int:
        return len(self.by_name)

    def named(self, source: str) -> Publisher | None:
        """The publisher of that name, a new one if need be; None when there is no room for it."""
        publisher = self.by_name.get(source)
        if publisher is None:
            if source != OTHER and not self._has_room():
                return None
            publisher = self.by_name[source] = Publisher(source)
        self.changed.add(source)
        return publisher

    def changes(self) -> dict[str, bytes | None]:
        """The rows of those that changed since the last call."""
        rows: dict[str, bytes | None] = {}
        for name in self.changed:
            publisher = self.by_name.get(name)
            if publisher is None:
                rows[publisher_key(name)] = None
                self._shown.pop(name, None)
            else:
                rows[publisher_key(name)] = encode_row(publisher.row())
                self._shown[name] = publisher.totals()
        self.changed.clear()
        return rows

    def rows(self) -> dict[str, bytes]:
        """The rows of all."""
        return {publisher_key(name): encode_row(p.row()) for name, p in self.by_name.items()}

    def totals(self) -> dict[str, PublisherTotals]:
        """An unchanging copy by name, up to the last ``changes()``."""
        return dict(self._shown)

    def _has_room(self) -> bool:
        return len(self.by_name) - (OTHER in self.by_name) < PUBLISHERS_MAX or self._fold_one()

    def _fold_one(self) -> bool:
        """Fold the one that was silent the longest, of those that have nothing open."""
        other = self.by_name.get(OTHER) or Publisher(OTHER)
        idle = [
            each
            for each in self.by_name.values()
            if not each.epochs and each is not other and _fits(other, each)
        ]
        if not idle:
            return False
        folded = min(idle, key=lambda each: each.last_seen_s)
        self.by_name.setdefault(OTHER, other).absorb(folded)
        del self.by_name[folded.name]
        self.changed |= {OTHER, folded.name}
        return True


def _fits(other: Publisher, folded: Publisher) -> bool:
    """Whether the sums stay within what every program can hold.

    Who claims more than a share of that keeps its name, so that a lie does not use it up.
    """
    return all(
        count <= STAMP_MAX // PUBLISHERS_MAX and count + before <= STAMP_MAX
        for count, before in (
            (folded.published, other.published),
            (sum(folded.refused.values()), sum(other.refused.values())),
        )
    )


def _publisher(name: str, row: PublisherRow) -> Publisher:
    return Publisher(
        name,
        published=row.published,
        applied=row.applied,
        lost=_no_losses() | row.lost,
        duplicates=row.duplicates,
        gaps=row.gaps,
        refilled=row.refilled,
        refused=_no_refusals() | row.refused,
        newest_s=row.newest_s,
        epoch=row.epoch,
        last_seq=row.last_seq,
        last_seen_s=row.last_seen_s,
    )


def check_residues(publishers: Publishers, rows: Mapping[str, PublisherRow]) -> None:
    """Raise LedgerRowsError when a publisher's rows do not belong together."""
    for name, row in rows.items():
        if publishers.by_name[name].residue != row.residue:
            raise LedgerRowsError(f"the rows of publisher {name!r} are from different times")
