"""The Live page: is everything flowing? Widgets only; the desk fetches, ``flow`` calculates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import streamlit as st

from trading_app import flow
from trading_app.desk import Desk
from trading_app.flow import Flow, What
from trading_app.past import Past
from trading_app.status import flow_status
from trading_app.ui import live_benchmark, live_parts, symbols, tracks
from trading_app.ui.browser import theme, zone
from trading_app.ui.components import heading
from trading_app.ui.tracks import Frame, Spec, Window

REDRAW_S: Final = 1.0
NOW_S: Final = 10
MINUTE_S: Final = 60
BINS: Final = 60
SPANS_S: Final = {"5 min": 300, "15 min": 900}


def show(desk: Desk) -> None:
    """Draw the page: the answer, the tracks over time, the symbols, the last benchmark."""
    line, choice = st.columns([5, 1], gap="small", vertical_alignment="center")
    with line, st.container():
        _line(desk)
    with choice, st.container(horizontal=True, horizontal_alignment="right"):
        span_s = _choose_span()
    with st.container():
        _answer(desk)
    over_time, by_symbol = st.columns([1.5, 1], gap="small")
    with over_time, st.container():
        _tracks(desk, span_s)
    with by_symbol, st.container():
        _symbols(desk)
    with st.container():
        _benchmark(desk)


def _choose_span() -> int:
    """Let the reader choose how far the tracks reach back; in seconds."""
    chosen = st.segmented_control(
        "How far the charts reach back",
        list(SPANS_S),
        default=next(iter(SPANS_S)),
        key="span",
        label_visibility="collapsed",
        required=True,
    )
    return SPANS_S[chosen]


@st.fragment(run_every=REDRAW_S)
def _line(desk: Desk) -> None:
    view, past = desk.look(), desk.past()
    status = flow_status(view.status, view.summary, flow.quiet_s(past))
    st.html(live_parts.flow_line(status, view, flow.lately(past, MINUTE_S)))


@st.fragment(run_every=REDRAW_S)
def _answer(desk: Desk) -> None:
    view, past = desk.look(), desk.past()
    now, minute = flow.lately(past, NOW_S), flow.lately(past, MINUTE_S)
    with st.container(border=True, key="panel-answer"):
        st.html(live_parts.answer(view, now, minute, zone()))


@st.fragment(run_every=REDRAW_S)
def _tracks(desk: Desk, span_s: int) -> None:
    """Draw the four tracks, whose times stand below each other."""
    past, bin_s = desk.past(), span_s // BINS
    flows, window = flow.bins(past, span_s, bin_s), _window(past, bin_s)
    now, minute = flow.lately(past, NOW_S), flow.lately(past, MINUTE_S)
    with st.container(border=True, key="panel-tracks", gap="xsmall"):
        st.html(heading("trades a second", live_parts.rates_note(now, "trades")))
        _draw(tracks.by_side(_frame(span_s, 148), window, _pairs(flows, "trades")), "trades")
        st.html(heading("volume a second, in units", live_parts.rates_note(now, "volume")))
        _draw(tracks.by_side(_frame(span_s, 116), window, _pairs(flows, "volume")), "volume")
        st.html(heading("event age", live_parts.ages_note(minute)))
        _draw(tracks.event_age(_frame(span_s, 132), window, flows), "age")
        st.html(heading("receiver", live_parts.health_note(window, span_s, zone())))
        frame = _frame(span_s, 48, with_times=True)
        _draw(tracks.receiver(frame, window, _word(past)), "receiver")


def _pairs(flows: Sequence[Flow], what: What) -> list[tuple[float | None, float | None]]:
    return [each.rates(what) for each in flows]


def _draw(spec: Spec, key: str) -> None:
    st.vega_lite_chart(spec, width="stretch", key=f"track-{key}")


def _frame(span_s: int, height_px: int, *, with_times: bool = False) -> Frame:
    return Frame(span_s, span_s // BINS, theme(), height_px, with_times)


def _window(past: Past, bin_s: int) -> Window:
    end_s = (past.now_s // bin_s + 1) * bin_s
    return Window(past.now_s, end_s, flow.health(past), past.starts_s)


def _word(past: Past) -> str:
    """Say what the receiver is at the right end of its track."""
    if past.away:
        return "away"
    return "live" if flow.is_fresh(past) else "stalled"


@st.fragment(run_every=REDRAW_S)
def _symbols(desk: Desk) -> None:
    rates = flow.symbol_rates(desk.past())
    with st.container(border=True, key="panel-symbols", gap="xsmall"):
        st.html(heading("by symbol", desk.sidecar_address))
        st.html(symbols.symbols(desk.look(), rates))


@st.fragment(run_every=REDRAW_S)
def _benchmark(desk: Desk) -> None:
    answer = desk.benchmarks()
    with st.container(border=True, key="panel-benchmark", gap="xsmall"):
        st.html(
            heading("what telemetry costs: the last benchmark", live_benchmark.note(answer, zone()))
        )
        st.html(live_benchmark.benchmark(answer))
