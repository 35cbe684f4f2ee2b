"""The processes and the network between them: start, kill, stop, wait for the end, look at it.

``World`` owns everything that must be given back. What is done to it when is ``actions``; whether
the numbers are right is ``settle``.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from chaos.actors import BotJob, SidecarJob
from chaos.cast import Actor, Bot, BotKind, ChaosError
from chaos.control import QUIT, RUN, Control, Kind, Report
from chaos.deaths import note_deaths
from chaos.events import event, life_seed
from chaos.listening import Ears, Promises, records
from chaos.metrics import Reader, Sampler
from chaos.oracle import Life, Oracle
from chaos.points import POINTS
from chaos.proxy import Proxy
from chaos.recovery import Journal, read_dead_offsets, read_journals
from chaos.zygote import Zygote

END_S_MAX: Final = 60.0
LISTEN_S: Final = 0.2
PORTS: Final = 2_500
QUESTIONS: Final = 256


class World:
    """Everything that runs, in a folder of its own; to be closed."""

    fault: str | None = None
    epochs_max: int | None = None

    def __init__(self, seed: int, folder: Path, bots: tuple[BotKind, ...], rate: int) -> None:
        self.seed = seed
        self.folder = folder
        self.rate = rate
        self.oracle = Oracle()
        self.kills: Counter[str] = Counter()
        self.armed: Counter[str] = Counter()
        self.broken: list[str] = []
        self.deaths: list[str] = []
        note_deaths(self.deaths)
        self._lived_s = 0.0
        self._question = 0
        self._copies = 0
        self.state_dir = folder / "state"
        self.state_dir.mkdir(parents=True)
        self.zygote = Zygote()
        self._ports = _free_ports(3, random.Random(folder.name))  # noqa: S311 - no secret
        self.push_proxy, self.ack_proxy = Proxy(self._ports[0]), Proxy(self._ports[1])
        self.ears = Ears()
        self.promises = Promises(self._ports[1])
        self.reader = Reader(self._ports[2])
        self.sampler = Sampler(self._ports[2], [kind.source for kind in bots])
        self.sidecar = Actor("sidecar", Control(folder / "sidecar.control"))
        self.bots = [self._make_bot(kind) for kind in bots]
        self._logs = {each.name: (folder / f"{each.name}.log").open("ab") for each in self.actors}

    @property
    def actors(self) -> list[Actor]:
        """The sidecar first."""
        return [self.sidecar, *self.bots]

    @property
    def sources(self) -> list[str]:
        """The publishers' names."""
        return [bot.kind.source for bot in self.bots]

    def _make_bot(self, kind: BotKind) -> Bot:
        control = Control(self.folder / f"{kind.source}.control")
        control.words[Control.RATE] = self.rate
        folder = self.folder / "journals" / kind.source if kind.journal else None
        return Bot(kind.source, control, kind=kind, journal_dir=folder)

    def start_sidecar(self, file_bytes_max: int | None = None) -> None:
        """Fork it; it will serve in a moment."""
        push, acks, http = self._ports
        environment = {
            "SIDECAR_ZMQ_BIND": f"tcp://127.0.0.1:{push}",
            "SIDECAR_ZMQ_ACK_BIND": f"tcp://127.0.0.1:{acks}",
            "SIDECAR_HTTP_PORT": str(http),
            "SIDECAR_STATE_DIR": str(self.state_dir),
            "SIDECAR_LOG_FORMAT": "json",
        }
        control = str(self.sidecar.control.path)
        job = SidecarJob(
            environment, str(self.folder), control, self.fault, file_bytes_max, self.epochs_max
        )
        self._start(self.sidecar, job, lambda _: None)

    def start_bot(self, bot: Bot, *, mode: int = RUN, file_bytes_max: int | None = None) -> None:
        """Begin a new life of a bot."""
        bot.lives += 1
        bot.quitting = False
        bot.control.words[Control.MODE] = mode
        kind = bot.kind
        job = BotJob(
            self.seed,
            kind.source,
            bot.lives,
            f"tcp://127.0.0.1:{self.push_proxy.port}",
            f"tcp://127.0.0.1:{self.ack_proxy.port}",
            str(bot.journal_dir) if bot.journal_dir else None,
            kind.capacity,
            kind.when_full,
            str(bot.control.path),
            self.fault,
            file_bytes_max,
        )
        seed = life_seed(self.seed, kind.source, bot.lives)
        bot.life = Life(kind.source, kind.capacity, seed, self.oracle)
        self._start(bot, job, bot.life.take)

    def _start(
        self, actor: Actor, job: SidecarJob | BotJob, take: Callable[[Report], object]
    ) -> None:
        read, write = os.pipe()
        log_read, log_write = os.pipe()
        actor.died_at = 0

        def hear(record: Report) -> None:
            if record.kind == Kind.DYING:
                actor.died_at = record.first
            else:
                take(record)

        actor.heard_all = self.ears.add(read, records(hear))
        self.ears.add(log_read, self._log(actor))
        actor.started_s = time.monotonic()
        actor.pid = self.zygote.start(job, write, log_write)
        actor.pidfd = os.pidfd_open(actor.pid)
        os.close(write)
        os.close(log_write)

    def _log(self, actor: Actor) -> Callable[[bytes], object]:
        log = self._logs[actor.name]

        def write(data: bytes) -> None:
            log.write(data)
            log.flush()

        return write

    def kill(self, actor: Actor, what: str = "at random") -> None:
        """SIGKILL now, and bury."""
        name = "sidecar" if actor is self.sidecar else "bot"
        actor.signal(signal.SIGKILL)
        self.bury(actor, f"{name}: {what}")

    def bury(self, actor: Actor, what: str = "") -> list[Journal]:
        """Wait for the end of an actor, hear all it said, look at what it left."""
        if not actor.dies_within(END_S_MAX):
            raise ChaosError(f"{actor.name} does not end")
        self._hear_out(actor)
        if actor is self.sidecar:
            self._lived_s = self.sidecar_s()
        code = self.zygote.reap(actor.pid)
        os.close(actor.pidfd)
        actor.pid, actor.pidfd = 0, -1
        actor.control.arm(0, 0)
        if code == -signal.SIGKILL:
            self.kills[POINTS[actor.died_at - 1].name if actor.died_at else what] += 1
        elif code == -signal.SIGTERM:  # it had no handler yet
            self.kills[f"{actor.name}: terminated while it started"] += 1
        elif code != 0:
            raise ChaosError(f"{actor.name} ended by itself with {code}: see {actor.name}.log")
        return self._examine_bot(actor) if isinstance(actor, Bot) else self._examine_state()

    def _hear_out(self, actor: Actor) -> None:
        deadline_s = time.monotonic() + END_S_MAX
        while not actor.heard_all.wait(LISTEN_S):
            if self.deaths or time.monotonic() > deadline_s:
                raise ChaosError(f"{actor.name} is dead and its pipe is still open")

    def _examine_state(self) -> list[Journal]:
        self._copies += 1
        offsets = read_dead_offsets(self.state_dir, self.folder / f"dead-{self._copies}")
        self.broken += self.promises.broken_by(offsets)
        return []

    def _examine_bot(self, bot: Bot) -> list[Journal]:
        life = bot.life
        assert life is not None  # noqa: S101 - who is buried has lived
        journals = read_journals(bot.journal_dir, bot.kind.source) if bot.journal_dir else []
        epoch, doubt = life.epoch, event(life.seed, life.attempts)
        if epoch is None:
            return journals
        if not epoch.durable:
            self.oracle.bury(epoch, doubt)
            return journals
        mine = [journal for journal in journals if journal.key == epoch.key]
        if mine:
            self.oracle.settle_with(mine[0], doubt)
        elif not bot.quitting:
            self.broken.append(f"{bot.name}: the journal of epoch {epoch.key[1]} is gone")
        return journals

    def quit(self, actor: Actor, what: str = "") -> list[Journal]:
        """End an actor in the ordinary way, and bury it."""
        if isinstance(actor, Bot):
            actor.quitting = True
            actor.control.words[Control.MODE] = QUIT
        else:
            actor.signal(signal.SIGTERM)
        return self.bury(actor, what)

    def sidecar_s(self) -> float:
        """How long a sidecar ran, over all its lives."""
        life_s = time.monotonic() - self.sidecar.started_s if self.sidecar.runs else 0.0
        return self._lived_s + life_s

    def set_mode(self, mode: int) -> None:
        """Let all bots run or pause; those that pause are asked how they stand."""
        self._question = (self._question + 1) % QUESTIONS
        for bot in self.bots:
            bot.control.words[Control.QUESTION] = self._question
            bot.control.words[Control.MODE] = mode

    def standing(self, bot: Bot) -> Report | None:
        """What a bot answered in this pause; an older answer may still have been on its way."""
        stats = bot.life.stats if bot.life else None
        return stats if stats and stats.info == self._question else None

    def set_rates(self, dice: random.Random) -> None:
        """Let each bot publish slowly, as usual, or fast from now on."""
        for bot in self.bots:
            bot.control.words[Control.RATE] = int(self.rate * dice.choice((0.2, 1, 1, 2)))

    def fill_disk(self, actor: Actor, bytes_max: int | None) -> None:
        """Let no file of an actor grow beyond that; None takes it back."""
        with suppress(ProcessLookupError):
            hard = resource.prlimit(actor.pid, resource.RLIMIT_FSIZE)[1]
            soft = hard if bytes_max is None else bytes_max
            resource.prlimit(actor.pid, resource.RLIMIT_FSIZE, (soft, hard))

    def check_alive(self) -> None:
        """Raise if an actor ended without being killed, or a thread of the harness died.

        Who passed an armed point at the last moment may die only now: it is started again.
        """
        if self.deaths:
            raise ChaosError("the harness itself is not whole")
        for actor in self.actors:
            if actor.runs and actor.dies_within(0):
                self.bury(actor, "unexpected")
                if not actor.died_at:
                    raise ChaosError(f"{actor.name} died, nobody killed it: see {actor.name}.log")
                self._start_again(actor)

    def _start_again(self, actor: Actor) -> None:
        if isinstance(actor, Bot):
            self.start_bot(actor, mode=actor.control.words[Control.MODE])
        else:
            self.start_sidecar()

    def free_folder(self, name: str) -> Path:
        """A path for a copy, not there yet."""
        self._copies += 1
        return self.folder / f"{name}-{self._copies}"

    def close(self, *, keep: bool) -> None:
        """End all that runs, and unless it is to be kept delete the folder."""
        for actor in self.actors:
            actor.signal(signal.SIGKILL)
        self.zygote.close()
        self.sampler.close()
        self.promises.close()
        self.push_proxy.close()
        self.ack_proxy.close()
        self.ears.close()
        self.reader.close()
        for log in self._logs.values():
            log.close()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def _free_ports(count: int, dice: random.Random) -> list[int]:
    """Just below those that the system lends: they stay free while the sidecar is dead."""
    lent_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports: list[int] = []
    while len(ports) < count:
        port = dice.randrange(max(1024, lent_from - PORTS), max(1024 + PORTS, lent_from))
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports = [*ports, port] if port not in ports else ports
    return ports


def pause_s(dice: random.Random, longest_s: float) -> None:
    """Let things go on for a random while."""
    time.sleep(dice.uniform(0, longest_s))
