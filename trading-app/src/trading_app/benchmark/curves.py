"""The percentile curves of kept histograms, thinned for drawing. It must know no toolkit."""

from __future__ import annotations

import zlib
from typing import Final, NamedTuple

from hdrh.codec import HdrCookieException, HdrLengthException
from hdrh.histogram import HdrHistogram

from trading_app.benchmark.results import Latency, ResultError

POINTS_PER_HALVING: Final = 5
_UNREADABLE: Final = (
    ValueError, IndexError, RuntimeError, zlib.error, HdrCookieException, HdrLengthException,
)  # fmt: skip


class Point(NamedTuple):
    """``ns`` is exceeded by one in ``one_in`` values: at 100 it is the 99th percentile."""

    one_in: float
    ns: int


Curve = list[Point]


def curve(name: str, latency: Latency) -> Curve:
    """Read the percentiles from 0 to the maximum, closer together the rarer they are.

    Raises ResultError where the histogram cannot be read or is not that of the figures.
    """
    try:
        histogram = HdrHistogram.decode(latency.histogram)
    except _UNREADABLE as error:
        raise ResultError(f"the histogram of {name} cannot be read: {error}") from None
    total = histogram.get_total_count()
    if total != latency.count:
        raise ResultError(f"the histogram of {name} holds {total} values, not {latency.count}")
    return [*_below(histogram, latency), Point(total, max(1, latency.max_ns))] if total else []


def _below(histogram: HdrHistogram, latency: Latency) -> Curve:
    """All but the maximum; the end of a value's bucket may be above that."""
    found = {1.0: max(1, histogram.get_min_value())}
    for step in histogram.get_percentile_iterator(POINTS_PER_HALVING):
        beyond = latency.count - step.total_count_to_this_value
        if 1 < beyond < latency.count:
            found[latency.count / beyond] = max(1, min(step.value_iterated_to, latency.max_ns))
    return [Point(one_in, ns) for one_in, ns in found.items()]
