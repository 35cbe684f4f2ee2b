"""What the Market page's charts draw: bars into rows of a bounded size, and steady axes. Pure.

An axis grows in steps, so that it holds still from one second to the next. Times are in ms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from itertools import pairwise
from typing import Any, Final

from trading_app.formats import UNKNOWN, clock, known, number, utc
from trading_app.market_answers import Bar, History

Rows = list[dict[str, Any]]
POINTS_MAX: Final = 300
CANDLES_MAX: Final = 100
STEPS: Final = 60
"""The time axis moves on by a sixtieth of its length."""
OVERLAYS: Final = {
    "VWAP": "vwap",
    "session VWAP": "session_vwap",
    "SMA": "sma",
    "EMA fast": "ema_fast",
    "EMA slow": "ema_slow",
}
"""What may be drawn over the price: its name, and its field in a bar."""
SHORT: Final = {"session VWAP": "session", "EMA fast": "fast", "EMA slow": "slow"}
"""The names that are too long to stand beside their lines."""
_HOLE_S_MIN: Final = 20.0
_NAME_PX: Final = 14


@dataclass(frozen=True, slots=True)
class Axes:
    """Where the drawing ends, in time and in price."""

    from_ms: float
    to_ms: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Candle:
    """A bar whose prices are known."""

    t_ms: int
    open: float
    high: float
    low: float
    close: float
    bar: Bar


@dataclass(frozen=True, slots=True)
class Series:
    """Bars of one symbol within a window that ends at ``axes.to_ms``, oldest first."""

    bars: Sequence[Candle]
    span_ms: float
    axes: Axes
    overlays: Sequence[str]
    last: tuple[float, float] | None
    """The newest price and its time, when it is newer than the bars."""


def series(
    history: History,
    window_s: int,
    market_ms: float,
    overlays: Sequence[str] = (),
    last: tuple[float, float] | None = None,
) -> Series:
    """Choose the bars that fall into the window, and the axes that hold them."""
    span_ms = history.span_s * 1000
    newest_ms = history.bars[-1].t_ms + span_ms if history.bars else 0.0
    candles = [candle for bar in history.bars if (candle := _candle(bar))]
    step_ms = window_s * 1000 / STEPS
    to_ms = math.ceil(max(market_ms, newest_ms) / step_ms) * step_ms
    from_ms = to_ms - window_s * 1000
    bars = [bar for bar in candles if bar.t_ms >= from_ms][-POINTS_MAX:]
    if last and not (bars and bars[-1].t_ms < last[0] <= to_ms):
        last = None
    low, high = price_axis(_prices(bars, overlays, last))
    return Series(bars, span_ms, Axes(from_ms, to_ms, low, high), tuple(overlays), last)


def _candle(bar: Bar) -> Candle | None:
    if bar.open is None or bar.high is None or bar.low is None or bar.close is None:
        return None
    return Candle(bar.t_ms, bar.open, bar.high, bar.low, bar.close, bar)


def _prices(
    bars: Sequence[Candle], overlays: Sequence[str], last: tuple[float, float] | None
) -> Iterable[float]:
    for bar in bars:
        yield bar.low
        yield bar.high
        for name in overlays:
            if (value := getattr(bar.bar, OVERLAYS[name])) is not None:
                yield value
    if last:
        yield last[1]


def price_axis(prices: Iterable[float]) -> tuple[float, float]:
    """Find ends in whole steps of 1, 2 or 5, about five of which hold all prices."""
    found = list(prices)
    if not found:
        return 0.0, 1.0
    low, high = min(found), max(found)
    least = max(abs(high) * 1e-5, 1e-9)  # a price that does not move is a line in the middle
    step = round_up(max(high - low, least) / 5)
    bottom, top = math.floor(low / step), math.ceil(high / step)
    if bottom == top:
        bottom, top = bottom - 1, top + 1
    return bottom * step, top * step


def round_up(value: float) -> float:
    """Find the next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next((n * power for n in (1, 2, 5) if value <= n * power * (1 + 1e-9)), 10 * power)


def line_rows(shown: Series) -> Rows:
    """Make the line of closes, at the end of each bar; broken where nothing is known."""
    rows: Rows = []
    for before, bar in pairwise([None, *shown.bars]):
        if bar is None:
            continue
        if before is not None and _hole(shown, before, bar):
            rows.append({"t": float(before.t_ms + 2 * shown.span_ms), "p": None})
        rows.append({"t": float(_end(shown, bar)), "p": bar.close})
    if shown.last:
        rows.append({"t": max(shown.last[0], rows[-1]["t"]), "p": shown.last[1]})
    return rows


def _end(shown: Series, bar: Candle) -> float:
    return min(bar.t_ms + shown.span_ms, shown.axes.to_ms)


def _hole(shown: Series, before: Candle, after: Candle) -> bool:
    """Whether bars are missing between two, and not only seconds in which nobody traded."""
    apart_ms = after.t_ms - before.t_ms
    return apart_ms > max(2.5 * shown.span_ms, _HOLE_S_MIN * 1000)


def candle_rows(shown: Series) -> Rows:
    """Make a candle for each bar, somewhat narrower than its time."""
    inset_ms = shown.span_ms * 0.15
    return [
        {
            "t": bar.t_ms + inset_ms,
            "t2": _end(shown, bar) - inset_ms,
            "mid": (bar.t_ms + _end(shown, bar)) / 2,
            "p": bar.open,
            "p2": bar.close,
            "low": bar.low,
            "high": bar.high,
            "way": "up" if bar.close >= bar.open else "down",
        }
        for bar in shown.bars
    ]


def overlay_rows(shown: Series) -> Rows:
    """Make the lines that were chosen; one that is not defined is broken there."""
    return [
        {"t": float(_end(shown, bar)), "p": getattr(bar.bar, OVERLAYS[name]), "name": name}
        for name in shown.overlays
        for bar in shown.bars
    ]


def name_rows(shown: Series, height_px: int) -> Rows:
    """Place each line's name beside its end, apart from each other by a line of text."""
    ends: dict[str, float] = {}
    if shown.bars:
        ends["price"] = shown.last[1] if shown.last else shown.bars[-1].close
    for name in shown.overlays:
        values = [getattr(bar.bar, OVERLAYS[name]) for bar in shown.bars]
        if values and values[-1] is not None:
            ends[name] = values[-1]
    apart = (shown.axes.high - shown.axes.low) * _NAME_PX / height_px
    rows: Rows = []
    place = -math.inf
    for name, value in sorted(ends.items(), key=lambda end: end[1]):
        place = max(value, place + apart)
        rows.append(
            {"t": shown.axes.to_ms, "p": place, "name": name, "text": SHORT.get(name, name)}
        )
    over = place - shown.axes.high
    return [row | {"p": row["p"] - max(0.0, over)} for row in rows]


def volume_rows(shown: Series) -> Rows:
    """Make the volume of each bar that knows it."""
    return [
        {"t": float(bar.t_ms), "t2": float(_end(shown, bar)), "v": bar.bar.volume}
        for bar in shown.bars
        if bar.bar.volume is not None
    ]


def unseen_rows(shown: Series) -> Rows:
    """Give the parts of the window, up to now, that nobody watched, or not to their end.

    The seconds between two bars in which nobody traded are as the bar before them.
    """
    rows: Rows = []
    before: Candle | None = None
    for bar in shown.bars:
        hole = before is None or _hole(shown, before, bar)
        since_ms = shown.axes.from_ms if before is None else _end(shown, before)
        if hole and bar.t_ms > since_ms:
            rows.append({"t": since_ms, "t2": float(bar.t_ms)})
        if _partial(bar):
            joins = before is not None and not hole and _partial(before)
            rows.append({"t": since_ms if joins else float(bar.t_ms), "t2": _end(shown, bar)})
        before = bar
    return _joined(rows)


def _partial(bar: Candle) -> bool:
    """Whether a closed bar was not watched to its end; points of a second are no bars."""
    return not bar.bar.complete and bar.bar.volume is not None


def _joined(rows: Rows) -> Rows:
    found: Rows = []
    for row in rows:
        if found and row["t"] <= found[-1]["t2"]:
            found[-1]["t2"] = row["t2"]
        else:
            found.append(row)
    return found


def tip_rows(shown: Series, zone: tzinfo, decimals: int) -> Rows:
    """Make what the mouse shows above each bar: the zone's time and UTC, and the figures."""
    return [
        {
            "t": float(bar.t_ms),
            "t2": float(_end(shown, bar)),
            "time": clock(bar.t_ms / 1000, zone),
            "utc": utc(bar.t_ms / 1000).replace(".000 UTC", " UTC"),
            "open": number(bar.open, decimals),
            "high": number(bar.high, decimals),
            "low": number(bar.low, decimals),
            "close": number(bar.close, decimals),
            "volume": UNKNOWN if bar.bar.volume is None else f"{bar.bar.volume:.6g}",
            "trades": known(bar.bar.trades),
            "vwap": known(bar.bar.vwap, decimals),
            "complete": "yes" if bar.bar.complete else "no",
        }
        for bar in shown.bars
    ]
