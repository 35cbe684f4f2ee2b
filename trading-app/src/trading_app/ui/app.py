"""The script that Streamlit runs for each session and click: the pages and what they share."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import streamlit as st

from trading_app.ui import shared, trade
from trading_app.ui.style import style_sheet

ICON: Final = Path(__file__).with_name("icon.svg")
ABOUT: Final = "Each trade is counted by the metrics-sidecar, and this page shows it."


def main() -> None:
    """Draw the page that the address names."""
    # Streamlit shows the menu, and in it the choice of theme, only when it has an entry of ours.
    st.set_page_config(
        page_title="Trade", page_icon=str(ICON), layout="wide", menu_items={"About": ABOUT}
    )
    st.html(style_sheet())
    show_trade = partial(trade.show, shared.desk())
    pages = [st.Page(show_trade, title="Trade", url_path="trade", default=True)]
    st.navigation(pages, position="hidden").run()


if __name__ == "__main__":
    main()
