"""A book at work for tests: short numbers in, steps out; prices and quantities are whole nanos."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from market_engine.events import Quote, Side, Trade
from market_engine.paper.gate import TradingGate
from market_engine.paper.markets import SymbolMarket
from market_engine.paper.matching import Ended, Match, Matcher, Step, Triggered
from market_engine.paper.model import (
    BookName,
    Fill,
    Model,
    NewOrder,
    Order,
    OrderState,
    OrderType,
    TimeInForce,
)
from market_engine.paper.reasons import Why

MS = 1_000_000
SYMBOL = "AAA"


def quote(bid: int, ask: int, at_ms: int, *, bid_size: int = 10, ask_size: int = 10) -> Quote:
    return Quote("v", SYMBOL, bid, bid_size, ask, ask_size, at_ms * MS, at_ms * MS)


def trade(
    price: int, qty: int, at_ms: int, side: Side = "sell", *, backfilled: bool = False
) -> Trade:
    """``side`` is the aggressor's: what rests on the other side may be filled."""
    at_ns = at_ms * MS
    return Trade("v", SYMBOL, price, qty, side, at_ms, at_ns, at_ns, backfilled=backfilled)


def order(number: int, at_ms: int, side: Any = "buy", qty: int = 5, **more: Any) -> Order:
    """``more``: of ``NewOrder``, as text, and ``collar``."""
    collar = more.pop("collar", None)
    kind = OrderType(more.pop("type", "limit" if "limit_nano" in more else "market"))
    force = TimeInForce(more.pop("tif", "gtc"))
    asked = NewOrder("main", f"o{number}", SYMBOL, side, kind, qty, time_in_force=force, **more)
    return Order(asked, number, OrderState.PENDING, Why.LATENCY, at_ms * MS, 0, collar)


class Desk:
    """One book with its market, position and all fills."""

    def __init__(
        self, book: str = "neutral", position: int = 0, slippage: str = "0", latency_ms: int = 0
    ) -> None:
        self.book = BookName(book)
        self.model = Model(slippage=Decimal(slippage), latency_ms=latency_ms, stale_ms=10_000)
        self.markets = {SYMBOL: SymbolMarket(SYMBOL)}
        self.gate = TradingGate()
        self.position = position
        self.orders: dict[str, Order] = {}
        self.filled: dict[str, int] = {}
        self.ended: dict[str, Why] = {}
        self.triggered_ns: dict[str, int] = {}
        self.matches: list[Match] = []
        self.fills: list[Fill] = []
        self.matcher = self._matcher()

    def _matcher(self) -> Matcher:
        return Matcher(self.book, self.model, lambda _: self.position, self.markets, self.gate)

    def add(self, new: Order) -> list[str]:
        self.orders[new.asked.client_order_id] = new
        return self._apply(self.matcher.add(new))

    def on(self, event: Quote | Trade) -> list[str]:
        market = self.markets[SYMBOL]
        if isinstance(event, Quote):
            market.note_quote(event)
            return self._apply(self.matcher.on_quote(event))
        market.note_trade(event)
        return self._apply(self.matcher.on_trade(event))

    def on_time(self, at_ms: int) -> list[str]:
        return self._apply(self.matcher.on_time(at_ms * MS))

    def restart(self) -> None:
        """A new matcher that is told what was stored."""
        live = self.matcher.live()
        self.matcher = self._matcher()
        for fill in self.fills:
            self.matcher.resume(fill)
        for each in live:
            known = msgspec.structs.replace(
                self.orders[each], triggered_ns=self.triggered_ns.get(each)
            )
            count = sum(fill.client_order_id == each for fill in self.fills)
            assert list(self.matcher.add(known, self.filled.get(each, 0), count)) == []

    def why(self, number: int, at_ms: int) -> tuple[str, str]:
        state, why = self.matcher.why(f"o{number}", at_ms * MS)
        return state.value, why.value

    def _apply(self, steps: Iterator[Step]) -> list[str]:
        """Each step as a short text, such as ``o1 3@101 taker``."""
        said = []
        for step in steps:
            name = step.client_order_id
            if isinstance(step, Match):
                self._fill(name, step)
                kind = "maker" if step.is_maker else "taker"
                said.append(f"{name} {step.qty_nano}@{step.price_nano} {kind}")
            elif isinstance(step, Ended):
                self.ended[name] = step.why
                said.append(f"{name} {step.state.value} {step.why.value}")
            elif isinstance(step, Triggered):
                self.triggered_ns[name] = step.at_ns
                said.append(f"{name} triggered")
        return said

    def _fill(self, name: str, match: Match) -> None:
        asked = self.orders[name].asked
        self.position += match.qty_nano if asked.side == "buy" else -match.qty_nano
        self.filled[name] = self.filled.get(name, 0) + match.qty_nano
        self.matches.append(match)
        self.fills.append(
            Fill(
                0, self.book, "main", name, self.orders[name].number, match.order_fill, SYMBOL,
                asked.side, match.price_nano, match.qty_nano, Decimal(0), match.is_maker, 0,
                match.evidence,
            )
        )  # fmt: skip
