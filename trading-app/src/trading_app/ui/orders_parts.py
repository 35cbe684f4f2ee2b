"""The Orders page's pieces, as HTML: open orders, fills with their evidence, the ended. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from html import escape
from typing import Final

from trading_app.formats import UNKNOWN, clock, plural, utc
from trading_app.market_formats import exact, places
from trading_app.paper_answers import Fill, Order, Preview, TradingState
from trading_app.paper_formats import (
    amount,
    evidence_words,
    exactly,
    money,
    order_words,
    outcome,
    reason,
)
from trading_app.status import SHAPES, State

_LOOKS: Final[dict[str, State]] = {
    "working": "live",
    "pending": "waiting",
    "untriggered": "waiting",
}


def since(state: TradingState | None, zone: tzinfo) -> str:
    """Say since when the desk is in its state."""
    if state is None or state.since_ms is None:
        return ""
    at_s = state.since_ms / 1000
    return f'<span title="{utc(at_s)}">{escape(state.state)} since {clock(at_s, zone)}</span>'


def count_note(count: int, most: int) -> str:
    """Say how many there are, and when not all are shown."""
    more = f", the newest {most} are shown" if count > most else ""
    return f"{plural(count, 'order')}{more}" if count else ""


def no_open(why: str) -> str:
    """Say what will stand here."""
    if why:
        return f'<div class="ta-empty">Not known: {escape(why)}.</div>'
    return (
        '<div class="ta-empty">Orders that wait appear here, each with the reason why, until they '
        "are filled, cancelled or expired. None waits now.</div>"
    )


def open_order(order: Order, zone: tzinfo, *, old: bool) -> str:
    """Write an open order: what was asked, how much of it is filled, and why it waits."""
    look = _LOOKS.get(order.state, "waiting")
    css = " ta-old" if old else ""
    taken = f"{amount(order.filled_qty)} of {amount(order.qty)} filled"
    at = _at(order.accepted_ms, zone)
    return (
        f'<div class="ta-open-order{css}"><span class="ta-{look}">'
        f'<span class="ta-shape" aria-hidden="true">{SHAPES[look]}</span> '
        f"<b>{escape(order.state)}</b></span> "
        f'<span class="ta-{order.side}">{escape(order_words(order))}</span>'
        f"<small>{at} · {taken} · {escape(reason(order) or 'waits')}</small></div>"
    )


def _at(ms: int | None, zone: tzinfo) -> str:
    if ms is None:
        return UNKNOWN
    return f'<span title="{utc(ms / 1000)}">{clock(ms / 1000, zone)}</span>'


def fills(found: Sequence[Fill], zone: tzinfo, *, old: bool) -> str:
    """List fills, newest first, each with the event that justified it."""
    if not found:
        return (
            '<div class="ta-empty">Each fill appears here with its evidence: what the market '
            "displayed or printed at that moment, and how much of it you had taken before.</div>"
        )
    decimals = places(fill.price for fill in found), places(fill.qty for fill in found)
    rows = "".join(_fill(fill, zone, decimals) for fill in found)
    css = f"ta-rows ta-fills{' ta-old' if old else ''}"
    return (
        f'<div class="ta-scroll" tabindex="0"><table class="{css}"><thead><tr>'
        '<th scope="col">time</th><th scope="col">side</th><th scope="col">symbol</th>'
        '<th scope="col" class="ta-num">qty</th><th scope="col" class="ta-num">price</th>'
        '<th scope="col" class="ta-num">fee</th><th scope="col">evidence</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _fill(fill: Fill, zone: tzinfo, decimals: tuple[int, int]) -> str:
    words, rule = evidence_words(fill), fill.evidence.rule
    role = "maker" if fill.is_maker else "taker"
    hover = escape(f"{words} · {rule or UNKNOWN} · {_when(fill)}")
    return (
        f"<tr><td>{_at(fill.filled_ms, zone)}</td>"
        f'<td class="ta-{fill.side}">{fill.side}</td><td>{escape(fill.symbol)}</td>'
        f'<td class="ta-num">{exact(fill.qty, decimals[1])}</td>'
        f'<td class="ta-num">{exact(fill.price, decimals[0])}</td>'
        f'<td class="ta-num" title="{exactly(fill.fee)}, as {role}">{money(fill.fee)}</td>'
        f'<td class="ta-wrap" title="{hover}">{escape(words)}</td></tr>'
    )


def _when(fill: Fill) -> str:
    trade = f"trade {fill.evidence.trade_id}" if fill.evidence.trade_id is not None else "quote"
    received_ms = fill.evidence.received_ms
    return f"{trade}, received {utc(received_ms / 1000)}" if received_ms else trade


def ended(found: Sequence[Order], zone: tzinfo, *, old: bool) -> str:
    """List the orders that stay as they are, newest first, with the reason of each."""
    if not found:
        return (
            '<div class="ta-empty">Orders that were filled, cancelled, expired or denied appear '
            "here, each with what became of it.</div>"
        )
    rows = "".join(_ended(order, zone) for order in found)
    css = f"ta-rows ta-ended{' ta-old' if old else ''}"
    return (
        f'<div class="ta-scroll" tabindex="0"><table class="{css}"><thead><tr>'
        '<th scope="col">time</th><th scope="col">order</th><th scope="col">what became of it</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _ended(order: Order, zone: tzinfo) -> str:
    css = " ta-warn" if order.state == "denied" else ""
    asked, became = order_words(order), outcome(order)
    return (
        f"<tr><td>{_at(order.closed_ms or order.accepted_ms, zone)}</td>"
        f'<td class="ta-{order.side} ta-wrap" title="{escape(asked)}">{escape(asked)}</td>'
        f'<td class="ta-wrap{css}" title="{escape(order.client_order_id)}">'
        f"{escape(became)}</td></tr>"
    )


def preview(found: Preview, currency: str) -> str:
    """Show what an order would cost now, and whether risk would take it."""
    facts = (
        ("expected price", amount(found.price), ""),
        ("notional", money(found.notional), exactly(found.notional)),
        ("fee", money(found.fee), exactly(found.fee)),
        ("cash after", money(found.cash_after), exactly(found.cash_after)),
        ("position after", amount(found.position_after), ""),
    )
    rows = "".join(
        f'<dt>{name}</dt><dd title="{hover or _why_unknown(text)}">{text}</dd>'
        for name, text, hover in facts
    )
    return f'<dl class="ta-facts" aria-label="in {escape(currency)}">{rows}</dl>{_verdict(found)}'


def _why_unknown(text: str) -> str:
    return "Not known: the symbol has no fresh price" if text == UNKNOWN else ""


def _verdict(found: Preview) -> str:
    if found.denial is None:
        return (
            '<div class="ta-verdict ta-live"><span class="ta-shape" aria-hidden="true">●</span> '
            "<b>passes</b> the risk checks</div>"
        )
    said = escape(found.detail or found.denial.replace("_", " "))
    return (
        '<div class="ta-verdict ta-stale" role="status"><span class="ta-shape" aria-hidden="true">'
        f"◆</span> <b>would be denied</b>: {said}</div>"
    )


def placed(order: Order, *, is_new: bool) -> str:
    """Say what a click on Place came to."""
    again = "" if is_new else "it had been taken at the first try; "
    return f"{order_words(order)}: {again}{outcome(order)}"
