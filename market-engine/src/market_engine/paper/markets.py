"""What the paper desk knows of each symbol's market: its newest quote and its newest trade.

Shared by all portfolios and books. Knows no order and no position; it only says what a position
would be marked with and what a price is now.
"""

from __future__ import annotations

from market_engine.events import Quote, Trade
from market_engine.paper.model import Mark


class SymbolMarket:
    """One symbol. What came by the stream alone counts: backfilled trades change nothing here.

    Newest is by receipt; of two with the same receipt, the one that was noted later. What was
    received before what is known already changes nothing. A side of a quote is missing where its
    price is 0.
    """

    __slots__ = ("has_quotes", "last", "quote", "symbol")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.quote: Quote | None = None
        self.last: Trade | None = None
        self.has_quotes = False
        """Whether a quote ever came: then takers take quotes, else prints."""

    def note_quote(self, quote: Quote) -> None:
        """Keep it if it is the newest."""
        known = self.quote
        if known is None or quote.received_ns >= known.received_ns:
            self.quote = quote
            self.has_quotes = True

    def note_trade(self, trade: Trade) -> None:
        """Keep it if it is the newest and was not backfilled."""
        known = self.last
        if not trade.backfilled and (known is None or trade.received_ns >= known.received_ns):
            self.last = trade

    def mark(self, qty_nano: int, now_ns: int, stale_ns: int) -> Mark:
        """What to value a position with: the bid if long, the ask if short, else the last trade.

        A missing side falls back to the last trade; without one it is unpriced. A stale price is
        flagged and stays in use.
        """
        quote, last = self.quote, self.last
        if quote is not None and qty_nano > 0 and quote.bid_nano > 0:
            return _mark(quote.bid_nano, "bid", quote.received_ns, now_ns - stale_ns)
        if quote is not None and qty_nano < 0 and quote.ask_nano > 0:
            return _mark(quote.ask_nano, "ask", quote.received_ns, now_ns - stale_ns)
        if last is not None:
            return _mark(last.price_nano, "last", last.received_ns, now_ns - stale_ns)
        return Mark(None, "", 0, is_stale=True)

    def price_nano(self, now_ns: int, stale_ns: int) -> int | None:
        """The newest that is not stale of the last trade and the middle of the quote, else None.

        Received in the same nanosecond, the trade goes first. A quote of one side has no middle;
        the middle of the others is rounded down to a nano.
        """
        quote, last = self.quote, self.last
        since_ns = now_ns - stale_ns
        if quote is not None and (
            quote.received_ns < since_ns or quote.bid_nano <= 0 or quote.ask_nano <= 0
        ):
            quote = None
        if last is not None and last.received_ns < since_ns:
            last = None
        if last is not None and (quote is None or last.received_ns >= quote.received_ns):
            return last.price_nano
        return None if quote is None else (quote.bid_nano + quote.ask_nano) // 2

    def is_fresh(self, now_ns: int, stale_ns: int) -> bool:
        """Whether the quote or the last trade came within ``stale_ns``."""
        since_ns = now_ns - stale_ns
        quote, last = self.quote, self.last
        return (quote is not None and quote.received_ns >= since_ns) or (
            last is not None and last.received_ns >= since_ns
        )


def _mark(price_nano: int, source: str, at_ns: int, since_ns: int) -> Mark:
    return Mark(price_nano, source, at_ns, is_stale=at_ns < since_ns)
