"""The ledger against a model that remembers every sequence number, under random schedules.

The model keeps sets, knows no rows and no limits, and judges what became of each message. One
machine has the real limits; the other has tiny ones, so that epochs are turned away, folded and
forgotten all the time.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from dataclasses import dataclass, field, replace

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from metrics_sidecar import epochs as epochs_module
from metrics_sidecar import publishers as publishers_module
from metrics_sidecar.ledger import Ledger
from trade_telemetry import RejectReason, Trade
from trade_telemetry.messages import Beat, LossReason, Skip

NOW_S = 1_790_000_000.0
DAY_S = 24 * 3600.0
OUTCOMES = ("applied", "duplicates", "gaps", "beats", "skips", "turned_away", "rejected")
KEYS = st.tuples(st.sampled_from(["a", "a/b", "c", "other"]), st.integers(1, 3))


@dataclass
class ModelEpoch:
    """What became of each sequence number: applied, or the reason why it was lost."""

    settled: dict[int, str] = field(default_factory=dict)
    head: int = 0
    since_s: float = 0.0
    heard_s: float = 0.0
    seen_s: float = 0.0
    refused: int = 0
    duplicates: int = 0
    gaps: int = 0
    durable: bool = False
    ended: bool = False
    beat: int = 0
    gap: bool = False

    @property
    def last(self):
        return len(self.settled)

    def settle(self, last, outcome):
        for seq in range(self.last + 1, last + 1):
            self.settled[seq] = outcome
        self.head = max(self.head, last)


@dataclass
class Model:
    epochs: dict[tuple[str, int], ModelEpoch] = field(default_factory=dict)
    counts: Counter = field(default_factory=Counter)
    newest_s: dict[str, float] = field(default_factory=dict)
    listened_s: float = 0.0


class LedgerMachine(RuleBasedStateMachine):
    """With the real limits: every outcome is foretold."""

    is_exact = True

    @initialize()
    def begin(self):
        self.now_s = NOW_S
        self.model = Model()
        self.ledger = Ledger(incarnation=7)
        self.rows = {}
        self.versions = []
        self.touched = set()
        self.commit()

    # what arrives

    @rule(key=KEYS, step=st.sampled_from([1, 1, 1, 1, 0, -1, 2, 3]))
    def trade(self, key, step):
        seq = max(1, self.last(key) + step)
        trade = Trade("buy", 0.5, self.now_s, src=key[0], epoch=key[1], seq=seq)
        outcome = self.outcome_of(lambda: self.ledger.apply(trade, self.now_s))
        self.judge(key, outcome, seq, seq, "applied")
        if outcome == "applied":
            self.model.epochs[key].settle(seq, "applied")

    @rule(key=KEYS, step=st.sampled_from([1, 1, 0, 2]))
    def rejected_trade(self, key, step):
        seq = max(1, self.last(key) + step)
        outcome = self.outcome_of(
            lambda: self.ledger.reject_stamped(RejectReason.QTY, (*key, seq), self.now_s)
        )
        self.judge(key, outcome, seq, seq, "rejected")
        if outcome == "rejected":
            self.model.epochs[key].settle(seq, LossReason.REJECTED)

    @rule(
        key=KEYS,
        step=st.sampled_from([1, 1, -1, 2]),
        length=st.integers(0, 4),
        reason=st.sampled_from([LossReason.OVERWRITTEN, LossReason.JOURNAL, LossReason.STATE]),
    )
    def skip(self, key, step, length, reason):
        first = max(1, self.last(key) + step)
        skip = Skip(*key, first, first + length, reason)
        outcome = self.outcome_of(lambda: self.ledger.skip(skip, self.now_s))
        self.judge(key, outcome, first, first + length, "skips")
        if outcome == "skips":
            self.model.epochs[key].settle(skip.last, reason)

    @rule(
        key=KEYS,
        ahead=st.integers(-2, 5),
        number=st.integers(1, 9),
        refused=st.none() | st.integers(0, 9),
        durable=st.booleans(),
        ending=st.booleans(),
    )
    def beat(self, key, ahead, number, refused, durable, ending):
        """With nothing about refusals it is of another process, which sends what was left."""
        since_s = NOW_S - 1000 + 10 * key[1]
        head = max(0, self.last(key) + ahead)
        said = {} if refused is None else {"ring_full": refused}
        beat = Beat(*key, since_s, number, head, 0, 1, 100, said, durable, ending)
        outcome = self.outcome_of(lambda: self.ledger.beat(beat, self.now_s))
        assert outcome in ("beats", "turned_away")
        if outcome == "turned_away":
            assert not self.is_exact
            assert not self.is_kept("epoch", key)
            return
        epoch = self.heard(key)
        epoch.head = max(epoch.head, head)
        newest_s = self.model.newest_s.get(key[0], 0.0)
        if said:
            since_s = max(since_s, math.nextafter(newest_s, math.inf))
        epoch.since_s = epoch.since_s or since_s
        self.model.newest_s[key[0]] = max(newest_s, epoch.since_s)
        epoch.refused = max(epoch.refused, refused or 0)
        epoch.durable, epoch.ended, epoch.beat, epoch.gap = durable, ending, number, False

    @rule()
    def plain_trade(self):
        trade = Trade("sell", 0.25, self.now_s)
        assert self.outcome_of(lambda: self.ledger.apply(trade, self.now_s)) == "applied"
        self.model.counts["untracked"] += 1

    @rule(seconds=st.sampled_from([1.0, 61.0, DAY_S / 2, DAY_S]))
    def time_passes(self, seconds):
        self.now_s += seconds
        self.ledger.listened(seconds)
        self.model.listened_s += seconds
        self.see_what_was_settled()
        if self.is_exact:
            assert not [key for key in self.live() if self.may_settle(key, DAY_S)]

    # what happens to the state

    @rule()
    def commit(self):
        changes = self.ledger.changes()
        for key, value in changes.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        assert self.rows == self.ledger.rows()
        self.ledger.committed()
        assert self.ledger.uncommitted == 0
        assert not self.ledger.changes()
        self.check_acknowledgements()
        self.check_snapshot()
        self.versions = [*self.versions[-3:], (dict(self.rows), copy.deepcopy(self.model))]

    @rule()
    def write_that_fails(self):
        before = self.ledger.snapshot()
        self.ledger.changes()
        assert self.ledger.snapshot() is before
        assert self.ledger.acknowledgements() == []

    @rule()
    def crash(self):
        before = self.ledger.snapshot()
        self.load(*self.versions[-1])
        heard_of = {k: replace(each, instances=0) for k, each in before.publishers.items()}
        assert self.ledger.snapshot() == replace(before, recent=(), publishers=heard_of)

    @rule(age=st.integers(1, 4))
    def older_copy(self, age):
        self.versions = self.versions[: max(1, len(self.versions) - age)]
        self.load(*self.versions[-1])

    def load(self, rows, model):
        self.rows, self.model = dict(rows), copy.deepcopy(model)
        self.ledger = Ledger(rows, incarnation=7)
        self.touched = set()
        for epoch in self.model.epochs.values():
            epoch.beat, epoch.gap = 0, False

    # the judge

    def last(self, key):
        return self.model.epochs[key].last if key in self.model.epochs else 0

    def totals(self):
        totals = msgspec.json.decode(self.ledger.rows()["totals"])
        return {**totals, "rejected": sum(totals["rejected"].values())}

    def outcome_of(self, deliver):
        """What was counted: exactly one thing, once."""
        before = self.totals()
        deliver()
        after = self.totals()
        assert after["received"] == before["received"] + 1
        (outcome,) = (each for each in OUTCOMES if after[each] != before[each])
        assert after[outcome] == before[outcome] + 1
        self.model.counts[outcome] += 1
        self.see_what_was_settled()
        return outcome

    def judge(self, key, outcome, first, last, taken):
        """Whether a message of these sequences had to become that."""
        known = self.last(key)
        if not self.is_kept("epoch", key):
            assert not self.is_exact
            assert outcome in ("gaps", "turned_away")
            return
        epoch = self.heard(key)
        if first > known + 1:
            assert outcome == "gaps"
            epoch.gap = True
            epoch.gaps += 1
        elif taken != "skips" and last <= known:
            assert outcome == "duplicates"
            epoch.duplicates += 1
        else:
            assert outcome == taken

    def heard(self, key):
        epoch = self.model.epochs.setdefault(key, ModelEpoch())
        epoch.heard_s, epoch.seen_s = self.model.listened_s, self.now_s
        self.touched.add(key)
        return epoch

    def is_in_rows(self, rows, kind, key):
        return f"{kind}/{key[1]}/{key[0]}" in rows

    def is_kept(self, kind, key):
        return self.is_in_rows(self.ledger.rows(), kind, key)

    def live(self):
        return [key for key in self.model.epochs if self.is_kept("epoch", key)]

    def may_settle(self, key, silent_s):
        """By the rules: silent, and closed or not durable; a day of it lets more be settled.

        That is, what has nothing waiting or is superseded.
        """
        epoch = self.model.epochs[key]
        silence_s = self.model.listened_s - epoch.heard_s
        nothing_waits = epoch.head == epoch.last
        is_done = (epoch.ended and nothing_waits) or not epoch.durable
        is_past = silence_s >= DAY_S and (nothing_waits or self.is_old(key))
        return silence_s >= silent_s and (is_done or is_past)

    def is_old(self, key):
        if not self.is_exact:  # when a name was folded, nobody knows any more what was newest
            return True
        epoch = self.model.epochs[key]
        began_s = epoch.since_s or epoch.seen_s
        return any(k[0] == key[0] and e.since_s > began_s for k, e in self.model.epochs.items())

    def see_what_was_settled(self):
        """What is live no more: it was allowed, and nothing of it is open."""
        rows = self.ledger.rows()
        for key, epoch in self.model.epochs.items():
            if self.is_in_rows(rows, "epoch", key):
                continue
            if epoch.last < epoch.head:
                assert self.may_settle(key, 60.0)
                epoch.settle(epoch.head, LossReason.SILENT)
            spent = rows.get(f"spent/{key[1]}/{key[0]}")
            assert spent or not self.is_exact
            assert not spent or msgspec.json.decode(spent)["last"] == epoch.last
            epoch.durable = epoch.ended = epoch.gap = False
            epoch.beat = 0

    def check_acknowledgements(self):
        said = {(source, each.epoch): each for source, each in self.ledger.acknowledgements()}
        assert said.keys() <= self.touched
        for key in self.touched.intersection(self.live()):
            epoch, each = self.model.epochs[key], said[key]
            assert (each.incarnation, each.last, each.head) == (7, epoch.last, epoch.head)
            assert (each.beat, each.gap) == (epoch.beat, epoch.gap)
        self.touched = set()

    def check_snapshot(self):
        snapshot, counts = self.ledger.snapshot(), self.model.counts
        assert snapshot.received == sum(counts[each] for each in OUTCOMES)
        assert (snapshot.applied, snapshot.untracked) == (counts["applied"], counts["untracked"])
        assert sum(snapshot.rejected.values()) == counts["rejected"]
        for name in ("duplicates", "gaps", "beats", "skips", "turned_away"):
            assert getattr(snapshot, name) == counts[name]
        tracked = counts["applied"] - counts["untracked"]
        assert snapshot.volume("buy") == 0.5 * tracked
        shown = snapshot.publishers.values()
        for each in shown:
            assert each.residue == 0
            assert each.published == each.applied + sum(each.lost.values()) + each.waiting
        if self.is_exact:
            for name, each in snapshot.publishers.items():
                assert figures([each]) == self.model_figures(name)
        assert figures(shown) == self.model_figures(None)

    def model_figures(self, name):
        epochs = [e for key, e in self.model.epochs.items() if name in (None, key[0])]
        settled = Counter(outcome for each in epochs for outcome in each.settled.values())
        return {
            "published": sum(each.head for each in epochs),
            "applied": settled.pop("applied", 0),
            "lost": +settled,
            "waiting": sum(each.head - each.last for each in epochs),
            "refused": sum(each.refused for each in epochs),
            "duplicates": sum(each.duplicates for each in epochs),
            "gaps": sum(each.gaps for each in epochs),
        }

    @invariant()
    def nothing_but_what_was_committed_is_shown(self):
        if self.versions:
            shown = self.ledger.snapshot().received
            committed = self.versions[-1][1].counts
            assert shown == sum(committed[each] for each in OUTCOMES)


def figures(totals):
    lost = Counter()
    for each in totals:
        lost.update(each.lost)
    return {
        "published": sum(each.published for each in totals),
        "applied": sum(each.applied for each in totals),
        "lost": +lost,
        "waiting": sum(each.waiting for each in totals),
        "refused": sum(sum(each.refused.values()) for each in totals),
        "duplicates": sum(each.duplicates for each in totals),
        "gaps": sum(each.gaps for each in totals),
    }


class CrampedLedgerMachine(LedgerMachine):
    """With tiny limits: a message may be turned away, but nothing is ever counted twice."""

    is_exact = False

    @rule(number=st.integers(0, 9))
    def one_that_was_spent_comes_back(self, number):
        """Which chance alone seldom chooses, and which needs room in a full table."""
        spent = [key for key in self.model.epochs if self.is_kept("spent", key)]
        if spent:
            self.time_passes(61.0)
            self.trade(spent[number % len(spent)], 1)


def run(machine, examples):
    phases = [Phase.generate, Phase.shrink]  # to explain takes minutes, and tells little here
    profile = settings(max_examples=examples, stateful_step_count=60, phases=phases)
    run_state_machine_as_test(machine, settings=profile)


def test_whatever_happens_in_whatever_order_the_ledger_is_what_the_model_is():
    run(LedgerMachine, 120)


@pytest.mark.parametrize(("live", "spent", "names"), [(4, 2, 2), (2, 2, 4)])
def test_under_tiny_limits_nothing_is_counted_twice_and_every_sum_stays(
    live, spent, names, monkeypatch
):
    monkeypatch.setattr(epochs_module, "EPOCHS_MAX", live)
    monkeypatch.setattr(epochs_module, "SPENT_MAX", spent)
    monkeypatch.setattr(epochs_module, "SETTLED_AT_ONCE_WHEN_FULL", 2)
    monkeypatch.setattr(publishers_module, "PUBLISHERS_MAX", names)
    run(CrampedLedgerMachine, 120)
