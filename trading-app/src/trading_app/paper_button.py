"""The one Buy button: where a trade goes, and how it becomes one order of the paper desk.

It knows the desk's client and no page. What has no answer is remembered by ``paper_unanswered``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from trading_app.market_client import Failed, Refused
from trading_app.market_look import shown
from trading_app.order_ticket import Problem
from trading_app.paper_answers import Order, TradingState
from trading_app.paper_client import Done, PaperClient
from trading_app.paper_status import UNKNOWN_PORTFOLIO
from trading_app.paper_ticket import market_body
from trading_app.paper_unanswered import Unanswered
from trading_app.sidecar_client import Away

MAIN: Final = "main"
MAIN_BODY: Final = {"name": MAIN, "currency": "USDT", "balance": "100000"}
Placing = Done[Order] | Away[Order] | Refused | Failed


class Lost(Failed):
    """It was not taken now, but an earlier try had no answer: that one may have been taken."""


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
    if symbol is None or price is not None:
        why = "no symbol: the" if symbol is None else "with a price typed in, the"
        return Way(False, f"{why} trade is published as before")
    state, symbols = client.trading_state(), client.symbols("feed")
    if client.is_gone:
        return Way(False, "market-engine is away: trades are published as before", True)
    if isinstance(state, Refused) or isinstance(symbols, Refused):
        return Way(False, "market-engine has no paper desk: trades are published as before", True)
    found = shown(symbols)
    if found is not None and all(each.symbol != symbol for each in found.symbols):
        return Way(False, f"{symbol} has no market here: the trade is published as before")
    return _to_desk(state)


def _to_desk(state: TradingState | Away[TradingState]) -> Way:
    if isinstance(state, Away):
        return Way(True, f"the paper desk answers late ({state.reason}): trades go to it", True)
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
