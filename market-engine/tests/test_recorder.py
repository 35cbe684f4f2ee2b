"""The recorder: what it is handed can be replayed, and no disk can hold the feed back."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from market_engine.errors import SettingsError
from market_engine.events import Rejected, Trade
from market_engine.feeds.frames import FramesFile
from market_engine.feeds.recorder import FRAME_BYTES_MAX, Recorder, RecorderOptions
from market_engine.feeds.replay import ReplayFeed

S = 10**9
START_NS = 1_700_000_000 * S + 123_456_789
FAST = RecorderOptions(flush_s=0.01)


def until(holds) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def read(folder: Path) -> list[tuple[int, bytes]]:
    """Every frame of a folder, file by file in the order of their names; none may be bad."""
    found = []
    for path in sorted(folder.glob("*.frames")):
        items = list(FramesFile(path).frames())
        assert not [item for item in items if isinstance(item, Rejected)]
        found += items
    return found


def accounted(recorder: Recorder) -> int:
    stats = recorder.stats()
    return stats.frames_recorded + stats.frames_not_recorded + stats.frames_waiting


def test_what_is_recorded_is_read_back_to_the_byte_and_the_nanosecond(tmp_path):
    recorder = Recorder(tmp_path / "new/folder", "binance", "wss://venue.example/x", FAST)
    frames = [(START_NS + n * 7, b'{"n":%d}' % n) for n in range(5_000)]
    for received_ns, frame in frames:
        recorder.record(frame, received_ns)
    recorder.record('{"text":"é"}', START_NS + S)
    recorder.close()
    assert read(tmp_path / "new/folder") == [*frames, (START_NS + S, '{"text":"é"}'.encode())]
    stats = recorder.stats()
    assert (stats.frames_recorded, stats.frames_waiting, stats.frames_not_recorded) == (5_001, 0, 0)
    assert stats.bytes_written == stats.path.stat().st_size
    assert (stats.files, stats.failures, stats.problem) == (1, 0, None)
    file = FramesFile(stats.path)
    assert (file.address, file.connected_at_ns) == ("wss://venue.example/x", START_NS)
    assert stats.path.name == "binance-20231114T221320.123456789Z.frames"


def test_a_recording_replays_as_the_events_that_the_live_parser_made(tmp_path):
    recorder = Recorder(tmp_path, "binance", "wss://venue.example/ws/btcusdt@aggTrade", FAST)
    text = '{"e":"aggTrade","s":"BTCUSDT","a":%d,"p":"1.5","q":"2","T":1700000000000,"m":false}'
    for n in range(100):
        recorder.record(text % n, START_NS + n)
    recorder.close()
    events = []
    feed = ReplayFeed(recorder.stats().path)
    feed.run(events.extend)
    assert [event.trade_id for event in events if isinstance(event, Trade)] == list(range(100))
    assert [event.received_ns for event in events] == [START_NS + n for n in range(100)]
    assert feed.symbols == ("BTCUSDT",)


def test_line_breaks_in_a_frame_do_not_break_the_recording(tmp_path):
    recorder = Recorder(tmp_path, "venue", "two\nlines", FAST)
    recorder.record(b'{\r\n  "a": 1\n}\n', START_NS)
    recorder.record(b"{}", START_NS + 1)
    recorder.close()
    assert read(tmp_path) == [(START_NS, b'{    "a": 1 } '), (START_NS + 1, b"{}")]
    assert FramesFile(recorder.stats().path).address == "two lines"


def test_a_time_that_falls_is_raised_so_that_every_frame_can_be_read(tmp_path):
    recorder = Recorder(tmp_path, "venue", options=FAST)
    for offset in (5, 3, 6):
        recorder.record(b"{}", START_NS + offset)
    recorder.close()
    assert [at - START_NS for at, _ in read(tmp_path)] == [5, 5, 6]


def test_files_are_rotated_by_size_and_read_in_the_order_of_their_names(tmp_path):
    options = RecorderOptions(flush_s=0.01, file_bytes_max=10_000)
    recorder = Recorder(tmp_path, "venue", options=options)
    frames = [(START_NS + n * 10**6, b'{"n":%d,"x":"%s"}' % (n, b"y" * 90)) for n in range(1_000)]
    for received_ns, frame in frames:
        recorder.record(frame, received_ns)
    recorder.close()
    assert read(tmp_path) == frames
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == recorder.stats().files > 10
    assert max(sizes) < 10_200
    assert sum(sizes) == recorder.stats().bytes_written


def test_a_new_file_begins_with_each_day(tmp_path):
    recorder = Recorder(tmp_path, "venue", options=FAST)
    midnight_ns = 1_700_006_400 * S
    for at_ns in (midnight_ns - 1, midnight_ns, midnight_ns + 1, midnight_ns + 86_400 * S):
        recorder.record(b"{}", at_ns)
    recorder.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "venue-20231114T235959.999999999Z.frames",
        "venue-20231115T000000.000000000Z.frames",
        "venue-20231116T000000.000000000Z.frames",
    ]


def test_recorders_that_share_a_folder_never_share_a_file(tmp_path):
    recorders = [Recorder(tmp_path, "venue", options=FAST) for _ in range(4)]
    for n in range(500):
        for which, recorder in enumerate(recorders):
            recorder.record(b'{"w":%d,"n":%d}' % (which, n), START_NS + n)
    for recorder in recorders:
        recorder.close()
    paths = {recorder.stats().path for recorder in recorders}
    assert len(paths) == 4
    for which, recorder in enumerate(recorders):
        frames = [frame for _, frame in FramesFile(recorder.stats().path).frames()]
        assert frames == [b'{"w":%d,"n":%d}' % (which, n) for n in range(500)]


def test_many_threads_may_record_at_once(tmp_path):
    recorder = Recorder(tmp_path, "venue", options=FAST)

    def work(which: int) -> None:
        for n in range(1_000):
            recorder.record(b'{"w":%d,"n":%d}' % (which, n), START_NS + n)

    threads = [threading.Thread(target=work, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.close()
    frames = [frame for _, frame in read(tmp_path)]
    assert len(frames) == len(set(frames)) == 4_000
    for which in range(4):
        own = [frame for frame in frames if frame.startswith(b'{"w":%d,' % which)]
        assert own == [b'{"w":%d,"n":%d}' % (which, n) for n in range(1_000)]


def test_a_folder_that_cannot_be_written_is_counted_and_the_feed_goes_on(tmp_path):
    blocked = tmp_path / "recordings"
    blocked.write_text("a file, where a folder should be")
    options = RecorderOptions(flush_s=0.01, buffer_bytes_max=10_000)
    recorder = Recorder(blocked, "venue", options=options)
    for n in range(1_000):
        recorder.record(b'{"n":%d}' % n, START_NS + n)
    until(lambda: recorder.stats().failures > 3)
    stats = recorder.stats()
    assert stats.problem
    assert stats.frames_recorded == 0
    assert 50 < stats.frames_waiting < 100
    assert stats.frames_waiting + stats.frames_not_recorded == 1_000
    blocked.unlink()
    until(lambda: recorder.stats().problem is None)
    recorder.record(b"{}", START_NS + S)
    recorder.close()
    after = recorder.stats()
    assert len(read(blocked)) == after.frames_recorded == stats.frames_waiting + 1
    assert accounted(recorder) == 1_001


def test_the_last_of_a_disk_is_left_free(tmp_path):
    options = RecorderOptions(flush_s=0.01, free_bytes_min=1 << 62)
    recorder = Recorder(tmp_path, "venue", options=options)
    recorder.record(b"{}", START_NS)
    until(lambda: recorder.stats().problem)
    assert "have to stay free" in recorder.stats().problem
    recorder.close()
    assert recorder.stats().frames_not_recorded == 1
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, sys, time
from pathlib import Path
from market_engine.feeds.recorder import Recorder, RecorderOptions
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
recorder = Recorder(Path(sys.argv[1]), "venue", options=RecorderOptions(flush_s=0.01))
for n in range(3_000):
    recorder.record(b'{"n":%d,"x":"%s"}' % (n, b"y" * 60), 1_700_000_000 * 10**9 + n)
while not recorder.stats().problem:
    time.sleep(0.002)
assert 0 < recorder.stats().frames_recorded < 3_000
if sys.argv[2] == "mend":
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
recorder.close()
stats = recorder.stats()
print(stats.frames_recorded, stats.frames_not_recorded, stats.failures > 0)
"""


@pytest.mark.parametrize("end", ["mend", "stay"])
def test_a_write_that_the_disk_took_in_part_is_neither_torn_nor_written_twice(tmp_path, end):
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), end],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    recorded, lost, failed = child.stdout.split()[-3:]
    assert failed == "True"
    assert int(recorded) + int(lost) == 3_000
    (path,) = tmp_path.iterdir()
    frames = [item for item in FramesFile(path).frames() if not isinstance(item, Rejected)]
    assert [at - 1_700_000_000 * S for at, _ in frames] == list(range(int(recorded)))
    assert (int(lost) == 0) == (end == "mend")


KILLED = """
import sys, time
from pathlib import Path
from market_engine.feeds.recorder import Recorder, RecorderOptions
recorder = Recorder(Path(sys.argv[1]), "venue", options=RecorderOptions(flush_s=0.005))
n = 0
while True:
    recorder.record(b'{"n":%d,"x":"%s"}' % (n, b"y" * 200), time.time_ns())
    n += 1
    if n % 50 == 0:
        print(recorder.stats().frames_recorded, flush=True)
        time.sleep(0.001)
"""


def test_a_recorder_killed_at_any_moment_leaves_all_that_it_said_to_have_recorded(tmp_path):
    for round_ in range(3):
        folder = tmp_path / str(round_)
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, text=True
        )
        said = 0
        while said < 500 * (round_ + 1):
            said = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest = child.communicate(timeout=20)[0].split()
        said = max([said, *map(int, rest[:-1])])
        (path,) = folder.iterdir()
        items = list(FramesFile(path).frames())
        bad = [item for item in items if isinstance(item, Rejected)]
        assert len(bad) <= 1
        assert items[-1] in bad or not bad
        assert len(items) - len(bad) >= said


def test_a_file_that_somebody_took_away_is_followed_by_a_new_one(tmp_path):
    recorder = Recorder(tmp_path, "venue", options=FAST)
    recorder.record(b"{}", START_NS)
    until(lambda: recorder.stats().frames_recorded == 1)
    recorder.stats().path.unlink()
    recorder.record(b"{}", START_NS + 1)
    recorder.close()
    assert read(tmp_path) == [(START_NS + 1, b"{}")]


@pytest.mark.parametrize(
    ("frame", "received_ns"),
    [(b"x" * (FRAME_BYTES_MAX + 1), START_NS), (b"{}", 0), (b"{}", -1), (b"{}", 2**63)],
)
def test_what_no_reader_would_take_is_not_recorded_and_counted(tmp_path, frame, received_ns):
    recorder = Recorder(tmp_path, "venue", options=FAST)
    recorder.record(frame, received_ns)
    recorder.record(b"x" * FRAME_BYTES_MAX, START_NS)
    recorder.close()
    recorder.close()
    recorder.record(b"{}", START_NS)
    stats = recorder.stats()
    assert (stats.frames_recorded, stats.frames_not_recorded) == (1, 2)
    assert [len(frame) for _, frame in read(tmp_path)] == [FRAME_BYTES_MAX]


@pytest.mark.parametrize("venue", ["", "../up", "a/b", "A", "x" * 33])
def test_a_venue_that_is_no_name_is_refused(tmp_path, venue):
    with pytest.raises(SettingsError, match="venue="):
        Recorder(tmp_path, venue)


def test_recording_a_frame_is_cheap(tmp_path):
    options = RecorderOptions(buffer_bytes_max=1 << 30)
    recorder = Recorder(tmp_path, "venue", options=options)
    frame, record = b"x" * 200, recorder.record
    best_s = 1.0
    for _ in range(10):
        started_s = time.perf_counter()
        for n in range(2_000):
            record(frame, START_NS + n)
        best_s = min(best_s, time.perf_counter() - started_s)
    recorder.close()
    print(f"record: {best_s / 2_000 * 1e6:.2f} us")
    assert best_s / 2_000 < 10e-6  # 2 us are the aim; machines that run tests are busy
    assert recorder.stats().frames_not_recorded == 0
