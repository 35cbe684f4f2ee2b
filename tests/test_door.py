"""The door: `make apps-up` starts, refuses clearly, and ends with nothing left running."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.parts import ENVIRONMENT, Apps, free_port, until

ROOT = Path(__file__).resolve().parent.parent


def make(target: str, answer: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return run(["make", *target.split()], answer, **environment)


def run(
    command: list[str], answer: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env=ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        input=answer,
    )


APPS = ("metrics-sidecar", "market-engine", "trading-app")


def complaint(result: subprocess.CompletedProcess[str]) -> str:
    """The one line with which a command of tools/apps.py failed."""
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("apps: ")]
    return line.removeprefix("apps: ")


def is_free(url: str) -> bool:
    host, port = url.split("//")[1].split(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.bind((host, int(port))) is None


@pytest.mark.parametrize("target", ["apps-up", "apps-dev"])
def test_a_run_prints_the_addresses_and_ctrl_c_leaves_nothing_running(start_apps, target):
    apps = start_apps(target)
    apps.wait_for("The desk is up.")
    for address in (
        apps.desk_url,
        f"{apps.sidecar_url}/metrics",
        f"{apps.market_url}/docs",
        apps.zmq_address,
    ):
        assert address in apps.output()
    reloads = ["--reload" in apps.app(name).cmdline() for name in APPS]
    assert reloads == [target == "apps-dev"] * 3
    assert apps.press_ctrl_c() == []
    urls = (apps.desk_url, apps.sidecar_url, apps.market_url, apps.zmq_address)
    assert all(is_free(url) for url in urls)
    assert "Traceback" not in apps.output()


def test_apps_that_never_become_healthy_end_the_run_with_an_error(start_apps):
    apps = start_apps(HEALTHY_WITHIN_S="0")
    assert apps.process.wait(30) != 0
    assert (
        "apps: metrics-sidecar and market-engine and trading-app not healthy within 0 s"
        in apps.output()
    )
    assert re.search(r"apps-up\] Error 1$", apps.output(), re.MULTILINE)
    assert until(lambda: apps.family() == [], what="the end of every process")


def test_apps_that_do_not_listen_any_more_are_killed(apps):
    for name in APPS:
        apps.app(name).suspend()
    assert apps.press_ctrl_c() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminal_that_goes_away_ends_the_apps_too(apps, number):
    family = apps.family()
    apps.runner().send_signal(number)
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []


def test_apps_stop_ends_a_run_from_elsewhere_and_says_so(apps):
    family = apps.family()
    result = make("apps-stop", RUN_DIR=apps.run_dir)
    assert (result.returncode, result.stdout) == (0, "apps: stopped\n")
    assert apps.process.wait(10) == 0
    assert psutil.wait_procs(family, timeout=10)[1] == []
    again = make("apps-stop", RUN_DIR=apps.run_dir)
    assert again.stdout == "apps: nothing is running\n"


def test_a_runner_that_is_killed_takes_its_apps_with_it(apps, start_apps):
    family = apps.family()
    apps.runner().kill()
    assert psutil.wait_procs(family, timeout=20)[1] == []
    start_apps(**apps.environment).wait_for("The desk is up.")


def test_what_a_killed_run_left_is_named_by_apps_up_and_ended_by_apps_stop(apps, start_apps):
    left = {apps.app(name) for name in APPS}
    for process in set(apps.family()) - left:
        process.kill()
    refusal = complaint(make("apps-up", **apps.environment))
    assert all(str(process.pid) in refusal for process in left)
    assert refusal.endswith("make apps-stop ends them")
    stopped = make("apps-stop", RUN_DIR=apps.run_dir)
    assert (stopped.returncode, stopped.stdout) == (
        0,
        "apps: stopped what a killed run had left\n",
    )
    assert apps.family() == []
    start_apps(**apps.environment).wait_for("The desk is up.")


def test_a_number_in_a_stale_lock_file_is_never_signalled(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (tmp_path / "apps.lock").write_text(str(stranger.pid))
        assert make("apps-stop", RUN_DIR=str(tmp_path)).stdout == "apps: nothing is running\n"
        held = (
            f"import fcntl, sys; f = open('{tmp_path}/apps.lock', 'a'); fcntl.lockf(f, 2); print()"
        )
        command = [sys.executable, "-c", f"{held}; sys.stdout.flush(); input()"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, **pipes) as holder:
            holder.stdout.readline()
            assert "is locked, not by a run" in complaint(make("apps-stop", RUN_DIR=str(tmp_path)))
            holder.communicate(b"\n")
        assert stranger.poll() is None
        stranger.kill()


def test_another_runs_processes_are_left_alone(apps, tmp_path):
    assert make("apps-stop", RUN_DIR=str(tmp_path)).stdout == "apps: nothing is running\n"
    assert all(apps.app(name).is_running() for name in APPS)


def test_a_second_run_is_refused_with_the_way_to_end_the_first(apps):
    number = apps.runner().pid
    assert complaint(make("apps-up", **apps.environment)) == (
        f"the apps are running already (process {number}): make apps-stop ends them"
    )


def test_one_app_that_dies_ends_the_run_with_an_error(apps):
    family = apps.family()
    apps.app("metrics-sidecar").kill()
    assert apps.process.wait(20) != 0
    assert psutil.wait_procs(family, timeout=10)[1] == []


@pytest.mark.parametrize(
    "key", ["WEBAPP_HTTP_PORT", "SIDECAR_HTTP_PORT", "MARKET_HTTP_PORT", "SIDECAR_ZMQ_BIND"]
)
def test_a_taken_port_is_one_line_that_names_the_key(tmp_path, key):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        value = f"tcp://127.0.0.1:{port}" if key == "SIDECAR_ZMQ_BIND" else str(port)
        result = make("apps-up", RUN_DIR=str(tmp_path), **{key: value})
    assert complaint(result) == (
        f"port {port} is taken: stop what listens there, or set {key} in .env"
    )


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("SIDECAR_HTTP_HOST", "192.0.2.1"),
        ("WEBAPP_HTTP_HOST", "192.0.2.1"),
        ("MARKET_HTTP_HOST", "192.0.2.1"),
        ("WEBAPP_HTTP_HOST", "nosuch.invalid"),
        ("SIDECAR_ZMQ_BIND", "192.0.2.1"),
    ],
)
def test_a_host_that_is_not_this_machine_is_one_line_that_names_the_key(tmp_path, key, host):
    ports = ("WEBAPP_HTTP_PORT", "SIDECAR_HTTP_PORT", "MARKET_HTTP_PORT")
    environment = {name: str(free_port()) for name in ports}
    environment["SIDECAR_ZMQ_BIND"] = f"tcp://127.0.0.1:{free_port()}"
    environment[key] = f"tcp://{host}:{free_port()}" if key == "SIDECAR_ZMQ_BIND" else host
    assert complaint(make("apps-up", RUN_DIR=str(tmp_path), **environment)) == (
        f"{key}={host} is no address of this machine: set {key} in .env"
    )


def test_a_port_that_is_no_port_is_one_line_that_names_the_key(tmp_path):
    result = make("apps-up", RUN_DIR=str(tmp_path), SIDECAR_ZMQ_BIND="tcp://127.0.0.1:99999")
    assert "SIDECAR_ZMQ_BIND" in complaint(result)


def test_settings_that_are_not_utf_8_are_one_line(tmp_path):
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    (tmp_path / ".env").write_bytes(b"WEBAPP_HTTP_HOST=\xff\n")
    result = run([sys.executable, str(tmp_path / "tools/apps.py"), "up"])
    assert complaint(result) == f"{tmp_path}/.env is not UTF-8 text: save it as UTF-8"


@pytest.mark.parametrize("in_the_way", ["run", "run/apps.lock/", "run/apps.log/"])
def test_a_folder_of_the_run_that_cannot_be_written_is_one_line(tmp_path, in_the_way):
    if in_the_way.endswith("/"):
        (tmp_path / in_the_way).mkdir(parents=True)
    else:
        (tmp_path / in_the_way).touch()
    line = complaint(make("apps-up", RUN_DIR=str(tmp_path / "run")))
    assert "cannot be written" in line
    assert line.endswith("set RUN_DIR to a folder that can be")


def test_a_wrong_setting_is_one_line_that_names_the_key(tmp_path):
    result = make("apps-up", RUN_DIR=str(tmp_path), WEBAPP_HTTP_PORT="eighty")
    line = complaint(result)
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


@pytest.fixture
def pretend_checkout(new_checkout):
    """A checkout with nothing to install, and a uv that only makes a link and notes its call."""
    for name in ("trade-telemetry", "metrics-sidecar", "trading-app", "market-engine"):
        (new_checkout / name).mkdir()
        (new_checkout / name / "pyproject.toml").touch()
    (new_checkout / "requirements.lock").touch()
    (new_checkout / ".tools/bin").mkdir(parents=True)
    version = re.search(r"UV_VERSION=(\S+)", (ROOT / "tools/setup.sh").read_text())[1]
    write_program(
        new_checkout / ".tools/bin/uv",
        f"""case "$1" in
            --version) echo uv {version};;
            venv) for last; do :; done; mkdir -p "$last/bin"; ln -sf "$5" "$last/bin/python"
                echo "$5" >>made;;
        esac""",
    )
    return new_checkout


def write_program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_another_python_makes_the_environment_anew_and_the_same_one_does_not(pretend_checkout):
    one, two = (
        write_program(pretend_checkout / name, f"[ $1 != -ISc ] || echo {name}")
        for name in ("one", "two")
    )
    made = pretend_checkout / "made"
    for python, anew in [(one, [one]), (one, []), ("", []), (two, [two]), ("", []), (two, [])]:
        made.write_text("")
        result = set_up(pretend_checkout, python)
        assert (result.returncode, result.stderr) == (0, "")
        assert made.read_text().split() == anew
        assert (result.stdout == "") == (anew == [])
    result = set_up(pretend_checkout, "no-such-python")
    assert result.returncode == 1
    assert result.stderr.startswith("setup: no no-such-python here: ")


def set_up(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    """Run set-up with this PYTHON; with an empty one, as without any."""
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


def test_make_takes_the_python_that_is_asked_for():
    result = make("install", PYTHON="no-such-python")
    assert "setup: no no-such-python here: " in result.stderr
    assert result.returncode != 0


def test_doctor_knows_our_run_from_a_stranger_on_the_same_ports(apps, tmp_path):
    port = apps.desk_url.rpartition(":")[2]
    ours = make("doctor", **apps.environment)
    assert re.search(rf"ok  port {port} .*in use, the apps are up", ours.stdout)
    assert "taken" not in ours.stdout
    other = make("doctor", **apps.environment | {"RUN_DIR": str(tmp_path)})
    assert re.search(rf"NO  port {port} .*is taken: stop what listens there", other.stdout)
    assert "the apps are up" not in other.stdout
    assert other.returncode != 0


def test_doctor_names_a_misspelt_key(tmp_path):
    result = make("doctor", WEBAPP_HTTP_PROT="1", RUN_DIR=str(tmp_path))
    assert "WEBAPP_HTTP_PROT" in result.stdout
    assert "misspelt" in result.stdout


@pytest.fixture
def state(tmp_path):
    """A folder with the totals of somebody, and the keys that lead there."""
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "totals").touch()
    return {"STATE_DIR": str(folder), "RUN_DIR": str(tmp_path / "run")}


def is_kept(state: dict[str, str]) -> bool:
    return (Path(state["STATE_DIR"]) / "totals").exists()


@pytest.mark.parametrize("answer", ["no\n", "y\n", "\n", ""])
def test_reset_state_keeps_everything_without_a_yes(state, answer):
    result = make("reset-state", answer, **state)
    assert f"Delete {state['STATE_DIR']}, " in result.stdout
    assert result.stdout.endswith("nothing was deleted\n")
    assert result.returncode != 0
    assert is_kept(state)


def test_reset_state_deletes_after_a_yes_and_says_when_there_is_nothing(state):
    result = make("reset-state", "yes\n", **state)
    assert result.returncode == 0
    assert result.stdout.endswith(f"deleted {state['STATE_DIR']}\n")
    assert not Path(state["STATE_DIR"]).exists()
    again = make("reset-state", **state)
    assert (again.returncode, again.stdout) == (0, "there is no state to delete\n")


def test_reset_state_refuses_while_the_apps_run(apps, state):
    result = make("reset-state", "yes\n", **state | {"RUN_DIR": apps.run_dir})
    assert complaint(result) == "the apps are running: make apps-stop first"
    assert is_kept(state)


def test_reset_state_refuses_a_folder_that_holds_more_than_state(state):
    result = make("reset-state", "no\n", **state | {"STATE_DIR": str(ROOT)})
    assert "holds more than state" in complaint(result)


def test_logs_follow_a_run_and_show_it_when_it_is_over(apps, tmp_path):
    follower = Apps(tmp_path, "logs", RUN_DIR=apps.run_dir)
    follower.wait_for("sidecar started")
    apps.app("metrics-sidecar").terminate()
    follower.wait_for("sidecar stopped")
    os.killpg(follower.process.pid, signal.SIGINT)
    follower.process.wait(10)
    assert "Traceback" not in follower.output()
    apps.process.wait(20)
    over = make("logs", RUN_DIR=apps.run_dir)
    assert over.returncode == 0
    assert "sidecar started" in over.stdout


def test_logs_without_a_run_say_what_writes_them(tmp_path):
    line = complaint(make("logs", RUN_DIR=str(tmp_path)))
    assert line == "there is no log yet: make apps-up writes one"


def test_open_opens_the_desk(apps):
    opened = make("open", **apps.environment, BROWSER="echo opened %s")
    assert (opened.returncode, opened.stdout) == (0, f"opened {apps.desk_url}\n")


def test_open_says_how_to_start_a_desk_that_does_not_answer(tmp_path):
    port = str(free_port())
    assert complaint(make("open", WEBAPP_HTTP_PORT=port, RUN_DIR=str(tmp_path))) == (
        f"nothing answers at http://127.0.0.1:{port}: start it with make apps-up"
    )
