"""The door: `make apps-up` starts, refuses clearly, and ends with nothing left running."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import stat
import subprocess
from pathlib import Path

import psutil
import pytest
from tests.parts import ENVIRONMENT

ROOT = Path(__file__).resolve().parent.parent


def make(target: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *target.split()],
        cwd=ROOT,
        env=ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def is_free(url: str) -> bool:
    host, port = url.split("//")[1].split(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.bind((host, int(port))) is None


def test_apps_up_prints_the_addresses_and_ctrl_c_leaves_nothing_running(apps):
    for address in (apps.desk_url, f"{apps.sidecar_url}/metrics", apps.zmq_address):
        assert address in apps.output()
    family = apps.family()
    assert {"metrics-sidecar", "trading-app"} <= {
        Path(part).name for process in family for part in process.cmdline()
    }
    apps.press_ctrl_c()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    assert all(is_free(url) for url in (apps.desk_url, apps.sidecar_url, apps.zmq_address))
    assert "Traceback" not in apps.output()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminal_that_goes_away_ends_the_apps_too(apps, number):
    family = apps.family()
    (runner,) = psutil.Process(apps.process.pid).children()
    runner.send_signal(number)
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []


def test_apps_stop_ends_a_run_from_elsewhere_and_says_so(apps):
    family = apps.family()
    result = make("apps-stop", RUN_DIR=apps.environment["RUN_DIR"])
    assert (result.returncode, result.stdout) == (0, "apps: stopped\n")
    assert apps.process.wait(10) == 0
    assert psutil.wait_procs(family, timeout=10)[1] == []
    again = make("apps-stop", RUN_DIR=apps.environment["RUN_DIR"])
    assert again.stdout == "apps: nothing is running\n"


def test_a_second_run_is_refused_with_the_way_to_end_the_first(apps):
    result = make("apps-up", **apps.environment)
    assert "apps: the apps are running already" in result.stderr
    assert "make apps-stop" in result.stderr


def test_one_app_that_dies_ends_the_run_with_an_error(apps):
    family = apps.family()
    sidecars = [process for process in family if ".venv/bin/metrics-sidecar" in process.cmdline()]
    sidecars[0].kill()
    assert apps.process.wait(20) != 0
    assert psutil.wait_procs(family, timeout=10)[1] == []


@pytest.mark.parametrize("key", ["WEBAPP_HTTP_PORT", "SIDECAR_HTTP_PORT", "SIDECAR_ZMQ_BIND"])
def test_a_taken_port_is_one_line_that_names_the_key(tmp_path, key):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        value = f"tcp://127.0.0.1:{port}" if key == "SIDECAR_ZMQ_BIND" else str(port)
        result = make("apps-up", RUN_DIR=str(tmp_path), **{key: value})
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("apps:")]
    assert line == f"apps: port {port} is taken: stop what listens there, or set {key} in .env"
    assert result.returncode != 0


def test_a_wrong_setting_is_one_line_that_names_the_key(tmp_path):
    result = make("apps-up", RUN_DIR=str(tmp_path), WEBAPP_HTTP_PORT="eighty")
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("apps:")]
    assert "WEBAPP_HTTP_PORT" in line
    assert "1 to 65535" in line


@pytest.fixture
def new_checkout(tmp_path):
    """What set-up needs, in a folder without an environment."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/setup.sh", tmp_path / "tools")
    return tmp_path


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 1", "is too old: install Python 3.11 or newer"),
        ('case "$2" in *ensurepip*) exit 1;; esac', "apt-get install python3-venv"),
    ],
)
def test_a_python_that_will_not_do_is_one_line_with_the_cure(new_checkout, script, message):
    python = new_checkout / "python3"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && {{ echo Python 3.9.2; exit; }}\n{script}\n'
    )
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    result = set_up(new_checkout, str(python))
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_no_python_at_all_is_one_line_with_the_cure(new_checkout):
    result = set_up(new_checkout, "no-such-python")
    assert result.stderr == (
        "setup: no no-such-python here: install Python 3.11 or newer, "
        "or say where it is with PYTHON=/path/to/python3\n"
    )


def set_up(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "tools/setup.sh", "install"],
        cwd=folder,
        env=ENVIRONMENT | {"PYTHON": python},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_make_alone_lists_every_target_with_what_it_does():
    listed = make("").stdout
    assert listed == make("help").stdout
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"apps-up", "test", "doctor", "reset-state"} <= set(targets)
    for target in targets:
        assert re.search(rf"^  make {target} +\S", listed, re.MULTILINE), target


def test_install_does_nothing_when_nothing_changed():
    result = make("install")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_doctor_names_a_misspelt_key(tmp_path):
    result = make("doctor", WEBAPP_HTTP_PROT="1", RUN_DIR=str(tmp_path))
    assert "WEBAPP_HTTP_PROT" in result.stdout
    assert "misspelt" in result.stdout


def test_reset_state_asks_and_keeps_everything_without_a_yes(tmp_path):
    state = ROOT / ".state"
    had_state = state.exists()
    result = make("reset-state")
    assert state.exists() == had_state
    assert result.returncode == (2 if had_state else 0)
