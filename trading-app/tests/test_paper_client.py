"""The client of the paper desk: what was surely not done, what is not known, what was refused.

``LocalDesk`` is a test double: a real server on loopback that answers what it is told.
"""

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from trading_app import paper_client
from trading_app.market_client import Failed, Refused
from trading_app.paper_answers import TradingState
from trading_app.paper_client import Done, PaperClient
from trading_app.sidecar_client import Away
from trading_app.status import STALE_AFTER_S

ORDER = {"client_order_id": "a", "symbol": "BTCUSDT", "side": "buy", "qty": "1", "state": "filled"}


class LocalDesk:
    """Answers with ``status`` and ``body``, once ``pause`` is set."""

    def __init__(self):
        self.status, self.body, self.asked = 200, ORDER, []
        self.pause = threading.Event()
        self.pause.set()
        local = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("Content-Length", 0))
                local.asked.append((self.command, self.path, self.rfile.read(length)))
                local.pause.wait(10)
                text = json.dumps(local.body).encode()
                self.send_response(local.status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the names of the base class

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
    server = LocalDesk()
    yield server
    server.stop()


@pytest.fixture
def client(local):
    client = PaperClient(local.url)
    yield client
    client.close()


def error(code, message):
    return {"error": {"code": code, "message": message, "field": None}}


def test_a_new_order_is_told_from_one_that_came_before(local, client):
    local.status = 201
    assert client.place(ORDER).is_new
    local.status = 200
    answer = client.place(ORDER)
    assert isinstance(answer, Done)
    assert not answer.is_new
    assert [json.loads(body) for _, _, body in local.asked] == [ORDER, ORDER]


def test_a_refusal_is_said_in_the_desks_words(local, client):
    local.status, local.body = 409, error("other_order", "It was another order.")
    assert client.place(ORDER) == Refused("other_order", "It was another order.")


def test_where_nobody_listens_it_is_certain_that_nothing_was_done(local, free_port):
    client = PaperClient(f"http://127.0.0.1:{free_port()}")
    answer = client.place(ORDER)
    assert isinstance(answer, Away)
    assert "nothing answers" in answer.reason
    client.close()


def test_an_answer_that_is_late_is_not_known_within_two_seconds(local, client, monkeypatch):
    assert paper_client.COMMAND_S == 2.0
    monkeypatch.setattr(paper_client, "COMMAND_S", 0.2)
    local.pause.clear()
    answer = client.place(ORDER)
    assert isinstance(answer, Failed)
    assert "took longer than 0.2 s" in answer.reason


@pytest.mark.parametrize(
    ("status", "body"),
    [(503, error("database", "It cannot be read now.")), (200, {"hello": 1}), (500, [])],
)
def test_what_is_no_clear_answer_is_not_known_to_be_done(local, client, status, body):
    local.status, local.body = status, body
    assert isinstance(client.place(ORDER), Failed)


def test_what_could_not_be_stored_is_refused_and_was_not_done(local, client):
    local.status, local.body = 503, error("not_stored", "It cannot be stored now.")
    assert client.place(ORDER) == Refused("not_stored", "It cannot be stored now.")


def test_one_slow_answer_is_not_an_engine_that_is_gone(local):
    now_s = [1_000.0]
    client = PaperClient(local.url, clock=lambda: now_s[0])
    local.pause.clear()
    assert isinstance(client.trading_state(), Away)
    assert not client.is_gone
    now_s[0] += STALE_AFTER_S
    assert client.is_gone
    client.close()


def test_an_engine_where_nobody_listens_is_gone_at_once(free_port):
    client = PaperClient(f"http://127.0.0.1:{free_port()}")
    assert not client.is_gone
    client.trading_state()
    assert client.is_gone
    client.close()


def test_all_orders_of_a_portfolio_are_cancelled_at_once(local, client):
    local.body = {"cancelled": 3}
    assert client.cancel_all("main").answer.cancelled == 3
    assert local.asked[0][:2] == ("DELETE", "/orders?portfolio=main")


def test_after_a_command_the_next_question_is_asked_anew(local, client):
    local.body = {"state": "active"}
    client.trading_state()
    client.trading_state()
    assert len(local.asked) == 1
    local.body = {"state": "halted"}
    client.set_state("halted", "a test")
    assert client.trading_state() == TradingState(state="halted")


def test_a_cancel_names_its_portfolio_and_escapes_the_id(local, client):
    client.cancel("main", "a/b")
    assert local.asked[0][:2] == ("DELETE", "/orders/a%2Fb?portfolio=main")
