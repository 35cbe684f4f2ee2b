"""Streams: ``WS /ws/stream`` and ``GET /api/stream`` (SSE), with the same messages on both.

A client that does not read is dropped: its websocket is closed with 1013, its SSE ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Annotated, Final, get_args

from fastapi import APIRouter, Query, Response, WebSocket
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from market_engine.api.clients import CLIENTS_MAX, Client, Wants
from market_engine.api.edge import cut_of
from market_engine.api.errors import ApiError, documented, unknown_symbol
from market_engine.api.messages import TOPICS, StreamMessage, hello
from market_engine.api.models import Source
from market_engine.api.parts import Parts, SourceQuery

NAMES_CHARS_MAX: Final = 4_096
KEEP_ALIVE_S: Final = 15.0
KEEP_ALIVE: Final = b": still here\n\n"
TOO_SLOW: Final = 1013
GOING_AWAY: Final = 1001
_ABOUT = """Messages as they come: `trades`, `metrics`, `bars` and `health`, each at most 20 times a
second a symbol, after one `hello`. The data of each is what `WS /ws/stream` sends, which takes the
same parameters. A client that does not read is dropped; there is no resuming: begin anew."""
_EXAMPLE = (
    'event: hello\nid: 0\ndata: {"type":"hello","source":"feed","symbols":["BTCUSDT"],'
    '"sent_ms":1790000000190}\n\n'
)

Names = Annotated[str | None, Query(max_length=NAMES_CHARS_MAX)]


def stream_router(parts: Parts) -> APIRouter:
    """Both streams."""
    router = APIRouter(tags=["streams"])

    @router.get(
        "/api/stream",
        response_class=Response,
        responses={
            200: {
                "description": "Events, until the client leaves.",
                "content": {"text/event-stream": {"example": _EXAMPLE}},
            },
            **documented(404, 422, 503),
        },
        summary="The market as it moves (SSE)",
        description=_ABOUT,
    )
    async def events(
        symbols: Names = None, topics: Names = None, source: SourceQuery = "feed"
    ) -> Response:
        return _SseResponse(parts, source, _wants(parts, source, symbols, topics))

    @router.websocket("/ws/stream")
    async def stream(websocket: WebSocket) -> None:
        try:
            source, wants = _asked(parts, websocket)
        except ApiError as error:
            await websocket.send_denial_response(error.response())
            return
        await _serve(parts, websocket, source, wants)

    return router


class _SseResponse(Response):
    """Sends until the client leaves, is dropped, or the server ends."""

    media_type = "text/event-stream"

    def __init__(self, parts: Parts, source: Source, wants: Wants) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._parts = parts
        self._source = source
        self._wants = wants

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        clients = self._parts.clients
        with clients.place() as has_place:
            if not has_place:
                await _full().response()(scope, receive, send)
                return
            client = Client(self._wants, cut_of(scope))
            watching = asyncio.create_task(_watch_http(receive, client))
            try:
                with clients.joined(self._source, client), contextlib.suppress(OSError):
                    await self._send(client, send)
            finally:
                watching.cancel()

    async def _send(self, client: Client, send: Send) -> None:
        head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(head)
        await send(_part(_hello(self._parts, self._source, self._wants).sse()))
        while not client.is_ended:
            message = await client.next(KEEP_ALIVE_S)
            if message is not None:
                await send(_part(message.sse()))
                self._parts.clients.sent(message, time.time_ns())
            elif not client.is_ended:
                await send(_part(KEEP_ALIVE))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _serve(parts: Parts, websocket: WebSocket, source: Source, wants: Wants) -> None:
    with parts.clients.place() as has_place:
        if not has_place:
            await websocket.send_denial_response(_full().response())
            return
        await websocket.accept()
        client = Client(wants, cut_of(websocket.scope))
        watching = asyncio.create_task(_watch_websocket(websocket, client))
        try:
            with parts.clients.joined(source, client), contextlib.suppress(WebSocketDisconnect):
                await _send(parts, websocket, source, client)
        finally:
            watching.cancel()


async def _send(parts: Parts, websocket: WebSocket, source: Source, client: Client) -> None:
    await websocket.send_text(_hello(parts, source, client.wants).text)
    while not client.is_ended:
        message = await client.next(KEEP_ALIVE_S)
        if message is not None:
            await websocket.send_text(message.text)
            parts.clients.sent(message, time.time_ns())
    if client.is_slow:
        await websocket.close(TOO_SLOW, "too slow")
    else:
        with contextlib.suppress(RuntimeError):  # it has left already
            await websocket.close(GOING_AWAY, "market-engine is ending")


async def _watch_http(receive: Receive, client: Client) -> None:
    """End when the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
    client.end()


async def _watch_websocket(websocket: WebSocket, client: Client) -> None:
    """End when the client leaves; what it says is read and let go."""
    with contextlib.suppress(RuntimeError):
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass
    client.end()


def _asked(parts: Parts, websocket: WebSocket) -> tuple[Source, Wants]:
    """What a websocket asks for; raises ApiError."""
    query = websocket.query_params
    asked = query.get("source", "feed")
    for source in get_args(Source):
        if asked == source:
            return source, _wants(parts, source, query.get("symbols"), query.get("topics"))
    message = f"source: {asked[:32]!r} should be feed or replay."
    raise ApiError(422, "invalid_parameter", message, "source")


def _wants(parts: Parts, source: Source, symbols: str | None, topics: str | None) -> Wants:
    """Raises ApiError for what is not known; bars come with the metrics they belong to."""
    wanted, named = _names(topics, "topics"), _names(symbols, "symbols")
    for topic in wanted or ():
        if topic not in TOPICS:
            message = f"topics: {topic[:32]!r} is none of {', '.join(TOPICS)}."
            raise ApiError(422, "invalid_parameter", message, "topics")
    if wanted and "metrics" in wanted:
        wanted |= {"bars"}
    if source == "feed":
        for name in named or ():
            if parts.engine.view.symbol(name) is None:
                raise unknown_symbol(name)
    return Wants(wanted, named)


def _names(text: str | None, field: str) -> frozenset[str] | None:
    """Names with commas between them; None for all of them."""
    if not text:
        return None
    if len(text) > NAMES_CHARS_MAX:
        message = f"{field}: more than {NAMES_CHARS_MAX} letters: ask for all, by leaving it out."
        raise ApiError(422, "invalid_parameter", message, field)
    return frozenset(name.strip() for name in text.split(",") if name.strip()) or None


def _hello(parts: Parts, source: Source, wants: Wants) -> StreamMessage:
    view = parts.engine.view if source == "feed" else parts.desk.view
    known = view.symbols() if view else ()
    named = [name for name in known if wants.symbols is None or name in wants.symbols]
    return hello(source, named, time.time_ns())


def _full() -> ApiError:
    message = f"{CLIENTS_MAX} streams are open, which is the limit: try again later."
    return ApiError(503, "too_many_streams", message)


def _part(body: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": True}
