"""What risk is shown, and the order that its verdict makes of one that was asked for.

Reads the markets and a portfolio under the desk's lock; keeps nothing but when orders came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from market_engine.events import MS_NS, SECOND_NS
from market_engine.paper.flatten import open_orders
from market_engine.paper.gate import TradingGate
from market_engine.paper.markets import SymbolMarket
from market_engine.paper.model import BookName, NewOrder, Order, OrderState
from market_engine.paper.reasons import Denial, Why
from market_engine.paper.risk import Preview, RiskView, Verdict, check, currency_of, preview
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
        kind, silent_ns = self._kinds.get(asked.symbol), self._silence.ns()
        market = self._markets.get(asked.symbol)
        if silent_ns and market is not None:
            since_ns = now_ns + silent_ns - trading.portfolio.model.stale_ms * MS_NS
            market = _market_in_silence(market, since_ns)
        return RiskView(
            trading.portfolio,
            trading.account,
            market,
            None if kind is None else currency_of(asked.symbol, kind),
            self._gate.state,
            now_ns + silent_ns,
            open_orders(trading),
            trading.submitted_ns,
        )

    def order(
        self, asked: NewOrder, trading: TradingPortfolio, number: int, now_ns: int, wall_ns: int
    ) -> Order:
        """The order as risk lets it be; not stored yet."""
        view = self.view(asked, trading, now_ns)
        verdict = self._explained(check(asked, view))
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

    def preview(self, asked: NewOrder, trading: TradingPortfolio, now_ns: int) -> Preview:
        """What an order would come to, and whether it would pass."""
        found = preview(asked, self.view(asked, trading, now_ns))
        return msgspec.structs.replace(found, verdict=self._explained(found.verdict))

    def _explained(self, verdict: Verdict) -> Verdict:
        """Where a price is stale because the clock was set back, say that."""
        if verdict.denial is not Denial.STALE_PRICE or self._silence.problem is None:
            return verdict
        return Verdict(verdict.denial, self._silence.problem)

    def since_tick_s(self, symbol: str, wall_ns: int) -> float | None:
        """Since the receipt of the symbol's newest event; None where its time is not real time."""
        market = self._markets.get(symbol)
        if market is None or not self._silence.is_live:
            return None
        found = [each.received_ns for each in (market.quote, market.last) if each is not None]
        return (wall_ns - max(found)) / SECOND_NS if found else None


def _market_in_silence(market: SymbolMarket, since_ns: int) -> SymbolMarket:
    """In a silence, a younger trade does not make up for a quote that is stale by now.

    It is the quote that an order would take.
    """
    quote = market.quote
    if quote is None or quote.received_ns >= since_ns:
        return market
    shown = SymbolMarket(market.symbol)
    shown.note_quote(quote)
    return shown
