"""The Grafana boards, without a Grafana: their form, and that each query asks for what exists.

The eleven rules are those of grafana/dashboard-linter, by its names. What a query answers is proven
in test_board_values.py.
"""

from __future__ import annotations

import re
import subprocess
import sys

import promql_parser as promql
import pytest
from grafana_foundation_sdk.models import units
from tests.boards import BOARDS, FOLDER, nodes, panels, ranges, selectors, substitute, targets
from tests.parts import ROOT

from trading_app import palette

TARGETS = targets()
JOBS = ["metrics-sidecar", "market-engine"]
OTHER_JOB = dict.fromkeys(BOARDS, "market-engine") | {
    "market-data": "metrics-sidecar",
    "paper-desk": "metrics-sidecar",
}
OF_ALL_JOBS = {"alerts", "paper-desk"}
OF_THE_SIDECAR = ("telemetry_", "benchmark_", "trades_", "volume_", "last_trade_")
OURS = {"market-data": ("market_",), "paper-desk": ("portfolio_", *OF_THE_SIDECAR)}
SOURCE = {"type": "prometheus", "uid": "$datasource"}
each_board = pytest.mark.parametrize("board", BOARDS)
each_target = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)


def variable(board, name):
    (found,) = [each for each in BOARDS[board]["templating"]["list"] if each["name"] == name]
    return found


# The eleven rules


@each_board
def test_template_datasource(board):
    (source,) = [v for v in BOARDS[board]["templating"]["list"] if v["type"] == "datasource"]
    assert (source["name"], source["label"]) == ("datasource", "Data source")
    assert source["query"] == "prometheus"


@pytest.mark.parametrize("name", ["job", "instance"])
@each_board
def test_template_job_and_template_instance(board, name):
    found = variable(board, name)
    assert found["type"] == "query"
    assert found["label"] == name.capitalize()
    assert found["datasource"] == SOURCE
    assert found["multi"]
    assert found["includeAll"]
    assert found["allValue"] == ".+"


@each_board
def test_template_label_promql(board):
    for each in BOARDS[board]["templating"]["list"]:
        if each["type"] == "query":
            query = re.fullmatch(r"label_values\((.+), (\w+)\)", each["query"])
            assert selectors(substitute(query[1]))
            assert query[2] == each["name"]
            assert each["refresh"] == 2  # on a change of the time range, or new values never show


@each_board
def test_panel_datasource(board):
    for panel in panels(board):
        if panel["type"] != "text":
            assert panel["datasource"] == SOURCE
            assert all(query["datasource"] == SOURCE for query in panel["targets"])


@each_board
def test_panel_title_description(board):
    for panel in panels(board):
        assert panel["title"]
        assert len(panel["description"]) > 20, panel["title"]


@each_board
def test_panel_units(board):
    known = {unit for unit in vars(units).values() if isinstance(unit, str)}
    for panel in panels(board):
        if panel["type"] != "text":
            config = panel["fieldConfig"]
            assert config["defaults"]["unit"] in known, panel["title"]
            properties = [p for override in config["overrides"] for p in override["properties"]]
            assert {p["value"] for p in properties if p["id"] == "unit"} <= known


DIMENSIONS = {
    "s": "seconds",
    "bytes": "bytes",
    "percentunit": "ratio",
    "locale": "count",
    "short": "count",
    "none": "state",
}


@each_target
def test_the_unit_is_that_of_what_is_asked(target):
    """By the metric's name, as Prometheus' conventions have it."""
    (name, *_) = [selector.name for selector in selectors(target.expression())]
    asks_seconds = re.match(r"histogram_quantile|time\(\) -|clamp_min\(time", target.query["expr"])
    dimension = "count"
    states = (
        r"telemetry_(receiver_up|publisher_open)$|benchmark_status$|market_schedule_open$"
        r"|portfolio_trading_state$"
    )
    of_symbols = target.board == "market-data" and target.panel["type"] == "state-timeline"
    if re.match(states, name) or of_symbols or "max_over_time" in str(target):
        dimension = "state"
    elif re.search(r"busy:rate1m$|(volatility|drawdown)_ratio$", name) or target.panel[
        "title"
    ].startswith("Price against"):
        dimension = "ratio"
    elif name.endswith("_bytes"):
        dimension = "bytes"
    elif (
        asks_seconds
        or re.search(":p99|_seconds:mean|benchmark_(publish|duration)_seconds", name)
        or name.endswith(("heartbeat_age_seconds", "market_store_lag_seconds"))
    ):
        dimension = "seconds"
    elif target.panel["type"] == "heatmap":
        dimension = "seconds"  # that of its axis
    assert DIMENSIONS[shown_unit(target)] == dimension


@pytest.mark.parametrize("target", [t for t in TARGETS if t.panel["type"] == "table"])
def test_a_table_has_one_row_for_each_key_with_the_values_of_now(target):
    merge, organize = target.panel["transformations"]
    assert merge["id"] == "merge"
    assert organize["options"]["excludeByName"] == {"Time": True}
    assert (target.query["format"], target.query["instant"]) == ("table", True)
    assert target.query["range"] is False


def test_a_state_is_that_of_now_and_not_of_the_last_step_of_a_long_range():
    for target in TARGETS:
        if target.panel["type"] == "stat":
            of_now = target.query["instant"] or target.panel["timeFrom"] == "15m"
            assert of_now, target.name


@pytest.mark.parametrize(
    ("board", "title", "rules", "expression"),
    [
        (
            "trading-telemetry",
            "Event age p99",
            "alerts.yml",
            "instance:telemetry_event_age_seconds:p99_1m > ",
        ),
        (
            "market-data",
            "Lag p99",
            "market_alerts.yml",
            'instance:market_feed_lag_seconds:p99_1m{job="market-engine"} > ',
        ),
    ],
)
def test_an_age_turns_red_where_its_alert_fires(board, title, rules, expression):
    (panel,) = [p for p in panels(board) if p["title"] == title]
    *_, last = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    text = (ROOT / "infra/prometheus/rules" / rules).read_text()
    assert f"{expression}{last['value']:g}\n" in text
    assert last["color"] == palette.DANGER_MARK


def test_a_state_has_one_word_and_one_colour_on_every_board():
    colors = {}
    for target in TARGETS:
        for each in target.panel["fieldConfig"]["defaults"].get("mappings", []):
            if each["type"] == "value":
                for result in each["options"].values():
                    colors.setdefault(result["text"], set()).add(result["color"])
    assert colors == {
        "live": {palette.NEUTRAL_MARK},
        "started": {palette.NEUTRAL_MARK},
        "running": {palette.NEUTRAL_MARK},
        "completed": {palette.NEUTRAL_MARK},
        "stalled": {palette.WARNING_MARK},
        "blocked": {palette.WARNING_MARK},
        "silent": {palette.WARNING_MARK},
        "pending": {palette.WARNING_MARK},
        "away": {palette.DANGER_MARK},
        "failed": {palette.DANGER_MARK},
        "firing": {palette.DANGER_MARK},
        "ended": {palette.MUTED.dark},
        "late": {palette.WARNING_MARK},
        "stale": {palette.WARNING_MARK},
        "backfilling": {palette.WARNING_MARK},
        "gap": {palette.DANGER_MARK},
        "disconnected": {palette.DANGER_MARK},
        "closed": {palette.MUTED.dark},
        "unknown": {palette.MUTED.dark},
        "active": {palette.NEUTRAL_MARK},
        "reducing": {palette.WARNING_MARK},
        "flattening": {palette.WARNING_MARK},
        "halted": {palette.DANGER_MARK},
    }


def shown_unit(target):
    config = target.panel["fieldConfig"]
    if target.panel["type"] != "table":
        return config["defaults"]["unit"]
    (mine,) = [o for o in config["overrides"] if o["matcher"]["options"] == target.column]
    (unit,) = [p["value"] for p in mine["properties"] if p["id"] == "unit"]
    return unit


@each_target
def test_target_promql(target):
    assert list(nodes(target.expression()))


@each_target
def test_target_rate_interval(target):
    assert "$__interval" not in target.query["expr"]
    assert set(re.findall(r"\[(.*?)\]", target.query["expr"])) <= {"$__rate_interval"}
    assert all(each.range.total_seconds() == 4 for each in ranges(target.expression()))


@pytest.mark.parametrize("name", ["job", "instance"])
@each_target
def test_target_job_and_target_instance(target, name):
    for selector in selectors(target.query["expr"].replace("$__rate_interval", "4s")):
        matchers = [m for m in selector.matchers.matchers if m.name == name]
        assert [(m.op, m.value) for m in matchers if m.op is not promql.MatchOp.NotEqual] == [
            (promql.MatchOp.Re, f"${name}")
        ]


@each_target
def test_what_both_jobs_serve_is_asked_of_the_boards_own_job_only(target):
    """With all jobs chosen, neither is shown as the other."""
    for selector in selectors(target.expression()):
        own = {m.value for m in selector.matchers.matchers if m.op is promql.MatchOp.NotEqual}
        if target.board == "alerts":
            assert "job" not in {m.name for m in selector.matchers.matchers if m.value in own}
        elif re.match("up$|process_|python_", selector.name):
            assert own == {OTHER_JOB[target.board]}
        else:
            ours = OURS.get(target.board, OF_THE_SIDECAR)
            assert selector.name.split(":")[-2 if ":" in selector.name else 0].startswith(ours)


@each_board
def test_the_job_of_a_board_is_the_one_that_it_offers(board):
    job = variable(board, "job")
    if board in OF_ALL_JOBS:
        assert (job["current"]["value"], job["query"]) == (["$__all"], "label_values(up, job)")
    else:
        other = OTHER_JOB[board]
        assert job["query"] == f'label_values(up{{job!="{other}"}}, job)'
        assert [*job["current"]["value"], other] in (JOBS, JOBS[::-1])


@each_board
def test_a_link_to_another_board_takes_no_job_along(board):
    boards = [link for link in BOARDS[board]["links"] if link["type"] == "dashboards"]
    assert [link["includeVars"] for link in boards] == [False]


# Beyond them


def test_the_boards_are_what_the_code_makes_byte_for_byte():
    check = [sys.executable, "tools/boards", "--check"]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_check_sees_a_single_changed_byte(tmp_path):
    """On a copy of the code with its own board changed."""
    folder = tmp_path / "infra/grafana/dashboards"
    folder.mkdir(parents=True)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / "tools").mkdir()
    for path in (ROOT / "tools/boards").glob("*.py"):
        (tmp_path / "tools" / "boards").mkdir(exist_ok=True)
        (tmp_path / "tools/boards" / path.name).write_text(path.read_text())
    for path in FOLDER.glob("*.json"):
        (folder / path.name).write_text(path.read_text())
    check = [sys.executable, "tools/boards", "--check"]
    assert subprocess.run(check, cwd=tmp_path, check=False).returncode == 0
    changed = folder / "alerts.json"
    changed.write_text(changed.read_text().replace("Alerts", "alerts", 1))
    done = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "alerts.json" in done.stderr
    assert "make dashboards" in done.stderr


@each_board
def test_a_board_has_what_grafana_needs_and_its_gui_cannot_change(board):
    model = BOARDS[board]
    assert model["uid"] == board
    assert model["schemaVersion"] == 42
    assert model["editable"] is False
    assert model["refresh"] == "1s"
    assert "1s" in model["timepicker"]["refresh_intervals"]
    ids = [panel["id"] for panel in model["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels(board):
        references = [query["refId"] for query in panel.get("targets", [])]
        assert references == sorted(set(references))
        if panel["type"] == "timeseries":
            assert panel["options"]["legend"]["showLegend"]


@each_board
def test_panels_do_not_overlap_and_fill_their_rows(board):
    taken = {}
    for panel in BOARDS[board]["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                taken[x, y] = panel["title"]
    assert {x for x, _ in taken} == set(range(24))
    assert len(taken) == 24 * (1 + max(y for _, y in taken))


@each_board
def test_what_answers_the_question_fits_one_screen(board):
    """Grafana's grid is 30 px with gaps of 8; 1440 × 900 leaves some 21 rows below the controls."""
    (first_heading, *_) = [p for p in BOARDS[board]["panels"] if p["type"] == "row"]
    assert first_heading["gridPos"]["y"] <= 21


@each_board
def test_every_colour_is_of_the_palette(board):
    shades = [v for name, v in vars(palette).items() if name.isupper()]
    known = {color for shade in shades for color in ([shade] if isinstance(shade, str) else shade)}
    assert set(re.findall(r'"(#[0-9A-Fa-f]{6})"', (FOLDER / f"{board}.json").read_text())) <= known


def test_a_number_that_is_not_known_is_a_dash_and_never_the_last_one():
    for target in TARGETS:
        if target.panel["type"] == "stat":
            assert target.query["expr"].endswith(" or vector(NaN)")
            assert target.panel["options"]["reduceOptions"]["calcs"] == ["last"]
            maps = target.panel["fieldConfig"]["defaults"]["mappings"]
            (special,) = [each["options"] for each in maps if each["type"] == "special"]
            assert (special["match"], special["result"]["text"]) == ("null+nan", "—")


def test_a_colour_is_given_only_to_lines_that_exist():
    for target in TARGETS:
        for override in target.panel["fieldConfig"]["overrides"]:
            name = override["matcher"]["options"]
            legends = [query["legendFormat"] for query in target.panel["targets"]]
            named = set(legends) | set(_columns(target.panel))
            assert name in named or (name in {"buy", "sell"} and legends == ["{{side}}"])


def _columns(panel):
    for each in panel.get("transformations", []):
        yield from each["options"].get("renameByName", {}).values()
