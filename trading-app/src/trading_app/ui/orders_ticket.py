"""The Orders page's ticket: an order filled in, its cost and risk as they are now, and Place.

Widgets only. The fields stay where they are; one that its type does not use is greyed.
"""

from __future__ import annotations

from html import escape
from typing import Final

import streamlit as st

from trading_app.market_client import Refused
from trading_app.market_look import shown
from trading_app.order_ticket import Problem
from trading_app.paper_answers import Preview
from trading_app.paper_button import Already, place
from trading_app.paper_client import Done, PaperClient
from trading_app.paper_formats import displayed_words, order_words
from trading_app.paper_ticket import (
    TIMES_IN_FORCE,
    TYPES,
    Body,
    OrderForm,
    has_limit,
    has_stop,
    order_body,
)
from trading_app.sidecar_client import Away
from trading_app.ui import orders_parts, paper_shared
from trading_app.ui.components import heading, problems

REDRAW_S: Final = 1.0
_FIELDS: Final[dict[str, object]] = {
    "symbol": None,
    "side": "Buy",
    "type": "Market",
    "qty": "1",
    "limit": "",
    "stop": "",
    "tif": "GTC",
    "post-only": False,
    "reduce-only": False,
}
_KEPT: Final = "order-kept"
PAGE: Final = "orders"
"""Whose orders without an answer these are."""
_FIRST: Final = "BTCUSDT"


def show(desk: PaperClient, name: str) -> None:
    """Draw the ticket, what it would cost now, and the button."""
    with st.container(border=True, key="panel-order", gap="xsmall"):
        st.html(heading("order", f"portfolio {name}"))
        _fields(desk)
        with st.container():
            _preview(desk, name)
        side = str(_value("side")).lower()
        st.button(
            f"Place: {side}",
            key=f"place-{side}",
            width="stretch",
            on_click=_place,
            args=(desk, name),
        )
        with st.container():
            _without_answer(desk)


def _fields(desk: PaperClient) -> None:
    """Draw the fields; Streamlit forgets what a page does not draw, so their values are kept."""
    kept = st.session_state.get(_KEPT, _FIELDS)
    for field, value in kept.items():
        st.session_state.setdefault(_key(field), value)
    _symbol(desk)
    _one_of("Side", ["Buy", "Sell"], "side")
    _one_of("Type", list(TYPES), "type")
    order_type = TYPES[str(_value("type"))]
    st.text_input("Quantity", key=_key("qty"), max_chars=40)
    limit, stop = st.columns(2, gap="small")
    with limit:
        st.text_input(
            "Limit price", key=_key("limit"), max_chars=40, disabled=not has_limit(order_type)
        )
    with stop:
        st.text_input(
            "Stop price", key=_key("stop"), max_chars=40, disabled=not has_stop(order_type)
        )
    _one_of("Time in force", list(TIMES_IN_FORCE), "tif")
    with st.container(horizontal=True, gap="small"):
        st.checkbox("Post-only", key=_key("post-only"), disabled=not has_limit(order_type))
        st.checkbox("Reduce-only", key=_key("reduce-only"))
    st.session_state[_KEPT] = {field: _value(field) for field in _FIELDS}


def _one_of(label: str, options: list[str], field: str) -> None:
    """Let one of a few be chosen; they name themselves, so the label is for readers of screens."""
    st.segmented_control(
        label,
        options,
        key=_key(field),
        required=True,
        width="stretch",
        label_visibility="collapsed",
    )


def _key(field: str) -> str:
    return f"order-{field}"


def _value(field: str) -> object:
    return st.session_state.get(_key(field), _FIELDS[field])


def _symbol(desk: PaperClient) -> None:
    """Let a symbol be chosen; one that has vanished stays chosen until another is."""
    found = shown(desk.symbols("feed"))
    key, kept = _key("symbol"), _value("symbol")
    options = sorted({each.symbol for each in found.symbols} if found else set())
    if isinstance(kept, str) and kept not in options:
        options.append(kept)
    if options and kept is None:
        st.session_state[key] = _FIRST if _FIRST in options else options[0]
    st.selectbox(
        "Symbol",
        options,
        key=key,
        placeholder="no symbol yet",
        disabled=not options,
        label_visibility="collapsed",
    )


def _body(name: str) -> Body | list[Problem]:
    symbol = _value("symbol")
    form = OrderForm(
        symbol=symbol if isinstance(symbol, str) else None,
        side=str(_value("side")).lower(),
        type=TYPES[str(_value("type"))],
        qty=str(_value("qty")),
        limit_price=str(_value("limit")),
        stop_price=str(_value("stop")),
        time_in_force=TIMES_IN_FORCE[str(_value("tif"))],
        post_only=bool(_value("post-only")),
        reduce_only=bool(_value("reduce-only")),
    )
    return order_body(form, name)


@st.fragment(run_every=REDRAW_S)
def _preview(desk: PaperClient, name: str) -> None:
    """Say what it would cost now; in a frame of fixed height, so that the button holds still."""
    with st.container(height=178, border=False, key="order-preview"):
        st.html(_previewed(desk, name))


def _previewed(desk: PaperClient, name: str) -> str:
    body = _body(name)
    if isinstance(body, list):
        return problems(body)
    found = desk.preview(body)
    if isinstance(found, Preview):
        portfolio = shown(desk.portfolio(name))
        quoted = desk.quoted("feed", str(body["symbol"]))
        displayed = displayed_words(body, None if isinstance(quoted, Away) else shown(quoted))
        currency = portfolio.portfolio.currency if portfolio else ""
        return orders_parts.preview(found, currency, displayed)
    why = found.message if isinstance(found, Refused) else found.reason
    return f'<div class="ta-empty">No preview: {escape(why)}</div>'


def _place(desk: PaperClient, name: str) -> None:
    """Send the order under its id, and leave the answer for the run that follows."""
    body = _body(name)
    if isinstance(body, list):
        paper_shared.tell(body)
        return
    answer = place(desk, paper_shared.unanswered(desk, PAGE), body)
    if isinstance(answer, Already):
        said = paper_shared.already(order_words(answer.answer), answer)
        paper_shared.tell(Refused("already", said))
    elif isinstance(answer, Done):
        order = answer.answer
        said = orders_parts.placed(order, is_new=answer.is_new)
        denied = order.state == "denied"
        paper_shared.tell(Refused("denied", said) if denied else said[:1].upper() + said[1:])
    else:
        paper_shared.tell(answer, paper_shared.ASKED_FOR)


@st.fragment(run_every=REDRAW_S)
def _without_answer(desk: PaperClient) -> None:
    """Name the orders of this page that have no answer yet, until it is known what became."""
    waiting, _ = paper_shared.settled(desk, PAGE)
    for words in waiting:
        st.html(f'<div class="ta-hint ta-warn" role="status">{escape(words)}.</div>')
