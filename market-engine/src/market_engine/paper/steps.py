"""What matching says, step by step: an order filled in part, ended by a rule, or was triggered."""

from __future__ import annotations

from typing import Final

import msgspec

from market_engine.paper.model import Evidence, EvidenceKind, OrderState
from market_engine.paper.reasons import Why


class Match(msgspec.Struct, frozen=True, gc=False):
    """Part of an order filled."""

    client_order_id: str
    order_fill: int
    """1, 2, 3, … of this order in this book."""
    price_nano: int
    qty_nano: int
    is_maker: bool
    evidence: Evidence


class Ended(msgspec.Struct, frozen=True, gc=False):
    """What is left of an order was cancelled, or expired, by a rule."""

    client_order_id: str
    state: OrderState
    why: Why


class Triggered(msgspec.Struct, frozen=True, gc=False):
    """A stop met its price."""

    client_order_id: str
    at_ns: int


Step = Match | Ended | Triggered

RULES: Final = {
    (EvidenceKind.QUOTE, False): "displayed on the other side",
    (EvidenceKind.QUOTE, True): "the other side came to the limit",
    (EvidenceKind.PRINT, False): "printed, and there are no quotes",
    (EvidenceKind.PRINT, True): "printed at the limit or beyond it",
}
"""What an evidence says, by its kind and whether the order rested."""
