"""Measure this machine: messages a second on the sidecar's receive path, and what idling costs.

Starts apps of its own on free ports. A bare ZeroMQ loop that receives the same messages is
measured in the same run, because only the ratio means something on a shared machine.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import zmq

MESSAGES = 500_000
ROUNDS = 5
IDLE_S = 20.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _push(address: str) -> None:
    """Send plain trades as fast as one process can."""
    frame = b'{"type":"trade","side":"buy","qty":1.5,"ts":%.3f}' % time.time()
    with zmq.Context() as context, context.socket(zmq.PUSH) as pusher:
        pusher.setsockopt(zmq.SNDHWM, 10_000)
        pusher.connect(address)
        for _ in range(MESSAGES):
            pusher.send(frame)


def _rate(address: str, wait_for_all: Callable[[], None]) -> float:
    pusher = multiprocessing.Process(target=_push, args=(address,))
    started_s = time.perf_counter()
    pusher.start()
    wait_for_all()
    rate = MESSAGES / (time.perf_counter() - started_s)
    pusher.join()
    return rate


def _script(name: str) -> Path:
    return Path(sys.executable).with_name(name)


def _answers(url: str) -> bytes:
    """The body of a page, or nothing while nobody answers."""
    try:
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own http address
            return bytes(answer.read())
    except urllib.error.URLError:
        return b""


class _Sidecar:
    def __init__(self) -> None:
        self.address = f"tcp://127.0.0.1:{_free_port()}"
        port = _free_port()
        self._url = f"http://127.0.0.1:{port}"
        keys = {"SIDECAR_ZMQ_BIND": self.address, "SIDECAR_HTTP_PORT": str(port)}
        self.process = subprocess.Popen(
            [_script("metrics-sidecar")],
            env=os.environ | keys,
            stderr=subprocess.DEVNULL,
        )
        while self.applied() is None:
            time.sleep(0.05)

    def applied(self) -> int | None:
        body = _answers(f"{self._url}/api/summary")
        return int(json.loads(body)["trades"]["buy"]) if body else None

    def rate(self) -> float:
        before = self.applied() or 0

        def wait() -> None:
            while (self.applied() or 0) < before + MESSAGES:
                time.sleep(0.02)

        return _rate(self.address, wait)


def _idle_percent(pid: int) -> float:
    """Share of one core over IDLE_S seconds."""
    process = psutil.Process(pid)
    before = process.cpu_times()
    time.sleep(IDLE_S)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / IDLE_S * 100


def _desk_idle_percent(zmq_address: str) -> float:
    """The desk with no browser open, connected to the sidecar."""
    port = _free_port()
    keys = {"WEBAPP_HTTP_PORT": str(port), "WEBAPP_ZMQ_ADDR": zmq_address}
    desk = subprocess.Popen(
        [_script("trading-app")],
        env=os.environ | keys,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not _answers(f"http://127.0.0.1:{port}/_stcore/health"):
            time.sleep(0.05)
        return _idle_percent(desk.pid)
    finally:
        desk.terminate()
        desk.wait()


def _bare_rate() -> float:
    """A loop that only receives: the most that the receive path could reach."""
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.setsockopt(zmq.RCVHWM, 4_096)
        port = pull.bind_to_random_port("tcp://127.0.0.1")

        def wait() -> None:
            for _ in range(MESSAGES):
                pull.recv()

        return _rate(f"tcp://127.0.0.1:{port}", wait)


def main() -> None:
    """Print the medians of ROUNDS rounds and their range."""
    sidecar = _Sidecar()
    try:
        print(f"idle sidecar    {_idle_percent(sidecar.process.pid):.2f} % of a core")
        print(f"idle desk       {_desk_idle_percent(sidecar.address):.2f} % of a core")
        pairs = [(sidecar.rate(), _bare_rate()) for _ in range(ROUNDS)]
    finally:
        sidecar.process.terminate()
        sidecar.process.wait()
    for name, rates in zip(("sidecar", "bare recv"), zip(*pairs, strict=True), strict=True):
        spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
        print(f"{name:<10} {statistics.median(rates):>10,.0f} messages/s ({spread})")
    ratios = [ours / bare for ours, bare in pairs]
    print(f"ratio      {statistics.median(ratios):>10.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
