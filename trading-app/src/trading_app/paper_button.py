"""The one Buy button: where a trade goes, and how it becomes one order of the paper desk.

It knows the desk's client and no page. An order keeps its id until it is answered, so that a
second try of the same is the same order.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from trading_app.market_client import Failed, Refused
from trading_app.market_look import shown
from trading_app.order_ticket import Problem
from trading_app.paper_answers import Order, TradingState
from trading_app.paper_client import Done, PaperClient
from trading_app.paper_status import UNKNOWN_PORTFOLIO
from trading_app.paper_ticket import market_body, same
from trading_app.sidecar_client import Away

MAIN: Final = "main"
MAIN_BODY: Final = {"name": MAIN, "currency": "USDT", "balance": "100000"}
UNANSWERED_MAX: Final = 16
DOUBLE_CLICK_S: Final = 0.5
"""So soon after its answer, the same order once more is the same order."""
_Same = tuple[tuple[str, str], ...]
Placing = Done[Order] | Away[Order] | Refused | Failed


class Lost(Failed):
    """It was not taken now, but an earlier try had no answer: that one may have been taken."""


class Unanswered:
    """The ids of orders whose answer has not come; at most so many, the oldest is forgotten.

    One for each browser session; its runs may overlap, and ``sending`` lets one send at a time. An
    order that was done keeps its id for a moment more: a double click is one order.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.sending = threading.Lock()
        self._ids: OrderedDict[_Same, str] = OrderedDict()
        self._done: OrderedDict[_Same, tuple[str, float]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._ids)

    def id_of(self, body: Mapping[str, object], pressed_s: float | None = None) -> str:
        """Give the id of this order: a new one, or that of its first try."""
        with self._lock:
            found = self._tried(body, pressed_s) or str(uuid.uuid4())
            self._ids.setdefault(same(body), found)
            while len(self._ids) > UNANSWERED_MAX:
                self._ids.popitem(last=False)
            return found

    def may_be_taken(self, body: Mapping[str, object], pressed_s: float | None = None) -> bool:
        """Whether an earlier try of this order has no answer, or was done a moment ago."""
        with self._lock:
            return self._tried(body, pressed_s) is not None

    def _tried(self, body: Mapping[str, object], pressed_s: float | None) -> str | None:
        if found := self._ids.get(same(body)):
            return found
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
            found = self._ids.pop(key, None)
            if found is None or self._done.get(key, ("", 0.0))[0] == found:
                return
            self._done[key] = (found, self.clock())
            self._done.move_to_end(key)
            while len(self._done) > UNANSWERED_MAX:
                self._done.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Way:
    """Where a trade goes, in words that stand for themselves; ``problem``: not as people expect."""

    to_desk: bool
    words: str
    problem: bool = False


@dataclass(frozen=True, slots=True)
class Pressed:
    """What a click came to at the desk; ``made``: portfolio *main* was made for it."""

    answer: Placing
    made: bool = False


def way(client: PaperClient, symbol: str | None, price: float | None) -> Way:
    """Say where a trade goes now: to the desk if it can be one, else it is published as before."""
    if symbol is None:
        return Way(False, "no symbol: the trade is published as before")
    if price is not None:
        return Way(False, "with a price typed in, the trade is published as before")
    state, symbols = client.trading_state(), client.symbols("feed")
    if isinstance(state, Away) or isinstance(symbols, Away):
        return Way(False, "market-engine is away: trades are published as before", True)
    found = shown(symbols)
    if isinstance(state, Refused) or found is None:
        return Way(False, "market-engine has no paper desk: trades are published as before", True)
    if all(each.symbol != symbol for each in found.symbols):
        return Way(False, f"{symbol} has no market here: the trade is published as before")
    return _to_desk(state)


def _to_desk(state: TradingState) -> Way:
    if state.state in {"halted", "flatten"}:
        return Way(True, f"the paper desk is {state.state}: it denies new orders", True)
    held = "; it takes what reduces a position alone" if state.state == "reducing" else ""
    return Way(True, f"trades go to the paper desk, portfolio {MAIN}{held}", bool(held))


def press(
    client: PaperClient,
    unanswered: Unanswered,
    symbol: str,
    side: str,
    qty: float,
    pressed_s: float | None = None,
) -> Pressed | list[Problem]:
    """Place a market order in *main*, which is made on first use; or say what is wrong with it."""
    body = market_body(symbol, side, qty, MAIN)
    if isinstance(body, list):
        return body
    answer = _send(client, unanswered, body, pressed_s)
    if not (isinstance(answer, Refused) and answer.code == UNKNOWN_PORTFOLIO):
        return Pressed(_known(unanswered, body, answer))
    made = client.make(MAIN_BODY)
    if isinstance(made, Failed | Away):
        refused = Refused("not_made", f"portfolio {MAIN} could not be made: {made.reason}")
        return Pressed(_known(unanswered, body, refused))
    is_new = isinstance(made, Done) and made.is_new
    return Pressed(place(client, unanswered, body, pressed_s), is_new)


def place(
    client: PaperClient,
    unanswered: Unanswered,
    body: Mapping[str, object],
    pressed_s: float | None = None,
) -> Placing:
    """Send an order under its id, which it keeps while an earlier try may have been taken."""
    return _known(unanswered, body, _send(client, unanswered, body, pressed_s))


def _send(
    client: PaperClient,
    unanswered: Unanswered,
    body: Mapping[str, object],
    pressed_s: float | None,
) -> Placing:
    at_s = unanswered.clock() if pressed_s is None else pressed_s
    with unanswered.sending:
        tried = unanswered.may_be_taken(body, at_s)
        answer = client.place({**body, "client_order_id": unanswered.id_of(body, at_s)})
        if isinstance(answer, Done):
            unanswered.done(body)
        elif not (tried or isinstance(answer, Failed)):
            unanswered.answered(body)
    return answer


def _known(unanswered: Unanswered, body: Mapping[str, object], answer: Placing) -> Placing:
    """Say what is known of the order, where the answer speaks of its last try alone."""
    if isinstance(answer, Done | Failed) or not unanswered.may_be_taken(body):
        return answer
    why = answer.message if isinstance(answer, Refused) else answer.reason
    return Lost(f"an earlier try had no answer, and now: {why}")
