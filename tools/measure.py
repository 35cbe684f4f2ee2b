"""Measure this machine: messages a second on the sidecar's receive path, and what idling costs.

Starts apps of its own on free ports. A bare ZeroMQ loop that receives the same messages is
measured in the same run, because only the ratio means something on a shared machine. MESSAGES,
ROUNDS and IDLE_S in the environment change how much is measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import zmq

MESSAGES = int(os.environ.get("MESSAGES", "500000"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
IDLE_S = float(os.environ.get("IDLE_S", "20"))
PATIENCE_S = 60.0


class MeasureError(Exception):
    """Nothing can be measured; the message is one line that says why."""


def _free_port() -> int:
    """A port that is free, and the next one, too: acknowledgements are there."""
    while True:
        with socket.socket() as probe, socket.socket() as next_:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            with contextlib.suppress(OSError):
                next_.bind(("127.0.0.1", port + 1))
                return port


def _push(address: str) -> None:
    """Say that we are ready; when told to, send plain trades as fast as one process can."""
    frame = b'{"type":"trade","side":"buy","qty":1.5,"ts":%.3f}' % time.time()
    with zmq.Context() as context, context.socket(zmq.PUSH) as pusher:
        pusher.setsockopt(zmq.SNDHWM, 10_000)
        pusher.connect(address)
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(MESSAGES):
            pusher.send(frame)


def rate(pusher_command: list[str], wait_for_all: Callable[[], None]) -> float:
    """Messages a second from the word to send until all have arrived."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(pusher_command, text=True, **pipes) as pusher:  # type: ignore[call-overload]
        try:
            if pusher.stdout.readline() != "ready\n":
                raise MeasureError("the process that sends ended before it could: see above")
            started_s = time.perf_counter()
            pusher.stdin.write("go\n")
            pusher.stdin.flush()
            wait_for_all()
            return MESSAGES / (time.perf_counter() - started_s)
        finally:
            pusher.kill()


def _pusher_command(address: str) -> list[str]:
    return [sys.executable, __file__, "push", address]


def _fetch(url: str) -> bytes:
    """The body of a page, or nothing while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own http address
            return bytes(answer.read())
    except OSError:
        return b""


class _App:
    """One app, started here; what it prints is kept to say why it ended."""

    def __init__(self, name: str, keys: dict[str, str]) -> None:
        self._name = name
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by stop
        program = Path(sys.executable).with_name(name)
        self.process = subprocess.Popen(
            [program], env=os.environ | keys, stdout=self._output, stderr=self._output
        )

    def wait_until(self, is_so: Callable[[], object]) -> None:
        """Raises MeasureError when the app ends before it is so, or after PATIENCE_S."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not is_so():
            if self.process.poll() is not None:
                raise MeasureError(f"{self._name} ended: {self._last_line()}")
            if time.monotonic() > deadline_s:
                raise MeasureError(f"{self._name} is not there yet after {PATIENCE_S:g} s")
            time.sleep(0.02)

    def _last_line(self) -> str:
        self._output.seek(0)
        return (self._output.read().splitlines() or ["without a word"])[-1]

    def idle_percent(self) -> float:
        """Share of one core over IDLE_S seconds."""
        process = psutil.Process(self.process.pid)
        before = process.cpu_times()
        time.sleep(IDLE_S)
        after = process.cpu_times()
        return (after.user + after.system - before.user - before.system) / IDLE_S * 100

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        self._output.close()


class Sidecar(_App):
    """A sidecar on free ports, with its state in a folder."""

    def __init__(self, state: Path) -> None:
        self.address = f"tcp://127.0.0.1:{_free_port()}"
        port = _free_port()
        self._url = f"http://127.0.0.1:{port}"
        keys = {
            "SIDECAR_ZMQ_BIND": self.address,
            "SIDECAR_HTTP_PORT": str(port),
            "SIDECAR_STATE_DIR": str(state),
        }
        super().__init__("metrics-sidecar", keys)

    def is_up(self) -> bool:
        """Whether it counts."""
        return bool(self.summary())

    def summary(self) -> dict[str, Any]:
        """What it counted; empty while it does not answer."""
        body = _fetch(f"{self._url}/api/summary")
        return dict(json.loads(body)) if body else {}

    def _applied(self) -> int:
        return int(self.summary().get("trades", {}).get("buy", 0))

    def rate(self) -> float:
        """Messages a second, received and counted."""
        goal = self._applied() + MESSAGES

        def wait() -> None:
            self.wait_until(lambda: self._applied() >= goal)

        return rate(_pusher_command(self.address), wait)


def _desk_idle_percent(zmq_address: str) -> float:
    """The desk with no browser open, connected to the sidecar."""
    port = _free_port()
    desk = _App("trading-app", {"WEBAPP_HTTP_PORT": str(port), "WEBAPP_ZMQ_ADDR": zmq_address})
    try:
        desk.wait_until(lambda: _fetch(f"http://127.0.0.1:{port}/_stcore/health"))
        return desk.idle_percent()
    finally:
        desk.stop()


def _bare_rate() -> float:
    """A loop that only receives: the most that the receive path could reach."""
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.setsockopt(zmq.RCVHWM, 4_096)
        pull.setsockopt(zmq.RCVTIMEO, int(PATIENCE_S * 1000))
        port = pull.bind_to_random_port("tcp://127.0.0.1")

        def wait() -> None:
            for _ in range(MESSAGES):
                pull.recv()

        return rate(_pusher_command(f"tcp://127.0.0.1:{port}"), wait)


def _measure(sidecar: Sidecar) -> None:
    sidecar.wait_until(sidecar.is_up)
    print(f"idle sidecar    {sidecar.idle_percent():.2f} % of a core")
    print(f"idle desk       {_desk_idle_percent(sidecar.address):.2f} % of a core")
    pairs = [(sidecar.rate(), _bare_rate()) for _ in range(ROUNDS)]
    for name, rates in zip(("sidecar", "bare recv"), zip(*pairs, strict=True), strict=True):
        spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
        print(f"{name:<10} {statistics.median(rates):>10,.0f} messages/s ({spread})")
    ratios = [ours / bare for ours, bare in pairs]
    print(f"ratio      {statistics.median(ratios):>10.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def main() -> int:
    """Print the medians of ROUNDS rounds and their range; 1 with one line when it cannot."""
    if sys.argv[1:2] == ["push"]:
        _push(sys.argv[2])
        return 0
    with tempfile.TemporaryDirectory(prefix="measure-") as folder:
        sidecar = Sidecar(Path(folder))
        try:
            _measure(sidecar)
        except (MeasureError, zmq.Again) as error:
            print(f"measure: {error}", file=sys.stderr)
            return 1
        finally:
            sidecar.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
