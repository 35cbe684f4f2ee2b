"""The replay desk by itself: one session at a time, its own market, prompt and clean ends."""

from __future__ import annotations

import threading
import time

import pytest
from api_server import until, write_recording

from market_engine.bus.base import Full, Topic
from market_engine.errors import FileError, SettingsError
from market_engine.events import Quote, Trade
from market_engine.replay_desk import (
    NoReplayError,
    ReplayBegan,
    ReplayDesk,
    ReplayFailedError,
    ReplayOrder,
)


@pytest.fixture
def desk():
    desk = ReplayDesk()
    yield desk
    desk.close()
    assert not [each for each in threading.enumerate() if each.name == "replay"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_recording(tmp_path_factory.mktemp("desk") / "sample.frames", 2)


def test_without_a_replay_there_is_no_market_and_nothing_to_change(desk):
    assert desk.view is None
    assert desk.status().state == "none"
    with pytest.raises(NoReplayError):
        desk.change(ReplayOrder(paused=True))
    desk.end()


def test_everything_of_a_recording_is_on_its_bus_in_order_after_it_began(desk, file):
    reader = desk.bus.subscribe([Topic.HEALTH, Topic.MARKET_DATA], "test", 10_000, Full.WAIT)
    desk.start(file, None)
    until(lambda: desk.status().state == "ended")
    values = [message.value for message in reader.poll(10_000, 0)]
    assert isinstance(values[0], ReplayBegan)
    ids = [each.trade_id for each in values if isinstance(each, Trade) and each.symbol == "BTCUSDT"]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    market = [each for each in values if isinstance(each, Trade | Quote)]
    assert desk.status().position.events == len(market)


def test_a_file_that_is_none_leaves_the_replay_that_is_going_on(desk, file, tmp_path):
    desk.start(file, 0.5)
    view = desk.view
    with pytest.raises(FileError):
        desk.start(tmp_path / "none.frames", 1.0)
    with pytest.raises(SettingsError):
        desk.start(file, -1.0)
    assert desk.view is view
    assert desk.status().state == "playing"


def test_the_end_is_prompt_while_it_waits_while_it_is_paused_and_in_full_flight(desk, file):
    for speed, paused in ((0.001, False), (1.0, True), (None, False)):
        desk.start(file, speed)
        if paused:
            desk.change(ReplayOrder(paused=True))
        began_s = time.monotonic()
        desk.end()
        assert time.monotonic() - began_s < 5
        assert desk.view is None


def test_a_file_that_is_taken_away_fails_the_replay_and_says_why_without_its_folder(
    desk, file, tmp_path
):
    copy = tmp_path / "copy.frames"
    copy.write_bytes(file.read_bytes())
    desk.start(copy, None)
    until(lambda: desk.status().state == "ended")
    copy.unlink()
    desk.change(ReplayOrder(seek_ns=0))
    until(lambda: desk.status().state == "failed")
    assert "copy.frames" in desk.status().error
    assert str(tmp_path) not in desk.status().error
    with pytest.raises(ReplayFailedError):
        desk.change(ReplayOrder(paused=False))
    desk.start(file, None)
    until(lambda: desk.status().state == "ended")


def test_orders_from_many_threads_at_once_leave_one_replay_that_still_obeys(desk, file):
    def hurry(number: int) -> None:
        for turn in range(10):
            if (number + turn) % 3 == 0:
                desk.start(file, None if turn % 2 else 100.0)
            else:
                desk.change(ReplayOrder(paused=bool(turn % 2), seek_ns=turn))

    desk.start(file, 1.0)
    threads = [threading.Thread(target=hurry, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: len([t for t in threading.enumerate() if t.name == "replay"]) == 1)
    desk.change(ReplayOrder(paused=False, speed=None))
    until(lambda: desk.status().state == "ended")


def test_a_desk_that_is_closed_starts_nothing_more(file):
    desk = ReplayDesk()
    desk.close()
    desk.close()
    with pytest.raises(NoReplayError):
        desk.start(file, None)
