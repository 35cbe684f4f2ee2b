"""Serve the HTTP endpoint: the composition root of ``trading-app api``."""

from __future__ import annotations

import uvicorn

from trading_app.http_api import create_api
from trading_app.publishing import close_publisher, open_publisher
from trading_app.settings import Settings


def serve(settings: Settings) -> None:
    """Serve until a signal ends it; what waits is then sent, for at most two seconds.

    It publishes as ``<WEBAPP_PUBLISHER_ID>-api``: each process is a publisher of its own.
    """
    publisher = open_publisher(settings, f"{settings.publisher_id}-api")
    try:
        uvicorn.run(
            create_api(settings, publisher),
            host=settings.api_host,
            port=settings.api_port,
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=3,
        )
    finally:
        close_publisher(publisher)
