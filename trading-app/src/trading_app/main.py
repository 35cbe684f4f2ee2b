"""The ``trading-app`` command: read the settings, then serve the pages or the HTTP endpoint."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
from importlib.metadata import version
from types import FrameType
from typing import NoReturn

from trade_telemetry import ConfigurationError
from trading_app.settings import Settings, SettingsError, load_settings, web_address


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when a signal ended it, 2 when a setting cannot work."""
    choice = _parser().parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    try:
        settings = load_settings()
        if choice.service == "api":
            _serve_api(settings)
        else:
            _serve_pages(settings, reload=choice.reload)
    except (SettingsError, ConfigurationError) as error:
        print(f"trading-app: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trading-app",
        description="The desk: Buy and Sell in the browser, and see each trade counted.",
        epilog="Settings come from the environment or from .env in this folder; see README.md.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('trading-app')}")
    parser.add_argument("--reload", action="store_true", help="show edits of the code at once")
    commands = parser.add_subparsers(dest="service", metavar="COMMAND")
    commands.add_parser("api", help="serve POST /trade/{side} instead of the pages")
    return parser


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    """End in order: uvicorn passes a signal on to this once it has shut down."""
    raise SystemExit(0)


def _serve_pages(settings: Settings, *, reload: bool) -> None:
    _require_free(settings.http_host, settings.http_port, "WEBAPP_HTTP")
    from trading_app.ui.server import serve  # noqa: PLC0415 - a second of imports

    _announce(f"the desk is at {settings.ui_url}")
    serve(settings, reload=reload)


def _serve_api(settings: Settings) -> None:
    settings.require_safe_api()
    _require_free(settings.api_host, settings.api_port, "WEBAPP_API")
    from trading_app.http_server import serve  # noqa: PLC0415 - not needed for the pages

    _announce(f"POST /trade/buy and /trade/sell are at {settings.api_url}, docs at /docs")
    serve(settings)


def _require_free(host: str, port: int, keys: str) -> None:
    """Raise SettingsError, naming the key to change, when a server could not listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
    except OSError as error:
        raise SettingsError(
            f"cannot listen at {web_address(host, port)} ({error.strerror}): "
            f"end what uses it, or change {keys}_PORT or {keys}_HOST in .env"
        ) from None


def _announce(line: str) -> None:
    print(f"trading-app: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
