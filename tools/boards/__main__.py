"""``make dashboards``: write the Grafana boards into infra/grafana/dashboards.

With ``--check`` nothing is written; exits with 1 when a committed board is not what the code makes.
"""

from __future__ import annotations

import argparse
import json
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder

import alerts
import benchmark
import market
import paper
import pipeline
import telemetry

FOLDER = alerts.ROOT / "infra/grafana/dashboards"
BOARDS = (telemetry.make, pipeline.make, benchmark.make, market.make, paper.make, alerts.make)


def texts() -> dict[str, str]:
    """Each board as JSON, by the name of its file."""
    made = {}
    for make in BOARDS:
        board = json.loads(json.dumps(make().build(), cls=JSONEncoder))
        for link in board["links"]:
            del link["placement"]  # the SDK knows no other place than a folded menu
        text = json.dumps(board, sort_keys=True, indent=1, ensure_ascii=False)
        made[f"{board['uid']}.json"] = text + "\n"
    return made


def check() -> int:
    """Compare, byte for byte."""
    expected = texts()
    present = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    stale = [name for name in expected | present if expected.get(name) != present.get(name)]
    for name in sorted(stale):
        print(
            f"{FOLDER / name} is not what tools/boards makes: run make dashboards", file=sys.stderr
        )
    return int(bool(stale))


def write() -> int:
    """Write each board, and remove those that are no more."""
    expected = texts()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.glob("*.json"):
        if path.name not in expected:
            path.unlink()
    for name, text in expected.items():
        (FOLDER / name).write_text(text)
    print("\n".join(f"wrote {FOLDER.relative_to(alerts.ROOT) / name}" for name in expected))
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say which are stale")
    sys.exit(check() if parser.parse_args().check else write())
