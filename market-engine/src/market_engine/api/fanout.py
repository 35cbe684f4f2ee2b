"""From the bus to the clients of streams: a thread that reads, and hands on moment by moment.

The bus never waits for it: what it cannot read in time is dropped and counted. The event loop is
handed one moment at a time, so that neither can pile up work for the other.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Final

import structlog

from market_engine.api.clients import LINGER_S, Clients
from market_engine.api.figures import Figures
from market_engine.api.messages import Moment, StreamMessage
from market_engine.bus.base import Bus, Full, Message, Topic
from market_engine.events import Rejected
from market_engine.health.faults import Fault

INTERVAL_S: Final = 0.05
"""Between two moments: at most 20 messages of a kind and symbol a second."""
ROOM: Final = 65_536
"""Messages of the bus that wait to be read."""
_TOPICS: Final = (Topic.MARKET_DATA, Topic.METRICS, Topic.HEALTH, Topic.DEAD_LETTERS)
_IDLE_S: Final = 0.25
_REST_S: Final = 0.1


class FanOut:
    """Of one source; ``start`` and ``stop`` in the event loop, once each.

    ``counts``: what it reads of faults and rejected frames is counted in the figures.
    """

    def __init__(
        self, moment: Moment, bus: Bus, clients: Clients, figures: Figures, *, counts: bool
    ) -> None:
        source = self.source = moment.source
        self._clients = clients
        self._figures = figures
        self._counts = counts
        self._moment = moment
        self._subscription = bus.subscribe(_TOPICS, f"stream-{source}", ROOM, Full.DROP_OLDEST)
        self._stopped = threading.Event()
        self._taken = threading.Event()
        self._last_s = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name=f"stream-{source}", daemon=True)

    @property
    def dropped(self) -> int:
        """Messages of the bus that it lost, because it did not come to read them."""
        return self._subscription.dropped

    @property
    def is_alive(self) -> bool:
        """Whether its thread goes on."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to read."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """End the thread; what it has not handed on by now is let go."""
        self._stopped.set()
        self._taken.set()
        self._subscription.close()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._step()
            except Exception:  # noqa: BLE001 - it must go on for all other symbols
                self._figures.fanout_errors += 1
                structlog.get_logger("stream").exception("a moment was lost", source=self.source)
                self._moment.forget()
                self._stopped.wait(_REST_S)

    def _step(self) -> None:
        """Read what there is, or wait for the first; hand it on when it is time."""
        began_s = time.monotonic()
        messages = self._subscription.poll(ROOM, _IDLE_S)
        if not messages:  # early, if the bus is closed
            self._stopped.wait(max(0.0, began_s + _IDLE_S - time.monotonic()))
            return
        self._take(messages)
        wait_s = self._last_s + INTERVAL_S - time.monotonic()
        if wait_s > 0:
            self._stopped.wait(wait_s)
            self._take(self._subscription.poll(ROOM, 0))
        self._last_s = time.monotonic()
        if self._clients.has(self.source):
            self._hand_on(self._moment.messages(time.time_ns()))
        else:
            self._moment.forget()

    def _take(self, messages: Sequence[Message]) -> None:
        if self._counts:
            for message in messages:
                if message.topic is not Topic.MARKET_DATA:
                    self._count(message.value)
        if self._clients.has(self.source):
            self._moment.take(messages)

    def _count(self, value: object) -> None:
        if isinstance(value, Fault):
            self._figures.note_fault(value.symbol, value.kind)
        elif isinstance(value, Rejected):
            self._figures.rejected[value.reason] += 1

    def _hand_on(self, messages: list[StreamMessage]) -> None:
        """Wait until the event loop has taken them, so that a busy one is not buried."""
        loop = self._loop
        if not messages or loop is None or self._stopped.is_set():
            return
        self._taken.clear()
        try:
            loop.call_soon_threadsafe(self._give, messages)
        except RuntimeError:  # the loop has ended
            self._stopped.set()
            return
        while not self._taken.wait(_IDLE_S) and not self._stopped.is_set():
            pass

    def _give(self, messages: list[StreamMessage]) -> None:
        self._clients.give(self.source, messages, LINGER_S)
        self._taken.set()
