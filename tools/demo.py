"""``make demo``: both apps and a market of made-up trades; at the end, whether every trade counted.

State, run folder and lock are temporary, so that your totals stay yours; the ports are those of
your settings. The bots are in ``demo_bots.py``, what is compared in ``demo_accounts.py``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from demo_accounts import Summary, Tallies, differences, report
from demo_bots import BOTS, Tally
from endpoints import Endpoints, ProblemError, answers, obstacle
from run_lock import ROOT, STOPPED_WITHIN_S, running

TOOLS: Final = Path(__file__).resolve().parent
SETTLED_WITHIN_S: Final = 5.0
BOT_ENDS_WITHIN_S: Final = 5.0
LOG_LINES_SHOWN: Final = 20


def demo(options: argparse.Namespace) -> int:
    """Run it; 0 when what was published and what was counted agree, 1 when not."""
    ending = _Ending()
    endpoints = Endpoints()
    _require_nothing_in_the_way(endpoints)
    with (
        tempfile.TemporaryDirectory(prefix="trading-demo-") as folder,
        _running_apps(Path(folder)) as apps,
    ):
        _wait_until_healthy(apps, endpoints, ending)
        with _running_bots(endpoints.desk.zmq_addr, options) as bots:
            print(_introduction(endpoints, options), flush=True)
            ending.after(options.seconds)
            _watch(apps, bots, ending, log=Path(folder) / "run/apps.log")
        tallies = {f"demo-{bot.name}": bot.tally for bot in bots}
        summary = _settled_summary(endpoints.sidecar_url, tallies)
    print(report(tallies, summary), flush=True)
    return 1 if differences(tallies, summary) else 0


class _Ending:
    """Whether it is time to end: somebody asked for it, or the seconds are over."""

    def __init__(self) -> None:
        self._asked = False
        self._deadline_s = math.inf
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self._asked = True

    def after(self, seconds: float) -> None:
        self._deadline_s = time.monotonic() + seconds

    def is_due(self) -> bool:
        return self._asked or time.monotonic() > self._deadline_s


class _Bot:
    """A bot in a process of its own, and what it last said that it has published."""

    def __init__(self, name: str, address: str, options: argparse.Namespace) -> None:
        self.name = name
        self.tally = Tally()
        settings = [f"--address={address}", f"--rate={options.rate}", f"--seed={options.seed}"]
        self.process = subprocess.Popen(
            [sys.executable, str(TOOLS / "demo_bots.py"), name, *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the demo, which ends its parts in their order
        )
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout  # noqa: S101 - a pipe, see above
        with self.process.stdout as lines:
            for line in lines:
                self.tally = Tally(**json.loads(line))

    def ask_to_end(self) -> None:
        assert self.process.stdin  # noqa: S101 - a pipe, see above
        self.process.stdin.close()

    def wait(self) -> None:
        """Wait until it has sent everything and said its last word."""
        _wait_or_kill(self.process, BOT_ENDS_WITHIN_S)
        self._listener.join()


def _wait_or_kill(process: subprocess.Popen[str], timeout_s: float) -> None:
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _running_bots(address: str, options: argparse.Namespace) -> Iterator[list[_Bot]]:
    bots: list[_Bot] = []
    try:
        bots.extend(_Bot(name, address, options) for name in BOTS)
        yield bots
    finally:
        for bot in bots:
            bot.ask_to_end()
        for bot in bots:
            bot.wait()


@contextlib.contextmanager
def _running_apps(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The apps, as ``make apps-up`` runs them, with a run folder and state of their own."""
    environment = {
        "RUN_DIR": str(folder / "run"),
        "SIDECAR_STATE_DIR": str(folder / "state/metrics-sidecar"),
        "WEBAPP_JOURNAL_DIR": str(folder / "state/trading-app"),
        "MARKET_DATABASE_URL": f"sqlite:///{folder}/state/market-engine/market.db",
        "APPS_PARENT": str(os.getpid()),
    }
    apps = subprocess.Popen(
        [sys.executable, str(TOOLS / "apps.py"), "up"],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # the log of the run has it, too
        text=True,
        start_new_session=True,
    )
    try:
        yield apps
    finally:
        apps.terminate()
        _wait_or_kill(apps, STOPPED_WITHIN_S)


def _require_nothing_in_the_way(endpoints: Endpoints) -> None:
    if runner := running():
        raise ProblemError(f"the apps are running (process {runner.pid}): make apps-stop first")
    for listener in endpoints.listeners():
        if problem := obstacle(listener):
            raise ProblemError(problem.cure)


def _wait_until_healthy(apps: subprocess.Popen[str], endpoints: Endpoints, ending: _Ending) -> None:
    """Wait as long as the apps themselves do; they say why when they give up."""
    waiting_for = list(endpoints.health_urls.values())
    while waiting_for:
        if apps.poll() is not None:
            raise ProblemError("the apps did not start")
        if ending.is_due():
            raise ProblemError("ended before the apps were up")
        waiting_for = [url for url in waiting_for if not answers(url)]
        time.sleep(0.1)


def _watch(apps: subprocess.Popen[str], bots: list[_Bot], ending: _Ending, log: Path) -> None:
    """Show how it goes until the end; raises ProblemError when a part ends before."""
    is_shown = sys.stdout.isatty()
    began_s = shown_s = time.monotonic()
    while not ending.is_due():
        time.sleep(0.1)
        _require_all_alive(apps, bots, log)
        if is_shown and time.monotonic() >= shown_s + 1:
            shown_s += 1
            _show_progress(bots, shown_s - began_s)
    if is_shown:
        print()


def _require_all_alive(apps: subprocess.Popen[str], bots: list[_Bot], log: Path) -> None:
    if apps.poll() is not None:
        last_lines = log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        raise ProblemError("\n    ".join(["an app has ended; the end of the log:", *last_lines]))
    for bot in bots:
        if bot.process.poll() is not None:
            raise ProblemError(f"the bot {bot.name} has ended by itself")


def _show_progress(bots: list[_Bot], elapsed_s: float) -> None:
    published = sum(bot.tally.published for bot in bots)
    minutes, seconds = divmod(int(elapsed_s), 60)
    line = f"{minutes}:{seconds:02}  {published:,} published  {published / elapsed_s:,.1f} a second"
    print(f"\r\033[K  {line} ", end="", flush=True)


def _settled_summary(sidecar_url: str, tallies: Tallies) -> Summary:
    """What the sidecar counted, once it agrees or has had time to."""
    deadline_s = time.monotonic() + SETTLED_WITHIN_S
    while True:
        summary = _summary(sidecar_url)
        if not differences(tallies, summary) or time.monotonic() > deadline_s:
            return summary
        time.sleep(0.1)


def _summary(sidecar_url: str) -> Summary:
    url = f"{sidecar_url}/api/summary"
    try:
        with urllib.request.urlopen(url, timeout=SETTLED_WITHIN_S) as answer:  # noqa: S310 - http
            summary: Summary = json.load(answer)
    except OSError as error:
        raise ProblemError(f"the sidecar does not say what it counted ({error})") from None
    return summary


def _introduction(endpoints: Endpoints, options: argparse.Namespace) -> str:
    shows = "\n".join(f"    demo-{name:<10} {bot.shows}" for name, bot in BOTS.items())
    return f"""
  The demo is up: {len(BOTS)} bots, about {options.rate:g} trades a second, on temporary state.

    Trade           {endpoints.desk_url}
    Live page       {endpoints.desk_url}/live
    Metrics         {endpoints.sidecar_url}/metrics
    Boards          make infra-up in another terminal
    without Docker  make infra-local: Prometheus with the rules and alerts

  What to look at
{shows}

  Ctrl-C ends it, and holds what was published against what was counted.
"""


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument(
        "--rate", type=_positive, default=20.0, help="trades a second, on average (20)"
    )
    parser.add_argument("--seed", type=int, default=1, help="another number, another market (1)")
    parser.add_argument(
        "--seconds", type=_positive, default=math.inf, help="end by itself, not by Ctrl-C"
    )
    return parser.parse_args()


def main() -> int:
    """Run; 1 with a clear word when something stands in the way or breaks."""
    options = _arguments()
    os.chdir(ROOT)
    try:
        return demo(options)
    except ProblemError as problem:
        print(f"demo: {problem}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
