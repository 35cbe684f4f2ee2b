"""What the browser says of itself: its time zone and its theme."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st


def zone() -> tzinfo:
    """Find the browser's time zone, or UTC where it does not say or we do not know it."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def theme() -> Literal["light", "dark"]:
    """Find the theme that is shown; light until the browser has said so."""
    return "dark" if st.context.theme.type == "dark" else "light"
