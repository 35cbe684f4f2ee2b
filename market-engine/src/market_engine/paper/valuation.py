"""What is held, at its marks: each value, and their sum, exactly and without a look at the others.

Owns which position is unpriced. It knows no cash and no peak: those are the account's.
"""

from __future__ import annotations

from decimal import Decimal

from market_engine.paper.model import Mark
from market_engine.paper.money import ZERO, add, product, subtract
from market_engine.paper.positions import Position


class Valuation:
    """One thread at a time. Limited by the symbols that are held."""

    def __init__(self) -> None:
        self.marks: dict[str, Mark] = {}
        """Of what is held and was marked."""
        self.total = ZERO
        """The sum of all values, unpriced positions at cost."""
        self._values: dict[str, Decimal] = {}
        self._unpriced: set[str] = set()
        """Never iterated over."""

    def is_complete(self) -> bool:
        """Whether no position is unpriced."""
        return not self._unpriced

    def mark(self, position: Position, mark: Mark) -> bool:
        """Value what is held; whether that may have changed the total."""
        known = self.marks.get(position.symbol)
        self.marks[position.symbol] = mark
        if known is not None and known.price_nano == mark.price_nano:
            return False
        self._value(position, mark.price_nano)
        return True

    def moved(self, position: Position, before_nano: int) -> None:
        """A position changed: it keeps its mark only on the side of the market it was on."""
        symbol, now_nano = position.symbol, position.qty_nano
        if before_nano == 0 or now_nano == 0 or (before_nano > 0) is not (now_nano > 0):
            self.marks.pop(symbol, None)
        if now_nano:
            mark = self.marks.get(symbol)
            self._value(position, None if mark is None else mark.price_nano)
        else:
            self.total = subtract(self.total, self._values.pop(symbol, ZERO))
            self._unpriced.discard(symbol)

    def gross(self) -> Decimal:
        """The sum of the absolute values, at cost where unpriced."""
        found = ZERO
        for value in self._values.values():
            found = add(found, value.copy_abs())
        return found

    def _value(self, position: Position, price_nano: int | None) -> None:
        symbol = position.symbol
        if price_nano is None:
            value = position.cost
            self._unpriced.add(symbol)
        else:
            value = product(price_nano, position.qty_nano)
            self._unpriced.discard(symbol)
        self.total = add(self.total, subtract(value, self._values.get(symbol, ZERO)))
        self._values[symbol] = value
