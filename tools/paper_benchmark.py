"""``make benchmark-paper``: how soon an order follows a tick; what the desk costs a replay.

Part one is in the way of a strategy in the engine: a frame is parsed, goes through the pipeline and
the desk, and an order is submitted on it; stored, and so accepted, when the clock stops. Part two
plays a recorded stretch of the simulated market through everything, with orders resting and orders
that fill, and counts the processor time of the whole process.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import tempfile
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import cast

from market_engine.events import Event, Quote, Trade
from market_engine.feeds.binance_parser import BinanceParser
from market_engine.feeds.frames import FramesFile
from market_engine.feeds.replay import ReplayFeed
from market_engine.feeds.simulated_day import DAY_START_NS, write_day
from market_engine.feeds.simulated_market import MarketConfig
from market_engine.paper.desk import PaperDesk
from market_engine.paper.model import Limits, NewOrder, OrderType, Portfolio, Record
from market_engine.paper.performance import performance
from market_engine.paper.store import DeskStore
from market_engine.pipeline import Pipeline
from market_engine.storage.database import Database

HOUR_NS = 3_600 * 10**9
SYMBOLS = ("BTCUSDT", "ETHUSDT")
QTY_NANO = 1_000_000
LIMITS = Limits(None, None, None, None, None, None)
ORDER_EVERY = 200
RESTING = 100


def portfolio() -> Portfolio:
    """A large one without limits: risk is asked all the same."""
    return Portfolio("main", "USDT", Decimal(10**9), DAY_START_NS, limits=LIMITS)


class TimedStore(DeskStore):
    """Knows when it stored the first thing since somebody asked."""

    stored_s = 0.0

    def write(self, records: Sequence[Record]) -> None:
        """As every store does."""
        super().write(records)
        self.stored_s = self.stored_s or time.perf_counter()


def made_desk(folder: Path) -> PaperDesk:
    """On a database of its own."""
    database = Database(f"sqlite:///{folder}/desk.db")
    desk = PaperDesk(TimedStore(database), dict.fromkeys(SYMBOLS, "crypto"))
    desk.create(portfolio())
    return desk


def order(
    number: int, symbol: str, *, limit_nano: int | None = None, side: str = "buy"
) -> NewOrder:
    """At the market, or resting at a limit."""
    kind = OrderType.MARKET if limit_nano is None else OrderType.LIMIT
    return NewOrder("main", f"b-{number}", symbol, side, kind, QTY_NANO, limit_nano)  # type: ignore[arg-type]


def tick_to_order(file: Path, count: int) -> tuple[list[float], list[float]]:
    """Seconds from a frame in hand to its order stored, and to the answer with what was filled.

    One order at the market for each tenth frame.
    """
    parser, pipeline = BinanceParser("simulated"), Pipeline("simulated", SYMBOLS)
    accepted_s: list[float] = []
    answered_s: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        desk = made_desk(Path(folder))
        store = cast("TimedStore", desk.store)
        for place, item in enumerate(FramesFile(file).frames()):
            if not isinstance(item, tuple):
                continue
            began_s = time.perf_counter()
            outputs = pipeline.handle(parser.parse(item[1], item[0]))
            desk.take(outputs, pipeline.received_ns)
            if place >= 1_000 and place % 10 == 0:
                side = "buy" if place % 20 else "sell"
                store.stored_s = 0.0
                desk.submit(order(place, SYMBOLS[place % 2], side=side))
                answered_s.append(time.perf_counter() - began_s)
                accepted_s.append(store.stored_s - began_s)
                if len(accepted_s) == count:
                    break
    return accepted_s, answered_s


def replayed(file: Path) -> tuple[int, int]:
    """Everything: parser, analytics, orders resting and filling, ledger, statistics."""
    feed = ReplayFeed(file)
    pipeline = Pipeline(feed.venue, feed.symbols)
    seen = 0
    with tempfile.TemporaryDirectory() as folder:
        desk = made_desk(Path(folder))
        rested = False

        def take(events: Sequence[Event]) -> None:
            nonlocal seen, rested
            outputs = pipeline.handle(events)
            desk.take(outputs, pipeline.received_ns)
            before, seen = seen, seen + len(events)
            if not rested and seen > 1_000:
                rested = True
                rest(desk, outputs)
            for number in range(before // ORDER_EVERY, seen // ORDER_EVERY):
                side = "buy" if number % 2 else "sell"
                desk.submit(order(10_000 + number, SYMBOLS[number // 2 % 2], side=side))

        feed.run(take)
        fills = desk.portfolio("main").fills
        snapshots = desk.store.snapshots("main", 0, 10**6)
        equities = [(s.at_ns, s.equity) for s in snapshots if s.equity is not None]
        performance(portfolio(), equities, snapshots[-1].max_drawdown, desk.trips("main"))
    return feed.position().events, fills


def rest(desk: PaperDesk, outputs: Sequence[object]) -> None:
    """Many limits on both sides, a tenth of a percent to five percent away."""
    for symbol in SYMBOLS:
        newest = next(
            each
            for each in reversed(outputs)
            if isinstance(each, Trade | Quote) and each.symbol == symbol
        )
        price_nano = newest.price_nano if isinstance(newest, Trade) else newest.bid_nano
        for step in range(RESTING // 4):
            away = price_nano * (step + 1) // 500 // 10**7 * 10**7
            for side, limit_nano in (("buy", price_nano - away), ("sell", price_nano + away)):
                number = 1_000 + 2 * step + (side == "sell") + (symbol == SYMBOLS[0]) * RESTING
                desk.submit(order(number, symbol, limit_nano=limit_nano, side=side))


def main() -> None:
    """Write the market, measure, and profile if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=5_000)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="of the replay")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "day.frames"
        config = MarketConfig(
            DAY_START_NS + 14 * HOUR_NS, seed=3, symbols=SYMBOLS, events_a_day=2_000_000
        )
        frames = write_day(file, config, for_ns=int(options.hours * HOUR_NS))
        print(f"{frames:,} frames of {options.hours:g} hours, {len(SYMBOLS)} symbols")
        if options.profile:
            profile = cProfile.Profile()
            profile.runcall(replayed, file)
            pstats.Stats(profile).sort_stats("tottime").print_stats(40)
            return
        for _ in range(options.rounds):
            both = tick_to_order(file, options.orders)
            for name, taken in zip(("accepted", "answered with its fills"), both, strict=True):
                taken.sort()
                p50, p99 = taken[len(taken) // 2], taken[len(taken) * 99 // 100]
                print(f"tick to order {name}: p50 {p50 * 1e6:.0f} µs, p99 {p99 * 1e6:.0f} µs")
        rates = []
        for _ in range(options.rounds):
            began_s = time.process_time()
            events, fills = replayed(file)
            rates.append(events / (time.process_time() - began_s))
            print(f"replay: {events:,} events, {fills:,} fills, {rates[-1]:,.0f} events/s a core")
        print(f"median {statistics.median(rates):,.0f}, {min(rates):,.0f} to {max(rates):,.0f}")


if __name__ == "__main__":
    main()
