"""The totals: what each message does to them. Pure: no clock, no socket, no metric names.

``Ledger`` is changed by one thread; ``snapshot`` gives an unchanging copy that any thread may read.
Every trade falls into exactly one tally (its side and symbol), so the totals are sums of tallies.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from typing import Final

from metrics_sidecar.publishers import (
    OTHER,
    ImplausibleError,
    Publishers,
    PublisherTotals,
)
from trade_telemetry.messages import NANO, Beat, RejectReason, Side, Trade, quantity_nano

SYMBOLS_MAX: Final = 100
RECENT_MAX: Final = 500
NO_SYMBOL: Final = "(none)"
SIDES: Final[tuple[Side, Side]] = ("buy", "sell")
AGE_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
"""Upper bounds of the event age buckets; one more bucket holds what is older."""

Applied = tuple[int, Trade, float]
"""A trade that was counted: the how-manieth since the start, the trade, when (unix seconds)."""


@dataclass(frozen=True, slots=True)
class SymbolTotals:
    """What was counted of one symbol; volumes in multiples of 10⁻⁹."""

    trades: dict[Side, int]
    volume_nano: dict[Side, int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that was counted up to one moment. Never changes."""

    received: int
    rejected: dict[RejectReason, int]
    duplicates: int
    beats: int
    untracked: int
    symbols: dict[str, SymbolTotals]
    publishers: dict[str, PublisherTotals]
    last_trade_ts_s: float
    age_counts: tuple[int, ...]
    age_sum_s: float
    recent: tuple[Applied, ...]

    def trades(self, side: Side) -> int:
        """Trades counted of a side."""
        return sum(totals.trades[side] for totals in self.symbols.values())

    def volume(self, side: Side) -> float:
        """Volume counted of a side, in units: the double nearest to the exact sum."""
        return sum(totals.volume_nano[side] for totals in self.symbols.values()) / NANO

    @property
    def applied(self) -> int:
        """Trades counted of both sides."""
        return sum(self.trades(side) for side in SIDES)


class _Tally:
    __slots__ = ("trades", "volume_nano")

    def __init__(self) -> None:
        self.trades = 0
        self.volume_nano = 0


class Ledger:
    """Counts messages. Identity: received = applied + duplicates + beats + rejected.

    A plain trade is counted as it comes; a stamped one once. At most ``SYMBOLS_MAX`` symbols have a
    tally of their own, the later ones share "other". ``since_s`` is when counting began, in unix
    seconds.
    """

    def __init__(self, since_s: float) -> None:
        self._publishers = Publishers(since_s)
        self._received = 0
        self._rejected = dict.fromkeys(RejectReason, 0)
        self._applied = 0
        self._beats = 0
        self._untracked = 0
        self._tallies: dict[Side, dict[str | None, _Tally]] = {
            side: {None: _Tally()} for side in SIDES
        }
        self._last_trade_ts_s = 0.0
        self._age_counts = [0] * (len(AGE_BOUNDS_S) + 1)
        self._age_sum_s = 0.0
        self._recent: deque[Applied] = deque(maxlen=RECENT_MAX)

    def reject(self, reason: RejectReason, count: int = 1) -> None:
        """Count messages that were not counted as anything else."""
        self._received += count
        self._rejected[reason] += count

    def reject_stamped(
        self, reason: RejectReason, stamps: tuple[str, int, int], now_s: float
    ) -> None:
        """Count a rejected trade, and take its sequence: it arrived, so it is not missing."""
        self.reject(reason)
        try:
            publisher = self._publishers.take(*stamps, now_s)
        except ImplausibleError:
            return
        if publisher is not None:
            publisher.rejected += 1

    def apply(self, trade: Trade, now_s: float) -> bool:
        """Count a trade; False if it was counted before, or its stamps are beyond reason.

        ``now_s`` is in unix seconds.
        """
        self._received += 1
        if trade.src is None or trade.epoch is None or trade.seq is None:
            self._untracked += 1
            self._count(trade, now_s)
            return True
        try:
            publisher = self._publishers.take(trade.src, trade.epoch, trade.seq, now_s)
        except ImplausibleError:
            self._rejected[RejectReason.STAMP] += 1
            return False
        if publisher is None:
            return False
        self._count(trade, now_s)
        publisher.applied += 1
        return True

    def _count(self, trade: Trade, now_s: float) -> None:
        tally = self._tallies[trade.side].get(trade.symbol) or self._open_tally(trade)
        tally.trades += 1
        tally.volume_nano += quantity_nano(trade.qty)
        self._last_trade_ts_s = trade.ts
        age_s = now_s - trade.ts
        if age_s < 0:
            age_s = 0.0
        self._age_counts[bisect_left(AGE_BOUNDS_S, age_s)] += 1
        self._age_sum_s += age_s
        self._applied += 1
        self._recent.append((self._applied, trade, now_s))

    def beat(self, beat: Beat, now_s: float) -> None:
        """Take in what a publisher says of itself."""
        self._received += 1
        try:
            self._publishers.beat(beat, now_s)
            self._beats += 1
        except ImplausibleError:
            self._rejected[RejectReason.BEAT] += 1

    def _open_tally(self, trade: Trade) -> _Tally:
        """The tally of a symbol not seen before; past the limit, the one of "other"."""
        symbol = trade.symbol
        known = self._tallies[trade.side]
        if len(known) > SYMBOLS_MAX:  # trades without a symbol have a tally beside these
            symbol = OTHER
        for side in SIDES:
            self._tallies[side].setdefault(symbol, _Tally())
        return known[symbol]

    def snapshot(self) -> Snapshot:
        """An unchanging copy of everything, for other threads."""
        buys, sells = self._tallies["buy"], self._tallies["sell"]
        return Snapshot(
            received=self._received,
            rejected=dict(self._rejected),
            duplicates=self._publishers.duplicates,
            beats=self._beats,
            untracked=self._untracked,
            symbols={
                NO_SYMBOL if symbol is None else symbol: _symbol_totals(buys[symbol], sells[symbol])
                for symbol in buys
            },
            publishers=self._publishers.totals(),
            last_trade_ts_s=self._last_trade_ts_s,
            age_counts=tuple(self._age_counts),
            age_sum_s=self._age_sum_s,
            recent=tuple(self._recent),
        )


def _symbol_totals(buy: _Tally, sell: _Tally) -> SymbolTotals:
    return SymbolTotals(
        {"buy": buy.trades, "sell": sell.trades},
        {"buy": buy.volume_nano, "sell": sell.volume_nano},
    )
