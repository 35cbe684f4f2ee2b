"""What all browser sessions share of the market: the one client of the market-engine."""

from __future__ import annotations

import streamlit as st

from trading_app.market_client import MarketClient
from trading_app.ui import shared


def client() -> MarketClient:
    """Give the process's one client. Edited code gets a new one."""
    return _client(id(MarketClient))


@st.cache_resource(show_spinner=False, max_entries=1)
def _client(code: int) -> MarketClient:  # noqa: ARG001 - changes when ``--reload`` imports again
    return MarketClient(shared.settings().market_url)
