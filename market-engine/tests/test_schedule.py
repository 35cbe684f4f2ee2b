"""The ingestion window: open when a clock on the wall says so, and clear about wrong settings."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_engine.errors import SettingsError
from market_engine.schedule import DAYS, FILE_BYTES_MAX, Schedule, Window, load_schedule

S = 10**9
SHIPPED = Path(__file__).parents[2] / "config/ingestion_schedule.yml"
WINDOW = 'windows: [{from: "08:00", to: "09:00"}]\n'


def at_ns(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * S


def shown(time_ns: int | None) -> str | None:
    return time_ns and datetime.fromtimestamp(time_ns // S, UTC).isoformat()[:16]


def loaded(tmp_path: Path, text: str | bytes) -> Schedule:
    path = tmp_path / "schedule.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_schedule(path)


def test_the_shipped_schedule_gates_nothing_and_shows_eight_to_nine(tmp_path):
    schedule = load_schedule(SHIPPED)
    assert not schedule.is_enabled
    assert schedule.is_open(at_ns("2026-11-21T03:00"))
    assert schedule.next_change_ns(at_ns("2026-11-21T03:00")) is None
    on = loaded(tmp_path, SHIPPED.read_text().replace("enabled: false", "enabled: true"))
    assert on.zone is UTC
    for text, is_open in (
        ("07:59:59", False),
        ("08:00", True),
        ("08:59:59", True),
        ("09:00", False),
    ):
        assert on.is_open(at_ns(f"2026-11-21T{text}")) is is_open
    assert shown(on.next_change_ns(at_ns("2026-11-21T03:00"))) == "2026-11-21T08:00"
    assert shown(on.next_change_ns(at_ns("2026-11-21T08:00"))) == "2026-11-21T09:00"
    assert shown(on.next_change_ns(at_ns("2026-11-21T09:00"))) == "2026-11-22T08:00"


def test_a_nanosecond_before_it_opens_it_is_closed():
    schedule = Schedule(True, UTC, (Window(frozenset(range(7)), 480, 540),))
    opens_ns = at_ns("2026-11-21T08:00")
    assert not schedule.is_open(opens_ns - 1)
    assert schedule.next_change_ns(opens_ns - 1) == opens_ns
    assert schedule.is_open(opens_ns)


def test_whether_it_was_closed_between_two_moments(tmp_path):
    schedule = loaded(tmp_path, f"enabled: true\n{WINDOW}")
    in_it = at_ns("2026-11-20T08:10"), at_ns("2026-11-20T08:50")
    assert not schedule.was_closed(*in_it)
    assert schedule.was_closed(in_it[0], at_ns("2026-11-21T08:10"))
    assert schedule.was_closed(at_ns("2026-11-20T09:00"), at_ns("2026-11-21T08:10"))
    assert not Schedule().was_closed(in_it[0], at_ns("2026-11-21T08:10"))


def test_when_it_last_opened_or_closed(tmp_path):
    text = "enabled: true\nwindows: [{days: [fri], from: 08:00, to: 09:00}]\n"
    schedule = loaded(tmp_path, text)  # 2026-11-20 is a Friday
    for now, change in (
        ("2026-11-20T08:00", "2026-11-20T08:00"),
        ("2026-11-20T08:30", "2026-11-20T08:00"),
        ("2026-11-20T09:00", "2026-11-20T09:00"),
        ("2026-11-27T07:59", "2026-11-20T09:00"),
    ):
        assert shown(schedule.last_change_ns(at_ns(now))) == change
    assert schedule.last_change_ns(at_ns("2026-11-20T08:00") - 1) == at_ns("2026-11-13T09:00")
    assert Schedule().last_change_ns(at_ns("2026-11-20T08:30")) is None
    always = loaded(tmp_path, 'enabled: true\nwindows: [{from: "00:00", to: "24:00"}]\n')
    assert always.last_change_ns(at_ns("2026-11-20T08:30")) is None


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins(tmp_path):
    text = 'enabled: true\nwindows: [{days: [fri], from: "22:00", to: "02:00"}]\n'
    schedule = loaded(tmp_path, text)
    friday = datetime(2026, 11, 20, tzinfo=UTC)
    open_hours = [
        hour
        for hour in range(-24, 72)
        if schedule.is_open(int((friday + timedelta(hours=hour)).timestamp()) * S)
    ]
    assert open_hours == [22, 23, 24, 25]
    assert shown(schedule.next_change_ns(at_ns("2026-11-20T23:00"))) == "2026-11-21T02:00"


def test_windows_that_overlap_or_touch_are_one(tmp_path):
    text = (
        "enabled: true\nwindows:\n- {from: 08:00, to: 10:00}\n- {from: 09:00, to: 11:00}\n"
        "- {from: 11:00, to: 11:30}\n"
    )
    schedule = loaded(tmp_path, text)
    assert shown(schedule.next_change_ns(at_ns("2026-11-20T08:30"))) == "2026-11-20T11:30"


def test_what_is_always_open_never_changes(tmp_path):
    schedule = loaded(tmp_path, 'enabled: true\nwindows: [{from: "00:00", to: "24:00"}]\n')
    assert schedule.is_open(at_ns("2026-11-20T23:59:59"))
    assert schedule.next_change_ns(at_ns("2026-11-20T08:30")) is None


def test_times_need_no_quotes_though_yaml_would_read_numbers(tmp_path):
    schedule = loaded(tmp_path, "enabled: true\nwindows: [{from: 10:30, to: 12:00}]\n")
    assert schedule.windows[0] == Window(frozenset(range(7)), 630, 720)


@pytest.mark.parametrize(
    ("zone", "now", "opens"),
    [
        ("Europe/Berlin", "2026-03-28T12:00", "2026-03-29T06:00"),  # clocks went forward at night
        ("Europe/Berlin", "2026-03-27T12:00", "2026-03-28T07:00"),
        ("Europe/Berlin", "2026-10-24T12:00", "2026-10-25T07:00"),  # and back
        ("America/New_York", "2026-03-07T20:00", "2026-03-08T12:00"),
        ("Asia/Kolkata", "2026-03-07T20:00", "2026-03-08T02:30"),
    ],
)
def test_a_window_keeps_to_the_clock_on_the_wall_when_clocks_change(tmp_path, zone, now, opens):
    schedule = loaded(tmp_path, f"enabled: true\ntime_zone: {zone}\n{WINDOW}")
    assert shown(schedule.next_change_ns(at_ns(now))) == opens


def test_a_window_in_a_skipped_hour_does_not_come_that_day(tmp_path):
    window = 'windows: [{from: "02:15", to: "02:45"}]'
    schedule = loaded(tmp_path, f"enabled: true\ntime_zone: Europe/Berlin\n{window}\n")
    after = at_ns("2026-03-28T12:00")
    assert shown(schedule.next_change_ns(after)) == "2026-03-30T00:15"


def test_a_window_that_begins_in_a_skipped_hour_begins_after_it(tmp_path):
    window = 'windows: [{from: "02:15", to: "05:00"}]'
    schedule = loaded(tmp_path, f"enabled: true\ntime_zone: Europe/Berlin\n{window}\n")
    assert shown(schedule.next_change_ns(at_ns("2026-03-28T12:00"))) == "2026-03-29T01:00"


def test_a_window_in_an_hour_that_comes_twice_is_open_twice(tmp_path):
    window = 'windows: [{from: "02:15", to: "02:45"}]'
    schedule = loaded(tmp_path, f"enabled: true\ntime_zone: Europe/Berlin\n{window}\n")
    now, changes = at_ns("2026-10-24T12:00"), []
    for _ in range(4):
        now = schedule.next_change_ns(now)
        changes.append(shown(now))
    day = "2026-10-25T0"
    assert changes == [f"{day}0:15", f"{day}0:45", f"{day}1:15", f"{day}1:45"]


CLOCK_CHANGES = [
    ("Europe/Berlin", "2026-03-29T00:00"),
    ("Europe/Berlin", "2026-10-25T00:00"),
    ("America/New_York", "2026-03-08T06:00"),
    ("America/New_York", "2026-11-01T05:00"),
    ("Australia/Lord_Howe", "2026-04-04T14:00"),  # half an hour
    ("Pacific/Apia", "2011-12-30T09:00"),  # a whole day was skipped
    ("America/Havana", "2026-03-08T04:00"),  # at midnight
    ("UTC", "2026-11-21T00:00"),
]
WINDOWS = st.builds(
    Window,
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(0, 95).map(lambda quarter: quarter * 15),
    st.integers(0, 96).map(lambda quarter: quarter * 15),
).filter(lambda window: window.from_minute != window.to_minute)


@settings(max_examples=60)
@given(
    st.sampled_from(CLOCK_CHANGES),
    st.lists(WINDOWS, min_size=1, max_size=3),
    st.integers(-30, 30),
)
def test_over_clock_changes_it_agrees_with_a_clock_looked_at_each_quarter(change, windows, hours):
    zone_name, around = change
    zone = ZoneInfo(zone_name)
    schedule = Schedule(True, zone, tuple(windows))
    now_s = at_ns(around) // S + hours * 3_600

    def says(at_s: int) -> bool:
        clock = datetime.fromtimestamp(at_s, zone)
        today, yesterday = clock.weekday(), (clock.weekday() - 1) % 7
        minute = clock.hour * 60 + clock.minute
        for each in windows:
            end = each.to_minute + 1_440 * (each.to_minute < each.from_minute)
            if today in each.days and each.from_minute <= minute < end:
                return True
            if yesterday in each.days and minute + 1_440 < end:
                return True
        return False

    change_s = None
    for at_s in range(now_s, now_s + 3 * 86_400, 900):
        assert schedule.is_open(at_s * S) is says(at_s)
        if change_s is None and says(at_s) is not says(now_s):
            change_s = at_s
    found_ns = schedule.next_change_ns(now_s * S)
    if found_ns is not None:
        assert schedule.last_change_ns(found_ns) == found_ns
        assert schedule.last_change_ns(found_ns - 1) != found_ns
    if change_s is not None:
        assert found_ns == change_s * S
    else:
        assert found_ns is None or found_ns > (now_s + 3 * 86_400 - 900) * S


WRONG = [
    ("", "is empty"),
    ("# nothing\n", "is empty"),
    ("{}", "is empty"),
    ("8", "the file should be keys and values"),
    ("- a\n- b\n", "the file should be keys and values"),
    ("enabled: true\n  windows: [\n", "is not YAML"),
    ("enabled: !!python/object:os.system x\n", "enabled is "),
    (b"enabled: \xff\n", "is not UTF-8"),
    (b"enabled: \x00\n", "is not YAML"),
    ("x" * (FILE_BYTES_MAX + 1), "larger than"),
    ("enabled: true\nwindow: []\n", "unknown key 'window': use enabled, time_zone, windows"),
    ("enabled: true\nenabled: false\n", "'enabled' stands there twice"),
    ("windows: []\n", "enabled is not there: write true or false"),
    ("enabled: yes\n", "enabled is 'yes': write true or false"),
    ("enabled: [true]\n", "enabled is"),
    ("enabled: true\n", "windows is empty"),
    ("enabled: true\nwindows: []\n", "windows is empty"),
    ("enabled: true\nwindows: 08:00-09:00\n", "windows should be a list"),
    ("enabled: true\nwindows: [08:00]\n", r"windows\[0\] should be keys and values"),
    ("enabled: true\nwindows: [{from: 08:00}]\n", r"windows\[0\].to is not there: write HH:MM"),
    ("enabled: true\nwindows: [{from: 8, to: 09:00}]\n", r"windows\[0\].from is '8'"),
    ("enabled: true\nwindows: [{from: 08:60, to: 09:00}]\n", r"windows\[0\].from is '08:60'"),
    ("enabled: true\nwindows: [{from: 08:00, to: 24:01}]\n", r"windows\[0\].to is '24:01'"),
    (
        "enabled: true\nwindows: [{from: \u0660\u0668:\u0660\u0660, to: 24:00}]\n",
        r"windows\[0\].from is",
    ),
    ("enabled: true\nwindows: [{from: [1], to: 24:00}]\n", r"windows\[0\].from is"),
    ("enabled: true\nwindows: [{from: 24:00, to: 09:00}]\n", "write 00:00 and the next day"),
    ("enabled: true\nwindows: [{from: 09:00, to: 09:00}]\n", "are the same"),
    (f"enabled: true\n{WINDOW[:-3]}, days: [monday]}}]\n", r"days has 'monday': use mon, tue"),
    (f"enabled: true\n{WINDOW[:-3]}, days: [[mon]]}}]\n", r"windows\[0\].days has"),
    (f"enabled: true\n{WINDOW[:-3]}, days: mon}}]\n", r"windows\[0\].days is 'mon'"),
    (f"enabled: true\n{WINDOW[:-3]}, days: []}}]\n", r"windows\[0\].days is \[\]"),
    (f"enabled: true\n{WINDOW[:-3]}, day: [mon]}}]\n", r"windows\[0\] has an unknown key 'day'"),
    (f"enabled: true\ntime_zone: Mars/Olympus\n{WINDOW}", "time_zone 'Mars/Olympus' is not known"),
    (f"enabled: true\ntime_zone: Europe\n{WINDOW}", "time_zone 'Europe' is not known"),
    (f"enabled: true\ntime_zone: ../../etc/passwd\n{WINDOW}", "is not known"),
    (f"enabled: true\ntime_zone:\n{WINDOW}", "time_zone '' is not known"),
    (f"enabled: true\ntime_zone: [UTC]\n{WINDOW}", "is not known"),
    ("a: &a [*a]\n", "is not YAML"),
    ("[" * 3_000, "is not YAML"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_is_wrong_is_told_in_one_line_with_file_key_and_cure(tmp_path, text, message):
    with pytest.raises(SettingsError, match=message) as caught:
        loaded(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'schedule.yml'}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["none.yml", "."])
def test_a_schedule_that_cannot_be_read_is_told(tmp_path, name):
    with pytest.raises(SettingsError, match=r"cannot be read .*: name the file"):
        load_schedule(tmp_path / name)


@settings(max_examples=150)
@given(st.text(max_size=80) | st.binary(max_size=80))
def test_no_content_breaks_anything_but_the_settings(tmp_path_factory, content):
    message = ""
    try:
        loaded(tmp_path_factory.mktemp("any"), content)
    except SettingsError as error:
        message = str(error)
    assert "\n" not in message


WITHOUT_ZONES = """
import sys
sys.modules["tzdata"] = None
from pathlib import Path
from market_engine.schedule import load_schedule
print(load_schedule(Path(sys.argv[1])).is_open(0))
try:
    load_schedule(Path(sys.argv[2]))
except ValueError as error:
    print(error)
"""


def test_utc_works_on_a_machine_without_time_zones_and_others_name_the_cure(tmp_path):
    utc, berlin = tmp_path / "utc.yml", tmp_path / "berlin.yml"
    utc.write_text(f"enabled: true\ntime_zone: UTC\n{WINDOW}")
    berlin.write_text(f"enabled: true\ntime_zone: Europe/Berlin\n{WINDOW}")
    child = subprocess.run(
        [sys.executable, "-c", WITHOUT_ZONES, str(utc), str(berlin)],
        env=os.environ | {"PYTHONTZPATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    first, second = child.stdout.splitlines()
    assert first == "False"
    assert "time_zone is 'Europe/Berlin'" in second
    assert "install the package tzdata, or write UTC" in second


def test_the_days_are_those_of_the_calendar():
    assert [DAYS[datetime(2026, 11, day, tzinfo=UTC).weekday()] for day in (16, 22)] == [
        "mon",
        "sun",
    ]
