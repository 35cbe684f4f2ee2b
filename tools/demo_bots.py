"""The demo's bots: each is a program of its own that publishes made-up trades.

``python tools/demo_bots.py maker`` trades until its standard input ends (Ctrl-D), and says twice a
second, as a line of JSON, what it has published: the demo holds that against what was counted.
"""

from __future__ import annotations

import argparse
import json
import math
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Final, NamedTuple

from trade_telemetry import Publisher

LOTS_PER_UNIT: Final = 10_000
MEDIAN_VALUE: Final = 2_000.0
"""What half of the trades are worth less than, in the quote currency."""
VALUE_SPREAD: Final = 1.1
REPORT_INTERVAL_S: Final = 0.5
ORDER_SLICES: Final = 40
Gaps = Iterator[float]


class Instrument(NamedTuple):
    """What is traded; ``volatility`` is the standard deviation of a second's log return."""

    price: float
    decimals: int
    volatility: float


MARKET: Final = {
    "BTCUSDT": Instrument(64_000.0, 1, 0.000_10),
    "ETHUSDT": Instrument(3_400.0, 2, 0.000_13),
    "SOLUSDT": Instrument(150.0, 2, 0.000_20),
    "XRPUSDT": Instrument(0.62, 4, 0.000_25),
    "DOGEUSDT": Instrument(0.14, 5, 0.000_40),
}


class Walk:
    """A random walk of a price. Every bot with the same seed sees the same one."""

    def __init__(self, symbol: str, seed: int) -> None:
        self._instrument = MARKET[symbol]
        self._chance = Random(f"{seed}/{symbol}")  # noqa: S311 - chance, not secrets
        self._price = self._instrument.price
        self._second = 0

    def at(self, second: int) -> float:
        """The price in a second since the demo began; seconds never go back."""
        while self._second < second:
            self._second += 1
            self._price *= math.exp(self._chance.gauss(0, self._instrument.volatility))
        return round(self._price, self._instrument.decimals)


def steadily(rate: float, chance: Random) -> Gaps:
    """Seconds from trade to trade, one as likely at any moment as at another."""
    while True:
        yield chance.expovariate(rate)


def in_bursts(rate: float, chance: Random) -> Gaps:
    """Mostly calm, and for a tenth of the time six times the average rate."""
    while True:
        for pace, mean_s in ((4 / 9, 18.0), (6.0, 2.0)):
            left_s = chance.expovariate(1 / mean_s)
            while left_s > 0:
                gap_s = chance.expovariate(rate * pace)
                left_s -= gap_s
                yield gap_s


def rarely(_: float, chance: Random) -> Gaps:
    """One trade in 20 s, whatever the rate of the demo is."""
    return steadily(1 / 20, chance)


def in_slices(_: float, __: Random) -> Gaps:
    """An order in many slices at once: the first after 4 s, then one every three minutes."""
    gap_s = 4.0
    while True:
        yield gap_s
        yield from [0.0] * (ORDER_SLICES - 1)
        gap_s = 180.0


@dataclass(frozen=True, slots=True)
class Bot:
    """How a bot trades: its ``share`` of the demo's rate, and the gaps between its trades."""

    shows: str
    symbols: tuple[str, ...]
    gaps: Callable[[float, Random], Gaps]
    share: float = 0.0
    capacity: int = 65_536
    restarts: bool = False

    def lives_s(self, chance: Random) -> Iterator[float]:
        """How long each of its publishers lives; the first restart comes early, to be seen."""
        if not self.restarts:
            yield math.inf
        yield 5.0
        while True:
            yield chance.uniform(30, 90)


BOTS: Final = {
    "maker": Bot("steady, most of the trades", ("BTCUSDT", "ETHUSDT"), steadily, share=0.55),
    "momentum": Bot("calm, then a burst", ("SOLUSDT", "BTCUSDT"), in_bursts, share=0.3),
    "restless": Bot("ends and begins again", ("XRPUSDT",), steadily, share=0.15, restarts=True),
    "patient": Bot("trades three times a minute", ("ETHUSDT",), rarely),
    "cramped": Bot(
        f"{ORDER_SLICES} at once into a ring of 16, every 3 min: TradesRefused fires, and clears",
        ("DOGEUSDT",),
        in_slices,
        capacity=16,
    ),
}


@dataclass(slots=True)
class Tally:
    """What a bot did, counted by itself: trades that were accepted, and those that were not."""

    trades: dict[str, int] = field(default_factory=lambda: {"buy": 0, "sell": 0})
    lots: dict[str, int] = field(default_factory=lambda: {"buy": 0, "sell": 0})
    refused: int = 0
    lives: int = 0

    @property
    def published(self) -> int:
        """Trades that were accepted, of both sides."""
        return sum(self.trades.values())

    def add(self, side: str, lots: int, *, accepted: bool) -> None:
        """Count one trade."""
        self.trades[side] += accepted
        self.lots[side] += lots if accepted else 0
        self.refused += not accepted


class Trader:
    """One bot at work, until standard input ends: so does the bot of a demo that was killed."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self._bot = BOTS[name]
        self._source = f"demo-{name}"
        self._options = options
        self._chance = Random(f"{options.seed}/{name}")  # noqa: S311 - chance, not secrets
        self._walks = {symbol: Walk(symbol, options.seed) for symbol in self._bot.symbols}
        self._began_s = self._report_due_s = time.monotonic()
        self._tally = Tally()

    def trade(self) -> None:
        """Live and trade; every life has a publisher of its own."""
        for life_s in self._bot.lives_s(self._chance):
            with Publisher(
                self._options.address, source=self._source, capacity=self._bot.capacity
            ) as publisher:
                self._tally.lives += 1
                is_ending = self._trade_with(publisher, time.monotonic() + life_s)
            if is_ending or self._ends_before(time.monotonic() + 3):
                break
        self._report()

    def _trade_with(self, publisher: Publisher, end_s: float) -> bool:
        """Trade until the life or the demo ends; whether it is the demo."""
        due_s = time.monotonic()
        for gap_s in self._bot.gaps(self._options.rate * self._bot.share, self._chance):
            due_s += gap_s
            if self._ends_before(min(due_s, end_s)):
                return True
            if due_s > end_s:
                break
            self._publish(publisher)
        return False

    def _publish(self, publisher: Publisher) -> None:
        symbol = self._chance.choice(self._bot.symbols)
        price = self._walks[symbol].at(int(time.monotonic() - self._began_s))
        value = MEDIAN_VALUE * self._chance.lognormvariate(0, VALUE_SPREAD)
        lots = max(1, round(value / price * LOTS_PER_UNIT))
        side = "buy" if self._chance.random() < 0.53 else "sell"
        seq = publisher.publish(side, lots / LOTS_PER_UNIT, symbol=symbol, price=price)
        self._tally.add(side, lots, accepted=seq > 0)

    def _ends_before(self, due_s: float) -> bool:
        """Wait, and say how it goes twice a second; whether standard input ends before."""
        while (now_s := time.monotonic()) < due_s or now_s >= self._report_due_s:
            if now_s >= self._report_due_s:
                self._report_due_s = now_s + REPORT_INTERVAL_S
                self._report()
            wait_s = max(0.0, min(due_s, self._report_due_s) - now_s)
            if select.select([sys.stdin], [], [], wait_s)[0] and not sys.stdin.read(1):
                return True
        return False

    def _report(self) -> None:
        print(json.dumps(asdict(self._tally)), flush=True)


def main() -> int:
    """Trade as one bot until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=BOTS)
    parser.add_argument("--address", default="tcp://127.0.0.1:5555", help="the sidecar's socket")
    parser.add_argument("--rate", type=float, default=20.0, help="trades a second of all bots")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody hears the bot of a killed demo
    Trader(options.name, options).trade()
    return 0


if __name__ == "__main__":
    sys.exit(main())
