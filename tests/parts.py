"""The real parts that cross projects: the apps as the Makefile starts them, and Prometheus."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent


# What `make test` leaves in the environment would make an inner make print its folder.
ENVIRONMENT = {
    key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFL"))
}


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


def need(*programs: str, package: str) -> str:
    """The path of the first of these programs that is here."""
    for program in programs:
        if path := shutil.which(program):
            return path
    message = f"needs {programs[0]}: apt-get install {package}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def until(condition: Callable[[], Any], timeout_s: float = 60, what: str = "it") -> Any:
    """Wait for what another process will make true, and return it."""
    deadline_s = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"{what} did not come true in {timeout_s:g} s"
        time.sleep(0.05)
    return found


def fetch(url: str) -> str:
    """The body of a page, or nothing while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, OSError):
        return ""


def _heed_interrupts() -> None:
    """A shell starts what it puts in the background deaf to Ctrl-C, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Apps:
    """A run of `make TARGET` in a session of its own, on free ports, with a folder of its own."""

    def __init__(self, folder: Path, target: str, **environment: str) -> None:
        ports = {name: free_port() for name in ("desk", "sidecar", "zmq", "api", "market")}
        self.desk_url = f"http://127.0.0.1:{ports['desk']}"
        self.sidecar_url = f"http://127.0.0.1:{ports['sidecar']}"
        self.market_url = f"http://127.0.0.1:{ports['market']}"
        self.zmq_address = f"tcp://127.0.0.1:{ports['zmq']}"
        self.run_dir = str(folder / "run")
        self.environment = ENVIRONMENT | {
            "RUN_DIR": self.run_dir,
            "WEBAPP_HTTP_PORT": str(ports["desk"]),
            "WEBAPP_API_PORT": str(ports["api"]),
            "WEBAPP_ZMQ_ADDR": self.zmq_address,
            "SIDECAR_URL": self.sidecar_url,
            "SIDECAR_HTTP_PORT": str(ports["sidecar"]),
            "SIDECAR_ZMQ_BIND": self.zmq_address,
            "SIDECAR_STATE_DIR": str(folder / "state/metrics-sidecar"),
            "WEBAPP_JOURNAL_DIR": str(folder / "state/trading-app"),
            "MARKET_URL": self.market_url,
            "MARKET_HTTP_PORT": str(ports["market"]),
            "MARKET_DATABASE_URL": f"sqlite:///{folder}/state/market-engine/market.db",
            "MARKET_TELEMETRY_ADDR": self.zmq_address,
            "MARKET_TELEMETRY_JOURNAL_DIR": f"{folder}/state/market-engine/journal",
            **environment,
        }
        self.output_path = folder / "output.txt"
        with self.output_path.open("w") as output:
            self.process = subprocess.Popen(
                ["make", target],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_heed_interrupts,  # noqa: PLW1509 - it only sets a signal
            )

    def output(self) -> str:
        return self.output_path.read_text()

    def wait_for(self, text: str) -> None:
        def shown() -> bool:
            assert self.process.poll() is None, self.output()
            return text in self.output()

        until(shown, 90, f"{text!r} in the output")

    def family(self) -> list[psutil.Process]:
        """Every living process that was started with our RUN_DIR, whoever its parent is now."""
        return [
            process
            for process in psutil.process_iter(["environ", "status"])
            if (process.info["environ"] or {}).get("RUN_DIR") == self.environment["RUN_DIR"]
            and process.info["status"] != psutil.STATUS_ZOMBIE
            and process.pid != self.process.pid
        ]

    def runner(self) -> psutil.Process:
        """The process that `make` started."""
        (runner,) = psutil.Process(self.process.pid).children()
        return runner

    def app(self, name: str) -> psutil.Process:
        """The process of one app."""
        program = f".venv/bin/{name}"
        (app,) = [process for process in self.family() if program in _command_line(process)]
        return app

    def press_ctrl_c(self) -> list[psutil.Process]:
        """What a terminal does, SIGINT to its foreground group; returns what outlives it."""
        family = self.family()
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(30)
        return psutil.wait_procs(family, timeout=10)[1]

    def kill(self) -> None:
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.kill()
        self.process.wait()


class Sidecar:
    """One real sidecar on free ports, in a new folder of its own; `command` may replace what runs.

    It starts at once, and can be ended and started again on the same ports.
    """

    def __init__(self, folder: Path, *command: str) -> None:
        folder.mkdir()
        port = free_port()
        self.folder = folder
        self.instance = f"127.0.0.1:{port}"
        self.url = f"http://{self.instance}"
        self.zmq_address = f"tcp://127.0.0.1:{free_port()}"
        self._environment = ENVIRONMENT | {
            "SIDECAR_HTTP_PORT": str(port),
            "SIDECAR_ZMQ_BIND": self.zmq_address,
            "SIDECAR_STATE_DIR": str(folder / "state"),
        }
        self.start(*command)

    def start(self, *command: str) -> None:
        with (self.folder / "sidecar.log").open("a") as log:
            self.process = subprocess.Popen(
                command or [Path(sys.executable).with_name("metrics-sidecar")],
                cwd=self.folder,
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def wait_until_healthy(self) -> None:
        until(lambda: fetch(f"{self.url}/health"), 60, f"the health of {self.url}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Prometheus:
    """A real Prometheus with our configuration and rules, scraping sidecars every second.

    ``targets`` is the file of targets that Prometheus watches: `scrape` changes it while it runs.
    ``engine_urls`` are market engines, scraped as well.
    """

    def __init__(
        self, program: str, folder: Path, *sidecar_urls: str, engine_urls: Sequence[str] = ()
    ) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        config = folder / "prometheus"
        shutil.copytree(ROOT / "infra/prometheus", config, ignore=shutil.ignore_patterns("tests"))
        self._targets = config / "targets/sidecar.json"
        self._targets.parent.mkdir()
        self.scrape(*sidecar_urls)
        if engine_urls:
            engines = [url.removeprefix("http://") for url in engine_urls]
            market = self._targets.with_name("market.json")
            market.write_text(json.dumps([{"targets": engines}]))
        self.log_path = folder / "prometheus.log"
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [
                    program,
                    f"--config.file={config / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'tsdb'}",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                ],
                stdout=log,
                stderr=log,
            )
        until(lambda: fetch(f"{self.url}/-/ready"), what="Prometheus")

    def scrape(self, *sidecar_urls: str) -> None:
        """Scrape these sidecars and no others."""
        addresses = [url.removeprefix("http://") for url in sidecar_urls]
        written = self._targets.with_suffix(".new")
        written.write_text(json.dumps([{"targets": addresses}]))
        written.replace(self._targets)

    def firing(self, instance: str = "") -> set[str]:
        """The alerts that fire now, of one instance (`host:port`) if that is said."""
        which = f', instance="{instance}"' if instance else ""
        alerts = self.query(f'ALERTS{{alertstate="firing"{which}}}')
        return {alert["metric"]["alertname"] for alert in alerts}

    def query(self, expression: str, time_s: float | None = None) -> list[dict[str, Any]]:
        """The result of an instant query, now or as of a moment in unix seconds."""
        moment = {} if time_s is None else {"time": f"{time_s:.3f}"}
        query = urllib.parse.urlencode({"query": expression, **moment})
        return json.loads(fetch(f"{self.url}/api/v1/query?{query}"))["data"]["result"]

    def value(self, expression: str) -> float | None:
        """The value of a query with one series, or None while there is none."""
        result = self.query(expression)
        return float(result[0]["value"][1]) if result else None

    def samples(self, selector: str, time_s: float | None = None) -> list[tuple[float, float]]:
        """The samples of one series in the last five minutes, as (time in unix seconds, value)."""
        (series,) = self.query(f"{selector}[5m]", time_s)
        return [(time_s, float(value)) for time_s, value in series["values"]]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def _command_line(process: psutil.Process) -> list[str]:
    """Empty of one that ended meanwhile, as those that start the apps do."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []
