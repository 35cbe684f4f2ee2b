"""The recorder: raw frames of a live feed to ``.frames`` files, without ever holding the feed back.

Frames wait in a bounded buffer for a thread that writes them. What cannot be written is counted and
told in the log; the feed goes on. Must not know what a frame says.
"""

from __future__ import annotations

import re
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from market_engine.errors import SettingsError
from market_engine.feeds.frames import EARLIEST_NS, LATEST_NS, Received
from market_engine.feeds.frames_writer import FramesWriter

FRAME_BYTES_MAX: Final = 1 << 20
"""Of one frame: a reader takes no longer line."""
_OVERHEAD_BYTES: Final = 100
"""What a waiting frame takes beside its own bytes."""
_VENUE: Final = re.compile(r"[a-z0-9_]{1,32}")
_CLOSE_S_MAX: Final = 10.0


@dataclass(frozen=True, slots=True)
class RecorderOptions:
    """Limits of a recorder."""

    flush_s: float = 0.5
    """Between two writes: a killed process loses at most what came in so long."""
    buffer_bytes_max: int = 16 << 20
    """Frames that wait to be written; when full, new frames are not recorded, and counted."""
    file_bytes_max: int = 256 << 20
    """A new file begins beyond that, and at 00:00 UTC."""
    free_bytes_min: int = 256 << 20
    """What has to stay free on the disk: the recorder never takes the last of it."""


@dataclass(frozen=True, slots=True)
class RecorderStats:
    """Recorded + not recorded + waiting = all frames that were handed in."""

    frames_recorded: int
    frames_not_recorded: int
    frames_waiting: int
    bytes_written: int
    files: int
    failures: int
    """Attempts to write that failed; each is tried again."""
    problem: str | None
    """Why nothing can be written now, in a line."""
    path: Path | None
    """The file that is written to."""


class Recorder:
    """Records one feed in ``folder``; ``address`` is what the feed is connected to.

    Each recorder writes files of its own, named by venue and time, so that several may share a
    folder. Raises SettingsError for a venue that cannot be part of a name; a folder that cannot be
    written is no error, but is told by ``stats``.
    """

    def __init__(
        self, folder: Path, venue: str, address: str = "", options: RecorderOptions | None = None
    ) -> None:
        if not _VENUE.fullmatch(venue):
            raise SettingsError(f"venue={venue!r} is no name for a file: use a-z, 0-9 and _")
        self._options = options or RecorderOptions()
        self._buffer_bytes_max = self._options.buffer_bytes_max
        self._folder = folder
        self._writer = FramesWriter(
            folder, venue, " ".join(address.split()) or venue, self._options.file_bytes_max
        )
        self._log = structlog.get_logger("recorder")
        self._lock = threading.Lock()
        self._condition = threading.Condition(self._lock)
        self._waiting: list[Received] = []
        self._waiting_bytes = 0
        self._writing = 0
        self._writing_bytes = 0
        self._last_ns = 0
        self._handed_in = self._not_recorded = self._failures = 0
        self._problem: str | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def record(self, frame: bytes | str, received_ns: int) -> None:
        """Have a frame written soon; never waits for the disk and never raises.

        From any thread. Not recorded is what a reader would refuse: more than ``FRAME_BYTES_MAX``,
        or a time outside of the years 2009 to 2100. A receipt time before that of the frame before
        it is raised to that, as times in a recording must not fall.
        """
        raw = frame if isinstance(frame, bytes) else frame.encode(errors="replace")
        size = len(raw) + _OVERHEAD_BYTES
        is_readable = len(raw) <= FRAME_BYTES_MAX and EARLIEST_NS <= received_ns < LATEST_NS
        with self._lock:
            self._handed_in += 1
            room = self._buffer_bytes_max - self._waiting_bytes - self._writing_bytes
            if size > room or self._is_closed or not is_readable:
                self._not_recorded += 1
                return
            received_ns = max(received_ns, self._last_ns)
            self._last_ns = received_ns
            self._waiting.append((received_ns, raw))
            self._waiting_bytes += size

    def stats(self) -> RecorderStats:
        """How it goes; from any thread."""
        with self._condition:
            waiting = len(self._waiting) + self._writing
            return RecorderStats(
                frames_recorded=self._handed_in - self._not_recorded - waiting,
                frames_not_recorded=self._not_recorded,
                frames_waiting=waiting,
                bytes_written=self._writer.bytes_written,
                files=self._writer.files,
                failures=self._failures,
                problem=self._problem,
                path=self._writer.path,
            )

    def close(self) -> None:
        """Write what waits, if that is possible within seconds; the rest counts as not recorded.

        Any number of times.
        """
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S_MAX)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            with self._condition:
                self._condition.wait_for(lambda: self._is_closed, self._options.flush_s)
                is_last = self._is_closed
            self._flush()
        with self._condition:
            self._not_recorded += len(self._waiting) + self._writing
            self._waiting, self._writing = [], 0
            self._waiting_bytes = self._writing_bytes = 0
        self._writer.close()

    def _flush(self) -> None:
        """Write all that waits; what could not be written stays with the writer for the next."""
        with self._condition:
            batch, self._waiting = self._waiting, []
            self._writing += len(batch)
            self._writing_bytes += self._waiting_bytes
            self._waiting_bytes = 0
        problem = None
        try:
            self._writer.take(batch)
            if self._writer.has_work:
                self._check_room()
                self._writer.write()
        except OSError as error:
            problem = str(error)
        self._note(problem, self._writer.frames_pending)

    def _check_room(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        free_bytes = shutil.disk_usage(self._folder).free
        if free_bytes < self._options.free_bytes_min:
            raise OSError(
                f"only {free_bytes:,} bytes are free in {self._folder}, and "
                f"{self._options.free_bytes_min:,} have to stay free"
            )

    def _note(self, problem: str | None, pending: int) -> None:
        """Tell a problem once, and its end once."""
        with self._condition:
            before, self._problem = self._problem, problem
            self._writing = pending
            if not pending:
                self._writing_bytes = 0
            self._failures += problem is not None
            lost = self._not_recorded
        if problem is not None and before is None:
            self._log.error("frames cannot be recorded: the feed goes on", reason=problem)
        elif problem is None and before is not None:
            self._log.info("frames are recorded again", not_recorded=lost)
