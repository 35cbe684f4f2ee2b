"""The board *Market data*: whether the feed can be believed, and what the market does."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

import market_details as details
from market_details import CHOSEN, STATES
from panels import (
    DANGER,
    ENGINE,
    FAINT,
    GOOD,
    OF_ENGINES,
    RATE,
    WARNING,
    Query,
    State,
    board,
    chooser,
    dashed,
    lines,
    note,
    number,
    row,
    state,
    timeline,
)

FEED: Final = (
    State(0, "away", DANGER),
    State(1, "disconnected", DANGER),
    State(2, "ended", FAINT),
    State(3, "closed", FAINT),
    State(4, "live", GOOD),
)
FEED_QUERY: Final = (
    "((market_schedule_open{@} == 0) + 3"
    " or (market_feed_connected{@} == 0) + 1"
    " or (market_feed_connects_total{@} == 0) + 1"
    " or market_feed_running{@} * 2 + 2"
    f" or up{OF_ENGINES})"
)
"""4 while the feed runs, 3 outside of its schedule, 2 when it has ended, 1 while it has no
connection or never had one, 0 when the engine does not answer."""
ZERO: Final = "market_events_total{@} * 0"
"""0 for each engine that answers: a count of nothing is 0, and unknown when nobody answers."""

ABOUT: Final = """\
**Every trade of the feed goes by the health of its symbol first.** Trade ids show what is missing and what came twice, times show what is late or skewed,
silence shows what is frozen. What a venue does not number is unknown here, and never 0.

| you see | it means | do |
| --- | --- | --- |
| *away* | Prometheus cannot reach the engine | `make apps-up`; what trades meanwhile is fetched afterwards, where the venue gives it |
| *disconnected* | no connection to the venue | the engine tries again by itself; its log has the reason |
| *ended* | a replay that came to its end, or a feed that failed | `/health` of the engine says which |
| *stale* | the feed goes on, and this symbol brings nothing | the venue's own status page: halted, delisted, or a stream that died |
| *gap*, or ids missing | trades did not come, and the figures of that time are without them | they are fetched where the venue gives them; else nothing brings them back |
| *late*, or a high lag | what comes is old | the network, the clocks (NTP), the busy share below |
| duplicates | the venue sent trades twice; they are counted once | nothing |
| frames rejected | something came that cannot be used | the reason here, the frame in the engine's log |
| failures of the store | trades and bars are not written | the engine's `/health` names the cure; they wait on its bus meanwhile |
| clients dropped | a reader of a stream was too slow | nothing, unless it is one of yours |

Each alert has its runbook on the board *Alerts*.
"""


def make() -> Dashboard:
    """The board."""
    return board(
        "market-data",
        "Market data",
        "Is the feed sound? The state of every symbol, prices, how late they are, what is missing, "
        "and how the engine stores and streams them.",
        [chooser("symbol", "Symbol", "market_trades_total")],
        [
            *_answer(),
            *_over_time(),
            row("Prices"),
            *details.prices(),
            row("The feed"),
            *details.feed(),
            row("Storage"),
            *details.storage(),
            row("Streams"),
            *details.streams(),
            row("The engine"),
            *details.engine(),
            row("What to do"),
            note("What is this", "What the board shows, and what to do.", ABOUT, size=(24, 13)),
        ],
        job=ENGINE,
    )


def _answer() -> list[object]:
    """The first line: the state, and the numbers that matter."""
    return [
        state(
            "Feed",
            "The worst of the engines chosen. Live: it takes what comes. Closed: its schedule says "
            "so. Ended: a replay is over, or the feed failed. Disconnected: it has no connection to "
            "the venue. Away: Prometheus cannot reach the engine.",
            Query(f"min({FEED_QUERY})"),
            FEED,
            width=3,
        ),
        number(
            "Symbols live",
            "Symbols that bring trades, in time, and of which none is missing. A clock that is off "
            "is told as a fault, and is no state.",
            Query(f'sum(market_feed_state{{state="live", {CHOSEN}}})'),
            width=3,
        ),
        number(
            "Symbols not live",
            "Symbols that are late, stale, without some trades, being filled, or not heard yet; "
            "without those whose market is closed. The timeline below says which.",
            Query(f'sum(market_feed_state{{state!~"live|closed", {CHOSEN}}})'),
            width=3,
            steps=[(1, WARNING)],
        ),
        number(
            "Trades missing",
            "Trades that did not come, by their ids, and that nothing has brought since. A dash: "
            "the venue gives no ids.",
            Query(f"sum(market_feed_ids_missing{{{CHOSEN}}})"),
            width=3,
            steps=[(1, DANGER)],
        ),
        number(
            "Faults",
            "Faults named since the engine started, those of the feed as a whole included. By kind "
            "below, in words on the desk's page Market.",
            Query(f"sum({details.FAULTS} or {ZERO})"),
            width=3,
            steps=[(1, WARNING)],
        ),
        number(
            "Newest trade",
            "How long ago the newest trade happened, by the venue's clock. In a replay it is as old "
            "as the recording.",
            Query(
                f"clamp_min(time() - max(market_last_trade_timestamp_seconds{{{CHOSEN}}} > 0), 0)"
            ),
            unit="s",
            width=3,
        ),
        number(
            "Lag p99",
            "99 in 100 trades of the last minute were received within this time of happening, all "
            "symbols together, by the slowest of the engines chosen. Above 1 s an alert fires.",
            Query("max(instance:market_feed_lag_seconds:p99_1m{@})"),
            unit="s",
            width=3,
            steps=[(0.5, WARNING), (1, DANGER)],
        ),
        number(
            "Store failures",
            "Tries to store that failed, since the engine started. Nothing is lost by one: what "
            "waits is tried again.",
            Query("sum(market_store_failures_total{@})"),
            width=3,
            steps=[(1, WARNING)],
        ),
    ]


def _over_time() -> list[object]:
    return [
        timeline(
            "State of each symbol",
            "Live: trades come, in time. Late: what comes is old. Stale: nothing comes. Gap: trades are "
            "missing, shown for 5 minutes. Backfilling: they are being fetched. Closed: the market "
            "or the schedule. Unknown: nothing has come yet.",
            Query(details.STATE_QUERY, "{{symbol}} on {{instance}}"),
            STATES,
            size=(24, 8),
        ),
        lines(
            "Trades per second by symbol",
            "Trades taken a second, those fetched afterwards included.",
            Query(f"sum by (symbol) (rate(market_trades_total{{{CHOSEN}}}[{RATE}]))", "{{symbol}}"),
            size=(8, 8),
        ),
        lines(
            "Price against its 5 min VWAP",
            "How far the newest price is from the volume-weighted one of the last 5 minutes: what "
            "all symbols can be compared by.",
            Query(
                f"market_price{{{CHOSEN}}} / ignoring (window)"
                f' market_vwap{{window="5m", {CHOSEN}}} - 1',
                "{{symbol}} on {{instance}}",
            ),
            unit="percentunit",
            decimals=2,
            size=(8, 8),
            from_zero=False,
        ),
        dashed(
            lines(
                "Lag percentiles",
                "From a trade at the venue to its receipt, over the last seconds; linear within the "
                "histogram's buckets. It is as wrong as the clocks differ.",
                *(
                    Query(
                        f"histogram_quantile({q}, sum by (le) "
                        f"(rate(market_feed_lag_seconds_bucket{{{CHOSEN}}}[{RATE}])))",
                        name,
                    )
                    for q, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))
                ),
                unit="s",
                size=(8, 8),
                colors={"p50": GOOD},
            ),
            {"p90": [10, 4], "p99": [3, 4]},
        ),
    ]
