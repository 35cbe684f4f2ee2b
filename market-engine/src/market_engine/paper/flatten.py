"""Getting out: every open order cancelled, every position closed at the market."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from market_engine.paper.model import NewOrder, Order, OrderType
from market_engine.paper.reasons import Why
from market_engine.paper.trading import TradingPortfolio

FLATTEN_SOURCE: Final = "flatten"
"""Whose orders pass while the desk is flattened."""


def cancel_all(portfolios: Iterable[TradingPortfolio], now_ns: int) -> list[Order]:
    """Take every order out of every book."""
    return [
        trading.cancel(client_order_id, now_ns, Why.FLATTENED)
        for trading in portfolios
        for client_order_id in list(trading.orders)
    ]


def closing_orders(portfolios: Iterable[TradingPortfolio], number: int) -> list[NewOrder]:
    """An order at the market for each position; ``number`` makes their ids unique."""
    return [
        NewOrder(
            trading.portfolio.name,
            f"flatten-{number}-{symbol}",
            symbol,
            "sell" if position.qty_nano > 0 else "buy",
            OrderType.MARKET,
            abs(position.qty_nano),
            reduce_only=True,
            source=FLATTEN_SOURCE,
        )
        for trading in portfolios
        for symbol, position in trading.account.positions.items()
        if position.qty_nano
    ]


def is_flat(portfolios: Iterable[TradingPortfolio]) -> bool:
    """Whether no position is left."""
    return not any(
        position.qty_nano
        for trading in portfolios
        for position in trading.account.positions.values()
    )
