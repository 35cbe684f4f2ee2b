"""The fan-out: what is made of a moment, whom it is given to, and what a slow reader costs."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_engine.api.clients import (
    CLIENTS_MAX,
    QUEUE_BYTES_MAX,
    QUEUE_MESSAGES_MAX,
    Client,
    Clients,
    Wants,
)
from market_engine.api.fanout import ROOM, FanOut
from market_engine.api.figures import DELAY_BOUNDS_S, Delays, Figures
from market_engine.api.messages import BARS_MAX, HEALTH_MAX, TRADES_MAX, Moment, StreamMessage
from market_engine.bar_rows import row_of
from market_engine.bus.base import Message, Topic
from market_engine.bus.memory import InProcessBus
from market_engine.errors import RejectReason
from market_engine.events import MS_NS, Rejected, Trade
from market_engine.health.faults import Fault, FaultKind
from market_engine.pipeline import BarOutput, MetricsOutput, Pipeline
from market_engine.replay_desk import ReplayBegan

AT_NS = 1_790_000_040 * 10**9
NOW_NS = AT_NS + 10**9


def trade(number: int, symbol: str = "BTCUSDT", *, backfilled: bool = False) -> Trade:
    at_ns = AT_NS + number * 100 * MS_NS
    return Trade(
        "test", symbol, 10**12 + number, 10**9, "buy", number, at_ns, at_ns, backfilled=backfilled
    )


def on_bus(values: list, topic: Topic = Topic.MARKET_DATA) -> list[Message]:
    return [Message(topic, "", value, number) for number, value in enumerate(values)]


def made(values: list, *, is_live: bool = True) -> list[StreamMessage]:
    moment = Moment("feed", is_live=is_live)
    moment.take(on_bus(values))
    return moment.messages(NOW_NS)


def bodies(messages: list[StreamMessage]) -> list[dict]:
    return [json.loads(message.text) for message in messages]


def message(size: int = 100, topic: str = "trades", symbol: str | None = "A") -> StreamMessage:
    return StreamMessage(topic, symbol, {"fill": "x" * size})


@given(st.lists(st.sampled_from(["A", "B", "C"]), min_size=1, max_size=60))
def test_all_trades_of_a_symbol_in_a_moment_are_one_message_in_order(symbols: list[str]):
    values = [trade(number, symbol) for number, symbol in enumerate(symbols)]
    found = bodies(made(values))
    assert [body["symbol"] for body in found] == list(dict.fromkeys(symbols))
    for body in found:
        ids = [each["id"] for each in body["trades"]]
        assert ids == [n for n, symbol in enumerate(symbols) if symbol == body["symbol"]]
        assert body["left_out"] == 0


def test_a_flood_is_cut_to_the_newest_trades_and_says_how_many_were_left_out():
    (body,) = bodies(made([trade(number) for number in range(TRADES_MAX + 7)]))
    assert len(body["trades"]) == TRADES_MAX
    assert body["trades"][0]["id"] == body["left_out"] == 7


def test_of_metrics_only_the_newest_count_and_of_bars_the_last_few():
    pipeline = Pipeline("test", ["BTCUSDT"])
    outputs = pipeline.handle([trade(number) for number in range(9_000)])
    bars = [row_of(each) for each in outputs if isinstance(each, BarOutput)]
    metrics = [each for each in outputs if isinstance(each, MetricsOutput)]
    assert len(bars) > BARS_MAX
    found = bodies(made([*bars, *metrics]))
    assert [body["type"] for body in found] == ["bar"] * BARS_MAX + ["metrics"]
    assert found[-1]["as_of_ms"] == metrics[-1].metrics.as_of_ns // MS_NS
    assert found[BARS_MAX - 1]["t_ms"] == bars[-1].bar_start_ns // MS_NS


def test_a_storm_of_faults_is_bounded():
    faults = [Fault("test", "A", FaultKind.LATE, AT_NS + n, "late") for n in range(500)]
    found = bodies(made(faults))
    assert len(found) == HEALTH_MAX
    assert found[-1]["at_ms"] == faults[-1].at_ns // MS_NS


def test_when_a_replay_begins_anew_what_was_collected_before_is_forgotten():
    found = bodies(made([trade(1, "OLD"), ReplayBegan(("NEW",)), trade(2, "NEW")]))
    assert [body["type"] for body in found] == ["hello", "trades"]
    assert found[0]["symbols"] == [found[1]["symbol"]] == ["NEW"]


def test_delays_are_those_of_live_trades_only_and_counted_once():
    live, late = trade(1), trade(2, backfilled=True)
    (found,) = made([live, late])
    assert found.take_received() == [live.received_ns]
    assert found.take_received() == []
    (replayed,) = made([live], is_live=False)
    assert replayed.take_received() == []


def test_each_message_is_written_once_for_both_kinds_of_streams():
    (found,) = made([trade(1)])
    assert found.sse() is found.sse()
    head, data, *_ = found.sse().decode().split("\ndata: ")
    assert head == "event: trades\nid: 1"
    assert data == f"{found.text}\n\n"


def test_the_histogram_of_delays_puts_each_into_its_bucket():
    delays = Delays()
    delays.add([0], int(DELAY_BOUNDS_S[0] * 1e9))
    delays.add([0, 0], int(0.06 * 1e9))
    delays.add([0], 10**10)
    assert delays.counts[0] == delays.counts[-1] == 1
    assert delays.counts[4] == 2
    assert delays.quantile_s(0.5) == 0.075
    assert delays.quantile_s(1.0) == float("inf")


@pytest.mark.parametrize(
    ("wants", "topic", "symbol", "is_wanted"),
    [
        (Wants(), "trades", "A", True),
        (Wants(topics=frozenset({"health"})), "trades", "A", False),
        (Wants(symbols=frozenset({"B"})), "trades", "A", False),
        (Wants(symbols=frozenset({"B"})), "health", None, True),
        (Wants(frozenset({"trades"}), frozenset({"A"})), "trades", "A", True),
        (Wants(frozenset({"trades"}), frozenset({"A"})), "hello", None, True),
    ],
)
def test_a_client_is_given_what_it_asked_for(wants, topic, symbol, is_wanted):
    assert wants.includes(message(topic=topic, symbol=symbol)) is is_wanted


def test_a_client_that_lags_is_full_by_messages_or_by_bytes_and_then_dropped():
    async def go() -> None:
        for size, most in ((1, QUEUE_MESSAGES_MAX), (100_000, QUEUE_BYTES_MAX // 100_000)):
            client = Client(Wants(), lambda: None)
            taken = 0
            while client.offer([message(size)]):
                taken += 1
                assert client.queued_bytes <= QUEUE_BYTES_MAX
            assert most - 1 <= taken <= most

    asyncio.run(go())


def test_to_whoever_has_read_everything_a_whole_moment_is_given_however_large():
    async def go() -> None:
        client = Client(Wants(), lambda: None)
        assert client.offer([message(10_000) for _ in range(QUEUE_MESSAGES_MAX * 2)])
        assert not client.offer([message()])

    asyncio.run(go())


def test_a_slow_client_is_dropped_counted_emptied_and_cut_while_others_go_on():
    async def go() -> None:
        figures = Figures()
        clients = Clients(figures)
        cut = asyncio.Event()
        slow, quick = Client(Wants(), cut.set), Client(Wants(), lambda: None)
        with clients.joined("feed", slow), clients.joined("feed", quick):
            for _ in range(QUEUE_MESSAGES_MAX + 1):
                clients.give("feed", [message()], 0.01)
                assert await quick.next(1) is not None
            assert figures.clients_dropped["too_slow"] == 1
            assert slow.is_slow
            assert await slow.next(1) is None
            assert clients.queued_bytes == 0
            await asyncio.wait_for(cut.wait(), 5)
            assert not quick.is_ended

    asyncio.run(go())


def test_places_are_bounded_given_back_and_over_at_the_end():
    clients = Clients(Figures())
    held = [clients.place() for _ in range(CLIENTS_MAX)]
    assert all(place.__enter__() for place in held)
    with clients.place() as one_more:
        assert not one_more
    held[0].__exit__(None, None, None)
    with clients.place() as one_more:
        assert one_more
    clients.end()
    with clients.place() as after_the_end:
        assert not after_the_end


def running(counts: bool = True):  # noqa: FBT001
    """A fan-out with a client, in a loop; gives what the client was sent until it is asked."""
    bus, figures = InProcessBus(), Figures()
    clients = Clients(figures)
    return (
        bus,
        figures,
        clients,
        FanOut(Moment("feed", is_live=counts), bus, clients, figures, counts=counts),
    )


def test_what_is_published_reaches_a_client_within_a_moment_and_conflated():
    async def go() -> None:
        bus, _, clients, fanout = running()
        client = Client(Wants(), lambda: None)
        fanout.start()
        with clients.joined("feed", client):
            bus.publish(Topic.MARKET_DATA, "A", [trade(1)])
            first = await client.next(5)
            for number in range(2, 50):
                bus.publish(Topic.MARKET_DATA, "A", [trade(number)])
            second = await client.next(5)
        await fanout.stop()
        assert first is not None
        assert second is not None
        found = [each["id"] for each in json.loads(second.text)["trades"]]
        assert found[0] == 2
        assert len(found) > 10
        assert not fanout.is_alive

    asyncio.run(go())


def test_faults_and_rejected_frames_are_counted_while_nobody_listens():
    async def go() -> None:
        bus, figures, _, fanout = running()
        fanout.start()
        bus.publish(Topic.HEALTH, "A", [Fault("test", "A", FaultKind.GAP, 1, "")] * 3)
        bus.publish(Topic.DEAD_LETTERS, "", [Rejected(RejectReason.TIME, "", 1)])
        while not figures.rejected:
            await asyncio.sleep(0.005)
        await fanout.stop()
        assert figures.faults == {("A", "gap"): 3}
        assert figures.rejected == {"time": 1}

    asyncio.run(asyncio.wait_for(go(), 10))


def test_a_loop_that_is_busy_holds_up_neither_the_bus_nor_memory():
    async def go() -> None:
        bus, _, clients, fanout = running()
        client = Client(Wants(), lambda: None)
        fanout.start()
        with clients.joined("feed", client):
            trades = [trade(number) for number in range(1_000)]

            def pour() -> None:
                # it reads twice before it hands on, and then waits for this loop: the rest is lost
                for _ in range(3 * ROOM // 1_000 + 1):
                    bus.publish(Topic.MARKET_DATA, "A", trades)

            pouring = threading.Thread(target=pour, daemon=True)
            pouring.start()
            pouring.join(30)
            assert not pouring.is_alive()
            assert fanout.dropped > 0
            assert await client.next(5) is not None
        await fanout.stop()

    asyncio.run(go())


def test_a_message_that_cannot_be_told_costs_its_moment_and_nothing_more():
    async def go() -> None:
        bus, figures, clients, fanout = running()
        client = Client(Wants(), lambda: None)
        fanout.start()
        with clients.joined("feed", client):
            pipeline = Pipeline("test", ["BTCUSDT"])
            outputs = pipeline.handle([trade(number) for number in range(1_000)])
            (row, *_) = [row_of(each) for each in outputs if isinstance(each, BarOutput)]
            row = type(row)(**{**{f: getattr(row, f) for f in row.__struct_fields__},
                               "metrics": b"{"})  # fmt: skip
            bus.publish(Topic.METRICS, "BTCUSDT", [row])
            while not figures.fanout_errors:
                await asyncio.sleep(0.005)
            bus.publish(Topic.MARKET_DATA, "A", [trade(1)])
            found = await client.next(5)
            assert found is not None
            assert found.topic == "trades"
        await fanout.stop()

    asyncio.run(asyncio.wait_for(go(), 10))


def test_it_ends_at_once_though_the_bus_is_closed():
    async def go() -> None:
        bus, _, _, fanout = running()
        fanout.start()
        bus.close()
        await asyncio.sleep(0.05)
        began_s = time.monotonic()
        await fanout.stop()
        assert time.monotonic() - began_s < 5

    asyncio.run(go())


def test_faults_of_ever_new_symbols_are_counted_in_a_bounded_table():
    figures = Figures()
    for number in range(3_000):
        figures.note_fault(f"S{number}", "gap")
    assert len(figures.faults) <= 1_025
    assert figures.faults.total() == 3_000
