"""Orders that wait in one book of one portfolio, and those of a symbol in the order of their price.

Only keeps and finds them: what fills them is ``matching``.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from enum import IntEnum
from typing import Final

from market_engine.events import MS_NS, Quote, Trade
from market_engine.paper.liquidity import Displayed, Printed
from market_engine.paper.model import Model, Order, OrderType, TimeInForce

DAY_NS: Final = 86_400 * 10**9
NEVER_NS: Final = 1 << 100
"""Later, and dearer, than anything."""


class Phase(IntEnum):
    """Where an order stands in a book."""

    STOP = 0
    """It waits for its trigger."""
    WAITING = 1
    """It takes, or has not arrived yet."""
    RESTING = 2
    """A limit that others would take."""
    DONE = 3


class LiveOrder:
    """What matching needs of an order, and what changes of it in this book."""

    __slots__ = (
        "active_ns",
        "client_order_id",
        "ends_ns",
        "fills",
        "has_no_latency",
        "is_at_once",
        "is_buy",
        "is_fok",
        "is_post_only",
        "is_reduce_only",
        "left_nano",
        "limit_nano",
        "number",
        "phase",
        "stop_nano",
        "submitted_ns",
        "symbol",
        "triggered_by",
        "worst_nano",
    )

    def __init__(self, order: Order, model: Model, filled_nano: int, fills: int) -> None:
        asked = order.asked
        self.client_order_id = asked.client_order_id
        self.number = order.number
        self.symbol = asked.symbol
        self.is_buy = asked.side == "buy"
        self.limit_nano = asked.limit_nano
        self.stop_nano = asked.stop_nano
        self.worst_nano = order.collar_nano if asked.limit_nano is None else asked.limit_nano
        """The price beyond which it never takes; None: any."""
        self.is_post_only = asked.post_only
        self.is_reduce_only = asked.reduce_only
        self.is_fok = asked.time_in_force is TimeInForce.FOK
        self.is_at_once = self.is_fok or asked.time_in_force is TimeInForce.IOC
        self.left_nano = asked.qty_nano - filled_nano
        self.fills = fills
        self.submitted_ns = order.submitted_ns
        self.active_ns = order.submitted_ns + model.latency_ms * MS_NS
        self.has_no_latency = model.latency_ms <= 0
        is_day = asked.time_in_force is TimeInForce.DAY
        self.ends_ns = (order.submitted_ns // DAY_NS + 1) * DAY_NS if is_day else NEVER_NS
        is_stop = asked.type in (OrderType.STOP, OrderType.STOP_LIMIT)
        self.phase = Phase.STOP if is_stop and order.triggered_ns is None else Phase.WAITING
        self.triggered_by: Trade | None = None
        """The print that triggered it here; it may not fill it as well."""

    def allows(self, price_nano: int) -> bool:
        """Whether it may take at a price: its limit or its collar is not passed."""
        worst_nano = self.worst_nano
        if worst_nano is None:
            return True
        return price_nano <= worst_nano if self.is_buy else price_nano >= worst_nano


class PriceQueue:
    """Orders by a key; the largest key is the first to be reached by the market."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: list[tuple[int, int, LiveOrder]] = []

    def add(self, key: int, live: LiveOrder) -> None:
        """O(log n) to find the place."""
        insort(self._entries, (key, live.number, live))

    def remove(self, key: int, live: LiveOrder) -> None:
        """It is there: its phase says so."""
        del self._entries[bisect_left(self._entries, (key, live.number))]

    def best(self, default: int) -> int:
        """The largest key, or ``default`` of an empty queue."""
        return self._entries[-1][0] if self._entries else default

    def reached(self, key: int) -> list[LiveOrder]:
        """Those with ``key`` or more: the largest first, and of the same key the oldest."""
        found = self._entries[bisect_left(self._entries, (key,)) :]
        found.sort(key=_best_first)
        return [entry[2] for entry in found]


def _best_first(entry: tuple[int, int, LiveOrder]) -> tuple[int, int]:
    return -entry[0], entry[1]


class SymbolBook:
    """The live orders of one symbol in one book, and what this book took of its market.

    ``quote_*`` and ``print_*`` say what an event must reach to matter for what is resting or
    waiting for a trigger: an ask or a print at ``low`` or below, a bid or a print at ``high`` or
    above.
    """

    __slots__ = (
        "_is_filled_by_quotes",
        "ask",
        "bid",
        "buy_stops",
        "buys",
        "has_quotes",
        "has_taken",
        "print",
        "print_high_nano",
        "print_low_nano",
        "quote_high_nano",
        "quote_low_nano",
        "reducing",
        "sell_stops",
        "sells",
        "waiting",
    )

    def __init__(self, *, is_filled_by_quotes: bool) -> None:
        self._is_filled_by_quotes = is_filled_by_quotes
        self.ask, self.bid = Displayed(is_ask=True), Displayed(is_ask=False)
        self.print = Printed()
        self.has_quotes = False
        """A fill of before a restart says that there were quotes."""
        self.has_taken = False
        """Whether something may be remembered of what is displayed."""
        self.waiting: dict[int, LiveOrder] = {}
        self.reducing: dict[int, LiveOrder] = {}
        self.buys, self.sells = PriceQueue(), PriceQueue()
        self.buy_stops, self.sell_stops = PriceQueue(), PriceQueue()
        self._watch()

    def place(self, live: LiveOrder, phase: Phase) -> None:
        """Move an order to where it stands from now on; ``DONE`` takes it out."""
        self._take_out(live)
        live.phase = phase
        if phase is Phase.WAITING:
            self.waiting[live.number] = live
        elif phase is Phase.DONE:
            self.reducing.pop(live.number, None)
        else:
            queue, key = self._queue(live)
            queue.add(key, live)
        self._watch()

    def put(self, live: LiveOrder) -> None:
        """A new order, in its first phase."""
        if live.is_reduce_only:
            self.reducing[live.number] = live
        if live.phase is Phase.WAITING:
            self.waiting[live.number] = live
        else:
            queue, key = self._queue(live)
            queue.add(key, live)
        self._watch()

    def show(self, quote: Quote) -> None:
        """Both sides as the newest quote has them."""
        self.ask.show(quote.ask_nano, quote.ask_qty_nano, quote)
        self.bid.show(quote.bid_nano, quote.bid_qty_nano, quote)
        self.has_taken = self.ask.has_taken or self.bid.has_taken

    def _take_out(self, live: LiveOrder) -> None:
        if live.phase is Phase.WAITING:
            del self.waiting[live.number]
        elif live.phase is not Phase.DONE:
            queue, key = self._queue(live)
            queue.remove(key, live)

    def _queue(self, live: LiveOrder) -> tuple[PriceQueue, int]:
        if live.phase is Phase.STOP:
            price_nano = live.stop_nano or 0
            return (self.buy_stops, -price_nano) if live.is_buy else (self.sell_stops, price_nano)
        price_nano = live.limit_nano or 0
        return (self.buys, price_nano) if live.is_buy else (self.sells, -price_nano)

    def _watch(self) -> None:
        buy_nano, sell_nano = self.buys.best(-1), -self.sells.best(-NEVER_NS)
        self.quote_low_nano = buy_nano if self._is_filled_by_quotes else -1
        self.quote_high_nano = sell_nano if self._is_filled_by_quotes else NEVER_NS
        self.print_low_nano = max(buy_nano, self.sell_stops.best(-1))
        self.print_high_nano = min(sell_nano, -self.buy_stops.best(-NEVER_NS))
