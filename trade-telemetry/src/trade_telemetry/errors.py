"""The error tree of this package, grouped by who can act.

TelemetryError
├── ConfigurationError   the person who sets the publisher up
├── InvalidTradeError    the caller of ``publish()``; also a ValueError
└── RejectedMessageError the sender of a frame that breaks the contract (raised by ``decode``)

A full ring, a closed publisher or a sidecar that is away is no error: ``publish()`` answers it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trade_telemetry.messages import RejectReason


class TelemetryError(Exception):
    """Everything that this package raises on purpose."""


class ConfigurationError(TelemetryError, ValueError):
    """A publisher was asked for that cannot work; the message names the cure."""


class InvalidTradeError(TelemetryError, ValueError):
    """An argument of a trade is outside the contract; ``field`` names which one."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        self.problem = problem


class RejectedMessageError(TelemetryError):
    """A frame is not a message of the contract; ``reason`` is from a closed set."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
