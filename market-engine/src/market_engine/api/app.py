"""The application: routes, errors and streams around one engine, and what starts and stops them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from market_engine.api.api_exposition import ApiCollector
from market_engine.api.edge import Edge
from market_engine.api.errors import add_handlers
from market_engine.api.health_routes import health_router
from market_engine.api.market_routes import market_router
from market_engine.api.order_routes import order_router
from market_engine.api.paper_routes import paper_router
from market_engine.api.parts import Parts
from market_engine.api.replay_routes import replay_router
from market_engine.api.stream_routes import stream_router
from market_engine.engine import Engine

SERVER_OPTIONS: Final[dict[str, Any]] = {
    "log_config": None,
    "access_log": False,
    "timeout_graceful_shutdown": 1,  # a listener that does not read must not hold up the end
    "ws_per_message_deflate": False,  # it would write each message anew for each client
    "ws_max_size": 65_536,  # of what clients say, which is read and let go
}
"""How uvicorn should serve the application."""
LOOK_S: Final = 0.1
_ABOUT = """The market, watched: symbols, prices, charts, metrics, feed health, streams and replay;
and the paper desk on it: portfolios, orders, fills, the trading state.

Prices and quantities are exact decimal text, ratios are numbers, times ending in `_ms` are
milliseconds since 1970, and what is not known is null. Every error has one form: `code` for
programs, `message` with the cure, and `field` where a parameter is wrong.

`WS /ws/stream?symbols=BTCUSDT,ETHUSDT&topics=trades,metrics,health&source=feed` sends JSON messages
with a `type`: first `hello`, then `trades`, `metrics`, `bar`, `fault` and `state`, at most 20 times
a second a kind and symbol. A client that does not read is closed with 1013."""


def create_app(
    engine: Engine,
    registry: CollectorRegistry,
    is_stopping: Callable[[], bool] = lambda: False,
) -> FastAPI:
    """The application around an engine that was started; ``is_stopping`` ends the streams.

    What it counts of itself is added to ``registry``.
    """
    parts = Parts(engine, is_stopping)
    registry.register(ApiCollector(parts))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with _running(parts):
            yield

    app = FastAPI(
        title="market-engine",
        version=version("market-engine"),
        description=_ABOUT,
        lifespan=lifespan,
        docs_url="/docs",
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.parts = parts
    app.add_middleware(Edge, figures=parts.figures, own_host=engine.settings.http_host)
    add_handlers(app)
    for router in (
        market_router(parts),
        replay_router(parts),
        paper_router(parts),
        order_router(parts),
        stream_router(parts),
        health_router(parts, registry),
    ):
        app.router.routes.extend(router.routes)  # flat, so that Allow can name all methods
    return app


@asynccontextmanager
async def _running(parts: Parts) -> AsyncIterator[None]:
    for fanout in parts.fanouts:
        fanout.start()
    watching = asyncio.create_task(_watch(parts))
    try:
        yield
    finally:
        watching.cancel()
        parts.clients.end()
        await asyncio.to_thread(parts.desk.close)
        for fanout in parts.fanouts:
            await fanout.stop()


async def _watch(parts: Parts) -> None:
    """End the streams as soon as the server is asked to stop: it waits for them."""
    while not parts.is_stopping():
        await asyncio.sleep(LOOK_S)
    parts.clients.end()
