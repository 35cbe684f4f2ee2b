"""The paper desk over HTTP: portfolios, orders, fills and the trading state, on a live market."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest
from api_server import SYMBOLS, Api, served, until

from market_engine.api import paper_models as models
from market_engine.api.paper_shapes import SENTENCES
from market_engine.paper.reasons import Denial, Why

NEW = {"name": "main", "currency": "USDT", "balance": "100000"}


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """A simulated market with a portfolio, once both symbols have quotes."""
    folder = tmp_path_factory.mktemp("paper")
    with served(folder, symbols=",".join(SYMBOLS), simulated_rate=300, telemetry_addr=None) as api:
        until(lambda: all(api.get(f"/symbols/{each}/price")["ask"] for each in SYMBOLS))
        assert api.client.post("/portfolio/init", json=NEW).status_code == 201
        yield api


@pytest.fixture(autouse=True)
def trading(api: Api):
    """Each test begins with an active desk."""
    assert post(api, "/trading-state", {"state": "active"})["state"] == "active"


def post(api: Api, path: str, body: dict[str, Any], status: int = 200) -> dict[str, Any]:
    answer = api.client.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def order(client_order_id: str, **changes: object) -> dict[str, Any]:
    """One that rests far below the market."""
    plain = {
        "client_order_id": client_order_id,
        "symbol": "BTCUSDT",
        "side": "buy",
        "type": "limit",
        "qty": "0.010",
        "limit_price": "1000",
    }
    return plain | changes


def refused(api: Api, path: str, body: dict[str, Any], status: int) -> dict[str, Any]:
    return post(api, path, body, status)["error"]


def filled(api: Api, client_order_id: str, portfolio: str = "main") -> dict[str, Any]:
    path = f"/orders/{client_order_id}?portfolio={portfolio}"
    until(lambda: api.get(path)["state"] == "filled")
    return api.get(path)


def test_the_same_portfolio_again_is_no_other_and_another_one_is_refused(api: Api):
    again = post(api, "/portfolio/init", NEW, 200)
    models.PortfolioEntry.model_validate(again)
    assert (again["balance"], again["limits"]["max_order"]) == ("100000", "100000")
    error = refused(api, "/portfolio/init", NEW | {"balance": "100001"}, 409)
    assert (error["code"], error["field"]) == ("portfolio_exists", "name")


def test_a_portfolio_is_made_with_the_limits_and_the_model_that_were_asked_for(api: Api):
    body = {
        "name": "small",
        "currency": "USD",
        "balance": "1000.50",
        "limits": {"max_order": "100", "max_gross": None, "allow_short": False},
        "model": {"taker_fee": "0.001", "latency_ms": 20},
    }
    made = post(api, "/portfolio/init", body, 201)
    assert (made["balance"], made["annual_days"]) == ("1000.5", 252)
    limits, model = made["limits"], made["model"]
    assert (limits["max_order"], limits["max_gross"], limits["allow_short"]) == ("100", None, False)
    assert (limits["max_position"], limits["open_orders"]) == ("250000", 1000)
    assert (model["taker_fee"], model["maker_fee"], model["latency_ms"]) == ("0.001", "0.0002", 20)
    assert post(api, "/portfolio/init", body, 200) == made


def test_a_purchase_is_filled_and_every_number_says_so(api: Api):
    post(api, "/portfolio/init", NEW | {"name": "buyer"}, 201)
    body = {"portfolio": "buyer", "symbol": "BTCUSDT", "side": "buy", "qty": "0.01"}
    placed = post(api, "/portfolio/trade", body, 201)
    models.OrderEntry.model_validate(placed)
    assert (placed["source"], placed["type"]) == ("desk", "market")
    bought = filled(api, placed["client_order_id"], "buyer")
    assert (bought["filled_qty"], bought["left_qty"], bought["why"]) == ("0.01", "0", "")
    assert bought["books"]["neutral"]["filled_qty"] == "0.01"
    assert bought["books"]["optimistic"]["filled_qty"] == "0.01"
    fills = api.get("/fills?portfolio=buyer")
    models.Fills.model_validate(fills)
    notional = sum(Decimal(each["notional"]) for each in fills["fills"])
    fees = sum(Decimal(each["fee"]) for each in fills["fills"])
    assert fees == notional * Decimal("0.0005")
    average = Decimal(bought["average_price"])
    assert abs(average * Decimal("0.01") - notional) < Decimal("1e-9")
    view = api.get("/portfolio?portfolio=buyer")
    models.Holding.model_validate(view)
    assert Decimal(view["cash"]) == 100_000 - notional - fees
    assert view["residue"] == "0"
    (position,) = view["positions"]
    assert (position["qty"], Decimal(position["cost"])) == ("0.01", notional)
    assert Decimal(view["equity"]) == Decimal(view["cash"]) + Decimal(position["value"])
    assert [each["book"] for each in view["books"]] == ["optimistic", "neutral", "pessimistic"]


def test_the_evidence_of_a_fill_is_told_with_it(api: Api):
    body = {"symbol": "ETHUSDT", "side": "buy", "qty": "0.1", "client_order_id": "evident"}
    post(api, "/portfolio/trade", body, 201)
    filled(api, "evident")
    newest = api.get("/fills?client_order_id=evident&symbol=ETHUSDT")["fills"][0]
    evidence = newest["evidence"]
    assert Decimal(evidence["size"]) >= Decimal(newest["qty"])
    assert evidence["kind"] in ("quote", "print")
    assert evidence["rule"]
    assert 0 <= newest["filled_ms"] - evidence["received_ms"] <= 10_000
    assert api.get("/fills?client_order_id=nobody")["fills"] == []
    older = api.get(f"/fills?before={newest['number']}")["fills"]
    assert all(each["number"] < newest["number"] for each in older)


def test_the_same_order_at_once_from_many_is_one_order(api: Api):
    answers: list[tuple[int, int]] = []

    def send() -> None:
        answer = api.client.post("/orders", json=order("once"))
        answers.append((answer.status_code, answer.json()["number"]))

    threads = [threading.Thread(target=send) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(status for status, _ in answers) == [200] * 15 + [201]
    assert len({number for _, number in answers}) == 1
    error = refused(api, "/orders", order("once", qty="0.02"), 409)
    assert (error["code"], error["field"]) == ("other_order", "client_order_id")


def test_a_quantity_written_otherwise_is_the_same_order(api: Api):
    first = post(api, "/orders", order("same", qty="0.010"), 201)
    again = post(api, "/orders", order("same", qty="0.01"), 200)
    assert (first["number"], first["qty"]) == (again["number"], "0.01")


def test_a_resting_order_says_why_and_is_cancelled_once(api: Api):
    placed = post(api, "/orders", order("rest", limit_price="63000.5", qty="0.001"), 201)
    assert placed["limit_price"] == "63000.5"
    post(api, "/orders", order("far", post_only=True, time_in_force="day"), 201)
    working = api.get("/orders/far")
    assert (working["state"], working["why"]) == ("working", "price")
    assert working["detail"] == SENTENCES[Why.PRICE]
    assert "far" in {each["client_order_id"] for each in api.get("/orders?state=open")["orders"]}
    cancelled = api.client.delete("/orders/far")
    assert cancelled.status_code == 200
    models.OrderEntry.model_validate(cancelled.json())
    assert (cancelled.json()["state"], cancelled.json()["why"]) == ("cancelled", "cancelled")
    again = api.client.delete("/orders/far")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "order_closed")
    open_ids = {each["client_order_id"] for each in api.get("/orders?state=open")["orders"]}
    assert "far" not in open_ids


def test_all_open_orders_of_a_portfolio_are_cancelled_at_once(api: Api):
    post(api, "/portfolio/init", NEW | {"name": "many"}, 201)
    post(api, "/orders", order("another"), 201)
    for number in range(3):
        post(api, "/orders", order(f"many-{number}", portfolio="many"), 201)
    for cancelled in (3, 0):
        answer = api.client.delete("/orders?portfolio=many")
        assert (answer.status_code, answer.json()) == (200, {"cancelled": cancelled})
        models.Cancelled.model_validate(answer.json())
    assert api.get("/orders/many-1?portfolio=many")["why"] == "cancelled"
    assert api.get("/orders/another")["state"] != "cancelled"
    assert api.client.delete("/orders").status_code == 422, "which portfolio is to be said"
    assert api.client.delete("/orders?portfolio=nobody").status_code == 404


def test_a_state_that_cannot_be_stored_is_answered_with_503_and_is_in_force(api: Api):
    path = api.engine.settings.desk_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        error = refused(api, "/trading-state", {"state": "halted"}, 503)
        assert (error["code"], api.get("/trading-state")["state"]) == ("not_stored", "halted")
        assert "halted from now on" in error["message"]
        other.rollback()
    until(lambda: api.engine.paper.problem is None)
    assert post(api, "/orders", order("while-halted"), 201)["why"] == "halted"


def test_orders_are_listed_newest_first_page_by_page(api: Api):
    for number in range(5):
        post(api, "/orders", order(f"page-{number}", symbol="ETHUSDT", limit_price="100"), 201)
    page = api.get("/orders?limit=3&symbol=ETHUSDT")["orders"]
    models.Orders.model_validate({"orders": page})
    assert [each["client_order_id"] for each in page] == ["page-4", "page-3", "page-2"]
    rest = api.get(f"/orders?limit=2&symbol=ETHUSDT&before={page[-1]['number']}")["orders"]
    assert [each["client_order_id"] for each in rest] == ["page-1", "page-0"]


def test_what_risk_denies_is_an_answer_with_the_reason_and_the_cure(api: Api):
    large = order("large", type="market", limit_price=None, qty="1000")
    denied = post(api, "/orders", large, 201)
    models.OrderEntry.model_validate(denied)
    assert (denied["state"], denied["why"]) == ("denied", "max_order")
    assert "100000" in denied["detail"].replace(",", "")
    assert post(api, "/orders", large, 200)["why"] == "max_order"
    unknown = post(api, "/orders", order("unknown", symbol="NOPE"), 201)
    assert unknown["why"] == "unknown_symbol"


def test_a_preview_says_what_it_would_cost_and_keeps_nothing(api: Api):
    before = api.get("/portfolio")["open_orders"], len(api.get("/orders?limit=500")["orders"])
    body = {"symbol": "BTCUSDT", "side": "sell", "type": "market", "qty": "0.001"}
    found = post(api, "/orders/preview", body)
    models.PreviewEntry.model_validate(found)
    assert found["denial"] is None
    notional = Decimal(found["price"]) * Decimal("0.001")
    assert (Decimal(found["notional"]), Decimal(found["fee"])) == (
        notional,
        notional * Decimal("0.0005"),
    )
    assert post(api, "/orders/preview", body | {"qty": "1000"})["denial"] == "max_order"
    after = api.get("/portfolio")["open_orders"], len(api.get("/orders?limit=500")["orders"])
    assert after == before


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"qty": 0.01}, "qty"),
        ({"qty": "0"}, "qty"),
        ({"qty": "-1"}, "qty"),
        ({"qty": "1e3"}, "qty"),
        ({"qty": "0.0000000001"}, "qty"),
        ({"qty": "1" * 16}, "qty"),
        ({"side": "hold"}, "side"),
        ({"type": "iceberg"}, "type"),
        ({"symbol": "BTC/USDT"}, "symbol"),
        ({"client_order_id": "a b"}, "client_order_id"),
        ({"client_order_id": "a" * 65}, "client_order_id"),
        ({"client_order_id": None}, "client_order_id"),
        ({"portfolio": "No"}, "portfolio"),
        ({"limit_price": None}, "limit_price"),
        ({"stop_price": "1"}, "stop_price"),
        ({"type": "market"}, "limit_price"),
        ({"type": "stop", "limit_price": None}, "stop_price"),
        ({"post_only": True, "time_in_force": "ioc"}, "post_only"),
        ({"type": "market", "limit_price": None, "post_only": True}, "post_only"),
        ({"post_only": "yes"}, "post_only"),
        ({"price": "1"}, "price"),
    ],
)
def test_an_order_that_is_none_is_refused_by_its_field(
    api: Api, changes: dict[str, Any], field: str
):
    error = refused(api, "/orders", order("bad") | changes, 422)
    assert (error["code"], error["field"]) == ("invalid_body", field)
    assert api.client.get("/orders/bad").status_code == 404


def test_what_is_not_there_is_said_with_the_cure(api: Api):
    for path in (
        "/portfolio",
        "/portfolio/history",
        "/portfolio/performance",
        "/orders",
        "/fills",
        "/orders/a",
    ):
        error = api.get(f"{path}?portfolio=nobody", 404)["error"]
        assert (error["code"], error["field"]) == ("unknown_portfolio", "portfolio")
        assert "POST /portfolio/init" in error["message"]
    assert api.get("/orders/nobody", 404)["error"]["code"] == "unknown_order"
    assert api.client.delete("/orders/nobody").json()["error"]["code"] == "unknown_order"
    error = refused(api, "/orders", order("a", portfolio="nobody"), 404)
    assert error["code"] == "unknown_portfolio"


def test_a_halt_stops_the_very_next_order_and_cancels_still_pass(api: Api):
    post(api, "/orders", order("before"), 201)
    halted = post(api, "/trading-state", {"state": "halted", "reason": "a test"})
    models.State.model_validate(halted)
    assert post(api, "/orders", order("after"), 201)["why"] == "halted"
    assert api.client.delete("/orders/before").status_code == 200
    now = api.get("/trading-state")
    assert (now["state"], now["reason"], now["number"]) == ("halted", "a test", halted["number"])
    assert api.get("/portfolio")["state"]["state"] == "halted"


def test_flatten_closes_every_position_and_then_halts(api: Api):
    post(api, "/portfolio/init", NEW | {"name": "flat"}, 201)
    body = {"portfolio": "flat", "symbol": "ETHUSDT", "side": "sell", "qty": "0.05"}
    sold = post(api, "/portfolio/trade", body, 201)
    filled(api, sold["client_order_id"], "flat")
    post(api, "/trading-state", {"state": "flatten"})
    until(lambda: api.get("/trading-state")["state"] == "halted")
    for name in ("flat", "main"):
        view = api.get(f"/portfolio?portfolio={name}")
        assert (view["open_orders"], view["residue"]) == (0, "0")
        assert all(each["qty"] == "0" for each in view["positions"])
    newest = api.get("/orders?portfolio=flat&limit=1")["orders"][0]
    assert (newest["source"], newest["state"]) == ("flatten", "filled")


def test_a_foreign_page_changes_nothing(api: Api):
    for method, path in (
        ("POST", "/portfolio/init"),
        ("POST", "/orders"),
        ("DELETE", "/orders/a"),
        ("POST", "/portfolio/trade"),
        ("POST", "/trading-state"),
    ):
        headers = {"origin": "https://elsewhere.example"}
        answer = api.client.request(method, path, headers=headers, json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign_origin")


def test_history_and_performance_are_as_the_account_has_them(api: Api):
    body = {"symbol": "BTCUSDT", "side": "buy", "qty": "0.002", "client_order_id": "in"}
    post(api, "/portfolio/trade", body, 201)
    filled(api, "in")
    out = body | {"side": "sell", "client_order_id": "out"}
    post(api, "/portfolio/trade", out, 201)
    filled(api, "out")
    history = api.get("/portfolio/history?window=all")
    models.PortfolioHistory.model_validate(history)
    points = history["snapshots"]
    assert [each["at_ms"] for each in points] == sorted(each["at_ms"] for each in points)
    view = api.get("/portfolio")
    assert points[-1]["cash"] == view["cash"]
    assert all(each["drawdown"] <= 0 for each in points if each["drawdown"] is not None)
    found = api.get("/portfolio/performance")
    models.PerformanceEntry.model_validate(found)
    assert found["annual_days"] == 365
    assert found["sharpe"] is found["volatility"] is None
    assert found["undefined"]["sharpe"] == "fewer than 10 daily returns: 1"
    assert found["wins"] + found["losses"] + found["breakevens"] == found["round_trips"] >= 1
    assert sum(Decimal(each["fees"]) for each in found["by_symbol"]) == Decimal(view["fees"])
    assert sum(each["fills"] for each in found["by_symbol"]) == view["fills"]


def test_all_portfolios_are_listed_in_the_order_of_their_making(api: Api):
    listed = api.get("/portfolios")
    models.Portfolios.model_validate(listed)
    names = [each["name"] for each in listed["portfolios"]]
    assert names[0] == "main"
    assert len(names) == len(set(names))


def test_there_is_a_sentence_for_every_reason(api: Api):
    assert set(SENTENCES) == set(Why)
    assert not {str(each) for each in Why} & {str(each) for each in Denial} - {
        "stale_price",
        "reduce_only",
        "halted",
        "reducing",
    }
