"""What is done to the actors: one function an action, each leaves everything running again.

An action draws from its dice alone, so that a seed is a schedule. It tells the oracle what it did
to files; what the sidecar makes of it is ``settle``'s business.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from chaos.cast import Actor, Bot
from chaos.points import POINTS, numbers
from chaos.recovery import Journal, read_journals, tear
from chaos.world import World, pause_s
from trade_telemetry import LossReason

POINT_WAIT_S: Final = 0.7
START_WAIT_S: Final = 0.6
DOWN_S: Final = 0.4
GHOSTS_MAX: Final = 4


@dataclass(slots=True)
class Stage:
    """What an action is given: the world, the dice, and journals kept from earlier."""

    world: World
    dice: random.Random
    points: Sequence[int]
    ghosts: list[tuple[Bot, str, bytes]]

    def bot(self) -> Bot:
        """Any of them."""
        return self.dice.choice(self.world.bots)

    def refusing_bot(self) -> Bot:
        """One with a file, which drops nothing."""
        return self.dice.choice(
            [b for b in self.world.bots if b.journal_dir and b.kind.when_full == "refuse"]
        )

    def restart(self, actor: Actor) -> None:
        """After a random while."""
        pause_s(self.dice, DOWN_S)
        if isinstance(actor, Bot):
            self.world.start_bot(actor)
        else:
            self.world.start_sidecar()

    def arm(self, actor: Actor, when: str) -> bool:
        """Arm one of those points of the actor that were so the least; False when there is none."""
        kind = "bot" if isinstance(actor, Bot) else "sidecar"
        candidates = [each for each in numbers(kind, when) if each in self.points]
        if not candidates:
            return False
        armed = self.world.armed
        self.dice.shuffle(candidates)
        point = min(candidates, key=lambda number: armed[POINTS[number - 1].name])
        armed[POINTS[point - 1].name] += 1
        actor.control.arm(point, self.dice.randint(1, POINTS[point - 1].passings_max))
        return True


def kill(stage: Stage, actor: Actor) -> None:
    """At a random time."""
    stage.world.kill(actor)
    stage.restart(actor)


def kill_at_point(stage: Stage, actor: Actor) -> None:
    """At a named point, or where that is not passed, at a random time."""
    if stage.arm(actor, "load") and actor.dies_within(POINT_WAIT_S):
        stage.world.bury(actor)
    else:
        stage.world.kill(actor)
    stage.restart(actor)


def kill_at_start(stage: Stage, actor: Actor) -> None:
    """Twice: at a random time, and at a named point of the start that follows."""
    stage.world.kill(actor)
    pause_s(stage.dice, DOWN_S)
    armed = stage.arm(actor, "start")
    stage.world.start_bot(actor) if isinstance(actor, Bot) else stage.world.start_sidecar()
    if armed and actor.dies_within(START_WAIT_S):
        stage.world.bury(actor)
        stage.restart(actor)
    actor.control.arm(0, 0)


def quit_or_die(stage: Stage, actor: Actor) -> None:
    """An ordinary end, half of the time cut off at a named point of it."""
    if stage.dice.random() < 0.5:
        stage.arm(actor, "end")
    stage.world.quit(actor)
    stage.restart(actor)


def kill_both(stage: Stage, bot: Bot) -> None:
    """In any order, and started again in any order."""
    world, dice = stage.world, stage.dice
    actors: list[Actor] = [world.sidecar, bot]
    dice.shuffle(actors)
    world.kill(actors[0])
    pause_s(dice, 0.2)
    world.kill(actors[1])
    dice.shuffle(actors)
    for actor in actors:
        stage.restart(actor)


def kill_all(stage: Stage) -> None:
    """Everything at once."""
    for actor in stage.world.actors:
        actor.signal(signal.SIGKILL)
    actors = stage.world.actors
    for actor in actors:
        stage.world.bury(actor, f"{'bot' if isinstance(actor, Bot) else 'sidecar'}: at random")
    stage.dice.shuffle(actors)
    for actor in actors:
        stage.restart(actor)


def stop(stage: Stage, actor: Actor) -> None:
    """SIGSTOP, and SIGCONT or SIGKILL after a while."""
    actor.signal(signal.SIGSTOP)
    pause_s(stage.dice, 0.6)
    if stage.dice.random() < 0.3:
        stage.world.kill(actor, "while stopped")
        stage.restart(actor)
    else:
        actor.signal(signal.SIGCONT)


def reset(stage: Stage) -> None:
    """Cut the connections of the one port, the other, or both; some times."""
    proxies = [stage.world.push_proxy, stage.world.ack_proxy]
    for _ in range(stage.dice.randint(1, 4)):
        for proxy in stage.dice.sample(proxies, stage.dice.randint(1, 2)):
            proxy.reset()
        pause_s(stage.dice, 0.15)


def hold(stage: Stage) -> None:
    """Let nothing through one port, and then everything, or nothing of it."""
    proxy = stage.dice.choice([stage.world.push_proxy, stage.world.ack_proxy])
    proxy.hold(5)
    pause_s(stage.dice, 0.6)
    if stage.dice.random() < 0.5:
        proxy.reset()
    proxy.hold(0)


def fill_disk(stage: Stage) -> None:
    """The sidecar's disk is full for a while; half of the time it is killed and starts there."""
    world, dice = stage.world, stage.dice
    full_at = dice.choice((0, 4096, 100_000))
    world.fill_disk(world.sidecar, full_at)
    pause_s(dice, 0.6)
    if dice.random() < 0.5:
        world.kill(world.sidecar, "on a full disk")
        world.start_sidecar(file_bytes_max=full_at)
        pause_s(dice, 0.6)
    world.fill_disk(world.sidecar, None)


def start_on_full_disk(stage: Stage) -> None:
    """A bot that should have a journal file, and cannot."""
    bot = stage.dice.choice([bot for bot in stage.world.bots if bot.journal_dir])
    stage.world.kill(bot)
    stage.world.start_bot(bot, file_bytes_max=4096)


def tear_tail(stage: Stage) -> None:
    """The last slots of a dead bot's file are damaged; half of the time nobody has them yet."""
    world, dice, bot = stage.world, stage.dice, stage.refusing_bot()
    sidecar_down = dice.random() < 0.5
    if sidecar_down:
        world.kill(world.sidecar)
        pause_s(dice, 0.3)
    journal = _kill_for_journal(stage, bot)
    if journal is not None:
        _tear(stage, journal)
    for actor in (world.sidecar, bot) if sidecar_down else (bot,):
        stage.restart(actor)


def _tear(stage: Stage, journal: Journal) -> None:
    torn = tear(journal, stage.dice.randint(1, 5), stage.dice)
    epoch = stage.world.oracle.epochs[journal.key]
    for seq in torn:
        if seq > journal.tail:
            epoch.suspect(LossReason.JOURNAL, seq, seq)


def _kill_for_journal(stage: Stage, bot: Bot) -> Journal | None:
    """Kill a bot; the journal of the life that ended, if it had one."""
    life = bot.life
    bot.signal(signal.SIGKILL)
    journals = stage.world.bury(bot, "bot: at random")
    if life is None or life.epoch is None:
        return None
    return next((each for each in journals if each.key == life.epoch.key), None)


def older_journal(stage: Stage) -> None:
    """A dead bot's file is replaced by a copy from when it lived."""
    dice, bot = stage.dice, stage.refusing_bot()
    if bot.journal_dir is None or bot.life is None or bot.life.epoch is None:
        return
    present = [j.path for j in read_journals(bot.journal_dir, bot.kind.source)]
    copies = {}
    for path in present:
        with suppress(FileNotFoundError):  # a leftover that the bot has just settled
            copies[path] = path.read_bytes()
    pause_s(dice, 0.4)
    journal = _kill_for_journal(stage, bot)
    if journal is not None and journal.path in copies:
        journal.path.write_bytes(copies[journal.path])
        _note_older(stage, bot, journal)
    stage.restart(bot)


def _note_older(stage: Stage, bot: Bot, journal: Journal) -> None:
    assert bot.journal_dir is not None  # noqa: S101 - who has a journal has a directory
    journals = read_journals(bot.journal_dir, bot.kind.source)
    copy = next(each for each in journals if each.key == journal.key)
    epoch = stage.world.oracle.epochs[journal.key]
    accepted = len(epoch.events)
    epoch.ends = copy.head
    if copy.head < accepted:
        epoch.suspect(LossReason.JOURNAL, copy.head + 1, accepted)
    for seq in copy.unreadable:
        epoch.suspect(LossReason.JOURNAL, seq, seq)


def ghost(stage: Stage) -> None:
    """The file of an epoch that was settled long ago comes back; and one is kept for later."""
    bot = stage.refusing_bot()
    journal = _kill_for_journal(stage, bot)
    for owner, path, data in stage.ghosts:
        if owner is bot and bot.journal_dir is not None:
            (bot.journal_dir / path).write_bytes(data)
    stage.ghosts[:] = [each for each in stage.ghosts if each[0] is not bot][-GHOSTS_MAX:]
    if journal is not None:
        stage.ghosts.append((bot, journal.path.name, journal.path.read_bytes()))
    stage.restart(bot)


ACTIONS: Final[dict[str, tuple[int, Callable[[Stage], None]]]] = {
    "kill-sidecar": (4, lambda stage: kill(stage, stage.world.sidecar)),
    "kill-bot": (4, lambda stage: kill(stage, stage.bot())),
    "sidecar-point": (8, lambda stage: kill_at_point(stage, stage.world.sidecar)),
    "bot-point": (9, lambda stage: kill_at_point(stage, stage.bot())),
    "sidecar-start": (3, lambda stage: kill_at_start(stage, stage.world.sidecar)),
    "bot-start": (5, lambda stage: kill_at_start(stage, stage.bot())),
    "sidecar-end": (2, lambda stage: quit_or_die(stage, stage.world.sidecar)),
    "bot-end": (3, lambda stage: quit_or_die(stage, stage.bot())),
    "both": (4, lambda stage: kill_both(stage, stage.bot())),
    "all": (1, kill_all),
    "stop": (3, lambda stage: stop(stage, stage.dice.choice(stage.world.actors))),
    "reset": (2, reset),
    "hold": (2, hold),
    "full-disk": (2, fill_disk),
    "bot-full-disk": (1, start_on_full_disk),
    "torn-tail": (3, tear_tail),
    "older-journal": (2, older_journal),
    "ghost": (2, ghost),
}
"""By name: how often, and what."""


def mend(stage: Stage) -> None:
    """Take back every fault and have every actor running."""
    world = stage.world
    world.push_proxy.hold(0)
    world.ack_proxy.hold(0)
    for actor in world.actors:
        actor.control.arm(0, 0)
        actor.signal(signal.SIGCONT)
        if not actor.runs:
            stage.restart(actor)
    world.fill_disk(world.sidecar, None)
