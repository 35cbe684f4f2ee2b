"""The Trade page's orders on the paper desk, with what became of each, as HTML.

It asks the desk's client for the newest orders of *main*; those of this page are told by their ids,
so they are here after a reload and a restart, too. It sends nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import tzinfo
from html import escape
from typing import Final

from trading_app.formats import UNKNOWN, clock, utc
from trading_app.market_client import Refused
from trading_app.market_look import is_old, shown, trouble
from trading_app.paper_answers import Order
from trading_app.paper_button import MAIN
from trading_app.paper_client import LISTED_MAX, PaperClient
from trading_app.paper_formats import amount, outcome

PAGE: Final = "trade"
"""Whose orders these are; each id begins with it."""
_HEADS: Final = (
    '<th scope="col" style="width:23%">time</th><th scope="col" style="width:9%">side</th>'
    '<th scope="col" class="ta-num" style="width:16%">qty</th>'
    '<th scope="col" style="width:19%">symbol</th><th scope="col">on the paper desk</th>'
)


def own(client: PaperClient, zone: tzinfo) -> tuple[str, bool]:
    """List this page's orders among the newest of *main*, and say whether there are any."""
    answer, now_s = client.orders(MAIN, "all"), time.time()
    found = shown(answer)
    if found is None:
        # there is no such portfolio yet, or no desk; the ticket says so of an engine that is away
        is_said = isinstance(answer, Refused) or client.is_gone
        return ("" if is_said else _not_known(trouble(answer))), False
    mine = [each for each in found.orders if each.client_order_id.startswith(f"{PAGE}-")]
    return _table(mine, zone, old=is_old(answer, now_s)) + _cut(len(found.orders)), bool(mine)


def _not_known(why: str) -> str:
    return f'<div class="ta-note">your orders on the paper desk are not known: {escape(why)}</div>'


def _cut(listed: int) -> str:
    if listed < LISTED_MAX:
        return ""
    return (
        f'<div class="ta-note">of the newest {LISTED_MAX} orders of {MAIN}, those from here; '
        "the page Orders has the others</div>"
    )


def _table(orders: Sequence[Order], zone: tzinfo, *, old: bool) -> str:
    if not orders:
        return ""
    rows = "".join(_row(order, zone) for order in orders)
    css = f"ta-rows{' ta-old' if old else ''}"
    return f'<table class="{css}"><thead><tr>{_HEADS}</tr></thead><tbody>{rows}</tbody></table>'


def _row(order: Order, zone: tzinfo) -> str:
    at, at_utc = UNKNOWN, ""
    if order.accepted_ms is not None:
        at_s = order.accepted_ms / 1000
        at, at_utc = clock(at_s, zone, 3), utc(at_s)
    said, which = escape(outcome(order)), escape(order.client_order_id)
    return (
        f'<tr><td title="{at_utc}">{at}</td><td class="ta-{order.side}">{order.side}</td>'
        f'<td class="ta-num">{amount(order.qty)}</td><td>{escape(order.symbol)}</td>'
        f'<td style="white-space:normal" title="{which}">{said}</td></tr>'
    )
