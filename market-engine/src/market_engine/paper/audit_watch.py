"""When one order met the market, and the pieces of the stream that it met.

Says only what is sure: of events of one nanosecond it cannot be told which came first. Shares
nothing with matching.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from market_engine.events import MS_NS
from market_engine.paper.model import EvidenceKind, Model, Order


class Seen(msgspec.Struct, gc=False):
    """A side of a quote, or a print, as it came."""

    kind: EvidenceKind
    ordinal: int
    """1, 2, 3, … of the quotes and trades of its symbol."""
    received_ns: int
    event_ns: int
    price_nano: int
    size_nano: int
    stretch: int = 0
    """Of a quote: known by this number since its price was first the touch, and until the touch
    moved past it; liquidity taken stays taken within."""
    next_ns: int | None = None
    """Of a quote: when the next one of its symbol came."""
    trade_id: int | None = None
    backfilled: bool = False
    is_first: bool = False
    """Of all events of its nanosecond: an order of that nanosecond came after it."""
    side: str = ""
    """Of a print: the aggressor's."""
    quote_before_ns: int | None = None
    """Of a print: when the newest quote of its symbol had come; None: none had."""


class Met(NamedTuple):
    """A quote that an order met, or should have."""

    ordinal: int
    received_ns: int


class Watch:
    """When an order met the market. Of a stop, counted from the print that triggered it."""

    __slots__ = ("active_ns", "after", "begins_ns", "current", "first_print", "is_buy", "order",
                 "print_came_first", "reached_ns", "stale_ns", "ties", "too_late",
                 "trigger")  # fmt: skip

    def __init__(self, order: Order, model: Model) -> None:
        self.order = order
        self.is_buy = order.asked.side == "buy"
        self.begins_ns = order.submitted_ns
        self.active_ns = order.submitted_ns + model.latency_ms * MS_NS
        self.stale_ns = model.stale_ms * MS_NS
        self.reached_ns: int | None = None
        """When a print first reached the stop price."""
        self.trigger: Seen | None = None
        """The print that triggered it: the one that was told, or the first."""
        self.current: Met | None = None
        """The quote that stood when it began."""
        self.ties: list[int] = []
        """Quotes of the nanosecond in which it began, of which it cannot be told."""
        self.after: Met | None = None
        """The first quote that came when it was active, or later."""
        self.first_print: int | None = None
        """The first print after it was active."""
        self.print_came_first = False
        """Before ``after``."""
        self.too_late: Met | None = None
        """The stale quote that was the newest at the first print that it met so."""

    def is_reached(self, price_nano: int) -> bool:
        """Whether a print reaches the stop price."""
        stop_nano = self.order.asked.stop_nano or 0
        return price_nano >= stop_nano if self.is_buy else price_nano <= stop_nano

    def standing(self) -> Met | None:
        """The fresh quote that it surely met when it began; None: there was none to be sure of."""
        current = self.current
        if current is None or self.ties or self._is_stale(current, self.begins_ns):
            return None
        has_latency = self.active_ns > self.order.submitted_ns
        return None if has_latency and current.received_ns < self.active_ns else current

    def first_quote(self) -> Met | None:
        """The quote that it surely met first; None: it cannot be told."""
        rested = self.current is None and self.active_ns == self.order.submitted_ns
        is_unsure = rested or self.ties or self.print_came_first or self.trigger is not None
        return self.standing() or (None if is_unsure else self.after)

    def lapsed(self) -> Met | None:
        """The stale quote for which an order that takes at once surely ended; None: not so."""
        current, is_stop = self.current, self.trigger is not None
        begins_at_once = is_stop or self.active_ns == self.order.submitted_ns
        if current is not None and begins_at_once and not self.ties:
            return current if self._is_stale(current, self.begins_ns) else self.too_late
        return self.too_late

    def meet_print(self, received_ns: int, newest: Met | None) -> None:
        """A print that came surely after it was active."""
        if self.after is None and self.too_late is None and newest is not None:
            self.too_late = newest if self._is_stale(newest, received_ns) else None

    def _is_stale(self, met: Met, at_ns: int) -> bool:
        return at_ns - met.received_ns > self.stale_ns
