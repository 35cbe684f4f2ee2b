"""The ring of trades that are accepted and not yet acknowledged: fixed slots, in memory or a file.

It owns the slots and the sequence numbers. It must not know sockets, threads or JSON. One lock
(the publisher's) serialises ``append``; one reader (the sender) calls the rest without it.
"""

from __future__ import annotations

import errno
import math
import mmap
import os
import secrets
import struct
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final
from zlib import crc32

from trade_telemetry.journal_files import (
    HEAD,
    HEADER_BYTES,
    SLOT_BYTES,
    TAIL,
    WORDS_OFFSET,
    Header,
    JournalFile,
    create,
    encode_word,
    page_offsets,
)
from trade_telemetry.messages import STAMP_MAX, Trade

_BODY: Final = struct.Struct("=QdddB25p")  # seq, ts, qty, price, side, symbol with its length
SLOT: Final = struct.Struct(f"={_BODY.size}sI2x")  # body, checksum
assert SLOT.size == SLOT_BYTES  # noqa: S101 - one cache line; the file format relies on it


class Retained(ABC):
    """The trades of one epoch that can still be read: a running ring, or a file left behind.

    ``head`` is the highest sequence, ``tail`` the highest acknowledged one, ``oldest`` the lowest
    one whose slot is not written over, acknowledged or not. ``since_s`` is when the epoch began, in
    unix seconds; ``durable`` whether it outlives its process.
    """

    def __init__(self, header: Header, head: int, tail: int, file: JournalFile | None) -> None:
        self.capacity = header.capacity
        self.epoch = header.epoch
        self.since_s = header.since_s
        self.durable = file is not None
        self.path: Path | None = file.path if file else None
        self.problem: str | None = None
        self.head = head
        self.tail = tail
        self.oldest = max(1, head - header.capacity + 1)
        self._file = file
        self._seed = crc32(header.epoch.to_bytes(8, "little"))

    @abstractmethod
    def _slot(self, position: int) -> tuple[bytes, int]:
        """A copy of the body and the checksum at a position, taken at once."""

    @abstractmethod
    def _write_tail(self) -> None:
        """Keep the tail for the next process."""

    @abstractmethod
    def _unmap(self) -> None:
        """Let go of everything but the file."""

    @property
    def waiting(self) -> int:
        """How many are not acknowledged; more than the capacity after an overwrite or a rewind."""
        return self.head - self.tail

    def read(self, seq: int) -> Trade | None:
        """The trade of a sequence, without stamps, or None: written over, damaged, or not there."""
        if not self.oldest <= seq <= self.head:
            return None
        return self._read(seq)

    def _read(self, seq: int) -> Trade | None:
        body = self._sound_body(seq % self.capacity)
        if body is None:
            return None
        found, ts, qty, price, sell, symbol = _BODY.unpack(body)
        if found != seq:
            return None
        return Trade(
            "sell" if sell else "buy",
            qty,
            ts,
            symbol.decode() if symbol else None,
            None if math.isnan(price) else price,
        )

    def _sound_body(self, position: int) -> bytes | None:
        body, checksum = self._slot(position)
        return body if crc32(body, self._seed) == checksum else None

    def lost_run(self, seq: int, last: int) -> int:
        """The end, at most ``last``, of the run from ``seq`` that cannot be read.

        Call it when ``read(seq)`` was None. A run has one cause: it is below ``oldest`` (written
        over) or not (damaged).
        """
        if seq < self.oldest:
            return min(last, self.oldest - 1)
        if seq > self.head:
            return last
        last = min(last, self.head)
        while seq < last and self.read(seq + 1) is None:
            seq += 1
        return seq

    def trim(self, seq: int) -> None:
        """Take what is up to ``seq`` as acknowledged; never moves the tail down.

        It may come above the head of a file whose last slots are damaged: the sidecar knows better.
        """
        if seq > self.tail:
            self.tail = seq
            self._write_tail()

    def rewind(self, seq: int) -> None:
        """Take only what is up to ``seq`` as acknowledged: the sidecar's state is an older one."""
        if seq < self.tail:
            self.tail = max(seq, 0)
            self._write_tail()

    def close(self, *, delete: bool) -> None:
        """Let go of file and lock, and delete the file when nothing in it is wanted any more.

        A file that could not be deleted, or was no longer in its place, is told in ``problem``.
        """
        file = self._let_go()
        if file is None:
            return
        try:
            self._settle(file, delete=delete)
        except OSError as error:
            self.problem = f"journal file {file.path}: {error.strerror or error}"
        finally:
            file.close()

    def _settle(self, file: JournalFile, *, delete: bool) -> None:
        if not file.in_place():
            self.problem = (
                f"journal file {file.path} was removed while it was in use: "
                "what waits in it does not outlive this process"
            )
        elif delete:
            file.delete()
        else:
            os.fsync(file.descriptor)

    def abandon(self) -> None:
        """In a forked child: close what was inherited. File and lock stay the parent's."""
        file = self._let_go()
        if file is not None:
            file.close()

    def _let_go(self) -> JournalFile | None:
        file, self._file = self._file, None
        if file is not None:
            self._unmap()
        return file


class Ring(Retained):
    """The trades of a running publisher, a slot each at ``seq % capacity``.

    Sequences start at 1 and never repeat. Memory, or file: 64 bytes a slot, had in full from the
    start. ``problem`` says why a wanted file could not be had; the ring is in memory then. With
    ``overwrite`` a full ring writes over its oldest trade, acknowledged or not.
    """

    def __init__(
        self, header: Header, file: JournalFile | None = None, memory: mmap.mmap | None = None
    ) -> None:
        super().__init__(header, 0, 0, file)
        self.overwrite = False
        self._memory = bytearray(header.file_bytes) if memory is None else memory
        for offset in page_offsets(header.file_bytes):  # no page is touched first by a publish
            self._memory[offset] = self._memory[offset]
        # One aligned store each, so that a kill leaves the old number or the new one.
        self._words = memoryview(self._memory)[WORDS_OFFSET : WORDS_OFFSET + 16].cast("Q")

    def is_whole(self) -> bool:
        """Whether the file is still in its place, in full; a ring in memory always is."""
        return self._file is None or (self._file.in_place() and self.is_complete())

    def is_complete(self) -> bool:
        """Whether every slot can be touched: past a file's end that would end the process."""
        return self._file is None or self._file.size_bytes() >= len(self._memory)

    def append(self, trade: Trade) -> int:
        """Keep a trade and return its sequence; 0 when the ring is full and may not overwrite."""
        seq = self.head + 1
        capacity = self.capacity
        if seq - self.tail > capacity and not self.overwrite:
            return 0
        symbol = trade.symbol
        price = trade.price
        body = _pack_body(
            seq,
            trade.ts,
            trade.qty,
            math.nan if price is None else price,
            trade.side == "sell",
            b"" if symbol is None else symbol.encode(),
        )
        if seq > capacity:
            self.oldest = seq - capacity + 1  # first: what is half written over is not damaged
        _pack_slot(
            self._memory,
            HEADER_BYTES + seq % capacity * SLOT_BYTES,
            body,
            crc32(body, self._seed),
        )
        self._words[HEAD] = seq * 2047 + 1  # encode_word, inline: the call costs a tenth
        self.head = seq  # last: a reader never looks at a slot that is half written
        return seq

    def _slot(self, position: int) -> tuple[bytes, int]:
        body, checksum = SLOT.unpack_from(self._memory, HEADER_BYTES + position * SLOT_BYTES)
        return body, checksum

    def _write_tail(self) -> None:
        self._words[TAIL] = encode_word(self.tail)

    def _unmap(self) -> None:
        self._words.release()
        if isinstance(self._memory, mmap.mmap):
            self._memory.close()


def open_ring(
    directory: Path | None, source: str, capacity: int, *, overwrite: bool = False
) -> Ring:
    """A ring with a new epoch, in a new file of its own; in memory where there is no directory.

    Never raises because of the file: ``problem`` says what to do to have one.
    """
    ring = _open_ring(directory, source, capacity)
    ring.overwrite = overwrite
    return ring


def _open_ring(directory: Path | None, source: str, capacity: int) -> Ring:
    since_ms = time.time_ns() // 1_000_000
    header = Header(source, 1 + secrets.randbelow(STAMP_MAX), since_ms / 1000, capacity)
    if directory is None:
        return Ring(header)
    try:
        return Ring(header, *create(directory, header))
    except (OSError, ValueError) as error:  # ValueError: a path that no system takes
        ring = Ring(header)
        ring.problem = _problem(directory, error, header.file_bytes)
        return ring


_pack_body: Final = _BODY.pack
_pack_slot: Final = SLOT.pack_into
_CURES: Final = {
    errno.ENOSPC: "free {size:,} bytes there",
    errno.EDQUOT: "free {size:,} bytes there",
    errno.EFBIG: "allow files of {size:,} bytes",
    errno.EACCES: "let this user write there",
    errno.EPERM: "let this user write there",
    errno.EROFS: "name a directory that can be written",
    errno.ENOTDIR: "name a directory, not a file",
    errno.EEXIST: "name a directory, not a file",
    errno.EMFILE: "let a publisher drain them, or look at them with `journal inspect`",
}


def _problem(directory: Path, error: OSError | ValueError, size_bytes: int) -> str:
    code = error.errno if isinstance(error, OSError) else None
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    cure = _CURES.get(code or 0, "name another directory").format(size=size_bytes)
    return (
        f"no journal file in {directory} ({reason}): trades wait in memory and are lost "
        f"when this process is killed; {cure} and start again"
    )
