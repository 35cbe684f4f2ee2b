"""One desk has one process: a second one is refused in a sentence, and who only reads is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from api_server import Api, served, until, write_recording

from market_engine.audit_command import audit_files
from market_engine.engine import Engine
from market_engine.errors import StorageError
from market_engine.settings import Settings

PROGRAM = Path(sys.executable).with_name("market-engine")
NEW = {"name": "main", "currency": "USDT", "balance": "100000"}


def settings(folder: Path, **given: object) -> Settings:
    plain = {
        "database_url": f"sqlite:///{folder}/market.db",
        "schedule_file": None,
        "telemetry_addr": None,
        "symbols": "BTCUSDT",
    }
    return Settings(_env_file=None, **plain | given)


def test_a_second_engine_on_the_same_desk_is_refused_with_the_cure_and_the_first_goes_on(tmp_path):
    with served(tmp_path, symbols="BTCUSDT", simulated_rate=200) as api:
        other = settings(tmp_path, database_url=f"sqlite:///{tmp_path}/other.db")
        same_desk = other.model_copy(update={"desk_database_url": f"sqlite:///{tmp_path}/desk.db"})
        with pytest.raises(StorageError, match="another MARKET_DESK_DATABASE_URL"):
            Engine(same_desk).start()
        assert not (tmp_path / "other.db").exists(), "it is refused before anything is opened"
        assert api.client.post("/portfolio/init", json=NEW).status_code == 201


def test_another_name_of_the_same_file_is_the_same_desk(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with (
        served(tmp_path, symbols="BTCUSDT"),
        pytest.raises(StorageError, match="another market-engine"),
    ):
        Engine(settings(tmp_path / "link")).start()


def test_a_desk_is_free_again_when_its_process_ended_or_was_killed(tmp_path):
    with served(tmp_path, symbols="BTCUSDT"):
        pass
    environment = {
        "PATH": os.environ["PATH"],
        "MARKET_HTTP_PORT": "1",  # never bound: what it has begins before
        "MARKET_DATABASE_URL": f"sqlite:///{tmp_path}/market.db",
        "MARKET_TELEMETRY_ADDR": "",
    }
    program = "from market_engine.engine import Engine; from market_engine.settings import *\n"
    program += "Engine(load_settings()).start(); print('up', flush=True); input()"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        until(lambda: b"up" in child.stdout.readline())
        with pytest.raises(StorageError, match="another market-engine"):
            Engine(settings(tmp_path)).start()
        child.send_signal(signal.SIGKILL)
    with served(tmp_path, symbols="BTCUSDT") as api:
        assert api.client.post("/portfolio/init", json=NEW).status_code == 201


def test_an_audit_reads_beside_a_running_engine(tmp_path):
    recording = write_recording(tmp_path / "some.frames", 1, 50_000)
    with served(tmp_path, symbols="BTCUSDT") as api:
        assert api.client.post("/portfolio/init", json=NEW).status_code == 201
        assert not audit_files([recording], f"sqlite:///{tmp_path}/desk.db").findings


def test_replays_with_desks_of_their_own_run_side_by_side(tmp_path):
    file = write_recording(tmp_path / "feed.frames", 1)
    with served(tmp_path, feed="replay", replay_file=file, replay_speed=0) as first:
        folder = tmp_path / "second"
        folder.mkdir()
        with served(folder, feed="replay", replay_file=file, replay_speed=0) as second:
            for api in (first, second):
                assert api.client.post("/portfolio/init", json=NEW).status_code == 201


BINANCE = "wss://stream.binance.com:9443/stream"


def binance_recording(path: Path, event_ms: int = 1_790_000_000_000) -> Path:
    """A quote and a trade a second, in the venue's own form."""
    lines = [f"{BINANCE} <-> {event_ms / 1000:.6f}"]
    for step in range(20):
        at_ms = event_ms + step * 1_000
        quote = (
            f'{{"stream":"btcusdt@bookTicker","data":{{"u":{step + 1},"s":"BTCUSDT",'
            '"b":"63999.00","B":"2.000","a":"64000.00","A":"2.000"}}'
        )
        trade = (
            f'{{"stream":"btcusdt@trade","data":{{"e":"trade","E":{at_ms},"s":"BTCUSDT",'
            f'"t":{step + 1},"p":"64000.00","q":"0.100","T":{at_ms},"m":false,"M":true}}}}'
        )
        lines += [f"{at_ms / 1000:.6f}: {frame}" for frame in (quote, trade)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_an_order_on_a_replayed_recording_of_binance_is_taken(tmp_path):
    file = binance_recording(tmp_path / "binance.frames")
    with served(tmp_path, feed="replay", replay_file=file, replay_speed=0) as api:
        until(lambda: api.engine.paper.now_ns)
        assert buy(api)["state"] != "denied"


def test_a_replay_whose_desk_is_kept_nowhere_tells_no_sidecar_of_its_fills(tmp_path):
    file = binance_recording(tmp_path / "binance.frames")
    replay = {"feed": "replay", "replay_file": file, "telemetry_addr": "tcp://127.0.0.1:1"}
    with served(tmp_path, **replay, replay_speed=0) as api:
        assert api.engine.telemetry is None
    kept = f"sqlite:///{tmp_path}/kept.db"
    with served(tmp_path, **replay, replay_speed=0, desk_database_url=kept) as api:
        assert api.engine.telemetry is not None


def buy(api: Api) -> dict[str, object]:
    assert api.client.post("/portfolio/init", json=NEW).status_code == 201
    body = {"symbol": "BTCUSDT", "side": "buy", "qty": "0.01"}
    return dict(api.client.post("/portfolio/trade", json=body).json())
