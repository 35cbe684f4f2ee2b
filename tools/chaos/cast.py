"""Who takes part: the kinds of bots, and a handle to each process that runs now.

A handle signals and waits by pidfd, so that it never reaches another process of the same number.
"""

from __future__ import annotations

import select
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from chaos.control import Control
from chaos.oracle import Life


class ChaosError(AssertionError):
    """A guarantee is broken; the message says which."""


@dataclass(frozen=True, slots=True)
class BotKind:
    """What a bot is like in all its lives; ``journal`` is whether it has a file."""

    source: str
    journal: bool
    capacity: int
    when_full: Literal["refuse", "drop_oldest"] = "refuse"


BOTS: Final = (
    BotKind("file-a", True, 4096),
    BotKind("file-b", True, 1024),
    BotKind("memory", False, 2048),
    BotKind("dropper", True, 256, "drop_oldest"),
)


@dataclass(slots=True, eq=False)
class Actor:
    """A process that was started, or None's worth of one: ``pid`` is 0 while there is none."""

    name: str
    control: Control
    pid: int = 0
    pidfd: int = -1
    started_s: float = 0.0
    died_at: int = 0
    heard_all: threading.Event = field(default_factory=threading.Event)

    @property
    def runs(self) -> bool:
        """Whether it was started and not yet buried; it may be dead all the same."""
        return self.pid > 0

    def signal(self, number: int) -> None:
        """Send a signal, to this process and no other that has its number by now."""
        if self.runs:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def dies_within(self, seconds: float) -> bool:
        """Whether it ends in that time; 0 looks."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))


@dataclass(slots=True, eq=False)
class Bot(Actor):
    """A bot and its present life."""

    kind: BotKind = BOTS[0]
    journal_dir: Path | None = None
    lives: int = 0
    life: Life | None = None
    quitting: bool = False
