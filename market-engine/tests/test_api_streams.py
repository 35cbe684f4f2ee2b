"""Streams over real sockets: what is sent, to whom, and what becomes of those who do not read."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise

import httpx
import pytest
from api_server import Api, messages_of, next_of, served, until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from market_engine.api.clients import CLIENTS_MAX, QUEUE_BYTES_MAX
from market_engine.bus.base import Topic
from market_engine.events import Trade
from market_engine.health.faults import Fault, FaultKind, StateChange, SymbolState
from market_engine.routing import publish

AT_NS = 1_790_000_000 * 10**9
TRADES = 500
MOMENT_BYTES_MAX = 4 * TRADES * 150


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """A simulated market; small buffers, so that a reader that stops is soon noticed."""
    folder = tmp_path_factory.mktemp("streams")
    with served(folder, send_buffer_bytes=65_536, simulated_rate=400) as api:
        until(lambda: api.get("/api/metrics/latest")["symbols"])
        yield api


@pytest.fixture(autouse=True)
def nobody_is_left(api):
    yield
    until(lambda: not len(api.parts.clients))


def trade(number: int, symbol: str = "FLOOD") -> Trade:
    return Trade(
        "test", symbol, 10**12 + number, 10**9, "buy", number, AT_NS + number, AT_NS + number
    )


@contextmanager
def flood(api: Api) -> Iterator[threading.Event]:
    """Large messages on the replay's bus, 20 a second and more, until the end."""
    stopped = threading.Event()
    trades = [trade(number) for number in range(TRADES)]

    def pour() -> None:
        while not stopped.wait(0.02):
            for symbol in ("A", "B", "C", "D"):
                each = [Trade("test", symbol, *_rest(one)) for one in trades]
                api.parts.desk.bus.publish(Topic.MARKET_DATA, symbol, each)

    thread = threading.Thread(target=pour)
    thread.start()
    try:
        yield stopped
    finally:
        stopped.set()
        thread.join()


def _rest(one: Trade) -> tuple:
    return (one.price_nano, one.qty_nano, one.side, one.trade_id, one.event_ns, one.received_ns)


def dropped(api: Api) -> int:
    return api.parts.figures.clients_dropped["too_slow"]


def events_of(lines: Iterator[str], count: int) -> list[dict[str, str]]:
    """The next events of an SSE, comments left out."""
    events, event = [], {}
    for line in lines:
        if not line and event:
            events.append(event)
            if len(events) == count:
                break
            event = {}
        elif line and not line.startswith(":"):
            key, _, value = line.partition(": ")
            event[key] = value
    return events


def test_the_first_message_names_the_source_and_its_symbols(api: Api):
    with api.websocket() as websocket:
        (first,) = messages_of(websocket, 1)
    assert first["type"] == "hello"
    assert first["source"] == "feed"
    assert len(first["symbols"]) == 6


def test_trades_come_oldest_first_without_a_hole_and_soon(api: Api):
    with api.websocket("topics=trades&symbols=BTCUSDT") as websocket:
        batches = [next_of(websocket, "trades") for _ in range(20)]
    ids = [trade["id"] for batch in batches for trade in batch["trades"]]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert {batch["symbol"] for batch in batches} == {"BTCUSDT"}
    assert {batch["left_out"] for batch in batches} == {0}
    sent = [batch["sent_ms"] for batch in batches]
    gaps = sorted(later - earlier for earlier, later in pairwise(sent))
    assert gaps[len(gaps) // 2] >= 45


def test_a_client_gets_what_it_asked_for_and_nothing_else(api: Api):
    """A minute may close meanwhile: its bar comes with the metrics."""
    with api.websocket("topics=metrics&symbols=ETHUSDT,AAPL") as websocket:
        first, *found = messages_of(websocket, 20)
    assert (first["type"], first["symbols"]) == ("hello", ["AAPL", "ETHUSDT"])
    assert {each["type"] for each in found} in ({"metrics"}, {"metrics", "bar"})
    assert {each["symbol"] for each in found} <= {"ETHUSDT", "AAPL"}
    latest = api.get("/api/metrics/latest?symbol=ETHUSDT")["symbols"][0]
    metrics = next(each for each in found if each["type"] == "metrics")
    assert set(metrics) == {*latest, "type", "sent_ms"}


def test_faults_and_states_are_told_and_those_of_the_whole_feed_to_everybody(api: Api):
    with api.websocket("topics=health&symbols=BTCUSDT") as websocket:
        next_of(websocket, "hello")
        values = [
            Fault("test", "ETHUSDT", FaultKind.GAP, AT_NS, "not for this one"),
            Fault("test", "BTCUSDT", FaultKind.GAP, AT_NS, "3 missing"),
            Fault("test", None, FaultKind.MALFORMED, AT_NS, "no JSON"),
            StateChange("BTCUSDT", SymbolState.GAP, AT_NS, "3 missing"),
        ]
        api.parts.engine.bus.publish(Topic.HEALTH, "BTCUSDT", values)
        told = messages_of(websocket, 3)
        while told[-1]["type"] != "state" or told[-1]["since_ms"] != AT_NS // 10**6:
            told += messages_of(websocket, 1)
        assert "not for this one" not in str(told)
        found = told[-3:]
    assert [each["type"] for each in found] == ["fault", "fault", "state"]
    assert [each["symbol"] for each in found] == ["BTCUSDT", None, "BTCUSDT"]
    assert found[0]["kind"] == "gap"
    assert found[2]["since_ms"] == AT_NS // 10**6


def test_sse_sends_the_same_with_names_and_rising_ids(api: Api):
    url = f"{api.url}/api/stream?symbols=BTCUSDT"
    with httpx.stream("GET", url, trust_env=False, timeout=10) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = events_of(answer.iter_lines(), 30)
    assert events[0]["event"] == "hello"
    assert {event["event"] for event in events[1:]} <= {"trades", "metrics", "bars", "health"}
    numbers = [int(event["id"]) for event in events[1:]]
    assert numbers == sorted(set(numbers))
    first = next(json.loads(event["data"]) for event in events if event["event"] == "trades")
    assert first["type"] == "trades"
    assert first["symbol"] == "BTCUSDT"


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("topics=prices", 422, "topics"),
        ("topics=trades,,x", 422, "topics"),
        ("source=paper", 422, "source"),
        ("symbols=DOGE", 404, "symbol"),
        (f"symbols={'A' * 5_000}", 422, "symbols"),
    ],
)
def test_a_websocket_that_asks_wrongly_is_told_so_in_the_one_form(api, query, status, field):
    with pytest.raises(InvalidStatus) as refused, api.websocket(query):
        pass
    response = refused.value.response
    assert response.status_code == status
    assert json.loads(response.body)["error"]["field"] == field


def test_what_clients_say_is_let_go(api: Api):
    with api.websocket("topics=trades") as websocket:
        for _ in range(50):
            websocket.send("x" * 1_000)
        websocket.send(b"\x00\xff")
        assert next_of(websocket, "trades")


def test_a_client_that_does_not_read_is_dropped_while_another_goes_on(api: Api):
    before = dropped(api)
    with flood(api), api.websocket("source=replay") as quick, ExitStack() as stack:
        slow = stack.enter_context(silent_client(api.port, "/ws/stream?source=replay"))
        counts = {"read": 0}
        largest = 0
        while dropped(api) == before or counts["read"] < 100:
            messages_of(quick, 1)
            counts["read"] += 1
            largest = max(largest, api.parts.clients.queued_bytes)
        assert largest < 2 * (QUEUE_BYTES_MAX + MOMENT_BYTES_MAX)
        until_s = time.monotonic() + 10
        while len(api.parts.clients) > 1:
            messages_of(quick, 1)
            assert time.monotonic() < until_s
        assert dropped(api) == before + 1
        assert is_cut(slow)
        assert len(messages_of(quick, 20)) == 20


def test_a_dropped_client_that_reads_on_is_told_that_it_was_too_slow(api: Api):
    before = dropped(api)
    with flood(api), api.websocket("source=replay", max_queue=1) as websocket:
        until(lambda: dropped(api) > before)
        read_to_the_end(websocket)
        assert (websocket.close_code, websocket.close_reason) == (1013, "too slow")


def test_an_sse_client_that_does_not_read_is_dropped_too(api: Api):
    before = dropped(api)
    with flood(api), silent_client(api.port, "/api/stream?source=replay") as slow:
        until(lambda: dropped(api) > before)
        until(lambda: not len(api.parts.clients))
        assert is_cut(slow)
    text = api.client.get("/metrics").text
    assert f'market_stream_clients_dropped_total{{reason="too_slow"}} {before + 1}.0' in text


def test_one_stream_more_than_there_may_be_is_refused_and_a_free_place_is_given_again(api: Api):
    with ExitStack() as stack:
        first = stack.enter_context(api.websocket("topics=health"))
        for _ in range(CLIENTS_MAX - 1):
            stack.enter_context(silent_client(api.port, "/api/stream?topics=health"))
        until(lambda: len(api.parts.clients) == CLIENTS_MAX)
        with pytest.raises(InvalidStatus) as refused, api.websocket():
            pass
        assert refused.value.response.status_code == 503
        answer = api.client.get("/api/stream")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "too_many_streams")
        first.close()
        until(lambda: len(api.parts.clients) == CLIENTS_MAX - 1)
        with api.websocket() as websocket:
            assert messages_of(websocket, 1)[0]["type"] == "hello"


def test_twenty_thousand_trades_are_all_on_the_stream_and_each_is_timed(api: Api):
    """How soon they come is measured where nothing else runs: `make soak-market`."""
    symbols = [f"LOAD{number}" for number in range(6)]
    sent, delays = 0, api.parts.figures.delays
    before = list(delays.counts)
    read: list[int] = []

    def listen() -> None:
        with api.websocket("topics=trades") as websocket:
            while sum(read) < 20_000:
                found = next_of(websocket, "trades")
                if found["symbol"].startswith("LOAD"):
                    assert found["left_out"] == 0
                    read.append(len(found["trades"]))

    listener = threading.Thread(target=listen)
    listener.start()
    until(lambda: api.parts.clients.has("feed"))
    while sent < 20_000:
        now_ns = time.time_ns()
        made = [
            Trade("test", symbols[number % 6], 10**12, 10**9, "buy", number, now_ns, now_ns)
            for number in range(sent, sent + 50)
        ]
        publish(api.engine.bus, sorted(made, key=lambda each: each.symbol))
        sent += 50
        time.sleep(0.005)
        read_enough = sent - 5_000  # with more on the way some would be left out, and counted
        until(lambda enough=read_enough: sum(read) >= enough)
    listener.join(60)
    assert sum(read) == 20_000
    assert sum(delays.counts) - sum(before) >= 20_000


def read_to_the_end(websocket: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        while True:
            websocket.recv(timeout=10)


@contextmanager
def silent_client(port: int, path: str) -> Iterator[socket.socket]:
    """Asks for a stream, and never reads."""
    with socket.socket() as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        asking.connect(("127.0.0.1", port))
        upgrade = (
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        )
        head = upgrade if path.startswith("/ws/") else ""
        asking.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}\r\n".encode())
        yield asking


def is_cut(asking: socket.socket) -> bool:
    """Whether its connection has ended once all that came was read."""
    asking.settimeout(10)
    with suppress(ConnectionResetError):
        while asking.recv(65_536):
            pass
    return True


def test_the_server_ends_soon_whoever_listens(tmp_path):
    before = set(threading.enumerate())
    with served(tmp_path, simulated_rate=400) as api, ExitStack() as stack:
        websockets = [stack.enter_context(api.websocket()) for _ in range(3)]
        stream = stack.enter_context(
            httpx.stream("GET", f"{api.url}/api/stream", trust_env=False, timeout=10)
        )
        stack.enter_context(silent_client(api.port, "/api/stream"))
        stack.enter_context(silent_client(api.port, "/ws/stream"))
        lines = stream.iter_lines()
        assert events_of(lines, 3)
        until(lambda: len(api.parts.clients) == 6)
        assert api.stop() < 15
        for _ in lines:  # it ends, and is not cut off
            pass
        for websocket in websockets:
            read_to_the_end(websocket)
            assert websocket.close_code in {1001, 1012}
        left = {each.name for each in set(threading.enumerate()) - before}
        assert not [name for name in left if name.startswith(("stream-", "replay", "storage-"))]
