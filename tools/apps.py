"""Run the apps of the Procfile together: start, wait for health, say where they are, end cleanly.

Called by the Makefile. Settings come from the apps' own settings files, so that a port is named in
one place. State of a run (lock, log) is in RUN_DIR, by default .run. Every app of a run has that
folder in its environment as APPS_RUN, so that it is found even when its runner was killed.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import os
import re
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
from typing import Any, NamedTuple, TextIO

import psutil
from honcho.environ import parse_procfile
from honcho.manager import Manager
from honcho.printer import Printer
from honcho.process import Process

from metrics_sidecar.settings import Settings as SidecarSettings
from metrics_sidecar.settings import SettingsError as SidecarSettingsError
from metrics_sidecar.settings import load_settings as load_sidecar
from trading_app.settings import Settings as DeskSettings
from trading_app.settings import SettingsError as DeskSettingsError
from trading_app.settings import load_settings as load_desk

STOPPED_WITHIN_S = 20.0
KILLED_AFTER_S = 5.0
ROOT = Path(__file__).resolve().parent.parent
RUN_DIR = (ROOT / (os.environ.get("RUN_DIR") or ".run")).resolve()
STATE_DIR = (ROOT / (os.environ.get("STATE_DIR") or ".state")).resolve()
LOCK = RUN_DIR / "apps.lock"
LOG = RUN_DIR / "apps.log"


class ProblemError(Exception):
    """Something the user can mend; the message is one line that names the cure."""


class Listener(NamedTuple):
    """Where an app will listen, and the keys that say so."""

    host: str
    port: int
    host_key: str
    port_key: str


class Obstacle(NamedTuple):
    """What keeps an app from listening, as one line with the cure."""

    cure: str
    is_taken: bool = False


class Endpoints:
    """Where the apps will be, by their settings."""

    def __init__(self) -> None:
        try:
            self.desk: DeskSettings = load_desk()
            self.sidecar: SidecarSettings = load_sidecar()
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

    def listeners(self) -> list[Listener]:
        """Each port that must be free."""
        sidecar, desk = self.sidecar, self.desk
        found = [
            Listener(
                sidecar.http_host, sidecar.http_port, "SIDECAR_HTTP_HOST", "SIDECAR_HTTP_PORT"
            ),
            Listener(desk.http_host, desk.http_port, "WEBAPP_HTTP_HOST", "WEBAPP_HTTP_PORT"),
        ]
        bind = re.fullmatch(r"tcp://\[?(.+?)\]?:([0-9]{1,5})", sidecar.zmq_bind)
        if bind and bind[1] not in {name for _, name in socket.if_nameindex()}:
            key = "SIDECAR_ZMQ_BIND"
            found.append(Listener(bind[1], int(bind[2]), key, key))
        return found


def _reachable(host: str) -> str:
    """An address to open in a browser for a host that was bound."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"[{host}]" if ":" in host else host


def obstacle(listener: Listener) -> Obstacle | None:
    """Try to listen there; None when nothing stands in the way."""
    try:
        _try_to_listen(listener.host, listener.port)
    except (OSError, UnicodeError) as error:
        return _obstacle(listener, error)
    return None


def _try_to_listen(host: str, port: int) -> None:
    host = "0.0.0.0" if host == "*" else host  # noqa: S104 - as ZeroMQ writes it
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _obstacle(listener: Listener, error: OSError | UnicodeError) -> Obstacle:
    reason = error.errno if isinstance(error, OSError) else None
    host, port, host_key, port_key = listener
    if reason == errno.EADDRINUSE:
        cure = f"port {port} is taken: stop what listens there, or set {port_key} in .env"
        return Obstacle(cure, is_taken=True)
    if reason in {errno.EACCES, errno.EPERM}:
        return Obstacle(f"port {port} is not for every user: set {port_key} above 1023 in .env")
    return Obstacle(f"{host_key}={host} is no address of this machine: set {host_key} in .env")


def up(*, reload: bool) -> int:
    """Start every app of the Procfile and stay until Ctrl-C, or until one of them ends."""
    endpoints = Endpoints()
    healthy_within_s()
    with _open(LOCK, "a+") as lock, _open(LOG, "a") as log:
        _take(lock)
        _require_nothing_in_the_way(endpoints)
        log.truncate(0)
        environment = {"APPS_RUN": str(RUN_DIR), "APPS_FLAGS": "--reload" if reload else ""}
        if endpoints.sidecar.log_format == "auto" and sys.stdout.isatty():
            environment["SIDECAR_LOG_FORMAT"] = "console"
        return _run(log, os.environ | {"PYTHONUNBUFFERED": "1"} | environment)


def _require_nothing_in_the_way(endpoints: Endpoints) -> None:
    if left := left_over():
        pids = ", ".join(str(process.pid) for process in left)
        raise ProblemError(f"a killed run has left processes ({pids}): make apps-stop ends them")
    for listener in endpoints.listeners():
        if problem := obstacle(listener):
            raise ProblemError(problem.cure)


def _open(path: Path, mode: str) -> TextIO:
    """Open a file of the run; raises ProblemError when the folder cannot be used."""
    try:
        RUN_DIR.mkdir(parents=True, exist_ok=True)
        return path.open(mode)  # type: ignore[return-value]  # every mode here is a text mode
    except OSError as error:
        raise ProblemError(
            f"{path} cannot be written ({error.strerror}): set RUN_DIR to a folder that can be"
        ) from None


def _run(log: TextIO, environment: dict[str, str]) -> int:
    manager = _Manager(Printer(_Tee(sys.stdout, log)))
    for name, command in parse_procfile((ROOT / "Procfile").read_text()).processes.items():
        manager.add_process(name, command, env=environment, cwd=str(ROOT))
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    announcer = subprocess.Popen([sys.executable, __file__, "announce"], start_new_session=True)
    try:
        manager.loop()
    finally:
        announcer.terminate()
        never_healthy = announcer.wait() == 1
    if never_healthy:
        return 1
    asked_to_end = manager.returncode in {128 + signal.SIGINT, 128 + signal.SIGTERM}
    return 0 if asked_to_end else manager.returncode or 1


class _Watcher(Process):  # type: ignore[misc]  # honcho has no types
    """Runs one app in a process of its own; ends it when the runner is killed."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - honcho's own
        super().__init__(*arguments, **options)
        self._runner = os.getpid()

    def run(self, *arguments: Any) -> None:  # noqa: ANN401 - honcho's own
        threading.Thread(target=self._outlive_the_runner, daemon=True).start()
        super().run(*arguments)

    def _outlive_the_runner(self) -> None:
        while os.getppid() == self._runner or self._child is None:
            time.sleep(0.2)
        self._signal_app(signal.SIGTERM)
        deadline_s = time.monotonic() + KILLED_AFTER_S
        while self._child.poll() is None and time.monotonic() < deadline_s:
            time.sleep(0.05)
        self._signal_app(signal.SIGKILL)
        os._exit(1)  # an ordinary end would wait for the runner to read the last lines

    def _signal_app(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)


class _Manager(Manager):  # type: ignore[misc]  # honcho has no types
    """Ends every app, even one that was asked to while it started or that does not listen."""

    def __init__(self, printer: Printer) -> None:
        super().__init__(printer)
        self._process_ctor = _Watcher

    def terminate(self) -> None:
        if self._all_started():
            super().terminate()
            self._later(KILLED_AFTER_S, self.kill)
        else:
            self._later(0.05, self.terminate)

    def _later(self, delay_s: float, do: Callable[[], None]) -> None:
        timer = threading.Timer(delay_s, do)
        timer.daemon = True
        timer.start()


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


def _take(lock: TextIO) -> None:
    """Lock for this process alone, and write who it is.

    With lockf, because such a lock belongs to one process: forked watchers do not keep it.
    """
    while True:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if runner := running():
                raise ProblemError(
                    f"the apps are running already (process {runner.pid}): make apps-stop ends them"
                ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()


def running() -> psutil.Process | None:
    """The runner that holds the lock, if any does; never a stranger that has its old number."""
    deadline_s = time.monotonic() + 2
    while _is_locked():
        if runner := _runner_by_its_number():
            return runner
        if time.monotonic() > deadline_s:
            raise ProblemError(
                f"{LOCK} is locked, not by a run on this machine: end what holds it, or set RUN_DIR"
            )
        time.sleep(0.02)
    return None


def _is_locked() -> bool:
    try:
        with LOCK.open() as lock:
            fcntl.lockf(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ProblemError(
            f"{LOCK} cannot be read ({error.strerror}): remove it, or set RUN_DIR"
        ) from None
    return False


def _runner_by_its_number() -> psutil.Process | None:
    """The process whose number is in the lock file, if it is a runner.

    The number is an old one in the moment between locking and writing.
    """
    try:
        process = psutil.Process(int(LOCK.read_text()))
        is_runner = Path(__file__).name in {Path(part).name for part in process.cmdline()}
    except (ValueError, OSError, psutil.Error):
        return None
    return process if is_runner else None


def left_over() -> list[psutil.Process]:
    """Every living process of a run with our RUN_DIR, apart from its runner."""
    return [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get("APPS_RUN") == str(RUN_DIR)
    ]


def healthy_within_s() -> float:
    """How long the apps may take to become healthy."""
    text = os.environ.get("HEALTHY_WITHIN_S") or "60"
    try:
        return float(text)
    except ValueError:
        raise ProblemError(
            f"HEALTHY_WITHIN_S={text!r} is no number of seconds: mend or unset it"
        ) from None


def announce() -> int:
    """Wait until every app is healthy and print the addresses; else end the run, and say why."""
    endpoints = Endpoints()
    limit_s = healthy_within_s()
    deadline_s = time.monotonic() + limit_s
    waiting_for = endpoints.health_urls
    runner = os.getppid()
    while waiting_for:
        if os.getppid() != runner:
            return 1
        if time.monotonic() > deadline_s:
            return _give_up(runner, f"{' and '.join(waiting_for)} not healthy within {limit_s:g} s")
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


def _give_up(runner: int, reason: str) -> int:
    """End the run; 1, which the runner takes over, so it must not be overtaken by its SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(f"apps: {reason}", file=sys.stderr)
    os.kill(runner, signal.SIGTERM)
    return 1


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - our own http address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def stop() -> int:
    """End a running ``up`` from another terminal, or what a killed one left; wait until it is."""
    runner, left = running(), left_over()
    if runner is None and not left:
        print("apps: nothing is running")
        return 0
    _end([runner] if runner else left, {*left, *_family(runner)})
    print("apps: stopped" if runner else "apps: stopped what a killed run had left")
    return 0


def _family(runner: psutil.Process | None) -> list[psutil.Process]:
    if runner is None:
        return []
    try:
        return [runner, *runner.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _end(asked: list[psutil.Process], family: set[psutil.Process]) -> None:
    """Ask some processes to end, wait for all of their family, and kill those that do not."""
    for process in asked:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(family, STOPPED_WITHIN_S)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(alive, KILLED_AFTER_S)
    if alive:
        raise ProblemError(f"processes {[p.pid for p in alive]} do not end, even when killed")


def logs() -> int:
    """Show the end of the log of the last run, and follow it while that run is up."""
    if not LOG.exists():
        raise ProblemError("there is no log yet: make apps-up writes one")
    follow = ["-f"] if running() else []
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
    """Delete the folder with the user's totals, after asking."""
    if not STATE_DIR.exists():
        print("there is no state to delete")
        return 0
    if STATE_DIR in {ROOT, *ROOT.parents, Path.home()}:
        raise ProblemError(f"STATE_DIR={STATE_DIR} holds more than state: set it to another folder")
    if running() or left_over():
        raise ProblemError("the apps are running: make apps-stop first")
    if not _says_yes(f"Delete {STATE_DIR}, with every total and journal in it? Type yes: "):
        print("nothing was deleted")
        return 1
    try:
        shutil.rmtree(STATE_DIR)
    except OSError as error:
        raise ProblemError(f"{error.filename} cannot be deleted ({error.strerror})") from None
    print(f"deleted {STATE_DIR}")
    return 0


def _says_yes(question: str) -> bool:
    try:
        return input(question) == "yes"
    except EOFError:
        print()
        return False


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
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
