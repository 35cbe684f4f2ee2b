"""The desk: one publisher, one view of the sidecar and one log, shared by all of its pages.

Pages call ``trade`` and ``look``; nothing else reaches the outside. It must know no Streamlit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from trade_telemetry import PublisherStats, RefusalReason, Trade
from trading_app.event_log import EventLog, OwnEvent
from trading_app.order_ticket import Problem, Ticket, parse
from trading_app.past import Memory, Past
from trading_app.sidecar_answers import Benchmarks, History, Summary
from trading_app.sidecar_client import Away
from trading_app.status import Status, status


class PublishesTrades(Protocol):
    """What the desk uses of ``trade_telemetry.Publisher`` and ``RecordingPublisher``."""

    @property
    def epoch(self) -> int:
        """The number of this life of the publisher."""
        ...

    @property
    def last_refusal(self) -> RefusalReason | None:
        """Why the latest refused trade was refused."""
        ...

    def publish(
        self,
        side: str,
        qty: float,
        ts: float | None = None,
        *,
        symbol: str | None = None,
        price: float | None = None,
    ) -> int:
        """Accept a trade, or refuse it with a 0; raise InvalidTradeError for a bad one."""
        ...

    def stats(self) -> PublisherStats:
        """Give the figures of this moment."""
        ...


class TellsTotals(Protocol):
    """What the desk uses of ``SidecarClient``."""

    def summary(self) -> Summary | Away[Summary]:
        """Give the totals, or why there are none."""
        ...

    def history(self) -> History | Away[History]:
        """Give the last minutes of the counters, or why there are none."""
        ...

    def benchmarks(self) -> Benchmarks | Away[Benchmarks]:
        """Give what benchmarks said of themselves, or why it is not known."""
        ...


@dataclass(frozen=True, slots=True)
class View:
    """Everything a page shows, of one moment.

    ``summary`` may be old: ``figures_s`` says from when, ``away`` why there is no newer one.
    """

    now_s: float
    status: Status
    stats: PublisherStats
    summary: Summary | None
    figures_s: float | None
    away: str | None

    @property
    def figures_age_s(self) -> float:
        """How old the shown figures are, in seconds; 0 when they are of now or there are none."""
        return 0.0 if self.figures_s is None else self.now_s - self.figures_s


class Desk:
    """Trade, and look at what became of it. Any thread may call; ``clock`` gives unix seconds."""

    def __init__(
        self,
        publisher: PublishesTrades,
        sidecar: TellsTotals,
        sidecar_address: str = "",
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._publisher = publisher
        self._sidecar = sidecar
        self._clock = clock
        self._memory = Memory()
        self.sidecar_address = sidecar_address
        self.log = EventLog()

    def trade(self, ticket: Ticket) -> OwnEvent | list[Problem]:
        """Publish a ticket's trade and log it, refused or not; or say what is wrong with it."""
        trade = parse(ticket, self._clock())
        if not isinstance(trade, Trade):
            return trade
        seq = self._publisher.publish(
            trade.side, trade.qty, trade.ts, symbol=trade.symbol, price=trade.price
        )
        event = OwnEvent(trade, self._publisher.epoch, seq)
        if not seq:
            reason = str(self._publisher.last_refusal)
            event = OwnEvent(trade, self._publisher.epoch, 0, "refused", reason)
        self.log.add(event)
        return event

    @property
    def connected(self) -> bool:
        """Whether trades reach the sidecar at this moment."""
        return self._publisher.stats().connected

    def look(self) -> View:
        """Fetch what the sidecar says, move the log on, and return the moment's view."""
        answer = self._sidecar.summary()
        stats, now_s = self._publisher.stats(), self._clock()
        fresh = None if isinstance(answer, Away) else answer
        self.log.settle(stats, fresh)
        return View(
            now_s=now_s,
            status=status(stats, answer, now_s),
            stats=stats,
            summary=answer.last if isinstance(answer, Away) else answer,
            figures_s=answer.last_s if isinstance(answer, Away) else now_s,
            away=answer.reason if isinstance(answer, Away) else None,
        )

    def past(self) -> Past:
        """Fetch the last minutes of the sidecar's counters, joined with what was seen before."""
        answer = self._sidecar.history()
        if not isinstance(answer, Away):
            return self._memory.add(answer)
        past, now_s = self._memory.latest(), self._clock()
        if answer.last is not None and answer.last_s is not None:
            now_s = answer.last.now_s + (now_s - answer.last_s)
        return replace(past, now_s=now_s, away=answer.reason)

    def benchmarks(self) -> Benchmarks | Away[Benchmarks]:
        """Fetch what benchmarks said of themselves."""
        return self._sidecar.benchmarks()
