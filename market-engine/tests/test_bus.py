"""What every bus must do, whatever carries it; run against each implementation.

Kafka keeps the order per key only, and so no test asks for more.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_engine.bus.base import Bus, Full, Message, Subscription, Topic
from market_engine.bus.memory import InProcessBus
from market_engine.errors import BusError

DEADLINE_S = 30
IMPLEMENTATIONS = [InProcessBus]


@pytest.fixture(params=IMPLEMENTATIONS)
def bus(request) -> Iterator[Bus]:
    made = request.param()
    yield made
    made.close()


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """What it returned or raised is in the list when the thread has ended."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BusError as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, outcome


def ended(thread: threading.Thread) -> bool:
    thread.join(DEADLINE_S)
    return not thread.is_alive()


def waits(thread: threading.Thread) -> bool:
    thread.join(0.05)
    return thread.is_alive()


def read(subscription: Subscription, count: int) -> list[Message]:
    """So many messages; fewer only if they do not come in time."""
    deadline_s = time.monotonic() + DEADLINE_S
    messages: list[Message] = []
    while len(messages) < count and time.monotonic() < deadline_s:
        messages += subscription.poll(count - len(messages), 0.1)
    return messages


def values(messages) -> list[object]:
    return [message.value for message in messages]


def test_what_is_published_is_read_with_its_topic_and_key_and_rising_offsets(bus):
    subscription = bus.subscribe([Topic.MARKET_DATA], "reader", 100, Full.WAIT)
    bus.publish(Topic.MARKET_DATA, "BTCUSDT", [1, 2])
    bus.publish(Topic.MARKET_DATA, "ETHUSDT", [3])
    messages = read(subscription, 3)
    assert [(each.topic, each.key, each.value) for each in messages] == [
        (Topic.MARKET_DATA, "BTCUSDT", 1),
        (Topic.MARKET_DATA, "BTCUSDT", 2),
        (Topic.MARKET_DATA, "ETHUSDT", 3),
    ]
    first = messages[0].offset
    assert [each.offset for each in messages] == [first, first + 1, first + 2]


def test_each_topic_counts_its_own_offsets_even_while_nobody_reads(bus):
    bus.publish(Topic.METRICS, "A", ["nobody"] * 5)
    subscription = bus.subscribe([Topic.METRICS, Topic.HEALTH], "reader", 9, Full.WAIT)
    bus.publish(Topic.HEALTH, "A", ["health"])
    bus.publish(Topic.METRICS, "A", ["metrics"])
    assert {each.value: each.offset for each in read(subscription, 2)} == {
        "health": 0,
        "metrics": 5,
    }


def test_a_reader_gets_only_its_topics_and_only_from_now_on(bus):
    bus.publish(Topic.METRICS, "A", ["before"])
    subscription = bus.subscribe([Topic.METRICS, Topic.METRICS], "reader", 9, Full.WAIT)
    bus.publish(Topic.HEALTH, "A", ["another topic"])
    bus.publish(Topic.METRICS, "A", ["mine"])
    bus.publish(Topic.METRICS, "A", [])
    assert values(read(subscription, 1)) == ["mine"]
    assert not subscription.poll(9, 0)


def test_readers_do_not_take_from_each_other(bus):
    first, second = (bus.subscribe([Topic.METRICS], name, 9, Full.WAIT) for name in "ab")
    bus.publish(Topic.METRICS, "A", [1, 2, 3])
    assert values(read(first, 3)) == values(read(second, 3)) == [1, 2, 3]


def test_poll_gives_at_most_the_limit_and_waits_no_longer_than_it_is_told(bus):
    subscription = bus.subscribe([Topic.METRICS], "reader", 9, Full.WAIT)
    started_s = time.monotonic()
    assert not subscription.poll(5, 0.05)
    assert 0.04 < time.monotonic() - started_s < DEADLINE_S
    bus.publish(Topic.METRICS, "A", [1, 2, 3])
    assert values(subscription.poll(2, DEADLINE_S)) == [1, 2]
    assert values(subscription.poll(2, DEADLINE_S)) == [3]
    assert not subscription.poll(0, 0)


def test_a_reader_that_waits_is_woken_by_a_message(bus):
    subscription = bus.subscribe([Topic.METRICS], "reader", 9, Full.WAIT)
    thread, outcome = in_thread(lambda: values(subscription.poll(9, 60)))
    assert waits(thread)
    bus.publish(Topic.METRICS, "A", ["woken"])
    assert ended(thread)
    assert outcome == [["woken"]]


def test_a_batch_larger_than_the_room_of_a_reader_passes_in_pieces(bus):
    subscription = bus.subscribe([Topic.METRICS], "reader", 3, Full.WAIT)
    thread, _ = in_thread(lambda: bus.publish(Topic.METRICS, "A", list(range(20))))
    assert waits(thread)
    assert values(read(subscription, 20)) == list(range(20))
    assert ended(thread)
    assert subscription.dropped == 0


def test_closing_the_bus_lets_readers_drain_and_waiting_publishers_go(bus):
    subscription = bus.subscribe([Topic.METRICS], "reader", 2, Full.WAIT)
    publishers = [
        in_thread(lambda: bus.publish(Topic.METRICS, "A", [1, 2, 3])),
        in_thread(lambda: bus.publish(Topic.METRICS, "A", [1, 2, 3])),
    ]
    assert all(waits(thread) for thread, _ in publishers)
    bus.close()
    for thread, outcome in publishers:
        assert ended(thread)
        assert isinstance(outcome[0], BusError)
    assert values(read(subscription, 2)) == [1, 2]
    started_s = time.monotonic()
    assert not subscription.poll(9, DEADLINE_S)
    assert time.monotonic() - started_s < DEADLINE_S / 2


def test_closing_the_bus_wakes_a_reader_that_waits(bus):
    subscription = bus.subscribe([Topic.METRICS], "reader", 2, Full.WAIT)
    thread, outcome = in_thread(lambda: list(subscription.poll(9, 60)))
    assert waits(thread)
    bus.close()
    assert ended(thread)
    assert outcome == [[]]


def test_a_closed_bus_takes_nothing_and_nobody(bus):
    bus.close()
    bus.close()
    with pytest.raises(BusError, match="closed"):
        bus.publish(Topic.METRICS, "A", [1])
    with pytest.raises(BusError, match="closed"):
        bus.subscribe([Topic.METRICS], "reader", 1, Full.WAIT)


def test_a_topic_that_is_not_known_is_refused_by_name(bus):
    with pytest.raises(BusError, match="gossip"):
        bus.publish("gossip", "A", [1])
    with pytest.raises(BusError, match="gossip"):
        bus.subscribe([Topic.METRICS, "gossip"], "reader", 1, Full.WAIT)


def test_a_subscription_needs_room(bus):
    with pytest.raises(ValueError, match="room for 1"):
        bus.subscribe([Topic.METRICS], "reader", 0, Full.WAIT)


def test_closing_a_subscription_frees_the_publisher_that_waits_for_it(bus):
    slow = bus.subscribe([Topic.METRICS], "slow", 1, Full.WAIT)
    thread, outcome = in_thread(lambda: bus.publish(Topic.METRICS, "A", [1, 2, 3]))
    assert waits(thread)
    other = bus.subscribe([Topic.METRICS], "other", 9, Full.WAIT)
    slow.close()
    slow.close()
    assert ended(thread)
    assert outcome == [None]
    assert not slow.poll(9, DEADLINE_S)
    bus.publish(Topic.METRICS, "A", [4])
    assert values(read(other, 1)) == [4]


def test_closing_a_subscription_wakes_its_own_reader(bus):
    subscription = bus.subscribe([Topic.METRICS], "reader", 2, Full.WAIT)
    thread, outcome = in_thread(lambda: list(subscription.poll(9, 60)))
    assert waits(thread)
    subscription.close()
    assert ended(thread)
    assert outcome == [[]]


def test_a_reader_that_drops_holds_up_nobody_and_keeps_the_newest(bus):
    subscription = bus.subscribe([Topic.METRICS], "reader", 3, Full.DROP_OLDEST)
    bus.publish(Topic.METRICS, "A", [1, 2])
    bus.publish(Topic.METRICS, "A", [3, 4])
    bus.publish(Topic.METRICS, "A", list(range(5, 15)))
    assert values(read(subscription, 3)) == [12, 13, 14]
    assert subscription.dropped == 11


publishes = st.tuples(st.just("publish"), st.integers(0, 9))
polls = st.tuples(st.just("poll"), st.integers(0, 9))


@pytest.mark.parametrize("make", IMPLEMENTATIONS)
@given(size=st.integers(1, 6), steps=st.lists(publishes | polls, max_size=30))
def test_dropping_equals_a_queue_that_forgets_its_oldest(make, size, steps):
    bus = make()
    subscription = bus.subscribe([Topic.METRICS], "reader", size, Full.DROP_OLDEST)
    model: deque[int] = deque(maxlen=size)
    published = taken = 0
    for step, count in steps:
        if step == "publish":
            bus.publish(Topic.METRICS, "A", list(range(published, published + count)))
            model.extend(range(published, published + count))
            published += count
        else:
            expected = [model.popleft() for _ in range(min(count, len(model)))]
            messages = subscription.poll(count, 0)
            assert [(each.value, each.offset) for each in messages] == [(n, n) for n in expected]
            taken += len(messages)
        assert subscription.dropped == published - taken - len(model)
    bus.close()


def publish_all(bus: Bus, key: str, count: int, chosen: random.Random) -> None:
    sent = 0
    while sent < count:
        batch = list(range(sent, min(count, sent + chosen.randrange(1, 40))))
        bus.publish(Topic.MARKET_DATA, key, batch)
        sent += len(batch)


def by_key(messages: list[Message]) -> dict[str, list[object]]:
    found: dict[str, list[object]] = defaultdict(list)
    for each in messages:
        found[each.key].append(each.value)
    return found


@pytest.mark.parametrize("size", [1, 7, 500])
def test_nothing_is_lost_and_each_key_keeps_its_order_when_publishers_wait(bus, size):
    keys, count = "ABCD", 2_000 if size > 1 else 300
    readers = [bus.subscribe([Topic.MARKET_DATA], name, size, Full.WAIT) for name in "xy"]
    total = len(keys) * count
    reading = [in_thread(lambda reader=reader: read(reader, total)) for reader in readers]
    writing = [
        in_thread(lambda key=key: publish_all(bus, key, count, random.Random(key))) for key in keys
    ]
    for thread, _ in [*writing, *reading]:
        assert ended(thread)
    for reader, (_, outcome) in zip(readers, reading, strict=True):
        messages = outcome[0]
        assert by_key(messages) == {key: list(range(count)) for key in keys}
        assert sorted(each.offset for each in messages) == list(range(total))
        assert reader.dropped == 0


def test_what_a_dropping_reader_lost_is_counted_exactly_under_load(bus):
    keys, count = "ABCD", 3_000
    subscription = bus.subscribe([Topic.MARKET_DATA], "reader", 50, Full.DROP_OLDEST)
    writing = [
        in_thread(lambda key=key: publish_all(bus, key, count, random.Random(key))) for key in keys
    ]
    messages: list[Message] = []
    while any(thread.is_alive() for thread, _ in writing):
        messages += subscription.poll(20, 0.001)
    while more := subscription.poll(100, 0):
        messages += more
    assert len(messages) + subscription.dropped == len(keys) * count
    for got in by_key(messages).values():
        assert all(first < second for first, second in itertools.pairwise(got))
    assert {key: got[-1] for key, got in by_key(messages).items()}[messages[-1].key] == count - 1


@pytest.mark.parametrize("seed", range(10))
def test_what_was_published_without_an_error_is_read_even_if_the_bus_is_closed_meanwhile(bus, seed):
    chosen = random.Random(seed)
    subscription = bus.subscribe([Topic.MARKET_DATA], "reader", 30, Full.WAIT)
    taken: dict[str, list[int]] = {key: [] for key in "ABC"}

    def publish(key: str) -> None:
        for number in itertools.count():
            bus.publish(Topic.MARKET_DATA, key, [number])
            taken[key].append(number)

    writing = [in_thread(lambda key=key: publish(key)) for key in taken]
    messages = read(subscription, chosen.randrange(1, 2_000))
    bus.close()
    for thread, outcome in writing:
        assert ended(thread)
        assert isinstance(outcome[0], BusError)
    while more := subscription.poll(100, 0):
        messages += more
    for key, got in by_key(messages).items():
        assert got[: len(taken[key])] == taken[key]
        assert len(got) <= len(taken[key]) + 1  # the one that was told as an error
