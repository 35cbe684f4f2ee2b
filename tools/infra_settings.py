"""Settings of Prometheus, Alertmanager and Grafana: the only file that reads their keys."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PORT_KEYS = ("PROMETHEUS_PORT", "ALERTMANAGER_PORT", "GRAFANA_PORT")


class SettingsError(Exception):
    """A setting cannot be used; the message is one line with the key and the cure."""


def _web_address(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    parts = urlsplit(text)
    is_whole = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    if text and (re.search(r"\s", text) or not is_whole):
        raise ValueError("not an address")
    return url


def _taken_as_written(password: SecretStr) -> SecretStr:
    if "${" in password.get_secret_value() or "$__" in password.get_secret_value():
        raise ValueError("Grafana would put something else in its place")
    return password


_Port = Annotated[int, Field(ge=1, le=65_535, description="a port from 1 to 65535")]
_Password = Annotated[
    SecretStr,
    Field(description="a password without ${ and $__, which Grafana takes for names of others"),
    AfterValidator(_taken_as_written),
]
_Url = Annotated[
    SecretStr,
    Field(description="an address like https://HOST/PATH, or empty"),
    AfterValidator(_web_address),
]


class Settings(BaseSettings):
    """Read once from the environment and ``.env``, where the environment wins; never changed.

    Without ``grafana_admin_password`` Grafana has no account. Without ``alert_webhook_url`` alerts
    are shown and sent to nobody; it is a secret, because many such addresses hold one.
    """

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, case_sensitive=True
    )

    prometheus_port: _Port = Field(9090, validation_alias="PROMETHEUS_PORT")
    alertmanager_port: _Port = Field(9093, validation_alias="ALERTMANAGER_PORT")
    grafana_port: _Port = Field(3000, validation_alias="GRAFANA_PORT")
    grafana_admin_password: _Password = Field(
        SecretStr(""), validation_alias="GRAFANA_ADMIN_PASSWORD"
    )
    alert_webhook_url: _Url = Field(SecretStr(""), validation_alias="ALERT_WEBHOOK_URL")

    def port(self, key: str) -> int:
        """The port that one of PORT_KEYS sets."""
        return int(getattr(self, key.lower()))

    def address(self, key: str) -> str:
        """Where the service of one of PORT_KEYS is on this machine, as ``host:port``."""
        return f"127.0.0.1:{self.port(key)}"


def load_settings() -> Settings:
    """Read the environment, then ``.env``; raises SettingsError for the first unusable value.

    The value itself is not shown: it may be a secret.
    """
    try:
        return Settings()
    except ValidationError as error:
        key = str(error.errors(include_url=False)[0]["loc"][0])
        fields = Settings.model_fields.values()
        field = next(field for field in fields if field.validation_alias == key)
        raise SettingsError(
            f"{key} must be {field.description}: mend it in .env or the environment"
        ) from None
