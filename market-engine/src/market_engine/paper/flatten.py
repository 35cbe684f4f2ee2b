"""Getting out: every open order cancelled, every position closed at the market."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Final

import msgspec

from market_engine.paper.model import FINAL, NewOrder, Order, OrderState, OrderType
from market_engine.paper.reasons import Why
from market_engine.paper.trading import TradingPortfolio

FLATTEN_SOURCE: Final = "flatten"
"""Whose orders pass while the desk is flattened."""
STAY_MAX: Final = 3
"""So many positions are named in one sentence."""


def cancel_all(portfolios: Iterable[TradingPortfolio], now_ns: int) -> list[Order]:
    """Take every order out of every book: when it begins; and when it is left, those it sent.

    There are no others then. A state that lets orders through must not find them.
    """
    return [
        trading.cancel(client_order_id, now_ns, Why.FLATTENED)
        for trading in portfolios
        for client_order_id in list(trading.orders)
    ]


def cancelled(order: Order, now_ns: int) -> Order:
    """The order as its owner's cancel leaves it, in every book."""
    return msgspec.structs.replace(
        order,
        state=OrderState.CANCELLED,
        why=Why.CANCELLED,
        closed_ns=now_ns,
        open_books=(),
    )


def open_orders(trading: TradingPortfolio) -> list[Order]:
    """Those that may still be filled in the account's own book."""
    return [order for order in trading.orders.values() if order.state not in FINAL]


def closing_orders(
    portfolios: Iterable[TradingPortfolio], known: Container[str], unique: str
) -> list[NewOrder]:
    """An order at the market for each position that no such order closes yet.

    Those in symbols that are not ``known`` stay: nothing can be filled there.
    """
    return [
        NewOrder(
            trading.portfolio.name,
            f"flatten-{unique}-{symbol}",
            symbol,
            "sell" if position.qty_nano > 0 else "buy",
            OrderType.MARKET,
            abs(position.qty_nano),
            reduce_only=True,
            source=FLATTEN_SOURCE,
        )
        for trading in portfolios
        for symbol, position in list(trading.account.positions.items())
        if position.qty_nano and symbol in known and not _is_closing(trading, symbol)
    ]


def flattened(portfolios: Iterable[TradingPortfolio], known: Container[str]) -> str:
    """What to say when no position is left that can be closed; nothing while one is.

    With it, what stays because nothing is known of its symbol.
    """
    held = [
        (symbol, trading.portfolio.name)
        for trading in portfolios
        for symbol, position in trading.account.positions.items()
        if position.qty_nano
    ]
    if any(symbol in known for symbol, _ in held):
        return ""
    stay = sorted(f"{symbol} in {name}" for symbol, name in held)
    if not stay:
        return "flattened"
    named = ", ".join(stay[:STAY_MAX]) + (
        f" and {len(stay) - STAY_MAX} more" if stay[STAY_MAX:] else ""
    )
    return f"flattened, but what is held stays, as the feed does not have it: {named}"


def _is_closing(trading: TradingPortfolio, symbol: str) -> bool:
    return any(
        order.asked.source == FLATTEN_SOURCE
        and order.asked.symbol == symbol
        and order.state not in FINAL
        for order in trading.orders.values()
    )
