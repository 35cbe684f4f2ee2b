"""A real engine behind a real server on a free port, for the tests of the API."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from websockets.sync.client import ClientConnection, connect

from market_engine.api.app import SERVER_OPTIONS, create_app
from market_engine.api.exposition import Build, make_registry
from market_engine.api.parts import Parts
from market_engine.engine import Engine
from market_engine.feeds.simulated_day import DAY_START_NS, write_day
from market_engine.feeds.simulated_market import MarketConfig
from market_engine.settings import Settings

MINUTE_NS = 60 * 10**9
SYMBOLS = ("BTCUSDT", "ETHUSDT")


def write_recording(path: Path, minutes: int = 3, events_a_day: int = 400_000) -> Path:
    """A stretch of the simulated market with two symbols."""
    config = MarketConfig(DAY_START_NS, symbols=SYMBOLS, events_a_day=events_a_day)
    write_day(path, config, for_ns=minutes * MINUTE_NS)
    return path


class Api:
    """A served engine; ``stop`` gives the seconds that the server took to end."""

    def __init__(self, folder: Path, send_buffer_bytes: int = 0, **settings: Any) -> None:
        recordings = folder / "recordings"
        recordings.mkdir(exist_ok=True)
        given = {
            "database_url": f"sqlite:///{folder}/market.db",
            "recordings_dir": recordings,
            "schedule_file": None,
            "telemetry_addr": None,
            "telemetry_journal_dir": folder / "journal",
            **settings,
        }
        self.recordings = recordings
        self._stopped = False
        self.engine = Engine(Settings(_env_file=None, **given))
        self.engine.start()
        registry = make_registry(self.engine, Build("1.2.3", "abc", "3.11"))
        self.app = create_app(self.engine, registry, lambda: self.server.should_exit)
        self.parts: Parts = self.app.state.parts
        self.server = uvicorn.Server(uvicorn.Config(self.app, **SERVER_OPTIONS))
        self._socket = socket.socket()
        if send_buffer_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self._socket]})
        self._thread.start()
        until(lambda: self.server.started)
        self.client = httpx.Client(base_url=self.url, timeout=10, trust_env=False)

    def get(self, path: str, status: int = 200) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == status, answer.text
        return answer.json()

    def websocket(self, query: str = "", **options: Any) -> ClientConnection:
        url = f"ws://127.0.0.1:{self.port}/ws/stream?{query}"
        return connect(url, proxy=None, compression=None, close_timeout=1, **options)

    def stop(self) -> float:
        if self._stopped:
            return 0.0
        self._stopped = True
        began_s = time.monotonic()
        self.server.should_exit = True
        self._thread.join(20)
        took_s = time.monotonic() - began_s
        self.client.close()
        self.engine.stop()
        return took_s


@contextmanager
def served(folder: Path, **settings: Any) -> Iterator[Api]:
    api = Api(folder, **settings)
    try:
        yield api
    finally:
        api.stop()


def until(condition: Callable[[], object], timeout_s: float = 30) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true"
        time.sleep(0.005)


def messages_of(websocket: ClientConnection, count: int) -> list[dict[str, Any]]:
    """The next messages."""
    return [json.loads(websocket.recv(timeout=10)) for _ in range(count)]


def next_of(websocket: ClientConnection, kind: str) -> dict[str, Any]:
    """The next message of a type."""
    while (found := messages_of(websocket, 1)[0])["type"] != kind:
        pass
    return found
