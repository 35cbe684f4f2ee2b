"""The metrics of storage and of the recorder, for ``exposition``."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from market_engine.bus.base import Subscription
from market_engine.engine import Engine
from market_engine.feeds.recorder import Recorder
from market_engine.storage.retention import RetentionStats
from market_engine.storage.writer import WriterStats


def waiting(subscription: Subscription) -> int:
    """Messages that the bus holds for a reader; 0 for a bus that cannot say."""
    count = getattr(subscription, "waiting", 0)
    return count if isinstance(count, int) else 0


def store_families(engine: Engine) -> Iterator[Metric]:
    """Of the writer and of retention."""
    stats = engine.writer.stats()
    yield from _written(stats)
    yield GaugeMetricFamily(
        "market_store_waiting",
        "Messages that wait to be stored.",
        stats.pending + waiting(engine.subscription),
    )
    yield GaugeMetricFamily(
        "market_store_lag_seconds", "How long the oldest of the batch at hand waits.", stats.lag_s
    )
    yield from _retained(engine.retention.stats())


def recorder_families(recorder: Recorder | None) -> Iterator[Metric]:
    """Of the recorder; nothing where there is none."""
    if recorder is None:
        return
    stats = recorder.stats()
    yield CounterMetricFamily(
        "market_recorder_frames", "Frames that were recorded.", stats.frames_recorded
    )
    yield CounterMetricFamily(
        "market_recorder_lost", "Frames that were not recorded.", stats.frames_not_recorded
    )
    yield CounterMetricFamily(
        "market_recorder_bytes", "Bytes written to recordings.", stats.bytes_written
    )


def _written(stats: WriterStats) -> Iterator[Metric]:
    written = stats.written
    for name, text, count in (
        ("market_stored_trades", "Trades stored.", written.trades),
        ("market_stored_bars", "Closed bars stored, again ones included.", written.bars),
        ("market_stored_candles", "Candles of the venue stored.", written.candles),
        ("market_stored_faults", "Faults stored.", written.faults),
        ("market_store_duplicates", "Trades and faults stored before.", written.duplicates),
        ("market_store_rejected", "Messages that fit into no table.", stats.rejected),
        ("market_store_batches", "Batches stored, each in one transaction.", stats.batches),
        ("market_store_failures", "Tries to store that failed; none lost any.", stats.failures),
    ):
        yield CounterMetricFamily(name, text, count)


def _retained(stats: RetentionStats) -> Iterator[Metric]:
    disk = stats.disk
    yield GaugeMetricFamily(
        "market_store_bytes",
        "Size of the database and of its log on disk, in bytes.",
        disk.file_bytes + disk.wal_bytes,
    )
    yield GaugeMetricFamily(
        "market_store_free_bytes",
        "Bytes inside of the database that are free to be used again.",
        disk.free_bytes,
    )
    deleted = CounterMetricFamily(
        "market_retention_deleted", "Rows deleted because they were too old.", labels=["table"]
    )
    for table, count in stats.deleted.items():
        deleted.add_metric([table], count)
    yield deleted
    yield CounterMetricFamily(
        "market_retention_failures", "Tries to delete that failed.", stats.failures
    )
