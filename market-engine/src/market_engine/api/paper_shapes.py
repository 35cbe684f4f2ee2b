"""What the desk knows, as the API shows it: plain data for JSON. Pure; as ``shapes``.

``paper_models`` says the same for the OpenAPI page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

import msgspec

from market_engine.api.shapes import Shape, ms_of, text_of
from market_engine.decimals import from_nano
from market_engine.events import MS_NS
from market_engine.paper.model import (
    FINAL,
    BookName,
    Fill,
    Model,
    Order,
    OrderState,
    Portfolio,
    StateChange,
)
from market_engine.paper.money import ZERO, product, subtract, text
from market_engine.paper.reading import HistoryPoint, SymbolTally, Taken
from market_engine.paper.reasons import Denial, Why
from market_engine.paper.risk import Preview
from market_engine.paper.undefined import Performance
from market_engine.paper.views import BookView, PortfolioView, PositionView

NOTHING: Final = SymbolTally()
SENTENCES: Final[Mapping[Why, str]] = {
    Why.FILLED: "",
    Why.LATENCY: "Its latency has not passed yet.",
    Why.TRIGGER: "No trade has printed at its stop price yet.",
    Why.PRICE: "The market is not at its limit.",
    Why.LIQUIDITY: "All that was displayed or printed at its price is taken.",
    Why.STALE_PRICE: "The newest quote and trade are too old to fill it.",
    Why.NO_PRICE: "Nothing has come for its symbol yet.",
    Why.COLLAR: "The market went beyond its price collar; what was left is cancelled.",
    Why.IOC: "What could not be had at once is cancelled.",
    Why.FOK: "Not all of it could be had at once, so nothing is taken.",
    Why.POST_ONLY: "It would have taken liquidity, so it is cancelled.",
    Why.REDUCE_ONLY: "There is no position left that it could reduce.",
    Why.DAY_ENDED: "Its day has ended at 00:00 UTC.",
    Why.CANCELLED: "Its owner cancelled what was left.",
    Why.FLATTENED: "The desk was flattened.",
    Why.HALTED: "The desk is halted, so nothing is filled: cancel it, or let the desk trade again.",
    Why.REDUCING: "The desk fills only what makes a position smaller now.",
    Why.NOT_STORED: "Fills cannot be stored now, so none are made.",
}


def portfolio_shape(portfolio: Portfolio) -> Shape:
    """A portfolio as it was made."""
    limits, model = portfolio.limits, portfolio.model
    return {
        "name": portfolio.name,
        "currency": portfolio.currency,
        "balance": text(portfolio.balance),
        "created_ms": portfolio.created_ns // MS_NS,
        "annual_days": portfolio.annual_days,
        "limits": {
            "max_order": money_of(limits.max_order),
            "max_position": money_of(limits.max_position),
            "max_gross": money_of(limits.max_gross),
            "max_daily_loss": money_of(limits.max_daily_loss),
            "price_collar": money_of(limits.price_collar),
            "orders_a_second": limits.orders_a_second,
            "open_orders": limits.open_orders,
            "allow_short": limits.allow_short,
        },
        "model": _model_shape(model),
    }


def portfolio_line(view: PortfolioView) -> Shape:
    """A portfolio in one line."""
    portfolio, equity = view.portfolio, view.equity
    return {
        "name": portfolio.name,
        "currency": portfolio.currency,
        "equity": money_of(equity),
        "profit": None if equity is None else text(subtract(equity, portfolio.balance)),
        "open_orders": view.open_orders,
    }


def holding_shape(view: PortfolioView) -> Shape:
    """A portfolio at a moment."""
    return {
        "portfolio": portfolio_shape(view.portfolio),
        "now_ms": ms_of(view.now_ns),
        "is_stored": view.is_stored,
        "state": state_now_shape(view.state),
        "cash": text(view.cash),
        "equity": money_of(view.equity),
        "realised": text(view.realised),
        "unrealised": money_of(view.unrealised),
        "fees": text(view.fees),
        "residue": text(view.residue),
        "gross": text(view.gross),
        "peak": money_of(view.peak),
        "max_drawdown": view.max_drawdown,
        "day_profit": money_of(view.day_profit),
        "open_orders": view.open_orders,
        "fills": view.fills,
        "positions": [_position_shape(each) for each in view.positions],
        "books": [_book_shape(each) for each in view.books],
    }


def state_now_shape(state: StateChange) -> Shape:
    """The trading state."""
    return {"state": state.state, "since_ms": ms_of(state.at_ns), "reason": state.reason}


def state_shape(state: StateChange) -> Shape:
    """The same with its number."""
    return state_now_shape(state) | {"number": state.number}


def history_point(point: HistoryPoint) -> Shape:
    """A portfolio at a moment of the past."""
    return {
        "at_ms": point.at_ns // MS_NS,
        "equity": point.equity,
        "cash": point.cash,
        "realised": point.realised,
        "unrealised": point.unrealised,
        "fees": point.fees,
        "drawdown": drawdown_of(point.equity, point.peak),
        "max_drawdown": point.max_drawdown,
    }


def drawdown_of(equity: Decimal | str | None, peak: Decimal | str | None) -> float | None:
    """How far equity is below its peak, 0 or less; None where that is not known."""
    if equity is None or peak is None or float(peak) <= 0:
        return None
    return min(0.0, float(equity) / float(peak) - 1.0)


def performance_shape(
    view: PortfolioView, found: Performance, tallies: Mapping[str, SymbolTally]
) -> Shape:
    """The figures, and what each symbol came to."""
    figures = msgspec.structs.asdict(found) | {"expectancy": money_of(found.expectancy)}
    by_symbol = [_symbol_shape(each, tallies.get(each.symbol, NOTHING)) for each in view.positions]
    return {"portfolio": view.portfolio.name, **figures, "by_symbol": by_symbol}


def order_shape(
    order: Order, state: OrderState, why: Why | Denial, taken: Mapping[BookName, Taken]
) -> Shape:
    """An order as it is now; ``taken`` is what its fills came to in each book."""
    asked, neutral = order.asked, taken.get(BookName.NEUTRAL)
    return {
        "portfolio": asked.portfolio,
        "client_order_id": asked.client_order_id,
        "number": order.number,
        "symbol": asked.symbol,
        "side": asked.side,
        "type": asked.type,
        "qty": from_nano(asked.qty_nano),
        "limit_price": text_of(asked.limit_nano),
        "stop_price": text_of(asked.stop_nano),
        "time_in_force": asked.time_in_force,
        "post_only": asked.post_only,
        "reduce_only": asked.reduce_only,
        "source": asked.source,
        "state": state,
        "why": why,
        "detail": order.detail or _sentence(why),
        "filled_qty": from_nano(order.filled_nano),
        "left_qty": from_nano(order.left_nano),
        "average_price": None if neutral is None else from_nano(neutral.average_nano),
        "submitted_ms": ms_of(order.submitted_ns),
        "accepted_ms": order.accepted_wall_ns // MS_NS,
        "triggered_ms": ms_of(order.triggered_ns),
        "closed_ms": ms_of(order.closed_ns) if state in FINAL else None,
        "collar_price": text_of(order.collar_nano),
        "books": {str(book): _taken_shape(taken.get(book)) for book in BookName},
    }


def preview_shape(found: Preview) -> Shape:
    """What an order would come to."""
    return {
        "price": text_of(found.price_nano),
        "notional": money_of(found.notional),
        "fee": money_of(found.fee),
        "cash_after": money_of(found.cash_after),
        "position_after": from_nano(found.position_after_nano),
        "denial": found.verdict.denial,
        "detail": found.verdict.detail,
    }


def fill_shapes(fills: Iterable[Fill]) -> list[Shape]:
    """Fills with their evidence."""
    return [_fill_shape(each) for each in fills]


def money_of(amount: Decimal | None) -> str | None:
    """As exact decimal text."""
    return None if amount is None else text(amount)


def _model_shape(model: Model) -> Shape:
    return {
        "maker_fee": text(model.maker_fee),
        "taker_fee": text(model.taker_fee),
        "slippage": text(model.slippage),
        "latency_ms": model.latency_ms,
        "stale_ms": model.stale_ms,
    }


def _position_shape(position: PositionView) -> Shape:
    mark = position.mark
    return {
        "symbol": position.symbol,
        "qty": from_nano(position.qty_nano),
        "average_price": text_of(position.average_nano),
        "cost": text(position.cost),
        "price": text_of(mark.price_nano),
        "price_source": mark.source,
        "price_ms": ms_of(mark.at_ns),
        "is_stale": mark.is_stale,
        "value": money_of(position.value),
        "unrealised": money_of(position.unrealised),
        "realised": text(position.realised),
    }


def _book_shape(book: BookView) -> Shape:
    return {
        "book": book.book,
        "equity": money_of(book.equity),
        "profit": money_of(book.profit),
        "fees": text(book.fees),
        "fills": book.fills,
        "traded": money_of(book.traded),
    }


def _symbol_shape(position: PositionView, tally: SymbolTally) -> Shape:
    unrealised = position.unrealised if position.qty_nano else ZERO
    return {
        "symbol": position.symbol,
        "realised": text(position.realised),
        "fees": text(tally.fees),
        "fills": tally.fills,
        "unrealised": money_of(unrealised),
    }


def _taken_shape(taken: Taken | None) -> Shape:
    if taken is None:
        return {"filled_qty": "0", "average_price": None}
    return {
        "filled_qty": from_nano(taken.qty_nano),
        "average_price": from_nano(taken.average_nano),
    }


def _sentence(why: Why | Denial) -> str:
    return SENTENCES[why] if isinstance(why, Why) else ""


def _fill_shape(fill: Fill) -> Shape:
    evidence = fill.evidence
    return {
        "number": fill.number,
        "book": fill.book,
        "portfolio": fill.portfolio,
        "client_order_id": fill.client_order_id,
        "order_fill": fill.order_fill,
        "symbol": fill.symbol,
        "side": fill.side,
        "price": from_nano(fill.price_nano),
        "qty": from_nano(fill.qty_nano),
        "notional": text(product(fill.price_nano, fill.qty_nano)),
        "fee": text(fill.fee),
        "is_maker": fill.is_maker,
        "filled_ms": fill.filled_ns // MS_NS,
        "evidence": {
            "kind": evidence.kind,
            "received_ms": evidence.received_ns // MS_NS,
            "event_ms": evidence.event_ns // MS_NS,
            "price": from_nano(evidence.price_nano),
            "size": from_nano(evidence.size_nano),
            "taken_before": from_nano(evidence.taken_before_nano),
            "trade_id": evidence.trade_id,
            "rule": evidence.rule,
        },
    }
