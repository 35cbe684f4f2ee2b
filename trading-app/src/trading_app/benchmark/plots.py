"""The plots of the report, drawn once in Vega-Lite and kept as SVG.

Colours are CSS variables of the page, so that one drawing serves both themes and paper. Each plot
is about as wide as a phone. It must know no page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import altair as alt
import vl_convert

from trading_app.benchmark.curves import Curve
from trading_app.benchmark.results import Moment, Peer
from trading_app.benchmark.wording import times

BARE_SEND: Final = "bare send"
_WIDTH_PX: Final = 300
_HEIGHT_PX: Final = 290
_STRIP_PX: Final = 34
_PEER_PX: Final = 40
_LEFT_PX: Final = 46
_RIGHT_PX: Final = 62
_TEXT_PX: Final = 12
_POINTS_MAX: Final = 12
"""Up to so many moments are points, too, so that nobody takes a line between two for measured."""
_VERSION: Final = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
_AXIS: Final = {
    "domain": False, "ticks": False, "titleFontWeight": "normal", "titleFontSize": _TEXT_PX,
    "labelFontSize": _TEXT_PX, "labelColor": "var(--muted)", "titleColor": "var(--muted)",
    "gridColor": "var(--line)", "labelPadding": 6, "titlePadding": 6,
}  # fmt: skip
_CONFIG: Final = {
    "font": "system-ui, sans-serif", "aria": False, "axis": _AXIS, "concat": {"spacing": 8},
    "text": {"fontSize": _TEXT_PX}, "view": {"stroke": None, "continuousWidth": _WIDTH_PX},
}  # fmt: skip
_FRAME: Final = {
    "background": "transparent",
    "padding": {"left": 0, "right": 0, "top": 6, "bottom": 0},
}
_GREY: Final = {"color": "var(--muted)", "opacity": 0.3, "strokeWidth": 1}
_STYLES: Final[dict[str, dict[str, Any]]] = {
    "response": {"strokeDash": [5, 3]},
    BARE_SEND: {"color": "var(--muted)", "strokeWidth": 1.5},
}
_NAME_COLOUR: Final = alt.condition(
    alt.datum.name == BARE_SEND, alt.value("var(--muted)"), alt.value("var(--neutral)")
)
_SAY_NS: Final = (
    "datum.value < 1e3 ? datum.value + ' ns' : datum.value < 1e6 ? datum.value / 1e3 + ' µs' : "
    "datum.value < 1e9 ? datum.value / 1e6 + ' ms' : datum.value / 1e9 + ' s'"
)
_SAY_PERCENTILE: Final = "datum.value == 1 ? '0' : toString(100 - 100 / datum.value)"
_SAY_COUNT: Final = "replace(format(datum.value, ',~r'), regexp(',', 'g'), '\u202f')"
_SAY_TIMES: Final = "datum.value + ' ×'"

Rows = list[dict[str, Any]]
Drawn = alt.Chart | alt.LayerChart | alt.FacetChart | alt.VConcatChart


@dataclass(frozen=True, slots=True)
class Axes:
    """What all latency plots of a report share, so that they can be compared by eye."""

    least_ns: int
    most_ns: int
    one_in_max: float

    @classmethod
    def around(cls, curves: Iterable[Curve], moments: Iterable[Moment]) -> Axes:
        """Take in every value, up to whole powers of ten."""
        points = [point for curve in curves for point in curve]
        values = [point.ns for point in points]
        values += [max(1, ns) for m in moments for ns in (m.p50_ns, m.p99_ns, m.max_ns)]
        least, most = min(values, default=1_000), max(values, default=1_000)
        low = math.floor(math.log10(least))
        return cls(
            least_ns=10**low,
            most_ns=10 ** max(low + 1, math.ceil(math.log10(most))),
            one_in_max=max((point.one_in for point in points), default=100.0),
        )


def percentiles(lines: Mapping[str, Curve], others: Sequence[Curve], axes: Axes) -> str:
    """Draw a workload's curves by name, over those of the others in grey."""
    x, y = _one_in(axes), _latency(axes)
    layers = [_line(_points(curve), x, y, _GREY) for curve in others]
    for name, curve in lines.items():
        layers.append(_line(_points(curve), x, y, _STYLES.get(name, {})))
    ends = {name: curve[-1] for name, curve in lines.items()}
    places = _apart({name: end.ns for name, end in ends.items()}, axes)
    names = [{"name": name, "x": ends[name].one_in, "y": ns} for name, ns in places.items()]
    return _svg(_named(alt.layer(*layers), _names(names, x, y)).properties(height=_HEIGHT_PX))


def over_time(moments: Sequence[Moment], axes: Axes) -> str:
    """Draw p50, p99 and maximum of each moment, and below them how much was offered."""
    x, y = _seconds(moments, labels=False), _latency(axes)
    points = {"color": "var(--neutral-mark)", "size": 14} if len(moments) <= _POINTS_MAX else False
    layers, ends = [], {}
    for name, width in {"p50": 3, "p99": 2, "max": 1}.items():
        values = [max(1, getattr(moment, f"{name}_ns")) for moment in moments]
        rows = [{"x": m.at_s, "y": ns} for m, ns in zip(moments, values, strict=True)]
        layers.append(_line(rows, x, y, {"strokeWidth": width, "point": points}))
        ends[name] = values[-1]
    places = _apart(ends, axes)
    names = [{"name": name, "x": moments[-1].at_s, "y": ns} for name, ns in places.items()]
    upper = _named(alt.layer(*layers), _names(names, x, y)).properties(height=_HEIGHT_PX)
    return _svg(alt.vconcat(upper, _offered(moments)))


def peers(found: Sequence[Peer]) -> str:
    """Draw how many times as long as a publish each takes: a bar, and a line over its rounds."""
    rows: Rows = [
        {
            "key": peer.name, "name": peer.title, "x": median(peer.ratios),
            "low": min(peer.ratios), "high": max(peer.ratios), "end": max(*peer.ratios, 1.0),
            "says": times(median(peer.ratios)),
        }
        for peer in found
    ]  # fmt: skip
    x = _ratio(rows)
    base = alt.Chart(_data(rows)).encode(y=alt.Y("key:N", sort=None, axis=None))
    bars = base.mark_bar(height=9, yOffset=8, color="var(--neutral-mark)").encode(
        x=x, x2=alt.datum(1)
    )
    spread = base.mark_rule(yOffset=8, y2Offset=8, color="var(--text)", strokeWidth=1.5).encode(
        x=alt.X("low:Q"), x2="high:Q"
    )
    names = base.mark_text(align="left", yOffset=-6, color="var(--text)").encode(
        x=alt.value(0), text="name:N"
    )
    says = base.mark_text(align="left", dx=6, yOffset=8, color="var(--text)").encode(
        x=alt.X("end:Q"), text="says:N"
    )
    one = alt.Chart(_data([{"x": 1}])).mark_rule(color="var(--muted)").encode(x=x)
    drawn = alt.layer(one, bars, spread, names, says)
    return _svg(drawn.properties(height=_PEER_PX * len(rows), width=_WIDTH_PX + _LEFT_PX))


def _offered(moments: Sequence[Moment]) -> Drawn:
    most = _round_up(max(1.0, *(moment.offered_per_s for moment in moments)))
    axis = alt.Axis(values=[0, most], labelExpr=_SAY_COUNT, minExtent=_LEFT_PX, maxExtent=_LEFT_PX)
    y = alt.Y("y:Q", axis=axis, scale=alt.Scale(domain=[0, most], nice=False), title=None)
    x = _seconds(moments, labels=True)
    rows = [{"x": moment.at_s, "y": moment.offered_per_s} for moment in moments]
    area = alt.Chart(_data(rows)).mark_area(color="var(--neutral-mark)", opacity=0.35)
    names = _names([{"name": "offered/s", "x": moments[-1].at_s, "y": most / 2}], x, y)
    return _named(area.encode(x=x, y=y), names).properties(height=_STRIP_PX)


def _round_up(value: float) -> float:
    """To two digits: an axis ends where people count."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / step) * step, 6)


def _line(rows: Rows, x: alt.X, y: alt.Y, style: Mapping[str, Any]) -> alt.Chart:
    styled: dict[str, Any] = {"color": "var(--neutral-mark)", "strokeWidth": 2.5} | dict(style)
    drawn: alt.Chart = alt.Chart(_data(rows)).mark_line(**styled).encode(x=x, y=y, order="x:Q")
    return drawn


def _names(rows: Rows, x: alt.X, y: alt.Y) -> alt.Chart:
    """Write names at the right, each beside the end of what it names, in place of a legend."""
    beside = y.copy()
    beside["axis"] = alt.Axis(orient="right", values=[], minExtent=_RIGHT_PX, maxExtent=_RIGHT_PX)
    drawn: alt.Chart = (
        alt.Chart(_data(rows))
        .mark_text(align="left", dx=5)
        .encode(x=x, y=beside, text="name:N", color=_NAME_COLOUR)
    )
    return drawn


def _named(drawn: Drawn, names: alt.Chart) -> Drawn:
    """Lay names over a drawing; each of the two has its own side for an axis."""
    laid: Drawn = alt.layer(drawn, names).resolve_axis(y="independent")
    return laid


def _apart(ends: Mapping[str, int], axes: Axes) -> dict[str, float]:
    """Place names near the ends of their lines, a line of text apart, and within the plot."""
    low, high = math.log10(axes.least_ns), math.log10(axes.most_ns)
    step = (high - low) * (_TEXT_PX + 2) / _HEIGHT_PX
    places: dict[str, float] = {}
    place = low - step
    for name, ns in sorted(ends.items(), key=lambda end: end[1]):
        place = places[name] = max(math.log10(ns), place + step)
    for name in reversed(places):
        high = places[name] = min(places[name], high)
        high -= step
    return {name: 10**place for name, place in places.items()}


def _points(curve: Curve) -> Rows:
    return [{"x": round(point.one_in, 4), "y": point.ns} for point in curve]


def _one_in(axes: Axes) -> alt.X:
    decades = range(math.floor(math.log10(axes.one_in_max) + 1e-9) + 1)
    axis = alt.Axis(values=[10**n for n in decades], labelExpr=_SAY_PERCENTILE, labelFlush=False)
    scale = alt.Scale(type="log", domain=[1, max(10, axes.one_in_max)], nice=False)
    return alt.X("x:Q", axis=axis, scale=scale, title="percentile")


def _latency(axes: Axes) -> alt.Y:
    low, high = round(math.log10(axes.least_ns)), round(math.log10(axes.most_ns))
    axis = alt.Axis(
        values=[10**n for n in range(low, high + 1)],
        labelExpr=_SAY_NS,
        minExtent=_LEFT_PX,
        maxExtent=_LEFT_PX,
    )
    scale = alt.Scale(type="log", domain=[axes.least_ns, axes.most_ns], nice=False)
    return alt.Y("y:Q", axis=axis, scale=scale, title=None)


def _seconds(moments: Sequence[Moment], *, labels: bool) -> alt.X:
    first_s, last_s = moments[0].at_s, max(moment.at_s for moment in moments)
    axis = alt.Axis(labels=labels, tickCount=5, grid=True, labelFlush=False)
    scale = alt.Scale(domain=[min(first_s, 0.0), last_s or 1.0], nice=False)
    return alt.X("x:Q", axis=axis, scale=scale, title="seconds" if labels else None)


def _ratio(rows: Rows) -> alt.X:
    low = min(1.0, *(row["low"] for row in rows)) / 1.15
    high = max(2.0, *(row["end"] for row in rows)) * 1.9  # room for the figure beside the bar
    steps = (1, 2, 5) if high / low < 60 else (1,)
    ticks = [round(step * 10.0**n, 6) for n in range(-4, 7) for step in steps]
    axis = alt.Axis(values=[t for t in ticks if low <= t <= high], labelExpr=_SAY_TIMES)
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    return alt.X("x:Q", axis=axis, scale=scale, title="times as long as a publish")


def _data(rows: Rows) -> alt.InlineData:
    return alt.InlineData(values=rows)


def _svg(drawn: Drawn) -> str:
    spec = drawn.to_dict() | _FRAME | {"config": _CONFIG}
    svg: str = vl_convert.vegalite_to_svg(spec, vl_version=_VERSION)
    return svg
