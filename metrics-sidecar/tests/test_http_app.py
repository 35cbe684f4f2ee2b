"""What the sidecar serves: the exposition, health that is never falsely green, the live feed."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from dataclasses import replace

import httpx
import pytest
import zmq

from metrics_sidecar.exposition import Build, make_registry
from metrics_sidecar.feed import LISTENERS_MAX
from metrics_sidecar.history import SAMPLES_MAX
from metrics_sidecar.http_app import create_app
from metrics_sidecar.ledger import Ledger
from metrics_sidecar.receiver import Receiver
from metrics_sidecar.tallies import RECENT_MAX, SYMBOLS_MAX
from trade_telemetry import Trade

PLAIN = b'{"type":"trade","side":"buy","qty":1.5,"ts":1790000000.5}'


@pytest.fixture
def receiver(free_ports):
    port = free_ports()
    return Receiver(f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port + 1}")


@pytest.fixture
def ask(receiver):
    """Ask an application whose receiver the test controls; its lifespan is not run."""
    registry = make_registry(receiver, Build("1.2.3", "abc", "3.11"))
    transport = httpx.ASGITransport(create_app(receiver, registry))

    def get(path: str) -> httpx.Response:
        async def go() -> httpx.Response:
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.get(path)

        return asyncio.run(go())

    return get


def test_metrics_answer_503_and_never_0_before_there_is_anything_to_show(ask):
    assert ask("/metrics").status_code == 503
    assert ask("/api/summary").status_code == 503


def test_health_is_not_green_before_the_receiver_starts_but_the_process_lives(ask):
    assert ask("/health").status_code == 503
    assert ask("/health").json()["status"] == "starting"
    assert ask("/health/ready").status_code == 503
    assert ask("/health/live").status_code == 200


def test_health_names_the_reason_when_the_receiver_is_dead(ask, receiver):
    receiver.start()
    assert ask("/health").status_code == 200
    receiver.stop()
    answer = ask("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "dead")
    assert "nothing is counted" in answer.json()["reason"]
    assert "telemetry_receiver_up 0.0" in ask("/metrics").text


def test_health_names_the_reason_when_the_receiver_is_stalled(ask, receiver):
    held = threading.Event()
    stalled = threading.Event()

    def stall(_ready: object) -> int:
        stalled.set()
        held.wait()
        return 0

    receiver.start()
    receiver._inbox.connections.handle = stall
    try:
        assert stalled.wait(10)
        receiver._heartbeat_s -= 3  # three seconds pass
        answer = ask("/health")
        assert (answer.status_code, answer.json()["status"]) == (503, "stalled")
        assert "has not come round for 3" in answer.json()["reason"]
        assert "telemetry_receiver_up 0.0" in ask("/metrics").text
    finally:
        held.set()
        receiver.stop()


def test_a_receiver_that_fails_every_time_is_counted_and_not_healthy(ask, receiver, monkeypatch):
    monkeypatch.setattr("metrics_sidecar.receiver.STALLED_AFTER_S", 0.3)
    receiver.start()

    def fail(_ready: object) -> int:
        raise RuntimeError("a defect")

    working = receiver._inbox.connections.handle
    receiver._inbox.connections.handle = fail
    deadline_s = time.monotonic() + 10
    while ask("/health").status_code != 503:
        assert time.monotonic() < deadline_s
    receiver._inbox.connections.handle = working
    while ask("/health").status_code != 200:
        assert time.monotonic() < deadline_s
    assert "telemetry_receiver_errors_total 0.0" not in ask("/metrics").text
    receiver.stop()


def test_metrics_answer_with_and_without_a_slash_and_negotiate_their_form(sidecar):
    for path in ("/metrics", "/metrics/"):
        answer = sidecar.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = httpx.get(f"{sidecar.url}/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_the_three_metrics_of_the_contract_have_their_types_and_start_at_zero(sidecar):
    text = sidecar.get("/metrics").text
    for line in (
        "# TYPE trades_total counter",
        "# TYPE volume_total counter",
        "# TYPE last_trade_ts_seconds gauge",
        'trades_total{side="buy"} 0.0',
        'trades_total{side="sell"} 0.0',
        'volume_total{side="buy"} 0.0',
        'volume_total{side="sell"} 0.0',
        "last_trade_ts_seconds 0.0",
    ):
        assert line in text.splitlines()
    assert "_created" not in text


def test_every_other_metric_of_ours_has_the_prefix_and_a_help_text(sidecar):
    for line in sidecar.get("/metrics").text.splitlines():
        if line.startswith("# HELP "):
            _, _, name, text = line.split(" ", 3)
            ours = ("telemetry_", "benchmark_")
            assert name.startswith((*ours, "process_", "python_")) or name in {
                "trades_total",
                "volume_total",
                "last_trade_ts_seconds",
            }
            assert text.endswith(".") or name.startswith(("process_", "python_"))


def test_the_build_is_shown(start_sidecar):
    sidecar = start_sidecar(SIDECAR_COMMIT="abc1234")
    (labels,) = (dict(k[1]) for k in sidecar.samples() if k[0] == "telemetry_build_info")
    assert labels["commit"] == "abc1234"
    assert set(labels) == {"commit", "python", "version"}


def life(sidecar) -> str:
    """How the feed names this life of the sidecar."""
    return f"{sidecar.get('/health').json()['started_s']:.3f}"


def events(url: str, count: int, **headers: str) -> list[tuple[str, str, str]]:
    """The first events of the live feed as (name, id, data)."""
    found = []
    with httpx.stream("GET", f"{url}/api/trades/stream", headers=headers, timeout=20) as answer:
        answer.raise_for_status()
        fields: dict[str, str] = {}
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name:
                fields[name] = value
            elif "data" in fields:
                found.append((fields["event"], fields["id"], fields["data"]))
                fields = {}
                if len(found) == count:
                    return found
    raise AssertionError("the feed ended early")


def test_the_live_feed_shows_each_trade_and_resumes_where_a_listener_left(sidecar, push):
    for _ in range(5):
        push.send(PLAIN)
    first = events(sidecar.url, 5, **{"Last-Event-ID": f"{life(sidecar)}-0"})
    assert [name for name, _, _ in first] == ["trade"] * 5
    assert [number for _, number, _ in first] == [f"{life(sidecar)}-{n}" for n in range(1, 6)]
    trade = json.loads(first[0][2])
    assert (trade["side"], trade["qty"], trade["ts"]) == ("buy", 1.5, 1790000000.5)
    push.send(PLAIN)
    assert events(sidecar.url, 1, **{"Last-Event-ID": first[-1][1]})[0][1] == f"{life(sidecar)}-6"


@pytest.mark.parametrize("from_elsewhere", ["1700000000.000-1000", "-5", "rubbish", "7"])
def test_an_id_of_another_life_starts_with_what_is_kept_of_this_one(sidecar, push, from_elsewhere):
    for _ in range(3):
        push.send(PLAIN)
    sidecar.until(lambda: sidecar.value("trades_total", side="buy") == 3)
    found = events(sidecar.url, 3, **{"Last-Event-ID": from_elsewhere})
    assert [json.loads(data)["id"] for _, _, data in found] == [1, 2, 3]


def test_a_listener_that_comes_late_is_told_how_many_it_missed(sidecar, push):
    for _ in range(RECENT_MAX + 7):
        push.send(PLAIN)
    sidecar.until(lambda: sidecar.value("trades_total", side="buy") == RECENT_MAX + 7)
    missed, oldest = events(sidecar.url, 2, **{"Last-Event-ID": f"{life(sidecar)}-0"})
    assert missed == ("missed", f"{life(sidecar)}-7", "7")
    assert oldest[:2] == ("trade", f"{life(sidecar)}-8")


def test_listeners_are_bounded(sidecar):
    with httpx.Client(limits=httpx.Limits(max_connections=LISTENERS_MAX + 1)) as client:
        path = f"{sidecar.url}/api/trades/stream"
        streams = [client.stream("GET", path) for _ in range(LISTENERS_MAX)]
        for stream in streams:
            assert stream.__enter__().status_code == 200
        assert client.get(path).status_code == 503
        for stream in streams:
            stream.__exit__(None, None, None)
        sidecar.until(lambda: events_open(sidecar.url))


def events_open(url: str) -> bool:
    with httpx.stream("GET", f"{url}/api/trades/stream") as answer:
        return answer.status_code == 200


def test_open_listeners_do_not_hold_up_the_end(sidecar):
    with httpx.stream("GET", f"{sidecar.url}/api/trades/stream") as answer:
        assert answer.status_code == 200
        assert sidecar.stop() == 0
    assert "Traceback" not in sidecar.log_path.read_text()


def test_a_listener_that_does_not_read_does_not_hold_up_the_end(sidecar, push):
    host, port = sidecar.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.sendall(b"GET /api/trades/stream HTTP/1.1\r\nHost: x\r\nLast-Event-ID: all\r\n\r\n")
        for _ in range(60_000):
            push.send(PLAIN)
        sidecar.until(lambda: sidecar.value("trades_total", side="buy") == 60_000)
        assert sidecar.stop() == 0
    assert "receiver drained" in sidecar.log_path.read_text()


def test_listeners_that_come_all_at_once_are_bounded_too(sidecar):
    async def open_all() -> list[int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(limits=limits, timeout=20) as client:
            path = f"{sidecar.url}/api/trades/stream"
            requests = [client.build_request("GET", path) for _ in range(LISTENERS_MAX * 2)]
            answers = await asyncio.gather(*(client.send(r, stream=True) for r in requests))
            codes = [answer.status_code for answer in answers]
            for answer in answers:
                await answer.aclose()
            return codes

    codes = asyncio.run(open_all())
    assert codes.count(200) == LISTENERS_MAX
    assert codes.count(503) == LISTENERS_MAX


def test_health_answers_head(sidecar):
    for path in ("/health", "/health/live", "/health/ready", "/metrics"):
        assert httpx.head(f"{sidecar.url}{path}").status_code == 200


def test_the_history_has_a_sample_a_second_of_this_life(sidecar, push):
    push.send(PLAIN)
    sidecar.until(lambda: sidecar.get("/api/history").json()["samples"][-1]["trades_buy"] == 1)
    answer = sidecar.get("/api/history").json()
    times_s = [sample["at_s"] for sample in answer["samples"]]
    assert len({int(at_s) for at_s in times_s}) == len(times_s)
    assert round(answer["started_s"], 3) <= times_s[0] < times_s[-1] <= answer["now_s"]
    assert answer["samples"][0]["trades_buy"] == 0
    newest = answer["samples"][-1]
    assert (newest["volume_buy"], newest["trades_sell"], newest["rejected"]) == (1.5, 0, 0)
    assert sum(newest["age_counts"]) == 1
    assert len(newest["age_counts"]) == len(answer["age_bounds_s"]) + 1
    assert 0 < newest["busy_s"] < answer["now_s"] - answer["started_s"]


def test_the_history_by_symbol_names_what_its_marks_count(sidecar, push):
    for symbol in ("BTCUSDT", "ETHUSDT", "ETHUSDT"):
        push.send(f'{{"type":"trade","side":"sell","qty":1,"ts":1,"symbol":"{symbol}"}}'.encode())

    def newest() -> dict[str, int]:
        answer = sidecar.get("/api/history").json()
        mark = answer["symbol_marks"][-1]
        assert len(mark["trades_buy"]) == len(mark["trades_sell"])
        return dict(zip(answer["symbols"], mark["trades_sell"], strict=False))

    sidecar.until(lambda: newest() == {"(none)": 0, "BTCUSDT": 1, "ETHUSDT": 2})


def test_a_sample_is_exact_at_its_moment_though_commits_are_further_apart(receiver, monkeypatch):
    monkeypatch.setattr("metrics_sidecar.committer.COMMIT_INTERVAL_S", 3_600)
    receiver.start()
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.connect(receiver.bind)
        push.send(PLAIN)
        deadline_s = time.monotonic() + 10
        while not receiver.history.samples()[-1].trades_buy:
            assert time.monotonic() < deadline_s
    receiver.stop()


def test_the_longest_history_is_far_below_what_the_desk_takes(ask, receiver, monkeypatch):
    ledger = Ledger()
    for number in range(SYMBOLS_MAX + 1):
        symbol = f"{number:024}"  # as long as a symbol may be
        ledger.apply(Trade("buy", 1_234_567.123456789, 1.0, symbol=symbol), 2.0)
    ledger.changes()
    ledger.committed()
    big = replace(ledger.snapshot(), age_counts=(10**9,) * 15)
    monkeypatch.setattr(Receiver, "snapshot", big)
    for second in range(SAMPLES_MAX):
        receiver.history.add(1_790_000_000.123 + second, big, 123_456.123456)
    answer = ask("/api/history")
    assert len(answer.json()["samples"]) == SAMPLES_MAX
    assert len(answer.json()["symbol_marks"][-1]["trades_buy"]) == SYMBOLS_MAX + 2
    assert len(answer.content) < 512 * 1024
