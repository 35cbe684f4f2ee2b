"""The peers of the benchmark do for a trade what is said of them, and are measured as ours is."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from importlib.metadata import version

import prometheus_client
import psutil
import pytest
import zmq

from trade_telemetry.messages import decode
from trading_app.benchmark import BenchmarkError, ways
from trading_app.benchmark.peers import WAYS, _Lane, _peer, measure_peers
from trading_app.benchmark.sidecar import Sidecar
from trading_app.benchmark.ways import TRADES, Way
from trading_app.benchmark.ways_in_process import (
    opentelemetry,
    prometheus_cached,
    prometheus_labels,
)
from trading_app.benchmark.ways_sending import bare, dogstatsd, statsd, typical

CALLS, ROUNDS = 700, 2  # more than a block, and no whole number of them
WARM_UP = 500
VOLUME = {(side, symbol): 3 * qty for side, qty, symbol, _ in TRADES}


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory):
    with Sidecar(tmp_path_factory.mktemp("sidecar")) as sidecar:
        yield sidecar


@pytest.fixture(scope="module")
def measured(sidecar):
    """Every peer, what was told meanwhile, and how many trades the sidecar counted."""
    told = []
    before = sidecar.totals().applied
    peers = measure_peers(sidecar.address, CALLS, ROUNDS, told.append)
    return peers, told, sidecar.totals().applied - before


@pytest.fixture
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(10)
        yield udp


@pytest.fixture
def pull():
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.setsockopt(zmq.RCVTIMEO, 10_000)
        yield pull


def count_each_three_times(count):
    for trade in TRADES * 3:
        count(*trade)


def ignore(_text):
    """Who is told nothing."""


def test_every_peer_has_a_latency_for_each_trade_and_a_ratio_for_each_round(measured):
    peers, _, _ = measured
    assert [peer.name for peer in peers] == [way.name for way in WAYS]
    assert {peer.name for peer in peers} == {
        *("bare", "typical", "statsd", "dogstatsd"),
        *("prometheus-cached", "prometheus-labels", "opentelemetry"),
    }
    for peer in peers:
        assert peer.missing is None
        assert peer.call.count == CALLS * ROUNDS
        assert len(peer.ratios) == ROUNDS
        assert peer.what.endswith(".")


def test_every_peer_has_the_version_of_its_package(measured):
    packages = {way.name: way.package for way in WAYS}
    assert {peer.name: peer.version for peer in measured[0]} == {
        name: version(package) for name, package in packages.items()
    }


def test_publish_itself_is_counted_by_the_sidecar_once_for_each_call(measured):
    assert measured[2] == CALLS * ROUNDS + WARM_UP


def test_it_tells_each_round(measured):
    rounds = [text for text in measured[1] if text.startswith("peers: round")]
    assert len(rounds) == ROUNDS


def test_nothing_is_left_running(sidecar):
    before = set(psutil.Process().children()), set(threading.enumerate())
    measure_peers(sidecar.address, 20, 1, ignore)
    assert (set(psutil.Process().children()), set(threading.enumerate())) == before


def test_a_ratio_leaves_out_what_measuring_takes():
    way = WAYS[0]
    lane, ours, nothing = (
        _Lane(name, None, rounds_ns=[[value, value, 9_999], [value + 1]])
        for name, value in (("peer", 110), ("publish", 20), ("nothing", 10))
    )
    assert _peer(way, lane, ours, nothing).ratios == [10.0, 10.0]


@pytest.mark.parametrize("package", ["statsd", "datadog", "prometheus_client", "opentelemetry.sdk"])
def test_a_peer_whose_package_is_missing_is_left_out_by_name(sidecar, package, monkeypatch):
    for module in [module for module in sys.modules if module.startswith(package)]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, package, None)
    peers = measure_peers(sidecar.address, 20, 1, ignore)
    assert [peer.name for peer in peers] == [way.name for way in WAYS]
    missing = {peer.name: peer for peer in peers if peer.missing}
    needs = {"datadog": ["dogstatsd"], "opentelemetry.sdk": ["opentelemetry"]}
    needs["prometheus_client"] = ["prometheus-cached", "prometheus-labels"]
    assert list(missing) == needs.get(package, [package])
    for peer in missing.values():
        assert (peer.call, peer.ratios, peer.version) == (None, [], None)
        assert peer.missing.startswith("the package ")
        assert "is not installed" in peer.missing
    assert all(peer.call.count == 20 for peer in peers if not peer.missing)


def forgetful(*, lossy, forgets=7):
    """A way that counts all but every so many trades."""

    @contextmanager
    def open_():
        given = []
        yield ways.Counter(
            lambda *trade: given.append(trade), lambda: len(given) - len(given) // forgets
        )

    return Way("forgetful", "Forgetful", "pyzmq", "Forgets.", open_, lossy=lossy)


def test_a_peer_that_has_not_counted_what_it_was_given_is_an_error(sidecar, monkeypatch):
    monkeypatch.setattr("trading_app.benchmark.peers.ARRIVE_S_MAX", 0.1)
    with pytest.raises(BenchmarkError, match=r"^Forgetful: 14 trades were given, and 12 counted$"):
        measure_peers(sidecar.address, 7, 1, ignore, ways=[forgetful(lossy=False)])


def test_what_a_lossy_peer_lost_is_told_and_no_error(sidecar):
    told = []
    (peer,) = measure_peers(sidecar.address, 7, 1, told.append, ways=[forgetful(lossy=True)])
    assert peer.call.count == 7
    assert told[-1] == "Forgetful: 14 trades were given, and 12 counted"


def test_a_peer_that_counts_more_than_it_was_given_is_an_error(sidecar):
    too_much = forgetful(lossy=True, forgets=-7)
    with pytest.raises(BenchmarkError, match="14 trades were given, and 16 counted"):
        measure_peers(sidecar.address, 7, 1, ignore, ways=[too_much])


def test_a_sidecar_that_dies_meanwhile_is_one_clear_error(tmp_path):
    with Sidecar(tmp_path) as sidecar:
        address = sidecar.address
        with pytest.raises(BenchmarkError, match=f"^the sidecar at {address} went away while"):
            measure_peers(
                address,
                CALLS,
                10,
                lambda _: os.kill(sidecar.process_id, signal.SIGKILL),
                ways=WAYS[:1],
            )


def test_no_sidecar_at_all_is_one_clear_error(monkeypatch):
    monkeypatch.setattr("trading_app.benchmark.peers.SETTLE_S_MAX", 0.1)
    with pytest.raises(BenchmarkError, match=r"^no sidecar answers at tcp://127.0.0.1:1 in 0.1 s$"):
        measure_peers("tcp://127.0.0.1:1", 10, 1, ignore)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_every_way_counts_each_trade_that_it_was_given(way):
    with way.open() as counter:
        lane = _Lane(way.title, counter)  # also of a lossy one: so few are not lost here
        lane.rounds_ns.append([])
        lane.run(24)
        lane.check(pytest.fail)
        assert counter.counted() == 24


def test_the_trades_differ_in_side_and_symbol():
    assert len({(side, symbol) for side, _, symbol, _ in TRADES}) == len(TRADES) == 8


def test_the_datagrams_of_statsd_add_up(udp):
    with statsd(udp.getsockname()[1]) as count:
        count_each_three_times(count)
    counters, last = Counter(), 0.0
    for _ in range(len(TRADES) * 3 * 3):
        name, value, kind = re.fullmatch(rb"(\S+):([\d.]+)\|([cg])", udp.recv(512)).groups()
        if kind == b"g":
            assert name == b"last_trade_ts_seconds"
            last = max(last, float(value))
        else:
            counters[name.decode()] += float(value)
    assert counters == {
        **{f"trades.{side}.{symbol}": 3 for side, symbol in VOLUME},
        **{f"volume.{side}.{symbol}": volume for (side, symbol), volume in VOLUME.items()},
    }
    assert last > 1.7e9


def test_the_datagrams_of_dogstatsd_add_up(udp):
    with dogstatsd(udp.getsockname()[1]) as count:
        count_each_three_times(count)
    counters, gauges = Counter(), 0
    pattern = rb"(\w+):([\d.]+)\|([cg])(?:\|#side:(\w+),symbol:(\w+))?.*\n?"
    for _ in range(len(TRADES) * 3 * 3):
        name, value, kind, side, symbol = re.fullmatch(pattern, udp.recv(8192)).groups()
        if kind == b"g":
            assert name == b"last_trade_ts_seconds"
            gauges += 1
        else:
            counters[name.decode(), side.decode(), symbol.decode()] += float(value)
    assert counters == {
        **{("trades", *pair): 3 for pair in VOLUME},
        **{("volume", *pair): volume for pair, volume in VOLUME.items()},
    }
    assert gauges == len(TRADES) * 3


@pytest.mark.parametrize("way", [statsd, dogstatsd])
def test_a_trade_is_three_datagrams_that_have_left_when_the_call_is_over(udp, way):
    with way(udp.getsockname()[1]) as count:
        count(*TRADES[0])
        udp.setblocking(False)
        assert [udp.recv(8192).split(b":")[0] for _ in range(3)][2] == b"last_trade_ts_seconds"
        with pytest.raises(BlockingIOError):
            udp.recv(8192)


def test_the_bare_send_sends_the_bytes_of_a_stamped_trade(pull):
    with bare(pull.bind_to_random_port("tcp://127.0.0.1")) as count:
        count_each_three_times(count)
        frames = {pull.recv() for _ in range(len(TRADES) * 3)}
    (frame,) = frames
    trade = decode(frame, time.time())
    assert (trade.side, trade.symbol, trade.seq, trade.src) == (
        "buy",
        "BTCUSDT",
        12_345,
        "benchmark",
    )


def test_the_publisher_that_most_people_write_sends_json(pull):
    with typical(pull.bind_to_random_port("tcp://127.0.0.1")) as count:
        count_each_three_times(count)
        messages = [json.loads(pull.recv()) for _ in range(len(TRADES) * 3)]
    sent = [
        tuple(message[name] for name in ("side", "qty", "symbol", "price")) for message in messages
    ]
    assert sent == TRADES * 3
    assert {message["type"] for message in messages} == {"trade"}
    assert min(message["ts"] for message in messages) > 1.7e9


def test_the_publisher_that_most_people_write_refuses_what_is_no_trade(pull):
    port = pull.bind_to_random_port("tcp://127.0.0.1")
    with typical(port) as count, pytest.raises(ValueError, match="qty"):
        count("buy", -1.0, "BTCUSDT", 64_000.0)


@pytest.mark.parametrize("way", [prometheus_cached, prometheus_labels])
def test_prometheus_counts_by_side_and_symbol_volume_and_last_time(way):
    registry = prometheus_client.CollectorRegistry()
    with way(registry) as counter:
        count_each_three_times(counter.count)
    for (side, symbol), volume in VOLUME.items():
        labels = {"side": side, "symbol": symbol}
        assert registry.get_sample_value("trades_total", labels) == 3
        assert registry.get_sample_value("volume_total", labels) == volume
    assert registry.get_sample_value("last_trade_ts_seconds") > 1.7e9


def test_opentelemetry_counts_by_side_and_symbol_volume_and_last_time():
    exports = []
    with opentelemetry(exports) as counter:
        count_each_three_times(counter.count)
        assert counter.counted() == len(TRADES) * 3
    (resource,) = exports[0].resource_metrics
    (scope,) = resource.scope_metrics
    found = {
        (metric.name, *(point.attributes or {}).values()): point.value
        for metric in scope.metrics
        for point in metric.data.data_points
    }
    assert found.pop(("last_trade_ts_seconds",)) > 1.7e9
    assert found == {
        **{("trades", *pair): 3 for pair in VOLUME},
        **{("volume", *pair): volume for pair, volume in VOLUME.items()},
    }


def test_nothing_is_opened_started_or_read_by_importing_the_benchmark():
    code = """
import pkgutil, socket, sys, threading, importlib
import streamlit, altair, vl_convert, trade_telemetry
def trap(event, arguments):
    if event in {"socket.bind", "socket.connect", "subprocess.Popen"}:
        raise SystemExit(f"{event} {arguments}")
    if event == "open" and str(arguments[0]).endswith(".env"):
        raise SystemExit(f"read {arguments[0]}")
sys.addaudithook(trap)
threads = threading.active_count()
from trading_app import benchmark
for module in pkgutil.walk_packages(benchmark.__path__, "trading_app.benchmark."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
assert threading.active_count() == threads, threading.enumerate()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
