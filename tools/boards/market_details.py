"""What *Market data* shows below its first screen: prices, feed, storage, streams, the engine."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from panels import (
    DANGER,
    FAINT,
    GOOD,
    OF_ENGINES,
    RATE,
    WARNING,
    Column,
    Query,
    State,
    buckets,
    dashed,
    for_each,
    lines,
    rows,
)

CHOSEN: Final = 'symbol=~"$symbol", @'
FAULTS: Final = 'market_feed_faults_total{symbol=~"$symbol|", @}'
"""With those that no symbol had, for they are of the feed as a whole."""
STATES: Final = (
    State(0, "unknown", FAINT),
    State(1, "stale", WARNING),
    State(2, "gap", DANGER),
    State(3, "late", WARNING),
    State(4, "backfilling", WARNING),
    State(5, "closed", FAINT),
    State(6, "live", GOOD),
)
STATE_QUERY: Final = (
    "sum by (instance, symbol) ("
    + " or ".join(
        f'{each.value} * market_feed_state{{state="{each.word}", {CHOSEN}}}' for each in STATES
    )
    + ")"
)
_SYMBOL: Final = "sum by (instance, symbol)"
_ONE: Final = "{{instance}}"


def prices() -> list[object]:
    """What each symbol does."""
    return [
        for_each(
            lines(
                "Price and VWAP of $symbol",
                "The newest price, and the volume-weighted one of the last 5 minutes, in the "
                "symbol's currency.",
                Query(f"market_price{{{CHOSEN}}}", "{{symbol}} price"),
                Query(f'market_vwap{{window="5m", {CHOSEN}}}', "{{symbol}} VWAP"),
                unit="locale",
                decimals=2,
                size=(24, 6),
                from_zero=False,
            ),
            "symbol",
        ),
        rows(
            "Symbols",
            "Each symbol now. Volatility is that of the last hour, of a year of 365 days, and is "
            "known after an hour. Gaps are jumps in the ids; missing is what they left. Duplicates, "
            "late and out of order ones are counted since the engine started.",
            {"instance": "Engine", "symbol": "Symbol"},
            [
                _column("Price", "market_price", decimals=2),
                _column("VWAP 5 min", "market_vwap", decimals=2, matchers=f'window="5m", {CHOSEN}'),
                Column(
                    "Volatility",
                    f'{_SYMBOL} (market_volatility_ratio{{window="1h", {CHOSEN}}})',
                    unit="percentunit",
                    decimals=1,
                ),
                Column(
                    "Trades/s",
                    f"{_SYMBOL} (instance_symbol:market_trades:rate1m{{{CHOSEN}}})",
                    unit="short",
                    decimals=2,
                ),
                _column("Trades", "market_trades_total"),
                _column("Missing", "market_feed_ids_missing", danger_at=1),
                _column("Gaps", "market_feed_id_gaps_total"),
                _column("Duplicates", "market_feed_duplicates_total"),
                _column("Late", "market_feed_late_total"),
                _column("Out of order", "market_feed_out_of_order_total"),
                _column("Time gaps", "market_feed_time_gaps_total"),
                _column("Malformed", "market_feed_malformed_total"),
                _column("Backfilled", "market_feed_backfilled_total"),
                Column(
                    "Last trade",
                    "clamp_min(time() - max by (instance, symbol)"
                    f" (market_last_trade_timestamp_seconds{{{CHOSEN}}} > 0), 0)",
                    unit="s",
                    decimals=1,
                ),
            ],
            sort_by="Trades",
            size=(24, 8),
        ),
    ]


def _column(
    name: str,
    metric: str,
    *,
    decimals: int = 0,
    danger_at: float | None = None,
    matchers: str = CHOSEN,
) -> Column:
    query = f"{_SYMBOL} ({metric}{{{matchers}}})"
    return Column(name, query, decimals=decimals, danger_at=danger_at)


def feed() -> list[object]:
    """How the data comes in."""
    return [
        buckets(
            "Lag",
            "Trades a second in each span of lag, over the last seconds; darker is more.",
            Query(
                f"sum by (le) (rate(market_feed_lag_seconds_bucket{{{CHOSEN}}}[{RATE}]))",
                "{{le}}",
                format=PromQueryFormat.HEATMAP,
            ),
            size=(8, 7),
        ),
        lines(
            "Faults by kind",
            "Faults named since the engine started, once an episode. Those of the feed as a whole "
            "are among them.",
            Query(f"sum by (kind) ({FAULTS})", "{{kind}}"),
            unit="locale",
            size=(8, 7),
        ),
        lines(
            "Trades missing by symbol",
            "Trades that did not come, by their ids, and that nothing has brought since.",
            Query(f"market_feed_ids_missing{{{CHOSEN}}}", "{{symbol}} on {{instance}}"),
            unit="locale",
            size=(8, 7),
        ),
        lines(
            "Rejected frames by reason",
            "Frames and rows that were not taken, since the engine started. An unknown type is "
            "sound, and not for us.",
            Query("sum by (reason) (market_frames_rejected_total{@}) > 0", "{{reason}}"),
            unit="locale",
            size=(8, 6),
        ),
        lines(
            "Connections",
            "Connections to the venue since the engine started: tried, made, and replaced before "
            "the venue ends them. There are none for a simulated feed or a replay.",
            Query("market_feed_connection_attempts_total{@}", "{{instance}} tried"),
            Query("market_feed_connects_total{@}", "{{instance}} made"),
            Query("market_feed_rotations_total{@}", "{{instance}} replaced"),
            unit="locale",
            size=(8, 6),
        ),
        lines(
            "Duplicates and late trades per second",
            "Duplicates came before and are counted once; late ones are older than the newest by "
            "more than a second, and out of order ones by less.",
            *(
                Query(f"sum(rate({metric}{{{CHOSEN}}}[{RATE}]))", name)
                for name, metric in (
                    ("duplicate", "market_feed_duplicates_total"),
                    ("late", "market_feed_late_total"),
                    ("out of order", "market_feed_out_of_order_total"),
                )
            ),
            size=(8, 6),
            colors={"late": WARNING},
        ),
    ]


def storage() -> list[object]:
    """What is kept, and whether it can be."""
    return [
        lines(
            "Stored per second",
            "Trades and closed bars written a second.",
            *(_summed(f"market_stored_{name}_total", name) for name in ("trades", "bars")),
            size=(6, 7),
            colors={"trades": GOOD},
        ),
        lines(
            "Failures per second",
            "Tries to store that failed. What they would have stored waits and is tried again.",
            Query(
                f"sum by (instance) (rate(market_store_failures_total{{@}}[{RATE}]))",
                "{{instance}} store",
            ),
            Query(
                f"sum by (instance) (rate(market_retention_failures_total{{@}}[{RATE}]))",
                "{{instance}} delete",
            ),
            size=(5, 7),
        ),
        lines(
            "Waiting to be stored",
            "Messages that wait for the writer. Some, for a moment, is how batches are made; at "
            "50,000 the feed waits.",
            Query("market_store_waiting{@}", _ONE),
            size=(5, 7),
        ),
        lines(
            "Oldest that waits",
            "How long the oldest message of the batch at hand has waited: some tenths of a second, "
            "unless the store cannot be written. Above 5 s an alert fires.",
            Query("market_store_lag_seconds{@}", _ONE),
            unit="s",
            size=(4, 7),
        ),
        lines(
            "Size on disk",
            "The database with its log, and what of it is free to be used again; looked at once a "
            "minute.",
            Query("market_store_bytes{@}", "{{instance}} all"),
            Query("market_store_free_bytes{@}", "{{instance}} free"),
            unit="bytes",
            size=(4, 7),
        ),
        lines(
            "Deleted per second by table",
            "Rows that were deleted because they were older than is to be kept.",
            Query(
                f"sum by (table) (rate(market_retention_deleted_total{{@}}[{RATE}]))", "{{table}}"
            ),
            size=(12, 5),
        ),
        lines(
            "Batches and repeats per second",
            "Transactions, and trades or faults that were stored before: those of a restart, or of "
            "a file that is loaded again.",
            _summed("market_store_batches_total", "batches"),
            _summed("market_store_duplicates_total", "stored before"),
            size=(12, 5),
            colors={"stored before": FAINT},
        ),
    ]


def _summed(metric: str, name: str) -> Query:
    return Query(f"sum(rate({metric}{{@}}[{RATE}]))", name)


def streams() -> list[object]:
    """Who listens, and how soon they hear."""
    return [
        lines(
            "Stream clients",
            "Clients that read a stream now, of at most 100.",
            Query("market_stream_clients{@}", _ONE),
            size=(5, 7),
        ),
        lines(
            "Messages per second",
            "Messages handed to clients of streams.",
            _summed("market_stream_messages_total", "messages"),
            size=(5, 7),
        ),
        lines(
            "Dropped",
            "Clients that were dropped, since the engine started, by reason; and messages that a "
            "reader of the bus lost because it was full, by reader.",
            Query(
                "sum by (reason) (market_stream_clients_dropped_total{@})", "clients: {{reason}}"
            ),
            Query("sum by (group) (market_bus_dropped_total{@})", "messages: {{group}}"),
            unit="locale",
            size=(6, 7),
        ),
        dashed(
            lines(
                "Tick to stream",
                "From a trade's receipt to its being handed to the first client, over the last "
                "seconds; empty without clients.",
                *(
                    Query(
                        f"histogram_quantile({q}, sum by (le) "
                        f"(rate(market_tick_to_stream_seconds_bucket{{@}}[{RATE}])))",
                        name,
                    )
                    for q, name in ((0.5, "p50"), (0.99, "p99"))
                ),
                unit="s",
                size=(8, 7),
                colors={"p50": GOOD},
            ),
            {"p99": [3, 4]},
        ),
    ]


def engine() -> list[object]:
    """The process."""
    return [
        lines(
            "Busy share",
            "The part of its time that the pipeline works, over the last minute. Near 100 % what "
            "comes waits in the connection, and the lag grows.",
            Query("instance:market_pipeline_busy:rate1m{@}", _ONE),
            unit="percentunit",
            size=(6, 6),
        ),
        lines(
            "HTTP requests per second",
            "Requests answered, by route and class of the answer.",
            Query(
                f"sum by (route, code_class) (rate(market_http_requests_total{{@}}[{RATE}]))",
                "{{code_class}} {{route}}",
            ),
            size=(8, 6),
        ),
        lines(
            "CPU",
            "Seconds of processor time a second; 1 is a whole core.",
            Query(f"sum by (instance) (rate(process_cpu_seconds_total{OF_ENGINES}[{RATE}]))", _ONE),
            size=(5, 6),
        ),
        lines(
            "Memory",
            "Resident memory of the engine's process. It settles; a line that climbs for hours is "
            "a leak.",
            Query(f"process_resident_memory_bytes{OF_ENGINES}", _ONE),
            unit="bytes",
            size=(5, 6),
        ),
    ]
