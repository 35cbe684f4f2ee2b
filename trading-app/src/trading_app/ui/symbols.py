"""The table of symbols, as HTML: what was counted of each, by side, and how fast. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from trading_app.desk import View
from trading_app.formats import decimals_in, known, number, quantity, rate_decimals
from trading_app.sidecar_answers import SymbolTotals

SHOWN_MAX: Final = 12
VOLUME_DIGITS: Final = 8
"""As many fit the column; a volume in full is on hover."""
_LAST: Final = ("other", "(none)")
_HEADS: Final = (
    '<th scope="col">symbol</th>'
    '<th scope="col" class="ta-num">buys<small>volume</small></th>'
    '<th scope="col" class="ta-num">sells<small>volume</small></th>'
    '<th scope="col" class="ta-num">buys/s<small>last min</small></th>'
    '<th scope="col" class="ta-num">sells/s<small>last min</small></th>'
    '<th scope="col" class="ta-wide" aria-hidden="true"></th>'
)
Rates = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Row:
    """One symbol, or all that are not shown; ``rates`` (buys, sells) are None when not known."""

    name: str
    trades: tuple[int, int]
    volume: tuple[float, float]
    rates: tuple[float, float] | None


def symbols(view: View, rates: Rates) -> str:
    """List what was counted by symbol: the busiest by name, and the sum of all others."""
    if view.summary is None:
        return _empty(f"Not known: {escape(view.away or '')}.")
    shown = rows(view.summary.symbols, rates)
    return _table(shown, old=bool(view.away)) if shown else _first_run()


def rows(totals: Sequence[SymbolTotals], rates: Rates) -> list[Row]:
    """Take the busiest, in the order of their names so that they stay put; the others in one."""
    traded = [_row(each, rates) for each in totals if each.trades.buy + each.trades.sell]
    busiest = sorted(traded, key=lambda row: (-sum(row.trades), row.name))
    shown = sorted(busiest[:SHOWN_MAX], key=lambda row: (row.name in _LAST, row.name))
    others = busiest[SHOWN_MAX:]
    return [*shown, _together(others)] if others else shown


def _row(totals: SymbolTotals, rates: Rates) -> Row:
    trades, volume = totals.trades, totals.volume
    return Row(
        totals.symbol,
        (trades.buy, trades.sell),
        (volume.buy, volume.sell),
        rates.get(totals.symbol),
    )


def _together(others: Sequence[Row]) -> Row:
    rates = [row.rates for row in others if row.rates is not None]
    return Row(
        f"{len(others)} others",
        (sum(row.trades[0] for row in others), sum(row.trades[1] for row in others)),
        (sum(row.volume[0] for row in others), sum(row.volume[1] for row in others)),
        (sum(r[0] for r in rates), sum(r[1] for r in rates)) if rates else None,
    )


def _table(shown: Sequence[Row], *, old: bool) -> str:
    rates = [rate for row in shown for rate in row.rates or ()]
    most = max((sum(row.rates or ()) for row in shown), default=0) or 1.0
    body = "".join(_line(row, rate_decimals(rates), most) for row in shown)
    css = f"ta-rows ta-symbols{' ta-old' if old else ''}"
    return f'<table class="{css}"><thead><tr>{_HEADS}</tr></thead><tbody>{body}</tbody></table>'


def _line(row: Row, rate_places: int, most: float) -> str:
    decimals = decimals_in(row.volume, VOLUME_DIGITS)
    counts = "".join(
        f'<td class="ta-num" title="volume {quantity(volume)}">'
        f"{number(count)}<small>{number(volume, decimals)}</small></td>"
        for count, volume in zip(row.trades, row.volume, strict=True)
    )
    rates = "".join(
        f'<td class="ta-num ta-{side}">{known(rate, rate_places)}</td>'
        for side, rate in zip(("buy", "sell"), row.rates or (None, None), strict=True)
    )
    name = escape(row.name)
    return f'<tr><td title="{name}">{name}</td>{counts}{rates}{_bar(row, most)}</tr>'


def _bar(row: Row, most: float) -> str:
    """Draw both rates as one bar; the busiest row's is as long as the cell."""
    parts = "".join(
        f'<i class="ta-bar-{side}" style="width:{100 * rate / most:.1f}%"></i>'
        for side, rate in zip(("buy", "sell"), row.rates or (), strict=False)
    )
    return f'<td class="ta-wide" aria-hidden="true"><span class="ta-bar">{parts}</span></td>'


def _first_run() -> str:
    return _empty(
        "Each symbol that is traded gets a row: trades and volume by side, and how many a second."
        "<br>Nothing was traded yet."
        "<br><code>make demo</code> in place of <code>make apps-up</code> brings a lively stream."
    )


def _empty(text: str) -> str:
    return f'<div class="ta-empty">{text}</div>'
