"""The one shape of every feed, live, recorded or simulated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from market_engine.events import Event

Emit = Callable[[Sequence[Event]], None]
"""Takes events in the order in which they were received; called from the thread that runs the feed,
one call at a time. It may block for as long as what comes behind it is full."""


class Feed(Protocol):
    """A source of events."""

    @property
    def venue(self) -> str:
        """What it says in each event, such as ``binance``."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """Whose events it brings, in upper case."""

    def run(self, emit: Emit) -> None:
        """Give every event until the source ends or ``stop`` is called; then return.

        What can be mended is mended (a lost connection, a bad frame), and told as events; raises
        FeedError or FileError only where going on makes no sense.
        """

    def stop(self) -> None:
        """Have ``run`` return within two seconds; from any thread, any number of times."""
