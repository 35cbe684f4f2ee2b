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
    publishers: tuple[PublisherState, ...] = ()
    recent: tuple[CountedTrade, ...] = ()


class Sample(Answer):
    """The counters at one second."""

    t_s: float
    trades_buy: int
    trades_sell: int


class History(Answer):
    """Samples a second apart, oldest first, at most 900."""

    interval_s: float
    samples: tuple[Sample, ...] = ()
