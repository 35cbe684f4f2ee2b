"""The server process: engine, HTTP app and uvicorn, started together and ended in order."""

from __future__ import annotations

import atexit
import platform
import signal
import socket
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI

from market_engine.api.app import SERVER_OPTIONS, create_app
from market_engine.api.exposition import Build, make_registry
from market_engine.engine import Engine
from market_engine.errors import SettingsError
from market_engine.logs import configure_logs
from market_engine.schedule import Schedule, load_schedule
from market_engine.settings import Settings, load_settings


def serve(settings: Settings, *, reload: bool) -> None:
    """Run until SIGINT or SIGTERM; raises MarketError where it cannot start."""
    _check_port(settings)
    if reload:
        uvicorn.run(
            "market_engine.serving:make_app",
            factory=True,
            reload=True,
            reload_dirs=[str(Path(__file__).parent)],
            **_uvicorn_options(settings),
        )
        return
    engine = Engine(settings, _schedule(settings))
    engine.start()  # before the server does, so that what is wrong is one line, no traceback
    try:
        _serve(engine)
    finally:
        engine.stop()


def make_app() -> FastAPI:
    """The application by the settings of this process; uvicorn's factory for ``--reload``."""
    settings = load_settings()
    configure_logs(settings.log_format)
    engine = Engine(settings, _schedule(settings))
    engine.start()
    atexit.register(engine.stop)  # the process is ended at each change
    return _compose(engine)


def _serve(engine: Engine) -> None:
    settings = engine.settings
    server: uvicorn.Server | None = None
    app = _compose(engine, lambda: server is not None and server.should_exit)
    server = uvicorn.Server(uvicorn.Config(app, **_uvicorn_options(settings)))
    serving = server

    def end(*_: object) -> None:
        serving.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):  # before uvicorn has its own handlers, and
        signal.signal(number, end)  # after: it raises the signal once more when it has ended
    structlog.get_logger("main").info(
        "listening",
        feed=settings.feed,
        symbols=",".join(engine.view.symbols()),
        database=engine.database.name,
        http=f"http://{settings.http_host}:{settings.http_port}",
    )
    server.run()


def _schedule(settings: Settings) -> Schedule:
    """What the file says; always open without one."""
    if settings.schedule_file is None or not settings.schedule_file.exists():
        return Schedule()
    return load_schedule(settings.schedule_file)


def _compose(engine: Engine, is_stopping: Callable[[], bool] = lambda: False) -> FastAPI:
    build = Build(version("market-engine"), engine.settings.commit, platform.python_version())
    return create_app(engine, make_registry(engine, build), is_stopping)


def _uvicorn_options(settings: Settings) -> dict[str, Any]:
    return {
        "host": settings.http_host,
        "port": settings.http_port,
        **SERVER_OPTIONS,
    }


def _check_port(settings: Settings) -> None:
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.http_host, settings.http_port))
        except OSError as error:
            raise SettingsError(
                f"{settings.http_host}:{settings.http_port} cannot be bound ({error.strerror}): "
                "stop what listens there, or set MARKET_HTTP_HOST and MARKET_HTTP_PORT"
            ) from None
