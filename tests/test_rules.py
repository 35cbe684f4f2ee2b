"""The rules of Prometheus: well formed, each alert tested both ways, and true to what is served."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.parts import ENVIRONMENT, ROOT, fetch, free_port, need, until

from trade_telemetry import Publisher

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


def test_infra_local_scrapes_the_sidecar_and_its_alerts_fire_and_clear(apps, tmp_path):
    """A publisher that is killed: one alert, and no other, until it is heard again."""
    need("prometheus", package="prometheus")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = ENVIRONMENT | apps.environment | {"PROMETHEUS_PORT": str(port)}
    with (tmp_path / "prometheus.log").open("w") as log:
        infra = subprocess.Popen(
            ["make", "infra-local"],
            cwd=ROOT,
            env=environment | {"RUN_DIR": str(tmp_path / "infra")},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until(lambda: '"value":[' in fetch(f"{url}/api/v1/query?query=trades_total"), 60)
        assert firing(url) == set()
        killed = silent_publisher(apps.zmq_address)
        until(lambda: "PublisherSilent" in firing(url), 60, "the alert")
        until(lambda: firing(url) == {"PublisherSilent"}, 30, "only that alert")
        with Publisher(apps.zmq_address, source=killed) as publisher:
            publisher.publish("buy", 1)
            until(lambda: firing(url) == set(), 30, "the end of the alert")
    finally:
        os.killpg(infra.pid, signal.SIGTERM)
        infra.wait(30)


def firing(url: str) -> set[str]:
    """The names of the alerts that fire now."""
    answer = fetch(f"{url}/api/v1/query?query=ALERTS%7Balertstate=%22firing%22%7D")
    return set(re.findall(r'"alertname":"(\w+)"', answer))


def silent_publisher(address: str) -> str:
    """Publish from a process that is then killed, and return the publisher's name."""
    code = "import os, signal, sys, time; from trade_telemetry import Publisher\n"
    code += "p = Publisher(sys.argv[1], source='killed'); p.publish('buy', 1)\n"
    code += "while p.stats().waiting: time.sleep(0.01)\n"
    code += "time.sleep(0.5); os.kill(os.getpid(), signal.SIGKILL)"
    killed = subprocess.run([sys.executable, "-c", code, address], check=False)
    assert killed.returncode == -signal.SIGKILL
    return "killed"
