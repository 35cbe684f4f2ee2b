"""A process that fills orders and hands the fills to the telemetry, until it is killed or told to
end: ``telemetry_child.py FOLDER ADDRESS``. Each line of its input asks for so many more fills."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path

from market_engine.paper.model import BookName, Evidence, EvidenceKind, Fill
from market_engine.paper.store import DeskStore
from market_engine.paper.telemetry import FillTelemetry, fill_telemetry
from market_engine.storage.database import Database

AT_NS = 1_790_000_000 * 10**9
BATCH_FILLS = 3


def fill(number: int, book: BookName = BookName.NEUTRAL, symbol: str = "BTCUSDT") -> Fill:
    """The fill of a number: always the same."""
    evidence = Evidence(EvidenceKind.QUOTE, AT_NS, AT_NS, 64_000 * 10**9, 10**9, 0)
    return Fill(
        number if book is BookName.NEUTRAL else 0,
        book,
        "main",
        f"order-{number}",
        number,
        1,
        symbol,
        "sell" if number % 3 == 0 else "buy",
        64_000 * 10**9 + number,
        number * 250_000_000,
        Decimal("0.5"),
        False,
        AT_NS + number * 10**6,
        evidence,
    )


def opened(folder: Path, address: str) -> tuple[Database, DeskStore, FillTelemetry]:
    """The parts of a desk that matter here."""
    database = Database(f"sqlite:///{folder}/desk.db")
    return database, DeskStore(database), fill_telemetry(database, address, folder / "journal")


def write_fills(store: DeskStore, last: int, telemetry: FillTelemetry) -> None:
    """Go on from the newest fill to a number, a few in each transaction, in all books."""
    number = store.last_numbers()[1]
    while number < last:
        numbers = range(number + 1, min(last, number + BATCH_FILLS) + 1)
        store.write([fill(each, book) for each in numbers for book in BookName])
        telemetry.wake()
        number = numbers[-1]


def main() -> None:
    """As the engine does it: the telemetry begins after the store, and ends before it."""
    folder, address = Path(sys.argv[1]), sys.argv[2]
    database, store, telemetry = opened(folder, address)
    telemetry.start()
    for line in sys.stdin:
        write_fills(store, int(line), telemetry)
        print(store.last_numbers()[1], flush=True)
    telemetry.stop()
    database.close()


if __name__ == "__main__":
    main()
