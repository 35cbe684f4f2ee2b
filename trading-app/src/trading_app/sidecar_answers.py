"""What the sidecar answers over HTTP, as far as the desk reads it. Times are unix seconds.

Fields that the desk does not read are ignored, so that the sidecar can grow.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """Anything that the sidecar answers; never changed after it is made."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class CountBySide(Answer):
    """How many trades."""

    buy: int = 0
    sell: int = 0


class VolumeBySide(Answer):
    """The sum of quantities, in units of the instrument."""

    buy: float = 0.0
    sell: float = 0.0


class PublisherState(Answer):
    """What the sidecar knows of one publisher; ``last_seq`` is the latest it heard of ``epoch``."""

    publisher: str
    epoch: int
    last_seq: int
    applied: int = 0
    missing: int = 0
    waiting: int = 0
    last_seen_s: float


class CountedTrade(Answer):
    """One trade in the totals: ``ts`` when it happened, ``applied_s`` when it was counted."""

    id: int
    side: Literal["buy", "sell"]
    qty: float
    ts: float
    symbol: str | None = None
    price: float | None = None
    publisher: str | None = None
    epoch: int | None = None
    seq: int | None = None
    applied_s: float


class SymbolTotals(Answer):
    """What was counted of one symbol; "(none)" without one, "other" past 100 of them."""

    symbol: str
    trades: CountBySide
    volume: VolumeBySide


class Summary(Answer):
    """The totals since ``started_s``; ``recent`` is the newest last, at most 50."""

    now_s: float
    started_s: float
    status: Literal["ok", "starting", "stalled", "dead"]
    reason: str | None = None
    trades: CountBySide
    volume: VolumeBySide
    last_trade_ts_s: float | None = None
    rejected: dict[str, int] = {}
    symbols: tuple[SymbolTotals, ...] = ()
    publishers: tuple[PublisherState, ...] = ()
    recent: tuple[CountedTrade, ...] = ()


class Sample(Answer):
    """The totals at ``at_s`` since the sidecar's start; ``age_counts`` by bucket of event age."""

    at_s: float
    trades_buy: int
    trades_sell: int
    volume_buy: float
    volume_sell: float
    age_counts: tuple[int, ...]
    busy_s: float


class SymbolMark(Answer):
    """Trades counted by symbol at ``at_s``, in the order of ``History.symbols``; may be shorter."""

    at_s: float
    trades_buy: tuple[int, ...]
    trades_sell: tuple[int, ...]


class History(Answer):
    """What one life of the sidecar, since ``started_s``, kept of its last 15 minutes.

    ``samples`` are about a second apart, oldest first, at most 900; where the receiver could not
    look there are none. ``symbol_marks`` are five seconds apart and cover the last minute.
    """

    now_s: float
    started_s: float
    age_bounds_s: tuple[float, ...]
    samples: tuple[Sample, ...] = ()
    symbols: tuple[str, ...] = ()
    symbol_marks: tuple[SymbolMark, ...] = ()
