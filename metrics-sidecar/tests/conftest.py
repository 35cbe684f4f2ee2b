"""A real sidecar process on free ports, and what a test wants to ask it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
import zmq
from prometheus_client.parser import text_string_to_metric_families

SCRIPT = Path(sys.executable).with_name("metrics-sidecar")

hypothesis.settings.register_profile("project", deadline=None, derandomize=True)
hypothesis.settings.load_profile("project")


def _ports() -> Iterator[int]:
    """Below the ports that the system lends to whoever connects; each process begins elsewhere."""
    first = os.getpid() * 131
    return (10_000 + (first + offset) * 2 % 20_000 for offset in itertools.count())


_untried_ports = _ports()


def free_port() -> int:
    """A port where nobody listens, and that no other test of this process was given.

    Nor does anybody at the next one, where acknowledgements are by default.
    """
    for port in _untried_ports:
        with socket.socket() as probe, socket.socket() as next_, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            next_.bind(("127.0.0.1", port + 1))
            return port
    raise AssertionError


class Sidecar:
    """A sidecar; its folder is its working directory, its environment holds only these keys.

    It starts at once; it can be ended and started again on the same ports and the same state.
    ``command`` may replace what runs.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        wait: bool = True,
        command: Sequence[str | Path] = (SCRIPT,),
        **environment: str,
    ) -> None:
        port = free_port()
        self.folder = folder
        self.zmq_address = f"tcp://127.0.0.1:{port}"
        self.ack_address = f"tcp://127.0.0.1:{port + 1}"
        http_port = free_port()
        self.url = f"http://127.0.0.1:{http_port}"
        self.state_dir = folder / ".state/metrics-sidecar"
        self.environment = {
            "PATH": os.environ["PATH"],
            "SIDECAR_ZMQ_BIND": self.zmq_address,
            "SIDECAR_HTTP_PORT": str(http_port),
            **environment,
        }
        self.log_path = folder / "sidecar.log"
        self._command = [*command, *arguments]
        self.start(wait=wait)

    def start(self, *, wait: bool = True) -> None:
        with self.log_path.open("a") as log:
            self.process = subprocess.Popen(
                self._command, cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        if wait:
            self.until(self._is_ready)

    def log(self) -> list[dict[str, Any]]:
        """The lines of the log so far."""
        lines = self.log_path.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def events(self, event: str) -> list[dict[str, Any]]:
        """The lines of the log that tell of this."""
        return [line for line in self.log() if line["event"].startswith(event)]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log_path.read_text()
        try:
            return httpx.get(f"{self.url}/health").status_code == 200
        except httpx.TransportError:
            return False

    def until(self, condition: Callable[[], object], timeout_s: float = 30) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline_s, "it did not come true"
            time.sleep(0.02)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}")

    def samples(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every sample of /metrics by name and sorted labels."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(self.get("/metrics").text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        """One sample of /metrics, or None while there is no such series."""
        return self.samples().get((name, tuple(sorted(labels.items()))))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


@pytest.fixture
def start_sidecar(tmp_path: Path) -> Iterator[Callable[..., Sidecar]]:
    running: list[Sidecar] = []

    def start(*arguments: str, folder: Path = tmp_path, **options: Any) -> Sidecar:
        running.append(Sidecar(folder, *arguments, **options))
        return running[-1]

    yield start
    for sidecar in running:
        if sidecar.process.poll() is None:
            sidecar.process.send_signal(signal.SIGCONT)
            sidecar.kill()


@pytest.fixture
def sidecar(start_sidecar: Callable[..., Sidecar]) -> Sidecar:
    return start_sidecar()


@pytest.fixture
def push(sidecar: Sidecar) -> Iterator[zmq.Socket]:
    """A bare PUSH socket to the sidecar, as any program in any language has it."""
    context = zmq.Context()
    socket_ = context.socket(zmq.PUSH)
    socket_.setsockopt(zmq.SNDHWM, 0)
    socket_.connect(sidecar.zmq_address)
    yield socket_
    socket_.close(linger=0)
    context.term()


@pytest.fixture
def free_ports() -> Callable[[], int]:
    return free_port
