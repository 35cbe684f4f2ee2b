"""A sidecar of the benchmark, and the account of what it was given.

What it says that it has committed must be exactly that; anything else is an error.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

from trading_app.benchmark import BenchmarkError
from trading_app.benchmark.clock import FIRST_SHARE
from trading_app.benchmark.program import fetch, wait_until
from trading_app.benchmark.sidecar import Sidecar

LOOK_EVERY_S: Final = 0.01
PAUSE_S_MAX: Final = 5.0
BEGIN_S_MAX: Final = 30.0
QUIET_S_MAX: Final = 5.0
"""When nothing more is counted for so long, nothing will."""


class Account:
    """``sidecar`` runs, and ``folder`` is for what publishers keep."""

    def __init__(self, sidecar: Sidecar, folder: Path) -> None:
        self.sidecar: Final = sidecar
        self.folder: Final = folder
        self.process: Final = psutil.Process(sidecar.process_id)
        self._given = self._applied()

    def check(self) -> None:
        """Raise BenchmarkError when the sidecar has ended."""
        self.sidecar.require_alive()

    def wait_for_first(self, trades: int) -> int:
        """Wait until some share of so many that are being sent is committed: how many those are."""
        deadline_s = time.monotonic() + BEGIN_S_MAX
        while (found := self._applied() - self._given) <= trades * FIRST_SHARE:
            self.check()
            if time.monotonic() > deadline_s:
                raise BenchmarkError(f"the sidecar counts nothing in {BEGIN_S_MAX:g} s")
            time.sleep(LOOK_EVERY_S)
        return found

    def give(self, trades: int) -> None:
        """Wait until so many more are committed; raises BenchmarkError when it is another number.

        To be called when all of them were sent.
        """
        self._given += trades
        applied, changed_s = self._applied(), time.monotonic()
        while applied < self._given and time.monotonic() < changed_s + QUIET_S_MAX:
            time.sleep(LOOK_EVERY_S)
            before, applied = applied, self._applied()
            if applied != before:
                changed_s = time.monotonic()
        if applied != self._given:
            raise BenchmarkError(
                f"the sidecar of the benchmark was given {self._given:,} trades in all, and its "
                f"committed totals have {applied:,}: no figure of this run is to be trusted"
            )

    def scrape(self) -> float:
        """Read /metrics as Prometheus does, on a connection of its own; the seconds it took."""
        began_s = time.perf_counter()
        if b"trades_total" not in fetch(f"{self.sidecar.url}/metrics"):
            self.check()
            raise BenchmarkError("the sidecar of the benchmark does not answer a scrape")
        return time.perf_counter() - began_s

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The sidecar stands still; ``process.resume()`` lets it go on before the end of this."""
        self.process.suspend()
        try:
            wait_until(self._stands_still, PAUSE_S_MAX, "the sidecar does not stand still")
            yield
        finally:
            with suppress(psutil.NoSuchProcess):
                self.process.resume()

    def _stands_still(self) -> bool:
        self.check()
        return self.process.status() == psutil.STATUS_STOPPED

    def _applied(self) -> int:
        while (totals := self.sidecar.totals()) is None:
            self.check()
        return totals.applied
