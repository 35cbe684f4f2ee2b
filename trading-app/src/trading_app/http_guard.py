"""What a request must pass before it reaches the HTTP endpoint: host, origin, size. Pure ASGI.

A page on the internet can make a browser send requests to this machine. ``Host`` must be one of our
names (against DNS rebinding), and ``Origin``, where a browser sends one, one of our pages.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trading_app.http_problems import answer_problem
from trading_app.settings import Settings, is_loopback, is_wildcard

BODY_BYTES_MAX: Final = 16 * 1024
_LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")


class Guard:
    """Let through our own pages and programs; answer 400, 403 or 413 to the rest."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._hosts = own_hosts(settings)
        self._origins = own_origins(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(Headers(scope=scope))
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            await _too_large()(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    def _refusal(self, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if self._hosts is not None and _without_port(host) not in self._hosts:
            return answer_problem(400, "host", "is none of this server's names")
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins:
            return answer_problem(403, "origin", f"{origin[:80]!r} is not a page of this desk")
        if not headers.get("content-length", "0").isdecimal():
            return answer_problem(400, "body", "has a length that is no number")
        return _too_large() if int(headers.get("content-length", "0")) > BODY_BYTES_MAX else None


def own_hosts(settings: Settings) -> frozenset[str] | None:
    """List the host names that the endpoint answers to; None once it is opened to every address."""
    if is_wildcard(settings.api_host):
        return None
    return frozenset(_names(settings.api_host))


def own_origins(settings: Settings) -> frozenset[str]:
    """List the origins of the desk's pages and of the endpoint's own documentation."""
    servers = (
        (settings.http_host, settings.http_port),
        (settings.api_host, settings.api_port),
    )
    return frozenset(f"http://{name}:{port}" for host, port in servers for name in _names(host))


def _names(host: str) -> Iterable[str]:
    if is_loopback(host) or is_wildcard(host):
        return _LOOPBACK_NAMES
    return (f"[{host}]" if ":" in host else host,)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def _too_large() -> Response:
    return answer_problem(413, "body", f"has more than {BODY_BYTES_MAX} bytes")


async def _read(receive: Receive) -> bytes | None:
    """Read the whole body, or None as soon as it is larger than allowed."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > BODY_BYTES_MAX:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hand the body that was read to the application, then what comes after it."""
    parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return parts.pop() if parts else await receive()

    return replay
