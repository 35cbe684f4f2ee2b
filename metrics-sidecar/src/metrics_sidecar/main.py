"""Composition root: settings → receiver → metrics → HTTP app → server; ``metrics-sidecar``."""

from __future__ import annotations

import argparse
import platform
import resource
import signal
import socket
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI

import trade_telemetry
from metrics_sidecar.exposition import Build, make_registry
from metrics_sidecar.http_app import create_app
from metrics_sidecar.logs import configure_logs
from metrics_sidecar.receiver import BindError, Receiver
from metrics_sidecar.settings import Settings, SettingsError, load_settings

DESCRIPTORS_WANTED = 4_096


def make_app() -> FastAPI:
    """The application by the settings of this process; uvicorn's factory for ``--reload``."""
    settings = load_settings()
    configure_logs(settings.log_format)
    return _compose(settings, Receiver(settings.zmq_bind))


def main() -> int:
    """Serve until SIGINT or SIGTERM; 0 then, 2 with one line when it cannot start."""
    options = _arguments()
    try:
        settings = load_settings()
        configure_logs(settings.log_format)
        _allow_descriptors()
        _check_port(settings)
        if options.reload:
            _serve_reloading(settings)
        else:
            _serve(settings)
    except (SettingsError, BindError) as error:
        print(f"metrics-sidecar: {error}", file=sys.stderr)
        return 2
    return 0


def _serve(settings: Settings) -> None:
    receiver = Receiver(settings.zmq_bind)
    receiver.start()  # before the server does, so that a taken address is one line, no traceback
    server: uvicorn.Server | None = None
    app = _compose(settings, receiver, lambda: server is not None and server.should_exit)
    server = uvicorn.Server(uvicorn.Config(app, **_uvicorn_options(settings)))
    serving = server

    def end(*_: object) -> None:
        serving.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):  # before uvicorn has its own handlers, and
        signal.signal(number, end)  # after: it raises the signal once more when it has ended
    structlog.get_logger("main").info(
        "listening",
        trades=settings.zmq_bind,
        http=f"http://{settings.http_host}:{settings.http_port}",
    )
    server.run()


def _serve_reloading(settings: Settings) -> None:
    folders = [str(Path(package or "").parent) for package in (__file__, trade_telemetry.__file__)]
    uvicorn.run(
        "metrics_sidecar.main:make_app",
        factory=True,
        reload=True,
        reload_dirs=folders,
        **_uvicorn_options(settings),
    )


def _compose(
    settings: Settings, receiver: Receiver, is_stopping: Callable[[], bool] = lambda: False
) -> FastAPI:
    build = Build(version("metrics-sidecar"), settings.commit, platform.python_version())
    return create_app(receiver, make_registry(receiver, build), is_stopping)


def _uvicorn_options(settings: Settings) -> dict[str, Any]:
    return {
        "host": settings.http_host,
        "port": settings.http_port,
        "log_config": None,
        "access_log": False,
        "timeout_graceful_shutdown": 1,  # a listener that does not read must not hold up the end
    }


def _allow_descriptors() -> None:
    """Have room for two descriptors a connection, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(DESCRIPTORS_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _check_port(settings: Settings) -> None:
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.http_host, settings.http_port))
        except OSError as error:
            raise BindError(
                f"{settings.http_host}:{settings.http_port} cannot be bound ({error.strerror}): "
                "stop what listens there, or set SIDECAR_HTTP_HOST and SIDECAR_HTTP_PORT"
            ) from None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="metrics-sidecar", description=main.__doc__)
    parser.add_argument("--reload", action="store_true", help="restart when a source file changes")
    parser.add_argument(
        "--version", action="version", version=f"metrics-sidecar {version('metrics-sidecar')}"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
