"""What the API answers, for its OpenAPI page: every field with its unit, and an example of each.

Answers are written by ``shapes`` without passing through these; the tests hold both together.
Prices and quantities are exact decimal text, ratios are numbers, ``_ms`` is since 1970, and what
is not known is null.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from market_engine.api import examples
from market_engine.health.faults import FaultKind, SymbolState

Source = Literal["feed", "replay"]
Window = Literal["5m", "15m", "1h", "6h", "24h", "7d"]
Decimal = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$")]


def like(example: dict[str, Any]) -> ConfigDict:
    """What we send, with an example of it."""
    return ConfigDict(json_schema_extra={"examples": [example]}, extra="forbid")


class ErrorDetail(BaseModel):
    """What went wrong, for a program and for a person."""

    code: str = Field(description="One of a closed set, such as unknown_symbol.")
    message: str = Field(description="One sentence that names the cure.")
    field: str | None = Field(description="The parameter or field that is wrong, if it is one.")


class ErrorBody(BaseModel):
    """The one form of every error."""

    model_config = like(examples.error(404))
    error: ErrorDetail


class SymbolEntry(BaseModel):
    """One symbol and its newest price."""

    symbol: str
    kind: str = Field(description="crypto, equity, or unknown.")
    price: Decimal | None
    price_ms: int | None = Field(description="When it was traded.")
    state: SymbolState
    since_ms: int | None = Field(description="Since when it is in this state.")
    change_1h: float | None = Field(description="Price over that of an hour ago, minus 1.")


class Symbols(BaseModel):
    """All symbols of a source, in alphabetical order."""

    model_config = like(examples.SYMBOLS)
    source: Source
    venue: str
    symbols: list[SymbolEntry]


class Price(BaseModel):
    """The newest trade and quote; all null before the first of them."""

    model_config = like(examples.PRICE)
    symbol: str
    price: Decimal | None
    qty: Decimal | None
    side: Literal["buy", "sell"] | None = Field(description="Of the aggressor.")
    trade_ms: int | None
    received_ms: int | None
    lag_ms: int | None = Field(description="Receipt minus trade; null where it was backfilled.")
    backfilled: bool | None
    bid: Decimal | None
    ask: Decimal | None
    bid_qty: Decimal | None
    ask_qty: Decimal | None
    quote_ms: int | None
    quote_time_source: Literal["trade", "event", "receipt"] | None
    state: SymbolState
    age_ms: int | None = Field(description="Since the trade was received.")


class HistoryBar(BaseModel):
    """One point of a chart; what a span of a second cannot say (volume, trades) is null."""

    t_ms: int = Field(description="When it begins.")
    open: Decimal | None
    high: Decimal | None
    low: Decimal | None
    close: Decimal | None
    volume: Decimal | None
    trades: int | None
    vwap: float | None = Field(description="Of the bar; of the last minute where span_s is small.")
    sma: float | None
    ema_fast: float | None
    ema_slow: float | None
    volume_z: float | None
    session_vwap: float | None
    complete: bool = Field(description="Whether all of it was watched.")


class History(BaseModel):
    """A chart, oldest first."""

    model_config = like(examples.HISTORY)
    symbol: str
    window: Window
    span_s: int = Field(description="Seconds of one bar; doubled until there are few enough.")
    bars: list[HistoryBar]


class TradeEntry(BaseModel):
    """One trade."""

    id: int | None = Field(description="The venue's.")
    t_ms: int
    price: Decimal
    qty: Decimal
    side: Literal["buy", "sell"]
    backfilled: bool


class Trades(BaseModel):
    """The newest trades by receipt, newest first."""

    model_config = like(examples.TRADES)
    symbol: str
    trades: list[TradeEntry]


class WindowEntry(BaseModel):
    """The metrics of one window of event time."""

    window_s: int
    complete: bool
    trades: int
    volume: Decimal
    vwap: float | None
    high: Decimal | None
    low: Decimal | None
    range: Decimal | None
    last: Decimal | None
    volatility: float | None = Field(description="Realised, a year of year_s seconds.")
    vwap_deviation: float | None
    drawdown: float | None = Field(description="From -1 to 0.")


class BarAverages(BaseModel):
    """As of the newest closed bar."""

    start_ms: int
    sma: float | None
    ema_fast: float | None
    ema_slow: float | None
    crossing: Literal["up", "down"] | None
    volume_z: float | None


class MetricsEntry(BaseModel):
    """The metrics of one symbol at a moment."""

    symbol: str
    as_of_ms: int
    price: Decimal
    session_vwap: float | None
    windows: list[WindowEntry]
    bar: BarAverages | None
    year_s: int


class LatestMetrics(BaseModel):
    """The newest metrics of each symbol that has any."""

    model_config = like(examples.METRICS)
    as_of_ms: int | None = Field(description="Of the newest event of the source.")
    symbols: list[MetricsEntry]


class SymbolHealth(BaseModel):
    """The health of one symbol's stream; null is unknown."""

    symbol: str
    state: SymbolState
    since_ms: int | None
    why: str
    trades: int
    id_gaps: int | None
    ids_missing: int | None
    duplicates: int | None
    time_gaps: int
    late: int
    out_of_order: int
    malformed: int
    backfilled: int
    last_event_ms: int | None
    last_received_ms: int | None
    lag_ms: int | None


class FaultEntry(BaseModel):
    """One fault."""

    symbol: str | None
    kind: FaultKind
    at_ms: int
    detail: str


class Connection(BaseModel):
    """To the venue; null where the source has none, or does not say."""

    connected: bool | None
    detail: str


class Schedule(BaseModel):
    """Whether data is taken now."""

    open: bool
    next_change_ms: int | None


class FeedHealth(BaseModel):
    """How the data comes in; faults newest first."""

    model_config = like(examples.FEED_HEALTH)
    source: Source
    venue: str
    received_ms: int | None = Field(description="When the newest event was received.")
    now_ms: int
    events: int
    rejected: int
    symbols: list[SymbolHealth]
    faults: list[FaultEntry]
    connection: Connection
    schedule: Schedule


class Liveness(BaseModel):
    """The process serves."""

    model_config = like({"status": "ok"})
    status: Literal["ok"]


class Readiness(BaseModel):
    """Whether data is being taken and stored.

    ``degraded`` serves, but the feed has no link, the paper desk cannot store, or its fills do not
    reach telemetry: ``reason`` says which, with the cure.
    """

    model_config = like({"status": "ok", "reason": None})
    status: Literal["ok", "degraded", "down"]
    reason: str | None


class HealthDetails(Readiness):
    """The same with details."""

    model_config = like(examples.HEALTH)
    feed: str
    venue: str
    running: bool
    connected: bool | None
    schedule_open: bool
    started_ms: int
    symbols: int
    events: int
    stream_clients: int
    stored_trades: int
    store_waiting: int
