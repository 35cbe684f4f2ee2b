"""The outermost layer: bodies are bounded, foreign pages change nothing, requests are counted.

A page on the internet can make a browser send requests here, also under a name of its own that it
lets mean this machine (DNS rebinding). Knows nothing of what the application does.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from market_engine.api.errors import error_response
from market_engine.api.figures import Figures

BODY_BYTES_MAX: Final = 65_536
OTHER: Final = "other"
"""The route of requests that fit none."""
_CHANGES_NOTHING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_FOREIGN: Final = "A page of another origin may not change anything here: use the desk's own page."
_STRANGE: Final = (
    "This host is none of the engine's names, so nothing may be changed under it: ask for "
    "127.0.0.1 or localhost, or for the name that is set as MARKET_HTTP_HOST."
)
_CUT: Final = "market_engine.cut"


class Edge:
    """ASGI around an application; ``own_host`` is what it was told to listen at."""

    def __init__(self, app: ASGIApp, figures: Figures, own_host: str) -> None:
        self._app = app
        self._figures = figures
        self._own_host = own_host.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            scope[_CUT] = _cut(receive)
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[_CUT] = _cut(receive)
        status = 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if _stated_bytes(scope) > BODY_BYTES_MAX:
                message = f"The body is over {BODY_BYTES_MAX:,} bytes, the limit: send less."
                await error_response(413, "too_large", message)(scope, receive, counted)
            elif _is_foreign(scope):
                await error_response(403, "foreign_origin", _FOREIGN)(scope, receive, counted)
            elif self._is_strange(scope):
                await error_response(403, "foreign_host", _STRANGE)(scope, receive, counted)
            else:
                await self._app(scope, _bounded(receive), counted)
        finally:
            route = getattr(scope.get("route"), "path", OTHER)
            self._figures.requests[route, f"{status // 100}xx"] += 1

    def _is_strange(self, scope: Scope) -> bool:
        """Whether a page asks for a change under a name that may be another's.

        An address is no name, so nobody can let it mean this machine. Programs, which send no
        Origin, may use any name: nobody can rebind what they look up.
        """
        headers = dict(scope["headers"])
        if scope["method"] in _CHANGES_NOTHING or b"origin" not in headers:
            return False
        name = _without_port(headers.get(b"host", b"").decode("latin-1").lower())
        return name not in (self._own_host, "localhost") and not _is_address(name)


def cut_of(scope: Scope) -> Callable[[], None]:
    """What ends a connection at once, whatever is still to be sent on it."""
    found: Callable[[], None] = scope.get(_CUT, _nothing)
    return found


def _is_foreign(scope: Scope) -> bool:
    """Whether a page of another origin asks for a change; programs send no ``Origin``."""
    if scope["method"] in _CHANGES_NOTHING:
        return False
    headers = dict(scope["headers"])
    origin = headers.get(b"origin")
    return origin is not None and origin.partition(b"://")[2] != headers.get(b"host")


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _bounded(receive: Receive) -> Receive:
    """For bodies that do not say how long they are."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > BODY_BYTES_MAX:
            raise HTTPException(413)
        return message

    return bounded


def _stated_bytes(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _cut(receive: Receive) -> Callable[[], None]:
    """The server's transport, where the server is uvicorn: ASGI itself can only end politely.

    A polite end waits until what was written is read, and some do not read.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    abort: Callable[[], None] = getattr(transport, "abort", _nothing)
    return abort


def _nothing() -> None:
    """Where there is no connection of ours."""
