"""Why a trade is refused, rejected or lost: three closed sets, each the values of a label."""

from __future__ import annotations

from enum import StrEnum


class RefusalReason(StrEnum):
    """Why a publisher did not take a trade. A closed set: it becomes a label."""

    RING_FULL = "ring_full"
    CLOSED = "closed"


class RejectReason(StrEnum):
    """Why the sidecar did not count a message. A closed set: it becomes a label.

    Those named after a field mean that the field has the wrong type or is outside its limits; NaN
    and infinity count as outside.
    """

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    OVERSIZED = "oversized"
    MULTIPART = "multipart"
    MALFORMED = "malformed"
    TOO_DEEP = "too_deep"
    NOT_OBJECT = "not_object"
    UNKNOWN_TYPE = "unknown_type"
    MISSING_FIELD = "missing_field"
    SIDE = "side"
    QTY = "qty"
    TS = "ts"
    TS_UNIT = "ts_unit"
    TS_FUTURE = "ts_future"
    SYMBOL = "symbol"
    PRICE = "price"
    STAMP = "stamp"
    BATCH = "batch"
    BEAT = "beat"
    SKIP = "skip"
    BENCHMARK = "benchmark"
    BENCHMARK_STATUS = "benchmark_status"


class LossReason(StrEnum):
    """Why an event that was published will never be in the totals. A closed set: it is a label."""

    REJECTED = "rejected"
    """It arrived, and was not a trade."""
    OVERWRITTEN = "overwritten"
    """A full ring dropped it for a newer one, as its policy said."""
    JOURNAL = "journal"
    """Its slot in the journal file is damaged."""
    STATE = "state"
    """It was counted once; the sidecar's state is an older one, and the ring holds it no more."""
    SILENT = "silent"
    """It waited in a publisher that was not heard of again."""
