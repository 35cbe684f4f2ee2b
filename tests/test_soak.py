"""The soak run: it passes on what is there, and fails on each bound and each figure."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tools"))

import soak  # noqa: E402 - its folder is no package

TRADES = 100
SAID = {"published": TRADES, "refused": 0, "unsettled": 0, "durable": True}
STEADY = soak.Sample(0, **{name: bound.most - bound.growth for name, bound in soak.BOUNDS.items()})


def counted(**changes):
    """What a sidecar shows that counted all of it; `lost` is the publisher's, by reason."""
    publisher = {"published": TRADES, "applied": TRADES, "lost": {"state": 0}, "waiting": 0}
    publisher |= {"residue": 0, "duplicates": 2, "gaps": 1}
    own = {key: value for key, value in changes.items() if key in publisher}
    totals = {"trades": {"buy": TRADES}, "rejected": {"qty": 0}, "turned_away": 0, "untracked": 0}
    totals |= {"residue": 0, "duplicates": 2, "gaps": 1, "publishers": [publisher | own]}
    return totals | {key: value for key, value in changes.items() if key not in publisher}


def run(*options):
    command = [sys.executable, ROOT / "tools/soak.py", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)


def test_three_seconds_end_with_each_trade_counted_once_and_every_bound_kept(tmp_path):
    path = tmp_path / "samples.json"
    result = run("--rate", "2000", "--seconds", "3", "--json", path)
    assert result.returncode == 0, result.stderr
    assert "each trade was counted once, and every bound was kept" in result.stdout
    written = json.loads(path.read_text())
    assert written["said"]["published"] == written["counted"]["trades"]["buy"] > 2_000
    times_s = [sample["at_s"] for sample in written["samples"]]
    assert times_s == sorted(times_s)
    assert times_s[-1] >= 3
    assert all(sample["journal_bytes"] > 0 for sample in written["samples"])
    assert all(sample["bot_bytes"] > 0 for sample in written["samples"])


@pytest.mark.parametrize(
    ("option", "value"), [("--seconds", "0"), ("--seconds", "long"), ("--rate", "nan")]
)
def test_a_time_or_rate_that_cannot_be_is_refused_in_one_line(option, value):
    result = run(option, value)
    assert result.returncode == 2
    assert f"argument {option}: " in result.stderr
    assert "Traceback" not in result.stderr


def test_figures_at_their_bounds_and_exact_counts_are_no_complaint():
    most = {name: bound.most for name, bound in soak.BOUNDS.items()}
    assert soak.broken_bounds([STEADY, replace(STEADY, at_s=600, **most)]) == []
    assert soak.miscounts(SAID, counted()) == []


@pytest.mark.parametrize("name", soak.BOUNDS)
def test_what_is_above_a_bound_at_any_time_is_told_with_by_how_much(name):
    peak = replace(STEADY, at_s=1, **{name: soak.BOUNDS[name].most + 3 * soak.MB})
    (line,) = soak.broken_bounds([STEADY, peak, replace(STEADY, at_s=600)])
    more = "3.0" if name.endswith("_bytes") else "3,000,000"
    assert line.startswith(name.split("_", maxsplit=1)[0])
    assert f", {more} above the " in line


@pytest.mark.parametrize("name", soak.BOUNDS)
def test_growth_is_told_only_when_it_comes_after_a_tenth_of_the_time(name):
    bound = soak.BOUNDS[name]
    small = {name: bound.most - bound.growth - 1}
    start, early = replace(STEADY, **small), replace(STEADY, at_s=59, **small)
    later, last = replace(STEADY, at_s=60, **small), replace(STEADY, at_s=600, **{name: bound.most})
    assert soak.broken_bounds([start, early, last]) == []
    (line,) = soak.broken_bounds([start, later, last])
    assert " grew by " in line


@pytest.mark.parametrize(
    "said",
    [{"published": 101}, {"published": 99}, {"refused": 1}, {"unsettled": 1}, {"durable": False}],
)
def test_a_figure_of_the_bot_that_does_not_fit_is_told(said):
    assert soak.miscounts(SAID | said, counted())


@pytest.mark.parametrize(
    "change",
    [
        {"applied": 99},
        {"published": 101},
        {"lost": {"state": 1}},
        {"waiting": 1},
        {"trades": {"buy": 101}},
        {"rejected": {"qty": 1}},
        {"turned_away": 1},
        {"untracked": 1},
        {"residue": 1},
        {"duplicates": 3},
        {"gaps": 0},
        {"publishers": []},
    ],
)
def test_a_figure_of_the_sidecar_that_does_not_fit_is_told(change):
    assert soak.miscounts(SAID, counted(**change))


def test_a_residue_of_the_totals_alone_is_told():
    assert soak.miscounts(SAID, counted() | {"residue": -1}) == ["residue of the totals: -1, not 0"]


def test_a_broken_bound_ends_with_exit_code_1_and_says_which_by_how_much(monkeypatch, capsys):
    fat = replace(STEADY, at_s=600, sidecar_bytes=soak.BOUNDS["sidecar_bytes"].most + soak.MB)
    samples = [STEADY, replace(STEADY, at_s=60), fat]
    monkeypatch.setattr(soak, "soak", lambda rate, seconds: (samples, SAID, counted()))
    assert soak.run(1, 1, None) == 1
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        "soak: sidecar, MB reached 129.0, 1.0 above the 128.0 allowed",
        "soak: sidecar, MB grew by 9.0, 1.0 above the 8.0 allowed",
    ]
    assert "every bound was kept" not in printed.out


def test_exact_counts_within_the_bounds_end_with_exit_code_0(monkeypatch):
    monkeypatch.setattr(soak, "soak", lambda rate, seconds: ([STEADY], SAID, counted()))
    assert soak.run(1, 1, None) == 0


def test_the_bounds_are_those_that_the_page_on_the_architecture_states():
    section = (ROOT / "docs/architecture.md").read_text().split("**A steady load.**")[1]
    stated = section.split("\n\n")[1].splitlines()[2:]
    rows = []
    for name, bound in soak.BOUNDS.items():
        unit = soak.MB if name.endswith("_bytes") else 1
        label = name.replace("_bytes", ", MB").replace("_", " ")
        rows.append(f"| {label} | {bound.most / unit:,.6g} | {bound.growth / unit:,.6g} |")
    assert stated == rows
