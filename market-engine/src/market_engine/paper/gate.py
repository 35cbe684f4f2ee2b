"""What the trading state lets orders that were accepted before do: one gate for the whole desk.

The desk sets it under its lock, matching asks it before each fill. It knows no order.
"""

from __future__ import annotations

from market_engine.paper.model import TradingState


class TradingGate:
    """The state that is in force now. ``flatten`` is open: only the desk's own orders exist."""

    __slots__ = ("state",)

    def __init__(self, state: TradingState = TradingState.ACTIVE) -> None:
        self.state = state

    @property
    def is_halted(self) -> bool:
        """Nothing is filled, and no stop triggers."""
        return self.state is TradingState.HALTED

    @property
    def is_reducing(self) -> bool:
        """A fill may only make the position of its book smaller."""
        return self.state is TradingState.REDUCING
