"""What the raw stream really held at the moments that fills speak of; one pass, in order.

Owns quotes, prints, how long a displayed price stood, and when an order could first meet the market
or was triggered. It keeps only what some order or fill asks for, and shares nothing with matching.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from market_engine.events import MS_NS, Event, Quote, Trade
from market_engine.paper.model import EvidenceKind, Fill, Model, Order


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
    """Of a quote: how often this side's price had changed; liquidity taken stays taken within."""
    next_ns: int | None = None
    """Of a quote: when the next one of its symbol came."""
    trade_id: int | None = None
    backfilled: bool = False
    is_first: bool = False
    """Of all events of its nanosecond: an order of that nanosecond came after it."""
    has_quote_before: bool = False
    """Of a print: its symbol had had a quote."""


class Watch:
    """When an order met the market. Of a stop, counted from the print that triggered it."""

    __slots__ = ("active_ns", "after", "begins_ns", "current", "first_print", "is_buy", "order",
                 "print_came_first", "reached_ns", "ties", "trigger")  # fmt: skip

    def __init__(self, order: Order, latency_ms: int) -> None:
        self.order = order
        self.is_buy = order.asked.side == "buy"
        self.begins_ns = order.submitted_ns
        self.active_ns = order.submitted_ns + latency_ms * MS_NS
        self.reached_ns: int | None = None
        """When a print first reached the stop price."""
        self.trigger: Seen | None = None
        """The print that triggered it: the one that was told, or the first."""
        self.current: tuple[int, int] | None = None
        """Ordinal and receipt of the quote that stood when it began."""
        self.ties: list[int] = []
        """Quotes of the nanosecond in which it began, of which it cannot be told."""
        self.after: int | None = None
        """The first quote that came when it was active, or later."""
        self.first_print: int | None = None
        """The first print after it was active."""
        self.print_came_first = False
        """Before ``after``."""

    def is_reached(self, price_nano: int) -> bool:
        """Whether a print reaches the stop price."""
        stop_nano = self.order.asked.stop_nano or 0
        return price_nano >= stop_nano if self.is_buy else price_nano <= stop_nano

    def standing(self, stale_ns: int) -> int | None:
        """The fresh quote that it surely met when it began; None: there was none to be sure of."""
        current = self.current
        if current is None or self.ties or self.begins_ns - current[1] > stale_ns:
            return None
        has_latency = self.active_ns > self.order.submitted_ns
        return None if has_latency and current[1] < self.active_ns else current[0]

    def first_quote(self, stale_ns: int) -> int | None:
        """The quote that it surely met first; None: it cannot be told."""
        is_unsure = self.ties or self.print_came_first or self.trigger is not None
        return self.standing(stale_ns) or (None if is_unsure else self.after)


class _Symbol:
    """One symbol's stream."""

    def __init__(self) -> None:
        self.wanted: set[int] = set()
        self.seen: defaultdict[tuple[str, int], list[Seen]] = defaultdict(list)
        """By ``buy`` (the ask), ``sell`` (the bid) or ``print``, and the receipt."""
        self.coming: list[tuple[int, int, Watch]] = []
        """Not begun, the next one last."""
        self._starting: list[Watch] = []
        self._stops: list[Watch] = []
        self._low_nano, self._high_nano = -1, 1 << 100
        self._ordinal = 0
        self._is_first = True
        self._newest: Quote | None = None
        self._newest_ordinal = 0
        self._stretches = [0, 0]
        self._without_next: list[Seen] = []

    def quote(self, quote: Quote, *, is_first: bool) -> None:
        self._ordinal += 1
        self._is_first = is_first
        received_ns, known = quote.received_ns, self._newest
        if self.coming and self.coming[-1][0] <= received_ns:
            self._begin(received_ns)
        if known is not None:
            self._stretches[0] += known.ask_nano != quote.ask_nano
            self._stretches[1] += known.bid_nano != quote.bid_nano
        if self._without_next:
            for seen in self._without_next:
                seen.next_ns = received_ns
            self._without_next = []
        self._newest, self._newest_ordinal = quote, self._ordinal
        if received_ns in self.wanted:
            self._keep(quote)
        if self._starting:
            self._starting = [w for w in self._starting if not self._meets_quote(w, received_ns)]

    def trade(self, trade: Trade, *, is_first: bool) -> None:
        self._ordinal += 1
        self._is_first = is_first
        if self.coming and self.coming[-1][0] <= trade.received_ns:
            self._begin(trade.received_ns)
        if trade.received_ns in self.wanted:
            self.seen["print", trade.received_ns].append(self._print(trade))
        if trade.backfilled:
            return
        if self._stops and (
            trade.price_nano <= self._low_nano or trade.price_nano >= self._high_nano
        ):
            self._trigger(trade)
        if self._starting:
            self._starting = [w for w in self._starting if not self._meets_print(w, trade)]

    def _begin(self, received_ns: int) -> None:
        while self.coming and self.coming[-1][0] <= received_ns:
            watch = self.coming.pop()[2]
            if watch.order.asked.stop_nano is None:
                self._start(watch)
            else:
                self._stops.append(watch)
                self._bound()

    def _start(self, watch: Watch) -> None:
        if self._newest is not None:
            watch.current = self._newest_ordinal, self._newest.received_ns
        self._starting.append(watch)

    def _meets_quote(self, watch: Watch, received_ns: int) -> bool:
        if received_ns == watch.begins_ns and watch.trigger is None:
            if self._is_first:
                watch.current = self._ordinal, received_ns
            else:
                watch.ties.append(self._ordinal)
            return False
        if received_ns < watch.active_ns:
            return False
        watch.after = self._ordinal
        return True

    def _meets_print(self, watch: Watch, trade: Trade) -> bool:
        is_trigger = watch.trigger is not None and watch.trigger.ordinal == self._ordinal
        if trade.received_ns < watch.active_ns or is_trigger:
            return False
        is_after = trade.received_ns > watch.begins_ns or watch.trigger is not None
        watch.print_came_first = True
        if is_after and watch.first_print is None:
            watch.first_print = self._ordinal
        return is_after and self._newest is None  # else they would pile up where no quote comes

    def _trigger(self, trade: Trade) -> None:
        waiting: list[Watch] = []
        for watch in self._stops:
            if self._is_before(watch, trade) or not watch.is_reached(trade.price_nano):
                waiting.append(watch)
                continue
            if watch.reached_ns is None:
                watch.reached_ns = trade.received_ns
            told_ns = watch.order.triggered_ns
            if told_ns is None or trade.received_ns == told_ns:
                watch.trigger, watch.begins_ns = self._print(trade), trade.received_ns
                self._start(watch)
            elif trade.received_ns < told_ns:
                waiting.append(watch)
        self._stops = waiting
        self._bound()

    def _is_before(self, watch: Watch, trade: Trade) -> bool:
        """Whether a print came before an order was active."""
        is_same = trade.received_ns == watch.order.submitted_ns
        return trade.received_ns < watch.active_ns or (is_same and self._is_first)

    def _bound(self) -> None:
        """What a print must reach to matter for any stop."""
        sells = [w.order.asked.stop_nano or 0 for w in self._stops if not w.is_buy]
        buys = [w.order.asked.stop_nano or 0 for w in self._stops if w.is_buy]
        self._low_nano, self._high_nano = max(sells, default=-1), min(buys, default=1 << 100)

    def _keep(self, quote: Quote) -> None:
        sides = (
            ("buy", quote.ask_nano, quote.ask_qty_nano, self._stretches[0]),
            ("sell", quote.bid_nano, quote.bid_qty_nano, self._stretches[1]),
        )
        for side, price_nano, size_nano, stretch in sides:
            seen = Seen(
                EvidenceKind.QUOTE, self._ordinal, quote.received_ns, quote.event_ns, price_nano,
                size_nano, stretch, is_first=self._is_first,
            )  # fmt: skip
            self.seen[side, quote.received_ns].append(seen)
            self._without_next.append(seen)

    def _print(self, trade: Trade) -> Seen:
        return Seen(
            EvidenceKind.PRINT, self._ordinal, trade.received_ns, trade.event_ns, trade.price_nano,
            trade.qty_nano, trade_id=trade.trade_id, backfilled=trade.backfilled,
            is_first=self._is_first, has_quote_before=self._newest is not None,
        )  # fmt: skip


class Witness:
    """Give it every event of the stream in order, then ask."""

    def __init__(
        self, orders: Iterable[Order], fills: Iterable[Fill], models: Mapping[str, Model]
    ) -> None:
        self.events = 0
        """Quotes and trades."""
        self._received_ns = -1
        self._symbols: dict[str, _Symbol] = {}
        self._watches: dict[int, Watch] = {}
        for order in orders:
            watch = Watch(order, models[order.asked.portfolio].latency_ms)
            self._watches[order.number] = watch
            coming = self._symbol(order.asked.symbol).coming
            coming.append((order.submitted_ns, order.number, watch))
        for symbol in self._symbols.values():
            symbol.coming.sort(key=lambda each: each[:2], reverse=True)
        for fill in fills:
            self._symbol(fill.symbol).wanted.add(fill.evidence.received_ns)

    def take(self, events: Iterable[Event]) -> None:
        """The next events."""
        for event in events:
            is_first = event.received_ns > self._received_ns
            if is_first:
                self._received_ns = event.received_ns
            if type(event) is Quote:
                self.events += 1
                if symbol := self._symbols.get(event.symbol):
                    symbol.quote(event, is_first=is_first)
            elif type(event) is Trade:
                self.events += 1
                if symbol := self._symbols.get(event.symbol):
                    symbol.trade(event, is_first=is_first)

    def watch(self, order: Order) -> Watch:
        """When an order met the market."""
        return self._watches[order.number]

    def seen(self, fill: Fill) -> list[Seen]:
        """What came at the receipt of a fill's evidence, of its kind and on its side."""
        evidence = fill.evidence
        side = "print" if evidence.kind is EvidenceKind.PRINT else fill.side
        return self._symbol(fill.symbol).seen.get((side, evidence.received_ns), [])

    def _symbol(self, name: str) -> _Symbol:
        symbol = self._symbols.get(name)
        if symbol is None:
            symbol = self._symbols[name] = _Symbol()
        return symbol
