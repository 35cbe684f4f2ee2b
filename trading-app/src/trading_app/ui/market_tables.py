"""The Market page's tables, as HTML: the feed's health, its faults, the latest trades. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import tzinfo
from html import escape
from typing import Final

from trading_app.formats import UNKNOWN, age, clock, duration, number, utc
from trading_app.market_answers import FeedFault, FeedHealth, MarketTrade, SymbolFeed
from trading_app.market_formats import exact, places
from trading_app.market_status import STATES
from trading_app.status import SHAPES

SYMBOLS_MAX: Final = 24
FAULTS_MAX: Final = 8
NO_IDS: Final = "Not known: this venue gives no trade ids"
UNTOLD: Final = "Not known: the engine does not say"
_NEW_MS: Final = 400
_KINDS: Final = {
    "gap": "trades are missing",
    "time_gap": "a pause of the feed",
    "duplicate": "came twice",
    "late": "came late",
    "out_of_order": "out of order",
    "frozen": "the symbol is silent",
    "clock_skew": "the clocks disagree",
    "time_unit": "the unit of time changed",
    "malformed": "cannot be read",
    "disconnected": "the connection was lost",
    "backfill_failed": "missing trades cannot be had",
}
Count = Callable[[SymbolFeed], "int | None"]
_COUNTS: Final[tuple[tuple[str, str, str, Count], ...]] = (
    ("missing", "Trades that did not come, by their ids", NO_IDS, lambda feed: feed.ids_missing),
    ("gaps", "How often ids jumped", NO_IDS, lambda feed: feed.id_gaps),
    ("twice", "Duplicates, which were dropped", NO_IDS, lambda feed: feed.duplicates),
    ("pauses", "Longer without a trade than this symbol ever is", UNTOLD,
     lambda feed: feed.time_gaps),
    ("late", "Older than what had come by more than the limit", UNTOLD, lambda feed: feed.late),
    ("order", "Out of order, but within the limit", UNTOLD, lambda feed: feed.out_of_order),
    ("bad", "Could not be read", UNTOLD, lambda feed: feed.malformed),
    ("fetched", "Fetched afterwards, because the stream did not bring them", UNTOLD,
     lambda feed: feed.backfilled),
)  # fmt: skip
_BAD: Final = {"missing", "bad"}
"""Where anything but 0 is said in the colour of a warning."""


def feeds(health: FeedHealth | None, market_ms: float, zone: tzinfo, *, old: bool) -> str:
    """List every symbol: its state in word, shape and colour, and what was counted."""
    if health is None or not health.symbols:
        return (
            '<div class="ta-empty">Each symbol that is followed gets a row: its state, how many '
            "trades came, which are missing, late or came twice.</div>"
        )
    heads = "".join(
        f'<th scope="col" class="ta-num" title="{hover}">{name}</th>' for name, hover, *_ in _COUNTS
    )
    body = "".join(_feed(feed, market_ms, zone) for feed in health.symbols[:SYMBOLS_MAX])
    more = len(health.symbols) - SYMBOLS_MAX
    rest = f'<div class="ta-note">and {more} more</div>' if more > 0 else ""
    css = f"ta-rows ta-feeds{' ta-old' if old else ''}"
    return (
        f'<div class="ta-scroll" tabindex="0"><table class="{css}"><thead><tr>'
        '<th scope="col">symbol</th><th scope="col">state</th>'
        f'<th scope="col" class="ta-num">trades</th>{heads}'
        '<th scope="col" class="ta-num">lag</th><th scope="col" class="ta-num">last</th>'
        f"</tr></thead><tbody>{body}</tbody></table></div>{rest}"
    )


def _feed(feed: SymbolFeed, market_ms: float, zone: tzinfo) -> str:
    name = escape(feed.symbol)
    counts = "".join(_count(label, count(feed), why) for label, _, why, count in _COUNTS)
    lag = UNKNOWN if feed.lag_ms is None else _lag(feed.lag_ms)
    return (
        f'<tr><td title="{name}">{name}</td>{_state(feed, zone)}'
        f'<td class="ta-num">{number(feed.trades)}</td>{counts}'
        f'<td class="ta-num"{_why(lag, "No trade has come by the stream yet")}>{lag}</td>'
        f"{_last(feed, market_ms)}</tr>"
    )


def _lag(lag_ms: float) -> str:
    return f"\u2212{duration(-lag_ms / 1000)}" if lag_ms < 0 else duration(lag_ms / 1000)


def _state(feed: SymbolFeed, zone: tzinfo) -> str:
    look = STATES.get(feed.state, "waiting")
    since = f" since {clock(feed.since_ms / 1000, zone)}" if feed.since_ms else ""
    return (
        f'<td class="ta-{look}" title="{escape(feed.why)}{since}">'
        f'<span class="ta-shape" aria-hidden="true">{SHAPES[look]}</span> '
        f"<b>{escape(feed.state)}</b></td>"
    )


def _count(label: str, count: int | None, why: str) -> str:
    if count is None:
        return f'<td class="ta-num" title="{why}">{UNKNOWN}</td>'
    css = " ta-warn" if count and label in _BAD else "" if count else " ta-none"
    return f'<td class="ta-num{css}">{number(count)}</td>'


def _last(feed: SymbolFeed, market_ms: float) -> str:
    if feed.last_received_ms is None:
        return f'<td class="ta-num" title="No trade has come yet">{UNKNOWN}</td>'
    ago = age((market_ms - feed.last_received_ms) / 1000)
    return f'<td class="ta-num" title="{utc(feed.last_received_ms / 1000)}">{ago}</td>'


def _why(text: str, why: str) -> str:
    return f' title="{why}"' if text == UNKNOWN else ""


def faults(found: Iterable[FeedFault], zone: tzinfo) -> str:
    """List the latest faults, newest first."""
    rows = "".join(_fault(fault, zone) for fault in list(found)[:FAULTS_MAX])
    if not rows:
        return '<div class="ta-note">No fault was found so far.</div>'
    return (
        '<table class="ta-rows ta-faults"><thead><tr><th scope="col">fault at</th>'
        '<th scope="col">symbol</th><th scope="col">what</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _fault(fault: FeedFault, zone: tzinfo) -> str:
    at_s = fault.at_ms / 1000
    kind = _KINDS.get(fault.kind, fault.kind.replace("_", " "))
    detail = f": {fault.detail}" if fault.detail else ""
    words = escape(f"{kind}{detail}")
    return (
        f'<tr><td title="{utc(at_s)}">{clock(at_s, zone)}</td>'
        f'<td>{escape(fault.symbol or UNKNOWN)}</td><td title="{words}">{words}</td></tr>'
    )


def trades(
    found: Iterable[MarketTrade], zone: tzinfo, market_ms: float, decimals: int, *, old: bool
) -> str:
    """List the latest trades, newest first; what was fetched afterwards is marked."""
    listed = list(found)
    if not listed:
        return (
            '<div class="ta-empty">Each trade of the market appears here, the newest first.</div>'
        )
    units = min(6, places(trade.qty for trade in listed))
    rows = "".join(_trade(trade, zone, market_ms, (decimals, units)) for trade in listed)
    return (
        f'<table class="ta-rows ta-prints{" ta-old" if old else ""}"><thead><tr>'
        '<th scope="col">time</th><th scope="col">side</th><th scope="col" class="ta-num">price'
        '</th><th scope="col" class="ta-num">qty</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _trade(trade: MarketTrade, zone: tzinfo, market_ms: float, decimals: tuple[int, int]) -> str:
    at_s = trade.t_ms / 1000
    new = ' class="ta-new"' if market_ms - trade.t_ms < _NEW_MS else ""
    mark = (
        ' <span class="ta-warn" title="Fetched afterwards: the stream did not bring it">↺</span>'
        if trade.backfilled
        else ""
    )
    return (
        f'<tr{new}><td title="{utc(at_s)}">{clock(at_s, zone, 3)}</td>'
        f'<td class="ta-{trade.side}">{trade.side}{mark}</td>'
        f'<td class="ta-num">{exact(trade.price, decimals[0])}</td>'
        f'<td class="ta-num">{exact(trade.qty, decimals[1])}</td></tr>'
    )
