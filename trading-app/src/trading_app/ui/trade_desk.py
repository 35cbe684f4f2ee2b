"""The Trade page's way to the paper desk: the line that names it, and what a click came to there.

Widgets only; ``paper_button`` decides and sends.
"""

from __future__ import annotations

from decimal import Decimal
from html import escape
from typing import Final

import streamlit as st

from trading_app.formats import quantity
from trading_app.market_client import Failed, Refused
from trading_app.market_look import shown
from trading_app.order_ticket import Problem
from trading_app.paper_answers import Order
from trading_app.paper_button import MAIN, MAIN_BODY, Already, Lost, Pressed, Way, press, way
from trading_app.paper_client import Done, PaperClient
from trading_app.paper_formats import amount, grouped, order_words, outcome
from trading_app.paper_ticket import market_body
from trading_app.paper_unanswered import Unanswered
from trading_app.sidecar_client import Away
from trading_app.ui import paper_shared
from trading_app.ui.trade_orders import PAGE

REDRAW_S: Final = 1.0
_LAST: Final = "paper-last"
_PRESSED: Final = "paper-pressed"
NOT_THERE: Final = " · not on the paper desk: no risk check, and not in its ledger"
"""What a trade lacks that is published past the desk."""


@st.fragment(run_every=REDRAW_S)
def line(client: PaperClient, symbol: str | None) -> None:
    """Say where trades go, and follow this session's last order there."""
    found = way(client, symbol, st.session_state.get("price"))
    css = " ta-warn" if found.problem else ""
    said = f"{escape(found.words)}{_waiting(client)}{_last(client)}"
    st.html(f'<div class="ta-note ta-way-line{css}">{said}</div>')


def _waiting(client: PaperClient) -> str:
    """Name the orders without an answer: the same is not published, wherever others go."""
    waiting, settled = paper_shared.settled(client, PAGE)
    if settled:
        st.session_state[_LAST] = settled[-1]
    return "".join(f"<br>{escape(words)}" for words in waiting)


def _last(client: PaperClient) -> str:
    """Say what has become of the last order, until it stays as it is."""
    order: Order | None = st.session_state.get(_LAST)
    if order is None:
        return ""
    if not order.is_final:
        order = shown(client.order(MAIN, order.client_order_id)) or order
        st.session_state[_LAST] = order
    return f"<br><b>{escape(order_words(order))}</b>: {escape(outcome(order))}"


def trade(
    client: PaperClient, symbol: str | None, side: str, qty: float | None, price: float | None
) -> list[Problem] | None:
    """Place the order where the desk can take it; None where the trade is to be published.

    Nothing is published past a desk that is not active, nor what may be an order already.
    What became of it is left for the toast of the run that follows.
    """
    unanswered = paper_shared.unanswered(client, PAGE)
    pressed_s = unanswered.clock()
    if qty is None:
        return None  # nothing to trade, as the ticket will say
    what = f"{side.capitalize()} {quantity(qty)} {symbol or ''}".strip()
    found = way(client, symbol, price)
    if not (found.to_desk or _is_tried(unanswered, symbol, side, qty, price, pressed_s)):
        return _past(what, found)
    answer = press(client, unanswered, str(symbol), side, qty, pressed_s)
    if isinstance(answer, list):
        return answer
    if isinstance(answer.answer, Away) and not (left := way(client, symbol, price)).to_desk:
        return _past(what, left)  # it reached nobody, and no earlier try did
    if isinstance(answer.answer, Done):
        st.session_state[_LAST] = answer.answer.answer
    st.session_state[_PRESSED] = (what, answer)
    return []


def _past(what: str, found: Way) -> list[Problem] | None:
    """Have it published past the desk, or say why not: a halt is one for every trade."""
    if found.may_pass:
        return None
    st.session_state[_PRESSED] = (what, Pressed(Refused("held", found.words)))
    return []


def _is_tried(
    unanswered: Unanswered,
    symbol: str | None,
    side: str,
    qty: float,
    price: float | None,
    pressed_s: float,
) -> bool:
    """Whether it may be an order of the desk already: such a trade is never published."""
    if symbol is None or price is not None:
        return False
    body = market_body(symbol, side, qty, MAIN)
    return isinstance(body, dict) and unanswered.may_be_taken(body, pressed_s)


def tell_answer() -> None:
    """Say once, in a toast, what the last click came to at the desk."""
    what, pressed = st.session_state.pop(_PRESSED, ("", None))
    if pressed is not None:
        text, icon = sentence(what, pressed)
        st.toast(text, icon=icon)


def sentence(what: str, pressed: Pressed) -> tuple[str, str]:
    """Put what became of a click in words, with its icon."""
    answer = pressed.answer
    made = f"portfolio {MAIN} was made with {_balance()} · " if pressed.made else ""
    if isinstance(answer, Already):
        return paper_shared.already(what, answer), ":material/info:"
    if isinstance(answer, Done):
        order = answer.answer
        again = "" if answer.is_new else "it had been taken at the first try: "
        return f"{made}{what}: {again}{outcome(order)}", paper_shared.mark(order)
    if isinstance(answer, Failed):
        known = "it is" if isinstance(answer, Lost) else "no answer, so it is"
        unknown = f"{what}: {known} not known whether the desk took it"
        return f"{unknown}. {paper_shared.ASKED_FOR} ({answer.reason})", ":material/help:"
    reason = answer.message if isinstance(answer, Refused) else answer.reason
    return f"{made}{what}: **not** taken: {grouped(reason)}", ":material/block:"


def _balance() -> str:
    return f"{amount(Decimal(MAIN_BODY['balance']))} {MAIN_BODY['currency']}"
