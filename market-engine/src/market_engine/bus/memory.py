"""The bus within this process: one bounded queue for each subscription, filled by ``publish``.

Knows topics, keys and offsets, and nothing of what the values are. Nothing is kept: a subscription
reads from its beginning on, and what was not read is gone with the process.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from threading import Condition, Lock

from market_engine.bus.base import Full, Message, Subscription, Topic
from market_engine.errors import BusError


class InProcessBus:
    """Publish and subscribe between the threads of one process.

    Every subscription gets every message of its topics; ``group`` is its name. One publisher of a
    topic at a time fills the queues, so that all readers see one order; while it waits for a full
    reader (``Full.WAIT``), the other publishers of that topic wait behind it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._closed = False
        self._lines = {topic: _Line(topic) for topic in Topic}

    def publish(self, topic: Topic, key: str, values: Sequence[object]) -> None:
        """Put values on a topic, in order; raises BusError when the bus is closed.

        A bus that is closed while this waits may have given the first of the values to readers.
        """
        line = self._line(topic)
        with line.turn:
            if self._closed:
                raise BusError("the bus is closed")
            first = line.offset
            line.offset = first + len(values)
            readers = line.readers
            if not readers or not values:
                return
            messages = [
                Message(line.topic, key, value, offset)
                for offset, value in enumerate(values, first)
            ]
            for reader in readers:
                reader.put(messages)

    def subscribe(self, topics: Sequence[Topic], group: str, size: int, full: Full) -> Subscription:
        """Read topics from now on, with room for ``size`` messages (1 or more)."""
        if size < 1:
            raise ValueError(f"a subscription has room for 1 message or more, not {size}")
        lines = [self._line(topic) for topic in dict.fromkeys(topics)]
        reader = InProcessSubscription(self, group, size, full)
        with self._lock:
            if self._closed:
                raise BusError("the bus is closed")
            for line in lines:
                line.readers = (*line.readers, reader)
        return reader

    def close(self) -> None:
        """Take nothing more; readers get what is there, and then nothing. Twice is once."""
        with self._lock:
            self._closed = True
            readers = {reader for line in self._lines.values() for reader in line.readers}
        for reader in readers:
            reader.end()

    def forget(self, reader: InProcessSubscription) -> None:
        """Give no more to this subscription; called by its ``close``."""
        with self._lock:
            for line in self._lines.values():
                line.readers = tuple(each for each in line.readers if each is not reader)

    def _line(self, topic: Topic) -> _Line:
        line = self._lines.get(topic)
        if line is None:
            raise BusError(f"the topic {topic!r} is not known; known are {', '.join(Topic)}")
        return line


class _Line:
    """One topic: whose turn it is to publish, the next offset, and who reads."""

    __slots__ = ("offset", "readers", "topic", "turn")

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.turn = Lock()
        self.offset = 0
        self.readers: tuple[InProcessSubscription, ...] = ()
        """Replaced as a whole under the bus's lock, so that publishers read it without."""


class InProcessSubscription:
    """One reader's bounded queue; read by one thread or by several.

    ``group`` is its name and ``size`` its room; ``dropped`` only ever rises.
    """

    def __init__(self, bus: InProcessBus, group: str, size: int, full: Full) -> None:
        self.group = group
        self.size = size
        self.dropped = 0
        self._bus = bus
        self._waits = full is Full.WAIT
        self._queue: deque[Message] = deque()
        lock = Lock()
        self._filled = Condition(lock)
        self._freed = Condition(lock)
        self._ended = False
        self._closed = False

    @property
    def waiting(self) -> int:
        """Messages that are there to be read."""
        return len(self._queue)

    def poll(self, limit: int, timeout_s: float) -> Sequence[Message]:
        """At most ``limit`` messages, oldest first; waits for the first at most ``timeout_s``."""
        queue = self._queue
        with self._filled:
            if not queue and timeout_s > 0 and not self._ended:
                self._wait_filled(time.monotonic() + timeout_s)
            if len(queue) <= limit:
                taken = list(queue)
                queue.clear()
            else:
                taken = [queue.popleft() for _ in range(max(0, limit))]
            if taken:
                self._freed.notify_all()
        return taken

    def commit(self) -> None:
        """Nothing to do: nothing comes again after a restart."""

    def close(self) -> None:
        """Read no more; a publisher that waits for this reader goes on. Twice is once."""
        self._bus.forget(self)
        with self._filled:
            self._closed = self._ended = True
            self._queue.clear()
            self._filled.notify_all()
            self._freed.notify_all()

    def end(self) -> None:
        """Take nothing more, and wake who waits; what is there can still be read."""
        with self._filled:
            self._ended = True
            self._filled.notify_all()
            self._freed.notify_all()

    def put(self, messages: list[Message]) -> None:
        """Take messages by the policy; raises BusError when the bus was closed meanwhile."""
        with self._filled:
            if self._waits:
                self._put_waiting(messages)
            elif not self._ended:
                self._put_dropping(messages)
            if self._ended and not self._closed:
                raise BusError("the bus is closed")

    def _put_waiting(self, messages: list[Message]) -> None:
        queue = self._queue
        start = 0
        while not self._ended:
            room = self.size - len(queue)
            if room > 0:
                queue.extend(
                    messages[start : start + room] if start or room < len(messages) else messages
                )
                self._filled.notify_all()
                start += room
                if start >= len(messages):
                    return
            self._freed.wait()

    def _put_dropping(self, messages: list[Message]) -> None:
        queue = self._queue
        queue.extend(messages[-self.size :])
        excess = len(queue) - self.size
        for _ in range(excess):
            queue.popleft()
        self.dropped += max(0, excess) + max(0, len(messages) - self.size)
        self._filled.notify_all()

    def _wait_filled(self, deadline_s: float) -> None:
        while not self._queue and not self._ended:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return
            self._filled.wait(left_s)
