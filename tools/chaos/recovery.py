"""What the dead left behind: the state of a sidecar, the journal of a bot; read, copied, damaged.

Read-only unless a function says so, and always before anybody else opens it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chaos.events import pack
from trade_telemetry.journal_files import (
    HEAD,
    HEADER_BYTES,
    PAGE_BYTES,
    SLOT_BYTES,
    JournalFile,
    Name,
    decode_word,
    journal_files,
)
from trade_telemetry.journal_recovery import Leftover

Key = tuple[str, int]
DATABASE: Final = "ledger.db"
_WHOLE: Final = ("", "-wal", "-shm")
_QTY_OFFSET: Final = 16


@dataclass(frozen=True, slots=True)
class Offsets:
    """How far each epoch is in a state: its last and head; spent ones have only a last."""

    live: dict[Key, tuple[int, int]] = field(default_factory=dict)
    spent: dict[Key, int] = field(default_factory=dict)

    def last(self, key: Key) -> int:
        """The last settled sequence of an epoch, 0 of an unknown one."""
        return self.live[key][0] if key in self.live else self.spent.get(key, 0)


def read_offsets(directory: Path) -> Offsets:
    """The offsets of the state that a running sidecar has in a directory."""
    path = directory / DATABASE
    if not path.exists():
        return Offsets()
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=2)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'rows'").fetchall():
            return Offsets()  # it was killed while it made its first one
        rows = connection.execute(
            "SELECT key, value FROM rows WHERE key LIKE 'epoch/%' OR key LIKE 'spent/%'"
        ).fetchall()
    offsets = Offsets()
    for name, value in rows:
        kind, number, source = str(name).split("/", 2)
        row = json.loads(value)
        if kind == "epoch":
            offsets.live[source, int(number)] = (row["last"], row["head"])
        else:
            offsets.spent[source, int(number)] = row["last"]
    return offsets


def read_dead_offsets(directory: Path, folder: Path) -> Offsets:
    """The offsets in what a dead sidecar left, from a copy, so that nothing of it is touched."""
    copy = copy_state(directory, folder)
    (copy / f"{DATABASE}-shm").unlink(missing_ok=True)
    try:
        return read_offsets(copy)
    finally:
        shutil.rmtree(copy)


def copy_state(directory: Path, folder: Path) -> Path:
    """A copy of a state, whole: database, log and index; of a sidecar that does not run."""
    folder.mkdir(parents=True)
    for suffix in _WHOLE:
        path = directory / f"{DATABASE}{suffix}"
        if path.exists():
            shutil.copyfile(path, folder / path.name)
    return folder


def put_state_back(directory: Path, folder: Path) -> None:
    """Replace a state by a copy; no sidecar runs."""
    for suffix in _WHOLE:
        (directory / f"{DATABASE}{suffix}").unlink(missing_ok=True)
        path = folder / f"{DATABASE}{suffix}"
        if path.exists():
            shutil.copyfile(path, directory / path.name)


@dataclass(slots=True)
class Journal:
    """What a journal file tells.

    ``unreadable`` are sequences above the tail that are damaged; ``head_word`` is the head as the
    header says it, one less than ``head`` when the writer died between slot and header.
    """

    path: Path
    key: Key
    capacity: int
    head: int
    head_word: int
    tail: int
    events: dict[int, int]
    unreadable: list[int]


def read_journals(directory: Path, source: str) -> list[Journal]:
    """Every journal of a source, whose bot is dead."""
    if not directory.exists():
        return []
    found = journal_files(directory, source)
    return [_read_journal(path, name) for path, name in found if not name.set_aside]


def _read_journal(path: Path, name: Name) -> Journal:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        leftover = Leftover(JournalFile(path, descriptor), name)
        head, tail = leftover.head, leftover.tail
        word = decode_word(os.pread(descriptor, PAGE_BYTES, 0), HEAD) or 0
        key = (name.source, leftover.epoch)
        journal = Journal(path, key, leftover.capacity, head, word, tail, {}, [])
        for seq in range(max(1, leftover.oldest), head + 1):
            trade = leftover.read(seq)
            if trade is not None:
                journal.events[seq] = pack(trade.qty, trade.side, trade.symbol)
            elif seq > tail:
                journal.unreadable.append(seq)
        return journal
    finally:
        os.close(descriptor)


def tear(journal: Journal, count: int, dice: random.Random) -> list[int]:
    """Damage the slots of the last ``count`` events in the file; which they were."""
    last = min(journal.head, journal.head_word)
    torn = [seq for seq in range(max(1, last - count + 1), last + 1) if seq in journal.events]
    with journal.path.open("r+b") as file:
        for seq in torn:
            offset = HEADER_BYTES + seq % journal.capacity * SLOT_BYTES
            file.seek(offset)
            slot = bytearray(file.read(SLOT_BYTES))
            _damage(slot, dice)
            file.seek(offset)
            file.write(slot)
    return torn


def _damage(slot: bytearray, dice: random.Random) -> None:
    """As a torn write, an empty page, or flipped bits would; a quantity stays a possible one."""
    kind = dice.choice(("bits", "zeros", "half"))
    if kind == "bits":  # of the quantity's mantissa: without the checksum it passes for a trade
        slot[_QTY_OFFSET + dice.randrange(4, 6)] ^= 1 << dice.randrange(8)
    elif kind == "zeros":
        slot[:] = bytes(len(slot))
    else:
        slot[32:] = bytes(len(slot) - 32)
