"""The ring of trades that are accepted and not yet acknowledged: fixed slots, in memory or a file.

It owns the slots and the sequence numbers. It must not know sockets, threads or JSON. Any thread
appends, one at a time by the ring's turn; one reader (the sender) calls the rest without it.
"""

from __future__ import annotations

import errno
import math
import mmap
import secrets
import time
from collections.abc import Callable
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
from trade_telemetry.journal_slots import (
    INSTRUMENT,
    INSTRUMENTS_REMEMBERED,
    NUMBERS,
    SLOT,
    Retained,
)
from trade_telemetry.messages import STAMP_MAX, Trade

TURN_WAIT_S: Final = 50e-6
_SEALED: Final = -(2**63)


class Turn:
    """Whose turn it is to write: a lock at a sixth of the price of ``with Lock()``.

    ``del turn.free`` takes it, or raises AttributeError while another has it; to set ``free`` gives
    it back. Each is one step of the interpreter: no other thread and no signal handler comes
    between. Meant for a few instructions: who has to wait asks again every 50 µs, and is counted in
    ``waits``. Relies on the GIL.
    """

    __slots__ = ("free", "waits")

    def __init__(self) -> None:
        self.free = None
        self.waits = 0

    def take(self) -> None:
        """Wait until it is free, and take it."""
        while True:
            try:
                del self.free
            except AttributeError:
                self.wait()
            else:
                return

    def wait(self) -> None:
        """Let the others go on for a moment."""
        self.waits += 1
        time.sleep(TURN_WAIT_S)


class Ring(Retained):
    """The trades of a running publisher, a slot each at ``seq % capacity``.

    Sequences start at 1 and never repeat. Memory, or file: 64 bytes a slot, had in full from the
    start. ``problem`` says why a wanted file could not be had; the ring is in memory then. With
    ``overwrite`` a full ring writes over its oldest trade, acknowledged or not; ``overwritten``
    counts those that were not.
    """

    def __init__(
        self, header: Header, file: JournalFile | None = None, memory: mmap.mmap | None = None
    ) -> None:
        super().__init__(header, 0, 0, file)
        self.overwrite = False
        self.overwritten = 0
        self.turn = Turn()
        self.room = self.capacity
        self.begun = 0
        self.instruments: dict[tuple[str, str | None], tuple[bytes, int]] = {}
        self.memory = bytearray(header.file_bytes) if memory is None else memory
        for offset in page_offsets(header.file_bytes):  # no page is touched first by a publish
            self.memory[offset] = self.memory[offset]
        # One aligned store each, so that a kill leaves the old number or the new one.
        self.words = memoryview(self.memory)[WORDS_OFFSET : WORDS_OFFSET + 16].cast("Q")

    @property
    def oldest(self) -> int:
        """As of any; what the trade that is being written takes the place of is gone."""
        return max(1, self.begun - self.capacity + 1)

    def is_whole(self) -> bool:
        """Whether the file is still in its place, in full; a ring in memory always is."""
        return self._file is None or (self._file.in_place() and self.is_complete())

    def is_complete(self) -> bool:
        """Whether every slot can be touched: past a file's end that would end the process."""
        return self._file is None or self._file.size_bytes() >= len(self.memory)

    def append(self, trade: Trade) -> int:
        """Keep a trade and return its sequence; 0 when sealed, or full and not to overwrite.

        ``Publisher.publish`` does the same without calling it, for speed.
        """
        instrument, seed = self.instrument(trade.side, trade.symbol)
        self.turn.take()
        try:
            seq = self.head + 1
            if seq - self.tail > self.room and not self.make_room():
                return 0
            self.begun = seq  # first: what is half written over is not damaged
            price = math.nan if trade.price is None else trade.price
            numbers = NUMBERS.pack(seq, trade.ts, trade.qty, price)
            offset = HEADER_BYTES + seq % self.capacity * SLOT_BYTES
            SLOT.pack_into(self.memory, offset, numbers, instrument, crc32(numbers, seed))
            self.words[HEAD] = encode_word(seq)
            self.head = seq  # last: a reader never looks at a slot that is half written
            return seq
        finally:
            self.turn.free = None

    def instrument(self, side: str, symbol: str | None) -> tuple[bytes, int]:
        """An instrument as in a slot, and the checksum after it; kept in ``instruments``."""
        known = self.instruments.get((side, symbol))
        if known is not None:
            return known
        if len(self.instruments) >= INSTRUMENTS_REMEMBERED:
            self.instruments = {}
        packed = INSTRUMENT.pack(side == "sell", (symbol or "").encode())
        known = self.instruments[side, symbol] = packed, crc32(packed, self._seed)
        return known

    def make_room(self) -> bool:
        """Of a ring that has none, in one's turn: whether the oldest trade gives way; counts it."""
        if self.room == _SEALED:
            return False
        self.overwritten += self.overwrite
        return self.overwrite

    def seal(self) -> None:
        """Take nothing more."""
        self.turn.take()
        self.room = _SEALED
        self.turn.free = None

    def abandon(self) -> None:
        """In a forked child: as of any, and whoever had the turn is not here."""
        self.turn = Turn()
        self.room = _SEALED
        super().abandon()

    def _slot(self, position: int) -> tuple[bytes, bytes, int]:
        return _unpack_slot(self.memory, HEADER_BYTES + position * SLOT_BYTES)

    def _write_tail(self) -> None:
        self.words[TAIL] = encode_word(self.tail)

    def _unmap(self) -> None:
        self.words.release()
        if isinstance(self.memory, mmap.mmap):
            self.memory.close()


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


_unpack_slot: Final[Callable[..., tuple[bytes, bytes, int]]] = SLOT.unpack_from
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
