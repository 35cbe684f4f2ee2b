"""What all browser sessions of one process share: the settings, the publisher and the desk.

Streamlit runs the page's script again for each session and click; these are made once.
"""

from __future__ import annotations

import streamlit as st

from trade_telemetry import Publisher
from trading_app.desk import Desk
from trading_app.publishing import open_publisher
from trading_app.settings import Settings, load_settings
from trading_app.sidecar_client import SidecarClient


@st.cache_resource(show_spinner=False)
def settings() -> Settings:
    """Read the settings once."""
    return load_settings()


@st.cache_resource(show_spinner=False)
def publisher() -> Publisher:
    """Open the process's one publisher; it outlives edits of the code under ``--reload``."""
    return open_publisher(settings(), settings().publisher_id)


def desk() -> Desk:
    """Give the process's one desk. Edited code gets a new one, with the same publisher."""
    return _desk(id(Desk))


@st.cache_resource(show_spinner=False, max_entries=1)
def _desk(code: int) -> Desk:  # noqa: ARG001 - changes when ``--reload`` imports the code again
    return Desk(publisher(), SidecarClient(settings().sidecar_url), settings().sidecar_url)
