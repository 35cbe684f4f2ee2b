"""The Market page's first line: what is the market doing, and can its feed be believed? Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from typing import Final

from trading_app.formats import UNKNOWN, age, clock, duration, number, plural
from trading_app.market_answers import FeedHealth, SymbolFeed, SymbolSummary
from trading_app.market_client import Refused
from trading_app.market_formats import exact, percent
from trading_app.market_look import Look, shown
from trading_app.status import STALE_AFTER_S, State, Status

STATES: Final[dict[str, State]] = {
    "unknown": "waiting",
    "live": "live",
    "late": "stale",
    "stale": "stale",
    "gap": "away",
    "backfilling": "waiting",
    "closed": "waiting",
}
"""What each state of a symbol looks like; one that is not listed looks as if it waited."""
NAMES: Final = {"unknown": "waiting"}
SILENT_AFTER_S: Final = 5.0
START: Final = "Start it: `make apps-up`"


def market_status(look: Look, decimals: int, zone: tzinfo) -> Status:
    """Say what the first line says; prices with so many decimals, times in the zone."""
    if look.away is not None:
        return _away(look)
    if look.source == "replay" and (ended := _no_replay(look)):
        return ended
    if isinstance(look.symbols, Refused):
        return Status("stale", look.symbols.message, "", "refused")
    found = shown(look.symbols)
    if found is None or not found.symbols:
        return Status(
            "waiting",
            "the feed has brought no symbol yet",
            "It shows by itself what comes; the market-engine's log says what it waits for",
        )
    summary = look.summary
    if summary is None:
        return Status(
            "stale",
            f"{look.symbol} is not in this market",
            "It is no longer followed, or never was: choose another symbol",
            "unknown symbol",
        )
    return _of_symbol(look, summary, headline(summary, decimals), zone)


def headline(summary: SymbolSummary, decimals: int) -> str:
    """Say the price, and how it changed within an hour."""
    price = f"{summary.symbol} {exact(summary.price, decimals)}"
    if summary.change_1h is None:
        return price
    return f"{price} · {percent(summary.change_1h)} in an hour"


def _away(look: Look) -> Status:
    away = look.away
    if away is None:  # pragma: no cover - the caller has looked
        raise AssertionError
    if away.answers:
        return Status("waiting", f"the market-engine is not ready: {away.reason}")
    if away.last is not None and look.now_s - away.since_s < STALE_AFTER_S:
        return Status("waiting", "the market-engine's answers are late", away.reason)
    old = UNKNOWN if away.last_s is None else age(look.now_s - away.last_s)
    words = "the market-engine is not there: " + (
        "no prices, no metrics" if away.last is None else f"what is shown is of {old}"
    )
    cure = f"{START} · {away.reason} · this page goes on asking"
    return Status("away", words, cure)


def _no_replay(look: Look) -> Status | None:
    replay = shown(look.replay)
    if replay is None or replay.state == "none":
        return Status(
            "waiting",
            "no recording is being replayed",
            "Choose one below, or go back to the market",
        )
    if replay.state == "failed":
        words = f"the replay failed: {replay.error or 'no reason was said'}"
        return Status("broken", words, "The market itself goes on: choose it above", "failed")
    return None


def _of_symbol(look: Look, summary: SymbolSummary, head: str, zone: tzinfo) -> Status:
    """Take the worst that holds: of the feed as a whole, then of the symbol."""
    health, feed = shown(look.health), look.feed
    if look.source == "feed" and health is not None and summary.state in {"live", "late"}:
        if health.connection.connected is False:
            detail = health.connection.detail or "no connection is left"
            return Status("stale", f"{head} · the venue is not connected", detail)
        if silent_s := _silent_s(health):
            words = f"{head} · nothing has come from the feed for {duration(silent_s)}"
            return Status("stale", words, "It connects again by itself")
    state = STATES.get(summary.state, "waiting")
    name = NAMES.get(summary.state, summary.state)
    say = _WORDS.get(summary.state, _unknown)
    words = say(look, feed, _since(summary, zone))
    return _replayed(look, Status(state, f"{head} · {words}", _cure(feed, summary), name))


def _replayed(look: Look, status: Status) -> Status:
    """Let the line of a recording say so, in place of "live"."""
    replay = shown(look.replay)
    if look.source == "feed" or replay is None or status.state != "live":
        return status
    state: State = "live" if replay.state == "playing" else "waiting"
    return Status(state, status.words, status.cure, f"recording, {replay.state}")


def _silent_s(health: FeedHealth) -> float:
    """Tell for how long nothing at all has come, 0 where that is no fault."""
    if health.received_ms is None or not health.schedule.open:
        return 0.0
    silent_s = (health.now_ms - health.received_ms) / 1000
    return silent_s if silent_s > SILENT_AFTER_S else 0.0


def _since(summary: SymbolSummary, zone: tzinfo) -> str:
    return clock(summary.since_ms / 1000, zone) if summary.since_ms else UNKNOWN


def _cure(feed: SymbolFeed | None, summary: SymbolSummary) -> str:
    """Say why it is so, where the state alone does not."""
    if summary.state in {"live", "unknown"} or feed is None:
        return ""
    return feed.why[:1].upper() + feed.why[1:]


def sound(feed: SymbolFeed | None) -> str:
    """Say whether trades are missing, or that nobody can know."""
    if feed is None:
        return "whether trades are missing is not known"
    if feed.ids_missing is None:
        return "what is missing cannot be known: no trade ids"
    if feed.ids_missing:
        return f"trades flow, {number(feed.ids_missing)} missing"
    return "feed sound: nothing missing"


def _live(_look: Look, feed: SymbolFeed | None, _since: str) -> str:
    return sound(feed)


def _unknown(_look: Look, _feed: SymbolFeed | None, _since: str) -> str:
    return "nothing has come yet"


def _late(_look: Look, feed: SymbolFeed | None, since: str) -> str:
    behind = feed.lag_ms if feed else None
    lag = "late" if behind is None else f"{duration(behind / 1000)} behind"
    return f"what comes is {lag}, since {since}"


def _stale(look: Look, feed: SymbolFeed | None, since: str) -> str:
    if feed is None or feed.last_received_ms is None or look.source == "replay":
        return f"no trade since {since}"
    return f"no trade for {duration((look.market_ms - feed.last_received_ms) / 1000)}"


def _gap(_look: Look, feed: SymbolFeed | None, since: str) -> str:
    missing = feed.ids_missing if feed else None
    if missing is None:
        return f"trades are missing since {since}"
    verb = "is" if missing == 1 else "are"
    return f"{plural(missing, 'trade')} {verb} missing since {since}"


def _backfilling(_look: Look, feed: SymbolFeed | None, since: str) -> str:
    missing = feed.ids_missing if feed else None
    what = "missing trades" if not missing else plural(missing, "missing trade")
    return f"{what} being fetched since {since}"


def _closed(_look: Look, _feed: SymbolFeed | None, since: str) -> str:
    return f"the market is closed since {since}"


_WORDS: Final[dict[str, Callable[[Look, SymbolFeed | None, str], str]]] = {
    "live": _live,
    "unknown": _unknown,
    "late": _late,
    "stale": _stale,
    "gap": _gap,
    "backfilling": _backfilling,
    "closed": _closed,
}
