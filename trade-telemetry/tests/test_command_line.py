"""``python -m trade_telemetry send`` as a shell sees it."""

from __future__ import annotations

import subprocess
import sys

import pytest


def send(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "trade_telemetry", "send", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_it_sends_and_says_what_was_counted(sidecar):
    result = send("buy", "3", "--symbol", "BTCUSDT", "--count", "5", "--address", sidecar.address)
    assert (result.returncode, result.stdout) == (0, "counted 5 of 5\n")
    assert [(trade.qty, trade.symbol) for trade in sidecar.trades] == [(3, "BTCUSDT")] * 5


def test_it_sends_without_acknowledgements(sidecar, until):
    result = send("buy", "3", "--count", "5", "--address", sidecar.address, "--ack-address", "")
    assert (result.returncode, result.stdout) == (0, "sent 5 of 5\n")
    until(lambda: len(sidecar.plain) == 5)


def test_it_says_what_was_not_counted(free_address):
    result = send("buy", "3", "--timeout", "0.1", "--address", free_address)
    assert result.returncode == 1
    assert result.stdout == "counted 0 of 1\n"
    assert "1 not counted, 0 refused: is the sidecar up at " in result.stderr


def test_what_was_not_counted_stays_in_a_journal(free_address, start_sidecar, tmp_path):
    to = ("--address", free_address, "--journal-dir", str(tmp_path))
    assert send("buy", "3", "--timeout", "0.1", *to).returncode == 1
    sidecar = start_sidecar(free_address)
    assert send("sell", "4", *to).returncode == 0
    assert sorted(trade.side for trade in sidecar.await_trades(2)) == ["buy", "sell"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["buy", "-1"], "qty must be from 0 to 1e+15"),
        (["buy", "1", "--address", "nowhere"], "write it as tcp://HOST:PORT"),
        (["buy", "1", "--source", "a b"], "source must be"),
        (["buy", "1", "--ack-address", "", "--journal-dir", "x"], "needs acknowledgements"),
    ],
)
def test_a_bad_argument_is_answered_in_one_line(arguments, message):
    result = send(*arguments, "--timeout", "0")
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
