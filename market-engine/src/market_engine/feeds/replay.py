"""The recorded feed: what was recorded, again, at any speed, with pause and seek.

What it gives depends on the files alone; the pace only says when. Owns the thread-safe controls;
must not know what the events are for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from market_engine.errors import SettingsError
from market_engine.events import Event, Rejected, Tick
from market_engine.feeds.archive import ArchiveOptions
from market_engine.feeds.base import Emit
from market_engine.feeds.pace import Pace
from market_engine.feeds.recordings import FrameParser, Recording, Step

_FAR_S = 3_600.0


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """How to replay, but for the speed."""

    batch_max: int = 512
    """Events in one call of ``emit``, at most."""
    silence_s_max: float | None = None
    """A longer silence of the recording takes no longer than so many of its seconds."""
    is_held: bool = False
    """At the end, wait for a seek or for ``stop`` instead of returning."""
    archive: ArchiveOptions = field(default_factory=ArchiveOptions)


@dataclass(frozen=True, slots=True)
class Timing:
    """The monotonic clock, in seconds, and the wait for a condition, which may end early."""

    now_s: Callable[[], float] = time.monotonic
    wait: Callable[[threading.Condition, float], object] = threading.Condition.wait


@dataclass(frozen=True, slots=True)
class ReplayPosition:
    """Where a replay is; times of the recording in ns."""

    first_ns: int
    last_ns: int
    at_ns: int
    """What was given last; ``first_ns`` before anything was."""
    speed: float | None
    paused: bool
    ended: bool
    events: int
    """Given since the start, over all seeks, without ticks and without rejected."""
    rejected: int


class ReplayFeed:
    """A feed of recorded files, in the order given; ``speed`` 1.0 as recorded, None full speed.

    ``pause``, ``resume``, ``set_speed``, ``seek``, ``position`` and ``stop`` are for any thread.
    ``on_seek`` is called with the time sought, from the thread that runs the feed, after the last
    event from before and before the first from there. Compressed files are read through once when
    this is made. Raises FileError as ``Recording`` does.
    """

    def __init__(
        self,
        paths: Path | Sequence[Path],
        speed: float | None = None,
        *,
        options: ReplayOptions | None = None,
        parser: FrameParser | None = None,
        timing: Timing | None = None,
        on_seek: Callable[[int], None] | None = None,
    ) -> None:
        self._options = options or ReplayOptions()
        if self._options.batch_max < 1:
            raise SettingsError(f"batch_max={self._options.batch_max} is below 1")
        files = [paths] if isinstance(paths, Path) else list(paths)
        self._recording = Recording(files, parser, self._options.archive)
        self.venue = self._recording.venue
        self._first_ns = self._at_ns = self._recording.first_ns
        self._last_ns = self._recording.last_ns
        self._timing = timing or Timing()
        self._on_seek = on_seek or (lambda _: None)
        self._pace = Pace(speed, self._options.silence_s_max)
        self._condition = threading.Condition()
        self._is_stopped = False
        self._seek_ns: int | None = None
        self._is_broken_off = False
        """Stopped, or sought: one flag to look at for each step."""
        self._is_paced = speed is not None
        self._is_ended = False
        self._events = self._rejected = 0

    @property
    def symbols(self) -> tuple[str, ...]:
        """Those that the files name."""
        return self._recording.symbols

    def paths_at(self, received_ns: int) -> list[Path]:
        """The files that may hold what came at a time: of files that overlap several."""
        return self._recording.paths_at(received_ns)

    def run(self, emit: Emit) -> None:
        """Give everything from the start, or from the last seek; again if called again.

        Raises FileError when a file is there no more.
        """
        while not self._is_stopped:
            from_ns = self._begin()
            if from_ns:
                self._on_seek(from_ns)
            self._play(emit, from_ns)
            if not self._goes_on():
                break

    def stop(self) -> None:
        """Have ``run`` return after the call of ``emit`` that is going on, if one is."""
        with self._condition:
            self._is_stopped = self._is_broken_off = True
            self._condition.notify_all()

    def pause(self) -> None:
        """Give nothing until ``resume``; seeking is possible."""
        self._change(self._pace.speed, is_paused=True)

    def resume(self) -> None:
        """Go on from where it was paused."""
        self._change(self._pace.speed, is_paused=False)

    def set_speed(self, speed: float | None) -> None:
        """Go on at this speed from here, without a jump; raises SettingsError if it is none."""
        self._change(speed, is_paused=self._pace.is_paused)

    def seek(self, received_ns: int) -> None:
        """Go on from the first frame received then or later; beyond an end it is that end."""
        sought_ns = min(max(received_ns, self._first_ns), self._last_ns)
        with self._condition:
            self._seek_ns = sought_ns
            self._is_broken_off = True
            self._is_ended = False
            self._condition.notify_all()

    def position(self) -> ReplayPosition:
        """Where it is now."""
        with self._condition:
            sought_ns = self._seek_ns
            return ReplayPosition(
                first_ns=self._first_ns,
                last_ns=self._last_ns,
                at_ns=self._at_ns if sought_ns is None else sought_ns,
                speed=self._pace.speed,
                paused=self._pace.is_paused,
                ended=self._is_ended,
                events=self._events,
                rejected=self._rejected,
            )

    def _change(self, speed: float | None, *, is_paused: bool) -> None:
        with self._condition:
            self._pace.change(self._at_ns, self._timing.now_s(), speed, is_paused=is_paused)
            self._is_paced = is_paused or speed is not None
            self._condition.notify_all()

    def _begin(self) -> int:
        """Where to begin: the time sought, or 0."""
        with self._condition:
            sought_ns, self._seek_ns = self._seek_ns, None
            self._is_broken_off = self._is_stopped
            self._is_ended = False
            self._at_ns = sought_ns or self._first_ns
            self._pace.begin(self._at_ns, self._timing.now_s())
            return sought_ns or 0

    def _goes_on(self) -> bool:
        """Whether there is more to give: a seek came, or comes while this is held at the end."""
        with self._condition:
            if not self._is_broken_off:
                self._is_ended = True
            while self._options.is_held and not self._is_broken_off:
                self._timing.wait(self._condition, _FAR_S)
            return self._is_broken_off

    def _play(self, emit: Emit, from_ns: int) -> None:
        """Give what there is from a time on, until it is broken off."""
        batch: list[Event] = []
        batch_max = self._options.batch_max
        for step in self._recording.steps(from_ns):
            if self._is_broken_off:
                return
            if self._is_paced and not self._is_due(step):
                self._give(emit, batch)
                batch = []
                if not self._await(step):
                    return
            batch += step[1]
            if len(batch) >= batch_max:
                self._give(emit, batch)
                batch = []
        if not self._is_broken_off:
            self._give(emit, batch)

    def _give(self, emit: Emit, batch: list[Event]) -> None:
        for start in range(0, len(batch), self._options.batch_max):
            part = batch[start : start + self._options.batch_max]
            kinds = [type(event) for event in part]
            rejected = kinds.count(Rejected)
            emit(part)
            self._rejected += rejected
            self._events += len(part) - rejected - kinds.count(Tick)
            self._at_ns = part[-1].received_ns

    def _is_due(self, step: Step) -> bool:
        with self._condition:
            return self._pass(step, self._timing.now_s())

    def _await(self, step: Step) -> bool:
        """Wait until a step is due; False if it was broken off."""
        with self._condition:
            while not self._is_broken_off:
                now_s = self._timing.now_s()
                if self._pass(step, now_s):
                    return True
                wait_s = min(self._pace.wait_s(step[0], now_s), _FAR_S)
                self._timing.wait(self._condition, wait_s)
        return False

    def _pass(self, step: Step, now_s: float) -> bool:
        at_ns, events = step
        if self._pace.wait_s(at_ns, now_s) > 0:
            return False
        is_silent = not events or isinstance(events[0], Tick)
        self._pace.passed(at_ns, now_s, is_silent=is_silent)
        return True
