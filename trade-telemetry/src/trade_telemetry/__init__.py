"""Emit trades from a bot's hot path: a bounded ring, one sending thread, a checked contract.

with Publisher("tcp://127.0.0.1:5555", source="my-bot") as publisher:
    publisher.publish("buy", 0.5, symbol="BTCUSDT", price=64_000.0)
"""

from trade_telemetry.errors import (
    ConfigurationError,
    InvalidTradeError,
    RejectedMessageError,
    TelemetryError,
)
from trade_telemetry.messages import RefusalReason, RejectReason, Trade
from trade_telemetry.publisher import Publisher, PublisherStats, Receipt

__all__ = [
    "ConfigurationError",
    "InvalidTradeError",
    "Publisher",
    "PublisherStats",
    "Receipt",
    "RefusalReason",
    "RejectReason",
    "RejectedMessageError",
    "TelemetryError",
    "Trade",
]
