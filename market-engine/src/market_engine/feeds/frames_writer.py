"""Writes ``.frames`` files: append-only, each made anew, one after the other by size and by day.

Used by one thread. What a failing disk did not take stays pending, to the byte, so that no line is
ever written twice or torn by a full disk; must not know of buffers that other threads fill.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from market_engine.feeds.frames import Received, frame_line, header_line

DAY_NS: Final = 86_400 * 10**9
BLOCK_BYTES: Final = 1 << 20
_NAMES_MAX: Final = 1_000


class FramesWriter:
    """The files of one recorder in ``folder``: ``{venue}-{UTC time of its first frame}.frames``.

    ``bytes_written`` and ``files`` only rise; ``path`` is the file that is open.
    """

    def __init__(self, folder: Path, venue: str, address: str, file_bytes_max: int) -> None:
        self.path: Path | None = None
        self.bytes_written = self.files = 0
        self._folder = folder
        self._venue = venue
        self._address = address
        self._file_bytes_max = file_bytes_max
        self._frames: deque[Received] = deque()
        self._rest = b""
        """What is left of a block that the disk did not take whole."""
        self._descriptor: int | None = None
        self._file_bytes = 0
        self._day = 0

    @property
    def has_work(self) -> bool:
        """Whether anything is pending."""
        return bool(self._rest or self._frames)

    @property
    def frames_pending(self) -> int:
        """Frames that are not wholly in a file."""
        return self._rest.count(b"\n") + len(self._frames)

    def take(self, frames: Sequence[Received]) -> None:
        """Have frames pending, in order."""
        self._frames.extend(frames)

    def write(self) -> None:
        """Write all that is pending; raises OSError, and what was not written is pending still."""
        self._write_rest()
        if self.path is not None and not self.path.exists():  # somebody took it away
            self.close()
        while self._frames:
            received_ns = self._frames[0][0]
            is_full = self._file_bytes >= self._file_bytes_max
            if self._descriptor is None or is_full or received_ns // DAY_NS != self._day:
                self._open(received_ns)
            self._rest = self._block()
            self._write_rest()

    def close(self) -> None:
        """Close the file; what is pending is dropped."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _block(self) -> bytes:
        """The next lines of the same day, about as many as the file or a block has room for."""
        frames, size = self._frames, 0
        lines: list[bytes] = []
        room = min(BLOCK_BYTES, self._file_bytes_max - self._file_bytes)
        while frames and frames[0][0] // DAY_NS == self._day and (size < room or not lines):
            line = frame_line(*frames.popleft())
            lines.append(line)
            size += len(line)
        return b"".join(lines)

    def _write_rest(self) -> None:
        while self._rest and self._descriptor is not None:
            written = os.write(self._descriptor, self._rest)
            self._rest = self._rest[written:]
            self._file_bytes += written
            self.bytes_written += written

    def _open(self, received_ns: int) -> None:
        self.close()
        header = header_line(self._address, received_ns)
        for path in self._names(received_ns):
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
                descriptor = os.open(path, flags, 0o644)
            except FileExistsError:
                continue
            break
        else:
            raise FileExistsError(f"{_NAMES_MAX} recordings of this second are in {self._folder}")
        self._descriptor, self.path, self._rest = descriptor, path, header
        self._file_bytes, self._day = 0, received_ns // DAY_NS
        try:
            self._write_rest()
        except OSError:  # a file without its first line is none
            self._rest = b""
            self.close()
            path.unlink(missing_ok=True)
            raise
        self.files += 1

    def _names(self, received_ns: int) -> list[Path]:
        """Names in the order of time; the later ones for when others were as fast."""
        seconds, nanoseconds = divmod(received_ns, 10**9)
        stamp = datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%S")
        stem = f"{self._venue}-{stamp}.{nanoseconds:09d}Z"
        return [
            self._folder / (f"{stem}-{number}.frames" if number else f"{stem}.frames")
            for number in range(_NAMES_MAX)
        ]
