"""What the desk is told from outside: the only file that reads the environment and ``.env``.

Keys of other programs in a shared ``.env`` are ignored. An empty value means the default, except
for the two keys whose field may be None: there it means that nothing is wanted.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from trade_telemetry.addresses import acknowledgement_address
from trade_telemetry.messages import check_source

_SECRET_KEYS: Final = frozenset({"WEBAPP_API_TOKEN"})
_MAY_BE_EMPTY: Final = frozenset({"WEBAPP_ZMQ_ACK_ADDR", "WEBAPP_JOURNAL_DIR"})


class SettingsError(Exception):
    """A setting cannot be used; the message is one line: the key, its value and the cure."""


def _printable(token: SecretStr) -> SecretStr:
    if not all("!" <= character <= "~" for character in token.get_secret_value()):
        raise ValueError("not printable")
    return token


def _source(name: str) -> str:
    if not check_source(name):
        raise ValueError("not a source")
    return name


def _folder(text: str) -> Path | None:
    try:
        return Path(text).expanduser() if text else None
    except RuntimeError as error:
        raise ValueError("~ of somebody who is not there") from error


_HostName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9.:_-]{1,253}$", description="a host name or an IP address")
]
_Port = Annotated[int, Field(ge=1, le=65_535, description="a port from 1 to 65535")]
_Address = Annotated[
    str,
    Field(
        pattern=r"^(tcp://[^\s:/]+:[1-9]\d{0,4}|tcp://\[[0-9A-Fa-f:]+\]:[1-9]\d{0,4}|ipc://\S+)$",
        description="an address like tcp://HOST:PORT",
    ),
]
_AckAddress = Annotated[
    _Address | None,
    Field(description="an address like tcp://HOST:PORT, or empty for fire and forget"),
    BeforeValidator(lambda text: text or None),
]
_Folder = Annotated[
    Path | None,
    Field(description="a folder, or empty to keep what waits in memory only"),
    BeforeValidator(_folder),
]
_Url = Annotated[
    str,
    Field(pattern=r"^https?://[^\s/]+(/\S*)?$", description="an address like http://HOST:PORT"),
    AfterValidator(lambda url: url.rstrip("/")),
]
_Token = Annotated[
    SecretStr,
    Field(description="printable ASCII without spaces, or empty for no token"),
    AfterValidator(_printable),
]
_PublisherId = Annotated[
    str,
    Field(max_length=60, description="1 to 60 of A-Z a-z 0-9 . _ / -"),
    AfterValidator(_source),
]


class Settings(BaseSettings):
    """The desk's settings, read once and never changed.

    ``publisher_id`` leaves four characters for the HTTP endpoint, which publishes as
    ``<publisher_id>-api``: two processes never share one name. ``zmq_ack_addr`` is None for fire
    and forget, ``journal_dir`` None to keep what waits in memory. Left alone, ``zmq_ack_addr`` is
    the port after that of ``zmq_addr``, where the sidecar acknowledges unless it is told otherwise.
    """

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, case_sensitive=True
    )

    http_host: _HostName = Field("127.0.0.1", validation_alias="WEBAPP_HTTP_HOST")
    http_port: _Port = Field(8501, validation_alias="WEBAPP_HTTP_PORT")
    api_host: _HostName = Field("127.0.0.1", validation_alias="WEBAPP_API_HOST")
    api_port: _Port = Field(8000, validation_alias="WEBAPP_API_PORT")
    api_token: _Token = Field(SecretStr(""), validation_alias="WEBAPP_API_TOKEN")
    zmq_addr: _Address = Field("tcp://127.0.0.1:5555", validation_alias="WEBAPP_ZMQ_ADDR")
    zmq_ack_addr: _AckAddress = Field(
        "tcp://127.0.0.1:5556", validation_alias="WEBAPP_ZMQ_ACK_ADDR"
    )
    publisher_id: _PublisherId = Field("trading-app", validation_alias="WEBAPP_PUBLISHER_ID")
    journal_dir: _Folder = Field(Path(".state/trading-app"), validation_alias="WEBAPP_JOURNAL_DIR")
    sidecar_url: _Url = Field("http://127.0.0.1:8001", validation_alias="SIDECAR_URL")
    market_url: _Url = Field("http://127.0.0.1:8002", validation_alias="MARKET_URL")

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: dict[str, Any]) -> dict[str, Any]:
        given = {key: text for key, text in values.items() if text != "" or key in _MAY_BE_EMPTY}
        if "WEBAPP_ZMQ_ADDR" in given:
            given.setdefault(
                "WEBAPP_ZMQ_ACK_ADDR", acknowledgement_address(given["WEBAPP_ZMQ_ADDR"])
            )
        return given

    @property
    def ui_url(self) -> str:
        """Where a browser on this machine finds the page, without a slash at the end."""
        return web_address(self.http_host, self.http_port)

    @property
    def api_url(self) -> str:
        """Where a program on this machine finds the HTTP endpoint, without a slash at the end."""
        return web_address(self.api_host, self.api_port)

    def require_safe_api(self) -> None:
        """Raise SettingsError when the endpoint would be open to the network without a token."""
        if not self.api_token.get_secret_value() and not is_loopback(self.api_host):
            raise SettingsError(
                f"WEBAPP_API_HOST={self.api_host!r} opens POST /trade to the network without a "
                "token: set WEBAPP_API_TOKEN, or WEBAPP_API_HOST=127.0.0.1"
            )


def load_settings() -> Settings:
    """Read the environment, then ``.env`` in the working directory; the environment wins.

    Raises SettingsError, one line, for the first value that cannot be used.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(_first_problem(error)) from None
    except UnicodeDecodeError:
        raise SettingsError(
            f"{Path('.env').resolve()} is not UTF-8 text: save it as UTF-8"
        ) from None
    except OSError as error:
        raise SettingsError(f".env cannot be read ({error}): mend or remove it") from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_wildcard(host: str) -> bool:
    """Whether ``host`` means every address of this machine."""
    return host in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound


def web_address(host: str, port: int) -> str:
    """Write the address of a server as a browser on the same machine types it."""
    name = "127.0.0.1" if is_wildcard(host) else host
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    key = str(problem["loc"][0])
    field = next(f for f in Settings.model_fields.values() if f.validation_alias == key)
    value = "…" if key in _SECRET_KEYS else repr(problem["input"])
    default = field.get_default()
    otherwise = "" if key in _SECRET_KEYS else f" (default {default})"
    return (
        f"{key}={value} must be {field.description}: mend it in .env or the environment{otherwise}"
    )
