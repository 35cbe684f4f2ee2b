"""A live feed in a thread of its own, and what it emitted so far, checked as it comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from rude_venue import RudeVenue, price, time_ns

from market_engine.decimals import to_nano
from market_engine.events import Event, Notice, NoticeKind, Quote, Rejected, Tick, Trade
from market_engine.feeds.binance import BinanceConfig, BinanceFeed

QUICK: dict[str, Any] = {
    "uses_environment_proxy": False,
    "overlap_s_min": 0.05,
    "overlap_s_max": 10.0,
    "connect_timeout_s": 10.0,
    "backoff_base_s": 0.01,
    "backoff_cap_s": 0.05,
    "tick_s": 0.05,
    "rest_timeout_s": 10.0,
    "rest_attempts_max": 3,
    "rest_weight_pause_s": 0.3,
}


class RunningFeed:
    """Use it in ``with``; ``emit`` may be given to be called before the events are kept."""

    def __init__(
        self,
        venue: RudeVenue,
        symbols: Sequence[str] = ("BTCUSDT",),
        *,
        emit: Callable[[Sequence[Event]], None] = lambda events: None,
        feed: dict[str, Any] | None = None,
        **config: Any,
    ) -> None:
        urls = {"stream_url": venue.stream_url, "rest_url": venue.rest_url}
        settings = BinanceConfig(**{**QUICK, **urls, "quotes": False, **config})
        self.feed = BinanceFeed(symbols, config=settings, **(feed or {}))
        self.events: list[Event] = []
        self.error: BaseException | None = None
        self._emit = emit
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> RunningFeed:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop()
        if kind is None:
            self.check()

    def stop(self) -> None:
        started_s = time.monotonic()
        self.feed.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()
        assert time.monotonic() - started_s < 5, "it did not stop in time"

    def until(self, condition: Callable[[], object], timeout_s: float = 30) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            assert self._thread.is_alive(), self.error
            assert time.monotonic() < deadline_s, f"it did not come true: {self.events[-20:]}"
            time.sleep(0.005)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in list(self.events) if isinstance(event, kind)]

    def ids(self, symbol: str = "BTCUSDT") -> list[int]:
        """In the order in which they were emitted."""
        return [trade.trade_id for trade in self.of(Trade) if trade.symbol == symbol]

    def filled(self, symbol: str = "BTCUSDT") -> list[int]:
        trades = self.of(Trade)
        return [t.trade_id for t in trades if t.symbol == symbol and t.backfilled]

    def notices(self, kind: NoticeKind) -> list[tuple[int, int]]:
        found = (notice for notice in self.of(Notice) if notice.kind is kind)
        return [(notice.first_id, notice.last_id) for notice in found]

    def why(self) -> str:
        """Why the first backfill failed."""
        failed = (n.detail for n in self.of(Notice) if n.kind is NoticeKind.BACKFILL_FAILED)
        return next(failed, "")

    def links(self) -> list[NoticeKind]:
        kinds = (NoticeKind.CONNECTED, NoticeKind.DISCONNECTED)
        return [notice.kind for notice in self.of(Notice) if notice.kind in kinds]

    def rejected(self) -> list[Rejected]:
        return self.of(Rejected)

    def quotes(self) -> list[Quote]:
        return self.of(Quote)

    def ticks(self) -> list[Tick]:
        return self.of(Tick)

    def check(self) -> None:
        """What must hold of all that was emitted, whatever the venue did."""
        assert self.error is None
        stamps = [event.received_ns for event in self.events]
        assert stamps == sorted(stamps)
        trades = self.of(Trade)
        keys = [(trade.symbol, trade.trade_id) for trade in trades]
        assert len(set(keys)) == len(keys), "a trade came twice"
        for trade in trades:
            assert trade.price_nano == to_nano(price(trade.trade_id))
            assert trade.event_ns == time_ns(trade.trade_id)
            assert trade.side == ("sell" if trade.trade_id % 2 == 0 else "buy")
        for symbol in {trade.symbol for trade in trades}:
            live = [t.trade_id for t in trades if t.symbol == symbol and not t.backfilled]
            assert live == sorted(live), "out of order"
        assert self.links() == [NoticeKind.CONNECTED, NoticeKind.DISCONNECTED] * (
            len(self.links()) // 2
        )

    def _run(self) -> None:
        try:
            self.feed.run(self._take)
        except Exception as error:  # noqa: BLE001 - looked at by the test
            self.error = error

    def _take(self, events: Sequence[Event]) -> None:
        self._emit(events)
        self.events.extend(events)
