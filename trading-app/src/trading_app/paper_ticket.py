"""From what somebody filled in to the body of an order or of a portfolio, or what is wrong. Pure.

It checks the form alone; what an order would cost, and whether risk takes it, the desk says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from trading_app.order_ticket import Problem

TYPES: Final = {"Market": "market", "Limit": "limit", "Stop": "stop", "Stop-limit": "stop_limit"}
TIMES_IN_FORCE: Final = {"GTC": "gtc", "DAY": "day", "IOC": "ioc", "FOK": "fok"}
CURRENCIES: Final = ("USDT", "USD")
DECIMALS_MAX: Final = 9
DIGITS_MAX: Final = 9
_NUMBER: Final = re.compile(r"(\d{1,40})(?:\.(\d{0,40}))?\Z|\.(\d{1,40})\Z", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9_-]{1,32}\Z", re.ASCII)
_SPACES: Final = str.maketrans("", "", " \u00a0\u202f\u2009_'")
Body = dict[str, object]


@dataclass(frozen=True, slots=True)
class OrderForm:
    """The raw values of an order's ticket; prices and the quantity as they were typed."""

    symbol: str | None
    side: str
    type: str = "market"
    qty: str = ""
    limit_price: str = ""
    stop_price: str = ""
    time_in_force: str = "gtc"
    post_only: bool = False
    reduce_only: bool = False


def has_limit(order_type: str) -> bool:
    """Whether an order of this type has a limit price."""
    return order_type in {"limit", "stop_limit"}


def has_stop(order_type: str) -> bool:
    """Whether an order of this type has a stop price."""
    return order_type in {"stop", "stop_limit"}


def order_body(form: OrderForm, portfolio: str) -> Body | list[Problem]:
    """Make the body of ``POST /orders``, without an id, or say what is wrong with each field."""
    values: Body = {"portfolio": portfolio, "symbol": form.symbol, "side": form.side}
    problems = [] if form.symbol else [Problem("symbol", "is missing: choose one")]
    values["type"] = form.type
    wanted = {
        "qty": (form.qty, True),
        "limit_price": (form.limit_price, has_limit(form.type)),
        "stop_price": (form.stop_price, has_stop(form.type)),
    }
    for field, (text, needed) in wanted.items():
        found = _amount(field, text) if needed else None
        if isinstance(found, Problem):
            problems.append(found)
        values[field] = found
    values["time_in_force"] = form.time_in_force
    values["post_only"] = form.post_only and has_limit(form.type)
    values["reduce_only"] = form.reduce_only
    return problems or values


def market_body(symbol: str, side: str, qty: float, portfolio: str) -> Body | list[Problem]:
    """Make the body of the one button's market order; ``qty`` is what a number field holds."""
    text = format(Decimal(repr(float(qty))), "f")
    return order_body(OrderForm(symbol, side, qty=text), portfolio)


def portfolio_body(name: str, currency: str, balance: str) -> Body | list[Problem]:
    """Make the body of ``POST /portfolio/init``, or say what is wrong."""
    problems = []
    if not _NAME.match(name.strip()):
        problems.append(Problem("name", "must be 1 to 32 of a-z 0-9 _ -"))
    found = _amount("balance", balance)
    if isinstance(found, Problem):
        problems.append(found)
    return problems or {"name": name.strip(), "currency": currency, "balance": found}


def plain(text: str) -> str:
    """Take away what people group digits with."""
    return text.strip().translate(_SPACES)


def _amount(field: str, text: str) -> str | Problem:
    """Read a number above 0 as exact decimal text."""
    match = _NUMBER.match(plain(text))
    name = field.replace("_", " ")
    if not text.strip():
        return Problem(name, "is missing: give a number above 0")
    if match is None:
        return Problem(name, "is not a number: digits, and a point before decimals")
    amount = Decimal(plain(text)).normalize()
    if not amount:
        return Problem(name, "must be above 0")
    if -int(amount.as_tuple().exponent) > DECIMALS_MAX or amount.adjusted() >= DIGITS_MAX:
        return Problem(name, f"has too many digits: {DIGITS_MAX} before the point, 9 after it")
    return format(amount, "f")


def same(body: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Give what tells one order from another: a second try of the same is the same order."""
    return tuple(sorted((key, str(value)) for key, value in body.items()))
