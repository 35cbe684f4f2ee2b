"""What the paper desk of the market-engine answers over HTTP, as far as the pages read it.

Money, prices and quantities are exact decimals, times are in ms since 1970, ratios are fractions.
None is unknown or undefined, never 0. Fields that the pages do not read are ignored.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import Field

from trading_app.sidecar_answers import Answer

Side = Literal["buy", "sell"]
FINAL: Final = frozenset({"filled", "cancelled", "expired", "denied"})
"""The states in which an order stays."""
ROWS_MAX: Final = 1_000
Ms = Annotated[int, Field(ge=0, le=7_258_118_400_000)]
"""A time in ms since 1970, up to 2200: what is farther off is no time, and could not be written."""


class PortfolioShape(Answer):
    """A portfolio as it was made."""

    name: str
    currency: str = ""
    balance: Decimal = Decimal(0)
    created_ms: Ms | None = None
    annual_days: int | None = None


class PortfolioSummary(Answer):
    """One portfolio in the list of all."""

    name: str
    currency: str = ""
    equity: Decimal | None = None
    profit: Decimal | None = None
    open_orders: int = 0


class Portfolios(Answer):
    """Every portfolio of the desk."""

    portfolios: tuple[PortfolioSummary, ...] = Field((), max_length=ROWS_MAX)


class TradingState(Answer):
    """What the desk lets through, since when, and why."""

    state: str
    since_ms: Ms | None = None
    reason: str | None = None


class Position(Answer):
    """What is held of a symbol; ``qty`` is signed. Unpriced, it has no price, value or gain."""

    symbol: str
    qty: Decimal
    average_price: Decimal | None = None
    cost: Decimal = Decimal(0)
    price: Decimal | None = None
    price_source: str | None = None
    price_ms: Ms | None = None
    is_stale: bool = False
    value: Decimal | None = None
    unrealised: Decimal | None = None
    realised: Decimal = Decimal(0)


class Book(Answer):
    """What one way of filling the same orders came to; ``traded`` is the sum of notionals."""

    book: str
    equity: Decimal | None = None
    profit: Decimal | None = None
    fees: Decimal | None = None
    fills: int = 0
    traded: Decimal | None = None


class PortfolioNow(Answer):
    """A portfolio at a moment. ``residue`` is what its other figures do not explain: 0.

    Not ``is_stored``: the desk cannot store now, and a crash would undo what is new in it.
    """

    portfolio: PortfolioShape
    now_ms: Ms | None = None
    is_stored: bool = True
    state: TradingState
    cash: Decimal
    equity: Decimal | None = None
    realised: Decimal
    unrealised: Decimal | None = None
    fees: Decimal
    residue: Decimal
    gross: Decimal | None = None
    peak: Decimal | None = None
    max_drawdown: float | None = None
    day_profit: Decimal | None = None
    open_orders: int = 0
    fills: int = 0
    positions: tuple[Position, ...] = Field((), max_length=ROWS_MAX)
    books: tuple[Book, ...] = Field((), max_length=8)

    @property
    def profit(self) -> Decimal | None:
        """Equity less what it began with."""
        return None if self.equity is None else self.equity - self.portfolio.balance


class EquityPoint(Answer):
    """A snapshot; ``drawdown`` is how far equity stood below its peak then, 0 or less."""

    at_ms: Ms
    equity: Decimal | None = None
    drawdown: float | None = None


class EquityHistory(Answer):
    """Snapshots, oldest first."""

    snapshots: tuple[EquityPoint, ...] = Field((), max_length=5_000)


class SymbolProfit(Answer):
    """What one symbol has brought so far; ``realised`` is before fees."""

    symbol: str
    realised: Decimal | None = None
    fees: Decimal | None = None
    fills: int = 0
    unrealised: Decimal | None = None


class Performance(Answer):
    """The figures over all days; each is None where it is not defined, and ``undefined`` why."""

    annual_days: int | None = None
    days: int = 0
    total_return: float | None = None
    cagr: float | None = None
    volatility: float | None = None
    sharpe: float | None = None
    sortino: float | None = None
    max_drawdown: float | None = None
    calmar: float | None = None
    round_trips: int = 0
    wins: int = 0
    losses: int = 0
    breakevens: int = 0
    win_rate: float | None = None
    profit_factor: float | None = None
    expectancy: Decimal | None = None
    undefined: dict[str, str] = Field({}, max_length=32)
    by_symbol: tuple[SymbolProfit, ...] = Field((), max_length=ROWS_MAX)


class Order(Answer):
    """An order as it is now; ``why`` it is not filled for programs, ``detail`` for people."""

    portfolio: str = ""
    client_order_id: str
    number: int | None = None
    symbol: str
    side: Side
    type: str = "market"
    qty: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: str = "gtc"
    post_only: bool = False
    reduce_only: bool = False
    source: str = ""
    state: str
    why: str | None = None
    detail: str | None = None
    filled_qty: Decimal = Decimal(0)
    left_qty: Decimal | None = None
    average_price: Decimal | None = None
    submitted_ms: Ms | None = None
    accepted_ms: Ms | None = None
    closed_ms: Ms | None = None

    @property
    def is_final(self) -> bool:
        """Whether it stays as it is."""
        return self.state in FINAL


class Orders(Answer):
    """Orders, newest first."""

    orders: tuple[Order, ...] = Field((), max_length=ROWS_MAX)


class Cancelled(Answer):
    """How many orders were cancelled."""

    cancelled: int = 0


class Evidence(Answer):
    """What justified a fill: a quote that displayed ``size``, or a trade that printed it."""

    kind: str
    price: Decimal
    size: Decimal
    taken_before: Decimal = Decimal(0)
    event_ms: Ms | None = None
    received_ms: Ms | None = None
    trade_id: int | None = None
    rule: str | None = None


class Fill(Answer):
    """One fill of an order, with its evidence."""

    number: int | None = None
    client_order_id: str
    symbol: str
    side: Side
    price: Decimal
    qty: Decimal
    fee: Decimal | None = None
    is_maker: bool = False
    filled_ms: Ms
    evidence: Evidence


class Fills(Answer):
    """Fills, newest first."""

    fills: tuple[Fill, ...] = Field((), max_length=ROWS_MAX)


class Preview(Answer):
    """What an order would cost now; ``denial`` is why risk would refuse it."""

    price: Decimal | None = None
    notional: Decimal | None = None
    fee: Decimal | None = None
    cash_after: Decimal | None = None
    position_after: Decimal | None = None
    denial: str | None = None
    detail: str | None = None
