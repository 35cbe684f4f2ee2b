"""The metrics of the paper desk, for ``exposition``. What is not known is absent, never 0.

Labels are from closed sets: portfolios and symbols are bounded by the desk and by the feed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import accumulate
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from market_engine.api.paper_shapes import drawdown_of
from market_engine.decimals import NANO
from market_engine.errors import StorageError
from market_engine.paper.desk import PaperDesk
from market_engine.paper.figures import BOUNDS_S, DeskFigures, Times
from market_engine.paper.model import BookName, TradingState
from market_engine.paper.reasons import Denial
from market_engine.paper.telemetry import FillTelemetry
from market_engine.paper.views import PortfolioView

OUTCOMES: Final = ("accepted", "denied", "repeated")
_Read = Callable[[PortfolioView], Decimal | float | None]
_MONEY: Final[tuple[tuple[str, str, _Read], ...]] = (
    (
        "portfolio_equity",
        "Cash and positions at their prices, in the currency; absent while one has no price.",
        lambda v: v.equity,
    ),
    ("portfolio_cash", "Cash, in the currency.", lambda v: v.cash),
    (
        "portfolio_realised",
        "Profit of what was closed, before fees, in the currency.",
        lambda v: v.realised,
    ),
    (
        "portfolio_unrealised",
        "Profit of what is open, in the currency; absent while a position has no price.",
        lambda v: v.unrealised,
    ),
    ("portfolio_fees", "Fees paid, in the currency.", lambda v: v.fees),
    (
        "portfolio_gross",
        "Sum of the absolute values of all positions, in the currency.",
        lambda v: v.gross,
    ),
)
_WORST: Final = (
    "portfolio_residue_worst",
    "The residue that was farthest from 0 after any fill since the start.",
)
_GAUGES: Final[tuple[tuple[str, str, _Read], ...]] = (
    (
        "portfolio_residue",
        "Equity that the ledger does not explain: anything but 0 is a defect.",
        lambda v: v.residue,
    ),
    (
        "portfolio_drawdown_ratio",
        "Equity over its highest, minus 1: from 0 to -1; absent while equity is not known.",
        lambda v: drawdown_of(v.equity, v.peak),
    ),
    (
        "portfolio_max_drawdown_ratio",
        "The largest drawdown so far, from 0 to -1.",
        lambda v: v.max_drawdown,
    ),
    ("portfolio_open_orders", "Orders that may still be filled.", lambda v: v.open_orders),
)
_TIMES: Final[tuple[tuple[str, str, Callable[[DeskFigures], Times]], ...]] = (
    (
        "portfolio_tick_to_order_seconds",
        "Receipt of a symbol's newest event to an accepted order stored, in seconds; no replays.",
        lambda f: f.tick_to_order,
    ),
    (
        "portfolio_submit_seconds",
        "What it takes to accept or deny an order, storing it included, in seconds.",
        lambda f: f.submit,
    ),
    (
        "portfolio_order_to_fill_seconds",
        "From an order to each of its fills, in seconds of the market's time.",
        lambda f: f.order_to_fill,
    ),
    (
        "portfolio_halt_seconds",
        "What it takes until a changed trading state is in force, in seconds.",
        lambda f: f.halt,
    ),
)


def paper_families(desk: PaperDesk) -> Iterator[Metric]:
    """Of the desk and all its portfolios."""
    views, figures = desk.portfolios(), desk.figures
    yield from _gauges(views)
    worst = GaugeMetricFamily(*_WORST, labels=["portfolio"])
    for view in views:
        name = view.portfolio.name
        worst.add_metric([name], float(figures.worst_residue.get(name, 0)))
    yield worst
    yield _positions(views)
    yield from _counters([view.portfolio.name for view in views], figures)
    state = GaugeMetricFamily(
        "portfolio_trading_state", "1 for the state that the desk is in.", labels=["state"]
    )
    now = desk.state().state
    for each in TradingState:
        state.add_metric([each], float(now is each))
    yield state
    yield CounterMetricFamily(
        "portfolio_store_failures",
        "Tries to store what the desk did that failed; it takes no order meanwhile.",
        figures.store_failures,
    )
    for name, text, read in _TIMES:
        yield _histogram(name, text, read(figures))


def telemetry_families(telemetry: FillTelemetry | None) -> Iterator[Metric]:
    """Of what hands fills to the sidecar; nothing where there is none, or no ledger to be read."""
    if telemetry is None:
        return
    try:
        figures = telemetry.figures()
    except StorageError:
        return
    for name, text, count in (
        ("fills", "Fills of the ledger since ever.", figures.fills),
        ("published", "Of them, those handed to the telemetry.", figures.published),
        ("waiting", "Of them, those that wait to be handed over.", figures.waiting),
        (
            "residue",
            "Fills that are neither handed over nor wait: anything but 0 is a defect.",
            figures.fills - figures.published - figures.waiting,
        ),
    ):
        yield GaugeMetricFamily(f"portfolio_telemetry_{name}", text, count)


def _gauges(views: Sequence[PortfolioView]) -> Iterator[Metric]:
    for name, text, read in _MONEY:
        money = GaugeMetricFamily(name, text, labels=["portfolio", "currency"])
        for view in views:
            if (amount := read(view)) is not None:
                money.add_metric([view.portfolio.name, view.portfolio.currency], float(amount))
        yield money
    for name, text, read in _GAUGES:
        gauge = GaugeMetricFamily(name, text, labels=["portfolio"])
        for view in views:
            if (value := read(view)) is not None:
                gauge.add_metric([view.portfolio.name], float(value))
        yield gauge


def _positions(views: Sequence[PortfolioView]) -> Metric:
    position = GaugeMetricFamily(
        "portfolio_position",
        "Quantity held, in units of the symbol; below 0 where it is short.",
        labels=["portfolio", "symbol"],
    )
    for view in views:
        for each in view.positions:
            position.add_metric([view.portfolio.name, each.symbol], each.qty_nano / NANO)
    return position


def _counters(names: Sequence[str], figures: DeskFigures) -> Iterator[Metric]:
    """All labels from 0 on, so that the first of a kind is a growth."""
    orders = CounterMetricFamily(
        "portfolio_orders",
        "Orders that came since the start, by what became of them.",
        labels=["portfolio", "outcome"],
    )
    denials = CounterMetricFamily(
        "portfolio_denials",
        "Orders that risk denied since the start, by reason.",
        labels=["portfolio", "reason"],
    )
    fills = CounterMetricFamily(
        "portfolio_fills",
        "Fills stored since the start, by book; the account is the neutral one.",
        labels=["portfolio", "book"],
    )
    for name in names:
        for outcome in OUTCOMES:
            orders.add_metric([name, outcome], figures.orders[name, outcome])
        for reason in Denial:
            denials.add_metric([name, reason], figures.denials[name, reason])
        for book in BookName:
            fills.add_metric([name, book], figures.fills[name, book])
    yield from (orders, denials, fills)


def _histogram(name: str, text: str, times: Times) -> Metric:
    counts, sum_s = list(times.counts), times.sum_s
    bounds = [*(f"{bound_s:g}" for bound_s in BOUNDS_S), "+Inf"]
    buckets = list(zip(bounds, accumulate(counts), strict=True))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=sum_s)
