"""What *Paper desk* shows below its first screen: orders, fills, times, residue, telemetry."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from panels import (
    DANGER,
    GOOD,
    RATE,
    WARNING,
    Query,
    State,
    buckets,
    dashed,
    lines,
    timeline,
)

CHOSEN: Final = 'portfolio=~"$portfolio", @'
ZERO: Final = "portfolio_store_failures_total{@} * 0"
"""0 for each desk that answers: a count of nothing is 0, and unknown when nobody answers."""
OURS: Final = 'publisher="paper-desk", @'
"""What the sidecar has of the desk: the publisher whose trades are its fills."""
STATES: Final = (
    State(0, "halted", DANGER),
    State(1, "flattening", WARNING),
    State(2, "reducing", WARNING),
    State(3, "active", GOOD),
)
_NAMES: Final = ("halted", "flatten", "reducing", "active")
STATE_QUERY: Final = (
    "max by (instance) ("
    + " or ".join(
        f'{index} * portfolio_trading_state{{state="{name}", @}}'
        for index, name in enumerate(_NAMES)
    )
    + ")"
)
"""The number of the state that is 1: it times its number, so that all others are 0."""
COUNTED: Final = (
    f"(sum(telemetry_publisher_applied_total{{{OURS}}}) or sum(telemetry_received_total{{@}}) * 0)"
)
"""0 when the sidecar answers and has never heard of the desk; unknown when it does not answer."""
NOT_COUNTED: Final = f"sum(portfolio_telemetry_fills{{@}}) - {COUNTED}"
_TIMES: Final = (
    (
        "Tick to order",
        "portfolio_tick_to_order_seconds",
        "Receipt of its symbol's newest event to an accepted order stored; none of replays",
    ),
    (
        "Submit",
        "portfolio_submit_seconds",
        "What it takes to accept or deny an order, storing it included",
    ),
    (
        "Order to fill",
        "portfolio_order_to_fill_seconds",
        "From acceptance to each fill of the neutral book, by the market's time",
    ),
)


def orders() -> list[object]:
    """What is held and what is asked for."""
    return [
        lines(
            "Positions",
            "The signed quantity of each position, in units of its symbol; below 0 is short.",
            Query(f"portfolio_position{{{CHOSEN}}}", "{{portfolio}} {{symbol}} on {{instance}}"),
            size=(12, 7),
            from_zero=False,
        ),
        lines(
            "Gross",
            "The sum of the absolute values of all positions, in the portfolio's currency.",
            Query(f"portfolio_gross{{{CHOSEN}}}", "{{portfolio}} in {{currency}} on {{instance}}"),
            unit="locale",
            decimals=2,
            size=(6, 7),
        ),
        lines(
            "Waiting orders",
            "Orders that are open, of each portfolio.",
            Query(f"portfolio_open_orders{{{CHOSEN}}}", "{{portfolio}} on {{instance}}"),
            unit="locale",
            size=(6, 7),
        ),
        lines(
            "Orders by outcome",
            "Orders since the engine started: accepted, denied by risk, or repeated, which is the "
            "same order sent again and changes nothing.",
            Query(f"sum by (outcome) (portfolio_orders_total{{{CHOSEN}}})", "{{outcome}}"),
            unit="locale",
            size=(8, 7),
        ),
        lines(
            "Denials by reason",
            "Orders that risk denied since the engine started, by reason.",
            Query(f"sum by (reason) (portfolio_denials_total{{{CHOSEN}}}) > 0", "{{reason}}"),
            unit="locale",
            size=(8, 7),
        ),
        lines(
            "Fills by book",
            "Fills since the engine started, of the same orders in three books. Neutral is the account; "
            "how far the others are apart is what a simulation does not know.",
            Query(f"sum by (book) (portfolio_fills_total{{{CHOSEN}}})", "{{book}}"),
            unit="locale",
            size=(8, 7),
        ),
    ]


def times() -> list[object]:
    """Each duration as quantiles since the start, and as a heatmap of the last seconds."""
    return [
        *(_quantiles(*each, width=6) for each in _TIMES),
        _quantiles(
            "Time to halt",
            "portfolio_halt_seconds",
            "From the call that sets a trading state to its being in force for the very next order",
            width=6,
        ),
        *(_heat(*each) for each in _TIMES),
    ]


def _quantiles(title: str, metric: str, what: str, *, width: int) -> object:
    panel = lines(
        title,
        f"{what}: of all since the engine started, for a person's orders are rare. Linear within "
        "the histogram's buckets; empty before the first.",
        *(
            Query(f"histogram_quantile({q}, sum by (le) ({metric}_bucket{{@}}))", name)
            for q, name in ((0.5, "p50"), (0.99, "p99"))
        ),
        unit="s",
        size=(width, 7),
        colors={"p50": GOOD},
    )
    return dashed(panel, {"p99": [3, 4]})


def _heat(title: str, metric: str, what: str) -> object:
    return buckets(
        f"{title} over time",
        f"{what}. How many a second in each span, over the last seconds; darker is more.",
        Query(
            f"sum by (le) (rate({metric}_bucket{{@}}[{RATE}]))",
            "{{le}}",
            format=PromQueryFormat.HEATMAP,
        ),
        size=(8, 7),
    )


def trust() -> list[object]:
    """What must be so for the numbers to be believed."""
    return [
        timeline(
            "Trading state",
            "What is taken and filled: all (active), only what makes a position smaller (reducing), "
            "nothing (halted), or only the desk itself, which closes all positions (flattening).",
            Query(STATE_QUERY, "{{instance}}"),
            STATES,
            size=(24, 4),
        ),
        lines(
            "Residue of each portfolio",
            "Equity less what began, realised, unrealised and fees; with its sign, in the "
            "portfolio's currency. It is exactly 0.",
            Query(f"portfolio_residue{{{CHOSEN}}}", "{{portfolio}} on {{instance}}"),
            size=(8, 7),
            from_zero=False,
        ),
        lines(
            "Failures of the store per second",
            "Tries to store that failed; no order is taken or filled until one succeeds.",
            Query(
                f"sum by (instance) (rate(portfolio_store_failures_total{{@}}[{RATE}]))",
                "{{instance}}",
            ),
            size=(8, 7),
        ),
        lines(
            "Residue of telemetry",
            "Fills of the ledger less those that were handed to telemetry and those that wait to "
            "be. It is 0.",
            Query("portfolio_telemetry_residue{@}", "{{instance}}"),
            unit="locale",
            size=(8, 7),
            from_zero=False,
        ),
    ]


def telemetry() -> list[object]:
    """The fills of the ledger beside what the sidecar counted."""
    return [
        lines(
            "Fills of the ledger and of the sidecar",
            "Fills of all portfolios ever: in the ledger, handed to telemetry, and counted by the "
            "sidecar as trades of paper-desk. The three lines lie on each other.",
            Query("sum(portfolio_telemetry_fills{@})", "ledger"),
            Query("sum(portfolio_telemetry_published{@})", "handed over"),
            Query(COUNTED, "counted by the sidecar"),
            unit="locale",
            size=(8, 7),
            from_zero=False,
        ),
        lines(
            "Not counted",
            "Fills of the ledger less those that the sidecar counted: above 0 while some are on "
            "their way, below 0 where something was counted that is in no ledger.",
            Query(NOT_COUNTED, "fills"),
            unit="locale",
            size=(5, 7),
            from_zero=False,
        ),
        lines(
            "On their way",
            "Fills that wait at the desk to be handed over, and those that the sidecar has heard of "
            "and not counted yet.",
            Query("sum(portfolio_telemetry_waiting{@})", "at the desk"),
            Query(f"sum(telemetry_publisher_waiting{{{OURS}}})", "to the sidecar"),
            unit="locale",
            size=(6, 7),
        ),
        lines(
            "Lost by reason",
            "Fills that will never be in the sidecar's totals, by reason. They are in the ledger "
            "all the same.",
            Query(f"sum by (reason) (telemetry_publisher_lost_total{{{OURS}}}) > 0", "{{reason}}"),
            unit="locale",
            size=(5, 7),
        ),
    ]
