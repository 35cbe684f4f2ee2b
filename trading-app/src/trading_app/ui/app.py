"""The script that Streamlit runs for each session and click: the pages and what they share."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import streamlit as st

from trading_app.ui import (
    delivery,
    live,
    market,
    market_shared,
    orders,
    paper_shared,
    portfolio,
    shared,
    trade,
)
from trading_app.ui.style import style_sheet

ICON: Final = Path(__file__).with_name("icon.svg")
ABOUT: Final = "Each trade is counted by the metrics-sidecar, and these pages show it."


def main() -> None:
    """Draw the page that the address names, below the links to all of them."""
    desk, paper = shared.desk(), paper_shared.client()
    pages = [
        st.Page(partial(trade.show, desk, paper), title="Trade", url_path="trade", default=True),
        st.Page(partial(orders.show, paper), title="Orders", url_path="orders"),
        st.Page(partial(portfolio.show, paper), title="Portfolio", url_path="portfolio"),
        st.Page(partial(market.show, market_shared.client()), title="Market", url_path="market"),
        st.Page(partial(live.show, desk), title="Live", url_path="live"),
        st.Page(partial(delivery.show, desk), title="Delivery", url_path="delivery"),
    ]
    page = st.navigation(pages, position="hidden")
    # Streamlit shows the menu, and in it the choice of theme, only when it has an entry of ours.
    st.set_page_config(
        page_title=page.title, page_icon=str(ICON), layout="wide", menu_items={"About": ABOUT}
    )
    st.html(style_sheet())
    with st.container(horizontal=True, key="pages"):
        for each in pages:
            if each is page:
                st.html(f'<span aria-current="page">{each.title}</span>', width="content")
            else:
                st.page_link(each)
    page.run()


if __name__ == "__main__":
    main()
