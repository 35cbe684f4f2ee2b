"""What the desk's own clicks came to: a bounded log, and the fate of each event in it.

An event is waiting, then sent, then counted; or it was refused. It must know no page and no socket.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import Final, Literal

from trade_telemetry import Trade
from trading_app.sidecar_answers import Summary

EVENTS_MAX: Final = 200
Fate = Literal["waiting", "sent", "counted", "unconfirmed", "refused"]


@dataclass(frozen=True, slots=True)
class OwnEvent:
    """One click. ``seq`` is 0 for a refused one; ``counted_s`` is None if only the fact is known.

    ``incarnation_s`` is the start time of the sidecar that was there when it was first seen sent.
    """

    trade: Trade
    epoch: int
    seq: int
    fate: Fate = "waiting"
    refused: str | None = None
    counted_s: float | None = None
    incarnation_s: float | None = None


class EventLog:
    """The last events of this desk, newest first; shared by all of its browser sessions.

    At most ``EVENTS_MAX``; the oldest falls out. ``source`` is the publisher's name.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._events: deque[OwnEvent] = deque(maxlen=EVENTS_MAX)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: OwnEvent) -> None:
        """Put an event on top."""
        with self._lock:
            self._events.appendleft(event)

    def newest(self, count: int) -> list[OwnEvent]:
        """Return the last ``count`` events, newest first."""
        with self._lock:
            return [self._events[index] for index in range(min(count, len(self._events)))]

    def settle(self, sent_seq: int, summary: Summary | None) -> None:
        """Move each open event on: ``sent_seq`` is the highest on the wire, None is no news."""
        with self._lock:
            for index, event in enumerate(self._events):
                if event.fate in {"waiting", "sent"}:
                    self._events[index] = _settle(event, sent_seq, summary, self._source)


def _settle(event: OwnEvent, sent_seq: int, summary: Summary | None, source: str) -> OwnEvent:
    if event.fate == "waiting" and event.seq <= sent_seq:
        event = replace(event, fate="sent")
    if summary is None or event.fate == "waiting":
        return event
    for trade in summary.recent:
        if (trade.publisher, trade.epoch, trade.seq) == (source, event.epoch, event.seq):
            return replace(event, fate="counted", counted_s=trade.applied_s)
    if event.incarnation_s is None:
        event = replace(event, incarnation_s=summary.started_s)
    if event.incarnation_s != summary.started_s:
        return replace(event, fate="unconfirmed")
    return replace(event, fate="counted") if _heard(event, summary, source) else event


def _heard(event: OwnEvent, summary: Summary, source: str) -> bool:
    return any(
        state.publisher == source and state.epoch == event.epoch and state.last_seq >= event.seq
        for state in summary.publishers
    )
