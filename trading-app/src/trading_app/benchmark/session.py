"""One publisher under test: from its warm-up to the account of what became of its trades.

What was applied is the sidecar's word alone. It must not know workloads.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from trading_app.benchmark import BenchmarkError
from trading_app.benchmark.clock import LATE_S_MAX, NANO, Calls, Times, back_to_back
from trading_app.benchmark.figures import Recording
from trading_app.benchmark.program import wait_until
from trading_app.benchmark.results import Counts
from trading_app.benchmark.sidecar import Sidecar, Totals
from trading_app.benchmark.subject import Open, Opening, Subject, open_publisher, publishing
from trading_app.formats import number, plural

CAPACITY: Final = 2**17
"""Room for a whole burst: what is measured is the price of a publish, not of a full ring."""
CONNECT_S_MAX: Final = 10.0
LOOK_EVERY_S: Final = 0.002
ASK_EVERY_S: Final = 0.05
QUIET_S: Final = 1.0
"""When the counts do not add up and nothing has changed for so long, nothing will."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a workload finds what it needs: the sidecar, a folder, and who is told how it goes.

    ``open`` opens the publisher under test, which is called ``warm_up`` times unrecorded.
    ``patience_s`` is how long its trades may take to be committed.
    """

    sidecar: Sidecar
    folder: Path
    tell: Callable[[str], None]
    open: Open = open_publisher
    warm_up: int = 5_000
    patience_s: float = 60.0


class Session:
    """A context manager: entered, the publisher is warm, and what was counted before is known.

    Left, it is closed, and ``recording`` has the account of all that was recorded.
    """

    def __init__(self, bench: Bench, name: str, capacity: int = CAPACITY) -> None:
        self._bench = bench
        self._opening = Opening(bench.sidecar.address, name, bench.folder / "journal", capacity)
        self._rounds: list[Times] = []
        self._settled_s = 0.0
        self._cpu_s = 0.0
        self._totals: Totals | None = None

    def record(self, timed: Callable[[Calls], Times]) -> Times:
        """Let a timed loop make its calls."""
        self._cpu_s -= time.process_time()
        times = timed(self._calls)
        self._cpu_s += time.process_time()
        self._rounds.append(times)
        return times

    def settle(self) -> None:
        """Wait until all is committed, as the publisher hears it; BenchmarkError if it is not."""
        self._cpu_s -= time.process_time()
        self._wait()
        self._cpu_s += time.process_time()
        self._settled_s += (time.perf_counter_ns() - self._rounds[-1].started[0]) / NANO

    def round(self, timed: Callable[[Calls], Times]) -> Times:
        """Record, and settle: the next round begins with an empty ring."""
        times = self.record(timed)
        self.settle()
        return times

    def recording(self) -> Recording:
        """The account, once the session was left."""
        return Recording(self._rounds, self._counts(), self._settled_s, self._cpu_s)

    def problem(self) -> str | None:
        """Why the figures are not to be trusted, apart from counts that do not add up."""
        left_out = sum(times.left_out for times in self._rounds)
        if left_out:
            return (
                f"{number(left_out)} calls were not made: "
                f"more than {LATE_S_MAX} s behind the schedule"
            )
        if self._totals and self._totals.residue:
            return f"the sidecar's own accounts differ by {number(self._totals.residue)}"
        return None

    def _counts(self) -> Counts:
        offered = sum(len(times) for times in self._rounds)
        refused = sum(times.refused for times in self._rounds)
        return Counts(
            offered=offered,
            accepted=offered - refused,
            refused=refused,
            applied=self._totals.applied if self._totals else None,
            lost=self._totals.lost if self._totals else None,
            waiting=self._totals.waiting if self._totals else None,
        )

    def _wait(self) -> None:
        deadline_s = time.monotonic() + self._bench.patience_s
        while waiting := self._subject.stats().waiting:
            self._bench.sidecar.require_alive()
            if time.monotonic() > deadline_s:
                raise BenchmarkError(
                    f"{plural(waiting, 'trade')} of {self._opening.source} not committed "
                    f"in {self._bench.patience_s:g} s"
                )
            time.sleep(LOOK_EVERY_S)

    def _read_totals(self) -> Totals | None:
        """What the sidecar counted, once it explains what was accepted or nothing changes."""
        accepted, found, changed_s = self._counts().accepted, None, time.monotonic()
        while time.monotonic() < changed_s + QUIET_S:
            totals = self._bench.sidecar.totals()
            if totals is None:
                self._bench.sidecar.require_alive()
            elif totals != found:
                found, changed_s = totals, time.monotonic()
            since = found and found.since(self._before)
            if since and not since.waiting and since.applied + since.lost == accepted:
                break
            time.sleep(ASK_EVERY_S)
        return found and found.since(self._before)

    def _warm_up(self) -> None:
        wait_until(
            lambda: self._subject.stats().connected,
            CONNECT_S_MAX,
            "the publisher does not reach the sidecar of the benchmark",
        )
        problem = self._subject.stats().problem
        if problem is not None:
            raise BenchmarkError(problem)
        back_to_back(self._calls, self._bench.warm_up)
        self._wait()
        totals = self._bench.sidecar.totals()
        if totals is None:
            raise BenchmarkError("the sidecar of the benchmark does not say what it has counted")
        self._before = totals

    def __enter__(self) -> Self:
        self._subject: Subject = self._bench.open(self._opening)
        self._calls = publishing(self._subject)
        try:
            self._warm_up()
        except BaseException:
            self._subject.close(0.0)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._subject.close(0.0)
            return
        self._subject.close(self._bench.patience_s)
        self._totals = self._read_totals()
