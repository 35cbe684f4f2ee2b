"""The plan of a simulated day: how many trades in each minute, and the price at its bounds.

All of it follows from the seed, the symbol and the day, so that any day can be made without those
before it. It must not know single trades, frames, or the time that it is.
"""

from __future__ import annotations

import math
from itertools import accumulate
from random import Random
from typing import Final

import msgspec

from market_engine.feeds.simulated_profiles import (
    SESSION_FROM_MINUTE,
    SESSION_TO_MINUTE,
    Profile,
    seeded,
)

MINUTES: Final = 1_440
QUIET_TRADES_A_MINUTE: Final = 6.0
"""In a quiet stretch; few enough that a minute without any comes as no surprise."""
QUIET_RISE: Final = 60.0
"""Times as many at most at both ends of a quiet stretch: silence falls and ends step by step."""
_QUIET_SLOT: Final = 240
_QUIET_DOWN, _QUIET_LEVEL, _QUIET_UP = 15, 50, 10
_QUIET_EMPTY: Final = (40, 47, 54, 61)
"""Minutes of a quiet stretch without any trade: windows of a minute run empty."""


class PlanConfig(msgspec.Struct, frozen=True):
    """What a plan depends on, beside the symbol and the day."""

    seed: int
    with_sessions: bool = False
    """Equities trade in their session only; otherwise around the clock."""
    with_quiet: bool = True
    """Six times a day each symbol falls almost silent."""
    night_level: float = 0.03
    """Of the equities, against the middle of their session, where they trade around the clock."""
    is_steady: bool = False
    """Every minute has as many trades as any other: to put a load on what is behind."""


class Regime(msgspec.Struct, frozen=True):
    """What all symbols share in a day: a common move, and how nervous the market is."""

    moves: list[float]
    stress: list[float]
    """About 1, at most 3; volatility, spreads and activity rise with it."""


class DayPlan(msgspec.Struct, frozen=True):
    """One symbol's day."""

    before: list[int]
    """``before[m]``: how many trades there are before minute ``m``; of 1,441."""
    bounds: list[float]
    """The logarithm of the price against the profile's, at each minute's beginning; of 1,441."""
    noise: list[float]
    """Its standard deviation within each minute."""
    stress: list[float]


def make_regime(seed: int, day: int) -> Regime:
    """The regime of a day; stress comes in stretches, as calm does."""
    rng = seeded(f"{seed}/regime/{day}")
    moves, stress, level, target = [], [], 1.0, 1.0
    for _ in range(MINUTES):
        if rng.random() < 1 / 90:
            target = rng.choice((0.7, 0.8, 1.0, 1.0, 1.6, 2.6))
        level += 0.1 * (target - level)
        moves.append(rng.gauss(0.0, 1.0))
        stress.append(level)
    return Regime(moves, stress)


def make_plan(
    config: PlanConfig, profile: Profile, day: int, trades: int, regime: Regime
) -> DayPlan:
    """The plan of a day with exactly so many trades."""
    rng = seeded(f"{config.seed}/{profile.symbol}/{day}")
    weights = _weights(config, profile, trades, regime, rng)
    sums = list(accumulate(weights, initial=0.0))
    before = [round(trades * part / sums[-1]) for part in sums]
    noise = _noise(profile, weights, regime)
    bounds = _bounds(config.seed, profile, day, regime, noise)
    return DayPlan(before, bounds, noise, regime.stress)


def _weights(
    config: PlanConfig, profile: Profile, trades: int, regime: Regime, rng: Random
) -> list[float]:
    """How lively each minute is: the day's shape, the market's stress, bursts that echo."""
    if config.is_steady:
        return [1.0] * MINUTES
    excited, weights = 0.0, []
    for minute, stress in enumerate(regime.stress):
        excited *= 0.8
        if rng.random() < 1 / 120:
            excited += min(rng.paretovariate(1.6), 8.0)
        lively = math.exp(0.25 * rng.gauss(0.0, 1.0)) * stress + excited
        shape = _equity_shape(config, minute) if profile.is_equity else _crypto_shape(minute)
        weights.append(shape * lively)
    if config.with_quiet and not config.with_sessions:
        _hush(weights, trades, rng)
    return weights


def _crypto_shape(minute: int) -> float:
    return 1.0 + 0.45 * math.cos(2 * math.pi * (minute - 15 * 60) / MINUTES)


def _equity_shape(config: PlanConfig, minute: int) -> float:
    """A U over the session; thin, and thinner with time, outside of it."""
    since, until = minute - SESSION_FROM_MINUTE, SESSION_TO_MINUTE - 1 - minute
    if since >= 0 and until >= 0:
        return 1.0 + 2.0 * math.exp(-since / 25) + 1.6 * math.exp(-until / 20)
    if config.with_sessions:
        return 0.0
    away = min(-since % MINUTES, -until % MINUTES)
    return config.night_level + 0.9 * math.exp(-away / 25)


def _hush(weights: list[float], trades: int, rng: Random) -> None:
    """Put quiet stretches into a day, unless it is that quiet anyway."""
    level = QUIET_TRADES_A_MINUTE * sum(weights) / max(trades, 1)
    for slot in range(0, MINUTES, _QUIET_SLOT):
        start = slot + rng.randrange(_QUIET_SLOT - _QUIET_DOWN - _QUIET_LEVEL - _QUIET_UP)
        trough, end = start + _QUIET_DOWN, start + _QUIET_DOWN + _QUIET_LEVEL
        for minute in range(start, end + _QUIET_UP):
            away = max((trough - minute) / _QUIET_DOWN, (minute - end + 1) / _QUIET_UP, 0.0)
            cap = level * QUIET_RISE**away
            weights[minute] = min(weights[minute], cap)
        for minute in _QUIET_EMPTY:
            weights[start + minute] = 0.0


def _noise(profile: Profile, weights: list[float], regime: Regime) -> list[float]:
    """Volatility goes with the root of activity, and with stress."""
    usual = sum(weights) / MINUTES
    minute = profile.day_volatility / math.sqrt(MINUTES)
    return [
        minute * stress * (0.3 + math.sqrt(min(weight / usual, 9.0)) * 0.7)
        for weight, stress in zip(weights, regime.stress, strict=True)
    ]


def _bounds(
    seed: int, profile: Profile, day: int, regime: Regime, noise: list[float]
) -> list[float]:
    """A walk from the level of this day to that of the next, half of it shared with all others."""
    rng = seeded(f"{seed}/{profile.symbol}/{day}/walk")
    steps = [
        sigma * (0.7 * common + 0.714 * rng.gauss(0.0, 1.0))
        for sigma, common in zip(noise, regime.moves, strict=True)
    ]
    walk = list(accumulate(steps, initial=0.0))
    start, end = _level(seed, profile, day), _level(seed, profile, day + 1)
    drift = (end - start - walk[-1]) / MINUTES
    return [start + drift * minute + place for minute, place in enumerate(walk)]


def _level(seed: int, profile: Profile, day: int) -> float:
    """Where a day begins: about the profile's price, however many days have gone by."""
    rng = seeded(f"{seed}/{profile.symbol}/{day}/level")
    return 1.5 * profile.day_volatility * rng.gauss(0.0, 1.0)
