"""The routes: their answers on a market that stands still, and every way to ask wrongly."""

from __future__ import annotations

import json
from decimal import Decimal

import httpx
import pytest
from api_server import DAY_START_NS, SYMBOLS, Api, served, until, write_recording

from market_engine.events import MS_NS, SECOND_NS

MINUTES = 130
DAY_MS = DAY_START_NS // MS_NS
SECRET = "/etc/passwd"


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """A recording of two hours and a bit was taken, and the feed has ended."""
    folder = tmp_path_factory.mktemp("api")
    file = write_recording(folder / "feed.frames", MINUTES, 200_000)
    with served(folder, feed="replay", replay_file=file, replay_speed=0) as api:
        until(lambda: api.engine.feed is not None and not api.engine.status().running)
        until(lambda: api.engine.writer.stats().written.bars > 2 * (MINUTES - 5))
        yield api


def error_of(answer) -> dict:
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "field"}
    return body["error"]


def test_the_symbols_are_listed_with_their_newest_prices(api: Api):
    body = api.get("/symbols")
    assert (body["source"], body["venue"]) == ("feed", "simulated")
    assert [each["symbol"] for each in body["symbols"]] == list(SYMBOLS)
    for each in body["symbols"]:
        assert Decimal(each["price"]) > 0
        assert each["price_ms"] > DAY_MS
        assert each["state"] == "live"
        assert -0.5 < each["change_1h"] < 0.5


def test_the_change_of_an_hour_is_against_the_bar_that_closed_an_hour_ago(api: Api):
    (btc, _) = api.get("/symbols")["symbols"]
    bars = api.get("/symbols/BTCUSDT/history?window=6h&points=1000")["bars"]
    then_ms = btc["price_ms"] - 3_600_000
    closed = [bar for bar in bars if bar["t_ms"] + 60_000 <= then_ms]
    assert btc["change_1h"] == pytest.approx(
        float(btc["price"]) / float(closed[-1]["close"]) - 1, rel=1e-12
    )


def test_a_price_is_that_of_the_newest_trade_with_the_newest_quote(api: Api):
    body = api.get("/symbols/BTCUSDT/price")
    newest = api.get("/symbols/BTCUSDT/trades?limit=1")["trades"][0]
    assert [body[key] for key in ("price", "qty", "side", "trade_ms")] == [
        newest[key] for key in ("price", "qty", "side", "t_ms")
    ]
    assert Decimal(body["bid"]) < Decimal(body["ask"])
    assert body["quote_time_source"] == "receipt"
    assert body["received_ms"] >= body["trade_ms"]
    assert body["lag_ms"] == pytest.approx(body["received_ms"] - body["trade_ms"], abs=1)
    assert body["age_ms"] >= 0
    assert body["backfilled"] is False


def test_trades_come_newest_first_and_no_more_than_were_asked_for(api: Api):
    trades = api.get("/symbols/ETHUSDT/trades")["trades"]
    ids = [trade["id"] for trade in trades]
    assert len(trades) == 50
    assert ids == sorted(ids, reverse=True)
    assert len(api.get("/symbols/ETHUSDT/trades?limit=200")["trades"]) == 200


@pytest.mark.parametrize(("window", "most"), [("5m", 300), ("15m", 900)])
def test_a_short_history_is_of_seconds_and_says_no_volume(api: Api, window: str, most: int):
    body = api.get(f"/symbols/BTCUSDT/history?window={window}&points=1000")
    starts = [bar["t_ms"] for bar in body["bars"]]
    assert body["span_s"] == 1
    assert starts == sorted(set(starts))
    assert most * 0.9 < (starts[-1] - starts[0]) / 1_000 <= most
    for bar in body["bars"]:
        assert bar["open"] == bar["high"] == bar["low"] == bar["close"]
        assert bar["volume"] is bar["trades"] is None
        assert bar["vwap"] > 0


def test_a_long_history_is_of_minutes_oldest_first(api: Api):
    body = api.get("/symbols/BTCUSDT/history?window=1h")
    starts = [bar["t_ms"] for bar in body["bars"]]
    assert body["span_s"] == 60
    assert starts == list(range(starts[0], starts[0] + 60_000 * len(starts), 60_000))
    assert 58 <= len(starts) <= 61
    assert all(bar["complete"] for bar in body["bars"])
    assert all(bar["sma"] is not None for bar in body["bars"])


def test_a_history_with_too_many_bars_is_merged_by_a_power_of_two(api: Api):
    fine = api.get("/symbols/BTCUSDT/history?window=6h&points=1000")
    coarse = api.get("/symbols/BTCUSDT/history?window=6h&points=40")
    assert (fine["span_s"], coarse["span_s"]) == (60, 240)
    assert len(coarse["bars"]) <= 40
    for bar in coarse["bars"][1:-1]:
        parts = [each for each in fine["bars"] if 0 <= each["t_ms"] - bar["t_ms"] < 240_000]
        assert len(parts) == 4
        assert bar["open"] == parts[0]["open"]
        assert bar["close"] == parts[-1]["close"]
        assert Decimal(bar["high"]) == max(Decimal(each["high"]) for each in parts)
        assert Decimal(bar["low"]) == min(Decimal(each["low"]) for each in parts)
        assert Decimal(bar["volume"]) == sum(Decimal(each["volume"]) for each in parts)
        assert bar["trades"] == sum(each["trades"] for each in parts)
        notional = sum(each["vwap"] * float(each["volume"]) for each in parts if each["vwap"])
        assert bar["vwap"] == pytest.approx(notional / float(bar["volume"]), rel=1e-12)
        assert bar["ema_fast"] == parts[-1]["ema_fast"]


def test_what_memory_has_forgotten_comes_from_the_store_and_fits_to_it(api: Api):
    view = api.engine.view.symbol("BTCUSDT")
    assert view is not None
    before = api.get("/symbols/BTCUSDT/history?window=24h&points=1000")["bars"]
    kept = tuple(view.bars)
    until(lambda: api.engine.writer.stats().pending == 0)
    try:
        for _ in range(100):
            view.bars.popleft()
        after = api.get("/symbols/BTCUSDT/history?window=24h&points=1000")["bars"]
    finally:
        view.bars.clear()
        view.bars.extend(kept)
    assert after == before


def test_the_metrics_are_those_of_the_view_in_the_units_of_the_contract(api: Api):
    view = api.engine.view.symbol("BTCUSDT")
    assert view is not None
    assert view.metrics is not None
    body = api.get("/api/metrics/latest?symbol=BTCUSDT")
    (entry,) = body["symbols"]
    assert entry["as_of_ms"] == view.metrics.as_of_ns // MS_NS
    assert entry["year_s"] == 31_536_000
    assert [window["window_s"] for window in entry["windows"]] == [60, 300, 3_600]
    hour = entry["windows"][2]
    assert hour["complete"] is True
    assert hour["volatility"] == view.metrics.windows[2].volatility > 0
    assert Decimal(hour["range"]) == Decimal(hour["high"]) - Decimal(hour["low"])
    assert entry["bar"]["start_ms"] % 60_000 == 0
    assert len(api.get("/api/metrics/latest")["symbols"]) == 2


def test_the_health_of_the_feed_is_told_symbol_by_symbol(api: Api):
    body = api.get("/api/feed/health")
    assert [each["symbol"] for each in body["symbols"]] == list(SYMBOLS)
    for each in body["symbols"]:
        assert each["state"] == "live"
        assert each["id_gaps"] == each["duplicates"] == each["ids_missing"] == 0
        assert each["trades"] > 1_000
    assert body["connection"] == {"connected": None, "detail": ""}
    assert body["schedule"] == {"open": True, "next_change_ms": None}
    assert body["events"] == api.engine.view.events
    assert body["now_ms"] >= body["received_ms"] > DAY_MS


def test_a_process_lives_and_says_that_the_replay_it_was_fed_with_has_ended(api: Api):
    assert api.get("/health/live") == {"status": "ok"}
    for path in ("/health/ready", "/healthz"):
        body = api.get(path)
        assert body["status"] == "degraded"
        assert "ended" in body["reason"]
    details = api.get("/health")
    assert details["stored_trades"] == sum(
        each["trades"] for each in api.get("/api/feed/health")["symbols"]
    )
    for path in ("/health/live", "/health/ready", "/healthz", "/health", "/metrics", "/metrics/"):
        assert api.client.head(path).status_code == 200


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/symbols?source=paper", "source"),
        ("/symbols/BTCUSDT/history?window=2h", "window"),
        ("/symbols/BTCUSDT/history?points=1001", "points"),
        ("/symbols/BTCUSDT/history?points=1", "points"),
        ("/symbols/BTCUSDT/history?points=many", "points"),
        ("/symbols/BTCUSDT/trades?limit=0", "limit"),
        ("/symbols/BTCUSDT/trades?limit=201", "limit"),
        ("/api/stream?topics=prices", "topics"),
        ("/api/stream?source=x", "source"),
        (f"/symbols/{'X' * 65}/price", "symbol"),
        (f"/api/metrics/latest?symbol={'X' * 65}", "symbol"),
    ],
)
def test_a_wrong_parameter_is_named(api: Api, path: str, field: str):
    answer = api.client.get(path)
    assert answer.status_code == 422
    error = error_of(answer)
    assert (error["code"], error["field"]) == ("invalid_parameter", field)


@pytest.mark.parametrize(
    "path",
    [
        "/symbols/DOGE/price",
        "/symbols/btcusdt/trades",
        "/symbols/%00/history",
        "/symbols/%F0%9F%90%95/price",
        "/api/metrics/latest?symbol=DOGE",
        "/api/stream?symbols=BTCUSDT,DOGE",
    ],
)
def test_an_unknown_symbol_is_404_and_names_where_to_look(api: Api, path: str):
    answer = api.client.get(path)
    assert answer.status_code == 404
    error = error_of(answer)
    assert error["code"] == "unknown_symbol"
    assert "GET /symbols" in error["message"]


@pytest.mark.parametrize("path", ["/symbols", "/symbols/BTCUSDT/price", "/api/feed/health"])
def test_the_replayed_market_is_404_while_nothing_is_replayed(api: Api, path: str):
    error = error_of(api.client.get(f"{path}?source=replay"))
    assert (error["code"], error["field"]) == ("no_replay", "source")


def test_addresses_and_methods_that_are_not_there_have_the_same_form_of_error(api: Api):
    for path in ("/", "/nothing", "/symbols/", "/symbols/../etc", "/api"):
        answer = api.client.get(path)
        assert answer.status_code == 404
        assert error_of(answer)["code"] == "not_found"
    answer = api.client.post("/symbols")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert error_of(answer)["code"] == "method_not_allowed"
    assert api.client.put("/api/replay").headers["allow"] == "DELETE, GET, PATCH, POST"


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(api: Api):
    body = json.dumps({"file": "x" * 70_000}).encode()
    stated = api.client.post("/api/replay", content=body)
    hidden = api.client.post("/api/replay", content=iter([body[:40_000], body[40_000:]]))
    for answer in (stated, hidden):
        assert answer.status_code == 413
        assert error_of(answer)["code"] == "too_large"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"file":5}', b'{"file":"a.csv","speed":"1"}',
     b'{"file":"a.csv","speed":NaN}', b'{"file":"a.csv","speed":0}', b'{"file":"a","more":1}',
     b'{"file":""}', b'{"file":"a.csv","speed":1e7}', b'{"file":"a.csv","speed":true}'],
)  # fmt: skip
def test_a_body_that_is_not_what_was_asked_for_is_422(api: Api, body: bytes):
    headers = {"content-type": "application/json"}
    answer = api.client.post("/api/replay", content=body, headers=headers)
    assert answer.status_code == 422
    assert error_of(answer)["code"] == "invalid_body"


def test_a_body_of_another_type_is_not_read_as_json_so_that_no_foreign_page_can_send_it(api: Api):
    answer = api.client.post(
        "/api/replay", content=b'{"file":"a.csv"}', headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 422
    assert "application/json" in error_of(answer)["message"]


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_a_page_of_another_origin_changes_nothing(api: Api, method: str):
    own = str(api.client.base_url).rstrip("/")
    for origin, is_refused in (("http://evil.example", True), ("null", True), (own, False)):
        answer = api.client.request(
            method, "/api/replay", headers={"origin": origin, "content-type": "application/json"}
        )
        assert (answer.status_code == 403) == is_refused, origin
        if is_refused:
            assert answer.json()["error"]["code"] == "foreign_origin"
    assert api.client.get("/symbols", headers={"origin": "http://evil.example"}).status_code == 200


def test_a_defect_is_a_500_that_says_nothing_of_the_inside(api: Api, caplog):
    def broken() -> None:
        raise RuntimeError(SECRET)

    api.app.add_api_route("/broken", broken, include_in_schema=False)
    # on a connection of its own: the server ends it afterwards
    answer = httpx.get(f"{str(api.client.base_url).rstrip('/')}/broken", timeout=10)
    assert answer.status_code == 500
    assert error_of(answer)["code"] == "internal"
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text


def test_a_database_that_cannot_be_read_is_503_with_the_cure(api: Api):
    view = api.engine.view.symbol("ETHUSDT")
    assert view is not None
    kept = tuple(view.bars)
    view.bars.clear()
    try:
        with api.engine.database.writing() as connection:
            connection.exec_driver_sql("ALTER TABLE aggregated_metrics RENAME TO away")
        answer = api.client.get("/symbols/ETHUSDT/history?window=24h")
    finally:
        with api.engine.database.writing() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO aggregated_metrics")
        view.bars.extend(kept)
    assert answer.status_code == 503
    assert error_of(answer)["code"] == "storage_unavailable"
    assert "sqlite" not in answer.text


def test_every_answer_in_the_openapi_page_has_an_example(api: Api):
    schema = api.get("/openapi.json")
    models = schema["components"]["schemas"]
    assert not {"HTTPValidationError", "ValidationError"} & set(models)
    answers = 0
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (path, method)
            for status, answer in operation["responses"].items():
                if status == "204":
                    continue
                ((_, content),) = answer["content"].items()
                reference = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
                has_example = "example" in content or models.get(reference, {}).get("examples")
                assert has_example, (path, method, status)
                answers += 1
    assert answers > 40
    assert api.client.get("/docs").status_code == 200


def test_now_of_a_feed_is_never_before_its_newest_event(api: Api):
    market = api.parts.market("feed")
    assert market.now_ns >= market.view.received_ns > DAY_START_NS + (MINUTES - 2) * 60 * SECOND_NS
