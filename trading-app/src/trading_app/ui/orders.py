"""The Orders page: what is let through, and what became of my orders? Widgets only.

Each part that redraws itself has a container of its own; the ticket stands outside of them.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Final

import streamlit as st

from trading_app.market_client import Refused
from trading_app.market_look import is_old, shown, trouble
from trading_app.paper_answers import Fills, Order, Orders
from trading_app.paper_client import LISTED_MAX, Done, PaperClient
from trading_app.paper_formats import order_words
from trading_app.paper_status import as_of, orders_status
from trading_app.sidecar_client import Away
from trading_app.ui import orders_parts, orders_switch, orders_ticket, paper_shared, portfolio_parts
from trading_app.ui.browser import zone
from trading_app.ui.components import answer_line, heading

REDRAW_S: Final = 1.0
OPEN_MAX: Final = 20
"""Open orders on one page of them."""
LIST_PX: Final = 236
_BEFORE: Final = "paper-open-before"
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
        orders_switch.show(desk, name)
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
    status = orders_status(desk.trading_state(), portfolio, desk.portfolios(), time.time())
    since = orders_parts.since(shown(desk.trading_state()), zone(), time.time())
    st.html(answer_line(status, since))
    orders_switch.trouble(desk)
    paper_shared.watch(desk)
    orders_switch.watch(desk)


@st.fragment(run_every=REDRAW_S)
def _open(desk: PaperClient, name: str) -> None:
    """Draw the open orders, each with the reason why it waits and a button to cancel it."""
    before = st.session_state.setdefault(_BEFORE, {}).setdefault(name, [])
    answer = desk.orders(name, "open", OPEN_MAX, before[-1] if before else None)
    found, portfolio = shown(answer), shown(desk.portfolio(name))
    listed = found.orders if found else ()
    if before and isinstance(answer, Orders) and not listed:
        before.pop()  # what stood there has ended: one page back, at the next redraw
    count = portfolio.open_orders if portfolio else len(listed)
    with st.container(border=True, key="panel-open", gap="xsmall"):
        note = orders_parts.count_note(count, OPEN_MAX * len(before), len(listed))
        late = as_of(answer, time.time())
        st.html(heading("open orders", portfolio_parts.note(note, late)))
        if not listed:
            st.html(orders_parts.no_open(trouble(answer)))
        old = is_old(answer, time.time())
        for order in listed[:OPEN_MAX]:
            _row(desk, name, order, old=old)
        _pages(before, listed)


def _pages(before: list[int], listed: tuple[Order, ...]) -> None:
    """Let the older ones be looked at; ``before`` has the end of each page up to this one."""
    last = listed[-1].number if len(listed) >= OPEN_MAX else None
    if not before and last is None:
        return
    with st.container(horizontal=True, key="open-pages"):
        st.button("Newer", key="open-newer", disabled=not before, on_click=partial(_newer, before))
        older = partial(before.append, last or 0)
        st.button("Older", key="open-older", disabled=last is None, on_click=older)


def _newer(before: list[int]) -> None:
    if before:
        before.pop()


def _row(desk: PaperClient, name: str, order: Order, *, old: bool) -> None:
    key = order.number if order.number is not None else order.client_order_id
    with st.container(horizontal=True, key=f"open-{key}", vertical_alignment="center"):
        html = orders_parts.open_order(order, zone(), time.time(), old=old)
        st.html(html, width="stretch")
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
    found, now_s = shown(answer), time.time()
    rows = found.fills if found else None
    with st.container(border=True, key="panel-fills", gap="xsmall"):
        st.html(heading("fills, and what justified each", _fills_note(desk, name, answer)))
        with st.container(height=LIST_PX, border=False, key="list-fills"):
            old, why = is_old(answer, now_s), trouble(answer)
            st.html(orders_parts.fills(rows, zone(), now_s, why, old=old))


def _fills_note(desk: PaperClient, name: str, answer: Fills | Away[Fills] | Refused) -> str:
    """Say which fills are listed, of which book, in which money, and how old they are."""
    found = shown(answer)
    is_cut = found is not None and len(found.fills) >= LISTED_MAX
    return portfolio_parts.note(
        orders_parts.cut(LISTED_MAX) if is_cut else "",
        "the neutral book",
        portfolio_parts.unit(shown(desk.portfolio(name))),
        as_of(answer, time.time()),
    )


@st.fragment(run_every=REDRAW_S)
def _ended(desk: PaperClient, name: str) -> None:
    found, now_s = desk.ended(name), time.time()
    cut = orders_parts.cut(len(found.orders or ())) if found.is_cut else ""
    note = portfolio_parts.note(cut, as_of(found.answer, now_s))
    with st.container(border=True, key="panel-ended", gap="xsmall"):
        st.html(heading("orders that ended or were denied", note))
        with st.container(height=LIST_PX, border=False, key="list-ended"):
            old, why = is_old(found.answer, now_s), trouble(found.answer)
            st.html(orders_parts.ended(found.orders, zone(), now_s, why, old=old))
