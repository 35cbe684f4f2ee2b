"""Portfolios and the trading state: made, watched, looked back at; and what turns the desk off.

What asks the desk or its store runs outside of the event loop.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Query, Response

from market_engine.api import paper_models as models
from market_engine.api import paper_shapes as shapes
from market_engine.api.errors import documented
from market_engine.api.forms import NAME
from market_engine.api.paper_bodies import PortfolioBody, StateBody
from market_engine.api.parts import Parts, json_response
from market_engine.events import SECOND_NS
from market_engine.paper.daily import DailyEquities
from market_engine.paper.desk import PaperDesk
from market_engine.paper.model import TradingState
from market_engine.paper.performance import performance
from market_engine.paper.reading import PaperReading

PortfolioQuery = Annotated[str, Query(pattern=NAME, description="As GET /portfolios lists it.")]
_AGAIN: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": models.PortfolioEntry, "description": "It was made before."}
}
WINDOWS_NS: Final = {
    "1h": 3_600 * SECOND_NS,
    "1d": 86_400 * SECOND_NS,
    "7d": 604_800 * SECOND_NS,
}


def paper_router(parts: Parts) -> APIRouter:
    """The routes of portfolios and of the trading state."""
    router = APIRouter(tags=["paper desk"])
    desk, reading = parts.engine.paper, parts.reading
    _add_portfolios(router, desk)
    _add_figures(router, desk, reading, parts.days)
    _add_state(router, desk)
    return router


def check_portfolio(desk: PaperDesk, name: str) -> None:
    """Raises PaperError where there is none of that name."""
    desk.require(name)


def _add_portfolios(router: APIRouter, desk: PaperDesk) -> None:
    @router.post(
        "/portfolio/init",
        status_code=201,
        response_model=models.PortfolioEntry,
        responses=_AGAIN | documented(403, 409, 413, 422, 503),
        summary="Make a portfolio; the same again changes nothing",
    )
    def init(body: Annotated[PortfolioBody, Body()]) -> Response:
        asked = body.portfolio(desk.now_ns or time.time_ns())
        portfolio, is_new = desk.create(asked)
        return json_response(shapes.portfolio_shape(portfolio), 201 if is_new else 200)

    @router.get("/portfolios", response_model=models.Portfolios, summary="All portfolios")
    def portfolios() -> Response:
        return json_response({"portfolios": [shapes.portfolio_line(v) for v in desk.portfolios()]})

    @router.get(
        "/portfolio",
        response_model=models.Holding,
        responses=documented(404, 422),
        summary="A portfolio with its positions and its three books",
    )
    def holding(portfolio: PortfolioQuery = "main") -> Response:
        return json_response(shapes.holding_shape(desk.portfolio(portfolio)))


def _add_figures(
    router: APIRouter, desk: PaperDesk, reading: PaperReading, days: DailyEquities
) -> None:
    @router.get(
        "/portfolio/history",
        response_model=models.PortfolioHistory,
        responses=documented(404, 422, 503),
        summary="How a portfolio came here, oldest first",
    )
    def history(
        portfolio: PortfolioQuery = "main", window: models.HistoryWindow = "1d"
    ) -> Response:
        now_ns = desk.portfolio(portfolio).now_ns
        from_ns = now_ns - WINDOWS_NS[window] if window in WINDOWS_NS else 0
        points = [shapes.history_point(each) for each in reading.history(portfolio, from_ns)]
        return json_response({"portfolio": portfolio, "snapshots": points})

    @router.get(
        "/portfolio/performance",
        response_model=models.PerformanceEntry,
        responses=documented(404, 422, 503),
        summary="How a portfolio did",
    )
    def performed(portfolio: PortfolioQuery = "main") -> Response:
        view, trips = desk.portfolio(portfolio), desk.trips(portfolio)
        equities = days.until(portfolio, view.now_ns)
        if view.equity is not None:
            equities.append((view.now_ns, view.equity))
        found = performance(view.portfolio, equities, view.max_drawdown, trips)
        tallies = reading.tallies(portfolio)
        return json_response(shapes.performance_shape(view, found, tallies))


def _add_state(router: APIRouter, desk: PaperDesk) -> None:
    @router.get("/trading-state", response_model=models.State, summary="What the desk lets through")
    async def state() -> Response:
        return json_response(shapes.state_shape(desk.state()))

    @router.post(
        "/trading-state",
        response_model=models.State,
        responses=documented(403, 413, 422, 503),
        summary="Halt the desk, let it reduce, flatten it, or let it trade again",
        description="503 `not_stored`: it is in force, but a restart would forget it.",
    )
    def change(body: Annotated[StateBody, Body()]) -> Response:
        return json_response(
            shapes.state_shape(desk.set_state(TradingState(body.state), body.reason))
        )
