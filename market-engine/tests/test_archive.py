"""The venue's public archive: every row comes out exactly, a bad one is told with its line."""

from __future__ import annotations

import gzip
import tracemalloc
import zipfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_engine.decimals import to_nano
from market_engine.errors import FileError, RejectReason
from market_engine.events import MS_NS, US_NS, Candle, Rejected, Trade
from market_engine.feeds.archive import ArchiveFile, read_archive

SHARED = Path(__file__).parents[2].parent / "shared/data"
REAL = SHARED / "binance-spot-BTCUSDT-trades-2021-01-08.csv"
has_recordings = pytest.mark.skipif(not REAL.exists(), reason=f"no recordings in {SHARED}")
S = 10**9
MS = 1_610_064_000_278
TRADE = "5,39432.48000000,0.00026300,10.37074224,1610064000278,True,True"
AGGREGATE = "5,39432.48,0.000263,100,107,1610064000278,True,True"
KLINE = (
    "1610064000000,39432.48,39500,39400.01,39450.5,12.75,1610064059999,500000.1,321,6.1,240000.2,0"
)
FUTURES_TRADE = "5,39432.48,0.000263,10.37,1610064000278,true"
FUTURES_AGGREGATE = "5,39432.48,0.000263,100,107,1610064000278,true"
AS_AGGREGATE = Trade(
    "binance", "BTCUSDT", to_nano("39432.48"), 263_000, "sell", 5, MS * MS_NS, MS * MS_NS
)
AS_TRADE = msgspec.structs.replace(AS_AGGREGATE, venue="binance-trades")  # other ids
AS_CANDLE = Candle(
    "binance",
    "BTCUSDT",
    1_610_064_000 * S,
    60 * S,
    to_nano("39432.48"),
    to_nano("39500"),
    to_nano("39400.01"),
    to_nano("39450.5"),
    to_nano("12.75"),
    321,
    1_610_064_060 * S,
)


def written(path: Path, *rows: str | bytes) -> Path:
    path.write_bytes(b"".join((r if isinstance(r, bytes) else r.encode()) + b"\n" for r in rows))
    return path


def trade_row(trade_id: int, ms: int) -> str:
    return f"{trade_id},100.5,2,201,{ms},False,True"


@has_recordings
def test_every_trade_of_the_real_file_comes_out_once_and_exactly():
    file = ArchiveFile(REAL)
    trades = list(file.rows())
    assert (file.kind, file.symbol) == ("trades", "BTCUSDT")
    assert [trade.trade_id for trade in trades] == list(range(553_287_559, 553_289_560))
    assert file.first_ns == trades[0].event_ns == 1_610_064_000_278 * MS_NS
    assert file.last_ns == trades[-1].event_ns == 1_610_064_046_355 * MS_NS
    for trade, row in zip(trades, REAL.read_text().splitlines(), strict=True):
        _, price, qty, _, ms, is_buyer_maker, _ = row.split(",")
        assert (trade.price_nano, trade.qty_nano) == (to_nano(price), to_nano(qty))
        assert trade.event_ns == trade.received_ns == int(ms) * MS_NS
        assert trade.side == ("sell" if is_buyer_maker == "True" else "buy")


@pytest.mark.parametrize(
    ("name", "row", "kind", "event"),
    [
        ("BTCUSDT-trades-2021-01-08.csv", TRADE, "trades", AS_TRADE),
        ("BTCUSDT-trades-2021-01.csv", FUTURES_TRADE, "trades", AS_TRADE),
        ("BTCUSDT-aggTrades-2021-01-08.csv", AGGREGATE, "aggTrades", AS_AGGREGATE),
        ("um-BTCUSDT-aggTrades-2021-01-08.csv", FUTURES_AGGREGATE, "aggTrades", AS_AGGREGATE),
        ("BTCUSDT-1m-2021-01.csv", KLINE, "klines", AS_CANDLE),
    ],
)
def test_each_kind_is_told_by_name_or_by_rows_or_by_the_caller(tmp_path, name, row, kind, event):
    by_name = ArchiveFile(written(tmp_path / name, row))
    assert (by_name.kind, by_name.symbol, list(by_name.rows())) == (kind, "BTCUSDT", [event])
    unnamed = written(tmp_path / "data.csv", row)
    assert list(ArchiveFile(unnamed, symbol="BTCUSDT").rows()) == [event]
    assert list(ArchiveFile(unnamed, symbol="BTCUSDT", kind=kind).rows()) == [event]


def test_a_candle_was_received_when_it_closed_and_not_before():
    assert AS_CANDLE.received_ns == AS_CANDLE.open_ns + AS_CANDLE.span_ns


def test_times_are_told_by_their_digits_row_by_row(tmp_path):
    rows = (trade_row(1, MS), trade_row(2, MS * 1_000 + 7), trade_row(3, MS * 10**6 + 9))
    trades = list(ArchiveFile(written(tmp_path / "BTCUSDT-trades-2025-01-01.csv", *rows)).rows())
    assert [trade.event_ns for trade in trades] == [
        MS * MS_NS,
        MS * MS_NS + 7 * US_NS,
        MS * MS_NS + 9,
    ]
    assert [trade.resolution_ns for trade in trades] == [MS_NS, US_NS, 1]


def test_a_kline_in_microseconds_has_the_same_span(tmp_path):
    row = KLINE.replace("1610064000000", "1735689600000000").replace(
        "1610064059999", "1735689659999999"
    )
    (candle,) = ArchiveFile(written(tmp_path / "BTCUSDT-1m-2025-01.csv", row)).rows()
    assert (candle.span_ns, candle.resolution_ns) == (60 * S, US_NS)
    assert candle.received_ns == 1_735_689_660 * S


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_row_of_names_at_the_top_is_passed_over_and_only_there(tmp_path, mark):
    names = "id,price,qty,quote_qty,time,is_buyer_maker"
    path = written(tmp_path / "BTCUSDT-trades-2021-01-08.csv", mark + names, TRADE, names, TRADE)
    first, second, third = ArchiveFile(path).rows()
    assert first == third == AS_TRADE
    assert "line 3: " in second.detail


BAD_ROWS = [
    ("5,39432.48,0.1,10", RejectReason.MALFORMED, "4 columns are too few for trades"),
    ("nonsense", RejectReason.MALFORMED, "1 columns"),
    (b"5,39432.48,0.1,1,1610064000278,\xff,True", RejectReason.MALFORMED, "not ASCII"),
    ("x,39432.48,0.1,1,1610064000278,True,True", RejectReason.TRADE_ID, "whole number"),
    ("-5,39432.48,0.1,1,1610064000278,True,True", RejectReason.TRADE_ID, "whole number"),
    ("9" * 20 + ",1,0.1,1,1610064000278,True,True", RejectReason.TRADE_ID, "whole number"),
    ("5,-1,0.1,1,1610064000278,True,True", RejectReason.PRICE, "not a decimal"),
    ("5,0.00,0.1,1,1610064000278,True,True", RejectReason.PRICE, "it is 0"),
    ("5,nan,0.1,1,1610064000278,True,True", RejectReason.PRICE, "not a decimal"),
    ("5,1,0,1,1610064000278,True,True", RejectReason.QTY, "it is 0"),
    ("5,1,1e3,1,1610064000278,True,True", RejectReason.QTY, "not a decimal"),
    ("5,1,0.1,1,1610064000,True,True", RejectReason.TIME, "no time from 2009"),
    ("5,1,0.1,1,9999999999999,True,True", RejectReason.TIME, "no time from 2009"),
    ("5,1,0.1,1,soon,True,True", RejectReason.TIME, "whole number"),
    ("5,1,0.1,1,1610064000278,maybe,True", RejectReason.SIDE, "'maybe'"),
    ("x" * 1_100_000, RejectReason.TOO_LARGE, "longer than"),
]


@pytest.mark.parametrize(("row", "reason", "detail"), BAD_ROWS)
def test_a_bad_row_is_told_with_its_line_and_the_reading_goes_on(tmp_path, row, reason, detail):
    path = written(tmp_path / "BTCUSDT-trades-2021-01-08.csv", TRADE, "", row, TRADE)
    first, bad, last = ArchiveFile(path).rows()
    assert first == last == AS_TRADE
    assert isinstance(bad, Rejected)
    assert bad.reason is reason
    assert bad.detail.startswith("BTCUSDT-trades-2021-01-08.csv, line 3: ")
    assert detail in bad.detail
    assert (bad.symbol, bad.received_ns) == ("BTCUSDT", AS_TRADE.received_ns)
    assert len(bad.raw) <= 500


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("39400.01", "39440", RejectReason.PRICE),  # a low above the open
        ("39500", "39433", RejectReason.PRICE),  # a high below the close
        ("39450.5", "0", RejectReason.PRICE),
        ("1610064059999", "1610063999998", RejectReason.TIME),
        ("1610064059999", "1610064059999000", RejectReason.TIME),
        ("1610064059999", "1620064059999", RejectReason.TIME),
        (",321,", ",,", RejectReason.MALFORMED),
        ("12.75", "-1", RejectReason.QTY),
    ],
)
def test_a_candle_that_contradicts_itself_is_rejected(tmp_path, old, new, reason):
    path = written(tmp_path / "BTCUSDT-1m-2021-01.csv", KLINE, KLINE.replace(old, new))
    good, bad = ArchiveFile(path).rows()
    assert good == AS_CANDLE
    assert bad.reason is reason


def test_rows_come_as_they_stand_over_several_files_duplicates_and_jumps_included(tmp_path):
    one = written(
        tmp_path / "BTCUSDT-trades-2021-01-08.csv", *(trade_row(n, MS + n) for n in (1, 2))
    )
    two = written(
        tmp_path / "BTCUSDT-trades-2021-01-09.csv", *(trade_row(n, MS + n) for n in (2, 9, 3))
    )
    assert [trade.trade_id for trade in read_archive([one, two])] == [1, 2, 2, 9, 3]
    assert [trade.trade_id for trade in read_archive([two, one])] == [2, 9, 3, 1, 2]
    with pytest.raises(FileError, match="is not there"):
        read_archive([one, tmp_path / "BTCUSDT-trades-2021-01-10.csv"])


def test_compressed_files_read_the_same(tmp_path):
    rows = [trade_row(n, MS + n * 1_000) for n in range(3_000)]
    plain = written(tmp_path / "BTCUSDT-trades-2021-01-08.csv", *rows)
    packed = tmp_path / "BTCUSDT-trades-2021-01-08.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    zipped = tmp_path / "BTCUSDT-trades-2021-01-08.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(plain, plain.name)
        archive.writestr("README.txt", "hello")
    wanted, middle_ns = list(ArchiveFile(plain).rows()), (MS + 1_700_000) * MS_NS
    for path in (packed, zipped):
        file = ArchiveFile(path)
        assert list(file.rows()) == wanted
        assert (file.first_ns, file.last_ns) == (wanted[0].event_ns, wanted[-1].event_ns)
        assert list(file.rows(middle_ns)) == wanted[1_700:]


@pytest.mark.parametrize("names", [[], ["a.csv", "b.csv"], ["a.txt"]])
def test_a_zip_without_exactly_one_csv_is_refused(tmp_path, names):
    path = tmp_path / "BTCUSDT-trades-2021-01-08.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, TRADE)
    with pytest.raises(FileError, match=r"holds \d files that end in \.csv: unpack it"):
        ArchiveFile(path)


@pytest.mark.parametrize("suffix", [".csv.gz", ".zip"])
def test_a_compressed_file_that_is_damaged_gives_what_is_whole_and_tells(tmp_path, suffix):
    plain = "".join(trade_row(n * 7_919 % 99_991, MS + n) + "\n" for n in range(100_000)).encode()
    path = tmp_path / f"BTCUSDT-trades-2021-01-08{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.csv", plain)
    else:
        path.write_bytes(gzip.compress(plain))
    damaged = bytearray(path.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 500] = bytes(500)
    path.write_bytes(damaged)
    events = list(ArchiveFile(path).rows())
    assert sum(isinstance(event, Trade) for event in events) > 10_000
    assert "cut short or damaged" in events[-1].detail


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("BTCUSDT-trades-2021-01-08.csv", b"", "is empty"),
        ("BTCUSDT-trades-2021-01-08.zip", b"no zip", "cannot be read"),
        ("BTCUSDT-trades-2021-01-08.csv.gz", b"no gzip", "cannot be read"),
        ("data.csv", TRADE.encode(), "does not name its symbol.*: say --symbol"),
        ("data.csv", bytes(range(256)) * 99, "the kind is not clear.*: have its name say"),
        ("data.csv", b"1,2,3\n", "the kind is not clear.*: have its name say"),
        ("BTCUSDT-trades-2021-01-08.csv", AGGREGATE.encode(), "the kind is not clear"),
        ("BTCUSDT-1m-2021-01-08.csv", TRADE.encode(), "the kind is not clear"),
        ("data.csv", f"{TRADE}\n{KLINE}\n".encode(), "look like klines and trades"),
    ],
)
def test_what_is_no_archive_is_refused_by_name_with_the_cure(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FileError, match=message) as caught:
        ArchiveFile(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_without_one_good_row_has_no_first_time(tmp_path):
    file = ArchiveFile(written(tmp_path / "BTCUSDT-trades-2021-01-08.csv", "1,2,3"))
    assert len(list(file.rows())) == 1
    with pytest.raises(FileError, match="holds no row of trades"):
        _ = file.first_ns


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 30), min_size=300, max_size=600),
    st.lists(st.tuples(st.integers(0, 599), st.sampled_from(["bad", "", "1,2,3"])), max_size=30),
    st.lists(st.integers(-5, 20_000), min_size=4, max_size=8),
)
def test_reading_from_a_time_gives_what_reading_all_gives_from_there_on(
    tmp_path_factory, steps, faults, targets
):
    ms, rows = MS, []
    for number, step in enumerate(steps):
        ms += step
        rows.append(trade_row(number, ms))
    for place, row in faults:
        rows.insert(place, row)
    folder = tmp_path_factory.mktemp("seek")
    file = ArchiveFile(written(folder / "BTCUSDT-trades-2021-01-08.csv", *rows))
    everything = list(file.rows())
    assert file.last_ns == ms * MS_NS
    for target in targets:
        wanted_ns = (MS + target) * MS_NS
        places = (
            place
            for place, event in enumerate(everything)
            if isinstance(event, Trade) and event.event_ns >= wanted_ns
        )
        first = next(places, len(everything))
        assert list(file.rows(wanted_ns)) == everything[first:]


def test_reading_takes_the_same_memory_for_a_large_file_as_for_a_small_one(tmp_path):
    path = tmp_path / "BTCUSDT-trades-2021-01-08.csv"
    path.write_text("".join(trade_row(n, MS + n) + "\n" for n in range(30_000)))
    file = ArchiveFile(path)
    tracemalloc.start()
    try:
        count = sum(1 for _ in file.rows())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 30_000
    assert peak < 500_000 < file.size
