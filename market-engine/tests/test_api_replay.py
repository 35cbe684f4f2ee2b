"""A replay's life over HTTP: begun, paused, sought, hurried, ended; and files that are none."""

from __future__ import annotations

import json

import pytest
from api_server import Api, messages_of, next_of, served, until, write_recording

MINUTES = 4
SPAN_MS = MINUTES * 60_000


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """A live market, and recordings beside it, sound and broken."""
    with served(tmp_path_factory.mktemp("replay"), simulated_rate=100) as api:
        whole = write_recording(api.recordings / "sample.frames", MINUTES)
        head, _, rest = whole.read_bytes().partition(b"\n")
        frames = rest.splitlines(keepends=True)
        torn = [head + b"\n", *frames[:50], b"no frame at all\n", frames[50][:40] + b"\n"]
        (api.recordings / "torn.frames").write_bytes(b"".join([*torn, *frames[51:200]]))
        (api.recordings / "empty.frames").write_bytes(b"")
        (api.recordings / "other.frames").write_bytes(b"what is this?\n" * 20)
        (api.recordings / "headless.frames").write_bytes(head + b"\n")
        (api.recordings / "broken.zip").write_bytes(b"PK\x03\x04 not really")
        row = "{},39432.1,0.5,19716.05,{},True,True\n"
        rows = [row.format(number, 1_609_459_200_000 + number * 500) for number in range(400)]
        (api.recordings / "BTCUSDT-trades-2021-01-01.csv").write_text("".join(rows))
        (api.recordings / "notes.txt").write_text("not a recording")
        (api.recordings.parent / "secret.frames").write_bytes(whole.read_bytes())
        yield api


@pytest.fixture(autouse=True)
def nothing_is_replayed(api):
    yield
    assert api.client.delete("/api/replay").status_code == 204
    assert api.get("/api/replay")["state"] == "none"


def begin(api: Api, file: str = "sample.frames", speed: float | None = None) -> dict:
    answer = api.client.post("/api/replay", json={"file": file, "speed": speed})
    assert answer.status_code == 201, answer.text
    return answer.json()


def change(api: Api, status: int = 200, **changes: object) -> dict:
    answer = api.client.patch("/api/replay", json=changes)
    assert answer.status_code == status, answer.text
    return answer.json()


def ended(api: Api) -> dict:
    until(lambda: api.get("/api/replay")["state"] == "ended")
    return api.get("/api/replay")


def test_the_recordings_are_listed_by_name_with_their_times(api: Api):
    listed = {each["name"]: each for each in api.get("/api/recordings")["recordings"]}
    assert "notes.txt" not in listed
    assert "secret.frames" not in listed
    sample = listed["sample.frames"]
    assert sample["kind"] == "frames"
    assert sample["size_bytes"] > 10_000
    assert SPAN_MS * 0.9 < sample["last_ms"] - sample["first_ms"] <= SPAN_MS
    csv = listed["BTCUSDT-trades-2021-01-01.csv"]
    assert (csv["kind"], csv["last_ms"] - csv["first_ms"]) == ("csv", 399 * 500)
    for name in ("empty.frames", "other.frames", "broken.zip"):
        assert listed[name]["first_ms"] is None


def test_before_a_replay_everything_about_it_is_unknown(api: Api):
    body = api.get("/api/replay")
    assert body["state"] == "none"
    assert body["file"] is body["first_ms"] is body["at_ms"] is body["speed"] is None
    assert change(api, 404, paused=True)["error"]["code"] == "no_replay"


def test_a_replay_shows_its_own_market_and_leaves_the_live_one_and_the_store_alone(api: Api):
    live = {each["symbol"] for each in api.get("/symbols")["symbols"]}
    started = begin(api)
    assert started["file"] == "sample.frames"
    body = ended(api)
    assert body["at_ms"] == body["last_ms"]
    assert body["events"] > 500
    assert body["rejected"] == 0
    replayed = api.get("/symbols?source=replay")
    assert [each["symbol"] for each in replayed["symbols"]] == ["BTCUSDT", "ETHUSDT"]
    bars = api.get("/symbols/BTCUSDT/history?window=1h&source=replay")["bars"]
    assert len(bars) == MINUTES - 1
    assert bars[0]["t_ms"] == body["first_ms"] - body["first_ms"] % 60_000
    price = api.get("/symbols/BTCUSDT/price?source=replay")
    assert body["first_ms"] < price["trade_ms"] <= body["last_ms"]
    assert 0 <= price["age_ms"] < 60_000
    health = api.get("/api/feed/health?source=replay")
    assert health["faults"] == []
    assert health["connection"]["connected"] is None
    assert health["now_ms"] <= body["last_ms"] + 1_000
    assert {each["symbol"] for each in api.get("/symbols")["symbols"]} == live
    stored = api.engine.store.bars("binance", "BTCUSDT", 60)
    assert stored == []


def test_the_same_recording_gives_the_same_market_each_time(api: Api):
    markets = []
    for speed in (None, 100_000.0):
        begin(api, speed=speed)
        ended(api)
        paths = ("/symbols", "/api/metrics/latest", "/symbols/ETHUSDT/trades?limit=200")
        markets.append([
            api.get(f"{path}{'&' if '?' in path else '?'}source=replay") for path in paths
        ])  # fmt: skip
    assert markets[0] == markets[1]


def test_a_replay_is_paused_goes_on_faster_and_is_paused_again(api: Api):
    begin(api, speed=1.0)
    assert change(api, paused=True)["state"] == "paused"
    at_ms = api.get("/api/replay")["at_ms"]
    change(api, speed=1_000.0)
    assert api.get("/api/replay")["at_ms"] == at_ms
    body = change(api, paused=False)
    assert (body["state"], body["speed"]) == ("playing", 1_000.0)
    until(lambda: api.get("/api/replay")["at_ms"] > at_ms)
    assert change(api, speed=None)["speed"] is None
    assert ended(api)["events"] > 500


def test_seeking_back_begins_the_market_anew_from_there(api: Api):
    first = begin(api)
    whole = ended(api)
    middle_ms = first["first_ms"] + SPAN_MS // 2
    body = change(api, paused=True, seek_ms=middle_ms)
    assert body["at_ms"] == middle_ms
    assert body["state"] == "paused"
    until(lambda: not api.get("/symbols/BTCUSDT/trades?source=replay")["trades"])
    change(api, paused=False)
    assert ended(api)["events"] > whole["events"]
    bars = api.get("/symbols/BTCUSDT/history?window=1h&source=replay")["bars"]
    assert bars[0]["t_ms"] >= middle_ms - 60_000
    health = api.get("/api/feed/health?source=replay")
    assert health["faults"] == []
    assert all(each["id_gaps"] == 0 for each in health["symbols"])


@pytest.mark.parametrize("seek_ms", [0, 4_000_000_000_000])
def test_seeking_beyond_an_end_is_that_end(api: Api, seek_ms: int):
    body = begin(api)
    change(api, paused=True)
    found = change(api, seek_ms=seek_ms)
    assert found["at_ms"] == (body["first_ms"] if seek_ms == 0 else body["last_ms"])


def test_a_new_replay_takes_the_place_of_the_old_one(api: Api):
    begin(api, speed=0.5)
    body = begin(api, "BTCUSDT-trades-2021-01-01.csv")
    assert body["file"] == "BTCUSDT-trades-2021-01-01.csv"
    assert ended(api)["events"] == 400
    listed = api.get("/symbols?source=replay")["symbols"]
    assert [each["symbol"] for each in listed] == ["BTCUSDT"]
    assert listed[0]["price"] == "39432.1"


def test_a_torn_recording_is_played_and_what_cannot_be_used_is_counted(api: Api):
    begin(api, "torn.frames")
    body = ended(api)
    assert body["rejected"] == 2
    assert body["events"] > 100
    assert api.get("/api/feed/health?source=replay")["rejected"] == 2


@pytest.mark.parametrize("file", ["empty.frames", "other.frames", "headless.frames", "broken.zip"])
def test_a_file_that_cannot_be_played_is_told_without_its_folder_and_the_old_one_goes_on(
    api: Api, file: str
):
    begin(api, speed=1.0)
    answer = api.client.post("/api/replay", json={"file": file})
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["code"] == "bad_recording"
    assert file in error["message"]
    assert str(api.recordings.parent) not in answer.text
    assert api.get("/api/replay")["file"] == "sample.frames"
    assert api.get("/api/replay")["state"] == "playing"


@pytest.mark.parametrize(
    "file",
    ["../secret.frames", "/etc/passwd", "..", ".", "a/../sample.frames", "..%2fsecret.frames",
     "sample.frames\x00", "notes.txt", "none.frames", ".frames", "sample.frames/", "\u202e.csv",
     "C:\\secret.frames", "~/secret.frames"],
)  # fmt: skip
def test_only_names_of_the_list_can_be_replayed(api: Api, file: str):
    answer = api.client.post("/api/replay", json={"file": file})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "unknown_recording"


def test_a_stream_of_the_replay_is_told_when_its_market_begins_anew(api: Api):
    with api.websocket("source=replay&topics=trades,metrics,health") as websocket:
        assert messages_of(websocket, 1)[0]["symbols"] == []
        body = begin(api, speed=2_000.0)
        assert next_of(websocket, "hello")["symbols"] == ["BTCUSDT", "ETHUSDT"]
        found = next_of(websocket, "trades")
        assert found["trades"][0]["t_ms"] - body["first_ms"] < 10_000
        bar = next_of(websocket, "bar")
        assert bar["t_ms"] % 60_000 == 0
        assert bar["span_s"] == 60
        ended(api)
        change(api, seek_ms=body["first_ms"])
        next_of(websocket, "hello")
        again = next_of(websocket, "trades")
        assert again["trades"][0]["id"] == found["trades"][0]["id"]
    counts = sum(api.parts.figures.delays.counts)
    begin(api)
    ended(api)
    assert sum(api.parts.figures.delays.counts) == counts


def test_a_bar_on_the_stream_is_the_one_in_the_history(api: Api):
    with api.websocket("source=replay&topics=bars&symbols=BTCUSDT") as websocket:
        next_of(websocket, "hello")
        begin(api)
        next_of(websocket, "hello")
        bars = [next_of(websocket, "bar") for _ in range(MINUTES - 1)]
    history = api.get("/symbols/BTCUSDT/history?window=1h&source=replay")["bars"]
    assert [{key: bar[key] for key in history[0]} for bar in bars] == history


def test_a_replay_in_full_flight_does_not_hold_up_the_end(tmp_path):
    with served(tmp_path, simulated_rate=50) as api:
        write_recording(api.recordings / "long.frames", 12, 4_000_000)
        with api.websocket("source=replay"):
            begin(api, "long.frames")
            until(lambda: api.get("/api/replay")["events"] > 100)
            assert json.loads(api.client.get("/api/replay").text)["state"] == "playing"
            assert api.stop() < 3
