"""Run the apps of the Procfile together: start, wait for health, say where they are, end cleanly.

Called by the Makefile. Settings come from the apps' own settings files, so that a port is named in
one place. State of a run (lock, log) is in RUN_DIR, by default .run.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import IO, TextIO

from honcho.environ import parse_procfile
from honcho.manager import Manager
from honcho.printer import Printer

from metrics_sidecar.settings import Settings as SidecarSettings
from metrics_sidecar.settings import SettingsError as SidecarSettingsError
from metrics_sidecar.settings import load_settings as load_sidecar
from trading_app.settings import Settings as DeskSettings
from trading_app.settings import SettingsError as DeskSettingsError
from trading_app.settings import load_settings as load_desk

HEALTHY_WITHIN_S = 60.0
STOPPED_WITHIN_S = 20.0
ROOT = Path(__file__).resolve().parent.parent
RUN_DIR = Path(os.environ.get("RUN_DIR", ROOT / ".run"))
LOCK = RUN_DIR / "apps.lock"
LOG = RUN_DIR / "apps.log"


class ProblemError(Exception):
    """Something the user can mend; the message is one line that names the cure."""


class Endpoints:
    """Where the apps will be, by their settings."""

    def __init__(self) -> None:
        try:
            self.sidecar: SidecarSettings = load_sidecar()
            self.desk: DeskSettings = load_desk()
        except (SidecarSettingsError, DeskSettingsError) as error:
            raise ProblemError(str(error)) from None

    @property
    def desk_url(self) -> str:
        """Where a browser finds the desk."""
        return f"http://{_reachable(self.desk.http_host)}:{self.desk.http_port}"

    @property
    def sidecar_url(self) -> str:
        """Where the sidecar serves HTTP."""
        return f"http://{_reachable(self.sidecar.http_host)}:{self.sidecar.http_port}"

    @property
    def health_urls(self) -> dict[str, str]:
        """What answers 200 when an app is healthy, by app."""
        return {
            "metrics-sidecar": f"{self.sidecar_url}/health",
            "trading-app": f"{self.desk_url}/_stcore/health",
        }

    def ports(self) -> list[tuple[str, str, int]]:
        """Each port that must be free, with the key that sets it."""
        found = [
            ("SIDECAR_HTTP_PORT", self.sidecar.http_host, self.sidecar.http_port),
            ("WEBAPP_HTTP_PORT", self.desk.http_host, self.desk.http_port),
        ]
        scheme, _, rest = self.sidecar.zmq_bind.partition("://")
        host, _, port = rest.rpartition(":")
        if scheme == "tcp" and port.isdigit():
            found.append(("SIDECAR_ZMQ_BIND", host.strip("[]"), int(port)))
        return found


def _reachable(host: str) -> str:
    """An address to open in a browser for a host that was bound."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"[{host}]" if ":" in host else host


def _is_taken(host: str, port: int) -> bool:
    host = "0.0.0.0" if host == "*" else host  # noqa: S104 - as ZeroMQ writes it
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def up(*, reload: bool) -> int:
    """Start every app of the Procfile and stay until Ctrl-C, or until one of them ends."""
    endpoints = Endpoints()
    RUN_DIR.mkdir(parents=True, exist_ok=True)
    with LOCK.open("a+") as lock:
        _take(lock)
        for key, host, port in endpoints.ports():
            if _is_taken(host, port):
                raise ProblemError(
                    f"port {port} is taken: stop what listens there, or set {key} in .env"
                )
        with LOG.open("w") as log:
            environment = {"APPS_FLAGS": "--reload" if reload else "", "PYTHONUNBUFFERED": "1"}
            if endpoints.sidecar.log_format == "auto" and sys.stdout.isatty():
                environment["SIDECAR_LOG_FORMAT"] = "console"
            return _run(log, os.environ | environment)


def _run(log: TextIO, environment: dict[str, str]) -> int:
    manager = _Manager(Printer(_Tee(sys.stdout, log)))
    for name, command in parse_procfile((ROOT / "Procfile").read_text()).processes.items():
        manager.add_process(name, command, env=environment, cwd=str(ROOT))
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    announcer = subprocess.Popen([sys.executable, __file__, "announce"])
    try:
        manager.loop()
    finally:
        announcer.terminate()
        announcer.wait()
    asked_to_end = manager.returncode in {128 + signal.SIGINT, 128 + signal.SIGTERM}
    return 0 if asked_to_end else manager.returncode or 1


class _Manager(Manager):  # type: ignore[misc]  # honcho has no types
    """Ends cleanly even when it is asked to in the moment between starting and started."""

    def terminate(self) -> None:
        if self._all_started():
            super().terminate()
        else:
            threading.Timer(0.05, self.terminate).start()


class _Tee:
    """Honcho's output, to the terminal and to the log that ``make logs`` shows."""

    def __init__(self, terminal: TextIO, log: TextIO) -> None:
        self._outputs = (terminal, log)

    def write(self, text: str) -> None:
        for output in self._outputs:
            output.write(text)

    def flush(self) -> None:
        for output in self._outputs:
            output.flush()

    def isatty(self) -> bool:
        return self._outputs[0].isatty() and "NO_COLOR" not in os.environ


def _take(lock: IO[str]) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = LOCK.read_text().strip()
        raise ProblemError(
            f"the apps are running already (process {pid}): make apps-stop ends them"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()


def _running() -> int | None:
    """The process that holds the lock, if any does."""
    if not LOCK.exists():
        return None
    with LOCK.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(LOCK.read_text())
    return None


def announce() -> int:
    """Wait until every app is healthy and print the addresses; else end the run, and say why."""
    endpoints = Endpoints()
    deadline_s = time.monotonic() + HEALTHY_WITHIN_S
    waiting_for = endpoints.health_urls
    parent = os.getppid()
    while waiting_for:
        if time.monotonic() > deadline_s:
            names = " and ".join(waiting_for)
            print(f"apps: {names} not healthy within {HEALTHY_WITHIN_S:.0f} s", file=sys.stderr)
            os.kill(parent, signal.SIGTERM)
            return 1
        if os.getppid() != parent:
            return 1
        waiting_for = {name: url for name, url in waiting_for.items() if not _answers(url)}
        time.sleep(0.1)
    print(
        f"\n  The desk is up.\n\n"
        f"    Trade       {endpoints.desk_url}\n"
        f"    Metrics     {endpoints.sidecar_url}/metrics\n"
        f"    Health      {endpoints.sidecar_url}/health\n"
        f"    Trades to   {endpoints.sidecar.zmq_bind}\n\n"
        f"  Ctrl-C ends it.\n",
        flush=True,
    )
    return 0


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - our own http address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def stop() -> int:
    """End a running ``up`` from another terminal, and wait until nothing of it is left."""
    pid = _running()
    if pid is None:
        print("apps: nothing is running")
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline_s = time.monotonic() + STOPPED_WITHIN_S
    while _running() is not None:
        if time.monotonic() > deadline_s:
            raise ProblemError(f"process {pid} has not ended within {STOPPED_WITHIN_S:.0f} s")
        time.sleep(0.05)
    print("apps: stopped")
    return 0


def logs() -> int:
    """Show the log of the run that is up, and follow it; or the whole log of the last one."""
    if not LOG.exists():
        raise ProblemError("there is no log yet: make apps-up writes one")
    follow = ["-f"] if _running() is not None else []
    try:
        return subprocess.run(["tail", "-n", "200", *follow, str(LOG)], check=False).returncode
    except KeyboardInterrupt:
        return 0


def open_desk() -> int:
    """Open the desk in the browser."""
    endpoints = Endpoints()
    if not _answers(endpoints.health_urls["trading-app"]):
        raise ProblemError(f"nothing answers at {endpoints.desk_url}: start it with make apps-up")
    if not webbrowser.open(endpoints.desk_url):
        print(f"no browser could be opened here: the desk is at {endpoints.desk_url}")
    return 0


def reset_state() -> int:
    """Delete .state after asking; it holds the user's totals."""
    state = ROOT / ".state"
    if not state.exists():
        print("there is no state to delete")
        return 0
    if _running() is not None:
        raise ProblemError("the apps are running: make apps-stop first")
    if input("Delete .state, with every total and journal in it? Type yes: ") != "yes":
        print("nothing was deleted")
        return 1
    shutil.rmtree(state)
    print("deleted .state")
    return 0


def main() -> int:
    """Run one command; 1 with one line when something stands in the way."""
    commands: dict[str, Callable[[], int]] = {
        "up": lambda: up(reload=False),
        "dev": lambda: up(reload=True),
        "announce": announce,
        "stop": stop,
        "logs": logs,
        "open": open_desk,
        "reset-state": reset_state,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=commands)
    os.chdir(ROOT)
    try:
        return commands[parser.parse_args().command]()
    except ProblemError as problem:
        print(f"apps: {problem}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        return 130


if __name__ == "__main__":
    sys.exit(main())
