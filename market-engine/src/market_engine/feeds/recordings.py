"""Several recorded files as one sequence of steps: what came at a time, and the seconds between.

The sequence is that of the files and of nothing else: no clock, no pace. Frames go through the
parser of the live feed; rows of the archive are events already.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

import msgspec

from market_engine.errors import FileError
from market_engine.events import SECOND_NS, Event, Rejected, Tick
from market_engine.feeds.archive import ArchiveFile, ArchiveOptions
from market_engine.feeds.binance_parser import BinanceParser
from market_engine.feeds.frames import FramesFile

TICKS_MAX: Final = 86_400
"""A longer silence is a day of ticks, and then a jump."""
_STREAM: Final = re.compile(r"([a-z0-9]+)@")

Step = tuple[int, Sequence[Event]]
"""A time of the recording in ns, and what came then, which may be nothing."""


class FrameParser(Protocol):
    """What makes events of frames, as the parser of a live feed does."""

    def parse(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        """The events of one frame; never raises."""


class Recording:
    """Files in the order of their time, ``.frames`` and archive CSV, also compressed.

    Where one begins before the one before it ended, its events keep their own time and get the
    receipt time that was reached, so that receipt never falls. Raises FileError for a file that
    cannot be read, one without a time, files in the wrong order, and files of several venues.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        parser: FrameParser | None = None,
        archive: ArchiveOptions | None = None,
    ) -> None:
        if not paths:
            raise FileError("no file to replay is named: name one or more .frames or .csv files")
        archive = archive or ArchiveOptions()
        self._files = [_opened(path, archive) for path in paths]
        for before, after in zip(self._files, self._files[1:], strict=False):
            if after.first_ns < before.first_ns:
                raise FileError(
                    f"{after.path} begins before {before.path}: give the files in order of time"
                )
            if _venue_of(after) != _venue_of(before):
                raise FileError(
                    f"{after.path} is of the venue {_venue_of(after)} and {before.path} of "
                    f"{_venue_of(before)}, whose ids are another series: give them one by one"
                )
        self._parser = parser or BinanceParser(self.venue)

    @property
    def first_ns(self) -> int:
        """When the first thing came."""
        return self._files[0].first_ns

    @cached_property
    def last_ns(self) -> int:
        """When the last thing came; compressed files are read through for it, once."""
        return max(file.last_ns for file in self._files)

    @property
    def venue(self) -> str:
        """Whose ids they are: of every file, as ``venue_of`` says, or as the archive does."""
        return _venue_of(self._files[0])

    @property
    def symbols(self) -> tuple[str, ...]:
        """Told from the addresses of frames and from the names of archive files."""
        found: set[str] = set()
        for file in self._files:
            if isinstance(file, ArchiveFile):
                found.add(file.symbol)
            else:
                found.update(name.upper() for name in _STREAM.findall(file.address))
        return tuple(sorted(found))

    def paths_at(self, received_ns: int) -> list[Path]:
        """The files that may hold what came at a time: of files that overlap several."""
        return [file.path for file in self._files if file.first_ns <= received_ns <= file.last_ns]

    def steps(self, from_ns: int = 0) -> Iterator[Step]:
        """Everything from a time on, with a Tick for each whole second before which nothing came.

        The same sequence each time. Ticks begin after the first event. While a compressed file is
        read up to ``from_ns``, steps come that hold nothing.
        """
        tick_s, last_ns = 0, 0
        for at_ns, events in self._received(from_ns):
            if at_ns < last_ns:
                at_ns, events = last_ns, _lifted(events, last_ns)  # noqa: PLW2901 - its place now
            last_ns = at_ns
            second = at_ns // SECOND_NS
            if tick_s and second >= tick_s:
                for each in range(tick_s, min(second + 1, tick_s + TICKS_MAX)):
                    yield each * SECOND_NS, (Tick(each * SECOND_NS),)
                tick_s = second + 1
            if events:
                tick_s = second + 2
            yield at_ns, events

    def _received(self, from_ns: int) -> Iterator[Step]:
        is_reached = not from_ns
        for file in self._files:
            if not is_reached and file is not self._files[-1] and file.last_ns < from_ns:
                continue
            for step in self._steps_of(file, from_ns if file.is_plain else 0):
                if is_reached or step[0] >= from_ns:
                    is_reached = True
                    yield step
                else:
                    yield from_ns, ()

    def _steps_of(self, file: FramesFile | ArchiveFile, from_ns: int) -> Iterator[Step]:
        if isinstance(file, ArchiveFile):
            for event in file.rows(from_ns):
                yield event.received_ns, (event,)
            return
        parse = self._parser.parse
        for item in file.frames(from_ns):
            if isinstance(item, Rejected):
                yield item.received_ns, (item,)
            else:
                yield item[0], parse(item[1], item[0])


def venue_of(address: str) -> str:
    """The venue of frames, by the address that they came from."""
    scheme, _, host = address.partition("://")
    if scheme == "simulated":
        return "simulated"
    return "binance-futures" if host.startswith("fstream.") else "binance"


def _venue_of(file: FramesFile | ArchiveFile) -> str:
    return file.venue if isinstance(file, ArchiveFile) else venue_of(file.address)


def _opened(path: Path, archive: ArchiveOptions) -> FramesFile | ArchiveFile:
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".frames"):
        return FramesFile(path)
    if name.endswith((".csv", ".zip")):
        return ArchiveFile(path, symbol=archive.symbol, kind=archive.kind, venue=archive.venue)
    raise FileError(f"{path} is of no known form: its name should end in .frames, .csv or .zip")


def _lifted(events: Sequence[Event], received_ns: int) -> Sequence[Event]:
    return [msgspec.structs.replace(event, received_ns=received_ns) for event in events]
