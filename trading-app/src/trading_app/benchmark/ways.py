"""What a way to count a trade is, and the trades that every way is given.

It must not know any of them, nor how they are measured.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import product
from typing import Final

SIDES: Final = ("buy", "sell")
SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
TRADES: Final = [
    (side, 0.5 + number, symbol, 64_000.0 / 10**number)
    for (number, symbol), side in product(enumerate(SYMBOLS), SIDES)
]
"""Side, quantity, symbol and price, so that no way counts the same one again and again."""

Count = Callable[[str, float, str, float], object]
"""Side, quantity, symbol and price of a trade that happens now."""


def _at_once() -> None:
    """There is nothing to wait for."""


@dataclass(frozen=True, slots=True)
class Counter:
    """A way that is open: ``count`` is what is timed, written as its user would.

    ``counted`` tells how many trades have arrived where the way takes them; what is on its way is
    waited for by who asks. ``settle`` returns when nothing of it runs on in this process.
    """

    count: Count
    counted: Callable[[], int]
    settle: Callable[[], None] = _at_once


@dataclass(frozen=True, slots=True)
class Way:
    """A way to do for a trade what `publish` does: count by side and symbol, volume, last time.

    ``package`` is the distribution whose version is told. ``what`` says in sentences what is done
    for a trade, and what is not. Of a ``lossy`` one less may arrive than was given, and nobody is
    told. ``open`` raises ModuleNotFoundError when a package is missing.
    """

    name: str
    title: str
    package: str
    what: str
    open: Callable[[], AbstractContextManager[Counter]]
    lossy: bool = False
