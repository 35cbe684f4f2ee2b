"""Every fill of the ledger is counted by the sidecar once, whoever is killed meanwhile.

The sidecar is a real process, as is the desk that is killed.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from api_server import until
from telemetry_child import fill, opened, write_fills

from market_engine.errors import StorageError
from market_engine.paper import telemetry as telemetry_module
from market_engine.paper.model import BookName
from market_engine.paper.store import DeskStore
from market_engine.paper.telemetry import FillTelemetry, TelemetryFigures
from market_engine.paper.telemetry_store import TelemetryEpoch, TelemetryStore
from market_engine.storage.database import Database
from trade_telemetry import Publisher

CHILD = Path(__file__).parents[1] / "market-engine/tests/telemetry_child.py"
SIDECAR = Path(sys.executable).with_name("metrics-sidecar")
KILLS = 5


def free_port() -> int:
    """A port where nobody listens, nor at the next one, where acknowledgements are."""
    while True:
        with socket.socket() as probe, socket.socket() as next_:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            try:
                next_.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


class Sidecar:
    """A real one; it can be ended and started again on the same ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self.url = f"http://127.0.0.1:{free_port()}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "SIDECAR_HTTP_PORT": self.url.rpartition(":")[2],
            "SIDECAR_ZMQ_BIND": self.address,
            "SIDECAR_STATE_DIR": str(self.folder / "sidecar"),
        }
        with (self.folder / "sidecar.log").open("ab") as log:
            self.process = subprocess.Popen(
                [SIDECAR], cwd=self.folder, env=environment, stdout=log, stderr=log
            )
        until(self.is_healthy, 30)

    def is_healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def counted(self) -> tuple[int, int, float]:
        """What it counted of the paper desk: fills, their quantity, and those that were lost."""
        applied = self._sum('telemetry_publisher_applied_total{publisher="paper-desk"')
        lost = self._sum('telemetry_publisher_lost_total{publisher="paper-desk"')
        return int(applied), round(4 * self._sum("volume_total{")), lost

    def _sum(self, name: str) -> float:
        lines = httpx.get(f"{self.url}/metrics", trust_env=False).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[Sidecar]:
    sidecar = Sidecar(tmp_path)
    yield sidecar
    sidecar.kill()


@pytest.fixture
def running(sidecar: Sidecar) -> Sidecar:
    sidecar.start()
    return sidecar


def wanted(fills: int) -> tuple[int, int, float]:
    """Fill N has the quantity N/4."""
    return fills, fills * (fills + 1) // 2, 0.0


def test_kills_at_any_moment_leave_each_fill_counted_once(running: Sidecar, tmp_path: Path):
    choose = random.Random(3)
    command = [sys.executable, CHILD, tmp_path, running.address]
    database = Database(f"sqlite:///{tmp_path}/desk.db")
    store, epochs = DeskStore(database), TelemetryStore(database)
    with (tmp_path / "child.log").open("ab") as log:
        for life in range(1, KILLS + 1):
            before = store.last_numbers()[1]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log) as child:
                assert child.stdin is not None
                child.stdin.write(f"{before + 100_000}\n".encode())
                child.stdin.flush()
                enough = before + choose.randrange(150)
                until(lambda life=life: (last := epochs.last()) and last.number == life)
                until(lambda enough=enough: store.last_numbers()[1] > enough)
                time.sleep(choose.random() * 0.02)
                child.send_signal(signal.SIGKILL)
            assert store.last_numbers()[1] < before + 100_000, "it was killed in the midst of it"
        last = store.last_numbers()[1] + 10
        for asked in (f"{last}\n", ""):  # the last life ends well, and one more finds nothing
            ended = subprocess.run(
                command, input=asked.encode(), stderr=log, timeout=20, check=False
            )
            assert ended.returncode == 0
    assert epochs.last().number == KILLS + 2
    database.close()
    until(lambda: running.counted()[0] >= last)
    assert running.counted() == wanted(last)


def test_fills_of_before_the_sidecar_are_counted_when_it_comes(sidecar: Sidecar, tmp_path: Path):
    database, store, telemetry = opened(tmp_path, sidecar.address)
    telemetry.start()
    write_fills(store, 50, telemetry)
    until(lambda: telemetry.figures() == TelemetryFigures(50, 50, 0))
    sidecar.start()
    until(lambda: sidecar.counted() == wanted(50))
    sidecar.kill()
    write_fills(store, 80, telemetry)
    sidecar.start()
    until(lambda: sidecar.counted() == wanted(80))
    telemetry.stop()
    database.close()
    assert sidecar.counted() == wanted(80)


def test_a_publisher_without_room_is_asked_again_and_no_fill_is_left_out(
    sidecar: Sidecar, tmp_path: Path
):
    database, store, _ = opened(tmp_path, sidecar.address)
    telemetry = FillTelemetry(
        store,
        TelemetryStore(database),
        lambda: Publisher(
            sidecar.address, source="paper-desk", journal_dir=tmp_path / "journal", capacity=20
        ),
        tmp_path / "journal",
    )
    write_fills(store, 70, telemetry)
    telemetry.start()
    until(lambda: telemetry.problem)
    assert telemetry.figures() == TelemetryFigures(70, 20, 50)
    sidecar.start()
    until(lambda: sidecar.counted() == wanted(70))
    assert telemetry.figures() == TelemetryFigures(70, 70, 0)
    assert telemetry.problem is None
    telemetry.stop()
    database.close()


def test_a_symbol_that_the_telemetry_does_not_take_goes_without_its_name(
    running: Sidecar, tmp_path: Path
):
    database, store, telemetry = opened(tmp_path, running.address)
    store.write([fill(1, symbol="A" * 32), fill(2, symbol="BTCUSDT")])
    telemetry.start()
    until(lambda: running.counted() == wanted(2))
    telemetry.stop()
    database.close()
    page = httpx.get(f"{running.url}/metrics", trust_env=False).text
    assert 'telemetry_symbol_trades_total{side="buy",symbol="BTCUSDT"} 1.0' in page
    assert 'telemetry_symbol_trades_total{side="buy",symbol="(none)"} 1.0' in page


def test_without_a_journal_nothing_is_handed_over_and_it_is_said_why(
    sidecar: Sidecar, tmp_path: Path
):
    (tmp_path / "journal").write_text("a file, not a folder")
    database, store, telemetry = opened(tmp_path, sidecar.address)
    write_fills(store, 5, telemetry)
    telemetry.start()
    until(lambda: telemetry.problem)
    assert telemetry.figures() == TelemetryFigures(5, 0, 5)
    (tmp_path / "journal").unlink()
    until(lambda: telemetry.figures() == TelemetryFigures(5, 5, 0))
    assert telemetry.problem is None
    telemetry.stop(0)
    database.close()


def test_what_an_earlier_life_handed_over_is_not_said_to_wait_while_none_can(
    sidecar: Sidecar, tmp_path: Path
):
    database, store, first = opened(tmp_path, sidecar.address)
    write_fills(store, 6, first)
    first.start()
    until(lambda: first.figures() == TelemetryFigures(6, 6, 0))
    first.stop(0)
    journal = tmp_path / "journal"
    journal.rename(tmp_path / "away")
    journal.write_text("a file, not a folder")
    _, _, second = opened(tmp_path, sidecar.address)
    write_fills(store, 8, second)
    second.start()
    until(lambda: second.problem)
    assert second.figures() == TelemetryFigures(8, 6, 2)
    second.stop(0)
    database.close()


def test_two_at_the_same_journal_are_not_both_let_in(sidecar: Sidecar, tmp_path: Path):
    database, store, first = opened(tmp_path, sidecar.address)
    _, _, second = opened(tmp_path, sidecar.address)
    write_fills(store, 5, first)
    first.start()
    until(lambda: first.figures() == TelemetryFigures(5, 5, 0))
    second.start()
    until(lambda: second.problem)
    assert "another process" in str(second.problem)
    second.stop(0)
    first.stop(0)
    database.close()


def test_a_lost_journal_file_costs_no_fill_and_counts_none_twice(running: Sidecar, tmp_path: Path):
    database, store, telemetry = opened(tmp_path, running.address)
    telemetry.start()
    write_fills(store, 30, telemetry)
    until(lambda: running.counted() == wanted(30))
    for file in (tmp_path / "journal").iterdir():
        file.unlink()
    life = TelemetryStore(database).last()
    until(lambda: TelemetryStore(database).last() != life, 20)
    write_fills(store, 60, telemetry)
    until(lambda: running.counted() == wanted(60))
    until(lambda: telemetry.figures() == TelemetryFigures(60, 60, 0))
    telemetry.stop()
    database.close()


def test_a_clean_end_is_kept_before_the_journal_goes(running: Sidecar, tmp_path: Path):
    database, store, telemetry = opened(tmp_path, running.address)
    write_fills(store, 12, telemetry)
    telemetry.start()
    telemetry.stop()
    assert list((tmp_path / "journal").iterdir()) == []
    last = TelemetryStore(database).last()
    assert last == TelemetryEpoch(1, last.epoch, 1, 12)
    database.close()


class Refusing(TelemetryStore):
    """A store on a disk that is full for a while."""

    is_refusing = True

    def write(self, epoch: TelemetryEpoch) -> None:
        if self.is_refusing:
            raise StorageError("the disk is full")
        super().write(epoch)


@pytest.mark.parametrize("is_killed_in_between", [False, True])
def test_an_end_that_cannot_be_kept_leaves_the_journal_and_no_fill_is_published_twice(
    running: Sidecar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_killed_in_between: bool
):
    database, store, _ = opened(tmp_path, running.address)
    epochs, journal = Refusing(database), tmp_path / "journal"
    epochs.is_refusing = False

    def lived() -> FillTelemetry:
        return FillTelemetry(
            store,
            epochs,
            lambda: Publisher(running.address, source="paper-desk", journal_dir=journal),
            journal,
        )

    first = lived()
    write_fills(store, 5, first)
    first.start()
    until(lambda: (last := epochs.last()) and last.through_fill == 5)
    epochs.is_refusing = True
    write_fills(store, 12, first)
    until(lambda: running.counted() == wanted(12))
    with monkeypatch.context() as patched:
        if is_killed_in_between:
            patched.setattr(telemetry_module, "bring_back", lambda _: None)
        first.stop()
    epochs.is_refusing = False
    assert epochs.last().through_fill < 12, "it could not be kept how far it came"
    second = lived()
    second.start()
    write_fills(store, 15, second)
    until(lambda: second.figures() == TelemetryFigures(15, 15, 0))
    second.stop()
    database.close()
    assert running.counted() == wanted(15)
    assert list(journal.iterdir()) == []


def test_a_store_that_cannot_be_written_stops_the_handing_over_and_not_the_thread(
    sidecar: Sidecar, tmp_path: Path
):
    database, store, _ = opened(tmp_path, sidecar.address)
    epochs, journal = Refusing(database), tmp_path / "journal"
    telemetry = FillTelemetry(
        store,
        epochs,
        lambda: Publisher(sidecar.address, source="paper-desk", journal_dir=journal),
        journal,
    )
    write_fills(store, 3, telemetry)
    telemetry.start()
    until(lambda: telemetry.problem == "the disk is full")
    assert telemetry.figures() == TelemetryFigures(3, 0, 3)
    epochs.is_refusing = False
    until(lambda: telemetry.figures() == TelemetryFigures(3, 3, 0))
    telemetry.stop(0)
    database.close()


def test_the_counts_of_the_ledger_are_of_neutral_fills_alone(sidecar: Sidecar, tmp_path: Path):
    database, store, telemetry = opened(tmp_path, sidecar.address)
    write_fills(store, 7, telemetry)
    store.write([fill(9, BookName.OPTIMISTIC)])
    assert TelemetryStore(database).counts(4) == (7, 3)
    database.close()
