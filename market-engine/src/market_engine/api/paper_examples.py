"""An example of each answer of the paper desk, as ``examples`` has them of the market."""

from __future__ import annotations

from typing import Final

from market_engine.api.examples import Example

PORTFOLIO: Final[Example] = {
    "name": "main",
    "currency": "USDT",
    "balance": "100000",
    "created_ms": 1_790_000_000_000,
    "annual_days": 365,
    "limits": {
        "max_order": "100000",
        "max_position": "250000",
        "max_gross": "500000",
        "max_daily_loss": "20000",
        "price_collar": "0.05",
        "orders_a_second": 50,
        "open_orders": 1000,
        "allow_short": True,
    },
    "model": {
        "maker_fee": "0.0002",
        "taker_fee": "0.0005",
        "slippage": "0",
        "latency_ms": 0,
        "stale_ms": 10_000,
    },
}
NEW_PORTFOLIO: Final[Example] = {"name": "main", "currency": "USDT", "balance": "100000"}
STATE: Final[Example] = {
    "state": "active",
    "since_ms": 1_790_000_000_000,
    "reason": "",
    "number": 3,
}
PORTFOLIOS: Final[Example] = {
    "portfolios": [
        {
            "name": "main",
            "currency": "USDT",
            "equity": "100012.5",
            "profit": "12.5",
            "open_orders": 1,
        }
    ]
}
_BOOK: Final[Example] = {
    "book": "neutral",
    "equity": "100012.5",
    "profit": "12.5",
    "fees": "3.2",
    "fills": 1,
    "traded": "6400",
}
HOLDING: Final[Example] = {
    "portfolio": PORTFOLIO,
    "now_ms": 1_790_000_060_000,
    "is_stored": True,
    "state": {"state": "active", "since_ms": 1_790_000_000_000, "reason": ""},
    "cash": "93596.8",
    "equity": "100012.5",
    "realised": "0",
    "unrealised": "15.7",
    "fees": "3.2",
    "residue": "0",
    "gross": "6415.7",
    "peak": "100020",
    "max_drawdown": -0.00007,
    "day_profit": "12.5",
    "open_orders": 1,
    "fills": 1,
    "positions": [
        {
            "symbol": "BTCUSDT",
            "qty": "0.1",
            "average_price": "64000",
            "cost": "6400",
            "price": "64157",
            "price_source": "bid",
            "price_ms": 1_790_000_059_900,
            "is_stale": False,
            "value": "6415.7",
            "unrealised": "15.7",
            "realised": "0",
        }
    ],
    "books": [_BOOK | {"book": book} for book in ("optimistic", "neutral", "pessimistic")],
}
PORTFOLIO_HISTORY: Final[Example] = {
    "portfolio": "main",
    "snapshots": [
        {
            "at_ms": 1_790_000_060_000,
            "equity": "100012.5",
            "cash": "93596.8",
            "realised": "0",
            "unrealised": "15.7",
            "fees": "3.2",
            "drawdown": -0.00007,
            "max_drawdown": -0.00007,
        }
    ],
}
PERFORMANCE: Final[Example] = {
    "portfolio": "main",
    "annual_days": 365,
    "days": 12,
    "total_return": 0.031,
    "cagr": 1.53,
    "volatility": 0.22,
    "sharpe": 1.4,
    "sortino": 2.1,
    "max_drawdown": -0.018,
    "calmar": 85.0,
    "round_trips": 9,
    "wins": 5,
    "losses": 3,
    "breakevens": 1,
    "win_rate": 0.625,
    "profit_factor": 1.9,
    "expectancy": "34.2",
    "undefined": {},
    "by_symbol": [
        {"symbol": "BTCUSDT", "realised": "310.5", "fees": "3.2", "fills": 18, "unrealised": "0"}
    ],
}
NEW_TRADE: Final[Example] = {
    "portfolio": "main",
    "symbol": "BTCUSDT",
    "side": "buy",
    "qty": "0.1",
    "client_order_id": "button-1",
}
NEW_ORDER: Final[Example] = {
    "portfolio": "main",
    "client_order_id": "my-order-1",
    "symbol": "BTCUSDT",
    "side": "buy",
    "type": "limit",
    "qty": "0.1",
    "limit_price": "64000",
    "stop_price": None,
    "time_in_force": "gtc",
    "post_only": False,
    "reduce_only": False,
}
ORDER: Final[Example] = NEW_ORDER | {
    "number": 17,
    "source": "api",
    "state": "working",
    "why": "price",
    "detail": "The market is not at its limit.",
    "filled_qty": "0.04",
    "left_qty": "0.06",
    "average_price": "64000",
    "submitted_ms": 1_790_000_000_000,
    "accepted_ms": 1_790_000_000_001,
    "triggered_ms": None,
    "closed_ms": None,
    "collar_price": None,
    "books": {
        "optimistic": {"filled_qty": "0.1", "average_price": "64000"},
        "neutral": {"filled_qty": "0.04", "average_price": "64000"},
        "pessimistic": {"filled_qty": "0", "average_price": None},
    },
}
CANCELLED: Final[Example] = {"cancelled": 2}
PREVIEW: Final[Example] = {
    "price": "64000",
    "notional": "6400",
    "fee": "3.2",
    "cash_after": "93596.8",
    "position_after": "0.1",
    "denial": None,
    "detail": "",
}
FILLS: Final[Example] = {
    "fills": [
        {
            "number": 5,
            "book": "neutral",
            "portfolio": "main",
            "client_order_id": "my-order-1",
            "order_fill": 1,
            "symbol": "BTCUSDT",
            "side": "buy",
            "price": "64000",
            "qty": "0.04",
            "notional": "2560",
            "fee": "0.512",
            "is_maker": True,
            "filled_ms": 1_790_000_001_000,
            "evidence": {
                "kind": "print",
                "received_ms": 1_790_000_001_000,
                "event_ms": 1_790_000_000_990,
                "price": "64000",
                "size": "0.04",
                "taken_before": "0",
                "trade_id": 91_234,
                "rule": "printed at the limit",
            },
        }
    ]
}
