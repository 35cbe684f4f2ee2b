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
        """What a reader sees it under: board / panel / the column, or the legend of the line."""
        where = f"{self.board} / {self.panel['title']}"
        legend = self.query["legendFormat"]
        if self.panel["type"] == "table":
            return f"{where} / {self.column}"
        return where if legend == "__auto" else f"{where} / {legend}"

    @property
    def column(self) -> str:
        """The heading under which a table shows this query's values."""
        (organize,) = [t for t in self.panel["transformations"] if t["id"] == "organize"]
        several = len(self.panel["targets"]) > 1
        field = f"Value #{self.query['refId']}" if several else "Value"
        return organize["options"]["renameByName"][field]

    def word(self, value: float) -> str:
        """What the panel shows for a value that is a state."""
        maps = self.panel["fieldConfig"]["defaults"]["mappings"]
        (words,) = [each["options"] for each in maps if each["type"] == "value"]
        return words[f"{value:g}"]["text"]

    def expression(self, **chosen: str) -> str:
        """The PromQL that Prometheus is asked, with variables as chosen, or all of them."""
        return substitute(self.query["expr"], **chosen)


def substitute(expression: str, **chosen: str) -> str:
    """Do what Grafana does with its variables."""
    expression = expression.replace("$__rate_interval", RATE_INTERVAL)
    for name in ("job", "instance", "symbol", "publisher", "portfolio", "test"):
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
