"""What the harness and an actor say to each other without a lock or a system call to wait for.

``Control`` is a shared page: the harness writes, the actor reads. ``Report`` is a record on a pipe:
what was written there survives the SIGKILL of its writer. Neither knows what is told.
"""

from __future__ import annotations

import mmap
import os
import struct
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

_WORDS: Final = 8
PAUSE: Final = 0
RUN: Final = 1
QUIT: Final = 2


class Control:
    """One actor's page: whether it runs, how fast, and at which passing of which point it dies.

    ``QUESTION`` is the number, below 256, of the pause in which it is asked how it stands. ``DAY``
    is 1 until the sidecar has taken its next second of listening for as long as makes one silent.
    """

    MODE: Final = 0
    RATE: Final = 1
    POINT: Final = 2
    COUNT: Final = 3
    QUESTION: Final = 4
    DAY: Final = 5

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.write_bytes(bytes(_WORDS * 8))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _WORDS * 8)
        self.words = memoryview(self._memory).cast("Q")

    def arm(self, point: int, count: int) -> None:
        """Let the actor kill itself at the ``count``-th passing of a point; 0 disarms."""
        self.words[self.POINT] = 0
        self.words[self.COUNT] = count
        self.words[self.POINT] = point


class Kind(IntEnum):
    """What a report says, and what its three numbers are."""

    OPENED = 1  # epoch, durable
    ACCEPTED = 2  # epoch, seq, packed event
    REFUSED = 3
    SKIPPING = 4  # epoch, first, last; info: index of the reason
    STATS = 5  # waiting, leftover, errors; info: the question that it answers
    DYING = 6  # point
    CLOSED = 7  # not settled


class Report(NamedTuple):
    """One record; always written whole, for it is shorter than PIPE_BUF."""

    kind: int
    info: int
    first: int
    second: int
    third: int


RECORD: Final = struct.Struct("=BB6xQQQ")


def report(descriptor: int, kind: Kind, *numbers: int, info: int = 0) -> None:
    """Write one record; up to three numbers."""
    first, second, third = (*numbers, 0, 0, 0)[:3]
    os.write(descriptor, RECORD.pack(kind, info, first, second, third))
