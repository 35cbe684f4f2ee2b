"""What ``market-engine COMMAND`` does, with progress on a terminal."""

from __future__ import annotations

import gzip
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from market_engine.digest import digest_of
from market_engine.errors import FileError, SettingsError
from market_engine.events import SECOND_NS, Event
from market_engine.feeds.recorder import Recorder
from market_engine.feeds.replay import ReplayPosition
from market_engine.feeds.simulated_day import DAY_START_NS, write_day
from market_engine.feeds.simulated_market import DAY_NS, MarketConfig, SimulatedMarket
from market_engine.loading import load_files
from market_engine.making import make_feed
from market_engine.settings import SYMBOL, Settings
from market_engine.storage.database import Database

DAY_EVENTS = 2_000_000
LIVELY_FROM_NS = 14 * 3_600 * SECOND_NS
"""From 14:00 UTC on equities trade, too."""


def load(settings: Settings, files: Sequence[Path], symbol: str) -> None:
    """Store what is in files, and say what became of it."""
    if symbol and not SYMBOL.fullmatch(symbol):
        raise SettingsError(f"--symbol {symbol!r} is no symbol: write it like BTCUSDT")
    database = Database(settings.database_url)
    began_s = time.monotonic()
    try:
        with _progress() as bar:
            task = bar.add_task("loading", total=None)

            def show(position: ReplayPosition) -> None:
                done, whole = (
                    position.at_ns - position.first_ns,
                    position.last_ns - position.first_ns,
                )
                bar.update(task, completed=done, total=max(whole, 1))

            found = load_files(database, files, symbol, show)
    finally:
        database.close()
    took_s = time.monotonic() - began_s
    print(
        f"{found.events:,} events in {took_s:.1f} s ({found.events / max(took_s, 1e-3):,.0f}/s): "
        f"{found.trades:,} trades and {found.bars:,} bars stored; {found.duplicates:,} were there "
        f"already, {found.repeated:,} came twice in the files, {found.rejected:,} were rejected, "
        f"{found.missing:,} ids are missing"
    )
    kept_s = settings.trades_days * 86_400
    if kept_s and found.first_ns < time.time_ns() - kept_s * SECOND_NS:
        print(
            f"market-engine: trades older than MARKET_TRADES_DAYS={settings.trades_days:g} days "
            "are deleted when the engine runs: set it to 0 to keep them",
            file=sys.stderr,
        )


def record(settings: Settings, folder: Path, seconds: float) -> None:
    """Record the frames of the live feed until the time is over or Ctrl-C."""
    if settings.feed != "binance":  # the only one that is live
        raise SettingsError(f"MARKET_FEED={settings.feed!r} cannot be recorded: set it to binance")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{folder} cannot be a folder ({error.strerror}): name another") from error
    recorder = Recorder(folder, settings.feed, settings.binance_stream_url)
    made = make_feed(settings, {}, recorder.record)
    timer = threading.Timer(seconds, made.feed.stop) if seconds else None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: made.feed.stop())
    if timer:
        timer.daemon = True
        timer.start()

    def ignore(_: Sequence[Event]) -> None:
        return None

    try:
        made.feed.run(ignore)
    finally:
        recorder.close()
        stats = recorder.stats()
        print(
            f"{stats.frames_recorded:,} frames in {stats.files} files in {folder}, "
            f"{stats.frames_not_recorded:,} not recorded"
        )


def generate(file: Path, events: int, hours: float, seed: int) -> None:
    """Write a recording of the simulated market: a day, or some hours of its liveliest part."""
    for_ns = int(hours * 3_600 * SECOND_NS)
    start_ns = DAY_START_NS + (LIVELY_FROM_NS if for_ns <= DAY_NS - LIVELY_FROM_NS else 0)
    config = _scaled(MarketConfig(start_ns, seed=seed, events_a_day=DAY_EVENTS), for_ns, events)
    if file.exists():
        raise FileError(f"{file} is there already: name a new file")
    plain, part = file.with_name(f".{file.name}.frames"), file.with_name(f".{file.name}.part")
    try:
        with _progress() as bar:
            task = bar.add_task("writing", total=events)
            written = write_day(
                plain,
                config,
                progress=lambda done, _: bar.update(task, completed=done),
                for_ns=min(for_ns, DAY_NS),
            )
        if file.suffix == ".gz":
            _compress(plain, part)
            part.replace(file)
        else:
            plain.replace(file)
    except OSError as error:
        raise FileError(f"{file} cannot be written ({error.strerror}): name another") from error
    finally:
        plain.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
    print(f"{written:,} frames in {file} ({file.stat().st_size / 1e6:.1f} MB)")


def _scaled(config: MarketConfig, for_ns: int, events: int) -> MarketConfig:
    """As lively as it takes for about so many events: the hours of a day are not all alike."""
    market = SimulatedMarket(config)
    ends_ns = config.start_ns + for_ns
    trades = sum(market.next_id(s, ends_ns) - config.first_ids.get(s, 1) for s in market.symbols)
    factor = events / max(2 * trades, 1)
    return msgspec.structs.replace(config, events_a_day=max(2, round(DAY_EVENTS * factor)))


def _compress(plain: Path, file: Path) -> None:
    """Without a time and a name in it, so that the same market is the same file."""
    with (
        plain.open("rb") as source,
        file.open("wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, mtime=0) as target,
    ):
        shutil.copyfileobj(source, target)


def replay_digest(file: Path, speed: float | None) -> str:
    """The digest of a replay's outputs, and their number."""
    digest, outputs = digest_of(file, speed)
    return f"{digest}  {outputs} outputs"


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not Console(stderr=True).is_terminal,
    )
