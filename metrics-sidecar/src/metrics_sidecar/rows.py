"""The ledger's state as rows: a key and JSON for each, so that a commit writes only what changed.

It must not know where rows are kept. Fields and service counters that a later version adds are
ignored, those missing have a default; a reason for a loss or a rejection that is not known here
makes no sense, for the sums would not hold without it. Numbers that may exceed 64 bits are text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from trade_telemetry.benchmark_messages import Benchmark, BenchmarkStatus
from trade_telemetry.messages import Count, LossReason, RejectReason, check_source

Key = tuple[str, int]
"""One epoch of one publisher: ``src`` and ``epoch``, as in its messages."""
Volume = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,100}\Z")]
"""A sum in multiples of 10⁻⁹: it may exceed 64 bits."""
TOTALS: Final = "totals"
_is_epoch: Final = re.compile(r"[1-9][0-9]{0,15}").fullmatch


class LedgerRowsError(ValueError):
    """The rows are not a state that a ledger wrote; the message is one sentence."""


class ServiceCounter(StrEnum):
    """What the sidecar counts of itself over all its lives; those with a unit are sums of it."""

    RECEIVER_ERRORS = "receiver_errors"
    RECEIVER_BUSY_S = "receiver_busy_s"
    CONNECTIONS_REFUSED_LIMIT = "connections_refused_limit"
    CONNECTIONS_REFUSED_HANDSHAKE = "connections_refused_handshake"
    COMMITS = "commits"
    COMMIT_FAILURES = "commit_failures"
    COMMIT_S = "commit_s"
    STATES_SET_ASIDE = "states_set_aside"
    STATES_REWRITTEN = "states_rewritten"
    STARTS = "starts"
    STATE_REFUSED = "state_refused"
    BENCHMARK_TESTS_FORGOTTEN = "benchmark_tests_forgotten"


class SymbolRow(msgspec.Struct, frozen=True):
    """One symbol; ``index`` is the order in which it came, from 0."""

    index: Count
    buy_trades: Count
    sell_trades: Count
    buy_nano: Volume
    sell_nano: Volume


class PublisherRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One name, over all its epochs.

    ``residue`` is the one at the time of writing: when it is another at reading, rows are missing
    or from different times. ``newest_s`` is when the newest of its epochs began; ``epoch`` to
    ``last_seen_s`` are of the one that was spent last.
    """

    published: Count = 0
    applied: Count = 0
    lost: dict[LossReason, Count] = {}
    duplicates: Count = 0
    gaps: Count = 0
    refilled: Count = 0
    refused: dict[str, Count] = {}
    residue: int = 0
    newest_s: float = 0.0
    epoch: Count = 0
    last_seq: Count = 0
    last_seen_s: float = 0.0


class EpochRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One live epoch; see Epoch."""

    last: Count
    head: Count
    since_s: float = 0.0
    claimed_s: float = 0.0
    first_s: float = 0.0
    heard_s: float = 0.0
    last_seen_s: float = 0.0
    capacity: Count = 0
    held: Count = 0
    durable: bool = False
    ended: bool = False
    refused: dict[str, Count] = {}


class SpentRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What must stay known of an epoch that was settled, so that nothing of it counts again."""

    last: Count
    since_s: float
    claimed_s: float = 0.0
    refused: dict[str, Count] = {}

    @property
    def head(self) -> int:
        """The highest sequence heard of: all of it is settled."""
        return self.last

    @property
    def latest_s(self) -> float:
        """The latest that it may be said to have begun, should it come back."""
        return max(self.since_s, self.claimed_s)


RunEnd = Literal["started", "completed", "failed"]
"""What is counted of a suite; that it is running it may say any number of times."""


class BenchmarkRow(msgspec.Struct, frozen=True):
    """The last result of one test; ``number`` is the order in which they were told."""

    number: Count
    result: Benchmark


class SuiteRow(msgspec.Struct, frozen=True):
    """How one suite of tests goes, and how often each end of it was told."""

    latest: BenchmarkStatus
    runs: dict[RunEnd, Count]


class TotalsRow(msgspec.Struct, frozen=True, kw_only=True):
    """All that is counted once; ``rows`` are all rows of the state, with this one."""

    rows: Count = 1
    received: Count = 0
    rejected: dict[RejectReason, Count] = {}
    duplicates: Count = 0
    gaps: Count = 0
    beats: Count = 0
    skips: Count = 0
    turned_away: Count = 0
    benchmarks: Count = 0
    untracked: Count = 0
    applied: Count = 0
    last_trade_ts_s: float = 0.0
    age_counts: tuple[Count, ...] = ()
    age_sum_s: float = 0.0
    service: dict[str, int | float] = {}
    listened_s: float = 0.0
    forgotten_since_s: float = 0.0


@dataclass(frozen=True, slots=True)
class State:
    """Rows, read and found to fit together."""

    totals: TotalsRow
    symbols: dict[str, SymbolRow]
    publishers: dict[str, PublisherRow]
    epochs: dict[Key, EpochRow]
    spent: dict[Key, SpentRow]
    benchmarks: dict[str, BenchmarkRow] = field(default_factory=dict)
    suites: dict[str, SuiteRow] = field(default_factory=dict)


_Kind = TypeVar("_Kind")
encode_row: Final = msgspec.json.Encoder().encode


def symbol_key(name: str) -> str:
    """The key of a symbol's row."""
    return f"symbol/{name}"


def publisher_key(name: str) -> str:
    """The key of a publisher's row."""
    return f"publisher/{name}"


def epoch_key(key: Key) -> str:
    """The key of a live epoch's row; the number comes first, since a source may hold a slash."""
    return f"epoch/{key[1]}/{key[0]}"


def spent_key(key: Key) -> str:
    """The key of a spent epoch's row."""
    return f"spent/{key[1]}/{key[0]}"


def benchmark_key(name: str) -> str:
    """The key of the row of a test's last result."""
    return f"benchmark/{name}"


def suite_key(name: str) -> str:
    """The key of a suite's row."""
    return f"suite/{name}"


def read_rows(rows: Mapping[str, bytes]) -> State:
    """The state in the rows; no rows are a new state. Raises LedgerRowsError."""
    if not rows:
        return State(TotalsRow(), {}, {}, {}, {})
    if TOTALS not in rows:
        raise LedgerRowsError(f"there are {len(rows)} rows, but no row of totals")
    state = State(_decode(TOTALS, rows[TOTALS], TotalsRow), {}, {}, {}, {})
    for name, value in rows.items():
        if name != TOTALS:
            _read_row(state, name, value)
    _check(state, len(rows))
    return state


def _read_row(state: State, name: str, value: bytes) -> None:
    kind, _, rest = name.partition("/")
    if kind == "symbol":
        state.symbols[rest] = _decode(name, value, SymbolRow)
    elif kind == "publisher":
        state.publishers[rest] = _decode(name, value, PublisherRow)
    elif kind == "epoch":
        state.epochs[_epoch_of(name, rest)] = _decode(name, value, EpochRow)
    elif kind == "spent":
        state.spent[_epoch_of(name, rest)] = _decode(name, value, SpentRow)
    elif kind == "benchmark":
        state.benchmarks[rest] = _decode(name, value, BenchmarkRow)
    elif kind == "suite":
        state.suites[rest] = _decode(name, value, SuiteRow)
    else:
        raise LedgerRowsError(f"the row {name!r} is of no kind known here")


def _decode(name: str, value: bytes, kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LedgerRowsError(f"the row {name!r} cannot be read: {error}") from None


def _epoch_of(name: str, rest: str) -> Key:
    number, _, source = rest.partition("/")
    if not (_is_epoch(number) and check_source(source)):
        raise LedgerRowsError(f"the row {name!r} names no epoch")
    return source, int(number)


def _check(state: State, rows: int) -> None:
    totals = state.totals
    if totals.rows != rows:
        raise LedgerRowsError(
            f"there are {rows} rows, but the totals were written with {totals.rows}"
        )
    applied = sum(row.buy_trades + row.sell_trades for row in state.symbols.values())
    if applied != totals.applied:
        raise LedgerRowsError(f"the symbols hold {applied} trades, the totals {totals.applied}")
    for source, number in state.epochs:
        if source not in state.publishers:
            raise LedgerRowsError(f"epoch {number} belongs to no publisher: {source!r} is missing")
    if both := state.epochs.keys() & state.spent.keys():
        raise LedgerRowsError(f"{len(both)} epochs are live and spent at once")
