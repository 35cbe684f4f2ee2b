"""What the simulated symbols are like: prices, ticks, sizes, spreads, and how lively they are."""

from __future__ import annotations

from random import Random
from typing import Final

import msgspec

SESSION_FROM_MINUTE: Final = 13 * 60 + 30
SESSION_TO_MINUTE: Final = 20 * 60
"""The equities' session in minutes of the UTC day; summer time is left out."""


class Profile(msgspec.Struct, frozen=True):
    """One symbol. A price is counted in ticks, a quantity in lots."""

    symbol: str
    price: float
    """About which its price moves, in its currency."""
    price_digits: int
    """A tick is one of the last of them after the point."""
    qty_digits: int
    """A lot likewise; 0 for shares."""
    qty_lots: float
    """The usual size of a trade."""
    spread_ticks: float
    """The usual spread; never less than one tick."""
    day_volatility: float
    """Of the logarithm of the price over a day."""
    share: float
    """Of all trades, against the shares of the other symbols."""
    is_equity: bool = False
    """It has a session, on weekdays."""


_KNOWN: Final = {
    profile.symbol: profile
    for profile in (
        Profile("BTCUSDT", 64_000.0, 2, 5, 900.0, 60.0, 0.025, 0.34),
        Profile("ETHUSDT", 3_400.0, 2, 4, 3_000.0, 6.0, 0.03, 0.26),
        Profile("AAPL", 230.0, 2, 0, 60.0, 1.2, 0.014, 0.12, is_equity=True),
        Profile("GOOGL", 175.0, 2, 0, 50.0, 1.4, 0.016, 0.08, is_equity=True),
        Profile("MSFT", 420.0, 2, 0, 40.0, 2.0, 0.013, 0.08, is_equity=True),
        Profile("TSLA", 260.0, 2, 0, 80.0, 2.5, 0.03, 0.12, is_equity=True),
    )
}
SYMBOLS: Final = tuple(_KNOWN)


def seeded(key: str) -> Random:
    """The random source of one thing, the same in every process: text seeds do not use hashes."""
    return Random(key)  # noqa: S311 - it has to be foreseeable


def profile_of(symbol: str) -> Profile:
    """One that is known, or one made up from its name: always the same for the same name."""
    if symbol in _KNOWN:
        return _KNOWN[symbol]
    rng = seeded(f"profile/{symbol}")
    price = 10 ** rng.uniform(1.0, 3.0)
    if symbol.endswith("USDT"):
        return Profile(symbol, price, 4, 2, 2_000.0, 1 + price * 0.5, 0.04, 0.08)
    return Profile(symbol, price, 2, 0, 60.0, 1 + price / 200, 0.02, 0.08, is_equity=True)
