"""Ways that count in this process: prometheus-client and OpenTelemetry's SDK.

Their packages may be missing, so they are imported when a way is opened.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from itertools import product
from typing import TYPE_CHECKING, Final

from trading_app.benchmark.ways import SIDES, SYMBOLS, Counter, Way

if TYPE_CHECKING:
    import prometheus_client
    from opentelemetry.sdk.metrics import export

LABELS: Final = ("side", "symbol")


class _Prometheus:
    """The three metrics, in a registry that has no others."""

    def __init__(self, registry: prometheus_client.CollectorRegistry | None) -> None:
        import prometheus_client as client

        self.registry = registry or client.CollectorRegistry()
        self.trades = client.Counter("trades", "Trades.", LABELS, registry=self.registry)
        self.volume = client.Counter("volume", "Quantity.", LABELS, registry=self.registry)
        self.last = client.Gauge("last_trade_ts_seconds", "When.", registry=self.registry)

    def children(self, side: str, symbol: str) -> tuple[prometheus_client.Counter, ...]:
        return self.trades.labels(side, symbol), self.volume.labels(side, symbol)

    def counted(self) -> int:
        """What a scrape would show."""
        samples = (sample for family in self.registry.collect() for sample in family.samples)
        return int(sum(each.value for each in samples if each.name == "trades_total"))


@contextmanager
def prometheus_cached(
    registry: prometheus_client.CollectorRegistry | None = None,
) -> Iterator[Counter]:
    """With the children looked up beforehand, and kept."""
    metrics = _Prometheus(registry)
    cached = {pair: metrics.children(*pair) for pair in product(SIDES, SYMBOLS)}
    last = metrics.last

    def count(side: str, qty: float, symbol: str, _price: float) -> None:
        trades, volume = cached[side, symbol]
        trades.inc()
        volume.inc(qty)
        last.set(time.time())

    yield Counter(count, metrics.counted)


@contextmanager
def prometheus_labels(
    registry: prometheus_client.CollectorRegistry | None = None,
) -> Iterator[Counter]:
    """With ``labels()`` for each trade, as most programs have it."""
    metrics = _Prometheus(registry)
    trades, volume, last = metrics.trades, metrics.volume, metrics.last

    def count(side: str, qty: float, symbol: str, _price: float) -> None:
        trades.labels(side, symbol).inc()
        volume.labels(side, symbol).inc(qty)
        last.set(time.time())

    yield Counter(count, metrics.counted)


def _exported(data: export.MetricsData) -> int:
    """How many trades an export tells of."""
    metrics = (
        metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )
    return sum(
        int(getattr(point, "value", 0))
        for metric in metrics
        if metric.name == "trades"
        for point in metric.data.data_points
    )


@contextmanager
def opentelemetry(exports: list[export.MetricsData] | None = None) -> Iterator[Counter]:
    """Counters and a gauge of the metrics API, its periodic reader with the interval as shipped.

    The latest of the ``exports`` stays in memory, and nothing is sent.
    """
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import (
        ConsoleMetricExporter,
        PeriodicExportingMetricReader,
    )

    latest = [] if exports is None else exports

    def keep(data: export.MetricsData) -> str:
        latest[:] = [data]
        return ""  # to print

    exporter = ConsoleMetricExporter(out=StringIO(), formatter=keep)
    provider = MeterProvider([PeriodicExportingMetricReader(exporter)])
    meter = provider.get_meter("benchmark")
    trades, volume = meter.create_counter("trades"), meter.create_counter("volume")
    last = meter.create_gauge("last_trade_ts_seconds")

    def count(side: str, qty: float, symbol: str, _price: float) -> None:
        attributes = {"side": side, "symbol": symbol}
        trades.add(1, attributes)
        volume.add(qty, attributes)
        last.set(time.time())

    def counted() -> int:
        provider.force_flush()
        return sum(map(_exported, latest))

    try:
        yield Counter(count, counted)
    finally:
        provider.shutdown()


IN_PROCESS: Final = (
    Way(
        "prometheus-cached",
        "prometheus-client, children cached",
        "prometheus-client",
        "Three metrics in this process: two counters whose children were looked up beforehand, and "
        "a gauge. Nothing leaves the process: what was not scraped dies with it, and the next one "
        "begins at 0.",
        prometheus_cached,
    ),
    Way(
        "prometheus-labels",
        "prometheus-client, labels() each time",
        "prometheus-client",
        "The same three metrics, their children looked up by labels() for each trade. Nothing "
        "leaves the process: what was not scraped dies with it, and the next one begins at 0.",
        prometheus_labels,
    ),
    Way(
        "opentelemetry",
        "OpenTelemetry SDK",
        "opentelemetry-sdk",
        "Two counters and a gauge of the metrics API, added up in this process; a thread exports "
        "them every 60 s, here into memory. What was not exported dies with the process, and the "
        "next one begins at 0.",
        opentelemetry,
    ),
)
