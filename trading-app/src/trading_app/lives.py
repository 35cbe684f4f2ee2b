"""What this desk saw of the sidecar's history, across restarts. It must know no page and no socket.

A life is one run of the sidecar: its totals begin at 0 and its history dies with it. The desk keeps
what it saw, so that a restart shows as one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

from trading_app.sidecar_answers import History

KEPT_S: Final = 900.0
LIVES_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Past:
    """The lives that reach into the last 15 minutes, oldest first, as of ``now_s``.

    ``now_s`` is by the sidecar's clock. ``away`` says why the sidecar gives no answer now; then the
    last life may have ended.
    """

    now_s: float
    lives: tuple[History, ...]
    away: str | None = None


class Lives:
    """Keeps each life's latest history; at most ``LIVES_MAX``, the oldest goes first."""

    def __init__(self) -> None:
        self._lives: tuple[History, ...] = ()
        self._lock = threading.Lock()

    def add(self, history: History) -> tuple[History, ...]:
        """Take the newest history of its life; return all lives, oldest first."""
        with self._lock:
            others = (life for life in self._lives if life.started_s != history.started_s)
            kept = (life for life in others if life.now_s > history.now_s - KEPT_S)
            lives = sorted((*kept, history), key=lambda life: life.started_s)
            self._lives = tuple(lives[-LIVES_MAX:])
            return self._lives

    def all(self) -> tuple[History, ...]:
        """Every life that is kept, oldest first."""
        with self._lock:
            return self._lives
