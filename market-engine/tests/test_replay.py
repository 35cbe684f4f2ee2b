"""Replay: the same sequence at any speed, and controls that do what they say."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_engine.errors import FileError, SettingsError
from market_engine.events import Event, Quote, Rejected, Tick, Trade
from market_engine.feeds.binance_parser import BinanceParser
from market_engine.feeds.frames import frame_line, header_line
from market_engine.feeds.recordings import TICKS_MAX, Recording
from market_engine.feeds.replay import ReplayFeed, ReplayOptions, Timing

SHARED = Path(__file__).parents[2].parent / "shared/data"
CSV = SHARED / "binance-spot-BTCUSDT-trades-2021-01-08.csv"
SPOT = SHARED / "binance-spot-combined-stream.frames"
FUTURES = SHARED / "binance-usdm-futures-combined-stream.frames"
has_recordings = pytest.mark.skipif(not SPOT.exists(), reason=f"no recordings in {SHARED}")
S = 10**9
START_NS = 1_700_000_000 * S
HEADER = header_line("wss://venue.example/stream?streams=btcusdt@aggTrade", START_NS)


def trade_frame(trade_id: int, at_ns: int, symbol: str = "BTCUSDT") -> bytes:
    return (
        b'{"stream":"x@aggTrade","data":{"e":"aggTrade","E":%d,"s":"%s","a":%d,"p":"100.5","q":"2"'
        b',"f":1,"l":1,"T":%d,"m":true}}'
        % (at_ns // 10**6, symbol.encode(), trade_id, at_ns // 10**6)
    )


def recording(path: Path, offsets_s, first_id: int = 1) -> Path:
    """One trade at each of the offsets, in seconds after START_NS."""
    lines = [HEADER]
    for trade_id, offset in enumerate(offsets_s, first_id):
        at_ns = START_NS + round(offset * S)
        lines.append(frame_line(at_ns, trade_frame(trade_id, at_ns)))
    path.write_bytes(b"".join(lines))
    return path


def run(feed: ReplayFeed) -> list[Event]:
    given_: list[Event] = []
    feed.run(given_.extend)
    return given_


def ids(events) -> list[int]:
    return [event.trade_id for event in events if isinstance(event, Trade)]


def digest(events) -> str:
    sha = hashlib.sha256()
    for event in events:
        sha.update(type(event).__name__.encode() + msgspec.msgpack.encode(event))
    return sha.hexdigest()


class Clock:
    """Time that passes only while somebody waits; ``script`` is what is done at which time."""

    def __init__(self, script=()) -> None:
        self.now = 100.0
        self.began = self.now
        self.script = [(self.began + at, action) for at, action in script]
        self.heard: list[tuple[float, Event]] = []

    def timing(self) -> Timing:
        return Timing(lambda: self.now, self.wait)

    def wait(self, _: threading.Condition, seconds: float) -> None:
        end = self.now + seconds
        if self.script and self.script[0][0] <= end:
            self.now, action = self.script.pop(0)
            action()
        else:
            assert seconds < 3_600, "nothing is left that could end this wait"
            self.now = end

    def hear(self, events) -> None:
        self.heard += [(round(self.now - self.began, 6), event) for event in events]

    def trades(self) -> list[tuple[float, int]]:
        return [(at, event.trade_id) for at, event in self.heard if isinstance(event, Trade)]


@has_recordings
def test_every_trade_of_the_real_archive_comes_out_once():
    feed = ReplayFeed(CSV)
    trades = [event for event in run(feed) if not isinstance(event, Tick)]
    assert [type(trade) for trade in trades] == [Trade] * 2_001
    assert ids(trades) == list(range(553_287_559, 553_289_560))
    assert feed.symbols == ("BTCUSDT",)
    assert feed.position().events == 2_001


@has_recordings
@pytest.mark.parametrize(("path", "trades"), [(SPOT, 2), (FUTURES, 91)])
def test_every_trade_of_the_real_frames_comes_out_once(path, trades):
    feed = ReplayFeed(path)
    found = [event for event in run(feed) if isinstance(event, Trade)]
    assert len(found) == len({(trade.symbol, trade.trade_id) for trade in found}) == trades
    assert path.read_bytes().count(b'"e":"aggTrade"') == trades
    assert feed.position().rejected == 0
    assert {trade.symbol for trade in found} <= set(feed.symbols)


@has_recordings
def test_the_quotes_of_the_real_futures_stream_all_come_out():
    events = run(ReplayFeed(FUTURES))
    assert sum(isinstance(event, Quote) for event in events) == 613


def real_and_generated(folder: Path) -> list[list[Path]]:
    offsets = [n * 0.013 + (n // 300) * 3.7 for n in range(2_000)]
    generated = recording(folder / "g.frames", offsets)
    lines = generated.read_bytes().splitlines(keepends=True)
    lines.insert(700, b"not a line\n")
    lines.insert(1_400, b"1700000000: {}\n")
    generated.write_bytes(b"".join(lines))
    packed = folder / "h.frames.gz"
    packed.write_bytes(gzip.compress(generated.read_bytes()))
    real = [[CSV], [SPOT], [FUTURES]] if SPOT.exists() else []
    return [*real, [generated], [packed]]


def test_the_sequence_is_the_same_at_any_speed_batch_size_and_with_pauses(tmp_path):
    for paths in real_and_generated(tmp_path):
        wanted = digest(run(ReplayFeed(paths)))
        for batch_max in (1, 7, 4_096):
            options = ReplayOptions(batch_max=batch_max)
            assert digest(run(ReplayFeed(paths, options=options))) == wanted
        for speed, silence_s_max in ((100.0, None), (1.0, 0.5), (1_000.0, 0.0)):
            clock = Clock()
            options = ReplayOptions(silence_s_max=silence_s_max)
            feed = ReplayFeed(paths, speed, options=options, timing=clock.timing())
            clock.script = [
                (clock.now + 0.1, feed.pause),
                (clock.now + 5.0, feed.resume),
                (clock.now + 5.1, lambda feed=feed: feed.set_speed(3.0)),
                (clock.now + 5.2, lambda feed=feed: feed.set_speed(None)),
            ]
            feed.run(clock.hear)
            assert digest(event for _, event in clock.heard) == wanted


def test_the_sequence_is_the_same_in_real_time_with_pauses_from_another_thread(tmp_path):
    path = recording(tmp_path / "a.frames", [n * 0.02 for n in range(1_000)])
    feed = ReplayFeed(path, 100.0)
    events: list[Event] = []
    runner = threading.Thread(target=feed.run, args=(events.extend,))
    runner.start()
    while runner.is_alive():
        feed.pause()
        feed.position()
        feed.resume()
        runner.join(0.005)
    assert digest(events) == digest(run(ReplayFeed(path)))


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_replay import ReplayFeed, digest, run
speed = float(sys.argv[2]) if sys.argv[2] != "full" else None
print(digest(run(ReplayFeed([Path(each) for each in sys.argv[3:]], speed))))
"""


def test_the_sequence_is_the_same_in_processes_with_other_hash_seeds(tmp_path):
    paths = real_and_generated(tmp_path)[0 if not SPOT.exists() else 2]
    wanted = digest(run(ReplayFeed(paths)))
    here = str(Path(__file__).parent)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, here, speed, *map(str, paths)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed, speed in (("0", "full"), ("1", "100"), ("12345", "full"))
    ]
    for child in children:
        out, _ = child.communicate(timeout=60)
        assert out.strip() == wanted


@settings(max_examples=50)
@given(st.lists(st.integers(0, 4_000), min_size=1, max_size=40))
def test_ticks_are_the_whole_seconds_before_which_nothing_came(tmp_path_factory, gaps_ms):
    offsets, at = [], 0
    for gap in gaps_ms:
        at += gap
        offsets.append(at / 1_000)
    folder = tmp_path_factory.mktemp("ticks")
    events = run(ReplayFeed(recording(folder / "a.frames", offsets)))
    seen = {event.received_ns // S for event in events if isinstance(event, Trade)}
    wanted = [second for second in range(min(seen) + 1, max(seen) + 1) if second - 1 not in seen]
    ticks = [event.received_ns for event in events if isinstance(event, Tick)]
    assert ticks == [second * S for second in wanted]
    times = [event.received_ns for event in events]
    assert times == sorted(times)


def test_a_silence_of_years_gives_a_day_of_ticks_and_no_more(tmp_path):
    path = recording(tmp_path / "a.frames", [0, 10**8])
    events = run(ReplayFeed(path))
    assert sum(isinstance(event, Tick) for event in events) == TICKS_MAX
    assert ids(events) == [1, 2]


def test_frames_that_say_nothing_let_time_pass(tmp_path):
    path = recording(tmp_path / "a.frames", [0.5])
    depth = b'{"stream":"x","data":{"e":"depthUpdate","s":"BTCUSDT"}}'
    with path.open("ab") as file:
        for tenth in range(6, 40):
            file.write(frame_line(START_NS + tenth * S // 10, depth))
    ticks = [event.received_ns - START_NS for event in run(ReplayFeed(path))[1:]]
    assert ticks == [2 * S, 3 * S]


def test_events_come_when_they_were_received_divided_by_the_speed(tmp_path):
    path = recording(tmp_path / "a.frames", [0, 0.25, 0.5, 4.5])
    for speed in (0.5, 1.0, 100.0):
        clock = Clock()
        ReplayFeed(path, speed, timing=clock.timing()).run(clock.hear)
        wanted = [(round(at / speed, 6), n) for n, at in enumerate((0, 0.25, 0.5, 4.5), 1)]
        assert clock.trades() == wanted
        ticks = [at for at, event in clock.heard if isinstance(event, Tick)]
        assert ticks == [round(at / speed, 6) for at in (2, 3, 4)]


def test_a_new_speed_goes_on_from_the_same_place_without_a_jump(tmp_path):
    path = recording(tmp_path / "a.frames", [0, 10, 20, 30])
    clock = Clock()
    feed = ReplayFeed(path, 1.0, timing=clock.timing())
    clock.script = [
        (clock.now + 5, lambda: feed.set_speed(5.0)),  # 5 s of 10 are left: one second
        (clock.now + 7, lambda: feed.set_speed(0.5)),  # at 15: 5 s are left: ten
        (clock.now + 18, feed.pause),  # at 20.5
        (clock.now + 30, lambda: feed.set_speed(1.0)),
        (clock.now + 40, feed.resume),  # 9.5 s are left
    ]
    feed.run(clock.hear)
    assert clock.trades() == [(0, 1), (6, 2), (17, 3), (49.5, 4)]


def test_full_speed_can_be_slowed_down_at_any_place(tmp_path):
    path = recording(tmp_path / "a.frames", [0, 10, 20])
    clock = Clock()
    feed = ReplayFeed(path, 1.0, timing=clock.timing())
    clock.script = [(clock.now + 4, feed.pause), (clock.now + 5, lambda: feed.set_speed(None))]
    clock.script += [(clock.now + 6, lambda: feed.set_speed(2.0)), (clock.now + 7, feed.resume)]
    feed.run(clock.hear)
    assert clock.trades() == [(0, 1), (10, 2), (15, 3)]


def test_a_silence_is_shortened_and_its_ticks_still_come(tmp_path):
    path = recording(tmp_path / "a.frames", [0, 1, 101, 101.5, 201.5])
    clock = Clock()
    options = ReplayOptions(silence_s_max=5)
    ReplayFeed(path, 10.0, options=options, timing=clock.timing()).run(clock.hear)
    assert clock.trades() == [(0, 1), (0.1, 2), (0.6, 3), (0.65, 4), (1.15, 5)]
    assert sum(isinstance(event, Tick) for _, event in clock.heard) == 198


def test_a_consumer_that_holds_the_replay_back_is_not_flooded_afterwards(tmp_path):
    path = recording(tmp_path / "a.frames", range(10))
    clock = Clock()

    def slow(events) -> None:
        clock.hear(events)
        if ids(events) == [3]:
            clock.now += 60

    ReplayFeed(path, 1.0, timing=clock.timing()).run(slow)
    assert [at for at, _ in clock.trades()] == [0, 1, 2, *range(62, 69)]


def test_no_batch_is_larger_than_its_limit(tmp_path):
    path = recording(tmp_path / "a.frames", [n / 1_000 for n in range(1_000)])
    sizes: list[int] = []
    feed = ReplayFeed(path, options=ReplayOptions(batch_max=64))
    feed.run(lambda events: sizes.append(len(events)))
    assert max(sizes) == 64
    assert sum(sizes) == 1_000


def test_a_frame_of_many_events_is_given_in_parts(tmp_path):
    class Many(BinanceParser):
        def parse(self, frame, received_ns):
            return super().parse(frame, received_ns) * 10

    path = recording(tmp_path / "a.frames", [0, 1])
    sizes: list[int] = []
    feed = ReplayFeed(path, options=ReplayOptions(batch_max=4), parser=Many())
    feed.run(lambda events: sizes.append(len(events)))
    assert sizes == [4, 4, 2, 4, 4, 2]


def test_bad_lines_and_bad_frames_are_given_as_rejected_and_counted(tmp_path):
    path = recording(tmp_path / "a.frames", [0, 1, 2])
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2:2] = [b"bad\n", frame_line(START_NS + 5, b"not json")]
    path.write_bytes(b"".join(lines))
    feed = ReplayFeed(path)
    events = run(feed)
    rejected = [event for event in events if isinstance(event, Rejected)]
    assert rejected[0].detail.startswith("a.frames, line 3: ")
    assert ids(events) == [1, 2, 3]
    position = feed.position()
    assert (position.events, position.rejected, position.ended) == (3, 2, True)


def test_a_seek_back_and_forth_starts_there_and_is_told_before_the_first_event(tmp_path):
    path = recording(tmp_path / "a.frames", [n * 0.5 for n in range(2_000)])
    clock = Clock()
    told: list[int | str] = []
    feed = ReplayFeed(path, 1.0, timing=clock.timing(), on_seek=told.append)
    clock.script = [
        (clock.now + 1.2, lambda: feed.seek(START_NS + 900 * S)),
        (clock.now + 2.3, lambda: feed.seek(START_NS + 5 * S - 1)),
        (clock.now + 2.9, lambda: feed.seek(START_NS + 998 * S)),
    ]
    feed.run(lambda events: told.extend(ids(events)))
    first, second, third = (START_NS + 900 * S, START_NS + 5 * S - 1, START_NS + 998 * S)
    assert told[:8] == [1, 2, 3, first, 1801, 1802, 1803, second]
    assert told[8:] == [11, 12, third, 1997, 1998, 1999, 2000]
    assert feed.position().ended


def test_a_seek_beyond_an_end_is_that_end(tmp_path):
    path = recording(tmp_path / "a.frames", [0, 1, 2])
    feed = ReplayFeed(path)
    feed.seek(0)
    assert ids(run(feed)) == [1, 2, 3]
    feed.seek(2**63)
    assert feed.position().at_ns == START_NS + 2 * S
    assert ids(run(feed)) == [3]


def test_a_seek_gives_the_rest_of_the_sequence(tmp_path):
    for paths in real_and_generated(tmp_path):
        whole = run(ReplayFeed(paths))
        feed = ReplayFeed(paths)
        position = feed.position()
        for part in (0.1, 0.5, 0.9):
            at_ns = position.first_ns + int((position.last_ns - position.first_ns) * part)
            feed.seek(at_ns)
            got = without_ticks(run(feed))
            assert got
            assert digest(got) == digest(without_ticks(whole)[-len(got) :])
            assert got[0].received_ns >= at_ns


def test_a_seek_in_a_compressed_file_can_be_stopped_while_it_reads_up_to_there(tmp_path):
    plain = recording(tmp_path / "a.frames", range(100))
    packed = tmp_path / "b.frames.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    from_ns = START_NS + 90 * S
    steps = list(Recording([packed], BinanceParser()).steps(from_ns))
    assert steps[:90] == [(from_ns, ())] * 90
    assert [event for _, events in steps for event in events] == [
        event
        for _, events in Recording([plain], BinanceParser()).steps(from_ns)
        for event in events
    ]


def test_bad_frames_at_the_place_sought_are_given_and_bad_lines_before_it_are_not(tmp_path):
    lines = [HEADER]
    for second in range(10):
        lines += [frame_line(START_NS + second * S, b"not json"), b"no line\n"]
    plain, packed = tmp_path / "a.frames", tmp_path / "b.frames.gz"
    plain.write_bytes(b"".join(lines))
    packed.write_bytes(gzip.compress(b"".join(lines)))
    for path in (plain, packed):
        feed = ReplayFeed(path)
        feed.seek(START_NS + 8 * S)
        times = [event.received_ns - START_NS for event in run(feed)]
        assert times == [8 * S, 8 * S, 9 * S, 9 * S]


def without_ticks(events) -> list[Event]:
    return [event for event in events if not isinstance(event, Tick)]


def test_a_held_replay_waits_at_its_end_for_a_seek_or_a_stop(tmp_path):
    path = recording(tmp_path / "a.frames", [0, 1, 2])
    feed = ReplayFeed(path, options=ReplayOptions(is_held=True))
    events: list[Event] = []
    runner = threading.Thread(target=feed.run, args=(events.extend,))
    runner.start()
    until(lambda: feed.position().ended)
    feed.seek(START_NS + S)
    until(lambda: feed.position().ended and len(ids(events)) == 5)
    assert ids(events) == [1, 2, 3, 2, 3]
    assert runner.is_alive()
    feed.stop()
    runner.join(2)
    assert not runner.is_alive()


def until(holds) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("is_paused", [True, False])
def test_stop_ends_a_long_wait_at_once_and_any_number_of_times(tmp_path, is_paused):
    path = recording(tmp_path / "a.frames", [0, 10_000])
    feed = ReplayFeed(path, 1.0)
    if is_paused:
        feed.pause()
    runner = threading.Thread(target=feed.run, args=(lambda _: None,))
    runner.start()
    until(lambda: is_paused or feed.position().events == 1)
    feed.stop()
    feed.stop()
    runner.join(2)
    assert not runner.is_alive()
    assert run(feed) == []
    assert feed.position().paused is is_paused


def test_a_paused_replay_gives_nothing_and_says_where_it_is(tmp_path):
    path = recording(tmp_path / "a.frames", [0, 1])
    feed = ReplayFeed(path, 50.0)
    feed.pause()
    position = feed.position()
    assert position == type(position)(
        START_NS, START_NS + S, START_NS, 50.0, paused=True, ended=False, events=0, rejected=0
    )
    feed.resume()
    assert ids(run(feed)) == [1, 2]


def test_several_files_are_one_recording_and_receipt_never_falls(tmp_path):
    first = recording(tmp_path / "a.frames", [0, 1, 2])
    second = recording(tmp_path / "b.frames", [1.5, 3], first_id=3)
    feed = ReplayFeed([first, second])
    events = without_ticks(run(feed))
    assert ids(events) == [1, 2, 3, 3, 4]
    assert [event.received_ns - START_NS for event in events] == [0, S, 2 * S, 2 * S, 3 * S]
    assert events[3].event_ns == START_NS + 3 * S // 2
    assert feed.position().last_ns == START_NS + 3 * S
    feed.seek(START_NS + 3 * S)
    assert ids(run(feed)) == [4]
    with pytest.raises(FileError, match=r"a\.frames begins before .*b\.frames: give the files"):
        ReplayFeed([second, first])


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf"), 1e-9])
def test_what_is_no_speed_is_refused_and_the_old_one_stays(tmp_path, speed):
    path = recording(tmp_path / "a.frames", [0, 1])
    with pytest.raises(SettingsError, match="speed="):
        ReplayFeed(path, speed)
    feed = ReplayFeed(path, 2.0)
    with pytest.raises(SettingsError, match="speed="):
        feed.set_speed(speed)
    assert feed.position().speed == 2.0


def test_what_cannot_be_replayed_is_refused(tmp_path):
    with pytest.raises(FileError, match="no known form"):
        ReplayFeed(tmp_path / "a.txt")
    with pytest.raises(FileError, match="no file"):
        Recording([], BinanceParser())
    with pytest.raises(SettingsError, match="batch_max"):
        ReplayFeed(recording(tmp_path / "a.frames", [0]), options=ReplayOptions(batch_max=0))
    with pytest.raises(SettingsError, match="silence_s_max"):
        ReplayFeed(tmp_path / "a.frames", options=ReplayOptions(silence_s_max=-1))


def test_a_file_that_went_away_is_an_error_and_not_an_empty_replay(tmp_path):
    path = recording(tmp_path / "a.frames", [0])
    feed = ReplayFeed(path)
    path.unlink()
    with pytest.raises(FileError, match="is not there"):
        run(feed)
