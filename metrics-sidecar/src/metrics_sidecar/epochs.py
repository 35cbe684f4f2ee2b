"""The epochs: how far each sequence came, which are live, and which are spent. Pure.

Forgetting is measured in seconds of listening, so that neither a clock nor a night switched off
makes a publisher silent. An epoch that is settled stays known as a short *spent* row, and is
revived by any message of it: forgetting never lets a resend count again.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nsmallest
from types import MappingProxyType
from typing import Final

from msgspec.structs import asdict

from metrics_sidecar.epoch import BESIDE_S, Epoch, are_beside, comes_last, more_refused
from metrics_sidecar.notices import Notices, OlderState, SharedName
from metrics_sidecar.publishers import Publishers, check_residues
from metrics_sidecar.rows import Key, SpentRow, State, encode_row, epoch_key, spent_key
from trade_telemetry.messages import STAMP_MAX, Beat, LossReason

EPOCHS_MAX: Final = 1_024
SPENT_MAX: Final = 16_384
SILENT_S: Final = 24 * 3600.0
SILENT_WHEN_FULL_S: Final = 60.0
SETTLED_AT_ONCE_WHEN_FULL: Final = 64
LOOK_EVERY_S: Final = 1.0
ALIVE_S: Final = 5.0
"""A publisher whose beats do not come for this long does not run, as far as it is known here."""
CLAIM_MAX: Final = 2**42
"""Events that one message may claim beyond what is settled: years at 30,000 a second, and from as
many epochs as there are places half of what a name can hold: a single lie uses no name up."""
_NONE_REFUSED: Final[Mapping[str, int]] = MappingProxyType({})


class ImplausibleError(Exception):
    """A publisher's numbers are beyond ``CLAIM_MAX``, or would bring a total above 2⁵³ − 1."""


_UNKNOWN: Final = SpentRow(last=0, since_s=0.0)


class Epochs:
    """At most ``EPOCHS_MAX`` live epochs and ``SPENT_MAX`` spent ones.

    Past the second limit those that began first are forgotten, and ``forgotten_since_s`` says up to
    when: an epoch that began no later and is not known may have been counted before.
    """

    def __init__(self, state: State, publishers: Publishers) -> None:
        self._publishers = publishers
        self._full_at_s = -1.0
        seen_s = [each.last_seen_s for each in state.epochs.values()]
        seen_s += [each.last_seen_s for each in state.publishers.values()]
        self._now_s = max(seen_s, default=0.0)
        self._touched: list[Epoch] = []
        self._moved: set[Key] = set()
        self.settled = 0
        self.listened_s = state.totals.listened_s
        self.forgotten_since_s = state.totals.forgotten_since_s
        self.notices = Notices()
        self.spent = dict(state.spent)
        self.live: dict[Key, Epoch] = {}
        for (source, number), row in state.epochs.items():
            publisher = publishers.by_name[source]
            epoch = Epoch(source, number, publisher, **asdict(row))
            self.live[source, number] = publisher.epochs[number] = epoch
        check_residues(publishers, state.publishers)

    def may_open(self, key: Key, since_s: float) -> bool:
        """Whether an unknown epoch that began then cannot have been counted before."""
        return key in self.spent or since_s > self.forgotten_since_s or self.forgotten_since_s <= 0

    def open(self, key: Key, now_s: float) -> Epoch | None:
        """A new epoch, or a spent one as it was; None when there is no place for it."""
        spent = self.spent.pop(key, None)  # or it could be what is forgotten to make room
        publisher = self._publishers.named(key[0]) if self._has_room() else None
        if publisher is None:
            if spent is not None:
                self.spent[key] = spent
                self._forget()
            return None
        epoch = Epoch(
            *key, publisher, first_s=self.listened_s, heard_s=self.listened_s, last_seen_s=now_s
        )
        if spent is not None:
            epoch.last = epoch.head = spent.last
            epoch.since_s, epoch.claimed_s = spent.since_s, spent.claimed_s
            epoch.refused = dict(spent.refused)
            self._moved.add(key)
        self.live[key] = publisher.epochs[key[1]] = epoch
        return epoch

    def check(self, key: Key, head: int, refused: Mapping[str, int] = _NONE_REFUSED) -> None:
        """Raise ImplausibleError when that sequence, or what was refused, is beyond reason."""
        publisher = self._publishers.by_name.get(key[0])
        known = self.live.get(key) or self.spent.get(key) or _UNKNOWN
        if head > known.last + CLAIM_MAX:
            raise ImplausibleError
        if head > known.head:
            published = publisher.published if publisher else 0
            if published + head - known.head > STAMP_MAX:
                raise ImplausibleError
        if refused:
            before = sum(publisher.refused.values()) if publisher else 0
            more = sum(more_refused(known.refused, refused).values())
            if more > CLAIM_MAX or before + more > STAMP_MAX:
                raise ImplausibleError

    def touch(self, epoch: Epoch, now_s: float) -> None:
        """It was heard: it will be written and acknowledged."""
        self._now_s = now_s
        epoch.heard_s = self.listened_s
        epoch.last_seen_s = now_s
        if not epoch.touched:
            epoch.touched = True
            self._touched.append(epoch)

    def take_beat(self, epoch: Epoch, beat: Beat) -> None:
        """Take in a beat; notice a state that is older than its publisher, and a shared name."""
        epoch.take_beat(beat)
        was_told = min(beat.acknowledged, beat.head)
        if was_told > max(epoch.last, epoch.was_told):
            self._note_older(epoch, was_told, beat.oldest)
        if beat.refused and not beat.ending:
            self._note_alive(epoch)
        else:  # it has ended, or another process sends what it left
            epoch.alive = epoch.shared = False

    def listened(self, seconds: float) -> None:
        """Time passed while listening; settle what may be settled.

        A durable epoch in which something waits stays until another of its name has followed it.
        """
        self.listened_s += seconds
        for each in self.live.values():
            if each.alive and self._silence_s(each) >= ALIVE_S:
                each.alive = each.shared = False
                self._publishers.changed.add(each.source)
        silent = [each for each in self.live.values() if self._silence_s(each) >= SILENT_S]
        self._settle([e for e in silent if e.head == e.last or not e.durable or e.is_superseded])

    def take_touched(self) -> list[Epoch]:
        """The epochs that were heard since the last call."""
        touched = [each for each in self._touched if self.live.get(each.key) is each]
        for each in self._touched:
            each.touched = False
            each.count_refilled()
        self._touched.clear()
        self._publishers.changed.update(each.publisher.name for each in touched)
        return touched

    def changes(self, touched: list[Epoch]) -> dict[str, bytes | None]:
        """The rows of those epochs, and of all that were spent, revived or forgotten."""
        rows: dict[str, bytes | None] = {}
        for key in self._moved:
            rows[epoch_key(key)] = None
            spent = self.spent.get(key)
            rows[spent_key(key)] = None if spent is None else encode_row(spent)
        for each in touched:
            rows[epoch_key(each.key)] = encode_row(each.row())
        self._moved.clear()
        return rows

    def rows(self) -> dict[str, bytes]:
        """The rows of all epochs."""
        live = {epoch_key(key): encode_row(each.row()) for key, each in self.live.items()}
        return live | {spent_key(key): encode_row(each) for key, each in self.spent.items()}

    def _note_older(self, epoch: Epoch, was_told: int, oldest: int) -> None:
        epoch.count_refilled()
        last = epoch.refilled_to = epoch.last
        epoch.was_told = was_told
        again = max(0, was_told - max(last, oldest - 1))
        lost = was_told - last - again
        self.notices.add(OlderState(*epoch.key, last, was_told, again, lost))

    def _note_alive(self, epoch: Epoch) -> None:
        """Its own publisher beats: it shares its name with others that do, or follows them all.

        The only one to beat follows those that were heard of before it, whatever a clock that was
        set back says. Looks once a second, until it was found to share its name.
        """
        now_s = self.listened_s
        if not epoch.alive:
            epoch.alive, epoch.alive_from_s, epoch.look_s = True, now_s, now_s + BESIDE_S
        if epoch.shared or now_s < epoch.look_s:
            return
        epoch.look_s = now_s + LOOK_EVERY_S
        alive = [each for each in epoch.publisher.epochs.values() if each.alive]
        beside = [each for each in alive if are_beside(epoch, each)]
        if len(beside) > 1:
            for each in beside:
                each.shared = True
            self.notices.add(SharedName(epoch.source, tuple(each.number for each in beside)))
        elif epoch.is_superseded and len(alive) == 1 and comes_last(epoch):
            epoch.follow_all()

    def _silence_s(self, epoch: Epoch) -> float:
        return self.listened_s - epoch.heard_s

    def _has_room(self) -> bool:
        if len(self.live) >= EPOCHS_MAX:
            self._make_room()
        return len(self.live) < EPOCHS_MAX

    def _make_room(self) -> None:
        """Settle some that are closed or not durable, those without a loss first.

        Only time lets more be settled: a search without success is not repeated before it passes.
        """
        if self._full_at_s == self.listened_s:
            return
        ready = [
            each
            for each in self.live.values()
            if self._silence_s(each) >= SILENT_WHEN_FULL_S and (each.is_closed or not each.durable)
        ]
        ready.sort(key=lambda each: (each.head > each.last, each.heard_s))
        if len(ready) <= SETTLED_AT_ONCE_WHEN_FULL:
            self._full_at_s = self.listened_s
        self._settle(ready[:SETTLED_AT_ONCE_WHEN_FULL])

    def _settle(self, epochs: list[Epoch]) -> None:
        """Nothing more is expected of these: what waits is lost, and they are spent."""
        for each in epochs:
            publisher = each.publisher
            each.count_refilled()
            each.lose(each.head, LossReason.SILENT)
            publisher.spend(each)
            self._publishers.changed.add(publisher.name)
            del self.live[each.key]
            self.spent[each.key] = SpentRow(
                last=each.last,
                since_s=each.began_s,
                claimed_s=each.claimed_s,
                refused=each.refused,
            )
            self._moved.add(each.key)
        self.settled += len(epochs)
        self._forget()

    def _forget(self) -> None:
        """Drop the spent rows past the limit, those that began first.

        One that claims to begin in the future is kept until that has come. Of such are at most half
        of all: those past it are dropped, and ``forgotten_since_s`` does not reach them.
        """
        if len(self.spent) <= SPENT_MAX:
            return
        spent = self.spent
        ahead = [key for key, row in spent.items() if row.latest_s > self._now_s]
        for key in nsmallest(len(ahead) - SPENT_MAX // 2, ahead, key=lambda k: spent[k].since_s):
            del spent[key]
            self._moved.add(key)
        for key in nsmallest(len(spent) - SPENT_MAX, spent, key=lambda k: spent[k].latest_s):
            self.forgotten_since_s = max(self.forgotten_since_s, spent.pop(key).latest_s)
            self._moved.add(key)
