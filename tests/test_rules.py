"""The rules of Prometheus: well formed, each alert tested both ways, and true to what is served.

What breaks the real thing is in test_alerts.py.
"""

from __future__ import annotations

import json
import re
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from tests.parts import ROOT, need

INFRA = ROOT / "infra/prometheus"
RULES = (INFRA / "rules/alerts.yml").read_text()
ALERTS = re.findall(r"- alert: (\w+)", RULES)
CASES = {path.name: yaml.safe_load(path.read_text()) for path in INFRA.glob("tests/*.yml")}


def promtool(*arguments: str, folder: Path = INFRA) -> subprocess.CompletedProcess[str]:
    need("prometheus", package="prometheus")
    return subprocess.run(
        ["promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def test_every_case_of_every_alert_comes_out():
    result = promtool("test", "rules", *CASES, folder=INFRA / "tests")
    assert result.returncode == 0, result.stdout + result.stderr


class Mutation(NamedTuple):
    """A mistake in the rule of an alert: ``text``, which it has once, replaced."""

    alert: str
    text: str
    replacement: str

    def __str__(self) -> str:
        return f"{self.alert}: {self.text} becomes {self.replacement}"

    def rule(self) -> dict[str, Any]:
        """The wrong rule, with this mutation as a label."""
        after = RULES.partition(f"- alert: {self.alert}\n")[2]
        text = re.split(r"^ +- ", after, maxsplit=1, flags=re.MULTILINE)[0]
        assert text.count(self.text) == 1, f"{self} does not apply"
        rule = yaml.safe_load(text.replace(self.text, self.replacement))
        return rule | {"alert": self.alert, "labels": rule["labels"] | {"mutation": self.label()}}

    def label(self) -> str:
        return f"m{[*UNCHANGED, *MUTATIONS].index(self)}"

    def matcher(self) -> str:
        """Selects what this mutation fires, and what the other alerts do."""
        return f"mutation=~'|{self.label()}'"


def wrong_durations() -> list[Mutation]:
    """Each alert a second too early, and a second too late."""
    rules = [rule for group in yaml.safe_load(RULES)["groups"] for rule in group["rules"]]
    right_s = {rule["alert"]: int(rule["for"].removesuffix("s")) for rule in rules}
    return [
        Mutation(alert, f"for: {right_s[alert]}s", f"for: {wrong_s}s")
        for alert in ALERTS
        for wrong_s in (right_s[alert] - 1, right_s[alert] + 1)
        if wrong_s >= 0
    ]


UNCHANGED = [Mutation(alert, "for:", "for:") for alert in ALERTS]
OURS = '{job="metrics-sidecar"}'
MUTATIONS = [
    *wrong_durations(),
    Mutation("SidecarDown", "== 0", "== 1"),
    Mutation("SidecarNotScraped", f"up{OURS}", "up"),
    Mutation("SidecarNotScraped", ", instance: (none)", ""),
    Mutation("ReceiverStalled", "== 0", "== 1"),
    Mutation("SidecarRestarted", "< 60", "< 59"),
    Mutation("SidecarRestarted", "< 60", "< 61"),
    Mutation("SidecarRestarted", "> min", ">= min"),
    Mutation("SidecarRestarted", "[1h]", "[50m]"),
    Mutation("SidecarRestarted", "[1h]", "[2h]"),
    Mutation("SidecarSaturated", "> 0.9", "> 0.88"),
    Mutation("SidecarSaturated", "> 0.9", "> 0.92"),
    Mutation("InputRejected", "[1m]) > 0", "[1m]) >= 0"),
    Mutation("InputRejected", "[1m]) > 0", "[1m]) > 1"),
    Mutation("InputRejected", "[1m]", "[50s]"),
    Mutation("InputRejected", "[1m]", "[70s]"),
    Mutation("InputRejected", f"{OURS} > 0", f"{OURS} >= 0"),
    Mutation("InputRejected", f"{OURS} > 0", f"{OURS} > 1"),
    Mutation("InputRejected", "< 60", "< 59"),
    Mutation("InputRejected", "< 60", "< 61"),
    Mutation("InputRejected", "on (job, instance) time()", "on (job) time()"),
    Mutation("ResidueNotZero", "!= 0", "> 0"),
    Mutation("ResidueNotZero", "!= 0", "< 0"),
    Mutation("ResidueNotZero", "!= 0", "!= 1"),
    Mutation("EventsLost", "> (tele", ">= (tele"),
    Mutation("EventsLost", f"missing{OURS} offset 1m", f"missing{OURS} offset 30s"),
    Mutation("EventsLost", f"missing{OURS} offset 1m", f"missing{OURS} offset 2m"),
    Mutation("EventsLost", "[1h] offset 1m", "[1h] offset 30s"),
    Mutation("EventsLost", "[1h] offset 1m", "[1h] offset 2m"),
    Mutation("EventsLost", "[1h]", "[50m]"),
    Mutation("EventsLost", "[1h]", "[2h]"),
    Mutation("EventsLost", "on (job, instance) tele", "on (job) tele"),
    Mutation("EventsLost", f"receiver_up{OURS} offset 1m", f"receiver_up{OURS}"),
    Mutation("EventsLost", f"receiver_up{OURS} offset 1m", f"receiver_up{OURS} offset 1h"),
    Mutation("EventsLost", "* 0", "* 1"),
    Mutation("EventsLost", f"{OURS} > 0", f"{OURS} >= 0"),
    Mutation("EventsLost", f"{OURS} > 0", f"{OURS} > 1"),
    Mutation("EventsLost", "< 60", "< 59"),
    Mutation("EventsLost", "< 60", "< 61"),
    Mutation("EventsLost", "on (job, instance) time()", "on (job) time()"),
    Mutation("TradesRefused", "> 0", ">= 0"),
    Mutation("TradesRefused", "> 0", "> 1"),
    Mutation("TradesRefused", "== sum", ">= sum"),
    Mutation("TradesRefused", "== sum", "<= sum"),
    Mutation("TradesRefused", "offset 1m", "offset 30s"),
    Mutation("TradesRefused", "offset 1m", "offset 2m"),
    Mutation("TradesRefused", "[1h]", "[50m]"),
    Mutation("TradesRefused", "[1h]", "[2h]"),
    Mutation("PublisherSilent", "> 10", "> 9"),
    Mutation("PublisherSilent", "> 10", "> 11"),
    Mutation("PublisherSilent", f"open{OURS} == 1", f"open{OURS} == 0"),
    Mutation("PublisherSilent", "on (job, instance, publisher)", "on (job, instance)"),
    Mutation("PublisherSilent", "on (job, instance, publisher)", "on (job, publisher)"),
    Mutation("PublisherSilent", f"receiver_up{OURS} == 1", f"receiver_up{OURS} == 0"),
    Mutation("PublisherSilent", "on (job, instance) tele", "on (job) tele"),
    Mutation("DeliveryLagHigh", "> 1", "> 0.9"),
    Mutation("DeliveryLagHigh", "> 1", "> 1.2"),
]


def rules_with(mutations: list[Mutation]) -> dict[str, Any]:
    """All the rules, with these in the place of their alert; a label tells them apart."""
    rules = yaml.safe_load(RULES)
    for group in rules["groups"]:
        right = [rule for rule in group["rules"] if rule["alert"] != mutations[0].alert]
        if len(right) < len(group["rules"]):
            group["rules"] = right + [mutation.rule() for mutation in mutations]
    return rules


def cases_for(mutations: list[Mutation], file: dict[str, Any]) -> dict[str, Any]:
    """The cases of their alert, asked of each as if it were the only one."""
    cases = [case for case in file["tests"] if alert_of(case) == mutations[0].alert]
    for case in cases:
        case["promql_expr_test"] = [
            moment | {"expr": moment["expr"].replace("}", f", {mutation.matcher()}}}")}
            for moment in case["promql_expr_test"]
            for mutation in mutations
        ]
    recording = str(INFRA / "rules/recording.yml")
    return file | {"rule_files": [recording, "alerts.yml"], "tests": cases}


def alert_of(case: dict[str, Any]) -> str:
    return case["name"].split()[0]


@pytest.fixture(scope="module")
def failures(tmp_path_factory) -> dict[str, str]:
    """What promtool says of all mutations of each alert; all at once, for that is quick."""
    found = {}
    for alert in ALERTS:
        folder = tmp_path_factory.mktemp(alert)
        mutations = [each for each in [*UNCHANGED, *MUTATIONS] if each.alert == alert]
        (folder / "alerts.yml").write_text(json.dumps(rules_with(mutations)))  # JSON is YAML
        for name, file in CASES.items():
            (folder / name).write_text(json.dumps(cases_for(mutations, deepcopy(file))))
        result = promtool("test", "rules", *CASES, folder=folder)
        assert result.returncode == 1, "promtool tests what it was given, and something fails"
        found[alert] = result.stdout + result.stderr
    return found


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_a_mistake_in_a_rule_fails_a_case(failures, mutation):
    assert mutation.matcher() in failures[mutation.alert]


@pytest.mark.parametrize("unchanged", UNCHANGED, ids=lambda unchanged: unchanged.alert)
def test_no_mistake_fails_no_case(failures, unchanged):
    assert unchanged.matcher() not in failures[unchanged.alert]


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_a_case_that_fires_one_that_does_not_and_a_runbook(alert):
    cases = [each for file in CASES.values() for each in file["tests"] if alert_of(each) == alert]
    moments = [moment["exp_samples"] for case in cases for moment in case["promql_expr_test"]]
    assert any(f'alertname="{alert}"' in str(samples) for samples in moments)
    assert [] in moments
    assert f"\n### {alert}\n" in (ROOT / "docs/operations.md").read_text()
    assert f"docs/operations.md#{alert.lower()}" in RULES


def test_each_alert_has_all_that_somebody_needs_at_night():
    for word in ("for:", "severity:", "summary:", "description:", "runbook_url:"):
        assert RULES.count(word) == len(ALERTS), word


def test_the_rules_name_only_metrics_that_are_served_or_recorded():
    known = set(re.findall(r"^\| `(\w+)", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
    recording = (INFRA / "rules/recording.yml").read_text()
    known |= set(re.findall(r"- record: (\S+)", recording))
    known |= {"up", "process_start_time_seconds", "telemetry_event_age_seconds_bucket"}
    expressions = recording + RULES
    expressions = re.sub(r"(summary|description|runbook_url): .*", "", expressions)
    named = set(
        re.findall(r"\b(?:\w+:)?(?:telemetry|trades|volume|process)_\w+(?::\w+)?", expressions)
    )
    assert named - known == set()
