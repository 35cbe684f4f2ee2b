"""Rounds: load and actions for a few seconds, then peace until every number is settled.

Between rounds the state may be put back to an older copy, which the oracle foresees to the event.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chaos.actions import ACTIONS, Stage, mend
from chaos.cast import Bot, ChaosError
from chaos.control import PAUSE, RUN
from chaos.metrics import Readings, parse
from chaos.oracle import Kept
from chaos.points import POINTS
from chaos.recovery import Key, copy_state, put_state_back, read_offsets
from chaos.settle import compare
from chaos.world import World, pause_s

ACTIONS_A_ROUND: Final = (4, 9)
BETWEEN_S: Final = 0.15
COPIES_MAX: Final = 3
OLDER_STATE_SHARE: Final = 0.12
COPY_SHARE: Final = 0.25
LOOK_AGAIN_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Plan:
    """What may happen: names of actions, numbers of points, and how long peace may take."""

    actions: tuple[str, ...] = tuple(ACTIONS)
    points: tuple[int, ...] = tuple(range(1, len(POINTS) + 1))
    older_states: bool = True
    settle_s: float = 20.0
    per_round: tuple[int, int] = ACTIONS_A_ROUND


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
    _ghosts: list[tuple[Bot, str, bytes]] = field(default_factory=list)
    _copies: list[Copy] = field(default_factory=list)

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
        weights = [ACTIONS[name][0] for name in self.plan.actions]
        for _ in range(dice.randint(*self.plan.per_round)):
            pause_s(dice, BETWEEN_S)
            (name,) = dice.choices(self.plan.actions, weights)
            self.done[name] += 1
            ACTIONS[name][1](stage)
            self.world.check_alive()
        mend(stage)
        self.settle()
        if self.plan.older_states:
            self._older_states(stage)

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

    def settle(self) -> None:
        """Wait until nothing waits and all is equal; at most the plan's seconds."""
        world = self.world
        world.set_mode(PAUSE)
        began_s = time.monotonic()
        differences = ["nothing was read"]
        while differences:
            world.check_alive()
            self._check_broken()
            if time.monotonic() > began_s + self.plan.settle_s:
                raise ChaosError("not settled:\n" + "\n".join(differences))
            time.sleep(LOOK_AGAIN_S)
            differences = self._unrest() or self._differences()
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

    def _unrest(self) -> list[str]:
        """Which bots still have something to send, by their own word."""
        unrest = []
        for bot in self.world.bots:
            stats = bot.life.stats if bot.life else None
            if bot.runs and (stats is None or stats.first or stats.second):
                unrest.append(f"{bot.name}: says {stats and (stats.first, stats.second)} wait")
        return unrest

    def _differences(self) -> list[str]:
        world = self.world
        before = read_offsets(world.state_dir)
        text = world.reader.text()
        if text is None:
            return ["the sidecar does not answer"]
        self.figures = parse(text)
        if read_offsets(world.state_dir) != before:
            return ["the offsets move"]
        return compare(world.oracle, world.sources, before, self.figures)

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

    def _older_states(self, stage: Stage) -> None:
        share = stage.dice.random()
        if share < OLDER_STATE_SHARE and self._copies:
            self._put_back(stage, stage.dice.choice(self._copies))
        elif share > 1 - COPY_SHARE:
            self._copy(stage)

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
        world.sampler.new_life()
        self._copies = [copy]
        self._ghosts.clear()
        world.start_sidecar()
        for bot in world.bots:
            if not bot.runs:
                world.start_bot(bot, mode=PAUSE)
        self.settle()
