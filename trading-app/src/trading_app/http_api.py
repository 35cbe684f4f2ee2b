"""The optional HTTP endpoint: ``POST /trade/{side}``, for forms and for programs.

It owns reading a request and writing the answer. What a trade is, is ``order_ticket``'s to say.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlencode

import orjson
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from trade_telemetry import Trade
from trading_app.desk import PublishesTrades
from trading_app.formats import decimals_needed
from trading_app.http_docs import FORMS, JSON, REQUEST_BODY, RESPONSES, EventAnswer
from trading_app.http_guard import Guard
from trading_app.http_problems import answer_page, answer_problem, answer_problems
from trading_app.order_ticket import Problem, Ticket, parse, parse_text
from trading_app.settings import Settings

_FIELDS_MAX: Final = 20
_REFUSALS: Final = {
    "ring_full": "has no room: too many trades wait for the sidecar",
    "closed": "is closing",
}


def create_api(
    settings: Settings, publisher: PublishesTrades, *, clock: Callable[[], float] = time.time
) -> FastAPI:
    """Build the application; the caller closes the publisher. ``clock`` gives unix seconds."""
    api = FastAPI(
        title="trading-app",
        summary="Publish trades over HTTP.",
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    endpoint = _Endpoint(settings, publisher, clock)
    api.add_api_route(
        "/trade/{side}",
        endpoint.trade,
        methods=["POST"],
        status_code=202,
        response_model=EventAnswer,
        summary="Publish one trade",
        responses=RESPONSES,
        openapi_extra={"requestBody": REQUEST_BODY},
    )
    api.add_api_route(
        "/health", endpoint.health, methods=["GET"], summary="Whether it takes trades"
    )
    api.add_exception_handler(HTTPException, _answer_http_error)
    api.add_middleware(Guard, settings=settings)
    return api


class _Endpoint:
    """The two routes, and what they use."""

    def __init__(
        self, settings: Settings, publisher: PublishesTrades, clock: Callable[[], float]
    ) -> None:
        self._token = settings.api_token.get_secret_value()
        self._ui_url = settings.ui_url
        self._publisher = publisher
        self._clock = clock

    async def trade(self, side: str, request: Request) -> Response:
        """Publish one trade at this moment.

        A form is answered with 303 back to the desk, JSON with 202 and the event. Accepted means
        that it is kept here until the sidecar has counted it; ``/health`` says whether in a file,
        which survives this process, or in its memory.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in FORMS:
            return await self._form(side, request)
        if kind == JSON:
            return await self._json(side, request)
        return answer_problem(415, "body", f"must be {JSON}, {FORMS[0]} or {FORMS[1]}")

    async def health(self) -> Response:
        """Answer 200 with the publisher's figures; a sidecar that is away is no ill health."""
        stats = self._publisher.stats()
        figures = {
            "status": "ok",
            "connected": stats.connected,
            "published": stats.published,
            "acknowledged": stats.acknowledged,
            "waiting": stats.waiting,
            "leftover": stats.leftover,
            "capacity": stats.capacity,
            "tracked": stats.tracked,
            "durable": stats.durable,
            "problem": stats.problem,
        }
        return Response(orjson.dumps(figures), media_type=JSON)

    async def _form(self, side: str, request: Request) -> Response:
        form = await request.form(max_files=0, max_fields=_FIELDS_MAX)
        if not self._allowed(request, str(form.get("token", ""))):
            return self._refuse(request, 401, [_TOKEN_PROBLEM])
        ticket = Ticket(side, form.get("qty"), form.get("symbol"), form.get("price"))
        trade = parse_text(ticket, self._clock())
        if not isinstance(trade, Trade):
            return self._refuse(request, 422, trade)
        if not self._publish(trade):
            return self._refuse(request, 503, [self._no_room()])
        note = f"{trade.side}-{trade.qty:.{decimals_needed([trade.qty])}f}"
        return RedirectResponse(f"{self._ui_url}/?{urlencode({'traded': note})}", status_code=303)

    async def _json(self, side: str, request: Request) -> Response:
        if not self._allowed(request, ""):
            return answer_problems(401, [_TOKEN_PROBLEM])
        try:
            body = orjson.loads(await request.body())
        except orjson.JSONDecodeError as error:
            return answer_problem(422, "body", f"is not JSON: {error}")
        if not isinstance(body, dict):
            return answer_problem(422, "body", "must be a JSON object")
        ticket = Ticket(side, body.get("qty"), body.get("symbol"), body.get("price"))
        trade = parse(ticket, self._clock())
        if not isinstance(trade, Trade):
            return answer_problems(422, trade)
        seq = self._publish(trade)
        if not seq:
            return answer_problems(503, [self._no_room()])
        return Response(self._event(trade, seq), 202, media_type=JSON)

    def _publish(self, trade: Trade) -> int:
        return self._publisher.publish(
            trade.side, trade.qty, trade.ts, symbol=trade.symbol, price=trade.price
        )

    def _no_room(self) -> Problem:
        return Problem("server", _REFUSALS[str(self._publisher.last_refusal)])

    def _event(self, trade: Trade, seq: int) -> bytes:
        stats = self._publisher.stats()
        stamps = (stats.source, stats.epoch, seq) if stats.tracked else (None, None, None)
        event = {
            "side": trade.side,
            "qty": trade.qty,
            "ts": trade.ts,
            "symbol": trade.symbol,
            "price": trade.price,
        }
        return orjson.dumps(event | dict(zip(("src", "epoch", "seq"), stamps, strict=True)))

    def _allowed(self, request: Request, form_token: str) -> bool:
        """Whether the request carries the token, where one is set; compared in constant time."""
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = bearer.strip() if scheme.lower() == "bearer" else form_token
        return not self._token or hmac.compare_digest(given.encode(), self._token.encode())

    def _refuse(self, request: Request, status: int, problems: list[Problem]) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return answer_page(status, problems, self._ui_url)
        return answer_problems(status, problems)


async def _answer_http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return answer_problem(status, "request", str(getattr(error, "detail", "failed")))


_TOKEN_PROBLEM: Final = Problem(
    "token", "is missing or wrong: send Authorization: Bearer TOKEN, or the form field token"
)
