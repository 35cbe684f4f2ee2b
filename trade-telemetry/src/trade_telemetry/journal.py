"""The ring of trades that are accepted and not yet acknowledged: fixed slots, in memory or a file.

It owns the slots and the sequence numbers. It must not know sockets, threads or JSON. Any thread
appends, one at a time by the ring's lock; one reader (the sender) calls the rest without it.
"""

from __future__ import annotations

import errno
import math
import mmap
import secrets
import threading
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
from trade_telemetry.journal_slots import NUMBERS, SLOT, SYMBOL, SYMBOLS_REMEMBERED, Retained
from trade_telemetry.messages import STAMP_MAX, Trade


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
        self.lock = threading.Lock()
        self._sealed = False
        self.symbols: dict[str | None, tuple[bytes, int]] = {}
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

    def append(
        self, side: str, qty: float, ts: float, symbol: str | None, price: float | None
    ) -> int:
        """Keep a trade and return its sequence; 0 when sealed, or full and not to overwrite.

        The trade must have been checked. Written for speed: it is most of what a publish costs.
        """
        symbol_packed, seed = self.symbols.get(symbol) or self._pack_symbol(symbol)
        with self.lock:  # never acquire() and try: what a signal handler raises may fall between
            seq = self.head + 1
            capacity = self.capacity
            if self._sealed or (seq - self.tail > capacity and not self._overwrites()):
                return 0
            if seq > capacity:
                self.oldest = seq - capacity + 1  # first: what is half written over is not damaged
            packed = _pack_numbers(seq, ts, qty, _NAN if price is None else price, side == "sell")
            _pack_slot(
                self._memory,
                HEADER_BYTES + seq % capacity * SLOT_BYTES,
                packed,
                symbol_packed,
                crc32(packed, seed),
            )
            self._words[HEAD] = seq * 2047 + 1  # encode_word, inline: the call costs a tenth
            self.head = seq  # last: a reader never looks at a slot that is half written
            return seq

    def append_trade(self, trade: Trade) -> int:
        """``append`` of what is a trade already."""
        return self.append(trade.side, trade.qty, trade.ts, trade.symbol, trade.price)

    def _overwrites(self) -> bool:
        """Whether an unacknowledged trade is dropped for the next one; counts it."""
        self.overwritten += self.overwrite
        return self.overwrite

    def _pack_symbol(self, symbol: str | None) -> tuple[bytes, int]:
        """A symbol as in a slot, and the checksum after it."""
        if len(self.symbols) >= SYMBOLS_REMEMBERED:
            self.symbols = {}
        packed = SYMBOL.pack((symbol or "").encode())
        known = self.symbols[symbol] = packed, crc32(packed, self._seed)
        return known

    def seal(self) -> None:
        """Take nothing more."""
        with self.lock:
            self._sealed = True

    def abandon(self) -> None:
        """In a forked child: as of any, and whoever held the lock is not here."""
        self.lock = threading.Lock()
        self._sealed = True
        super().abandon()

    def _slot(self, position: int) -> tuple[bytes, bytes, int]:
        return _unpack_slot(self._memory, HEADER_BYTES + position * SLOT_BYTES)

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


_NAN: Final = math.nan
_pack_numbers: Final = NUMBERS.pack
_pack_slot: Final = SLOT.pack_into
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
