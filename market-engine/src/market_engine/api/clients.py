"""Who reads a stream: what each wants, its bounded queue, and what happens when it does not read.

Lives in the event loop, all of it. Knows neither websockets nor SSE.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec

from market_engine.api.figures import Figures
from market_engine.api.messages import HELLO, StreamMessage

CLIENTS_MAX: Final = 100
QUEUE_MESSAGES_MAX: Final = 256
QUEUE_BYTES_MAX: Final = 1_000_000
LINGER_S: Final = 5.0
"""A client that was dropped has so long to read on and be told why; then it is cut off."""


class Wants(msgspec.Struct, frozen=True):
    """What a client asked for; None is everything."""

    topics: frozenset[str] | None = None
    symbols: frozenset[str] | None = None

    def includes(self, message: StreamMessage) -> bool:
        """Whether a message is for this client."""
        topic, symbol = message.topic, message.symbol
        if topic == HELLO:
            return True
        if self.topics is not None and topic not in self.topics:
            return False
        return self.symbols is None or symbol is None or symbol in self.symbols


class Client:
    """One reader; ``cut`` ends its connection whatever is still to be sent."""

    def __init__(self, wants: Wants, cut: Callable[[], None]) -> None:
        self.wants = wants
        self.is_slow = False
        """It was dropped because it did not read."""
        self._cut = cut
        self._queue: deque[StreamMessage] = deque()
        self._bytes = 0
        self._ended = False
        self._changed = asyncio.Event()

    def offer(self, messages: Sequence[StreamMessage]) -> bool:
        """Queue those of a moment that it wants; False if it is too far behind for them.

        To whoever has read everything a whole moment is given, however large.
        """
        wanted = [message for message in messages if self.wants.includes(message)]
        if not wanted or self._ended:
            return True
        size = sum(message.size for message in wanted)
        is_behind = bool(self._queue)
        is_over = (
            len(self._queue) + len(wanted) > QUEUE_MESSAGES_MAX
            or self._bytes + size > QUEUE_BYTES_MAX
        )
        if is_behind and is_over:
            return False
        self._queue.extend(wanted)
        self._bytes += size
        self._changed.set()
        return True

    async def next(self, timeout_s: float) -> StreamMessage | None:
        """The next message; None when the time is over or when it has ended (``is_ended``)."""
        if not self._queue and not self._ended:
            self._changed.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()
            except TimeoutError:
                return None
        if self._ended:
            return None
        message = self._queue.popleft()
        self._bytes -= message.size
        return message

    @property
    def queued_bytes(self) -> int:
        """What waits for it."""
        return self._bytes

    @property
    def is_ended(self) -> bool:
        """Nothing more is to be sent."""
        return self._ended

    def end(self) -> None:
        """Send nothing more; what is queued is let go."""
        self._ended = True
        self._queue.clear()
        self._bytes = 0
        self._changed.set()

    def drop(self, linger_s: float) -> None:
        """End it because it does not read; after ``linger_s`` its connection is cut."""
        self.is_slow = True
        self.end()
        asyncio.get_running_loop().call_later(linger_s, self._cut)


class Clients:
    """Of one application, over all its sources."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._by_source: dict[str, set[Client]] = {}
        self._places = 0
        self._is_over = False

    def __len__(self) -> int:
        return self._places

    def has(self, source: str) -> bool:
        """Whether anybody listens to a source."""
        return bool(self._by_source.get(source))

    @property
    def queued_bytes(self) -> int:
        """What waits for all of them together."""
        return sum(
            each.queued_bytes
            for clients in tuple(self._by_source.values())
            for each in tuple(clients)
        )

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Hold one of the ``CLIENTS_MAX`` places; False when all are taken, or at the end."""
        if self._places >= CLIENTS_MAX or self._is_over:
            yield False
            return
        self._places += 1
        try:
            yield True
        finally:
            self._places -= 1

    @contextmanager
    def joined(self, source: str, client: Client) -> Iterator[None]:
        """Be given the messages of a source."""
        listeners = self._by_source.setdefault(source, set())
        listeners.add(client)
        if self._is_over:
            client.end()
        try:
            yield
        finally:
            listeners.discard(client)

    def give(self, source: str, messages: Sequence[StreamMessage], linger_s: float) -> None:
        """Give the messages of a moment to all who want them; drop who is too far behind."""
        for client in tuple(self._by_source.get(source, ())):
            if not client.offer(messages):
                self._figures.clients_dropped["too_slow"] += 1
                client.drop(linger_s)

    def sent(self, message: StreamMessage, now_ns: int) -> None:
        """Count a message that was handed to a connection."""
        self._figures.messages += 1
        if message.received_ns:
            self._figures.delays.add(message.take_received(), now_ns)

    def end(self) -> None:
        """End all of them, and take no more."""
        self._is_over = True
        for listeners in self._by_source.values():
            for client in tuple(listeners):
                client.end()
