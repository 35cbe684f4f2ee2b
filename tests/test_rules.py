"""The rules of Prometheus: well formed, each alert tested both ways, and true to what is served.

What breaks the real thing is in test_alerts.py.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.parts import ROOT, need

INFRA = ROOT / "infra/prometheus"
ALERTS = re.findall(r"- alert: (\w+)", (INFRA / "rules/alerts.yml").read_text())


def promtool(*arguments: str, folder: Path = INFRA) -> subprocess.CompletedProcess[str]:
    need("prometheus", package="prometheus")
    return subprocess.run(
        ["promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def test_every_case_of_every_alert_comes_out():
    result = promtool("test", "rules", "alerts_test.yml", folder=INFRA / "tests")
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_wrong_threshold_fails_the_cases(tmp_path):
    """The cases themselves can fail."""
    shutil.copytree(INFRA, tmp_path / "prometheus")
    rules = tmp_path / "prometheus/rules/alerts.yml"
    rules.write_text(rules.read_text().replace("rate1m > 0.9", "rate1m > 0.7"))
    result = promtool("test", "rules", "alerts_test.yml", folder=tmp_path / "prometheus/tests")
    assert result.returncode != 0


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_a_case_that_fires_one_that_does_not_and_a_runbook(alert):
    cases = (INFRA / "tests/alerts_test.yml").read_text().split("  - name: ")[1:]
    mine = [case for case in cases if case.startswith(f"{alert} ")]
    assert any(f'alertname="{alert}"' in case for case in mine)
    assert any("exp_samples: []" in case for case in mine)
    assert f"\n### {alert}\n" in (ROOT / "docs/operations.md").read_text()
    assert f"docs/operations.md#{alert.lower()}" in (INFRA / "rules/alerts.yml").read_text()


def test_each_alert_has_all_that_somebody_needs_at_night():
    text = (INFRA / "rules/alerts.yml").read_text()
    for word in ("for:", "severity:", "summary:", "description:", "runbook_url:"):
        assert text.count(word) == len(ALERTS), word


def test_the_rules_name_only_metrics_that_are_served_or_recorded():
    known = set(re.findall(r"^\| `(\w+)", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
    recording = (INFRA / "rules/recording.yml").read_text()
    known |= set(re.findall(r"- record: (\S+)", recording))
    known |= {"up", "process_start_time_seconds", "telemetry_event_age_seconds_bucket"}
    expressions = recording + (INFRA / "rules/alerts.yml").read_text()
    expressions = re.sub(r"(summary|description|runbook_url): .*", "", expressions)
    named = set(
        re.findall(r"\b(?:\w+:)?(?:telemetry|trades|volume|process)_\w+(?::\w+)?", expressions)
    )
    assert named - known == set()
