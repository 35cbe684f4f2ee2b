"""Rounds: load and actions for a few seconds, then peace until every number is settled.

Between rounds the state may be put back to an older copy, which the oracle foresees to the event.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chaos.actions import ACTIONS, Stage, mend
from chaos.cast import Bot, ChaosError
from chaos.control import PAUSE, RUN, Control
from chaos.metrics import Readings, parse
from chaos.oracle import Kept
from chaos.points import POINTS
from chaos.recovery import Key, Offsets, copy_state, put_state_back, read_offsets
from chaos.settle import compare
from chaos.world import World, pause_s

ACTIONS_A_ROUND: Final = (4, 9)
BETWEEN_S: Final = 0.15
COPIES_MAX: Final = 3
BETWEEN_ROUNDS: Final = {"older-state": 1, "copy": 2, "day-of-silence": 1, "nothing": 4}
LOOK_AGAIN_S: Final = 0.02
PEACE_S_MAX: Final = 120.0
SAMPLES_A_SECOND_MIN: Final = 1.0
"""Of /metrics, while a sidecar runs: only a sampler that is dead or stuck reads less."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What may happen: names of actions, numbers of points.

    ``settle_s`` is how long nothing may change once nobody has anything to send, if it is wrong.
    """

    actions: tuple[str, ...] = tuple(ACTIONS)
    points: tuple[int, ...] = tuple(range(1, len(POINTS) + 1))
    older_states: bool = True
    settle_s: float = 20.0
    per_round: tuple[int, int] = ACTIONS_A_ROUND


def dealt(weights: Mapping[str, int], dice: random.Random) -> Iterator[str]:
    """Names without end, in any order; each as often as it weighs before all begin anew."""
    while True:
        deck = [name for name, weight in weights.items() for _ in range(weight)]
        dice.shuffle(deck)
        yield from deck


@dataclass(slots=True)
class Copy:
    """A copy of the state, and what the oracle knew then."""

    folder: Path
    kept: dict[Key, Kept]
    figures: Readings


@dataclass(slots=True)
class Rounds:
    """One run's rounds on one world."""

    world: World
    plan: Plan
    seed: int
    number: int = 0
    settling_s: float = 0.0
    settling_s_max: float = 0.0
    cost: int = 0
    done: Counter[str] = field(default_factory=Counter)
    figures: Readings = field(default_factory=dict)
    undone: Counter[str] = field(default_factory=Counter)
    _offsets: Offsets = field(default_factory=Offsets)
    _ghosts: list[tuple[Bot, str, bytes]] = field(default_factory=list)
    _copies: list[Copy] = field(default_factory=list)
    _actions: Iterator[str] = field(init=False)
    _between: Iterator[str] = field(init=False)

    def __post_init__(self) -> None:
        """Shuffle."""
        weights = {name: ACTIONS[name][0] for name in self.plan.actions}
        self._actions = dealt(weights, random.Random(f"{self.seed}/actions"))  # noqa: S311
        self._between = dealt(BETWEEN_ROUNDS, random.Random(f"{self.seed}/between"))  # noqa: S311

    def begin(self) -> None:
        """Start everything."""
        self.world.start_sidecar()
        for bot in self.world.bots:
            self.world.start_bot(bot)

    def run_one(self) -> None:
        """One round; raises ChaosError when a guarantee is broken."""
        self.number += 1
        dice = random.Random(f"{self.seed}/{self.number}")  # noqa: S311 - to be repeated
        stage = Stage(self.world, dice, self.plan.points, self._ghosts)
        self.world.set_rates(dice)
        self.world.set_mode(RUN)
        for _ in range(dice.randint(*self.plan.per_round)):
            pause_s(dice, BETWEEN_S)
            name = next(self._actions)
            self.done[name] += 1
            ACTIONS[name][1](stage)
            self.world.check_alive()
        mend(stage)
        self.settle()
        if self.plan.older_states:
            self._between_rounds(stage)

    def end(self) -> None:
        """Everybody ends in the ordinary way, and nothing is left."""
        for bot in self.world.bots:
            self.world.quit(bot)
            if bot.life is None or bot.life.closed != 0:
                raise ChaosError(f"{bot.name} closed with {bot.life and bot.life.closed} unsettled")
        self.settle()
        self.world.quit(self.world.sidecar)
        self.world.start_sidecar()
        self.settle()
        samples, seconds = self.world.sampler.samples, self.world.sidecar_s()
        if samples < SAMPLES_A_SECOND_MIN * seconds:
            raise ChaosError(f"/metrics was read {samples} times in {seconds:.0f} s of the sidecar")

    def settle(self) -> None:
        """Wait until nothing waits and all is equal; a difference that stays is a defect.

        How long something may wait is generous, for a slow machine is none.
        """
        world = self.world
        world.set_mode(PAUSE)
        samples = world.sampler.samples
        began_s = since_s = time.monotonic()
        told: list[str] = []
        while True:
            world.check_alive()
            unrest = self._unrest(samples) or self._read()
            differences = unrest or compare(
                world.oracle, world.sources, self._offsets, self.figures
            )
            self._check_broken()
            if not differences:
                break
            now_s = time.monotonic()
            if unrest or differences != told:
                told, since_s = differences, now_s
            if now_s > min(since_s + self.plan.settle_s, began_s + PEACE_S_MAX):
                raise ChaosError("not settled:\n" + "\n".join(differences))
            time.sleep(LOOK_AGAIN_S)
        self._check_figures()
        taken_s = time.monotonic() - began_s
        self.settling_s += taken_s
        self.settling_s_max = max(self.settling_s_max, taken_s)
        living = {bot.life.epoch for bot in world.bots if bot.runs and bot.life}
        for epoch in world.oracle.epochs.values():
            epoch.held = epoch in living

    def _check_broken(self) -> None:
        broken = [*self.world.broken, *self.world.oracle.broken, *self.world.sampler.violations]
        if broken:
            raise ChaosError("\n".join(broken))

    def _unrest(self, samples: int) -> list[str]:
        """Which bots still have something to send, by their own word; whether nobody sampled."""
        unrest = []
        if self.world.sampler.samples <= samples:
            unrest.append("the sampler reads nothing")
        for bot in self.world.bots:
            stats = self.world.standing(bot)
            if bot.runs and (stats is None or stats.first or stats.second):
                unrest.append(f"{bot.name}: says {stats and (stats.first, stats.second)} wait")
        return unrest

    def _read(self) -> list[str]:
        """Read offsets and figures of one moment; why that cannot be done now."""
        world = self.world
        try:
            before = read_offsets(world.state_dir)
            text = world.reader.text()
            after = read_offsets(world.state_dir)
        except sqlite3.OperationalError as error:
            return [f"the state cannot be read: {error}"]
        if text is None:
            return ["the sidecar does not answer"]
        if before != after:
            return ["the offsets move"]
        self._offsets, self.figures = before, parse(text).values
        return []

    def _check_figures(self) -> None:
        """What must never happen by a kill."""
        never = ["state_set_aside", "state_rewritten", "receiver_errors"]
        if self.world.epochs_max is None:
            never.append("turned_away")
        for name in never:
            if count := self.figures.get(f"telemetry_{name}_total", 0.0):
                raise ChaosError(f"telemetry_{name}_total is {count:g}")
        for bot in self.world.bots:
            if bot.runs and bot.life and bot.life.stats and bot.life.stats.third:
                raise ChaosError(f"{bot.name}: its sender failed {bot.life.stats.third} times")

    def _between_rounds(self, stage: Stage) -> None:
        name = next(self._between)
        if name == "older-state" and self._copies:
            self._put_back(stage, stage.dice.choice(self._copies))
        elif name == "copy":
            self._copy(stage)
        elif name == "day-of-silence":
            self._pass_day(stage)

    def _pass_day(self, stage: Stage) -> None:
        """A day in which nobody is heard: all are settled, and who lives goes on where he was."""
        world, words = self.world, self.world.sidecar.control.words
        self.done["day-of-silence"] += 1
        words[Control.DAY] = 1
        deadline_s = time.monotonic() + PEACE_S_MAX
        while words[Control.DAY]:
            world.check_alive()
            if time.monotonic() > deadline_s:
                raise ChaosError(f"the sidecar took no day of silence in {PEACE_S_MAX:g} s")
            time.sleep(LOOK_AGAIN_S)
        if stage.dice.random() < 0.5:
            world.kill(world.sidecar)
            stage.restart(world.sidecar)
        self.settle()

    def _copy(self, stage: Stage) -> None:
        world = self.world
        world.kill(world.sidecar)
        folder = copy_state(world.state_dir, world.free_folder("copy"))
        self._copies = [*self._copies, Copy(folder, world.oracle.keep(), self.figures)][
            -COPIES_MAX:
        ]
        stage.restart(world.sidecar)

    def _put_back(self, stage: Stage, copy: Copy) -> None:
        """Nothing waits. Some bots are killed as well, the state goes back, and all must add up."""
        world, dice = self.world, stage.dice
        self.done["older-state"] += 1
        for bot in world.bots:
            if dice.random() < 0.25:
                world.kill(bot)
        world.kill(world.sidecar)
        put_state_back(world.state_dir, copy.folder)
        self.cost += world.oracle.put_back(copy.kept)
        for name, value in self.figures.items():
            self.undone[name] += int(value - copy.figures.get(name, 0))
        world.promises.forget()
        world.sampler.new_life(copy.figures)
        self._copies = [copy]
        self._ghosts.clear()
        world.start_sidecar()
        for bot in world.bots:
            if not bot.runs:
                world.start_bot(bot, mode=PAUSE)
        self.settle()
