"""The checks of risk, each a sentence with the numbers and the cure, or nothing.

They run in the order of ``CHECKS`` and the first that fails is the reason; a value equal to its
limit passes. Pure: they see a portfolio as of a moment and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from market_engine.events import SECOND_NS
from market_engine.paper.currencies import UNCLEAR
from market_engine.paper.model import NewOrder, TradingState
from market_engine.paper.money import add, fee, price_text, product, subtract, text
from market_engine.paper.reasons import Denial
from market_engine.paper.risk_facts import (
    RiskView,
    closable_nano,
    collar_of,
    equity_of,
    holds,
    is_way_out,
    reference_nano,
    shorts_value,
    worse_nano,
)

_STOPPED: Final = (TradingState.HALTED, TradingState.FLATTEN)
_REDUCING: Final = TradingState.REDUCING


class Facts:
    """What the checks look at, worked out once: almost every order needs all of it."""

    __slots__ = (
        "collar_nano",
        "holds",
        "is_priced",
        "limits",
        "only_reduces",
        "order",
        "price_nano",
        "reference_nano",
        "view",
    )

    def __init__(self, order: NewOrder, view: RiskView) -> None:
        self.order, self.view = order, view
        self.limits = view.portfolio.limits
        price_nano = view.price_nano
        self.is_priced = price_nano is not None
        """Whether there is a fresh price; without one, it counts as 0 below."""
        self.price_nano: int = price_nano or 0
        self.collar_nano = collar_of(order, self.price_nano, self.limits.price_collar)
        """The worst price that the collar allows."""
        self.holds = holds(order, view, self.price_nano)
        """What the open orders hold, and what this one adds."""
        self.only_reduces = self.holds.increase_nano == 0 and closable_nano(view.account, order) > 0
        """It closes (a part of) a position, after all that is open on its side was filled."""
        self.reference_nano = reference_nano(order, self.price_nano)
        """What the order is valued at."""

    def worst_nano(self) -> int:
        """What a buy may cost at worst: its limit or collar, else the ask and the slippage."""
        bound_nano = self.order.limit_nano or self.collar_nano
        if bound_nano is not None:
            return bound_nano
        quote, slippage = self.view.quote, self.view.portfolio.model.slippage
        ask_nano = 0 if quote is None else quote.ask_nano
        return worse_nano(max(self.reference_nano, ask_nano), "buy", slippage)

    def money(self, amount: Decimal) -> str:
        """With the currency."""
        return f"{text(amount)} {self.view.portfolio.currency}"


def _symbol(facts: Facts) -> str:
    symbol, currency = facts.order.symbol, facts.view.currency
    if currency is None:
        return f"{symbol} is not known here: choose one of GET /symbols"
    if currency == UNCLEAR:
        return (
            f"the name {symbol} does not tell in which currency it is priced, so the desk cannot "
            "account for it: trade a symbol that ends with its currency, such as BTCUSDT"
        )
    return ""


def _currency(facts: Facts) -> str:
    priced, mine = facts.view.currency, facts.view.portfolio.currency
    if priced == mine:
        return ""
    return (
        f"{facts.order.symbol} is priced in {priced} and the portfolio "
        f"{facts.view.portfolio.name} is in {mine}: use a portfolio in {priced}"
    )


def _halted(facts: Facts) -> str:
    if facts.view.state not in _STOPPED:
        return ""
    return f"the desk is {facts.view.state}: set the trading state to active to trade again"


def _reducing(facts: Facts) -> str:
    if facts.view.state is not _REDUCING or facts.only_reduces:
        return ""
    return (
        "the desk takes only orders that reduce a position now, and this one opens or adds "
        f"{price_text(facts.holds.increase_nano or facts.order.qty_nano)} {facts.order.symbol}: "
        "make it reduce-only, or set the trading state to active"
    )


def _daily_loss(facts: Facts) -> str:
    limit = facts.limits.max_daily_loss
    if limit is None:
        return ""
    account = facts.view.account
    loss = subtract(account.day_equity, equity_of(account))
    if loss <= limit or facts.only_reduces:
        return ""
    return (
        f"the loss since 00:00 UTC is {facts.money(loss)}, above max_daily_loss "
        f"{facts.money(limit)}: only orders that reduce a position pass until the next day"
    )


def _stale_price(facts: Facts) -> str:
    view, symbol = facts.view, facts.order.symbol
    if facts.is_priced:
        return ""
    market = view.market
    if market is None or (market.quote is None and market.last is None):
        return f"nothing has come for {symbol} yet: wait for its first quote or trade"
    newest_ns = max(each.received_ns for each in (market.quote, market.last) if each is not None)
    age_ms = (view.now_ns - newest_ns) // 1_000_000
    return (
        f"the newest price of {symbol} is {age_ms:,} ms old and stale_ms is "
        f"{view.portfolio.model.stale_ms:,}: wait for the next quote or trade"
    )


def _reduce_only(facts: Facts) -> str:
    """It opens nothing, but a plain order that counts on the same part of a position then would.

    Others that are reduce-only do not: each is capped where it fills.
    """
    order, left_nano = facts.order, facts.holds.left_nano
    if not order.reduce_only:
        return ""
    closable = closable_nano(facts.view.account, order)
    held = price_text(facts.view.account.position_nano(order.symbol))
    if not closable:
        return (
            f"the position in {order.symbol} is {held}, which a {order.side} does not reduce: "
            "send it without reduce-only, or on the other side"
        )
    counted_nano = facts.holds.counted_nano
    if not counted_nano or order.qty_nano <= left_nano or is_way_out(order, facts.view):
        return ""
    closed = price_text(closable - left_nano) if left_nano else "all"
    at_most = f"make it at most {price_text(left_nano)}, or " if left_nano else ""
    return (
        f"the position in {order.symbol} is {held}, and the open {order.side} orders close "
        f"{closed} of it already, {price_text(counted_nano)} without reduce-only: "
        f"{at_most}cancel those without it"
    )


def _order_rate(facts: Facts) -> str:
    limit, times = facts.limits.orders_a_second, facts.view.submitted_ns
    if limit is None or len(times) < limit:
        return ""
    if limit and times[-limit] <= facts.view.now_ns - SECOND_NS:
        return ""
    return (
        f"{limit:,} orders came within the last second and orders_a_second is {limit:,}: "
        "send it again a second later"
    )


def _open_orders(facts: Facts) -> str:
    limit, count = facts.limits.open_orders, len(facts.view.open_orders)
    if count < limit:
        return ""
    return f"{count:,} orders are open and open_orders is {limit:,}: cancel one first"


def _max_order(facts: Facts) -> str:
    limit = facts.limits.max_order
    if limit is None:
        return ""
    notional = product(facts.reference_nano, facts.order.qty_nano)
    if notional <= limit:
        return ""
    return (
        f"the order is worth {facts.money(notional)}, above max_order {facts.money(limit)}: "
        "make it smaller"
    )


def _price_collar(facts: Facts) -> str:
    limit_nano, collar_nano = facts.order.limit_nano, facts.collar_nano
    collar = facts.limits.price_collar
    if limit_nano is None or collar_nano is None or collar is None:
        return ""
    is_buy = facts.order.side == "buy"
    if limit_nano <= collar_nano if is_buy else limit_nano >= collar_nano:
        return ""
    return (
        f"the limit {price_text(limit_nano)} is {'above' if is_buy else 'below'} "
        f"{price_text(collar_nano)}, which is the price collar {text(collar)} "
        f"from {price_text(facts.price_nano)}: bring the limit closer to the market"
    )


def _max_position(facts: Facts) -> str:
    if facts.only_reduces:
        return ""
    order, limit = facts.order, facts.limits.max_position
    if order.side == "sell" and facts.holds.increase_nano and not facts.limits.allow_short:
        most_nano = order.qty_nano - facts.holds.increase_nano
        is_held = closable_nano(facts.view.account, order) > 0
        return (
            f"the portfolio may not be short (allow_short): sell at most {price_text(most_nano)} "
            f"{order.symbol}, open orders counted{', or make it reduce-only' if is_held else ''}"
        )
    if limit is None:
        return ""
    added_nano = facts.holds.same_side_nano + order.qty_nano
    held_nano = facts.view.account.position_nano(order.symbol)
    after_nano = held_nano + added_nano if order.side == "buy" else held_nano - added_nano
    value = product(facts.price_nano, abs(after_nano))
    if value <= limit:
        return ""
    return (
        f"with what is open, the position would be {price_text(after_nano)} {order.symbol}, worth "
        f"{facts.money(value)}, above max_position {facts.money(limit)}: make it smaller"
    )


def _max_gross(facts: Facts) -> str:
    limit = facts.limits.max_gross
    if limit is None or facts.only_reduces:
        return ""
    added = product(facts.reference_nano, facts.holds.increase_nano)
    gross = add(add(facts.view.account.gross(), facts.holds.value), added)
    if gross <= limit:
        return ""
    return (
        f"all positions with what is open would be worth {facts.money(gross)}, above max_gross "
        f"{facts.money(limit)}: make it smaller, or close something"
    )


def _cash(facts: Facts) -> str:
    increase_nano, account = facts.holds.increase_nano, facts.view.account
    if not increase_nano:
        return ""
    if facts.order.side == "buy":
        cost = product(facts.worst_nano(), increase_nano)
        need = add(cost, fee(cost, facts.view.portfolio.model.taker_fee))
        funds, held = account.cash, facts.holds.buys
        what = "cash"
    else:
        need = product(facts.reference_nano, increase_nano)
        funds, held = equity_of(account), facts.holds.shorts
        what = "equity"
    free = subtract(subtract(funds, held), shorts_value(account))
    if need <= free:
        return ""
    return (
        f"it may need {facts.money(need)} and {facts.money(free)} of the {what} is free of open "
        "orders and shorts: make it smaller, or cancel an open order"
    )


CHECKS: Final[tuple[tuple[Denial, Callable[[Facts], str]], ...]] = (
    (Denial.UNKNOWN_SYMBOL, _symbol),
    (Denial.CURRENCY, _currency),
    (Denial.HALTED, _halted),
    (Denial.REDUCING, _reducing),
    (Denial.MAX_DAILY_LOSS, _daily_loss),
    (Denial.STALE_PRICE, _stale_price),
    (Denial.REDUCE_ONLY, _reduce_only),
    (Denial.ORDER_RATE, _order_rate),
    (Denial.OPEN_ORDERS, _open_orders),
    (Denial.MAX_ORDER, _max_order),
    (Denial.PRICE_COLLAR, _price_collar),
    (Denial.MAX_POSITION, _max_position),
    (Denial.MAX_GROSS, _max_gross),
    (Denial.CASH, _cash),
)
"""In the order in which they run; each gives the sentence of its denial, or nothing."""
