"""The one Buy button: where a trade goes, and how it becomes one order of the paper desk.

It knows the desk's client and no page. An order keeps its id until it is answered, so that a
second try of the same is the same order.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping
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
Placing = Done[Order] | Away[Order] | Refused | Failed


class Unanswered:
    """The ids of orders whose answer has not come; at most so many, the oldest is forgotten.

    One for each browser session; its runs may overlap.
    """

    def __init__(self) -> None:
        self._ids: OrderedDict[tuple[tuple[str, str], ...], str] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._ids)

    def id_of(self, body: Mapping[str, object]) -> str:
        """Give the id of this order: a new one, or that of its first try."""
        with self._lock:
            found = self._ids.setdefault(same(body), str(uuid.uuid4()))
            while len(self._ids) > UNANSWERED_MAX:
                self._ids.popitem(last=False)
            return found

    def answered(self, body: Mapping[str, object]) -> None:
        """Forget it: the same order once more is a new one."""
        with self._lock:
            self._ids.pop(same(body), None)


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
    client: PaperClient, unanswered: Unanswered, symbol: str, side: str, qty: float
) -> Pressed | list[Problem]:
    """Place a market order in *main*, which is made on first use; or say what is wrong with it."""
    body = market_body(symbol, side, qty, MAIN)
    if isinstance(body, list):
        return body
    answer = place(client, unanswered, body)
    if not (isinstance(answer, Refused) and answer.code == UNKNOWN_PORTFOLIO):
        return Pressed(answer)
    made = client.make(MAIN_BODY)
    if isinstance(made, Failed | Away):
        return Pressed(Refused("not_made", f"portfolio {MAIN} could not be made: {made.reason}"))
    is_new = isinstance(made, Done) and made.is_new
    return Pressed(place(client, unanswered, body), is_new)


def place(client: PaperClient, unanswered: Unanswered, body: Mapping[str, object]) -> Placing:
    """Send an order under its id; only without an answer does the next try have the same one."""
    answer = client.place({**body, "client_order_id": unanswered.id_of(body)})
    if not isinstance(answer, Failed):
        unanswered.answered(body)
    return answer
