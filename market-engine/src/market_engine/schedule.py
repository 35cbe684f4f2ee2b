"""The ingestion window: at which times live data is taken.

``Schedule`` is pure: the time is handed in. ``load_schedule`` reads
``config/ingestion_schedule.yml``, whose comments say what may stand in it. Must not know feeds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

import yaml

from market_engine.errors import SettingsError
from market_engine.events import SECOND_NS

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WINDOWS_MAX: Final = 100
FILE_BYTES_MAX: Final = 65_536
DAY_MINUTES: Final = 1_440
_HORIZON_DAYS: Final = 16
"""Two weeks, in case that daylight saving skips this week's only window."""
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})")
_KEYS: Final = frozenset({"enabled", "time_zone", "windows"})
_WINDOW_KEYS: Final = frozenset({"days", "from", "to"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """Minutes of the day from which (included) to which (excluded); over midnight if that falls."""

    days: frozenset[int]
    """On which it begins; Monday is 0."""
    from_minute: int
    to_minute: int

    def holds(self, weekday: int, minute: float) -> bool:
        """Whether a clock that shows this is inside."""
        if self.from_minute < self.to_minute:
            return weekday in self.days and self.from_minute <= minute < self.to_minute
        is_evening = weekday in self.days and minute >= self.from_minute
        return is_evening or ((weekday - 1) % 7 in self.days and minute < self.to_minute)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Windows by the clock of a zone; open at all times when ``is_enabled`` is false."""

    is_enabled: bool = False
    zone: tzinfo = UTC
    windows: tuple[Window, ...] = ()

    def is_open(self, now_ns: int) -> bool:
        """Whether live data is taken at a time, in ns since 1970."""
        return not self.is_enabled or self._shows_open(now_ns // SECOND_NS)

    def was_closed(self, from_ns: int, to_ns: int) -> bool:
        """Whether it was closed at some time from one moment to another."""
        change_ns = self.next_change_ns(from_ns)
        return not self.is_open(from_ns) or (change_ns is not None and change_ns <= to_ns)

    def next_change_ns(self, now_ns: int) -> int | None:
        """The first time after ``now_ns`` at which it opens or closes; None if it never does."""
        if not self.is_enabled:
            return None
        now_s = now_ns // SECOND_NS
        is_open = self._shows_open(now_s)
        for at_s in sorted(set(self._edges(now_s))):
            if at_s > now_s and self._shows_open(at_s) != is_open:
                return at_s * SECOND_NS
        return None

    def last_change_ns(self, now_ns: int) -> int | None:
        """The last time up to ``now_ns`` at which it opened or closed; None if it never did."""
        now_s = now_ns // SECOND_NS
        edges = set(self._edges(now_s - (_HORIZON_DAYS - 2) * 86_400)) if self.is_enabled else ()
        for at_s in sorted(edges, reverse=True):
            if at_s <= now_s and self._shows_open(at_s) != self._shows_open(at_s - 1):
                return at_s * SECOND_NS
        return None

    def _shows_open(self, at_s: int) -> bool:
        clock = self._clock(at_s)
        minute = clock.hour * 60 + clock.minute
        return any(window.holds(clock.weekday(), minute) for window in self.windows)

    def _clock(self, at_s: int) -> datetime:
        return (_EPOCH + timedelta(seconds=at_s)).astimezone(self.zone)

    def _edges(self, now_s: int) -> Iterator[int]:
        """Every second at which the answer may change, in no order, over the horizon."""
        minutes = {minute for each in self.windows for minute in (each.from_minute, each.to_minute)}
        today = self._clock(now_s).date()
        for offset in range(-1, _HORIZON_DAYS):
            day = today + timedelta(days=offset)
            for minute in minutes | {0}:
                yield from self._instants(day, minute)
        for day_s in range(now_s, now_s + _HORIZON_DAYS * 86_400, 86_400):
            if self._offset_s(day_s) != self._offset_s(day_s + 86_400):
                yield self._transition(day_s, day_s + 86_400)

    def _instants(self, day: date, minute: int) -> Iterator[int]:
        """When the clock shows a minute of a day: twice where clocks are set back."""
        clock = datetime.combine(day, time()) + timedelta(minutes=minute)
        for fold in (0, 1):
            instant = clock.replace(tzinfo=self.zone, fold=fold).astimezone(UTC)
            yield (instant - _EPOCH) // timedelta(seconds=1)

    def _offset_s(self, at_s: int) -> float:
        offset = self._clock(at_s).utcoffset()
        return offset.total_seconds() if offset else 0.0

    def _transition(self, low: int, high: int) -> int:
        """The first second with the offset of ``high``, found by halving."""
        after = self._offset_s(high)
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset_s(middle) == after:
                high = middle
            else:
                low = middle
        return high


def load_schedule(path: Path) -> Schedule:
    """The schedule of a file; raises SettingsError: one line with file, key and cure."""
    try:
        return _schedule(_read(path))
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


class _Loader(yaml.BaseLoader):
    """Leaves every scalar a text: YAML reads 10:00 as the number 600, and ``no`` as false."""

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001 - PyYAML's signature
    ) -> dict[object, object]:
        """As PyYAML, which takes the last of two same keys in silence."""
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise SettingsError(f"{_shown(key)} stands there twice: leave one of them")
        return super().construct_mapping(node, deep=deep)


def _read(path: Path) -> object:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise SettingsError(f"larger than {FILE_BYTES_MAX:,} bytes: this is no schedule")
        return yaml.load(content.decode(), _Loader)  # noqa: S506 - makes texts only, so safe
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(f"cannot be read ({reason}): name the file of the schedule") from None
    except UnicodeDecodeError:
        raise SettingsError("is not UTF-8: save it as UTF-8") from None
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SettingsError(f"is not YAML ({reason}): mend that line") from None


def _schedule(found: object) -> Schedule:
    if found is None or found in ("", {}):
        raise SettingsError("is empty: write `enabled: false`, or `enabled: true` and windows")
    values = _mapping(found, "the file", _KEYS)
    is_enabled = _flag(values.get("enabled"))
    windows = values.get("windows", [])
    if not isinstance(windows, list) or len(windows) > WINDOWS_MAX:
        raise SettingsError(
            f"windows should be a list of at most {WINDOWS_MAX}: `- from: …` a line"
        )
    if is_enabled and not windows:
        raise SettingsError("windows is empty, so it would never be open: add one, or disable it")
    return Schedule(
        is_enabled,
        _zone(values.get("time_zone", "UTC")),
        tuple(_window(each, f"windows[{place}]") for place, each in enumerate(windows)),
    )


def _mapping(found: object, key: str, known: frozenset[str]) -> dict[str, object]:
    if not isinstance(found, dict):
        raise SettingsError(f"{key} should be keys and values ({', '.join(sorted(known))})")
    for each in found:
        if each not in known:
            raise SettingsError(
                f"{key} has an unknown key {_shown(each)}: use {', '.join(sorted(known))}"
            )
    return found


def _flag(found: object) -> bool:
    if found not in ("true", "false"):
        raise SettingsError(f"enabled is {_shown(found)}: write true or false")
    return found == "true"


def _zone(found: object) -> tzinfo:
    """UTC needs no time zones on the machine."""
    if found == "UTC":
        return UTC
    try:
        return ZoneInfo(str(found))
    except (KeyError, ValueError, OSError):  # not there, a path, or a folder of zones
        pass
    if not available_timezones():
        raise SettingsError(
            f"time_zone is {_shown(found)}, and this machine has no time zones: "
            "install the package tzdata, or write UTC"
        )
    raise SettingsError(
        f"time_zone {_shown(found)} is not known: write an IANA name such as UTC or "
        "Europe/Berlin; a new one may need a newer package tzdata"
    )


def _window(found: object, key: str) -> Window:
    values = _mapping(found, key, _WINDOW_KEYS)
    from_minute = _minute(values.get("from"), f"{key}.from")
    to_minute = _minute(values.get("to"), f"{key}.to")
    if from_minute == DAY_MINUTES:
        raise SettingsError(f"{key}.from is 24:00: write 00:00 and the next day")
    if from_minute == to_minute:
        raise SettingsError(
            f"{key}.from and {key}.to are the same: for a whole day write 00:00 and 24:00"
        )
    return Window(_days(values.get("days", list(DAYS)), f"{key}.days"), from_minute, to_minute)


def _minute(found: object, key: str) -> int:
    match = _CLOCK.fullmatch(found) if isinstance(found, str) and found.isascii() else None
    minute = int(match[1]) * 60 + int(match[2]) if match and int(match[2]) < 60 else -1
    if not 0 <= minute <= DAY_MINUTES:
        raise SettingsError(f"{key} is {_shown(found)}: write HH:MM from 00:00 to 24:00")
    return minute


def _days(found: object, key: str) -> frozenset[int]:
    if not (isinstance(found, list) and found):
        raise SettingsError(
            f"{key} is {_shown(found)}: write a list such as [mon, fri], or no days"
        )
    for day in found:
        if day not in DAYS:
            raise SettingsError(f"{key} has {_shown(day)}: use {', '.join(DAYS)}")
    return frozenset(DAYS.index(day) for day in found)


def _shown(found: object) -> str:
    return "not there" if found is None else repr(found)[:60]
