"""How money, profit, orders and evidence are put in words on the paper desk's pages. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from trading_app.formats import UNKNOWN, number, plural
from trading_app.market_answers import Quoted
from trading_app.market_formats import exact, signed
from trading_app.paper_answers import Evidence, Fill, Order

MONEY_DECIMALS: Final = 2
_CENT: Final = Decimal("0.01")
TYPE_NAMES: Final = {
    "market": "market",
    "limit": "limit",
    "stop": "stop",
    "stop_limit": "stop-limit",
}
STATE_WORDS: Final = {
    "active": "orders that pass the risk checks are taken",
    "reducing": "only orders that reduce a position are taken and filled, in every portfolio",
    "halted": "no order is taken and none is filled, in every portfolio; cancels pass",
    "flatten": "orders are cancelled and positions closed at the market",
}
"""What each trading state means."""


def money_places(values: Iterable[Decimal | None]) -> int:
    """Count the decimals of a column of money: two, or more where one is less than a cent."""
    small = (1 - value.adjusted() for value in values if value and abs(value) < _CENT)
    return max(small, default=MONEY_DECIMALS)


def money(value: Decimal | None) -> str:
    """Write an amount with two decimals, or that it is not known; nothing but 0 is 0.00."""
    return exact(value, money_places([value]))


def profit(value: Decimal | None, unit: str = "") -> str:
    """Write a gain with + or a loss with −, two decimals; the hover has the others."""
    return signed(value, MONEY_DECIMALS, unit)  # type: ignore[arg-type]


def exactly(value: Decimal | None) -> str:
    """Write an amount with every decimal that it has."""
    return "" if value is None else exact(value, _places(value))


def _places(value: Decimal) -> int:
    """Count the decimals of an exact value, without the zeros at its end."""
    return len(f"{value:f}".partition(".")[2].rstrip("0"))


def amount(value: Decimal | None) -> str:
    """Write a price or a quantity with no more decimals than it needs."""
    return UNKNOWN if value is None else exactly(value)


def css_of(value: Decimal | None) -> str:
    """Give the colour of a gain or a loss; none for 0 and for what is not known."""
    if not value:
        return ""
    return "ta-gain" if value > 0 else "ta-loss"


def order_words(order: Order) -> str:
    """Say what was asked for: buy 1 BTCUSDT limit 62,000 gtc, post-only."""
    parts = [order.side, amount(order.qty), order.symbol, TYPE_NAMES.get(order.type, order.type)]
    if order.limit_price is not None:
        parts.append(amount(order.limit_price))
    if order.stop_price is not None:
        parts.append(f"stop at {amount(order.stop_price)}")
    flags = [name for name, on in _flags(order) if on]
    return " ".join(parts) + "".join(f", {flag}" for flag in flags)


def _flags(order: Order) -> tuple[tuple[str, bool], ...]:
    return (
        (order.time_in_force.upper(), order.time_in_force not in {"", "gtc"}),
        ("post-only", order.post_only),
        ("reduce-only", order.reduce_only),
    )


def body_words(body: Mapping[str, object]) -> str:
    """Say what was asked for by the body of an order."""
    order = Order.model_validate({**body, "client_order_id": "", "state": ""})
    return order_words(order)


_LONG_NUMBER: Final = re.compile(r"(?<![\w.:/-])\d{4,}(?:\.\d+)?(?![\w:/-])", re.ASCII)


def grouped(text: str) -> str:
    """Set groups of three apart in the amounts of a sentence; an id or a time stays as it is."""
    return _LONG_NUMBER.sub(lambda found: exactly(Decimal(found[0])), text)


def reason(order: Order) -> str:
    """Say why it is not filled: the desk's sentence, or else its word."""
    return grouped(order.detail or (order.why or "").replace("_", " "))


def outcome(order: Order) -> str:
    """Say what became of an order, after what was asked for."""
    price = amount(order.average_price)
    why = reason(order)
    if order.state == "filled":
        return f"filled at {price}"
    if order.state == "denied":
        return f"denied: {why}"
    part = f"{amount(order.filled_qty)} filled at {price}, " if order.filled_qty else ""
    if order.why == "cancelled" and not part:
        return "cancelled by its owner, nothing was filled"
    if order.is_final:
        return f"{part}the rest {order.state}: {why}" if part else f"{order.state}: {why}"
    return f"{part}waits: {why}" if why else f"{part}waits"


_REST_WORDS: Final = {
    "ioc": "the rest is cancelled",
    "fok": "it is cancelled, all of it",
}


def displayed_words(body: Mapping[str, object], quoted: Quoted | None) -> str:
    """Say how much is displayed where it is less than a market order asks; "" else."""
    if quoted is None or body.get("type") != "market":
        return ""
    is_buy, qty = body["side"] == "buy", Decimal(str(body["qty"]))
    size, price = (quoted.ask_qty, quoted.ask) if is_buy else (quoted.bid_qty, quoted.bid)
    if size is None or price is None or size >= qty:
        return ""
    touch = "ask" if is_buy else "bid"
    rest = _REST_WORDS.get(str(body["time_in_force"]), "the rest waits for later quotes")
    shown = f"{amount(size)} is displayed at the {touch} {amount(price)}"
    return f"{shown}: {rest}"


def evidence_words(fill: Fill) -> str:
    """Say what justified a fill: displayed 0.42 at the ask 62,000.1, 0.1 taken before."""
    found = fill.evidence
    taken = f", {amount(found.taken_before)} taken before" if found.taken_before else ""
    return f"{_seen(found, fill.side)}{taken}"


def _seen(found: Evidence, side: str) -> str:
    size, price = amount(found.size), amount(found.price)
    if found.kind == "print":
        return f"printed {size} at {price}"
    touch = "ask" if side == "buy" else "bid"
    return f"displayed {size} at the {touch} {price}"


def ratio(value: float | None) -> str:
    """Write a ratio with two decimals, or that it is not defined."""
    return signed(value, 2) if value is not None and value < 0 else _plain(value)


def _plain(value: float | None) -> str:
    return UNKNOWN if value is None else number(value, 2)


def days_words(days: int, annual_days: int | None) -> str:
    """Say on how much the performance rests, and its annual factor."""
    factor = f" · N = {annual_days} days a year" if annual_days else ""
    return f"{plural(days, 'day')}{factor}"
