"""What Portfolio and Orders share: the client, the choice of a portfolio, a form to make one.

Widgets only. What is chosen stands outside of the parts that redraw themselves.
"""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from typing import Final

import streamlit as st

from trading_app.market_client import Failed, Refused
from trading_app.market_look import shown, trouble
from trading_app.order_ticket import Problem
from trading_app.paper_answers import Order
from trading_app.paper_button import MAIN, MAIN_BODY, Already
from trading_app.paper_client import Done, PaperClient
from trading_app.paper_formats import amount, body_words, grouped, order_words, outcome
from trading_app.paper_ticket import CURRENCIES, portfolio_body
from trading_app.paper_unanswered import News, Unanswered, Waiting
from trading_app.sidecar_client import Away
from trading_app.ui import shared
from trading_app.ui.components import problems

_YES: Final = ":material/check:"
_NO: Final = ":material/block:"
_SHEET: Final = Path(__file__).with_name("paper.css")
PICKED: Final = "paper-portfolio"
_KEPT: Final = "paper-portfolio-kept"
_DRAWN: Final = "paper-portfolios-drawn"
_TOLD: Final = "paper-told"
_PROBLEMS: Final = "paper-problems"
_TOLD_OF: Final = "paper-news"
PAGES: Final = ("trade", "orders")
ASKED_FOR: Final = "It is being asked for: what became of it is said here"
LOOK_FIRST: Final = "Look below before you try it again"


def client() -> PaperClient:
    """Give the process's one client. Edited code gets a new one."""
    return _client(id(PaperClient))


@st.cache_resource(show_spinner=False, max_entries=1)
def _client(code: int) -> PaperClient:  # noqa: ARG001 - changes when ``--reload`` imports again
    return PaperClient(shared.settings().market_url)


def sheet() -> None:
    """Add the style of the paper desk's pages."""
    st.html(f"<style>{_SHEET.read_text(encoding='utf-8')}</style>")


def unanswered(desk: PaperClient, page: str) -> Unanswered:
    """Give the orders without an answer that were sent to a desk from a page, by any session."""
    return _unanswered(desk.url, page, id(Unanswered))


@st.cache_resource(show_spinner=False, max_entries=2 * len(PAGES))
def _unanswered(url: str, page: str, code: int) -> Unanswered:  # noqa: ARG001 - as above
    return Unanswered(prefix=f"{page}-")


def settled(desk: PaperClient, page: str) -> tuple[list[str], list[Order]]:
    """Ask for a page's orders without an answer: name those that have none, give the others.

    What became of one is told in every session, also in one that began a moment after it.
    """
    orders, key = unanswered(desk, page), f"{_TOLD_OF}-{page}"
    orders.settle(desk)
    news = orders.news(st.session_state.get(key, 0))
    for each in news:
        text, icon = _turned_out(each)
        st.toast(text, icon=icon)
        st.session_state[key] = each.number
    return [_no_answer(each) for each in orders.waiting()], [n.order for n in news if n.order]


def _turned_out(news: News) -> tuple[str, str]:
    if news.order is None:
        return f"Not taken, it never came: {body_words(news.body)}", _NO
    said = f"{order_words(news.order)}: {outcome(news.order)}"
    came = "Answered late" if news.order.state == "denied" else "Taken after all"
    return f"{came}: {said}", mark(news.order)


def mark(order: Order) -> str:
    """Give the icon of what became of an order: a check where it brought or may bring a fill."""
    ended = order.is_final and order.state != "filled" and not order.filled_qty
    return _NO if ended else _YES


def already(what: str, answer: Already) -> str:
    """Say of a press that it is an order that was taken before, and from when on it is not."""
    order, seconds = answer.answer, max(1, math.ceil(answer.for_s))
    return (
        f"{what}: no other order, it was taken already: {outcome(order)}. "
        f"For another of the same, wait {seconds} s ({order.client_order_id})"
    )


def _no_answer(each: Waiting) -> str:
    known = "the desk does not know it so far" if each.unknown_s is not None else "it is asked for"
    return f"{body_words(each.body)}: no answer yet, {known}"


def names(desk: PaperClient) -> tuple[str, ...] | None:
    """Name the portfolios, *main* first; None while that is not known."""
    found = shown(desk.portfolios())
    if found is None:
        return None
    return tuple(sorted((each.name for each in found.portfolios), key=lambda n: (n != MAIN, n)))


def choose(desk: PaperClient) -> str | None:
    """Draw the picker and the form behind it; None while there is no portfolio to choose."""
    known = names(desk)
    st.session_state[_DRAWN] = known
    kept = st.session_state.get(PICKED) or st.session_state.get(_KEPT)
    options = list(known or ([kept] if kept else []))
    if not options:
        return None
    st.session_state[PICKED] = kept if kept in options else options[0]
    with st.container(horizontal=True, key="paper-picker", vertical_alignment="center"):
        chosen: str = st.selectbox(
            "Portfolio", options, key=PICKED, width=180, label_visibility="collapsed"
        )
        with st.popover("New portfolio"):
            form(desk)
    st.session_state[_KEPT] = chosen
    return chosen


def watch(desk: PaperClient) -> None:
    """Draw the page anew when portfolios came or the desk appeared; for a part that redraws."""
    known = names(desk)
    if known != st.session_state.get(_DRAWN, known):
        st.session_state[_DRAWN] = known
        st.rerun()


def first_run(desk: PaperClient, what: str) -> None:
    """Say what the page will show, why it shows nothing yet, and how that changes."""
    with st.container(border=True, key="panel-first", gap="small"):
        why = trouble(desk.portfolios())
        reason = f"Nothing is known of it now: {escape(why)}." if why else "There is none yet."
        st.html(f'<div class="ta-empty">{escape(what)} {reason}</div>')
        if not why:
            form(desk)


def form(desk: PaperClient) -> None:
    """Let a portfolio be made."""
    row = st.form("paper-new", border=False)
    with row.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input("Name", MAIN, key="paper-new-name", max_chars=32, width=150)
        st.selectbox("Currency", CURRENCIES, key="paper-new-currency", width=110)
        st.text_input("Balance", MAIN_BODY["balance"], key="paper-new-balance", width=150)
        st.form_submit_button("Make portfolio", on_click=_make, args=(desk,))
    found = st.session_state.get(_PROBLEMS, [])
    if found:
        st.html(problems(found))


def _make(desk: PaperClient) -> None:
    form = st.session_state
    body = portfolio_body(
        form["paper-new-name"], form["paper-new-currency"], form["paper-new-balance"]
    )
    form[_PROBLEMS] = body if isinstance(body, list) else []
    if isinstance(body, list):
        tell(body)
        return
    answer = desk.make(body)
    if isinstance(answer, Done):
        made = answer.answer
        form[PICKED] = form[_KEPT] = made.name
        tell(f"Portfolio {made.name} has {amount(made.balance)} {made.currency}")
    else:
        tell(answer)
        why = answer.message if isinstance(answer, Refused) else answer.reason
        form[_PROBLEMS] = [Problem("portfolio", f"was not made: {why}")]


def tell(answer: object, again: str = LOOK_FIRST) -> None:
    """Leave what a click came to for the run that follows; ``again``: if that is not known."""
    st.session_state[_TOLD] = answer, again


def tell_answer() -> None:
    """Say once, in a toast, what the last click came to."""
    answer, again = st.session_state.pop(_TOLD, (None, ""))
    if answer:
        text, icon = told(answer, again)
        st.toast(text, icon=icon)


def told(answer: object, again: str = LOOK_FIRST) -> tuple[str, str]:
    """Put an answer in words, with its icon."""
    if isinstance(answer, Refused):
        return f"Not done: {grouped(answer.message)}", _NO
    if isinstance(answer, Failed):
        known = "No answer, so it is not known whether it was done"
        return f"{known}. {again} ({answer.reason})", ":material/help:"
    if isinstance(answer, Away):
        return f"Not done: {answer.reason}", _NO
    if isinstance(answer, list):
        return "Not sent: " + "; ".join(map(_said, answer)), ":material/error:"
    return str(answer), _YES


def _said(problem: object) -> str:
    return str(problem) if isinstance(problem, Problem) else ""
