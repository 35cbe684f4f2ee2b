"""The charts of the Live page: tracks over one axis of time, drawn in Vega-Lite. Pure.

Time in which nobody saw the sidecar work is shaded in every track; no trade there is not a 0. Only
the named data change from one second to the next, so a drawing is updated in place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import altair as alt

from trading_app import palette
from trading_app.flow import Flow, Span
from trading_app.ui.chart import ceiling

Spec = dict[str, Any]
Rows = list[Spec]
PERCENTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
SPANS_MAX: Final = 300
_AGE_S_MIN: Final = 0.0004
_AGE_TOPS_S: Final = (0.1, 1.0, 10.0, 100.0)
_TEXT_PX: Final = 12
_LEFT_PX: Final = 44
_RIGHT_PX: Final = 40
_PADDING: Final = {"left": 0, "right": 0, "top": 4, "bottom": 2}


@dataclass(frozen=True, slots=True)
class Frame:
    """What a drawing depends on besides its data; ``span_s`` is the length of its axis."""

    span_s: int
    bin_s: int
    theme: Literal["light", "dark"]
    height_px: int
    with_times: bool = False

    def shade(self, shades: palette.Shades) -> str:
        """Choose the colour for the theme."""
        return shades.dark if self.theme == "dark" else shades.light


@dataclass(frozen=True, slots=True)
class Window:
    """What all tracks share: now, the axis' right end, when the receiver was seen, its starts."""

    now_s: float
    end_s: float
    spans: Sequence[Span]
    starts_s: Sequence[float]


def by_side(frame: Frame, window: Window, rates: Sequence[tuple[float | None, ...]]) -> Spec:
    """Draw the rate of buys above the line and of sells below it, in one pair for each bin."""
    top = ceiling(max((rate or 0 for pair in rates for rate in pair), default=0), least=1)
    rows = [
        {"from": end_s - frame.bin_s, "to": end_s, "rate": sign * rate, "side": side}
        for end_s, pair in zip(_ends(frame, len(rates)), rates, strict=True)
        for side, sign, rate in zip(("buys", "sells"), (1, -1), pair, strict=True)
        if rate is not None
    ]
    names = [{"side": "buys", "rate": top / 2}, {"side": "sells", "rate": -top / 2}]
    return _filled(_by_side(frame, top), frame, window, rates=rows, names=names)


def event_age(frame: Frame, window: Window, flows: Sequence[Flow]) -> Spec:
    """Draw the percentiles of the event age, a point for each bin in which trades came."""
    lines = {name: [flow.age_s(q) for flow in flows] for name, q in PERCENTILES.items()}
    most_s = max((age_s for line in lines.values() for age_s in line if age_s), default=0.0)
    top_s = next((top for top in _AGE_TOPS_S if most_s <= top), _AGE_TOPS_S[-1])
    rows = [
        {"at": end_s - frame.bin_s / 2, "age": age_s, "name": name}
        for name, line in lines.items()
        for end_s, age_s in zip(_ends(frame, len(flows)), line, strict=True)
    ]
    names = _names(lines, top_s, frame.height_px)
    return _filled(_event_age(frame, top_s), frame, window, ages=rows, names=names)


def receiver(frame: Frame, window: Window, word: str) -> Spec:
    """Draw when the receiver was live or stalled; ``word`` says what it is now."""
    names = [{"name": word, "height": 0.5}]
    states = _states(frame, window)
    return _filled(_receiver(frame), frame, window, states=states, names=names)


def _ends(frame: Frame, count: int) -> range:
    return range((1 - count) * frame.bin_s, 1, frame.bin_s)


def _filled(drawn: Spec, frame: Frame, window: Window, **data: Rows) -> Spec:
    """Give a drawing its data, and what every track has: unseen time and starts."""
    starts = (at_s - window.end_s for at_s in window.starts_s)
    shared = {
        "unseen": _unseen(frame, window),
        "starts": [{"at": at_s} for at_s in starts if at_s > -frame.span_s],
    }
    return {**drawn, "datasets": data | shared}


def _states(frame: Frame, window: Window) -> Rows:
    """Make a row for each span; one of stalling is half as high as one of working."""
    seen = [span for span in window.spans if span.to_s - window.end_s > -frame.span_s]
    return [
        {
            "from": max(span.from_s - window.end_s, -frame.span_s),
            "to": span.to_s - window.end_s,
            "state": span.state,
            "height": 1.0 if span.state == "live" else 0.5,
        }
        for span in seen[-SPANS_MAX:]
    ]


def _unseen(frame: Frame, window: Window) -> Rows:
    """Give the parts of the axis, up to now, in which the receiver was not seen at work."""
    live = [row for row in _states(frame, window) if row["state"] == "live"]
    found, at_s = [], -float(frame.span_s)
    for row in [*live, {"from": window.now_s - window.end_s, "to": 0.0}]:
        if row["from"] - at_s > 0.5:
            found.append({"from": at_s, "to": row["from"]})
        at_s = row["to"]
    return found


def _names(lines: Mapping[str, Sequence[float | None]], top_s: float, height_px: int) -> Rows:
    """Place each line's name beside its last point, apart from each other by a line of text."""
    apart = math.log10(top_s / _AGE_S_MIN) * _TEXT_PX / height_px
    place, found = -math.inf, []
    for name, line in lines.items():
        last_s = next((age_s for age_s in reversed(line) if age_s), None)
        if last_s is not None:
            place = max(math.log10(last_s), place + apart)
            found.append({"name": name, "age": 10**place})
    return found


@lru_cache(maxsize=64)
def _by_side(frame: Frame, top: float) -> Spec:
    said = "replace(format(abs(datum.value), ',~f'), regexp(',', 'g'), '\u202f')"
    scale = alt.Scale(domain=[-top, top], nice=False)
    y = _y(frame, "rate", scale, [-top, 0, top], said)
    bars = (
        alt.Chart(alt.NamedData("rates"))
        .mark_bar(binSpacing=1, tooltip=None)
        .encode(x=_time(frame), x2="to:Q", y=y, y2=alt.datum(0), color=_colour(
            "side", {"buys": palette.BUY_MARK, "sells": palette.SELL_MARK}
        ))
    )  # fmt: skip
    shades = {"buys": frame.shade(palette.BUY), "sells": frame.shade(palette.SELL)}
    names = _right(y, "side").encode(color=_colour("side", shades))
    return _track(frame, bars, names, text="Buys above the line and sells below it")


@lru_cache(maxsize=64)
def _event_age(frame: Frame, top_s: float) -> Spec:
    said = "datum.value < 1 ? round(datum.value * 1000) + ' ms' : datum.value + ' s'"
    ticks = [tick for tick in (0.001, 0.01, 0.1, 1, 10, 100) if tick <= top_s]
    scale = alt.Scale(type="log", domain=[_AGE_S_MIN, top_s], nice=False, clamp=True)
    y = _y(frame, "age", scale, ticks, said)
    widths = alt.Scale(domain=list(PERCENTILES), range=[3, 2, 1])
    dots = alt.OverlayMarkDef(size=9, color=palette.NEUTRAL_MARK)
    lines = (
        alt.Chart(alt.NamedData("ages"))
        .mark_line(color=palette.NEUTRAL_MARK, point=dots, tooltip=None)
        .encode(
            x=_time(frame, "at"),
            y=y,
            strokeWidth=alt.StrokeWidth("name", type="ordinal", scale=widths, legend=None),
        )
    )
    names = _right(y, "name").encode(color=alt.value(frame.shade(palette.NEUTRAL)))
    return _track(frame, lines, names, text="Percentiles of the event age: p50, p90 and p99")


@lru_cache(maxsize=16)
def _receiver(frame: Frame) -> Spec:
    y = _y(frame, "height", alt.Scale(domain=[0, 1], nice=False), [], "''")
    colours = {"live": palette.NEUTRAL_MARK, "stalled": palette.WARNING_MARK}
    bars = (
        alt.Chart(alt.NamedData("states"))
        .mark_rect(tooltip=None)
        .encode(
            x=_time(frame), x2="to:Q", y=y, y2=alt.datum(0), color=_colour("state", colours)
        )
    )  # fmt: skip
    trouble = frame.shade(palette.WARNING)
    words = {"live": frame.shade(palette.NEUTRAL), "stalled": trouble, "away": trouble}
    names = _right(y, "name").encode(color=_colour("name", words))
    return _track(frame, bars, names, text="When the receiver was live or stalled")


def _track(frame: Frame, *layers: alt.Chart, text: str) -> Spec:
    """Lay a drawing over the shade of unseen time and under the marks of starts."""
    unseen = (
        alt.Chart(alt.NamedData("unseen"))
        .mark_rect(color=frame.shade(palette.MUTED), opacity=0.11, tooltip=None)
        .encode(x=_time(frame), x2="to:Q")
    )
    starts = (
        alt.Chart(alt.NamedData("starts"))
        .mark_rule(color=frame.shade(palette.TEXT), strokeDash=[3, 3], tooltip=None)
        .encode(x=_time(frame, "at"))
    )
    said = (
        f"{text}, in the last {frame.span_s // 60} minutes, in steps of {frame.bin_s} seconds. "
        "Shaded where the receiver was not seen at work, dashed where it was started. The figures "
        "are in the line above."
    )
    drawn = alt.layer(unseen, *layers, starts).resolve_axis(y="independent")
    spec: Spec = drawn.resolve_scale(color="independent").to_dict()
    return spec | {
        "height": frame.height_px,
        "description": said,
        "background": "transparent",
        "padding": _PADDING,
    }


def _time(frame: Frame, field: str = "from") -> alt.X:
    axis = alt.Axis(
        values=list(range(-frame.span_s, 1, frame.span_s // 5)),
        labels=frame.with_times,
        labelExpr="datum.value == 0 ? 'now' : -datum.value / 60 + ' min ago'",
        labelFlush=True,
        labelColor=frame.shade(palette.MUTED),
        gridColor=frame.shade(palette.LINE),
        ticks=False,
        domain=False,
    )
    scale = alt.Scale(domain=[-frame.span_s, 0], nice=False)
    return alt.X(field, type="quantitative", axis=axis, scale=scale, title=None)


def _y(frame: Frame, field: str, scale: alt.Scale, values: Sequence[float], said: str) -> alt.Y:
    """Make an axis at the left, as wide as on every other track, so that times are aligned."""
    axis = alt.Axis(
        values=list(values),
        labelExpr=said,
        minExtent=_LEFT_PX,
        maxExtent=_LEFT_PX,
        labelPadding=6,
        labelColor=frame.shade(palette.MUTED),
        gridColor=frame.shade(palette.LINE),
        ticks=False,
        domain=False,
    )
    return alt.Y(field, type="quantitative", axis=axis, scale=scale, title=None)


def _right(y: alt.Y, field: str) -> alt.Chart:
    """Write names at the right, each beside what it names, in place of a legend."""
    empty = alt.Axis(orient="right", values=[], minExtent=_RIGHT_PX, maxExtent=_RIGHT_PX)
    beside = y.copy()
    beside["axis"] = empty
    names: alt.Chart = (
        alt.Chart(alt.NamedData("names"))
        .mark_text(align="left", dx=6, fontSize=_TEXT_PX, tooltip=None)
        .encode(x=alt.datum(0), y=beside, text=alt.Text(field, type="nominal"))
    )
    return names


def _colour(field: str, colours: Mapping[str, str]) -> alt.Color:
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return alt.Color(field, type="nominal", scale=scale, legend=None)
