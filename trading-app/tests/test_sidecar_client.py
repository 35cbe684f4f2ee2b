import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from trading_app.sidecar_answers import Summary
from trading_app.sidecar_client import ANSWER_BYTES_MAX, KEEP_S, Away, SidecarClient


class LocalSidecar:
    """A real HTTP server on a free port that answers ``body`` with ``status`` and counts."""

    def __init__(self, body):
        self.body, self.status, self.asked, self.pause = body, 200, 0, threading.Event()
        self.pause.set()
        local = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                local.asked += 1
                local.pause.wait(5)
                self.send_response(local.status)
                self.send_header("Content-Length", str(len(local.body)))
                self.end_headers()
                self.wfile.write(local.body)

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
def local(make_summary):
    server = LocalSidecar(make_summary().model_dump_json().encode())
    yield server
    server.stop()


@pytest.fixture
def client(local):
    client = SidecarClient(local.url)
    yield client
    client.close()


def after_the_kept_answer():
    """Let the half second pass in which the last answer is kept."""
    time.sleep(KEEP_S)


def test_the_totals_come_over_http(client, make_summary):
    assert client.summary() == make_summary()


def test_fields_of_a_newer_sidecar_are_ignored(client, local):
    local.body = local.body[:-1] + b',"new_field":[1]}'
    assert isinstance(client.summary(), Summary)


def test_many_sessions_share_one_question(client, local):
    local.pause.clear()
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(client.summary())) for _ in range(20)]
    for thread in threads:
        thread.start()
    local.pause.set()
    for thread in threads:
        thread.join()
    assert local.asked == 1
    assert len(answers) == 20
    assert len({id(answer) for answer in answers}) == 1


def test_an_answer_is_asked_for_again_after_half_a_second(client, local):
    client.summary()
    after_the_kept_answer()
    client.summary()
    assert local.asked == 2


def test_nothing_listening_is_away_with_the_reason(free_port):
    client = SidecarClient(f"http://127.0.0.1:{free_port()}", clock=lambda: 7.0)
    answer = client.summary()
    client.close()
    assert answer == Away(f"nothing answers at {client_url(answer)}", 7.0, None, None)


def client_url(answer):
    return answer.reason.removeprefix("nothing answers at ")


def test_a_sidecar_that_hangs_is_away_within_a_second(client, local):
    local.pause.clear()
    begun_s = time.monotonic()
    answer = client.summary()
    assert time.monotonic() - begun_s < 1
    assert isinstance(answer, Away)
    assert "took longer than 400 ms" in answer.reason


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (503, b"{}", "answered 503"),
        (200, b"<html>", "is not a sidecar of this version"),
        (200, b'{"now_s": 1}', "is not a sidecar of this version"),
        (200, b" " * (ANSWER_BYTES_MAX + 1), "answered without end"),
        (302, b"", "answered 302"),
    ],
)
def test_an_answer_that_is_no_sidecars_is_away_with_the_reason(client, local, status, body, reason):
    local.status, local.body = status, body
    answer = client.summary()
    assert isinstance(answer, Away)
    assert reason in answer.reason
    assert "\n" not in answer.reason


@pytest.mark.parametrize(
    ("body", "reason", "answers"),
    [
        (b'{"detail":"its state is busy"}', "the sidecar is not ready: its state is busy", True),
        (b'{"detail":[1]}', "answered 503", False),
        (b"", "answered 503", False),
    ],
)
def test_a_sidecar_that_is_not_ready_says_why_itself(client, local, body, reason, answers):
    local.status, local.body = 503, body
    answer = client.summary()
    assert reason in answer.reason
    assert answer.answers is answers


def test_the_last_good_answer_is_kept_with_its_time_and_away_keeps_its_beginning(local):
    times = iter([100.0, 200.0, 300.0])
    client = SidecarClient(local.url, clock=lambda: next(times))
    good = client.summary()
    local.status = 500
    after_the_kept_answer()
    first = client.summary()
    after_the_kept_answer()
    second = client.summary()
    client.close()
    assert (first.last, first.last_s, first.since_s) == (good, 100.0, 200.0)
    assert (second.last, second.last_s, second.since_s) == (good, 100.0, 200.0)


def test_it_comes_back_by_itself(client, local):
    local.status = 500
    assert isinstance(client.summary(), Away)
    local.status = 200
    after_the_kept_answer()
    assert isinstance(client.summary(), Summary)


def test_the_history_comes_over_http(client, local, make_life):
    local.body = make_life({-1: (2, 3)}).model_dump_json().encode()
    assert client.history() == make_life({-1: (2, 3)})
