"""Trades without stamps on their way: handed over once, counted at most once. Pure.

What ``Stream`` is to a publisher that is not tracked.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import astuple

from trade_telemetry.acknowledgements import Acknowledgement
from trade_telemetry.delivery import ReadsEvents
from trade_telemetry.messages import Message, Trade


class PlainStream:
    """A ring's events without stamps: let go of when they are handed over, and never seen again."""

    def __init__(self, source: str, ring: ReadsEvents) -> None:
        self.source = source
        self.ring = ring

    @property
    def sent(self) -> int:
        """The send cursor."""
        return self.ring.tail

    @property
    def settled(self) -> bool:
        """Whether all was handed over."""
        return self.ring.tail >= self.ring.head

    def outgoing(self, count_max: int, now_s: float) -> Iterator[Message]:  # noqa: ARG002
        """At most ``count_max`` trades; each is let go of once the next one is asked for."""
        ring = self.ring
        first = max(ring.tail + 1, ring.oldest)
        for seq in range(first, min(ring.head, first + count_max - 1) + 1):
            for row in ring.rows(seq, seq):  # none, if it was written over a moment ago
                yield Trade(*astuple(row))
            ring.trim(seq)

    def connection_made(self, now_s: float) -> None:
        """Nothing is to be asked."""

    def hear(self, acknowledgement: Acknowledgement, now_s: float) -> bool:  # noqa: ARG002
        """Nothing is ever acknowledged."""
        return False

    def hurry(self) -> None:
        """Nothing is to be asked."""
