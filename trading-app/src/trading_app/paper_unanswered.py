"""Orders whose answer has not come: their ids, and what is known of them by now.

An order keeps its id until it is known, and for a while after: as long as anybody may be in doubt,
the same order once more is the same order. It knows the desk's client and no page.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from trading_app.market_client import Refused
from trading_app.paper_answers import Order
from trading_app.paper_client import PaperClient
from trading_app.paper_status import UNKNOWN_PORTFOLIO
from trading_app.paper_ticket import same

UNANSWERED_MAX: Final = 16
SETTLED_MAX: Final = 64
DOUBLE_CLICK_S: Final = 0.5
"""So soon after its answer, the same order once more is the same order."""
DOUBT_S: Final = 10.0
"""The same, where its first answer did not come: longer than any words of doubt stand."""
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
class Held:
    """An order of which it is known what became; until then (seconds) its id is kept.

    ``order`` is None where it never came: sent once more, it may as well have the same id.
    """

    client_order_id: str
    order: Order | None
    until_s: float


@dataclass(frozen=True, slots=True)
class News:
    """What turned out of an order without an answer; ``order`` None: it never came."""

    number: int
    body: Mapping[str, object]
    order: Order | None
    at_s: float


class Unanswered:
    """The orders of one page whose answer has not come, in all sessions; bounded.

    Any thread may call; ``sending`` lets one send at a time. ``prefix`` begins each id.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, prefix: str = "") -> None:
        self.clock = clock
        self.sending = threading.Lock()
        self._prefix = prefix
        self._ids: OrderedDict[_Same, Waiting] = OrderedDict()
        self._held: OrderedDict[_Same, Held] = OrderedDict()
        self._news: deque[News] = deque(maxlen=SETTLED_MAX)
        self._settled = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._ids)

    def waiting(self) -> list[Waiting]:
        """Give those without an answer, the oldest first."""
        with self._lock:
            return list(self._ids.values())

    def has_room(self, body: Mapping[str, object]) -> bool:
        """Whether one more may be sent: none without an answer is ever forgotten for another."""
        with self._lock:
            return len(self._ids) < UNANSWERED_MAX or same(body) in self._ids

    def id_of(self, body: Mapping[str, object]) -> str:
        """Give the id under which to send this order: a new one, or that of its first try."""
        with self._lock:
            key = same(body)
            tried = self._ids.get(key) or self._holds(key, self.clock())
            found = tried.client_order_id if tried else f"{self._prefix}{uuid.uuid4()}"
            # sent once more: that the desk did not know it before says nothing any longer
            self._ids[key] = Waiting(dict(body), found, self.clock())
            return found

    def is_tried(self, body: Mapping[str, object]) -> bool:
        """Whether an earlier try of this order has no answer."""
        with self._lock:
            return same(body) in self._ids

    def taken(self, body: Mapping[str, object], pressed_s: float) -> tuple[Order, float] | None:
        """Give the order that this is, and until when; where it was taken, and its id is kept."""
        with self._lock:
            key = same(body)
            held = None if key in self._ids else self._holds(key, pressed_s)
            return (held.order, held.until_s) if held and held.order else None

    def may_be_taken(self, body: Mapping[str, object], pressed_s: float) -> bool:
        """Whether it may be an order already, or is one that was taken a moment ago."""
        return self.is_tried(body) or self.taken(body, pressed_s) is not None

    def _holds(self, key: _Same, at_s: float) -> Held | None:
        held = self._held.get(key)
        return held if held and at_s < held.until_s else None

    def answered(self, body: Mapping[str, object]) -> None:
        """Forget it: the same order once more is a new one."""
        with self._lock:
            self._ids.pop(same(body), None)

    def done(self, body: Mapping[str, object], order: Order | None, for_s: float) -> None:
        """It is known what became of it; its id is kept for so long, counted from now."""
        with self._lock:
            key = same(body)
            if waited := self._ids.pop(key, None):
                self._held[key] = Held(waited.client_order_id, order, self.clock() + for_s)
                self._held.move_to_end(key)
                while len(self._held) > SETTLED_MAX:
                    self._held.popitem(last=False)

    def news(self, after: int) -> list[News]:
        """Give what turned out a moment ago, numbered above ``after``, for a page to tell."""
        with self._lock:
            oldest_s = self.clock() - DOUBT_S
            return [each for each in self._news if each.number > after and each.at_s >= oldest_s]

    def settle(self, client: PaperClient) -> None:
        """Ask the desk for each by its id; what became of one is news."""
        if not self.sending.acquire(blocking=False):
            return  # one is on its way: what is asked now would be of before
        try:
            for each in self.waiting():
                if self.clock() - each.sent_s >= ASKED_AFTER_S:
                    self._settle(client, each)
        finally:
            self.sending.release()

    def _settle(self, client: PaperClient, each: Waiting) -> None:
        answer = client.order(str(each.body["portfolio"]), each.client_order_id)
        if isinstance(answer, Order):
            self._tell(each, answer)
        elif isinstance(answer, Refused) and answer.code in _NOT_THERE:
            unknown_s = self.clock() if each.unknown_s is None else each.unknown_s
            if self.clock() - unknown_s >= UNKNOWN_FOR_S:
                self._tell(each, None)
                return
            with self._lock:
                self._ids[same(each.body)] = replace(each, unknown_s=unknown_s)

    def _tell(self, each: Waiting, order: Order | None) -> None:
        denied = order is not None and order.state == "denied"  # it may be tried again at once
        self.done(each.body, order, 0.0 if denied else DOUBT_S)
        with self._lock:
            self._settled += 1
            self._news.append(News(self._settled, each.body, order, self.clock()))
