"""Between the sockets' loop and ``emit``: a bounded queue of events, and the one clock of both.

The loop's thread pushes, the feed's thread takes. Knows no venue.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence

from market_engine.events import Event


class Outlet:
    """Events in the order of their stamps.

    ``push`` never waits, so that what was stamped is queued at once: who pushes asks for ``room``
    before it reads more. One push may go beyond the limit, never a second.
    """

    def __init__(self, events_max: int, clock: Callable[[], int]) -> None:
        self._events_max = events_max
        self._clock = clock
        self._now_ns = 0
        self._events: list[Event] = []
        self._condition = threading.Condition()
        self._is_closed = False
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self.stalls = 0

    def __len__(self) -> int:
        return len(self._events)

    def stamp(self) -> int:
        """The time in nanoseconds; it never falls, even when the clock is set back."""
        self._now_ns = max(self._now_ns, self._clock())
        return self._now_ns

    @property
    def is_full(self) -> bool:
        """Whether nobody should push more now."""
        return len(self._events) >= self._events_max

    async def room(self) -> None:
        """Wait until it is not full; for the loop's thread."""
        while self.is_full:
            waiter = self._make_waiter()
            if waiter:
                await waiter.wait()

    def push(self, events: Sequence[Event]) -> None:
        """Queue events; for the loop's thread."""
        if not events:
            return
        with self._condition:
            was_empty = not self._events
            self._events.extend(events)
            if was_empty:
                self._condition.notify()

    def take(self) -> list[Event]:
        """All events that wait; waits for the first. Empty: closed, and everything was taken."""
        with self._condition:
            while not self._events and not self._is_closed:
                self._condition.wait()
            events, self._events = self._events, []
            waiter, self._waiter = self._waiter, None
        if waiter:
            loop, event = waiter
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(event.set)
        return events

    def close(self) -> None:
        """Nothing more will come; from any thread."""
        with self._condition:
            self._is_closed = True
            self._condition.notify()

    def _make_waiter(self) -> asyncio.Event | None:
        with self._condition:
            if not self.is_full:
                return None
            if self._waiter is None:
                self._waiter = asyncio.get_running_loop(), asyncio.Event()
                self.stalls += 1
            return self._waiter[1]
