"""`make demo`: a market whose every trade is counted, that ends cleanly, and leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq
from tests.parts import ROOT, Apps, fetch, until

from trade_telemetry import Publisher

sys.path.append(str(ROOT / "tools"))
from demo_accounts import differences, report
from demo_bots import BOTS, Tally

AGREEMENT = "They agree exactly: each trade was counted once."


class Demo(Apps):
    """A run of `make demo`; every process of it has our TMPDIR, where its temporary folder is."""

    def __init__(self, folder: Path, arguments: str = "", **environment: str) -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.state = folder / "state"
        super().__init__(
            folder,
            "demo",
            ARGS=arguments,
            TMPDIR=str(self.temporary),
            STATE_DIR=str(self.state),
            **environment,
        )

    def family(self) -> list[psutil.Process]:
        return [
            process
            for process in psutil.process_iter(["environ", "status"])
            if (process.info["environ"] or {}).get("TMPDIR") == str(self.temporary)
            and process.info["status"] != psutil.STATUS_ZOMBIE
            and process.pid != self.process.pid
        ]

    def demo(self) -> psutil.Process:
        """The process of tools/demo.py itself."""
        return self.part("demo.py")

    def part(self, script: str) -> psutil.Process:
        """A process of the demo by a word of its command line."""
        found = [p for p in self.family() if any(w.endswith(script) for w in p.cmdline())]
        return min(found, key=lambda process: process.create_time())

    def summary(self) -> dict[str, Any]:
        return json.loads(fetch(f"{self.sidecar_url}/api/summary"))

    def publisher(self, name: str) -> dict[str, Any]:
        """What the sidecar knows of a publisher; nothing before it was heard."""
        rows = self.summary()["publishers"]
        return next((row for row in rows if row["publisher"] == name), {})

    def end(self) -> str:
        """Interrupt the demo alone, so that its exit code is heard, and return all that it said."""
        family = self.family()
        self.demo().send_signal(signal.SIGINT)
        self.process.wait(30)
        self.require_nothing_left(family)
        return self.output()

    def require_nothing_left(self, family: list[psutil.Process]) -> None:
        assert psutil.wait_procs(family, timeout=15)[1] == []
        assert self.family() == []
        assert list(self.temporary.iterdir()) == []


@pytest.fixture
def start_demo(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def start(arguments: str = "", **environment: str) -> Demo:
        folder = tmp_path / f"demo-{len(started)}"
        folder.mkdir()
        started.append(Demo(folder, arguments, **environment))
        return started[-1]

    yield start
    for demo in started:
        demo.kill()


def test_a_market_of_bots_is_counted_exactly_while_others_trade_too(start_demo):
    """One bot restarts, one has a ring that is too small, and the user clicks in the desk."""
    demo = start_demo("--seed 3 --rate 80")
    demo.wait_for("The demo is up")
    assert "about 80 trades a second" in demo.output()
    for page in (demo.desk_url, f"{demo.desk_url}/live", f"{demo.sidecar_url}/metrics"):
        assert page in demo.output()
    first = until(lambda: demo.publisher("demo-restless").get("epoch"))
    with Publisher(demo.zmq_address, source="trading-app") as desk:
        for _ in range(3):
            desk.publish("sell", 0.7, symbol="BTCUSDT")
    send_plain_trade(demo.zmq_address)
    until(lambda: demo.publisher("demo-restless")["open"] is False, what="the end of a publisher")
    until(lambda: demo.publisher("demo-restless")["epoch"] != first, what="its next life")
    until(lambda: demo.publisher("demo-cramped")["refused"]["ring_full"] > 0, what="a refusal")
    symbols = {row["symbol"] for row in demo.summary()["symbols"] if sum(row["trades"].values())}
    assert symbols >= {"BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT"}
    said = demo.end()
    assert AGREEMENT in said
    assert demo.process.returncode == 0
    assert "4 were published by others" in said
    assert not demo.state.exists()
    assert not Path(demo.run_dir).exists()


def test_a_trade_that_no_bot_published_under_its_name_makes_the_accounts_disagree(start_demo):
    demo = start_demo()
    demo.wait_for("The demo is up")
    with Publisher(demo.zmq_address, source="demo-maker") as impostor:
        impostor.publish("buy", 1)
    until(lambda: demo.publisher("demo-maker").get("applied"))
    said = demo.end()
    assert "They do not agree" in said
    assert "demo-maker: the sidecar knows of" in said
    assert AGREEMENT not in said
    assert "demo] Error 1" in said


def test_ctrl_c_in_a_terminal_ends_it_and_leaves_nothing(start_demo):
    demo = start_demo()
    demo.wait_for("The demo is up")
    family = demo.family()
    os.killpg(demo.process.pid, signal.SIGINT)
    demo.process.wait(30)
    demo.require_nothing_left(family)
    assert AGREEMENT in demo.output()
    assert "Traceback" not in demo.output()


def test_it_ends_by_itself_after_some_seconds(start_demo):
    demo = start_demo("--seconds 1")
    assert demo.process.wait(90) == 0
    assert AGREEMENT in demo.output()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("metrics-sidecar", "demo: an app has ended; the end of the log:"),
        ("patient", "demo: the bot patient has ended by itself"),
    ],
)
def test_a_part_that_dies_ends_it_with_a_word_and_leaves_nothing(start_demo, part, message):
    demo = start_demo()
    demo.wait_for("The demo is up")
    family = demo.family()
    demo.part(part).kill()
    demo.process.wait(30)
    assert message in demo.output()
    assert "demo] Error 1" in demo.output()
    demo.require_nothing_left(family)


def test_a_demo_that_is_killed_takes_its_parts_with_it(start_demo):
    demo = start_demo()
    demo.wait_for("The demo is up")
    family = demo.family()
    demo.demo().kill()
    assert psutil.wait_procs(family, timeout=20)[1] == []
    assert "Traceback" not in demo.output()


def test_a_taken_port_is_one_line_with_the_cure(start_demo):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        demo = start_demo(SIDECAR_HTTP_PORT=str(port))
        assert demo.process.wait(60) != 0
    cure = f"demo: port {port} is taken: stop what listens there, or set SIDECAR_HTTP_PORT in .env"
    assert cure in demo.output()
    demo.require_nothing_left([])


def test_apps_that_are_up_already_are_left_alone(apps, tmp_path):
    command = [sys.executable, str(ROOT / "tools/demo.py")]
    demo = subprocess.run(
        command, env=apps.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert demo.returncode == 1
    assert "demo: the apps are running" in demo.stderr
    assert '"demo-' not in fetch(f"{apps.sidecar_url}/api/summary")


def send_plain_trade(address: str) -> None:
    """Publish without the library, and so under no name."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.LINGER, 5_000)
        push.connect(address)
        push.send_json({"type": "trade", "side": "buy", "qty": 3, "ts": time.time()})


def accounts() -> tuple[dict[str, Tally], dict[str, Any]]:
    """A bot's own account of 2 buys of 0.3 and 1 sell of 5, and the sidecar's of the same."""
    tally = Tally({"buy": 2, "sell": 1}, {"buy": 3_000, "sell": 50_000}, refused=4, lives=2)
    counted = {"publisher": "demo-maker", "applied": 3, "refused": {"ring_full": 4, "closed": 0}}
    summary = {
        "trades": {"buy": 2, "sell": 1},
        "volume": {"buy": 0.3, "sell": 5.0},
        "untracked": 0,
        "publishers": [counted],
    }
    return {"demo-maker": tally}, summary


def by_others(summary: dict[str, Any]) -> None:
    summary["trades"]["buy"] += 3
    summary["volume"]["buy"] += 7
    summary["untracked"] += 1
    summary["publishers"].append({"publisher": "trading-app", "applied": 2, "refused": {}})


def lose_one(summary: dict[str, Any]) -> None:
    summary["publishers"][0]["applied"] -= 1
    summary["trades"]["sell"] -= 1


def double_one(summary: dict[str, Any]) -> None:
    summary["publishers"][0]["applied"] += 1
    summary["trades"]["sell"] += 1


def forget_refusals(summary: dict[str, Any]) -> None:
    summary["publishers"][0]["refused"] = {"ring_full": 3}


def never_hear_it(summary: dict[str, Any]) -> None:
    summary["publishers"] = []


def swap_sides(summary: dict[str, Any]) -> None:
    summary["trades"] = {"buy": 1, "sell": 2}


def miscount_volume(summary: dict[str, Any]) -> None:
    summary["volume"]["buy"] += 1e-9


def invent_a_total(summary: dict[str, Any]) -> None:
    summary["trades"]["buy"] += 1


def test_accounts_agree_whatever_others_publish():
    tallies, summary = accounts()
    assert differences(tallies, summary) == []
    by_others(summary)
    assert differences(tallies, summary) == []
    assert "3 were published by others" in report(tallies, summary)
    assert AGREEMENT in report(tallies, summary)


@pytest.mark.parametrize(
    "change",
    [
        lose_one,
        double_one,
        forget_refusals,
        never_hear_it,
        swap_sides,
        miscount_volume,
        invent_a_total,
    ],
)
def test_accounts_disagree_about_anything_else(change):
    tallies, summary = accounts()
    change(summary)
    assert differences(tallies, summary) != []
    assert AGREEMENT not in report(tallies, summary)


def test_every_bot_that_makes_up_the_rate_has_its_share():
    assert sum(bot.share for bot in BOTS.values()) == pytest.approx(1)
