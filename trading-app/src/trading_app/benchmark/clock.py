"""The timed loops: each call's begin and end, and where there is a schedule, when it was due.

Everything else is done before or after the timed stretch. It must not know what is called.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Final

NANO: Final = 10**9
HEAD_START_NS: Final = 5_000_000
"""The first call of a schedule is due so long after the schedule is made."""
FIRST_SHARE: Final = 0.05
"""What is settled of a flood before a rate is measured."""
LATE_S_MAX: Final = 10
"""Who is so far behind a schedule never comes up again: the rest is not offered."""

Calls = Sequence[Callable[[], object]]
"""What is called in turn, over and over. The answer says whether it was accepted."""


@dataclass(frozen=True, slots=True)
class Times:
    """What a timed loop recorded: ns of one clock, a call each.

    ``due`` is the schedule, None where there was none. ``refused`` calls are among the others;
    ``left_out`` ones were never made.
    """

    started: array[int]
    ended: array[int]
    due: array[int] | None
    refused: int
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.started)

    def calls_ns(self) -> list[int]:
        """How long each call took."""
        return [end - start for start, end in zip(self.started, self.ended, strict=True)]

    def responses_ns(self) -> list[int]:
        """How long after it was due each call had ended; without a schedule, as ``calls_ns``."""
        if self.due is None:
            return self.calls_ns()
        return [end - due for due, end in zip(self.due, self.ended, strict=True)]

    def part(self, begin: int, end: int) -> Times:
        """The calls from one number to another; who refused is not told apart."""
        due = None if self.due is None else self.due[begin:end]
        return Times(self.started[begin:end], self.ended[begin:end], due, refused=0)

    @property
    def seconds(self) -> float:
        """From the first call to the end of the last."""
        return (max(self.ended) - self.started[0]) / NANO if self.started else 0.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """When each of ``count`` calls is due: ``rate_per_s`` of them from ``begin_ns`` on."""

    begin_ns: int
    rate_per_s: float
    count: int

    def due_ns(self, index: int) -> int:
        """When the call with this number, from 0, is due."""
        return self.begin_ns + round(index * NANO / self.rate_per_s)


def back_to_back(calls: Calls, count: int) -> Times:
    """Call so many times, each as soon as the one before has ended."""
    started, ended = _zeros(count), _zeros(count)
    clock = time.perf_counter_ns
    refused = 0
    for index, call in zip(range(count), cycle(calls), strict=False):
        begin = clock()
        answer = call()
        end = clock()
        started[index] = begin
        ended[index] = end
        if not answer:
            refused += 1
    return Times(started, ended, None, refused)


def on_schedule(calls: Calls, schedule: Schedule) -> Times:
    """Call when each is due, or at once when that is past: who was held up catches up.

    So a stall shows in every call that it delayed, not only in the one that it met. Ends early
    when it is LATE_S_MAX behind.
    """
    due = array("q", map(schedule.due_ns, range(schedule.count)))
    started, ended = _zeros(schedule.count), _zeros(schedule.count)
    clock, sleep = time.perf_counter_ns, time.sleep
    refused = offered = 0
    for index, call in zip(range(schedule.count), cycle(calls), strict=False):
        early_ns = due[index] - clock()
        if early_ns > 0:
            sleep(early_ns / NANO)
        elif early_ns < -LATE_S_MAX * NANO:
            break
        begin = clock()
        answer = call()
        end = clock()
        started[index] = begin
        ended[index] = end
        offered += 1
        if not answer:
            refused += 1
    left_out = schedule.count - offered
    return Times(started[:offered], ended[:offered], due[:offered], refused, left_out)


def in_order(parts: Sequence[Times]) -> Times:
    """Several recordings as one, by when each call began."""
    rows = sorted(
        row
        for each in parts
        for row in zip(each.started, each.ended, each.due or each.started, strict=True)
    )
    started, ended, due = (array("q", column) for column in zip(*rows, strict=True))
    has_schedule = all(each.due is not None for each in parts)
    refused = sum(each.refused for each in parts)
    left_out = sum(each.left_out for each in parts)
    return Times(started, ended, due if has_schedule else None, refused, left_out)


def clock_cost_ns(readings: int = 100_000) -> int:
    """What is recorded when nothing lies between two readings of the clock: the median."""
    clock = time.perf_counter_ns
    found = _zeros(readings)
    for index in range(readings):
        begin = clock()
        end = clock()
        found[index] = end - begin
    return sorted(found)[readings // 2]


def _zeros(count: int) -> array[int]:
    """Had in full before the first call: nothing is allocated in the timed stretch."""
    return array("q", bytes(8 * count))
