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
from trading_app.paper_button import MAIN, MAIN_BODY, Lost, Pressed, press, way
from trading_app.paper_client import Done, PaperClient
from trading_app.paper_formats import amount, grouped, order_words, outcome
from trading_app.paper_ticket import market_body
from trading_app.sidecar_client import Away
from trading_app.ui import paper_shared

REDRAW_S: Final = 1.0
_LAST: Final = "paper-last"
_PRESSED: Final = "paper-pressed"
_WITHOUT: Final = "paper-without-desk"
PAGE: Final = "trade"
"""Whose orders without an answer these are."""


@st.fragment(run_every=REDRAW_S)
def line(client: PaperClient, no_symbol: str) -> None:
    """Say where trades go, and follow this session's last order there."""
    found = way(client, _symbol(no_symbol), st.session_state.get("price"))
    css = " ta-warn" if found.problem else ""
    said = f"{escape(found.words)}{_waiting(client)}{_last(client)}"
    st.html(f'<div class="ta-note ta-way-line{css}">{said}</div>')


def _symbol(no_symbol: str) -> str | None:
    symbol: str | None = st.session_state.get("symbol")
    return None if symbol == no_symbol else symbol


def _waiting(client: PaperClient) -> str:
    """Name the orders without an answer: the same is not published, wherever others go."""
    waiting, settled = paper_shared.settled(client, PAGE)
    if settled.taken:
        st.session_state[_LAST] = settled.taken[-1]
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

    What became of it is left for the toast of the run that follows.
    """
    unanswered = paper_shared.unanswered(PAGE)
    pressed_s = unanswered.clock()
    st.session_state.pop(_WITHOUT, None)
    found = way(client, symbol, price)
    if symbol is None or qty is None:
        return None
    if not found.to_desk:
        body = market_body(symbol, side, qty, MAIN)
        tried = isinstance(body, dict) and unanswered.may_be_taken(body, pressed_s)
        if price is not None or not tried:  # what may be an order already is never published
            st.session_state[_WITHOUT] = found.problem
            return None
    answer = press(client, unanswered, symbol, side, qty, pressed_s)
    if isinstance(answer, list):
        return answer
    if isinstance(answer.answer, Away) and client.is_gone:
        # it reached nobody, so it is safe to publish it: no earlier try did
        st.session_state[_WITHOUT] = True
        return None
    if isinstance(answer.answer, Done):
        st.session_state[_LAST] = answer.answer.answer
    what = f"{side.capitalize()} {quantity(qty)} {symbol}"
    st.session_state[_PRESSED] = (what, answer)
    return []


def published_note() -> str:
    """Say what a trade lacks that was published because the desk was not there; "" if it was."""
    if not st.session_state.pop(_WITHOUT, False):
        return ""
    return " · the paper desk was not there: no risk check, and not in its ledger"


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
    if isinstance(answer, Done):
        order = answer.answer
        again = "" if answer.is_new else "it had been taken at the first try: "
        icon = ":material/block:" if order.state == "denied" else ":material/check:"
        return f"{made}{what}: {again}{outcome(order)}", icon
    if isinstance(answer, Lost):
        unknown = f"{what}: it is not known whether the desk took it ({answer.reason})"
        return f"{unknown}. Press again when it is back: it stays one order", ":material/help:"
    if isinstance(answer, Failed):
        unknown = f"{what}: no answer, so it is not known whether it was taken ({answer.reason})"
        return f"{unknown}. Press again: it stays one order", ":material/help:"
    reason = answer.message if isinstance(answer, Refused) else answer.reason
    return f"{made}{what}: **not** taken: {grouped(reason)}", ":material/block:"


def _balance() -> str:
    return f"{amount(Decimal(MAIN_BODY['balance']))} {MAIN_BODY['currency']}"
