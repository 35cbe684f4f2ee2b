"""The account by publisher, as an HTML table: what was published, and what became of it. Pure.

On a phone each row becomes a card, in which the figures say their names themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from trading_app.account import Account, account, by_trouble, losses
from trading_app.desk import View
from trading_app.formats import age, number, plural
from trading_app.sidecar_answers import PublisherState
from trading_app.ui.tables import presence

SHOWN_MAX: Final = 100
_NUMBERS: Final = (
    "published", "applied", "lost", "waiting", "residue", "duplicates", "refused",
)  # fmt: skip
_HEADS: Final = (
    '<th scope="col">publisher</th>'
    + "".join(f'<th scope="col" class="ta-num">{name}</th>' for name in _NUMBERS)
    + '<th scope="col">kept in</th><th scope="col">heard</th>'
)


def publishers(view: View) -> str:
    """List what became of each publisher's trades, trouble first; the sum of all comes on top."""
    if view.summary is None:
        return _empty(f"Not known: {escape(view.away or '')}.")
    if not view.summary.publishers:
        return _empty(
            "Each program that publishes trades gets a row: what it published, and what became of "
            "it.<br>None was heard of yet. <code>python -m trade_telemetry send buy 1</code>"
        )
    now_s = view.summary.now_s + view.figures_age_s
    ranked = by_trouble(view.summary.publishers, view.summary.now_s)
    rows = _sum_row(ranked) if len(ranked) > 1 else ""
    rows += "".join(_row(state, now_s, known=not view.away) for state in ranked[:SHOWN_MAX])
    css = f"ta-rows ta-account{' ta-old' if view.away else ''}"
    table = f'<table class="{css}"><thead><tr>{_HEADS}</tr></thead><tbody>{rows}</tbody></table>'
    return table + _rest(account(ranked[SHOWN_MAX:]))


def _rest(rest: Account) -> str:
    """Say what is not shown: nothing worse than the last row that is."""
    if rest.publishers == 0:
        return ""
    return f'<div class="ta-note">and {plural(rest.publishers, "other publisher")}: {rest}</div>'


def _sum_row(states: Sequence[PublisherState]) -> str:
    sums, lost = account(states), losses(states)
    refused = sum(sum(state.refused.values()) for state in states)
    duplicates = sum(state.duplicates for state in states)
    cells = (
        f"<td>all {number(sums.publishers)} publishers</td>",
        *_figures(sums, lost, duplicates, {"": refused}, sums.residue),
        '<td data-label="kept in"></td><td data-label="heard"></td>',
    )
    return f'<tr class="ta-sum">{"".join(cells)}</tr>'


def _row(state: PublisherState, now_s: float, *, known: bool) -> str:
    word, shape = presence(state, now_s, known=known)
    name, heard = escape(state.publisher), age(now_s - state.last_seen_s)
    kept = "file" if state.durable else "memory"
    mark = f'<span class="ta-{word}"><span class="ta-shape">{shape}</span></span>'
    cells = (
        f'<td title="{name}: {word}">{mark} {name}</td>',
        *_figures(account([state]), state.lost, state.duplicates, state.refused, state.residue),
        f'<td data-label="kept in">{kept}</td>',
        f'<td data-label="heard" class="ta-{word}">{heard}{"" if state.open else ", ended"}</td>',
    )
    return f"<tr>{''.join(cells)}</tr>"


def _figures(
    sums: Account,
    lost: Mapping[str, int],
    duplicates: int,
    refused: Mapping[str, int],
    residue: int,
) -> tuple[str, ...]:
    not_taken = sum(refused.values())
    return (
        _figure("published", sums.published),
        _figure("applied", sums.applied),
        _figure("lost", sums.lost, "ta-danger" if sums.lost else "", reasons(lost)),
        _figure("waiting", sums.waiting),
        _figure("residue", residue, "ta-danger" if residue else ""),
        _figure("duplicates", duplicates),
        _figure("refused", not_taken, "ta-warn" if not_taken else "", reasons(refused)),
    )


def _figure(label: str, count: int, css: str = "", small: str = "") -> str:
    below = f"<small>{escape(small)}</small>" if small else ""
    return (
        f'<td class="ta-num {css}" data-label="{label}" title="{escape(small)}">'
        f"{number(count)}{below}</td>"
    )


def reasons(counts: Mapping[str, int]) -> str:
    """Name what happened, by reason: "2 overwritten, 1 rejected"."""
    named = {reason: count for reason, count in counts.items() if count and reason}
    most = sorted(named.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{number(count)} {reason.replace('_', ' ')}" for reason, count in most)


def _empty(text: str) -> str:
    return f'<div class="ta-empty">{text}</div>'
