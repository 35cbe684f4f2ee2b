"""When an account is written down: each 60 s, after fills, at its worst, and last of all.

Owns the numbers of its snapshots, and what of the peak and the drawdown is kept already. Knows no
orders, and stores nothing.
"""

from __future__ import annotations

from typing import Final

from market_engine.events import SECOND_NS
from market_engine.paper.account import PortfolioAccount
from market_engine.paper.model import Snapshot

SNAPSHOT_NS: Final = 60 * SECOND_NS
EXTREME_NS: Final = SECOND_NS
"""So much of a peak or a drawdown is forgotten by a kill."""


class Snapshots:
    """Of one account; one thread at a time."""

    def __init__(self, account: PortfolioAccount) -> None:
        self._account = account
        self._number = 0
        self._due_ns = self._next_ns = 0
        self._peak, self._drawdown = account.peak, account.max_drawdown

    def restore(self, newest: Snapshot) -> None:
        """Go on after the newest, from which the account was restored."""
        self._number = newest.number
        self._peak, self._drawdown = self._account.peak, self._account.max_drawdown

    def take(self, now_ns: int) -> Snapshot:
        """One, as of now."""
        self._due_ns = now_ns - now_ns % SNAPSHOT_NS + SNAPSHOT_NS
        self._next_ns = now_ns + EXTREME_NS
        self._peak, self._drawdown = self._account.peak, self._account.max_drawdown
        self._number += 1
        return self._account.snapshot(now_ns, self._number)

    def due(self, now_ns: int) -> list[Snapshot]:
        """The one of the minute, or one of a peak or drawdown that is not kept yet."""
        if now_ns >= self._due_ns or (now_ns >= self._next_ns and self._is_extreme()):
            return [self.take(now_ns)]
        return []

    def last(self, now_ns: int) -> list[Snapshot]:
        """The one with which a process ends; none where it would say nothing new of the equity."""
        return [] if self._account.equity() is None else [self.take(now_ns)]

    def _is_extreme(self) -> bool:
        account = self._account
        return account.max_drawdown != self._drawdown or account.peak != self._peak
