"""Going on after a restart: every portfolio as it was when the last thing was stored.

Owns the order in which they are read again, and what is stored last. Knows no feed and no order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from market_engine.paper.errors import PaperError
from market_engine.paper.figures import DeskFigures
from market_engine.paper.gate import TradingGate
from market_engine.paper.log import DeskLog
from market_engine.paper.markets import SymbolMarket
from market_engine.paper.model import BookName, Portfolio
from market_engine.paper.store import DeskStore
from market_engine.paper.trading import DAY_NS, Numbers, TradingPortfolio


def load_portfolios(
    store: DeskStore,
    markets: Mapping[str, SymbolMarket],
    numbers: Numbers,
    figures: DeskFigures,
    gate: TradingGate,
) -> dict[str, TradingPortfolio]:
    """By name, in the order of their making, with their open orders back in their books."""
    found = {
        portfolio.name: _loaded(store, TradingPortfolio(portfolio, markets, numbers, figures, gate))
        for portfolio in store.portfolios()
    }
    for order in store.open_orders():
        filled: dict[BookName, tuple[int, int]] = {}
        for fill in store.fills_of([order.number]):
            before_nano, _ = filled.get(fill.book, (0, 0))
            filled[fill.book] = (before_nano + fill.qty_nano, fill.order_fill)
        found[order.asked.portfolio].resume(order, filled)
    return found


def end_portfolios(portfolios: Iterable[TradingPortfolio], log: DeskLog, now_ns: int) -> None:
    """Store what of each is stored only now and then otherwise: its peak and drawdown."""
    for trading in portfolios:
        log.follow(trading, trading.end(now_ns))
    log.write()


def _loaded(store: DeskStore, trading: TradingPortfolio) -> TradingPortfolio:
    name = trading.portfolio.name
    newest = next(iter(store.snapshots(name, 0, 1)), None)
    trading.load(
        store.postings(name),
        {book: store.fills(name, book) for book in BookName},
        store.positions(name),
        newest,
        None if newest is None else _day_equity(store, trading.portfolio, newest.at_ns),
    )
    return trading


def _day_equity(store: DeskStore, portfolio: Portfolio, at_ns: int) -> Decimal | None:
    """What the day of a moment began with; None while that is to come.

    As ``PortfolioAccount.begin_day`` has it: the last equity before 00:00 UTC, and where that was
    unknown, the first known one of the day.
    """
    midnight_ns = at_ns - at_ns % DAY_NS
    before = store.snapshot_before(portfolio.name, midnight_ns)
    if before is None:
        return portfolio.balance
    if before.equity is not None:
        return before.equity
    first = store.first_priced(portfolio.name, midnight_ns)
    return None if first is None else first.equity


def same_portfolio(known: Portfolio, asked: Portfolio) -> Portfolio:
    """The one that is known, if it was asked for just so; raises PaperError if otherwise."""
    if msgspec.structs.replace(asked, created_ns=known.created_ns) == known:
        return known
    message = f"there is a portfolio {known.name!r} already, made otherwise: use another name"
    raise PaperError("portfolio_exists", message)
