"""The desk killed at any moment under load: what was answered is kept, and nothing counts twice."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from market_engine.paper.account import PortfolioAccount
from market_engine.paper.model import BookName, Fill
from market_engine.paper.store import DeskStore
from market_engine.storage.database import Database

PROGRAM = Path(sys.executable).with_name("market-engine")
SYMBOLS = ("BTCUSDT", "ETHUSDT")
THREADS = 4
KILLS = 4


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def engine(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        "PATH": os.environ["PATH"],
        "MARKET_HTTP_PORT": str(port),
        "MARKET_DATABASE_URL": f"sqlite:///{folder}/market.db",
        "MARKET_SYMBOLS": ",".join(SYMBOLS),
        "MARKET_SIMULATED_RATE": "400",
        "MARKET_TELEMETRY_ADDR": "",
    }
    with (folder / "engine.log").open("ab") as log:
        process = subprocess.Popen([PROGRAM], cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        await_prices(process, port)
        yield process
    finally:
        process.kill()
        process.wait()


def await_prices(process: subprocess.Popen[bytes], port: int) -> None:
    deadline_s = time.monotonic() + 30
    while True:
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/api/metrics/latest", timeout=2)
            if answer.status_code == 200 and len(answer.json()["symbols"]) == len(SYMBOLS):
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)


def make_portfolio(url: str) -> None:
    body = {"name": "main", "currency": "USDT", "balance": "100000000"}
    body["limits"] = {"max_order": None, "max_position": None, "max_gross": None}
    body["limits"] |= {"max_daily_loss": None, "orders_a_second": None}
    answer = httpx.post(f"{url}/portfolio/init", json=body, timeout=10)
    assert answer.status_code in (200, 201), answer.text


def body_of(client_order_id: str, number: int) -> dict[str, Any]:
    return {
        "portfolio": "main",
        "client_order_id": client_order_id,
        "symbol": SYMBOLS[number % 2],
        "side": ("buy", "sell")[number // 2 % 2],
        "type": "market",
        "qty": f"0.{number % 9 + 1}",
    }


def resting(body: dict[str, Any]) -> dict[str, Any]:
    """The same as one that rests far from the market."""
    price = "1" if body["side"] == "buy" else "1000000"
    return body | {"type": "limit", "limit_price": price}


class Sender:
    """Threads that send orders, take some back and change the state until the engine is gone.

    Has what was asked, and what was answered.
    """

    def __init__(self, url: str, name: str) -> None:
        self.url = url
        self.asked: dict[str, dict[str, Any]] = {}
        self.answered: dict[str, dict[str, Any]] = {}
        self.cancelled: set[str] = set()
        """Those whose cancel was answered."""
        self.states: list[dict[str, Any]] = []
        """As they were answered; the last one may have been followed by one that was not."""
        self._name = name
        self._threads = [
            threading.Thread(target=self._send, args=(number,)) for number in range(THREADS)
        ]
        self._threads.append(threading.Thread(target=self._change))
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def _send(self, thread: int) -> None:
        with httpx.Client(base_url=self.url, timeout=5) as client:
            for number in range(10_000):
                client_order_id = f"{self._name}-{thread}-{number}"
                body, rests = body_of(client_order_id, number), number % 3 == 0
                body = self.asked[client_order_id] = resting(body) if rests else body
                try:
                    answer = client.post("/orders", json=body)
                    assert answer.status_code == 201, answer.text
                    self.answered[client_order_id] = answer.json()
                    if rests and number % 2:
                        answer = client.delete(f"/orders/{client_order_id}")
                        assert answer.status_code == 200, answer.text
                        self.cancelled.add(client_order_id)
                except httpx.HTTPError:
                    return

    def _change(self) -> None:
        """Each time the same state, with another reason: all of these orders go through."""
        with httpx.Client(base_url=self.url, timeout=5) as client:
            for number in range(10_000):
                body = {"state": "active", "reason": f"{self._name}-{number}"}
                try:
                    answer = client.post("/trading-state", json=body)
                except httpx.HTTPError:
                    return
                assert answer.status_code == 200, answer.text
                self.states.append(answer.json())
                time.sleep(0.005)


def check_kept(client: httpx.Client, sender: Sender) -> None:
    """What was answered before the kill is so after the start: orders, cancels and states."""
    number = client.get("/trading-state").json()["number"]
    assert sender.states
    assert sender.states[-1]["number"] <= number <= sender.states[-1]["number"] + 1
    listed = client.get("/orders?state=open&limit=500").json()["orders"]
    rest = {order["client_order_id"] for order in listed}
    assert sender.cancelled
    assert not rest & sender.cancelled, "a cancel that was answered is lost"
    kept = {
        each
        for each in sender.answered
        if sender.asked[each]["type"] == "limit" and int(each.rpartition("-")[2]) % 2 == 0
    }
    assert kept
    assert rest >= kept, "an order that rested is lost"


def test_what_was_answered_is_kept_and_nothing_is_applied_twice(tmp_path):
    choose = random.Random(4)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    asked: dict[str, dict[str, Any]] = {}
    answered: dict[str, dict[str, Any]] = {}
    sender: Sender | None = None
    for kill in range(KILLS):
        with engine(tmp_path, port) as process:
            make_portfolio(url)
            if sender is not None:
                with httpx.Client(base_url=url, timeout=10) as client:
                    check_kept(client, sender)
                    client.delete("/orders?portfolio=main")  # a list has its limit
            sender = Sender(url, f"k{kill}")
            wanted = choose.randrange(20, 200)
            deadline_s = time.monotonic() + 30
            while len(sender.answered) < wanted:
                assert time.monotonic() < deadline_s
                time.sleep(0.001)
            os.kill(process.pid, signal.SIGKILL)
            sender.join()
        asked |= sender.asked
        answered |= sender.answered
    assert sender is not None
    with engine(tmp_path, port):
        with httpx.Client(base_url=url, timeout=10) as client:
            check_kept(client, sender)
        assert httpx.get(f"{url}/portfolio", timeout=10).json()["residue"] == "0"
        with httpx.Client(base_url=url, timeout=10) as client:
            numbers = {}
            for client_order_id, body in asked.items():
                answer = client.post("/orders", json=body)
                numbers[client_order_id] = answer.json()["number"]
                if client_order_id in answered:
                    assert answer.status_code == 200, "it had been answered"
        assert httpx.get(f"{url}/portfolio", timeout=10).json()["residue"] == "0"
    assert len(set(numbers.values())) == len(asked)
    for client_order_id, order in answered.items():
        assert numbers[client_order_id] == order["number"]
    check_books(tmp_path, len(asked))


def check_books(folder: Path, orders: int) -> None:
    """Everything that is stored follows from the fills, each of which is there once."""
    with closing(Database(f"sqlite:///{folder}/desk.db")) as database:
        database.check()
        store = DeskStore(database)
        (portfolio,) = store.portfolios()
        fills = list(store.fills("main", BookName.NEUTRAL))
        assert len(store.orders("main", 10_000)) == orders
        assert [fill.number for fill in fills] == list(range(1, len(fills) + 1))
        assert len(fills) > 100
        account = PortfolioAccount(portfolio)
        postings = account.open()
        for fill in fills:
            postings += account.fill(fill)
        assert list(store.postings("main")) == postings
        for row in store.positions("main"):
            position = account.positions[row.symbol]
            assert (row.qty_nano, row.cost, row.realised) == (
                position.qty_nano,
                position.cost,
                position.realised,
            )
        filled: dict[int, int] = {}
        for fill in fills:
            filled[fill.order_number] = filled.get(fill.order_number, 0) + fill.qty_nano
        for order in store.orders("main", 10_000):
            assert order.filled_nano == filled.get(order.number, 0) <= order.asked.qty_nano


def fills_once(fills: list[Fill]) -> bool:
    return len({(fill.order_number, fill.order_fill) for fill in fills}) == len(fills)


def test_one_order_sent_a_thousand_times_over_a_kill_is_one_order(tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    body = body_of("the-one", 0)
    numbers: list[int] = []
    left = iter(range(1_000))

    def send() -> None:
        with httpx.Client(base_url=url, timeout=5) as client:
            for _ in left:
                while True:
                    try:
                        answer = client.post("/orders", json=body)
                    except httpx.HTTPError:
                        if stopping.wait(0.02):
                            return
                        continue
                    assert answer.status_code in (200, 201), answer.text
                    numbers.append(answer.json()["number"])
                    break

    stopping = threading.Event()
    threads = [threading.Thread(target=send) for _ in range(8)]
    try:
        with engine(tmp_path, port) as process:
            make_portfolio(url)
            for thread in threads:
                thread.start()
            deadline_s = time.monotonic() + 30
            while len(numbers) < 400:
                assert time.monotonic() < deadline_s
                time.sleep(0.001)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        assert len(numbers) < 1_000
        with engine(tmp_path, port):
            for thread in threads:
                thread.join(30)
                assert not thread.is_alive()
            other = httpx.post(f"{url}/orders", json=body | {"qty": "0.2"}, timeout=5)
            assert other.status_code == 409
            assert other.json()["error"]["code"] == "other_order"
    finally:
        stopping.set()
    assert numbers == [1] * 1_000
    with closing(Database(f"sqlite:///{tmp_path}/desk.db")) as database:
        store = DeskStore(database)
        (order,) = store.orders("main", 10)
        fills = store.fills_of([order.number])
        assert fills_once([fill for fill in fills if fill.book is BookName.NEUTRAL])
        assert order.filled_nano <= order.asked.qty_nano
