"""Which orders an event fills, in one book of one portfolio, and on what evidence.

Pure: no clock, no randomness; the same events and orders give the same steps. It knows no money:
its caller applies each step (and so moves the position) before it asks for the next.

Where the rules leave a choice, less is filled:

- Only an event of the order's own symbol fills it. ``on_time`` ends days, makes older events stale
  and fills nothing, so that it does not matter how events are grouped.
- With a latency, an order takes no quote that was received before it was active; it waits for the
  next one. A limit order arrives with the first quote or print of its symbol after that, and rests
  if the newest fresh quote is not at its limit.
- A limit order that may stay rests at once where no quote is known: only orders that take at once,
  and orders at the market, take prints.
- A quote or print older than ``stale_ms``, or a quote that is not the newest, fills nothing.
- What rests is not filled by a print whose aggressor was on its own side, save in the optimistic
  book: that one took what was displayed on the other side. Where the side is unknown, it may be.
- Orders that wait to take are served by their numbers; then those that rest, the best price first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from market_engine.events import Quote, Trade
from market_engine.paper.gate import TradingGate
from market_engine.paper.liquidity import Printed
from market_engine.paper.live_order import NEVER_NS, LiveOrder, Phase, SymbolBook
from market_engine.paper.markets import SymbolMarket
from market_engine.paper.model import BookName, EvidenceKind, Fill, Model, Order, OrderState
from market_engine.paper.reasons import Why
from market_engine.paper.serving import Serving, may_rest
from market_engine.paper.steps import Ended, Match, Step, Triggered

__all__ = ["Ended", "Match", "Matcher", "Step", "Triggered"]

_NOTHING: Final[Iterator[Step]] = iter(())
"""Exhausted, so that all may share it."""


class Matcher:
    """The live orders of one book of one portfolio.

    Take all steps of one call before the next call. A fully filled order is forgotten without an
    ``Ended``. ``position_nano`` is this book's position in a symbol, signed.
    """

    def __init__(
        self,
        book: BookName,
        model: Model,
        position_nano: Callable[[str], int],
        markets: Mapping[str, SymbolMarket],
        gate: TradingGate,
    ) -> None:
        self._model = model
        self._gate = gate
        self._markets = markets
        self._serving = Serving(book, model, position_nano, markets, gate)
        self._lives = self._serving.lives
        self._books = self._serving.books
        self._stale_ns = self._serving.stale_ns
        self._ends_ns = NEVER_NS
        """When the first day order ends, or before."""

    def add(self, order: Order, filled_nano: int = 0, order_fill: int = 0) -> Iterator[Step]:
        """A new order, or after a restart one of before, with what this book filled of it.

        It is known as of before: by what was filled, by a market in which nothing has come yet, or
        by an event of its symbol after it was submitted. It then fills on later events only, and a
        limit order that had arrived rests.
        """
        live = LiveOrder(order, self._model, filled_nano, order_fill)
        book = self._serving.book(live.symbol)
        self._lives[live.client_order_id] = live
        self._ends_ns = min(self._ends_ns, live.ends_ns)
        book.put(live)
        if live.phase is Phase.STOP:
            return _NOTHING
        market = self._markets.get(live.symbol)
        was_here = filled_nano > 0 or order.triggered_ns is not None
        if was_here or market is None or _newest_ns(market) > live.submitted_ns:
            had_arrived = filled_nano > 0 or _had_arrived(live, market, self._stale_ns)
            if may_rest(live) and had_arrived:
                book.place(live, Phase.RESTING)
            return _NOTHING
        if not live.has_no_latency:
            return _NOTHING
        self._serving.now_ns = max(self._serving.now_ns, live.submitted_ns)
        return self._serving.arrive(book, live, at_print=False)

    def remove(self, client_order_id: str) -> bool:
        """Forget an order; False if this book does not have it any more."""
        live = self._lives.get(client_order_id)
        if live is None:
            return False
        self._serving.drop(self._books[live.symbol], live)
        return True

    def resume(self, fill: Fill) -> None:
        """After a restart, in the order of the fills: what was taken is not there again."""
        book = self._serving.book(fill.symbol)
        if fill.evidence.kind is EvidenceKind.PRINT:
            book.print.recall(fill.evidence, fill.qty_nano)
            return
        book.has_quotes = book.has_taken = True
        side = book.ask if fill.side == "buy" else book.bid
        side.recall(fill.evidence, fill.qty_nano)

    def on_quote(self, quote: Quote) -> Iterator[Step]:
        """After its market noted it. O(1) where no order waits to take and none is reached."""
        received_ns = quote.received_ns
        if received_ns > self._serving.now_ns:  # noqa: PLR1730 - max() costs more here
            self._serving.now_ns = received_ns
        book = self._books.get(quote.symbol)
        if book is not None and (
            quote.ask_nano <= book.quote_low_nano
            or quote.bid_nano >= book.quote_high_nano
            or book.waiting
            or (
                book.has_taken
                and (quote.ask_nano > book.ask.past_nano or quote.bid_nano < book.bid.past_nano)
            )
        ):
            return self._quoted(book, quote)
        return _NOTHING if received_ns < self._ends_ns else self._end_days(received_ns)

    def on_trade(self, trade: Trade) -> Iterator[Step]:
        """After its market noted it. O(1) where no order waits to take and none is reached."""
        received_ns = trade.received_ns
        if received_ns > self._serving.now_ns:  # noqa: PLR1730 - max() costs more here
            self._serving.now_ns = received_ns
        book = self._books.get(trade.symbol)
        if book is not None and (
            trade.price_nano <= book.print_low_nano
            or trade.price_nano >= book.print_high_nano
            or book.waiting
        ):
            return self._printed(book, trade)
        return _NOTHING if received_ns < self._ends_ns else self._end_days(received_ns)

    def on_time(self, now_ns: int) -> Iterator[Step]:
        """End the day orders whose day ended; fills nothing. What came before it grows older."""
        self._serving.now_ns = max(self._serving.now_ns, now_ns)
        return _NOTHING if now_ns < self._ends_ns else self._end_days(now_ns)

    def why(self, client_order_id: str, now_ns: int) -> tuple[OrderState, Why]:
        """Where an order of this book is, and why it is not filled. KeyError: not in this book."""
        live = self._lives[client_order_id]
        market = self._markets.get(live.symbol)
        if now_ns < live.active_ns:
            return OrderState.PENDING, Why.LATENCY
        is_stop = live.phase is Phase.STOP
        state = OrderState.UNTRIGGERED if is_stop else OrderState.WORKING
        held = self._serving.why_held(live)
        if held is not None:
            return state, held
        if market is None or (market.quote is None and market.last is None):
            return state, Why.NO_PRICE
        is_taker = live.phase is Phase.WAITING
        if not market.is_fresh(now_ns, self._stale_ns) or (
            is_taker
            and self._serving.has_quotes(live.symbol)
            and self._serving.fresh_quote(market, now_ns) is None
        ):
            return state, Why.STALE_PRICE
        if is_stop:
            return state, Why.TRIGGER
        return state, self._why_working(live, market, now_ns)

    def live(self, symbol: str | None = None) -> list[str]:
        """The ids of the orders here, of one symbol or of all, in the order of their coming."""
        return [
            live.client_order_id
            for live in self._lives.values()
            if symbol is None or live.symbol == symbol
        ]

    def _quoted(self, book: SymbolBook, quote: Quote) -> Iterator[Step]:
        yield from self.on_time(quote.received_ns)
        market = self._markets.get(quote.symbol)
        if market is None or market.quote is not quote:
            return
        book.show(quote)
        if quote.received_ns < self._serving.now_ns - self._stale_ns:
            return
        for live in self._reached_by_quote(book):
            if live.phase is Phase.DONE or quote.received_ns < live.active_ns:
                continue
            side = book.ask if live.is_buy else book.bid
            if live.phase is Phase.WAITING:
                yield from self._serving.serve_taker(book, live, side)
            elif live.phase is Phase.RESTING:
                yield from self._serving.serve_maker(book, live, side)

    def _reached_by_quote(self, book: SymbolBook) -> list[LiveOrder]:
        found = sorted(book.waiting.values(), key=_number)
        if not self._serving.is_pessimistic:
            if book.ask.is_there and (self._serving.is_optimistic or book.ask.left_nano):
                found += book.buys.reached(book.ask.price_nano)
            if book.bid.is_there and (self._serving.is_optimistic or book.bid.left_nano):
                found += book.sells.reached(-book.bid.price_nano)
        return found

    def _printed(self, book: SymbolBook, trade: Trade) -> Iterator[Step]:
        yield from self.on_time(trade.received_ns)
        if trade.backfilled or trade.received_ns < self._serving.now_ns - self._stale_ns:
            return
        if not self._gate.is_halted:
            yield from self._trigger_stops(book, trade)
        price_nano, received_ns = trade.price_nano, trade.received_ns
        book.print.print(trade)
        beyond = 1 if self._serving.is_pessimistic else 0
        found = [
            *sorted(book.waiting.values(), key=_number),
            *book.buys.reached(price_nano + beyond),
            *book.sells.reached(beyond - price_nano),
        ]
        for live in found:
            if received_ns >= live.active_ns and live.triggered_by is not trade:
                yield from self._serve_print(book, live)

    def _trigger_stops(self, book: SymbolBook, trade: Trade) -> Iterator[Step]:
        price_nano, received_ns = trade.price_nano, trade.received_ns
        stops = book.buy_stops.reached(-price_nano) + book.sell_stops.reached(price_nano)
        for live in sorted(stops, key=_number):
            if live.phase is Phase.STOP and received_ns >= live.active_ns:
                live.triggered_by = trade
                book.place(live, Phase.WAITING)
                yield Triggered(live.client_order_id, received_ns)
                if live.client_order_id in self._lives:
                    yield from self._serving.arrive(book, live, at_print=True)

    def _serve_print(self, book: SymbolBook, live: LiveOrder) -> Iterator[Step]:
        """A print: for takers where there are no quotes, and for what rests."""
        if live.phase is Phase.WAITING:
            has_quotes = self._serving.has_quotes(live.symbol)
            if may_rest(live) or (live.is_at_once and has_quotes):
                yield from self._serving.arrive(book, live, at_print=True)
            elif not has_quotes:
                yield from self._serving.serve_taker(book, live, book.print)
        if live.phase is Phase.RESTING and self._reaches(live, book.print):
            yield from self._serving.serve_maker(book, live, book.print)

    def _reaches(self, live: LiveOrder, found: Printed) -> bool:
        """Whether a print fills what rests at its limit."""
        limit_nano, price_nano = live.limit_nano or 0, found.price_nano
        own_side = "buy" if live.is_buy else "sell"
        if found.side == own_side and not self._serving.is_optimistic:
            return False
        if price_nano == limit_nano:
            return not self._serving.is_pessimistic
        return price_nano < limit_nano if live.is_buy else price_nano > limit_nano

    def _end_days(self, now_ns: int) -> Iterator[Step]:
        ended = [live for live in self._lives.values() if live.ends_ns <= now_ns]
        for live in sorted(ended, key=_number):
            if live.phase is not Phase.DONE:
                yield self._serving.end(self._books[live.symbol], live, Why.DAY_ENDED)
        self._ends_ns = min((live.ends_ns for live in self._lives.values()), default=NEVER_NS)

    def _why_working(self, live: LiveOrder, market: SymbolMarket, now_ns: int) -> Why:
        """At its price, liquidity is what is missing."""
        if live.worst_nano is None:
            return Why.LIQUIDITY
        quote, last = self._serving.fresh_quote(market, now_ns), market.last
        if quote is not None:
            price_nano = quote.ask_nano if live.is_buy else quote.bid_nano
        else:
            price_nano = last.price_nano if last is not None else 0
        is_met = price_nano > 0 and live.allows(price_nano)
        if is_met and live.phase is Phase.RESTING and self._serving.is_pessimistic:
            is_met = False  # being at its limit is not enough here
        return Why.LIQUIDITY if is_met or live.limit_nano is None else Why.PRICE


def _had_arrived(live: LiveOrder, market: SymbolMarket | None, stale_ns: int) -> bool:
    """Whether an order of before a restart had met a quote or a print, by what is known."""
    if market is None or (market.quote is None and market.last is None):
        return True  # nothing is known: the later price that it may get is its limit
    quote, last = market.quote, market.last
    if quote is not None and (live.has_no_latency or quote.received_ns >= live.active_ns):
        return True
    if last is None or last.received_ns < live.active_ns:
        return False
    if quote is None or quote.received_ns < last.received_ns - stale_ns:
        return True
    price_nano = quote.ask_nano if live.is_buy else quote.bid_nano
    return price_nano <= 0 or not live.allows(price_nano)


def _newest_ns(market: SymbolMarket) -> int:
    times_ns = [each.received_ns for each in (market.quote, market.last) if each is not None]
    return max(times_ns, default=NEVER_NS)


def _number(live: LiveOrder) -> int:
    return live.number
