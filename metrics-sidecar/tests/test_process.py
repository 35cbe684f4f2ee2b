"""The console script: settings, clear refusals, clean ends, and nothing at import."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

import metrics_sidecar
from trade_telemetry import Publisher

SCRIPT = Path(sys.executable).with_name("metrics-sidecar")


def run(folder, *arguments, **environment):
    return subprocess.run(
        [SCRIPT, *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("key", "value", "cure"),
    [
        ("SIDECAR_HTTP_PORT", "eight", "write a port from 1 to 65535"),
        ("SIDECAR_HTTP_PORT", "70000", "write a port from 1 to 65535"),
        ("SIDECAR_ZMQ_BIND", "localhost:5555", "write it as tcp://HOST:PORT, with a port"),
        ("SIDECAR_ZMQ_BIND", "tcp://127.0.0.1:99999", "write it as tcp://HOST:PORT, with a port"),
        ("SIDECAR_ZMQ_ACK_BIND", "5556", "write it as tcp://HOST:PORT, with a port"),
        ("SIDECAR_HTTP_HOST", "http://x", "write a host name or an IP address"),
        ("SIDECAR_LOG_FORMAT", "xml", "write auto, console or json"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_the_key_and_the_cure(tmp_path, key, value, cure):
    result = run(tmp_path, **{key: value})
    assert result.returncode == 2
    assert result.stderr.startswith(f"metrics-sidecar: {key}={value!r} cannot be used: {cure}")
    assert len(result.stderr.splitlines()) == 1


def test_a_wrong_setting_in_the_env_file_is_found_too(tmp_path):
    (tmp_path / ".env").write_text("SIDECAR_HTTP_PORT=0\nWEBAPP_HTTP_PORT=8501\n")
    result = run(tmp_path)
    assert result.stderr.startswith("metrics-sidecar: SIDECAR_HTTP_PORT='0' cannot be used")


def test_an_env_file_that_is_not_text_is_one_line(tmp_path):
    (tmp_path / ".env").write_bytes(b"SIDECAR_HTTP_PORT=8001 # \xff\xfe\n")
    result = run(tmp_path)
    assert result.stderr == "metrics-sidecar: .env is not UTF-8 text: save it as UTF-8\n"


@pytest.mark.parametrize("delay_s", [0.0, 0.005, 0.01, 0.02, 0.05])
def test_a_signal_that_comes_right_after_the_start_is_heeded(start_sidecar, delay_s):
    sidecar = start_sidecar(wait=False)
    sidecar.until(lambda: "listening" in sidecar.log_path.read_text())
    time.sleep(delay_s)
    assert sidecar.stop() == 0


def test_it_listens_on_ipv6_too(start_sidecar, free_ports):
    address = f"tcp://[::1]:{free_ports()}"
    sidecar = start_sidecar(SIDECAR_ZMQ_BIND=address)
    with Publisher(address) as publisher:
        publisher.publish("buy", 1)
        sidecar.until(lambda: sidecar.value("trades_total", side="buy") == 1)


@pytest.mark.parametrize("key", ["SIDECAR_ZMQ_BIND", "SIDECAR_ZMQ_ACK_BIND", "SIDECAR_HTTP_PORT"])
def test_a_taken_port_is_one_line_that_names_the_key_to_change(tmp_path, key, free_ports):
    with socket.socket() as taken:
        port = free_ports()
        taken.bind(("127.0.0.1", port))
        taken.listen()
        keys = {
            "SIDECAR_ZMQ_BIND": f"tcp://127.0.0.1:{free_ports()}",
            "SIDECAR_HTTP_PORT": str(free_ports()),
        }
        keys[key] = str(port) if key == "SIDECAR_HTTP_PORT" else f"tcp://127.0.0.1:{port}"
        result = run(tmp_path, **keys)
    assert result.returncode == 2
    assert key in result.stderr
    assert "in use" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(sidecar, number):
    sidecar.process.send_signal(number)
    assert sidecar.process.wait(20) == 0
    assert "Traceback" not in sidecar.log_path.read_text()


def test_the_log_is_json_where_there_is_no_terminal(sidecar):
    sidecar.stop()
    lines = [json.loads(line) for line in sidecar.log_path.read_text().splitlines()]
    assert {"event", "level", "timestamp"} <= set(lines[0])


def test_rejected_input_is_logged_at_a_bounded_rate(sidecar, push):
    for _ in range(5_000):
        push.send(b"rubbish")
    sidecar.until(lambda: sidecar.value("telemetry_rejected_total", reason="malformed") == 5_000)
    sidecar.stop()
    lines = sidecar.log_path.read_text().splitlines()
    told = [json.loads(line) for line in lines if "rejected input" in line]
    assert 1 <= len(told) <= 10
    assert told[-1]["totals"] == {"malformed": 5_000}


def test_help_and_version_are_answered(tmp_path):
    explained = run(tmp_path, "--help").stdout
    assert {"--reload", "backup", "restore"} <= set(explained.split())
    assert "SIDECAR_STATE_DIR" in run(tmp_path, "backup", "--help").stdout
    assert "set aside whole" in " ".join(run(tmp_path, "restore", "--help").stdout.split())
    assert run(tmp_path, "--version").stdout.startswith("metrics-sidecar 0.")


def test_acknowledgements_are_at_the_next_port_unless_another_is_set(start_sidecar, free_ports):
    elsewhere = f"tcp://127.0.0.1:{free_ports()}"
    sidecar = start_sidecar(SIDECAR_ZMQ_ACK_BIND=elsewhere)
    with Publisher(sidecar.zmq_address, ack_address=elsewhere) as publisher:
        publisher.publish("buy", 1)
        assert publisher.close(10) == 0
    default = start_sidecar(SIDECAR_STATE_DIR="")
    with Publisher(default.zmq_address) as publisher:
        publisher.publish("buy", 1)
        assert publisher.close(10) == 0
    assert default.value("telemetry_state_durable") == 0
    assert sidecar.value("telemetry_state_durable") == 1


def test_a_backup_is_made_while_it_runs_and_restored_while_it_does_not(sidecar, push):
    trade = b'{"type":"trade","side":"buy","qty":1,"ts":1}'
    push.send(trade)
    sidecar.until(lambda: sidecar.value("trades_total", side="buy") == 1)
    made = run(sidecar.folder, "backup", "copy.db")
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.startswith("The state is saved in copy.db: 1 trades in ")
    push.send(trade)
    sidecar.until(lambda: sidecar.value("trades_total", side="buy") == 2)
    refused = run(sidecar.folder, "restore", "copy.db")
    assert refused.returncode == 2
    assert "is in use by another sidecar" in refused.stderr
    sidecar.stop()
    restored = run(sidecar.folder, "restore", "copy.db")
    assert (restored.returncode, restored.stderr) == (0, "")
    assert "The state is the one of copy.db: 1 trades in " in restored.stdout
    sidecar.start()
    assert sidecar.value("trades_total", side="buy") == 1


@pytest.mark.parametrize(
    ("arguments", "environment", "line"),
    [
        (["backup", "copy.db"], {}, ".state/metrics-sidecar holds no state: set SIDECAR_STATE_DIR"),
        (["restore", "copy.db"], {}, "copy.db is no file: name a backup"),
        (["backup", "copy.db"], {"SIDECAR_STATE_DIR": ""}, "SIDECAR_STATE_DIR is empty"),
    ],
)
def test_a_copy_that_cannot_be_made_is_one_line(tmp_path, arguments, environment, line):
    result = run(tmp_path, *arguments, **environment)
    assert result.returncode == 2
    assert result.stderr.startswith(f"metrics-sidecar: {line}")
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


IMPORT = """
import os, sys, threading
os.environ["SIDECAR_HTTP_PORT"] = "not a port"
seen = []
events = ("socket.bind", "socket.connect", "sqlite3.connect")
sys.addaudithook(lambda event, args: seen.append(event) if event in events else None)
import metrics_sidecar.main, metrics_sidecar.http_app, metrics_sidecar.exposition
assert threading.active_count() == 1
assert not seen, seen
import prometheus_client
names = {m.name for m in prometheus_client.REGISTRY.collect()}
assert not [name for name in names if name.startswith("telemetry")], names
"""


def test_importing_the_sidecar_starts_opens_and_reads_nothing(tmp_path):
    subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT], check=True, cwd=tmp_path, timeout=30
    )


def test_with_reload_an_edited_source_file_shows_without_a_restart(tmp_path, start_sidecar):
    package = Path(metrics_sidecar.__file__).parent
    copy = tmp_path / "src" / "metrics_sidecar"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    sidecar = start_sidecar("--reload", PYTHONPATH=str(copy.parent))
    assert "Trades counted." in sidecar.get("/metrics").text

    source = copy / "exposition.py"
    source.write_text(source.read_text().replace('"Trades counted."', '"Trades tallied."'))

    def shows_the_edit() -> bool:
        try:
            return "Trades tallied." in sidecar.get("/metrics").text
        except httpx.TransportError:
            return False

    sidecar.until(shows_the_edit)
    assert sidecar.stop() == 0
