"""The trades of a bot's life: the n-th follows from seed, life and n, so that nobody need tell it.

Packed into one number: nano-units × 4 + symbol × 2 + side. The four last values are the *class*.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

CLASSES: Final = 4
SIDES: Final = ("buy", "sell")
QTY_NANO_MAX: Final = 2 * 10**9
_MASK: Final = 2**64 - 1


def life_seed(seed: int, source: str, life: int) -> int:
    """What the events of one life follow from."""
    name = f"{seed}/{source}/{life}".encode()
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "big")


def event(seed: int, number: int) -> int:
    """The packed event of an attempt, from 0."""
    mixed = (seed + number * 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    mixed ^= mixed >> 31
    return (1 + mixed % QTY_NANO_MAX) * CLASSES + (mixed >> 60) % CLASSES


def pack(qty: float, side: str, symbol: str | None) -> int:
    """The packed event of a trade as read back from a journal."""
    return round(qty * 1e9) * CLASSES + (symbol or "").endswith(".1") * 2 + SIDES.index(side)


def symbol_of(source: str, packed: int) -> str:
    """Each publisher has symbols of its own, so that its trades are told apart in the totals."""
    return f"{source}.{packed >> 1 & 1}"


@dataclass(slots=True)
class Sums:
    """How many events of each class, and their nano-units."""

    counts: list[int] = field(default_factory=lambda: [0] * CLASSES)
    nano: list[int] = field(default_factory=lambda: [0] * CLASSES)

    def add(self, events: Iterable[int], sign: int = 1) -> None:
        """Add events, or take them away."""
        counts, nano = self.counts, self.nano
        for each in events:
            counts[each & 3] += sign
            nano[each & 3] += sign * (each >> 2)

    def plus(self, other: Sums, sign: int = 1) -> Sums:
        """The sum or the difference of two."""
        return Sums(
            [mine + sign * its for mine, its in zip(self.counts, other.counts, strict=True)],
            [mine + sign * its for mine, its in zip(self.nano, other.nano, strict=True)],
        )

    @property
    def count(self) -> int:
        """Events of all classes."""
        return sum(self.counts)
