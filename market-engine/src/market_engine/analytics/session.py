"""The volume-weighted price since a session began: 00:00 UTC, or the time that its market opens."""

from __future__ import annotations

from market_engine.decimals import NANO
from market_engine.events import SECOND_NS

DAY_NS = 86_400 * SECOND_NS


class SessionVwap:
    """Of one symbol; ``opens_s`` is when its sessions begin, in seconds after 00:00 UTC."""

    __slots__ = ("_notional", "_opens_ns", "_qty_nano", "_session")

    def __init__(self, opens_s: int = 0) -> None:
        self._opens_ns = opens_s * SECOND_NS
        self._session = -1
        self._notional = 0
        self._qty_nano = 0

    def add(self, event_ns: int, notional: int, qty_nano: int) -> bool:
        """Take Σpq and Σq of a moment; False for an earlier session, which moves nothing."""
        session = (event_ns - self._opens_ns) // DAY_NS
        if session != self._session:
            if session < self._session:
                return False
            self._session, self._notional, self._qty_nano = session, 0, 0
        self._notional += notional
        self._qty_nano += qty_nano
        return True

    def value(self, as_of_ns: int) -> float | None:
        """Σpq/Σq since the session of a moment began; None before its first trade."""
        if (as_of_ns - self._opens_ns) // DAY_NS != self._session or not self._qty_nano:
            return None
        return self._notional / (self._qty_nano * NANO)
