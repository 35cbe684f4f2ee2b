"""Files into the store: what is there stays as it is, and what cannot be is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from storage_parts import messages, stored_rows, url_of

from market_engine.errors import FileError
from market_engine.events import SECOND_NS, Trade
from market_engine.feeds.frames import frame_line, header_line
from market_engine.loading import load_files
from market_engine.storage.batches import BatchWriter
from market_engine.storage.database import Database
from market_engine.storage.market_store import MarketStore

NOON_MS = 1_735_732_800_000
VENUE, SYMBOL = "binance", "BTCUSDT"
EVERY_MS = 5_000


@pytest.fixture
def database(tmp_path):
    opened = Database(url_of(tmp_path / "market.db"))
    yield opened
    opened.close()


def row(trade_id: int, at_ms: int | None = None) -> str:
    at_ms = NOON_MS + trade_id * EVERY_MS if at_ms is None else at_ms
    return f"{trade_id},{100 + trade_id % 7}.5,{1 + trade_id % 5}.0,1,1,{at_ms},True,True\n"


def archive(folder: Path, day: int, first_id: int, last_id: int) -> Path:
    """One trade each five seconds after noon, by its id."""
    path = folder / f"BTCUSDT-aggTrades-2025-01-{day:02}.csv"
    path.write_text("".join(row(trade_id) for trade_id in range(first_id, last_id + 1)))
    return path


def stored(trade_id: int, **changes) -> Trade:
    """As the archive has it."""
    at_ns = (NOON_MS + trade_id * EVERY_MS) * 10**6
    price_nano = (100 + trade_id % 7) * 10**9 + 5 * 10**8
    made = Trade(VENUE, SYMBOL, price_nano, 10**9, "sell", trade_id, at_ns, at_ns)
    return msgspec.structs.replace(made, **changes)


def bars(database: Database):
    return {bar.bar_start_ns: bar for bar in MarketStore(database).bars(VENUE, SYMBOL, 60)}


def test_a_file_loaded_again_changes_no_row_of_any_table(tmp_path, database):
    first, second = archive(tmp_path, 1, 1, 720), archive(tmp_path, 2, 721, 1_440)
    load_files(database, [first])
    load_files(database, [second])
    once = stored_rows(database)
    for again in ([second], [first], [first, second]):
        found = load_files(database, again)
        assert (found.trades, found.bars) == (0, 0)
        assert stored_rows(database) == once
    averages = [msgspec.json.decode(bar.metrics)["averages"] for bar in bars(database).values()]
    assert all(each["sma"] is not None for each in averages[20:])  # over the border of the files


def test_a_file_that_begins_within_a_minute_changes_no_bar_and_stores_no_part_of_one(
    tmp_path, database
):
    part, whole = archive(tmp_path, 2, 903, 1_440), archive(tmp_path, 1, 1, 1_440)
    load_files(database, [part])
    assert min(bars(database)) == (NOON_MS + 76 * 60_000) * 10**6  # 903 came at 13:15:15
    load_files(database, [whole])
    first_whole_ns = (NOON_MS + 60_000) * 10**6
    found = bars(database)
    assert list(found) == list(range(first_whole_ns, max(found) + 1, 60 * SECOND_NS))
    assert {bar.trades for bar in found.values()} == {12}
    once = stored_rows(database)
    load_files(database, [part])
    assert stored_rows(database) == once


def test_the_bars_of_a_venues_own_candles_are_all_stored(tmp_path, database):
    path = tmp_path / "BTCUSDT-1m-2025-01-01.csv"
    lines = [
        f"{at},100,101,99,100.5,12,{at + 59_999},1200,321,6,600,0\n"
        for at in range(NOON_MS, NOON_MS + 5 * 60_000, 60_000)
    ]
    path.write_text("".join(lines))
    load_files(database, [path])
    assert len(bars(database)) == 5


@pytest.mark.parametrize(
    "there",
    [
        stored(7, price_nano=1),
        stored(7, event_ns=stored(7).event_ns - 10**6),
        stored(7, event_ns=stored(7).event_ns + 10**15),  # newer than the file
        stored(90, event_ns=10**18),  # older, and beyond its ids
    ],
)
def test_ids_that_are_stored_as_other_trades_are_refused_before_a_bar_is_stored(
    tmp_path, database, there
):
    BatchWriter(database).write(messages([there]))
    once = stored_rows(database)
    path = archive(tmp_path, 1, 1, 80)
    with pytest.raises(FileError, match=r"2025-01-01\.csv: trade \d+ of BTCUSDT .* another MARKET"):
        load_files(database, [path])
    assert stored_rows(database) == once


def test_a_trade_that_the_stream_told_in_coarser_time_is_the_same(tmp_path, database):
    BatchWriter(database).write(messages([stored(7)]))
    path = tmp_path / "BTCUSDT-aggTrades-2025-01-01.csv"
    fine = (NOON_MS + 7 * EVERY_MS) * 1_000 + 456
    path.write_text(row(6) + row(7, fine) + row(8))
    found = load_files(database, [path])
    assert (found.trades, found.duplicates) == (2, 1)


def test_conflicts_are_counted_among_the_duplicates(database):
    batches = BatchWriter(database)
    batches.write(messages([stored(7), stored(8)]))
    written = batches.write(messages([stored(7), stored(8, price_nano=1), stored(9)]))
    assert (written.trades, written.duplicates, written.conflicts) == (1, 2, 1)


def test_files_of_two_venues_are_refused(tmp_path, database):
    aggregated = archive(tmp_path, 1, 1, 5)
    at_ns = (NOON_MS + 3_600_000) * 10**6
    frames = tmp_path / "session.frames"
    address = "wss://fstream.binance.com/stream?streams=btcusdt@aggTrade"
    frames.write_bytes(header_line(address, at_ns) + frame_line(at_ns, b"{}"))
    with pytest.raises(FileError, match=r"session\.frames is of the venue binance-futures and"):
        load_files(database, [aggregated, frames])


def test_ids_that_were_given_up_are_missing_all_the_same(tmp_path, database):
    path = tmp_path / "BTCUSDT-aggTrades-2025-01-01.csv"
    path.write_text("".join(row(2 * n, NOON_MS + n) for n in range(1, 1_102)))
    assert load_files(database, [path]).missing == 1_100


def test_one_wrong_time_in_an_archive_costs_its_row_alone(tmp_path, database):
    path = archive(tmp_path, 1, 1, 480)
    lines = path.read_text().splitlines(keepends=True)
    lines[99] = row(100, NOON_MS + 10**12)
    path.write_text("".join(lines))
    found = load_files(database, [path])
    assert (found.trades, found.rejected, found.missing) == (479, 1, 1)
    late = [bar.trades for bar in bars(database).values()]
    assert sorted(late)[:2] == [11, 12]
