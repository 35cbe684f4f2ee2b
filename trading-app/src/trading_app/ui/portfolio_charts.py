"""The charts of the Portfolio page: equity, and its drawdown below it, in Vega-Lite. Pure.

A drawing depends on the theme alone: the axes, too, come from the data, so that the page updates it
in place. The axes grow in steps, so that they hold still from one second to the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, Literal

import altair as alt

from trading_app import palette
from trading_app.formats import UNKNOWN, moment, utc
from trading_app.paper_answers import EquityHistory, PortfolioNow
from trading_app.paper_formats import money
from trading_app.ui.chart import ceiling

Spec = dict[str, Any]
EQUITY_PX: Final = 220
DRAWDOWN_PX: Final = 80
POINTS_MAX: Final = 600
_KEPT_OF_EACH: Final = 4
GAP_MS: Final = 180_000
"""Snapshots are a minute apart: so long without one, nobody knows what was."""
WHOLE_MAX: Final = 1_000
"""With more than so many the engine may have left some out: then they are further apart."""
TICKS: Final = 4
STEPS: Final = 8
"""In how many steps an axis grows: many, so that the line fills it."""
TIMES: Final = {
    "milliseconds": "%H:%M:%S",
    "seconds": "%H:%M:%S",
    "minutes": "%H:%M",
    "hours": "%H:%M",
    "day": "%d %b",
    "date": "%d %b",
    "week": "%d %b",
    "month": "%b %Y",
    "quarter": "%b %Y",
    "year": "%Y",
}
_LEFT_PX: Final = 72
_GROUPS: Final = "replace(datum.label, regexp(',', 'g'), '\u202f')"
_PADDING: Final = {"left": 0, "right": 12, "top": 6, "bottom": 2}


@dataclass(frozen=True, slots=True)
class Point:
    """The equity at a moment, and how far it stood below its peak: a fraction, 0 or less.

    None is not known: there the line breaks.
    """

    at_ms: int
    equity: Decimal | None
    drawdown: float | None


@dataclass(frozen=True, slots=True)
class Curve:
    """What is drawn, oldest first; ``start`` is what the portfolio began with."""

    points: Sequence[Point]
    start: Decimal | None


@dataclass(frozen=True, slots=True)
class Look:
    """What a drawing depends on besides its data."""

    theme: Literal["light", "dark"]

    def shade(self, shades: palette.Shades) -> str:
        """Choose the colour for the theme."""
        return shades.dark if self.theme == "dark" else shades.light


def curve(history: EquityHistory | None, now: PortfolioNow | None) -> Curve:
    """Take the snapshots and the moment itself, at most so many; unknown where there are none."""
    snapshots = history.snapshots if history else ()
    found = [Point(each.at_ms, each.equity, each.drawdown) for each in snapshots]
    if now and now.now_ms and (not found or now.now_ms > found[-1].at_ms):
        found.append(Point(now.now_ms, now.equity, _below(now.equity, now.peak)))
    return Curve(_thinned(_with_gaps(found)), now.portfolio.balance if now else None)


def _below(equity: Decimal | None, peak: Decimal | None) -> float | None:
    return min(0.0, float(equity / peak) - 1) if equity is not None and peak else None


def _with_gaps(points: Sequence[Point]) -> Sequence[Point]:
    """Put what is not known between points that are too far apart: nobody looked there."""
    most_ms = GAP_MS
    if len(points) > WHOLE_MAX:
        apart = sorted(after.at_ms - before.at_ms for before, after in pairwise(points))
        most_ms = max(GAP_MS, 4 * apart[len(apart) * 19 // 20])
    found: list[Point] = []
    for point in points:
        if found and point.at_ms - found[-1].at_ms > most_ms:
            found.append(Point(found[-1].at_ms + 1, None, None))
        found.append(point)
    return found


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """Of each so many keep the extremes and what breaks the line, and of all the ends."""
    if len(points) <= POINTS_MAX:
        return points
    size = math.ceil(len(points) / ((POINTS_MAX - 2) // _KEPT_OF_EACH))
    kept = {0, len(points) - 1}
    for start in range(0, len(points), size):
        kept |= _telling(points, range(start, min(start + size, len(points))))
    return [points[place] for place in sorted(kept)]


def _telling(points: Sequence[Point], places: range) -> set[int]:
    """Find the lowest, the highest and the deepest of some places, and the first unknown one."""
    equities = [(float(e), n) for n in places if (e := points[n].equity) is not None]
    depths = [(depth, n) for n in places if (depth := points[n].drawdown) is not None]
    unknown = [n for n in places if points[n].equity is None][:1]
    found = {min(equities)[1], max(equities)[1]} if equities else set()
    return found | ({min(depths)[1]} if depths else set()) | set(unknown)


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Find the ends of an axis that holds the values: multiples of a 1-2-5 step."""
    low, high = min(values), max(values)
    spread = max(high - low, abs(high) * 1e-6, 1e-6)
    exact = spread / STEPS
    power = 10.0 ** math.floor(math.log10(exact))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= exact)
    return math.floor(low / step) * step, math.ceil(high / step) * step


def equity_chart(look: Look, shown: Curve, zone: tzinfo) -> Spec:
    """Draw the equity, and as a dashed line what the portfolio began with."""
    values: list[float | None] = [_number(point.equity) for point in shown.points]
    known = [value for value in (*values, _number(shown.start)) if value is not None]
    low, high = limits(known)
    first_ms, last_ms = shown.points[0].at_ms, shown.points[-1].at_ms
    start = low if shown.start is None else float(shown.start)
    data = {
        "line": [{"t": p.at_ms, "v": value} for p, value in zip(shown.points, values, strict=True)],
        "start": [{"t": first_ms, "t2": last_ms, "v": start}],
        "tips": _tips(shown.points, zone),
        "corners": [{"t": first_ms, "v": low}, {"t": last_ms, "v": high}],
    }
    return _equity(look) | {"datasets": data}


def drawdown_chart(look: Look, shown: Curve) -> Spec:
    """Draw how far equity stood below its peak, in %."""
    rows = [{"t": point.at_ms, "v": _percent(point.drawdown)} for point in shown.points]
    depths = [-100 * point.drawdown for point in shown.points if point.drawdown is not None]
    most = ceiling(max(depths, default=0.0), least=0.01)
    corners = [{"t": rows[0]["t"], "v": -most}, {"t": rows[-1]["t"], "v": 0.0}]
    return _drawdown(look) | {"datasets": {"area": rows, "corners": corners}}


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def _tips(points: Sequence[Point], zone: tzinfo) -> list[Spec]:
    """Answer the mouse from each point to the next."""
    now_s = points[-1].at_ms / 1000
    return [
        {
            "t": before.at_ms,
            "t2": after.at_ms,
            "time": moment(after.at_ms / 1000, zone, now_s),
            "utc": utc(after.at_ms / 1000),
            "equity": money(after.equity),
            "below": UNKNOWN if after.drawdown is None else f"{abs(100 * after.drawdown):.2f} %",
        }
        for before, after in pairwise(points)
    ]


@lru_cache(maxsize=4)
def _equity(look: Look) -> Spec:
    line = (
        alt.Chart(alt.NamedData("line"))
        .mark_line(color=palette.NEUTRAL_MARK, strokeWidth=1.8, tooltip=None)
        .encode(x="t:T", y=_plain())
    )
    start = (
        alt.Chart(alt.NamedData("start"))
        .mark_rule(color=look.shade(palette.MUTED), strokeDash=[3, 3], tooltip=None)
        .encode(x="t:T", x2="t2:T", y=_plain())
    )
    names = {"time": "time", "utc": "UTC", "equity": "equity", "below": "below the peak"}
    said = [alt.Tooltip(f"{field}:N", title=title) for field, title in names.items()]
    tips = (
        alt.Chart(alt.NamedData("tips"))
        .mark_rect(opacity=0)
        .encode(x="t:T", x2="t2:T", tooltip=said)
    )
    text = (
        "The equity of the portfolio over time; the dashed line is what it began with. The figures "
        "are in the line below."
    )
    layers = (_corners(look, TICKS, with_times=False), start, line, tips)
    return _finished(layers, text, EQUITY_PX)


@lru_cache(maxsize=4)
def _drawdown(look: Look) -> Spec:
    area = (
        alt.Chart(alt.NamedData("area"))
        .mark_area(
            color=palette.SELL_MARK,
            opacity=0.35,
            line={"color": palette.SELL_MARK, "strokeWidth": 1.2},
            tooltip=None,
        )
        .encode(x="t:T", y=_plain(), y2=alt.datum(0))
    )
    text = "How far the equity stood below its peak so far, in percent, at the same times."
    return _finished((_corners(look, 2, with_times=True), area), text, DRAWDOWN_PX)


def _finished(layers: Sequence[alt.Chart], text: str, height_px: int) -> Spec:
    spec: Spec = alt.layer(*layers).resolve_axis(y="independent").to_dict()
    return spec | {
        "height": height_px,
        "description": text,
        "background": "transparent",
        "padding": _PADDING,
    }


def _corners(look: Look, ticks: int, *, with_times: bool) -> alt.Chart:
    """Hold the ends of both axes, without being seen."""
    label, grid = look.shade(palette.MUTED), look.shade(palette.LINE)
    time = alt.Axis(
        tickCount=6,
        format=TIMES,
        labels=with_times,
        labelFlush=True,
        labelOverlap=True,
        labelColor=label,
        gridColor=grid,
        ticks=False,
        domain=False,
    )
    left = alt.Axis(
        tickCount=ticks,
        labelExpr=_GROUPS,
        minExtent=_LEFT_PX,
        maxExtent=_LEFT_PX,
        labelPadding=6,
        labelColor=label,
        gridColor=grid,
        ticks=False,
        domain=False,
    )
    scale = alt.Scale(nice=False, padding=0)
    drawn: alt.Chart = (
        alt.Chart(alt.NamedData("corners"))
        .mark_point(opacity=0, size=0, tooltip=None)
        .encode(
            x=alt.X("t:T", axis=time, scale=scale, title=None),
            y=alt.Y("v:Q", axis=left, scale=alt.Scale(zero=False, nice=False), title=None),
        )
    )
    return drawn


def _plain() -> alt.Y:
    """Place by the value; the one axis that is seen is that of the corners."""
    return alt.Y("v:Q", axis=None, scale=alt.Scale(zero=False, nice=False), title=None)
