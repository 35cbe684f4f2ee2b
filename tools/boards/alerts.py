"""The board *Alerts*: what needs somebody now, since when, and what to do.

The runbook on it is that of docs/operations.md.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from panels import (
    ALL,
    DANGER,
    GOOD,
    RATE,
    WARNING,
    Column,
    Query,
    State,
    board,
    note,
    number,
    row,
    rows,
    timeline,
)

ROOT: Final = Path(__file__).resolve().parents[2]
FIRING: Final = (State(1, "pending", WARNING), State(2, "firing", DANGER))
ZERO: Final = "up{@} * 0"
NAMED: Final = {
    "alertname": "Alert",
    "severity": "Severity",
    "instance": "Instance",
    "publisher": "Publisher",
    "symbol": "Symbol",
    "reason": "Reason",
}


def make() -> Dashboard:
    """The board."""
    return board(
        "alerts",
        "Alerts",
        "What needs somebody now, since when, and what to do about it.",
        [],
        [
            *(_firing(*kind) for kind in _SEVERITIES),
            rows(
                "Firing now",
                "Each alert that fires, and for how long it has been true. Its runbook is below.",
                NAMED,
                [
                    Column(
                        "For",
                        f"time() - max by ({', '.join(NAMED)}) (ALERTS_FOR_STATE{{@}}"
                        ' and ignoring (alertstate) ALERTS{alertstate="firing", @})',
                        unit="s",
                        decimals=0,
                    )
                ],
                sort_by="For",
                size=(24, 7),
            ),
            timeline(
                "Alerts over time",
                "Pending: true, and not yet for long enough. Firing: somebody should look.",
                Query(
                    f"max by (alertname, instance, publisher, symbol, reason) ({_ever('firing')} * 2"
                    f" or ignoring (alertstate) {_ever('pending')})",
                    "{{alertname}} {{instance}} {{publisher}} {{symbol}} {{reason}}",
                ),
                FIRING,
                size=(24, 8),
            ),
            row("Runbook"),
            note(
                "What to do",
                "The runbook of every alert, as in docs/operations.md.",
                runbook(),
                size=(24, 72),
            ),
        ],
        job=ALL,
    )


_SEVERITIES: Final = (
    (
        "critical",
        DANGER,
        "Alerts that mean wrong or missing totals, or that nothing is counted: look now.",
    ),
    (
        "warning",
        WARNING,
        "Alerts that mean trouble ahead, or trouble of one publisher or symbol: look soon.",
    ),
    ("info", GOOD, "What is good to know, such as a restart. Nothing to do."),
)


def _ever(state: str) -> str:
    """Whether an alert was in a state since the point before: a short one is not lost between."""
    return f'max_over_time(ALERTS{{alertstate="{state}", @}}[{RATE}])'


def _firing(severity: str, color: str, description: str) -> object:
    return number(
        severity.capitalize(),
        description,
        Query(f'count(ALERTS{{alertstate="firing", severity="{severity}", @}}) or max({ZERO})'),
        width=8,
        steps=[(1, color)],
    )


def runbook() -> str:
    """The sections of the alerts, with links to other pages of the documents as plain words."""
    page = (ROOT / "docs/operations.md").read_text()
    sections = re.findall(r"^### [A-Z][A-Za-z]+\n.*?(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    return re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]+\)", r"\1", "".join(sections)).strip() + "\n"
