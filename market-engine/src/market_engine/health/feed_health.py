"""The health of a feed: every event goes by here, and only what is new goes on. Pure.

Time is what events say of their receipt, so that a replay finds what the live run found. Every
symbol is watched on its own: a sound connection with one frozen symbol is the commonest failure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from market_engine.errors import RejectReason
from market_engine.events import (
    SECOND_NS,
    Candle,
    Event,
    Notice,
    NoticeKind,
    Quote,
    Rejected,
    Trade,
)
from market_engine.health.config import HealthConfig
from market_engine.health.faults import (
    DROPPED,
    TAKEN,
    Fault,
    FaultKind,
    StateChange,
    SymbolHealthView,
    Verdict,
)
from market_engine.health.ids import Stretch
from market_engine.health.symbol_health import NEVER_NS, Found, SymbolHealth

LOOK_NS: Final = SECOND_NS
"""How often silence is looked at."""
_KINDS: Final = {
    RejectReason.FUTURE: FaultKind.CLOCK_SKEW,
    RejectReason.UNKNOWN_TYPE: None,  # sound, and not for us
}


class FeedHealth:
    """All symbols of one feed.

    ``symbols`` are shown as unknown until they bring something; ``last_ids`` are the last trades
    that were kept before a restart, so that what was missed meanwhile is found as a gap.
    """

    def __init__(
        self,
        config: HealthConfig | None = None,
        venue: str = "",
        symbols: Iterable[str] = (),
        last_ids: Mapping[str, int] | None = None,
    ) -> None:
        self._config = config or HealthConfig()
        self._venue = venue
        self._last_ids = dict(last_ids or {})
        self._found: Found = []
        self._symbols: dict[str, SymbolHealth] = {}
        self._look_ns = NEVER_NS
        self._looked_ns = NEVER_NS
        self._malformed_ns = NEVER_NS
        self._pause_ns = int(self._config.pause_s_max * SECOND_NS)
        self._disconnected = False
        self.unwatched = 0
        """Events of symbols beyond ``symbols_max``: left out, so that memory is bounded."""
        self.malformed = 0
        """Frames that did not even say whose they were."""
        for symbol in symbols:
            self._watch(symbol, venue)

    def take(self, event: Event) -> Verdict:
        """Note an event, and say whether it goes on, what is wrong, and what state changed.

        The time that its receipt shows has passed is looked at first.
        """
        if event.received_ns >= self._look_ns:
            self._look(event.received_ns)
        taken = True
        if type(event) is Trade:
            health = self._symbols.get(event.symbol) or self._watch(event.symbol, event.venue)
            taken = health is not None and health.take(event)
        else:
            taken = self._take_other(event)
        if self._found:
            return self._verdict(taken=taken)
        return TAKEN if taken else DROPPED

    def frozen_after_ns(self, symbol: str) -> int:
        """How long a silence of this symbol must be before it counts as frozen."""
        health = self._symbols.get(symbol)
        return health.frozen_after_ns if health else int(self._config.stale_s_max * SECOND_NS)

    def recall(self, symbol: str, holes: Iterable[Stretch]) -> None:
        """Say which ids below the last that was kept are missing, oldest first; before any event.

        They count as missing until they come.
        """
        if health := self._symbols.get(symbol) or self._watch(symbol, self._venue):
            health.recall(holes)

    def snapshot(self) -> tuple[SymbolHealthView, ...]:
        """Every symbol that is watched, in the order of their names."""
        return tuple(self._symbols[symbol].view() for symbol in sorted(self._symbols))

    def _watch(self, symbol: str, venue: str) -> SymbolHealth | None:
        if len(self._symbols) >= self._config.symbols_max:
            self.unwatched += 1
            return None
        health = self._symbols[symbol] = SymbolHealth(
            self._config, venue or self._venue, symbol, self._found, self._last_ids.get(symbol)
        )
        return health

    def _look(self, received_ns: int) -> None:
        pause_ns = received_ns - self._looked_ns - self._pause_ns
        if pause_ns > 0 and self._looked_ns != NEVER_NS:
            for health in self._symbols.values():
                health.pause(pause_ns)
        self._looked_ns = received_ns
        self._look_ns = received_ns + LOOK_NS
        for health in self._symbols.values():
            health.look(received_ns)

    def _take_other(self, event: Event) -> bool:
        if isinstance(event, Quote | Candle):
            known = event.symbol in self._symbols
            return known or self._watch(event.symbol, event.venue) is not None
        if isinstance(event, Notice):
            self._take_notice(event)
        elif isinstance(event, Rejected):
            self._take_rejected(event)
        return True

    def _take_rejected(self, event: Rejected) -> None:
        kind = _KINDS.get(event.reason, FaultKind.MALFORMED)
        if kind is None:
            return
        if health := self._symbols.get(event.symbol or ""):
            health.reject(event.received_ns, event.detail, kind)
            return
        self.malformed += 1
        every_ns = self._config.fault_every_s * SECOND_NS
        if event.received_ns - self._malformed_ns >= every_ns:
            self._malformed_ns = event.received_ns
            self._found.append(self._fault(kind, event))

    def _take_notice(self, notice: Notice) -> None:
        if notice.kind is NoticeKind.DISCONNECTED and notice.symbol is None:
            if self._disconnected:
                return
            self._disconnected = True
        elif notice.kind is NoticeKind.CONNECTED and notice.symbol is None:
            self._disconnected = False
        for health in self._meant(notice):
            _tell(health, notice)
        if notice.kind is NoticeKind.DISCONNECTED and not self._found:  # nothing had come yet
            self._found.append(self._fault(FaultKind.DISCONNECTED, notice))

    def _meant(self, notice: Notice) -> Iterable[SymbolHealth]:
        if notice.symbol is None:
            return self._symbols.values()
        health = self._symbols.get(notice.symbol) or self._watch(notice.symbol, self._venue)
        return () if health is None else (health,)

    def _fault(self, kind: FaultKind, event: Notice | Rejected) -> Fault:
        return Fault(self._venue, event.symbol, kind, event.received_ns, event.detail[:200])

    def _verdict(self, *, taken: bool) -> Verdict:
        faults = tuple(found for found in self._found if isinstance(found, Fault))
        changes = tuple(found for found in self._found if isinstance(found, StateChange))
        self._found.clear()
        return Verdict(taken, faults, changes)


def _tell(health: SymbolHealth, notice: Notice) -> None:
    at_ns, detail = notice.received_ns, notice.detail
    match notice.kind:
        case NoticeKind.CONNECTED:
            health.connect(at_ns)
        case NoticeKind.DISCONNECTED:
            health.disconnect(at_ns, detail)
        case NoticeKind.OPENED:
            health.open(at_ns, missed=notice.symbol is None)
        case NoticeKind.CLOSED:
            health.close(at_ns)
        case NoticeKind.BACKFILLING:
            health.backfill(at_ns, detail)
        case NoticeKind.BACKFILLED:
            health.backfill_end(at_ns, detail, failed=False)
        case NoticeKind.BACKFILL_FAILED:
            health.backfill_end(at_ns, detail, failed=True)
