import asyncio

import httpx
import pytest

from trade_telemetry import Trade
from trade_telemetry.testing import RecordingPublisher
from trading_app.http_api import create_api
from trading_app.http_guard import BODY_BYTES_MAX
from trading_app.settings import load_settings

HOST = "http://127.0.0.1:8000"


class Client:
    """Asks the application directly; each request is whole when the answer comes."""

    def __init__(self, api):
        self._transport = httpx.ASGITransport(api)

    def get(self, path):
        return asyncio.run(self._send("GET", path))

    def post(self, path, *, pieces=None, **request):
        return asyncio.run(self._send("POST", path, pieces, **request))

    async def _send(self, method, path, pieces=None, **request):
        if pieces is not None:
            request["content"] = self._stream(pieces)
        async with httpx.AsyncClient(transport=self._transport, base_url=HOST) as client:
            return await client.request(method, path, **request)

    async def _stream(self, pieces):
        for piece in pieces:
            yield piece


@pytest.fixture
def open_api(clean_settings, monkeypatch, publisher, now_s):
    """Make a client of the endpoint, with settings by key and a publisher of one's own."""

    def make(recorder=publisher, **keys):
        for key, value in keys.items():
            monkeypatch.setenv(key, value)
        return Client(create_api(load_settings(), recorder, clock=lambda: now_s))

    return make


@pytest.fixture
def api(open_api):
    return open_api()


def fields(answer):
    body = answer.json()
    assert body["status"] == "refused"
    assert all(problem["problem"] for problem in body["problems"])
    return [problem["field"] for problem in body["problems"]]


def test_json_is_answered_with_the_event_and_its_stamps(api, publisher, now_s):
    answer = api.post("/trade/buy", json={"qty": 3, "symbol": "BTCUSDT", "price": 64_000})
    assert answer.status_code == 202
    assert answer.json() == {
        "side": "buy",
        "qty": 3.0,
        "ts": now_s,
        "symbol": "BTCUSDT",
        "price": 64_000.0,
        "src": "trading-app",
        "epoch": 1,
        "seq": 1,
    }
    assert publisher.trades == [Trade("buy", 3.0, now_s, "BTCUSDT", 64_000.0)]


def test_a_form_is_answered_with_the_way_back_to_the_desk(api, publisher, now_s):
    answer = api.post("/trade/sell", data={"qty": "0.25", "symbol": "", "price": ""})
    assert answer.status_code == 303
    assert answer.headers["location"] == "http://127.0.0.1:8501/?traded=sell-0.25"
    assert publisher.trades == [Trade("sell", 0.25, now_s)]


def test_a_multipart_form_is_a_form(api, publisher):
    answer = api.post("/trade/buy", files={"qty": (None, "3")})
    assert answer.status_code == 303
    assert publisher.trades[0].qty == 3


@pytest.mark.parametrize(
    ("side", "body", "wrong"),
    [
        ("hold", {"qty": 1}, ["side"]),
        ("buy", {}, ["qty"]),
        ("buy", {"qty": "3"}, ["qty"]),
        ("buy", {"qty": True}, ["qty"]),
        ("buy", {"qty": None}, ["qty"]),
        ("buy", {"qty": -1}, ["qty"]),
        ("buy", {"qty": 1e16}, ["qty"]),
        ("buy", {"qty": [1]}, ["qty"]),
        ("buy", {"qty": 1, "symbol": "a b"}, ["symbol"]),
        ("buy", {"qty": 1, "symbol": 5}, ["symbol"]),
        ("buy", {"qty": 1, "price": 0}, ["price"]),
        ("hold", {"qty": -1, "symbol": "", "price": "x"}, ["side", "qty", "symbol", "price"]),
    ],
)
def test_a_trade_outside_the_contract_is_refused_field_by_field(api, publisher, side, body, wrong):
    answer = api.post(f"/trade/{side}", json=body)
    assert answer.status_code == 422
    assert fields(answer) == wrong
    assert publisher.trades == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b"3", b'{"qty": NaN}', b'{"qty": 1e999}', b"\xff", b"[" * 9_999]
)
def test_json_that_is_none_is_refused(api, publisher, body):
    answer = api.post("/trade/buy", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert fields(answer) in (["body"], ["qty"])
    assert publisher.trades == []


def test_a_wrong_form_from_a_browser_is_a_page_that_escapes_what_it_shows(api):
    data = {"qty": "<script>alert(1)</script>"}
    answer = api.post("/trade/buy", data=data, headers={"accept": "text/html,*/*"})
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("text/html")
    assert "<script>" not in answer.text
    assert "http://127.0.0.1:8501" in answer.text


def test_a_wrong_form_from_a_program_is_json(api):
    answer = api.post("/trade/buy", data={"qty": "x"})
    assert answer.status_code == 422
    assert fields(answer) == ["qty"]


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", ""])
def test_another_content_type_is_refused(api, publisher, kind):
    answer = api.post("/trade/buy", content=b'{"qty":1}', headers={"content-type": kind})
    assert answer.status_code == 415
    assert publisher.trades == []


def test_a_form_with_a_file_is_refused(api, publisher):
    answer = api.post("/trade/buy", files={"qty": ("qty.txt", b"3")})
    assert answer.status_code == 400
    assert fields(answer) == ["request"]
    assert publisher.trades == []


@pytest.mark.parametrize("length", [True, False])
def test_a_body_above_the_limit_is_refused_with_or_without_a_length(api, publisher, length):
    body = b'{"qty":1,"pad":"' + b"x" * BODY_BYTES_MAX + b'"}'
    sent = {"content": body} if length else {"pieces": [body[:9_000], body[9_000:]]}
    answer = api.post("/trade/buy", headers={"content-type": "application/json"}, **sent)
    assert answer.status_code == 413
    assert fields(answer) == ["body"]
    assert publisher.trades == []


def test_a_body_in_pieces_below_the_limit_is_taken(api):
    pieces = [b'{"qty"', b":3}"]
    answer = api.post("/trade/buy", pieces=pieces, headers={"content-type": "application/json"})
    assert answer.status_code == 202


def test_without_room_it_says_so_and_asks_to_try_again(open_api):
    full = RecordingPublisher(capacity=1, connected=False)
    api = open_api(full)
    assert api.post("/trade/buy", json={"qty": 1}).status_code == 202
    answer = api.post("/trade/buy", json={"qty": 1})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert fields(answer) == ["server"]
    assert "no room" in answer.text
    form = api.post("/trade/buy", data={"qty": "1"}, headers={"accept": "text/html"})
    assert form.status_code == 503
    assert "no room" in form.text


def test_a_closed_publisher_is_answered_with_503(open_api, publisher):
    publisher.close()
    answer = open_api().post("/trade/buy", json={"qty": 1})
    assert answer.status_code == 503
    assert "closing" in answer.text


@pytest.mark.parametrize(
    "header", [None, "Bearer wrong", "Bearer", "Basic secret", "secret", "Bearer ünïcode"]
)
def test_with_a_token_set_nobody_trades_without_it(open_api, publisher, header):
    api = open_api(WEBAPP_API_TOKEN="secret")
    headers = {} if header is None else {"authorization": header.encode()}
    answer = api.post("/trade/buy", json={"qty": 1}, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert fields(answer) == ["token"]
    assert publisher.trades == []


def test_the_token_is_taken_as_a_header_or_as_a_field_of_a_form(open_api, publisher):
    api = open_api(WEBAPP_API_TOKEN="secret")
    bearer = {"authorization": "bearer secret"}
    assert api.post("/trade/buy", json={"qty": 1}, headers=bearer).status_code == 202
    assert api.post("/trade/buy", data={"qty": "1"}, headers=bearer).status_code == 303
    assert api.post("/trade/buy", data={"qty": "1", "token": "secret"}).status_code == 303
    assert api.post("/trade/buy", data={"qty": "1", "token": "no"}).status_code == 401
    assert api.post("/trade/buy", json={"qty": 1, "token": "secret"}).status_code == 401
    assert len(publisher.trades) == 3


def test_an_open_endpoint_ignores_a_token(api):
    headers = {"authorization": "Bearer anything"}
    assert api.post("/trade/buy", json={"qty": 1}, headers=headers).status_code == 202


@pytest.mark.parametrize(
    "origin",
    [
        "http://127.0.0.1:8501",
        "http://localhost:8501",
        "http://[::1]:8501",
        "http://127.0.0.1:8000",
        "http://localhost:8000",
    ],
)
def test_our_own_pages_may_trade(api, origin):
    answer = api.post("/trade/buy", json={"qty": 1}, headers={"origin": origin})
    assert answer.status_code == 202


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://evil.example",
        "https://127.0.0.1:8501",
        "http://127.0.0.1:9999",
        "http://127.0.0.1",
        "http://127.0.0.1:8501.evil.example",
        "http://localhost:8501/",
    ],
)
def test_foreign_pages_may_not_trade(api, publisher, origin):
    for kind in ({"json": {"qty": 1}}, {"data": {"qty": "1"}}):
        answer = api.post("/trade/buy", headers={"origin": origin}, **kind)
        assert answer.status_code == 403
        assert fields(answer) == ["origin"]
    assert publisher.trades == []


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""]
)
def test_another_host_name_is_refused_against_dns_rebinding(api, publisher, host):
    answer = api.post("/trade/buy", json={"qty": 1}, headers={"host": host})
    assert answer.status_code == 400
    assert fields(answer) == ["host"]
    assert publisher.trades == []


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000"])
def test_the_names_of_this_machine_are_taken(api, host):
    assert api.post("/trade/buy", json={"qty": 1}, headers={"host": host}).status_code == 202


def test_opened_to_every_address_any_host_name_is_taken_but_foreign_pages_are_not(open_api):
    api = open_api(WEBAPP_API_HOST="0.0.0.0", WEBAPP_API_TOKEN="secret")
    headers = {"authorization": "Bearer secret", "host": "desk.lan:8000"}
    assert api.post("/trade/buy", json={"qty": 1}, headers=headers).status_code == 202
    headers["origin"] = "http://evil.example"
    assert api.post("/trade/buy", json={"qty": 1}, headers=headers).status_code == 403


def test_only_post_trades(api, publisher):
    answer = api.get("/trade/buy?qty=1")
    assert answer.status_code == 405
    assert fields(answer) == ["request"]
    assert publisher.trades == []


def test_an_unknown_address_is_refused_in_the_same_shape(api):
    answer = api.post("/trades", json={"qty": 1})
    assert (answer.status_code, fields(answer)) == (404, ["request"])


def test_health_says_whether_the_sidecar_is_reached_and_what_waits(api, publisher):
    assert api.get("/health").json()["connected"] is True
    publisher.connected = False
    api.post("/trade/buy", json={"qty": 1})
    answer = api.get("/health")
    assert answer.status_code == 200
    assert (answer.json()["connected"], answer.json()["waiting"]) == (False, 1)
    assert answer.json()["acknowledged"] == 0


def test_health_says_whether_what_waits_survives_and_what_is_wrong(open_api, make_stats):
    class Troubled(RecordingPublisher):
        def stats(self):
            return make_stats(durable=False, leftover=3, problem="no journal file: free some bytes")

    said = open_api(Troubled()).get("/health").json()
    assert (said["durable"], said["tracked"], said["leftover"]) == (False, True, 3)
    assert said["problem"] == "no journal file: free some bytes"


def test_with_fire_and_forget_the_event_has_no_stamps(open_api, make_stats):
    class Plain(RecordingPublisher):
        def stats(self):
            return make_stats(tracked=False, durable=False)

    event = open_api(Plain()).post("/trade/buy", json={"qty": 1}).json()
    assert (event["src"], event["epoch"], event["seq"]) == (None, None, None)


def test_the_documentation_names_every_answer(api):
    operation = api.get("/openapi.json").json()["paths"]["/trade/{side}"]["post"]
    answers = {"202", "303", "400", "401", "403", "413", "415", "422", "503"}
    assert answers <= set(operation["responses"])
    assert set(operation["requestBody"]["content"]) == {
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    }
