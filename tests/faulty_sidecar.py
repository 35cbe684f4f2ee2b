"""A real sidecar with faults on purpose, for what should never happen and must be shown.

``python tests/faulty_sidecar.py FAULT...``. Nothing from outside can break these, so a fault is put
around a function of the receiver's thread, and everything else is what ``metrics-sidecar`` runs:

die       SIGUSR1 ends the thread, as an error that nobody foresaw would
stall     SIGUSR1 holds the thread, SIGUSR2 lets it go on
miscount  a trade of the symbol FORGOTTEN is left out of its publisher's account, one of the symbol
          DOUBLED is in it twice, and one of the symbol FAILING is an error that nobody foresaw
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable

from metrics_sidecar.ledger import Ledger
from metrics_sidecar.main import main
from metrics_sidecar.receiver import Receiver
from trade_telemetry import Trade


def before_each_turn(do: Callable[[], object]) -> None:
    turn = Receiver._turn

    def turn_after_that(self: Receiver, wait_ms: int) -> bool:
        do()
        return turn(self, wait_ms)

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


def miscount() -> None:
    apply = Ledger.apply

    def apply_and_forget(self: Ledger, trade: Trade, now_s: float) -> bool:
        if trade.symbol == "FAILING":
            raise RuntimeError("on purpose")
        counted = apply(self, trade, now_s)
        error = {"FORGOTTEN": -1, "DOUBLED": 1}.get(trade.symbol, 0)
        if error:
            self._publishers._publishers[trade.src].applied += error
        return counted

    Ledger.apply = apply_and_forget


if __name__ == "__main__":
    while len(sys.argv) > 1:
        {"die": die, "stall": stall, "miscount": miscount}[sys.argv.pop()]()
    sys.exit(main())
