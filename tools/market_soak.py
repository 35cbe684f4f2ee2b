"""Run the market at a steady rate for minutes: all of it stored, nothing grows, nothing is late.

``python tools/market_soak.py --rate 10000 --seconds 600`` starts a real market-engine on temporary
state with the simulated feed, listens to its websocket as a browser would, and at the end asks the
simulated market itself which trades there were. Exit 1, with a line for each, if a trade is missing
or stored twice, if memory grew beyond its bound, or if the 99th percentile of the time from receipt
to the websocket was above 100 ms.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from market_engine.storage.database import Database
from market_engine.storage.market_store import MarketStore

MB = 1_000_000
RSS_BYTES_MAX = 400 * MB
GROWTH_BYTES_MAX = 40 * MB
"""After the hour-long windows began to fill: they hold more with each minute up to an hour."""
LATE_MS_MAX = 100.0
WARM_UP_PART = 0.2
SYMBOLS = ("BTCUSDT", "ETHUSDT", "AAPL", "GOOGL", "MSFT", "TSLA")


class Listener(threading.Thread):
    """One websocket client: how old each message's oldest trade was when it was here."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self.late_ms: list[float] = []
        self.trades = 0
        self.problem = ""

    def run(self) -> None:
        """Listen until the server ends."""
        try:
            with connect(self._url, max_size=None) as client:
                for message in client:
                    self._take(orjson.loads(message))
        except (ConnectionClosed, OSError) as error:
            self.problem = repr(error)

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("type") == "trades" and message["trades"]:
            self.trades += len(message["trades"])
            self.late_ms.append(time.time() * 1_000 - message["received_ms"])


def start(folder: Path, rate: float) -> tuple[subprocess.Popen[bytes], str]:
    """A market-engine on a free port, with the simulated feed at a steady rate."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "MARKET_HTTP_PORT": str(port),
        "MARKET_DATABASE_URL": f"sqlite:///{folder}/market.db",
        "MARKET_SIMULATED_RATE": str(rate),
        "MARKET_SIMULATED_STEADY": "true",
    }
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("market-engine")],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
    url = f"127.0.0.1:{port}"
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        try:
            if httpx.get(f"http://{url}/health/ready").status_code == httpx.codes.OK:
                return process, url
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    process.kill()
    raise SystemExit((folder / "engine.log").read_text())


def watch(process: subprocess.Popen[bytes], url: str, seconds: float) -> list[int]:
    """Memory every two seconds, told every thirty."""
    inside, sizes, began_s = psutil.Process(process.pid), [], time.monotonic()
    told_s = began_s
    while (now_s := time.monotonic()) - began_s < seconds:
        sizes.append(inside.memory_info().rss)
        if now_s - told_s > 30:
            told_s = now_s
            health = httpx.get(f"http://{url}/health", timeout=10).json()
            print(
                f"{now_s - began_s:5.0f} s  {sizes[-1] / MB:5.0f} MB"
                f"  {health['stored_trades']:,} stored  {health['store_waiting']:,} waiting",
                flush=True,
            )
        time.sleep(2)
    return sizes


def percentile(values: list[float], part: float) -> float:
    """Of values, at least one."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def account(folder: Path, sent: dict[str, int]) -> list[str]:
    """Hold what is stored against what the pipeline took, symbol by symbol."""
    database, problems = Database(f"sqlite:///{folder}/market.db"), []
    store = MarketStore(database)
    for symbol in SYMBOLS:
        ids = [t.trade_id or 0 for t in store.trades("simulated", symbol)]
        whole = sorted(ids) == list(range(min(ids), max(ids) + 1))
        if not whole or len(ids) != sent[symbol]:
            problems.append(f"{symbol}: {len(ids):,} stored of {sent[symbol]:,}, whole: {whole}")
    print(f"sent {sum(sent.values()):,} trades, stored as many: {not problems}")
    database.close()
    return problems


def main() -> int:
    """Run, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=10_000, help="events a second")
    parser.add_argument("--seconds", type=float, default=600)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process, url = start(folder, options.rate)
        try:
            listener = Listener(f"ws://{url}/ws/stream?topics=trades")
            listener.start()
            sizes = watch(process, url, options.seconds)
            health = httpx.get(f"http://{url}/api/feed/health", timeout=10).json()
            events = health["events"]
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        finally:
            process.kill()
            process.wait()
        problems = check(sizes, listener)
        print(f"{events:,} events, {events / options.seconds:,.0f} a second")
        problems += account(folder, last_counts(folder))
    for problem in problems:
        print(f"soak: {problem}")
    return int(bool(problems))


def last_counts(folder: Path) -> dict[str, int]:
    """What each symbol's ids say was sent, by the first and last that are stored."""
    database = Database(f"sqlite:///{folder}/market.db")
    last = MarketStore(database).last_trade_ids()
    database.close()
    return {symbol: last["simulated", symbol] for symbol in SYMBOLS}


def check(sizes: list[int], listener: Listener) -> list[str]:
    """Memory and lateness against their bounds."""
    problems = []
    warm = sizes[int(len(sizes) * WARM_UP_PART) :]
    growth = max(warm[len(warm) // 2 :]) - max(warm[: len(warm) // 2])
    late = listener.late_ms or [float("inf")]
    p50, p99 = percentile(late, 0.5), percentile(late, 0.99)
    print(
        f"memory at most {max(sizes) / MB:.0f} MB, {growth / MB:+.1f} MB between the halves;"
        f" receipt to websocket p50 {p50:.0f} ms, p99 {p99:.0f} ms"
        f" ({listener.trades:,} trades seen)"
    )
    if max(sizes) > RSS_BYTES_MAX or growth > GROWTH_BYTES_MAX:
        problems.append(f"memory: {max(sizes) / MB:.0f} MB, grew by {growth / MB:.1f} MB")
    if p99 > LATE_MS_MAX:
        problems.append(f"the websocket was late: p99 {p99:.0f} ms; {listener.problem}")
    return problems


if __name__ == "__main__":
    sys.exit(main())
