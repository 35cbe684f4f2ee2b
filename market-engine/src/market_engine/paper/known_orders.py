"""The orders that came: found in memory, among those that ended lately, or in the store.

Called under the desk's lock. Knows no market and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from market_engine.paper.errors import PaperError
from market_engine.paper.figures import DeskFigures
from market_engine.paper.log import DeskLog
from market_engine.paper.model import NewOrder, Order
from market_engine.paper.store import DeskStore
from market_engine.paper.trading import TradingPortfolio
from market_engine.paper.views import Placed


class KnownOrders:
    """By the portfolio and the id that its owner gave."""

    def __init__(
        self, portfolios: Mapping[str, TradingPortfolio], log: DeskLog, store: DeskStore
    ) -> None:
        self._portfolios = portfolios
        self._log = log
        self._store = store

    def find(self, portfolio: str, client_order_id: str) -> Order | None:
        """One that is in memory."""
        order = self._portfolios[portfolio].orders.get(client_order_id)
        return order or self._log.ended(portfolio, client_order_id)

    def get(self, portfolio: str, client_order_id: str) -> Order:
        """One wherever it is; raises PaperError where there is none."""
        order = self.find(portfolio, client_order_id)
        order = order or self._store.order(portfolio, client_order_id)
        if order is None:
            message = f"there is no order {client_order_id[:64]!r} in {portfolio}"
            raise PaperError("unknown_order", message)
        return order


def repeated(known: Order, asked: NewOrder, figures: DeskFigures) -> Placed:
    """What an id that came before is answered, counted; raises PaperError for another body.

    By which way it came is no part of the body.
    """
    if known.asked != msgspec.structs.replace(asked, source=known.asked.source):
        message = (
            f"the id {asked.client_order_id!r} is that of another order: use a new id for a "
            "new order"
        )
        raise PaperError("other_order", message)
    figures.orders[asked.portfolio, "repeated"] += 1
    return Placed(known, is_new=False)
