"""What was stored beside the ledger, compared with it: position rows, and the newest snapshot.

Pure functions, which give each difference as an amount; 0 where there is none. They know no market.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from market_engine.paper.model import PositionRow, Snapshot
from market_engine.paper.money import ZERO, add, product, subtract
from market_engine.paper.positions import Position

_ONE_NANO = 10**9


def position_gaps(
    positions: Mapping[str, Position], rows: Iterable[PositionRow]
) -> Iterator[Decimal]:
    """Quantity, cost and realised of each stored row, less those that the fills make."""
    stored = {row.symbol: row for row in rows}
    for symbol in sorted(positions.keys() | stored.keys()):
        position, row = positions.get(symbol), stored.get(symbol)
        known = position or Position(symbol)
        qty_nano, cost, realised = (
            (0, ZERO, ZERO) if row is None else (row.qty_nano, row.cost, row.realised)
        )
        yield subtract(cost, known.cost)
        yield subtract(realised, known.realised)
        yield product(qty_nano - known.qty_nano, _ONE_NANO)


def balance_gaps(
    snapshot: Snapshot, balances: tuple[Decimal, Decimal, Decimal]
) -> Iterator[Decimal]:
    """Cash, realised and fees of a snapshot, less those of the ledger."""
    stored = snapshot.cash, snapshot.realised, snapshot.fees
    return map(subtract, stored, balances)


def equity_gaps(
    snapshot: Snapshot, cash: Decimal, positions: Iterable[Position]
) -> Iterator[Decimal]:
    """Equity and unrealised of a snapshot, less what its own marks make of positions.

    Last, by how much the equity is above the peak, which it never is.
    """
    equity: Decimal | None = cash
    unrealised: Decimal | None = ZERO
    for position in positions:
        if not position.qty_nano:
            continue
        mark = snapshot.marks.get(position.symbol)
        if equity is None or unrealised is None or mark is None or mark.price_nano is None:
            equity = unrealised = None
            continue
        value = product(mark.price_nano, position.qty_nano)
        equity = add(equity, value)
        unrealised = add(unrealised, subtract(value, position.cost))
    yield subtract(snapshot.equity or ZERO, equity or ZERO)
    yield subtract(snapshot.unrealised or ZERO, unrealised or ZERO)
    if equity is not None and snapshot.peak is not None:
        yield max(ZERO, subtract(equity, snapshot.peak))
