"""The engine killed at any moment under load: what is kept equals an undisturbed run.

A real process on the simulated market with an anchor, so that its trades are the same in every run
and what was missed can be fetched; the oracle is the market itself, through the same parser and
pipeline without an end.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from market_engine.bar_rows import row_of
from market_engine.bus.base import Message, Topic
from market_engine.events import Tick
from market_engine.feeds.binance_parser import BinanceParser
from market_engine.feeds.simulated_market import MarketConfig, SimulatedMarket
from market_engine.feeds.simulated_plan import PlanConfig
from market_engine.pipeline import BarOutput, Pipeline
from market_engine.storage.batches import BatchWriter
from market_engine.storage.database import Database
from market_engine.storage.market_store import MarketStore
from market_engine.storage.rows import BarRow

S = 1_000_000_000
SYMBOLS = ("BTCUSDT", "ETHUSDT", "TSLA")
RATE = 400
SEED = 11
KILLS = 4
PROGRAM = Path(sys.executable).with_name("market-engine")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def engine(folder: Path, anchor_ms: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "MARKET_HTTP_PORT": str(port),
        "MARKET_DATABASE_URL": f"sqlite:///{folder}/market.db",
        "MARKET_SYMBOLS": ",".join(SYMBOLS),
        "MARKET_SIMULATED_RATE": str(RATE),
        "MARKET_SIMULATED_SEED": str(SEED),
        "MARKET_SIMULATED_ANCHOR_MS": str(anchor_ms),
    }
    with (folder / "engine.log").open("ab") as log:
        process = subprocess.Popen([PROGRAM], cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def stored(folder: Path) -> tuple[dict[str, list[int | None]], dict[tuple[str, int], BarRow]]:
    database = Database(f"sqlite:///{folder}/market.db")
    try:
        store = MarketStore(database)
        database.check()
        trades = {
            symbol: [t.trade_id for t in store.trades_from_id("simulated", symbol, 0, 10**6)]
            for symbol in SYMBOLS
        }
        bars = {
            (symbol, row.bar_start_ns): row
            for symbol in SYMBOLS
            for row in store.latest_bars("simulated", symbol, 60, 1_000)
        }
    finally:
        database.close()
    return trades, bars


def market_since(anchor_ns: int) -> SimulatedMarket:
    return SimulatedMarket(
        MarketConfig(
            anchor_ns,
            seed=SEED,
            symbols=SYMBOLS,
            events_a_day=RATE * 86_400,
            plan=PlanConfig(SEED, with_quiet=False, night_level=0.4),
        )
    )


def keep_first_trades(folder: Path, anchor_ns: int) -> None:
    """As an engine that was killed right at the beginning: all that came since is missing."""
    market, parser = market_since(anchor_ns), BinanceParser("simulated")
    firsts = [
        event
        for symbol in SYMBOLS
        for received_ns, frame in market.backfill(symbol, 1, 1)
        for event in parser.parse(frame, received_ns)
    ]
    database = Database(f"sqlite:///{folder}/market.db")
    messages = [Message(Topic.MARKET_DATA, t.symbol, t, n) for n, t in enumerate(firsts)]
    assert BatchWriter(database).write(messages).trades == len(SYMBOLS)
    database.close()


def undisturbed(anchor_ns: int, until_ns: int) -> dict[tuple[str, int], BarRow]:
    """The bars of an engine that was there from the beginning and is never ended."""
    parser, pipeline = BinanceParser("simulated"), Pipeline("simulated", SYMBOLS)
    bars: dict[tuple[str, int], BarRow] = {}
    tick_ns = anchor_ns
    for received_ns, frame in market_since(anchor_ns).frames():
        events = parser.parse(frame, received_ns)
        if received_ns - tick_ns >= S:
            tick_ns = received_ns
            events.insert(0, Tick(received_ns))
        for output in pipeline.handle(events):
            if isinstance(output, BarOutput):
                bars[output.closed.metrics.symbol, output.closed.bar.start_ns] = row_of(output)
        if received_ns > until_ns:
            return bars
    raise AssertionError


def trades_kept(url: str) -> int:
    try:
        return int(httpx.get(f"{url}/health", timeout=2).json()["stored_trades"])
    except (httpx.HTTPError, KeyError, ValueError):
        return -1


def test_what_is_kept_after_kills_at_any_moment_is_what_an_undisturbed_run_keeps(tmp_path):
    choose = random.Random(1)
    anchor_ms = int(time.time() * 1000) - 200_000  # so that bars close within the test
    (tmp_path / "anchor").write_text(str(anchor_ms))
    keep_first_trades(tmp_path, anchor_ms * 1_000_000)
    for _ in range(KILLS):
        with engine(tmp_path, anchor_ms) as (process, url):
            wait_until_kept(process, url, choose.randrange(1, 400))
            time.sleep(choose.random())
            os.kill(process.pid, signal.SIGKILL)
    with engine(tmp_path, anchor_ms) as (process, url):
        wait_until_kept(process, url, 500)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    trades, bars = stored(tmp_path)
    for symbol, ids in trades.items():
        assert ids == list(range(1, len(ids) + 1)), symbol
        assert len(ids) > 1_000
    wanted = undisturbed(anchor_ms * 1_000_000, time.time_ns())
    for symbol in SYMBOLS:
        kept = {at_ns: row for (name, at_ns), row in bars.items() if name == symbol}
        assert len(kept) >= 3
        first_ns = anchor_ms * 1_000_000 // (60 * S) * 60 * S
        assert sorted(kept) == [first_ns + n * 60 * S for n in range(len(kept))]
        assert kept == {at_ns: wanted[symbol, at_ns] for at_ns in kept}


def wait_until_kept(process: subprocess.Popen[bytes], url: str, count: int) -> None:
    deadline_s = time.monotonic() + 30
    while trades_kept(url) < count:
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
