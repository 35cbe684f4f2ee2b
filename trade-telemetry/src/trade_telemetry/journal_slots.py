"""A trade in its slot of 64 bytes, and what can be read of the slots of an epoch.

It owns the layout and the checksum. It must not know where slots are kept, nor sockets or threads.
"""

from __future__ import annotations

import os
import struct
from abc import ABC, abstractmethod
from math import isnan
from pathlib import Path
from typing import Final
from zlib import crc32

from msgspec.structs import astuple

from trade_telemetry.batches import TradeRow
from trade_telemetry.journal_files import SLOT_BYTES, Header, JournalFile
from trade_telemetry.messages import Side, Trade

NUMBERS: Final = struct.Struct("=Qddd")  # sequence, ts, qty, price or NaN
INSTRUMENT: Final = struct.Struct("=?25p")  # whether it is a sale; the symbol, empty for none
SLOT: Final = struct.Struct(f"={NUMBERS.size}s{INSTRUMENT.size}sI2x")
"""Numbers, instrument, and a checksum over the epoch, the instrument and the numbers, in this
order: what it is after the instrument is worked out once for each."""
INSTRUMENTS_REMEMBERED: Final = 2_048
assert SLOT.size == SLOT_BYTES  # noqa: S101 - one cache line; the file format relies on it
_unpack_numbers: Final = NUMBERS.unpack


class Retained(ABC):
    """The trades of one epoch that can still be read: a running ring, or a file left behind.

    ``head`` is the highest sequence, ``tail`` the highest acknowledged one. ``since_s`` is when the
    epoch began, in unix seconds; ``durable`` whether it outlives its process.
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
        self._file = file
        self._seed = crc32(header.epoch.to_bytes(8, "little"))
        self._packed: dict[bytes, tuple[Side, str | None, int]] = {}

    @abstractmethod
    def _slot(self, position: int) -> tuple[bytes, bytes, int]:
        """A copy of numbers, instrument and checksum at a position, taken at once."""

    @abstractmethod
    def _write_tail(self) -> None:
        """Keep the tail for the next process."""

    @abstractmethod
    def _unmap(self) -> None:
        """Let go of everything but the file."""

    @property
    def oldest(self) -> int:
        """The lowest sequence whose slot is not written over, acknowledged or not."""
        return max(1, self.head - self.capacity + 1)

    @property
    def waiting(self) -> int:
        """How many are not acknowledged; more than the capacity after an overwrite or a rewind."""
        return self.head - self.tail

    def read(self, seq: int) -> Trade | None:
        """The trade of a sequence, or None: written over, damaged, or not there."""
        rows = self.rows(seq, seq)
        return Trade(*astuple(rows[0])) if rows else None

    def rows(self, first: int, last: int) -> list[TradeRow]:
        """The trades from ``first`` on, at most to ``last``, up to one that cannot be read."""
        rows: list[TradeRow] = []
        if first < self.oldest:
            return rows
        read, keep = self._read, rows.append
        for seq in range(first, min(last, self.head) + 1):
            row = read(seq)
            if row is None:
                break
            keep(row)
        return rows

    def _read(self, seq: int) -> TradeRow | None:
        packed, instrument, checksum = self._slot(seq % self.capacity)
        side, symbol, seed = self._packed.get(instrument) or self._unpack_instrument(instrument)
        if crc32(packed, seed) != checksum:
            return None
        found, ts, qty, price = _unpack_numbers(packed)
        if found != seq:
            return None
        return TradeRow(side, qty, ts, symbol, None if isnan(price) else price)

    def _unpack_instrument(self, packed: bytes) -> tuple[Side, str | None, int]:
        """An instrument, and the checksum after it; of a damaged one nothing worse than wrong."""
        sell, symbol = INSTRUMENT.unpack(packed)
        if len(self._packed) >= INSTRUMENTS_REMEMBERED:
            self._packed.clear()
        side: Side = "sell" if sell else "buy"
        known = side, symbol.decode(errors="replace") or None, crc32(packed, self._seed)
        self._packed[packed] = known
        return known

    def _is_sound(self, position: int) -> bool:
        """Whether the checksum at a position is right."""
        packed, instrument, checksum = self._slot(position)
        return crc32(packed, crc32(instrument, self._seed)) == checksum

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
