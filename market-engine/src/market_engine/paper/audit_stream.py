"""What the raw stream really held at the moments that fills speak of; one pass, in order.

Owns quotes, prints, how long a displayed price stood, and which events each order met. It keeps
only what some order or fill asks for, and shares nothing with matching.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from market_engine.events import Event, Quote, Trade
from market_engine.paper.audit_watch import Met, Seen, Watch
from market_engine.paper.model import EvidenceKind, Fill, Model, Order


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
        self._asks: list[tuple[int, int]] = []
        """Each price that was the touch and was not passed, with its stretch; the touch last."""
        self._bids: list[tuple[int, int]] = []
        self._stretch = 0
        self._without_next: list[Seen] = []

    def quote(self, quote: Quote, *, is_first: bool) -> None:
        self._ordinal += 1
        self._is_first = is_first
        received_ns, known = quote.received_ns, self._newest
        if self.coming and self.coming[-1][0] <= received_ns:
            self._begin(received_ns)
        if quote.ask_nano > 0 and (known is None or known.ask_nano != quote.ask_nano):
            while self._asks and self._asks[-1][0] < quote.ask_nano:
                self._asks.pop()
            self._touch(self._asks, quote.ask_nano)
        if quote.bid_nano > 0 and (known is None or known.bid_nano != quote.bid_nano):
            while self._bids and self._bids[-1][0] > quote.bid_nano:
                self._bids.pop()
            self._touch(self._bids, quote.bid_nano)
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

    def _touch(self, prices: list[tuple[int, int]], price_nano: int) -> None:
        if not prices or prices[-1][0] != price_nano:
            self._stretch += 1
            prices.append((price_nano, self._stretch))

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
            watch.current = Met(self._newest_ordinal, self._newest.received_ns)
        self._starting.append(watch)

    def _meets_quote(self, watch: Watch, received_ns: int) -> bool:
        if received_ns == watch.begins_ns and watch.trigger is None:
            if self._is_first:
                watch.current = Met(self._ordinal, received_ns)
            else:
                watch.ties.append(self._ordinal)
            return False
        if received_ns < watch.active_ns:
            return False
        watch.after = Met(self._ordinal, received_ns)
        return True

    def _meets_print(self, watch: Watch, trade: Trade) -> bool:
        is_trigger = watch.trigger is not None and watch.trigger.ordinal == self._ordinal
        if trade.received_ns < watch.active_ns or is_trigger:
            return False
        is_after = trade.received_ns > watch.begins_ns or watch.trigger is not None
        watch.print_came_first = True
        if is_after and watch.first_print is None:
            watch.first_print = self._ordinal
        newest = self._newest
        if is_after and newest is not None:
            watch.meet_print(trade.received_ns, Met(self._newest_ordinal, newest.received_ns))
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
            ("buy", quote.ask_nano, quote.ask_qty_nano, self._asks),
            ("sell", quote.bid_nano, quote.bid_qty_nano, self._bids),
        )
        for side, price_nano, size_nano, prices in sides:
            seen = Seen(
                EvidenceKind.QUOTE, self._ordinal, quote.received_ns, quote.event_ns, price_nano,
                size_nano, prices[-1][1] if prices else 0, is_first=self._is_first,
            )  # fmt: skip
            self.seen[side, quote.received_ns].append(seen)
            self._without_next.append(seen)

    def _print(self, trade: Trade) -> Seen:
        return Seen(
            EvidenceKind.PRINT, self._ordinal, trade.received_ns, trade.event_ns, trade.price_nano,
            trade.qty_nano, trade_id=trade.trade_id, backfilled=trade.backfilled,
            is_first=self._is_first, side=trade.side,
            quote_before_ns=None if self._newest is None else self._newest.received_ns,
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
            watch = Watch(order, models[order.asked.portfolio])
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
