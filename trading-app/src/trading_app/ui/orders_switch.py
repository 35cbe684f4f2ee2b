"""The Orders page's kill switch: the state of the whole desk, and a way out of every open order.

Widgets only. What a command to the switch came to stays on the page until it is mended: a halt that
was not heard must not vanish with a toast.
"""

from __future__ import annotations

from html import escape
from typing import Final

import streamlit as st

from trading_app.formats import plural
from trading_app.market_client import Failed, Refused
from trading_app.market_look import shown
from trading_app.paper_answers import TradingState
from trading_app.paper_client import NOT_STORED, Done, PaperClient
from trading_app.paper_formats import STATE_WORDS
from trading_app.ui import paper_shared

BY_HAND: Final = "by hand, on the page Orders"
STATES: Final = (
    ("active", "Active", "Active"),
    ("reducing", "Reducing", "Reducing"),
    ("halted", "Halt", "Halted"),
)
_DRAWN: Final = "paper-state-drawn"
_TROUBLE: Final = "paper-state-trouble"


def show(desk: PaperClient, name: str | None) -> None:
    """Draw it: each state one click away, to flatten two; the one in force is marked."""
    now = _state(desk)
    st.session_state[_DRAWN] = now
    with st.container(horizontal=True, key="kill-switch", vertical_alignment="center"):
        for state, label, name_of_it in STATES:
            st.button(
                f"● {name_of_it} now" if state == now else label,
                key=f"state-{state}",
                type="primary" if state == now else "secondary",
                help=f"From now on {STATE_WORDS[state]}",
                on_click=_set_state,
                args=(desk, state),
            )
        _flatten(desk)
        if name is not None:
            st.button(
                "Cancel all",
                key="cancel-all",
                help=f"Cancels every open order of the portfolio {name}; positions stay",
                on_click=_cancel_all,
                args=(desk, name),
            )


def _flatten(desk: PaperClient) -> None:
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


def watch(desk: PaperClient) -> None:
    """Draw the page anew when the state has changed; for a part that redraws."""
    now = _state(desk)
    if now != st.session_state.get(_DRAWN, now):
        st.session_state[_DRAWN] = now
        st.rerun()


def trouble(desk: PaperClient) -> None:
    """Say what became of the last command, while that is not what was wanted."""
    wanted, words, may_be_done = st.session_state.get(_TROUBLE, ("", "", False))
    state = desk.trading_state()
    if may_be_done and isinstance(state, TradingState) and _is_in_force(wanted, state.state):
        st.session_state.pop(_TROUBLE)
    elif words:
        st.html(f'<div class="ta-problems" role="alert">{escape(words)}</div>')


def _is_in_force(wanted: str, state: str) -> bool:
    return state == wanted or (wanted == "flatten" and state == "halted")


def _state(desk: PaperClient) -> str:
    found = shown(desk.trading_state())
    return found.state if found else ""


def _set_state(desk: PaperClient, state: str) -> None:
    answer = desk.set_state(state, "" if state == "active" else BY_HAND)
    name = state.capitalize()
    if isinstance(answer, Done):
        st.session_state.pop(_TROUBLE, None)
        paper_shared.tell(f"{name}: {STATE_WORDS[state]}")
        return
    words, may_be_done = f"{name} is not in force", False
    if isinstance(answer, Refused) and answer.code == NOT_STORED:
        words = (
            f"{name} is in force, but it is not stored: a restart of the engine forgets it. "
            f"Press it again when the desk can store: {answer.message}"
        )
    elif isinstance(answer, Refused):
        words = f"{words}: {answer.message}"
    elif isinstance(answer, Failed):
        may_be_done = True
        words = f"{name} has no answer, and may not be in force. Press it again: {answer.reason}"
    else:
        words = f"{words}: {answer.reason}. Press it again"
    st.session_state[_TROUBLE] = (state, words, may_be_done)


def _cancel_all(desk: PaperClient, name: str) -> None:
    answer = desk.cancel_all(name)
    if isinstance(answer, Done):
        count = answer.answer.cancelled
        paper_shared.tell(f"Cancelled: {plural(count, 'open order')} of {name}")
    else:
        paper_shared.tell(answer)
