"""Chaos, short: everything is killed at any moment, and every event adds up.

And the chaos itself is tested: with a fault put into the product on purpose it must fail, and say
what is wrong. ``make chaos`` is the long run.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from tests.parts import ROOT

from trade_telemetry import LossReason

sys.path.append(str(ROOT / "tools"))

from chaos.events import SIDES, Sums, event
from chaos.metrics import Watch, sample
from chaos.oracle import Oracle
from chaos.recovery import Offsets
from chaos.rounds import dealt
from chaos.settle import compare

TIMEOUT_S = 600
"""Ten times what the longest run takes on an idle machine."""
pytestmark = pytest.mark.timeout(TIMEOUT_S)
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


def test_what_an_older_state_forgot_may_be_heard_of_by_a_beat_that_was_on_its_way():
    oracle, epoch = an_oracle(accepted=100)
    figures = {"published_total": 100, "applied_total": 100}
    assert (
        compare(oracle, ["bot"], Offsets({KEY: (100, 100)}), readings(epoch.events, **figures))
        == []
    )
    epoch.held = False
    oracle.put_back({})
    waiting = readings([], published_total=100, waiting=100)
    assert compare(oracle, ["bot"], Offsets(), readings([])) == []
    assert compare(oracle, ["bot"], Offsets({KEY: (0, 100)}), waiting) == []
    assert compare(oracle, ["bot"], Offsets({KEY: (0, 99)}), waiting) != []


def test_what_nobody_damaged_must_not_be_lost():
    oracle, epoch = an_oracle(accepted=100)
    figures = {"published_total": 100, "applied_total": 95, "lost_total": 5}

    differences = compare(
        oracle, ["bot"], Offsets({KEY: (100, 100)}), readings(epoch.events[:95], **figures)
    )

    assert "bot: lost (journal) 5, not 0" in differences


def page(**counts):
    """A page of /metrics with these counters, and one gauge that may do what it likes."""
    lines = ["# TYPE level gauge", f"level {random.random()}"]
    for name, count in counts.items():
        lines += [f"# TYPE {name} counter", f"{name}_total {count}.0"]
    return "\n".join(lines)


def test_a_counter_that_goes_down_vanishes_or_begins_at_nothing_is_found():
    watch = Watch([])

    assert watch.take(page(a=5, b=7)) == []
    assert watch.take(page(a=5, b=8)) == []
    assert watch.take(page(a=0, b=8)) == ["a_total went down from 5 to 0"]
    assert watch.take(page(a=6)) == ["b_total was 8 and is gone"]


def test_with_an_older_state_put_back_the_counters_go_on_from_what_it_had():
    watch = Watch([])
    watch.take(page(a=50, b=50))

    watch.begin_again({"a_total": 20.0, "level": 3.0})

    assert watch.take(page(a=20)) == []
    assert watch.take(page(a=0)) == ["a_total went down from 20 to 0"]


def test_every_action_is_dealt_as_often_as_it_weighs_before_all_begin_anew():
    names = dealt({"kill": 3, "stop": 1}, random.Random(1))

    for _ in range(5):
        assert sorted(islice(names, 4)) == ["kill", "kill", "kill", "stop"]


def run_chaos(
    folder: Path, *arguments: str, before: str = "pass"
) -> subprocess.CompletedProcess[str]:
    program = f"import sys, chaos.__main__ as command; {before}; sys.exit(command.main())"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tools"), "TMPDIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S - 10,
        check=False,
    )


@pytest.mark.parametrize(
    ("before", "complaint"),
    [
        ("from chaos.metrics import Watch as a; a.take = None", "thread 'sampler' died"),
        ("from chaos.listening import Ears as a; a._read = None", "thread 'ears' died"),
        ("from chaos.listening import Promises as a; a._take = None", "thread 'promises' died"),
        ("from chaos.proxy import Proxy as a; a._accept = None", "thread 'proxy' died"),
        (
            "from chaos import metrics as a, rounds as b; a.Sampler._take = id; b.PEACE_S_MAX = 2",
            "the sampler reads nothing",
        ),
    ],
)
def test_a_run_fails_when_a_part_of_the_harness_is_deaf(tmp_path, before, complaint):
    result = run_chaos(tmp_path, "--only", "kill-bot", "--kills", "3", before=before)

    assert result.returncode == 1, result.stdout + result.stderr
    assert complaint in result.stdout
    assert ("TypeError: 'NoneType'" in result.stdout) == ("died" in complaint)


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
    for account in (figures, figures["undone_by_older_states"]):
        explained = account["applied"] + account["waiting_in_dead_memories"]
        assert account["published"] == explained + sum(account["lost"].values())
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
    plan = ("--seed", "1", "--kills", "40", "--only", actions, "--settle", "3")
    by_sampler = fault in ("offsets-apart", "drop-one-ledger")
    deaf = "from chaos.metrics import Watch as a; a.take = lambda *_: []"  # or it may come first

    result = run_chaos(tmp_path, *plan, "--fault", fault, before="pass" if by_sampler else deaf)

    assert result.returncode == 1, result.stdout + result.stderr
    assert complaint in result.stdout
    assert "seed 1" in result.stdout
    (kept,) = tmp_path.glob("chaos-*")
    assert f"kept: {kept}" in result.stdout
    assert (kept / "sidecar.log").exists()


def test_what_finds_the_faults_finds_none_in_the_product_as_it_is(tmp_path):
    actions = "sidecar-point,torn-tail,kill-sidecar,kill-bot"

    result = run_chaos(tmp_path, "--seed", "1", "--kills", "16", "--only", actions)

    assert result.returncode == 0, result.stdout + result.stderr
