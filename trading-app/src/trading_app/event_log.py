"""What the desk's own clicks came to: a bounded log, and the fate of each event in it.

An event waits here, is sent, and is counted; or it was refused. It must know no page and no socket.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from trade_telemetry import PublisherStats, Trade
from trading_app.sidecar_answers import Summary

EVENTS_MAX: Final = 200
Fate = Literal["waiting", "sent", "counted", "untracked", "refused"]
_ENDS: Final = frozenset({"untracked", "refused"})
_Moments = Mapping[tuple[int, int], float]


@dataclass(frozen=True, slots=True)
class OwnEvent:
    """One click. ``seq`` is 0 for a refused one; ``counted_s`` is None if only the fact is known.

    ``untracked`` is one of which nobody will say what became of it: it was sent without stamps, or
    its epoch was given up because another publisher used it, too.
    """

    trade: Trade
    epoch: int
    seq: int
    fate: Fate = "waiting"
    refused: str | None = None
    counted_s: float | None = None


class EventLog:
    """The last events of this desk, newest first; shared by all of its browser sessions.

    At most ``EVENTS_MAX``; the oldest falls out.
    """

    def __init__(self) -> None:
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

    def settle(self, stats: PublisherStats, summary: Summary | None) -> None:
        """Move each event on by what the publisher and the sidecar say; None is no news."""
        settled = _settled(stats, summary)
        moments = _moments(stats, summary)
        with self._lock:
            for index, event in enumerate(self._events):
                if event.fate not in _ENDS and event.counted_s is None:
                    self._events[index] = _move(event, stats, settled, moments)


def _move(
    event: OwnEvent, stats: PublisherStats, settled: Mapping[int, int], moments: _Moments
) -> OwnEvent:
    counted_s = moments.get((event.epoch, event.seq))
    if counted_s is not None or event.fate == "counted":
        return replace(event, fate="counted", counted_s=counted_s)
    if event.seq <= settled.get(event.epoch, 0):
        return replace(event, fate="counted")
    return replace(event, fate=_way(event, stats))


def _way(event: OwnEvent, stats: PublisherStats) -> Fate:
    """Where an event is that nobody has acknowledged: with the sidecar gone, it waits again."""
    if event.epoch != stats.epoch:
        return "untracked"
    if event.seq > stats.sent:
        return "waiting"
    if not stats.tracked:
        return "untracked"
    return "sent" if stats.connected else "waiting"


def _settled(stats: PublisherStats, summary: Summary | None) -> dict[int, int]:
    """The highest sequence that is settled, by epoch: by the latest of the two who know it."""
    states = summary.publishers if summary else ()
    found = {state.epoch: state.last_seq for state in states if state.publisher == stats.source}
    if stats.tracked:
        found[stats.epoch] = max(stats.acknowledged, found.get(stats.epoch, 0))
    return found


def _moments(stats: PublisherStats, summary: Summary | None) -> _Moments:
    """When each of our recent trades was counted, by epoch and sequence."""
    return {
        (trade.epoch, trade.seq): trade.applied_s
        for trade in (summary.recent if summary else ())
        if trade.publisher == stats.source and trade.epoch is not None and trade.seq is not None
    }
