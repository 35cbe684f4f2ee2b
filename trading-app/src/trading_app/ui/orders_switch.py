"""The Orders page's kill switch: the state of the whole desk, and a way out of every open order.

Widgets only. What a command to the switch came to stays on the page until it is mended: a halt that
was not heard must not vanish with a toast.
"""

from __future__ import annotations

import time
from html import escape
from typing import Final

import streamlit as st

from trading_app.formats import age, plural
from trading_app.market_look import is_old, shown
from trading_app.paper_client import Done, PaperClient
from trading_app.paper_formats import STATE_WORDS
from trading_app.paper_switch import switch_command
from trading_app.sidecar_client import Away
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
    now = _marked(desk)
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
    now = _marked(desk)
    if now != st.session_state.get(_DRAWN, now):
        st.session_state[_DRAWN] = now
        st.rerun()


def trouble(desk: PaperClient) -> None:
    """Say what became of the last command, in words of the state that is answered now."""
    answer, command = desk.trading_state(), st.session_state.get(_TROUBLE)
    if isinstance(answer, Away) and answer.last and answer.last_s and not _marked(desk):
        name, old = answer.last.state.capitalize(), age(time.time() - answer.last_s)
        st.html(f'<div class="ta-hint">{escape(name)} as of {old}; now it is not known</div>')
    words = command.words(answer) if command else ""
    if words:
        st.html(f'<div class="ta-problems" role="alert">{escape(words)}</div>')
    else:
        st.session_state.pop(_TROUBLE, None)


def _marked(desk: PaperClient) -> str:
    """Give the state that is marked as in force; "" where what is known of it is old."""
    answer = desk.trading_state()
    found = None if is_old(answer, time.time()) else shown(answer)
    return found.state if found else ""


def _set_state(desk: PaperClient, state: str) -> None:
    answer = desk.set_state(state, "" if state == "active" else BY_HAND)
    if isinstance(answer, Done):
        st.session_state.pop(_TROUBLE, None)
        paper_shared.tell(f"{state.capitalize()}: {STATE_WORDS[state]}")
    else:
        st.session_state[_TROUBLE] = switch_command(state, answer)


def _cancel_all(desk: PaperClient, name: str) -> None:
    answer = desk.cancel_all(name)
    if isinstance(answer, Done):
        count = answer.answer.cancelled
        paper_shared.tell(f"Cancelled: {plural(count, 'open order')} of {name}")
    else:
        paper_shared.tell(answer)
