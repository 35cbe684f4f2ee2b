import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from trade_telemetry.messages import Trade, decode

SCRIPT = Path(sysconfig.get_path("scripts")) / "trading-app"


@pytest.fixture
def start(clean_settings, free_port, tmp_path):
    """Start the console script on free ports; whatever is left at the end fails the test."""
    started = []

    def start_it(*arguments, **keys):
        ports = {name: str(free_port()) for name in ("WEBAPP_HTTP_PORT", "WEBAPP_API_PORT")}
        away = {
            "WEBAPP_ZMQ_ADDR": f"tcp://127.0.0.1:{free_port()}",
            "SIDECAR_URL": f"http://127.0.0.1:{free_port()}",
        }
        process = subprocess.Popen(
            [SCRIPT, *arguments],
            env=os.environ | ports | away | keys,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        process.keys = ports | away | keys
        started.append(process)
        return process

    yield start_it
    left = [process for process in started if process.poll() is None]
    for process in left:
        process.kill()
    for process in started:
        process.communicate()
    assert not left


def url(process, service, path):
    return f"http://127.0.0.1:{process.keys[f'WEBAPP_{service}_PORT']}{path}"


def ask(process, service, path, body=None, headers=None):
    request = urllib.request.Request(url(process, service, path), body, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError:
        return None


def end(process, number):
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    out, err = process.communicate(timeout=15)
    assert not [child for child in children if child.is_running()]
    return process.returncode, out + err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_pages_answer_on_their_port_and_end_in_order(start, wait_until, tmp_path, number):
    process = start()
    assert wait_until(lambda: ask(process, "HTTP", "/_stcore/health"))[0] == 200
    assert b"<!doctype html>" in ask(process, "HTTP", "/")[1].lower()
    code, said = end(process, number)
    assert code == 0
    assert "Traceback" not in said
    assert said.strip() == f"trading-app: the desk is at {url(process, 'HTTP', '')}"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []  # no journal is left


def test_the_endpoint_trades_and_sends_what_waits_before_it_ends(start, wait_until, free_port):
    zmq = pytest.importorskip("zmq")
    with zmq.Context() as context, context.socket(zmq.PULL) as sidecar:
        sidecar.linger = 0
        port = sidecar.bind_to_random_port("tcp://127.0.0.1")
        process = start("api", WEBAPP_ZMQ_ADDR=f"tcp://127.0.0.1:{port}")
        wait_until(lambda: (ask(process, "API", "/health") or [0])[0] == 200)
        headers = {"content-type": "application/json"}
        status, body = ask(process, "API", "/trade/buy", b'{"qty": 3}', headers)
        assert status == 202
        trade = wait_until(lambda: next_trade(sidecar))
        event = json.loads(body)
        assert (trade.side, trade.qty, trade.src) == ("buy", 3.0, "trading-app-api")
        assert (trade.epoch, trade.seq) == (event["epoch"], event["seq"])
        code, said = end(process, signal.SIGTERM)
    assert (code, "Traceback" in said) == (0, False)


def next_trade(sidecar):
    """The next trade that arrives; beats are passed over."""
    if not sidecar.poll(100):
        return None
    message = decode(sidecar.recv(), 2e9)
    return message if isinstance(message, Trade) else None


@pytest.mark.parametrize(("arguments", "key"), [((), "WEBAPP_HTTP"), (("api",), "WEBAPP_API")])
def test_a_taken_port_is_one_line_that_names_the_key(start, arguments, key):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        process = start(*arguments, **{f"{key}_PORT": str(other.getsockname()[1])})
        out, err = process.communicate(timeout=15)
    assert (process.returncode, out) == (2, "")
    (line,) = err.splitlines()
    assert "cannot listen at" in line
    assert f"change {key}_PORT" in line


@pytest.mark.parametrize(
    ("arguments", "keys", "said"),
    [
        ((), {"WEBAPP_HTTP_PORT": "http"}, "WEBAPP_HTTP_PORT='http' must be a port"),
        (("api",), {"WEBAPP_API_HOST": "0.0.0.0"}, "set WEBAPP_API_TOKEN"),
    ],
)
def test_settings_that_cannot_work_are_one_line_and_code_2(start, arguments, keys, said):
    process = start(*arguments, **keys)
    _, err = process.communicate(timeout=15)
    assert process.returncode == 2
    (line,) = err.splitlines()
    assert said in line


def test_help_and_version_are_there(start):
    for argument, said in (("--help", "--reload"), ("--version", "trading-app 0.")):
        out, err = start(argument).communicate(timeout=15)
        assert said in out
        assert err == ""


def test_a_foreign_page_cannot_open_the_pages_connection(start, wait_until):
    process = start()
    wait_until(lambda: ask(process, "HTTP", "/_stcore/health"))
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    own, port = url(process, "HTTP", ""), process.keys["WEBAPP_HTTP_PORT"]
    answers = {}
    for origin, host in (
        (own, f"127.0.0.1:{port}"),
        ("http://evil.example", f"127.0.0.1:{port}"),
        (own, f"evil.example:{port}"),
        ("http://evil.example", "evil.example"),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
        headers = upgrade | {"Origin": origin, "Host": host}
        connection.request("GET", "/_stcore/stream", headers=headers)
        answers[origin, host] = connection.getresponse().status
        connection.close()
    end(process, signal.SIGTERM)
    assert list(answers.values()) == [101, 403, 403, 403]


def test_nothing_is_opened_started_or_read_at_import():
    code = """
import pkgutil, socket, sys, threading, importlib
import streamlit, uvicorn, fastapi, altair, trade_telemetry
from pathlib import Path
def trap(event, arguments):
    if event in {"socket.bind", "socket.connect", "subprocess.Popen"}:
        raise SystemExit(f"{event} {arguments}")
    if event == "open" and str(arguments[0]).endswith(".env"):
        raise SystemExit(f"read {arguments[0]}")
sys.addaudithook(trap)
threads = threading.active_count()
import trading_app
for module in pkgutil.walk_packages(trading_app.__path__, "trading_app."):
    if module.name.startswith("trading_app.benchmark."):
        continue  # it has packages of its own, which the desk runs without
    importlib.import_module(module.name)
assert threading.active_count() == threads, threading.enumerate()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
