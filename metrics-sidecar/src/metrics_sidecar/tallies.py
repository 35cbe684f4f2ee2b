"""The totals of the trades: by symbol and side, by age, and the latest ones. Pure.

Every trade falls into exactly one tally, so the totals are sums of tallies, and volumes are summed
as integers. It must not know publishers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from metrics_sidecar.publishers import OTHER
from metrics_sidecar.rows import LedgerRowsError, State, SymbolRow, encode_row, symbol_key
from trade_telemetry.messages import NANO, Batch, Side, Trade, TradeRow, one_by_one

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


class _Tally:
    __slots__ = ("trades", "volume_nano")

    def __init__(self, trades: int = 0, volume_nano: int = 0) -> None:
        self.trades = trades
        self.volume_nano = volume_nano


class Tallies:
    """At most ``SYMBOLS_MAX`` symbols have a tally of their own; the later ones share "other"."""

    def __init__(self, state: State) -> None:
        self._by_side: dict[Side, dict[str | None, _Tally]] = {"buy": {}, "sell": {}}
        self._written: dict[str | None, int] = {}
        self._shown: dict[str, SymbolTotals] = {}
        for name, row in sorted(state.symbols.items(), key=lambda item: item[1].index):
            symbol = None if name == NO_SYMBOL else name
            self._by_side["buy"][symbol] = _Tally(row.buy_trades, int(row.buy_nano))
            self._by_side["sell"][symbol] = _Tally(row.sell_trades, int(row.sell_nano))
        if not state.symbols:
            self._add(None)
        self._last_trade_ts_s = state.totals.last_trade_ts_s
        self.age_sum_s = state.totals.age_sum_s
        self.age_counts = list(state.totals.age_counts) or [0] * (len(AGE_BOUNDS_S) + 1)
        if len(self.age_counts) != len(AGE_BOUNDS_S) + 1 or None not in self._by_side["buy"]:
            raise LedgerRowsError("the ages or the trades without a symbol are missing")
        self._applied_before = state.totals.applied
        self._recent: deque[tuple[Trade | Batch, float]] = deque(maxlen=RECENT_MAX)

    def __len__(self) -> int:
        return len(self._by_side["buy"])

    def count(self, trade: Trade, now_s: float) -> None:
        """Count a trade; ``now_s`` is in unix seconds."""
        self._count((trade,), now_s)
        self._recent.append((trade, now_s))

    def count_all(self, trades: Sequence[Trade], now_s: float) -> None:
        """Count trades, as ``count`` would one by one."""
        self._count(trades, now_s)
        self._recent.extend([(trade, now_s) for trade in trades[-RECENT_MAX:]])

    def count_batch(self, batch: Batch, now_s: float) -> None:
        """Count all trades of a batch, as ``count`` would one by one."""
        self._count(batch.trades, now_s)
        self._recent.append((batch, now_s))

    def _count(self, rows: Sequence[Trade | TradeRow], now_s: float) -> None:
        """The hot loop of the sidecar; ``quantity_nano`` is written out in it."""
        by_side, ages, age_sum_s = self._by_side, self.age_counts, 0.0
        for row in rows:
            try:
                tally = by_side[row.side][row.symbol]
            except KeyError:
                tally = self._open(row)
            qty = row.qty
            whole = int(qty)
            tally.trades += 1
            tally.volume_nano += whole * NANO + round((qty - whole) * 1e9)
            age_s = now_s - row.ts
            if age_s < 0:
                age_s = 0.0
            ages[bisect_left(AGE_BOUNDS_S, age_s)] += 1
            age_sum_s += age_s
        self.age_sum_s += age_sum_s

    def last_trade_ts_s(self) -> float:
        """``ts`` of the trade counted last, 0 before one."""
        if not self._recent:
            return self._last_trade_ts_s
        last = self._recent[-1][0]
        return last.trades[-1].ts if isinstance(last, Batch) else last.ts

    def recent(self) -> tuple[Applied, ...]:
        """The latest trades counted since the start, at most ``RECENT_MAX``, oldest first."""
        kept: list[tuple[Trade, float]] = []
        while self._recent and len(kept) < RECENT_MAX:
            message, now_s = self._recent.pop()
            trades = [*one_by_one(message)] if isinstance(message, Batch) else [message]
            kept += [(trade, now_s) for trade in reversed(trades)]
        kept = kept[RECENT_MAX - 1 :: -1]
        self._recent.clear()
        self._recent.extend(kept)
        first = self.applied() - self._applied_before - len(kept) + 1
        return tuple((number, *each) for number, each in enumerate(kept, first))

    def applied(self) -> int:
        """Trades counted of all symbols and both sides."""
        return sum(each.trades for side in SIDES for each in self._by_side[side].values())

    def totals(self) -> dict[str, SymbolTotals]:
        """An unchanging copy, by symbol in the order in which they came."""
        for symbol in self._by_side["buy"]:
            name = NO_SYMBOL if symbol is None else symbol
            shown = self._shown.get(name)
            if shown is None or sum(shown.trades.values()) != self._trades(symbol):
                self._shown[name] = self._totals(symbol)
        return dict(self._shown)

    def changes(self) -> dict[str, bytes | None]:
        """The rows of the symbols that changed since the last call."""
        rows: dict[str, bytes | None] = {}
        for index, symbol in enumerate(self._by_side["buy"]):
            trades = self._trades(symbol)
            if self._written.get(symbol) != trades:
                self._written[symbol] = trades
                rows.update(self._row(index, symbol))
        return rows

    def rows(self) -> dict[str, bytes]:
        """The rows of all symbols."""
        rows: dict[str, bytes] = {}
        for index, symbol in enumerate(self._by_side["buy"]):
            rows.update(self._row(index, symbol))
        return rows

    def _open(self, trade: Trade | TradeRow) -> _Tally:
        """The tally of a symbol not seen before; past the limit, the one of "other"."""
        known = self._by_side[trade.side]
        # trades without a symbol have a tally beside these
        symbol = OTHER if len(known) > SYMBOLS_MAX else trade.symbol
        if symbol not in known:
            self._add(symbol)
        return known[symbol]

    def _add(self, symbol: str | None) -> None:
        for side in SIDES:
            self._by_side[side][symbol] = _Tally()

    def _trades(self, symbol: str | None) -> int:
        return sum(self._by_side[side][symbol].trades for side in SIDES)

    def _totals(self, symbol: str | None) -> SymbolTotals:
        buy, sell = (self._by_side[side][symbol] for side in SIDES)
        return SymbolTotals(
            {"buy": buy.trades, "sell": sell.trades},
            {"buy": buy.volume_nano, "sell": sell.volume_nano},
        )

    def _row(self, index: int, symbol: str | None) -> dict[str, bytes]:
        buy, sell = (self._by_side[side][symbol] for side in SIDES)
        row = SymbolRow(index, buy.trades, sell.trades, str(buy.volume_nano), str(sell.volume_nano))
        return {symbol_key(NO_SYMBOL if symbol is None else symbol): encode_row(row)}
