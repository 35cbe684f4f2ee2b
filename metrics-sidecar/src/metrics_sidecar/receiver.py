"""The one thread that owns the sockets and the state: receive, commit, acknowledge, come round.

It must not know metrics or HTTP. Other threads read ``snapshot``, ``health`` and the figures; they
are replaced whole, never changed in place.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import structlog
import zmq

from metrics_sidecar.committer import Committer
from metrics_sidecar.connections import BindError
from metrics_sidecar.history import History
from metrics_sidecar.inbox import Inbox
from metrics_sidecar.outbox import Outbox
from metrics_sidecar.rows import ServiceCounter
from metrics_sidecar.snapshot import Snapshot
from metrics_sidecar.store import StoreFigures

WAIT_S_MAX: Final = 0.2
WAIT_CONNECTED_S_MAX: Final = 0.05
"""While somebody is connected: what fills ZeroMQ's memory unseen is what comes in this time."""
STALLED_AFTER_S: Final = 2.0
NOTE_EVERY_S: Final = 1.0
LISTENED_S_MAX: Final = 2.0
"""A turn counts as no more than this: who was stopped or suspended has not listened meanwhile."""
FAILURE_PAUSE_S: Final = 0.1
DRAIN_QUIET_S: Final = 0.1
DRAIN_S_MAX: Final = 2.0


@dataclass(frozen=True, slots=True)
class ReceiverFigures:
    """How the receiver itself is doing now; what it counts is in the ledger."""

    connections: int = 0
    backlog_bytes: int = 0
    state_bytes: int = 0
    state_free_bytes: int = 0
    state_durable: bool = False
    last_commit_s: float = 0.0


class Receiver:
    """Receives from the moment ``start`` returns until ``stop`` has drained what had arrived.

    Totals are kept in ``state_dir``; None keeps nothing. While the state cannot be written nothing
    more is received: publishers wait. For the bounds see Inbox and Outbox.
    """

    def __init__(self, bind: str, ack_bind: str, state_dir: Path | None = None) -> None:
        self.bind: Final = bind
        self.ack_bind: Final = ack_bind
        self._state_dir = state_dir
        self._committer: Committer | None = None
        self.history = History()
        self._log = structlog.get_logger("receiver")
        self._stopping = threading.Event()
        self._bound = False
        self._bind_problem: str | None = None
        self._busy_s = self._busy_noted_s = 0.0
        self._second_s = 0.0
        self._ready: list[object] | None = None
        self._heartbeat_s = 0.0
        self._thread: threading.Thread | None = None
        self.started_s = 0.0
        self.figures = ReceiverFigures()

    @property
    def snapshot(self) -> Snapshot | None:
        """What is committed; None before the state is loaded."""
        return self._committer.snapshot if self._committer else None

    def start(self) -> None:
        """Lock the state, load it, bind, and start the thread.

        Raises StateLockedError when another sidecar has the state, StateUnavailableError when there
        can be none there, BindError when an address cannot be had. A state that cannot be read now
        is no error: it is tried again, and nothing is bound until then. A second call does nothing:
        who wants the errors early starts it before the server does.
        """
        if self._thread is not None:
            return
        self._committer = Committer(self._state_dir)
        self._open()
        self.started_s = time.time()
        try:
            if self._committer.load():
                self._serve()
        except BaseException:
            self._close()
            raise
        self._heartbeat_s = self._second_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="receiver", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no new connections, drain what has arrived (2 s at most), and end the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def heartbeat_age_s(self) -> float:
        """Seconds since the thread last came round; it does so at least five times a second."""
        return time.monotonic() - self._heartbeat_s

    def health(self) -> tuple[str, str | None]:
        """("ok", None), or "starting", "blocked", "stalled" or "dead" with the reason."""
        if self._thread is None or self._committer is None:
            return "starting", "the receiver has not been started"
        if not self._thread.is_alive():
            return "dead", "the receiver thread has ended: nothing is counted until a restart"
        age_s = self.heartbeat_age_s()
        if age_s > STALLED_AFTER_S:
            return "stalled", f"the receiver has not come round for {age_s:.1f} s"
        problem = self._committer.problem or self._bind_problem
        return ("ok", None) if problem is None else ("blocked", problem)

    @property
    def _state(self) -> Committer:
        assert self._committer is not None  # noqa: S101 - the thread runs after start made it
        return self._committer

    def _open(self) -> None:
        self._inbox, self._outbox = Inbox(), Outbox()
        self._poller = zmq.Poller()
        self._inbox.register(self._poller)
        self._outbox.register(self._poller)

    def _close(self) -> None:
        self._inbox.close()
        self._outbox.close()
        self._state.close()

    def _serve(self) -> None:
        """Bind: from now on publishers are heard and answered."""
        snapshot = self._state.snapshot
        if snapshot is not None:
            self._busy_s = self._busy_noted_s = snapshot.service[ServiceCounter.RECEIVER_BUSY_S]
        self._sample()  # what the first trades are counted from
        self._outbox.bind(self.ack_bind)
        self._inbox.bind(self.bind)
        self._bound = True
        self.figures = self._take_figures(self._state.figures())

    def _try_to_serve(self) -> None:
        """What ``start`` could not do, because the state could not be read."""
        if self._state.snapshot is None and not self._state.load():
            return
        try:
            self._serve()
        except BindError as error:
            if self._bind_problem is None:
                self._log.error("nothing is counted now", reason=str(error))
            self._bind_problem = str(error)
            self._stopping.wait(FAILURE_PAUSE_S)
        else:
            self._bind_problem = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._turn()
        try:
            self._drain()
        finally:
            self._close()

    def _turn(self) -> None:
        """Wait for something, take what is there, commit if due."""
        fine = self._survive(self._wait)
        started_s = time.monotonic()
        if self._bound:
            fine &= self._survive(self._receive)
            fine &= self._survive(self._commit_if_due)  # also when nothing can be received
        else:
            fine &= self._survive(self._try_to_serve)
        now_s = time.monotonic()
        self._busy_s += now_s - started_s
        if fine:  # only a turn that ended well is a sign of life
            self._heartbeat_s = now_s
        else:
            self._stopping.wait(FAILURE_PAUSE_S)

    def _survive(self, step: Callable[[], object]) -> bool:
        """Whether a step did not fail; if it did, that is counted, logged and shown soon."""
        try:
            step()
        except Exception:  # noqa: BLE001 - the loop must survive; counted, logged, not healthy
            self._state.ledger.note(ServiceCounter.RECEIVER_ERRORS, 1)
            self._state.hasten()
            self._log.exception("the receiver failed and goes on")
            return False
        return True

    def _wait(self) -> None:
        """Until something is there that may be received, or it is time to come round."""
        connected = len(self._inbox.connections) > 0
        wait_s = min(WAIT_CONNECTED_S_MAX if connected else WAIT_S_MAX, self._state.wait_s())
        self._ready = None
        if self._bound and self._state.problem is None:
            self._ready = [socket for socket, _ in self._poller.poll(math.ceil(wait_s * 1000))]
        else:  # who sends now waits in a queue
            self._stopping.wait(wait_s)

    def _receive(self) -> None:
        ledger = self._state.ledger
        self._inbox.handle(ledger, self._ready)
        self._outbox.handle(self._ready)
        if self._state.problem is None:
            self._inbox.receive(ledger, self._ready)
        else:
            self._inbox.guard()

    def _commit_if_due(self) -> None:
        state = self._state
        if time.monotonic() >= self._second_s + NOTE_EVERY_S:
            self._note_second()
        sample_due = self.history.is_due(time.time())
        fresh = state.ledger.uncommitted > 0 and state.problem is None
        if state.wait_s() <= 0 or (sample_due and fresh):  # a sample is exact at its moment
            self._commit()
        self._sample()

    def _commit(self) -> None:
        """Commit, and only then say so to the publishers."""
        self._outbox.send(self._state.commit())

    def _sample(self) -> None:
        snapshot = self._state.snapshot
        if snapshot is not None:
            self.history.add(time.time(), snapshot, self._busy_s)

    def _note_second(self) -> None:
        """What is told once a second: to the ledger, to who looks at the figures, to the log."""
        ledger, now_s = self._state.ledger, time.monotonic()
        if self._bound and self._state.problem is None:
            elapsed_s = now_s - self._second_s
            ledger.listened(min(elapsed_s, LISTENED_S_MAX))  # nobody heard: nobody is silent
        ledger.note(ServiceCounter.RECEIVER_BUSY_S, self._busy_s - self._busy_noted_s)
        self._second_s, self._busy_noted_s = now_s, self._busy_s
        for box in (self._inbox, self._outbox):
            refused = box.connections.take_refused()
            ledger.note(ServiceCounter.CONNECTIONS_REFUSED_LIMIT, refused.limit)
            ledger.note(ServiceCounter.CONNECTIONS_REFUSED_HANDSHAKE, refused.handshake)
            if any(refused):
                self._state.hasten()
        sizes = self._state.figures()
        self._state.note_refused(sizes.refused)
        self.figures = self._take_figures(sizes)
        self._inbox.tell_rejections(ledger)
        for notice in ledger.take_notices():
            self._log.warning(notice.sentence, **asdict(notice))

    def _take_figures(self, sizes: StoreFigures) -> ReceiverFigures:
        state, connections = self._state, self._inbox.connections
        return ReceiverFigures(
            connections=len(connections),
            backlog_bytes=connections.backlog_bytes(),
            state_bytes=sizes.size_bytes,
            state_free_bytes=sizes.free_bytes,
            state_durable=state.durable,
            last_commit_s=state.last_commit_s,
        )

    def _drain(self) -> None:
        """Take what has arrived; new peers wait in their handshake, for nobody consents any more.

        The socket stays bound: ZeroMQ's unbind closes the connections, with what is still on them.
        """
        if not self._bound:
            return
        state = self._state
        before = state.ledger.snapshot().received
        self._note_second()
        deadline_s = time.monotonic() + DRAIN_S_MAX
        while state.problem is None and time.monotonic() < deadline_s:
            if not self._inbox.poll(int(DRAIN_QUIET_S * 1000)):
                break
            self._inbox.take(state.ledger)
            if state.wait_s() <= 0:
                self._commit()
        self._commit()
        snapshot = state.ledger.snapshot()
        self._log.info(
            "receiver drained",
            drained=snapshot.received - before,
            received=snapshot.received,
            applied=snapshot.applied,
            uncommitted=state.ledger.uncommitted,
        )
