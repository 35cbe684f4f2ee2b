"""A simulated day as a ``.frames`` file. It must not know who replays it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from market_engine.feeds.frames import frame_line, header_line
from market_engine.feeds.simulated_faults import FaultLine, Injection, Sent
from market_engine.feeds.simulated_market import DAY_NS, MarketConfig, SimulatedMarket

DAY_START_NS: Final = 1_790_035_200 * 10**9
"""2026-09-22, a Tuesday, 00:00 UTC: where a file begins that is told nothing else."""
Progress = Callable[[int, int], None]
"""Told the frames written so far, and about how many there will be."""


def write_day(
    path: Path,
    config: MarketConfig | None = None,
    faults: Sequence[Injection] = (),
    progress: Progress | None = None,
    for_ns: int = DAY_NS,
) -> int:
    """Write a day, or the first ``for_ns`` of it, and say how many frames it has.

    A file that is there already is replaced. Raises OSError where it cannot be written, and
    SettingsError as the market and the faults do.
    """
    config = config or MarketConfig(DAY_START_NS)
    market = SimulatedMarket(config)
    expected, written = round(config.events_a_day * for_ns / DAY_NS), 0
    names = "/".join(f"{symbol.lower()}@aggTrade" for symbol in market.symbols)
    with path.open("wb", buffering=1 << 20) as file:
        file.write(header_line(f"simulated://seed-{config.seed}/stream?streams={names}",
                               config.start_ns))  # fmt: skip
        for batch in faulty(market, faults, config.start_ns + for_ns):
            file.writelines(frame_line(received_ns, frame) for received_ns, frame in batch)
            written += len(batch)
            if progress is not None:
                progress(written, expected)
    return written


def faulty(
    market: SimulatedMarket, faults: Sequence[Injection], until_ns: int
) -> Iterator[list[Sent]]:
    """A market's frames with faults in them, stretch by stretch, from its beginning to a time."""
    line = FaultLine(market.symbols, market.encode)
    for fault in faults:
        line.inject(fault)
    for end_ns, rows in market.rows(market.config.start_ns):
        last = end_ns >= until_ns
        yield line.pass_on([row for row in rows if row[0] < until_ns] if last else rows, end_ns)
        if last:
            return
