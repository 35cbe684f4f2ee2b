"""The ledger and the store that keeps it: loaded once, committed whole, shown only when committed.

Used by the receiver's thread. A state that cannot be read or written now is told and tried again;
it must not know sockets or metrics.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import structlog

from metrics_sidecar.ledger import Ledger
from metrics_sidecar.rows import LedgerRowsError, ServiceCounter
from metrics_sidecar.snapshot import Snapshot
from metrics_sidecar.store import (
    StateDamagedError,
    StateError,
    StateUnavailableError,
    Store,
    StoreFigures,
    open_store,
)
from trade_telemetry.acknowledgements import Acknowledgement

COMMIT_INTERVAL_S: Final = 0.1
COMMIT_MESSAGES_MAX: Final = 20_000
COMMIT_QUIET_S: Final = 10.0
"""The receiver's own figures wait this long for a commit when nothing else is there to commit."""
RETRY_S: Final = 1.0

Answers = list[tuple[str, Acknowledgement]]


class Committer:
    """What was counted, and whether it is safe. Any thread may read ``snapshot`` and ``problem``.

    Takes the lock of ``directory`` (None keeps nothing); raises StateLockedError when another
    sidecar has it. ``ledger`` is empty, and ``snapshot`` None, until ``load`` was true. ``problem``
    says in a line why nothing can be counted now, or is None.
    """

    def __init__(self, directory: Path | None) -> None:
        self.ledger = Ledger()
        self.snapshot: Snapshot | None = None
        self.problem: str | None = "the totals are not loaded yet"
        self.last_commit_s = 0.0
        self._directory = directory
        self._log = structlog.get_logger("state")
        self._store: Store | None = None
        self._committed_s = self._retry_s = 0.0
        self._failures = 0
        self._told = 0
        self._rewriting = False
        self._refused = 0
        try:
            self._store = open_store(directory)
        except StateUnavailableError as error:  # a full disk is no reason not to start
            self._fail(error)

    @property
    def durable(self) -> bool:
        """Whether the totals survive a restart."""
        return self._directory is not None

    def figures(self) -> StoreFigures:
        """What the state takes on its disk, and what is left there."""
        return StoreFigures(0, 0) if self._store is None else self._store.figures()

    def note_refused(self, refused: int) -> None:
        """Count who wanted this state and was refused; so many since this one has it."""
        more = refused - self._refused if refused >= self._refused else refused
        self._refused = refused
        if more:
            self.ledger.note(ServiceCounter.STATE_REFUSED, more)
            self._log.warning(
                "another sidecar, or a restore, was refused: this one has the state. Give each a "
                "SIDECAR_STATE_DIR of its own",
                refused=more,
            )
            self.hasten()

    def load(self) -> bool:
        """Read the state if that is possible now; tried again once a second until it is."""
        if time.monotonic() < self._retry_s:
            return False
        try:
            store = self._store = self._store or open_store(self._directory, lock_wait_s=0)
            self.ledger = self._loaded_ledger(store)
            self.ledger.note(ServiceCounter.STARTS, 1)
            self._write(store)
        except StateError as error:
            self._fail(error)
            return False
        return True

    def wait_s(self) -> float:
        """Seconds until something is due here; 0 when it is."""
        now_s = time.monotonic()
        if self.problem is not None:
            return max(0.0, self._retry_s - now_s)
        if self.ledger.uncommitted >= COMMIT_MESSAGES_MAX:
            return 0.0
        interval_s = COMMIT_INTERVAL_S if self.ledger.uncommitted else COMMIT_QUIET_S
        return max(0.0, self._committed_s + interval_s - now_s)

    def hasten(self) -> None:
        """Have the next commit at once, though no message waits for it."""
        self._committed_s = 0.0

    def commit(self) -> Answers:
        """Commit everything and show it; what may be said to publishers then.

        Nothing while the state cannot be written: ``problem`` says why, and the next call tries
        again. What was counted meanwhile stays in the ledger. Nothing before ``load`` was true: an
        empty ledger must not take the place of a state that could not be read yet.
        """
        if self._store is None or self.snapshot is None:
            return []
        try:
            self._write(self._store)
        except StateError as error:
            self._fail(error)
            return []
        return self.ledger.acknowledgements()

    def close(self) -> None:
        """Let go of the state."""
        if self._store is not None:
            self._store.close()

    def _loaded_ledger(self, store: Store) -> Ledger:
        rows = store.load()
        try:
            return Ledger(rows)
        except LedgerRowsError as error:  # whole by its digest, and no state of ours all the same
            self._log.error("the state makes no sense and is set aside", reason=str(error))
            store.rewrite({})
            return Ledger()

    def _write(self, store: Store) -> None:
        self._note_failures()
        started_s = time.monotonic()
        try:
            store.commit(self.ledger.changes())
        except StateDamagedError as error:
            self._note_rewrite(error)
            store.rewrite(self.ledger.rows())
        self.ledger.committed()
        self._committed_s = 0.0 if self._rewriting else time.monotonic()  # that is shown soon
        self.last_commit_s = time.time()
        if self.problem is not None and self.snapshot is not None:
            self._log.info("the state can be used again")
        self.problem, self._rewriting = None, False
        self.ledger.note(ServiceCounter.COMMITS, 1)
        self.ledger.note(ServiceCounter.COMMIT_S, time.monotonic() - started_s)
        self._note_set_aside(store)
        self.snapshot = self.ledger.snapshot()

    def _note_failures(self) -> None:
        """Only now, because loading makes a new ledger."""
        self.ledger.note(ServiceCounter.COMMIT_FAILURES, self._failures)
        self._failures = 0

    def _note_rewrite(self, error: StateDamagedError) -> None:
        """Once, however often it is tried."""
        if not self._rewriting:
            self._rewriting = True
            self._log.error("the state is written anew from memory", reason=str(error))
            self.ledger.note(ServiceCounter.STATES_REWRITTEN, 1)

    def _note_set_aside(self, store: Store) -> None:
        """Count what was set aside, once each, and say where it is."""
        for sentence in store.set_aside[self._told :]:
            self._log.error("state set aside", what=sentence)
            self.ledger.note(ServiceCounter.STATES_SET_ASIDE, 1)
            self.hasten()
        self._told = len(store.set_aside)

    def _fail(self, error: StateError) -> None:
        self._retry_s = time.monotonic() + RETRY_S
        self._failures += 1
        if self.problem != str(error):
            self._log.error("the state cannot be used: nothing is counted now", reason=str(error))
        self.problem = str(error)
