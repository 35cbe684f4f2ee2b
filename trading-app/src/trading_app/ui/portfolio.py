"""The Portfolio page: where do I stand, and does every cent add up? Widgets only.

Each part that redraws itself has a container of its own; what is chosen stands outside of them.
"""

from __future__ import annotations

import time
from typing import Final

import streamlit as st

from trading_app.market_look import is_old, shown, trouble
from trading_app.paper_client import PaperClient
from trading_app.paper_status import as_of, no_portfolio, portfolio_status
from trading_app.ui import paper_shared, portfolio_charts, portfolio_parts
from trading_app.ui.browser import theme, zone
from trading_app.ui.components import answer_line, heading

REDRAW_S: Final = 1.0
WINDOWS: Final = {"1h": "1 h", "1d": "1 day", "7d": "7 days", "all": "all"}
_WINDOW: Final = "paper-window"
_KEPT: Final = "paper-window-kept"
WHAT: Final = (
    "Here stands what a portfolio on paper is worth: cash, positions, profit, the curve of its "
    "equity. For that there has to be one."
)


def show(desk: PaperClient) -> None:
    """Draw the page: the answer, the figures, the curve, the positions, the performance."""
    paper_shared.sheet()
    answer = st.container()
    with st.container(horizontal=True, key="paper-bar", vertical_alignment="center"):
        name = paper_shared.choose(desk)
        window = _window() if name else ""
    with answer:
        _line(desk, name)
    if name is None:
        paper_shared.first_run(desk, WHAT)
    else:
        _panels(desk, name, window)
    paper_shared.tell_answer()


def _panels(desk: PaperClient, name: str, window: str) -> None:
    with st.container():
        _figures(desk, name)
    curve, performance = st.columns([2.1, 1], gap="small")
    with curve, st.container():
        _curve(desk, name, window)
    with performance, st.container():
        _performance(desk, name)
    positions, books = st.columns([1.5, 1], gap="small")
    with positions, st.container():
        _positions(desk, name)
    with books, st.container():
        _books(desk, name)


def _window() -> str:
    st.session_state.setdefault(_WINDOW, st.session_state.get(_KEPT, "1d"))
    chosen = st.segmented_control(
        "Window",
        list(WINDOWS),
        key=_WINDOW,
        format_func=WINDOWS.__getitem__,
        required=True,
        label_visibility="collapsed",
    )
    window = chosen or "1d"
    st.session_state[_KEPT] = window
    return window


@st.fragment(run_every=REDRAW_S)
def _line(desk: PaperClient, name: str | None) -> None:
    if name is None:
        st.html(answer_line(no_portfolio(desk.portfolios(), time.time()), ""))
    else:
        answer = desk.portfolio(name)
        now_s = time.time()
        details = portfolio_parts.details(shown(answer), old=is_old(answer, now_s))
        st.html(answer_line(portfolio_status(answer, now_s), details))
    paper_shared.watch(desk)


@st.fragment(run_every=REDRAW_S)
def _figures(desk: PaperClient, name: str) -> None:
    answer = desk.portfolio(name)
    with st.container(border=True, key="panel-figures", gap="xsmall"):
        old = is_old(answer, time.time())
        st.html(portfolio_parts.figures(shown(answer), trouble(answer), old=old))


@st.fragment(run_every=REDRAW_S)
def _curve(desk: PaperClient, name: str, window: str) -> None:
    """Draw equity, and below it how far it stands under its peak; and say both in words."""
    answer = desk.equity(name, window)
    now = shown(desk.portfolio(name))
    found = shown(answer)
    with st.container(border=True, key="panel-curve", gap="xsmall"):
        curve, late = portfolio_charts.curve(found, now), as_of(answer, time.time())
        note = portfolio_parts.note(portfolio_parts.unit(now), late)
        st.html(heading(f"equity, {WINDOWS[window]}", note))
        if sum(point.equity is not None for point in curve.points) < 2:
            st.html(portfolio_parts.empty_curve(trouble(answer)))
            return
        style = portfolio_charts.Look(theme())
        spec = portfolio_charts.equity_chart(style, curve, zone())
        st.vega_lite_chart(spec, width="stretch", key="paper-equity")
        st.html(heading("below the peak", "in %"))
        drawdown = portfolio_charts.drawdown_chart(style, curve)
        st.vega_lite_chart(drawdown, width="stretch", key="paper-drawdown")
        st.html(portfolio_parts.curve_note(curve, late))


@st.fragment(run_every=REDRAW_S)
def _performance(desk: PaperClient, name: str) -> None:
    answer = desk.performance(name)
    found, old, late = shown(answer), is_old(answer, time.time()), as_of(answer, time.time())
    with st.container(border=True, key="panel-performance", gap="xsmall"):
        note = portfolio_parts.note(portfolio_parts.performance_note(found), late)
        st.html(heading("performance", note))
        st.html(portfolio_parts.performance(found, trouble(answer), old=old))
    with st.container(border=True, key="panel-symbols", gap="xsmall"):
        unit = portfolio_parts.unit(shown(desk.portfolio(name)))
        st.html(heading("profit by symbol", portfolio_parts.note(unit, late)))
        st.html(
            portfolio_parts.by_symbol(found.by_symbol if found else None, trouble(answer), old=old)
        )


@st.fragment(run_every=REDRAW_S)
def _positions(desk: PaperClient, name: str) -> None:
    answer = desk.portfolio(name)
    found = shown(answer)
    with st.container(border=True, key="panel-positions", gap="xsmall"):
        old, late = is_old(answer, time.time()), as_of(answer, time.time())
        count, unit = portfolio_parts.positions_note(found), portfolio_parts.unit(found)
        st.html(heading("positions", portfolio_parts.note(count, unit, late)))
        st.html(portfolio_parts.positions(found, trouble(answer), old=old))


@st.fragment(run_every=REDRAW_S)
def _books(desk: PaperClient, name: str) -> None:
    answer = desk.portfolio(name)
    found = shown(answer)
    with st.container(border=True, key="panel-books", gap="xsmall"):
        old, late = is_old(answer, time.time()), as_of(answer, time.time())
        note = portfolio_parts.note(portfolio_parts.unit(found), late)
        st.html(heading("three books, the same orders", note))
        st.html(portfolio_parts.books(found.books if found else None, trouble(answer), old=old))
