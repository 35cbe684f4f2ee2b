"""The trades and quotes of one symbol within one stretch of time, as rows of integers.

A stretch follows from its seed alone: times that cluster, a price that walks between two bounds,
a quote before each trade in force when it comes. It must not know ids before its own, or how
rows are sent.
"""

from __future__ import annotations

import math
from random import Random
from typing import Final

import msgspec

from market_engine.events import MS_NS
from market_engine.feeds.simulated_profiles import Profile, seeded

LAG_MS_MIN: Final = 3
LAG_MS_MAX: Final = 50
"""The longest way from the venue to us."""
REST_MS: Final = LAG_MS_MAX + 10
"""The end of each stretch in which nothing happens: all of it is received before the next one."""
PARENTS: Final = 0.45
"""The part of the trades that come on their own; the others follow one within moments."""

Row = tuple[int, int, int, bool, int, int, int, int, int]
"""Received (ns), the symbol's place, the row's place, whether it is a trade; then for a trade its
id, price, quantity, 1 if the seller was the aggressor, and its time (as the venue writes it); for a
quote an id, bid, its quantity, ask, its quantity. Prices in ticks, quantities in lots."""


class Stretch(msgspec.Struct, frozen=True):
    """What one stretch is made from."""

    key: str
    """Its seed."""
    place: int
    """The symbol's place among the symbols."""
    start_ms: int
    span_ms: int
    first_id: int
    trades: int
    low: float
    """The logarithm of the price against the profile's, at its beginning."""
    high: float
    """At its end."""
    noise: float
    stress: float


def make_rows(profile: Profile, stretch: Stretch) -> list[Row]:
    """Two rows for each trade, in the order in which they are received: its quote, and it."""
    rng = seeded(stretch.key)
    times = trade_times(rng, stretch.trades, stretch.span_ms - REST_MS)
    mids = _mids(rng, profile, stretch, times)
    rows: list[Row] = []
    received_ns, before_ms, is_sell = 0, 0, rng.random() < 0.5
    for index, (time_ms, mid) in enumerate(zip(times, mids, strict=True)):
        if rng.random() > 0.7:  # sides come in runs
            is_sell = not is_sell
        quote_ms = time_ms - int(min(time_ms - before_ms, 2_000) * rng.random())
        spread = max(1, int(profile.spread_ticks * stretch.stress * (0.4 + rng.expovariate(1.6))))
        bid = max(1, round(mid - spread / 2))
        received_ns = max(received_ns, _received_ns(rng, stretch.start_ms + quote_ms))
        shown = _lots(rng, 3 * profile.qty_lots), _lots(rng, 3 * profile.qty_lots)
        number, at_ms = stretch.first_id + index, stretch.start_ms + time_ms
        rows.append((received_ns, stretch.place, 2 * index, False, 2 * number, bid, shown[0],
                     bid + spread, shown[1]))  # fmt: skip
        received_ns = max(received_ns, _received_ns(rng, at_ms))
        price = bid if is_sell else bid + spread
        rows.append((received_ns, stretch.place, 2 * index + 1, True, number, price,
                     _lots(rng, profile.qty_lots), int(is_sell), at_ms))  # fmt: skip
        before_ms = time_ms
    return rows


def trade_times(rng: Random, trades: int, span_ms: int) -> list[int]:
    """When trades come, in ms from the beginning: some spread out, the others in their wake."""
    parents = trades if trades <= 4 else math.ceil(trades * PARENTS)
    times = [(index + rng.random()) * span_ms / parents for index in range(parents)]
    wake_ms = min(400.0, span_ms / 20)
    while len(times) < trades:  # one in the wake may have one in its own
        parent_ms = times[int(rng.random() * len(times))]
        times.append(parent_ms + rng.expovariate(1.0) * wake_ms)
    return sorted(min(int(time_ms), span_ms - 1) for time_ms in times)


def _mids(rng: Random, profile: Profile, stretch: Stretch, times: list[int]) -> list[float]:
    """The price between bid and ask at each time, in ticks: a bridge between the two bounds."""
    walk, place, before_ms = [], 0.0, 0
    for time_ms in times:
        place += rng.gauss(0.0, 1.0) * math.sqrt((time_ms - before_ms) / stretch.span_ms)
        walk.append(place)
        before_ms = time_ms
    rest = math.sqrt((stretch.span_ms - before_ms) / stretch.span_ms)
    end = place + rng.gauss(0.0, 1.0) * rest
    ticks = profile.price * 10**profile.price_digits
    drift, noise = stretch.high - stretch.low, stretch.noise
    return [
        ticks * math.exp(stretch.low + part * drift + noise * (step - part * end))
        for step, part in zip(walk, (time_ms / stretch.span_ms for time_ms in times), strict=True)
    ]


def _received_ns(rng: Random, at_ms: int) -> int:
    """A few ms later, seldom some tens."""
    lag_ms = LAG_MS_MIN + 6.0 * rng.expovariate(1.0)
    return at_ms * MS_NS + int(min(lag_ms, LAG_MS_MAX) * MS_NS)


def _lots(rng: Random, usual: float) -> int:
    """Sizes have a long tail: one in fifty is many times the usual."""
    lots = usual * math.exp(rng.gauss(-0.5, 1.0))
    if rng.random() < 0.02:
        lots *= min(rng.paretovariate(1.2) * 4, 200.0)
    return max(1, int(lots))
