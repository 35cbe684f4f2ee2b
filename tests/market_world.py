"""Four market engines under a real Prometheus: one plays a known recording, one is simulated, one
plays a clock that is behind, one has no venue; and what becomes of them."""

from __future__ import annotations

import contextlib
import json
import math
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from tests.market_recording import with_a_clock_behind, with_faults
from tests.parts import ENVIRONMENT, Prometheus, fetch, free_port, until
from tests.promql_oracle import Sample
from tests.world import Values, held
from websockets.sync.client import connect

WINDOW_S = 4.0
"""Over what the boards' rates run."""
SYMBOLS = 6
"""Of the simulated market."""
ASKED = {("/symbols", "2xx"): 5, ("/symbols/{symbol}/price", "4xx"): 2}
"""What the test asks the simulated engine for, by route and class of the answer."""


class Engine:
    """One real market-engine on a free port, in a new folder of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        folder.mkdir()
        self.folder = folder
        self.instance = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.instance}"
        own = {key: value for key, value in ENVIRONMENT.items() if not key.startswith("MARKET_")}
        own |= {
            "MARKET_HTTP_PORT": self.instance.rpartition(":")[2],
            "MARKET_DATABASE_URL": f"sqlite:///{self.database}",
            "MARKET_LOG_FORMAT": "json",
        }
        with (folder / "engine.log").open("w") as log:
            self.process = subprocess.Popen(
                [Path(sys.executable).with_name("market-engine")],
                cwd=folder,
                env=own | settings,
                stdout=log,
                stderr=log,
            )

    @property
    def database(self) -> Path:
        return self.folder / "market.db"

    @property
    def log(self) -> str:
        return (self.folder / "engine.log").read_text()

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log
        return bool(fetch(f"{self.url}/health/live"))

    def ask(self, path: str) -> Any:
        """What its API says."""
        return json.loads(fetch(f"{self.url}{path}"))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class MarketWorld:
    """``moment_s`` is when all has settled and the simulated engine is read; ``alarm_s`` when all
    that must fire fires; ``failing_s`` when the simulated one cannot store; ``away_s`` when it is
    gone."""

    def __init__(self, folder: Path, program: str) -> None:
        self.known_input, self.skewed_input = with_faults(), with_a_clock_behind(25)
        known = self.known_input.write(folder / "known.frames")
        skewed = self.skewed_input.write(folder / "skewed.frames")
        replay = {"MARKET_FEED": "replay", "MARKET_REPLAY_SPEED": "0"}
        self.known = Engine(folder / "known", **replay, MARKET_REPLAY_FILE=str(known))
        self.alone = Engine(
            folder / "alone",
            MARKET_FEED="binance",
            MARKET_BINANCE_STREAM_URL=f"ws://127.0.0.1:{free_port()}/stream",
            MARKET_BINANCE_REST_URL=f"http://127.0.0.1:{free_port()}",
            MARKET_RECORD_DIR=str(folder / "alone/recordings"),
        )
        self.simulated = Engine(folder / "simulated", MARKET_SIMULATED_RATE="3000")
        self.skewed = Engine(
            folder / "skewed",
            **replay | {"MARKET_REPLAY_SPEED": "1"},
            MARKET_REPLAY_FILE=str(skewed),
        )
        self.engines = (self.known, self.simulated, self.skewed, self.alone)
        self._stack = contextlib.ExitStack()
        for engine in self.engines:
            self._stack.callback(engine.kill)
        try:
            for engine in self.engines:
                until(engine.answers, 60, f"{engine.folder.name}: {engine.log}")
            urls = [engine.url for engine in self.engines]
            self.prometheus = Prometheus(program, folder, engine_urls=urls)
            self._stack.callback(self.prometheus.stop)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> MarketWorld:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def expected_alerts(self) -> dict[str, set[str]]:
        """What must fire on each engine, and nothing else, up to ``alarm_s``."""
        return {
            self.known.instance: {"MarketFeedGap", "MarketSymbolStale", "MarketFeedMalformed"},
            self.skewed.instance: {"MarketClockSkew", "MarketLagHigh"},
            self.alone.instance: {"MarketFeedDisconnected"},
            self.simulated.instance: {"MarketStreamClientsDropped"},
        }

    def play(self) -> None:
        """All that happens."""
        with self._reader(), self._slow_reader():
            self._ask_for_pages()
            self._settle()
            self.health_before = self._health()
            self.moment_s = self._next_scrape()
            self.health = self._health()
            self.served = {each.instance: fetch(f"{each.url}/metrics") for each in self.engines}
            self.metrics = {
                each["symbol"]: each
                for each in self.known.ask("/api/metrics/latest")["symbols"]
                if each["symbol"] in {"BTCUSDT", "ETHUSDT"}
            }
            self._look_from_outside()
            self._until_all_fire()
            self.alarm_s = time.time()
        with held(self.simulated.database):
            self._until_it_fired("MarketStoreFailing", self.simulated)
            self.failing_s = time.time()
        self.simulated.kill()
        self._until_it_fired("MarketEngineDown", self.simulated)
        self.away_s = time.time()

    @contextlib.contextmanager
    def _reader(self) -> Iterator[None]:
        """A client that reads whatever the simulated engine streams."""
        url = f"ws://{self.simulated.instance}/ws/stream"
        with connect(url, proxy=None, compression=None) as client:
            thread = threading.Thread(target=lambda: [None for _ in client])
            thread.start()
            try:
                yield
            finally:
                client.close()
                thread.join()

    @contextlib.contextmanager
    def _slow_reader(self) -> Iterator[None]:
        """A client that does not read: it is dropped when the system's buffers are full."""
        host, port = self.simulated.instance.split(":")
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
            client.connect((host, int(port)))
            client.sendall(
                f"GET /ws/stream HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
            )
            assert client.recv(12) == b"HTTP/1.1 101"
            yield

    def _ask_for_pages(self) -> None:
        until(lambda: self._scrapes(self.simulated) >= 2, what="two scrapes")
        for _ in range(5):
            self.simulated.ask("/symbols")
        for _ in range(2):
            fetch(f"{self.simulated.url}/symbols/NONE/price")

    def _health(self) -> dict[str, Any]:
        return {each.instance: each.ask("/api/feed/health") for each in self.engines}

    def _next_scrape(self) -> float:
        """A moment before which each engine was scraped once more."""
        counts = {engine: self._scrapes(engine) for engine in self.engines}
        until(lambda: all(self._scrapes(engine) > counts[engine] for engine in counts))
        return round(time.time(), 3)

    def _settle(self) -> None:
        """Until there is a window of scrapes, and the recording is stored."""
        known = "market_stored_faults_total"
        stored = sum(self.known_input.account.faults.values())
        until(lambda: self._value(known, self.known) == stored, what="the faults, stored")
        until(lambda: self._scrapes(self.simulated) >= WINDOW_S + 2, what="scrapes")

    def _look_from_outside(self) -> None:
        process = psutil.Process(self.simulated.process.pid)
        self.rss_bytes = process.memory_info().rss
        self.cpu_s = sum(process.cpu_times()[:2])
        self.disk_bytes = {
            each.instance: sum(path.stat().st_size for path in each.folder.glob("market.db*"))
            for each in self.engines
        }

    def _scrapes(self, engine: Engine) -> float:
        return (
            self.prometheus.value(f'count_over_time(up{{instance="{engine.instance}"}}[5m])') or 0
        )

    def _value(self, metric: str, engine: Engine) -> float | None:
        return self.prometheus.value(f'{metric}{{instance="{engine.instance}"}}')

    def _until_all_fire(self) -> None:
        for engine in self.engines:
            for alert in self.expected_alerts()[engine.instance]:
                self._until_it_fired(alert, engine)

    def _until_it_fired(self, alert: str, engine: Engine) -> None:
        name = engine.folder.name
        until(lambda: alert in self.ever_fired(engine, time.time()), 60, f"{alert} of {name}")

    def ever_fired(self, engine: Engine, until_s: float) -> set[str]:
        """Every alert that fired on an engine up to a moment."""
        selector = f'ALERTS{{alertstate="firing", instance="{engine.instance}"}}[5m]'
        return {one["metric"]["alertname"] for one in self.prometheus.query(selector, until_s)}

    def samples(
        self, metric: str, engine: Engine, moment_s: float
    ) -> dict[frozenset, list[Sample]]:
        """What Prometheus has of each series of a name, by labels without job and instance."""
        selector = f'{metric}{{instance="{engine.instance}"}}[2m]'
        return {
            frozenset(
                (k, v)
                for k, v in each["metric"].items()
                if k not in {"__name__", "job", "instance"}
            ): [(time_s, float(value)) for time_s, value in each["values"]]
            for each in self.prometheus.query(selector, moment_s)
        }

    def ask(self, expression: str, moment_s: float | None = None) -> Values:
        """What Prometheus answers as of a moment, by labels without job."""
        found = self.prometheus.query(expression, moment_s or self.moment_s)
        return {
            frozenset((k, v) for k, v in each["metric"].items() if k not in {"__name__", "job"}): (
                float(each["value"][1])
            )
            for each in found
        }


def summed(values: dict[frozenset, float], by: tuple[str, ...]) -> Values:
    """Sums by some labels."""
    found: dict[frozenset[tuple[str, str]], float] = {}
    for key, value in values.items():
        group = frozenset((name, its) for name, its in key if name in by)
        found[group] = found.get(group, 0.0) + value
    return found


def rates(
    samples: dict[frozenset, list[Sample]], rate: Callable[[list[Sample]], float | None]
) -> dict[frozenset, float]:
    """The rate of each series that has one."""
    found = {key: rate(each) for key, each in samples.items()}
    return {key: value for key, value in found.items() if value is not None}


def is_number(value: float) -> bool:
    return not math.isnan(value) and not math.isinf(value)
