"""The running engine: one feed, its pipeline, and who is told; started and stopped as one.

Three threads: the feed's, in which the pipeline runs; the writer's; and retention's. Who serves
HTTP reads the view and the bus. Everything is handed in or made in ``start``; nothing before.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Container, Sequence
from tempfile import TemporaryDirectory

import structlog

from market_engine.bus.base import Full, Subscription
from market_engine.bus.memory import InProcessBus
from market_engine.engine_status import EngineStatus
from market_engine.errors import BusError, MarketError
from market_engine.events import SECOND_NS, Event, Notice, NoticeKind, Trade
from market_engine.feeds.base import Feed
from market_engine.feeds.recorder import Recorder
from market_engine.kinds import Kinds
from market_engine.making import Made, make_feed, make_telemetry, pipeline_config
from market_engine.paper.claim import DeskClaim
from market_engine.paper.desk import PaperDesk
from market_engine.paper.store import DeskStore
from market_engine.paper.telemetry import FillTelemetry
from market_engine.pipeline import Output, Pipeline
from market_engine.restore import newest_trades, restore
from market_engine.routing import publish
from market_engine.schedule import Schedule
from market_engine.settings import Settings
from market_engine.storage.batches import BatchWriter
from market_engine.storage.database import Database
from market_engine.storage.market_store import MarketStore
from market_engine.storage.retention import KeptDays, Retention
from market_engine.storage.writer import WRITER_TOPICS, Writer
from market_engine.view import MarketView

WRITER_MESSAGES_MAX = 50_000
"""So many messages wait for the writer; then the feed waits."""
MISSED_NS = 10 * SECOND_NS
"""Where no symbol brought a trade for so long before a window closed, we were not there."""
_NEVER_NS = 1 << 62
RETRY_S = 30.0
"""After a feed that could not go on."""


class Engine:
    """Everything that runs; ``start`` once, ``stop`` once."""

    def __init__(self, settings: Settings, schedule: Schedule | None = None) -> None:
        self.settings = settings
        self.schedule = schedule or Schedule()
        self.bus = InProcessBus()
        self.feed: Feed | None = None
        self.recorder: Recorder | None = None
        self.telemetry: FillTelemetry | None = None
        self._closing = contextlib.ExitStack()
        self._log = structlog.get_logger("engine")
        self._stopping = threading.Event()
        self._failure: str | None = None
        self._connected: bool | None = None
        self._busy_s = 0.0
        self._is_live = False
        self._kept: dict[str, Trade] = {}
        self._closes_ns = _NEVER_NS  # the ingestion window; what is received from then on is left
        self._is_closed = False  # and that was told
        self._running = False
        self._started_ns = 0
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        """Open the store, go on from what is in it, and run the feed; raises MarketError."""
        made = make_feed(self.settings, {})
        try:
            self._open(made.venue)
            self._compose(made)
        except MarketError:
            self._closing.close()
            raise
        self.writer.start()
        self.retention.start()
        if self.telemetry is not None:
            self.telemetry.start()
        self._started_ns = time.time_ns()
        self._thread.start()

    def stop(self) -> None:
        """End the feed, store what it gave, and close; within about ten seconds."""
        self._stopping.set()
        if self.feed is not None:
            self.feed.stop()
        if self._thread.ident is not None:
            self._thread.join(5)
        self.paper.end()
        if not self.writer.stop(5):
            self._log.error("not everything was stored", cure="the feed is asked for it again")
        self.bus.close()
        if self.telemetry is not None:
            self.telemetry.stop()
        self.retention.stop()
        if self.recorder is not None:
            self.recorder.close()
        self._closing.close()

    def _open(self, venue: str) -> None:
        """Both databases; that of the desk belongs to this process and to its venue."""
        closing, desk_url = self._closing, self._desk_url()
        closing.callback(DeskClaim(desk_url).release)
        self.database = closing.enter_context(
            contextlib.closing(Database(self.settings.database_url))
        )
        self.desk_database = closing.enter_context(contextlib.closing(Database(desk_url)))
        DeskStore(self.desk_database).keep_venue(venue)
        self.store = MarketStore(self.database)

    def _desk_url(self) -> str:
        """Of a replayed market it begins anew each time, as the market does."""
        if not self.settings.has_scratch_desk:
            return self.settings.desk_url
        scratch = TemporaryDirectory(prefix="market-engine-")
        return f"sqlite:///{self._closing.enter_context(scratch)}/desk.db"

    def status(self) -> EngineStatus:
        """Now; from any thread."""
        now_ns = time.time_ns()
        gated = self._is_live
        return EngineStatus(
            self.settings.feed,
            self.view.venue,
            self._running,
            self._connected,
            self._failure,
            not gated or self.schedule.is_open(now_ns),
            self.schedule.next_change_ns(now_ns) if gated else None,
            self._started_ns,
            self._busy_s,
        )

    def _compose(self, made: Made) -> None:
        self._is_live = made.is_live
        if made.is_live and self.settings.record_dir is not None:
            address = self.settings.binance_stream_url
            self.recorder = Recorder(self.settings.record_dir, made.venue, address)
        kept = newest_trades(self.store, made.venue, made.symbols) if made.backfills else {}
        self._kept = kept
        goes_on = {name: last for name, last in kept.items() if self._goes_on(last.received_ns)}
        self.pipeline = Pipeline(made.venue, made.symbols, pipeline_config(made), goes_on)
        self.view = MarketView(self.pipeline, made.symbols)
        self.subscription: Subscription = self.bus.subscribe(
            WRITER_TOPICS, "writer", WRITER_MESSAGES_MAX, Full.WAIT
        )
        self.writer = Writer(BatchWriter(self.database, made.kinds), self.subscription)
        days = KeptDays(
            # what is replayed is as old as it is, and is not to be deleted for it
            trades=None if self.settings.feed == "replay" else self.settings.trades_days or None,
            metrics=None if self.settings.feed == "replay" else self.settings.metrics_days or None,
        )
        self.retention = Retention(self.database, days)
        began_s = time.monotonic()
        if kept:
            self._log.info("reading what was kept of this session", symbols=len(kept))
        self.kinds = Kinds(self.view)
        self.paper = PaperDesk(
            DeskStore(self.desk_database), self.kinds, is_live=self.settings.feed != "replay"
        )
        self.telemetry = make_telemetry(self.settings, self.desk_database)
        if self.telemetry is not None:
            self.paper.on_fills(self.telemetry.wake)
        self._restored = self._restore(goes_on)
        if kept:
            self._log.info(
                "going on from what was kept",
                symbols=len(kept),
                took_s=round(time.monotonic() - began_s, 1),
            )

    def _restore(self, goes_on: Container[str]) -> list[Output]:
        """Give the pipeline what was kept; of symbols that do not go on, nothing is open then."""
        for name, last in self._kept.items():
            opened_ns = self.schedule.last_change_ns(last.received_ns) if self._is_live else None
            self.pipeline.analytics_of(name).begin_bars_at(opened_ns or 0)
        was_closed = self.schedule.was_closed if self._is_live else None
        outputs = restore(self.store, self.pipeline, self.view, self._kept, was_closed)
        for name, last in self._kept.items():
            if name not in goes_on:
                outputs += self.pipeline.begin_anew(last, time.time_ns())
        return outputs

    def _goes_on(self, newest_ns: int) -> bool:
        """Whether what traded since a symbol's newest trade was received is to be fetched."""
        return not (self._is_live and self.schedule.was_closed(newest_ns, time.time_ns()))

    def _missed(self) -> list[Event]:
        """What to say of a window that closed while we were not there."""
        newest_ns = max((last.received_ns for last in self._kept.values()), default=0)
        if self._goes_on(newest_ns) or not self.schedule.is_open(newest_ns):
            return []
        closed_ns = self.schedule.next_change_ns(newest_ns)
        if closed_ns is None or closed_ns - newest_ns <= MISSED_NS:
            return []
        why = "the ingestion window closed before what traded until then could be fetched"
        now_ns = time.time_ns()
        return [Notice(NoticeKind.BACKFILL_FAILED, now_ns, name, why) for name in self._kept]

    def _run(self) -> None:
        self._tell(self._restored)
        self._take(self._missed())
        while not self._stopping.is_set():
            if self._await_window():
                self._run_feed()
                if self.settings.feed == "replay" and self._failure is None:
                    return

    def _await_window(self) -> bool:
        """Wait until live data may be taken; False when the engine stops before."""
        if not self._is_live:
            return True
        now_ns = time.time_ns()
        if now_ns >= self._closes_ns or not self.schedule.is_open(now_ns):
            self._closes_ns = min(self._closes_ns, now_ns)
            self._take(())
        while not self.schedule.is_open(now_ns):
            if self._idle(1.0):
                return False
            now_ns = time.time_ns()
        self._closes_ns = self.schedule.next_change_ns(now_ns) or _NEVER_NS
        if self._is_closed:
            self._is_closed = False
            self._take([Notice(NoticeKind.OPENED, now_ns)])
        return True

    def _last_ids(self) -> dict[str, int]:
        """From which trades the feed goes on, by symbol."""
        found = {}
        for each in self.view.health():
            newest_ns = each.last_received_ns
            if newest_ns is None and each.symbol in self._kept:
                newest_ns = self._kept[each.symbol].received_ns
            if each.last_id is not None and newest_ns is not None and self._goes_on(newest_ns):
                found[each.symbol] = each.last_id
        return found

    def _run_feed(self) -> None:
        try:
            self._run_made(self._last_ids())
        except BusError:
            return
        except (MarketError, OSError) as error:
            self._failure = str(error)
            self._log.error("the feed cannot go on", reason=str(error), again_in_s=RETRY_S)
        except Exception as error:  # noqa: BLE001 - a defect must not end the engine in silence
            self._failure = f"a defect of market-engine ({error!r}): its log has the details"
            self._log.exception("the feed broke off", again_in_s=RETRY_S)
        finally:
            self._running = False
        if self._failure:
            self._idle(RETRY_S)

    def _idle(self, for_s: float) -> bool:
        """Wait; True when the engine stops. Prices grow old meanwhile, also for the paper desk."""
        until_s = time.monotonic() + for_s
        while time.monotonic() < until_s:
            if self._stopping.wait(min(1.0, for_s)):
                return True
            if self.settings.feed != "replay":
                self.paper.take((), time.time_ns())
        return False

    def _run_made(self, last_ids: dict[str, int]) -> None:
        record = self.recorder.record if self.recorder else None
        feed = self.feed = make_feed(self.settings, last_ids, record).feed
        if self._stopping.is_set():
            return
        self._running, self._failure = True, None
        threading.Thread(target=self._end_with_window, args=(feed,), daemon=True).start()
        feed.run(self._take)

    def _end_with_window(self, feed: Feed) -> None:
        """Stop a live feed when its window closes."""
        while self._running and not self._stopping.wait(1.0):
            if self._is_closed or time.time_ns() >= self._closes_ns:
                feed.stop()
                return

    def _take(self, events: Sequence[Event]) -> None:
        """What the feed calls: through the pipeline, to the view, and onto the bus."""
        began_s = time.perf_counter()
        for event in events:
            if isinstance(event, Notice):
                self._note(event)
        self._tell(self.pipeline.handle(self._watched(events)))
        self._busy_s += time.perf_counter() - began_s

    def _watched(self, events: Sequence[Event]) -> Sequence[Event]:
        """What was received before the window closed, and then once that it did."""
        closes_ns = self._closes_ns
        if events and events[-1].received_ns < closes_ns:
            return events
        if closes_ns == _NEVER_NS:
            return events
        watched = [event for event in events if event.received_ns < closes_ns]
        if not self._is_closed:
            self._is_closed = True
            watched.append(Notice(NoticeKind.CLOSED, closes_ns, detail="the ingestion window"))
        return watched

    def _tell(self, outputs: list[Output]) -> None:
        self.paper.take(outputs, self.pipeline.received_ns)
        self.view.update(outputs)
        publish(self.bus, outputs)

    def _note(self, notice: Notice) -> None:
        if notice.symbol is None and notice.kind is NoticeKind.CONNECTED:
            self._connected = True
        elif notice.symbol is None and notice.kind is NoticeKind.DISCONNECTED:
            self._connected = False
