"""A real sidecar process on free ports, and what a test wants to ask it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import hypothesis
import pytest
import zmq
from prometheus_client.parser import text_string_to_metric_families

SCRIPT = Path(sys.executable).with_name("metrics-sidecar")

hypothesis.settings.register_profile("project", deadline=None, derandomize=True)
hypothesis.settings.load_profile("project")


_given_ports: set[int] = set()


def free_port() -> int:
    """A port where nobody listens, and that no other test of this process was given."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in _given_ports:
            _given_ports.add(port)
            return port


class Sidecar:
    """A running sidecar; its folder is empty, its environment holds only these keys."""

    def __init__(
        self, folder: Path, *arguments: str, wait: bool = True, **environment: str
    ) -> None:
        self.zmq_address = f"tcp://127.0.0.1:{free_port()}"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "SIDECAR_ZMQ_BIND": self.zmq_address,
            "SIDECAR_HTTP_PORT": str(port),
            **environment,
        }
        self.log_path = folder / "sidecar.log"
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [SCRIPT, *arguments], cwd=folder, env=self.environment, stdout=log, stderr=log
            )
        if wait:
            self.until(self._is_ready)

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

    def start(*arguments: str, wait: bool = True, **environment: str) -> Sidecar:
        running.append(Sidecar(tmp_path, *arguments, wait=wait, **environment))
        return running[-1]

    yield start
    for sidecar in running:
        if sidecar.process.poll() is None:
            sidecar.process.kill()
            sidecar.process.wait()


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
