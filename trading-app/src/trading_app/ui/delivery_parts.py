"""The Delivery page's pieces beside its table, as HTML: a view in, escaped text out. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

from trading_app.account import account, losses
from trading_app.desk import View
from trading_app.formats import UNKNOWN, age, number, size
from trading_app.sidecar_answers import StateFigures, Summary
from trading_app.ui.components import ROOMS, problem, room
from trading_app.ui.delivery_table import reasons

_WORDS: Final = {
    "published": "The publisher accepted it and gave it a number: now it is in the account.",
    "applied": "It is in the totals, once, and the sidecar has committed that.",
    "lost": "It will never be in the totals, and the sidecar says why:",
    "· rejected": "it arrived, and was not a trade.",
    "· overwritten": "a full ring dropped it for a newer one, as its policy said.",
    "· journal": "its place in the journal file is damaged.",
    "· state": "it was counted once, but the sidecar's state is an older copy now.",
    "· silent": "it waited in memory, or in a life that another followed, and a day went by.",
    "waiting": "The sidecar knows of it and has not got it yet: it is sent, and sent again.",
    "residue": "Published − applied − lost − waiting, each counted by itself. Not 0 is a defect.",
    "duplicates": "It came a second time, was recognised and not counted again: harmless.",
    "refused": "The publisher did not take it, and said so: its ring was full. It has no number.",
    "untracked": "A message without number: counted as it comes, and outside this account.",
    "turned away": "It came from a new publisher while the table of 1 024 was full.",
    "kept in": "What waits survives the publisher in a file; in memory it dies with it.",
}
Fact = tuple[str, str, str]
"""What it is called, what it is (HTML), and its class."""


def details(view: View) -> str:
    """Say, below the first line, what else the account has to tell."""
    summary = view.summary
    if summary is None:
        return ""
    lost = losses(summary.publishers)
    parts = (
        _loud("lost: " + reasons(lost), "ta-danger") if lost else "",
        _loud(f"{number(summary.turned_away)} turned away", "ta-danger")
        if summary.turned_away
        else "",
        f"{number(summary.duplicates)} duplicates recognised",
        f"{number(summary.untracked)} untracked",
    )
    return " · ".join(filter(None, parts))


def _loud(text: str, css: str) -> str:
    return f'<span class="{css}">{escape(text)}</span>'


def journal(view: View) -> str:
    """Say where this desk keeps what waits, how full it is, and what is wrong with it."""
    stats = view.stats
    short, sentence = ROOMS[room(stats)]
    refused = sum(stats.refused.values())
    facts = _facts(
        (
            ("trades wait", short, ""),
            ("places taken", f"{number(stats.waiting)} of {number(stats.capacity)}", ""),
            ("of earlier runs", number(stats.leftover), ""),
            ("refused", number(refused), "ta-danger" if refused else ""),
        )
    )
    return f'{facts}<div class="ta-note">{problem(stats) or sentence}</div>'


def state(view: View) -> str:
    """Say how the sidecar keeps its totals, and whether they are what the publishers' rows say."""
    if view.summary is None:
        return f'<div class="ta-empty">Not known: {escape(view.away or "")}.</div>'
    kept = view.summary.state
    facts = _kept(kept, view.summary.now_s + view.figures_age_s) if kept is not None else []
    css = " ta-old" if view.away else ""
    return f'<div class="{css}">{_facts((*facts, *_in_totals(view.summary)))}</div>'


def _kept(kept: StateFigures, now_s: float) -> list[Fact]:
    commit = UNKNOWN if not kept.last_commit_s else age(now_s - kept.last_commit_s)
    facts = [("totals are kept", "in a file" if kept.durable else "in memory", "")]
    if kept.durable:
        facts.append(("size", f"{size(kept.bytes)}, {size(kept.free_bytes)} free", ""))
    facts.append(("last commit", commit, ""))
    if kept.commit_failures:
        facts.append(("failed commits", number(kept.commit_failures), "ta-danger"))
    if kept.set_aside:
        facts.append(("states set aside", number(kept.set_aside), "ta-danger"))
    return facts


def _in_totals(summary: Summary) -> tuple[Fact, Fact]:
    """Compare the totals with the rows' sum, which was counted by itself."""
    counted = summary.trades.buy + summary.trades.sell
    agree = account(summary.publishers).applied + summary.untracked == counted
    return (
        ("trades in the totals", number(counted), "" if agree else "ta-danger"),
        ("of them untracked", number(summary.untracked), ""),
    )


def _facts(facts: Iterable[Fact]) -> str:
    rows = "".join(f'<dt>{name}</dt><dd class="{css}">{text}</dd>' for name, text, css in facts)
    return f'<dl class="ta-facts">{rows}</dl>'


def words() -> str:
    """Explain each word of the page in a sentence."""
    return _facts((name, text, "") for name, text in _WORDS.items()).replace(
        'class="ta-facts"', 'class="ta-facts ta-words"'
    )
