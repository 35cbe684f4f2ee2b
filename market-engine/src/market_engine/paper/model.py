"""What the paper desk is told and what it says: portfolios, orders, fills, postings, snapshots.

Nothing here changes after it is made; an order that moves on is a new value. Prices and quantities
are integers in billionths (``decimals``), money is Decimal (``money``), times are ns since 1970 by
the receipt of the market's events, so that a replay says what the live run said.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from market_engine.events import Side
from market_engine.paper.reasons import Denial, Why


class OrderType(StrEnum):
    """What an order waits for."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    """A market order, once a trade printed at its stop price or beyond."""
    STOP_LIMIT = "stop_limit"
    """A limit order, once a trade printed at its stop price or beyond."""


class TimeInForce(StrEnum):
    """How long an order stays."""

    GTC = "gtc"
    """Until it is cancelled, over restarts."""
    IOC = "ioc"
    """What can be had when it becomes active; the rest is cancelled."""
    FOK = "fok"
    """All of it when it becomes active, or nothing."""
    DAY = "day"
    """Until 00:00 UTC."""


class OrderState(StrEnum):
    """Where an order is; the last four are final."""

    PENDING = "pending"
    """Accepted; its latency has not passed."""
    UNTRIGGERED = "untriggered"
    """A stop that waits for its price."""
    WORKING = "working"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DENIED = "denied"
    """By risk, before it was accepted."""


FINAL: Final = frozenset(
    (OrderState.FILLED, OrderState.CANCELLED, OrderState.EXPIRED, OrderState.DENIED)
)


class TradingState(StrEnum):
    """What the desk lets through; cancels always pass."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"
    FLATTEN = "flatten"
    """Open orders are cancelled, positions are closed at the market; then ``halted``."""


class BookName(StrEnum):
    """Three ways to fill the same orders; the account is the neutral one."""

    OPTIMISTIC = "optimistic"
    """A touch of the limit fills all of it."""
    NEUTRAL = "neutral"
    """What was displayed or printed at the limit or better, and no more."""
    PESSIMISTIC = "pessimistic"
    """A resting order fills only where trades went through its price; no more than they had."""


class EvidenceKind(StrEnum):
    """What justified a fill."""

    QUOTE = "quote"
    """It was displayed on the other side."""
    PRINT = "print"
    """A trade printed."""


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """The event that justified a fill, so that a checker can find it in the raw stream."""

    kind: EvidenceKind
    received_ns: int
    event_ns: int
    price_nano: int
    """Of the side of the quote that was taken, or of the print."""
    size_nano: int
    """What it displayed or printed."""
    taken_before_nano: int
    """What of it this book of this portfolio had taken before."""
    trade_id: int | None = None
    rule: str = ""
    """In a sentence for a person, such as ``displayed at the ask``."""


class Limits(msgspec.Struct, frozen=True, gc=False):
    """The risk limits of a portfolio, in its currency; None is no limit."""

    max_order: Decimal | None = Decimal(100_000)
    """Notional of one order."""
    max_position: Decimal | None = Decimal(250_000)
    """Absolute value of one position, what is open on the same side included."""
    max_gross: Decimal | None = Decimal(500_000)
    """Sum of absolute values of all positions and of what is open."""
    max_daily_loss: Decimal | None = Decimal(20_000)
    """Of equity since 00:00 UTC: beyond it only reducing orders pass, until the next day."""
    price_collar: Decimal | None = Decimal("0.05")
    """How far from the last price a limit may be on the taking side, and a market order may go; as
    a fraction."""
    orders_a_second: int | None = 50
    open_orders: int = 1_000
    """At most so many at once: memory is bounded."""
    allow_short: bool = True
    """False: a sell may not exceed the position."""


class Model(msgspec.Struct, frozen=True, gc=False):
    """How fills are simulated."""

    maker_fee: Decimal = Decimal("0.0002")
    """As a fraction of the notional."""
    taker_fee: Decimal = Decimal("0.0005")
    slippage: Decimal = Decimal(0)
    """By which fraction a taker's price is worse than what was displayed; never beyond a limit."""
    latency_ms: int = 0
    """From acceptance to the first event that may fill it."""
    stale_ms: int = 10_000
    """Older quotes and trades justify no fill, and no order is taken on them."""


class Portfolio(msgspec.Struct, frozen=True, gc=False):
    """A paper portfolio in one currency, as it was made."""

    name: str
    """1 to 32 of ``a-z0-9_-``."""
    currency: str
    balance: Decimal
    """What it began with."""
    created_ns: int
    annual_days: int = 365
    """N of the ratios: 365 where it trades all days, 252 for equities."""
    limits: Limits = Limits()
    model: Model = Model()


class NewOrder(msgspec.Struct, frozen=True, gc=False):
    """What somebody asks for; checked for its form, not by risk."""

    portfolio: str
    client_order_id: str
    """Unique for ever in its portfolio: 1 to 64 of ``A-Za-z0-9._:-``."""
    symbol: str
    side: Side
    type: OrderType
    qty_nano: int
    """Above 0."""
    limit_nano: int | None = None
    """Of limit and stop-limit orders only."""
    stop_nano: int | None = None
    """Of stop and stop-limit orders only."""
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    reduce_only: bool = False
    source: str = "api"
    """Who asked: ``api``, ``desk`` (the button), ``flatten``, or a strategy's name."""


class Order(msgspec.Struct, frozen=True, gc=False):
    """An order as it is, in the neutral book."""

    asked: NewOrder
    number: int
    """1, 2, 3, … over all portfolios: the order of acceptance."""
    state: OrderState
    why: Why | Denial
    submitted_ns: int
    """The receipt of the newest event when it was accepted."""
    accepted_wall_ns: int
    """By the wall clock, for people."""
    collar_nano: int | None = None
    """The worst price of a market order: beyond it, what is left is cancelled."""
    filled_nano: int = 0
    detail: str = ""
    """Of a denied one: the numbers, and the cure."""
    triggered_ns: int | None = None
    closed_ns: int | None = None
    open_books: tuple[BookName, ...] = ()
    """Where it is not done; it may be filled in one book and wait in another."""

    @property
    def left_nano(self) -> int:
        """What is not filled."""
        return self.asked.qty_nano - self.filled_nano


class Fill(msgspec.Struct, frozen=True, gc=False):
    """One fill of one order in one book."""

    number: int
    """1, 2, 3, … over all fills of the neutral book; 0 in the two others, which have no account."""
    book: BookName
    portfolio: str
    client_order_id: str
    order_number: int
    order_fill: int
    """1, 2, 3, … of this order in this book: with the order's number, what a fill is known by."""
    symbol: str
    side: Side
    price_nano: int
    qty_nano: int
    fee: Decimal
    is_maker: bool
    filled_ns: int
    evidence: Evidence


class Account(StrEnum):
    """The accounts of the ledger; ``position`` is one for each symbol, at cost."""

    CASH = "cash"
    POSITION = "position"
    CAPITAL = "capital"
    REALISED = "realised"
    FEES = "fees"


class Posting(msgspec.Struct, frozen=True, gc=False):
    """One line of the ledger. The lines of a transaction add up to 0, or they are refused.

    What comes in is positive: cash received, a position bought at cost, a fee paid. So capital and
    realised profit stand with a minus, as their own opposite side.
    """

    portfolio: str
    transaction: int
    """1, 2, 3, … within the portfolio; 1 is its opening."""
    line: int
    account: Account
    symbol: str
    """Of a position, else empty."""
    amount: Decimal
    at_ns: int
    fill_number: int
    """0 for the opening."""


class Mark(msgspec.Struct, frozen=True, gc=False):
    """What a position is valued with."""

    price_nano: int | None
    """None: unpriced."""
    source: str
    """``bid``, ``ask`` or ``last``; empty if unpriced."""
    at_ns: int
    is_stale: bool


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """A portfolio at a moment: each 60 s, after each fill, at a new peak or low, and at the end."""

    portfolio: str
    number: int
    """1, 2, 3, … within the portfolio."""
    at_ns: int
    transaction: int
    """The last one of the ledger that is in it."""
    cash: Decimal
    realised: Decimal
    fees: Decimal
    unrealised: Decimal | None
    """None while a position is unpriced, as are the next three."""
    equity: Decimal | None
    peak: Decimal | None
    """The highest equity so far, at any event."""
    max_drawdown: float
    """The largest fall of equity from a peak so far, from −1 to 0, at any event."""
    marks: dict[str, Mark]


class StateChange(msgspec.Struct, frozen=True, gc=False):
    """The trading state from ``at_ns`` on."""

    number: int
    state: TradingState
    at_ns: int
    reason: str


class PositionRow(msgspec.Struct, frozen=True, gc=False):
    """A position of the neutral book as it is after its newest fill."""

    portfolio: str
    symbol: str
    qty_nano: int
    """Signed."""
    cost: Decimal
    """Signed: what it cost."""
    realised: Decimal
    """Since the portfolio was made, before fees."""


Record = Portfolio | Order | Fill | Posting | PositionRow | Snapshot | StateChange
"""What is stored. An order and a position are stored each time they change; all else once."""
