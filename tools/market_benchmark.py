"""``make benchmark-market``: how fast a recorded day goes through the market, stage by stage.

A day of the simulated market is written once; then each stage runs over it in processor time of the
whole process (so that the writer's thread counts, too), beside a bare loop that only decodes the
same frames: the ratio says what the machine does not. Opening a file or a new database is not in
it.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from market_engine.events import Event
from market_engine.feeds.frames import FramesFile
from market_engine.feeds.replay import ReplayFeed
from market_engine.feeds.simulated_day import DAY_START_NS, write_day
from market_engine.feeds.simulated_market import MarketConfig
from market_engine.loading import load_files
from market_engine.pipeline import Pipeline
from market_engine.storage.database import Database

HOUR_NS = 3_600 * 10**9
Rate = float
"""Events a second of processor time."""


def bare(file: Path) -> Rate:
    """Read the lines and decode the JSON: what nobody can do without."""
    decode = msgspec.json.Decoder().decode
    count = 0
    frames = FramesFile(file).frames()
    began_s = time.process_time()
    for line in frames:
        if isinstance(line, tuple):
            decode(line[1])
            count += 1
    return count / (time.process_time() - began_s)


def parsed(file: Path) -> Rate:
    """The replay feed and the live parser, to nobody."""
    return _run(ReplayFeed(file), lambda _: None)


def analysed(file: Path) -> Rate:
    """And the pipeline: feed health and analytics."""
    feed = ReplayFeed(file)
    pipeline = Pipeline(feed.venue, feed.symbols)

    def take(events: Sequence[Event]) -> None:
        pipeline.handle(events)

    return _run(feed, take)


def stored(file: Path) -> Rate:
    """And the bus, the writer and SQLite: all of it, until the last row is committed."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/market.db")
        try:
            began_s = time.process_time()
            return load_files(database, [file]).events / (time.process_time() - began_s)
        finally:
            database.close()


def _run(feed: ReplayFeed, take: Callable[[Sequence[Event]], None]) -> Rate:
    began_s = time.process_time()
    feed.run(take)
    return feed.position().events / (time.process_time() - began_s)


STAGES: tuple[tuple[str, Callable[[Path], Rate]], ...] = (
    ("bare decode", bare),
    ("+ replay and parser", parsed),
    ("+ health and analytics", analysed),
    ("+ bus and SQLite", stored),
)


def measure(file: Path, rounds: int) -> None:
    """Print the stages, interleaved round by round, by their medians."""
    rates: dict[str, list[float]] = {name: [] for name, _ in STAGES}
    for number in range(rounds):
        for name, stage in STAGES:
            rates[name].append(stage(file))
        print(f"round {number + 1} of {rounds}", flush=True)
    least = statistics.median(rates["bare decode"])
    print(f"\n{'stage':<24} {'events/s a core':>16} {'from':>9} {'to':>9} {'of bare':>8}")
    for name, found in rates.items():
        middle = statistics.median(found)
        print(
            f"{name:<24} {middle:>16,.0f} {min(found):>9,.0f} {max(found):>9,.0f}"
            f" {middle / least:>8.2f}"
        )


def main() -> None:
    """Write the day, measure, and profile if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000, help="of the day")
    parser.add_argument("--hours", type=float, default=2.0, help="from 14:00 UTC, of that day")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="of analytics and storage")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "day.frames"
        config = MarketConfig(DAY_START_NS + 14 * HOUR_NS, seed=3, events_a_day=options.events)
        frames = write_day(file, config, for_ns=int(options.hours * HOUR_NS))
        print(f"{frames:,} frames of {options.hours:g} hours, {len(config.symbols)} symbols")
        if options.profile:
            profile = cProfile.Profile()
            profile.runcall(stored, file)
            pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        else:
            measure(file, options.rounds)


if __name__ == "__main__":
    main()
