"""Where the apps will be, by their own settings, and what keeps them from listening there."""

from __future__ import annotations

import errno
import re
import socket
import urllib.error
import urllib.request
from typing import NamedTuple

from market_engine.errors import SettingsError as MarketSettingsError
from market_engine.settings import Settings as MarketSettings
from market_engine.settings import load_settings as load_market
from metrics_sidecar.settings import Settings as SidecarSettings
from metrics_sidecar.settings import SettingsError as SidecarSettingsError
from metrics_sidecar.settings import load_settings as load_sidecar
from trading_app.settings import Settings as DeskSettings
from trading_app.settings import SettingsError as DeskSettingsError
from trading_app.settings import load_settings as load_desk


class ProblemError(Exception):
    """Something the user can mend; the message is one line that names the cure."""


class Listener(NamedTuple):
    """Where an app will listen, and the keys that say so."""

    host: str
    port: int
    host_key: str
    port_key: str


class Obstacle(NamedTuple):
    """What keeps an app from listening, as one line with the cure."""

    cure: str
    is_taken: bool = False


class Endpoints:
    """Where the apps will be, by their settings."""

    def __init__(self) -> None:
        try:
            self.desk: DeskSettings = load_desk()
            self.sidecar: SidecarSettings = load_sidecar()
            self.market: MarketSettings = load_market()
        except (SidecarSettingsError, DeskSettingsError, MarketSettingsError) as error:
            raise ProblemError(str(error)) from None

    @property
    def desk_url(self) -> str:
        """Where a browser finds the desk."""
        return f"http://{_reachable(self.desk.http_host)}:{self.desk.http_port}"

    @property
    def sidecar_url(self) -> str:
        """Where the sidecar serves HTTP."""
        return f"http://{_reachable(self.sidecar.http_host)}:{self.sidecar.http_port}"

    @property
    def market_url(self) -> str:
        """Where the engine serves its API."""
        return f"http://{_reachable(self.market.http_host)}:{self.market.http_port}"

    @property
    def health_urls(self) -> dict[str, str]:
        """What answers 200 when an app is healthy, by app."""
        return {
            "metrics-sidecar": f"{self.sidecar_url}/health",
            "market-engine": f"{self.market_url}/health/ready",
            "trading-app": f"{self.desk_url}/_stcore/health",
        }

    def listeners(self) -> list[Listener]:
        """Each port that must be free."""
        sidecar, desk, market = self.sidecar, self.desk, self.market
        found = [
            Listener(
                sidecar.http_host, sidecar.http_port, "SIDECAR_HTTP_HOST", "SIDECAR_HTTP_PORT"
            ),
            Listener(desk.http_host, desk.http_port, "WEBAPP_HTTP_HOST", "WEBAPP_HTTP_PORT"),
            Listener(market.http_host, market.http_port, "MARKET_HTTP_HOST", "MARKET_HTTP_PORT"),
        ]
        interfaces = {name for _, name in socket.if_nameindex()}
        for key, address in (
            ("SIDECAR_ZMQ_BIND", sidecar.zmq_bind),
            ("SIDECAR_ZMQ_ACK_BIND", sidecar.zmq_ack_bind),
        ):
            bind = re.fullmatch(r"tcp://\[?(.+?)\]?:([0-9]{1,5})", address)
            if bind and bind[1] not in interfaces:
                found.append(Listener(bind[1], int(bind[2]), key, key))
        return found


def _reachable(host: str) -> str:
    """An address to open in a browser for a host that was bound."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"[{host}]" if ":" in host else host


def obstacle(listener: Listener) -> Obstacle | None:
    """Try to listen there; None when nothing stands in the way."""
    try:
        _try_to_listen(listener.host, listener.port)
    except (OSError, UnicodeError) as error:
        return _obstacle(listener, error)
    return None


def _try_to_listen(host: str, port: int) -> None:
    host = "0.0.0.0" if host == "*" else host  # noqa: S104 - as ZeroMQ writes it
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _obstacle(listener: Listener, error: OSError | UnicodeError) -> Obstacle:
    reason = error.errno if isinstance(error, OSError) else None
    host, port, host_key, port_key = listener
    if reason == errno.EADDRINUSE:
        cure = f"port {port} is taken: stop what listens there, or set {port_key} in .env"
        return Obstacle(cure, is_taken=True)
    if reason in {errno.EACCES, errno.EPERM}:
        return Obstacle(f"port {port} is not for every user: set {port_key} above 1023 in .env")
    return Obstacle(f"{host_key}={host} is no address of this machine: set {host_key} in .env")


def answers(url: str) -> bool:
    """Whether a page answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - our own http address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
