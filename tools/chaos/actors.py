"""What runs in an actor's process: the real sidecar, or a bot that publishes under load.

An actor is a forked child of the zygote. Everything of the product is real; what is wrapped is
named in ``points`` and ``faulty``.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from chaos import faulty
from chaos.control import PAUSE, QUIT, Control, Kind, report
from chaos.events import CLASSES, SIDES, event, life_seed, symbol_of
from chaos.points import Fuse, patch
from trade_telemetry import LossReason, Publisher
from trade_telemetry.messages import Message, Skip

REASONS: Final = tuple(LossReason)
TICK_S: Final = 0.004
STATS_S: Final = 0.02
FORGET_S: Final = 15.0
CLOSE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class SidecarJob:
    """How to run a sidecar.

    ``file_bytes_max`` is as full as its disk is, or None; ``epochs_max`` makes its table of lives
    that small, and its memory short, so that it forgets within a run.
    """

    environment: dict[str, str]
    directory: str
    control: str
    fault: str | None = None
    file_bytes_max: int | None = None
    epochs_max: int | None = None


@dataclass(frozen=True, slots=True)
class BotJob:
    """How to run one life of a bot."""

    seed: int
    source: str
    life: int
    address: str
    ack_address: str
    journal_dir: str | None
    capacity: int
    when_full: Literal["refuse", "drop_oldest"]
    control: str
    fault: str | None = None
    file_bytes_max: int | None = None


def run_sidecar(job: SidecarJob, descriptor: int) -> int:
    """The real ``metrics-sidecar``, until it ends."""
    from metrics_sidecar import epochs  # noqa: PLC0415 - a bot must not need it
    from metrics_sidecar.main import main  # noqa: PLC0415

    if job.epochs_max is not None:
        epochs.EPOCHS_MAX, epochs.SILENT_WHEN_FULL_S = job.epochs_max, FORGET_S  # type: ignore[misc]
    _limit_files(job.file_bytes_max)
    os.environ.update(job.environment)
    os.chdir(job.directory)
    faulty.install("sidecar", job.fault)
    control = Control(Path(job.control))
    Fuse(control, descriptor).install("sidecar")
    patch("metrics_sidecar.ledger:Ledger.listened", _listening_long, control.words)
    sys.argv = ["metrics-sidecar"]
    return main()


def run_bot(job: BotJob, descriptor: int) -> int:
    """Publish until told to quit; each accepted event is on the pipe before the next."""
    _limit_files(job.file_bytes_max)
    control = Control(Path(job.control))
    faulty.install("bot", job.fault)
    Fuse(control, descriptor).install("bot")
    patch("trade_telemetry.sender:encode", _telling_skips, descriptor)
    publisher = Publisher(
        job.address,
        ack_address=job.ack_address,
        source=job.source,
        journal_dir=job.journal_dir,
        capacity=job.capacity,
        when_full=job.when_full,
    )
    report(descriptor, Kind.OPENED, publisher.epoch, publisher.stats().durable)
    _Load(job, publisher, control, descriptor).run()
    report(descriptor, Kind.CLOSED, publisher.close(CLOSE_S))
    return 0


def _limit_files(size_bytes: int | None) -> None:
    if size_bytes is not None:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def _listening_long(listened: Callable[..., None], words: memoryview) -> Callable[..., None]:
    """A day may pass within a second."""
    from metrics_sidecar.epochs import SILENT_S  # noqa: PLC0415 - a bot must not need it

    def listen(ledger: object, seconds: float) -> None:
        listened(ledger, seconds + words[Control.DAY] * SILENT_S)
        words[Control.DAY] = 0

    return listen


def _telling_skips(encode: Callable[..., bytes], descriptor: int) -> Callable[..., bytes]:
    """What a bot says will never come is known to the oracle before the sidecar hears it."""

    def telling(message: Message) -> bytes:
        if isinstance(message, Skip):
            reason = REASONS.index(message.reason)
            numbers = (message.epoch, message.first, message.last)
            report(descriptor, Kind.SKIPPING, *numbers, info=reason)
        return encode(message)

    return telling


class _Load:
    """One life's publishing, at the rate that the control page says."""

    def __init__(
        self, job: BotJob, publisher: Publisher, control: Control, descriptor: int
    ) -> None:
        self._seed = life_seed(job.seed, job.source, job.life)
        self._source = job.source
        self._publisher = publisher
        self._words = control.words
        self._descriptor = descriptor
        self._attempts = 0
        self._stats_s = 0.0

    def run(self) -> None:
        words = self._words
        owed = 0.0
        before_s = time.monotonic()
        while words[Control.MODE] != QUIT:
            time.sleep(TICK_S)
            now_s = time.monotonic()
            owed = min(owed + (now_s - before_s) * words[Control.RATE], 500.0)
            before_s = now_s
            if words[Control.MODE] == PAUSE:
                owed = 0.0
                self._tell_stats(now_s)
            while owed >= 1 and words[Control.MODE] not in (PAUSE, QUIT):
                owed -= 1
                if not self._attempt():
                    owed = 0.0

    def _attempt(self) -> bool:
        publisher = self._publisher
        packed = event(self._seed, self._attempts)
        self._attempts += 1
        seq = publisher.publish(
            SIDES[packed & 1],
            packed // CLASSES / 1e9,
            symbol=symbol_of(self._source, packed),
            price=100.0,
        )
        if seq:
            report(self._descriptor, Kind.ACCEPTED, publisher.epoch, seq, packed)
            return True
        report(self._descriptor, Kind.REFUSED)
        return False

    def _tell_stats(self, now_s: float) -> None:
        if now_s < self._stats_s + STATS_S:
            return
        self._stats_s = now_s
        stats = self._publisher.stats()
        report(
            self._descriptor,
            Kind.STATS,
            stats.waiting,
            stats.leftover,
            stats.errors,
            info=self._words[Control.QUESTION],
        )
