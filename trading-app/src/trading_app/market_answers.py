"""What the market-engine answers over HTTP, as far as the desk reads it.

Times are in ms since 1970. None is unknown, never 0. Fields that the desk does not read are
ignored, so that the engine can grow.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, Field

from trading_app.sidecar_answers import Answer

Source = Literal["feed", "replay"]
"""Two markets of the same shape: what happens now, and a recording that is played."""


class SymbolSummary(Answer):
    """One symbol of a market; ``change_1h`` is a fraction of the price an hour ago."""

    symbol: str
    kind: str = ""
    price: Decimal | None = None
    price_ms: int | None = None
    state: str = "unknown"
    since_ms: int | None = None
    change_1h: float | None = None


class Symbols(Answer):
    """Every symbol of a market, in the order of their names."""

    venue: str = ""
    symbols: tuple[SymbolSummary, ...] = ()


class Quoted(Answer):
    """The best bid and the best ask of a symbol, None where there is no quote."""

    symbol: str
    bid: Decimal | None = None
    ask: Decimal | None = None
    bid_qty: Decimal | None = None
    ask_qty: Decimal | None = None
    quote_ms: int | None = None


class Bar(Answer):
    """What was traded in [``t_ms``, ``t_ms`` + span); the averages are as of its end.

    Prices are None where nothing was traded yet, ``volume`` and ``trades`` where a span of seconds
    cannot say. ``complete`` is False where it was not watched from its beginning to its end.
    """

    t_ms: int
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    volume: float | None = None
    trades: int | None = None
    vwap: float | None = None
    session_vwap: float | None = None
    sma: float | None = None
    ema_fast: float | None = None
    ema_slow: float | None = None
    complete: bool = True


class History(Answer):
    """Bars of ``span_s`` seconds, oldest first."""

    symbol: str
    span_s: float = Field(gt=0)
    bars: tuple[Bar, ...] = Field((), max_length=1_000)


class MarketTrade(Answer):
    """One trade; ``side`` is who took what was displayed, ``backfilled``: fetched afterwards."""

    id: int | None = None
    t_ms: int
    price: Decimal
    qty: Decimal
    side: Literal["buy", "sell"]
    backfilled: bool = False


class MarketTrades(Answer):
    """The newest trades of a symbol, newest first."""

    symbol: str
    trades: tuple[MarketTrade, ...] = Field((), max_length=200)


class WindowFigures(Answer):
    """The metrics of the last ``window_s`` seconds; volatility and drawdown are fractions.

    ``complete`` is False where the window was not watched from its beginning to its end.
    """

    window_s: int
    complete: bool = False
    trades: int = 0
    volume: Decimal = Decimal(0)
    vwap: float | None = None
    high: Decimal | None = None
    low: Decimal | None = None
    range: Decimal | None = None
    volatility: float | None = None
    vwap_deviation: float | None = None
    drawdown: float | None = None


class BarFigures(Answer):
    """What the newest closed bar, that of the minute from ``start_ms``, decided."""

    start_ms: int
    sma: float | None = None
    ema_fast: float | None = None
    ema_slow: float | None = None
    crossing: Literal["up", "down"] | None = None
    volume_z: float | None = None


class SymbolFigures(Answer):
    """All metrics of one symbol; ``year_s`` is the annual factor of volatility, in seconds."""

    symbol: str
    as_of_ms: int | None = None
    session_vwap: float | None = None
    windows: tuple[WindowFigures, ...] = Field((), max_length=16)
    bar: BarFigures | None = None
    year_s: int = 31_536_000


class Metrics(Answer):
    """The metrics of the symbols that were asked for."""

    symbols: tuple[SymbolFigures, ...] = ()


class SymbolFeed(Answer):
    """The health of one symbol's stream.

    ``id_gaps``, ``ids_missing`` and ``duplicates`` are None where the venue gives no trade ids.
    """

    symbol: str
    state: str
    since_ms: int | None = None
    why: str = ""
    trades: int = 0
    id_gaps: int | None = None
    ids_missing: int | None = None
    duplicates: int | None = None
    time_gaps: int | None = None
    late: int | None = None
    out_of_order: int | None = None
    malformed: int | None = None
    backfilled: int | None = None
    last_event_ms: int | None = None
    last_received_ms: int | None = None
    lag_ms: float | None = None


class FeedFault(Answer):
    """Something that was wrong; ``symbol`` is None where what came did not say whose it was."""

    symbol: str | None = None
    kind: str
    at_ms: int
    detail: str = ""


class Connection(Answer):
    """Whether the venue is connected; None where there is no connection to speak of."""

    connected: bool | None = None
    detail: str | None = None


class Schedule(Answer):
    """Whether live ingestion is open, and when that changes."""

    open: bool = True
    next_change_ms: int | None = None


class FeedHealth(Answer):
    """The health of a market's feed; ``received_ms`` is when its newest event came, if one did."""

    venue: str = ""
    now_ms: int
    received_ms: int | None = None
    rejected: int = 0
    symbols: tuple[SymbolFeed, ...] = ()
    faults: tuple[FeedFault, ...] = ()
    connection: Connection = Connection()
    schedule: Schedule = Schedule()


class RecordingFile(Answer):
    """A recording that can be replayed, by its name."""

    name: str
    size_bytes: int = 0
    first_ms: int | None = None
    last_ms: int | None = None


class Recordings(Answer):
    """Every recording that the engine finds."""

    recordings: tuple[RecordingFile, ...] = ()


class Replay(Answer):
    """Where the replay is; ``speed`` is None for as fast as possible, ``error`` why it failed."""

    state: Literal["none", "playing", "paused", "ended", "failed"] = "none"
    file: str | None = None
    first_ms: int | None = None
    last_ms: int | None = None
    at_ms: int | None = None
    speed: float | None = None
    events: int = 0
    rejected: int = 0
    error: str | None = None

    @property
    def is_there(self) -> bool:
        """Whether there is a market of a recording to look at."""
        return self.state in {"playing", "paused", "ended"}


class Problem(BaseModel):
    """Why the engine refused: ``code`` for programs, ``message`` for people."""

    code: str = Field(max_length=100)
    message: str = Field(max_length=1_000)


class ProblemAnswer(BaseModel):
    """The body of every error that the engine answers."""

    error: Problem
