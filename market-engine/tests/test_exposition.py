"""What Prometheus is told: the names of the contract, with real numbers, in a form it can read."""

from __future__ import annotations

import pytest
from api_server import SYMBOLS, Api, messages_of, next_of, served, until, write_recording
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families

from market_engine.bus.base import Topic
from market_engine.errors import RejectReason
from market_engine.events import Rejected
from market_engine.health.faults import Fault, FaultKind, SymbolState

NAMES = {
    "market_trades", "market_feed_duplicates", "market_feed_id_gaps", "market_feed_time_gaps",
    "market_feed_late", "market_feed_out_of_order", "market_feed_malformed",
    "market_feed_backfilled", "market_feed_ids_missing", "market_feed_faults",
    "market_feed_state", "market_feed_lag_seconds", "market_last_trade_timestamp_seconds",
    "market_price", "market_frames_rejected", "market_feed_connected", "market_volatility_ratio",
    "market_vwap", "market_events", "market_pipeline_busy_seconds",
    "market_tick_to_stream_seconds", "market_stored_trades", "market_stored_bars",
    "market_store_duplicates", "market_store_failures", "market_store_waiting",
    "market_store_bytes", "market_retention_deleted", "market_stream_clients",
    "market_stream_clients_dropped", "market_stream_messages", "market_bus_dropped",
    "market_late_for_bar", "market_late_for_windows", "market_feed_unwatched",
    "market_feed_malformed_unknown", "market_feed_ids_given_up",
    "market_http_requests", "market_build_info", "process_cpu_seconds",
}  # fmt: skip


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """A simulated market of two symbols, after its first seconds."""
    folder = tmp_path_factory.mktemp("exposition")
    with served(folder, symbols=",".join(SYMBOLS), simulated_rate=300) as api:
        with api.websocket() as websocket:
            messages_of(websocket, 20)
        until(lambda: api.engine.writer.stats().written.trades > 100)
        until(lambda: api.get("/api/metrics/latest")["symbols"])
        yield api


def samples(api: Api) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(api.client.get("/metrics").text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_every_name_of_the_contract_is_there_with_a_help_text(api: Api):
    families = {
        family.name: family
        for family in text_string_to_metric_families(api.client.get("/metrics").text)
    }
    assert set(families) >= NAMES
    for name, family in families.items():
        assert family.documentation, name
        assert name.startswith(("market_", "portfolio_", "process_", "python_"))


def test_what_it_says_is_what_is(api: Api):
    found = samples(api)
    trades = [found["market_trades_total", (("symbol", symbol),)] for symbol in SYMBOLS]
    assert all(count > 10 for count in trades)
    assert found["market_stored_trades_total", ()] > 100
    assert found["market_feed_connected", ()] == 1
    assert found["market_events_total", ()] > sum(trades)
    assert found["market_store_bytes", ()] > 10_000
    assert 0 < found["market_pipeline_busy_seconds_total", ()] < 60
    labels = (("commit", "abc"), ("python", "3.11"), ("version", "1.2.3"))
    assert found["market_build_info", labels] == 1
    for symbol in SYMBOLS:
        of_symbol = (("symbol", symbol),)
        assert found["market_price", of_symbol] > 1_000
        assert found["market_last_trade_timestamp_seconds", of_symbol] > 1.7e9
        assert found["market_vwap", (*of_symbol, ("window", "5m"))] > 1_000
        assert found["market_feed_lag_seconds_count", of_symbol] > 10
        states = [
            found["market_feed_state", (("state", each), ("symbol", symbol))]
            for each in SymbolState
        ]
        assert sum(states) == 1


def test_volatility_is_absent_and_not_0_while_it_is_not_known(api: Api):
    assert not [name for name, _ in samples(api) if name == "market_volatility_ratio"]


def test_the_delay_to_the_stream_is_measured_for_each_trade(api: Api):
    found = samples(api)
    count = found["market_tick_to_stream_seconds_count", ()]
    assert count >= 5
    assert 0 < found["market_tick_to_stream_seconds_sum", ()] / count < 1
    assert found["market_stream_messages_total", ()] >= 19


def test_what_is_recorded_has_no_delay(tmp_path):
    file = write_recording(tmp_path / "day.frames", minutes=1)
    with served(tmp_path, feed="replay", replay_file=file, replay_speed=20) as api:
        with api.websocket() as websocket:
            for _ in range(2):
                next_of(websocket, "trades")
        assert samples(api)["market_tick_to_stream_seconds_count", ()] == 0


def test_faults_and_rejected_frames_are_counted_as_they_go_by(api: Api):
    fault = Fault("simulated", "BTCUSDT", FaultKind.GAP, 1_790_000_000 * 10**9, "3 missing")
    api.engine.bus.publish(Topic.HEALTH, "BTCUSDT", [fault, fault])
    rejected = Rejected(RejectReason.PRICE, "no price", 1_790_000_000 * 10**9)
    api.engine.bus.publish(Topic.DEAD_LETTERS, "", [rejected])
    gaps = ("market_feed_faults_total", (("kind", "gap"), ("symbol", "BTCUSDT")))
    until(lambda: samples(api).get(gaps) == 2)
    until(lambda: samples(api)["market_frames_rejected_total", (("reason", "price"),)] == 1)


def test_requests_are_counted_by_route_and_never_by_path(api: Api):
    for _ in range(3):
        api.client.get("/symbols/BTCUSDT/price")
    api.client.get("/symbols/NOPE/price")
    for number in range(20):
        api.client.get(f"/nothing/{number}")
    found = samples(api)
    route = ("route", "/symbols/{symbol}/price")
    assert found["market_http_requests_total", (("code_class", "2xx"), route)] >= 3
    assert found["market_http_requests_total", (("code_class", "4xx"), route)] == 1
    routes = {dict(labels)["route"] for name, labels in found if name.startswith("market_http")}
    assert not any("nothing" in each for each in routes)
    assert found["market_http_requests_total", (("code_class", "4xx"), ("route", "other"))] >= 20


@pytest.mark.parametrize("path", ["/metrics", "/metrics/"])
def test_the_form_is_the_one_that_is_asked_for_with_and_without_a_slash(api: Api, path: str):
    plain = api.client.get(path)
    assert plain.headers["content-type"].startswith("text/plain; version=")
    assert "_created" not in plain.text
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    answer = api.client.get(path, headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert len(list(open_families(answer.text))) >= len(NAMES)


@pytest.mark.parametrize(
    "accept", ["", "*/*", "text/plain;version=x.y", "application/openmetrics-text;version=%", ";;,"]
)
def test_no_accept_header_is_strange_enough_to_break_it(api: Api, accept: str):
    assert api.client.get("/metrics", headers={"accept": accept}).status_code == 200
