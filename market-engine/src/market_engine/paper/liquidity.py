"""What may be taken: one side of a quote, or one print, less what one book took of it before.

Knows no order. Each book of each portfolio has its own: what one takes, another may take as well.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from market_engine.events import Quote, Trade
from market_engine.paper.model import Evidence, EvidenceKind

LEVELS_MAX: Final = 64
"""So many prices behind the touch are remembered one by one."""
FAR_NANO: Final = 1 << 100
"""Dearer than anything."""


class Liquidity:
    """A size at a price; ``taken_nano`` of it is gone."""

    __slots__ = (
        "event_ns",
        "kind",
        "price_nano",
        "received_ns",
        "size_nano",
        "taken_nano",
        "trade_id",
    )

    def __init__(self, kind: EvidenceKind) -> None:
        self.kind = kind
        self.price_nano = 0
        """0 where nothing is there."""
        self.size_nano = 0
        self.taken_nano = 0
        self.received_ns = 0
        self.event_ns = 0
        self.trade_id: int | None = None

    @property
    def is_there(self) -> bool:
        """Whether anything is displayed at all."""
        return self.price_nano > 0 and self.size_nano > 0

    @property
    def left_nano(self) -> int:
        """What is not taken; 0 where the size shrank below what was."""
        return max(0, self.size_nano - self.taken_nano)

    def take(self, qty_nano: int, rule: str) -> Evidence:
        """Take some, and say of what."""
        before_nano = self.taken_nano
        self.taken_nano = before_nano + qty_nano
        return Evidence(
            self.kind,
            self.received_ns,
            self.event_ns,
            self.price_nano,
            self.size_nano,
            before_nano,
            self.trade_id,
            rule,
        )

    def _recall_taken(self, evidence: Evidence, qty_nano: int) -> None:
        """What a fill left; those of one event may be told in another order than they were made."""
        after_nano = evidence.taken_before_nano + qty_nano
        is_same = evidence.received_ns == self.received_ns
        self.taken_nano = max(self.taken_nano, after_nano) if is_same else after_nano
        self.received_ns = evidence.received_ns


class Displayed(Liquidity):
    """One side of the newest quote. What was taken stays taken until the touch moves past it.

    A better touch leaves the prices behind it as they were; a worse one shows that those which it
    moved past are gone. A side without a price shows nothing of either.
    """

    __slots__ = ("_behind", "_far", "_is_ask", "_touch", "past_nano")

    def __init__(self, *, is_ask: bool) -> None:
        super().__init__(EvidenceKind.QUOTE)
        self._is_ask = is_ask
        self._touch = FAR_NANO
        """The newest price; of a bid its negative, so that the worse is always the larger."""
        self._behind: list[tuple[int, int]] = []
        """Worse prices of which something is taken, and how much; the nearest last."""
        self._far: tuple[int, int, int] | None = None
        """Beyond those: of each price from the first to the second, so much counts as taken."""
        self.past_nano = 0
        """A quote beyond this price makes something forgotten: until then, none needs be shown."""
        self._watch()

    def show(self, price_nano: int, size_nano: int, quote: Quote) -> None:
        """A side of the newest quote: the same price shows the same liquidity again."""
        self.price_nano = price_nano
        self.size_nano = size_nano
        self.received_ns = quote.received_ns
        self.event_ns = quote.event_ns
        if price_nano > 0:
            self._move(price_nano)

    def take(self, qty_nano: int, rule: str) -> Evidence:
        """Take some, and say of what."""
        evidence = super().take(qty_nano, rule)
        self._watch()
        return evidence

    def recall(self, evidence: Evidence, qty_nano: int) -> None:
        """After a restart, in the order of the fills: what was taken, and may still be there."""
        self.price_nano = evidence.price_nano
        self._move(evidence.price_nano)
        self._recall_taken(evidence, qty_nano)
        self._watch()

    def _move(self, price_nano: int) -> None:
        touch = price_nano if self._is_ask else -price_nano
        if touch == self._touch:
            return
        if touch < self._touch:
            self._keep()
            self.taken_nano = 0
        else:
            self.taken_nano = self._come_to(touch)
        self._touch = touch
        self._watch()

    def _keep(self) -> None:
        """The touch gets better: what is taken of the old one is remembered."""
        if not self.taken_nano:
            return
        self._behind.append((self._touch, self.taken_nano))
        if len(self._behind) > LEVELS_MAX:
            price, taken_nano = self._behind.pop(0)
            last, most_nano = (price, 0) if self._far is None else self._far[1:]
            self._far = price, last, max(taken_nano, most_nano)

    def _come_to(self, touch: int) -> int:
        """The touch gets worse: what is taken of the new one; what it moved past is forgotten."""
        behind, far = self._behind, self._far
        while behind and behind[-1][0] < touch:
            behind.pop()
        if behind and behind[-1][0] == touch:
            return behind.pop()[1]
        if far is None or touch < far[0]:
            return 0
        self._far = (touch + 1, *far[1:]) if touch < far[1] else None
        return far[2] if touch <= far[1] else 0

    @property
    def has_taken(self) -> bool:
        """Whether anything is remembered."""
        return bool(self.taken_nano or self._behind or self._far)

    def _watch(self) -> None:
        """The nearest price of which something is taken."""
        if self.taken_nano:
            nearest = self._touch
        elif self._behind:
            nearest = self._behind[-1][0]
        else:
            nearest = FAR_NANO if self._far is None else self._far[0]
        self.past_nano = nearest if self._is_ask else -nearest


class Printed(Liquidity):
    """The newest print."""

    __slots__ = ("_id", "side")

    def __init__(self) -> None:
        super().__init__(EvidenceKind.PRINT)
        self._id: tuple[int, int, int, int] | None = None
        self.side = ""
        """Of the aggressor."""

    def print(self, trade: Trade) -> None:
        """The newest print; the same one again has lost what was taken of it."""
        known_by = (trade.trade_id or trade.received_ns, trade.event_ns, trade.price_nano)
        found = (*known_by, trade.qty_nano)
        if found != self._id:
            self._id = found
            self.taken_nano = 0
        self.price_nano = trade.price_nano
        self.size_nano = trade.qty_nano
        self.received_ns = trade.received_ns
        self.event_ns = trade.event_ns
        self.trade_id = trade.trade_id
        self.side = trade.side

    def recall(self, evidence: Evidence, qty_nano: int) -> None:
        """After a restart: what the newest fill left of it."""
        first = evidence.trade_id or evidence.received_ns
        found = (first, evidence.event_ns, evidence.price_nano, evidence.size_nano)
        if found != self._id:
            self._id = found
            self.taken_nano = 0
        self._recall_taken(evidence, qty_nano)


class Slippage:
    """A taker's price: the touch, worse by a fraction of it."""

    def __init__(self, fraction: Decimal) -> None:
        self._over, self._under = fraction.as_integer_ratio()

    def price_nano(self, touch_nano: int, worst_nano: int | None, *, is_buy: bool) -> int:
        """Rounded to a nano against the taker; never beyond ``worst_nano``, never below 1."""
        worse_nano = -(-touch_nano * self._over // self._under)
        if is_buy:
            price_nano = touch_nano + worse_nano
            return price_nano if worst_nano is None else min(price_nano, worst_nano)
        price_nano = max(1, touch_nano - worse_nano)
        return price_nano if worst_nano is None else max(price_nano, worst_nano)
