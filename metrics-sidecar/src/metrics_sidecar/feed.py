"""The live feed: each trade that was counted, to whoever listens; bounded for those who lag."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import orjson
from fastapi.sse import ServerSentEvent

from metrics_sidecar.ledger import Applied
from metrics_sidecar.receiver import Receiver

LISTENERS_MAX: Final = 32
INTERVAL_S: Final = 0.1


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


class Feed:
    """At most ``LISTENERS_MAX`` listeners, each ten times a second what is new.

    The last 500 trades are kept for all together; a listener that comes later than that is told
    how many it missed, in an event named ``missed``.
    """

    def __init__(self, receiver: Receiver, is_stopping: Callable[[], bool]) -> None:
        self._receiver = receiver
        self._is_stopping = is_stopping
        self.listeners = 0

    @property
    def full(self) -> bool:
        """Whether another listener would be one too many."""
        return self.listeners >= LISTENERS_MAX

    async def listen(self, after: int | None) -> AsyncIterator[ServerSentEvent]:
        """Trades counted after the one with that id; from now on, when it is None."""
        self.listeners += 1
        try:
            cursor = self._latest() if after is None else min(after, self._latest())
            yield ServerSentEvent(comment="listening")
            while not self._is_stopping():
                for event in self._since(cursor):
                    cursor = int(event.id or cursor)
                    yield event
                await asyncio.sleep(INTERVAL_S)
        finally:
            self.listeners -= 1

    def _latest(self) -> int:
        recent = self._receiver.snapshot.recent if self._receiver.snapshot else ()
        return recent[-1][0] if recent else 0

    def _since(self, cursor: int) -> list[ServerSentEvent]:
        recent = self._receiver.snapshot.recent if self._receiver.snapshot else ()
        fresh = [applied for applied in recent if applied[0] > cursor]
        if not fresh:
            return []
        events = []
        missed = fresh[0][0] - cursor - 1
        if missed:
            events.append(
                ServerSentEvent(event="missed", id=str(fresh[0][0] - 1), raw_data=str(missed))
            )
        for applied in fresh:
            data = orjson.dumps(as_json(applied)).decode()
            events.append(ServerSentEvent(event="trade", id=str(applied[0]), raw_data=data))
        return events
