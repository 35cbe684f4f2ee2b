"""The account of a portfolio in one book: its balances, its positions, and what it is worth.

Owns the identity, the peak and the drawdown. It knows no orders and no market: fills and marks
are handed to it, and a mark is worked in without a look at the other positions.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from itertools import chain

from market_engine.paper.comparing import balance_gaps, equity_gaps, position_gaps
from market_engine.paper.errors import LedgerError
from market_engine.paper.model import (
    Account,
    Fill,
    Mark,
    Portfolio,
    PositionRow,
    Posting,
    Snapshot,
)
from market_engine.paper.money import ZERO, add, product, subtract
from market_engine.paper.positions import Position
from market_engine.paper.postings import Posted, check_owner, of_fill, opening
from market_engine.paper.valuation import Valuation


class PortfolioAccount:
    """One thread at a time."""

    def __init__(self, portfolio: Portfolio) -> None:
        self.portfolio = portfolio
        self.positions: dict[str, Position] = {}
        """Flat ones too, for what they realised."""
        self.cash = ZERO
        self.realised = ZERO
        """Before fees; profit is positive."""
        self.fees = ZERO
        """What was paid is positive."""
        self.transaction = 0
        """The newest."""
        self.peak = portfolio.balance
        """The highest equity so far."""
        self.max_drawdown = 0.0
        """0 or less; below −1 only where more was lost than there was."""
        self.day_equity = portfolio.balance
        """The equity at the last 00:00 UTC."""
        self.is_day_due = False
        """Whether the day's equity is still to come: it began unpriced."""
        self._held = Valuation()
        self._trough = portfolio.balance
        """The lowest equity since the peak."""
        self._is_noted = True
        """Whether the peak and the drawdown have seen the newest fill."""
        self._carried = ZERO
        """What was stored disagreed in when it was loaded."""

    def open(self) -> list[Posting]:
        """The opening transaction; raises LedgerError unless the account is new."""
        self._check_new()
        postings = opening(self.portfolio)
        self.transaction = 1
        self.cash = self.portfolio.balance
        return postings

    def fill(self, fill: Fill) -> list[Posting]:
        """Take a fill. Raises LedgerError, and then nothing changed.

        A fill that leaves a position is seen by the peak and the drawdown with the next mark: the
        mark from before it belongs to another moment. One that opens a position or turns it
        around leaves it unpriced until then.
        """
        check_owner(self.portfolio.name, fill.portfolio)
        if not self.transaction:
            message = f"the account of {self.portfolio.name} is not open: open or load it first"
            raise LedgerError(message)
        position = self.positions.get(fill.symbol) or Position(fill.symbol)
        change = position.change(fill.side, fill.price_nano, fill.qty_nano)
        postings = of_fill(fill, change, self.transaction + 1)
        before_nano = position.qty_nano
        position.take(change)
        self.positions[fill.symbol] = position
        self.transaction += 1
        self.cash = add(self.cash, subtract(change.cash_change, fill.fee))
        self.realised = add(self.realised, change.realised_change)
        self.fees = add(self.fees, fill.fee)
        self._held.moved(position, before_nano)
        self._is_noted = False
        if not position.qty_nano:
            self._note()
        return postings

    def load(self, postings: Iterable[Posting], fills: Iterable[Fill]) -> None:
        """Make a new account what was stored: balances from the postings, positions from fills.

        Both in the order of their numbers. Where they do not agree, the residue is not 0. All is
        unpriced then; peak, drawdown and day follow by ``restore``. Raises LedgerError for a
        record of another portfolio, and unless the account is new.
        """
        self._check_new()
        posted = Posted(self.portfolio.name, postings)
        fees = ZERO
        for fill in fills:
            check_owner(self.portfolio.name, fill.portfolio)
            fees = add(fees, fill.fee)
            position = self.positions.get(fill.symbol)
            if position is None:
                position = self.positions[fill.symbol] = Position(fill.symbol)
            position.apply(fill.side, fill.price_nano, fill.qty_nano)
        for position in self.positions.values():
            self._held.moved(position, 0)
        self.transaction = posted.transaction
        self.cash = posted.balance(Account.CASH)
        self.realised = subtract(ZERO, posted.balance(Account.REALISED))
        self.fees = posted.balance(Account.FEES)
        gaps = posted.gaps(self.portfolio.balance, self.positions, fees)
        self._carried = next((gap for gap in gaps if gap), ZERO)

    def compare(self, rows: Iterable[PositionRow], newest: Snapshot | None) -> None:
        """After ``load``: what was stored beside the ledger, which the residue shows if it differs.

        ``newest`` is the newest snapshot; without one, it is as when the account was opened.
        """
        as_opened = Snapshot(
            self.portfolio.name,
            0,
            0,
            0,
            self.portfolio.balance,
            ZERO,
            ZERO,
            None,
            None,
            None,
            0,
            {},
        )
        balances = self.cash, self.realised, self.fees
        found = [
            position_gaps(self.positions, rows),
            balance_gaps(newest or as_opened, balances),
        ]
        if newest is not None:
            found.append(equity_gaps(newest, self.cash, self.positions.values()))
        gaps = chain([self._carried], *found)
        self._carried = next((gap for gap in gaps if gap), ZERO)

    def mark(self, symbol: str, mark: Mark) -> None:
        """Value a position; the peak and the drawdown follow. Nothing for what is not held."""
        position = self.positions.get(symbol)
        if position is None or not position.qty_nano:
            return
        if self._held.mark(position, mark) or not self._is_noted:
            self._note()

    def marks(self) -> dict[str, Mark]:
        """Of what is held and was marked; yours to keep."""
        return dict(self._held.marks)

    def position_nano(self, symbol: str) -> int:
        """Signed; 0 for a symbol that never was held."""
        position = self.positions.get(symbol)
        return 0 if position is None else position.qty_nano

    def unrealised(self) -> Decimal | None:
        """None while a position is unpriced."""
        if not self._held.is_complete():
            return None
        found = self._held.total
        for position in self.positions.values():
            found = subtract(found, position.cost)
        return found

    def equity(self) -> Decimal | None:
        """Cash and what is held; None while a position is unpriced."""
        return add(self.cash, self._held.total) if self._held.is_complete() else None

    def gross(self) -> Decimal:
        """The sum of the absolute values of what is held, at cost where unpriced."""
        return self._held.gross()

    def residue(self) -> Decimal:
        """Equity − balance − (realised + unrealised − fees), unpriced positions at cost.

        Exactly 0. What is held is valued anew, and realised is that of the positions; where that
        leaves 0, it is that of the ledger, and last what a load found. So an amount changed in
        one posting or fill that was loaded shows as just that amount.
        """
        unrealised = realised = ZERO
        for symbol, position in self.positions.items():
            mark = self._held.marks.get(symbol)
            if mark is not None and mark.price_nano is not None:
                value = product(mark.price_nano, position.qty_nano)
                unrealised = add(unrealised, subtract(value, position.cost))
            realised = add(realised, position.realised)
        profit = subtract(add(self.cash, self._held.total), self.portfolio.balance)
        rest = add(subtract(profit, unrealised), self.fees)
        return subtract(rest, realised) or subtract(rest, self.realised) or self._carried

    def begin_day(self, at_ns: int) -> None:
        """A day of UTC began: its equity is that of now; while unpriced, the next that is known.

        ``at_ns`` is the first moment of which it is known.
        """
        del at_ns  # the equity of now is all that is kept of the moment
        self.is_day_due = True
        self._note()

    def snapshot(self, at_ns: int, number: int) -> Snapshot:
        """As it is now. The peak is given while unpriced too: it must outlive a restart."""
        return Snapshot(
            self.portfolio.name,
            number,
            at_ns,
            self.transaction,
            self.cash,
            self.realised,
            self.fees,
            self.unrealised(),
            self.equity(),
            self.peak,
            self.max_drawdown,
            self.marks(),
        )

    def restore(self, snapshot: Snapshot, day_equity: Decimal | None = None) -> None:
        """After ``load``: take from the newest snapshot what the ledger cannot tell.

        No snapshot has ``day_equity``. Where it is not given, the day begins anew with the
        snapshot's equity, or where that was unpriced, with the next that is known; until then
        it is what is held at cost.
        """
        if snapshot.peak is not None:
            self.peak = self._trough = snapshot.peak
        self.max_drawdown = snapshot.max_drawdown
        if day_equity is None:
            day_equity = snapshot.equity
        if day_equity is None:
            day_equity = add(self.cash, self._held.total)
            self.is_day_due = True
        self.day_equity = day_equity

    def _note(self) -> None:
        """Let the day, the peak and the drawdown see the equity, unless it is unknown."""
        equity = self.equity()
        if equity is None:
            return
        self._is_noted = True
        if self.is_day_due:
            self.is_day_due = False
            self.day_equity = equity
        if equity > self.peak:
            self.peak = self._trough = equity
        elif equity < self._trough:
            self._trough = equity
            if self.peak > 0:
                drawdown = float(subtract(equity, self.peak)) / float(self.peak)
                self.max_drawdown = min(self.max_drawdown, drawdown)

    def _check_new(self) -> None:
        if self.transaction or self.positions:
            message = f"the account of {self.portfolio.name} is open already: take a new one"
            raise LedgerError(message)
