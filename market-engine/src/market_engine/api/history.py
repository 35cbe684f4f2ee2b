"""Charts: one-second points of short windows, closed bars of long ones, few enough to be drawn.

Bars are merged by powers of two, on a grid that does not move with time, so that a chart that is
asked for again has the same bars. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from market_engine.analytics.averages import AverageValues
from market_engine.analytics.bars import Bar
from market_engine.analytics.symbol import SymbolMetrics
from market_engine.api.shapes import Shape, text_of
from market_engine.bar_rows import bar_of
from market_engine.decimals import NANO
from market_engine.events import MS_NS, SECOND_NS
from market_engine.storage.market_store import MarketStore
from market_engine.view import SymbolView

WINDOWS_S: Final = {"5m": 300, "15m": 900, "1h": 3_600, "6h": 21_600, "24h": 86_400, "7d": 604_800}
POINT_WINDOW_S_MAX: Final = 900
"""Up to this window the chart is of one-second points."""
MINUTE_S: Final = 60


class Point(msgspec.Struct, frozen=True, gc=False):
    """One bar of a chart, of whatever length; prices and quantities in billionths."""

    at_ns: int
    open_nano: int
    high_nano: int
    low_nano: int
    close_nano: int
    volume_nano: int | None
    notional: int | None
    trades: int | None
    vwap: float | None
    averages: AverageValues | None
    session_vwap: float | None
    is_complete: bool


def history_shape(
    view: SymbolView, store: MarketStore | None, window: str, points: int, now_ns: int
) -> Shape:
    """The chart of a window that ends now; ``store`` None where nothing is stored of it.

    Raises StorageError.
    """
    span_s = 1 if WINDOWS_S[window] <= POINT_WINDOW_S_MAX else MINUTE_S
    from_ns = now_ns - WINDOWS_S[window] * SECOND_NS
    if span_s == 1:
        found = [_of_metrics(each) for each in tuple(view.points) if each.as_of_ns > from_ns]
    else:
        found = _bars(view, store, from_ns - from_ns % (MINUTE_S * SECOND_NS))
    factor, merged = _fewer(found, span_s * SECOND_NS, points)
    return {
        "symbol": view.symbol,
        "window": window,
        "span_s": span_s * factor,
        "bars": [_shape(point) for point in merged],
    }


def bar_shape(bar: Bar, metrics: SymbolMetrics) -> Shape:
    """One closed bar."""
    return _shape(_of_bar(bar, metrics))


def _bars(view: SymbolView, store: MarketStore | None, from_ns: int) -> list[Point]:
    """From memory, and what is older from the store."""
    kept = tuple(view.bars)
    newer = [_of_bar(each.bar, each.metrics) for each in kept if each.bar.start_ns >= from_ns]
    if store is None or (kept and kept[0].bar.start_ns <= from_ns):
        return newer
    until = {"to_ns": newer[0].at_ns} if newer else {}
    rows = store.bars(view.venue, view.symbol, MINUTE_S, from_ns, **until)
    return [_of_bar(*bar_of(row)) for row in rows] + newer


def _of_metrics(metrics: SymbolMetrics) -> Point:
    price_nano = metrics.price_nano
    minute = metrics.windows[0] if metrics.windows else None
    return Point(
        metrics.as_of_ns,
        price_nano,
        price_nano,
        price_nano,
        price_nano,
        None,
        None,
        None,
        minute.vwap if minute else None,
        metrics.averages,
        metrics.session_vwap,
        minute.complete if minute else False,
    )


def _of_bar(bar: Bar, metrics: SymbolMetrics) -> Point:
    return Point(
        bar.start_ns,
        bar.open_nano,
        bar.high_nano,
        bar.low_nano,
        bar.close_nano,
        bar.volume_nano,
        bar.notional,
        bar.trades,
        _vwap(bar.notional, bar.volume_nano),
        bar.averages,
        metrics.session_vwap,
        any(
            window.complete and window.window_s * SECOND_NS == bar.span_ns
            for window in metrics.windows
        ),
    )


def _vwap(notional: int | None, volume_nano: int | None) -> float | None:
    """None where nothing was traded, and for a venue's candles, which do not say."""
    return notional / (volume_nano * NANO) if notional and volume_nano else None


def _fewer(found: Sequence[Point], span_ns: int, points: int) -> tuple[int, list[Point]]:
    """At most ``points`` (2 or more) bars, by merging 2, 4, 8 … neighbours; and how many."""
    factor = 1
    while len({point.at_ns // (span_ns * factor) for point in found}) > points:
        factor *= 2
    if factor == 1:
        return 1, list(found)
    groups: dict[int, list[Point]] = {}
    for point in found:
        groups.setdefault(point.at_ns // (span_ns * factor), []).append(point)
    return factor, [
        _merged(number * span_ns * factor, group, factor) for number, group in groups.items()
    ]


def _merged(at_ns: int, group: Sequence[Point], factor: int) -> Point:
    """Where the first and the last are as in the order of time."""
    first, last = group[0], group[-1]
    volume_nano = _sum(point.volume_nano for point in group)
    notional = _sum(point.notional for point in group)
    return Point(
        at_ns,
        first.open_nano,
        max(point.high_nano for point in group),
        min(point.low_nano for point in group),
        last.close_nano,
        volume_nano,
        notional,
        _sum(point.trades for point in group),
        last.vwap if volume_nano is None else _vwap(notional, volume_nano),
        last.averages,
        last.session_vwap,
        # bars follow one another, points are told when something happened: none is missing there
        (volume_nano is None or len(group) == factor) and all(point.is_complete for point in group),
    )


def _sum(values: Iterable[int | None]) -> int | None:
    """None where one of them is not known."""
    known = list(values)
    return None if None in known else sum(value or 0 for value in known)


def _shape(point: Point) -> Shape:
    averages = point.averages
    return {
        "t_ms": point.at_ns // MS_NS,
        "open": text_of(point.open_nano),
        "high": text_of(point.high_nano),
        "low": text_of(point.low_nano),
        "close": text_of(point.close_nano),
        "volume": text_of(point.volume_nano),
        "trades": point.trades,
        "vwap": point.vwap,
        "sma": averages.sma if averages else None,
        "ema_fast": averages.ema_fast if averages else None,
        "ema_slow": averages.ema_slow if averages else None,
        "volume_z": averages.volume_z if averages else None,
        "session_vwap": point.session_vwap,
        "complete": point.is_complete,
    }
