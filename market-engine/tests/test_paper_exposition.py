"""What Prometheus is told of the paper desk: every name, from 0 on, and nothing that is unknown."""

from __future__ import annotations

from decimal import Decimal

import pytest
from api_server import Api, served, until
from prometheus_client.core import Metric
from telemetry_child import opened, write_fills

from market_engine.api.paper_exposition import OUTCOMES, paper_families, telemetry_families
from market_engine.paper.desk import PaperDesk
from market_engine.paper.model import BookName, Portfolio, TradingState
from market_engine.paper.reasons import Denial
from market_engine.paper.store import DeskStore
from market_engine.storage.database import Database

MONEY = ("equity", "cash", "realised", "unrealised", "fees", "gross")
Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exposition")
    with served(folder, symbols="BTCUSDT", simulated_rate=200, telemetry_addr=None) as api:
        until(lambda: api.client.get("/symbols/BTCUSDT/price").json().get("ask"))
        body = {"name": "main", "currency": "USDT", "balance": "100000"}
        assert api.client.post("/portfolio/init", json=body).status_code == 201
        yield api


def samples(families: list[Metric]) -> Samples:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def of(api: Api) -> Samples:
    return samples(list(paper_families(api.engine.paper)))


def test_an_order_its_fill_and_a_denial_are_counted(api: Api):
    before = of(api)
    assert before["portfolio_equity", ("main", "USDT")] == 100_000
    assert all(before["portfolio_orders_total", ("main", outcome)] == 0 for outcome in OUTCOMES)
    assert all(before["portfolio_denials_total", ("main", reason)] == 0 for reason in Denial)
    assert all(before["portfolio_fills_total", ("main", book)] == 0 for book in BookName)
    body = {"symbol": "BTCUSDT", "side": "buy", "qty": "0.01", "client_order_id": "a"}
    for _ in range(2):
        api.client.post("/portfolio/trade", json=body)
    api.client.post("/portfolio/trade", json=body | {"client_order_id": "b", "qty": "1000"})
    until(lambda: api.get("/orders/a")["state"] == "filled")
    now = of(api)
    counted = [now["portfolio_orders_total", ("main", outcome)] for outcome in OUTCOMES]
    assert counted == [1, 1, 1]
    assert now["portfolio_denials_total", ("main", "max_order")] == 1
    assert now["portfolio_fills_total", ("main", "neutral")] >= 1
    assert now["portfolio_position", ("main", "BTCUSDT")] == 0.01
    assert now["portfolio_residue", ("main",)] == 0
    assert now["portfolio_residue_worst", ("main",)] == 0
    assert now["portfolio_drawdown_ratio", ("main",)] <= 0
    assert now["portfolio_submit_seconds_count", ()] >= 2
    view = api.get("/portfolio")
    for name in ("cash", "realised", "fees"):
        assert now[f"portfolio_{name}", ("main", "USDT")] == float(Decimal(view[name]))


def test_exactly_one_trading_state_is_the_one(api: Api):
    states = {each: of(api)["portfolio_trading_state", (each,)] for each in TradingState}
    assert states == dict.fromkeys(TradingState, 0.0) | {TradingState.ACTIVE: 1.0}


def test_the_page_has_every_name_with_a_help_text(api: Api):
    page = api.client.get("/metrics").text
    for name in (
        *(f"portfolio_{each}" for each in MONEY),
        "portfolio_residue",
        "portfolio_residue_worst",
        "portfolio_drawdown_ratio",
        "portfolio_max_drawdown_ratio",
        "portfolio_position",
        "portfolio_open_orders",
        "portfolio_orders_total",
        "portfolio_denials_total",
        "portfolio_fills_total",
        "portfolio_trading_state",
        "portfolio_store_failures_total",
        "portfolio_tick_to_order_seconds",
        "portfolio_submit_seconds",
        "portfolio_order_to_fill_seconds",
        "portfolio_halt_seconds",
    ):
        assert f"# HELP {name} " in page, name


def test_before_the_first_portfolio_nothing_is_said_of_any(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/desk.db")
    desk = PaperDesk(DeskStore(database), {})
    found = samples(list(paper_families(desk)))
    assert not [name for name, _ in found if name == "portfolio_equity"]
    desk.create(Portfolio("main", "USDT", Decimal(10), 1))
    assert samples(list(paper_families(desk)))["portfolio_cash", ("main", "USDT")] == 10
    database.close()


def test_what_is_not_handed_over_yet_waits_and_then_it_adds_up(tmp_path):
    assert list(telemetry_families(None)) == []
    database, store, telemetry = opened(tmp_path, "tcp://127.0.0.1:1")
    write_fills(store, 9, telemetry)
    found = samples(list(telemetry_families(telemetry)))
    assert found == {
        ("portfolio_telemetry_fills", ()): 9,
        ("portfolio_telemetry_published", ()): 0,
        ("portfolio_telemetry_waiting", ()): 9,
        ("portfolio_telemetry_residue", ()): 0,
    }
    telemetry.start()
    until(lambda: telemetry.figures().waiting == 0)
    found = samples(list(telemetry_families(telemetry)))
    assert {
        name.removeprefix("portfolio_telemetry_"): value for (name, _), value in found.items()
    } == {
        "fills": 9,
        "published": 9,
        "waiting": 0,
        "residue": 0,
    }
    telemetry._cursor += 5  # as if fills had been passed over
    store.write([])
    write_fills(store, 14, telemetry)
    until(lambda: telemetry.figures().fills == 14)
    residue = samples(list(telemetry_families(telemetry)))["portfolio_telemetry_residue", ()]
    assert residue == 5
    telemetry.stop(0)
    database.close()
