"""What the ledger noticed and a person should hear of, once each; for the log. Pure.

A notice says what is so and what to do. It must not know where it is told, nor when.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NOTICES_MAX: Final = 16
"""Between two tellings: what is above is in the metrics, and not told."""


@dataclass(frozen=True, slots=True)
class OlderState:
    """A publisher was told that more is committed than the state knows of.

    ``come_again`` are events that its ring still holds; the ``lost`` ones are gone from there.
    """

    publisher: str
    epoch: int
    committed: int
    was_told: int
    come_again: int
    lost: int

    @property
    def sentence(self) -> str:
        """What happened, and the cure."""
        return (
            "the state is older than what this publisher was told is committed, or new: it is "
            "filled up from the publisher's ring, and what that holds no more is lost (state). To "
            "have that back, restore a newer copy; copy a state with `metrics-sidecar backup`, "
            "never ledger.db without its -wal"
        )


@dataclass(frozen=True, slots=True)
class SharedName:
    """Several publishers that run at the same time have one name; ``epochs`` are theirs."""

    publisher: str
    epochs: tuple[int, ...]

    @property
    def sentence(self) -> str:
        """What happened, and the cure."""
        return (
            "several publishers use this name at the same time: each is counted exactly, but they "
            "cannot be told apart. Give each a name of its own: `source=` of a Publisher, "
            "WEBAPP_PUBLISHER_ID of a desk"
        )


Notice = OlderState | SharedName


class Notices:
    """At most ``NOTICES_MAX`` that wait to be told."""

    def __init__(self) -> None:
        self._waiting: list[Notice] = []

    def add(self, notice: Notice) -> None:
        """Have it told; dropped when too many wait."""
        if len(self._waiting) < NOTICES_MAX:
            self._waiting.append(notice)

    def take(self) -> list[Notice]:
        """Those that were not told yet."""
        taken, self._waiting = self._waiting, []
        return taken
