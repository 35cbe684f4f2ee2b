"""The charts of the Market page: price and volume over one axis of time, in Vega-Lite. Pure.

A drawing depends on the theme and the height alone: the axes, too, come from the data, so that the
page updates it in place and never draws it anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from functools import lru_cache
from typing import Any, Final, Literal

import altair as alt

from trading_app import palette
from trading_app.market_series import (
    Axes,
    Rows,
    Series,
    candle_rows,
    line_rows,
    name_rows,
    overlay_rows,
    tip_rows,
    unseen_rows,
    volume_rows,
)
from trading_app.ui.chart import ceiling

Spec = dict[str, Any]
Kind = Literal["line", "candles"]
DASHES: Final[Mapping[str, list[int]]] = {
    "VWAP": [1, 0],
    "session VWAP": [8, 3],
    "SMA": [4, 2],
    "EMA fast": [2, 2],
    "EMA slow": [1, 3],
}
PRICE_PX: Final = 270
VOLUME_PX: Final = 96
_LEFT_PX: Final = 64
_RIGHT_PX: Final = 54
_WAYS: Final = ["up", "down", "none"]
_UNSEEN: Final = "transparent"
_TEXT_PX: Final = 12
_GROUPS: Final = "replace(datum.label, regexp(',', 'g'), '\u202f')"
_PADDING: Final = {"left": 0, "right": 0, "top": 6, "bottom": 2}
_TIPS: Final = {
    "time": "time",
    "utc": "UTC",
    "close": "close",
    "open": "open",
    "high": "high",
    "low": "low",
    "vwap": "VWAP",
    "volume": "volume",
    "trades": "trades",
    "complete": "watched to the end",
}


@dataclass(frozen=True, slots=True)
class Look:
    """What a drawing depends on besides its data."""

    theme: Literal["light", "dark"]

    def shade(self, shades: palette.Shades) -> str:
        """Choose the colour for the theme."""
        return shades.dark if self.theme == "dark" else shades.light


def price_chart(look: Look, shown: Series, kind: Kind, zone: tzinfo, decimals: int) -> Spec:
    """Draw the price as a line or as candles, with what was chosen over it."""
    axes = shown.axes
    corners = [{"t": axes.from_ms, "p": axes.low}, {"t": axes.to_ms, "p": axes.high}]
    data: dict[str, Rows] = {
        "unseen": unseen_rows(shown),
        "line": line_rows(shown) if kind == "line" else [],
        "candles": candle_rows(shown) if kind == "candles" else [],
        "overlays": overlay_rows(shown),
        "names": name_rows(shown, PRICE_PX),
        "tips": tip_rows(shown, zone, decimals),
        "corners": corners,
    }
    return _price(look) | {"datasets": _never_empty(data, axes)}


def volume_chart(look: Look, shown: Series) -> Spec:
    """Draw the volume of each bar; its axis is as wide as that of the price."""
    rows = volume_rows(shown)
    top = ceiling(max((row["v"] for row in rows), default=1.0), least=0.001)
    axes = shown.axes
    corners = [{"t": axes.from_ms, "v": 0.0}, {"t": axes.to_ms, "v": float(top)}]
    data = {"volumes": rows, "corners": corners}
    return _volume(look) | {"datasets": _never_empty(data, axes)}


def _never_empty(data: dict[str, Rows], axes: Axes) -> dict[str, Rows]:
    """Put a row that cannot be seen where there is none: Vega warns of scales without data."""
    at = dict.fromkeys(("t", "t2", "mid"), axes.from_ms)
    low = dict.fromkeys(("p", "p2", "low", "high"), axes.low)
    nothing = at | low | {"v": 0.0, "way": "none", "text": "", "name": "VWAP"}
    return {name: rows or [nothing] for name, rows in data.items()}


@lru_cache(maxsize=4)
def _price(look: Look) -> Spec:
    layers = (_corners(look, "p", 5), *_candles(look), _line(), _overlays(look))
    drawn = alt.layer(_shade(look), *layers, _names(look), _tips()).resolve_scale(
        color="independent", strokeDash="independent"
    )
    text = (
        "The price over time, as a line or as candles, with the averages that were chosen. Shaded "
        "where it was not watched. The figures are in the table and in the line below."
    )
    return _finished(drawn, text, PRICE_PX)


@lru_cache(maxsize=4)
def _volume(look: Look) -> Spec:
    bars = (
        alt.Chart(alt.NamedData("volumes"))
        .mark_rect(
            color=palette.NEUTRAL_MARK,
            stroke=look.shade(palette.PANEL),
            strokeWidth=1,
            tooltip=None,
        )
        .encode(x=_time(look, with_times=True), x2="t2:Q", y=_plain("v"), y2=alt.datum(0))
    )
    right = (
        alt.Chart(alt.NamedData("corners"))
        .mark_point(opacity=0, size=0, tooltip=None)
        .encode(x="t:T", y=alt.Y("v:Q", axis=_right_axis(), scale=_free(), title=None))
    )
    text = "The volume of each bar, below the price of the same time."
    drawn = alt.layer(bars, _corners(look, "v", 2), right)
    return _finished(drawn, text, VOLUME_PX)


def _finished(drawn: alt.LayerChart | alt.FacetChart, text: str, height_px: int) -> Spec:
    spec: Spec = drawn.resolve_axis(y="independent").to_dict()
    return spec | {
        "height": height_px,
        "description": text,
        "background": "transparent",
        "padding": _PADDING,
    }


def _shade(look: Look) -> alt.Chart:
    """Shade what was not watched; it carries the axes, being the lowest."""
    drawn: alt.Chart = (
        alt.Chart(alt.NamedData("unseen"))
        .mark_rect(color=look.shade(palette.MUTED), opacity=0.13, tooltip=None)
        .encode(x=_time(look, with_times=False), x2="t2:Q")
    )
    return drawn


def _candles(look: Look) -> tuple[alt.Chart, alt.Chart]:
    """Draw wicks, and bodies: hollow where it rose, filled where it fell."""
    data = alt.Chart(alt.NamedData("candles"))
    colours = alt.Scale(domain=_WAYS, range=[palette.BUY_MARK, palette.SELL_MARK, _UNSEEN])
    fills = alt.Scale(domain=_WAYS, range=[look.shade(palette.PANEL), palette.SELL_MARK, _UNSEEN])
    stroke = alt.Color("way:N", scale=colours, legend=None)
    wicks = data.mark_rule(tooltip=None).encode(
        x="mid:T", y=_plain("low"), y2="high:Q", color=stroke
    )
    bodies = data.mark_rect(strokeWidth=1, tooltip=None).encode(
        x="t:T",
        x2="t2:Q",
        y=_plain("p"),
        y2="p2:Q",
        stroke=alt.Stroke("way:N", scale=colours, legend=None),
        fill=alt.Fill("way:N", scale=fills, legend=None),
    )
    return wicks, bodies


def _line() -> alt.Chart:
    drawn: alt.Chart = (
        alt.Chart(alt.NamedData("line"))
        .mark_line(color=palette.NEUTRAL_MARK, strokeWidth=1.8, tooltip=None)
        .encode(x="t:T", y=_plain("p"))
    )
    return drawn


def _overlays(look: Look) -> alt.Chart:
    dashes = alt.Scale(domain=list(DASHES), range=list(DASHES.values()))
    drawn: alt.Chart = (
        alt.Chart(alt.NamedData("overlays"))
        .mark_line(strokeWidth=1.3, tooltip=None, color=look.shade(palette.TEXT), opacity=0.8)
        .encode(
            x="t:T",
            y=_plain("p"),
            strokeDash=alt.StrokeDash("name:N", scale=dashes, legend=None),
        )
    )
    return drawn


def _names(look: Look) -> alt.Chart:
    """Write each line's name beside its end, in place of a legend."""
    shades = {"price": look.shade(palette.NEUTRAL)} | dict.fromkeys(
        DASHES, look.shade(palette.TEXT)
    )
    colours = alt.Scale(domain=list(shades), range=list(shades.values()))
    drawn: alt.Chart = (
        alt.Chart(alt.NamedData("names"))
        .mark_text(align="left", dx=6, fontSize=_TEXT_PX, tooltip=None)
        .encode(
            x="t:T",
            y=alt.Y("p:Q", axis=_right_axis(), scale=_free(), title=None),
            text="text:N",
            color=alt.Color("name:N", scale=colours, legend=None),
        )
    )
    return drawn


def _corners(look: Look, field: str, ticks: int) -> alt.Chart:
    """Hold the ends of both axes, without being seen."""
    y = alt.Y(f"{field}:Q", axis=_left_axis(look, ticks), scale=_free(), title=None)
    drawn: alt.Chart = (
        alt.Chart(alt.NamedData("corners"))
        .mark_point(opacity=0, size=0, tooltip=None)
        .encode(x="t:T", y=y)
    )
    return drawn


def _tips() -> alt.Chart:
    """Answer the mouse anywhere in the column of a bar."""
    said = [alt.Tooltip(f"{field}:N", title=title) for field, title in _TIPS.items()]
    drawn: alt.Chart = (
        alt.Chart(alt.NamedData("tips"))
        .mark_rect(opacity=0)
        .encode(x="t:T", x2="t2:Q", tooltip=said)
    )
    return drawn


def _time(look: Look, *, with_times: bool) -> alt.X:
    axis = alt.Axis(
        tickCount=6,
        format="%H:%M",
        labels=with_times,
        labelFlush=True,
        labelOverlap=True,
        labelColor=look.shade(palette.MUTED),
        gridColor=look.shade(palette.LINE),
        ticks=False,
        domain=False,
    )
    return alt.X("t:T", axis=axis, scale=alt.Scale(nice=False, padding=0), title=None)


def _plain(field: str) -> alt.Y:
    """Place by the price; the one axis that is seen is that of the corners."""
    return alt.Y(f"{field}:Q", axis=None, scale=_free(), title=None)


def _left_axis(look: Look, ticks: int) -> alt.Axis:
    return alt.Axis(
        tickCount=ticks,
        labelExpr=_GROUPS,
        minExtent=_LEFT_PX,
        maxExtent=_LEFT_PX,
        labelPadding=6,
        labelColor=look.shade(palette.MUTED),
        gridColor=look.shade(palette.LINE),
        ticks=False,
        domain=False,
    )


def _free() -> alt.Scale:
    return alt.Scale(zero=False, nice=False)


def _right_axis() -> alt.Axis:
    return alt.Axis(orient="right", values=[], minExtent=_RIGHT_PX, maxExtent=_RIGHT_PX)
