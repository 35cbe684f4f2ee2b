"""The bus: topics, keys, order per key, and a stated policy when a reader is full."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import msgspec


class Topic(StrEnum):
    """What can be published and read."""

    MARKET_DATA = "market-data-raw"
    """Trades, quotes and candles, as they were taken."""
    METRICS = "aggregated-metrics"
    HEALTH = "feed-health"
    """Faults and changes of state."""
    DEAD_LETTERS = "dead-letter-queue"
    """What was rejected, with the reason."""


class Full(StrEnum):
    """What happens when a reader's queue is full."""

    WAIT = "wait"
    """``publish`` waits: nothing is lost, and the source is held back."""
    DROP_OLDEST = "drop_oldest"
    """The oldest message of that reader is dropped and counted; nobody waits."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message as a reader gets it."""

    topic: Topic
    key: str
    """The symbol: messages of one key keep their order."""
    value: object
    offset: int
    """Its place in the topic: rises by one with each message of it."""


class Subscription(Protocol):
    """One reader's place on the bus."""

    dropped: int
    """Messages that this reader lost because it was full."""

    def poll(self, limit: int, timeout_s: float) -> Sequence[Message]:
        """At most ``limit`` messages, oldest first; waits for the first at most ``timeout_s``.

        Empty when the time is over, or when the bus is closed and everything was read.
        """

    def commit(self) -> None:
        """Say that what was polled took its effect, and need not come again after a restart."""

    def close(self) -> None:
        """Read no more; a publisher that waits for this reader goes on."""


class Bus(Protocol):
    """Publish and subscribe."""

    def publish(self, topic: Topic, key: str, values: Sequence[object]) -> None:
        """Put values on a topic, in order; raises BusError when the bus is closed."""

    def subscribe(self, topics: Sequence[Topic], group: str, size: int, full: Full) -> Subscription:
        """Read topics from now on, with room for ``size`` messages."""

    def close(self) -> None:
        """Take nothing more; readers get what is there, and then nothing."""
