"""The one thread that owns the sockets: it pushes what its streams give out, and hears the answers.

A stream is an epoch on its way: this publisher's own, and those that earlier lives left in the
journal directory. The thread must not know who publishes, or why.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from trade_telemetry.acknowledgements import Acknowledgement
from trade_telemetry.batches import Batch
from trade_telemetry.connection import SEND_HIGH_WATER_MARK, Connection
from trade_telemetry.delivery import ContestedEpochError, Stream
from trade_telemetry.intake import Intake
from trade_telemetry.journal_recovery import leftovers
from trade_telemetry.messages import encode
from trade_telemetry.plain import PlainStream

BATCH_EVENTS_MAX: Final = 500
CLOSE_S_MAX: Final = 24 * 3600.0
PAUSE_MS_MIN: Final = 1
PAUSE_MS_MAX: Final = 40
LEFTOVERS_EVERY_S: Final = 30.0
UNHEARD_AFTER_S: Final = 5.0
RENEW_AFTER_S_MIN: Final = 10.0
RENEW_AFTER_S_MAX: Final = 60.0
CHECK_EVERY_S: Final = 1.0
LAST_WORD_S: Final = 0.5
CLOSE_TIMEOUT_S: Final = 2.0
_log: Final = logging.getLogger(__name__)


class Sender:
    """Send what the intake takes, and what earlier lives left, until it is settled.

    ``find`` takes over the journals that nobody holds: at the start, and every
    ``LEFTOVERS_EVERY_S``. ``undelivered`` says after the end how many plain trades at most were
    given up with ZeroMQ's queue. A program that ends without ``stop`` waits for its senders.
    """

    def __init__(
        self,
        connection: Connection,
        stream: Stream | PlainStream,
        intake: Intake,
        find: Callable[[], list[Stream]],
    ) -> None:
        self.stream = stream
        self.leftovers: list[Stream] = []
        self.errors = 0
        self.contested = 0
        self.lost_files = 0
        self.undelivered = 0
        self._connection = connection
        self._intake = intake
        self._find_leftovers = find
        self._look_again_s = 0.0
        self._heard_s = self._renewed_s = time.monotonic()
        self._has_heard = False
        self._renew_after_s = RENEW_AFTER_S_MIN
        self._check_s = 0.0
        self._deadline_s: float | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"telemetry-{stream.source}", daemon=True
        )
        self._thread.start()
        _running.add(self)

    @property
    def connected(self) -> bool:
        """Whether the sidecar is there."""
        return self._connection.connected

    @property
    def unheard(self) -> bool:
        """Whether the sidecar is there and has not acknowledged anything for a while."""
        tracked = isinstance(self.stream, Stream)
        return tracked and self.connected and time.monotonic() > self._heard_s + UNHEARD_AFTER_S

    def end_within(self, timeout_s: float) -> None:
        """Send what waits and hear that it is settled, for that long at most; then end.

        Returns at once and takes no lock, as a finalizer must; only the first call counts.
        """
        if self._deadline_s is None:
            self._deadline_s = time.monotonic() + max(0.0, min(timeout_s, CLOSE_S_MAX))

    def stop(self, timeout_s: float) -> None:
        """Take nothing more, ``end_within`` that time, and wait for the end."""
        self._intake.close()
        self.end_within(timeout_s)
        self._thread.join()

    def abandon(self) -> None:
        """In a forked child: let go of what is the parent's, without touching it."""
        self._connection.abandon()
        for stream in self._streams():
            stream.ring.abandon()

    def _streams(self) -> list[Stream | PlainStream]:
        return [*self.leftovers, self.stream]

    def _run(self) -> None:
        try:
            self._send_until_finished()
            self._end()
        finally:
            _running.discard(self)

    def _send_until_finished(self) -> None:
        pause_ms = PAUSE_MS_MIN
        while not self._finished():
            try:
                sent = self._turn(pause_ms)
            except Exception:  # noqa: BLE001 - the loop must survive; counted and logged
                self.errors += 1
                _log.warning("the telemetry sender failed and goes on", exc_info=self.errors == 1)
                time.sleep(PAUSE_MS_MAX / 1000)
                sent = 0
            if sent >= BATCH_EVENTS_MAX:
                pause_ms = 0
            else:
                pause_ms = PAUSE_MS_MIN if sent else min(pause_ms * 2 or 1, PAUSE_MS_MAX)

    def _turn(self, pause_ms: int) -> int:
        """Hear, then send; return how many events were pushed."""
        made = self._connection.wait(pause_ms)
        now_s = time.monotonic()
        self._take_leftovers(now_s)
        if made:
            self._heard_s = self._renewed_s = now_s
            for stream in self._streams():
                stream.connection_made(now_s)
        self._hear(now_s)
        self._check_journal(now_s)
        if not self.connected or self._connection.mend():
            return 0
        return sum([self._send(stream, now_s) for stream in self._streams()])

    def _hear(self, now_s: float) -> None:
        for acknowledgement in self._connection.acknowledgements():
            self._heard_s = self._renewed_s = now_s
            self._has_heard, self._renew_after_s = True, RENEW_AFTER_S_MIN
            for stream in self._streams():
                if acknowledgement.epoch == stream.ring.epoch:
                    self._tell(stream, acknowledgement, now_s)
        if self.connected and now_s > self._renewed_s + self._renew_after_s:
            self._renewed_s = now_s
            self._renew_after_s = min(2 * self._renew_after_s, RENEW_AFTER_S_MAX)
            self._connection.renew(push=self._has_heard)  # each beat should have been answered

    def _check_journal(self, now_s: float) -> None:
        """Once a second: go on in a new file if somebody removed or cut the one in use."""
        if now_s < self._check_s:
            return
        self._check_s = now_s + CHECK_EVERY_S
        old = self.stream
        if not isinstance(old, Stream) or self._intake.ring.is_whole():
            return
        readable = self._intake.ring.is_complete()
        self.lost_files += 1
        _log.error("the journal file of %s was removed or cut while it was in use", old.source)
        new = self._intake.begin_anew()
        if readable:  # it lives on until it is closed: what is in it is sent as before
            old.supersede()
            self.leftovers = [*self.leftovers, old]
        self.stream = new
        if self.connected:
            new.connection_made(now_s)

    def _send(self, stream: Stream | PlainStream, now_s: float) -> int:
        pushed = 0
        push = self._connection.push
        if self._deadline_s is not None:
            stream.hurry()
        for message in stream.outgoing(BATCH_EVENTS_MAX, now_s):
            if not push(encode(message)):
                break
            pushed += len(message.trades) if isinstance(message, Batch) else 1
        return pushed

    def _tell(
        self, stream: Stream | PlainStream, acknowledgement: Acknowledgement, now_s: float
    ) -> None:
        try:
            stream.hear(acknowledgement, now_s)
        except ContestedEpochError:
            self.contested += 1
            _log.error(
                "another publisher uses the source %s and the epoch %d, from a copy of this "
                "process: going on with a new epoch",
                stream.source,
                stream.ring.epoch,
            )
            if isinstance(stream, Stream):
                self.stream = self._intake.begin_anew(stream.sent_max)
                stream.ring.close(delete=True)

    def _take_leftovers(self, now_s: float) -> None:
        """Look for journals that nobody holds; let go of those that are settled."""
        if now_s >= self._look_again_s:
            self._look_again_s = now_s + LEFTOVERS_EVERY_S
            for stream in self._find_leftovers():
                self.leftovers = [*self.leftovers, stream]  # replaced whole: others count them
                if self.connected:
                    stream.connection_made(now_s)
        for stream in self.leftovers:
            if stream.settled:
                self.leftovers = [other for other in self.leftovers if other is not stream]
                self._finish(stream)

    def _finish(self, stream: Stream) -> None:
        """Let go of an epoch; say that it has ended, unless a journal keeps it for another life.

        The file is deleted first: an epoch that is said to have ended never comes back.
        """
        settled = stream.settled
        stream.ring.close(delete=settled)
        if self.connected and (settled or not stream.ring.durable):
            self._connection.push(encode(stream.ending()))

    def _finished(self) -> bool:
        if self._deadline_s is None:
            return False
        self._intake.close()  # what is accepted from here on nobody would send
        settled = all(stream.settled for stream in self._streams())
        return settled or time.monotonic() >= self._deadline_s

    def _end(self) -> None:
        """Give everything back, and ZeroMQ what is left of the time to empty its queue."""
        for stream in self._streams():
            if isinstance(stream, Stream):
                self._finish(stream)
        deadline_s = self._deadline_s or 0.0
        linger_s = max(0.0, deadline_s - time.monotonic())
        if isinstance(self.stream, Stream):
            linger_s = min(linger_s, LAST_WORD_S)  # only beats are left, or what will come again
        self._connection.close(linger_ms=int(linger_s * 1000))
        if isinstance(self.stream, PlainStream) and time.monotonic() >= deadline_s:
            self.undelivered = min(self.stream.sent, SEND_HIGH_WATER_MARK)


def find_leftovers(directory: Path | None, source: str) -> list[Stream]:
    """What earlier lives left in a journal directory, and nobody sends."""
    if directory is None:
        return []
    found = leftovers(directory, source, _tell_unreadable)
    return [Stream(source, each, {}, leftover=True) for each in found]


def _tell_unreadable(path: Path, problem: str) -> None:
    _log.warning("a journal of an earlier life: %s: %s", path, problem)


def abandon_all() -> None:
    """In a forked child: let go of the parent's senders, whose threads are not here."""
    for sender in _running:
        try:
            sender.abandon()
        except Exception:  # noqa: BLE001 - what is left open here must not keep the others so
            _log.warning("a forked child holds on to a connection or a journal", exc_info=True)
    _inherited.extend(_running)  # ZeroMQ's objects are never to be touched here, nor collected
    _running.clear()


def _end_all() -> None:
    """What waits is sent when a program ends without closing, by all of its senders at once."""
    senders = list(_running)
    for sender in senders:
        sender.end_within(CLOSE_TIMEOUT_S)  # each closes its intake before it ends
    for sender in senders:
        sender.stop(CLOSE_TIMEOUT_S)


_running: Final[set[Sender]] = set()
_inherited: Final[list[Sender]] = []
atexit.register(_end_all)
