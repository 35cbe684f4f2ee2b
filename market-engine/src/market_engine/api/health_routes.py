"""Liveness, readiness, the health of the feed, and /metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel

from market_engine.api import examples, models
from market_engine.api.errors import documented
from market_engine.api.parts import Market, Parts, SourceQuery, json_response
from market_engine.api.shapes import Shape, fault_shape, health_shape, ms_of
from market_engine.api.store_exposition import waiting
from market_engine.engine import Engine
from market_engine.events import MS_NS, SECOND_NS
from market_engine.storage.writer import WriterStats

FAULTS_MAX: Final = 50
STALLED_S: Final = 30.0
"""Without a sign of life for longer, a thread is taken to be stuck."""
EXAMPLES: Final[dict[type[BaseModel], Shape]] = {
    models.Readiness: {"status": "ok", "reason": None},
    models.HealthDetails: examples.HEALTH,
}
Endpoint = Callable[..., Any]
_METRICS: Final = "# HELP market_price The newest price.\n# TYPE market_price gauge\n"

CONNECTED_NS_MAX: Final = 10 * SECOND_NS
"""So long a feed may take to connect for the first time, before that is told."""


def health_router(parts: Parts, registry: CollectorRegistry) -> APIRouter:
    """The routes; those that others probe also answer HEAD."""
    router = APIRouter(tags=["health"])

    async def live() -> Response:
        return json_response({"status": "ok"})

    async def ready() -> Response:
        body = readiness(parts)
        return json_response(body, 503 if body["status"] == "down" else 200)

    async def details() -> Response:
        body = {**readiness(parts), **_details(parts)}
        return json_response(body, 503 if body["status"] == "down" else 200)

    def metrics(request: Request) -> Response:
        encoder, content_type = _encoder(request.headers.get("accept", ""))
        return Response(encoder(registry), headers={"content-type": content_type})

    _probe(router, "/health/live", live, "200 while the process serves", models.Liveness)
    _probe(router, "/health/ready", ready, "200 while data is taken and stored", models.Readiness)
    _probe(router, "/healthz", ready, "As /health/ready", models.Readiness)
    _probe(router, "/health", details, "As /health/ready, with details", models.HealthDetails)
    _add_metrics(router, metrics)
    _add_feed(router, parts)
    return router


def readiness(parts: Parts) -> Shape:
    """``down`` while no data is taken or stored; ``degraded`` without a link or a working desk."""
    status, reason = "down", _why_down(parts)
    if reason is None:
        reasons = (_why_unconnected(parts), *_why_no_desk(parts.engine))
        reason = "; ".join(each for each in reasons if each) or None
        status = "ok" if reason is None else "degraded"
    return {"status": status, "reason": reason}


def _why_down(parts: Parts) -> str | None:
    failure = parts.engine.status().failure
    if failure is not None:
        return f"the feed has failed: {failure}"
    if any(not fanout.is_alive for fanout in parts.fanouts):
        return "a thread of the streams has ended: start market-engine again"
    return _why_not_stored(parts.engine.writer.stats()) or _why_silent(parts.engine)


def _why_not_stored(stats: WriterStats) -> str | None:
    if stats.problem is not None:
        return f"nothing can be stored: {stats.problem}"
    return f"nothing was stored for {stats.lag_s:.0f} s" if stats.lag_s > STALLED_S else None


def _why_silent(engine: Engine) -> str | None:
    """A live feed says each second at least that time passed; a replay may end."""
    status, received_ns = engine.status(), engine.view.received_ns
    if status.feed == "replay" or not status.schedule_open:
        return None
    if not status.running:
        return "the feed does not run"
    silent_s = (time.time_ns() - received_ns) / SECOND_NS if received_ns else 0
    return f"the feed has said nothing for {silent_s:.0f} s" if silent_s > STALLED_S else None


def _why_no_desk(engine: Engine) -> Iterator[str]:
    """As of the last try to store: an idle desk tries again with its next snapshot."""
    if engine.paper.problem is not None:
        yield f"the paper desk takes no orders or fills none: {engine.paper.problem}"
    if engine.telemetry is not None and engine.telemetry.problem is not None:
        yield f"fills are not handed to telemetry: {engine.telemetry.problem}"


def _why_unconnected(parts: Parts) -> str | None:
    status = parts.engine.status()
    if status.feed == "replay" and not status.running:
        return "the replay that is the feed has ended"
    if not status.schedule_open or status.feed == "replay":
        return None
    if status.connected is False:
        return "the feed is not connected: it tries again"
    if status.connected is None and time.time_ns() - status.started_ns > CONNECTED_NS_MAX:
        return "the feed has not been able to connect yet: it tries again"
    return None


def _details(parts: Parts) -> Shape:
    engine, status = parts.engine, parts.engine.status()
    stored = engine.writer.stats()
    return {
        "feed": status.feed,
        "venue": status.venue,
        "running": status.running,
        "connected": status.connected,
        "schedule_open": status.schedule_open,
        "started_ms": status.started_ns // MS_NS,
        "symbols": len(engine.view.symbols()),
        "events": engine.view.events,
        "stream_clients": len(parts.clients),
        "stored_trades": stored.written.trades,
        "store_waiting": stored.pending + waiting(engine.subscription),
    }


def _probe(
    router: APIRouter, path: str, endpoint: Endpoint, summary: str, model: type[BaseModel]
) -> None:
    """GET with documentation, and HEAD, which load balancers ask with."""
    answers = {} if model is models.Liveness else _down(model)
    router.add_api_route(path, endpoint, summary=summary, response_model=model, responses=answers)
    router.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)


def _down(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    example = {**EXAMPLES[model], "status": "down", "reason": "the feed does not run"}
    return {
        503: {
            "model": model,
            "description": "No data is taken, or it is not stored.",
            "content": {"application/json": {"example": example}},
        }
    }


def _add_metrics(router: APIRouter, metrics: Endpoint) -> None:
    """With and without a slash: a redirect is one that some scrapers do not follow."""
    answer: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "Everything that is measured.",
            "content": {"text/plain": {"example": _METRICS}},
        }
    }
    router.add_api_route(
        "/metrics",
        metrics,
        summary="For Prometheus, in the form that it asks for",
        response_class=PlainTextResponse,
        responses=answer,
    )
    for path, methods in (("/metrics/", ["GET", "HEAD"]), ("/metrics", ["HEAD"])):
        router.add_api_route(path, metrics, methods=methods, include_in_schema=False)


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none
        return choose_encoder("")


def _add_feed(router: APIRouter, parts: Parts) -> None:
    @router.get(
        "/api/feed/health",
        response_model=models.FeedHealth,
        responses=documented(404, 422),
        summary="How the data comes in, symbol by symbol",
    )
    async def feed_health(source: SourceQuery = "feed") -> Response:
        return json_response(_feed_health(parts, parts.market(source)))


def _feed_health(parts: Parts, market: Market) -> Shape:
    view, status = market.view, parts.engine.status()
    is_feed = market.source == "feed"
    faults = list(reversed(tuple(view.faults)))[:FAULTS_MAX]
    return {
        "source": market.source,
        "venue": view.venue,
        "received_ms": ms_of(view.received_ns),
        "now_ms": market.now_ns // MS_NS,
        "events": view.events,
        "rejected": view.rejected,
        "symbols": [health_shape(each) for each in view.health()],
        "faults": [fault_shape(fault) for fault in faults],
        "connection": {
            "connected": status.connected if is_feed else None,
            "detail": (status.failure or "") if is_feed else "",
        },
        "schedule": {
            "open": status.schedule_open if is_feed else True,
            "next_change_ms": ms_of(status.next_change_ns) if is_feed else None,
        },
    }
