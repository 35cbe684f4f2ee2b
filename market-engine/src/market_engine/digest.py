"""The SHA-256 of everything that follows from a recording: the same in every process.

By symbol, because a partitioned bus keeps order only per key; then over all of them by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from market_engine.bar_rows import row_of
from market_engine.events import Event
from market_engine.feeds.replay import ReplayFeed
from market_engine.pipeline import BarOutput, MetricsOutput, Output, Pipeline


def digest_of(file: Path, speed: float | None = None) -> tuple[str, int]:
    """Of a replay's outputs, and how many there are; raises FileError."""
    feed = ReplayFeed(file, speed)
    pipeline = Pipeline(feed.venue, feed.symbols)
    hashes: dict[str, hashlib._Hash] = {}
    encoder = msgspec.msgpack.Encoder()
    count = 0

    def take(events: Sequence[Event]) -> None:
        nonlocal count
        for output in pipeline.handle(events):
            count += 1
            symbol = _symbol(output)
            found = hashes.get(symbol)
            if found is None:
                found = hashes[symbol] = hashlib.sha256()
            told = row_of(output) if isinstance(output, BarOutput) else output
            found.update(encoder.encode([type(output).__name__, told]))

    feed.run(take)
    whole = hashlib.sha256()
    for symbol in sorted(hashes):
        whole.update(f"{symbol} {hashes[symbol].hexdigest()}\n".encode())
    return whole.hexdigest(), count


def _symbol(output: Output) -> str:
    if isinstance(output, MetricsOutput):
        return output.metrics.symbol
    if isinstance(output, BarOutput):
        return output.closed.metrics.symbol
    return output.symbol or ""
