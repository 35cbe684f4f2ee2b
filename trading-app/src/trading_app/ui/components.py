"""The pieces that pages are made of, as HTML: a view in, escaped text out. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo
from html import escape
from typing import Final, Literal

from trade_telemetry import PublisherStats
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

ROOMS: Final = {
    "file": (
        "in a file",
        "Trades are kept in a file until they are counted: they survive a restart of this desk.",
    ),
    "memory": (
        "in memory",
        "Trades are kept in memory until they are counted: a restart of this desk loses them.",
    ),
    "plain": (
        "fire and forget",
        "WEBAPP_ZMQ_ACK_ADDR is empty: a trade is forgotten as soon as it is sent.",
    ),
}
"""Where trades wait: in short, and in a sentence."""


def status_line(view: View) -> str:
    """Answer the question "does it count?", and say what to do when it does not."""
    return answer_line(view.status, _room(view))


def answer_line(status: Status, details: str) -> str:
    """Write a page's first line: state and words, and below them the cure and details (HTML)."""
    below = " · ".join(filter(None, (with_commands(status.cure), details)))
    return (
        f'<div class="ta-status ta-{status.state}" role="status">'
        f'<span class="ta-shape" aria-hidden="true">{SHAPES[status.state]}</span>'
        f"<b>{status.name or status.state}</b><span>· {escape(status.words)}</span>"
        f'<span class="ta-cure">{below}</span></div>'
    )


def _room(view: View) -> str:
    """Say how much of the ring is in use, what it had to refuse, and what is wrong with it."""
    stats = view.stats
    refused = sum(stats.refused.values())
    lost = f"{plural(refused, 'trade')} refused: the waiting room was full"
    lost = f'<span class="ta-danger">{lost}</span>' if refused else ""
    where, hover = ROOMS[room(stats)]
    used = f"waiting room: {number(stats.waiting)} of {number(stats.capacity)} places, {where}"
    used = f'<span title="{hover} When every place is taken, new trades are refused.">{used}</span>'
    return " · ".join(filter(None, (lost, used, problem(stats))))


def problem(stats: PublisherStats) -> str:
    """Say what is wrong with the publisher, and where the desk sets it."""
    if stats.problem is None:
        return ""
    key = "WEBAPP_ZMQ_ACK_ADDR" if "ack_address" in stats.problem else "WEBAPP_JOURNAL_DIR"
    return f'<span class="ta-warn" role="alert">{escape(stats.problem)} ({key} in .env)</span>'


def room(stats: PublisherStats) -> Literal["file", "memory", "plain"]:
    """Tell where trades wait, and whether they are kept until the sidecar has counted them."""
    if not stats.tracked:
        return "plain"
    return "file" if stats.durable else "memory"


def with_commands(text: str) -> str:
    """Set what stands between backquotes as a command."""
    parts = escape(text).split("`")
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
        return tile("Last trade", UNKNOWN, "none yet", "", "No trade was counted yet")
    return tile("Last trade", age(view.now_s - ts_s), f"at {clock(ts_s, zone)}", "", utc(ts_s))


def totals_note(view: View, zone: tzinfo, chart_in_words: str) -> str:
    """Say what the chart shows, what becomes of the totals, and whether they are of now."""
    css, text, hover = _totals_age(view, zone)
    return (
        f'<div class="ta-note ta-pair"><span>{escape(chart_in_words)}</span>'
        f'<span class="{css}" title="{hover}">{escape(text)}</span></div>'
    )


def _totals_age(view: View, zone: tzinfo) -> tuple[str, str, str]:
    summary = view.summary
    if summary is None:
        return "", f"not known: {view.away}", ""
    if view.away and view.figures_s is not None:
        return "ta-warn", f"as of {age(view.figures_age_s)}", utc(view.figures_s)
    runs, exactly = f"it runs since {clock(summary.started_s, zone)}", utc(summary.started_s)
    if summary.state is None:
        return "", runs, exactly
    if summary.state.durable:
        return "", f"totals survive a restart · {runs}", exactly
    return "", f"totals in memory, 0 after a restart · {runs}", exactly


def problems(found: Iterable[Problem]) -> str:
    """Say what is wrong with the ticket, one line for each field, or else name the keys."""
    lines = "".join(f"<li>{escape(str(problem))}</li>" for problem in found)
    if not lines:
        keys = "<kbd>B</kbd> buys · <kbd>S</kbd> sells · <kbd>Q</kbd> goes to the quantity"
        return f'<div class="ta-hint">{keys}</div>'
    return f'<ul class="ta-problems" role="alert">{lines}</ul>'
