"""The thread that stores what the bus carries: batch by batch, each in one transaction.

A batch that cannot be written now is tried again until it can be, and meanwhile the bus waits; what
can never be written is left out and counted. Knows no table, and no feed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog

from market_engine.bus.base import Message, Subscription, Topic
from market_engine.errors import StorageError
from market_engine.storage.batches import BatchWriter, Written
from market_engine.storage.database import RowError
from market_engine.storage.rows import BarRow

WRITER_TOPICS: Final = (Topic.MARKET_DATA, Topic.METRICS, Topic.HEALTH)
"""What to subscribe it to, with ``Full.WAIT``."""
RETRY_S_MIN: Final = 0.05
RETRY_S_MAX: Final = 2.0
POLL_S_MAX: Final = 0.1
"""``stop`` is heard so soon."""


class BatchLimits(msgspec.Struct, frozen=True):
    """A batch is written when it reaches the first of these."""

    messages: int = 2_000
    bytes: int = 4_000_000
    """Of metrics, which alone can be large."""
    age_s: float = 0.25
    """Since its first message was read."""


class WriterStats(msgspec.Struct, frozen=True):
    """What was done since the start, in messages unless the name says otherwise."""

    written: Written = Written()
    rejected: int = 0
    """They fit into no table."""
    batches: int = 0
    failures: int = 0
    """Tries that failed; none of them lost anything."""
    pending: int = 0
    """Read and not yet written."""
    lag_s: float = 0.0
    """How long the oldest of those has been waiting."""
    last_commit_ns: int = 0
    """0 before the first one."""
    problem: str | None = None
    """Why nothing can be written now."""


class Writer:
    """Reads the subscription until ``stop``; ``stats`` from any thread."""

    def __init__(
        self,
        batches: BatchWriter,
        subscription: Subscription,
        limits: BatchLimits | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._batches = batches
        self._subscription = subscription
        self._limits = limits or BatchLimits()
        self._clock_ns = clock_ns
        self._log = structlog.get_logger("writer")
        self._stats = WriterStats()
        self._pending: list[Message] = []
        self._pending_bytes = 0
        self._since_s = 0.0
        self._retry_s = RETRY_S_MIN
        self._draining = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="storage-writer", daemon=True)

    def start(self) -> None:
        """Begin to read; once."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Write what is on the bus, close the subscription and end; whether all was written.

        After ``timeout_s`` it gives up: what is left then was not committed on the bus either.
        Publishers should have ended, or there may be no end to it.
        """
        self._draining.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
            self._given_up.set()
            self._thread.join()
        self._subscription.close()
        return not self._pending

    def stats(self) -> WriterStats:
        """Now."""
        pending = len(self._pending)
        lag_s = time.monotonic() - self._since_s if pending else 0.0
        return msgspec.structs.replace(self._stats, pending=pending, lag_s=lag_s)

    def _run(self) -> None:
        while not self._given_up.is_set():
            took = self._take()
            drained = self._draining.is_set() and not took
            if self._pending and (self._is_due() or drained):
                self._store()
            elif drained:
                return

    def _take(self) -> bool:
        """Read, and wait no longer than until the batch is due; whether anything came."""
        limits = self._limits
        left_s = POLL_S_MAX
        if self._pending:
            due_s = self._since_s + limits.age_s - time.monotonic()
            left_s = max(0.0, min(left_s, due_s))
        if self._draining.is_set():
            left_s = 0.0
        started_s = time.monotonic()
        messages = self._subscription.poll(limits.messages - len(self._pending), left_s)
        if not messages:  # early, if the bus is closed
            self._draining.wait(max(0.0, started_s + left_s - time.monotonic()))
            return False
        if not self._pending:
            self._since_s = time.monotonic()
        self._pending.extend(messages)
        self._pending_bytes += sum(
            len(message.value.metrics) for message in messages if type(message.value) is BarRow
        )
        return True

    def _is_due(self) -> bool:
        limits = self._limits
        return (
            len(self._pending) >= limits.messages
            or self._pending_bytes >= limits.bytes
            or time.monotonic() >= self._since_s + limits.age_s
        )

    def _store(self) -> None:
        """Write what is pending, however long it takes, and say so to the bus."""
        if self._write(self._pending):
            self._subscription.commit()
            self._pending, self._pending_bytes = [], 0

    def _write(self, messages: Sequence[Message]) -> bool:
        """Write in as few transactions as what does not fit allows; False if it was given up."""
        while not self._given_up.is_set():
            try:
                self._note(self._batches.write(messages))
            except RowError as error:
                return self._write_around(messages, error)
            except StorageError as error:
                self._fail(error)
            else:
                return True
        return False

    def _write_around(self, messages: Sequence[Message], error: RowError) -> bool:
        """Write all but those that fit into no table."""
        if len(messages) > 1:
            half = len(messages) // 2
            return self._write(messages[:half]) and self._write(messages[half:])
        self._log.error("a message cannot be stored and is left out", reason=str(error))
        self._change(rejected=self._stats.rejected + 1)
        return True

    def _note(self, written: Written) -> None:
        stats = self._stats
        if stats.problem is not None:
            self._log.info("the database can be written again")
        self._change(
            written=stats.written.plus(written),
            batches=stats.batches + 1,
            last_commit_ns=self._clock_ns(),
            problem=None,
        )

    def _fail(self, error: StorageError) -> None:
        if self._stats.problem is None:
            self._retry_s = RETRY_S_MIN
            self._log.error("nothing can be stored now, and the bus waits", reason=str(error))
        self._change(failures=self._stats.failures + 1, problem=str(error))
        self._given_up.wait(self._retry_s)
        self._retry_s = min(RETRY_S_MAX, self._retry_s * 2)

    def _change(self, **changes: object) -> None:
        self._stats = msgspec.structs.replace(self._stats, **changes)
