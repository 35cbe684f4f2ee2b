"""Serve the pages through Streamlit: its options, and the lifetime of what the sessions share."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Final

import streamlit as st
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnected

from trading_app.publishing import close_publisher
from trading_app.settings import Settings, is_loopback, is_wildcard
from trading_app.ui import shared
from trading_app.ui.style import theme_options

PACKAGE_DIR: Final = Path(__file__).parent.parent


def serve(settings: Settings, *, reload: bool) -> None:
    """Serve the pages until a signal ends it. With ``reload``, edited code shows at once."""
    if reload:
        # Streamlit reloads modules only below the script's own folder or below PYTHONPATH.
        os.environ["PYTHONPATH"] = str(PACKAGE_DIR.parent)
    # Altair trips over a pandas that another thread is just importing; so it is here beforehand.
    import_module("pandas")
    app = st.App(
        PACKAGE_DIR / "ui" / "app.py", lifespan=_lifespan, middleware=[Middleware(QuietDisconnect)]
    )
    app.run(config=options(settings, reload=reload))


class QuietDisconnect:
    """Take a browser that left in the middle of a message as what it is: gone, not an error.

    Streamlit 1.67 closes such a connection a second time, which ends in a traceback in the log.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        with suppress(WebSocketDisconnected):
            await self._app(scope, receive, send)


@asynccontextmanager
async def _lifespan(_app: st.App) -> AsyncIterator[None]:
    """Open the publisher before the first visitor; send what waits when the server ends."""
    publisher = shared.publisher()
    try:
        yield
    finally:
        close_publisher(publisher)


def options(settings: Settings, *, reload: bool) -> dict[str, object]:
    """Streamlit's options by dotted name; they win over any config file of the user."""
    return {
        "server.address": settings.http_host,
        "server.port": settings.http_port,
        "server.headless": True,
        "server.showEmailPrompt": False,
        "server.allowedHosts": _allowed_hosts(settings.http_host),
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        "server.runOnSave": reload,
        "server.fileWatcherType": "auto" if reload else "none",
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "minimal",
        # A full collection after each redraw costs 20 ms, and a second click in it is lost.
        "runner.postScriptGC": False,
        "client.showErrorDetails": "full" if reload else "none",
        "client.showErrorLinks": False,  # they would send people, and the error, elsewhere
        "logger.hideWelcomeMessage": True,
        "logger.enableRich": False,
        **theme_options(),
    }


def _allowed_hosts(host: str) -> list[str]:
    """List the names a browser may use for this server; none means any, once it is opened."""
    if is_wildcard(host):
        return []
    return ["localhost", "127.0.0.1", "::1"] if is_loopback(host) else [host]
