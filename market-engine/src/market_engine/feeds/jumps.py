"""Times that jump far ahead in a file: the next one says whether it is a hole or one wrong time.

Without it one wrong digit would be the time that all later ones are measured against. Knows neither
lines nor events.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

JUMP_NS: Final = 3_600 * 10**9
"""What is further ahead than this of what is before it has to be confirmed."""
WAITING_MAX: Final = 64
"""So many bad lines in a row are waited through for it."""
JUMP_DETAIL: Final = "its time is far ahead of the one before it and of the one after it"

_Item = TypeVar("_Item")


class Jumps(Generic[_Item]):
    """Holds back what jumps ahead until the next one was seen; for one reading, in its order.

    Each item comes out with whether its time is wrong. What is not above ``limit_ns`` need not be
    asked about; that is so for most.
    """

    def __init__(self) -> None:
        self.limit_ns = -1
        self._held_ns = 0
        self._held: list[_Item] = []

    def take(self, time_ns: int, newest_ns: int, item: _Item) -> list[tuple[_Item, bool]]:
        """What is to be given now, after one that has a time.

        ``newest_ns`` is the highest time before it that was given. One that is held is confirmed
        by a time at or after it, or by one that is far ahead as well and not far before it.
        """
        out: list[tuple[_Item, bool]] = []
        if self._held:
            is_ahead = time_ns > newest_ns + JUMP_NS and time_ns >= self._held_ns - JUMP_NS
            is_wrong = time_ns < self._held_ns and not is_ahead
            newest_ns = newest_ns if is_wrong else self._held_ns
            out = self._released(is_wrong=is_wrong)
        if time_ns > newest_ns + JUMP_NS:
            self._held_ns, self._held = time_ns, [item]
            self.limit_ns = -1
        else:
            out.append((item, False))
            self.limit_ns = newest_ns + JUMP_NS
        return out

    def follow(self, item: _Item) -> list[tuple[_Item, bool]]:
        """What is to be given now, after one without a time."""
        if not self._held:
            return [(item, False)]
        self._held.append(item)
        return self.rest() if len(self._held) > WAITING_MAX else []

    def rest(self) -> list[tuple[_Item, bool]]:
        """What is held at the end: nothing contradicts it."""
        return self._released(is_wrong=False)

    def _released(self, *, is_wrong: bool) -> list[tuple[_Item, bool]]:
        held, self._held = self._held, []
        return [(item, is_wrong and not place) for place, item in enumerate(held)]
