"""The committer: loaded once, committed whole, shown and said only when committed."""

from __future__ import annotations

import pytest
import structlog

from metrics_sidecar import committer as committer_module
from metrics_sidecar.committer import COMMIT_MESSAGES_MAX, Committer
from metrics_sidecar.rows import ServiceCounter
from metrics_sidecar.store import MemoryStore, StateDamagedError, StateUnavailableError
from trade_telemetry.messages import Trade

NOW_S = 1_790_000_000.0


class FailingStore(MemoryStore):
    """Keeps rows in memory; raises what the test puts into ``errors``, by the method's name."""

    def __init__(self):
        super().__init__()
        self.rows = {}
        self.errors = {}

    def _raise(self, method):
        if method in self.errors:
            raise self.errors[method]

    def load(self):
        self._raise("load")
        return dict(self.rows)

    def commit(self, changes):
        self._raise("commit")
        self.rows |= {key: value for key, value in changes.items() if value is not None}

    def rewrite(self, rows):
        self._raise("rewrite")
        self.rows = dict(rows)
        self.errors.pop("commit", None)


@pytest.fixture
def store():
    return FailingStore()


@pytest.fixture
def new(store, monkeypatch):
    """A committer on that store, each time as after a start; nothing waits before another try."""
    monkeypatch.setattr(committer_module, "RETRY_S", 0.0)
    monkeypatch.setattr(committer_module, "open_store", lambda *_, **__: store)
    return lambda: Committer(None)


def trade(seq):
    return Trade("buy", 1, NOW_S, src="bot", epoch=1, seq=seq)


def test_only_what_is_committed_is_shown_and_said(new, store):
    committer = new()
    assert committer.snapshot is None
    assert committer.load()
    committer.ledger.apply(trade(1), NOW_S)
    assert committer.snapshot.applied == 0
    store.errors["commit"] = StateUnavailableError("full")
    assert committer.commit() == []
    assert (committer.snapshot.applied, committer.problem) == (0, "full")
    del store.errors["commit"]
    ((source, said),) = committer.commit()
    assert (source, said.last) == ("bot", 1)
    assert (committer.snapshot.applied, committer.problem) == (1, None)
    assert committer.snapshot.service[ServiceCounter.COMMIT_FAILURES] == 1


def test_a_state_that_could_not_be_read_is_never_replaced_by_an_empty_one(new, store):
    first = new()
    first.load()
    first.ledger.apply(trade(1), NOW_S)
    first.commit()
    kept = dict(store.rows)
    store.errors["load"] = StateUnavailableError("busy")
    second = new()
    assert not second.load()
    assert second.commit() == []
    assert store.rows == kept
    assert second.snapshot is None
    del store.errors["load"]
    assert second.load()
    assert second.snapshot.applied == 1
    assert second.snapshot.service[ServiceCounter.COMMIT_FAILURES] == 1
    assert second.snapshot.service[ServiceCounter.STARTS] == 2


def test_a_store_that_cannot_be_opened_yet_is_opened_later(monkeypatch, store):
    monkeypatch.setattr(committer_module, "RETRY_S", 0.0)
    answers = [StateUnavailableError("full"), store]

    def open_store(*_, **__):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(committer_module, "open_store", open_store)
    committer = Committer(None)
    assert committer.problem == "full"
    assert (committer.figures().size_bytes, committer.snapshot) == (0, None)
    assert committer.load()
    assert committer.problem is None
    committer.close()


def test_a_damaged_state_is_written_anew_and_counted_once_however_often_it_is_tried(new, store):
    committer = new()
    committer.load()
    committer.ledger.apply(trade(1), NOW_S)
    store.errors = {"commit": StateDamagedError("gone"), "rewrite": StateUnavailableError("full")}
    for _ in range(3):
        assert committer.commit() == []
    del store.errors["rewrite"]
    assert committer.commit()
    committer.commit()
    service = committer.snapshot.service
    assert service[ServiceCounter.STATES_REWRITTEN] == 1
    assert service[ServiceCounter.COMMIT_FAILURES] == 3
    restarted = new()
    assert restarted.load()
    assert restarted.snapshot.applied == 1


def test_rows_that_make_no_sense_are_set_aside_and_told(new, store):
    store.rows = {"totals": b"{}", "nonsense": b"1"}
    committer = new()
    with structlog.testing.capture_logs() as lines:
        assert committer.load()
    assert [line["event"] for line in lines] == ["the state makes no sense and is set aside"]
    assert committer.snapshot.applied == 0


def test_it_is_time_to_commit_when_many_wait_when_some_wait_long_or_when_it_is_hastened(
    new, monkeypatch
):
    committer = new()
    committer.load()
    assert committer.wait_s() > 5
    committer.hasten()
    assert committer.wait_s() == 0
    committer.commit()
    monkeypatch.setattr(committer_module, "COMMIT_INTERVAL_S", 3_600.0)
    for seq in range(1, COMMIT_MESSAGES_MAX):
        committer.ledger.apply(trade(seq), NOW_S)
    assert committer.wait_s() > 3_000
    committer.ledger.apply(trade(COMMIT_MESSAGES_MAX), NOW_S)
    assert committer.wait_s() == 0
    committer.commit()
    monkeypatch.setattr(committer_module, "COMMIT_INTERVAL_S", 0.0)
    committer.ledger.apply(trade(COMMIT_MESSAGES_MAX + 1), NOW_S)
    assert committer.wait_s() == 0
