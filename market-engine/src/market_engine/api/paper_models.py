"""What the API answers about the paper desk, for its OpenAPI page; as ``models``.

Answers are written by ``paper_shapes``; what it is sent is in ``paper_bodies``.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from market_engine.api import paper_examples as examples
from market_engine.api.models import Decimal, like
from market_engine.events import Side
from market_engine.paper.model import (
    BookName,
    EvidenceKind,
    OrderState,
    OrderType,
    TimeInForce,
    TradingState,
)
from market_engine.paper.reasons import Denial, Why

HistoryWindow = Literal["1h", "1d", "7d", "all"]


class LimitsEntry(BaseModel):
    """The risk limits, in the portfolio's currency; null is no limit."""

    max_order: Decimal | None
    max_position: Decimal | None
    max_gross: Decimal | None
    max_daily_loss: Decimal | None
    price_collar: Decimal | None = Field(description="A fraction of the last price.")
    orders_a_second: int | None
    open_orders: int
    allow_short: bool


class ModelEntry(BaseModel):
    """How fills are simulated; fees and slippage are fractions."""

    maker_fee: Decimal
    taker_fee: Decimal
    slippage: Decimal
    latency_ms: int
    stale_ms: int


class PortfolioEntry(BaseModel):
    """A portfolio as it was made."""

    model_config = like(examples.PORTFOLIO)
    name: str
    currency: str
    balance: Decimal = Field(description="What it began with.")
    created_ms: int
    annual_days: int = Field(description="Daily returns that make a year.")
    limits: LimitsEntry
    model: ModelEntry


class PortfolioLine(BaseModel):
    """A portfolio in one line."""

    name: str
    currency: str
    equity: Decimal | None = Field(description="null while a position has no price.")
    profit: Decimal | None
    open_orders: int


class Portfolios(BaseModel):
    """In the order of their making."""

    model_config = like(examples.PORTFOLIOS)
    portfolios: list[PortfolioLine]


class StateNow(BaseModel):
    """What the desk lets through."""

    state: TradingState
    since_ms: int | None
    reason: str


class State(StateNow):
    """The same with its number: 1, 2, 3, … for each change."""

    model_config = like(examples.STATE)
    number: int


class PositionEntry(BaseModel):
    """A position at its price: the bid of a long one, the ask of a short one, else the last."""

    symbol: str
    qty: Decimal = Field(description="Below 0 where it is short.")
    average_price: Decimal | None = Field(description="Rounded, for display; null when flat.")
    cost: Decimal
    price: Decimal | None
    price_source: Literal["bid", "ask", "last", ""]
    price_ms: int | None
    is_stale: bool
    value: Decimal | None
    unrealised: Decimal | None
    realised: Decimal = Field(description="Before fees.")


class BookEntry(BaseModel):
    """What one way of filling the same orders came to; the account is the neutral one."""

    book: BookName
    equity: Decimal | None
    profit: Decimal | None
    fees: Decimal
    fills: int
    traded: Decimal | None = Field(description="Sum of the notionals of its fills.")


class Holding(BaseModel):
    """A portfolio at a moment."""

    model_config = like(examples.HOLDING)
    portfolio: PortfolioEntry
    now_ms: int | None = Field(description="Of the newest event of the market.")
    is_stored: bool = Field(description="false: the desk cannot store now, so a kill undoes this.")
    state: StateNow
    cash: Decimal
    equity: Decimal | None
    realised: Decimal
    unrealised: Decimal | None
    fees: Decimal
    residue: Decimal = Field(description="What nothing else here explains: 0, or a defect.")
    gross: Decimal
    peak: Decimal | None
    max_drawdown: float = Field(description="From -1 to 0, at any event.")
    day_profit: Decimal | None = Field(description="Since 00:00 UTC.")
    open_orders: int
    fills: int
    positions: list[PositionEntry]
    books: list[BookEntry]


class SnapshotEntry(BaseModel):
    """A portfolio at a moment of the past."""

    at_ms: int
    equity: Decimal | None
    cash: Decimal
    realised: Decimal
    unrealised: Decimal | None
    fees: Decimal
    drawdown: float | None = Field(description="From the highest equity, then; 0 or less.")
    max_drawdown: float


class PortfolioHistory(BaseModel):
    """Oldest first, at most 2,000 of them."""

    model_config = like(examples.PORTFOLIO_HISTORY)
    portfolio: str
    snapshots: list[SnapshotEntry]


class SymbolProfit(BaseModel):
    """What one symbol came to."""

    symbol: str
    realised: Decimal
    fees: Decimal
    fills: int
    unrealised: Decimal | None


class PerformanceEntry(BaseModel):
    """Figures since the portfolio was made; null where undefined."""

    model_config = like(examples.PERFORMANCE)
    portfolio: str
    annual_days: int
    days: int
    total_return: float | None
    cagr: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    max_drawdown: float
    calmar: float | None
    round_trips: int
    wins: int
    losses: int
    breakevens: int
    win_rate: float | None
    profit_factor: float | None
    expectancy: Decimal | None
    undefined: dict[str, str] = Field(description="Of each figure that is null: why.")
    by_symbol: list[SymbolProfit]


class BookFill(BaseModel):
    """What one book made of an order."""

    filled_qty: Decimal
    average_price: Decimal | None = Field(description="Rounded, for display; null unfilled.")


class OrderBooks(BaseModel):
    """By book."""

    optimistic: BookFill
    neutral: BookFill
    pessimistic: BookFill


class OrderEntry(BaseModel):
    """An order as it is now, in the neutral book."""

    model_config = like(examples.ORDER)
    portfolio: str
    client_order_id: str
    number: int = Field(description="Over all portfolios, in the order in which they came.")
    symbol: str
    side: Side
    type: OrderType
    qty: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    time_in_force: TimeInForce
    post_only: bool
    reduce_only: bool
    source: str
    state: OrderState
    why: Why | Denial = Field(description="Why what is left is not filled; empty when filled.")
    detail: str = Field(description="The same in a sentence.")
    filled_qty: Decimal
    left_qty: Decimal
    average_price: Decimal | None
    submitted_ms: int | None = Field(description="The newest event of the market at that time.")
    accepted_ms: int = Field(description="By the wall clock.")
    triggered_ms: int | None
    closed_ms: int | None
    collar_price: Decimal | None = Field(description="The worst price of a market order.")
    books: OrderBooks


class Orders(BaseModel):
    """Newest first."""

    model_config = like({"orders": [examples.ORDER]})
    orders: list[OrderEntry]


class Cancelled(BaseModel):
    """What a cancel of all orders did."""

    model_config = like(examples.CANCELLED)
    cancelled: int = Field(description="Orders that were open.")


class PreviewEntry(BaseModel):
    """What an order would come to if all of it were filled now; nothing is kept."""

    model_config = like(examples.PREVIEW)
    price: Decimal | None
    notional: Decimal | None
    fee: Decimal | None
    cash_after: Decimal | None
    position_after: Decimal
    denial: Denial | None
    detail: str


class EvidenceEntry(BaseModel):
    """The event of the market that justified a fill."""

    kind: EvidenceKind
    received_ms: int
    event_ms: int
    price: Decimal
    size: Decimal = Field(description="What was displayed or printed.")
    taken_before: Decimal = Field(description="What of it this book had taken before.")
    trade_id: int | None
    rule: str


class FillEntry(BaseModel):
    """One fill."""

    number: int = Field(description="In the ledger; 0 in the optimistic and pessimistic books.")
    book: BookName
    portfolio: str
    client_order_id: str
    order_fill: int
    symbol: str
    side: Side
    price: Decimal
    qty: Decimal
    notional: Decimal
    fee: Decimal
    is_maker: bool
    filled_ms: int
    evidence: EvidenceEntry


class Fills(BaseModel):
    """Newest first."""

    model_config = like(examples.FILLS)
    fills: list[FillEntry]
