"""Why an order is not filled, and why one is denied: closed sets, as they are labels of metrics."""

from __future__ import annotations

from enum import StrEnum


class Why(StrEnum):
    """Why an order, or what is left of it, is not filled; empty of one that is filled."""

    FILLED = ""
    LATENCY = "latency"
    """Its latency has not passed."""
    TRIGGER = "trigger"
    """No trade has printed at its stop price yet."""
    PRICE = "price"
    """The market is not at its limit."""
    LIQUIDITY = "liquidity"
    """All that was displayed or printed at its price is taken."""
    STALE_PRICE = "stale_price"
    """The newest quote and trade are older than the limit allows."""
    NO_PRICE = "no_price"
    """Nothing has come for its symbol yet."""
    COLLAR = "collar"
    """The market went beyond the price collar of a market order."""
    IOC = "ioc"
    FOK = "fok"
    POST_ONLY = "post_only"
    """It would have taken liquidity."""
    REDUCE_ONLY = "reduce_only"
    """There is no position left that it could reduce."""
    DAY_ENDED = "day_ended"
    CANCELLED = "cancelled"
    """By its owner."""
    FLATTENED = "flattened"
    """By the trading state ``flatten``."""
    NOT_STORED = "not_stored"
    """Fills cannot be stored now, so none are made."""


class Denial(StrEnum):
    """Why risk denied an order. A closed set: it is a label of a metric."""

    HALTED = "halted"
    REDUCING = "reducing"
    """Only orders that reduce a position are taken now."""
    UNKNOWN_SYMBOL = "unknown_symbol"
    CURRENCY = "currency"
    """The symbol is priced in another currency than the portfolio's."""
    STALE_PRICE = "stale_price"
    """No price, or one too old."""
    MAX_ORDER = "max_order"
    MAX_POSITION = "max_position"
    MAX_GROSS = "max_gross"
    MAX_DAILY_LOSS = "max_daily_loss"
    PRICE_COLLAR = "price_collar"
    ORDER_RATE = "order_rate"
    OPEN_ORDERS = "open_orders"
    CASH = "cash"
    REDUCE_ONLY = "reduce_only"
    """There is nothing to reduce."""
