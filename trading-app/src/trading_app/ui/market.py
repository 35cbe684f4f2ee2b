"""The Market page: what is it doing, and can I believe the feed? Widgets only.

Each part that redraws itself has a container of its own; what is chosen stands outside of them.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Final

import streamlit as st

from trading_app.formats import UNKNOWN
from trading_app.market_answers import History
from trading_app.market_client import MarketClient
from trading_app.market_formats import span
from trading_app.market_look import Look, is_old, shown, trouble
from trading_app.market_series import Series, series
from trading_app.market_status import market_status
from trading_app.ui import market_charts, market_parts, market_replay, market_tables
from trading_app.ui.browser import theme, zone
from trading_app.ui.components import heading
from trading_app.ui.market_choice import NAMES, Choice, choose, look, symbol_names

REDRAW_S: Final = 1.0
TRADES: Final = 40
LIST_PX: Final = 236
_SHEET: Final = Path(__file__).with_name("market.css")
_DRAWN: Final = "market-drawn"
_PLACES: Final = "market-places"
_PLACES_MAX: Final = 64


def show(client: MarketClient) -> None:
    """Draw the page: the answer, the choices, the replay, the chart and figures, the feed."""
    st.html(f"<style>{_SHEET.read_text(encoding='utf-8')}</style>")
    answer = st.container()
    choice = choose(client)
    st.session_state[_DRAWN] = symbol_names(client, choice.source)
    with answer:
        _line(client, choice)
    with st.container():
        market_replay.show(client)
    drawing, figures = st.columns([2.1, 1], gap="small")
    with drawing, st.container():
        _chart(client, choice)
    with figures, st.container():
        _figures(client, choice)
    feed, prints = st.columns([2.1, 1], gap="small")
    with feed, st.container():
        _feed(client, choice)
    with prints, st.container():
        _prints(client, choice)


@st.fragment(run_every=REDRAW_S)
def _line(client: MarketClient, choice: Choice) -> None:
    """Draw the answer; symbols that came or went are offered, which draws the page anew."""
    now = look(client, choice)
    status = market_status(now, _decimals(now), zone())
    st.html(market_parts.line(status, now) + market_parts.banner(now, zone()))
    names = symbol_names(client, choice.source)
    if names != st.session_state.get(_DRAWN, names):
        st.session_state[_DRAWN] = names
        st.rerun()


@st.fragment(run_every=REDRAW_S)
def _chart(client: MarketClient, choice: Choice) -> None:
    now = look(client, choice)
    with st.container(border=True, key="panel-price", gap="xsmall"):
        quoted = shown(client.quoted(choice.source, choice.symbol)) if choice.symbol else None
        decimals = _decimals(now, *((quoted.bid, quoted.ask) if quoted else ()))
        title = f"{choice.symbol or UNKNOWN}, last {NAMES[choice.window]}"
        st.html(heading(title, market_parts.quote_note(quoted, decimals)))
        history = _history(client, choice, choice.window, choice.points)
        if isinstance(history, str):
            st.html(market_parts.empty_chart(history))
        else:
            _draw(client, choice, now, history)


def _draw(client: MarketClient, choice: Choice, now: Look, history: History) -> None:
    """Draw price and volume below each other, and say them in words."""
    drawn = _series(choice, now, history)
    style, decimals = market_charts.Look(theme()), _decimals(now)
    spec = market_charts.price_chart(style, drawn, choice.kind, zone(), decimals)
    st.vega_lite_chart(spec, width="stretch", key="market-price")
    volumes = _with_volume(client, choice, drawn)
    known = any(candle.bar.volume is not None for candle in volumes.bars)
    note = f"bars of {span(volumes.span_ms / 1000)}" if known else "no bar has closed yet"
    st.html(heading("volume, in units", note))
    st.vega_lite_chart(
        market_charts.volume_chart(style, volumes), width="stretch", key="market-volume"
    )
    prices = [bar.close for bar in drawn.bars] + ([drawn.last[1]] if drawn.last else [])
    st.html(market_parts.chart_note(now, prices, decimals))


def _series(choice: Choice, now: Look, history: History) -> Series:
    summary, last = now.summary, None
    if summary and summary.price is not None and summary.price_ms is not None:
        last = (float(summary.price_ms), float(summary.price))
    return series(history, choice.window_s, now.market_ms, choice.overlays, last)


def _with_volume(client: MarketClient, choice: Choice, drawn: Series) -> Series:
    """Find bars that know their volume: those of a minute, where those of a second do not."""
    if any(candle.bar.volume is not None for candle in drawn.bars):
        return drawn
    minutes = _history(client, choice, "1h", choice.points)
    if isinstance(minutes, str):
        return drawn
    return series(minutes, choice.window_s, drawn.axes.to_ms)


def _history(client: MarketClient, choice: Choice, window: str, points: int) -> History | str:
    """Ask for bars; "" while there are none, or the reason why."""
    if choice.symbol is None:
        return trouble(client.symbols(choice.source))
    answer = client.history(choice.source, choice.symbol, window, points)
    history = shown(answer)
    return history if history and history.bars else trouble(answer)


@st.fragment(run_every=REDRAW_S)
def _figures(client: MarketClient, choice: Choice) -> None:
    now = look(client, choice)
    with st.container(border=True, key="panel-metrics", gap="xsmall"):
        answer = client.metrics(choice.source, choice.symbol) if choice.symbol else None
        found = shown(answer) if answer else None
        every = found.symbols if found else ()
        figures = next((each for each in every if each.symbol == choice.symbol), None)
        st.html(heading("metrics", market_parts.bar_note(figures, zone())))
        ranges = [window.high for window in figures.windows] if figures else []
        old = answer is not None and is_old(answer, now.now_s)
        st.html(market_parts.metrics(figures, _decimals(now, *ranges), old=old))


@st.fragment(run_every=REDRAW_S)
def _feed(client: MarketClient, choice: Choice) -> None:
    now = look(client, choice)
    health, old = shown(now.health), is_old(now.health, now.now_s)
    with st.container(border=True, key="panel-feed", gap="xsmall"):
        st.html(heading("feed health", market_parts.feed_note(health, choice.source)))
        st.html(market_tables.feeds(health, now.market_ms, zone(), old=old))
        st.html(market_tables.faults(health.faults if health else (), zone()))


@st.fragment(run_every=REDRAW_S)
def _prints(client: MarketClient, choice: Choice) -> None:
    now = look(client, choice)
    with st.container(border=True, key="panel-prints", gap="xsmall"):
        answer = client.trades(choice.source, choice.symbol, TRADES) if choice.symbol else None
        found = shown(answer) if answer else None
        listed = found.trades if found else ()
        decimals = _decimals(now, *(trade.price for trade in listed))
        old = answer is not None and is_old(answer, now.now_s)
        st.html(heading("latest trades", choice.symbol or ""))
        with st.container(height=LIST_PX, border=False, key="list-prints"):
            st.html(market_tables.trades(listed, zone(), now.market_ms, decimals, old=old))


def _decimals(now: Look, *more: Decimal | None) -> int:
    """Count the decimals of the symbol's prices; more may be found, and never fewer."""
    kept: dict[tuple[str, str | None], int] = st.session_state.setdefault(_PLACES, {})
    if len(kept) > _PLACES_MAX:
        kept.clear()
    key = (now.source, now.symbol)
    kept[key] = max(kept.get(key, 0), market_parts.price_places(now, more))
    return kept[key]
