"""A desk is of one market: what is stored with one venue's prices never meets another's."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from api_server import served, until, write_recording
from test_paper_claim import NEW, binance_recording, buy

from market_engine.errors import StorageError
from market_engine.paper.store import DeskStore
from market_engine.storage.database import Database


def desk_of(folder: Path) -> str:
    return f"sqlite:///{folder}/desk.db"


def test_a_desk_of_one_market_is_not_started_on_another_and_says_what_to_do(tmp_path):
    with served(tmp_path, symbols="BTCUSDT", simulated_rate=200) as api:
        until(lambda: api.engine.paper.now_ns)
        assert buy(api)["state"] != "denied"
    recording = binance_recording(tmp_path / "binance.frames")
    other = {"feed": "replay", "replay_file": recording, "replay_speed": 0}
    with (
        pytest.raises(StorageError) as caught,
        served(tmp_path, **other, desk_database_url=desk_of(tmp_path)),
    ):
        pass
    message = str(caught.value)
    assert "is of the market simulated, and the feed is binance" in message
    assert "another MARKET_DESK_DATABASE_URL, or the old MARKET_FEED" in message
    assert "\n" not in message
    with served(tmp_path, symbols="BTCUSDT") as api:
        assert [each.portfolio.name for each in api.engine.paper.portfolios()] == ["main"], (
            "it was let go, and is as it was"
        )


def test_a_replay_goes_on_with_the_desk_of_the_same_market(tmp_path):
    with served(tmp_path, symbols="BTCUSDT", simulated_rate=200) as api:
        assert api.client.post("/portfolio/init", json=NEW).status_code == 201
    file = write_recording(tmp_path / "some.frames", 1)
    replay = {"feed": "replay", "replay_file": file, "desk_database_url": desk_of(tmp_path)}
    with served(tmp_path, **replay) as api:
        assert [each.portfolio.name for each in api.engine.paper.portfolios()] == ["main"]


def test_a_desk_without_a_market_takes_the_first_and_keeps_it(tmp_path):
    with closing(Database(desk_of(tmp_path))) as database:
        DeskStore(database).keep_venue("binance")
    with closing(Database(desk_of(tmp_path))) as database:
        DeskStore(database).keep_venue("binance")
        with pytest.raises(StorageError, match="of the market binance, and the feed is simulated"):
            DeskStore(database).keep_venue("simulated")
