"""What the desk has said: stored, or waiting to be; and the orders that ended lately.

While something waits, nothing new is accepted, so that what is answered was always stored. Called
under the desk's lock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from market_engine.errors import StorageError
from market_engine.paper.errors import PaperError
from market_engine.paper.figures import DeskFigures
from market_engine.paper.model import Fill, Order, Record, StateChange
from market_engine.paper.store import DeskStore
from market_engine.paper.trading import TradingPortfolio
from market_engine.storage.database import RowError

RECENT_MAX: Final = 10_000
"""So many orders that ended are remembered; older ones are looked up in the store."""


class DeskLog:
    """In front of the store; ``problem`` says why nothing can be stored now."""

    def __init__(self, store: DeskStore, figures: DeskFigures) -> None:
        self.problem: str | None = None
        self.on_fills: Callable[[], None] = lambda: None
        """Called after fills were stored; it must not wait."""
        self._store = store
        self._figures = figures
        self._log = structlog.get_logger("paper-desk")
        self._waiting: list[Record] = []
        self._recent: OrderedDict[tuple[str, str], Order] = OrderedDict()

    @property
    def is_behind(self) -> bool:
        """Whether something waits to be stored."""
        return bool(self._waiting)

    def add(self, records: Iterable[Record]) -> None:
        """Have these stored by the next ``write``; of trading states that wait, the newest."""
        for record in records:
            if type(record) is StateChange:
                self._waiting = [each for each in self._waiting if type(each) is not StateChange]
            self._waiting.append(record)

    def follow(self, trading: TradingPortfolio, records: list[Record]) -> None:
        """The same of what follows from an event; a residue can come only with a fill."""
        self._waiting += records
        if any(type(record) is Fill for record in records):
            self._figures.note_residue(trading.portfolio.name, trading.account.residue())

    def write(self) -> bool:
        """Store what waits, in one transaction; False where it has to go on waiting."""
        if not self._waiting:
            return True
        try:
            self._store.write(self._waiting)
        except StorageError as error:
            self._fail(error)
            return False
        written, self._waiting, self.problem = self._waiting, [], None
        self._note(written)
        return True

    def write_now(self, records: list[Record]) -> None:
        """Store what somebody waits for, or nothing at all.

        Raises RowError where it contradicts what is stored, and PaperError where nothing can be
        stored now.
        """
        if not self.write():
            raise PaperError("not_stored", f"nothing can be stored now: {self.problem}")
        try:
            self._store.write(records)
        except RowError:
            raise
        except StorageError as error:
            self._fail(error)
            raise PaperError("not_stored", f"nothing can be stored now: {error}") from error
        self.problem = None
        self._note(records)

    def ended(self, portfolio: str, client_order_id: str) -> Order | None:
        """An order that is done in every book, if it is one of the latest."""
        return self._recent.get((portfolio, client_order_id))

    def _note(self, records: Iterable[Record]) -> None:
        has_fills = False
        for record in records:
            if isinstance(record, Fill):
                has_fills = True
                self._figures.fills[record.portfolio, record.book] += 1
            elif isinstance(record, Order) and not record.open_books:
                self._recent[record.asked.portfolio, record.asked.client_order_id] = record
                if len(self._recent) > RECENT_MAX:
                    self._recent.popitem(last=False)
        if has_fills:
            self.on_fills()

    def _fail(self, error: StorageError) -> None:
        if self.problem is None:
            self._log.error("nothing can be stored: no order is taken or filled", reason=str(error))
        self.problem = str(error)
        self._figures.store_failures += 1
