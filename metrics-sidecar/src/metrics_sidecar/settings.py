"""Settings of the sidecar: the only file that reads the environment and ``.env``.

Read once, frozen, and handed on. A wrong value ends in one line that names the key and the cure.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from trade_telemetry.addresses import acknowledgement_address

ZMQ_BIND: Final = "tcp://127.0.0.1:5555"
_CURES: Final = {
    "SIDECAR_ZMQ_BIND": "write it as tcp://HOST:PORT, with a port from 1 to 65535",
    "SIDECAR_ZMQ_ACK_BIND": "write it as tcp://HOST:PORT, with a port from 1 to 65535",
    "SIDECAR_STATE_DIR": "write the path of a directory, or nothing for totals in memory",
    "SIDECAR_HTTP_HOST": "write a host name or an IP address",
    "SIDECAR_HTTP_PORT": "write a port from 1 to 65535",
    "SIDECAR_LOG_FORMAT": "write auto, console or json",
}


class SettingsError(ValueError):
    """A setting is wrong; the message is one line for the person who set it."""


def _bindable(address: str) -> str:
    match = re.fullmatch(r"tcp://[^\s/]+:(\d{1,5})|ipc://.+", address)
    if match is None or not 1 <= int(match[1] or 1) <= 65_535:
        raise ValueError("not an address")
    return address


class Settings(BaseSettings):
    """What the environment, or ``.env`` in the working directory, says; else these defaults."""

    model_config = SettingsConfigDict(
        env_prefix="SIDECAR_", env_file=".env", extra="ignore", frozen=True
    )

    zmq_bind: Annotated[str, AfterValidator(_bindable)] = ZMQ_BIND
    """Where the PULL socket binds."""
    zmq_ack_bind: Annotated[str, AfterValidator(_bindable)] = "tcp://127.0.0.1:5556"
    """Where acknowledgements are published; by default at the port after that of ``zmq_bind``."""
    state_dir: Path | None = Path(".state/metrics-sidecar")
    """Where the totals are kept; set but empty: nowhere, they begin at 0 with each start."""
    http_host: str = Field("127.0.0.1", pattern=r"^[A-Za-z0-9.:_-]+$")
    """Where /metrics, /health and the live feed are served."""
    http_port: int = Field(8001, ge=1, le=65535)
    log_format: Literal["auto", "console", "json"] = "auto"
    """auto: readable on a terminal, JSON elsewhere."""
    commit: str = "unknown"
    """The commit that runs, for telemetry_build_info."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Empty means unset, except for ``state_dir``: there it means none."""
        given = {key: value for key, value in values.items() if value != ""}
        if values.get("state_dir") == "":
            given["state_dir"] = None
        return {
            "zmq_ack_bind": acknowledgement_address(str(given.get("zmq_bind", ZMQ_BIND)))
        } | given


def load_settings() -> Settings:
    """The settings of this process; raises SettingsError with one line."""
    try:
        return Settings()
    except UnicodeDecodeError:
        raise SettingsError(".env is not UTF-8 text: save it as UTF-8") from None
    except ValidationError as error:
        problem = error.errors()[0]
        key = f"SIDECAR_{'_'.join(str(part) for part in problem['loc'])}".upper()
        cure = _CURES.get(key, problem["msg"])
        raise SettingsError(f"{key}={problem['input']!r} cannot be used: {cure}") from None
