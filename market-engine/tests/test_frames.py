"""Recordings of raw frames: what is whole comes out exactly, what is not is told, with its line."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_engine.errors import FileError, RejectReason
from market_engine.events import Rejected
from market_engine.feeds.frames import (
    FramesFile,
    format_time,
    frame_line,
    header_line,
    parse_time,
)
from market_engine.feeds.lines import LINE_BYTES_MAX

SHARED = Path(__file__).parents[2].parent / "shared/data"
SPOT = SHARED / "binance-spot-combined-stream.frames"
START_NS = 1_700_000_000_000_000_000
HEADER = header_line("wss://venue.example/stream?streams=btcusdt@trade", START_NS)
has_recordings = pytest.mark.skipif(not SPOT.exists(), reason=f"no recordings in {SHARED}")


def written(path: Path, *lines: bytes, header: bytes = HEADER) -> Path:
    path.write_bytes(header + b"".join(lines))
    return path


def frames_of(items: list) -> list[tuple[int, bytes]]:
    return [item for item in items if not isinstance(item, Rejected)]


def rejected_of(items: list) -> list[Rejected]:
    return [item for item in items if isinstance(item, Rejected)]


@has_recordings
def test_every_frame_of_the_real_recordings_comes_out_with_its_exact_time():
    spot = FramesFile(SPOT)
    assert spot.address.startswith("wss://stream.binance.com:9443/stream?streams=nknusdt@depth")
    assert spot.connected_at_ns == 1_633_998_511_159_679_000
    items = list(spot.frames())
    assert len(items) == 265
    assert items[0][0] == spot.first_ns == 1_633_998_512_063_356_900
    assert items[-1][0] == spot.last_ns == 1_633_998_542_077_861_800
    assert all(frame.startswith(b'{"stream"') and frame.endswith(b"}") for _, frame in items)
    futures = FramesFile(SHARED / "binance-usdm-futures-combined-stream.frames")
    assert len(frames_of(list(futures.frames()))) == 1_535


@given(st.integers(1_230_768_000 * 10**9, 4_102_444_800 * 10**9 - 1))
def test_a_time_survives_being_written_and_read_to_the_nanosecond(time_ns):
    assert parse_time(format_time(time_ns).encode()) == time_ns


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        (b"1633998512", 1_633_998_512_000_000_000),
        (b"1633998512.1", 1_633_998_512_100_000_000),
        (b"1633998512.0633569", 1_633_998_512_063_356_900),
        (b"1633998512.123456789000", 1_633_998_512_123_456_789),
    ],
)
def test_digits_are_read_and_never_rounded(text, time_ns):
    assert parse_time(text) == time_ns


BAD_LINES = [
    (b"{}\n", RejectReason.MALFORMED, "there is no time"),
    (b"1700000001 {}\n", RejectReason.MALFORMED, "there is no time"),
    (b"soon: {}\n", RejectReason.TIME, "not a decimal"),
    (b"-1700000001: {}\n", RejectReason.TIME, "not a decimal"),
    (b"1.7e9: {}\n", RejectReason.TIME, "not a decimal"),
    (b"1700000001.1234567891: {}\n", RejectReason.TIME, "more digits"),
    (b"1700000001000: {}\n", RejectReason.TIME, "outside of the years"),
    (b": {}\n", RejectReason.TIME, "not a decimal"),
    (b"\xff\xfe: {}\n", RejectReason.TIME, ""),
    (b'1700000002: {"s":"\xff"}\n', RejectReason.MALFORMED, "not UTF-8"),
    (b"1700000000.5: {}\n", RejectReason.TIME, "before that of the frame before it"),
    (b"x" * (LINE_BYTES_MAX + 100) + b"\n", RejectReason.TOO_LARGE, "longer than"),
    (b"x" * LINE_BYTES_MAX + b"\n", RejectReason.TOO_LARGE, "longer than"),
]


@pytest.mark.parametrize(("line", "reason", "detail"), BAD_LINES)
def test_a_bad_line_is_told_with_its_number_and_the_reading_goes_on(tmp_path, line, reason, detail):
    before, after = b"1700000001: {}\n\n", b'1700000003: {"a":1}\n'
    items = list(FramesFile(written(tmp_path / "a.frames", before, line, after)).frames())
    assert frames_of(items) == [(START_NS + 10**9, b"{}"), (START_NS + 3 * 10**9, b'{"a":1}')]
    (bad,) = rejected_of(items)
    assert bad.reason is reason
    assert bad.detail.startswith("a.frames, line 4: ")
    assert detail in bad.detail
    assert bad.received_ns == START_NS + 10**9
    assert len(bad.raw) <= 500


def test_a_recording_may_have_the_line_ends_of_another_system_and_non_ascii_frames(tmp_path):
    path = written(tmp_path / "a.frames", '1700000001: "é"\r\n\r\n'.encode())
    assert list(FramesFile(path).frames()) == [(START_NS + 10**9, '"é"'.encode())]


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_recorder_killed_at_any_byte_leaves_a_readable_file(tmp_path, cut):
    whole = frame_line(START_NS, b'{"a":[1,2]}') + frame_line(START_NS + 1, b'{"b":[3,4]}')
    path = written(tmp_path / "a.frames", whole[:-cut])
    items = list(FramesFile(path).frames())
    assert frames_of(items)[0] == (START_NS, b'{"a":[1,2]}')
    if cut == 1:  # only the end of the line is missing
        assert frames_of(items)[1] == (START_NS + 1, b'{"b":[3,4]}')
    else:
        (bad,) = rejected_of(items)
        assert "line 3: the last line is cut short" in bad.detail
        assert FramesFile(path).last_ns == START_NS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (bytes(range(256)) * 100, "line 1"),
        (b"wss://venue.example 1700000000\n", "line 1"),
        (b"wss://venue.example <-> soon\n", "line 1"),
        (b" <-> 1700000000\n", "line 1"),
        (b"\xff <-> 1700000000\n", "line 1"),
        (b"x" * (LINE_BYTES_MAX + 1), "line 1"),
    ],
)
def test_a_file_of_another_form_is_refused_by_name_with_the_line(tmp_path, content, message):
    path = tmp_path / "a.frames"
    path.write_bytes(content)
    with pytest.raises(FileError, match=message) as caught:
        FramesFile(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(FileError, match="is not there"):
        FramesFile(tmp_path / "none.frames")
    with pytest.raises(FileError, match="cannot be read"):
        FramesFile(tmp_path)
    with pytest.raises(FileError, match="cannot be read"):
        FramesFile(written(tmp_path / "a.frames.gz"))


def test_a_recording_without_a_frame_has_no_first_time(tmp_path):
    file = FramesFile(written(tmp_path / "a.frames"))
    assert list(file.frames()) == []
    with pytest.raises(FileError, match="holds no frame"):
        _ = file.first_ns


def test_a_compressed_recording_reads_the_same(tmp_path):
    lines = [frame_line(START_NS + index * 10**9, b"{%d}" % index) for index in range(2_000)]
    lines.insert(1_000, b"bad\n")
    plain = FramesFile(written(tmp_path / "a.frames", *lines))
    packed = tmp_path / "b.frames.gz"
    packed.write_bytes(gzip.compress(plain.path.read_bytes()))
    zipped = FramesFile(packed)
    assert frames_of(list(zipped.frames())) == frames_of(list(plain.frames()))
    assert rejected_of(list(zipped.frames()))[0].detail.startswith("b.frames.gz, line 1,002: ")
    assert (zipped.first_ns, zipped.last_ns) == (plain.first_ns, plain.last_ns)
    middle_ns = START_NS + 700 * 10**9
    assert next(iter(zipped.frames(middle_ns)))[0] == middle_ns


def test_a_compressed_recording_cut_short_gives_what_is_whole_and_tells(tmp_path):
    lines = b"".join(frame_line(START_NS + index, b"{%d}" % index) for index in range(50_000))
    packed = tmp_path / "a.frames.gz"
    packed.write_bytes(gzip.compress(HEADER + lines)[:-20_000])
    items = list(FramesFile(packed).frames())
    assert len(items) > 1_000
    assert "cut short or damaged" in items[-1].detail


FAULTS = [b"bad\n", b"\n", b"soon: {}\n", b"9" * 3_000 + b"\n"]


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 50), min_size=300, max_size=600),
    st.lists(st.tuples(st.integers(0, 599), st.sampled_from(FAULTS)), max_size=40),
    st.lists(st.integers(-5, 32_000), min_size=5, max_size=10),
)
def test_a_seek_gives_what_reading_all_gives_from_there_on(
    tmp_path_factory, steps, faults, targets
):
    path, time_ns, lines = tmp_path_factory.mktemp("seek") / "a.frames", START_NS, []
    for index, step in enumerate(steps):
        time_ns += step
        lines.append(frame_line(time_ns, b'{"n":%d,"pad":"%s"}' % (index, b"p" * 100)))
    for place, line in faults:
        lines.insert(place, line)
    file = FramesFile(written(path, *lines))
    everything = list(file.frames())
    assert (file.first_ns, file.last_ns) == (START_NS + steps[0], time_ns)
    for target in targets:
        wanted = START_NS + target
        first = next((n for n, item in enumerate(everything) if not is_before(item, wanted)), None)
        assert list(file.frames(wanted)) == ([] if first is None else everything[first:])


def test_after_a_seek_a_time_that_falls_back_is_told_as_before(tmp_path):
    lines = [frame_line(START_NS + n * 10**9, b"{}") for n in range(10)]
    lines.insert(7, b"1700000001: {}\n")
    file = FramesFile(written(tmp_path / "a.frames", *lines))
    assert list(file.frames(START_NS + 5 * 10**9)) == list(file.frames())[5:]


def is_before(item, wanted_ns: int) -> bool:
    return isinstance(item, Rejected) or item[0] < wanted_ns


def test_reading_takes_the_same_memory_for_a_large_file_as_for_a_small_one(tmp_path):
    lines = b"".join(
        frame_line(START_NS + index, b'{"x":"%s"}' % (b"y" * 200)) for index in range(30_000)
    )
    file = FramesFile(written(tmp_path / "a.frames", lines))
    tracemalloc.start()
    try:
        count = sum(1 for _ in file.frames())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 30_000
    assert peak < 500_000 < file.size
