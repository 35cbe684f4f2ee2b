"""The documents say what is: metrics, reasons, settings, links, figures."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import zmq
from prometheus_client.parser import text_string_to_metric_families
from tests.parts import fetch, until

from trade_telemetry import Publisher, RejectReason
from trade_telemetry.benchmark_messages import (
    Benchmark,
    BenchmarkLatency,
    BenchmarkStatus,
    BenchmarkTotals,
)
from trade_telemetry.messages import encode

ROOT = Path(__file__).resolve().parent.parent
TRACKED = subprocess.run(
    ["git", "ls-files", "-co", "--exclude-standard"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
).stdout.splitlines()
PAGES = [path for path in TRACKED if path.endswith(".md")]


def read(path: str) -> str:
    return (ROOT / path).read_text()


def test_the_page_of_metrics_names_each_one_that_is_served_and_no_other(apps):
    with Publisher(apps.zmq_address, source="bot") as publisher:
        publisher.publish("buy", 1, symbol="BTCUSDT")
    tell_of_a_benchmark(apps.zmq_address)
    until(lambda: "benchmarks_total 2.0" in fetch(f"{apps.sidecar_url}/metrics"))
    with urllib.request.urlopen(f"{apps.sidecar_url}/metrics") as answer:
        text = answer.read().decode()
    served = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith(("process_", "python_")):
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        served[name] = (family.type, labels)
    page = read("docs/metrics.md").split("## The market engine")[0]  # proven in test_market_board
    rows = re.findall(r"^\| `(\w+)(?:\{([\w,]+)\})?` \| (\w+) \|", page, re.M)
    written = {name: (kind, set(labels.split(",")) - {""}) for name, labels, kind in rows}
    assert written == served


def tell_of_a_benchmark(address):
    """With a figure of each kind."""
    figures = {f"a_{unit}": 1.0 for unit in ("ratio", "seconds", "per_second", "bytes")}
    found = (BenchmarkTotals(1, 1, 0), BenchmarkLatency(1, *[1e-6] * 7), figures)
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.connect(address)
        push.send(encode(BenchmarkStatus("suite", "suite", 1.0, "completed")))
        push.send(encode(Benchmark("suite", "burst", 1.0, {}, *found)))


def test_the_page_of_the_contract_names_each_reason_and_no_other():
    section = read("docs/message-contract.md").split("## Reasons for a rejection")[1]
    names = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    written = {name for cell in names for name in re.findall(r"`(\w+)`", cell)}
    assert written == {str(reason) for reason in RejectReason}


def test_the_sample_of_the_settings_names_each_key_with_its_default():
    from tools.infra_settings import Settings as Infra  # noqa: PLC0415

    from market_engine.settings import Settings as Market  # noqa: PLC0415 - named alike
    from metrics_sidecar.settings import Settings as Sidecar  # noqa: PLC0415
    from trading_app.settings import Settings as Desk  # noqa: PLC0415

    written = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", read(".env.sample"), re.MULTILINE))
    expected = {}
    for settings in (Sidecar, Desk, Market, Infra):
        for name, field in settings.model_fields.items():
            prefix = settings.model_config.get("env_prefix", "")
            default = field.default
            if hasattr(default, "get_secret_value"):
                default = default.get_secret_value()
            text = (
                ""
                if default in (None, ())
                else f"{default:g}"
                if (isinstance(default, float))
                else str(default)
            )
            expected[str(field.validation_alias or f"{prefix}{name}".upper())] = text
    for key in ("SIDECAR_COMMIT", "MARKET_COMMIT"):
        del expected[key]  # set by the Makefile, not by people
    assert written == expected


@pytest.mark.parametrize("page", PAGES)
def test_every_link_within_the_project_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", read(page)):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), target


def test_every_target_that_the_documents_name_exists():
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    for page in set(PAGES) - {"TODO.md"}:  # the roadmap names what is to come
        named = set(re.findall(r"`make ([a-z-]+)", read(page)))
        assert named <= targets, page


def test_source_files_stay_small_enough_to_read():
    for path in TRACKED:
        if path.endswith(".py") and "/src/" in path:
            assert len(read(path).splitlines()) <= 320, path


def test_the_example_for_a_bot_runs_and_is_counted(apps, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # its journal is below the working directory
    (example,) = re.findall(r"```python\n(.*?)```", read("README.md"), re.DOTALL)
    exec(example.replace("tcp://127.0.0.1:5555", apps.zmq_address), {})
    assert "published=1" in capsys.readouterr().out
    until(lambda: '"my-bot"' in fetch(f"{apps.sidecar_url}/api/summary"))


def test_the_example_without_the_library_runs_and_is_counted(apps):
    (example,) = re.findall(r"```python\n(.*?)```", read("docs/message-contract.md"), re.DOTALL)
    code = example.replace("tcp://127.0.0.1:5555", apps.zmq_address)
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
    until(lambda: '"untracked":1' in fetch(f"{apps.sidecar_url}/api/summary"))
