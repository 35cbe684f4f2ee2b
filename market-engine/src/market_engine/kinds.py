"""What a symbol is, ``crypto`` or ``equity``: of a market that is live, replayed or simulated.

A recording of frames names its symbols only as it goes, so they are known when the view has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from market_engine.feeds.simulated_profiles import profile_of
from market_engine.view import MarketView


def kind_of(venue: str, symbol: str) -> str:
    """By its venue; the simulated one has both."""
    is_equity = venue == "simulated" and profile_of(symbol).is_equity
    return "equity" if is_equity else "crypto"


class Kinds(Mapping[str, str]):
    """Of all symbols that a market has named so far; any thread."""

    def __init__(self, view: MarketView) -> None:
        self._view = view

    def __getitem__(self, symbol: str) -> str:
        if self._view.symbol(symbol) is None:
            raise KeyError(symbol)
        return kind_of(self._view.venue, symbol)

    def __iter__(self) -> Iterator[str]:
        return iter(self._view.symbols())

    def __len__(self) -> int:
        return len(self._view.symbols())
