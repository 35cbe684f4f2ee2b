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
from tests.boards import selectors
from tests.parts import ROOT, need

INFRA = ROOT / "infra/prometheus"
NAMES = ("alerts", "market_alerts", "paper_alerts")
FILES = {name: (INFRA / f"rules/{name}.yml").read_text() for name in NAMES}
RULES = "".join(FILES.values())
ALERTS = re.findall(r"- alert: (\w+)", FILES["alerts"])
MARKET_ALERTS = re.findall(r"- alert: (\w+)", FILES["market_alerts"])
PAPER_ALERTS = re.findall(r"- alert: (\w+)", FILES["paper_alerts"])
ALL_ALERTS = ALERTS + MARKET_ALERTS + PAPER_ALERTS
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
        text = re.split(r"^(?: +- |#)", after, maxsplit=1, flags=re.MULTILINE)[0]
        assert text.count(self.text) == 1, f"{self} does not apply"
        rule = yaml.safe_load(text.replace(self.text, self.replacement))
        return rule | {"alert": self.alert, "labels": rule["labels"] | {"mutation": self.label()}}

    def label(self) -> str:
        return f"m{[*UNCHANGED, *MUTATIONS].index(self)}"

    def matcher(self) -> str:
        """Selects what this mutation fires, and what the other alerts do."""
        return f"mutation=~'|{self.label()}'"


OURS = '{job="metrics-sidecar"}'
MARKET = '{job="market-engine"}'
OF_DESK = f'{OURS[:-1]}, publisher="paper-desk"}}'
UP = f"telemetry_receiver_up{OURS}"
RECEIVED = f"instance:telemetry_received:known{OURS}"
LEVELS = (
    "instance:telemetry_",
    "instance:telemetry_state_",
    "instance_reason:telemetry_",
    "instance_publisher_reason:telemetry_publisher_",
)


def wrong_durations() -> list[Mutation]:
    """Each alert a second too early, and a second too late."""
    rules = [
        rule
        for text in FILES.values()
        for group in yaml.safe_load(text)["groups"]
        for rule in group["rules"]
    ]
    right_s = {rule["alert"]: int(rule["for"].removesuffix("s")) for rule in rules}
    return [
        Mutation(alert, f"for: {right_s[alert]}s", f"for: {wrong_s}s")
        for alert in ALL_ALERTS
        for wrong_s in (right_s[alert] - 1, right_s[alert] + 1)
        if wrong_s >= 0
    ]


def wrong_growths(alert: str, name: str, then: str = "\n") -> list[Mutation]:
    """The comparison of a count with what was known of it a minute ago, made wrong in each way."""
    some = f"{name}_total{OURS} > 0{then}"
    wrong = [
        Mutation(alert, some, some.replace("> 0", ">= 0")),
        Mutation(alert, some, some.replace("> 0", "> 1")),
    ]
    if then.endswith("and"):
        return wrong
    known = f"{name}:known{OURS} offset 1m"
    return [
        *wrong,
        Mutation(alert, known, known.replace("1m", "30s")),
        Mutation(alert, known, known.replace("1m", "2m")),
        *(
            Mutation(alert, f"== {level}{known}", f"{comparison} {level}{known}")
            for level in LEVELS
            for comparison in (">=", "<=")
            if f"== {level}{known}" in RULES
        ),
    ]


UNCHANGED = [Mutation(alert, "for:", "for:") for alert in ALL_ALERTS]
MUTATIONS = [
    *wrong_durations(),
    Mutation("SidecarDown", "== 0", "== 1"),
    Mutation("SidecarNotScraped", f"up{OURS}", "up"),
    Mutation("SidecarNotScraped", ", instance: (none)", ""),
    Mutation("ReceiverStalled", "== 0", "== 1"),
    Mutation("ReceiverStalled", "> 2", ">= 2"),
    Mutation("ReceiverStalled", "> 2", "> 2.2"),
    Mutation("ReceiverStalled", "on (job, instance)", "on (job)"),
    Mutation("SidecarRestarted", "< 60", "< 59"),
    Mutation("SidecarRestarted", "< 60", "< 61"),
    Mutation("SidecarRestarted", "> min", ">= min"),
    Mutation("SidecarRestarted", "[1h]", "[50m]"),
    Mutation("SidecarRestarted", "[1h]", "[2h]"),
    Mutation("SidecarSaturated", "> 0.9", "> 0.88"),
    Mutation("SidecarSaturated", "> 0.9", "> 0.92"),
    Mutation("StateNotWritten", "== 0", "== 1"),
    Mutation("StateNotWritten", "<= 2", "< 2"),
    Mutation("StateNotWritten", "<= 2", "<= 2.1"),
    Mutation("StateNotWritten", "on (job, instance)", "on (job)"),
    Mutation("StateNotWritten", "[1m]) > 0", "[1m]) >= 0"),
    Mutation("StateNotWritten", "[1m]) > 0", "[1m]) > 2"),
    Mutation("StateNotWritten", "[1m]", "[50s]"),
    Mutation("StateNotWritten", "[1m]", "[70s]"),
    *wrong_growths("StateSetAside", "set_aside", then="\n          unless"),
    *wrong_growths("StateSetAside", "set_aside", then="\n          and"),
    *wrong_growths("StateSetAside", "rewritten"),
    Mutation("StateSetAside", f"< {RECEIVED}", f"<= {RECEIVED}"),
    Mutation("StateSetAside", f"< {RECEIVED}", f"< -1 + {RECEIVED}"),
    Mutation("StateSetAside", f"{RECEIVED} offset 1m", f"{RECEIVED} offset 30s"),
    Mutation("StateSetAside", f"{RECEIVED} offset 1m", f"{RECEIVED} offset 2m"),
    Mutation("DiskNearlyFull", "< 512 * 1024 * 1024", "<= 512 * 1024 * 1024"),
    Mutation("DiskNearlyFull", "< 512 * 1024 * 1024", "< 512 * 1024 * 1024 - 1"),
    Mutation("DiskNearlyFull", "== 1", ">= 0"),
    Mutation("DiskNearlyFull", "on (job, instance)", "on (job)"),
    *wrong_growths("InputRejected", "rejected"),
    *(
        Mutation("AccountingResidue", f"{name}{OURS} != 0", f"{name}{OURS} {wrong}")
        for name in (
            "publisher_residue",
            "publisher_unexplained:difference",
            "received_unexplained:difference",
            "trades_unexplained:difference",
        )
        for wrong in ("> 0", "< 0", "!= 1")
    ),
    *wrong_growths("EventsLost", "lost"),
    *wrong_growths("TradesRefused", "refused"),
    *wrong_growths("PublishersTurnedAway", "turned_away"),
    Mutation("PublisherSilent", "> 10", "> 9"),
    Mutation("PublisherSilent", "> 10", "> 11"),
    Mutation("PublisherSilent", f"open{OURS} == 1", f"open{OURS} == 0"),
    Mutation("PublisherSilent", "on (job, instance, publisher)", "on (job, instance)"),
    Mutation("PublisherSilent", "on (job, instance, publisher)", "on (job, publisher)"),
    Mutation("PublisherSilent", f"receiver_up{OURS} == 1", f"receiver_up{OURS} == 0"),
    Mutation("PublisherSilent", f"on (job, instance) {UP} == 1", f"on (job) {UP} == 1"),
    Mutation("PublisherSilent", f"on (job, instance) {UP} offset", f"on (job) {UP} offset"),
    Mutation("PublisherSilent", "offset 10s == 1", "offset 10s == 0"),
    Mutation("PublisherSilent", "offset 10s", "offset 9s"),
    Mutation("PublisherSilent", "offset 10s", "offset 11s"),
    Mutation("DeliveryStuck", "[30s]) > 0", "[30s]) >= 0"),
    Mutation("DeliveryStuck", "[30s]) > 0", "[30s]) > 41"),
    Mutation("DeliveryStuck", "[30s]", "[20s]"),
    Mutation("DeliveryStuck", "[30s]", "[40s]"),
    Mutation("DeliveryStuck", ">= tele", "> tele"),
    Mutation("DeliveryStuck", ">= tele", "<= tele"),
    Mutation("DeliveryStuck", "offset 30s", "offset 20s"),
    Mutation("DeliveryStuck", "offset 30s", "offset 40s"),
    Mutation("DeliveryStuck", "on (job, instance, publisher)", "on (job, instance)"),
    Mutation("DeliveryStuck", "<= 10", "<= 9"),
    Mutation("DeliveryStuck", "<= 10", "<= 11"),
    Mutation("DeliveryLagHigh", "> 1", "> 0.9"),
    Mutation("DeliveryLagHigh", "> 1", "> 1.2"),
    Mutation("MarketEngineDown", "== 0", "== 1"),
    Mutation("MarketEngineDown", 'job="market-engine"', 'job=~".+"'),
    Mutation("MarketStoreFailing", "[1m]) > 0", "[1m]) >= 0"),
    Mutation("MarketStoreFailing", "[1m]) > 0", "[1m]) > 2"),
    Mutation("MarketStoreFailing", "[1m]", "[50s]"),
    Mutation("MarketStoreFailing", "[1m]", "[70s]"),
    Mutation("MarketStoreFailing", "> 5", ">= 5"),
    Mutation("MarketStoreFailing", "> 5", "> 5.2"),
    Mutation("MarketStreamClientsDropped", "> 0", ">= 0"),
    Mutation("MarketStreamClientsDropped", "> 0", "> 2"),
    Mutation("MarketStreamClientsDropped", "[1m]", "[50s]"),
    Mutation("MarketStreamClientsDropped", "[1m]", "[70s]"),
    Mutation("MarketFeedDisconnected", f"connected{MARKET} == 0", f"connected{MARKET} == 1"),
    Mutation(
        "MarketFeedDisconnected", f"connects_total{MARKET} == 0", f"connects_total{MARKET} == 2"
    ),
    Mutation(
        "MarketFeedDisconnected", f"connects_total{MARKET} == 0", f"connects_total{MARKET} >= 0"
    ),
    Mutation("MarketFeedDisconnected", f"running{MARKET} == 0", f"running{MARKET} == 2"),
    Mutation("MarketFeedDisconnected", f"running{MARKET} == 0", f"running{MARKET} >= 0"),
    Mutation(
        "MarketFeedDisconnected",
        f"and on (job, instance) market_feed_connects_total{MARKET})",
        f"and on (job) market_feed_connects_total{MARKET})",
    ),
    Mutation("MarketFeedDisconnected", f"open{MARKET} == 1", f"open{MARKET} >= 0"),
    Mutation(
        "MarketFeedDisconnected",
        "and on (job, instance) market_schedule",
        "and on (job) market_schedule",
    ),
    Mutation("MarketFeedGap", "> 0", ">= 0"),
    Mutation("MarketFeedGap", "> 0", "> 1"),
    Mutation("MarketSymbolStale", "== 1", "== 0"),
    Mutation("MarketSymbolStale", ', state="stale"', ""),
    Mutation("MarketSymbolStale", f"connected{MARKET} == 0", f"connected{MARKET} == 2"),
    Mutation("MarketSymbolStale", f"connected{MARKET} == 0", f"connected{MARKET} >= 0"),
    Mutation("MarketSymbolStale", "on (job, instance)", "on (job)"),
    Mutation("MarketClockSkew", '"}[1m]) > 0\n', '"}[1m]) >= 0\n'),
    Mutation("MarketClockSkew", '"}[1m]) > 0\n', '"}[1m]) > 2\n'),
    Mutation("MarketClockSkew", '"clock_skew"}[1m]', '"clock_skew"}[50s]'),
    Mutation("MarketClockSkew", '"clock_skew"}[1m]', '"clock_skew"}[70s]'),
    Mutation("MarketClockSkew", '"clock_skew"} > 0', '"clock_skew"} >= 0'),
    Mutation("MarketClockSkew", '"clock_skew"} > 0', '"clock_skew"} > 1'),
    Mutation("MarketClockSkew", "offset 1m", "offset 50s"),
    Mutation("MarketClockSkew", "offset 1m", "offset 70s"),
    Mutation("MarketClockSkew", '"future"}[1m])) > 0', '"future"}[1m])) >= 0'),
    Mutation("MarketClockSkew", '"future"}[1m])) > 0', '"future"}[1m])) > 2'),
    Mutation("MarketClockSkew", ', reason="future"', ""),
    Mutation("MarketFeedMalformed", "[1m]) > 0", "[1m]) >= 0"),
    Mutation("MarketFeedMalformed", "[1m]) > 0", "[1m]) > 2"),
    Mutation("MarketFeedMalformed", "[1m]", "[50s]"),
    Mutation("MarketFeedMalformed", "[1m]", "[70s]"),
    Mutation("MarketFeedMalformed", '"} > 0', '"} >= 0'),
    Mutation("MarketFeedMalformed", '"} > 0', '"} > 1'),
    Mutation("MarketFeedMalformed", 'future"}[1m]', '"}[1m]'),
    Mutation("MarketFeedMalformed", 'future"} >', '"} >'),
    Mutation("MarketFeedMalformed", "offset 1m", "offset 50s"),
    Mutation("MarketFeedMalformed", "offset 1m", "offset 70s"),
    Mutation("MarketLagHigh", "> 1", "> 0.9"),
    Mutation("MarketLagHigh", "> 1", "> 1.2"),
    *(
        Mutation("PortfolioResidue", f"{name}{MARKET} != 0", f"{name}{MARKET} {wrong}")
        for name in ("portfolio_residue", "portfolio_residue_worst")
        for wrong in ("> 0", "< 0", "> 1e-12")
    ),
    Mutation("PaperDeskNotStored", "> 0", ">= 0"),
    Mutation("PaperDeskNotStored", "> 0", "> 2"),
    Mutation("PaperDeskNotStored", "[1m]", "[50s]"),
    Mutation("PaperDeskNotStored", "[1m]", "[70s]"),
    Mutation("PaperTelemetryMismatch", "> on ()", ">= on ()"),
    Mutation("PaperTelemetryMismatch", "> on ()", "< on ()"),
    Mutation("PaperTelemetryMismatch", "< on ()", "<= on ()"),
    Mutation("PaperTelemetryMismatch", "< on ()", "> on ()"),
    Mutation("PaperTelemetryMismatch", f"fills{MARKET} offset 30s)", f"fills{MARKET})"),
    Mutation(
        "PaperTelemetryMismatch", f"applied_total{OF_DESK} offset 30s", f"applied_total{OF_DESK}"
    ),
    Mutation("PaperTelemetryMismatch", f"fills{MARKET} offset", f"published{MARKET} offset"),
    Mutation("PaperTelemetryMismatch", f"fills{MARKET})", f"published{MARKET})"),
    Mutation("PaperTelemetryMismatch", f"applied_total{OF_DESK})", f"applied_total{OURS})"),
    Mutation(
        "PaperTelemetryMismatch", f"applied_total{OF_DESK} offset", f"applied_total{OURS} offset"
    ),
    Mutation("PaperTelemetryMismatch", f"received_total{OURS}) * 0", f"received_total{OURS}) * 1"),
    Mutation("PaperTelemetryMismatch", f"or sum (telemetry_received_total{OURS}) * 0", ""),
    Mutation(
        "PaperTelemetryMismatch",
        f"telemetry_waiting{MARKET}[30s])) > 0",
        f"telemetry_waiting{MARKET}[30s])) > 1",
    ),
    Mutation(
        "PaperTelemetryMismatch",
        f"telemetry_waiting{MARKET}[30s])) > 0",
        f"telemetry_waiting{MARKET}[30s])) >= 0",
    ),
    Mutation(
        "PaperTelemetryMismatch",
        f"telemetry_waiting{MARKET}[30s]",
        f"telemetry_waiting{MARKET}[5s]",
    ),
    Mutation(
        "PaperTelemetryMismatch",
        f"publisher_waiting{OF_DESK}[30s])) > 0",
        f"publisher_waiting{OF_DESK}[30s])) > 1",
    ),
    Mutation(
        "PaperTelemetryMismatch",
        f"publisher_waiting{OF_DESK}[30s])) > 0",
        f"publisher_waiting{OF_DESK}[30s])) >= 0",
    ),
    Mutation(
        "PaperTelemetryMismatch",
        f"publisher_waiting{OF_DESK}[30s]",
        f"publisher_waiting{OF_DESK}[5s]",
    ),
    Mutation("PaperTelemetryMismatch", f"residue{MARKET} != 0", f"residue{MARKET} > 0"),
    Mutation("PaperTelemetryMismatch", f"residue{MARKET} offset 30s != 0", f"residue{MARKET} != 0"),
    Mutation("PaperTelemetryMismatch", ", instance: (none)", ""),
    Mutation("PaperTelemetryStuck", f"published{MARKET} <", f"published{MARKET} <="),
    Mutation("PaperTelemetryStuck", f"published{MARKET} <", f"published{MARKET} >"),
    Mutation("PaperTelemetryStuck", "offset 10m", "offset 590s"),
    Mutation("PaperTelemetryStuck", "offset 10m", "offset 601s"),
    Mutation("PaperTelemetryStuck", f"fills{MARKET} offset 10m", f"fills{MARKET}"),
    Mutation("PaperTelemetryStuck", f"and portfolio_telemetry_waiting{MARKET} > 0", ""),
    Mutation("PaperTelemetryStuck", f"waiting{MARKET} > 0", f"waiting{MARKET} > 1"),
    Mutation("PaperTelemetryStuck", f"waiting{MARKET} > 0", f"waiting{MARKET} >= 0"),
    Mutation("PaperDailyLoss", "> 0", ">= 0"),
    Mutation("PaperDailyLoss", "> 0", "> 2"),
    Mutation("PaperDailyLoss", "[1m]", "[50s]"),
    Mutation("PaperDailyLoss", "[1m]", "[70s]"),
    Mutation("PaperDailyLoss", ', reason="max_daily_loss"', ""),
    Mutation("PaperTradingHalted", "== 1", "== 0"),
    Mutation("PaperTradingHalted", "halted|flatten", "halted"),
    Mutation("PaperTradingHalted", "halted|flatten", "flatten"),
    Mutation("PaperTradingHalted", "halted|flatten", "halted|flatten|reducing"),
]


def rules_with(mutations: list[Mutation]) -> dict[str, Any]:
    """All the rules, with these in the place of their alert; a label tells them apart."""
    groups = [group for text in FILES.values() for group in yaml.safe_load(text)["groups"]]
    rules = {"groups": groups}
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
    recording = [str(INFRA / f"rules/{name}.yml") for name in ("recording", "market_recording")]
    return file | {"rule_files": [*recording, "alerts.yml"], "tests": cases}


def alert_of(case: dict[str, Any]) -> str:
    return case["name"].split()[0]


@pytest.fixture(scope="module")
def failures(tmp_path_factory) -> dict[str, str]:
    """What promtool says of all mutations of each alert; all at once, for that is quick."""
    found = {}
    for alert in ALL_ALERTS:
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


@pytest.mark.parametrize("alert", ALL_ALERTS)
def test_an_alert_has_a_case_that_fires_one_that_does_not_and_a_runbook(alert):
    cases = [each for file in CASES.values() for each in file["tests"] if alert_of(each) == alert]
    moments = [moment["exp_samples"] for case in cases for moment in case["promql_expr_test"]]
    assert any(f'alertname="{alert}"' in str(samples) for samples in moments)
    assert [] in moments
    assert f"\n### {alert}\n" in (ROOT / "docs/operations.md").read_text()
    assert f"docs/operations.md#{alert.lower()}" in RULES


def test_each_alert_has_all_that_somebody_needs_at_night():
    for word in ("for:", "severity:", "summary:", "description:", "runbook_url:"):
        assert RULES.count(word) == len(ALL_ALERTS), word


def test_what_is_known_of_a_counter_is_what_is_served_or_else_what_was_known():
    """The cases prove the form of it with EventsLost; here, that all have that form."""
    recording = yaml.safe_load((INFRA / "rules/recording.yml").read_text())["groups"]
    (known,) = [group["rules"] for group in recording if group["name"] == "known"]
    for rule in known:
        name = rule["record"]
        metric = name.split(":")[1]
        assert rule["expr"] == f"{metric}_total or ({name} and on (job, instance) up)"
        assert f"{name}{OURS} offset 1m" in RULES


def test_the_rules_name_only_metrics_that_are_served_or_recorded():
    known = set(re.findall(r"^\| `(\w+)", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
    names = ("recording", "market_recording")
    recording = "".join((INFRA / f"rules/{name}.yml").read_text() for name in names)
    known |= set(re.findall(r"- record: (\S+)", recording))
    known |= {"up", "process_start_time_seconds", "telemetry_event_age_seconds_bucket"}
    known |= {"market_feed_lag_seconds_bucket"}
    expressions = recording + RULES
    expressions = re.sub(r"(summary|description|runbook_url): .*", "", expressions)
    named = set(
        re.findall(
            r"\b(?:\w+:)?(?:telemetry|trades|volume|process|market|portfolio)_\w+(?::\w+)?",
            expressions,
        )
    )
    assert named - known == set()


def test_a_rule_of_one_job_asks_for_nothing_of_the_other():
    """But for the one that compares what both have of the paper desk."""
    for name, text in FILES.items():
        own, other = (OURS, MARKET) if name == "alerts" else (MARKET, OURS)
        one = re.sub(r"(?s)- alert: PaperTelemetryMismatch.*?(?=- alert)", "", text)
        assert other[1:-1] not in one
        for group in yaml.safe_load(one)["groups"]:
            for rule in group["rules"]:
                for selector in selectors(rule["expr"]):
                    is_own = own[1:-1] in str(selector)
                    assert is_own or re.match(r"instance:telemetry_\w+:\w+$", selector.name)
