"""What this desk saw of the sidecar's history, joined over restarts. It must know no page.

The running totals continue over a restart of the sidecar, but its history is in memory and begins
anew. The desk keeps what it saw, so that the charts do not.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

from trading_app.sidecar_answers import History, Sample

KEPT_S: Final = 930.0
"""A quarter of an hour, and the bin in which it begins."""


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of the last 15 minutes, as of ``now_s`` by the sidecar's clock.

    ``starts_s`` are the starts of the sidecar in that time. ``away`` says why it gives no answer
    now; then its history ends somewhere before ``now_s``.
    """

    now_s: float
    history: History | None = None
    starts_s: tuple[float, ...] = ()
    away: str | None = None

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The running totals, oldest first; nothing where the sidecar was not seen."""
        return self.history.samples if self.history else ()

    def restarted_between(self, before: Sample, after: Sample) -> bool:
        """Whether the sidecar was started between two samples."""
        return any(before.at_s < start_s <= after.at_s for start_s in self.starts_s)


class Memory:
    """Joins each history with the ones before it; any thread may call."""

    def __init__(self) -> None:
        self._past = Past(0.0)
        self._lock = threading.Lock()

    def add(self, history: History) -> Past:
        """Take the newest history, and return what is known with it."""
        with self._lock:
            joined = history.model_copy(update={"samples": self._join(history)})
            starts_s = {*self._past.starts_s, history.started_s}
            since_s = history.now_s - KEPT_S
            recent_s = sorted(start_s for start_s in starts_s if start_s > since_s)
            self._past = Past(history.now_s, joined, tuple(recent_s))
            return self._past

    def latest(self) -> Past:
        """Return what was known with the last history; nothing before the first."""
        with self._lock:
            return self._past

    def _join(self, history: History) -> tuple[Sample, ...]:
        """Put what only earlier histories had before it, unless their ages were counted apart."""
        earlier = self._past.history
        if earlier is None or earlier.age_bounds_s != history.age_bounds_s:
            return history.samples
        first_s = history.samples[0].at_s if history.samples else history.now_s
        since_s = history.now_s - KEPT_S
        kept = (sample for sample in earlier.samples if since_s < sample.at_s < first_s)
        return (*kept, *history.samples)
