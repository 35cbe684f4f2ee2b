"""The peak and the drawdown outlive a restart: an end in peace whole, a kill to a second."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from api_server import served, until
from test_paper_claim import NEW
from test_paper_desk import Rig

from market_engine.paper.store import DeskStore
from market_engine.storage.database import Database


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Holds 100, bought at 100 and worth 99 each."""
    rig = Rig(tmp_path / "desk.db")
    rig.make()
    rig.quote("99", "100", size="100")
    rig.buy(1, "100")
    yield rig
    rig.database.close()


def extremes(rig: Rig) -> tuple[float, Decimal | None]:
    view = rig.desk.portfolio("main")
    return view.max_drawdown, view.peak


def fall_and_rise(rig: Rig, after_s: float) -> tuple[float, Decimal | None]:
    """Within the minute, and with no fill: what was at most and at least."""
    for bid in (50, 150, 99):
        rig.quote(str(bid), str(bid + 1), after_s=after_s)
    found = extremes(rig)
    assert found == (-0.05, 105_000)
    return found


def stored(rig: Rig) -> int:
    return len(rig.desk.store.snapshots("main", 0, 10_000))


def test_a_desk_that_ended_in_peace_knows_its_peak_and_drawdown_again(rig):
    before = fall_and_rise(rig, after_s=0.1)
    rig.desk.end()
    rig.restart()
    assert extremes(rig) == before
    rig.quote("99", "100")
    assert (extremes(rig), rig.desk.portfolio("main").residue) == (before, 0)


def test_a_killed_desk_knows_them_again_but_for_the_last_second(rig):
    before = fall_and_rise(rig, after_s=1)
    rig.restart()
    assert extremes(rig) == before


def test_what_the_last_second_before_a_kill_brought_is_kept_with_the_next_event_after_it(rig):
    rig.quote("50", "51", after_s=0.1)
    rig.quote("99", "100", after_s=0.1)
    rig.desk.take([], rig.now_ns + 10**9)
    rig.restart()
    assert extremes(rig)[0] == -0.05


def test_new_extremes_are_kept_at_most_once_a_second_and_nothing_else_is(rig):
    rig.desk.take([], rig.now_ns + 10**9)
    before = stored(rig)
    for step in range(200):
        rig.quote(str(101 + step), str(102 + step), after_s=0.01)
    assert 1 <= stored(rig) - before <= 3
    before = stored(rig)
    for _ in range(20):
        rig.quote("200", "201", after_s=1)
    assert stored(rig) - before <= 2, "the last peak, and the minute"


def test_an_end_without_a_known_equity_stores_nothing_and_changes_nothing(rig):
    rig.quote("50", "51")
    rig.desk.end()
    before, found = stored(rig), extremes(rig)
    for _ in range(2):
        rig.restart()
        rig.desk.end()
    assert (stored(rig), extremes(rig)) == (before, found)


def test_an_engine_that_is_stopped_stores_what_its_portfolios_are_worth(tmp_path):
    with served(tmp_path, symbols="BTCUSDT", simulated_rate=500) as api:
        assert api.client.post("/portfolio/init", json=NEW).status_code == 201
        body = {"symbol": "BTCUSDT", "side": "buy", "qty": "0.01"}
        until(lambda: api.client.post("/portfolio/trade", json=body).json().get("filled") != "0")
        until(lambda: api.get("/portfolio")["max_drawdown"] < 0)
        desk = api.engine.paper
    view = desk.portfolio("main")
    database = Database(f"sqlite:///{tmp_path}/desk.db")
    (newest,) = DeskStore(database).snapshots("main", 0, 1)
    database.close()
    assert (newest.equity, newest.peak, newest.max_drawdown, newest.at_ns) == (
        view.equity,
        view.peak,
        view.max_drawdown,
        desk.now_ns,
    )
