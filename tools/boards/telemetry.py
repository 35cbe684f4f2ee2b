"""The board *Trading telemetry*: whether everything flows."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from panels import (
    DANGER,
    GOOD,
    OF_SIDECARS,
    RATE,
    SIDES,
    WARNING,
    Column,
    Query,
    State,
    board,
    buckets,
    chooser,
    dashed,
    lines,
    note,
    number,
    row,
    rows,
    state,
    timeline,
)

HEALTH: Final = (
    State(0, "away", DANGER),
    State(1, "stalled", WARNING),
    State(2, "blocked", WARNING),
    State(3, "live", GOOD),
)
HEALTH_QUERY: Final = (
    "(telemetry_receiver_up{@} + 1 + (telemetry_receiver_heartbeat_age_seconds{@} <= bool 2))"
    f" or up{OF_SIDECARS}"
)
"""3 while the receiver works, 2 while it cannot keep its state, 1 when it does not come round,
0 when the sidecar does not answer."""

ABOUT: Final = """\
**Every trade of the desk and of your bots, counted once by the sidecar.** Totals are kept on its disk and go on over its
restarts, which the blue marks show.

| you see | it means | do |
| --- | --- | --- |
| *away* | Prometheus cannot reach the sidecar | `make apps-up`; trades wait in their publishers meanwhile |
| *blocked* | it cannot write its state, and takes nothing until it can | its `/health` names the cure: mostly a full disk |
| *stalled* | it answers and counts nothing | look at its `/health` and log, then restart it |
| a growing last trade age | nobody trades, or nobody is heard | *Pipeline health* says who went silent |
| a high event age | trades reach the sidecar late | *Pipeline health*: waiting, load, backlog |
| anything lost or refused | totals are short by that many | *Pipeline health* says whose they were |

Each alert has its runbook on the board *Alerts*.
"""


def make() -> Dashboard:
    """The board, which is also Grafana's home."""
    return board(
        "trading-telemetry",
        "Trading telemetry",
        "Is everything flowing? Trades and volume by side and symbol, how late, how healthy.",
        [chooser("symbol", "Symbol", "telemetry_symbol_trades_total")],
        [*_answer(), *_over_time(), *_by_symbol(), row("What to do"), _about()],
    )


def _answer() -> list[object]:
    """The first line: the state, and the numbers that matter."""
    parts: list[object] = [
        state(
            "Sidecar",
            "The worst of the sidecars chosen. Live: it counts. Blocked: it cannot write its state. "
            "Stalled: it answers, and counts nothing. Away: Prometheus cannot reach it. In all but "
            "the first, trades wait in their publishers.",
            Query(f"min({HEALTH_QUERY})"),
            HEALTH,
            width=3,
        )
    ]
    for side, word in (("buy", "Buys"), ("sell", "Sells")):
        parts.append(
            number(
                word,
                f"Trades counted with side {side}. They go on over a restart of the sidecar; a step "
                "down means that its state was lost or replaced, or that it keeps none.",
                Query(f'sum(trades_total{{side="{side}", @}})'),
                width=4,
                color=SIDES[side],
            )
        )
    return [
        *parts,
        number(
            "Trades per second",
            "Trades counted a second, both sides, over the last seconds. 0 while nobody trades.",
            Query(f"sum(rate(trades_total{{@}}[{RATE}]))"),
            unit="short",
            width=3,
        ),
        number(
            "Last trade",
            "How long ago the last trade happened, by its own clock. If somebody should be "
            "trading and this grows, see on Pipeline health who is silent.",
            Query("clamp_min(time() - max(last_trade_ts_seconds{@} > 0), 0)"),
            unit="s",
            width=4,
        ),
        number(
            "Event age p99",
            "99 in 100 trades of the last minute were counted within this time of happening, by "
            "the slowest of the sidecars chosen. Above 1 s an alert fires: see waiting, load and "
            "queue on Pipeline health.",
            Query("max(instance:telemetry_event_age_seconds:p99_1m{@})"),
            unit="s",
            width=3,
            steps=[(0.25, WARNING), (1, DANGER)],
        ),
        number(
            "Lost or refused",
            "Events that will never be in the totals, and trades that a publisher did not take. "
            "Above 0 the totals are short by that many; Pipeline health says whose and why.",
            Query(
                "sum(telemetry_publisher_lost_total{@} or telemetry_received_total{@} * 0)"
                " + sum(telemetry_publisher_refused_total{@} or telemetry_received_total{@} * 0)"
            ),
            width=3,
            steps=[(1, DANGER)],
        ),
    ]


def _over_time() -> list[object]:
    return [
        lines(
            "Trades per second by side",
            "Trades counted a second. Both lines at 0 with a living sidecar: nobody trades.",
            Query(f"sum by (side) (rate(trades_total{{@}}[{RATE}]))", "{{side}}"),
            colors=SIDES,
        ),
        lines(
            "Volume per second by side",
            "Quantity counted a second, in units of the instruments, all symbols together.",
            Query(f"sum by (side) (rate(volume_total{{@}}[{RATE}]))", "{{side}}"),
            colors=SIDES,
        ),
        lines(
            "Total trades by side",
            "Trades counted. It only grows, over restarts too; a step down is a state that was lost.",
            Query("sum by (side) (trades_total{@})", "{{side}}"),
            unit="locale",
            size=(6, 7),
            colors=SIDES,
        ),
        lines(
            "Total volume by side",
            "Quantity counted, in units of the instruments, all symbols together.",
            Query("sum by (side) (volume_total{@})", "{{side}}"),
            unit="locale",
            decimals=4,
            size=(6, 7),
            colors=SIDES,
        ),
        dashed(
            lines(
                "Event age percentiles",
                "From a trade's own time to its being counted, over the last seconds; linear "
                "within the histogram's buckets. Empty while nobody trades. A step of p99 alone is "
                "a pause of one publisher; all three together are a slow sidecar or clocks that "
                "differ.",
                *(
                    Query(
                        f"histogram_quantile({q}, sum by (le) "
                        f"(rate(telemetry_event_age_seconds_bucket{{@}}[{RATE}])))",
                        name,
                    )
                    for q, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))
                ),
                unit="s",
                size=(6, 7),
                colors={"p50": GOOD},
            ),
            {"p90": [10, 4], "p99": [3, 4]},
        ),
        buckets(
            "Event age",
            "Trades a second in each span of age, over the last seconds; darker is more. A second "
            "band above the usual one is a publisher that is behind.",
            Query(
                f"sum by (le) (rate(telemetry_event_age_seconds_bucket{{@}}[{RATE}]))",
                "{{le}}",
                format=PromQueryFormat.HEATMAP,
            ),
            size=(6, 7),
        ),
        timeline(
            "Health",
            "Each sidecar over time: live, blocked (it cannot write its state), stalled (it "
            "answers, and counts nothing), away (Prometheus cannot reach it). A gap: Prometheus "
            "itself did not run.",
            Query(HEALTH_QUERY, "{{instance}}"),
            HEALTH,
            size=(24, 3),
        ),
    ]


def _by_symbol() -> list[object]:
    trades, volume = "telemetry_symbol_trades_total", "telemetry_symbol_volume_total"
    chosen = 'symbol=~"$symbol", @'
    return [
        row("By symbol"),
        rows(
            "Symbols",
            "What was counted of each symbol, and its trades a second over the last minute. After "
            "100 symbols the rest share “other”; trades without one are under “(none)”.",
            {"symbol": "Symbol"},
            [
                Column("Buys", f'sum by (symbol) ({trades}{{side="buy", {chosen}}})'),
                Column("Sells", f'sum by (symbol) ({trades}{{side="sell", {chosen}}})'),
                Column("Bought", f'sum by (symbol) ({volume}{{side="buy", {chosen}}})', decimals=4),
                Column("Sold", f'sum by (symbol) ({volume}{{side="sell", {chosen}}})', decimals=4),
                Column(
                    "Trades/s",
                    "sum by (symbol) "
                    f"(instance_symbol_side:telemetry_symbol_trades:rate1m{{{chosen}}})",
                    unit="short",
                    decimals=2,
                ),
            ],
            sort_by="Buys",
            size=(12, 9),
        ),
        lines(
            "Trades per second by symbol",
            "Trades counted a second, both sides together, for the symbols chosen above.",
            Query(f"sum by (symbol) (rate({trades}{{{chosen}}}[{RATE}]))", "{{symbol}}"),
            size=(12, 9),
        ),
    ]


def _about() -> object:
    return note(
        "What is this", "What the board shows, and what to do about it.", ABOUT, size=(24, 8)
    )
