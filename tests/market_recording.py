"""A recording that the tests write themselves, and in plain Python what must follow from it.

65 minutes of two symbols at a trade a second. BTCUSDT has a gap of three trades of which one comes
after all, two repeats, one late trade and one out of order, and a price that is no number. ETHUSDT
falls silent a minute before the end. Between them are frames that are no JSON.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from market_engine.feeds.frames import frame_line, header_line

SECOND_NS = 10**9
BEGIN_NS = 1_790_000_000 * SECOND_NS
LENGTH_S = 3_900
SILENT_S = 60
LAG_NS = 20_000_000
SKEW_NS = 8 * SECOND_NS
BOUNDS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, math.inf)
YEAR_S = 365 * 86_400


@dataclass(frozen=True)
class Traded:
    """A trade that counts."""

    symbol: str
    event_ns: int
    received_ns: int
    price: float
    qty: float


@dataclass
class Account:
    """What the engine must make of the recording."""

    trades: list[Traded] = field(default_factory=list)
    """In the order in which they came."""
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    counts: dict[str, dict[str, float]] = field(default_factory=dict)
    """By metric and symbol, of what is counted for each symbol."""

    def of(self, symbol: str, before_ns: int = 2**63) -> list[Traded]:
        """Those that were received before a moment, as they came."""
        return [
            each for each in self.trades if each.symbol == symbol and each.received_ns < before_ns
        ]

    def lags(self, symbol: str) -> dict[str, float]:
        """The cumulative buckets of the histogram."""
        lags_s = [(each.received_ns - each.event_ns) / SECOND_NS for each in self.of(symbol)]
        return {
            "+Inf" if bound == math.inf else f"{bound:g}": sum(lag <= bound for lag in lags_s)
            for bound in BOUNDS_S
        }

    def vwap(self, symbol: str, as_of_ns: int, window_s: int) -> float:
        """Σpq/Σq over (moment − window, moment], of what had come by then."""
        since_ns = as_of_ns - window_s * SECOND_NS
        inside = [each for each in self.of(symbol, as_of_ns) if since_ns < each.event_ns]
        volume = math.fsum(each.qty for each in inside)
        return math.fsum(each.price * each.qty for each in inside) / volume

    def volatility(self, symbol: str, as_of_ns: int, window_s: int) -> float:
        """√(Σx²·year/n) over the whole seconds of the window; the last price is carried."""
        ordered = sorted(self.of(symbol, as_of_ns), key=lambda each: each.event_ns)
        until_s = as_of_ns // SECOND_NS
        known: list[float] = []
        index = 0
        for second in range(until_s - window_s, until_s + 1):
            while index < len(ordered) and ordered[index].event_ns <= second * SECOND_NS:
                index += 1
            known.append(ordered[index - 1].price)
        squares = [math.log(b / a) ** 2 for a, b in itertools.pairwise(known)]
        return math.sqrt(math.fsum(squares) * YEAR_S / window_s)


class Recording:
    """Frames in the order of their receipt, and the account of them."""

    def __init__(self) -> None:
        self.account = Account()
        self._frames: list[tuple[int, bytes]] = []

    def trade(self, symbol: str, trade_id: int, at_ns: int, lag_ns: int = LAG_NS) -> None:
        """A trade received then; one that was there already is no other trade."""
        price, qty = f"{100 + trade_id * 7 % 40 / 4:.2f}", f"{0.5 + trade_id % 3 / 4:.2f}"
        event_ns = at_ns - lag_ns
        self._frames.append((at_ns, _frame(symbol, trade_id, event_ns, price, qty)))
        self.account.trades.append(Traded(symbol, event_ns, at_ns, float(price), float(qty)))

    def repeat(self, symbol: str, trade_id: int, at_ns: int) -> None:
        """A trade that came before."""
        self.trade(symbol, trade_id, at_ns)
        self.account.trades.pop()
        self.account.faults[symbol, "duplicate"] += 1

    def rubbish(self, at_ns: int, frame: bytes, reason: str, symbol: str | None = "") -> None:
        """A frame that cannot be used; ``symbol`` is None where that is no fault."""
        self._frames.append((at_ns, frame))
        self.account.rejected[reason] += 1
        if symbol is not None:
            self.account.faults[symbol, "malformed"] += 1

    def write(self, path: Path) -> Path:
        symbols = dict.fromkeys(each.symbol.lower() for each in self.account.trades)
        streams = "/".join(f"{symbol}@aggTrade" for symbol in symbols)
        lines = [header_line(f"wss://venue.test/stream?streams={streams}", BEGIN_NS)]
        lines += [frame_line(*each) for each in self._frames]
        path.write_bytes(b"".join(lines))
        return path


def _frame(symbol: str, trade_id: int, event_ns: int, price: str, qty: str) -> bytes:
    event_ms = event_ns // 10**6
    return (
        f'{{"stream":"{symbol.lower()}@aggTrade","data":{{"e":"aggTrade","E":{event_ms},'
        f'"s":"{symbol}","a":{trade_id},"p":"{price}","q":"{qty}","f":{trade_id},"l":{trade_id},'
        f'"T":{event_ms},"m":true,"M":true}}}}'
    ).encode()


def with_faults() -> Recording:
    """The recording of the module's text."""
    made, trade_id = Recording(), 0
    for second in range(LENGTH_S):
        at_ns = BEGIN_NS + second * SECOND_NS
        trade_id += 4 if second == 100 else 1
        lag_ns = 1_520_000_000 if second == 300 else LAG_NS  # half a second before the newest
        made.trade("BTCUSDT", trade_id, at_ns, lag_ns)
        if second < LENGTH_S - SILENT_S:
            made.trade("ETHUSDT", second + 1, at_ns + 1_000_000)
        _break(made, second, at_ns + 2_000_000)
    account = made.account
    account.faults += Counter(
        {("BTCUSDT", "gap"): 1, ("BTCUSDT", "late"): 1, ("ETHUSDT", "frozen"): 1}
    )
    zero = {"BTCUSDT": 0.0, "ETHUSDT": 0.0}
    account.counts = {
        "market_trades_total": {name: float(len(account.of(name))) for name in zero},
        "market_feed_ids_missing": zero | {"BTCUSDT": 2},
        "market_feed_id_gaps_total": zero | {"BTCUSDT": 1},
        "market_feed_duplicates_total": zero | {"BTCUSDT": 2},
        "market_feed_late_total": zero | {"BTCUSDT": 1},
        "market_feed_out_of_order_total": zero | {"BTCUSDT": 1},
        "market_feed_time_gaps_total": zero,
        "market_feed_malformed_total": zero | {"BTCUSDT": 1},
        "market_feed_backfilled_total": zero,
    }
    return made


def _break(made: Recording, second: int, at_ns: int) -> None:
    """What comes between the trades."""
    if second == 150:  # the second of the three that were missing
        made.trade("BTCUSDT", 102, at_ns, 50 * SECOND_NS)
    elif second in (200, 205):
        made.repeat("BTCUSDT", 51, at_ns)
    elif second in (400, 402, 404):
        made.rubbish(at_ns, b'{"stream":"btcusdt@aggTr', "malformed")
    elif second == 406:
        other = b'{"stream":"btcusdt@other","data":{"e":"other","E":1,"s":"BTCUSDT"}}'
        made.rubbish(at_ns, other, "unknown_type", symbol=None)
    elif second == 408:
        no_price = _frame("BTCUSDT", 9_999, at_ns, "cheap", "1")
        made.rubbish(at_ns, no_price, "price", symbol="BTCUSDT")


def with_a_clock_behind(length_s: int) -> Recording:
    """Ten trades a second of one symbol, each 8 s old."""
    made = Recording()
    for tenth in range(length_s * 10):
        made.trade("SOLUSDT", tenth + 1, BEGIN_NS + tenth * SECOND_NS // 10, SKEW_NS)
    made.account.faults["SOLUSDT", "clock_skew"] += 1
    return made
