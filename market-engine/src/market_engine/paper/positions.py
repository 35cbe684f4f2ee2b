"""A position: how much is held, what it cost, and what closing parts of it brought.

Owns the cost basis. It knows no fees, no cash and no market: those are the account's.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from market_engine.events import Side
from market_engine.paper.errors import LedgerError
from market_engine.paper.money import ZERO, add, product, share, subtract


class Change(msgspec.Struct, frozen=True, gc=False):
    """What a fill does; ``cash_change`` + ``cost_change`` − ``realised_change`` is exactly 0."""

    cost_change: Decimal
    realised_change: Decimal
    """Before fees; profit is positive."""
    cash_change: Decimal
    """Before fees."""
    qty_change_nano: int
    """Signed."""


class Position:
    """One symbol of one account. Short is negative, in quantity and in cost."""

    __slots__ = ("cost", "qty_nano", "realised", "symbol")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.qty_nano = 0
        self.cost = ZERO
        self.realised = ZERO

    def change(self, side: Side, price_nano: int, qty_nano: int) -> Change:
        """What a fill would do; nothing is changed yet.

        A fill against the position first closes what there is: its share of the cost, rounded
        once, leaves it. The rest opens a position at the fill's price. Raises LedgerError for a
        quantity or price that is not above 0.
        """
        if qty_nano <= 0 or price_nano <= 0:
            message = f"{self.symbol}: quantity {qty_nano} and price {price_nano} must be above 0"
            raise LedgerError(message)
        signed_nano = qty_nano if side == "buy" else -qty_nano
        spent = product(price_nano, signed_nano)
        received = subtract(ZERO, spent)
        held_nano = self.qty_nano
        if held_nano == 0 or (held_nano > 0) is (signed_nano > 0):
            return Change(spent, ZERO, received, signed_nano)
        closed_nano = min(qty_nano, abs(held_nano))
        closed_cost = share(self.cost, closed_nano, abs(held_nano))
        rest_nano = qty_nano - closed_nano
        if rest_nano == 0:
            realised = subtract(received, closed_cost)
            return Change(subtract(ZERO, closed_cost), realised, received, signed_nano)
        opened = product(price_nano, rest_nano if side == "buy" else -rest_nano)
        realised = subtract(add(received, opened), closed_cost)
        return Change(subtract(opened, closed_cost), realised, received, signed_nano)

    def take(self, change: Change) -> None:
        """Let a change that ``change`` gave happen."""
        self.qty_nano += change.qty_change_nano
        self.cost = add(self.cost, change.cost_change)
        self.realised = add(self.realised, change.realised_change)

    def apply(self, side: Side, price_nano: int, qty_nano: int) -> Change:
        """A fill. Raises LedgerError, and then nothing changed."""
        change = self.change(side, price_nano, qty_nano)
        self.take(change)
        return change
