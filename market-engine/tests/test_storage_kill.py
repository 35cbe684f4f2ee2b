"""The process that stores is killed at random moments, and each time another one goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from storage_parts import SYMBOL, VENUE, stored_rows, url_of

from market_engine.storage.database import Database
from market_engine.storage.market_store import MarketStore

CHILD = Path(__file__).with_name("storage_child.py")
ENDLESS = 10**9
KILLS = 20


class Storers:
    """Starts one process after the other that stores into a file."""

    def __init__(self, parent: subprocess.Popen[str]) -> None:
        assert parent.stdin is not None
        assert parent.stdout is not None
        self._orders, self._answers = parent.stdin, parent.stdout

    def begin(self, path: Path, last_id: int) -> int:
        """The id of the process, which has just begun to publish up to ``last_id``."""
        self._orders.write(f"{path} {last_id}\n")
        self._orders.flush()
        word, pid = self._answers.readline().split()
        assert word == "begun"
        return int(pid)

    def ended(self) -> int:
        """Its return code, when it has ended."""
        word, code = self._answers.readline().split()
        assert word == "ended"
        return int(code)


@pytest.fixture
def storers() -> Iterator[Storers]:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, CHILD], stdin=pipe, stdout=pipe, text=True) as parent:
        yield Storers(parent)


def test_kills_at_random_moments_lose_nothing_and_store_nothing_twice(tmp_path, storers):
    undisturbed, killed = tmp_path / "undisturbed.db", tmp_path / "killed.db"
    chosen = random.Random(11)
    reached = [0]
    for number in range(10 * KILLS):  # more than KILLS where a busy machine lets few write
        if number >= KILLS and len(set(reached)) > KILLS / 2:
            break
        pid = storers.begin(killed, ENDLESS)
        time.sleep(chosen.uniform(0, 0.1 * (1 + number / KILLS)))
        os.kill(pid, signal.SIGKILL)
        assert storers.ended() == -signal.SIGKILL
        with closing(Database(url_of(killed))) as database:
            store = MarketStore(database)
            reached.append(store.last_trade_id(VENUE, SYMBOL) or 0)
            assert store.id_gaps(VENUE, SYMBOL) == []
    assert reached == sorted(reached)
    assert len(set(reached)) > KILLS / 2  # killed while it wrote, not before or after
    last_id = reached[-1] + 1_000
    for path in (killed, undisturbed):
        storers.begin(path, last_id)
        assert storers.ended() == 0
    with closing(Database(url_of(undisturbed))) as first:
        expected = stored_rows(first)
    with closing(Database(url_of(killed))) as second:
        second.check()
        assert stored_rows(second) == expected
        ids = [each.trade_id for each in MarketStore(second).trades(VENUE, SYMBOL)]
    assert ids == list(range(1, last_id + 1))
