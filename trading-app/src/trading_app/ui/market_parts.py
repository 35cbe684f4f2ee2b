"""The Market page's first line and figures, as HTML: answers in, escaped text out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import tzinfo
from decimal import Decimal
from html import escape
from typing import Final

from trading_app.formats import UNKNOWN, age, clock, duration, known, number, plural, utc
from trading_app.market_answers import (
    BarFigures,
    FeedHealth,
    Quoted,
    Source,
    SymbolFigures,
    WindowFigures,
)
from trading_app.market_formats import exact, percent, places, signed, span
from trading_app.market_look import Look, shown
from trading_app.market_status import SILENT_AFTER_S, STATES
from trading_app.status import Status
from trading_app.ui.components import answer_line

NO_TRADES: Final = "No trade in this window"
INCOMPLETE: Final = "Not watched from its beginning to its end: the figures are of what was seen"
_CROSSINGS: Final = {"up": "▲ fast above slow", "down": "▼ fast below slow"}


def line(status: Status, look: Look) -> str:
    """Answer the question at the top, and below it say what the answer rests on."""
    return answer_line(status, "" if look.away else _evidence(look))


def _evidence(look: Look) -> str:
    health = shown(look.health)
    if health is None:
        return ""
    parts = [escape(health.venue), _lag(look), _others(look, health)]
    if look.source == "feed":
        parts.append(_schedule(health))
    return " · ".join(filter(None, parts))


def _lag(look: Look) -> str:
    lag_ms = look.feed.lag_ms if look.feed else None
    if lag_ms is None:
        return ""
    hover = "From the venue's time of the last trade to its receipt here"
    if lag_ms < 0:
        return f'<span title="{hover}">venue\'s clock {duration(-lag_ms / 1000)} ahead</span>'
    return f'<span title="{hover}">lag {duration(lag_ms / 1000)}</span>'


def _others(look: Look, health: FeedHealth) -> str:
    """Name what is wrong with symbols that are not shown, so that it is not overlooked."""
    others = [feed for feed in health.symbols if feed.symbol != look.symbol]
    bad = [feed for feed in others if STATES.get(feed.state) in {"stale", "away"}]
    if bad:
        names = ", ".join(f"{escape(feed.symbol)} {escape(feed.state)}" for feed in bad[:3])
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        return f'<span class="ta-warn">{names}{more}</span>'
    return f"{plural(len(others), 'other symbol')} without a fault" if others else ""


def _schedule(health: FeedHealth) -> str:
    if health.schedule.open:
        return ""
    at_ms = health.schedule.next_change_ms
    opens = f", opens in {span(round((at_ms - health.now_ms) / 1000))}" if at_ms else ""
    return f"outside the hours in which it is recorded{opens}"


def banner(look: Look, zone: tzinfo) -> str:
    """Say clearly that what is shown is a recording."""
    replay = shown(look.replay)
    if look.source == "feed" or replay is None or not replay.is_there:
        return ""
    of = ""
    if look.market_ms:
        of = f" of <span title='{utc(look.market_ms / 1000)}'>{_day(look.market_ms, zone)}</span>"
    return (
        '<div class="ta-recording" role="note"><b>▶\ufe0e A recording, not the market.</b> '
        f"<span>{escape(replay.file or UNKNOWN)}{of}, {replay.state}</span></div>"
    )


def _day(at_ms: float, zone: tzinfo) -> str:
    return f"{utc(at_ms / 1000)[:10]} {clock(at_ms / 1000, zone)}"


def quote_note(quoted: Quoted | None, decimals: int) -> str:
    """Say the best bid and ask and what lies between, for the heading of the chart."""
    if quoted is None or quoted.bid is None or quoted.ask is None:
        return "no quote"
    spread = exact(quoted.ask - quoted.bid, decimals)
    return (
        f"bid {exact(quoted.bid, decimals)} · ask {exact(quoted.ask, decimals)} · spread {spread}"
    )


def metrics(figures: SymbolFigures | None, decimals: int, *, old: bool) -> str:
    """Show the metrics by window, one row each, with the reason where one is not defined."""
    if figures is None or not figures.windows:
        return (
            '<div class="ta-empty">What the last minute, five minutes and hour amount to: '
            "average price by volume, range, volatility, drawdown. "
            "It shows with the first trade.</div>"
        )
    heads = "".join(_head(window) for window in figures.windows)
    rows = "".join(row(figures.windows, decimals) for row in _ROWS)
    css = f"ta-rows ta-metrics{' ta-old' if old else ''}"
    return (
        f'<table class="{css}"><thead><tr><th scope="col">window</th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table>{_bar(figures, decimals, old=old)}"
    )


def _head(window: WindowFigures) -> str:
    name = span(window.window_s)
    if window.complete:
        return f'<th scope="col" class="ta-num">{name}<small>complete</small></th>'
    return (
        f'<th scope="col" class="ta-num" title="{INCOMPLETE}">{name}'
        '<small class="ta-warn">◐ incomplete</small></th>'
    )


Row = Callable[[Sequence[WindowFigures], int], str]


def _row(
    name: str, say: Callable[[WindowFigures, int], str], why: Callable[[WindowFigures], str]
) -> Row:
    def write(windows: Sequence[WindowFigures], decimals: int) -> str:
        cells = "".join(_cell(say(window, decimals), why(window)) for window in windows)
        return f'<tr><th scope="row">{name}</th>{cells}</tr>'

    return write


def _cell(text: str, why: str) -> str:
    """Write a figure; where there is none, the reason is on hover."""
    hover = f' title="{escape(why)}"' if text == UNKNOWN else ""
    return f'<td class="ta-num"{hover}>{text}</td>'


def _volumes(windows: Sequence[WindowFigures], _decimals: int) -> str:
    shared = min(4, places(window.volume for window in windows))
    cells = "".join(_cell(exact(window.volume, shared), "") for window in windows)
    return f'<tr><th scope="row">volume<small>units</small></th>{cells}</tr>'


def _why_volatility(window: WindowFigures) -> str:
    if not window.complete:
        return "Not defined until the whole window was watched"
    return "Not defined over an outage"


def _why_deviation(window: WindowFigures) -> str:
    return "All trades at one price: there is no spread" if window.trades else NO_TRADES


def _no_trades(_window: WindowFigures) -> str:
    return NO_TRADES


_ROWS: Final[tuple[Row, ...]] = (
    _row("VWAP", lambda window, decimals: known(window.vwap, decimals), _no_trades),
    _row("VWAP deviation<small>σ</small>", lambda w, _: signed(w.vwap_deviation, 1),
         _why_deviation),
    _row("high", lambda window, decimals: exact(window.high, decimals), _no_trades),
    _row("low", lambda window, decimals: exact(window.low, decimals), _no_trades),
    _row("range", lambda window, decimals: exact(window.range, decimals), _no_trades),
    _row("drawdown<small>%</small>", lambda w, _: _hundredths(w.drawdown), _no_trades),
    _row("volatility<small>% a year</small>", lambda w, _: _yearly(w.volatility),
         _why_volatility),
    _row("trades", lambda window, _: number(window.trades), _no_trades),
    _volumes,
)  # fmt: skip


def _hundredths(fraction: float | None) -> str:
    return signed(None if fraction is None else 100 * fraction, 2)


def _yearly(fraction: float | None) -> str:
    return known(None if fraction is None else 100 * fraction, 1)


def _bar(figures: SymbolFigures, decimals: int, *, old: bool) -> str:
    """Show what the last closed bar decided, and the average of the session."""
    bar = figures.bar or BarFigures(start_ms=0)
    none = "No bar has closed yet" if figures.bar is None else "Too few closed bars so far"
    spike = "Too few closed bars so far, or all of them had the same volume"
    facts = (
        ("session VWAP", known(figures.session_vwap, decimals), "No volume in this session yet"),
        ("SMA", known(bar.sma, decimals), none),
        ("EMA fast", known(bar.ema_fast, decimals), none),
        ("EMA slow", known(bar.ema_slow, decimals), none),
        ("crossing", _CROSSINGS.get(bar.crossing or "", "none"), ""),
        ("volume spike", signed(bar.volume_z, 1, " σ"), spike),
    )
    body = "".join(f"<dt>{name}</dt><dd{_why(text, why)}>{text}</dd>" for name, text, why in facts)
    css = ' class="ta-old"' if old else ""
    return f'<div{css}><dl class="ta-facts ta-bar-facts">{body}</dl></div>'


def _why(text: str, why: str) -> str:
    return f' title="{escape(why)}"' if text == UNKNOWN else ""


def bar_note(figures: SymbolFigures | None, zone: tzinfo) -> str:
    """Say of which bar the averages are, for the heading of the metrics."""
    if figures is None or figures.bar is None:
        return "no bar has closed yet"
    return f"averages: bar of {clock(figures.bar.start_ms / 1000, zone)[:5]}"


def chart_note(look: Look, prices: Sequence[float], decimals: int) -> str:
    """Put the chart in words: from where to where, and how far in between."""
    words = "nothing was traded in this window"
    if prices:
        first, last = prices[0], prices[-1]
        words = (
            f"from {number(first, decimals)} to {number(last, decimals)}, "
            f"{percent(last / first - 1, 2)} · lowest {number(min(prices), decimals)} · "
            f"highest {number(max(prices), decimals)}"
        )
    return f'<div class="ta-note ta-pair"><span>{words}</span>{_as_of(look)}</div>'


def _as_of(look: Look) -> str:
    """Say how old the drawing is, where that is not now."""
    summary = look.summary
    if summary is None or summary.price_ms is None:
        return ""
    at_s, ago_s = summary.price_ms / 1000, (look.market_ms - summary.price_ms) / 1000
    css = "ta-warn" if look.away or ago_s > 2 * SILENT_AFTER_S else ""
    return f'<span class="{css}" title="{utc(at_s)}">last trade {age(ago_s)}</span>'


def price_places(look: Look, more: Sequence[Decimal | None]) -> int:
    """Count the decimals that the symbol's prices need, as far as they are known."""
    summary = look.summary
    return places([summary.price if summary else None, *more])


def empty_chart(why: str) -> str:
    """Say what will be drawn, and why it is not drawn yet."""
    reason = f"Not known: {escape(why)}." if why else "Nothing was traded yet in this window."
    return (
        '<div class="ta-empty ta-no-chart">The price is drawn here, and the volume below it.'
        f"<br>{reason}</div>"
    )


def feed_note(health: FeedHealth | None, source: Source) -> str:
    """Say how the feed as a whole is connected, for the heading of its table."""
    if health is None:
        return "not known"
    connected = {True: "connected", False: "not connected", None: "connection not known"}
    how = "recorded" if source == "replay" else connected[health.connection.connected]
    bad = f" · {plural(health.rejected, 'message')} rejected" if health.rejected else ""
    return f"{health.venue} · {how}{bad}"
