"""The Orders page: what is let through, and what became of my orders? Widgets only.

Each part that redraws itself has a container of its own; the ticket stands outside of them.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Final

import streamlit as st

from trading_app.market_look import is_old, shown, trouble
from trading_app.paper_answers import Order
from trading_app.paper_client import Done, PaperClient
from trading_app.paper_formats import STATE_WORDS, order_words
from trading_app.paper_status import orders_status
from trading_app.ui import orders_parts, orders_ticket, paper_shared
from trading_app.ui.browser import zone
from trading_app.ui.components import answer_line, heading

REDRAW_S: Final = 1.0
OPEN_MAX: Final = 20
LIST_PX: Final = 236
BY_HAND: Final = "by hand, on the page Orders"
WHAT: Final = (
    "Here an order on paper is filled in, previewed and placed; below it stands what became of it. "
    "For that there has to be a portfolio."
)


def show(desk: PaperClient) -> None:
    """Draw the page: the state, the kill switch, the ticket, open orders, fills, the ended."""
    paper_shared.sheet()
    answer = st.container()
    with st.container(horizontal=True, key="paper-bar", vertical_alignment="center"):
        name = paper_shared.choose(desk)
        _switch(desk)
    with answer:
        _line(desk, name)
    if name is None:
        paper_shared.first_run(desk, WHAT)
    else:
        _orders(desk, name)
    paper_shared.tell_answer()


def _orders(desk: PaperClient, name: str) -> None:
    ticket, listed = st.columns([1, 2.35], gap="small")
    with ticket:
        orders_ticket.show(desk, name)
    with listed:
        with st.container():
            _open(desk, name)
        with st.container():
            _fills(desk, name)
        with st.container():
            _ended(desk, name)


@st.fragment(run_every=REDRAW_S)
def _line(desk: PaperClient, name: str | None) -> None:
    portfolio = desk.portfolio(name) if name else None
    status = orders_status(desk.trading_state(), portfolio, time.time())
    st.html(answer_line(status, orders_parts.since(shown(desk.trading_state()), zone())))
    paper_shared.watch(desk)


def _switch(desk: PaperClient) -> None:
    """Draw the kill switch: each state one click away, to flatten two."""
    with st.container(horizontal=True, key="kill-switch", vertical_alignment="center"):
        for state, label in (("active", "Active"), ("reducing", "Reducing"), ("halted", "Halt")):
            st.button(
                label,
                key=f"state-{state}",
                help=f"From now on {STATE_WORDS[state]}",
                on_click=_set_state,
                args=(desk, state),
            )
        with st.popover("Flatten…"):
            st.html(
                '<div class="ta-empty">Cancels every open order and sells or buys back every '
                "position at the market, in all portfolios. Then the desk is halted. "
                "It cannot be taken back.</div>"
            )
            st.button(
                "Flatten everything",
                key="state-flatten",
                on_click=_set_state,
                args=(desk, "flatten"),
            )


def _set_state(desk: PaperClient, state: str) -> None:
    answer = desk.set_state(state, "" if state == "active" else BY_HAND)
    done = isinstance(answer, Done)
    paper_shared.tell(f"{state.capitalize()}: {STATE_WORDS[state]}" if done else answer)


@st.fragment(run_every=REDRAW_S)
def _open(desk: PaperClient, name: str) -> None:
    """Draw the open orders, each with the reason why it waits and a button to cancel it."""
    answer = desk.orders(name, "open")
    found = shown(answer)
    listed = found.orders if found else ()
    with st.container(border=True, key="panel-open", gap="xsmall"):
        st.html(heading("open orders", orders_parts.count_note(len(listed), OPEN_MAX)))
        if not listed:
            st.html(orders_parts.no_open(trouble(answer)))
        old = is_old(answer, time.time())
        for order in listed[:OPEN_MAX]:
            _row(desk, name, order, old=old)


def _row(desk: PaperClient, name: str, order: Order, *, old: bool) -> None:
    key = order.number if order.number is not None else order.client_order_id
    with st.container(horizontal=True, key=f"open-{key}", vertical_alignment="center"):
        st.html(orders_parts.open_order(order, zone(), old=old), width="stretch")
        st.button("Cancel", key=f"cancel-{key}", on_click=partial(_cancel, desk, name, order))


def _cancel(desk: PaperClient, name: str, order: Order) -> None:
    """Cancel; the toast comes at once, as only this part is drawn anew."""
    answer = desk.cancel(name, order.client_order_id)
    done = f"Cancelled: {order_words(order)}" if isinstance(answer, Done) else answer
    text, icon = paper_shared.told(done)
    st.toast(text, icon=icon)


@st.fragment(run_every=REDRAW_S)
def _fills(desk: PaperClient, name: str) -> None:
    answer = desk.fills(name)
    found = shown(answer)
    with st.container(border=True, key="panel-fills", gap="xsmall"):
        st.html(heading("fills, and what justified each", "the neutral book"))
        with st.container(height=LIST_PX, border=False, key="list-fills"):
            old = is_old(answer, time.time())
            st.html(orders_parts.fills(found.fills if found else (), zone(), old=old))


@st.fragment(run_every=REDRAW_S)
def _ended(desk: PaperClient, name: str) -> None:
    answer = desk.orders(name, "all")
    found = shown(answer)
    ended = [order for order in found.orders if order.is_final] if found else []
    with st.container(border=True, key="panel-ended", gap="xsmall"):
        st.html(heading("orders that ended or were denied"))
        with st.container(height=LIST_PX, border=False, key="list-ended"):
            st.html(orders_parts.ended(ended, zone(), old=is_old(answer, time.time())))
