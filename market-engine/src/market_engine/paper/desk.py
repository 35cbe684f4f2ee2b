"""The paper desk: everything that a person, a program or the market asks of it, one at a time.

One lock: the feed's thread brings events, other threads bring orders. What is answered was stored
before; while nothing can be stored, no order is taken and none is filled.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from market_engine.events import SECOND_NS, Quote, Trade
from market_engine.paper import flatten
from market_engine.paper.errors import PaperError, not_kept
from market_engine.paper.figures import DeskFigures
from market_engine.paper.gate import TradingGate
from market_engine.paper.judging import Judge
from market_engine.paper.known_orders import KnownOrders, repeated
from market_engine.paper.log import DeskLog
from market_engine.paper.markets import SymbolMarket
from market_engine.paper.model import (
    FINAL,
    NewOrder,
    Order,
    OrderState,
    Portfolio,
    Record,
    StateChange,
    TradingState,
)
from market_engine.paper.reasons import Denial, Why
from market_engine.paper.resume import end_portfolios, load_portfolios, same_portfolio
from market_engine.paper.risk import Preview
from market_engine.paper.round_trips import RoundTrip
from market_engine.paper.silence import Silence
from market_engine.paper.store import DeskStore
from market_engine.paper.trading import Numbers, TradingPortfolio
from market_engine.paper.viewing import portfolio_view
from market_engine.paper.views import Placed, PortfolioView
from market_engine.pipeline import Output
from market_engine.storage.database import RowError

PORTFOLIOS_MAX: Final = 32


class PaperDesk:
    """Any thread may call. ``kinds`` says what a symbol is, such as ``crypto``.

    ``is_live``: the market's time is real time, so that prices grow old while nothing is taken.
    """

    def __init__(
        self,
        store: DeskStore,
        kinds: Mapping[str, str],
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        *,
        is_live: bool = False,
    ) -> None:
        self.store = store
        self.figures = DeskFigures()
        self.now_ns = store.newest_ns()
        """The receipt of the newest event."""
        self._kinds = kinds
        self._wall_ns = wall_ns
        self._silence = Silence(is_live=is_live, monotonic_ns=monotonic_ns)
        self._log = DeskLog(store, self.figures)
        self._lock = threading.RLock()
        self._markets: dict[str, SymbolMarket] = {}
        self._flattened_ns = 0
        self._numbers = Numbers(*store.last_numbers())
        self._state = store.state() or StateChange(0, TradingState.ACTIVE, 0, "")
        self._gate = TradingGate(self._state.state)
        self._judge = Judge(self._markets, kinds, self._gate, self._silence)
        self._portfolios = load_portfolios(
            store, self._markets, self._numbers, self.figures, self._gate
        )
        self._orders = KnownOrders(self._portfolios, self._log, store)
        store.note_start(self._wall_ns(), self.now_ns)

    @property
    def problem(self) -> str | None:
        """Why nothing can be stored now, or nothing be filled."""
        return self._log.problem or self._silence.problem

    def on_fills(self, call: Callable[[], None]) -> None:
        """Have this called after fills were stored; it must not wait."""
        self._log.on_fills = call

    def take(self, outputs: Iterable[Output], now_ns: int) -> None:
        """What the pipeline gave, in order, up to ``now_ns``; what follows is stored on return."""
        with self._lock:
            self._silence.heard(self.now_ns - now_ns if now_ns else 0)
            is_trading = self._log.write()
            for output in outputs:
                if type(output) is Trade:
                    self._take_trade(output, is_trading=is_trading)
                elif type(output) is Quote:
                    self._take_quote(output, is_trading=is_trading)
            self.now_ns = max(self.now_ns, now_ns)
            if is_trading:
                self._pass_time()
                self._log.write()

    def end(self) -> None:
        """Nothing comes any more: what a restart must know of each portfolio is stored."""
        with self._lock:
            end_portfolios(self._portfolios.values(), self._log, self.now_ns)

    def create(self, portfolio: Portfolio) -> tuple[Portfolio, bool]:
        """Make a portfolio, and say whether it is new; the same again changes nothing.

        Raises PaperError: another of that name, too many, or not stored.
        """
        with self._lock:
            known = self._portfolios.get(portfolio.name)
            if known is not None:
                return same_portfolio(known.portfolio, portfolio), False
            if len(self._portfolios) >= PORTFOLIOS_MAX:
                message = f"there are {PORTFOLIOS_MAX} portfolios, which is the limit: use one"
                raise PaperError("too_many_portfolios", message)
            trading = TradingPortfolio(
                portfolio, self._markets, self._numbers, self.figures, self._gate
            )
            self._log.write_now([portfolio, *trading.open()])
            self._portfolios[portfolio.name] = trading
            return portfolio, True

    def submit(self, asked: NewOrder) -> Placed:
        """Take an order: accepted or denied, it is stored before this returns.

        The same id and body again is the order that was taken the first time. Raises PaperError:
        no such portfolio, another body under that id, or not stored.
        """
        began_s = time.perf_counter()
        with self._lock:
            trading = self._trading(asked.portfolio)
            known = self._orders.find(asked.portfolio, asked.client_order_id)
            if known is not None:
                return repeated(known, asked, self.figures)
            number, wall_ns = self._numbers.order + 1, self._wall_ns()
            order = self._judge.order(asked, trading, number, self.now_ns, wall_ns)
            try:
                self._log.write_now([order])
            except RowError:  # it came longer ago than is remembered
                known = self._orders.get(asked.portfolio, asked.client_order_id)
                return repeated(known, asked, self.figures)
            self._numbers.order = order.number
            self._place(trading, order)
            if not self._log.is_behind:  # else what followed is not stored yet
                order = self._orders.find(asked.portfolio, asked.client_order_id) or order
            self.figures.submit.note(time.perf_counter() - began_s)
            return Placed(order, is_new=True)

    def cancel(self, portfolio: str, client_order_id: str) -> Order:
        """Take back what is not filled. Raises PaperError: unknown, closed, or not stored."""
        with self._lock:
            trading = self._trading(portfolio)
            self._log.write()  # what it was filled before
            order = self._orders.get(portfolio, client_order_id)
            if order.state in FINAL:
                message = f"the order {client_order_id} is {order.state} already"
                raise PaperError("order_closed", message)
            self._log.write_now([flatten.cancelled(order, self.now_ns)])  # or it stays as it is
            return trading.cancel(client_order_id, self.now_ns, Why.CANCELLED)

    def cancel_all(self, portfolio: str) -> int:
        """Take back all that is not filled, or nothing; how many. Raises PaperError: as above."""
        with self._lock:
            trading = self._trading(portfolio)
            self._log.write()
            found = flatten.open_orders(trading)
            if found:
                self._log.write_now([flatten.cancelled(order, self.now_ns) for order in found])
            for order in found:
                trading.cancel(order.asked.client_order_id, self.now_ns, Why.CANCELLED)
            return len(found)

    def set_state(self, state: TradingState, reason: str) -> StateChange:
        """Let orders through, or not; from the very next order on.

        ``flatten`` cancels what is open, closes every position at the market, and becomes
        ``halted`` when that is done; any other state ends that. Raises PaperError for a state that
        cannot be stored now: it is in force all the same, and stored as soon as that can be.
        """
        began_s = time.perf_counter()
        with self._lock:
            before = self._state
            self._state = StateChange(before.number + 1, state, self.now_ns, reason)
            self._gate.state = state
            self.figures.halt.note(time.perf_counter() - began_s)
            records: list[Record] = [self._state]
            if TradingState.FLATTEN in (state, before.state):
                records += flatten.cancel_all(self._portfolios.values(), self.now_ns)
            self._log.add(records)
            is_stored = self._log.write()
            self._flattened_ns = 0
            self._flatten()
            if not is_stored:
                raise not_kept(state, self.problem)
            return self._state

    def state(self) -> StateChange:
        """The trading state."""
        return self._state

    def preview(self, asked: NewOrder) -> Preview:
        """What an order would cost and whether risk would let it pass; nothing is kept."""
        with self._lock:
            return self._judge.preview(asked, self._trading(asked.portfolio), self.now_ns)

    def portfolios(self) -> list[PortfolioView]:
        """All, in the order of their making."""
        with self._lock:
            return [self.portfolio(name) for name in self._portfolios]

    def portfolio(self, name: str) -> PortfolioView:
        """One; raises PaperError where there is none of that name."""
        with self._lock:
            view = portfolio_view(self._trading(name), self._state, self._as_of_ns())
            return view.unstored() if self._log.is_behind else view

    def require(self, name: str) -> None:
        """Raises PaperError where there is no portfolio of that name."""
        self._trading(name)

    def trips(self, name: str) -> list[RoundTrip]:
        """Its round trips that ended, in order."""
        with self._lock:
            return list(self._trading(name).trips.ended)

    def current(self, order: Order) -> tuple[Order, OrderState, Why | Denial]:
        """An order as it is now, and why what is left of it is not filled."""
        with self._lock:
            asked = order.asked
            if self._log.is_behind:  # what is in memory may never be true
                stored = self.store.order(asked.portfolio, asked.client_order_id) or order
                is_final = stored.state in FINAL
                return stored, stored.state, stored.why if is_final else Why.NOT_STORED
            order = self._orders.find(asked.portfolio, asked.client_order_id) or order
            if order.state in FINAL:
                return order, order.state, order.why
            return order, *self._portfolios[asked.portfolio].why(order, self._as_of_ns())

    def _as_of_ns(self) -> int:
        """The market's time, and as much later as it has been silent."""
        return self.now_ns + self._silence.ns()

    def _take_trade(self, trade: Trade, *, is_trading: bool) -> None:
        self._market(trade.symbol).note_trade(trade)
        if trade.held_back or trade.received_ns < self.now_ns:
            return  # a price, and no evidence any more; or what is stored is ahead of the market
        self.now_ns = trade.received_ns
        if is_trading:
            for portfolio in self._portfolios.values():
                self._log.follow(portfolio, portfolio.on_trade(trade, self.now_ns))

    def _take_quote(self, quote: Quote, *, is_trading: bool) -> None:
        self._market(quote.symbol).note_quote(quote)
        if quote.received_ns < self.now_ns:
            return  # what is stored is ahead of the market
        self.now_ns = quote.received_ns
        if is_trading:
            for portfolio in self._portfolios.values():
                self._log.follow(portfolio, portfolio.on_quote(quote, self.now_ns))

    def _pass_time(self) -> None:
        for portfolio in self._portfolios.values():
            self._log.follow(portfolio, portfolio.on_time(self.now_ns))
        self._flatten()

    def _flatten(self) -> None:
        """Send what closes the positions that nothing closes yet; at most once a second.

        Not in a silence: what closes them would take what was displayed before it.
        """
        if self._state.state is not TradingState.FLATTEN:
            return
        held, number = self._portfolios.values(), self._state.number
        if reason := flatten.flattened(held, self._kinds):
            self._state = StateChange(number + 1, TradingState.HALTED, self.now_ns, reason)
            self._gate.state = self._state.state
            self._log.add([self._state])
        elif self.now_ns >= self._flattened_ns + SECOND_NS and not self._silence.ns():
            self._flattened_ns = self.now_ns
            for asked in flatten.closing_orders(held, self._kinds, f"{number}-{self.now_ns}"):
                with contextlib.suppress(PaperError):  # tried again in a second
                    self.submit(asked)

    def _place(self, trading: TradingPortfolio, order: Order) -> None:
        """After it was stored."""
        name = order.asked.portfolio
        if order.state is OrderState.DENIED:
            self.figures.orders[name, "denied"] += 1
            self.figures.denials[name, str(order.why)] += 1
            return
        self.figures.orders[name, "accepted"] += 1
        since_s = self._judge.since_tick_s(order.asked.symbol, self._wall_ns())
        if since_s is not None:
            self.figures.tick_to_order.note(since_s)
        self._log.follow(trading, trading.place(order))
        self._log.write()

    def _trading(self, name: str) -> TradingPortfolio:
        trading = self._portfolios.get(name)
        if trading is None:
            message = f"there is no portfolio {name[:40]!r}: make one with POST /portfolio/init"
            raise PaperError("unknown_portfolio", message)
        return trading

    def _market(self, symbol: str) -> SymbolMarket:
        market = self._markets.get(symbol)
        if market is None:
            market = self._markets[symbol] = SymbolMarket(symbol)
        return market
