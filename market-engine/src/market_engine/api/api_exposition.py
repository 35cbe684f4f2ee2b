"""The metrics of the API itself: streams, requests, and what its threads counted on the bus."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from market_engine.api.figures import DELAY_BOUNDS_S, Figures
from market_engine.api.parts import Parts
from market_engine.errors import RejectReason
from market_engine.events import SECOND_NS


class ApiCollector(Collector):
    """Of one application."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        """All families, each once."""
        parts, figures = self._parts, self._parts.figures
        yield from _counted(figures)
        yield _delays(figures)
        yield GaugeMetricFamily(
            "market_stream_clients", "Clients that read a stream now.", len(parts.clients)
        )
        yield GaugeMetricFamily(
            "market_stream_queued_bytes",
            "What waits for all clients of streams together, in bytes.",
            parts.clients.queued_bytes,
        )
        yield CounterMetricFamily(
            "market_stream_messages", "Messages handed to clients.", figures.messages
        )
        yield CounterMetricFamily(
            "market_stream_errors",
            "Unexpected errors that the threads of the streams survived.",
            figures.fanout_errors,
        )
        yield _bus(parts)
        yield GaugeMetricFamily(
            "market_replay_active",
            "1 while a replay is loaded.",
            float(parts.desk.view is not None),
        )


def _counted(figures: Figures) -> Iterator[Metric]:
    faults = CounterMetricFamily(
        "market_feed_faults",
        "Faults named; the symbol is empty for the feed as a whole.",
        labels=["symbol", "kind"],
    )
    for (symbol, kind), count in figures.faults.copy().items():
        faults.add_metric([symbol, kind], count)
    rejected = CounterMetricFamily(
        "market_frames_rejected", "Frames and rows that were not taken.", labels=["reason"]
    )
    for each in RejectReason:
        rejected.add_metric([each], figures.rejected[each])
    dropped = CounterMetricFamily(
        "market_stream_clients_dropped", "Clients that were dropped.", labels=["reason"]
    )
    for reason, count in figures.clients_dropped.copy().items():
        dropped.add_metric([reason], count)
    requests = CounterMetricFamily(
        "market_http_requests", "Requests answered.", labels=["route", "code_class"]
    )
    for (route, code_class), count in figures.requests.copy().items():
        requests.add_metric([route, code_class], count)
    yield from (faults, rejected, dropped, requests)


def _delays(figures: Figures) -> Metric:
    bounds = [*(f"{bound_s:g}" for bound_s in DELAY_BOUNDS_S), "+Inf"]
    buckets = list(zip(bounds, accumulate(figures.delays.counts), strict=True))
    return HistogramMetricFamily(
        "market_tick_to_stream_seconds",
        "From a live trade's receipt to its being handed to the first client, in seconds.",
        buckets=buckets,
        sum_value=figures.delays.sum_ns / SECOND_NS,
    )


def _bus(parts: Parts) -> Metric:
    dropped = CounterMetricFamily(
        "market_bus_dropped",
        "Messages of the bus that a reader lost because it was full.",
        labels=["group"],
    )
    dropped.add_metric(["writer"], parts.engine.subscription.dropped)
    for fanout in parts.fanouts:
        dropped.add_metric([f"stream-{fanout.source}"], fanout.dropped)
    return dropped
