"""What the desk shows of itself at a moment: values that never change, for the API."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from market_engine.paper.model import (
    BookName,
    Mark,
    Order,
    Portfolio,
    StateChange,
)


class PositionView(msgspec.Struct, frozen=True):
    """A position and what it is worth."""

    symbol: str
    qty_nano: int
    """Signed."""
    average_nano: int | None
    """Cost over quantity, rounded: for display alone. None when flat."""
    cost: Decimal
    mark: Mark
    value: Decimal | None
    """None while it is unpriced, as is the next."""
    unrealised: Decimal | None
    realised: Decimal


class BookView(msgspec.Struct, frozen=True):
    """What one way of filling the same orders came to."""

    book: BookName
    equity: Decimal | None
    profit: Decimal | None
    """Equity less what it began with."""
    fees: Decimal
    fills: int
    traded: Decimal
    """The notional of its fills."""


class PortfolioView(msgspec.Struct, frozen=True):
    """A portfolio at a moment."""

    portfolio: Portfolio
    state: StateChange
    now_ns: int
    cash: Decimal
    equity: Decimal | None
    realised: Decimal
    unrealised: Decimal | None
    fees: Decimal
    residue: Decimal
    """What the numbers above do not explain: exactly 0, or there is a defect."""
    gross: Decimal
    peak: Decimal | None
    max_drawdown: float
    day_profit: Decimal | None
    """Since 00:00 UTC."""
    open_orders: int
    fills: int
    positions: tuple[PositionView, ...]
    books: tuple[BookView, ...]
    is_stored: bool = True
    """False: something of it could not be stored yet, and a restart would forget that."""

    def unstored(self) -> PortfolioView:
        """The same, while the desk cannot store."""
        return msgspec.structs.replace(self, is_stored=False)


class Placed(msgspec.Struct, frozen=True):
    """What became of an order that somebody sent."""

    order: Order
    is_new: bool
    """False: the same order had come before, and this is it as it is now."""
