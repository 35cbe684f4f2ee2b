"""The picture of the last five minutes: buys above the line, sells below. It must know no page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import altair as alt

from trading_app.formats import plural
from trading_app.palette import BUY_MARK, SELL_MARK
from trading_app.sidecar_answers import Sample

SPAN_S: Final = 300
BAR_S: Final = 5
HEIGHT_PX: Final = 150
ALTERNATIVE_TEXT: Final = (
    "Trades counted in the last five minutes, in bars of five seconds: buys above the line, sells "
    "below it. The sums are in the text that follows."
)
_BARS: Final = SPAN_S // BAR_S


@dataclass(frozen=True, slots=True)
class Bar:
    """How many trades were counted in five seconds, the last of them ``end_s`` before now (≤ 0)."""

    end_s: int
    buys: int
    sells: int


def bars(samples: Sequence[Sample], now_s: float) -> list[Bar]:
    """Make sixty bars, oldest first, from counters that may start again from 0 in between."""
    last = int(now_s // BAR_S)
    buys, sells = [0] * _BARS, [0] * _BARS
    for before, after in pairwise(samples):
        place = _BARS - 1 - (last - int(after.at_s // BAR_S))
        if 0 <= place < _BARS:
            buys[place] += _growth(before.trades_buy, after.trades_buy)
            sells[place] += _growth(before.trades_sell, after.trades_sell)
    return [Bar((place + 1 - _BARS) * BAR_S, buys[place], sells[place]) for place in range(_BARS)]


def _growth(before: int, after: int) -> int:
    return after - before if after >= before else after


def in_words(shown: Sequence[Bar]) -> str:
    """Put the chart's sums in words, for the line below it."""
    buys, sells = sum(bar.buys for bar in shown), sum(bar.sells for bar in shown)
    return f"last 5 minutes: {plural(buys, 'buy')}, {plural(sells, 'sell')}"


def ceiling(most: float, least: float = 5) -> float:
    """Find the end of the axis: 5, 10, 20, 50 …; it grows in steps, not with each trade.

    ``least`` is 1, 2 or 5 times a power of ten, and the smallest end.
    """
    top = Decimal(str(least))
    while top < most:
        top *= Decimal("2.5") if top.normalize().as_tuple().digits == (2,) else 2
    return int(top) if top == int(top) else float(top)


def chart(shown: Sequence[Bar]) -> dict[str, Any]:
    """Describe bars of five seconds in Vega-Lite; 120 of them, many without height.

    Only the named data change from one second to the next, so the page updates the drawing in
    place instead of making a new one.
    """
    top = ceiling(max((max(bar.buys, bar.sells) for bar in shown), default=0))
    values = [
        {"from": bar.end_s - BAR_S, "to": bar.end_s, "trades": count, "side": side}
        for bar in shown
        for side, count in (("buy", bar.buys), ("sell", -bar.sells))
    ]
    return {**_frame(top), "datasets": {"trades": values}}


@lru_cache(maxsize=64)
def _frame(top: float) -> dict[str, Any]:
    """Everything but the data; kept, because Altair takes 50 ms to check it."""
    drawn: alt.Chart = (
        alt.Chart(alt.NamedData("trades"), description=ALTERNATIVE_TEXT, height=HEIGHT_PX)
        .mark_bar(binSpacing=1.5, tooltip=None)
        .encode(x=_seconds(), x2="to:Q", y=_count(top), y2=alt.datum(0), color=_side())
        .properties(background="transparent")
    )
    return drawn.to_dict()


def _seconds() -> alt.X:
    axis = alt.Axis(
        values=list(range(-SPAN_S, 1, 60)),
        labelExpr="datum.value == 0 ? 'now' : -datum.value / 60 + ' min ago'",
        labelFlush=True,
        grid=False,
        ticks=False,
        domain=False,
    )
    scale = alt.Scale(domain=[-SPAN_S, 0], nice=False)
    return alt.X("from", type="quantitative", axis=axis, scale=scale, title=None, bin="binned")


def _count(top: float) -> alt.Y:
    axis = alt.Axis(
        values=[-top, 0, top],
        labelExpr="abs(datum.value)",
        minExtent=32,
        ticks=False,
        domain=False,
    )
    scale = alt.Scale(domain=[-top, top], nice=False)
    return alt.Y("trades", type="quantitative", axis=axis, scale=scale, title=None)


def _side() -> alt.Color:
    scale = alt.Scale(domain=["buy", "sell"], range=[BUY_MARK, SELL_MARK])
    return alt.Color("side", type="nominal", scale=scale, legend=None)
