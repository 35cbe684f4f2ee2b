"""Settings of the engine: the only file that reads the environment and ``.env``.

Read once, frozen, and handed on. A wrong value ends in one line that names the key and the cure.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from market_engine.errors import SettingsError

SIMULATED_SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "AAPL", "GOOGL", "MSFT", "TSLA")
BINANCE_SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")
SYMBOL: Final = re.compile(r"[A-Z0-9._-]{1,32}")
_MAY_BE_EMPTY: Final = frozenset({"record_dir", "schedule_file", "telemetry_addr"})
_CURES: Final = {
    "MARKET_FEED": "write simulated, binance or replay",
    "MARKET_SYMBOLS": "write symbols like BTCUSDT,ETHUSDT: at most 100, none twice",
    "MARKET_HTTP_HOST": "write a host name or an IP address",
    "MARKET_HTTP_PORT": "write a port from 1 to 65535",
    "MARKET_LOG_FORMAT": "write auto, console or json",
    "MARKET_BUS_URL": "write memory: the only bus there is",
    "MARKET_SIMULATED_RATE": "write events a second, from 1 to 50000",
    "MARKET_SIMULATED_STEADY": "write true or false",
    "MARKET_SIMULATED_ANCHOR_MS": "write ms since 1970, before the year 2100",
    "MARKET_BINANCE_STREAM_URL": "write it as wss://HOST/PATH",
    "MARKET_BINANCE_REST_URL": "write it as https://HOST",
    "MARKET_REPLAY_SPEED": "write a factor such as 1 or 100, or 0 for as fast as possible",
    "MARKET_TELEMETRY_ADDR": "write it as tcp://HOST:PORT, or leave it empty for none",
    "MARKET_TRADES_DAYS": "write days, at most 36500, or 0 to keep trades for ever",
    "MARKET_METRICS_DAYS": "write days, at most 36500, or 0 to keep metrics for ever",
}


def _symbols(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = tuple(part.strip().upper() for part in value.split(",") if part.strip())
    if len(found) > 100 or len(set(found)) < len(found):
        raise ValueError("too many, or one twice")
    if not all(SYMBOL.fullmatch(symbol) for symbol in found):
        raise ValueError("not a symbol")
    return found


class Settings(BaseSettings):
    """What the environment, or ``.env`` in the working directory, says; else these defaults."""

    model_config = SettingsConfigDict(
        env_prefix="MARKET_", env_file=".env", extra="ignore", frozen=True
    )

    http_host: str = Field("127.0.0.1", pattern=r"^[A-Za-z0-9.:_-]+$")
    http_port: int = Field(8002, ge=1, le=65535)
    database_url: str = "sqlite:///.state/market-engine/market.db"
    """Where trades and metrics are kept."""
    desk_database_url: str = ""
    """Where the paper desk's orders and ledger are kept. Empty: beside the market's file, in
    ``desk.db``; in the market's database where that is no file; of a replay, nowhere."""
    telemetry_addr: str | None = Field(
        "tcp://127.0.0.1:5555", pattern=r"^(tcp://[^/\s]+:[0-9]+|ipc://\S+)$"
    )
    """Of the sidecar that counts the paper desk's fills; empty: none. Those of a replay whose desk
    is kept nowhere are not counted: the ledger forgets them, and the sidecar would not."""
    telemetry_journal_dir: Path = Path(".state/market-engine/journal")
    """Where the fills are kept until they are counted."""
    bus_url: Literal["memory"] = "memory"
    feed: Literal["simulated", "binance", "replay"] = "simulated"
    symbols: Annotated[tuple[str, ...], NoDecode] = ()
    """Empty: those that the feed has by default."""
    simulated_rate: float = Field(20.0, ge=1, le=50_000)
    """Events a second, over all symbols."""
    simulated_seed: int = Field(7, ge=0)
    simulated_steady: bool = False
    """The same rate at all times, for load tests; otherwise with bursts and the shape of a day."""
    simulated_anchor_ms: int | None = Field(None, ge=0, le=4_102_444_800_000)
    """When the simulated market began, in ms since 1970: then its trades are the same in every run,
    and those that were missed are fetched. Unset: it goes on when the engine does."""
    replay_file: Path | None = None
    """What the feed ``replay`` plays: .frames, .frames.gz, .csv or .zip."""
    replay_speed: float = Field(1.0, ge=0, le=1e6)
    """0: as fast as possible."""
    recordings_dir: Path = Path(".state/market-engine/recordings")
    """Where recordings are looked for."""
    record_dir: Path | None = None
    """Where a live feed's frames are recorded; empty: nowhere."""
    schedule_file: Path | None = Path("config/ingestion_schedule.yml")
    """When live data is taken; empty, or no such file: always."""
    trades_days: float = Field(7.0, ge=0, le=36_500, allow_inf_nan=False)
    """How long trades are kept; 0: for ever."""
    metrics_days: float = Field(30.0, ge=0, le=36_500, allow_inf_nan=False)
    binance_stream_url: str = Field(
        "wss://stream.binance.com:9443/stream", pattern=r"^wss?://[^/\s]+"
    )
    binance_rest_url: str = Field("https://api.binance.com", pattern=r"^https?://[^/\s]+")
    log_format: Literal["auto", "console", "json"] = "auto"
    """auto: readable on a terminal, JSON elsewhere."""
    commit: str = "unknown"
    """The commit that runs, for market_build_info."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Empty means unset, except for what may be none."""
        given = {key: value for key, value in values.items() if value != ""}
        given |= {key: None for key in _MAY_BE_EMPTY if values.get(key) == ""}
        if "symbols" in given:
            given["symbols"] = _symbols(given["symbols"])
        return given

    @property
    def desk_url(self) -> str:
        """The database of the paper desk."""
        folder, slash, _ = self.database_url.rpartition("/")
        if self.desk_database_url or not self.database_url.startswith("sqlite:"):
            return self.desk_database_url or self.database_url
        return f"{folder}{slash}desk.db"

    @property
    def has_scratch_desk(self) -> bool:
        """Whether the paper desk begins anew each time, as the market of a replay does."""
        return self.feed == "replay" and not self.desk_database_url

    @property
    def feed_symbols(self) -> tuple[str, ...]:
        """Those that were asked for, or the feed's own."""
        if self.symbols or self.feed == "replay":
            return self.symbols
        return SIMULATED_SYMBOLS if self.feed == "simulated" else BINANCE_SYMBOLS


def load_settings(**given: object) -> Settings:
    """The settings of this process, ``given`` ones before all; raises SettingsError: one line."""
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except UnicodeDecodeError:
        raise SettingsError(".env is not UTF-8 text: save it as UTF-8") from None
    except ValidationError as error:
        problem = error.errors()[0]
        location = "_".join(str(part) for part in problem["loc"]) or "symbols"
        key = f"MARKET_{location}".upper()
        cure = _CURES.get(key, problem["msg"])
        value = problem["input"] if problem["loc"] else problem["input"].get("symbols")
        raise SettingsError(f"{key}={value!r} cannot be used: {cure}") from None
