"""The pieces of the Live page, as HTML: a view and flows in, escaped text out. Pure."""

from __future__ import annotations

from datetime import tzinfo

from trading_app.desk import View
from trading_app.flow import Flow, What
from trading_app.formats import (
    UNKNOWN,
    age,
    clock,
    decimals_needed,
    duration,
    known,
    number,
    rate_decimals,
)
from trading_app.status import Status
from trading_app.ui.components import answer_line, last_trade, tile
from trading_app.ui.tracks import Window


def flow_line(status: Status, view: View, lately: Flow) -> str:
    """Answer the question "is everything flowing?", with what it rests on below."""
    if view.summary is None:
        return answer_line(status, "")
    if view.away:
        return answer_line(status, f"figures as of {age(view.figures_age_s)}")
    lost = sum(sum(state.lost.values()) for state in view.summary.publishers)
    rejected = sum(view.summary.rejected.values())
    busy = lately.rate(lately.busy_s)
    load = UNKNOWN if busy is None else f"{number(100 * busy)} %"
    details = (
        _trouble(lost, "lost", "Trades that will never be counted; the page Delivery says why"),
        _trouble(rejected, "rejected", "Messages that are no trades; the sidecar's log says why"),
        f'<span title="Time in which it was not waiting, last minute">receiver busy {load}</span>',
    )
    return answer_line(status, " · ".join(details))


def _trouble(count: int, word: str, hover: str) -> str:
    css = ' class="ta-danger"' if count else ""
    return f'<span{css} title="{hover}">{number(count) if count else "nothing"} {word}</span>'


def answer(view: View, now: Flow, minute: Flow, zone: tzinfo) -> str:
    """Show the one number, trades a second, and the figures that stand beside it."""
    rate = now.rate(now.trades)
    unknown = view.away or "The sidecar's newest sample is not of now" if rate is None else ""
    old = " ta-old" if view.away else ""
    return (
        f'<div class="ta-totals ta-answer{old}">'
        + tile("Trades a second", known(rate, 1), "in the last 10 s", "", unknown)
        + _sides(view)
        + _last(view, zone)
        + _age(minute)
        + "</div>"
    )


def _sides(view: View) -> str:
    summary = view.summary
    if summary is None:
        pairs = (("Buys", UNKNOWN, UNKNOWN, "buy"), ("Sells", UNKNOWN, UNKNOWN, "sell"))
    else:
        trades, volume = summary.trades, summary.volume
        decimals = decimals_needed([volume.buy, volume.sell], most=4)
        pairs = (
            ("Buys", number(trades.buy), number(volume.buy, decimals), "buy"),
            ("Sells", number(trades.sell), number(volume.sell, decimals), "sell"),
        )
    hover = view.away or ""
    return "".join(
        tile(name, count, f"volume {sum_}", f"ta-{side}", hover)
        for name, count, sum_, side in pairs
    )


def _last(view: View, zone: tzinfo) -> str:
    if view.summary is None:
        return tile("Last trade", UNKNOWN, UNKNOWN, "", view.away or "")
    return last_trade(view, view.summary, zone)


def _age(minute: Flow) -> str:
    """Show how late trades were counted; the sidecar knows no more than its highest bound."""
    p50, p99 = (span_of(minute, q) for q in (0.5, 0.99))
    hover = "99 of 100 trades of the last minute were counted within this time of happening"
    return tile("Event age p99", p99, f"p50 {p50}, last minute", "", hover)


def span_of(flow: Flow, q: float) -> str:
    """Write a quantile of the event age; "over 60 s" above the highest bound of its buckets."""
    age_s = flow.age_s(q)
    if age_s is None:
        return UNKNOWN
    most_s = flow.age_bounds_s[-1]
    return f"over {number(most_s)} s" if age_s >= most_s else duration(age_s)


def rates_note(flow: Flow, what: What) -> str:
    """Say two rates of the last ten seconds, for a track's heading."""
    pair = flow.rates(what)
    buys, sells = (known(rate, rate_decimals(pair)) for rate in pair)
    return f"last 10 s: buys {buys} · sells {sells}"


def ages_note(minute: Flow) -> str:
    """Say the percentiles of the last minute, for a track's heading."""
    p50, p90, p99 = (span_of(minute, q) for q in (0.5, 0.9, 0.99))
    return f"last minute: p50 {p50} · p90 {p90} · p99 {p99}"


def health_note(window: Window, span_s: int, zone: tzinfo) -> str:
    """Say how long the receiver was live, stalled and not seen, and when it was started last."""
    first_s = window.now_s - span_s
    seconds = {"live": 0.0, "stalled": 0.0}
    for span in window.spans:
        seconds[span.state] += max(0.0, span.to_s - max(span.from_s, first_s))
    seconds["not seen"] = span_s - sum(seconds.values())
    parts = [f"live {length(seconds.pop('live'))}"]
    parts += [f"{state} {length(lost)}" for state, lost in seconds.items() if lost >= 1]
    starts = [clock(at_s, zone) for at_s in window.starts_s if at_s > first_s]
    if starts:
        parts.append(f"started at {' and '.join(starts[-2:])}")
    return " · ".join(parts)


def length(seconds: float) -> str:
    """Write a span in whole seconds, or minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
