"""A real sidecar with faults on purpose, for what should never happen and must be shown.

``python tests/faulty_sidecar.py FAULT...``. Nothing from outside can break these, so a fault is put
around a function of the receiver's thread, and everything else is what ``metrics-sidecar`` runs:

die       SIGUSR1 ends the thread, as an error that nobody foresaw would
stall     SIGUSR1 holds the thread, SIGUSR2 lets it go on
drop      a trade of the symbol FORGOTTEN takes its sequence and is then dropped
miscount  a trade of the symbol DOUBLED is in its publisher's account twice, and one of the symbol
          FAILING is an error that nobody foresaw
full      the disk of the state says that it has 100 MiB left, as long as there is the file ``full``
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from metrics_sidecar.ledger import Ledger
from metrics_sidecar.main import main
from metrics_sidecar.receiver import Receiver
from metrics_sidecar.store_directory import StateDirectory, StoreFigures
from trade_telemetry.messages import Batch, LossReason, Skip, Trade, one_by_one


def before_each_turn(do: Callable[[], object]) -> None:
    turn = Receiver._turn

    def turn_after_that(self: Receiver, *arguments: int) -> bool:
        do()
        return turn(self, *arguments)

    Receiver._turn = turn_after_that


def die() -> None:
    condemned = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: condemned.set())
    before_each_turn(lambda: condemned.is_set() and sys.exit())


def stall() -> None:
    may_go_on = threading.Event()
    may_go_on.set()
    signal.signal(signal.SIGUSR1, lambda *_: may_go_on.clear())
    signal.signal(signal.SIGUSR2, lambda *_: may_go_on.set())
    before_each_turn(may_go_on.wait)


def apply_one_by_one(self: Ledger, batch: Batch, now_s: float) -> None:
    for trade in one_by_one(batch):
        self.apply(trade, now_s)


def drop() -> None:
    apply = Ledger.apply

    def apply_or_drop(self: Ledger, trade: Trade, now_s: float) -> None:
        if trade.symbol != "FORGOTTEN":
            apply(self, trade, now_s)
            return
        self.skip(Skip(trade.src, trade.epoch, trade.seq, trade.seq, LossReason.STATE), now_s)
        self._publishers.by_name[trade.src].lost[LossReason.STATE] -= 1

    Ledger.apply = apply_or_drop
    Ledger.apply_batch = apply_one_by_one


def miscount() -> None:
    apply = Ledger.apply

    def apply_and_miscount(self: Ledger, trade: Trade, now_s: float) -> None:
        if trade.symbol == "FAILING":
            raise RuntimeError("on purpose")
        apply(self, trade, now_s)
        if trade.symbol == "DOUBLED":
            self._publishers.by_name[trade.src].applied += 1

    Ledger.apply = apply_and_miscount
    Ledger.apply_batch = apply_one_by_one


def full() -> None:
    figures = StateDirectory.figures

    def figures_of_a_full_disk(self: StateDirectory) -> StoreFigures:
        found = figures(self)
        return replace(found, free_bytes=100 * 1024**2) if Path("full").exists() else found

    StateDirectory.figures = figures_of_a_full_disk


FAULTS = {"die": die, "stall": stall, "drop": drop, "miscount": miscount, "full": full}

if __name__ == "__main__":
    while len(sys.argv) > 1:
        FAULTS[sys.argv.pop()]()
    sys.exit(main())
