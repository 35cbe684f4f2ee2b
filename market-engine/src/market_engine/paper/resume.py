"""Going on after a restart: every portfolio as it was when the last thing was stored."""

from __future__ import annotations

from collections.abc import Mapping

from market_engine.paper.figures import DeskFigures
from market_engine.paper.markets import SymbolMarket
from market_engine.paper.model import BookName
from market_engine.paper.store import DeskStore
from market_engine.paper.trading import DAY_NS, Numbers, TradingPortfolio


def load_portfolios(
    store: DeskStore,
    markets: Mapping[str, SymbolMarket],
    numbers: Numbers,
    figures: DeskFigures,
) -> dict[str, TradingPortfolio]:
    """By name, in the order of their making, with their open orders back in their books."""
    found = {
        portfolio.name: _loaded(store, TradingPortfolio(portfolio, markets, numbers, figures))
        for portfolio in store.portfolios()
    }
    for order in store.open_orders():
        filled: dict[BookName, tuple[int, int]] = {}
        for fill in store.fills_of([order.number]):
            before_nano, _ = filled.get(fill.book, (0, 0))
            filled[fill.book] = (before_nano + fill.qty_nano, fill.order_fill)
        found[order.asked.portfolio].resume(order, filled)
    return found


def _loaded(store: DeskStore, trading: TradingPortfolio) -> TradingPortfolio:
    name = trading.portfolio.name
    newest = next(iter(store.snapshots(name, 0, 1)), None)
    before = None
    if newest is not None:
        before = store.snapshot_before(name, newest.at_ns - newest.at_ns % DAY_NS)
    trading.load(
        store.postings(name),
        {book: store.fills(name, book) for book in BookName},
        newest,
        trading.portfolio.balance if before is None else before.equity,
    )
    return trading
