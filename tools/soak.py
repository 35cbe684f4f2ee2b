"""Run one publisher and one sidecar at a steady rate for minutes, and watch what grows.

``python tools/soak.py --rate 10000 --seconds 600`` starts both on free ports and temporary state.
Every few seconds it notes the memory and descriptors of both sides, what waits, and the bytes of
journal and state; at the end it holds the totals against what was published. Exit 1 if a trade is
missing, was refused, or is counted twice.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from measure import MeasureError, Sidecar
from trade_telemetry import Publisher

SAMPLE_EVERY_S = 5.0
SLICE_S = 0.01
SETTLE_S = 30.0
MB = 1_000_000


@dataclass(frozen=True)
class Sample:
    """Both sides at one moment; memory is resident, in bytes."""

    at_s: float
    bot_bytes: int
    sidecar_bytes: int
    bot_descriptors: int
    sidecar_descriptors: int
    waiting: int
    journal_bytes: int
    state_bytes: int


def publish(address: str, journal: str, rate: float, seconds: float) -> None:
    """The bot: trades in slices of 10 ms; what it published and was refused, as JSON at the end."""
    with Publisher(address, source="soak", journal_dir=journal) as publisher:
        began_s = time.monotonic()
        count = 0
        while (now_s := time.monotonic()) < began_s + seconds:
            while count < (now_s - began_s) * rate:
                publisher.publish("buy", 0.5, symbol="BTCUSDT", price=64_000.0)
                count += 1
            time.sleep(SLICE_S)
        unsettled = publisher.close(SETTLE_S)
        stats = publisher.stats()
    refused = sum(stats.refused.values())
    print(json.dumps({"published": stats.published, "refused": refused, "unsettled": unsettled}))


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _samples(
    bot: subprocess.Popen[str], sidecar: Sidecar, folder: Path, seconds: float
) -> Iterator[Sample]:
    processes = [psutil.Process(bot.pid), psutil.Process(sidecar.process.pid)]
    began_s = time.monotonic()
    while (at_s := time.monotonic() - began_s) < seconds:
        ours, its = processes
        publishers = sidecar.summary().get("publishers", [])
        yield Sample(
            at_s,
            bot_bytes=ours.memory_info().rss,
            sidecar_bytes=its.memory_info().rss,
            bot_descriptors=ours.num_fds(),
            sidecar_descriptors=its.num_fds(),
            waiting=sum(publisher["waiting"] for publisher in publishers),
            journal_bytes=_folder_bytes(folder / "journal"),
            state_bytes=_folder_bytes(folder / "state"),
        )
        time.sleep(SAMPLE_EVERY_S)


def _show(samples: list[Sample]) -> None:
    half = samples[len(samples) // 10 :]  # the start is warming up
    print(f"{'':<22}{'after a tenth':>16}{'at the end':>14}{'most':>14}")
    for name, unit in (
        ("bot_bytes", MB),
        ("sidecar_bytes", MB),
        ("journal_bytes", MB),
        ("state_bytes", MB),
        ("bot_descriptors", 1),
        ("sidecar_descriptors", 1),
        ("waiting", 1),
    ):
        values = [getattr(sample, name) / unit for sample in half]
        label = name.replace("_bytes", ", MB").replace("_", " ")
        print(f"{label:<22}{values[0]:>16,.1f}{values[-1]:>14,.1f}{max(values):>14,.1f}")


def run(rate: float, seconds: float) -> int:
    """Soak, print the table, and return the exit code."""
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        sidecar = Sidecar(state=folder / "state")
        try:
            sidecar.wait_until(sidecar.is_up)
            command = [sys.executable, __file__, "--bot", sidecar.address, str(folder / "journal")]
            options = ["--rate", str(rate), "--seconds", str(seconds)]
            with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as bot:
                samples = []
                for sample in _samples(bot, sidecar, folder, seconds - 1):
                    samples.append(sample)
                    if sys.stdout.isatty():
                        print(f"\r  {sample.at_s:.0f} of {seconds:g} s", end="", flush=True)
                said = json.loads(bot.communicate(timeout=SETTLE_S + 60)[0])
            counted = sidecar.summary()
        finally:
            sidecar.stop()
    _show(samples)
    return _verdict(said, counted)


def _verdict(said: dict[str, int], counted: dict[str, Any]) -> int:
    (publisher,) = counted["publishers"]
    applied, trades = publisher["applied"], counted["trades"]["buy"]
    print(
        f"published {said['published']:,}, refused {said['refused']:,}, applied {applied:,}, "
        f"residue {publisher['residue']}, duplicates {counted['duplicates']:,}, "
        f"gaps {counted['gaps']:,}"
    )
    exact = said["published"] == applied == trades and said["refused"] == said["unsettled"] == 0
    print("each trade was counted once" if exact else "NOT EXACT")
    return 0 if exact else 1


def main() -> int:
    """Parse the arguments; the bot is this program, too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=10_000, help="trades a second")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--bot", nargs=2, metavar=("ADDRESS", "JOURNAL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bot:
        address, journal = options.bot
        publish(address, journal, options.rate, options.seconds)
        return 0
    try:
        return run(options.rate, options.seconds)
    except MeasureError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
