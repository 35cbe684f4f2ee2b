"""The live feed: each trade that was counted, to whoever listens; bounded for those who lag."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson
from fastapi.sse import ServerSentEvent

from metrics_sidecar.receiver import Receiver
from metrics_sidecar.tallies import Applied

LISTENERS_MAX: Final = 32
INTERVAL_S: Final = 0.1
EVENTS_AT_ONCE_MAX: Final = 50


def as_json(applied: Applied) -> dict[str, Any]:
    """An applied trade as the API shows it; ``applied_s`` in unix seconds."""
    number, trade, applied_s = applied
    return {
        "id": number,
        "side": trade.side,
        "qty": trade.qty,
        "ts": trade.ts,
        "symbol": trade.symbol,
        "price": trade.price,
        "publisher": trade.src,
        "epoch": trade.epoch,
        "seq": trade.seq,
        "applied_s": applied_s,
    }


class FeedFullError(Exception):
    """Another listener would be one too many."""


class Feed:
    """At most ``LISTENERS_MAX`` listeners; each is sent up to 500 trades a second.

    The last 500 trades are kept for all together; a listener that lags further behind is told how
    many it missed, in an event named ``missed``. Event ids name the sidecar's life and the trade's
    number in it: a listener of an earlier life starts with what is kept of this one.
    """

    def __init__(self, receiver: Receiver, is_stopping: Callable[[], bool]) -> None:
        self._receiver = receiver
        self._is_stopping = is_stopping
        self._listeners = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold one of the places for listeners; raises FeedFullError when all are taken."""
        if self._listeners >= LISTENERS_MAX:
            raise FeedFullError
        self._listeners += 1
        try:
            yield
        finally:
            self._listeners -= 1

    async def listen(self, last_event_id: str | None) -> AsyncIterator[ServerSentEvent]:
        """Trades counted after the one with that id; from now on, when it is None."""
        cursor = self._cursor(last_event_id)
        yield ServerSentEvent(comment="listening")
        while not self._is_stopping():
            fresh = [applied for applied in self._recent() if applied[0] > cursor]
            for event in self._events(cursor, fresh[:EVENTS_AT_ONCE_MAX]):
                yield event
            if fresh:
                cursor = fresh[:EVENTS_AT_ONCE_MAX][-1][0]
            await asyncio.sleep(INTERVAL_S)

    @property
    def _life(self) -> str:
        return f"{self._receiver.started_s:.3f}"

    def _recent(self) -> tuple[Applied, ...]:
        return self._receiver.snapshot.recent if self._receiver.snapshot else ()

    def _cursor(self, last_event_id: str | None) -> int:
        """The number after which a listener goes on."""
        recent = self._recent()
        newest = recent[-1][0] if recent else 0
        if last_event_id is None:
            return newest
        life, _, number = last_event_id.rpartition("-")
        if life != self._life or not (number.isascii() and number.isdigit()):
            return recent[0][0] - 1 if recent else 0
        return min(int(number), newest)

    def _events(self, cursor: int, fresh: list[Applied]) -> list[ServerSentEvent]:
        events = []
        missed = fresh[0][0] - cursor - 1 if fresh else 0
        if missed:
            where = f"{self._life}-{fresh[0][0] - 1}"
            events.append(ServerSentEvent(event="missed", id=where, raw_data=str(missed)))
        for applied in fresh:
            data = orjson.dumps(as_json(applied)).decode()
            where = f"{self._life}-{applied[0]}"
            events.append(ServerSentEvent(event="trade", id=where, raw_data=data))
        return events
