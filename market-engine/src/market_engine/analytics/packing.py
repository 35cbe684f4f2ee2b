"""The rows of a pane in few bytes: differences of neighbours, compressed.

A tape holds every trade of an hour, because each one leaves the window at a moment of its own; at
thousands a second that is much, and most of it is not looked at for most of that time.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Final

ID_BITS: Final = 64
_IDS: Final = (1 << ID_BITS) - 1
_FASTEST: Final = 1

Row = tuple[int, int, int]
"""Key, price and quantity."""


def pack(rows: Sequence[Row]) -> bytes | None:
    """None where a number, or a difference, does not fit into 64 bits."""
    keys, prices, quantities = zip(*rows, strict=True)
    columns = (
        _differences([key >> ID_BITS for key in keys]),
        _differences([key & _IDS for key in keys]),
        _differences(prices),
        quantities,
    )
    numbers = array("q")
    try:
        for column in columns:
            numbers.extend(column)
    except OverflowError:
        return None
    return zlib.compress(numbers.tobytes(), _FASTEST)


def unpack(packed: bytes) -> list[Row]:
    """What was packed."""
    numbers = array("q")
    numbers.frombytes(zlib.decompress(packed))
    count = len(numbers) // 4
    times, ids, prices = (accumulate(numbers[n * count : (n + 1) * count]) for n in range(3))
    return [
        (at_ns << ID_BITS | order, price, qty)
        for at_ns, order, price, qty in zip(times, ids, prices, numbers[3 * count :], strict=True)
    ]


def _differences(numbers: Sequence[int]) -> Iterable[int]:
    return [numbers[0], *(later - earlier for earlier, later in pairwise(numbers))]
