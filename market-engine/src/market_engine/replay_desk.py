"""One replay at a time, beside the live market: its own pipeline, view and bus.

It plays a recording through the live parser and shows what follows from it. It must not know the
store, nor the live view: a replay changes nothing of what was stored.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec
import structlog
from msgspec import UNSET, UnsetType

from market_engine.bus.base import Bus, Topic
from market_engine.bus.memory import InProcessBus
from market_engine.errors import MarketError
from market_engine.events import Event
from market_engine.feeds.replay import ReplayFeed, ReplayOptions, ReplayPosition
from market_engine.pipeline import Pipeline
from market_engine.pipeline_config import PipelineConfig
from market_engine.routing import publish
from market_engine.view import MarketView

ReplayState = Literal["none", "playing", "paused", "ended", "failed"]

STOP_S_MAX: Final = 2.0
BATCH_EVENTS: Final = 256
BREATH_S: Final = 0.001
"""After each batch at full speed, so that the live market has its turn."""


class ReplayBegan(msgspec.Struct, frozen=True):
    """On the desk's bus: what comes from here on is of a market that has just begun."""

    symbols: tuple[str, ...]


class ReplayStatus(msgspec.Struct, frozen=True):
    """How the replay is; ``position`` None without one."""

    state: ReplayState = "none"
    file: str | None = None
    position: ReplayPosition | None = None
    error: str | None = None
    """Why it failed, in a line that names no folder."""


class ReplayOrder(msgspec.Struct, frozen=True):
    """What to change; what is unset stays as it is."""

    paused: bool | UnsetType = UNSET
    speed: float | UnsetType | None = UNSET
    """None: as fast as possible."""
    seek_ns: int | UnsetType = UNSET
    """Beyond an end it is that end."""


class NoReplayError(MarketError):
    """Nothing is being replayed."""


class ReplayFailedError(MarketError):
    """The replay has failed, and takes no more orders."""


class ReplayDesk:
    """Starts, changes and ends the replay; from any thread, one call at a time.

    ``bus`` is the same for all its replays; each begins on it with a ``ReplayBegan``, and so does
    what comes after a seek.
    """

    def __init__(self, config: PipelineConfig | None = None) -> None:
        self.bus: Bus = InProcessBus()
        self._config = config
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._closed = False

    @property
    def view(self) -> MarketView | None:
        """What the market looks like where the replay is; None without a replay."""
        session = self._session
        return session.view if session else None

    def status(self) -> ReplayStatus:
        """Now."""
        session = self._session
        return session.status() if session else ReplayStatus()

    def start(self, path: Path, speed: float | None) -> ReplayStatus:
        """Replay a file from its beginning, in place of the one that is going on, if one is.

        Raises FileError and SettingsError, and then the one that is going on goes on.
        """
        session = _Session(path, speed, self.bus, self._config)
        with self._lock:
            if self._closed:
                raise NoReplayError("market-engine is ending: nothing more is replayed")
            if self._session is not None:
                self._session.stop()
            self._session = session
            session.start()
            return session.status()

    def change(self, order: ReplayOrder) -> ReplayStatus:
        """Raises NoReplayError, ReplayFailedError and SettingsError."""
        with self._lock:
            if self._session is None:
                raise NoReplayError("nothing is being replayed")
            self._session.change(order)
            return self._session.status()

    def end(self) -> None:
        """End the replay, if one is going on, and forget its market."""
        with self._lock:
            session, self._session = self._session, None
            if session is not None:
                session.stop()

    def close(self) -> None:
        """End for good; any number of times."""
        self._closed = True
        self.end()
        self.bus.close()


class _Session:
    """One replay, in a thread of its own."""

    def __init__(
        self, path: Path, speed: float | None, bus: Bus, config: PipelineConfig | None
    ) -> None:
        options = ReplayOptions(batch_max=BATCH_EVENTS, is_held=True)
        self._path = path
        self._bus = bus
        self._config = config
        self._feed = ReplayFeed(path, speed, options=options, on_seek=self._sought)
        self._feed.position()  # has the file's end looked for, or a FileError raised, here and now
        self._error: str | None = None
        self._pipeline, self.view = self._begin()
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)

    def start(self) -> None:
        """Begin to play."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch that is being taken."""
        self._feed.stop()
        self._thread.join(STOP_S_MAX)

    def change(self, order: ReplayOrder) -> None:
        """As the desk's ``change``."""
        if self._error is not None:
            raise ReplayFailedError(self._error)
        if order.speed is not UNSET:
            self._feed.set_speed(order.speed)
        if order.seek_ns is not UNSET:
            self._feed.seek(order.seek_ns)
        if order.paused is not UNSET:
            (self._feed.pause if order.paused else self._feed.resume)()

    def status(self) -> ReplayStatus:
        """Now."""
        position = self._feed.position()
        return ReplayStatus(self._state(position), self._path.name, position, self._error)

    def _state(self, position: ReplayPosition) -> ReplayState:
        if self._error is not None:
            return "failed"
        if position.ended:
            return "ended"
        return "paused" if position.paused else "playing"

    def _begin(self) -> tuple[Pipeline, MarketView]:
        pipeline = Pipeline(self._feed.venue, self._feed.symbols, self._config)
        return pipeline, MarketView(pipeline, self._feed.symbols)

    def _run(self) -> None:
        try:
            self._announce()
            self._feed.run(self._take)
        except MarketError as error:
            self._error = self._told(str(error))
        except OSError as error:
            self._error = f"{self._path.name} cannot be read any more: {error.strerror}"
        except Exception:  # noqa: BLE001 - told, and logged
            self._error = "this is a defect of market-engine: its log has the details"
            structlog.get_logger("replay").exception("the replay failed", file=self._path.name)

    def _take(self, events: Sequence[Event]) -> None:
        outputs = self._pipeline.handle(events)
        self.view.update(outputs)
        publish(self._bus, outputs)
        if self._feed.position().speed is None:
            time.sleep(BREATH_S)

    def _sought(self, _: int) -> None:
        """Begin anew: what was skipped, or is seen again, is no fault of the recording."""
        self._pipeline, self.view = self._begin()
        self._announce()

    def _announce(self) -> None:
        self._bus.publish(Topic.HEALTH, "", [ReplayBegan(self._feed.symbols)])

    def _told(self, message: str) -> str:
        return message.replace(str(self._path), self._path.name)
