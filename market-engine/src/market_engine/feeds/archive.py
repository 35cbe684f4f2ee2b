"""Binance's public archive: CSV of trades, aggTrades and klines, plain, ``.gz`` or ``.zip``.

Rows come as they stand: duplicates and gaps are for who reads to count. Times are in ms before 2025
and in us from then on, told by their digits, row by row. Must not know of pace or of the bus.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Final, Literal, get_args

from market_engine.decimals import to_nano
from market_engine.errors import FileError, RejectedError, RejectReason
from market_engine.events import MS_NS, US_NS, Candle, Rejected, Side, Trade
from market_engine.feeds.jumps import JUMP_DETAIL, Jumps
from market_engine.feeds.lines import Flaw, LineFile

ArchiveKind = Literal["trades", "aggTrades", "klines"]
ArchiveEvent = Trade | Candle | Rejected
_Row = tuple[int, bytes | Flaw, Trade | Candle | RejectedError]
"""The number of a line counted from where the reading began, the line, and what it is."""

SNIFF_LINES_MAX: Final = 100
"""So many lines are looked at to tell the kind; then it has to be said."""
_NAME: Final = re.compile(
    r"(?:^|[-_])(?P<symbol>[A-Z0-9]{2,20})-(?P<kind>trades|aggTrades|\d+(?:s|m|h|d|w|mo))-\d{4}"
)
_SIDES: Final[dict[str, Side]] = {"true": "sell", "True": "sell", "false": "buy", "False": "buy"}
"""Of the aggressor, by whether the buyer was the maker."""
_MS_MIN: Final = 1_230_768_000_000  # 2009-01-01
_MS_MAX: Final = 4_102_444_800_000  # 2100-01-01
_SPAN_NS_MAX: Final = 31 * 86_400 * 10**9
_RAW_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class ArchiveOptions:
    """What names and rows of archive files cannot tell."""

    symbol: str | None = None
    kind: ArchiveKind | None = None
    venue: str = "binance"
    """Of trades it is this with ``-trades``: their ids are another series than those of the
    aggregated ones, which a live feed brings."""


class ArchiveFile:
    """One file of the archive.

    ``symbol`` and ``kind`` are told from the file's name and its rows, unless they are given.
    Raises FileError when the file cannot be read, or when name and rows do not tell them.
    """

    def __init__(
        self,
        path: Path,
        *,
        symbol: str | None = None,
        kind: ArchiveKind | None = None,
        venue: str = "binance",
    ) -> None:
        self._lines = LineFile(path)
        self.path = path
        self.is_plain = self._lines.is_plain
        """Not compressed: reading can begin at any time."""
        self.size = self._lines.size
        """Bytes on the disk."""
        named = _NAME.search(path.name)
        self.kind = kind or self._told_kind(_kind_named(named["kind"]) if named else None)
        if symbol is None and named is None:
            raise FileError(f"{path} does not name its symbol, as BTCUSDT-trades-…: say --symbol")
        self.symbol = symbol or (named["symbol"] if named else "")
        self.venue = f"{venue}-trades" if self.kind == "trades" else venue
        self._read_row = _READERS[self.kind]

    def rows(self, from_ns: int = 0) -> Iterator[ArchiveEvent]:
        """Every row from a time on, in the order of the file, with ``received_ns`` the event's.

        A candle was received when it closed: nobody knew it before. A bad row, and one whose time
        is ahead of both its neighbours by more than an hour, is a Rejected that names its line,
        with the time of the row before it; the reading goes on.
        """
        offset = self._lines.place(0, from_ns, self._time_of) if from_ns else 0
        last_ns, lines_before, is_wanted = from_ns, 0 if not offset else -1, not from_ns
        for number, line, event in self._judged(offset):
            if isinstance(event, RejectedError):
                if is_wanted and not (number == 1 and not offset and _is_header(line)):
                    if lines_before < 0:
                        lines_before = self._lines.lines_before(offset)
                    yield self._rejected(event, line, lines_before + number, last_ns)
            elif is_wanted or event.received_ns >= from_ns:
                is_wanted, last_ns = True, event.received_ns
                yield event

    @cached_property
    def first_ns(self) -> int:
        """The time of the first good row; raises FileError when there is none."""
        for event in self.rows():
            if not isinstance(event, Rejected):
                return event.received_ns
        raise FileError(
            f"{self.path} holds no row of {self.kind}: say another kind=, or fetch anew"
        )

    @cached_property
    def last_ns(self) -> int:
        """The highest time near the end; what is compressed is read through for it."""
        return max(self.first_ns, self._lines.last_ns(0, self._time_of) or 0)

    def _judged(self, offset: int) -> Iterator[_Row]:
        """Every row from an offset on, or what is wrong with it."""
        jumps: Jumps[_Row] = Jumps()
        newest_ns = 0
        for number, line in enumerate(self._lines.read(offset), 1):
            try:
                event = self._event(line)
            except RejectedError as error:
                yield from _sound(jumps.follow((number, line, error)))
                continue
            if event is None:
                continue
            at_ns = event.received_ns
            if at_ns <= jumps.limit_ns:
                newest_ns = max(newest_ns, at_ns)
                yield number, line, event
                continue
            for row in _sound(jumps.take(at_ns, newest_ns, (number, line, event))):
                if not isinstance(row[2], RejectedError):
                    newest_ns = max(newest_ns, row[2].received_ns)
                yield row
        yield from _sound(jumps.rest())

    def _event(self, line: bytes | Flaw) -> Trade | Candle | None:
        """None for a blank line; raises RejectedError."""
        if isinstance(line, Flaw):
            raise RejectedError(line.reason, line.detail)
        try:
            cells = line.decode("ascii").rstrip().split(",")
        except UnicodeDecodeError:
            raise RejectedError(RejectReason.MALFORMED, "it is not ASCII") from None
        if len(cells) == 1 and not cells[0]:
            return None
        try:
            return self._read_row(self, cells)
        except IndexError:
            detail = f"{len(cells)} columns are too few for {self.kind}"
            raise RejectedError(RejectReason.MALFORMED, detail) from None

    def _time_of(self, line: bytes) -> int | None:
        try:
            event = self._event(line)
        except RejectedError:
            return None
        return event.received_ns if event else None

    def _rejected(
        self, error: RejectedError, line: bytes | Flaw, number: int, last_ns: int
    ) -> Rejected:
        raw = line.raw if isinstance(line, Flaw) else line
        text = raw[:_RAW_MAX].decode(errors="replace").rstrip()
        detail = f"{self.path.name[:80]}, line {number:,}: {error.detail}"[:200]
        return Rejected(error.reason, detail, last_ns, self.symbol, text)

    def _told_kind(self, named: ArchiveKind | None) -> ArchiveKind:
        """From the rows, and from the name where they say nothing; the two must not contradict."""
        lines = islice(self._lines.read(), SNIFF_LINES_MAX)
        found = {kind for line in lines if (kind := _kind_of(line)) is not None}
        kinds = found or ({named} if named else set())
        if len(kinds) == 1 and (named is None or kinds == {named}):
            return kinds.pop()
        told = f"rows look like {' and '.join(sorted(found)) or 'none of'}, name like {named}"
        one_of = ", ".join(get_args(ArchiveKind))
        raise FileError(
            f"{self.path}, line 1 and on: the kind is not clear ({told}): "
            f"have its name say one of {one_of}"
        )


def read_archive(
    paths: Sequence[Path], *, symbol: str | None = None, kind: ArchiveKind | None = None
) -> Iterator[ArchiveEvent]:
    """Every row of several files, in the order given; all of them are looked at before the first.

    Raises FileError as ``ArchiveFile`` does.
    """
    files = [ArchiveFile(path, symbol=symbol, kind=kind) for path in paths]
    return (event for file in files for event in file.rows())


def _sound(judged: list[tuple[_Row, bool]]) -> Iterator[_Row]:
    for row, is_wrong in judged:
        yield (*row[:2], RejectedError(RejectReason.TIME, JUMP_DETAIL)) if is_wrong else row


def _trade(file: ArchiveFile, cells: list[str]) -> Trade:
    return _trade_at(file, cells, 4)


def _aggregate_trade(file: ArchiveFile, cells: list[str]) -> Trade:
    return _trade_at(file, cells, 5)


def _trade_at(file: ArchiveFile, cells: list[str], time_column: int) -> Trade:
    side = _SIDES.get(cells[time_column + 1])
    if side is None:
        detail = f"{cells[time_column + 1][:20]!r} is not True or False"
        raise RejectedError(RejectReason.SIDE, detail, file.symbol)
    event_ns, resolution_ns = _time(cells[time_column])
    return Trade(
        file.venue,
        file.symbol,
        _above_0(cells[1], RejectReason.PRICE),
        _above_0(cells[2], RejectReason.QTY),
        side,
        _whole(cells[0], RejectReason.TRADE_ID),
        event_ns,
        event_ns,
        resolution_ns,
    )


def _candle(file: ArchiveFile, cells: list[str]) -> Candle:
    open_ns, resolution_ns = _time(cells[0])
    close_ns, close_resolution_ns = _time(cells[6])
    span_ns = close_ns + resolution_ns - open_ns  # the archive names the last instant inside
    if close_resolution_ns != resolution_ns or not 0 < span_ns <= _SPAN_NS_MAX:
        raise RejectedError(RejectReason.TIME, "the close is no close of it")
    open_, high, low, close = (_above_0(cell, RejectReason.PRICE) for cell in cells[1:5])
    if not low <= min(open_, close) <= max(open_, close) <= high:
        raise RejectedError(RejectReason.PRICE, "the prices contradict")
    return Candle(
        venue=file.venue,
        symbol=file.symbol,
        open_ns=open_ns,
        span_ns=span_ns,
        open_nano=open_,
        high_nano=high,
        low_nano=low,
        close_nano=close,
        volume_nano=_nano(cells[5], RejectReason.QTY),
        trades=_whole(cells[8], RejectReason.MALFORMED),
        received_ns=open_ns + span_ns,
        resolution_ns=resolution_ns,
    )


_READERS: Final[dict[ArchiveKind, Callable[[ArchiveFile, list[str]], Trade | Candle]]] = {
    "trades": _trade,
    "aggTrades": _aggregate_trade,
    "klines": _candle,
}


def _time(text: str) -> tuple[int, int]:
    """A time in ns, and what it was counted in, which its size tells."""
    time = _whole(text, RejectReason.TIME)
    for resolution_ns in (MS_NS, US_NS, 1):
        scale = MS_NS // resolution_ns
        if _MS_MIN * scale <= time < _MS_MAX * scale:
            return time * resolution_ns, resolution_ns
    raise RejectedError(RejectReason.TIME, f"{time} is no time from 2009 to 2100 in ms, us or ns")


def _whole(text: str, reason: RejectReason) -> int:
    if not (text.isdecimal() and len(text) <= 19):
        raise RejectedError(reason, f"{text[:40]!r} is not a whole number")
    return int(text)


def _nano(text: str, reason: RejectReason) -> int:
    try:
        return to_nano(text)
    except ValueError as error:
        raise RejectedError(reason, str(error)) from None


def _above_0(text: str, reason: RejectReason) -> int:
    nano = _nano(text, reason)
    if not nano:
        raise RejectedError(reason, "it is 0")
    return nano


def _kind_named(text: str) -> ArchiveKind:
    return "trades" if text == "trades" else "aggTrades" if text == "aggTrades" else "klines"


def _kind_of(line: bytes | Flaw) -> ArchiveKind | None:
    """By where the time and the truth values stand; spot and futures differ in the columns' end."""
    if isinstance(line, Flaw):
        return None
    cells = line.decode("ascii", errors="replace").rstrip().split(",")
    if len(cells) == 12 and cells[0].isdecimal() and cells[6].isdecimal():
        return "klines"
    if len(cells) in {6, 7} and cells[4].isdecimal() and cells[5] in _SIDES:
        return "trades"
    if len(cells) in {7, 8} and cells[5].isdecimal() and cells[6] in _SIDES:
        return "aggTrades"
    return None


def _is_header(line: bytes | Flaw) -> bool:
    """The archive has none as a rule; some of its files do."""
    first = b"" if isinstance(line, Flaw) else line.removeprefix(b"\xef\xbb\xbf").split(b",")[0]
    return first[:1].isalpha()
