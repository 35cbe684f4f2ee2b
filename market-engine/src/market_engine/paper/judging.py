"""What risk is shown, and the order that its verdict makes of one that was asked for.

Reads the markets and a portfolio under the desk's lock; keeps nothing but when orders came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from market_engine.events import SECOND_NS
from market_engine.paper.flatten import open_orders
from market_engine.paper.gate import TradingGate
from market_engine.paper.markets import SymbolMarket
from market_engine.paper.model import BookName, NewOrder, Order, OrderState
from market_engine.paper.reasons import Why
from market_engine.paper.risk import RiskView, check, currency_of
from market_engine.paper.silence import Silence
from market_engine.paper.trading import TradingPortfolio

_EVERY_BOOK: Final = tuple(BookName)


class Judge:
    """``kinds`` says what a symbol is, such as ``crypto``."""

    def __init__(
        self,
        markets: Mapping[str, SymbolMarket],
        kinds: Mapping[str, str],
        gate: TradingGate,
        silence: Silence,
    ) -> None:
        self._markets = markets
        self._kinds = kinds
        self._gate = gate
        self._silence = silence

    def view(self, asked: NewOrder, trading: TradingPortfolio, now_ns: int) -> RiskView:
        """As of the market's time, and of as long as it has been silent since."""
        kind = self._kinds.get(asked.symbol)
        return RiskView(
            trading.portfolio,
            trading.account,
            self._markets.get(asked.symbol),
            None if kind is None else currency_of(asked.symbol, kind),
            self._gate.state,
            now_ns + self._silence.ns(),
            open_orders(trading),
            trading.submitted_ns,
        )

    def order(
        self, asked: NewOrder, trading: TradingPortfolio, number: int, now_ns: int, wall_ns: int
    ) -> Order:
        """The order as risk lets it be; not stored yet."""
        view = self.view(asked, trading, now_ns)
        verdict = check(asked, view)
        trading.submitted_ns.append(view.now_ns)
        is_denied = verdict.denial is not None
        return Order(
            asked,
            number,
            OrderState.DENIED if is_denied else OrderState.PENDING,
            verdict.denial or Why.LATENCY,
            now_ns,
            wall_ns,
            verdict.collar_nano,
            detail=verdict.detail if is_denied else "",
            closed_ns=now_ns if is_denied else None,
            open_books=() if is_denied else _EVERY_BOOK,
        )

    def since_tick_s(self, symbol: str, wall_ns: int) -> float | None:
        """Since the receipt of the symbol's newest event; None where its time is not real time."""
        market = self._markets.get(symbol)
        if market is None or not self._silence.is_live:
            return None
        found = [each.received_ns for each in (market.quote, market.last) if each is not None]
        return (wall_ns - max(found)) / SECOND_NS if found else None
