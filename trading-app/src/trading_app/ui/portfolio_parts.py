"""The Portfolio page's figures and tables, as HTML: answers in, escaped text out. Pure.

What is not known or not defined is a dash, with the reason on hover.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from html import escape
from typing import Final

from trading_app.formats import UNKNOWN, age, number, plural
from trading_app.market_formats import exact, percent, places
from trading_app.paper_answers import Book, Performance, PortfolioNow, Position, SymbolProfit
from trading_app.paper_formats import amount, css_of, days_words, exactly, money, profit, ratio
from trading_app.paper_undefined import undefined
from trading_app.ui.components import tile
from trading_app.ui.portfolio_charts import Curve

UNPRICED: Final = "Not known: no price has come for it yet"
BOOKS: Final = (
    "The same orders, filled in three ways: <b>optimistic</b> fills all at a touch of the limit, "
    "<b>neutral</b> no more than was displayed or printed (it is the account), "
    "<b>pessimistic</b> only where trades went through the limit. The truth lies between: "
    "what they differ by is what a simulation cannot know."
)


def details(now: PortfolioNow | None, *, old: bool) -> str:
    """Say below the answer what it rests on; of what is ``old`` nothing is said to be so now."""
    if now is None:
        return ""
    parts = [f"{plural(now.fills, 'fill')}", f"{plural(now.open_orders, 'open order')}"]
    if now.state.state != "active":
        parts.insert(0, f'<span class="ta-warn">the desk is {escape(now.state.state)}</span>')
    if not now.residue and not old:
        parts.append("every cent explained")
    return " · ".join(parts)


def figures(now: PortfolioNow | None, why: str, *, old: bool) -> str:
    """Show what it is worth and what that is made of; the residue says whether it adds up."""
    if now is None:
        names = ("Equity", "Profit today", "Profit in all", "Cash")
        tiles = "".join(tile(name, UNKNOWN, "", "", why) for name in names)
        return f'<div class="ta-totals ta-eight ta-old">{tiles}</div>'
    unit = escape(now.portfolio.currency)
    began = money(now.portfolio.balance)
    share = _share(now.profit, now.portfolio.balance)
    tiles = (
        _money("Equity", now.equity, f"{unit}, began with {began}")
        + _gain("Profit today", now.day_profit, "since 00:00 UTC")
        + _gain("Profit in all", now.profit, share)
        + _money("Cash", now.cash, f"{money(now.gross)} in positions{_at_cost(now)}")
        + _gain("Realised", now.realised, "before fees")
        + _gain("Unrealised", now.unrealised, "of what is held")
        + _money("Fees", now.fees, plural(now.fills, "fill"))
        + _residue(now.residue, old=old)
    )
    return f'<div class="ta-totals ta-eight{" ta-old" if old else ""}">{tiles}</div>'


def _at_cost(now: PortfolioNow) -> str:
    """Say which positions are counted at what they cost, as nothing else is known of them."""
    names = [held.symbol for held in now.positions if held.qty and held.price is None]
    if not names:
        return ""
    return f", {escape(names[0]) if len(names) == 1 else len(names)} at cost"


def _money(name: str, value: Decimal | None, small: str) -> str:
    return tile(name, money(value), small, "", exactly(value) or UNPRICED)


def _gain(name: str, value: Decimal | None, small: str) -> str:
    big = f'<span class="{css_of(value)}">{profit(value)}</span>'
    return tile(name, big, small, "", exactly(value) or UNPRICED)


def _share(gain: Decimal | None, balance: Decimal) -> str:
    return percent(float(gain / balance), 2) if gain is not None and balance else UNKNOWN


def _residue(residue: Decimal, *, old: bool) -> str:
    hover = "Equity less what it began with, less realised and unrealised profit, plus fees: 0"
    if not residue:
        small = "when it was last known" if old else "every cent explained"
        return tile("Residue", "0", small, "", hover)
    big = f'<span class="ta-danger">{amount(residue)}</span>'
    return tile("Residue", big, "a defect: this must be 0", "ta-danger", hover)


def empty_curve(why: str) -> str:
    """Say why there is no curve yet."""
    if why:
        return f'<div class="ta-empty ta-curve-empty">Not known: {escape(why)}.</div>'
    return (
        '<div class="ta-empty ta-curve-empty">The curve of equity appears here, a point each '
        "minute and at each fill. It takes two points of this window.</div>"
    )


def curve_note(shown: Curve, as_of: str) -> str:
    """Put both charts in words: those of now, or ``as_of`` long ago.

    The drawdown between the points is in the performance alone.
    """
    known = [point.equity for point in shown.points if point.equity is not None]
    depths = [point.drawdown for point in shown.points if point.drawdown is not None]
    below = f"{number(abs(100 * min(depths)), 2)} %" if depths else UNKNOWN
    when = as_of or "now"
    last = f"{money(known[-1])} {when}" if shown.points[-1].equity is not None else "not known now"
    gap = "; not known where the line breaks" if len(known) < len(shown.points) else ""
    css = f"ta-note{' ta-old' if as_of else ''}"
    return (
        f'<div class="{css}">{last}, {profit(known[-1] - known[0])} in this window; '
        f"at most {below} below the peak at the points shown{gap}</div>"
    )


def note(*parts: str) -> str:
    """Put together what stands at the right of a heading."""
    return " · ".join(filter(None, parts))


def unit(now: PortfolioNow | None) -> str:
    """Name the currency of a panel's money."""
    return f"in {now.portfolio.currency}" if now and now.portfolio.currency else ""


def positions_note(now: PortfolioNow | None) -> str:
    """Count what is held."""
    held = [each for each in now.positions if each.qty] if now else []
    return plural(len(held), "position") if held else ""


def not_known(why: str) -> str:
    """Say that something is not known, which is not nothing."""
    return f'<div class="ta-empty">Not known: {escape(why or "it is being asked for")}.</div>'


def positions(now: PortfolioNow | None, why: str, *, old: bool) -> str:
    """List what is held, and what was: quantity, prices, value, profit."""
    if now is None:
        return not_known(why)
    if not now.positions:
        return (
            '<div class="ta-empty">What you hold appears here: how much, at which price, and what '
            "it is worth. Nothing is held: the page Orders, or Buy on the page Trade.</div>"
        )
    units = places(held.qty for held in now.positions)
    rows = "".join(_position(held, now.now_ms, units) for held in now.positions)
    heads = "".join(
        f'<th scope="col" class="ta-num">{name}</th>'
        for name in ("qty", "average", "price", "value", "unrealised", "realised")
    )
    css = f"ta-rows ta-positions{' ta-old' if old else ''}"
    return (
        f'<div class="ta-scroll" tabindex="0"><table class="{css}"><thead><tr>'
        f'<th scope="col">symbol</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _position(held: Position, now_ms: int | None, units: int) -> str:
    side = "" if not held.qty else "buy" if held.qty > 0 else "sell"
    word = {"buy": "long", "sell": "short", "": "flat"}[side]
    decimals = places([held.price, _rounded(held.average_price)])
    return (
        f'<tr><td title="{word}">{escape(held.symbol)}</td>'
        f'<td class="ta-num ta-{side or "flat"}" title="{word}">{exact(held.qty, units)}</td>'
        f'<td class="ta-num" title="{exactly(held.average_price)}">'
        f"{exact(held.average_price, decimals)}</td>"
        f"{_price(held, now_ms, decimals)}{_num(held.value)}"
        f"{_profit(held.unrealised)}{_profit(held.realised)}</tr>"
    )


def _rounded(price: Decimal | None) -> Decimal | None:
    """Keep two decimals or four digits of an average, which has as many as it likes."""
    if price is None:
        return None
    return Decimal(f"{price:.{max(2, 3 - price.adjusted())}f}").normalize()


def _price(held: Position, now_ms: int | None, decimals: int) -> str:
    if held.price is None:
        why = UNPRICED if held.qty else "Nothing is held"
        return f'<td class="ta-num" title="{why}">{UNKNOWN}</td>'
    ago = f", {age((now_ms - held.price_ms) / 1000)}" if now_ms and held.price_ms else ""
    mark = f' <span title="old{ago}">◆</span>' if held.is_stale and held.qty else ""
    css = " ta-warn" if mark else ""
    hover = f"{held.price_source or 'price'}{ago}"
    return f'<td class="ta-num{css}" title="{hover}">{exact(held.price, decimals)}{mark}</td>'


def _num(value: Decimal | None) -> str:
    return f'<td class="ta-num" title="{exactly(value) or UNPRICED}">{money(value)}</td>'


def _profit(value: Decimal | None) -> str:
    hover = exactly(value) or UNPRICED
    return f'<td class="ta-num {css_of(value)}" title="{hover}">{profit(value)}</td>'


def by_symbol(found: Sequence[SymbolProfit] | None, why: str, *, old: bool) -> str:
    """List what each symbol has brought; net is realised and unrealised less fees."""
    if found is None:
        return not_known(why)
    if not found:
        return '<div class="ta-empty">What each symbol has brought, from the first fill on.</div>'
    rows = "".join(_symbol(each) for each in found)
    return (
        f'<table class="ta-rows ta-of-5{" ta-old" if old else ""}"><thead><tr>'
        '<th scope="col">symbol</th><th scope="col" class="ta-num">fills</th>'
        '<th scope="col" class="ta-num">realised</th><th scope="col" class="ta-num">fees</th>'
        f'<th scope="col" class="ta-num">net</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _symbol(each: SymbolProfit) -> str:
    net = None
    if each.realised is not None and each.unrealised is not None and each.fees is not None:
        net = each.realised + each.unrealised - each.fees
    return (
        f'<tr><td title="{escape(each.symbol)}">{escape(each.symbol)}</td>'
        f'<td class="ta-num">{number(each.fills)}</td>{_profit(each.realised)}{_num(each.fees)}'
        f"{_profit(net)}</tr>"
    )


def performance_note(found: Performance | None) -> str:
    """Say on what the figures rest."""
    return days_words(found.days, found.annual_days) if found else ""


def performance(found: Performance | None, why: str, *, old: bool) -> str:
    """Show the performance figures; one that is not defined says why on hover."""
    if found is None:
        return not_known(why)
    trips = f"{found.wins} won, {found.losses} lost, {found.breakevens} even"
    facts = (
        ("total return", "total_return", percent(found.total_return, 2)),
        ("a year (CAGR)", "cagr", percent(found.cagr, 1)),
        ("volatility", "volatility", _percent(found.volatility)),
        ("Sharpe", "sharpe", ratio(found.sharpe)),
        ("Sortino", "sortino", ratio(found.sortino)),
        ("max drawdown", "max_drawdown", percent(found.max_drawdown, 2)),
        ("Calmar", "calmar", ratio(found.calmar)),
        ("round trips", "round_trips", number(found.round_trips)),
        ("win rate", "win_rate", _percent(found.win_rate)),
        ("profit factor", "profit_factor", ratio(found.profit_factor)),
        ("expectancy", "expectancy", profit(found.expectancy)),
    )
    rows = "".join(
        f'<dt>{name}</dt><dd title="{escape(_hover(found, figure, text, trips))}">{text}</dd>'
        for name, figure, text in facts
    )
    css = " ta-old" if old else ""
    return f'<div class="{css}"><dl class="ta-facts ta-performance">{rows}</dl></div>'


def _hover(found: Performance, figure: str, text: str, trips: str) -> str:
    if figure == "round_trips":
        return trips
    return undefined(found, figure) if text == UNKNOWN else ""


def _percent(fraction: float | None) -> str:
    return UNKNOWN if fraction is None else f"{number(100 * fraction, 1)} %"


def books(found: Sequence[Book] | None, why: str, *, old: bool) -> str:
    """Show the three books side by side, and what they mean."""
    if found is None:
        return not_known(why)
    if not found:
        return f'<div class="ta-empty">{BOOKS}</div>'
    heads = "".join(f'<th scope="col" class="ta-num">{escape(each.book)}</th>' for each in found)
    rows = (
        _books_row("equity", [_num(each.equity) for each in found])
        + _books_row("profit", [_profit(each.profit) for each in found])
        + _books_row("fees", [_num(each.fees) for each in found])
        + _books_row("traded", [_num(each.traded) for each in found])
        + _books_row("fills", [f'<td class="ta-num">{number(each.fills)}</td>' for each in found])
    )
    css = f"ta-rows ta-books{' ta-old' if old else ''}"
    return (
        f'<div class="ta-scroll" tabindex="0"><table class="{css}"><thead><tr>'
        f'<th scope="col">book</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
        f'<div class="ta-note">{BOOKS}</div>'
    )


def _books_row(name: str, cells: Sequence[str]) -> str:
    return f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>'
