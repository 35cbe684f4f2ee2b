"""Files of lines, plain, gzip or zip, read in constant memory; for plain ones, places in them.

Knows lines and bytes, and nothing of what stands in them. What is damaged in the middle of a file
is told as a ``Flaw`` and never raised: only a file that cannot be opened is an error.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, cast

import msgspec

from market_engine.errors import FileError, RejectReason

LINE_BYTES_MAX: Final = (1 << 20) + 64
"""Room for a frame of a MiB and its time; a longer line is a flaw, and is passed over unread."""
NEAR_BYTES: Final = 4_096
"""A search by halves ends when so few bytes are left: they are read faster than halved."""
TAIL_LINES: Final = 64
"""So many lines at the end of a compressed file are looked at first for its last time."""
_CHUNK_BYTES: Final = 1 << 20
_BUFFER_BYTES: Final = 1 << 17
_BROKEN: Final = (EOFError, OSError, zlib.error, zipfile.BadZipFile)

TimeOf = Callable[[bytes], int | None]
"""The time of a line in ns, None where it has none."""


class Flaw(msgspec.Struct, frozen=True):
    """In the place of a line that cannot be given."""

    reason: RejectReason
    detail: str
    raw: bytes = b""


class LineFile:
    """One file; raises FileError when it is not there, empty, or not to be read at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_plain = path.suffix.lower() not in {".gz", ".zip"}
        """Only in a plain file can a place be found without reading all that is before it."""
        try:
            self.size = path.stat().st_size
            with ExitStack() as stack:
                has_content = bool(self._open(stack).read(1))
        except (*_BROKEN, RuntimeError, NotImplementedError) as error:  # zipfile's, if encrypted
            raise self._unreadable(error) from None
        if not has_content:
            raise FileError(f"{path} is empty: line 1 is missing; fetch or copy it anew")

    def read(self, offset: int = 0) -> Iterator[bytes | Flaw]:
        """Every line from a byte offset (0 unless plain) on, with its end of line if it has one.

        Raises FileError when the file is there no more.
        """
        with ExitStack() as stack:
            try:
                file = self._open(stack)
            except _BROKEN as error:
                raise self._unreadable(error) from None
            if offset:
                file.seek(offset)
            try:
                for line in iter(partial(file.readline, LINE_BYTES_MAX), b""):
                    if len(line) == LINE_BYTES_MAX and line[-1] != 10:
                        _skip_line(file)
                        detail = f"longer than {LINE_BYTES_MAX:,} bytes"
                        yield Flaw(RejectReason.TOO_LARGE, detail, line[:500])
                    else:
                        yield line
            except _BROKEN as error:
                detail = f"the file is cut short or damaged here, and cannot be read on ({error})"
                yield Flaw(RejectReason.MALFORMED, detail)

    def place(self, start: int, target_ns: int, time_of: TimeOf) -> int:
        """The offset of a line shortly before the first one at or after a time; never beyond it.

        ``start`` is where the first line with a time begins. Halves the plain file, which must be
        in the order of time; any other gives ``start`` back.
        """
        if not self.is_plain:
            return start
        try:
            return self._place(start, target_ns, time_of)
        except OSError as error:
            raise self._unreadable(error) from error

    def _place(self, start: int, target_ns: int, time_of: TimeOf) -> int:
        low, high = start, self.size
        with self.path.open("rb") as file:
            while high - low > NEAR_BYTES:
                middle = (low + high) // 2
                file.seek(middle - 1)
                _skip_line(file)
                found_ns, at = _next_time(file, high, time_of)
                if found_ns is not None and found_ns < target_ns:
                    low = at
                else:
                    high = middle
        return low

    def last_ns(self, start: int, time_of: TimeOf) -> int | None:
        """The highest time at the end, None if there is none; what is compressed is read through.

        ``start`` is where the first line with a time begins.
        """
        if self.is_plain:
            return _highest(self.read(self.place(start, 2**63, time_of)), time_of)
        tail = _highest(deque(self.read(), TAIL_LINES), time_of)
        return _highest(self.read(), time_of) if tail is None else tail

    def lines_before(self, offset: int) -> int:
        """How many lines end before an offset of the plain file."""
        count = 0
        with self.path.open("rb") as file:
            while offset > 0:
                chunk = file.read(min(offset, _CHUNK_BYTES))
                if not chunk:
                    break
                count += chunk.count(b"\n")
                offset -= len(chunk)
        return count

    def _unreadable(self, error: Exception) -> FileError:
        if isinstance(error, FileNotFoundError):
            return FileError(f"{self.path} is not there: check the name")
        return FileError(f"{self.path} cannot be read ({error}): fetch or copy it anew")

    def _open(self, stack: ExitStack) -> BinaryIO:
        suffix = self.path.suffix.lower()
        if suffix == ".gz":
            return cast("BinaryIO", stack.enter_context(gzip.GzipFile(self.path, "rb")))
        if suffix == ".zip":
            return self._open_zip(stack)
        return stack.enter_context(self.path.open("rb", buffering=_BUFFER_BYTES))

    def _open_zip(self, stack: ExitStack) -> BinaryIO:
        archive = stack.enter_context(zipfile.ZipFile(self.path))
        names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
        if len(names) != 1:
            raise FileError(
                f"{self.path} holds {len(names)} files that end in .csv: "
                "unpack it and name the one to read"
            )
        return cast("BinaryIO", stack.enter_context(archive.open(names[0])))


def _highest(lines: Iterable[bytes | Flaw], time_of: TimeOf) -> int | None:
    times = (time_of(line) for line in lines if not isinstance(line, Flaw))
    return max((each for each in times if each is not None), default=None)


def _skip_line(file: BinaryIO) -> None:
    for part in iter(partial(file.readline, _CHUNK_BYTES), b""):
        if part[-1] == 10:
            return


def _next_time(file: BinaryIO, end: int, time_of: TimeOf) -> tuple[int | None, int]:
    """The first time on a line that begins before ``end``, and where that line begins."""
    at = file.tell()
    while at < end:
        line = file.readline(LINE_BYTES_MAX)
        if not line:
            break
        found_ns = time_of(line)
        if found_ns is not None:
            return found_ns, at
        if line[-1] != 10:
            _skip_line(file)
        at = file.tell()
    return None, at
