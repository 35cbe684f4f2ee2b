"""What one order gets of one offer: a side of a quote, or a print, in one book of one portfolio.

Here are the rules of taking, resting and reducing. Which orders are served by an event, and in
which order, is ``matching``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from market_engine.events import MS_NS, Quote
from market_engine.paper.gate import TradingGate
from market_engine.paper.liquidity import Liquidity, Slippage
from market_engine.paper.live_order import LiveOrder, Phase, SymbolBook
from market_engine.paper.markets import SymbolMarket
from market_engine.paper.model import BookName, Model, OrderState
from market_engine.paper.reasons import Why
from market_engine.paper.steps import RULES, Ended, Match, Step


class Serving:
    """The live orders, and how each is served; ``now_ns`` is the newest receipt of an event."""

    def __init__(
        self,
        book: BookName,
        model: Model,
        position_nano: Callable[[str], int],
        markets: Mapping[str, SymbolMarket],
        gate: TradingGate,
    ) -> None:
        self.is_optimistic = book is BookName.OPTIMISTIC
        self.is_pessimistic = book is BookName.PESSIMISTIC
        self.stale_ns = model.stale_ms * MS_NS
        self.now_ns = 0
        self.lives: dict[str, LiveOrder] = {}
        self.books: dict[str, SymbolBook] = {}
        self._position_nano = position_nano
        self._markets = markets
        self._gate = gate
        self._slippage = Slippage(model.slippage)

    def arrive(self, book: SymbolBook, live: LiveOrder, *, at_print: bool) -> Iterator[Step]:
        """Without a new quote: it takes what is displayed, rests, or waits for the next event."""
        market = self._markets.get(live.symbol)
        quote = None if market is None else self.fresh_quote(market, self.now_ns)
        if quote is None:
            if live.is_at_once and self.has_quotes(live.symbol):
                yield self.end_at_once(book, live)
            elif at_print or not self.has_quotes(live.symbol):
                yield from self.rest(book, live)
            return
        book.show(quote)
        side = book.ask if live.is_buy else book.bid
        if live.has_no_latency or quote.received_ns >= live.active_ns:
            yield from self.serve_taker(book, live, side)
        elif not _would_take(live, side):
            yield from self.rest(book, live)
        elif live.is_post_only:
            yield self.end(book, live, Why.POST_ONLY)

    def rest(self, book: SymbolBook, live: LiveOrder) -> Iterator[Step]:
        """Only a limit that may stay rests; all else goes on waiting."""
        if not may_rest(live):
            return
        if live.is_reduce_only and not self._reducible_nano(live):
            yield self.end(book, live, Why.REDUCE_ONLY)
            return
        book.place(live, Phase.RESTING)

    def serve_taker(self, book: SymbolBook, live: LiveOrder, offer: Liquidity) -> Iterator[Step]:
        """It takes what it can of the offer; the rest waits, rests or is cancelled."""
        if live.is_reduce_only and not self._reducible_nano(live):
            yield self.end(book, live, Why.REDUCE_ONLY)
            return
        if _would_take(live, offer):
            yield from self._take(book, live, offer)
        elif offer.is_there and live.limit_nano is None:
            yield self.end(book, live, Why.COLLAR)
        if live.phase is not Phase.WAITING:
            return
        if live.is_at_once:
            yield self.end_at_once(book, live)
        elif live.limit_nano is not None:
            book.place(live, Phase.RESTING)

    def _take(self, book: SymbolBook, live: LiveOrder, offer: Liquidity) -> Iterator[Step]:
        if live.is_post_only:
            yield self.end(book, live, Why.POST_ONLY)
        elif live.is_fok and self._fillable_nano(live, offer) < live.left_nano:
            yield self.end(book, live, Why.FOK)
        else:
            price_nano = self._slippage.price_nano(
                offer.price_nano, live.worst_nano, is_buy=live.is_buy
            )
            yield from self._match(book, live, offer, price_nano)

    def serve_maker(self, book: SymbolBook, live: LiveOrder, offer: Liquidity) -> Iterator[Step]:
        """The market came to its limit: it fills there, not at the offer's price."""
        if live.is_reduce_only and not self._reducible_nano(live):
            yield self.end(book, live, Why.REDUCE_ONLY)
        elif live.limit_nano is not None:
            yield from self._match(book, live, offer, live.limit_nano)

    def _match(
        self, book: SymbolBook, live: LiveOrder, offer: Liquidity, price_nano: int
    ) -> Iterator[Step]:
        """Fill what can be; then end what was to reduce a position that is gone."""
        qty_nano = self._fillable_nano(live, offer)
        if not qty_nano:
            return
        is_maker = live.phase is Phase.RESTING
        book.has_taken = True
        evidence = offer.take(qty_nano, RULES[offer.kind, is_maker])
        live.left_nano -= qty_nano
        live.fills += 1
        if not live.left_nano:
            self.drop(book, live)
        yield Match(live.client_order_id, live.fills, price_nano, qty_nano, is_maker, evidence)
        for other in list(book.reducing.values()):
            if not self._reducible_nano(other):
                yield self.end(book, other, Why.REDUCE_ONLY)

    def _fillable_nano(self, live: LiveOrder, offer: Liquidity) -> int:
        """Of what is left of it: as much as is there, as it may reduce, and as the gate lets by."""
        if self._gate.is_halted:
            return 0
        there_nano = live.left_nano if self.is_optimistic else offer.left_nano
        if live.is_reduce_only or self._gate.is_reducing:
            there_nano = min(there_nano, self._reducible_nano(live))
        return min(live.left_nano, there_nano)

    def why_held(self, live: LiveOrder) -> Why | None:
        """Whether the trading state holds it now."""
        if self._gate.is_halted:
            return Why.HALTED
        is_stop = live.phase is Phase.STOP  # that, it lets trigger
        is_held = self._gate.is_reducing and not is_stop and not self._reducible_nano(live)
        return Why.REDUCING if is_held else None

    def _reducible_nano(self, live: LiveOrder) -> int:
        position_nano = self._position_nano(live.symbol)
        return max(0, -position_nano if live.is_buy else position_nano)

    def end_at_once(self, book: SymbolBook, live: LiveOrder) -> Ended:
        """It arrived, and what it did not get then it never gets."""
        return self.end(book, live, Why.FOK if live.is_fok else Why.IOC)

    def end(self, book: SymbolBook, live: LiveOrder, why: Why) -> Ended:
        """Forget what is left of it, by a rule."""
        self.drop(book, live)
        state = OrderState.EXPIRED if why is Why.DAY_ENDED else OrderState.CANCELLED
        return Ended(live.client_order_id, state, why)

    def drop(self, book: SymbolBook, live: LiveOrder) -> None:
        """Forget it without a word."""
        book.place(live, Phase.DONE)
        del self.lives[live.client_order_id]

    def book(self, symbol: str) -> SymbolBook:
        """That of a symbol, made where it is missing."""
        book = self.books.get(symbol)
        if book is None:
            book = SymbolBook(is_filled_by_quotes=not self.is_pessimistic)
            self.books[symbol] = book
        return book

    def has_quotes(self, symbol: str) -> bool:
        """Whether takers wait for quotes; a fill of before a restart may say so."""
        market = self._markets.get(symbol)
        return self.books[symbol].has_quotes or (market is not None and market.has_quotes)

    def fresh_quote(self, market: SymbolMarket, now_ns: int) -> Quote | None:
        """The newest quote, unless it is stale."""
        quote = market.quote
        is_fresh = quote is not None and quote.received_ns >= now_ns - self.stale_ns
        return quote if is_fresh else None


def _would_take(live: LiveOrder, offer: Liquidity) -> bool:
    return offer.is_there and live.allows(offer.price_nano)


def may_rest(live: LiveOrder) -> bool:
    """Others never become makers: those at the market, and those that end at once."""
    return live.limit_nano is not None and not live.is_at_once
