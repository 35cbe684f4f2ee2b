"""The simulated feed: a seeded market in the time that it is, for a desk without a venue.

Its frames go through the parser of the live feed, so that nothing behind it can tell. It must not
know how the market is made, or what is done with its events.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final

import msgspec

from market_engine.errors import SettingsError
from market_engine.events import SECOND_NS, Event, Notice, NoticeKind, Tick, Trade
from market_engine.feeds.base import Emit
from market_engine.feeds.binance_parser import BinanceParser
from market_engine.feeds.simulated_block import Row
from market_engine.feeds.simulated_faults import FaultLine, Injection
from market_engine.feeds.simulated_market import MarketConfig, SimulatedMarket
from market_engine.feeds.simulated_plan import PlanConfig
from market_engine.feeds.simulated_profiles import SYMBOLS

VENUE: Final = "simulated"
STEP_S: Final = 0.02
"""How often it gives what is due."""
CHUNK_EVENTS: Final = 1_000
"""Given at once at most, so that it can be stopped and nobody's memory fills."""
SLEPT_NS_MAX: Final = 60 * SECOND_NS
"""After a longer pause (a laptop that slept) what was missed is backfilled, not played."""


class SimulatedConfig(msgspec.Struct, frozen=True):
    """A simulated feed."""

    seed: int = 1
    symbols: tuple[str, ...] = SYMBOLS
    events_a_second: float = 20.0
    """On average over the day and over all symbols; half of them quotes. At most 50,000."""
    around_the_clock: bool = True
    """Equities trade day and night; otherwise in their session only, with OPENED and CLOSED."""
    is_steady: bool = False
    """As many events in each minute as in any other: to put a load on what is behind."""
    anchor_ns: int | None = None
    """When the market began. With one, ids and times are the same in every run, and what traded
    while nobody listened can be had; None: it begins, or goes on, when the feed is run."""
    backfill_trades_max: int = 200_000
    """Of one symbol after a restart; where it is more, those before them cannot be had."""


class SimulatedFeed:
    """A feed in wall-clock time; ``last_ids`` are the last trades that were kept from before.

    ``clock`` gives nanoseconds since 1970. ``wait`` waits for so many seconds, and says whether the
    feed was stopped meanwhile. Raises SettingsError for a rate or symbols that cannot be.
    """

    def __init__(
        self,
        config: SimulatedConfig | None = None,
        last_ids: Mapping[str, int] | None = None,
        clock: Callable[[], int] = time.time_ns,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._config = config or SimulatedConfig()
        if not 0 < self._config.events_a_second <= 50_000:
            raise SettingsError("events_a_second: above 0 and at most 50,000")
        self._last_ids = dict(last_ids or {})
        self._clock = clock
        self._stopped = threading.Event()
        self._wait = wait or self._stopped.wait
        self._parser = BinanceParser(VENUE)
        self._requests: deque[Injection] = deque(maxlen=64)
        self.venue = VENUE
        self.symbols = self._config.symbols
        self._market = self._make_market(0)  # a mistake in the settings shows here, not in run
        self._line = FaultLine(self.symbols, self._market.encode)
        self._stretches: Iterator[tuple[int, list[Row]]] = iter(())
        self._rows: deque[Row] = deque()
        self._made_ns = self._seen_ns = self._tick_ns = 0
        self._closed: set[str] = set()
        self._is_cut = False

    def run(self, emit: Emit) -> None:
        """Give what is due every 20 ms, and a Tick each second, until it is stopped.

        Raises SettingsError where the trades that were kept are of another market than the one
        that the anchor says.
        """
        now_ns = self._now()
        self._market = self._make_market(now_ns)
        self._check_ids(now_ns)
        self._line = FaultLine(self.symbols, self._market.encode)
        emit([Notice(NoticeKind.CONNECTED, now_ns)])
        self._catch_up(emit, now_ns)
        while not self._stopped.is_set():
            before_ns, now_ns = self._seen_ns, self._now()
            if now_ns - before_ns > SLEPT_NS_MAX:
                self._catch_up(emit, now_ns)
            for events in _chunks(self._due(now_ns)):
                if self._stopped.is_set():
                    return
                self._note(events)
                emit(events)
            self._wait(STEP_S)

    def stop(self) -> None:
        """Have ``run`` return within some 20 ms, or as soon as what it gave was taken."""
        self._stopped.set()

    def inject(self, injection: Injection) -> None:
        """Put a fault into the stream, from any thread; it takes effect within 20 ms.

        Raises SettingsError for one that cannot be; of more than 64 that wait the oldest are lost.
        """
        FaultLine(self.symbols, self._market.encode).inject(injection)  # only to check it
        self._requests.append(injection)

    def _make_market(self, now_ns: int) -> SimulatedMarket:
        config, anchor_ns = self._config, self._config.anchor_ns
        first_ids = {symbol: last_id + 1 for symbol, last_id in self._last_ids.items()}
        plan = PlanConfig(
            config.seed,
            with_sessions=not config.around_the_clock,
            with_quiet=False,  # a desk should be lively
            night_level=0.4,
            is_steady=config.is_steady,
        )
        return SimulatedMarket(
            MarketConfig(
                start_ns=now_ns if anchor_ns is None else anchor_ns,
                seed=config.seed,
                symbols=config.symbols,
                events_a_day=max(2, round(config.events_a_second * 86_400)),
                plan=plan,
                first_ids=first_ids if anchor_ns is None else {},
            )
        )

    def _check_ids(self, now_ns: int) -> None:
        """What this market gave cannot be ahead of it, but by as much as a clock was set back."""
        for symbol in self.symbols:
            last_id = self._last_ids.get(symbol, 0)
            next_id = self._market.next_id(symbol, now_ns + SLEPT_NS_MAX)
            if last_id >= max(next_id, self._market.config.first_ids.get(symbol, 1)):
                raise SettingsError(
                    f"the database holds trade {last_id:,} of {symbol}, and the market that began "
                    f"at MARKET_SIMULATED_ANCHOR_MS is only at {next_id - 1:,}: name another "
                    "MARKET_DATABASE_URL, or set the anchor and MARKET_SIMULATED_RATE as they were"
                )

    def _now(self) -> int:
        """The time, which never falls back here, whatever becomes of the clock."""
        self._seen_ns = max(self._seen_ns, self._clock())
        return self._seen_ns

    def _catch_up(self, emit: Emit, now_ns: int) -> None:
        """Give what was missed since the last trades that are known, then go on from now."""
        self._rows.clear()
        self._stretches = self._market.rows(now_ns)
        self._made_ns = self._tick_ns = now_ns
        for symbol in self.symbols:
            last_id = self._last_ids.get(symbol)
            until_id = self._market.next_id(symbol, now_ns) - 1
            if last_id is not None and last_id < until_id:
                self._backfill(emit, symbol, last_id + 1, until_id)

    def _backfill(self, emit: Emit, symbol: str, first_id: int, last_id: int) -> None:
        start_id = max(first_id, last_id + 1 - self._config.backfill_trades_max)
        if start_id > first_id:
            detail = f"trades {first_id} to {start_id - 1} are too many to be had"
            emit([self._notice(NoticeKind.BACKFILL_FAILED, symbol, first_id, start_id - 1, detail)])
        emit([self._notice(NoticeKind.BACKFILLING, symbol, start_id, last_id)])
        for events in _chunks(self._missed(symbol, start_id, last_id)):
            if self._stopped.is_set():
                return
            self._note(events)
            emit(events)
        emit([self._notice(NoticeKind.BACKFILLED, symbol, start_id, last_id)])

    def _missed(self, symbol: str, first_id: int, last_id: int) -> Iterator[Event]:
        for _, frame in self._market.backfill(symbol, first_id, last_id):
            for event in self._parser.parse(frame, self._now()):
                is_trade = isinstance(event, Trade)
                yield msgspec.structs.replace(event, backfilled=True) if is_trade else event

    def _notice(
        self, kind: NoticeKind, symbol: str, first_id: int, last_id: int, detail: str = ""
    ) -> Notice:
        return Notice(kind, self._now(), symbol, detail, first_id, last_id)

    def _due(self, now_ns: int) -> Iterator[Event]:
        """All that is received up to now."""
        while self._requests and not self._line.is_full:
            self._line.inject(self._requests.popleft())
        yield from self._openings(now_ns)
        rows = self._due_rows(now_ns)
        frames = self._line.pass_on(rows, now_ns)
        yield from self._cuts(now_ns)
        for _, frame in frames:
            yield from self._parser.parse(frame, now_ns)
        if now_ns - self._tick_ns >= SECOND_NS:
            self._tick_ns = now_ns
            yield Tick(now_ns)

    def _due_rows(self, now_ns: int) -> list[Row]:
        while self._made_ns <= now_ns:
            self._made_ns, rows = next(self._stretches)
            self._rows.extend(rows)
        due = []
        while self._rows and self._rows[0][0] <= now_ns:
            due.append(self._rows.popleft())
        return due

    def _openings(self, now_ns: int) -> Iterator[Event]:
        for symbol in () if self._config.around_the_clock else self.symbols:
            if self._market.is_open(symbol, now_ns) == (symbol in self._closed):
                self._closed ^= {symbol}
                is_closed = symbol in self._closed
                yield Notice(NoticeKind.CLOSED if is_closed else NoticeKind.OPENED, now_ns, symbol)

    def _cuts(self, now_ns: int) -> Iterator[Event]:
        if self._line.is_cut != self._is_cut:
            self._is_cut = self._line.is_cut
            kind = NoticeKind.DISCONNECTED if self._is_cut else NoticeKind.CONNECTED
            yield Notice(kind, now_ns, None, "by request")

    def _note(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Trade) and event.trade_id is not None:
                self._last_ids[event.symbol] = event.trade_id


def _chunks(events: Iterator[Event]) -> Iterator[list[Event]]:
    while chunk := list(islice(events, CHUNK_EVENTS)):
        yield chunk
