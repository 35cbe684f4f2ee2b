"""Merges over a sliding stretch of a sequence, without ever taking anything away.

Two stacks of partial merges meet in the middle: one holds what ends there, and loses from its top
as the stretch moves on, the other what begins there, and grows. When the first is used up, the
middle moves to the end. Each element is merged about twice in its life. Knows nothing of trades.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class TwoStack(Generic[T]):
    """Merges of the elements ``first`` to ``end`` (excluded) of a numbered sequence.

    ``element`` gives the summary of the element with a number, ``merge`` that of two neighbours,
    the earlier one first; it must be associative. Amortised O(1) while both ends only rise.
    """

    __slots__ = ("_back", "_element", "_front", "_merge", "_middle")

    def __init__(self, element: Callable[[int], T], merge: Callable[[T, T], T]) -> None:
        self._element = element
        self._merge = merge
        self._middle = 0
        self._front: list[T] = []  # front[i]: of the i + 1 elements that end at the middle
        self._back: list[T] = []  # back[i]: of the i + 1 elements that begin there

    def over(self, first: int, end: int) -> T | None:
        """Of the elements from ``first`` up to ``end``; None where there are none."""
        if first >= end:
            return None
        if not first < self._middle <= end:
            self._middle = end
            self._front.clear()
            self._back.clear()
        front = self._of_front(self._middle - first)
        if self._middle == end:
            return front
        return self._merge(front, self._of_back(end - self._middle))

    def change(self, number: int) -> None:
        """Say that an element is not what it was."""
        if number >= self._middle:
            del self._back[number - self._middle :]
        else:
            del self._front[self._middle - 1 - number :]

    def _of_front(self, count: int) -> T:
        front = self._front
        del front[count:]
        while len(front) < count:
            number = self._middle - 1 - len(front)
            each = self._element(number)
            front.append(self._merge(each, front[-1]) if front else each)
        return front[count - 1]

    def _of_back(self, count: int) -> T:
        back = self._back
        while len(back) < count:
            each = self._element(self._middle + len(back))
            back.append(self._merge(back[-1], each) if back else each)
        return back[count - 1]
