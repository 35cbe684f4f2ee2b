"""What earlier processes left in journal files: found, locked, and read slot by slot.

Damage never raises: what can be told is read, the rest is a number. Files are read, not mapped, so
that a bad sector or a truncation is an error and not a signal. It must not know what is sent.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from trade_telemetry.journal_files import (
    HEAD,
    HEADER_BYTES,
    PAGE_BYTES,
    SLOT_BYTES,
    TAIL,
    UNREADABLE_SUFFIX,
    Header,
    JournalFile,
    Name,
    UnreadableError,
    decode_header,
    decode_word,
    journal_files,
    open_locked,
    remove_unfinished,
    write_word,
)
from trade_telemetry.journal_slots import SLOT, Retained
from trade_telemetry.messages import STAMP_MAX

_PAGE_SLOTS: Final = PAGE_BYTES // SLOT_BYTES
_NOTHING: Final = bytes(PAGE_BYTES)


class Leftover(Retained):
    """The journal file of an epoch that nobody appends to any more, read in place.

    Raises UnreadableError when nothing of it can be told, OSError when it cannot be read at all.
    """

    def __init__(self, file: JournalFile, name: Name) -> None:
        status = os.fstat(file.descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("it is not a file")
        page = os.pread(file.descriptor, PAGE_BYTES, 0)
        known = _known_header(page, name)
        self._descriptor = file.descriptor
        self._cached = (-1, _NOTHING)
        self._slots_there = max(0, status.st_size - HEADER_BYTES) // SLOT_BYTES
        header = known or Header(name.source, name.epoch, name.since_s, max(1, self._slots_there))
        super().__init__(header, 0, 0, file)
        self.head = self._find_head(decode_word(page, HEAD), capacity_known=known is not None)
        tail = decode_word(page, TAIL)
        if tail is None or tail > self.head:  # what is sent twice is counted once
            tail = self.oldest - 1
        self.tail = tail

    def _find_head(self, word: int | None, *, capacity_known: bool) -> int:
        """The highest sequence that the word or a slot knows of."""
        above = word if word and capacity_known and self._read(word) else 0
        highest = above
        for position, seq in self._stored(above):
            if seq % self.capacity == position:
                if seq > highest and self._read(seq):
                    highest = seq
            elif not capacity_known and self._is_sound(position):
                raise UnreadableError("its header is damaged and its end is missing")
        if not highest and (word is None or not capacity_known):
            raise UnreadableError("neither its header nor one of its trades can be read")
        if word is None or 0 < highest <= word - self.capacity:
            return highest  # no slot of that lap is there: the word is not to be believed
        return max(word, highest)

    def _stored(self, above: int) -> Iterator[tuple[int, int]]:
        """Position and sequence, unchecked, of each slot whose sequence is above one."""
        positions = min(self.capacity, self._slots_there)
        for first in range(0, positions, _PAGE_SLOTS):
            sequences = memoryview(self._page(first)).cast("Q")[:: SLOT_BYTES // 8].tolist()
            for position, seq in enumerate(sequences[: positions - first], first):
                if above < seq <= STAMP_MAX:
                    yield position, seq

    def _page(self, position: int) -> bytes:
        """The page of slots that a position is in; zeros for what cannot be read."""
        first = position - position % _PAGE_SLOTS
        if self._cached[0] != first:
            page = b""
            with contextlib.suppress(OSError):  # a bad sector costs its page
                page = os.pread(self._descriptor, PAGE_BYTES, HEADER_BYTES + first * SLOT_BYTES)
            self._cached = (first, page.ljust(PAGE_BYTES, b"\0"))
        return self._cached[1]

    def _slot(self, position: int) -> tuple[bytes, bytes, int]:
        offset = position % _PAGE_SLOTS * SLOT_BYTES
        numbers, instrument, checksum = SLOT.unpack_from(self._page(position), offset)
        return numbers, instrument, checksum

    def _write_tail(self) -> None:
        with contextlib.suppress(OSError):  # then it is only sent again
            write_word(self._descriptor, TAIL, self.tail)

    def _unmap(self) -> None:
        self._cached = (-1, _NOTHING)


def leftovers(
    directory: Path, source: str, on_unreadable: Callable[[Path, str], None]
) -> list[Leftover]:
    """The journals of a source that no process holds, oldest first, each locked until it is closed.

    A file of which nothing can be told is renamed aside, never deleted, and told with a sentence;
    one that cannot be opened stays and is told each time. Raises nothing.
    """
    try:
        remove_unfinished(directory)
        files = journal_files(directory, source)
    except (OSError, ValueError):  # no such directory: nothing was left there
        return []
    taken = (_take(path, name, on_unreadable) for path, name in files if not name.set_aside)
    return [leftover for leftover in taken if leftover is not None]


def _take(path: Path, name: Name, on_unreadable: Callable[[Path, str], None]) -> Leftover | None:
    file = None
    try:
        file = open_locked(path)
        if file is None:
            return None
        return Leftover(file, name)
    except UnreadableError as error:
        assert file is not None  # noqa: S101 - only a file that is open is found unreadable
        on_unreadable(path, _set_aside(file, error))
    except OSError as error:
        on_unreadable(path, f"it cannot be opened ({error.strerror}) and stays where it is")
    if file is not None:
        file.close()
    return None


def _set_aside(file: JournalFile, problem: UnreadableError) -> str:
    """Rename a file, so that the next opening does not try it again; what was done, and why."""
    aside = file.path.with_name(file.path.name + UNREADABLE_SUFFIX)
    for number in range(2, 100):
        if not aside.exists():
            break
        aside = file.path.with_name(f"{file.path.name}{UNREADABLE_SUFFIX}.{number}")
    try:
        file.rename(aside)
    except OSError as error:
        return f"{problem}; it cannot be renamed ({error.strerror}) and stays where it is"
    return f"{problem}; kept as {aside.name}, and what waited in it is not sent"


def _known_header(page: bytes, name: Name) -> Header | None:
    header = decode_header(page)
    if header is not None and header.source != name.source:
        raise UnreadableError(f"it is a journal of {header.source!r}")
    return header
