"""The database as a file: how it is opened, what stops that, and who may write at what time."""

from __future__ import annotations

import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select
from storage_parts import (
    SYMBOL,
    VENUE,
    messages,
    ordinary_user,
    stored_rows,
    trade,
    until,
    url_of,
)

from market_engine.errors import StorageError
from market_engine.storage.batches import BatchWriter
from market_engine.storage.database import Database, RowError
from market_engine.storage.market_store import MarketStore
from market_engine.storage.tables import trades

TRADES = [trade(number) for number in range(1, 101)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "market.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with closing(Database(url_of(path))) as database:
        yield database


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Not in tmp_path, whose parents only their owner may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@contextmanager
def no_file_beyond(size_bytes_max: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes_max, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def pragma(database: Database, name: str) -> object:
    with database.reading() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()


def test_the_folder_is_made_and_the_file_is_set_up(path, database):
    assert path.is_file()
    settings = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    assert [pragma(database, name) for name in settings] == ["wal", 1, 1, 1_000]
    database.check()


def test_what_was_written_is_there_when_it_is_opened_again(path, database):
    BatchWriter(database).write(messages(TRADES))
    before = stored_rows(database)
    database.close()
    with closing(Database(url_of(path))) as again:
        assert stored_rows(again) == before
        assert list(MarketStore(again).trades(VENUE, SYMBOL)) == TRADES


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("market.db", "is no URL"),
        ("sqlite://host:port/x", "is no URL"),
        ("mysql://user:secret@host/market", "mysql is not known: use sqlite:///FILE"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_can(url, said):
    with pytest.raises(StorageError, match=said) as raised:
        Database(url)
    assert "secret" not in str(raised.value)


def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path):
    path = tmp_path / "market.db"
    path.write_bytes(b"a letter to my aunt " * 500)
    with pytest.raises(StorageError, match="put a backup in its place"):
        Database(url_of(path))
    assert path.read_bytes() == b"a letter to my aunt " * 500


def test_damage_inside_the_file_is_told(path, database):
    BatchWriter(database).write(messages([trade(number) for number in range(5_000)]))
    database.close()
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 40_960] = b"\xa5" * 40_960
    path.write_bytes(content)
    with closing(Database(url_of(path))) as again:
        with pytest.raises(StorageError, match=r"market\.db"):
            again.check()
        with pytest.raises(StorageError, match="put a backup in its place"):
            list(MarketStore(again).trades(VENUE, SYMBOL))


def test_a_database_of_another_program_is_not_touched(tmp_path):
    path = tmp_path / "market.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE trades (mine TEXT)")
        connection.commit()
    with pytest.raises(StorageError, match="use another database"):
        Database(url_of(path))
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_schema").fetchall()
    assert names == [("trades",)]


def test_a_folder_that_this_user_may_not_write_is_told_with_the_cure(open_folder):
    folder = open_folder / "state"
    with closing(Database(url_of(folder / "market.db"))):
        pass
    folder.chmod(0o555)
    with ordinary_user():
        for name in ("new.db", "market.db", "below/market.db"):
            with pytest.raises(StorageError, match="writable for this user"):
                Database(url_of(folder / name))
    folder.chmod(0o777)


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "state").touch()
    with pytest.raises(StorageError, match="use another database"):
        Database(url_of(tmp_path / "state" / "market.db"))


def test_a_disk_without_room_is_told_when_opening_and_cured_by_room(path):
    with no_file_beyond(8_192), pytest.raises(StorageError, match="check the disk"):
        Database(url_of(path))
    with closing(Database(url_of(path))) as database:
        database.check()


def test_a_batch_that_does_not_fit_on_the_disk_is_undone_whole_and_can_be_written_later(
    path, database
):
    batches = BatchWriter(database)
    batches.write(messages(TRADES))
    before = stored_rows(database)
    more = messages([trade(number) for number in range(1_000, 6_000)])
    with no_file_beyond(200_000), pytest.raises(StorageError, match="check the disk"):
        batches.write(more)
    assert stored_rows(database) == before
    assert batches.write(more).trades == 5_000
    database.check()


def test_a_database_grows_only_as_far_as_it_may(path):
    with closing(Database(url_of(path), size_bytes_max=200_000)) as database:
        batches = BatchWriter(database)
        with pytest.raises(StorageError, match="keep fewer days"):
            batches.write(messages([trade(number) for number in range(5_000)]))
        assert batches.write(messages(TRADES)).trades == 100


def test_a_row_that_fits_into_no_table_undoes_its_transaction_and_is_told_apart(database):
    batches = BatchWriter(database)
    for wrong in (
        trade(2**63),
        trade(-1),
        trade(7, event_ns=2**63),
        trade(7, side="\ud800"),
        trade(7, side=None),
        trade(7, side=object()),
    ):
        with pytest.raises(RowError):
            batches.write(messages([*TRADES, wrong]))
    with database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(trades)) == 0


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
"""


@contextmanager
def held_by_another_process(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", HOLDER, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_lock_of_another_process_is_told_and_reading_goes_on(path, database):
    batches = BatchWriter(database)
    batches.write(messages(TRADES))
    with held_by_another_process(path):
        with pytest.raises(StorageError, match="end the other program"):
            batches.write(messages([trade(1_000)]))
        assert len(MarketStore(database).latest_trades(VENUE, SYMBOL, 500)) == 100
        with closing(Database(url_of(path))) as another:  # nothing to migrate: no lock is needed
            assert MarketStore(another).last_trade_id(VENUE, SYMBOL) == 100
    assert batches.write(messages([trade(1_000)])).trades == 1


def test_readers_see_whole_batches_in_order_while_the_writer_writes(database):
    batches = BatchWriter(database)
    store = MarketStore(database)
    size, count = 50, 80
    last_ids: list[int] = []
    wrong: list[list[int]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            ids = [each.trade_id for each in store.latest_trades(VENUE, SYMBOL, 500)]
            last_ids.append(ids[-1] if ids else 0)
            if ids != list(range(max(1, last_ids[-1] - 499), last_ids[-1] + 1)):
                wrong.append(ids)

    thread = threading.Thread(target=read)
    thread.start()
    until(lambda: last_ids)
    for start in range(1, size * count, size):
        batches.write(messages([trade(number) for number in range(start, start + size)]))
    done.set()
    thread.join()
    assert wrong == []
    assert len(set(last_ids)) > 1
    assert {last_id % size for last_id in last_ids} == {0}
    assert last_ids == sorted(last_ids)


def test_the_disk_use_counts_the_file_its_log_and_what_is_free(path, database):
    BatchWriter(database).write(messages([trade(number) for number in range(3_000)]))
    use = database.disk_use()
    assert use.file_bytes == path.stat().st_size
    assert use.wal_bytes == Path(f"{path}-wal").stat().st_size > 0
    assert use.free_bytes == 0
    with database.writing() as connection:
        connection.execute(trades.delete())
    assert database.disk_use().free_bytes > 100_000
