"""Which orders of a portfolio ended last, also one that is older than many that came after it.

The engine lists orders by their numbers, not by when they ended. So those that are open are
remembered: one that is open no longer is asked for by its id. What ended while nobody looked is
found among the newest alone. Widgets are not known here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Protocol

from trading_app.market_client import Refused
from trading_app.market_look import shown
from trading_app.paper_answers import Order, Orders
from trading_app.sidecar_client import Away

ENDED_MAX: Final = 100
"""So many are listed."""
ENDED_MIN: Final = 20
SCANNED: Final = (100, 500, 500)
"""The sizes of the questions for the newest: they go on only while few ended ones are found."""
OPEN_PAGE: Final = 500
OPEN_PAGES_MAX: Final = 3
"""More orders than these pages hold can be open in no portfolio by default (1,000)."""
ASKED_MAX: Final = 8
"""Orders asked for by their ids in one look; the others wait for the next."""
OPENED_MAX: Final = 3_000
"""Orders remembered as open; of more, the first are found among the newest alone."""
PORTFOLIOS_MAX: Final = 32


class Desk(Protocol):
    """What is asked of the paper desk."""

    def orders(
        self, name: str, state: str, limit: int, before: int | None = None
    ) -> Orders | Away[Orders] | Refused:
        """Give its newest orders."""

    def order(self, name: str, client_order_id: str) -> Order | Away[Order] | Refused:
        """Give one order."""


@dataclass(frozen=True, slots=True)
class Found:
    """The orders that ended, the newest end first; None: not known. ``answer`` is the last."""

    orders: list[Order] | None
    answer: Orders | Away[Orders] | Refused
    is_cut: bool = False


@dataclass(slots=True)
class _Seen:
    """What is remembered of a portfolio: ids that were open, and orders that ended after that."""

    opened: dict[str, None] = field(default_factory=dict)
    late: dict[str, Order] = field(default_factory=dict)


class Ended:
    """Remember the open orders of a few portfolios; any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, _Seen] = {}

    def look(self, desk: Desk, name: str) -> Found:
        """Find those that ended last."""
        newest, answer = _newest(desk, name)
        opened = _opened(desk, name)
        with self._lock:
            seen = self._of(name)
            if opened is not None:
                listed = (each.client_order_id for each in newest or () if each.is_final)
                self._ask(seen, desk, name, opened, listed)
            late = list(seen.late.values())
        if newest is None:
            return Found(None, answer)
        known = {order.client_order_id: order for order in (*late, *newest) if order.is_final}
        ended = sorted(known.values(), key=_ended_at, reverse=True)
        is_cut = len(ended) > ENDED_MAX or len(newest) >= SCANNED[0]
        return Found(ended[:ENDED_MAX], answer, is_cut)

    def _of(self, name: str) -> _Seen:
        """Find what is remembered; the portfolio that was not looked at for longest makes room."""
        seen = self._seen.pop(name, None) or _Seen()
        self._seen[name] = seen
        if len(self._seen) > PORTFOLIOS_MAX:
            del self._seen[next(iter(self._seen))]
        return seen

    def _ask(
        self, seen: _Seen, desk: Desk, name: str, opened: set[str], listed: Iterable[str]
    ) -> None:
        """Ask for those that are open no longer; one without an answer is asked for again.

        What ended and is ``listed`` among the newest is known.
        """
        for which in listed:
            seen.opened.pop(which, None)
        gone = [which for which in seen.opened if which not in opened]
        seen.opened |= dict.fromkeys(sorted(opened))
        while len(seen.opened) > OPENED_MAX:
            del seen.opened[next(iter(seen.opened))]
        for which in gone[:ASKED_MAX]:
            answer = desk.order(name, which)
            if isinstance(answer, Away):
                return
            seen.opened.pop(which, None)
            if isinstance(answer, Order) and answer.is_final:
                seen.late[which] = answer
        while len(seen.late) > ENDED_MAX:
            del seen.late[next(iter(seen.late))]


def _ended_at(order: Order) -> tuple[int, int]:
    return order.closed_ms or order.accepted_ms or 0, order.number or 0


def _opened(desk: Desk, name: str) -> set[str] | None:
    """Name the open orders; None where that is not known for all of them."""
    found: set[str] = set()
    before: int | None = None
    for _ in range(OPEN_PAGES_MAX):
        answer = desk.orders(name, "open", OPEN_PAGE, before)
        if not isinstance(answer, Orders):
            return None
        found |= {order.client_order_id for order in answer.orders}
        if len(answer.orders) < OPEN_PAGE:
            return found
        before = answer.orders[-1].number
    return None


def _newest(desk: Desk, name: str) -> tuple[list[Order] | None, Orders | Away[Orders] | Refused]:
    """List the newest orders, so many that a few of them ended, and give the last answer."""
    answer = desk.orders(name, "all", SCANNED[0])
    found = shown(answer)
    newest = None if found is None else list(found.orders)
    for asked, limit in pairwise(SCANNED):
        is_enough = sum(order.is_final for order in newest or ()) >= ENDED_MIN
        if found is None or len(found.orders) < asked or is_enough:
            break
        answer = desk.orders(name, "all", limit, found.orders[-1].number)
        found = shown(answer)
        newest = [*(newest or ()), *(found.orders if found else ())]
    return newest, answer
