"""When a figure of two runs is called changed. Pure; it must not know what the figure is of.

The rule: the medians of the rounds differ by more than 5 %, and the ranges of the rounds do not
touch. A range is from the lowest round to the highest; of ten rounds or more, a tenth at each end
is left out. With fewer than three rounds on a side nothing is called a change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal

MOVED_MIN: Final = 0.05
ROUNDS_MIN: Final = 3
RULE: Final = (
    f"A change is a median that moved by more than {MOVED_MIN:.0%} while the ranges of the rounds "
    f"do not touch; it takes {ROUNDS_MIN} rounds.\nOf ten rounds or more, a tenth at each end is "
    "no part of the range."
).replace("%", " %")

Verdict = Literal["worse", "better", "unsure", "same"]


@dataclass(frozen=True, slots=True)
class Spread:
    """What stands for the rounds, mostly their median, and their range."""

    middle: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, rounds: Sequence[float], middle: float | None = None) -> Spread:
        """Of one round or more; ``middle`` is what stands for them, if not their median."""
        tenth = len(rounds) // 10
        kept = sorted(rounds)[tenth : len(rounds) - tenth]
        middle = median(rounds) if middle is None else middle
        return cls(middle, kept[0], kept[-1], len(rounds))


@dataclass(frozen=True, slots=True)
class Change:
    """One figure in both results."""

    title: str
    unit: str
    base: Spread
    new: Spread
    more_is_better: bool

    @property
    def moved(self) -> float:
        """By which part of itself the median moved: 0.1 is 10 % more. Endless from 0."""
        by = self.new.middle - self.base.middle
        if self.base.middle:
            return by / abs(self.base.middle)
        return math.copysign(math.inf, by) if by else 0.0

    @property
    def verdict(self) -> Verdict:
        """By the rule; ``unsure`` is what has too few rounds for it."""
        if self.moved and min(self.base.rounds, self.new.rounds) < ROUNDS_MIN:
            return "unsure"
        is_apart = self.new.low > self.base.high or self.new.high < self.base.low
        if not is_apart or abs(self.moved) <= MOVED_MIN:
            return "same"
        return "better" if (self.moved > 0) == self.more_is_better else "worse"
