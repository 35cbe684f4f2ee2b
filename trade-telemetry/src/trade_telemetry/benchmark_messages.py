"""What a benchmark says on the wire: how it goes, and what it found. No trade, in no total of them.

A part of the contract that messages.py decodes. Every text and number has a limit: the sidecar
keeps and shows them. It must not know how anything is measured.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from trade_telemetry.errors import RejectedMessageError
from trade_telemetry.fields import Timestamp
from trade_telemetry.reasons import RejectReason
from trade_telemetry.stamps import Count

NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9._-]{0,63}\Z"
UNPRINTABLE: Final = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
"""What no text may hold: control characters, line breaks, and what turns the direction of writing.
"""
SENTENCE_LENGTH_MAX: Final = 200
SETTING_LENGTH_MAX: Final = 64
FIGURE_PATTERN: Final = r"^[a-z][a-z0-9_]{0,47}_(ratio|seconds|per_second|bytes)\Z"
ENTRIES_MAX: Final = 32
SECONDS_MAX: Final = 1e6
FIGURE_MAX: Final = 1e15

BenchmarkName = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=SECONDS_MAX)]
Figures = Annotated[
    dict[
        Annotated[str, msgspec.Meta(pattern=FIGURE_PATTERN)],
        Annotated[float, msgspec.Meta(ge=0, le=FIGURE_MAX)],
    ],
    msgspec.Meta(max_length=ENTRIES_MAX),
]
"""By a name that ends in its unit, a base unit: ``_ratio``, ``_seconds``, ``_per_second`` or
``_bytes``."""
Setting = (
    bool
    | Annotated[str, msgspec.Meta(pattern=rf"^[^{UNPRINTABLE}]{{0,{SETTING_LENGTH_MAX}}}\Z")]
    | Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
    | Annotated[float, msgspec.Meta(ge=-FIGURE_MAX, le=FIGURE_MAX)]
)
Settings = Annotated[dict[BenchmarkName, Setting], msgspec.Meta(max_length=ENTRIES_MAX)]
Sentence = Annotated[str, msgspec.Meta(pattern=rf"^[^{UNPRINTABLE}]{{0,{SENTENCE_LENGTH_MAX}}}\Z")]
RunStatus = Literal["started", "running", "completed", "failed"]


class BenchmarkTotals(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of the trades of a test; what is not known is left out.

    offered = accepted + refused, and accepted = applied + lost + waiting: where these do not hold,
    the publisher or the way is at fault, and the figures say so.
    """

    offered: Count
    accepted: Count
    refused: Count
    applied: Count | None = None
    lost: Count | None = None
    waiting: Count | None = None


class BenchmarkLatency(msgspec.Struct, frozen=True):
    """How long a call took, in seconds, of ``count`` calls."""

    count: Count
    mean: Seconds
    p50: Seconds
    p90: Seconds
    p99: Seconds
    p99_9: Seconds
    p99_99: Seconds
    max: Seconds

    def by_quantile(self) -> dict[str, float]:
        """The quantiles, lowest first; the largest of all is the quantile 1."""
        names = ("0.5", "0.9", "0.99", "0.999", "0.9999", "1")
        values = (self.p50, self.p90, self.p99, self.p99_9, self.p99_99, self.max)
        return dict(zip(names, values, strict=True))


class Benchmark(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="benchmark"):
    """What one test found: ``test_name`` is the test, ``test_type`` the suite that it was run in.

    ``timestamp`` is when it ended, in unix seconds.
    """

    test_type: BenchmarkName
    test_name: BenchmarkName
    timestamp: Timestamp
    config: Settings = {}
    totals: BenchmarkTotals | None = None
    latency: BenchmarkLatency | None = None
    figures: Figures = {}


class BenchmarkStatus(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="benchmark_status"
):
    """How a suite goes: ``test_name`` is the test that begins, or else the suite's name again.

    ``message`` is for people: one short line.
    """

    test_type: BenchmarkName
    test_name: BenchmarkName
    timestamp: Timestamp
    status: RunStatus
    message: Sentence = ""


def check_benchmark(message: Benchmark | BenchmarkStatus, latest_s: float) -> None:
    """Raise RejectedMessageError for what no type can say; ``latest_s`` is the latest it can be."""
    reason = RejectReason.BENCHMARK_STATUS
    if isinstance(message, Benchmark):
        reason = RejectReason.BENCHMARK
        quantiles = [*message.latency.by_quantile().values()] if message.latency else []
        if quantiles != sorted(quantiles):
            raise RejectedMessageError(reason, "its quantiles are not in order")
    if message.timestamp > latest_s:
        problem = "is ahead of the clock, or not in seconds"
        raise RejectedMessageError(reason, f"timestamp {message.timestamp:.0f} {problem}")


def unit_of(figure: str) -> tuple[str, str]:
    """A figure's name without its unit, and the unit: "ratio", "seconds", "per_second", "bytes"."""
    for unit in ("per_second", "seconds", "ratio", "bytes"):
        if figure.endswith(f"_{unit}"):
            return figure.removesuffix(f"_{unit}"), unit
    raise ValueError(figure)
