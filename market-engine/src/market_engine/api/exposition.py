"""Every metric of the engine: names, labels and help texts, read when Prometheus asks.

Reads snapshots and changes nothing; what the API counts of itself is in ``api_exposition``. Labels
are from closed sets, symbols are bounded by the health's ``symbols_max``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from market_engine.analytics.window_metrics import WindowMetrics
from market_engine.api.paper_exposition import paper_families, telemetry_families
from market_engine.api.store_exposition import recorder_families, store_families
from market_engine.decimals import NANO
from market_engine.engine import Engine
from market_engine.events import SECOND_NS
from market_engine.health.config import LAG_BOUNDS_S
from market_engine.health.faults import SymbolHealthView, SymbolState
from market_engine.pipeline import Pipeline
from market_engine.view import MarketView

_HealthCounter = tuple[str, str, Callable[[SymbolHealthView], int | None]]
_COUNTERS: Final[tuple[_HealthCounter, ...]] = (
    ("market_trades", "Trades taken, backfilled ones included.", lambda h: h.trades),
    (
        "market_feed_id_gaps",
        "Jumps in the ids of trades; absent where the venue gives none.",
        lambda h: h.id_gaps,
    ),
    (
        "market_feed_duplicates",
        "Trades that came before; absent where the venue gives no ids.",
        lambda h: h.duplicates,
    ),
    (
        "market_feed_ids_given_up",
        "Missing trades that are remembered no more; absent where the venue gives no ids.",
        lambda h: h.ids_given_up,
    ),
    (
        "market_feed_time_gaps",
        "Times without trades, far longer than usual, while ids go on.",
        lambda h: h.time_gaps,
    ),
    ("market_feed_late", "Trades older than the newest by more than a second.", lambda h: h.late),
    (
        "market_feed_out_of_order",
        "Trades older than the newest by up to a second.",
        lambda h: h.out_of_order,
    ),
    ("market_feed_malformed", "Frames that could not be used.", lambda h: h.malformed),
    (
        "market_feed_backfilled",
        "Trades that were fetched afterwards.",
        lambda h: h.backfilled,
    ),
)
_FEED_STATS: Final = (
    ("attempts", "market_feed_connection_attempts", "Times that the feed tried to connect."),
    ("connections", "market_feed_connects", "Connections that were made."),
    ("rotations", "market_feed_rotations", "Connections replaced before they ended."),
    ("frames", "market_feed_frames", "Frames received."),
    ("overlap_dropped", "market_feed_overlap", "Trades given by two connections, taken once."),
    ("stalls", "market_feed_stalls", "Times that reading stopped: too many events waited."),
)
_WINDOWS: Final = {60: "1m", 300: "5m", 3_600: "1h"}


@dataclass(frozen=True, slots=True)
class Build:
    """What runs: the label values of market_build_info."""

    version: str
    commit: str
    python: str


def make_registry(engine: Engine, build: Build) -> CollectorRegistry:
    """A registry of its own with everything that the engine exposes."""
    registry = CollectorRegistry()
    registry.register(EngineCollector(engine, build))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class EngineCollector(Collector):
    """Of an engine that was started."""

    def __init__(self, engine: Engine, build: Build) -> None:
        self._engine = engine
        self._build = build

    def collect(self) -> Iterator[Metric]:
        """All families, each once."""
        engine = self._engine
        yield from _health_families(engine.view.health())
        yield from _view_families(engine.view)
        yield from _left_out_families(engine.pipeline)
        yield from _feed_families(engine)
        yield from store_families(engine)
        yield from recorder_families(engine.recorder)
        yield from paper_families(engine.paper)
        yield from telemetry_families(engine.telemetry)
        build = self._build
        labels = {"version": build.version, "commit": build.commit, "python": build.python}
        yield InfoMetricFamily("market_build", "What runs.", labels)


def _health_families(health: Iterable[SymbolHealthView]) -> Iterator[Metric]:
    views = tuple(health)
    for name, text, read in _COUNTERS:
        counter = CounterMetricFamily(name, text, labels=["symbol"])
        for view in views:
            if (count := read(view)) is not None:
                counter.add_metric([view.symbol], count)
        yield counter
    missing = GaugeMetricFamily(
        "market_feed_ids_missing",
        "Trades that are missing now, by id; absent where the venue gives none.",
        labels=["symbol"],
    )
    state = GaugeMetricFamily(
        "market_feed_state", "1 for the state that a symbol is in.", labels=["symbol", "state"]
    )
    for view in views:
        if view.ids_missing is not None:
            missing.add_metric([view.symbol], view.ids_missing)
        for each in SymbolState:
            state.add_metric([view.symbol, each], float(view.state is each))
    yield missing
    yield state
    yield _lag(views)


def _lag(views: Iterable[SymbolHealthView]) -> Metric:
    lag = HistogramMetricFamily(
        "market_feed_lag_seconds",
        "From a trade to its receipt, in seconds; backfilled ones left out.",
        labels=["symbol"],
    )
    bounds = [*(f"{bound_s:g}" for bound_s in LAG_BOUNDS_S), "+Inf"]
    for view in views:
        buckets = list(zip(bounds, accumulate(view.lag_counts), strict=True))
        lag.add_metric([view.symbol], buckets, view.lag_sum_ns / SECOND_NS)
    return lag


def _view_families(view: MarketView) -> Iterator[Metric]:
    last = GaugeMetricFamily(
        "market_last_trade_timestamp_seconds",
        "When the newest trade happened, in unix seconds; 0 before the first.",
        labels=["symbol"],
    )
    price = GaugeMetricFamily(
        "market_price", "Price of the newest trade, in the symbol's currency.", labels=["symbol"]
    )
    volatility = GaugeMetricFamily(
        "market_volatility_ratio",
        "Realised volatility of a year of 31,536,000 s; absent while it is not known.",
        labels=["symbol", "window"],
    )
    vwap = GaugeMetricFamily(
        "market_vwap",
        "Volume-weighted price, in the symbol's currency; absent without trades.",
        labels=["symbol", "window"],
    )
    for name in view.symbols():
        symbol = view.symbol(name)
        if symbol is None:
            continue
        trade = symbol.trade
        last.add_metric([name], trade.event_ns / SECOND_NS if trade else 0.0)
        if trade is not None:
            price.add_metric([name], trade.price_nano / NANO)
        for window in symbol.metrics.windows if symbol.metrics else ():
            _add_window(volatility, vwap, name, window)
    yield from (last, price, volatility, vwap)


def _left_out_families(pipeline: Pipeline) -> Iterator[Metric]:
    late = CounterMetricFamily(
        "market_late_for_bar",
        "Trades that came after their bar had closed: in the windows, not in the bar.",
        labels=["symbol"],
    )
    too_late = CounterMetricFamily(
        "market_late_for_windows",
        "Trades older than the longest window when they came: stored, and in no window.",
        labels=["symbol"],
    )
    for name, (for_bar, for_windows) in sorted(pipeline.late_counts().items()):
        late.add_metric([name], for_bar)
        too_late.add_metric([name], for_windows)
    yield from (late, too_late)
    yield CounterMetricFamily(
        "market_feed_unwatched",
        "Events of symbols beyond the most that are watched: left out.",
        pipeline.health.unwatched,
    )
    yield CounterMetricFamily(
        "market_feed_malformed_unknown",
        "Frames that could not be used and did not say whose they were.",
        pipeline.health.malformed,
    )


def _add_window(
    volatility: GaugeMetricFamily, vwap: GaugeMetricFamily, symbol: str, window: WindowMetrics
) -> None:
    label = _WINDOWS.get(window.window_s)
    if label == "1h" and window.volatility is not None:
        volatility.add_metric([symbol, label], window.volatility)
    elif label == "5m" and window.vwap is not None:
        vwap.add_metric([symbol, label], window.vwap)


def _feed_families(engine: Engine) -> Iterator[Metric]:
    status = engine.status()
    connected = GaugeMetricFamily(
        "market_feed_connected",
        "1 while the feed is connected, 0 while it is not; absent where that is not known.",
    )
    if status.connected is not None:
        connected.add_metric([], float(status.connected))
    yield connected
    yield GaugeMetricFamily("market_feed_running", "1 while the feed runs.", float(status.running))
    yield GaugeMetricFamily(
        "market_schedule_open",
        "1 while data is taken by the schedule.",
        float(status.schedule_open),
    )
    yield CounterMetricFamily(
        "market_events", "What followed from the feed's events.", engine.view.events
    )
    yield CounterMetricFamily(
        "market_pipeline_busy_seconds",
        "Seconds spent on the feed's events; its rate is the load, from 0 to 1.",
        status.busy_s,
    )
    read_stats = getattr(engine.feed, "stats", None)
    stats = read_stats() if callable(read_stats) else None
    for field, name, text in _FEED_STATS:
        count = getattr(stats, field, None)
        if isinstance(count, int):
            yield CounterMetricFamily(name, text, count)
