"""The ``.frames`` form: raw frames of a stream, each with the time of its receipt.

Line 1 is the address that was connected to, `` <-> ``, and the time of connecting; every other line
is the time of receipt (unix seconds), ``: `` and the frame; a blank line is possible. Must not know
what a frame says.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Final

import msgspec

from market_engine.decimals import to_nano
from market_engine.errors import FileError, RejectedError, RejectReason
from market_engine.events import Rejected
from market_engine.feeds.jumps import JUMP_DETAIL, Jumps
from market_engine.feeds.lines import Flaw, LineFile

EARLIEST_NS: Final = 1_230_768_000 * 10**9
"""2009-01-01; what was received before or after these two is a bad time."""
LATEST_NS: Final = 4_102_444_800 * 10**9
"""2100-01-01."""
RAW_MAX: Final = 500
_TIME_LENGTH: Final = len("1633998512.063356900")

Received = tuple[int, bytes]
"""When a frame was received, in ns, and the frame."""
_Line = tuple[Received | RejectedError, bytes | Flaw, int]
"""A frame or what is wrong with it, its line, and the number of that."""


def parse_time(text: bytes) -> int:
    """Unix seconds such as ``1633998512.0633569`` in ns, exact; raises ValueError."""
    if len(text) == _TIME_LENGTH and text[10:11] == b"." and (text[:10] + text[11:]).isdigit():
        received_ns = int(text[:10] + text[11:])  # as we and the recorder write it
    else:
        received_ns = to_nano(text.decode())
    if not EARLIEST_NS <= received_ns < LATEST_NS:
        raise ValueError(f"the time {text[:40]!r} is outside of the years 2009 to 2100")
    return received_ns


def format_time(time_ns: int) -> str:
    """Unix seconds with nine digits after the point: nothing is rounded."""
    seconds, nanoseconds = divmod(time_ns, 10**9)
    return f"{seconds}.{nanoseconds:09d}"


def header_line(address: str, connected_at_ns: int) -> bytes:
    """Line 1 of a file."""
    return f"{address} <-> {format_time(connected_at_ns)}\n".encode()


def frame_line(received_ns: int, frame: bytes) -> bytes:
    """One frame as a line; line breaks, which only stand between tokens in JSON, become spaces."""
    if b"\n" in frame or b"\r" in frame:
        frame = frame.replace(b"\r", b" ").replace(b"\n", b" ")
    return b"%d.%09d: %b\n" % (*divmod(received_ns, 10**9), frame)


class FramesFile:
    """A recording, plain or ``.gz``, that may still be growing.

    ``address`` and ``connected_at_ns`` are from line 1. Raises FileError when the file is not
    there, empty, or of another form.
    """

    def __init__(self, path: Path) -> None:
        self._lines = LineFile(path)
        self.path = path
        self.is_plain = self._lines.is_plain
        """Not compressed: reading can begin at any time."""
        self.size = self._lines.size
        """Bytes on the disk."""
        line = next(self._lines.read())
        if isinstance(line, Flaw):
            raise self._unlike(line.detail)
        self._start = len(line) if self._lines.is_plain else 0
        address, arrow, time_text = line.strip().rpartition(b" <-> ")
        try:
            self.address = address.decode()
            self.connected_at_ns = parse_time(time_text)
        except ValueError as error:
            raise self._unlike(str(error)) from None
        if not (address and arrow):
            raise self._unlike("there is no ' <-> '")

    def frames(self, from_ns: int = 0) -> Iterator[Received | Rejected]:
        """Every frame received at or after a time, in order, read as they are asked for.

        What is no frame (no time, a time that falls back, or that is ahead of both its neighbours
        by more than an hour, not UTF-8, cut short) comes as a Rejected that names the line, with
        the time of the frame before it; the reading goes on.
        """
        offset = self.seek(from_ns) if self.is_plain and from_ns else self._start
        since_ns = self.connected_at_ns if offset == self._start else 0
        yield from _Reading(self._lines, offset, since_ns, from_ns).frames()

    def seek(self, received_ns: int) -> int:
        """A byte offset from which reading finds each frame received at or after a time.

        Found by halving a plain file; a ``.gz`` has to be read from its beginning.
        """
        return self._lines.place(self._start, received_ns, _time_of)

    @cached_property
    def first_ns(self) -> int:
        """When the first frame was received; raises FileError when there is none."""
        for item in self.frames():
            if isinstance(item, tuple):
                return item[0]
        raise FileError(f"{self.path} holds no frame after line 1: there is nothing to replay")

    @cached_property
    def last_ns(self) -> int:
        """When the last frame was received; a ``.gz`` is read through for it."""
        return max(self.first_ns, self._lines.last_ns(self._start, _time_of) or 0)

    def _unlike(self, reason: str) -> FileError:
        return FileError(
            f"{self.path}, line 1, is not that of a .frames file ({reason[:120]}): it should be an "
            "address, ' <-> ' and unix seconds"
        )


class _Reading:
    """One pass over the lines from an offset on."""

    def __init__(self, lines: LineFile, offset: int, since_ns: int, from_ns: int) -> None:
        self._lines = lines
        self._offset = offset
        self._from_ns = from_ns
        self._newest_ns = since_ns
        """The highest time up to the last that was judged, before the first frame wanted, too."""
        self._last_ns = 0
        """Of the last frame given."""
        self._jumps: Jumps[_Line] = Jumps()
        self._lines_before: int | None = None

    def frames(self) -> Iterator[Received | Rejected]:
        """What is wrong before the first frame wanted is not told: it belongs to what is before."""
        last_ns, limit_ns = 0, -1
        source = self._lines.read(self._offset)
        if not self._lines.is_plain:
            next(source, None)  # line 1: only a plain file is begun after it
        for number, line in enumerate(source, 1):
            try:
                item = _parse(line)
            except RejectedError as error:
                yield from self._given(self._jumps.follow((error, line, number)))
                last_ns = self._last_ns
                continue
            if item is None:
                continue
            if last_ns <= item[0] <= limit_ns:
                self._last_ns = last_ns = item[0]
                yield item
                continue
            self._newest_ns = max(self._newest_ns, last_ns)
            judged = self._jumps.take(item[0], self._newest_ns, (item, line, number))
            yield from self._given(judged)
            last_ns = self._last_ns
            limit_ns = self._jumps.limit_ns if last_ns else -1
        yield from self._given(self._jumps.rest())

    def _given(self, judged: list[tuple[_Line, bool]]) -> Iterator[Received | Rejected]:
        """The long way, for what is not plainly the next."""
        for (item, line, number), is_wrong in judged:
            if isinstance(item, RejectedError):
                yield from self._rejected(item, line, number)
            elif is_wrong:
                yield from self._rejected(_wrong(JUMP_DETAIL), line, number)
            elif item[0] < self._last_ns:
                detail = "its time is before that of the frame before it"
                yield from self._rejected(_wrong(detail), line, number)
            else:
                self._newest_ns = max(self._newest_ns, item[0])
                if self._last_ns or item[0] >= self._from_ns:
                    self._last_ns = item[0]
                    yield item

    def _rejected(
        self, error: RejectedError, line: bytes | Flaw, number: int
    ) -> Iterator[Rejected]:
        if self._from_ns and not self._last_ns:
            return
        if self._lines_before is None:
            is_plain = self._lines.is_plain
            self._lines_before = self._lines.lines_before(self._offset) if is_plain else 1
        where = f"{self._lines.path.name[:80]}, line {self._lines_before + number:,}"
        raw = line.raw if isinstance(line, Flaw) else line
        text = raw[:RAW_MAX].decode(errors="replace").rstrip()
        at_ns = self._last_ns or self._newest_ns
        yield Rejected(error.reason, f"{where}: {error.detail}"[:200], at_ns, raw=text)


def _wrong(detail: str) -> RejectedError:
    return RejectedError(RejectReason.TIME, detail)


def _parse(line: bytes | Flaw) -> Received | None:
    """None for a blank line; raises RejectedError."""
    if isinstance(line, Flaw):
        raise RejectedError(line.reason, line.detail)
    time_text, colon, frame = line.partition(b": ")
    if not colon:
        if not line.strip():
            return None
        cut = "" if line.endswith(b"\n") else "the last line is cut short: "
        raise RejectedError(RejectReason.MALFORMED, f"{cut}there is no time, ': ' and frame")
    try:
        received_ns = parse_time(time_text)
    except ValueError as error:
        raise RejectedError(RejectReason.TIME, str(error)) from None
    if not (frame.endswith(b"\n") and frame.isascii()):
        _check(frame)
    return received_ns, frame.rstrip(b"\r\n")


def _check(frame: bytes) -> None:
    """A last line without its end is whole all the same if it is whole JSON."""
    try:
        frame.decode()
        if not frame.endswith(b"\n"):
            msgspec.json.decode(frame, type=msgspec.Raw)
    except UnicodeDecodeError as error:
        raise RejectedError(RejectReason.MALFORMED, f"it is not UTF-8: {error}") from None
    except msgspec.DecodeError:
        raise RejectedError(RejectReason.MALFORMED, "the last line is cut short") from None


def _time_of(line: bytes) -> int | None:
    try:
        item = _parse(line)
    except RejectedError:
        return None
    return item[0] if item else None
