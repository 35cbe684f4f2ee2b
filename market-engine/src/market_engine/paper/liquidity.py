"""What may be taken: one side of a quote, or one print, less what one book took of it before.

Knows no order. Each book of each portfolio has its own: what one takes, another may take as well.
"""

from __future__ import annotations

from decimal import Decimal

from market_engine.events import Quote, Trade
from market_engine.paper.model import Evidence, EvidenceKind


class Liquidity:
    """A size at a price; ``taken_nano`` of it is gone, and stays gone while the price stands."""

    __slots__ = (
        "_id",
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
        self._id: tuple[int, int, int, int] | None = None

    @property
    def is_there(self) -> bool:
        """Whether anything is displayed at all."""
        return self.price_nano > 0 and self.size_nano > 0

    @property
    def left_nano(self) -> int:
        """What is not taken; 0 where the size shrank below what was."""
        return max(0, self.size_nano - self.taken_nano)

    def show(self, price_nano: int, size_nano: int, quote: Quote) -> None:
        """A side of the newest quote: the same price shows the same liquidity again."""
        if price_nano != self.price_nano:
            self.price_nano = price_nano
            self.taken_nano = 0
        self.size_nano = size_nano
        self.received_ns = quote.received_ns
        self.event_ns = quote.event_ns

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

    def recall(self, evidence: Evidence, qty_nano: int) -> None:
        """After a restart: what the newest fill left of it."""
        self.price_nano = evidence.price_nano
        self.taken_nano = evidence.taken_before_nano + qty_nano
        if self.kind is EvidenceKind.PRINT:
            first = evidence.trade_id or evidence.received_ns
            self._id = (first, evidence.event_ns, evidence.price_nano, evidence.size_nano)

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
