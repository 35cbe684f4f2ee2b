"""What the journal files of a directory hold, for people; read only, also while they are in use.

It owns the figures and their table. It must not change a byte, nor keep a lock.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from trade_telemetry.journal_files import (
    HEAD,
    PAGE_BYTES,
    TAIL,
    JournalFile,
    Name,
    UnreadableError,
    decode_word,
    is_locked,
    journal_files,
)
from trade_telemetry.journal_recovery import Leftover


class JournalRecord(msgspec.Struct, frozen=True):
    """A file's figures; all 0 when ``problem`` says that it cannot be read.

    ``since_s`` is in unix seconds. ``waiting`` were not acknowledged; ``damaged`` of them cannot be
    read any more, written over ones included. ``locked`` means that a running process has it.
    """

    file: str
    source: str
    epoch: int
    since_s: float
    locked: bool = False
    capacity: int = 0
    head: int = 0
    acknowledged: int = 0
    waiting: int = 0
    damaged: int = 0
    problem: str | None = None


def inspect(directory: Path) -> list[JournalRecord]:
    """A record for each journal file, by source and age. Raises OSError for the directory alone."""
    return [_record(path, name) for path, name in journal_files(directory)]


def table(records: Sequence[JournalRecord]) -> str:
    """The records as aligned columns."""
    lines = [_COLUMNS, *map(_cells, records)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if heading in _NUMBERS else cell.ljust(width)
            for heading, cell, width in zip(_COLUMNS, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


_COLUMNS = (
    "SOURCE",
    "EPOCH",
    "SINCE (UTC)",
    "CAPACITY",
    "HEAD",
    "ACKNOWLEDGED",
    "WAITING",
    "DAMAGED",
    "STATE",
    "FILE",
)
_NUMBERS = frozenset(("EPOCH", "CAPACITY", "HEAD", "ACKNOWLEDGED", "WAITING", "DAMAGED"))


def _cells(record: JournalRecord) -> tuple[str, ...]:
    since = datetime.fromtimestamp(record.since_s, UTC)
    figures = (record.capacity, record.head, record.acknowledged, record.waiting, record.damaged)
    state = record.problem or ("in use" if record.locked else "left behind")
    return (
        record.source,
        str(record.epoch),
        f"{since:%Y-%m-%d %H:%M:%S}",
        *map(str, figures),
        state,
        record.file,
    )


def _record(path: Path, name: Name) -> JournalRecord:
    record = JournalRecord(path.name, name.source, name.epoch, name.since_s)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        return msgspec.structs.replace(record, problem=f"cannot be opened ({error.strerror})")
    try:
        return _figures(record, JournalFile(path, descriptor), name)
    except (UnreadableError, OSError) as error:
        return msgspec.structs.replace(record, problem=str(error))
    finally:
        os.close(descriptor)


def _figures(record: JournalRecord, file: JournalFile, name: Name) -> JournalRecord:
    locked = is_locked(file.descriptor)
    journal = Leftover(file, name)
    first = max(journal.tail + 1, journal.oldest)
    unread = [seq for seq in range(first, journal.head + 1) if journal.read(seq) is None]
    head, tail = journal.head, journal.tail
    if locked:  # it went on meanwhile
        page = os.pread(file.descriptor, PAGE_BYTES, 0)
        head, tail = decode_word(page, HEAD) or head, decode_word(page, TAIL) or tail
    written_over = max(tail, head - journal.capacity)
    begun = head + locked - journal.capacity  # the slot of the next one may be half written
    return msgspec.structs.replace(
        record,
        epoch=journal.epoch,
        since_s=journal.since_s,
        locked=locked,
        capacity=journal.capacity,
        head=head,
        acknowledged=tail,
        waiting=head - tail,
        damaged=written_over - tail + sum(seq > max(tail, begun) for seq in unread),
        problem="set aside" if name.set_aside else None,
    )
