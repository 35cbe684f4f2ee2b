"""Emit trades from a bot's hot path; each is counted exactly once, whoever is killed meanwhile.

with Publisher("tcp://127.0.0.1:5555", source="my-bot") as publisher:
    publisher.publish("buy", 0.5, symbol="BTCUSDT", price=64_000.0)
"""

from trade_telemetry.errors import (
    ConfigurationError,
    InvalidTradeError,
    RejectedMessageError,
    TelemetryError,
)
from trade_telemetry.messages import LossReason, RefusalReason, RejectReason, Trade
from trade_telemetry.publisher import Publisher
from trade_telemetry.publisher_stats import PublisherStats

__all__ = [
    "ConfigurationError",
    "InvalidTradeError",
    "LossReason",
    "Publisher",
    "PublisherStats",
    "RefusalReason",
    "RejectReason",
    "RejectedMessageError",
    "TelemetryError",
    "Trade",
]
