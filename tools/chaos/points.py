"""Named points of the product's code at which an actor can be killed, and the fuse that does it.

No hook in the product: a named function is wrapped, and the n-th passing of an armed point is a
``SIGKILL`` to the own process. A name that is no longer there is an error at the start.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, ParamSpec, TypeVar

from chaos.control import Control, Kind, report

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Point:
    """One place in a function; ``when`` it is passed: under load, at a start, or at an end.

    ``passings_max`` is how far the random count may go.
    """

    actor: str
    place: str
    target: str
    when: str = "load"
    passings_max: int = 3

    @property
    def name(self) -> str:
        """As shown in the summary."""
        phase = "" if self.when == "load" else f" ({self.when})"
        return f"{self.actor}: {self.place} {self.target.partition(':')[2]}{phase}"


_STORE: Final = "metrics_sidecar.store_durable:DurableStore"
_FILE: Final = "metrics_sidecar.store_file"
_RECEIVER: Final = "metrics_sidecar.receiver:Receiver"
_PUBLISHER: Final = "trade_telemetry.publisher"
_FILES: Final = "trade_telemetry.journal_files"
_STREAM: Final = "trade_telemetry.delivery:Stream"
_SENDER: Final = "trade_telemetry.sender:Sender"

POINTS: Final = (
    Point("sidecar", "before", "metrics_sidecar.ledger:Ledger.apply_batch", passings_max=100),
    Point("sidecar", "after", "metrics_sidecar.ledger:Ledger.apply_batch", passings_max=100),
    Point("sidecar", "after", "metrics_sidecar.ledger:Ledger.skip", passings_max=1),
    Point("sidecar", "before", f"{_STORE}.commit"),
    Point("sidecar", "before", f"{_FILE}:_write"),
    Point("sidecar", "after", f"{_FILE}:_write"),
    Point("sidecar", "after", f"{_FILE}:commit"),
    Point("sidecar", "after", f"{_STORE}.commit"),
    Point("sidecar", "before", "metrics_sidecar.ledger:Ledger.committed"),
    Point("sidecar", "after", "metrics_sidecar.ledger:Ledger.committed"),
    Point("sidecar", "before", "metrics_sidecar.outbox:encode_acknowledgement", passings_max=9),
    Point("sidecar", "after", f"{_RECEIVER}._commit"),
    Point("sidecar", "before", f"{_STORE}.load", "start", 1),
    Point("sidecar", "after", f"{_STORE}.load", "start", 1),
    Point("sidecar", "before", f"{_RECEIVER}._serve", "start", 1),
    Point("sidecar", "after", f"{_RECEIVER}._serve", "start", 1),
    Point("sidecar", "before", f"{_RECEIVER}._drain", "end", 1),
    Point("sidecar", "after", f"{_RECEIVER}._drain", "end", 1),
    Point("sidecar", "after", f"{_STORE}._disconnect", "end", 1),
    Point("bot", "before", f"{_PUBLISHER}:_pack_numbers", passings_max=400),
    Point("bot", "inside", f"{_PUBLISHER}:_pack_slot", passings_max=400),
    Point("bot", "after", f"{_PUBLISHER}:_pack_slot", passings_max=400),
    Point("bot", "after", f"{_PUBLISHER}:Publisher.publish", passings_max=400),
    Point("bot", "before", "trade_telemetry.journal:Retained.trim"),
    Point("bot", "after", "trade_telemetry.journal:Retained.trim"),
    Point("bot", "before", "trade_telemetry.connection:Connection.push", passings_max=100),
    Point("bot", "after", "trade_telemetry.connection:Connection.push", passings_max=100),
    Point("bot", "after", f"{_STREAM}.hear", passings_max=5),
    Point("bot", "after", f"{_STREAM}._go_back", passings_max=1),
    Point("bot", "after", f"{_FILES}:_allocate", "start", 1),
    Point("bot", "after", f"{_FILES}:_fill", "start", 1),
    Point("bot", "after", "trade_telemetry.journal:create", "start", 1),
    Point("bot", "after", "trade_telemetry.journal_recovery:Leftover._write_tail", "start", 1),
    Point("bot", "before", f"{_SENDER}._finish", "start", 1),
    Point("bot", "before", f"{_FILES}:JournalFile.delete", "start", 1),
    Point("bot", "after", f"{_FILES}:JournalFile.delete", "start", 1),
    Point("bot", "after", f"{_SENDER}._finish", "start", 1),
    Point("bot", "before", f"{_SENDER}._end", "end", 1),
    Point("bot", "before", f"{_FILES}:JournalFile.delete", "end", 1),
    Point("bot", "after", f"{_FILES}:JournalFile.delete", "end", 1),
    Point("bot", "after", f"{_SENDER}._end", "end", 1),
)
"""A point's number is its place here, from 1."""


def numbers(actor: str, when: str) -> list[int]:
    """The numbers of an actor's points of one kind."""
    return [
        number
        for number, point in enumerate(POINTS, 1)
        if point.actor == actor and point.when == when
    ]


class Fuse:
    """Kills the own process at the armed passing, and says so first."""

    def __init__(self, control: Control, descriptor: int) -> None:
        self._words = control.words
        self._descriptor = descriptor

    def burns(self, point: int) -> bool:
        """Whether this passing is the one."""
        words = self._words
        if words[Control.POINT] != point:
            return False
        words[Control.COUNT] -= 1
        return words[Control.COUNT] == 0

    def die(self, point: int) -> None:
        """The end."""
        report(self._descriptor, Kind.DYING, point)
        os.kill(os.getpid(), signal.SIGKILL)

    def install(self, actor: str) -> None:
        """Wrap every point of an actor."""
        for number, point in enumerate(POINTS, 1):
            if point.actor == actor:
                patch(point.target, self._wrapper(point.place), number)

    def _wrapper(self, place: str) -> Callable[..., Any]:
        wrappers: dict[str, Callable[..., Any]] = {
            "before": self._before,
            "after": self._after,
            "inside": self._inside,
        }
        return wrappers[place]

    def _before(self, function: Callable[_Given, _Result], point: int) -> Callable[_Given, _Result]:
        words, index = self._words, Control.POINT

        def passing(*arguments: _Given.args, **named: _Given.kwargs) -> _Result:
            if words[index] == point and self.burns(point):
                self.die(point)
            return function(*arguments, **named)

        return passing

    def _after(self, function: Callable[_Given, _Result], point: int) -> Callable[_Given, _Result]:
        words, index = self._words, Control.POINT

        def passing(*arguments: _Given.args, **named: _Given.kwargs) -> _Result:
            result = function(*arguments, **named)
            if words[index] == point and self.burns(point):
                self.die(point)
            return result

        return passing

    def _inside(self, pack_slot: Callable[..., None], point: int) -> Callable[..., None]:
        """Half of the slot is written, and no more."""

        def passing(memory: bytearray, offset: int, numbers: bytes, *rest: object) -> None:
            if self.burns(point):
                half = len(numbers) // 2
                memory[offset : offset + half] = numbers[:half]
                self.die(point)
            pack_slot(memory, offset, numbers, *rest)

        return passing


def patch(target: str, wrap: Callable[..., Any], *arguments: object) -> None:
    """Replace ``module:name`` or ``module:Class.name`` by what ``wrap`` makes of it."""
    module, _, path = target.partition(":")
    owner: Any = import_module(module)
    *classes, name = path.split(".")
    for each in classes:
        owner = getattr(owner, each)
    setattr(owner, name, wrap(getattr(owner, name), *arguments))
