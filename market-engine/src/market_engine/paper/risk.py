"""Risk before every order: whether it passes, and if not, why, in one sentence with the cure.

Pure: it sees a portfolio as of a moment and changes nothing. The checks run in the order of
``CHECKS`` and the first that fails is the reason; a value equal to its limit passes.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from market_engine.paper.currencies import currency_of
from market_engine.paper.model import NewOrder, OrderType
from market_engine.paper.money import add, fee, product, subtract
from market_engine.paper.reasons import Denial
from market_engine.paper.risk_checks import CHECKS, Facts
from market_engine.paper.risk_facts import RiskView, closable_nano, is_way_out, worse_nano

__all__ = ("CHECKS", "Preview", "RiskView", "Verdict", "check", "currency_of", "preview")

_WAY_OUT: Final = (Denial.UNKNOWN_SYMBOL, Denial.CURRENCY, Denial.REDUCE_ONLY)
_WAY_OUT_CHECKS: Final = tuple(each for each in CHECKS if each[0] in _WAY_OUT)


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What risk says of an order."""

    denial: Denial | None
    """None: it passes."""
    detail: str = ""
    """Of a denial: the numbers, and the cure."""
    collar_nano: int | None = None
    """The worst price of a market or stop order; None without a collar, and of limit orders."""


class Preview(msgspec.Struct, frozen=True, gc=False):
    """What an order would come to if all of it were filled now; the book may be thinner.

    Of a reduce-only order, all that it could close.
    """

    price_nano: int | None
    """What it is expected to fill at; None without a price, as are the next three."""
    notional: Decimal | None
    fee: Decimal | None
    cash_after: Decimal | None
    position_after_nano: int
    """Signed."""
    verdict: Verdict


def check(order: NewOrder, view: RiskView) -> Verdict:
    """Whether an order passes.

    The desk's own orders out of a position pass all but the first two checks and ``reduce_only``,
    and have no collar: they wait for a price if there is none.
    """
    facts = Facts(order, view)
    checks = _WAY_OUT_CHECKS if is_way_out(order, view) else CHECKS
    for denial, finds in checks:
        detail = finds(facts)
        if detail:
            return Verdict(denial, detail)
    is_market = order.type in (OrderType.MARKET, OrderType.STOP)
    return Verdict(None, "", facts.collar_nano if is_market and checks is CHECKS else None)


def preview(order: NewOrder, view: RiskView) -> Preview:
    """What an order would come to, and whether it passes; changes nothing."""
    verdict, account = check(order, view), view.account
    sign, qty_nano = 1 if order.side == "buy" else -1, order.qty_nano
    if order.reduce_only:
        qty_nano = min(qty_nano, closable_nano(account, order))
    after_nano = account.position_nano(order.symbol) + sign * qty_nano
    price_nano, takes = _expected(order, view)
    if price_nano is None:
        return Preview(None, None, None, None, after_nano, verdict)
    notional, model = product(price_nano, qty_nano), view.portfolio.model
    charge = fee(notional, model.taker_fee if takes else model.maker_fee)
    moved = product(-sign * price_nano, qty_nano)
    cash_after = subtract(add(account.cash, moved), charge)
    return Preview(price_nano, notional, charge, cash_after, after_nano, verdict)


def _expected(order: NewOrder, view: RiskView) -> tuple[int | None, bool]:
    """The price an order would fill at, and whether as a taker."""
    price_nano, quote = view.price_nano, view.quote
    if order.type in (OrderType.STOP, OrderType.STOP_LIMIT):
        return order.stop_nano if order.limit_nano is None else order.limit_nano, True
    if price_nano is None:
        return order.limit_nano, False
    is_buy = order.side == "buy"
    if quote is not None:
        price_nano = (quote.ask_nano if is_buy else quote.bid_nano) or price_nano
    limit_nano = order.limit_nano
    takes_nano = worse_nano(price_nano, order.side, view.portfolio.model.slippage)
    if limit_nano is None:
        return takes_nano, True
    if price_nano > limit_nano if is_buy else price_nano < limit_nano:
        return limit_nano, False
    return (min if is_buy else max)(takes_nano, limit_nano), not order.post_only
