"""The committed Grafana boards, as Grafana would read them: panels, queries, variables."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import promql_parser as promql
from tests.parts import ROOT

FOLDER = ROOT / "infra/grafana/dashboards"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
RATE_INTERVAL = "4s"
"""What Grafana makes of $__rate_interval at a scrape interval of 1 s and a short time range."""


@dataclass(frozen=True)
class Target:
    """One query of one panel."""

    board: str
    panel: dict[str, Any]
    query: dict[str, Any]

    @property
    def name(self) -> str:
        """How the tests call it: board / panel / refId."""
        return f"{self.board} / {self.panel['title']} / {self.query['refId']}"

    def expression(self, **chosen: str) -> str:
        """The PromQL that Prometheus is asked, with variables as chosen, or all of them."""
        return substitute(self.query["expr"], **chosen)


def substitute(expression: str, **chosen: str) -> str:
    """Do what Grafana does with its variables."""
    expression = expression.replace("$__rate_interval", RATE_INTERVAL)
    for name in ("job", "instance", "symbol", "publisher"):
        expression = expression.replace(f"${name}", chosen.get(name, ".+"))
    return expression


def panels(board: str) -> list[dict[str, Any]]:
    """The panels that show something: all but the headings."""
    return [panel for panel in BOARDS[board]["panels"] if panel["type"] != "row"]


def targets() -> list[Target]:
    """Every query of every panel of every board."""
    return [
        Target(board, panel, query)
        for board in BOARDS
        for panel in panels(board)
        for query in panel.get("targets", [])
    ]


def nodes(expression: str) -> list[Any]:
    """Every part of a PromQL expression; raises ValueError where it is not PromQL."""
    found: list[Any] = []
    promql.walk(promql.parse(expression), found.append)
    return found


def selectors(expression: str) -> list[promql.VectorSelector]:
    """Every selector of series in a PromQL expression."""
    plain = [node for node in nodes(expression) if isinstance(node, promql.VectorSelector)]
    return plain + [each.vector_selector for each in ranges(expression)]


def ranges(expression: str) -> list[promql.MatrixSelector]:
    """Every selector of series over a range in a PromQL expression."""
    return [node for node in nodes(expression) if isinstance(node, promql.MatrixSelector)]
