"""What the pipeline knows, as the API shows it: plain data for JSON, in the units of the contract.

Pure. ``models`` says the same for the OpenAPI page; what is not known is None.
"""

from __future__ import annotations

from typing import Any, Final

from market_engine.analytics.symbol import SymbolMetrics
from market_engine.analytics.window_metrics import WindowMetrics
from market_engine.decimals import from_nano
from market_engine.events import MS_NS, SECOND_NS, Trade
from market_engine.health.faults import Fault, StateChange, SymbolHealthView, SymbolState
from market_engine.view import SymbolView

Shape = dict[str, Any]
HOUR_NS: Final = 3_600 * SECOND_NS
CHANGE_SLACK_NS: Final = 120 * SECOND_NS
"""A bar that closed so much earlier than an hour ago still says what the price was then."""


def ms_of(time_ns: int | None) -> int | None:
    """Whole milliseconds since 1970; None where there is no time."""
    return time_ns // MS_NS if time_ns else None


def text_of(nano: int | None) -> str | None:
    """As exact decimal text."""
    return None if nano is None else from_nano(nano)


def trade_shape(trade: Trade) -> Shape:
    """One trade."""
    return {
        "id": trade.trade_id,
        "t_ms": trade.event_ns // MS_NS,
        "price": from_nano(trade.price_nano),
        "qty": from_nano(trade.qty_nano),
        "side": trade.side,
        "backfilled": trade.backfilled,
    }


def symbol_shape(view: SymbolView, kind: str, health: SymbolHealthView | None) -> Shape:
    """One line of the list of symbols; without a trade the price is that of the newest metrics."""
    trade, metrics = view.trade, newest_metrics(view)
    price_nano, at_ns = None, None
    if trade is not None:
        price_nano, at_ns = trade.price_nano, trade.event_ns
    elif metrics is not None:
        price_nano, at_ns = metrics.price_nano, metrics.as_of_ns
    return {
        "symbol": view.symbol,
        "kind": kind,
        "price": text_of(price_nano),
        "price_ms": ms_of(at_ns),
        "state": health.state if health else SymbolState.UNKNOWN,
        "since_ms": ms_of(health.since_ns) if health else None,
        "change_1h": _change(view, price_nano, at_ns),
    }


def price_shape(view: SymbolView, health: SymbolHealthView | None, now_ns: int) -> Shape:
    """The newest trade and the newest quote."""
    return {
        "symbol": view.symbol,
        **_trade_part(view.trade),
        **_quote_part(view),
        "state": health.state if health else SymbolState.UNKNOWN,
        "age_ms": max(0, now_ns - view.trade.received_ns) // MS_NS if view.trade else None,
    }


def metrics_shape(metrics: SymbolMetrics) -> Shape:
    """All metrics of a symbol."""
    averages, bar = metrics.averages, None
    if averages is not None and metrics.bar_start_ns is not None:
        bar = {
            "start_ms": metrics.bar_start_ns // MS_NS,
            "sma": averages.sma,
            "ema_fast": averages.ema_fast,
            "ema_slow": averages.ema_slow,
            "crossing": averages.crossing,
            "volume_z": averages.volume_z,
        }
    return {
        "symbol": metrics.symbol,
        "as_of_ms": metrics.as_of_ns // MS_NS,
        "price": from_nano(metrics.price_nano),
        "session_vwap": metrics.session_vwap,
        "windows": [_window_shape(window) for window in metrics.windows],
        "bar": bar,
        "year_s": metrics.year_s,
    }


def health_shape(health: SymbolHealthView) -> Shape:
    """The health of a symbol."""
    return {
        "symbol": health.symbol,
        "state": health.state,
        "since_ms": ms_of(health.since_ns),
        "why": health.why,
        "trades": health.trades,
        "id_gaps": health.id_gaps,
        "ids_missing": health.ids_missing,
        "duplicates": health.duplicates,
        "time_gaps": health.time_gaps,
        "late": health.late,
        "out_of_order": health.out_of_order,
        "malformed": health.malformed,
        "backfilled": health.backfilled,
        "last_event_ms": ms_of(health.last_event_ns),
        "last_received_ms": ms_of(health.last_received_ns),
        "lag_ms": None if health.lag_ns is None else health.lag_ns // MS_NS,
    }


def fault_shape(fault: Fault) -> Shape:
    """One fault."""
    return {
        "symbol": fault.symbol,
        "kind": fault.kind,
        "at_ms": fault.at_ns // MS_NS,
        "detail": fault.detail,
    }


def state_shape(change: StateChange) -> Shape:
    """One change of state."""
    return {
        "symbol": change.symbol,
        "state": change.state,
        "since_ms": change.since_ns // MS_NS,
        "why": change.why,
    }


def newest_metrics(view: SymbolView) -> SymbolMetrics | None:
    """As they were told last; right after a restart, those of the newest bar that was kept."""
    if view.metrics is not None:
        return view.metrics
    return view.bars[-1].metrics if view.bars else None


def _trade_part(trade: Trade | None) -> Shape:
    if trade is None:
        keys = ("price", "qty", "side", "trade_ms", "received_ms", "lag_ms", "backfilled")
        return dict.fromkeys(keys)
    lag_ns = trade.received_ns - trade.event_ns
    return {
        "price": from_nano(trade.price_nano),
        "qty": from_nano(trade.qty_nano),
        "side": trade.side,
        "trade_ms": trade.event_ns // MS_NS,
        "received_ms": trade.received_ns // MS_NS,
        "lag_ms": None if trade.backfilled else lag_ns // MS_NS,
        "backfilled": trade.backfilled,
    }


def _quote_part(view: SymbolView) -> Shape:
    quote = view.quote
    if quote is None:
        return dict.fromkeys(("bid", "ask", "bid_qty", "ask_qty", "quote_ms", "quote_time_source"))
    return {
        "bid": from_nano(quote.bid_nano),
        "ask": from_nano(quote.ask_nano),
        "bid_qty": from_nano(quote.bid_qty_nano),
        "ask_qty": from_nano(quote.ask_qty_nano),
        "quote_ms": quote.event_ns // MS_NS,
        "quote_time_source": quote.time_source,
    }


def _window_shape(window: WindowMetrics) -> Shape:
    return {
        "window_s": window.window_s,
        "complete": window.complete,
        "trades": window.trades,
        "volume": from_nano(window.volume_nano),
        "vwap": window.vwap,
        "high": text_of(window.high_nano),
        "low": text_of(window.low_nano),
        "range": text_of(window.range_nano),
        "last": text_of(window.last_nano),
        "volatility": window.volatility,
        "vwap_deviation": window.vwap_deviation,
        "drawdown": window.drawdown,
    }


def _change(view: SymbolView, price_nano: int | None, at_ns: int | None) -> float | None:
    """Against the bar that closed an hour ago; None where there is none from about then."""
    if price_nano is None or at_ns is None:
        return None
    then_ns = at_ns - HOUR_NS
    for point in reversed(tuple(view.bars)):
        closed_ns = point.bar.start_ns + point.bar.span_ns
        if closed_ns <= then_ns:
            if closed_ns < then_ns - CHANGE_SLACK_NS or not point.bar.close_nano:
                return None
            return price_nano / point.bar.close_nano - 1
    return None
