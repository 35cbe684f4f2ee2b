"""The desk's publisher as the settings want it: opened by each process, and its last words."""

from __future__ import annotations

import sys

from trade_telemetry import Publisher, PublisherStats
from trading_app.formats import plural
from trading_app.settings import Settings


def open_publisher(settings: Settings, source: str) -> Publisher:
    """Open a publisher; fire and forget needs no journal, so then there is none."""
    ack_address = settings.zmq_ack_addr
    return Publisher(
        settings.zmq_addr,
        ack_address=ack_address,
        source=source,
        journal_dir=None if ack_address is None else settings.journal_dir,
    )


def close_publisher(publisher: Publisher) -> None:
    """Send what waits, for at most two seconds, and say on stderr what is left then."""
    stats = publisher.stats()
    said = farewell(stats, publisher.close())
    if said:
        print(f"trading-app: {said}", file=sys.stderr, flush=True)


def farewell(stats: PublisherStats, remaining: int) -> str | None:
    """Say what becomes of the trades that were not settled when the publisher was closed."""
    if remaining == 0:
        return None
    if not stats.tracked:
        return f"{plural(remaining, 'trade')} may not have been sent"
    if stats.durable:
        verb = "is" if remaining == 1 else "are"
        return f"{plural(remaining, 'trade')} {verb} kept in a file, for the next start to send"
    verb = "was" if remaining == 1 else "were"
    return f"{plural(remaining, 'trade')} {verb} in memory only, and may not be counted"
