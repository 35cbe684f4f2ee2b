"""The Orders page's pieces, as HTML: open orders, fills with their evidence, the ended. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from html import escape
from typing import Final

from trading_app.formats import UNKNOWN, moment, number, plural, utc
from trading_app.market_formats import exact, places
from trading_app.paper_answers import Fill, Order, Preview, TradingState
from trading_app.paper_formats import (
    amount,
    evidence_words,
    exactly,
    grouped,
    money,
    money_places,
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


def since(state: TradingState | None, zone: tzinfo, now_s: float) -> str:
    """Say since when the desk is in its state."""
    if state is None or state.since_ms is None:
        return ""
    at_s = state.since_ms / 1000
    at = moment(at_s, zone, now_s)
    return f'<span title="{utc(at_s)}">{escape(state.state)} since {at}</span>'


def count_note(count: int, before: int, listed: int) -> str:
    """Say how many there are, and which of them are listed where that is not all."""
    which = f", {number(before + 1)} to {number(before + listed)} of them here"
    return f"{plural(count, 'order')}{which if listed and listed != count else ''}" if count else ""


def cut(listed: int) -> str:
    """Say that a list holds the newest alone."""
    return f"the newest {number(listed)}"


def no_open(why: str) -> str:
    """Say what will stand here."""
    if why:
        return _not_known(why)
    return (
        '<div class="ta-empty">Orders that wait appear here, each with the reason why, until they '
        "are filled, cancelled or expired. None waits now.</div>"
    )


def open_order(order: Order, zone: tzinfo, now_s: float, *, old: bool) -> str:
    """Write an open order: what was asked, how much of it is filled, and why it waits."""
    look = _LOOKS.get(order.state, "waiting")
    css = " ta-old" if old else ""
    taken = f"{amount(order.filled_qty)} of {amount(order.qty)} filled"
    at = _at(_sent_ms(order), zone, now_s)
    return (
        f'<div class="ta-open-order{css}"><span class="ta-{look}">'
        f'<span class="ta-shape" aria-hidden="true">{SHAPES[look]}</span> '
        f"<b>{escape(order.state)}</b></span> "
        f'<span class="ta-{order.side}">{escape(order_words(order))}</span>'
        f"<small>{at} · {taken} · {escape(reason(order) or 'waits')}</small></div>"
    )


def _sent_ms(order: Order) -> int | None:
    """By the market's time, as the times of fills and ends are; in a replay it is of the past."""
    return order.accepted_ms if order.submitted_ms is None else order.submitted_ms


def _at(ms: int | None, zone: tzinfo, now_s: float) -> str:
    if ms is None:
        return UNKNOWN
    return f'<span title="{utc(ms / 1000)}">{moment(ms / 1000, zone, now_s)}</span>'


def _not_known(why: str) -> str:
    return f'<div class="ta-empty">Not known: {escape(why or "it is being asked for")}.</div>'


def fills(found: Sequence[Fill] | None, zone: tzinfo, now_s: float, why: str, *, old: bool) -> str:
    """List fills, newest first, each with the event that justified it; None: not known, ``why``."""
    if found is None:
        return _not_known(why)
    if not found:
        return (
            '<div class="ta-empty">Each fill appears here with its evidence: what the market '
            "displayed or printed at that moment, and how much of it you had taken before.</div>"
        )
    decimals = (
        places(fill.price for fill in found),
        places(fill.qty for fill in found),
        money_places(fill.fee for fill in found),
    )
    rows = "".join(_fill(fill, _at(fill.filled_ms, zone, now_s), decimals) for fill in found)
    css = f"ta-rows ta-fills{' ta-old' if old else ''}"
    return (
        f'<div class="ta-scroll" tabindex="0"><table class="{css}"><thead><tr>'
        '<th scope="col">time</th><th scope="col">side</th><th scope="col">symbol</th>'
        '<th scope="col" class="ta-num">qty</th><th scope="col" class="ta-num">price</th>'
        '<th scope="col" class="ta-num">fee</th><th scope="col">evidence</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _fill(fill: Fill, at: str, decimals: tuple[int, int, int]) -> str:
    words, rule = evidence_words(fill), fill.evidence.rule
    role = "maker" if fill.is_maker else "taker"
    fee = exact(fill.fee, decimals[2])
    hover = escape(f"{words} · {rule or UNKNOWN} · {_when(fill)}")
    return (
        f"<tr><td>{at}</td>"
        f'<td class="ta-{fill.side}">{fill.side}</td><td>{escape(fill.symbol)}</td>'
        f'<td class="ta-num">{exact(fill.qty, decimals[1])}</td>'
        f'<td class="ta-num">{exact(fill.price, decimals[0])}</td>'
        f'<td class="ta-num" title="{exactly(fill.fee)}, as {role}">{fee}</td>'
        f'<td class="ta-wrap" title="{hover}">{escape(words)}</td></tr>'
    )


def _when(fill: Fill) -> str:
    trade = f"trade {fill.evidence.trade_id}" if fill.evidence.trade_id is not None else "quote"
    received_ms = fill.evidence.received_ms
    return f"{trade}, received {utc(received_ms / 1000)}" if received_ms else trade


def ended(found: Sequence[Order] | None, zone: tzinfo, now_s: float, why: str, *, old: bool) -> str:
    """List the orders that stay as they are, newest first; None: not known, ``why``."""
    if found is None:
        return _not_known(why)
    if not found:
        return (
            '<div class="ta-empty">Orders that were filled, cancelled, expired or denied appear '
            "here, each with what became of it.</div>"
        )
    rows = "".join(
        _ended(order, _at(order.closed_ms or _sent_ms(order), zone, now_s)) for order in found
    )
    css = f"ta-rows ta-ended{' ta-old' if old else ''}"
    return (
        f'<div class="ta-scroll" tabindex="0"><table class="{css}"><thead><tr>'
        '<th scope="col">time</th><th scope="col">order</th><th scope="col">what became of it</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _ended(order: Order, at: str) -> str:
    css = " ta-warn" if order.state == "denied" else ""
    asked, became = order_words(order), outcome(order)
    return (
        f"<tr><td>{at}</td>"
        f'<td class="ta-{order.side} ta-wrap" title="{escape(asked)}">{escape(asked)}</td>'
        f'<td class="ta-wrap{css}" title="{escape(order.client_order_id)}">'
        f"{escape(became)}</td></tr>"
    )


def preview(found: Preview, currency: str, displayed: str) -> str:
    """Show what an order would cost now, whether risk would take it, and what can be had."""
    unit = f", {escape(currency)}" if currency else ""
    facts = (
        (f"expected price{unit}", amount(found.price), ""),
        (f"notional{unit}", money(found.notional), exactly(found.notional)),
        (f"fee{unit}", money(found.fee), exactly(found.fee)),
        (f"cash after{unit}", money(found.cash_after), exactly(found.cash_after)),
        ("position after", amount(found.position_after), ""),
    )
    rows = "".join(
        f'<dt>{name}</dt><dd title="{hover or _why_unknown(text)}">{text}</dd>'
        for name, text, hover in facts
    )
    facts_html = f'<dl class="ta-facts">{rows}</dl>'
    more = f'<div class="ta-hint">{escape(displayed)}</div>' if displayed else ""
    return f"{facts_html}{_verdict(found)}{more}"


def _why_unknown(text: str) -> str:
    return "Not known: the symbol has no fresh price" if text == UNKNOWN else ""


def _verdict(found: Preview) -> str:
    if found.denial is None:
        return (
            '<div class="ta-verdict ta-live"><span class="ta-shape" aria-hidden="true">●</span> '
            "<b>passes</b> the risk checks</div>"
        )
    said = escape(grouped(found.detail or found.denial.replace("_", " ")))
    return (
        '<div class="ta-verdict ta-stale" role="status"><span class="ta-shape" aria-hidden="true">'
        f"◆</span> <b>would be denied</b>: {said}</div>"
    )


def placed(order: Order, *, is_new: bool) -> str:
    """Say what a click on Place came to."""
    again = "" if is_new else "it had been taken at the first try; "
    return f"{order_words(order)}: {again}{outcome(order)}"
