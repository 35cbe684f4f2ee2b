"""What a benchmark found, as plain data: measured, compared, reported and sent from these alone.

JSON through msgspec. It must not know how anything was measured or how it is shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

FORMAT: Final = 1
Setting = str | int | float | bool | None


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution of durations in ns; ``histogram`` is the whole of it (HdrHistogram, base64).

    The clock's own cost is in every value; ``Machine.clock_ns`` says how much that is.
    """

    count: int
    mean_ns: float
    p50_ns: int
    p90_ns: int
    p99_ns: int
    p99_9_ns: int
    p99_99_ns: int
    max_ns: int
    histogram: str


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A slice of a run, ``at_s`` after its start."""

    at_s: float
    offered_per_s: float
    p50_ns: int
    p99_ns: int
    max_ns: int


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Trades: offered = accepted + refused, accepted = applied + lost + waiting.

    ``applied`` is read back from the sidecar's committed totals, never taken from the publisher.
    ``lost`` and ``waiting`` are the sidecar's word, too. None: it could not be read.
    """

    offered: int
    accepted: int
    refused: int
    applied: int | None
    lost: int | None
    waiting: int | None


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """One way to publish, measured.

    ``call`` is the time inside `publish`; ``response`` runs from the intended start, so that a
    stall counts for all that it held up (None where there is no schedule). ``seconds`` is from the
    first call to the last; ``rounds_p50_ns`` are medians of the rounds, for the spread. ``problem``
    says in a sentence why the figures are not to be trusted, or is None.
    """

    name: str
    title: str
    settings: dict[str, Setting]
    call: Latency
    response: Latency | None
    moments: list[Moment]
    counts: Counts
    seconds: float
    offered_per_s: float
    accepted_per_s: float
    applied_per_s: float | None
    cpu_seconds: float
    rounds_p50_ns: list[int]
    problem: str | None = None


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """Another way to do the same for one trade, in the same run.

    ``ratios`` are its median through `publish`'s, a round each: above 1 it is slower than ours.
    ``missing`` says why it was left out; there are no figures then.
    """

    name: str
    title: str
    version: str | None
    what: str
    call: Latency | None
    ratios: list[float]
    missing: str | None = None


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One number of the receiving side, with the values of its rounds."""

    name: str
    title: str
    unit: str
    value: float
    rounds: list[float]
    what: str


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A figure against what is wanted of it; ``is_ratio`` ones mean the same on every machine."""

    name: str
    title: str
    value: float | None
    unit: str
    wanted: str
    passed: bool
    is_ratio: bool = True


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where and with what it was measured; ``clock_ns`` is the median cost of one reading."""

    processor: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    versions: dict[str, str]
    commit: str
    modified: bool
    load_1m: float
    clock_ns: int
    switch_interval_s: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run. ``started`` is ISO 8601 in UTC; ``suite`` is what was asked for."""

    format: int
    suite: str
    started: str
    seconds: float
    settings: dict[str, Setting]
    machine: Machine
    workloads: list[Workload]
    peers: list[Peer]
    receiving: list[Figure]
    checks: list[Check]


class _Format(msgspec.Struct):
    format: int


class ResultError(Exception):
    """A file is no result of a benchmark; the message says which, and why."""


def write(result: Result, path: Path) -> None:
    """Keep it as JSON, for people to read as well."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    beside.replace(path)  # whole, or not at all: a full disk leaves the earlier one


def read(path: Path) -> Result:
    """What ``write`` kept. Raises ResultError."""
    try:
        data = path.read_bytes()
        written = msgspec.json.decode(data, type=_Format).format
        if written != FORMAT:
            raise ResultError(f"{path} has format {written}, this program reads {FORMAT}")
        return msgspec.json.decode(data, type=Result)
    except OSError as error:
        raise ResultError(f"{path}: {error.strerror or error}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ResultError(f"{path} is no result of a benchmark: {error}") from None
