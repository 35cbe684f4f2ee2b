"""The Delivery page: is every trade accounted for? Widgets only; ``account`` does the sums."""

from __future__ import annotations

from typing import Final

import streamlit as st

from trading_app.account import delivery_status
from trading_app.desk import Desk
from trading_app.ui import delivery_parts, delivery_table
from trading_app.ui.components import answer_line, heading

REDRAW_S: Final = 1.0


def show(desk: Desk) -> None:
    """Draw the page: the answer, the account by publisher, where what waits is kept, the words."""
    with st.container():
        _line(desk)
    publishers, keeping = st.columns([3, 1], gap="small")
    with publishers, st.container():
        _publishers(desk)
    with keeping, st.container():
        _keeping(desk)
    with st.expander("What the words mean"):
        st.html(delivery_parts.words())


@st.fragment(run_every=REDRAW_S)
def _line(desk: Desk) -> None:
    view = desk.look()
    status = delivery_status(view.status, view.summary, view.figures_age_s)
    st.html(answer_line(status, delivery_parts.details(view)))


@st.fragment(run_every=REDRAW_S)
def _publishers(desk: Desk) -> None:
    with st.container(border=True, key="panel-account", gap="xsmall"):
        st.html(heading("by publisher", desk.sidecar_address))
        st.html(delivery_table.publishers(desk.look()))


@st.fragment(run_every=REDRAW_S)
def _keeping(desk: Desk) -> None:
    view = desk.look()
    with st.container(border=True, key="panel-journal", gap="xsmall"):
        st.html(heading("this desk's journal", view.stats.source))
        st.html(delivery_parts.journal(view))
    with st.container(border=True, key="panel-state", gap="xsmall"):
        st.html(heading("the sidecar's state"))
        st.html(delivery_parts.state(view))
