"""Chaos, short: everything is killed at any moment, and every event adds up.

And the chaos itself is tested: with a fault put into the product on purpose it must fail, and say
what is wrong. ``make chaos`` is the long run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.parts import ROOT

from trade_telemetry import LossReason

sys.path.append(str(ROOT / "tools"))

from chaos.events import SIDES, Sums, event
from chaos.metrics import sample
from chaos.oracle import Oracle
from chaos.recovery import Offsets
from chaos.settle import compare

KILLS = 80
KEY = ("bot", 7)


def an_oracle(accepted):
    oracle = Oracle()
    epoch = oracle.open(KEY, 1024, durable=True)
    for number in range(accepted):
        oracle.accept(epoch, number + 1, event(0, number))
    return oracle, epoch


def readings(applied, **figures):
    """What /metrics says when these events, and these figures, were counted of the one bot."""
    sums = Sums()
    sums.add(applied)
    seen = {}
    for each, count in enumerate(sums.counts):
        labels = {"side": SIDES[each & 1], "symbol": f"bot.{each >> 1}"}
        seen[sample("telemetry_symbol_trades_total", **labels)] = count
        seen[sample("telemetry_symbol_volume_total", **labels)] = sums.nano[each] / 1e9
    for index, side in enumerate(SIDES):
        seen[sample("trades_total", side=side)] = sums.counts[index] + sums.counts[index + 2]
        volume = (sums.nano[index] + sums.nano[index + 2]) / 10**9
        seen[sample("volume_total", side=side)] = volume
    for name, value in figures.items():
        labels = {"publisher": "bot"} | ({"reason": "journal"} if name == "lost_total" else {})
        seen[sample(f"telemetry_publisher_{name}", **labels)] = value
    return seen


def test_the_oracle_is_content_when_all_is_equal_and_names_what_is_not():
    oracle, epoch = an_oracle(accepted=100)
    offsets = Offsets({KEY: (100, 100)})
    right = readings(epoch.events, published_total=100, applied_total=100)
    swapped = readings(
        [*epoch.events[:99], epoch.events[98]], published_total=100, applied_total=100
    )

    assert compare(oracle, ["bot"], offsets, right) == []
    assert any("nano-units, not" in each for each in compare(oracle, ["bot"], offsets, swapped))
    assert compare(oracle, ["bot"], Offsets({KEY: (99, 100)}), right) != []


def test_of_suspects_the_quantities_tell_which_had_arrived():
    oracle, epoch = an_oracle(accepted=100)
    epoch.suspect(LossReason.JOURNAL, 91, 100)
    figures = {"published_total": 100, "applied_total": 95, "lost_total": 5}
    offsets = Offsets({KEY: (100, 100)})
    the_first_ones_lost = [*epoch.events[:90], *epoch.events[95:]]

    assert compare(oracle, ["bot"], offsets, readings(the_first_ones_lost, **figures)) != []
    assert compare(oracle, ["bot"], offsets, readings(epoch.events[:95], **figures)) == []
    assert epoch.lost == {LossReason.JOURNAL: [(96, 100)]}


def test_suspects_are_told_apart_however_many_lives_had_some():
    oracle, epochs, offsets, applied = Oracle(), [], Offsets(), []
    for life, arrived in enumerate((5, 0, 3, 2, 4, 0, 5, 1, 2)):
        key = ("bot", life + 1)
        epoch = oracle.open(key, 1024, durable=True)
        for number in range(50):
            oracle.accept(epoch, number + 1, event(life, number))
        epoch.suspect(LossReason.JOURNAL, 46, 50)
        epochs.append(epoch)
        offsets.live[key] = (50, 50)
        applied += epoch.events[: 45 + arrived]
    figures = {"published_total": 450, "applied_total": len(applied), "lost_total": 45 - 22}

    assert compare(oracle, ["bot"], offsets, readings(applied, **figures)) == []
    lost = [epoch.lost.get(LossReason.JOURNAL, []) for epoch in epochs]
    assert lost[:3] == [[], [(46, 50)], [(49, 50)]]


def test_what_nobody_damaged_must_not_be_lost():
    oracle, epoch = an_oracle(accepted=100)
    figures = {"published_total": 100, "applied_total": 95, "lost_total": 5}

    differences = compare(
        oracle, ["bot"], Offsets({KEY: (100, 100)}), readings(epoch.events[:95], **figures)
    )

    assert "bot: lost (journal) 5, not 0" in differences


def run_chaos(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tools"), "TMPDIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "chaos", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


def test_every_event_adds_up_through_eighty_kills_of_sidecar_and_bots(tmp_path):
    summary = tmp_path / "summary.json"

    result = run_chaos(tmp_path, "--kills", str(KILLS), "--seed", "1", "--json", str(summary))

    assert result.returncode == 0, result.stdout + result.stderr
    figures = json.loads(summary.read_text())
    assert figures["verdict"] == "passed"
    assert figures["kills"] >= KILLS
    assert figures["events_accepted"] > 10_000
    points = [name for name in figures["kills_by_point"] if "random" not in name]
    assert {name.split(":")[0] for name in points} == {"bot", "sidecar"}
    lost = sum(figures["lost"].values())
    assert figures["published"] == figures["applied"] + lost + figures["waiting_in_dead_memories"]
    assert list(tmp_path.glob("chaos-*")) == []


@pytest.mark.parametrize(
    ("fault", "actions", "complaint"),
    [
        ("ack-before-commit", "sidecar-point", "was acknowledged, the state that was left has"),
        ("offsets-apart", "sidecar-point", "went down from"),
        ("no-crc", "torn-tail", "nano-units, not"),
        ("drop-one-ledger", "kill-sidecar", "counted as something"),
        ("swap-one-ledger", "kill-sidecar", "nano-units, not"),
        ("drop-one-ring", "kill-bot", "its journal holds another event as"),
    ],
)
def test_the_chaos_fails_and_says_why_when_the_product_is_faulty(
    tmp_path, fault, actions, complaint
):
    plan = ("--seed", "1", "--kills", "8", "--only", actions, "--settle", "3")

    result = run_chaos(tmp_path, *plan, "--fault", fault)

    assert result.returncode == 1, result.stdout + result.stderr
    assert complaint in result.stdout
    assert "seed 1" in result.stdout
    (kept,) = tmp_path.glob("chaos-*")
    assert f"kept: {kept}" in result.stdout
    assert (kept / "sidecar.log").exists()


@pytest.mark.parametrize("actions", ["sidecar-point", "torn-tail", "kill-sidecar", "kill-bot"])
def test_what_finds_the_faults_finds_none_in_the_product_as_it_is(tmp_path, actions):
    result = run_chaos(tmp_path, "--seed", "1", "--kills", "8", "--only", actions)

    assert result.returncode == 0, result.stdout + result.stderr
