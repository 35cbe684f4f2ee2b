"""What the reader of the Market page chooses: market, symbol, window, and how it is drawn.

The controls are no part of what redraws itself; their choices are kept while other pages are open.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import streamlit as st

from trading_app.market_answers import Source
from trading_app.market_client import MarketClient
from trading_app.market_look import Look, shown
from trading_app.market_series import CANDLES_MAX, OVERLAYS, POINTS_MAX
from trading_app.ui import trade
from trading_app.ui.market_charts import Kind

SOURCES: Final[dict[str, Source]] = {"Market": "feed", "Recording": "replay"}
WINDOWS_S: Final = {"5m": 300, "15m": 900, "1h": 3_600, "6h": 21_600, "24h": 86_400}
NAMES: Final = {"5m": "5 min", "15m": "15 min", "1h": "1 h", "6h": "6 h", "24h": "24 h"}
KINDS: Final[dict[str, Kind]] = {"Line": "line", "Candles": "candles"}
SOURCE_KEY: Final = "market-source"
_KEPT: Final = "market-kept"
_ValueT = TypeVar("_ValueT")


@dataclass(frozen=True, slots=True)
class Choice:
    """What is shown, and how; ``symbol`` is None while the market has none."""

    source: Source
    symbol: str | None
    window: str
    kind: Kind
    overlays: tuple[str, ...]

    @property
    def window_s(self) -> int:
        """The length of the axis of time."""
        return WINDOWS_S[self.window]

    @property
    def points(self) -> int:
        """How many bars to ask for: candles need room to be seen."""
        return CANDLES_MAX if self.kind == "candles" else POINTS_MAX


def choose(client: MarketClient) -> Choice:
    """Draw the controls in one row, and say what is chosen."""
    with st.container(horizontal=True, key="market-controls", vertical_alignment="bottom"):
        source = SOURCES[_one("Market or recording", list(SOURCES), SOURCE_KEY)]
        symbol = _symbol(client, source)
        window = _one("Window", list(WINDOWS_S), "market-window", "15m", NAMES.__getitem__)
        kind = KINDS[_one("Drawn as", list(KINDS), "market-kind")]
        overlays = _overlays()
    return Choice(source, symbol, window, kind, overlays)


def _kept() -> dict[str, object]:
    """Give what was chosen; Streamlit forgets what a page does not draw."""
    kept: dict[str, object] = st.session_state.setdefault(_KEPT, {})
    return kept


def _one(
    label: str,
    options: Sequence[str],
    key: str,
    default: str | None = None,
    name: Callable[[str], str] = str,
) -> str:
    st.session_state.setdefault(key, _kept().get(key, default or options[0]))
    chosen = st.segmented_control(
        label, options, key=key, format_func=name, required=True, label_visibility="collapsed"
    )
    value = chosen or options[0]
    _kept()[key] = value
    return value


def _symbol(client: MarketClient, source: Source) -> str | None:
    """Let a symbol be chosen; one that has vanished stays chosen until another is."""
    key = f"market-symbol-{source}"
    kept = st.session_state.get(key) or _kept().get(key)
    options = sorted({*symbol_names(client, source), *([kept] if isinstance(kept, str) else [])})
    if options:
        first = next((name for name in trade.SYMBOLS if name in options), options[0])
        st.session_state[key] = kept or first
    chosen: str | None = st.selectbox(
        "Symbol",
        options,
        key=key,
        width=170,
        label_visibility="collapsed",
        placeholder="no symbol yet",
        disabled=not options,
    )
    _kept()[key] = chosen
    return chosen


def _overlays() -> tuple[str, ...]:
    key = "market-overlays"
    st.session_state.setdefault(key, _kept().get(key, ["VWAP"]))
    chosen = st.pills(
        "Over the price",
        list(OVERLAYS),
        key=key,
        selection_mode="multi",
        label_visibility="collapsed",
    )
    _kept()[key] = list(chosen)
    return tuple(chosen)


def symbol_names(client: MarketClient, source: Source) -> tuple[str, ...]:
    """Name the symbols of a market, as far as they are known."""
    found = shown(client.symbols(source))
    return tuple(sorted(each.symbol for each in found.symbols)) if found else ()


def look(client: MarketClient, choice: Choice) -> Look:
    """Ask what the first line rests on."""
    return Look(
        choice.source,
        choice.symbol,
        time.time(),
        client.symbols(choice.source),
        client.health(choice.source),
        client.replay(),
    )
