"""The client of the market-engine: answers as results, short waits, and no question too many.

``LocalEngine`` is a test double: a real server on loopback that answers what it is told.
"""

import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from trading_app.market_answers import History, Replay, Symbols
from trading_app.market_client import (
    ANSWER_BYTES_MAX,
    ANSWERS_MAX,
    KEEP_S,
    REST_S,
    Failed,
    MarketClient,
    Refused,
)
from trading_app.sidecar_client import Away

SYMBOLS = {"venue": "simulated", "symbols": [{"symbol": "BTCUSDT", "price": "39432.48"}]}


class LocalEngine:
    """Answers every request with ``status`` and ``body``; ``drip`` sends it a byte at a time."""

    def __init__(self):
        self.status, self.body, self.drip = 200, json.dumps(SYMBOLS).encode(), False
        self.asked, self.pause = [], threading.Event()
        self.pause.set()
        local = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("Content-Length", 0))
                local.asked.append((self.command, self.path, self.rfile.read(length)))
                local.pause.wait(5)
                self.send_response(local.status)
                self.send_header("Content-Length", str(len(local.body)))
                self.end_headers()
                step = 1 if local.drip else len(local.body) or 1
                for place in range(0, len(local.body), step):
                    self.wfile.write(local.body[place : place + step])
                    if local.drip:
                        time.sleep(0.02)

            def do_GET(self):
                self.answer()

            def do_POST(self):
                self.answer()

            def do_PATCH(self):
                self.answer()

            def do_DELETE(self):
                self.answer()

            def log_message(self, *_):
                pass

            def handle(self):
                with suppress(BrokenPipeError, ConnectionResetError):  # a client lost patience
                    super().handle()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self):
        self.pause.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def local():
    server = LocalEngine()
    yield server
    server.stop()


@pytest.fixture
def client(local):
    client = MarketClient(local.url)
    yield client
    client.close()


def error(code, message):
    return json.dumps({"error": {"code": code, "message": message, "field": None}}).encode()


def test_prices_stay_exact_on_their_way(client):
    (symbol,) = client.symbols("feed").symbols
    assert str(symbol.price) == "39432.48"


def test_all_sessions_share_an_answer_for_half_a_second_and_each_source_has_its_own(client, local):
    first, second = client.symbols("feed"), client.symbols("feed")
    assert first is second
    client.symbols("replay")
    assert [path for _, path, _ in local.asked] == [
        "/symbols?source=feed",
        "/symbols?source=replay",
    ]
    time.sleep(KEEP_S)
    client.symbols("feed")
    assert len(local.asked) == 3


def test_a_strange_name_of_a_symbol_cannot_leave_its_place_in_the_address(client, local):
    client.quoted("feed", "../api/replay?x=1#")
    assert local.asked[0][1] == "/symbols/..%2Fapi%2Freplay%3Fx%3D1%23/price?source=feed"


def test_nothing_listening_is_away_with_the_reason(free_port):
    url = f"http://127.0.0.1:{free_port()}"
    client = MarketClient(url, clock=lambda: 7.0)
    assert client.symbols("feed") == Away(f"nothing answers at {url}", 7.0, None, None)
    client.close()


def test_an_engine_that_hangs_is_waited_for_once_and_not_by_every_question(client, local):
    local.pause.clear()
    begun_s = time.monotonic()
    answers = [
        client.symbols("feed"), client.health("feed"), client.trades("feed", "X", 5),
        client.history("feed", "X", "1h", 300), client.metrics("feed", "X"), client.replay(),
    ]  # fmt: skip
    assert time.monotonic() - begun_s < 2
    assert all("took longer than 400 ms" in answer.reason for answer in answers)
    assert len(local.asked) == 1


def test_an_answer_that_drips_is_given_up_in_time(client, local):
    local.drip = True
    begun_s = time.monotonic()
    assert isinstance(client.symbols("feed"), Away)
    assert time.monotonic() - begun_s < 1


def test_it_comes_back_by_itself_and_away_keeps_the_last_answer_and_its_beginning(local):
    times = iter(range(100, 200))
    client = MarketClient(local.url, clock=lambda: float(next(times)))
    good = client.symbols("feed")
    local.pause.clear()
    time.sleep(KEEP_S)
    first = client.symbols("feed")
    time.sleep(KEEP_S)
    second = client.symbols("feed")
    assert (first.last, first.last_s) == (good, 100.0)
    assert second.since_s == first.since_s
    local.pause.set()
    time.sleep(REST_S)
    assert isinstance(client.symbols("feed"), Symbols)
    client.close()


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, b"oops", "answered 500"),
        (200, b"<html>", "is not a market-engine of this version"),
        (200, b'{"symbols": [{}]}', "is not a market-engine of this version"),
        (200, b" " * (ANSWER_BYTES_MAX + 1), "answered without end"),
        (302, b"", "answered 302"),
    ],
)
def test_an_answer_that_is_no_engines_is_away_with_the_reason(client, local, status, body, reason):
    local.status, local.body = status, body
    answer = client.symbols("feed")
    assert isinstance(answer, Away)
    assert reason in answer.reason
    assert "\n" not in answer.reason


def test_one_address_that_answers_nonsense_does_not_silence_the_others(client, local):
    local.body = b"[]"
    assert isinstance(client.health("feed"), Away)
    local.body = json.dumps(SYMBOLS).encode()
    assert isinstance(client.symbols("feed"), Symbols)


def test_what_the_engine_refuses_comes_with_its_own_words(client, local):
    local.status, local.body = 404, error("unknown_symbol", "'X' is not known here.")
    assert client.history("feed", "X", "1h", 300) == Refused(
        "unknown_symbol", "'X' is not known here."
    )


def test_an_engine_that_is_not_ready_says_so_itself(client, local):
    local.status, local.body = 503, error("starting", "It is starting.")
    answer = client.symbols("feed")
    assert isinstance(answer, Away)
    assert (answer.reason, answer.answers) == ("It is starting.", True)


def test_a_history_longer_than_was_asked_for_is_not_taken(client, local):
    bar = {"t_ms": 1, "open": "1", "high": "1", "low": "1", "close": "1"}
    local.body = json.dumps({"symbol": "X", "span_s": 60, "bars": [bar] * 1_001}).encode()
    assert isinstance(client.history("feed", "X", "1h", 300), Away)
    time.sleep(KEEP_S)
    local.body = json.dumps({"symbol": "X", "span_s": 60, "bars": [bar]}).encode()
    assert isinstance(client.history("feed", "X", "1h", 300), History)


def test_no_more_answers_are_kept_than_the_limit(client, local):
    for number in range(ANSWERS_MAX + 10):
        client.quoted("feed", f"S{number}")
    asked = len(local.asked)
    client.quoted("feed", f"S{ANSWERS_MAX + 9}")
    client.quoted("feed", "S0")
    assert len(local.asked) == asked + 1


def test_commands_say_what_is_to_be_done_and_the_next_question_is_asked_anew(client, local):
    local.body = Replay(state="playing").model_dump_json().encode()
    client.replay()
    assert client.start_replay("a.frames", None) is None
    assert client.change_replay({"seek_ms": 5}) is None
    client.replay()
    local.status, local.body = 204, b""
    assert client.end_replay() is None
    methods = [(method, body) for method, _, body in local.asked]
    assert methods == [
        ("GET", b""),
        ("POST", b'{"file":"a.frames","speed":null}'),
        ("PATCH", b'{"seek_ms":5}'),
        ("GET", b""),
        ("DELETE", b""),
    ]


def test_a_command_that_is_refused_or_not_answered_is_a_result(client, local, free_port):
    local.status, local.body = 404, error("unknown_recording", "There is none.")
    assert client.start_replay("x", 1.0) == Refused("unknown_recording", "There is none.")
    local.body = b"?"
    assert client.end_replay() == Failed(f"{local.url} answered 404")
    nobody = MarketClient(f"http://127.0.0.1:{free_port()}")
    assert isinstance(nobody.end_replay(), Failed)
    nobody.close()
