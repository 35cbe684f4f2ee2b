"""The lock of a run: who runs the apps, and which processes belong to it.

A run's folder, RUN_DIR (by default .run), holds the lock and the log. Every app of a run has that
folder in its environment as APPS_RUN, so that it is found even when its runner was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import TextIO

import psutil

from endpoints import ProblemError

STOPPED_WITHIN_S = 20.0
KILLED_AFTER_S = 5.0
RUNNER = "apps.py"
ROOT = Path(__file__).resolve().parent.parent
RUN_DIR = (ROOT / (os.environ.get("RUN_DIR") or ".run")).resolve()
LOCK = RUN_DIR / "apps.lock"
LOG = RUN_DIR / "apps.log"


def open_file(path: Path, mode: str) -> TextIO:
    """Open a file of the run; raises ProblemError when the folder cannot be used."""
    try:
        RUN_DIR.mkdir(parents=True, exist_ok=True)
        return path.open(mode)  # type: ignore[return-value]  # every mode here is a text mode
    except OSError as error:
        raise ProblemError(
            f"{path} cannot be written ({error.strerror}): set RUN_DIR to a folder that can be"
        ) from None


def take(lock: TextIO) -> None:
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
        is_runner = RUNNER in {Path(part).name for part in process.cmdline()}
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
