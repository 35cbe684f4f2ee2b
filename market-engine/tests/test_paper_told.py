"""What is wrong with the paper desk, or with what it was sent, is told over HTTP with the cure."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from api_server import Api, served, until

from market_engine.api import models, paper_models

NEW = {"name": "main", "currency": "USDT", "balance": "100000"}
BUY = {"symbol": "BTCUSDT", "side": "buy", "qty": "0.01"}


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    folder = tmp_path_factory.mktemp("told")
    with served(folder, symbols="BTCUSDT", simulated_rate=200) as api:
        ready(api)
        yield api


def ready(api: Api) -> None:
    until(lambda: api.get("/symbols/BTCUSDT/price")["ask"])
    assert api.client.post("/portfolio/init", json=NEW).status_code == 201


@contextmanager
def unwritable(api: Api) -> Iterator[None]:
    path = api.engine.settings.desk_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


def test_while_the_desk_cannot_store_the_health_is_degraded_with_the_reason(api: Api):
    with unwritable(api):
        assert api.client.post("/portfolio/trade", json=BUY).status_code == 503
        for path in ("/health", "/health/ready", "/healthz"):
            body = api.get(path)
            assert body["status"] == "degraded"
            assert "the paper desk takes no orders" in body["reason"]
            assert "locked" in body["reason"]
        models.HealthDetails.model_validate(api.get("/health"))
        assert api.client.head("/health/ready").status_code == 200
    assert api.client.post("/portfolio/trade", json=BUY).status_code == 201
    assert api.get("/health")["status"] == "ok"


def test_a_portfolio_says_whether_what_it_shows_is_stored(api: Api):
    def holding() -> dict[str, Any]:
        found = api.get("/portfolio")
        paper_models.Holding.model_validate(found)
        return found

    assert holding()["is_stored"] is True
    with unwritable(api):
        assert api.client.post("/trading-state", json={"state": "halted"}).status_code == 503
        assert holding()["is_stored"] is False
    until(lambda: holding()["is_stored"])
    assert api.client.post("/trading-state", json={"state": "active"}).status_code == 200


def test_fills_that_cannot_be_handed_to_telemetry_are_told_by_the_health_and_as_waiting(tmp_path):
    (tmp_path / "journal").write_text("a file, where a folder should be")
    with served(tmp_path, symbols="BTCUSDT", telemetry_addr="tcp://127.0.0.1:1") as api:
        ready(api)
        assert figures(api) == {"fills": 0, "published": 0, "waiting": 0, "residue": 0}
        assert api.get("/health")["status"] == "ok"
        assert api.client.post("/portfolio/trade", json=BUY).status_code == 201
        until(lambda: api.get("/health")["status"] == "degraded")
        assert "fills are not handed to telemetry" in api.get("/health")["reason"]
        found = figures(api)
        assert found["fills"] == found["waiting"] >= 1
        assert found["published"] == found["residue"] == 0
        (tmp_path / "journal").unlink()
        until(lambda: api.get("/health")["status"] == "ok")
        until(lambda: figures(api)["waiting"] == 0)
        assert figures(api)["published"] == figures(api)["fills"]


def figures(api: Api) -> dict[str, float]:
    name = "portfolio_telemetry_"
    lines = [line for line in api.client.get("/metrics").text.splitlines() if line.startswith(name)]
    return {line.split()[0].removeprefix(name): float(line.split()[1]) for line in lines}


@pytest.mark.parametrize(
    ("host", "is_refused"),
    [
        ("evil.example", True), ("127.0.0.1.evil.example", True), ("localhost.evil.example", True),
        ("", True), ("127.0.0.1", False), ("localhost", False), ("LOCALHOST", False),
        ("[::1]", False), ("192.0.2.7", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("has_origin", [True, False])
def test_under_a_name_that_may_be_anothers_nothing_is_changed(
    api: Api, host: str, *, is_refused: bool, has_origin: bool
):
    authority = f"{host}:{api.port}" if host else ""
    headers = {"host": authority} | ({"origin": f"http://{authority}"} if has_origin else {})
    for method, path in (("POST", "/trading-state"), ("DELETE", "/orders"), ("POST", "/orders")):
        answer = api.client.request(method, path, headers=headers)
        assert (answer.status_code == 403) == (is_refused and has_origin)
        if is_refused and has_origin:
            error = answer.json()["error"]
            assert error["code"] == "foreign_host"
            assert "MARKET_HTTP_HOST" in error["message"]
    assert api.client.get("/portfolio", headers=headers).status_code == 200


def test_the_name_that_it_was_told_to_listen_at_is_its_own(tmp_path):
    with served(tmp_path, symbols="BTCUSDT", http_host="desk.example") as api:
        for host, status in (("desk.example:8002", 200), ("other.example:8002", 403)):
            headers = {"host": host, "origin": f"http://{host}"}
            answer = api.client.post("/trading-state", json={"state": "active"}, headers=headers)
            assert answer.status_code == status


def test_the_same_order_by_either_way_is_one_order(api: Api):
    body = BUY | {"client_order_id": "either", "qty": "0.001"}
    first = api.client.post("/portfolio/trade", json=body)
    again = api.client.post("/orders", json=body | {"type": "market"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert (first.json()["number"], again.json()["source"]) == (again.json()["number"], "desk")
    other = api.client.post("/orders", json=body | {"type": "market", "qty": "0.002"})
    assert other.status_code == 409


@pytest.mark.parametrize(
    ("changes", "cure"),
    [
        ({"qty": "-1"}, 'a number above 0, such as "0.01"'),
        ({"qty": "NaN"}, "at most 15 digits before the point"),
        ({"qty": 0.01}, "as text"),
        ({"symbol": "btc"}, "GET /symbols"),
        ({"client_order_id": "a b"}, "1 to 64 letters"),
        ({"portfolio": "Main"}, "small letters"),
    ],
)
def test_what_is_written_wrong_is_told_in_a_sentence_with_the_cure(
    api: Api, changes: dict[str, object], cure: str
):
    answer = api.client.post("/portfolio/trade", json=BUY | changes)
    error = answer.json()["error"]
    assert (answer.status_code, error["field"]) == (422, next(iter(changes)))
    assert cure in error["message"]
    assert "pattern" not in error["message"]
    assert error["message"].endswith(".")


def test_so_it_is_for_a_parameter_and_for_a_new_portfolio(api: Api):
    asked = api.get("/portfolio?portfolio=No", 422)["error"]
    assert "small letters" in asked["message"]
    for changes, cure in (
        ({"balance": "0"}, "above 0"),
        ({"currency": "usd"}, "capital letters"),
        ({"model": {"taker_fee": "1"}}, "below 1"),
        ({"limits": {"price_collar": "2"}}, "from 0 to 1"),
        ({"limits": {"max_order": "-1"}}, "0 or more"),
    ):
        body = NEW | {"name": "other"} | changes
        error = api.client.post("/portfolio/init", json=body).json()["error"]
        assert cure in error["message"], error
