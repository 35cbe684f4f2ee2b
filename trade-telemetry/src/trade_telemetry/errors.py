"""The error tree of this package, grouped by who can act.

TelemetryError
├── ConfigurationError   the person who sets the publisher up
├── InvalidTradeError    the caller of ``publish()``; also a ValueError
└── RejectedMessageError the sender of a frame that breaks the contract (raised by ``decode``)

A full ring, a closed publisher or a sidecar that is away is no error: ``publish()`` answers it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from trade_telemetry.messages import RejectReason


DETAIL_CHARACTERS_MAX: Final = 200


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
    """A frame is not a message of the contract; ``reason`` is from a closed set.

    ``detail`` is for people, at most ``DETAIL_CHARACTERS_MAX`` long. ``stamps`` are the source,
    epoch and sequence of the rejected trade where they are valid, so that it can be told from one
    that never came.
    """

    def __init__(
        self, reason: RejectReason, detail: str, stamps: tuple[str, int, int] | None = None
    ) -> None:
        self.reason = reason
        self.detail = detail[:DETAIL_CHARACTERS_MAX]
        self.stamps = stamps
        super().__init__(f"{reason}: {self.detail}")
