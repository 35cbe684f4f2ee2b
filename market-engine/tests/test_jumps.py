"""Times that jump ahead: a hole stays a hole, and one wrong time costs one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from market_engine.errors import RejectReason
from market_engine.events import Rejected
from market_engine.feeds.archive import ArchiveFile
from market_engine.feeds.frames import FramesFile, frame_line, header_line
from market_engine.feeds.jumps import WAITING_MAX

S = 10**9
START_S = 1_700_000_000
HOUR = 3_600
BAD = "bad"


def frames(folder: Path, times) -> FramesFile:
    lines = [header_line("wss://venue.example/stream?streams=x@trade", START_S * S)]
    lines += [
        b"bad\n" if each is BAD else frame_line((START_S + each) * S, b"{}") for each in times
    ]
    path = folder / "a.frames"
    path.write_bytes(b"".join(lines))
    return FramesFile(path)


def archive(folder: Path, times) -> ArchiveFile:
    path = folder / "BTCUSDT-trades-2023-11-14.csv"
    lines = [
        "bad\n" if each is BAD else f"{n},100.5,2,201,{(START_S + each) * 1_000},False,True\n"
        for n, each in enumerate(times, 1)
    ]
    path.write_text("".join(lines))
    return ArchiveFile(path)


def read(folder: Path, times, kind: str, from_s: int | None = None) -> list[object]:
    """The times that came out in their order; those of lines that were rejected are why."""
    from_ns = 0 if from_s is None else (START_S + from_s) * S
    if kind == "frames":
        items = list(frames(folder, times).frames(from_ns))
    else:
        items = list(archive(folder, times).rows(from_ns))
    out: list[object] = []
    for item in items:
        if isinstance(item, Rejected):
            out.append(str(item.reason))
        else:
            out.append((item[0] if isinstance(item, tuple) else item.received_ns) // S - START_S)
    return out


TIME, MALFORMED = str(RejectReason.TIME), str(RejectReason.MALFORMED)
FAR = 200_000_000


@pytest.mark.parametrize("kind", ["frames", "archive"])
@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 1, FAR, 2, 3], [0, 1, TIME, 2, 3]),
        ([0, 1, HOUR + 2, 2, 3], [0, 1, TIME, 2, 3]),
        ([FAR, 1, 2], [TIME, 1, 2]),  # the first of all
        ([0, 1, 5 * HOUR, 5 * HOUR, 5 * HOUR + 1], [0, 1, 5 * HOUR, 5 * HOUR, 5 * HOUR + 1]),
        ([0, 5 * HOUR, 10 * HOUR], [0, 5 * HOUR, 10 * HOUR]),  # a hole behind a hole
        ([0, FAR, 5 * HOUR, 5 * HOUR + 1], [0, TIME, 5 * HOUR, 5 * HOUR + 1]),  # before a hole
        ([0, 5 * HOUR, FAR, 5 * HOUR + 1], [0, 5 * HOUR, TIME, 5 * HOUR + 1]),  # behind one
        ([0, 1, FAR, 2, FAR, 3], [0, 1, TIME, 2, TIME, 3]),
        ([0, 1, FAR], [0, 1, FAR]),  # nothing contradicts it
        ([0, FAR, BAD, 1], [0, TIME, MALFORMED, 1]),
        ([0, 5 * HOUR, BAD, 5 * HOUR], [0, 5 * HOUR, MALFORMED, 5 * HOUR]),
        ([5 * HOUR], [5 * HOUR]),
    ],
)
def test_a_jump_is_believed_only_when_what_follows_confirms_it(tmp_path, kind, times, expected):
    assert read(tmp_path, times, kind) == expected


@pytest.mark.parametrize("kind", ["frames", "archive"])
def test_the_wrong_line_is_named(tmp_path, kind):
    times = [0, 1, FAR, 2]
    items = (
        frames(tmp_path, times).frames() if kind == "frames" else archive(tmp_path, times).rows()
    )
    (rejected,) = (item for item in items if isinstance(item, Rejected))
    assert f"line {4 if kind == 'frames' else 3}: its time is far ahead" in rejected.detail
    assert rejected.received_ns == (START_S + 1) * S
    assert rejected.raw


@pytest.mark.parametrize("kind", ["frames", "archive"])
def test_after_a_seek_a_jump_is_judged_as_before(tmp_path, kind):
    times = [*range(300), FAR, *range(300, 400), *range(5 * HOUR, 5 * HOUR + 300)]
    whole = read(tmp_path, times, kind)
    for wanted in (100, 290, 299, 300, 350, 399, 400, HOUR, 5 * HOUR, 5 * HOUR + 250):
        first = next(n for n, each in enumerate(whole) if isinstance(each, int) and each >= wanted)
        assert read(tmp_path, times, kind, wanted) == whole[first:], wanted


@pytest.mark.parametrize("kind", ["frames", "archive"])
def test_no_more_than_some_bad_lines_wait_behind_a_jump(tmp_path, kind):
    found = read(tmp_path, [0, 5 * HOUR, *[BAD] * 3 * WAITING_MAX, 5 * HOUR], kind)
    assert found == [0, 5 * HOUR, *[MALFORMED] * 3 * WAITING_MAX, 5 * HOUR]
