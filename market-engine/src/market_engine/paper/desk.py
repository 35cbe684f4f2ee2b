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
from market_engine.paper.errors import PaperError
from market_engine.paper.figures import DeskFigures
from market_engine.paper.flatten import cancel_all, cancelled, closing_orders, is_flat
from market_engine.paper.log import DeskLog
from market_engine.paper.markets import SymbolMarket
from market_engine.paper.model import (
    FINAL,
    BookName,
    NewOrder,
    Order,
    OrderState,
    Portfolio,
    Record,
    StateChange,
    TradingState,
)
from market_engine.paper.reasons import Denial, Why
from market_engine.paper.resume import load_portfolios, same_portfolio
from market_engine.paper.risk import Preview, RiskView, check, currency_of, preview
from market_engine.paper.round_trips import RoundTrip
from market_engine.paper.store import DeskStore
from market_engine.paper.trading import Numbers, TradingPortfolio
from market_engine.paper.viewing import portfolio_view
from market_engine.paper.views import Placed, PortfolioView
from market_engine.pipeline import Output
from market_engine.storage.database import RowError

PORTFOLIOS_MAX: Final = 32


class PaperDesk:
    """Any thread may call. ``kinds`` says what a symbol is, such as ``crypto``."""

    def __init__(
        self,
        store: DeskStore,
        kinds: Mapping[str, str],
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.store = store
        self.figures = DeskFigures()
        self.now_ns = store.newest_ns()
        """The receipt of the newest event."""
        self._kinds = kinds
        self._wall_ns = wall_ns
        self._log = DeskLog(store, self.figures)
        self._lock = threading.RLock()
        self._markets: dict[str, SymbolMarket] = {}
        self._flattened_ns = 0
        self._numbers = Numbers(*store.last_numbers())
        self._state = store.state() or StateChange(0, TradingState.ACTIVE, 0, "")
        self._portfolios = load_portfolios(store, self._markets, self._numbers, self.figures)

    @property
    def problem(self) -> str | None:
        """Why nothing can be stored now."""
        return self._log.problem

    def on_fills(self, call: Callable[[], None]) -> None:
        """Have this called after fills were stored; it must not wait."""
        self._log.on_fills = call

    def take(self, outputs: Iterable[Output], now_ns: int) -> None:
        """What the pipeline gave, in order, up to ``now_ns``; what follows is stored on return."""
        with self._lock:
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
            trading = TradingPortfolio(portfolio, self._markets, self._numbers, self.figures)
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
            known = self._find(asked.portfolio, asked.client_order_id)
            if known is not None:
                return self._repeated(known, asked)
            order = self._judge(asked, trading)
            try:
                self._log.write_now([order])
            except RowError:  # it came longer ago than is remembered
                return self._repeated(self._known(asked.portfolio, asked.client_order_id), asked)
            self._numbers.order = order.number
            self._place(trading, order)
            if not self._log.is_behind:  # else what followed is not stored yet
                order = self._find(asked.portfolio, asked.client_order_id) or order
            self.figures.submit.note(time.perf_counter() - began_s)
            return Placed(order, is_new=True)

    def cancel(self, portfolio: str, client_order_id: str) -> Order:
        """Take back what is not filled. Raises PaperError: unknown, closed, or not stored."""
        with self._lock:
            trading = self._trading(portfolio)
            self._log.write()  # what it was filled before
            order = self._known(portfolio, client_order_id)
            if order.state in FINAL:
                message = f"the order {client_order_id} is {order.state} already"
                raise PaperError("order_closed", message)
            self._log.write_now([cancelled(order, self.now_ns)])  # or it stays as it is
            return trading.cancel(client_order_id, self.now_ns, Why.CANCELLED)

    def set_state(self, state: TradingState, reason: str) -> StateChange:
        """Let orders through, or not; from the very next order on. Raises PaperError.

        ``flatten`` cancels what is open, closes every position at the market, and becomes
        ``halted`` when that is done. A state that cannot be stored now is in force all the same.
        """
        began_s = time.perf_counter()
        with self._lock:
            self._state = StateChange(self._state.number + 1, state, self.now_ns, reason)
            self.figures.halt.note(time.perf_counter() - began_s)
            records: list[Record] = [self._state]
            if state is TradingState.FLATTEN:
                records += cancel_all(self._portfolios.values(), self.now_ns)
            self._log.add(records)
            self._log.write()
            self._flattened_ns = 0
            self._flatten()
            return self._state

    def state(self) -> StateChange:
        """The trading state."""
        return self._state

    def preview(self, asked: NewOrder) -> Preview:
        """What an order would cost and whether risk would let it pass; nothing is kept."""
        with self._lock:
            trading = self._trading(asked.portfolio)
            return preview(asked, self._risk_view(asked, trading))

    def portfolios(self) -> list[PortfolioView]:
        """All, in the order of their making."""
        with self._lock:
            return [self._view(each) for each in self._portfolios.values()]

    def portfolio(self, name: str) -> PortfolioView:
        """One; raises PaperError where there is none of that name."""
        with self._lock:
            return self._view(self._trading(name))

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
            order = self._find(asked.portfolio, asked.client_order_id) or order
            if order.state in FINAL:
                return order, order.state, order.why
            return order, *self._portfolios[asked.portfolio].why(order, self.now_ns)

    def _take_trade(self, trade: Trade, *, is_trading: bool) -> None:
        market = self._market(trade.symbol)
        market.note_trade(trade)
        self.now_ns = max(self.now_ns, trade.received_ns)
        if is_trading:
            for portfolio in self._portfolios.values():
                self._log.add(portfolio.on_trade(trade, self.now_ns))

    def _take_quote(self, quote: Quote, *, is_trading: bool) -> None:
        market = self._market(quote.symbol)
        market.note_quote(quote)
        self.now_ns = max(self.now_ns, quote.received_ns)
        if is_trading:
            for portfolio in self._portfolios.values():
                self._log.add(portfolio.on_quote(quote, self.now_ns))

    def _pass_time(self) -> None:
        for portfolio in self._portfolios.values():
            self._log.add(portfolio.on_time(self.now_ns))
        self._flatten()

    def _flatten(self) -> None:
        """Send what closes the positions that nothing closes yet; at most once a second."""
        if self._state.state is not TradingState.FLATTEN:
            return
        held, number = self._portfolios.values(), self._state.number
        if is_flat(held, self._kinds):
            self._state = StateChange(number + 1, TradingState.HALTED, self.now_ns, "flattened")
            self._log.add([self._state])
        elif self.now_ns >= self._flattened_ns + SECOND_NS:
            self._flattened_ns = self.now_ns
            for asked in closing_orders(held, self._kinds, f"{number}-{self.now_ns}"):
                with contextlib.suppress(PaperError):  # tried again in a second
                    self.submit(asked)

    def _judge(self, asked: NewOrder, trading: TradingPortfolio) -> Order:
        """The order as risk lets it be; not stored yet."""
        verdict = check(asked, self._risk_view(asked, trading))
        trading.submitted_ns.append(self.now_ns)
        is_denied = verdict.denial is not None
        return Order(
            asked,
            self._numbers.order + 1,
            OrderState.DENIED if is_denied else OrderState.PENDING,
            verdict.denial or Why.LATENCY,
            self.now_ns,
            self._wall_ns(),
            verdict.collar_nano,
            detail=verdict.detail if is_denied else "",
            closed_ns=self.now_ns if is_denied else None,
            open_books=() if is_denied else tuple(BookName),
        )

    def _risk_view(self, asked: NewOrder, trading: TradingPortfolio) -> RiskView:
        kind = self._kinds.get(asked.symbol)
        return RiskView(
            trading.portfolio,
            trading.account,
            self._markets.get(asked.symbol),
            None if kind is None else currency_of(asked.symbol, kind),
            self._state.state,
            self.now_ns,
            [order for order in trading.orders.values() if order.state not in FINAL],
            trading.submitted_ns,
        )

    def _place(self, trading: TradingPortfolio, order: Order) -> None:
        """After it was stored."""
        name = order.asked.portfolio
        if order.state is OrderState.DENIED:
            self.figures.orders[name, "denied"] += 1
            self.figures.denials[name, str(order.why)] += 1
            return
        self.figures.orders[name, "accepted"] += 1
        self.figures.tick_to_order.note((order.accepted_wall_ns - self.now_ns) / SECOND_NS)
        self._log.add(trading.place(order))
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

    def _find(self, portfolio: str, client_order_id: str) -> Order | None:
        """An order that is in memory."""
        order = self._portfolios[portfolio].orders.get(client_order_id)
        return order or self._log.ended(portfolio, client_order_id)

    def _known(self, portfolio: str, client_order_id: str) -> Order:
        order = self._find(portfolio, client_order_id)
        order = order or self.store.order(portfolio, client_order_id)
        if order is None:
            message = f"there is no order {client_order_id[:64]!r} in {portfolio}"
            raise PaperError("unknown_order", message)
        return order

    def _repeated(self, known: Order, asked: NewOrder) -> Placed:
        if known.asked != asked:
            message = (
                f"the id {asked.client_order_id!r} is that of another order: use a new id for a "
                "new order"
            )
            raise PaperError("other_order", message)
        self.figures.orders[asked.portfolio, "repeated"] += 1
        return Placed(known, is_new=False)

    def _view(self, trading: TradingPortfolio) -> PortfolioView:
        return portfolio_view(trading, self._state, self.now_ns)
