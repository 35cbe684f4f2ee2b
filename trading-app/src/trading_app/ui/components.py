"""The pieces that pages are made of, as HTML: a view in, escaped text out. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo
from html import escape

from trading_app.desk import View
from trading_app.formats import (
    UNKNOWN,
    age,
    clock,
    decimals_needed,
    number,
    plural,
    utc,
)
from trading_app.order_ticket import Problem
from trading_app.sidecar_answers import Summary
from trading_app.status import SHAPES, Status


def status_line(view: View) -> str:
    """Answer the question "does it count?", and say what to do when it does not."""
    return answer_line(view.status, _room(view))


def answer_line(status: Status, details: str) -> str:
    """Write a page's first line: state and words, and below them the cure and details (HTML)."""
    below = " · ".join(filter(None, (_cure(status.cure), details)))
    return (
        f'<div class="ta-status ta-{status.state}" role="status">'
        f'<span class="ta-shape" aria-hidden="true">{SHAPES[status.state]}</span>'
        f"<b>{status.state}</b><span>· {escape(status.words)}</span>"
        f'<span class="ta-cure">{below}</span></div>'
    )


def _room(view: View) -> str:
    """Say how much of the ring is in use, and what it had to refuse."""
    stats = view.stats
    refused = sum(stats.refused.values())
    lost = f"{plural(refused, 'trade')} refused: the waiting room was full"
    lost = f'<span class="ta-danger">{lost}</span> · ' if refused else ""
    used = f"waiting room: {number(stats.waiting)} of {number(stats.capacity)} places"
    hover = "Trades wait in this desk's memory; when every place is taken, new ones are refused."
    return f'{lost}<span title="{hover}">{used}</span>'


def _cure(cure: str) -> str:
    """Set what stands between backquotes as a command."""
    parts = escape(cure).split("`")
    return "".join(f"<code>{part}</code>" if odd % 2 else part for odd, part in enumerate(parts))


def heading(text: str, note: str = "") -> str:
    """Write a panel's title, with a quiet note at its right."""
    return f'<div class="ta-heading">{escape(text)}<span>{escape(note)}</span></div>'


def totals(view: View, zone: tzinfo) -> str:
    """Show what the sidecar has counted: trades and volume by side, and the last trade."""
    summary = view.summary
    if summary is None:
        tiles = (
            tile("Buys", UNKNOWN, f"volume {UNKNOWN}", "ta-buy", view.away or "")
            + tile("Sells", UNKNOWN, f"volume {UNKNOWN}", "ta-sell", view.away or "")
            + tile("Last trade", UNKNOWN, UNKNOWN, "", view.away or "")
        )
        return f'<div class="ta-totals ta-old">{tiles}</div>'
    decimals = decimals_needed([summary.volume.buy, summary.volume.sell], most=4)
    volume = {side: number(getattr(summary.volume, side), decimals) for side in ("buy", "sell")}
    old = " ta-old" if view.away else ""
    return (
        f'<div class="ta-totals{old}">'
        + tile("Buys", number(summary.trades.buy), f"volume {volume['buy']}", "ta-buy")
        + tile("Sells", number(summary.trades.sell), f"volume {volume['sell']}", "ta-sell")
        + last_trade(view, summary, zone)
        + "</div>"
    )


def tile(label: str, big: str, small: str, css: str = "", hover: str = "") -> str:
    """Write one figure, with its name above and a detail below; big and small are HTML."""
    return (
        f'<div title="{escape(hover)}"><div class="ta-label {css}">{label}</div>'
        f'<div class="ta-big">{big}</div><div class="ta-small">{small}</div></div>'
    )


def last_trade(view: View, summary: Summary, zone: tzinfo) -> str:
    """Write how long ago the last trade happened, by its own time."""
    ts_s = summary.last_trade_ts_s
    if ts_s is None:
        return tile("Last trade", UNKNOWN, "none since it started", "", "No trade was counted yet")
    return tile("Last trade", age(view.now_s - ts_s), f"at {clock(ts_s, zone)}", "", utc(ts_s))


def totals_note(view: View, zone: tzinfo, chart_in_words: str) -> str:
    """Say what the chart shows, from when the totals count, and whether they are of now."""
    css, text, hover = _totals_age(view, zone)
    return (
        f'<div class="ta-note ta-pair"><span>{escape(chart_in_words)}</span>'
        f'<span class="{css}" title="{hover}">{escape(text)}</span></div>'
    )


def _totals_age(view: View, zone: tzinfo) -> tuple[str, str, str]:
    summary = view.summary
    if summary is None:
        return "", f"not known: {view.away}", ""
    since, exactly = clock(summary.started_s, zone), utc(summary.started_s)
    if view.away and view.figures_s is not None:
        return "ta-warn", f"as of {age(view.figures_age_s)}", utc(view.figures_s)
    if view.restarted:
        return "ta-warn", f"the sidecar restarted at {since}: totals began again from 0", exactly
    return "", f"counting since {since}", exactly


def problems(found: Iterable[Problem]) -> str:
    """Say what is wrong with the ticket, one line for each field, or else name the keys."""
    lines = "".join(f"<li>{escape(str(problem))}</li>" for problem in found)
    if not lines:
        keys = "<kbd>B</kbd> buys · <kbd>S</kbd> sells · <kbd>Q</kbd> goes to the quantity"
        return f'<div class="ta-hint">{keys}</div>'
    return f'<ul class="ta-problems" role="alert">{lines}</ul>'
