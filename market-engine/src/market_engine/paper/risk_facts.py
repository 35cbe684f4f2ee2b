"""What risk calculates of an order before it judges it: prices, the collar, what open orders hold.

Pure arithmetic on integers in billionths; money where something is compared. An order is counted
with the part that opens or adds to a position; the part that closes one needs no room and no funds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from market_engine.decimals import NANO, WHOLE_DIGITS_MAX
from market_engine.events import Quote
from market_engine.paper.account import PortfolioAccount
from market_engine.paper.markets import SymbolMarket
from market_engine.paper.model import NewOrder, Order, Portfolio, TradingState
from market_engine.paper.money import ZERO, add, fee, product, subtract

_FLATTEN_SOURCE: Final = "flatten"
_READABLE_NANO_MAX: Final = 10**WHOLE_DIGITS_MAX * NANO - 1
"""The largest price that ``to_nano`` reads."""


class RiskView(msgspec.Struct, frozen=True, gc=False):
    """What risk looks at, as of ``now_ns``."""

    portfolio: Portfolio
    account: PortfolioAccount
    market: SymbolMarket | None
    """Of the order's symbol; None before its first event."""
    currency: str | None
    """In which the symbol is priced; None for a symbol that is not known, and empty where its name
    does not tell."""
    state: TradingState
    now_ns: int
    open_orders: Sequence[Order]
    """Those of the portfolio that are not final."""
    submitted_ns: deque[int]
    """When the newest orders came, denied ones too, oldest first."""

    @property
    def price_nano(self) -> int | None:
        """The symbol's newest fresh price."""
        stale_ns = self.portfolio.model.stale_ms * 1_000_000
        return None if self.market is None else self.market.price_nano(self.now_ns, stale_ns)

    @property
    def quote(self) -> Quote | None:
        """The symbol's newest quote, if it is fresh."""
        quote = None if self.market is None else self.market.quote
        stale_ns = self.portfolio.model.stale_ms * 1_000_000
        return None if quote is None or self.now_ns - quote.received_ns > stale_ns else quote


class Holds(msgspec.Struct, frozen=True, gc=False):
    """What the open orders of a portfolio may still do, and what an order adds to it."""

    increase_nano: int
    """The part of the order that does not close a position, once the open orders were filled."""
    left_nano: int
    """The part of the position that nothing open on the order's side closes."""
    counted_nano: int
    """The part of it that open orders of that side close which would open without it."""
    same_side_nano: int
    """Open on the order's side of its symbol; of reduce-only orders, what closes the position."""
    value: Decimal
    """Of the increasing parts of all open orders."""
    buys: Decimal
    """Worst cost of the increasing parts of open buys, fees included."""
    shorts: Decimal
    """Value of the increasing parts of open sells."""


def holds(order: NewOrder, view: RiskView, price_nano: int | None) -> Holds:
    """One pass over the open orders: as at worst, those that are reduce-only were filled first."""
    closable: dict[tuple[str, str], int] = {}
    same_side_nano = counted_nano = buys = sells = 0
    open_orders = view.open_orders
    if any(each.asked.reduce_only for each in open_orders):
        open_orders = sorted(open_orders, key=_goes_second)
    for each in open_orders:
        asked = each.asked
        key = asked.symbol, asked.side
        left_nano = asked.qty_nano - each.filled_nano
        can_nano = closable.get(key)
        if can_nano is None:
            can_nano = closable_nano(view.account, asked)
        closed_nano = left_nano if left_nano < can_nano else can_nano
        closable[key] = can_nano - closed_nano
        increase_nano = left_nano - closed_nano
        if asked.reduce_only:
            left_nano, increase_nano = closed_nano, 0
        is_same = asked.symbol == order.symbol
        if is_same and asked.side == order.side:
            same_side_nano += left_nano
            if not asked.reduce_only:
                counted_nano += closed_nano
        if increase_nano:
            worst_nano = asked.limit_nano
            if worst_nano is None:
                worst_nano = _open_price_nano(each, view, price_nano if is_same else None)
            if asked.side == "buy":
                buys += increase_nano * worst_nano
            else:
                sells += increase_nano * worst_nano
    still_nano = closable.get((order.symbol, order.side), closable_nano(view.account, order))
    increase_nano = max(0, order.qty_nano - still_nano)
    if order.reduce_only:
        increase_nano = 0
    if not buys and not sells:
        return Holds(increase_nano, still_nano, counted_nano, same_side_nano, ZERO, ZERO, ZERO)
    cost, shorts = product(buys, 1), product(sells, 1)
    value, worst = add(cost, shorts), add(cost, fee(cost, view.portfolio.model.taker_fee))
    return Holds(increase_nano, still_nano, counted_nano, same_side_nano, value, worst, shorts)


def is_way_out(order: NewOrder, view: RiskView) -> bool:
    """One of the desk's own orders out of a position, while it is flattened or after."""
    is_closing = view.state in (TradingState.FLATTEN, TradingState.HALTED)
    return is_closing and order.source == _FLATTEN_SOURCE and order.reduce_only


def _goes_second(order: Order) -> bool:
    return not order.asked.reduce_only


def closable_nano(account: PortfolioAccount, asked: NewOrder) -> int:
    """The position on the other side of an order."""
    position_nano = account.position_nano(asked.symbol)
    return max(0, -position_nano if asked.side == "buy" else position_nano)


def _open_price_nano(order: Order, view: RiskView, price_nano: int | None) -> int:
    """The worst price of one without a limit; without any bound, the newest known, else 0."""
    asked = order.asked
    if asked.side == "buy":
        bounds = (order.collar_nano, asked.stop_nano, price_nano)
    else:
        bounds = (asked.stop_nano, price_nano, order.collar_nano)
    for bound in bounds:
        if bound is not None:
            return bound
    mark = view.account.marks().get(asked.symbol)
    return 0 if mark is None or mark.price_nano is None else mark.price_nano


def reference_nano(order: NewOrder, price_nano: int) -> int:
    """What an order is valued at: its limit or stop, and never less than it may be filled at."""
    if order.stop_nano is not None:
        return max(order.stop_nano, order.limit_nano or 0)
    if order.limit_nano is None:
        return price_nano
    return order.limit_nano if order.side == "buy" else max(order.limit_nano, price_nano)


def collar_of(order: NewOrder, price_nano: int, collar: Decimal | None) -> int | None:
    """The worst price that the collar allows, rounded to a billionth towards the price.

    A stop's is counted from its stop price, or from the price where that is beyond it already.
    It is never more than ``to_nano`` reads.
    """
    if collar is None:
        return None
    above, below = collar.as_integer_ratio()
    if order.side == "buy":
        found_nano = max(price_nano, order.stop_nano or 0) * (below + above) // below
        return min(found_nano, _READABLE_NANO_MAX)
    base_nano = price_nano if order.stop_nano is None else min(price_nano, order.stop_nano)
    return max(1, -(-base_nano * (below - above) // below))


def worse_nano(price_nano: int, side: str, slippage: Decimal) -> int:
    """A taker's price: worse by the slippage, rounded to a billionth against the taker."""
    above, below = slippage.as_integer_ratio()
    if side == "buy":
        return -(-price_nano * (below + above) // below)
    return max(1, price_nano * (below - above) // below)


def shorts_value(account: PortfolioAccount) -> Decimal:
    """What it would cost to buy all shorts back; at cost where one has no price."""
    total = ZERO
    for symbol, position in account.positions.items():
        if position.qty_nano < 0:
            total = subtract(total, _value(account, symbol))
    return total


def equity_of(account: PortfolioAccount) -> Decimal:
    """Equity; positions without a price count at cost, as they do in the gross value."""
    total = account.equity()
    if total is None:
        total = account.cash
        for symbol in account.positions:
            total = add(total, _value(account, symbol))
    return total


def _value(account: PortfolioAccount, symbol: str) -> Decimal:
    position, mark = account.positions[symbol], account.marks().get(symbol)
    if mark is None or mark.price_nano is None:
        return position.cost
    return product(mark.price_nano, position.qty_nano)
