"""The one Buy button: where a trade goes, and how it becomes one order of the paper desk.

It knows the desk's client and no page. What has no answer is remembered by ``paper_unanswered``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from trading_app.market_answers import Symbols
from trading_app.market_client import Failed, Refused
from trading_app.market_look import shown
from trading_app.order_ticket import Problem
from trading_app.paper_answers import Order, TradingState
from trading_app.paper_client import Done, PaperClient
from trading_app.paper_status import UNKNOWN_PORTFOLIO
from trading_app.paper_ticket import market_body
from trading_app.paper_unanswered import (
    DOUBLE_CLICK_S,
    DOUBT_S,
    UNANSWERED_MAX,
    Unanswered,
)
from trading_app.sidecar_client import Away

MAIN: Final = "main"
MAIN_BODY: Final = {"name": MAIN, "currency": "USDT", "balance": "100000"}
ACTIVE: Final = "active"
HALT_OUTLIVES_S: Final = 600
"""So long after the engine went, what it had halted is not published past it."""
_WAY_OUT: Final = "Active on the page Orders"
Placing = Done[Order] | Away[Order] | Refused | Failed


class Lost(Failed):
    """It was not taken now, but an earlier try had no answer: that one may have been taken."""


@dataclass(frozen=True, slots=True)
class Already(Done[Order]):
    """It was taken before, and nothing was sent; the same is this order for so long still."""

    for_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Way:
    """Where a trade goes, in words that stand for themselves; ``problem``: not as people expect.

    Not ``to_desk``, it is published past it if it ``may_pass``; else it goes nowhere.
    """

    to_desk: bool
    words: str
    problem: bool = False
    may_pass: bool = False


@dataclass(frozen=True, slots=True)
class Pressed:
    """What a click came to at the desk; ``made``: portfolio *main* was made for it."""

    answer: Placing
    made: bool = False


def way(client: PaperClient, symbol: str | None, price: float | None) -> Way:
    """Say where a trade goes now: to the desk if it can be one, else past it while it is active."""
    state, symbols = client.trading_state(), client.symbols("feed")
    if client.is_gone:
        return _gone(state)
    if isinstance(state, Refused):
        return _past("market-engine has no paper desk", problem=True)
    why = _no_order(symbol, price, shown(symbols))
    if not why:
        return _to_desk(state)
    if isinstance(state, Away):
        return _nowhere(f"the paper desk answers late ({state.reason})", "Wait a moment.")
    return _past(why) if state.state == ACTIVE else _held(state)


def _no_order(symbol: str | None, price: float | None, found: Symbols | None) -> str:
    """Say why a trade cannot be an order of the desk; "" if it can be."""
    if symbol is None:
        return "no symbol"
    if price is not None:
        return "with a price typed in"
    if found is not None and all(each.symbol != symbol for each in found.symbols):
        return f"{symbol} has no market here"
    return ""


def _gone(state: TradingState | Away[TradingState] | Refused) -> Way:
    """A halt outlives the engine for a while: what it said last holds for ``HALT_OUTLIVES_S``."""
    last = shown(state)
    is_over = isinstance(state, Away) and time.time() - state.since_s > HALT_OUTLIVES_S
    if last is None or last.state == ACTIVE or is_over:
        return _past("market-engine is away", problem=True)
    was = f"the paper desk was {last.state} when market-engine went away"
    return _nowhere(was, f"Start it, then press {_WAY_OUT}; or wait {HALT_OUTLIVES_S // 60} min.")


def _held(state: TradingState) -> Way:
    return _nowhere(f"the paper desk is {state.state}", f"The way out: {_WAY_OUT}.")


def _nowhere(why: str, cure: str) -> Way:
    return Way(False, f"{why}: nothing is published past it. {cure}", problem=True)


def _past(why: str, *, problem: bool = False) -> Way:
    words = f"{why}: trades are published, not on the paper desk"
    return Way(False, words, problem, may_pass=True)


def _to_desk(state: TradingState | Away[TradingState]) -> Way:
    if isinstance(state, Away):
        return Way(True, f"the paper desk answers late ({state.reason}): trades go to it", True)
    if state.state in {"halted", "flatten"}:
        words = f"the paper desk is {state.state}: it denies new orders. The way out: {_WAY_OUT}"
        return Way(True, words, True)
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
        if held := unanswered.taken(body, at_s):
            return _already(client, unanswered, *held)
        if not unanswered.has_room(body):
            return Refused(
                "too_many_unanswered",
                f"{UNANSWERED_MAX} orders have no answer yet: no other is sent until one has",
            )
        tried = unanswered.is_tried(body)
        answer = client.place({**body, "client_order_id": unanswered.id_of(body)})
        if isinstance(answer, Done):
            unanswered.done(body, answer.answer, DOUBT_S if tried else DOUBLE_CLICK_S)
        elif not (tried or isinstance(answer, Failed)):
            unanswered.answered(body)
    return answer


def _already(client: PaperClient, unanswered: Unanswered, held: Order, until_s: float) -> Already:
    """Give the order that a press is once more, as it is now."""
    now = shown(client.order(held.portfolio, held.client_order_id))
    return Already(now or held, False, max(0.0, until_s - unanswered.clock()))


def _known(unanswered: Unanswered, body: Mapping[str, object], answer: Placing) -> Placing:
    """Say what is known of the order, where the answer speaks of its last try alone."""
    if isinstance(answer, Done | Failed) or not unanswered.is_tried(body):
        return answer
    why = answer.message if isinstance(answer, Refused) else answer.reason
    return Lost(f"an earlier try had no answer, and now: {why}")
