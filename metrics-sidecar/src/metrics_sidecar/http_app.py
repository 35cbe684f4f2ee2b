"""What the sidecar serves over HTTP: /metrics, /health, the summary, the history, the live feed.

It reads what the receiver committed and changes nothing. The lifespan starts and stops it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

import msgspec
import orjson
from fastapi import Depends, FastAPI, Header, HTTPException, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from prometheus_client import CollectorRegistry, make_asgi_app
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from metrics_sidecar.feed import LISTENERS_MAX, Feed, FeedFullError, as_json
from metrics_sidecar.history import SAMPLES_MAX
from metrics_sidecar.receiver import Receiver, ReceiverFigures
from metrics_sidecar.rows import ServiceCounter
from metrics_sidecar.snapshot import Snapshot
from metrics_sidecar.tallies import AGE_BOUNDS_S, SIDES
from trade_telemetry.messages import NANO

RECENT_IN_SUMMARY_MAX = 50
BOTH = ["GET", "HEAD"]  # what load balancers probe with


def create_app(
    receiver: Receiver,
    registry: CollectorRegistry,
    is_stopping: Callable[[], bool] = lambda: False,
) -> FastAPI:
    """The application around one receiver; ``is_stopping`` ends the live feeds."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        receiver.start()
        try:
            yield
        finally:
            receiver.stop()

    app = FastAPI(title="metrics-sidecar", lifespan=lifespan, docs_url="/docs", redoc_url=None)
    metrics = _Metrics(receiver, make_asgi_app(registry))
    for path in ("/metrics", "/metrics/"):
        app.router.routes.append(Route(path, endpoint=metrics, methods=BOTH))
    _add_health(app, receiver)
    _add_data(app, receiver)
    _add_benchmarks(app, receiver)
    _add_feed(app, Feed(receiver, is_stopping))
    return app


class _Metrics:
    """/metrics, and 503 while there is nothing committed to show: a 0 would be a lie."""

    def __init__(self, receiver: Receiver, exposition: ASGIApp) -> None:
        self._receiver = receiver
        self._exposition = exposition

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._receiver.snapshot is None:
            response = Response(f"{_why_nothing(self._receiver)}\n", status_code=503)
            await response(scope, receive, send)
        else:
            await self._exposition(scope, receive, send)


def _why_nothing(receiver: Receiver) -> str:
    """Why there are no totals yet, with the path and the cure if the state cannot be used."""
    status, reason = receiver.health()
    return f"{status}: {reason or 'the totals are being loaded'}"


def _add_health(app: FastAPI, receiver: Receiver) -> None:
    @app.api_route("/health/live", methods=BOTH, summary="200 while the process serves")
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @app.api_route(
        "/health/ready", methods=BOTH, summary="200 while trades are being counted, else 503"
    )
    async def ready() -> Response:
        status, reason = receiver.health()
        return _json({"status": status, "reason": reason}, 200 if status == "ok" else 503)

    @app.api_route("/health", methods=BOTH, summary="As /health/ready, with details")
    async def health() -> Response:
        status, reason = receiver.health()
        body = {
            "status": status,
            "reason": reason,
            "started_s": receiver.started_s,
            "heartbeat_age_s": receiver.heartbeat_age_s(),
            "receiver": asdict(receiver.figures),
        }
        return _json(body, 200 if status == "ok" else 503)


def _add_data(app: FastAPI, receiver: Receiver) -> None:
    @app.get("/api/summary", summary="What was counted, by symbol and by publisher")
    async def summary() -> Response:
        snapshot = receiver.snapshot
        if snapshot is None:
            raise HTTPException(503, _why_nothing(receiver))
        status, reason = receiver.health()
        body = {
            "now_s": time.time(),
            "started_s": receiver.started_s,
            "status": status,
            "reason": reason,
            "state": _state(receiver.figures, snapshot),
        }
        return _json(body | _summary(snapshot))

    @app.get(
        "/api/history",
        summary=f"Running totals in the last {SAMPLES_MAX} seconds, and by symbol in the last 60",
    )
    async def history() -> Response:
        return _json(_history(receiver))


def _add_benchmarks(app: FastAPI, receiver: Receiver) -> None:
    @app.get("/api/benchmarks", summary="What the last benchmarks found, and how they go")
    async def benchmarks() -> Response:
        snapshot = receiver.snapshot
        if snapshot is None:
            raise HTTPException(503, _why_nothing(receiver))
        suites = [
            {"suite": name, **msgspec.to_builtins(suite.latest), "runs": suite.runs}
            for name, suite in snapshot.suites.items()
        ]
        tests = [msgspec.to_builtins(test) for test in snapshot.tests.values()]
        return _json({"now_s": time.time(), "tests": tests, "suites": suites})


def _add_feed(app: FastAPI, feed: Feed) -> None:
    async def place() -> AsyncIterator[None]:
        try:
            async with feed.place():
                yield
        except FeedFullError:
            message = f"{LISTENERS_MAX} listen already, which is the limit: try again later"
            raise HTTPException(503, message) from None

    @app.get(
        "/api/trades/stream",
        response_class=EventSourceResponse,
        dependencies=[Depends(place)],
        summary="Each trade as it is counted (SSE); resumes by Last-Event-ID",
    )
    async def stream(
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> AsyncIterator[ServerSentEvent]:
        async for event in feed.listen(last_event_id):
            yield event


def _summary(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "trades": {side: snapshot.trades(side) for side in SIDES},
        "volume": {side: snapshot.volume(side) for side in SIDES},
        "last_trade_ts_s": snapshot.last_trade_ts_s or None,
        "received": snapshot.received,
        "rejected": snapshot.rejected,
        "residue": snapshot.residue,
        "duplicates": snapshot.duplicates,
        "gaps": snapshot.gaps,
        "skips": snapshot.skips,
        "turned_away": snapshot.turned_away,
        "untracked": snapshot.untracked,
        "symbols": [
            {
                "symbol": symbol,
                "trades": totals.trades,
                "volume": {side: totals.volume_nano[side] / NANO for side in SIDES},
            }
            for symbol, totals in snapshot.symbols.items()
        ],
        "publishers": [
            {"publisher": name, **asdict(totals)} for name, totals in snapshot.publishers.items()
        ],
        "recent": [as_json(applied) for applied in snapshot.recent[-RECENT_IN_SUMMARY_MAX:]],
    }


def _state(figures: ReceiverFigures, snapshot: Snapshot) -> dict[str, Any]:
    return {
        "durable": figures.state_durable,
        "bytes": figures.state_bytes,
        "free_bytes": figures.state_free_bytes,
        "last_commit_s": figures.last_commit_s or None,
        "set_aside": snapshot.service[ServiceCounter.STATES_SET_ASIDE],
        "commit_failures": snapshot.service[ServiceCounter.COMMIT_FAILURES],
    }


def _history(receiver: Receiver) -> dict[str, Any]:
    """A gap between two samples is a time in which the receiver did not come round."""
    marks = receiver.history.marks()  # before the names: a name may be new, a mark never is
    snapshot = receiver.snapshot
    return {
        "now_s": time.time(),
        "started_s": receiver.started_s,
        "age_bounds_s": AGE_BOUNDS_S,
        "samples": receiver.history.samples(),
        "symbols": list(snapshot.symbols) if snapshot else [],
        "symbol_marks": marks,
    }


def _json(value: object, status_code: int = 200) -> Response:
    body = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)  # enum keys
    return Response(body, status_code, media_type="application/json")
