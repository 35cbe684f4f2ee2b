"""The board *Paper desk*: what the portfolios are worth, and whether the desk's numbers can be trusted."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

import paper_details as details
from panels import (
    ALL,
    DANGER,
    OF_ENGINES,
    WARNING,
    Column,
    Query,
    State,
    board,
    chooser,
    lines,
    note,
    number,
    row,
    rows,
    state,
)
from paper_details import CHOSEN, STATES, ZERO

DESK: Final = (State(-1, "away", DANGER), *STATES)
DESK_QUERY: Final = f"min({details.STATE_QUERY} or (up{OF_ENGINES} == 0) - 1)"
"""The least of the engines chosen: −1 when one does not answer."""
RESIDUE: Final = (
    f"max(abs(portfolio_residue{{{CHOSEN}}}) > abs(portfolio_residue_worst{{{CHOSEN}}}) "
    f"or abs(portfolio_residue_worst{{{CHOSEN}}}))"
)
"""Now or ever since the start, whichever is larger."""
SMALLEST: Final = 1e-18
"""What money is counted in: a residue of it is one."""

ABOUT: Final = """\
**The desk simulates, and says what each number rests on.** An order is stored before it is answered, a fill is never more than was displayed or printed, and the ledger only grows: after every event
equity − initial balance = realised + unrealised − fees, exactly. What is left of that is the residue.

| you see | it means | do |
| --- | --- | --- |
| *away* | Prometheus cannot reach the engine | `make apps-up`; orders, fills and positions are as they were |
| *halted*, *flattening*, *reducing* | somebody set the trading state, of all portfolios: open orders wait, for in *halted* nothing is filled, in *reducing* only what makes a position smaller | `POST /trading-state`, or the page Orders; cancels pass in every state |
| no equity | no price has come for a position yet: it is unknown, and not 0; a price that is old stays in use | the board Market data says what is wrong with its symbol |
| denials | risk did not let an order pass | the order itself has the numbers and the cure in its `detail` |
| fewer fills in *pessimistic* than in *optimistic* | that much of the result depends on what a simulation cannot know | the truth lies between them |
| a residue, of any size | money came from nowhere: a defect, or a changed ledger | do not trust the numbers; keep the database |
| failures of the store | nothing can be stored, so no order is taken and none is filled | the engine's `/health` names the cure |
| fills not counted | the sidecar has another number of fills than the ledger | for a moment: nothing. Else see its runbook |
| fills on their way, for minutes | they cannot be handed to telemetry | the engine's `/health` names the cure |

Each alert has its runbook on the board *Alerts*. Fills are trades of the publisher `paper-desk` on *Pipeline health*, too.
"""


def make() -> Dashboard:
    """The board."""
    return board(
        "paper-desk",
        "Paper desk",
        "What are the portfolios worth, and can the numbers be trusted? Equity, profit, orders and "
        "why they were denied, fills in three books, how fast, the residue, and what telemetry counted.",
        [chooser("portfolio", "Portfolio", "portfolio_cash")],
        [
            *_answer(),
            *_over_time(),
            _portfolios(),
            row("Positions, orders, fills"),
            *details.orders(),
            row("How fast"),
            *details.times(),
            row("State, store, residue"),
            *details.trust(),
            row("Telemetry"),
            *details.telemetry(),
            row("What to do"),
            note("What is this", "What the board shows, and what to do.", ABOUT, size=(24, 13)),
        ],
        job=ALL,
    )


def _answer() -> list[object]:
    """The first line: the state, and the numbers that matter."""
    return [
        state(
            "Desk",
            "The trading state; the strictest of the engines chosen. Active: orders pass, if risk "
            "lets them. Reducing: only what makes a position smaller is taken or filled. Halted: none is "
            "taken or filled, open orders wait. "
            "Flattening: positions are being closed. Away: Prometheus cannot reach an engine.",
            Query(DESK_QUERY),
            DESK,
            width=3,
        ),
        number(
            "Open orders",
            "Orders that wait: for their price, their stop, liquidity, or their latency.",
            Query(f"sum(portfolio_open_orders{{{CHOSEN}}})"),
            width=3,
        ),
        number(
            "Orders accepted",
            "Orders that were taken, since the engine started.",
            Query(f'sum(portfolio_orders_total{{outcome="accepted", {CHOSEN}}} or {ZERO})'),
            width=3,
        ),
        number(
            "Denied",
            "Orders that risk did not let pass, since the engine started; by reason below.",
            Query(f"sum(portfolio_denials_total{{{CHOSEN}}} or {ZERO})"),
            width=3,
            steps=[(1, WARNING)],
        ),
        number(
            "Fills",
            "Fills of the neutral book, which is the account, since the engine started.",
            Query(f'sum(portfolio_fills_total{{book="neutral", {CHOSEN}}} or {ZERO})'),
            width=3,
        ),
        number(
            "Residue",
            "The largest amount, in its portfolio's currency, that profit and fees do not explain: "
            "now, or after any fill since the engine started. It is exactly 0; above that an alert fires.",
            Query(RESIDUE),
            unit="short",
            width=3,
            steps=[(SMALLEST, DANGER)],
        ),
        number(
            "Fills not counted",
            "How far the sidecar's count of fills is from the ledger's, those of all portfolios "
            "ever. Above 0 for a moment after a fill; an alert fires after 90 seconds.",
            Query(f"abs({details.NOT_COUNTED})"),
            width=3,
            steps=[(1, WARNING)],
        ),
        number(
            "Store failures",
            "Tries to store that failed, since the engine started. Nothing that was answered is "
            "lost by one; no order is taken or filled meanwhile.",
            Query("sum(portfolio_store_failures_total{@})"),
            width=3,
            steps=[(1, DANGER)],
        ),
    ]


def _over_time() -> list[object]:
    return [
        lines(
            "Equity",
            "Cash and what the positions are worth, in the portfolio's currency: valued at the bid if "
            "long, at the ask if short; an old price stays in use. A gap: none came for a position.",
            Query(f"portfolio_equity{{{CHOSEN}}}", "{{portfolio}} in {{currency}} on {{instance}}"),
            unit="locale",
            decimals=2,
            size=(8, 8),
            from_zero=False,
        ),
        lines(
            "Profit, loss and fees",
            "Realised by what was closed, unrealised in what is open, and fees paid since the "
            "portfolio was made; realised + unrealised − fees is what equity has gained.",
            *(
                Query(
                    f"portfolio_{name}{{{CHOSEN}}}", f"{{{{portfolio}}}} {name} on {{{{instance}}}}"
                )
                for name in ("realised", "unrealised", "fees")
            ),
            unit="locale",
            decimals=2,
            size=(8, 8),
            from_zero=False,
        ),
        lines(
            "Drawdown",
            "How far equity is below its highest so far, now and at most, at any event and not only "
            "at those that were scraped.",
            Query(f"portfolio_drawdown_ratio{{{CHOSEN}}}", "{{portfolio}} now on {{instance}}"),
            Query(
                f"portfolio_max_drawdown_ratio{{{CHOSEN}}}", "{{portfolio}} at most on {{instance}}"
            ),
            unit="percentunit",
            decimals=2,
            size=(8, 8),
            from_zero=False,
        ),
    ]


def _portfolios() -> object:
    return rows(
        "Portfolios",
        "Each portfolio now, in its own currency. Gross is the sum of the absolute values of its "
        "positions. An empty cell: a position has no price.",
        {"instance": "Engine", "portfolio": "Portfolio"},
        [
            _column("Equity", "equity"),
            _column("Cash", "cash"),
            _column("Realised", "realised"),
            _column("Unrealised", "unrealised"),
            _column("Fees", "fees"),
            _column("Gross", "gross"),
            _column("Drawdown", "drawdown_ratio", unit="percentunit"),
            _column("Max drawdown", "max_drawdown_ratio", unit="percentunit"),
            _column("Open orders", "open_orders", decimals=0),
            _column("Residue", "residue", danger_at=SMALLEST, of="abs(@)"),
            _column("Worst residue", "residue_worst", danger_at=SMALLEST, of="abs(@)"),
        ],
        sort_by="Equity",
        size=(24, 7),
    )


def _column(
    name: str,
    metric: str,
    *,
    unit: str = "locale",
    decimals: int = 2,
    danger_at: float | None = None,
    of: str = "@",
) -> Column:
    """``of`` is what is made of the metric, which it has as ``@``."""
    series = of.replace("@", f"portfolio_{metric}{{{CHOSEN}}}")
    query = f"sum by (instance, portfolio) ({series})"
    return Column(name, query, unit=unit, decimals=decimals, danger_at=danger_at)
