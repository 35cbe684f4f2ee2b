"""The Trade page: does it count? Widgets only; the desk does the rest."""

from __future__ import annotations

import re
from typing import Final

import streamlit as st

from trading_app.desk import Desk
from trading_app.event_log import OwnEvent
from trading_app.formats import UNKNOWN, quantity
from trading_app.market_look import shown
from trading_app.order_ticket import Ticket
from trading_app.paper_client import PaperClient
from trading_app.ui import components, keyboard, tables, trade_desk, trade_orders
from trading_app.ui.browser import zone
from trading_app.ui.chart import bars, chart, in_words

NO_SYMBOL: Final = "no symbol"
SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
"""Those offered while no market is known."""
TICKET: Final = ("symbol", "quantity", "price")
ROWS: Final = 50
REDRAW_S: Final = 1.0
_LIST_PX: Final = 344
_TRADED: Final = re.compile(r"(buy|sell)-([0-9.e+-]{1,30})\Z")


def show(desk: Desk, paper: PaperClient | None = None) -> None:
    """Draw the page: the first line, the ticket, the totals and the two lists.

    With ``paper``, trades go to the paper desk while it can take them; else they are published,
    unless it is halted.

    Each part that redraws itself has a container of its own. When such a redraw meets a click,
    Streamlit may drop its elements for a moment; without the container the parts beside it would
    move up into the wrong place, and the page would break.
    """
    with st.container():
        _status_line(desk)
    ticket, figures = st.columns([1, 2.35], gap="small")
    with ticket:
        _ticket(desk, paper)
        with st.container():
            _publishers(desk)
    with figures, st.container():
        _figures(desk, paper)
    st.html(keyboard.SCRIPT, unsafe_allow_javascript=True)
    _tell_answer(desk, "" if paper is None else trade_desk.NOT_THERE)
    trade_desk.tell_answer()
    _tell_form_trade()


@st.fragment(run_every=REDRAW_S)
def _status_line(desk: Desk) -> None:
    st.html(components.status_line(desk.look()))


@st.fragment(run_every=REDRAW_S)
def _publishers(desk: Desk) -> None:
    with st.container(border=True, key="panel-publishers", gap="xsmall"):
        st.html(components.heading("publishers"))
        st.html(tables.publishers(desk.look()))


def _ticket(desk: Desk, paper: PaperClient | None) -> None:
    """Draw the ticket; the buttons' callbacks run before anything else of the next run."""
    with st.container(border=True, key="panel-ticket", gap="small"):
        # Streamlit forgets what a page does not draw, so what the ticket says is kept besides.
        options = _symbols(paper)
        kept = st.session_state.get("ticket", {"symbol": options[0], "quantity": 1.0})
        for field, value in kept.items():
            st.session_state.setdefault(field, value)
        chosen = st.session_state["symbol"] = _chosen()  # as the market writes it
        options += [] if chosen in options else [chosen]
        st.selectbox("Symbol", options, key="symbol", accept_new_options=True)
        st.number_input(
            "Quantity",
            min_value=0.0,
            max_value=1e15,
            step=1.0,
            format="%.10g",
            key="quantity",
        )
        st.number_input(
            "Price", value=None, min_value=0.0, format="%.10g", key="price", placeholder="optional"
        )
        st.session_state["ticket"] = {field: st.session_state[field] for field in TICKET}
        with st.container(horizontal=True, gap="small"):
            for side, key in (("buy", "B"), ("sell", "S")):
                st.button(
                    side.capitalize(),
                    key=side,
                    shortcut=key,
                    width="stretch",
                    on_click=_trade,
                    args=(desk, paper, side),
                )
        st.html(components.problems(st.session_state.get("problems", [])))
        if paper is not None:
            with st.container():
                trade_desk.line(paper, _traded())


def _symbols(paper: PaperClient | None) -> list[str]:
    """Offer the symbols of the market while it is there, the usual ones first; or none."""
    found = None if paper is None else shown(paper.symbols("feed"))
    there = sorted(each.symbol for each in found.symbols) if found else []
    usual = [each for each in SYMBOLS if each in there] if there else list(SYMBOLS)
    return [*usual, *(each for each in there if each not in SYMBOLS), NO_SYMBOL]


def _chosen() -> str:
    """Give the symbol in the ticket: small letters are its capital ones."""
    found: str = st.session_state.get("symbol") or NO_SYMBOL
    return found if found == NO_SYMBOL else found.strip().upper() or NO_SYMBOL


def _traded() -> str | None:
    return None if _chosen() == NO_SYMBOL else _chosen()


def _trade(desk: Desk, paper: PaperClient | None, side: str) -> None:
    """Trade what the ticket says, and leave the answer for the run that follows."""
    form = st.session_state
    symbol = _traded()
    if paper is not None:
        problems = trade_desk.trade(paper, symbol, side, form.quantity, form.price)
        if problems is not None:
            form.problems = form.answer = problems
            return
    answer = desk.trade(Ticket(side, form.quantity, symbol, form.price))
    form.problems = [] if isinstance(answer, OwnEvent) else answer
    form.answer = answer


def _tell_answer(desk: Desk, note: str) -> None:
    """Say once, in a toast, what the last click came to; ``note``: what a published trade lacks."""
    answer = st.session_state.pop("answer", None)
    if isinstance(answer, OwnEvent):
        st.toast(
            _sentence(answer, desk) + note,
            icon=":material/check:" if answer.seq else ":material/block:",
        )
    elif answer:
        st.toast("Not traded: " + "; ".join(map(str, answer)), icon=":material/error:")


def _sentence(event: OwnEvent, desk: Desk) -> str:
    trade = event.trade
    what = f"{trade.side.capitalize()} {quantity(trade.qty)} {trade.symbol or ''}".strip()
    if event.refused is not None:
        return f"{what} was **not** taken: no room, too many trades wait for the sidecar"
    return f"{what} is on its way" if desk.connected else f"{what} waits here for the sidecar"


def _tell_form_trade() -> None:
    """Say once that the HTTP endpoint took a trade: it sends browsers back with ``?traded=``."""
    note = st.query_params.pop("traded", None) if "traded" in st.query_params else None
    match = _TRADED.match(note or "")
    if match:
        st.toast(f"The HTTP endpoint took: {match[1]} {match[2]}", icon=":material/check:")


@st.fragment(run_every=REDRAW_S)
def _figures(desk: Desk, paper: PaperClient | None) -> None:
    """Draw everything that moves by itself below the first line."""
    view, here = desk.look(), zone()
    with st.container(border=True, key="panel-totals", gap="xsmall"):
        st.html(components.heading("counted by the sidecar", desk.sidecar_address))
        st.html(components.totals(view, here))
        shown = _last_minutes(desk)
        st.html(components.totals_note(view, here, shown))
    own, everyone = st.columns(2, gap="small")
    with own, st.container(border=True, key="panel-own", gap="xsmall"):
        st.html(components.heading("your events"))
        with st.container(height=_LIST_PX, border=False, key="list-own"):
            st.html(_own(desk, paper, view.now_s))
    with everyone, st.container(border=True, key="panel-all", gap="xsmall"):
        st.html(components.heading("all publishers, live"))
        with st.container(height=_LIST_PX, border=False, key="list-all"):
            recent = view.summary.recent[::-1] if view.summary else ()
            st.html(tables.all_trades(recent, here, view))


def _own(desk: Desk, paper: PaperClient | None, now_s: float) -> str:
    """List what this page sent: orders of the paper desk, then trades that were published."""
    orders, are_some = ("", False) if paper is None else trade_orders.own(paper, zone())
    events = desk.log.newest(ROWS)
    if are_some and not events:
        return orders
    return orders + tables.own_events(events, zone(), now_s)


def _last_minutes(desk: Desk) -> str:
    """Draw the last five minutes, and return them in words."""
    past = desk.past()
    shown = bars(past.samples, past.now_s)
    st.vega_lite_chart(chart(shown), width="stretch", key="history")
    return in_words(shown) if past.history else f"last 5 minutes: {UNKNOWN}"
