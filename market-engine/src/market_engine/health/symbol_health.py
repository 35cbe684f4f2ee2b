"""The health of one symbol's stream: what each trade shows, and what its silence shows. Pure.

Time is what events say of their receipt. It must not know other symbols, the feed, or any edge.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from market_engine.events import SECOND_NS, Trade
from market_engine.health.clock_watch import ClockWatch
from market_engine.health.config import LAG_BOUNDS_NS, HealthConfig
from market_engine.health.faults import (
    Fault,
    FaultKind,
    StateChange,
    SymbolHealthView,
    SymbolState,
)
from market_engine.health.ids import Arrival, IdLedger, Stretch
from market_engine.health.rhythm import Rhythm
from market_engine.health.unit_watch import UnitWatch

Found = list[Fault | StateChange]
NEVER_NS: Final = -(10**18)


class SymbolHealth:
    """One symbol; what it finds is appended to ``found``, which it shares with its feed."""

    __slots__ = (
        "_awaiting", "_backfilling", "_calm", "_clock", "_closed", "_config", "_cut", "_found",
        "_frozen", "_gap_until_ns", "_ids", "_lag_counts", "_lag_ns", "_lag_sum_ns",
        "_named_ns", "_newest_ns", "_next_id", "_quiet_from_ns", "_received_ns", "_rejoin",
        "_rhythm", "_since_ns", "_state", "_unit", "_why", "backfilled", "duplicates", "id_gaps",
        "late", "malformed", "out_of_order", "symbol", "time_gaps", "trades", "venue",
    )  # fmt: skip

    def __init__(
        self, config: HealthConfig, venue: str, symbol: str, found: Found, last_id: int | None
    ) -> None:
        self.venue, self.symbol = venue, symbol
        self._config, self._found = config, found
        self._ids = IdLedger(last_id)
        self._next_id: int | None = None
        self._clock, self._rhythm, self._unit = (
            ClockWatch(config),
            Rhythm(config),
            UnitWatch(config),
        )
        self._state, self._since_ns, self._why = SymbolState.UNKNOWN, 0, "nothing has come yet"
        self._calm = self._frozen = self._awaiting = self._closed = False
        self._backfilling = self._rejoin = self._cut = False
        self._gap_until_ns = NEVER_NS
        self._named_ns: dict[FaultKind, int] = {}
        self._newest_ns = self._received_ns = self._quiet_from_ns = NEVER_NS
        self._lag_ns: int | None = None
        self._lag_counts = [0] * (len(LAG_BOUNDS_NS) + 1)
        self._lag_sum_ns = 0
        self.trades = self.backfilled = self.malformed = self.duplicates = 0
        self.id_gaps = self.time_gaps = self.late = self.out_of_order = 0

    @property
    def frozen_after_ns(self) -> int:
        """How long it must be silent to count as frozen."""
        return int(self._rhythm.stale_ns)

    def take(self, trade: Trade) -> bool:
        """Note a trade; False for a duplicate, which must go no further.

        With nothing amiss it is this one call, and it makes no object that lasts.
        """
        received_ns, event_ns, clock = trade.received_ns, trade.event_ns, self._clock
        gap_ns = event_ns - self._newest_ns
        lag_ns = received_ns - event_ns
        if not (
            self._calm
            and trade.trade_id == self._next_id
            and 0 <= gap_ns < self._rhythm.floor_ns
            and clock.ahead_ns <= lag_ns <= clock.behind_ns
            and trade.resolution_ns == self._unit.resolution_ns
            and not trade.backfilled
        ):
            return self._judge(trade)
        if trade.trade_id is not None:
            self._ids.last = trade.trade_id
            self._next_id = trade.trade_id + 1
        self.trades += 1
        self._newest_ns, self._received_ns, self._quiet_from_ns = event_ns, received_ns, received_ns
        rhythm = self._rhythm
        rhythm.usual_ns += (gap_ns - rhythm.usual_ns) * rhythm.weight
        self._lag_ns = lag_ns
        self._lag_sum_ns += lag_ns
        self._lag_counts[bisect_left(LAG_BOUNDS_NS, lag_ns)] += 1
        return True

    def recall(self, holes: Iterable[Stretch]) -> None:
        """Say which ids below the last that was kept are missing, oldest first."""
        self._ids = IdLedger(self._ids.last, holes)

    def look(self, received_ns: int) -> None:
        """Note that it is ``received_ns``: name silence, and what waited to be named."""
        for kind, detail in self._clock.look(received_ns, self._rhythm.usual_ns):
            self._name(kind, received_ns, detail)
        if self._calm and self._lag_ns is not None:
            self._clock.learn(self._lag_ns)
        if not (self._closed or self._frozen or self._cut) and self._quiet_from_ns != NEVER_NS:
            silent_ns = received_ns - self._quiet_from_ns
            if silent_ns > self._rhythm.stale_ns:
                self._frozen = True
                detail = f"no trade for {silent_ns / SECOND_NS:.0f} s"
                self._name(FaultKind.FROZEN, received_ns, detail)
                self._settle(received_ns, detail)
        if self._state is SymbolState.GAP and received_ns >= self._gap_until_ns:
            self._settle(received_ns, "the gap was not filled")

    def pause(self, pause_ns: int) -> None:
        """Do not count a time in which the whole feed said nothing as this symbol's silence."""
        if self._quiet_from_ns != NEVER_NS:
            self._quiet_from_ns += pause_ns

    def disconnect(self, received_ns: int, detail: str) -> None:
        """Note that no connection is left: silence is explained from here on."""
        self._cut = True
        if self._closed or self._state is SymbolState.UNKNOWN:
            return
        self._awaiting = True
        self._name(FaultKind.DISCONNECTED, received_ns, detail)
        self._settle(received_ns, "disconnected")

    def connect(self, received_ns: int) -> None:
        """Note that there is a connection again; the state follows with the first trade."""
        self._cut = False
        if self._quiet_from_ns != NEVER_NS:
            self._quiet_from_ns, self._frozen = received_ns, False

    def close(self, received_ns: int) -> None:
        """Note that the market, or the window, is closed."""
        self._closed = True
        self._settle(received_ns, "closed")

    def open(self, received_ns: int, *, missed: bool) -> None:
        """Note that it opens; ``missed``: what traded meanwhile is left out on purpose."""
        self._closed = self._frozen = self._awaiting = False
        self._rejoin = missed
        self.connect(received_ns)
        self._rhythm.rest()
        self._settle(received_ns, "open")

    def backfill(self, received_ns: int, detail: str) -> None:
        """Note that missing trades are being fetched."""
        self._backfilling = True
        self._settle(received_ns, detail or "missing trades are being fetched")

    def backfill_end(self, received_ns: int, detail: str, *, failed: bool) -> None:
        """Note that all that the venue has was given, or that it cannot be had."""
        self._backfilling = False
        if failed:
            self._name(FaultKind.BACKFILL_FAILED, received_ns, detail)
            self._show_gap(received_ns)
        self._settle(received_ns, detail or ("backfill failed" if failed else "backfilled"))

    def reject(self, received_ns: int, detail: str, kind: FaultKind) -> None:
        """Note a frame of this symbol that was not taken."""
        if kind is FaultKind.CLOCK_SKEW:
            found = list(self._clock.ahead(detail))
        else:
            self.malformed += 1
            found = [(kind, detail)]
        for named, why in found:
            self._name(named, received_ns, why)
        self._settle(received_ns, detail)

    def view(self) -> SymbolHealthView:
        """As it is now."""
        known = self._next_id is not None or self._ids.last is not None
        seen = self._received_ns != NEVER_NS
        return SymbolHealthView(
            venue=self.venue,
            symbol=self.symbol,
            state=self._state,
            since_ns=self._since_ns,
            why=self._why,
            trades=self.trades,
            id_gaps=self.id_gaps if known else None,
            ids_missing=self._ids.missing_count if known else None,
            ids_given_up=self._ids.given_up if known else None,
            duplicates=self.duplicates if known else None,
            time_gaps=self.time_gaps,
            late=self.late,
            out_of_order=self.out_of_order,
            malformed=self.malformed,
            backfilled=self.backfilled,
            last_id=self._ids.last,
            last_event_ns=self._newest_ns if seen else None,
            last_received_ns=self._received_ns if seen else None,
            lag_ns=self._lag_ns,
            lag_counts=tuple(self._lag_counts),
            lag_sum_ns=self._lag_sum_ns,
        )

    def _judge(self, trade: Trade) -> bool:
        """The long way, for every trade that is not plainly well."""
        arrival = self._take_id(trade)
        if arrival is Arrival.DUPLICATE:
            if not trade.backfilled:  # those overlap with the stream on purpose
                self.duplicates += 1
                self._name(FaultKind.DUPLICATE, trade.received_ns, f"trade {trade.trade_id}")
            return False
        self.trades += 1
        if trade.backfilled:
            self.backfilled += 1
            self._newest_ns = max(self._newest_ns, trade.event_ns)
            self._received_ns = trade.received_ns
            if self._quiet_from_ns == NEVER_NS:  # from now on the stream should bring some
                self._quiet_from_ns = trade.received_ns
        else:
            self._judge_times(trade, arrival)
        self._settle(trade.received_ns, "trades come")
        return True

    def _take_id(self, trade: Trade) -> Arrival | None:
        trade_id, ids = trade.trade_id, self._ids
        if trade_id is None:
            return None
        if self._rejoin and ids.last is not None and trade_id > ids.last:
            self._ids = ids = IdLedger()
        self._rejoin = False
        before = ids.last
        arrival = ids.take(trade_id)
        self._next_id = (ids.last or 0) + 1
        if arrival is Arrival.AHEAD and before is not None:
            self.id_gaps += 1
            self._show_gap(trade.received_ns)
            count = trade_id - before - 1
            detail = f"{count} missing: trades {before + 1} to {trade_id - 1}"
            self._name(FaultKind.GAP, trade.received_ns, detail)
        return arrival

    def _judge_times(self, trade: Trade, arrival: Arrival | None) -> None:
        received_ns, event_ns = trade.received_ns, trade.event_ns
        first, lag_ns = self._newest_ns == NEVER_NS, received_ns - event_ns
        gap_ns = 0 if first else event_ns - self._newest_ns
        for kind, detail in self._clock.take(received_ns, lag_ns, -gap_ns):
            self._name(kind, received_ns, detail)
        if changed := self._unit.take(trade.resolution_ns):
            self._name(FaultKind.TIME_UNIT, received_ns, changed)
        if gap_ns < 0:
            self._count_older(-gap_ns)
        elif not first:
            self._judge_gap(received_ns, gap_ns, arrival)
        plausible_ns = event_ns if lag_ns >= self._clock.ahead_ns else received_ns
        self._newest_ns = max(self._newest_ns, plausible_ns)
        self._received_ns = self._quiet_from_ns = received_ns
        self._frozen = self._awaiting = self._cut = False
        self._lag_ns = lag_ns
        self._lag_sum_ns += lag_ns
        self._lag_counts[bisect_left(LAG_BOUNDS_NS, lag_ns)] += 1

    def _count_older(self, older_ns: int) -> None:
        if older_ns > self._clock.late_ns:
            self.late += 1
        else:
            self.out_of_order += 1

    def _judge_gap(self, received_ns: int, gap_ns: int, arrival: Arrival | None) -> None:
        silence_known = self._frozen or self._awaiting or self._closed or self._clock.is_skewed
        too_long = self._rhythm.take(gap_ns)
        if too_long and not silence_known and arrival in (Arrival.NEXT, None):
            self.time_gaps += 1
            detail = f"{gap_ns / SECOND_NS:.0f} s between two trades"
            self._name(FaultKind.TIME_GAP, received_ns, detail)

    def _show_gap(self, received_ns: int) -> None:
        self._gap_until_ns = received_ns + int(self._config.gap_shown_s * SECOND_NS)

    def _name(self, kind: FaultKind, at_ns: int, detail: str) -> None:
        every_ns = self._config.fault_every_s * SECOND_NS
        if at_ns - self._named_ns.get(kind, NEVER_NS) >= every_ns:
            self._named_ns[kind] = at_ns
            self._found.append(Fault(self.venue, self.symbol, kind, at_ns, detail[:200]))

    def _settle(self, received_ns: int, why: str) -> None:
        """Find the state anew, and tell where it changed."""
        state = self._worst(received_ns)
        self._calm = (
            state is SymbolState.LIVE
            and self._clock.is_quiet
            and self._unit.is_quiet
            and self._rhythm.is_ready
        )
        if state is not self._state:
            self._state, self._since_ns, self._why = state, received_ns, why[:200]
            self._found.append(StateChange(self.symbol, state, received_ns, self._why))

    def _worst(self, received_ns: int) -> SymbolState:
        if self._closed:
            return SymbolState.CLOSED
        if self._received_ns == NEVER_NS:
            return SymbolState.BACKFILLING if self._backfilling else SymbolState.UNKNOWN
        if self._frozen or self._awaiting:
            return SymbolState.STALE
        if self._backfilling:
            return SymbolState.BACKFILLING
        if self._ids.has_missing and received_ns < self._gap_until_ns:
            return SymbolState.GAP
        return SymbolState.LATE if self._clock.is_late else SymbolState.LIVE
