"""What the sidecar answers over HTTP, as far as the desk reads it. Times are unix seconds.

Fields that the desk does not read are ignored, so that the sidecar can grow.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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
    """What became of all that one publisher published, over all of its epochs.

    ``residue`` is published − applied − lost − waiting, where each figure was counted by itself:
    anything but 0 is a defect. ``lost`` and ``refused`` are by reason; what was refused was never
    published. ``epoch`` is the latest, ``last_seq`` its highest sequence that is settled, and
    ``durable`` whether its events survive the publisher. ``open``: it has not said goodbye.
    """

    publisher: str
    epoch: int
    last_seq: int
    last_seen_s: float
    published: int = 0
    applied: int = 0
    lost: dict[str, int] = {}
    waiting: int = 0
    residue: int = 0
    duplicates: int = 0
    refused: dict[str, int] = {}
    open: bool = True
    durable: bool = False


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


class StateFigures(Answer):
    """How the sidecar keeps its totals; not ``durable``: in memory, so that they die with it."""

    durable: bool
    bytes: int = 0
    free_bytes: int = 0
    last_commit_s: float | None = None
    set_aside: int = 0
    commit_failures: int = 0


class Summary(Answer):
    """The running totals; ``recent`` is the newest last, at most 50.

    ``started_s`` is when this sidecar was started; with a durable state the totals are older.
    ``status`` is "ok", "starting", or a word for what is wrong, which ``reason`` explains.
    """

    now_s: float
    started_s: float
    status: str
    reason: str | None = None
    trades: CountBySide
    volume: VolumeBySide
    last_trade_ts_s: float | None = None
    rejected: dict[str, int] = {}
    duplicates: int = 0
    gaps: int = 0
    turned_away: int = 0
    untracked: int = 0
    residue: int = 0
    symbols: tuple[SymbolTotals, ...] = ()
    publishers: tuple[PublisherState, ...] = ()
    recent: tuple[CountedTrade, ...] = ()
    state: StateFigures | None = None


class Sample(Answer):
    """The running totals at ``at_s``; ``age_counts`` by bucket of event age."""

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
    """What the sidecar kept in memory of its last 15 minutes, since ``started_s`` at most.

    ``samples`` are about a second apart, oldest first, at most 900; where the receiver could not
    look there are none. ``symbol_marks`` are five seconds apart and cover the last minute.
    """

    now_s: float
    started_s: float
    age_bounds_s: tuple[float, ...]
    samples: tuple[Sample, ...] = ()
    symbols: tuple[str, ...] = ()
    symbol_marks: tuple[SymbolMark, ...] = ()


class BenchmarkTotals(Answer):
    """What became of the trades of a test; None is not known."""

    offered: int
    accepted: int
    refused: int
    applied: int | None = None
    lost: int | None = None
    waiting: int | None = None


class BenchmarkLatency(Answer):
    """How long ``count`` calls of ``publish`` took, in seconds."""

    count: int
    p50: float
    p99: float
    max: float


class BenchmarkResult(Answer):
    """What one test found, of the suite ``test_type``, at ``timestamp``.

    ``figures`` are by a name that ends in its unit.
    """

    test_type: str
    test_name: str
    timestamp: float
    totals: BenchmarkTotals | None = None
    latency: BenchmarkLatency | None = None
    figures: dict[str, float] = {}


class SuiteState(Answer):
    """What a suite said last of itself; ``test_name`` is the test that began, while it runs."""

    suite: str
    test_name: str
    timestamp: float
    status: Literal["started", "running", "completed", "failed"]
    message: str = ""


class Benchmarks(Answer):
    """What was heard of benchmarks: the last result of each test, and how the suites go."""

    now_s: float
    tests: tuple[BenchmarkResult, ...] = ()
    suites: tuple[SuiteState, ...] = ()


class Refusal(Answer):
    """Why there is no answer, with status 503."""

    detail: str = Field(max_length=500)
