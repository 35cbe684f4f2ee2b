"""One of the project's own programs, started by the benchmark with settings of its own, and ended.

It owns that process, its folder and what it says. It must not know what is measured.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Final

import psutil

from trading_app.benchmark import BenchmarkError

START_S_MAX: Final = 60.0
STOP_S_MAX: Final = 20.0
HTTP_TIMEOUT_S: Final = 5.0
CHECK_EVERY_S: Final = 0.002


class Program:
    """The program ``name`` beside this Python, with ``keys`` added to the environment.

    It works in ``folder``, where a ``.env`` of the user says nothing. It may be stopped and started
    again.
    """

    def __init__(self, name: str, folder: Path, keys: Mapping[str, str]) -> None:
        self._name: Final = name
        self._folder: Final = folder
        self._keys: Final = dict(keys)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process_id(self) -> int:
        """The running process; raises BenchmarkError when there is none."""
        if self._process is None:
            raise BenchmarkError(f"{self._name} is not running")
        return self._process.pid

    def start(self, is_up: Callable[[], bool]) -> None:
        """Start it and wait until it is up; raises BenchmarkError with the reason if it ends."""
        program = Path(sys.executable).with_name(self._name)
        if not program.exists():
            raise BenchmarkError(f"{program} is not there: make install")
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-c", _END_WITH_PARENT, str(os.getpid()), program],
                cwd=self._folder,
                env=environment() | self._keys,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the benchmark, which then ends this
            )

        def is_alive_and_up() -> bool:
            self.require_alive()
            return is_up()

        wait_until(is_alive_and_up, START_S_MAX, f"{self._name} does not start")

    def stop(self) -> None:
        """End it in order. Does nothing when it is not running."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S_MAX)
        finally:
            process.kill()
            process.wait()

    def require_alive(self) -> None:
        """Raise BenchmarkError, with its last words, when it has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            said = self._log_path.read_text(errors="replace").splitlines()
            last = said[-1].removeprefix(f"{self._name}: ") if said else "without a word"
            raise BenchmarkError(f"the {self._name} of the benchmark ended: {last}")

    @property
    def _log_path(self) -> Path:
        return self._folder / f"{self._name}.log"


def environment() -> dict[str, str]:
    """What a process of the benchmark is given: nothing that sets up what is measured."""
    return {key: value for key, value in os.environ.items() if not key.startswith(_SETTING)}


_SETTING: Final = ("SIDECAR_", "WEBAPP_", "STREAMLIT_", "OTEL_", "DD_", "DATADOG_", "PROMETHEUS_")
_END_WITH_PARENT: Final = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("its parent has ended")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes a program that the system ends with the one that started it, however that ends."""
_direct: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url: str) -> bytes:
    """The body of a page, or nothing while nobody answers with one."""
    try:
        with _direct.open(url, timeout=HTTP_TIMEOUT_S) as answer:
            return bytes(answer.read())
    except (OSError, HTTPException):
        return b""


def processor_s(process_id: int) -> float:
    """Processor time of a process, threads that have ended included; on Linux to the nanosecond."""
    if sys.platform == "linux":  # the id of its clock, as of clock_getcpuclockid(3)
        return time.clock_gettime(~process_id << 3 | 2)
    times = psutil.Process(process_id).cpu_times()
    return float(times.user + times.system)


def free_ports(count: int) -> int:
    """The first of so many neighbouring ports where nobody listens.

    They are below those that the system lends to whoever connects.
    """
    while True:
        first = 10_000 + secrets.randbelow(20_000)
        probes = [socket.socket() for _ in range(count)]
        try:
            with suppress(OSError):
                for offset, probe in enumerate(probes):
                    probe.bind(("127.0.0.1", first + offset))
                return first
        finally:
            for probe in probes:
                probe.close()


def wait_until(is_so: Callable[[], bool], seconds_max: float, otherwise: str) -> None:
    """Wait for what another process or thread does; raises BenchmarkError past that time."""
    deadline_s = time.monotonic() + seconds_max
    while not is_so():
        if time.monotonic() > deadline_s:
            raise BenchmarkError(f"{otherwise} in {seconds_max:g} s")
        time.sleep(CHECK_EVERY_S)
