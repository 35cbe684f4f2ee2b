"""The same recording gives the same outputs: any process, any hash seed, any speed."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import market_engine
from market_engine.feeds.simulated_day import DAY_START_NS, write_day
from market_engine.feeds.simulated_faults import InjectedFault, Injection
from market_engine.feeds.simulated_market import MarketConfig

PROGRAM = Path(sys.executable).with_name("market-engine")
SAMPLE = Path(market_engine.__file__).parent / "recordings/sample.frames.gz"
PROCESSES = 10


def digest(file: Path, seed: int = 0, *options: str) -> str:
    """By a process of its own; the digest and the number of outputs."""
    done = subprocess.run(
        [PROGRAM, "digest", str(file), *options],
        env={"PATH": os.environ["PATH"], "PYTHONHASHSEED": str(seed)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()


def digests(file: Path, *options: str) -> set[str]:
    """What as many processes say, each with a hash seed of its own, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return set(pool.map(lambda seed: digest(file, seed, *options), range(PROCESSES)))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half an hour of six symbols, with every fault in it."""
    path = tmp_path_factory.mktemp("digest") / "faulty.frames"
    start_ns = DAY_START_NS + 14 * 3_600 * 10**9
    faults = [
        Injection(kind, symbol, start_ns + (place + 1) * 60 * 10**9, for_s=20)
        for place, kind in enumerate(InjectedFault)
        for symbol in ("BTCUSDT", "TSLA")
    ]
    config = MarketConfig(start_ns, seed=5, events_a_day=400_000)
    assert write_day(path, config, faults, for_ns=1_800 * 10**9) > 5_000
    return path


def test_ten_processes_with_ten_hash_seeds_at_full_speed_say_the_same(recording):
    (found,) = digests(recording)
    assert int(found.split()[1]) > 6_000


def test_ten_processes_with_ten_hash_seeds_at_a_hundred_times_the_speed_say_the_same(recording):
    short = recording.with_name("short.frames")
    lines = recording.read_text().splitlines(keepends=True)
    short.write_text("".join(lines[:1_800]))
    assert digests(short, "--speed", "100") == {digest(short)}


def test_the_digest_changes_when_one_trade_does(tmp_path):
    text = gzip.decompress(SAMPLE.read_bytes()).decode()
    plain, changed = tmp_path / "plain.frames", tmp_path / "changed.frames"
    plain.write_text(text)
    changed.write_text(text.replace('"m":true', '"m":false', 1))
    assert digest(plain) == digest(SAMPLE) != digest(changed)
