"""A portfolio as it is shown: its accounts, its positions at their marks, and its three books."""

from __future__ import annotations

from market_engine.paper.model import FINAL, BookName, Mark, StateChange
from market_engine.paper.money import product, share, subtract
from market_engine.paper.positions import Position
from market_engine.paper.trading import TradingPortfolio
from market_engine.paper.views import BookView, PortfolioView, PositionView

UNPRICED = Mark(None, "", 0, is_stale=True)


def portfolio_view(trading: TradingPortfolio, state: StateChange, now_ns: int) -> PortfolioView:
    """As of a moment; call it under the desk's lock."""
    trading.revalue_all(now_ns)
    account, equity = trading.account, trading.account.equity()
    marks = account.marks()
    return PortfolioView(
        trading.portfolio,
        state,
        now_ns,
        account.cash,
        equity,
        account.realised,
        account.unrealised(),
        account.fees,
        account.residue(),
        account.gross(),
        account.peak,
        account.max_drawdown,
        None if equity is None else subtract(equity, account.day_equity),
        sum(order.state not in FINAL for order in trading.orders.values()),
        trading.fills[BookName.NEUTRAL],
        tuple(
            _position_view(position, marks.get(position.symbol, UNPRICED))
            for position in sorted(account.positions.values(), key=lambda each: each.symbol)
        ),
        tuple(_book_view(book, trading) for book in trading.accounts),
    )


def _book_view(book: BookName, trading: TradingPortfolio) -> BookView:
    account = trading.accounts[book]
    equity = account.equity()
    profit = None if equity is None else subtract(equity, account.portfolio.balance)
    return BookView(book, equity, profit, account.fees, trading.fills[book], trading.traded[book])


def _position_view(position: Position, mark: Mark) -> PositionView:
    value = unrealised = None
    if mark.price_nano is not None:
        value = product(mark.price_nano, position.qty_nano)
        unrealised = subtract(value, position.cost)
    return PositionView(
        position.symbol,
        position.qty_nano,
        average_nano(position),
        position.cost,
        mark,
        value,
        unrealised,
        position.realised,
    )


def average_nano(position: Position) -> int | None:
    """The average cost, rounded: for display alone."""
    if not position.qty_nano:
        return None
    return int(share(position.cost, 10**18, position.qty_nano).to_integral_value())
