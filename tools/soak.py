"""Run one publisher and one sidecar at a steady rate for minutes, and watch what grows.

``python tools/soak.py --rate 10000 --seconds 600`` starts both on free ports and temporary state.
Every few seconds it notes the memory and descriptors of both sides, what waits, and the bytes of
journal and state; at the end it holds the totals against what was published. Exit 1, with a line
for each, if a bound of docs/architecture.md is broken, or if a trade is missing, was refused, or is
counted twice.
"""

from __future__ import annotations

import argparse
import json
import math
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

from trade_telemetry import Publisher
from trading_app.benchmark import BenchmarkError
from trading_app.benchmark.program import fetch
from trading_app.benchmark.sidecar import Sidecar

SAMPLE_EVERY_S = 5.0
SAMPLES_MIN = 20
TELL_EVERY_S = 30.0
SLICE_S = 0.01
SETTLE_S = 30.0
MB = 1_000_000
WARM_UP_PART = 0.1
"""Growth is what happens after this part of the time."""


class Bound(NamedTuple):
    """The most that a figure may be, and by how much it may grow once all is warm."""

    most: int
    growth: int


BOUNDS: Final = {
    "bot_bytes": Bound(most=64 * MB, growth=4 * MB),
    "sidecar_bytes": Bound(most=128 * MB, growth=8 * MB),
    "bot_descriptors": Bound(most=32, growth=4),
    "sidecar_descriptors": Bound(most=64, growth=8),
    "waiting": Bound(most=65_536, growth=20_000),
    "journal_bytes": Bound(most=5 * MB, growth=0),
    "state_bytes": Bound(most=8 * MB, growth=5 * MB),
}
"""Of one publisher with a ring of 65,536 trades, and its sidecar: docs/architecture.md#bounds."""


@dataclass(frozen=True)
class Sample:
    """Both sides at one moment; memory is resident, in bytes, files in bytes on disk."""

    at_s: float
    bot_bytes: int
    sidecar_bytes: int
    bot_descriptors: int
    sidecar_descriptors: int
    waiting: int
    journal_bytes: int
    state_bytes: int


def publish(address: str, journal: str, rate: float) -> None:
    """The bot: trades in slices of 10 ms, until its input ends; says so when it is connected.

    At the end it says what it published and was refused, as JSON.
    """
    deadline_s = time.monotonic() + SETTLE_S
    with Publisher(address, source="soak", journal_dir=journal) as publisher:
        while not publisher.stats().connected:
            if time.monotonic() > deadline_s:
                sys.exit(f"soak: not connected to {address} after {SETTLE_S:g} s")
            time.sleep(SLICE_S)
        print("publishing", flush=True)
        began_s = time.monotonic()
        count = 0
        while not select.select([sys.stdin], [], [], SLICE_S)[0]:
            while count < (time.monotonic() - began_s) * rate:
                publisher.publish("buy", 0.5, symbol="BTCUSDT", price=64_000.0)
                count += 1
        durable = publisher.stats().durable
        unsettled = publisher.close(SETTLE_S)
        stats = publisher.stats()
    said = {"published": stats.published, "refused": sum(stats.refused.values())}
    print(json.dumps({**said, "unsettled": unsettled, "durable": durable}))


class Bot:
    """The other half of this program, in a process of its own."""

    def __init__(self, address: str, journal: Path, rate: float) -> None:
        command = [sys.executable, __file__, "--bot", address, str(journal), "--rate", str(rate)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, **pipes)  # type: ignore[call-overload]

    def wait_until_it_publishes(self) -> None:
        """Raises BenchmarkError when it ends before."""
        if self.process.stdout.readline() != "publishing\n":
            raise BenchmarkError("the bot ended before it published: see above")

    def end(self) -> dict[str, int]:
        """Have it settle, and hear what it published."""
        output = self.process.communicate(timeout=SETTLE_S + 60)[0]
        if self.process.returncode != 0:
            raise BenchmarkError("the bot failed: see above")
        return dict(json.loads(output))


def _folder_bytes(folder: Path) -> int:
    sizes = []
    for path in folder.rglob("*"):
        try:
            sizes.append(path.stat().st_blocks * 512)
        except FileNotFoundError:  # it was there a moment ago
            continue
    return sum(sizes)


def _summary(sidecar: Sidecar) -> dict[str, Any]:
    """What it counted; empty while it does not answer."""
    body = fetch(f"{sidecar.url}/api/summary")
    return dict(json.loads(body)) if body else {}


def _sample(at_s: float, bot: Bot, sidecar: Sidecar, folder: Path) -> Sample:
    ours, its = psutil.Process(bot.process.pid), psutil.Process(sidecar.process_id)
    summary = _summary(sidecar)
    if not summary:
        raise BenchmarkError("the sidecar does not answer")
    return Sample(
        at_s,
        bot_bytes=ours.memory_info().rss,
        sidecar_bytes=its.memory_info().rss,
        bot_descriptors=ours.num_fds(),
        sidecar_descriptors=its.num_fds(),
        waiting=sum(publisher["waiting"] for publisher in summary["publishers"]),
        journal_bytes=_folder_bytes(folder / "journal"),
        state_bytes=_folder_bytes(folder / "state"),
    )


def _samples(bot: Bot, sidecar: Sidecar, folder: Path, seconds: float) -> Iterator[Sample]:
    """From now on at equal distances; the last one at the end."""
    interval_s = min(SAMPLE_EVERY_S, seconds / SAMPLES_MIN)
    began_s = time.monotonic()
    at_s = 0.0
    while at_s < seconds:
        time.sleep(min(interval_s, seconds - at_s))
        at_s = time.monotonic() - began_s
        try:
            yield _sample(at_s, bot, sidecar, folder)
        except psutil.Error as error:
            raise BenchmarkError(f"the bot or the sidecar has ended: {error}") from None


class Progress:
    """How far we are: a line that changes on a terminal, else a line every 30 s."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._told_s = 0.0

    def tell(self, at_s: float) -> None:
        """It is that late."""
        text = f"{at_s:.0f} of {self._seconds:g} s"
        if sys.stdout.isatty():
            print(f"\r  {text}", end="\n" if at_s >= self._seconds else "", flush=True)
        elif at_s >= self._told_s + TELL_EVERY_S:
            self._told_s = at_s
            print(text, flush=True)


def soak(rate: float, seconds: float) -> tuple[list[Sample], dict[str, int], dict[str, Any]]:
    """The samples, what the bot says of itself at the end, and what the sidecar counted."""
    progress = Progress(seconds)
    samples = []
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        with Sidecar(folder) as sidecar:
            bot = Bot(sidecar.address, folder / "journal", rate)
            with bot.process:
                try:
                    bot.wait_until_it_publishes()
                    for sample in _samples(bot, sidecar, folder, seconds):
                        samples.append(sample)
                        progress.tell(sample.at_s)
                    said = bot.end()
                finally:
                    bot.process.kill()
            counted = _summary(sidecar)
    if not counted:
        raise BenchmarkError("the sidecar does not answer at the end")
    return samples, said, counted


def warm(samples: list[Sample]) -> list[Sample]:
    """Those after a tenth of the time."""
    from_s = samples[-1].at_s * WARM_UP_PART
    return [sample for sample in samples if sample.at_s >= from_s]


def broken_bounds(samples: list[Sample]) -> list[str]:
    """A line for each bound that is broken, with by how much."""
    broken = []
    first, last = warm(samples)[0], warm(samples)[-1]
    for name, bound in BOUNDS.items():
        most = max(getattr(sample, name) for sample in samples)
        growth = getattr(last, name) - getattr(first, name)
        broken += _excess(name, "reached", most, bound.most)
        broken += _excess(name, "grew by", growth, bound.growth)
    return broken


def _excess(name: str, what: str, value: int, limit: int) -> list[str]:
    if value <= limit:
        return []
    shown, more, allowed = (_figure(name, each) for each in (value, value - limit, limit))
    return [f"{_label(name)} {what} {shown}, {more} above the {allowed} allowed"]


def miscounts(said: dict[str, int], counted: dict[str, Any]) -> list[str]:
    """A line for each figure of the sidecar that is not what the bot's figures make it."""
    if len(counted["publishers"]) != 1:
        return [f"the sidecar shows {len(counted['publishers'])} publishers, not one"]
    (publisher,) = counted["publishers"]
    others = sum(counted["rejected"].values()) + counted["turned_away"] + counted["untracked"]
    published = said["published"]
    expected = {
        "published": (publisher["published"], published),
        "applied": (publisher["applied"], published),
        "trades in the totals": (counted["trades"]["buy"], published),
        "refused by the bot": (said["refused"], 0),
        "unsettled at the bot": (said["unsettled"], 0),
        "kept in a file by the bot": (said["durable"], True),
        "lost": (sum(publisher["lost"].values()), 0),
        "waiting": (publisher["waiting"], 0),
        "rejected, turned away or untracked": (others, 0),
        "residue of the publisher": (publisher["residue"], 0),
        "residue of the totals": (counted["residue"], 0),
        "duplicates of the publisher": (publisher["duplicates"], counted["duplicates"]),
        "gaps of the publisher": (publisher["gaps"], counted["gaps"]),
    }
    return [
        f"{name}: {is_}, not {should}" for name, (is_, should) in expected.items() if is_ != should
    ]


def _label(name: str) -> str:
    return name.replace("_bytes", ", MB").replace("_", " ")


def _figure(name: str, value: int) -> str:
    return f"{value / MB:,.1f}" if name.endswith("_bytes") else f"{value:,}"


def _show(samples: list[Sample], said: dict[str, int], counted: dict[str, Any]) -> None:
    print(f"{'':<22}{'after a tenth':>16}{'at the end':>14}{'most':>14}{'allowed':>14}")
    for name, bound in BOUNDS.items():
        values = [getattr(sample, name) for sample in warm(samples)]
        most = max(getattr(sample, name) for sample in samples)
        shown = [_figure(name, each) for each in (values[0], values[-1], most, bound.most)]
        print("{:<22}{:>16}{:>14}{:>14}{:>14}".format(_label(name), *shown))
    print(
        f"published {said['published']:,}, refused {said['refused']:,}, "
        f"counted {counted['trades']['buy']:,}, residue {counted['residue']}, "
        f"duplicates {counted['duplicates']:,}, gaps {counted['gaps']:,}"
    )


def run(rate: float, seconds: float, json_path: Path | None) -> int:
    """Soak, print the table, and return the exit code."""
    samples, said, counted = soak(rate, seconds)
    if json_path:
        all_of_it = {"said": said, "counted": counted, "samples": [asdict(s) for s in samples]}
        json_path.write_text(json.dumps(all_of_it, indent=1))
    _show(samples, said, counted)
    wrong = broken_bounds(samples) + miscounts(said, counted)
    for line in wrong:
        print(f"soak: {line}", file=sys.stderr)
    if not wrong:
        print("each trade was counted once, and every bound was kept")
    return 1 if wrong else 0


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def main() -> int:
    """Parse the arguments; the bot is this program, too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=_positive, default=10_000, help="trades a second")
    parser.add_argument("--seconds", type=_positive, default=600)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    parser.add_argument("--bot", nargs=2, metavar=("ADDRESS", "JOURNAL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bot:
        address, journal = options.bot
        publish(address, journal, options.rate)
        return 0
    try:
        return run(options.rate, options.seconds, options.json)
    except BenchmarkError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
