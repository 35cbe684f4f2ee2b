"""Orders whose answer has not come: their ids, and what is known of them by now.

An order keeps its id until it is known, so that a second try of the same is the same order. It
knows the desk's client and no page.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from trading_app.market_client import Refused
from trading_app.paper_answers import Order
from trading_app.paper_client import PaperClient
from trading_app.paper_status import UNKNOWN_PORTFOLIO
from trading_app.paper_ticket import same

UNANSWERED_MAX: Final = 16
DOUBLE_CLICK_S: Final = 0.5
"""So soon after its answer, the same order once more is the same order."""
ASKED_AFTER_S: Final = 1.0
"""So long after it was sent, an order is asked for by its id."""
UNKNOWN_FOR_S: Final = 10.0
"""For so long the desk must not know an order before it is certain that it was not taken."""
_NOT_THERE: Final = frozenset({"unknown_order", UNKNOWN_PORTFOLIO})
_Same = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """An order that was sent and has no answer; ``unknown_s``: since when the desk denies it."""

    body: Mapping[str, object]
    client_order_id: str
    sent_s: float
    unknown_s: float | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What turned out of orders without an answer: these were taken, those never came."""

    taken: list[Order] = field(default_factory=list)
    never_came: list[Waiting] = field(default_factory=list)


class Unanswered:
    """The ids of orders whose answer has not come; at most so many, the oldest is forgotten.

    One for each page of a browser session; its runs may overlap, and ``sending`` lets one send at a
    time. An order that was done keeps its id for a moment more: a double click is one order.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.sending = threading.Lock()
        self._ids: OrderedDict[_Same, Waiting] = OrderedDict()
        self._done: OrderedDict[_Same, tuple[str, float]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._ids)

    def waiting(self) -> list[Waiting]:
        """Give those without an answer, the oldest first."""
        with self._lock:
            return list(self._ids.values())

    def id_of(self, body: Mapping[str, object], pressed_s: float | None = None) -> str:
        """Give the id of this order: a new one, or that of its first try."""
        with self._lock:
            found = self._tried(body, pressed_s) or str(uuid.uuid4())
            # sent once more: that the desk did not know it before says nothing any longer
            self._ids[same(body)] = Waiting(dict(body), found, self.clock())
            while len(self._ids) > UNANSWERED_MAX:
                self._ids.popitem(last=False)
            return found

    def may_be_taken(self, body: Mapping[str, object], pressed_s: float | None = None) -> bool:
        """Whether an earlier try of this order has no answer, or was done a moment ago."""
        with self._lock:
            return self._tried(body, pressed_s) is not None

    def _tried(self, body: Mapping[str, object], pressed_s: float | None) -> str | None:
        if found := self._ids.get(same(body)):
            return found.client_order_id
        done, done_s = self._done.get(same(body), (None, 0.0))
        at_s = self.clock() if pressed_s is None else pressed_s
        return done if at_s - done_s < DOUBLE_CLICK_S else None

    def answered(self, body: Mapping[str, object]) -> None:
        """Forget it: the same order once more is a new one."""
        with self._lock:
            self._ids.pop(same(body), None)

    def done(self, body: Mapping[str, object]) -> None:
        """Forget it, but for the second half of a double click, counted from its first answer."""
        with self._lock:
            key = same(body)
            waited = self._ids.pop(key, None)
            found = waited.client_order_id if waited else None
            if found is None or self._done.get(key, ("", 0.0))[0] == found:
                return
            self._done[key] = (found, self.clock())
            self._done.move_to_end(key)
            while len(self._done) > UNANSWERED_MAX:
                self._done.popitem(last=False)

    def settle(self, client: PaperClient) -> Settled:
        """Ask the desk for each by its id, and forget those of which it is known what became."""
        settled = Settled()
        if not self.sending.acquire(blocking=False):
            return settled  # one is on its way: what is asked now would be of before
        try:
            for each in self.waiting():
                if self.clock() - each.sent_s >= ASKED_AFTER_S:
                    self._settle(client, each, settled)
        finally:
            self.sending.release()
        return settled

    def _settle(self, client: PaperClient, each: Waiting, settled: Settled) -> None:
        answer = client.order(str(each.body["portfolio"]), each.client_order_id)
        if isinstance(answer, Order):
            self.done(each.body)
            settled.taken.append(answer)
        elif isinstance(answer, Refused) and answer.code in _NOT_THERE:
            unknown_s = self.clock() if each.unknown_s is None else each.unknown_s
            if self.clock() - unknown_s >= UNKNOWN_FOR_S:
                self.answered(each.body)
                settled.never_came.append(each)
                return
            with self._lock:
                self._ids[same(each.body)] = replace(each, unknown_s=unknown_s)
