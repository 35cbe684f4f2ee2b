"""An example of each answer, as plain data, for the OpenAPI page. Knows nothing of the rest."""

from __future__ import annotations

from typing import Any, Final

Example = dict[str, Any]

_ERRORS: Final[dict[int, tuple[str, str, str | None]]] = {
    403: ("foreign_origin", "A page of another origin may not change anything here.", None),
    404: ("unknown_symbol", "DOGE is not known here: GET /symbols lists what is.", "symbol"),
    409: ("replay_failed", "The replay has failed: start one again with POST /api/replay.", None),
    413: ("too_large", "The body is over 65,536 bytes, which is the limit: send less.", None),
    422: ("invalid_parameter", "window: Input should be '5m', '15m' or '1h'.", "window"),
    503: ("too_many_streams", "100 streams are open, which is the limit: try again later.", None),
}


def error(status: int) -> Example:
    """The form of an error with this status."""
    code, message, field = _ERRORS[status]
    return {"error": {"code": code, "message": message, "field": field}}


SYMBOLS: Final[Example] = {
    "source": "feed",
    "venue": "simulated",
    "symbols": [
        {
            "symbol": "BTCUSDT",
            "kind": "crypto",
            "price": "64012.5",
            "price_ms": 1_790_000_000_123,
            "state": "live",
            "since_ms": 1_789_990_000_000,
            "change_1h": -0.012,
        }
    ],
}
PRICE: Final[Example] = {
    "symbol": "BTCUSDT",
    "price": "64012.5",
    "qty": "0.005",
    "side": "buy",
    "trade_ms": 1_790_000_000_123,
    "received_ms": 1_790_000_000_150,
    "lag_ms": 27,
    "backfilled": False,
    "bid": "64012.4",
    "ask": "64012.6",
    "bid_qty": "1.2",
    "ask_qty": "0.7",
    "quote_ms": 1_790_000_000_149,
    "quote_time_source": "receipt",
    "state": "live",
    "age_ms": 40,
}
HISTORY: Final[Example] = {
    "symbol": "BTCUSDT",
    "window": "1h",
    "span_s": 60,
    "bars": [
        {
            "t_ms": 1_790_000_040_000,
            "open": "64000",
            "high": "64020.5",
            "low": "63990.1",
            "close": "64012.5",
            "volume": "12.5",
            "trades": 321,
            "vwap": 64007.25,
            "sma": None,
            "ema_fast": 64003.1,
            "ema_slow": 63998.7,
            "volume_z": None,
            "session_vwap": 63950.2,
            "complete": True,
        }
    ],
}
TRADES: Final[Example] = {
    "symbol": "BTCUSDT",
    "trades": [
        {
            "id": 77,
            "t_ms": 1_790_000_000_123,
            "price": "64012.5",
            "qty": "0.005",
            "side": "buy",
            "backfilled": False,
        }
    ],
}
METRICS: Final[Example] = {
    "as_of_ms": 1_790_000_000_000,
    "symbols": [
        {
            "symbol": "BTCUSDT",
            "as_of_ms": 1_790_000_000_000,
            "price": "64012.5",
            "session_vwap": 63950.2,
            "windows": [
                {
                    "window_s": 60,
                    "complete": True,
                    "trades": 321,
                    "volume": "12.5",
                    "vwap": 64007.25,
                    "high": "64020.5",
                    "low": "63990.1",
                    "range": "30.4",
                    "last": "64012.5",
                    "volatility": 0.31,
                    "vwap_deviation": 0.4,
                    "drawdown": -0.0004,
                }
            ],
            "bar": {
                "start_ms": 1_789_999_920_000,
                "sma": None,
                "ema_fast": 64003.1,
                "ema_slow": 63998.7,
                "crossing": "up",
                "volume_z": None,
            },
            "year_s": 31_536_000,
        }
    ],
}
FEED_HEALTH: Final[Example] = {
    "source": "feed",
    "venue": "simulated",
    "received_ms": 1_790_000_000_150,
    "now_ms": 1_790_000_000_190,
    "events": 5120,
    "rejected": 0,
    "symbols": [
        {
            "symbol": "BTCUSDT",
            "state": "live",
            "since_ms": 1_789_990_000_000,
            "why": "trades come",
            "trades": 4100,
            "id_gaps": 0,
            "ids_missing": 0,
            "duplicates": 0,
            "time_gaps": 0,
            "late": 0,
            "out_of_order": 2,
            "malformed": 0,
            "backfilled": 0,
            "last_event_ms": 1_790_000_000_123,
            "last_received_ms": 1_790_000_000_150,
            "lag_ms": 27,
        }
    ],
    "faults": [
        {
            "symbol": "BTCUSDT",
            "kind": "gap",
            "at_ms": 1_789_995_000_000,
            "detail": "3 missing: trades 41 to 43",
        }
    ],
    "connection": {"connected": True, "detail": ""},
    "schedule": {"open": True, "next_change_ms": None},
}
RECORDINGS: Final[Example] = {
    "recordings": [
        {
            "name": "sample.frames",
            "size_bytes": 812_345,
            "first_ms": 1_790_000_000_000,
            "last_ms": 1_790_000_300_000,
            "kind": "frames",
        }
    ]
}
REPLAY: Final[Example] = {
    "state": "playing",
    "file": "sample.frames",
    "first_ms": 1_790_000_000_000,
    "last_ms": 1_790_000_300_000,
    "at_ms": 1_790_000_042_000,
    "speed": 10.0,
    "events": 1702,
    "rejected": 0,
    "error": None,
}
HEALTH: Final[Example] = {
    "status": "ok",
    "reason": None,
    "feed": "simulated",
    "venue": "simulated",
    "running": True,
    "connected": True,
    "schedule_open": True,
    "started_ms": 1_789_990_000_000,
    "symbols": 6,
    "events": 5120,
    "stream_clients": 2,
    "stored_trades": 4100,
    "store_waiting": 0,
}
