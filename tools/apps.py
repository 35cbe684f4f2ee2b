"""Run the apps of the Procfile together: start, wait for health, say where they are, end cleanly.

Called by the Makefile. Settings come from the apps' own settings files, so that a port is named in
one place. ``run_lock.py`` knows who runs, ``endpoints.py`` where the apps are.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from honcho.environ import parse_procfile
from honcho.manager import Manager
from honcho.printer import Printer
from honcho.process import Process

from endpoints import Endpoints, ProblemError, answers, obstacle
from run_lock import (
    KILLED_AFTER_S,
    LOCK,
    LOG,
    ROOT,
    RUN_DIR,
    left_over,
    open_file,
    running,
    stop,
    take,
)

STATE_DIR = (ROOT / (os.environ.get("STATE_DIR") or ".state")).resolve()


def up(*, reload: bool) -> int:
    """Start every app of the Procfile and stay until Ctrl-C, or until one of them ends."""
    endpoints = Endpoints()
    healthy_within_s()
    with open_file(LOCK, "a+") as lock, open_file(LOG, "a") as log:
        take(lock)
        _require_nothing_in_the_way(endpoints)
        log.truncate(0)
        environment = {"APPS_RUN": str(RUN_DIR), "APPS_FLAGS": "--reload" if reload else ""}
        if endpoints.sidecar.log_format == "auto" and sys.stdout.isatty():
            environment |= {"SIDECAR_LOG_FORMAT": "console", "MARKET_LOG_FORMAT": "console"}
        return _run(log, os.environ | {"PYTHONUNBUFFERED": "1"} | environment)


def _require_nothing_in_the_way(endpoints: Endpoints) -> None:
    if left := left_over():
        pids = ", ".join(str(process.pid) for process in left)
        raise ProblemError(f"a killed run has left processes ({pids}): make apps-stop ends them")
    for listener in endpoints.listeners():
        if problem := obstacle(listener):
            raise ProblemError(problem.cure)


def _run(log: TextIO, environment: dict[str, str]) -> int:
    manager = _Manager(Printer(_Tee(sys.stdout, log)))
    for name, command in parse_procfile((ROOT / "Procfile").read_text()).processes.items():
        manager.add_process(name, command, env=environment, cwd=str(ROOT))
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    if parent := os.environ.get("APPS_PARENT"):
        threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
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


def _end_with(parent: int) -> None:
    """End the run of a program that was killed, and so could not end it."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)


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
        waiting_for = {name: url for name, url in waiting_for.items() if not answers(url)}
        time.sleep(0.1)
    print(
        f"\n  The desk is up.\n\n"
        f"    Desk        {endpoints.desk_url}\n"
        f"    Metrics     {endpoints.sidecar_url}/metrics\n"
        f"    Health      {endpoints.sidecar_url}/health\n"
        f"    Market      {endpoints.market_url}/docs\n"
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
    if not answers(endpoints.health_urls["trading-app"]):
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
