"""What Prometheus makes of samples, written anew from its documentation: an oracle for the boards.

A sample is (time in unix seconds, value).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Sample = tuple[float, float]


def _increase(samples: Sequence[Sample], end_s: float, window_s: float) -> float | None:
    """The growth of a counter without resets over the window up to ``end_s``.

    The growth between the first and the last sample is stretched to the edges of the window: in
    full to an edge that is nearer than 1.1 times the mean distance of the samples, else by half of
    that distance; and never further back than where the counter would have been 0.
    """
    inside = [(t_s, value) for t_s, value in samples if end_s - window_s <= t_s <= end_s]
    if len(inside) < 2:
        return None
    (first_s, first), (last_s, last) = inside[0], inside[-1]
    grown, sampled_s = last - first, last_s - first_s
    distance_s = sampled_s / (len(inside) - 1)
    before_s, after_s = first_s - (end_s - window_s), end_s - last_s
    if grown > 0:
        before_s = min(before_s, sampled_s * first / grown)
    stretched_s = sampled_s
    for edge_s in (before_s, after_s):
        stretched_s += edge_s if edge_s < 1.1 * distance_s else distance_s / 2
    return grown * stretched_s / sampled_s


def rate(samples: Sequence[Sample], end_s: float, window_s: float) -> float | None:
    """The growth a second."""
    grown = _increase(samples, end_s, window_s)
    return None if grown is None else grown / window_s


def histogram_quantile(q: float, buckets: dict[str, float]) -> float:
    """The q-quantile of cumulative buckets (upper bound as text: count), linear within a bucket.

    NaN when they are empty; the highest finite bound when it falls into the last, open bucket.
    """
    ordered = sorted((float(le), count) for le, count in buckets.items())
    total = ordered[-1][1]
    if total == 0:
        return math.nan
    rank = q * total
    index = next(i for i, (_, count) in enumerate(ordered) if count >= rank)
    if index == len(ordered) - 1:
        return ordered[-2][0]
    below_s, below = ordered[index - 1] if index else (0.0, 0.0)
    bound_s, count = ordered[index]
    return below_s + (bound_s - below_s) * (rank - below) / (count - below)
