"""The tables of the Trade page, as HTML: events, trades, publishers in, escaped text out. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo
from html import escape
from typing import Final

from trading_app.account import is_silent
from trading_app.desk import View
from trading_app.event_log import OwnEvent
from trading_app.formats import (
    UNKNOWN,
    age,
    clock,
    decimals_needed,
    duration,
    number,
    utc,
)
from trading_app.sidecar_answers import CountedTrade, PublisherState
from trading_app.status import SHAPES

PUBLISHERS_MAX: Final = 8
_NEW_S: Final = 0.4
_OLD_S: Final = 1e9
_NUMBERS: Final = {"qty", "counted", "waiting", "lost"}
_FATES: Final = {
    "waiting": ("◐ waits here", "It is kept here, and goes out when the sidecar is there."),
    "sent": ("→ sent", "It is on its way; the sidecar has not said yet that it is counted."),
    "untracked": ("→ sent", "It was sent and forgotten: nobody says whether it was counted."),
}
_REFUSALS: Final = {"ring_full": "no room", "closed": "the desk is closing"}


def own_events(events: Iterable[OwnEvent], zone: tzinfo, now_s: float) -> str:
    """List the desk's own clicks, newest first, each with what became of it."""
    shown = list(events)
    decimals = decimals_needed(event.trade.qty for event in shown)
    rows = "".join(_own_row(event, zone, now_s, decimals) for event in shown)
    if not rows:
        return (
            '<div class="ta-empty">Your trades appear here, each with what became of it. '
            "Press <b>B</b> to buy what the ticket says.</div>"
        )
    return _table(("time", "side", "qty", "symbol", "counted after"), rows)


def _own_row(event: OwnEvent, zone: tzinfo, now_s: float, decimals: int) -> str:
    trade = event.trade
    text, hover = _fate(event, zone)
    return _row(
        now_s - trade.ts,
        _cell(clock(trade.ts, zone, 3), hover=utc(trade.ts)),
        *_what(trade.side, number(trade.qty, decimals), trade.symbol),
        _cell(text, f"ta-fate-{event.fate}", hover),
    )


def _fate(event: OwnEvent, zone: tzinfo) -> tuple[str, str]:
    """Give the short text of an event's fate, and the sentence behind it."""
    if event.fate == "refused":
        why = _REFUSALS.get(event.refused or "", str(event.refused))
        return f"✕ {why}", "It was refused and will not be counted."
    if event.fate != "counted":
        return _FATES[event.fate]
    if event.counted_s is None:
        return "✓ counted", "The sidecar has acknowledged it; the moment is not on its list."
    after = duration(event.counted_s - event.trade.ts)
    return f"✓ {after}", f"Counted at {clock(event.counted_s, zone, 3)}, {after} after the click."


def all_trades(trades: Iterable[CountedTrade], zone: tzinfo, view: View) -> str:
    """List the trades of all publishers as the sidecar counted them, newest first."""
    shown = list(trades)
    decimals = decimals_needed(trade.qty for trade in shown)
    rows = "".join(_counted_row(trade, zone, view.now_s, decimals) for trade in shown)
    if not rows:
        return (
            '<div class="ta-empty">Each trade that the sidecar counts appears here, from any '
            "program. Send one: <code>python -m trade_telemetry send buy 1</code></div>"
        )
    return _table(("time", "side", "qty", "symbol", "publisher"), rows, old=bool(view.away))


def _counted_row(trade: CountedTrade, zone: tzinfo, now_s: float, decimals: int) -> str:
    name, hover = trade.publisher or "untracked", trade.publisher or "A message without stamps"
    return _row(
        now_s - trade.applied_s,
        _cell(clock(trade.ts, zone, 3), hover=utc(trade.ts)),
        *_what(trade.side, number(trade.qty, decimals), trade.symbol),
        _cell(escape(name), "", hover),
    )


def publishers(view: View) -> str:
    """List who was heard last, by name: what was counted, what waits, what went lost."""
    if view.summary is None or not view.summary.publishers:
        return '<div class="ta-empty">Programs that publish trades appear here.</div>'
    latest = sorted(view.summary.publishers, key=lambda state: -state.last_seen_s)[:PUBLISHERS_MAX]
    shown = sorted(latest, key=lambda state: state.publisher)
    now_s = view.summary.now_s + view.figures_age_s
    rows = "".join(_publisher_row(state, now_s, known=not view.away) for state in shown)
    more = len(view.summary.publishers) - PUBLISHERS_MAX
    rest = f'<div class="ta-note">and {more} more: see Delivery</div>' if more > 0 else ""
    return _table(("publisher", "counted", "waiting", "lost"), rows, old=bool(view.away)) + rest


def _publisher_row(state: PublisherState, now_s: float, *, known: bool) -> str:
    lost = sum(state.lost.values())
    return _row(
        _OLD_S,
        _publisher_cell(state, now_s, presence(state, now_s, known=known)),
        _cell(number(state.applied), "ta-num"),
        _cell(number(state.waiting), "ta-num"),
        _cell(
            number(lost), "ta-num ta-danger" if lost else "ta-num", "Published, but never counted"
        ),
    )


def _publisher_cell(state: PublisherState, now_s: float, found: tuple[str, str]) -> str:
    """Write a publisher's name after the shape of its state; both in words on hover."""
    word, shape = found
    name = escape(state.publisher)
    heard = f"{state.publisher}: {word}, last heard {age(now_s - state.last_seen_s)}"
    mark = f'<span class="ta-{word}"><span class="ta-shape">{shape}</span></span>'
    return _cell(f"{mark} {name}", "", heard)


def presence(state: PublisherState, now_s: float, *, known: bool) -> tuple[str, str]:
    """Tell whether a publisher is live, away, or has ended in order: a word and its shape.

    Not ``known`` while the sidecar is away: then nobody listens to it.
    """
    if not state.open:
        return "ended", "○"
    if not known:
        return "unknown", "?"
    return ("away", SHAPES["away"]) if is_silent(state, now_s) else ("live", SHAPES["live"])


def _what(side: str, qty: str, symbol: str | None) -> tuple[str, str, str]:
    shown = escape(symbol) if symbol else UNKNOWN
    return (
        _cell(side, f"ta-{side}"),
        _cell(qty, "ta-num", qty),
        _cell(shown, "", symbol or "The trade names no symbol"),
    )


def _cell(text: str, css: str = "", hover: str = "") -> str:
    return f'<td class="{css}" title="{escape(hover)}">{text}</td>'


def _row(age_s: float, *cells: str) -> str:
    """Make a table row; a new one slides in, and a redraw does not start the slide again."""
    if 0 <= age_s < _NEW_S:
        cells = tuple(
            cell.replace("<td", f'<td style="animation-delay:-{age_s:.2f}s"', 1) for cell in cells
        )
        return f'<tr class="ta-new">{"".join(cells)}</tr>'
    return f"<tr>{''.join(cells)}</tr>"


def _table(names: tuple[str, ...], rows: str, *, old: bool = False) -> str:
    heads = "".join(
        f'<th scope="col" class="{"ta-num" if name in _NUMBERS else ""}">{name}</th>'
        for name in names
    )
    css = f"ta-rows ta-of-{len(names)}{' ta-old' if old else ''}"
    return f'<table class="{css}"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
