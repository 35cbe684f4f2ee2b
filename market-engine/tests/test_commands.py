"""What ``market-engine COMMAND`` does with what people give it, in real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from market_engine.feeds.frames import FramesFile

PROGRAM = Path(sys.executable).with_name("market-engine")
ROW = "{},39432.48,0.5,19716.24,{},True,True\n"


def run(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "MARKET_DATABASE_URL": f"sqlite:///{folder}/market.db",
        **settings,
    }
    return subprocess.run(
        [PROGRAM, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def heed_interrupts() -> None:
    """A shell starts what it puts in the background deaf to Ctrl-C, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line with which it refused."""
    assert done.returncode == 2, done
    (line,) = done.stderr.splitlines()
    return line.removeprefix("market-engine: ")


def test_a_recording_is_generated_beside_what_is_there_already(tmp_path):
    (tmp_path / "day.frames").write_text("precious")
    done = run(tmp_path, "generate", "day.frames.gz", "--events", "2000", "--hours", "0.2")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "day.frames").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["day.frames", "day.frames.gz"]
    frames = sum(1 for _ in FramesFile(tmp_path / "day.frames.gz").frames())
    assert frames == pytest.approx(2_000, rel=0.5)  # bursts decide
    again = run(tmp_path, "generate", "day.frames", "--events", "100")
    assert "is there already" in complaint(again)


def test_an_interrupted_generation_leaves_nothing(tmp_path):
    with subprocess.Popen(
        [PROGRAM, "generate", "day.frames", "--events", "2000000"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=heed_interrupts,  # noqa: PLW1509 - it only sets a signal
    ) as process:
        deadline_s = time.monotonic() + 30
        while not list(tmp_path.iterdir()):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) != 0
    assert list(tmp_path.iterdir()) == []


def test_an_archive_is_loaded_once_however_often(tmp_path):
    rows = "".join(ROW.format(n, 1_610_064_000_000 + n * 500) for n in range(400))
    (tmp_path / "BTCUSDT-trades-2021-01-08.csv").write_text(rows)
    first = run(tmp_path, "load", "BTCUSDT-trades-2021-01-08.csv")
    assert "400 trades and" in first.stdout
    assert "are deleted when the engine runs: set it to 0" in first.stderr
    second = run(tmp_path, "load", "BTCUSDT-trades-2021-01-08.csv", MARKET_TRADES_DAYS="0")
    assert "0 trades and" in second.stdout
    assert "400 were there already" in second.stdout
    assert second.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "settings", "what"),
    [
        (("load", "nothing.csv"), {}, "is not there"),
        (("load", "--symbol", "x y", "nothing.csv"), {}, "is no symbol"),
        (("digest", "."), {}, "is of no known form"),
        (("record", "folder"), {}, "set it to binance"),
        ((), {"MARKET_TRADES_DAYS": "inf"}, "MARKET_TRADES_DAYS='inf' cannot be used"),
        ((), {"MARKET_SYMBOLS": "BTC USDT"}, "cannot be used: write symbols like BTCUSDT"),
        ((), {"MARKET_BINANCE_STREAM_URL": "foo"}, "write it as wss://HOST/PATH"),
        ((), {"MARKET_SIMULATED_ANCHOR_MS": "9" * 20}, "write ms since 1970"),
        ((), {"MARKET_FEED": "replay"}, "MARKET_REPLAY_FILE is not set"),
        ((), {"MARKET_DATABASE_URL": "nonsense"}, "is no URL like sqlite://"),
    ],
)
def test_what_cannot_be_is_one_line_with_the_cure(tmp_path, arguments, settings, what):
    assert what in complaint(run(tmp_path, *arguments, **settings))
