"""Processes that store trades through bus and writer until they are killed, one after the other.

For each line ``FILE LAST_ID`` a fork of this process, which has imported everything, says ``begun``
and its id and goes on after the last id that is stored, as a backfill would, to LAST_ID. When it
has ended, ``ended`` and its return code are said.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from storage_parts import SYMBOL, VENUE, bar, trade, url_of

from market_engine.bus.base import Full, Topic
from market_engine.bus.memory import InProcessBus
from market_engine.storage.batches import BatchWriter
from market_engine.storage.database import Database
from market_engine.storage.market_store import MarketStore
from market_engine.storage.writer import WRITER_TOPICS, BatchLimits, Writer

TRADES_A_BAR = 60


def store(path: Path, last_id: int) -> None:
    database = Database(url_of(path))
    bus = InProcessBus()
    subscription = bus.subscribe(WRITER_TOPICS, "writer", 1_000, Full.WAIT)
    writer = Writer(BatchWriter(database), subscription, BatchLimits(messages=100, age_s=0.002))
    writer.start()
    next_id = (MarketStore(database).last_trade_id(VENUE, SYMBOL) or 0) + 1
    # The bar that was open is made anew from its beginning, as windows are after a restart.
    first_id = max(1, (next_id // TRADES_A_BAR - 1) * TRADES_A_BAR)
    print("begun", os.getpid(), flush=True)
    for trade_id in range(first_id, last_id + 1):
        bus.publish(Topic.MARKET_DATA, SYMBOL, [trade(trade_id)])
        if trade_id % TRADES_A_BAR == 0:
            bus.publish(Topic.METRICS, SYMBOL, [bar(trade_id // TRADES_A_BAR)])
    if not writer.stop(30):
        raise SystemExit(str(writer.stats().problem))
    database.close()


def main() -> None:
    for line in sys.stdin:
        path, last_id = line.split()
        pid = os.fork()
        if pid == 0:
            store(Path(path), int(last_id))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        print("ended", os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
