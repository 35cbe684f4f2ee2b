"""Round trips: from flat to flat in one symbol, net of fees.

Owns how fills are grouped into trips. It knows no market: a trip that is open has no profit yet.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Final

import msgspec

from market_engine.events import Side
from market_engine.paper.model import Fill
from market_engine.paper.money import ZERO, add, product, share, subtract

TRIPS_MAX: Final = 100_000
"""So many are kept; what is said of them is said of the newest."""


class RoundTrip(msgspec.Struct, frozen=True, gc=False):
    """One that ended."""

    symbol: str
    opened_ns: int
    closed_ns: int
    side: Side
    """Of the fill that opened it."""
    qty_nano: int
    """The most that was held, unsigned."""
    profit: Decimal
    """What was received less what was spent, fees included; exact."""
    fees: Decimal
    fills: int
    """A fill that ends this trip and begins the next counts in both."""


class _OpenTrip:
    """What a trip came to so far."""

    __slots__ = ("fees", "fills", "most_nano", "opened_ns", "qty_nano", "received", "side")

    def __init__(self, side: Side, opened_ns: int) -> None:
        self.side = side
        self.opened_ns = opened_ns
        self.qty_nano = 0
        self.most_nano = 0
        self.received = ZERO
        self.fees = ZERO
        self.fills = 0

    def take(self, side: Side, price_nano: int, qty_nano: int, fee: Decimal) -> None:
        signed_nano = qty_nano if side == "buy" else -qty_nano
        self.qty_nano += signed_nano
        self.most_nano = max(self.most_nano, abs(self.qty_nano))
        self.received = subtract(self.received, product(price_nano, signed_nano))
        self.fees = add(self.fees, fee)
        self.fills += 1

    def ended(self, symbol: str, closed_ns: int) -> RoundTrip:
        profit = subtract(self.received, self.fees)
        return RoundTrip(
            symbol, self.opened_ns, closed_ns, self.side, self.most_nano, profit, self.fees,
            self.fills,
        )  # fmt: skip


class RoundTrips:
    """The trips of one account, from its fills in their order."""

    def __init__(self) -> None:
        self.ended: deque[RoundTrip] = deque(maxlen=TRIPS_MAX)
        """The newest, in the order of their ends."""
        self._open: dict[str, _OpenTrip] = {}

    def add(self, fill: Fill) -> RoundTrip | None:
        """Count a fill; the trip that it ended, if it did.

        A fill that turns a position around ends one trip and begins the next; its fee is divided
        between them by quantity, rounded once, so that the two parts add up to it.
        """
        trip = self._open.get(fill.symbol)
        if trip is None or trip.side == fill.side:
            self._take(fill, fill.qty_nano, fill.fee)
            return None
        closed_nano = min(fill.qty_nano, abs(trip.qty_nano))
        fee = share(fill.fee, closed_nano, fill.qty_nano)
        trip.take(fill.side, fill.price_nano, closed_nano, fee)
        if trip.qty_nano:
            return None
        del self._open[fill.symbol]
        ended = trip.ended(fill.symbol, fill.filled_ns)
        self.ended.append(ended)
        if fill.qty_nano > closed_nano:
            self._take(fill, fill.qty_nano - closed_nano, subtract(fill.fee, fee))
        return ended

    def _take(self, fill: Fill, qty_nano: int, fee: Decimal) -> None:
        trip = self._open.get(fill.symbol)
        if trip is None:
            trip = self._open[fill.symbol] = _OpenTrip(fill.side, fill.filled_ns)
        trip.take(fill.side, fill.price_nano, qty_nano, fee)
