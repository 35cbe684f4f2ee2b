"""The pages' first lines: does it count, and does everything flow? A state, in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from trade_telemetry import PublisherStats
from trading_app.formats import age, number, plural
from trading_app.sidecar_answers import Summary
from trading_app.sidecar_client import Away

State = Literal["live", "waiting", "stale", "away", "broken"]
SILENT_AFTER_S: Final = 3.0
STALE_AFTER_S: Final = 5.0
QUIET_AFTER_S: Final = 60.0
SHAPES: Final[dict[State, str]] = {
    "live": "●",
    "waiting": "◐",
    "stale": "◆",
    "away": "▲",
    "broken": "✕",
}


@dataclass(frozen=True, slots=True)
class Status:
    """The state, the words after it, and what to do about it ("" when there is nothing to do).

    ``name`` is what a page calls the state where its own word would answer another question.
    """

    state: State
    words: str
    cure: str = ""
    name: str = ""


def live_publishers(summary: Summary) -> int:
    """Count the publishers that gave a sign of life within three seconds."""
    return sum(summary.now_s - state.last_seen_s <= SILENT_AFTER_S for state in summary.publishers)


def status(stats: PublisherStats, answer: Summary | Away[Summary], now_s: float) -> Status:
    """Say what the first line says at ``now_s`` (unix seconds)."""
    if isinstance(answer, Away):
        return _without_figures(stats, answer, now_s)
    if answer.status == "starting":
        return Status("waiting", f"the sidecar is starting · {_backlog(stats)}")
    if answer.status != "ok":
        reason = answer.reason or answer.status
        return Status(
            "stale",
            f"the sidecar has stopped counting: {reason} · {_backlog(stats)}",
            _cure_of(answer.status),
        )
    if not stats.connected:
        return Status(
            "waiting",
            f"the sidecar is up, but not reached for trades yet · {_backlog(stats)}",
            "If this stays, WEBAPP_ZMQ_ADDR is not where the sidecar listens (SIDECAR_ZMQ_BIND)",
        )
    heard = plural(live_publishers(answer), "publisher")
    unaccounted = residue(answer)
    return Status(
        "live",
        f"{heard} · {_backlog(stats)} · residue {number(unaccounted)}",
        "Not every trade is accounted for: the page Delivery says whose" if unaccounted else "",
    )


def _cure_of(trouble: str) -> str:
    if trouble == "blocked":
        return "It tries again and goes on by itself; until then trades wait where they are"
    return "Restart the sidecar: `make sidecar-up`"


def residue(summary: Summary) -> int:
    """Count what the account of the publishers is off by; 0, or it is a defect."""
    return abs(summary.residue) + sum(abs(state.residue) for state in summary.publishers)


def flow_status(status: Status, summary: Summary | None, quiet_s: float | None) -> Status:
    """Say whether everything flows, where the sidecar itself is well.

    ``quiet_s`` is how long ago a trade came, None if none came in the last quarter of an hour.
    """
    if status.state != "live" or summary is None:
        return status
    if summary.trades.buy + summary.trades.sell == 0:
        return Status(
            "waiting",
            "the sidecar counts, and no trade has come yet",
            "`make demo` shows a lively stream of trades; or press Buy on the page Trade",
        )
    if quiet_s is None or quiet_s > QUIET_AFTER_S:
        last = "came more than 15 min ago" if quiet_s is None else f"came {age(quiet_s)}"
        return Status(
            "waiting",
            f"the sidecar counts, and the last trade {last}",
            "Nobody trades, or nobody is heard: the page Trade lists the publishers",
        )
    lost = sum(sum(state.lost.values()) for state in summary.publishers)
    flows = f"trades flow, and {plural(lost, 'trade')} in all went lost"
    heard = plural(live_publishers(summary), "publisher")
    return Status(
        "live",
        f"{flows if lost else 'everything flows'} · {heard}",
        "The page Delivery says whose, and why" if lost else "",
    )


def _without_figures(stats: PublisherStats, away: Away[Summary], now_s: float) -> Status:
    if stats.connected and now_s - away.since_s < STALE_AFTER_S and away.last is not None:
        return Status("waiting", f"the sidecar's figures are late · {_backlog(stats)}")
    if stats.connected:
        return Status(
            "stale",
            f"trades go out, but {away.reason}: the figures below are from "
            f"{age(now_s - away.last_s) if away.last_s else 'never'}",
            "Check SIDECAR_URL, or restart the sidecar",
        )
    cure = "Start it: `make sidecar-up`"
    if away.answers:
        cure = f"It is there, but takes no trades: {away.reason}"
    return Status("away", _promise(stats), f"{cure} · {_survival(stats)}")


def _promise(stats: PublisherStats) -> str:
    waiting = stats.waiting + stats.leftover
    settled = "counted" if stats.tracked else "sent"
    if waiting == 0:
        return f"trades will wait here and be {settled} when it returns"
    verb = "waits" if waiting == 1 else "wait"
    return f"{plural(waiting, 'trade')} {verb} here and will be {settled} when it returns"


def _survival(stats: PublisherStats) -> str:
    """Say what a restart of the desk does to what waits."""
    if stats.durable:
        return "what waits is in a file and survives a restart of this desk"
    return "what waits is in memory: a restart of this desk loses it"


def _backlog(stats: PublisherStats) -> str:
    earlier = f"{number(stats.leftover)} of an earlier run"
    if stats.waiting == 0:
        return f"{earlier} waiting" if stats.leftover else "nothing waiting"
    waiting = f"{plural(stats.waiting, 'trade')} waiting"
    return f"{waiting}, and {earlier}" if stats.leftover else waiting
