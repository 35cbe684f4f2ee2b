"""Symbols, prices, charts, trades and metrics. Reads views and the store; changes nothing."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from market_engine.api import models
from market_engine.api.errors import documented
from market_engine.api.history import history_shape
from market_engine.api.parts import Market, Parts, SourceQuery, json_response
from market_engine.api.shapes import (
    metrics_shape,
    ms_of,
    newest_metrics,
    price_shape,
    symbol_shape,
    trade_shape,
)
from market_engine.errors import StorageError

UNKNOWN_KIND = "unknown"
SymbolPath = Annotated[str, Path(max_length=64, description="As GET /symbols lists it.")]


def market_router(parts: Parts) -> APIRouter:
    """The routes of a market."""
    router = APIRouter(tags=["market"])

    @router.get(
        "/symbols",
        response_model=models.Symbols,
        responses=documented(404, 422),
        summary="All symbols with their newest prices",
    )
    def symbols(source: SourceQuery = "feed") -> Response:
        market = parts.market(source)
        kinds, health = _kinds(parts, market), market.health()
        views = [market.symbol(name) for name in market.view.symbols()]
        listed = [
            symbol_shape(view, kinds.get(view.symbol, UNKNOWN_KIND), health.get(view.symbol))
            for view in views
        ]
        return json_response({"source": source, "venue": market.view.venue, "symbols": listed})

    _add_symbol(router, parts)
    _add_metrics(router, parts)
    return router


def _add_symbol(router: APIRouter, parts: Parts) -> None:
    @router.get(
        "/symbols/{symbol}/price",
        response_model=models.Price,
        responses=documented(404, 422),
        summary="The newest trade and quote of a symbol",
    )
    async def price(symbol: SymbolPath, source: SourceQuery = "feed") -> Response:
        market = parts.market(source)
        view = market.symbol(symbol)
        return json_response(price_shape(view, market.health().get(symbol), market.now_ns))

    @router.get(
        "/symbols/{symbol}/history",
        response_model=models.History,
        responses=documented(404, 422, 503),
        summary="The chart of a symbol, oldest first",
    )
    def history(
        symbol: SymbolPath,
        window: models.Window = "1h",
        points: Annotated[int, Query(ge=2, le=1_000, description="At most so many bars.")] = 300,
        source: SourceQuery = "feed",
    ) -> Response:
        market = parts.market(source)
        view = market.symbol(symbol)
        return json_response(history_shape(view, market.store, window, points, market.now_ns))

    @router.get(
        "/symbols/{symbol}/trades",
        response_model=models.Trades,
        responses=documented(404, 422),
        summary="The newest trades of a symbol, newest first",
    )
    async def trades(
        symbol: SymbolPath,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        source: SourceQuery = "feed",
    ) -> Response:
        newest = tuple(parts.market(source).symbol(symbol).trades)[-limit:]
        listed = [trade_shape(trade) for trade in reversed(newest)]
        return json_response({"symbol": symbol, "trades": listed})


def _add_metrics(router: APIRouter, parts: Parts) -> None:
    @router.get(
        "/api/metrics/latest",
        response_model=models.LatestMetrics,
        responses=documented(404, 422),
        summary="The newest metrics of one symbol, or of all",
    )
    async def latest(
        symbol: Annotated[str | None, Query(max_length=64)] = None,
        source: SourceQuery = "feed",
    ) -> Response:
        market = parts.market(source)
        names = market.view.symbols() if symbol is None else (symbol,)
        found = [newest_metrics(market.symbol(name)) for name in names]
        listed = [metrics_shape(metrics) for metrics in found if metrics is not None]
        return json_response({"as_of_ms": ms_of(market.view.received_ns), "symbols": listed})


def _kinds(parts: Parts, market: Market) -> dict[str, str]:
    """What each symbol is, as the feed says it, or the store where that can be read now."""
    told = dict(parts.engine.kinds)
    try:
        rows = parts.engine.store.symbols()
    except StorageError:
        return told
    kinds = {row.symbol: row.kind for row in rows}
    kinds |= {row.symbol: row.kind for row in rows if row.venue == market.view.venue}
    return kinds | told
