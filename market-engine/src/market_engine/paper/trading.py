"""One portfolio at work: its orders in three books, its accounts, and what follows from an event.

Pure: gives records, and stores nothing. The neutral book is the account; the other two fill the
same orders more and less kindly, so that a user sees what the simulation does not know.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Final

import msgspec

from market_engine.events import SECOND_NS, Quote, Trade
from market_engine.paper.account import PortfolioAccount
from market_engine.paper.figures import DeskFigures
from market_engine.paper.gate import TradingGate
from market_engine.paper.markets import SymbolMarket
from market_engine.paper.matching import Ended, Match, Matcher, Step
from market_engine.paper.model import (
    FINAL,
    BookName,
    Fill,
    Order,
    OrderState,
    Portfolio,
    PositionRow,
    Posting,
    Record,
    Snapshot,
)
from market_engine.paper.money import ZERO, add, fee, product
from market_engine.paper.reasons import Why
from market_engine.paper.round_trips import RoundTrips
from market_engine.paper.snapshots import Snapshots

LEFTOVERS_MAX: Final = 1_000
"""So many orders wait in the other books after they are done in the neutral one."""
DAY_NS: Final = 86_400 * 10**9
SHADOWS: Final = (BookName.OPTIMISTIC, BookName.PESSIMISTIC)


class Numbers:
    """The next numbers of orders and fills, over all portfolios."""

    def __init__(self, order: int, fill: int) -> None:
        self.order = order
        self.fill = fill

    def next_fill(self) -> int:
        """The next fill of a neutral book."""
        self.fill += 1
        return self.fill


class TradingPortfolio:
    """A portfolio with everything that moves; one thread at a time."""

    def __init__(
        self,
        portfolio: Portfolio,
        markets: Mapping[str, SymbolMarket],
        numbers: Numbers,
        figures: DeskFigures,
        gate: TradingGate,
    ) -> None:
        self.portfolio = portfolio
        self.accounts = {book: PortfolioAccount(portfolio) for book in BookName}
        self.account = self.accounts[BookName.NEUTRAL]
        self.orders: dict[str, Order] = {}
        """Those that are not done in every book, by their id."""
        self.trips = RoundTrips()
        self.submitted_ns: deque[int] = deque(maxlen=1_000)
        """When the newest orders came, for the order rate."""
        self.fills = dict.fromkeys(BookName, 0)
        self.traded = dict.fromkeys(BookName, ZERO)
        """The notional of all fills of each book."""
        self._snapshots = Snapshots(self.account)
        self._left: dict[BookName, dict[int, int]] = {book: {} for book in BookName}
        self._markets, self._numbers, self._figures = markets, numbers, figures
        self._stale_ns = portfolio.model.stale_ms * 10**6
        self._day = portfolio.created_ns // DAY_NS
        self._is_day_kept = True
        self._matchers = {
            book: Matcher(book, portfolio.model, self.accounts[book].position_nano, markets, gate)
            for book in BookName
        }

    def open(self) -> list[Posting]:
        """The opening of the account."""
        for book in SHADOWS:
            self.accounts[book].open()
        return self.account.open()

    def load(
        self,
        postings: Iterable[Posting],
        fills: Mapping[BookName, Iterable[Fill]],
        positions: Iterable[PositionRow],
        snapshot: Snapshot | None,
        day_equity: Decimal | None,
    ) -> None:
        """Go on from what was stored; the open orders follow, each by ``resume``.

        ``snapshot`` is the newest, ``day_equity`` what its day began with.
        """
        neutral = list(fills[BookName.NEUTRAL])
        self.account.load(postings, neutral)
        self.account.compare(positions, snapshot)
        for fill in neutral:
            self._recall(fill)
            self.trips.add(fill)
        for book in SHADOWS:
            self.accounts[book].open()
            for fill in fills[book]:
                self.accounts[book].fill(fill)
                self._recall(fill)
        if snapshot is not None:
            self.account.restore(snapshot, day_equity)
            self._snapshots.restore(snapshot)
            self._day = snapshot.at_ns // DAY_NS
            self._is_day_kept = not self.account.is_day_due

    def resume(self, order: Order, filled: Mapping[BookName, tuple[int, int]]) -> None:
        """Put an order back into its books; ``filled`` there so far, and in how many fills."""
        self.orders[order.asked.client_order_id] = order
        for book in order.open_books:
            filled_nano, fills = filled.get(book, (0, 0))
            self._left[book][order.number] = order.asked.qty_nano - filled_nano
            for _ in self._matchers[book].add(order, filled_nano, fills):
                pass  # without a quote, nothing can follow

    def place(self, order: Order) -> list[Record]:
        """Put an accepted order into all books; what follows at once."""
        self.orders[order.asked.client_order_id] = order
        records: list[Record] = []
        for book, matcher in self._matchers.items():
            self._left[book][order.number] = order.asked.qty_nano
            records += self._apply(book, matcher.add(order), order.submitted_ns)
        return records + self._end_leftovers()

    def cancel(self, client_order_id: str, now_ns: int, why: Why) -> Order:
        """Take an order out of all books."""
        for matcher in self._matchers.values():
            matcher.remove(client_order_id)
        order = self.orders[client_order_id]
        for left in self._left.values():
            left.pop(order.number, None)
        changes: dict[str, object] = {"open_books": ()}
        if order.state not in FINAL:
            changes |= {"state": OrderState.CANCELLED, "why": why, "closed_ns": now_ns}
        return self._change(order, changes)

    def _end_leftovers(self) -> list[Record]:
        """Orders that are done but for another book are forgotten when there are too many."""
        open_max = self.portfolio.limits.open_orders
        if len(self.orders) <= open_max + LEFTOVERS_MAX:
            return []
        left = [order for order in self.orders.values() if order.state in FINAL]
        return [
            self.cancel(order.asked.client_order_id, order.submitted_ns, Why.CANCELLED)
            for order in left[: len(left) // 2]
        ]

    def on_quote(self, quote: Quote, now_ns: int) -> list[Record]:
        """What follows from a quote that its market has noted; it may be older than ``now_ns``."""
        records = self._begin_day(now_ns)
        for book, matcher in self._matchers.items():
            records += self._apply(book, matcher.on_quote(quote), now_ns)
        return records + self._follow(quote.symbol, now_ns)

    def on_trade(self, trade: Trade, now_ns: int) -> list[Record]:
        """What follows from a trade that its market has noted; it may be older than ``now_ns``."""
        records = self._begin_day(now_ns)
        for book, matcher in self._matchers.items():
            records += self._apply(book, matcher.on_trade(trade), now_ns)
        return records + self._follow(trade.symbol, now_ns)

    def on_time(self, now_ns: int) -> list[Record]:
        """What follows from the time: ends of days, latencies, and snapshots."""
        records = self._begin_day(now_ns)
        for book, matcher in self._matchers.items():
            records += self._apply(book, matcher.on_time(now_ns), now_ns)
        records += self._snapshots.due(now_ns)
        return records

    def end(self, now_ns: int) -> list[Record]:
        """With what a process ends in peace; nothing before the first event."""
        return [*self._snapshots.last(now_ns)] if now_ns else []

    def _begin_day(self, now_ns: int) -> list[Record]:
        """At the first event of a day, before it moves anything: what the day before ended with."""
        day = now_ns // DAY_NS
        if day <= self._day:
            return []
        ended = self._snapshots.take((self._day + 1) * DAY_NS - 1)
        self._day = day
        self.account.begin_day(now_ns)
        self._is_day_kept = not self.account.is_day_due
        return [ended]

    def why(self, order: Order, now_ns: int) -> tuple[OrderState, Why]:
        """Where an order that is not final is now, and why it is not filled."""
        return self._matchers[BookName.NEUTRAL].why(order.asked.client_order_id, now_ns)

    def revalue_all(self, now_ns: int) -> None:
        """Value every position of every book as of a moment."""
        for account in self.accounts.values():
            for symbol, position in account.positions.items():
                if position.qty_nano:
                    self._mark(account, symbol, position.qty_nano, now_ns)

    def _follow(self, symbol: str, now_ns: int) -> list[Record]:
        """Value a position; the first known equity of a day is kept at once, for a restart."""
        self._revalue(symbol, now_ns)
        if self._is_day_kept or self.account.is_day_due:
            return []
        self._is_day_kept = True
        return [self._snapshots.take(now_ns)]

    def _revalue(self, symbol: str, now_ns: int) -> None:
        qty_nano = self.account.position_nano(symbol)
        if qty_nano:
            self._mark(self.account, symbol, qty_nano, now_ns)

    def _mark(self, account: PortfolioAccount, symbol: str, qty_nano: int, now_ns: int) -> None:
        market = self._markets.get(symbol)
        if market is not None:
            account.mark(symbol, market.mark(qty_nano, now_ns, self._stale_ns))

    def _apply(self, book: BookName, steps: Iterator[Step], now_ns: int) -> list[Record]:
        """Take each step before the next is asked for: it may depend on the position."""
        records: list[Record] = []
        for step in steps:
            order = self.orders[step.client_order_id]
            if isinstance(step, Match):
                records += self._fill(book, order, step, now_ns)
            elif isinstance(step, Ended):
                records.append(self._end(book, order, step, now_ns))
            elif book is BookName.NEUTRAL:
                changes = {"triggered_ns": step.at_ns, "state": OrderState.WORKING}
                records.append(self._change(order, changes))
        return records

    def _fill(self, book: BookName, order: Order, match: Match, now_ns: int) -> list[Record]:
        fill = self._fill_of(book, order, match, now_ns)
        postings = self.accounts[book].fill(fill)
        self._count(fill)
        left_nano = self._left[book][order.number] - fill.qty_nano
        self._left[book][order.number] = left_nano
        changes: dict[str, object] = {}
        if left_nano == 0:
            changes["open_books"] = self._without(order, book)
        if book is not BookName.NEUTRAL:
            return [fill, self._change(order, changes)] if changes else [fill]
        changes["filled_nano"] = order.filled_nano + fill.qty_nano
        if left_nano == 0:
            changes |= {"state": OrderState.FILLED, "why": Why.FILLED, "closed_ns": now_ns}
        self.trips.add(fill)
        self._figures.order_to_fill.note((now_ns - order.submitted_ns) / SECOND_NS)
        self._revalue(fill.symbol, now_ns)
        order = self._change(order, changes)
        return [fill, *postings, self._position(fill.symbol), order, self._snapshots.take(now_ns)]

    def _fill_of(self, book: BookName, order: Order, match: Match, now_ns: int) -> Fill:
        asked, model = order.asked, self.portfolio.model
        rate = model.maker_fee if match.is_maker else model.taker_fee
        return Fill(
            self._numbers.next_fill() if book is BookName.NEUTRAL else 0,
            book,
            asked.portfolio,
            asked.client_order_id,
            order.number,
            match.order_fill,
            asked.symbol,
            asked.side,
            match.price_nano,
            match.qty_nano,
            fee(product(match.price_nano, match.qty_nano), rate),
            match.is_maker,
            now_ns,
            match.evidence,
        )

    def _end(self, book: BookName, order: Order, ended: Ended, now_ns: int) -> Order:
        """What is left of an order ends in one book."""
        changes: dict[str, object] = {"open_books": self._without(order, book)}
        if book is BookName.NEUTRAL:
            changes |= {"state": ended.state, "why": ended.why, "closed_ns": now_ns}
        return self._change(order, changes)

    def _without(self, order: Order, book: BookName) -> tuple[BookName, ...]:
        self._left[book].pop(order.number, None)
        return tuple(each for each in order.open_books if each is not book)

    def _change(self, order: Order, changes: dict[str, object]) -> Order:
        changed = msgspec.structs.replace(order, **changes)
        if changed.open_books:
            self.orders[changed.asked.client_order_id] = changed
        else:
            self.orders.pop(changed.asked.client_order_id, None)
        return changed

    def _position(self, symbol: str) -> PositionRow:
        position = self.account.positions[symbol]
        return PositionRow(
            self.portfolio.name, symbol, position.qty_nano, position.cost, position.realised
        )

    def _count(self, fill: Fill) -> None:
        self.fills[fill.book] += 1
        notional = product(fill.price_nano, fill.qty_nano)
        self.traded[fill.book] = add(self.traded[fill.book], notional)

    def _recall(self, fill: Fill) -> None:
        self._count(fill)
        self._matchers[fill.book].resume(fill)
