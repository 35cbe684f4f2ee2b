"""The last minutes at one sample a second, for the built-in live page. Pure.

A sample holds running totals, so that any span can be read by subtraction: rates, and percentiles
of the event age. A second in which the receiver could not look is absent, not invented.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from metrics_sidecar.snapshot import Snapshot

SAMPLES_MAX: Final = 900
MARK_EVERY_S: Final = 5
MARKS_MAX: Final = 13  # a minute between the first and the last


@dataclass(frozen=True, slots=True)
class Sample:
    """The totals at ``at_s`` (unix seconds) since the sidecar's start, exact at that moment.

    ``age_counts`` are the buckets of the event age, ``busy_s`` the time the receiver did not wait.
    """

    at_s: float
    trades_buy: int
    trades_sell: int
    volume_buy: float
    volume_sell: float
    rejected: int
    age_counts: tuple[int, ...]
    busy_s: float


@dataclass(frozen=True, slots=True)
class SymbolMark:
    """The trades counted of each symbol at ``at_s``, in the order in which the symbols came.

    Symbols are only ever added, so an earlier mark may be shorter: what is missing was 0.
    """

    at_s: float
    trades_buy: tuple[int, ...]
    trades_sell: tuple[int, ...]


class History:
    """At most ``SAMPLES_MAX`` samples (15 minutes); the oldest goes first.

    By symbol only a minute, a mark every ``MARK_EVERY_S``: 13 marks of at most 102 symbols.
    """

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=SAMPLES_MAX)
        self._marks: deque[SymbolMark] = deque(maxlen=MARKS_MAX)

    def is_due(self, now_s: float) -> bool:
        """Whether this second has no sample yet."""
        return not self._samples or int(now_s) != int(self._samples[-1].at_s)

    def add(self, now_s: float, snapshot: Snapshot, busy_s: float = 0.0) -> bool:
        """Keep a sample, unless this second has one; whether it was kept.

        A clock that was set back takes with it what it says again, so times always grow.
        """
        _forget_from(self._samples, now_s)
        if not self.is_due(now_s):
            return False
        self._samples.append(_sample(now_s, snapshot, busy_s))
        _forget_from(self._marks, now_s)
        if not self._marks or now_s // MARK_EVERY_S != self._marks[-1].at_s // MARK_EVERY_S:
            self._marks.append(_mark(now_s, snapshot))
        return True

    def samples(self) -> list[Sample]:
        """What is kept, oldest first; safe to call from another thread."""
        return list(self._samples.copy())

    def marks(self) -> list[SymbolMark]:
        """The last minute by symbol, oldest first; safe to call from another thread."""
        return list(self._marks.copy())


def _forget_from(kept: deque[Sample] | deque[SymbolMark], now_s: float) -> None:
    while kept and kept[-1].at_s > now_s:
        kept.pop()


def _sample(now_s: float, snapshot: Snapshot, busy_s: float) -> Sample:
    return Sample(
        at_s=round(now_s, 3),
        trades_buy=snapshot.trades("buy"),
        trades_sell=snapshot.trades("sell"),
        volume_buy=snapshot.volume("buy"),
        volume_sell=snapshot.volume("sell"),
        rejected=sum(snapshot.rejected.values()),
        age_counts=snapshot.age_counts,
        busy_s=round(busy_s, 6),
    )


def _mark(now_s: float, snapshot: Snapshot) -> SymbolMark:
    totals = snapshot.symbols.values()
    return SymbolMark(
        at_s=round(now_s, 3),
        trades_buy=tuple(each.trades["buy"] for each in totals),
        trades_sell=tuple(each.trades["sell"] for each in totals),
    )
