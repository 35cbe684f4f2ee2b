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
from metrics_sidecar.commands import run_backup, run_restore
from metrics_sidecar.connections import BindError
from metrics_sidecar.exposition import Build, make_registry
from metrics_sidecar.http_app import create_app
from metrics_sidecar.logs import configure_logs
from metrics_sidecar.receiver import Receiver
from metrics_sidecar.settings import Settings, SettingsError, load_settings
from metrics_sidecar.store_errors import StateError

DESCRIPTORS_WANTED = 4_096
_ABOUT = """Count every trade that arrives over ZeroMQ and show the totals to Prometheus, until
SIGINT or SIGTERM. The settings are read from the environment and from .env: see .env.sample."""
_COMMANDS = (
    (
        "backup",
        "save the state (SIDECAR_STATE_DIR) in the new file TARGET: while a sidecar runs or not",
        "TARGET",
    ),
    (
        "restore",
        (
            "put a saved state in the place of this one: the sidecar must not run. The state that "
            "was there is set aside whole. Trades counted since the copy was made are counted "
            "again as far as their publishers still hold them; the rest is shown as lost, by the "
            "reason state"
        ),
        "SOURCE",
    ),
)


def make_app() -> FastAPI:
    """The application by the settings of this process; uvicorn's factory for ``--reload``."""
    settings = load_settings()
    configure_logs(settings.log_format)
    return _compose(settings, _receiver(settings))


def main() -> int:
    """Count trades until SIGINT or SIGTERM, or copy what was counted; the settings are in .env.

    0 at the end, 2 with one line when it cannot start or cannot copy.
    """
    options = _arguments()
    try:
        settings = load_settings()
        configure_logs(settings.log_format)
        if options.command is not None:
            print(_copy(options, settings))
        else:
            _start(settings, reload=options.reload)
    except (SettingsError, BindError, StateError) as error:
        print(f"metrics-sidecar: {error}", file=sys.stderr)
        return 2
    return 0


def _start(settings: Settings, *, reload: bool) -> None:
    _allow_descriptors()
    _check_port(settings)
    if reload:
        _serve_reloading(settings)
    else:
        _serve(settings)


def _copy(options: argparse.Namespace, settings: Settings) -> str:
    """Do what the subcommand says, and tell what was done."""
    if settings.state_dir is None:
        raise SettingsError(
            "SIDECAR_STATE_DIR is empty, so no state is kept: set it to a directory"
        )
    if options.command == "backup":
        return run_backup(settings.state_dir, options.file)
    return run_restore(settings.state_dir, options.file)


def _serve(settings: Settings) -> None:
    receiver = _receiver(settings)
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
        acknowledgements=settings.zmq_ack_bind,
        state=str(settings.state_dir or "in memory"),
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


def _receiver(settings: Settings) -> Receiver:
    return Receiver(settings.zmq_bind, settings.zmq_ack_bind, settings.state_dir)


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
    parser = argparse.ArgumentParser(prog="metrics-sidecar", description=_ABOUT)
    parser.add_argument("--reload", action="store_true", help="restart when a source file changes")
    parser.add_argument(
        "--version", action="version", version=f"metrics-sidecar {version('metrics-sidecar')}"
    )
    commands = parser.add_subparsers(dest="command", title="without a command it serves")
    for name, text, file in _COMMANDS:
        command = commands.add_parser(name, help=text.partition(":")[0], description=text)
        command.add_argument("file", metavar=file, type=Path, help=f"a file, like {name}.db")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
