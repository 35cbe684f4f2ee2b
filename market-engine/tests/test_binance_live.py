from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time

import pytest
from rude_venue import RudeVenue, Session, frame, honest, quote_frame, rows
from running_feed import QUICK, RunningFeed

from market_engine.errors import FeedError, RejectReason
from market_engine.events import NoticeKind, Trade
from market_engine.feeds.binance import BinanceConfig, BinanceFeed
from market_engine.feeds.binance_parser import BinanceParser

UP, DOWN = NoticeKind.CONNECTED, NoticeKind.DISCONNECTED


def gives(*ids: int, symbol: str = "BTCUSDT"):
    """A script that sends these trades and then is quiet."""

    async def script(session: Session) -> None:
        await session.trade(symbol, *ids)

    return script


def drops(*ids: int):
    """A script that sends these trades and ends the connection without a word."""

    async def script(session: Session) -> None:
        await session.trade("BTCUSDT", *ids)
        await session.drop()

    return script


def test_every_trade_is_given_once_and_in_order() -> None:
    with RudeVenue(gives(*range(1, 101))) as venue, RunningFeed(venue) as run:
        run.until(lambda: len(run.ids()) == 100)
    assert run.ids() == list(range(1, 101))
    assert run.links() == [UP, DOWN]
    assert run.feed.stats().trades == 100
    assert not venue.queries


def test_every_frame_can_be_recorded_with_its_receipt() -> None:
    kept: list[tuple[bytes, int]] = []
    feed = {"record": lambda *received: kept.append(received)}
    with RudeVenue(gives(*range(1, 51))) as venue, RunningFeed(venue, feed=feed) as run:
        run.until(lambda: len(run.ids()) == 50)
    parser = BinanceParser()
    assert [event for received in kept for event in parser.parse(*received)] == run.of(Trade)


def test_streams_are_asked_for_by_the_names_that_the_venue_knows() -> None:
    with RudeVenue() as venue:
        with RunningFeed(venue, ["BTCUSDT", "ETHUSDT"], quotes=True) as run:
            run.until(lambda: venue.sessions)
        assert venue.sessions[0].streams == [
            "btcusdt@aggTrade", "ethusdt@aggTrade", "btcusdt@bookTicker", "ethusdt@bookTicker",
        ]  # fmt: skip


def test_more_streams_than_an_address_holds_are_subscribed_to_slowly() -> None:
    requests, stamps_s = [], []

    async def listen(session: Session) -> None:
        while sum(len(request["params"]) for request in requests) < 150:
            requests.append(json.loads(await session.socket.recv()))
            stamps_s.append(time.monotonic())
            await session.send(f'{{"result":null,"id":{requests[-1]["id"]}}}')
        await session.trade("S249", 1)

    symbols = [f"S{number}" for number in range(250)]
    with (
        RudeVenue(listen) as venue,
        RunningFeed(venue, symbols, messages_per_s_max=10) as run,
    ):
        run.until(lambda: run.ids("S249"))
    asked = venue.sessions[0].streams + [name for r in requests for name in r["params"]]
    assert asked == [f"{symbol.lower()}@aggTrade" for symbol in symbols]
    assert stamps_s[1] - stamps_s[0] > 0.09


@pytest.mark.parametrize(
    ("symbols", "what"),
    [([f"S{n}" for n in range(513)], "1024"), ([], "at least one"), (["a"], "not a symbol")],
)
def test_what_the_venue_would_refuse_is_refused_at_once(symbols, what: str) -> None:
    with pytest.raises(FeedError, match=what):
        BinanceFeed(symbols)


def test_after_a_drop_what_was_missed_is_fetched_and_flagged() -> None:
    with (
        RudeVenue(drops(1, 2, 3), gives(8, 9), rest=honest(9)) as venue,
        RunningFeed(venue) as run,
    ):
        run.until(lambda: run.notices(NoticeKind.BACKFILLED))
    assert sorted(run.ids()) == list(range(1, 10))
    assert run.filled() == [4, 5, 6, 7]
    assert run.notices(NoticeKind.BACKFILLING) == run.notices(NoticeKind.BACKFILLED) == [(4, 7)]
    assert run.links() == [UP, DOWN, UP, DOWN]
    assert [(query["fromId"], query["limit"]) for query in venue.queries] == [("4", "4")]


def test_half_a_frame_is_no_trade() -> None:
    async def half(session: Session) -> None:
        await session.trade("BTCUSDT", 1, 2)
        await session.half_frame()

    with RudeVenue(half, gives(3, 4)) as venue, RunningFeed(venue) as run:
        run.until(lambda: len(run.ids()) == 4)
    assert run.ids() == [1, 2, 3, 4]
    assert not run.rejected()


def test_many_drops_lose_nothing_and_give_nothing_twice() -> None:
    scripts = [drops(*range(start, start + 7)) for start in range(1, 200, 10)]
    with RudeVenue(*scripts, gives(201), rest=honest(201)) as venue, RunningFeed(venue) as run:
        run.until(lambda: len(run.ids()) == 201)
    assert sorted(run.ids()) == list(range(1, 202))
    assert run.links() == [UP, DOWN] * 21


def test_after_a_restart_what_came_meanwhile_is_fetched() -> None:
    with (
        RudeVenue(gives(2_500, 2_501), rest=honest(2_501)) as venue,
        RunningFeed(venue, feed={"resume": {"BTCUSDT": 100}}) as run,
    ):
        run.until(lambda: run.notices(NoticeKind.BACKFILLED))
    assert sorted(run.ids()) == list(range(101, 2_502))
    assert run.filled() == list(range(101, 2_500))
    assert len(venue.queries) == 3


def test_a_quiet_symbol_is_asked_for_after_a_restart() -> None:
    with (
        RudeVenue(gives(8), rest=honest(7)) as venue,
        RunningFeed(
            venue,
            ["BTCUSDT", "ETHUSDT"],
            feed={"resume": {"ETHUSDT": 3, "BTCUSDT": 7}},
            catch_up_after_s=0.1,
        ) as run,
    ):
        run.until(lambda: run.notices(NoticeKind.BACKFILLED))
        run.until(lambda: len(venue.queries) == 2)
    assert run.filled("ETHUSDT") == [4, 5, 6, 7]
    assert run.ids("BTCUSDT") == [8]
    assert {query["symbol"] for query in venue.queries} == {"ETHUSDT"}


def test_live_trades_flow_while_a_gap_is_being_filled() -> None:
    told = threading.Event()

    def slowly(query):
        return honest(30)(query) if told.is_set() else rows([], status=500)

    with (
        RudeVenue(gives(1, 20, *range(21, 31)), rest=slowly) as venue,
        RunningFeed(venue, rest_attempts_max=1_000) as run,
    ):
        run.until(lambda: run.ids() == [1, *range(20, 31)])
        told.set()
        run.until(lambda: run.notices(NoticeKind.BACKFILLED))
    assert sorted(run.ids()) == list(range(1, 31))


def rotating(first: int, old_last: int, next_: int, last: int):
    """Two scripts: the old connection lags behind the new one, and both overlap."""

    async def old(session: Session) -> None:
        await session.trade("BTCUSDT", *range(first, next_))
        await session.connections(2)
        await session.told("new delivers")
        await asyncio.sleep(0.3)  # a lag of several times the shortest overlap
        await session.trade("BTCUSDT", *range(next_, old_last + 1))
        session.venue.tell("old is done")

    async def new(session: Session) -> None:
        await session.trade("BTCUSDT", *range(next_ + 5, old_last + 1))
        session.venue.tell("new delivers")
        await session.told("old is done")
        await session.trade("BTCUSDT", *range(old_last + 1, last + 1))

    return old, new


def test_a_rotation_loses_nothing_gives_nothing_twice_and_keeps_the_order() -> None:
    with (
        RudeVenue(*rotating(1, 60, 31, 100)) as venue,
        RunningFeed(venue, rotate_after_s=0.2) as run,
    ):
        run.until(lambda: len(run.ids()) == 100)
        run.until(lambda: run.feed.stats().overlap_dropped >= 25)
    assert run.ids() == list(range(1, 101))
    assert not run.filled()
    assert run.links() == [UP, DOWN]
    stats = run.feed.stats()
    assert stats.rotations >= 1
    assert stats.overlap_dropped == 25


def test_the_old_connection_is_closed_only_when_the_new_one_delivers() -> None:
    order: list[str] = []

    async def old(session: Session) -> None:
        await session.trade("BTCUSDT", 1)
        await session.closed()
        order.append("old closed")

    async def new(session: Session) -> None:
        await session.told("now")
        order.append("new delivers")
        await session.trade("BTCUSDT", 1, 2)

    with (
        RudeVenue(old, new) as venue,
        RunningFeed(venue, rotate_after_s=0.1, overlap_s_max=30) as run,
    ):
        run.until(lambda: len(venue.sessions) == 2)
        time.sleep(0.2)  # much longer than the shortest overlap
        assert order == []
        venue.tell("now")
        run.until(lambda: len(order) == 2)
    assert order == ["new delivers", "old closed"]
    assert run.ids() == [1, 2]


def test_a_days_rotations_in_a_second_lose_nothing() -> None:
    async def walk(session: Session) -> None:
        """Every connection brings each trade as it happens, this one a little later."""
        venue = session.venue
        ids = [int(name) for name in venue.told if name.isdigit()]
        trade_id = max(ids, default=0) + 1
        while trade_id <= 300:
            venue.tell(str(trade_id))
            await session.trade("BTCUSDT", trade_id)
            trade_id += 1
            await asyncio.sleep(0.003 + session.number % 3 * 0.001)

    with (
        RudeVenue(*[walk] * 50, rest=honest(300)) as venue,
        RunningFeed(venue, rotate_after_s=0.1) as run,
    ):
        run.until(lambda: len(run.ids()) == 300)
    assert sorted(run.ids()) == list(range(1, 301))
    assert run.feed.stats().rotations >= 5
    assert run.links() == [UP, DOWN]


def test_an_announced_shutdown_rotates_at_once() -> None:
    async def leaving(session: Session) -> None:
        await session.trade("BTCUSDT", 1, 2)
        await session.send('{"e":"serverShutdown","E":1633998500000}')
        await session.connections(2)
        await session.trade("BTCUSDT", 3, 4)
        session.venue.tell("all sent")
        await session.closed()

    async def staying(session: Session) -> None:
        await session.told("all sent")
        await session.trade("BTCUSDT", 3, 4, 5)

    with RudeVenue(leaving, staying) as venue, RunningFeed(venue) as run:
        run.until(lambda: len(run.ids()) == 5)
        run.until(lambda: run.feed.stats().open == 1)
    assert run.ids() == [1, 2, 3, 4, 5]
    assert run.links() == [UP, DOWN]
    assert not run.rejected()


def test_an_overlap_in_which_the_old_connection_dies_turns_what_is_missing_into_a_gap() -> None:
    async def old(session: Session) -> None:
        await session.trade("BTCUSDT", 1, 2)
        await session.told("new delivers")
        await session.drop()

    async def new(session: Session) -> None:
        await session.trade("BTCUSDT", 5, 6)
        session.venue.tell("new delivers")

    with (
        RudeVenue(old, new, rest=honest(6)) as venue,
        RunningFeed(venue, rotate_after_s=0.1, overlap_s_max=30, overlap_s_min=30) as run,
    ):
        run.until(lambda: run.notices(NoticeKind.BACKFILLED))
    assert sorted(run.ids()) == [1, 2, 3, 4, 5, 6]
    assert run.filled() == [3, 4]
    assert run.links() == [UP, DOWN]


def test_while_no_successor_lives_the_old_connection_is_kept() -> None:
    async def old(session: Session) -> None:
        await session.trade("BTCUSDT", 1)
        await session.connections(2)
        await asyncio.sleep(0.3)  # longer than the longest overlap
        await session.trade("BTCUSDT", 2)

    async def stillborn(session: Session) -> None:
        session.venue.refusals.append(503)
        session.venue.refusal_headers["Retry-After"] = "0.5"
        await session.drop()

    with (
        RudeVenue(old, stillborn, gives(2, 3)) as venue,
        RunningFeed(venue, rotate_after_s=0.2, overlap_s_max=0.1) as run,
    ):
        run.until(lambda: len(run.ids()) == 3)
    assert run.ids() == [1, 2, 3]
    assert run.links() == [UP, DOWN]


def test_a_connection_that_falls_silent_is_replaced() -> None:
    with (
        RudeVenue(gives(1, 2), gives(3), rest=honest(3)) as venue,
        RunningFeed(venue, silence_s=0.3) as run,
    ):
        run.until(lambda: len(run.ids()) == 3)
    assert run.ids() == [1, 2, 3]
    assert run.links() == [UP, DOWN]


def test_silence_on_one_symbol_disturbs_no_other() -> None:
    """A machine that stands still for a second is silence on all; it does not do so five times."""

    async def script(session: Session) -> None:
        await session.trade("ETHUSDT", 1)
        for trade_id in range(1, 251):
            await session.trade("BTCUSDT", trade_id)
            await asyncio.sleep(0.005)

    def connections() -> int:
        with (
            RudeVenue(script) as venue,
            RunningFeed(venue, ["BTCUSDT", "ETHUSDT"], silence_s=1.0) as run,
        ):
            run.until(lambda: len(run.ids()) == 250)
            taken = len(venue.sessions)
        assert run.ids("ETHUSDT") == [1]
        return taken

    assert 1 in (connections() for _ in range(5))


def test_a_flood_is_taken_in_full() -> None:
    async def flood(session: Session) -> None:
        for start in range(1, 20_001, 500):
            await session.trade("BTCUSDT", *range(start, start + 500))

    with RudeVenue(flood) as venue, RunningFeed(venue) as run:
        run.until(lambda: len(run.ids()) == 20_000, timeout_s=30)
    assert run.ids() == list(range(1, 20_001))


def test_when_emit_blocks_the_venue_waits_and_nothing_is_lost() -> None:
    gate, sent = threading.Event(), []

    async def flood(session: Session) -> None:
        for start in range(1, 20_001, 100):
            await session.trade("BTCUSDT", *range(start, start + 100))
            sent.append(start + 99)

    def emit(events):
        gate.wait(20)

    with (
        RudeVenue(flood) as venue,
        RunningFeed(venue, emit=emit, events_queued_max=200, frames_queued_max=64) as run,
    ):
        run.until(lambda: run.feed.stats().stalls)
        assert run.feed.stats().queued <= 201
        assert run.events == []
        gate.set()
        run.until(lambda: len(run.ids()) == 20_000, timeout_s=30)
    assert run.ids() == list(range(1, 20_001))


def test_what_is_wrong_is_told_and_the_connection_goes_on() -> None:
    async def script(session: Session) -> None:
        await session.trade("BTCUSDT", 1)
        for bad in ("{", "nonsense", b"\x00\xff\xfe", '{"e":"surprise"}', "[" * 100_000):
            await session.send(bad)
        await session.send(frame("BTCUSDT", 2).replace('"0.5', '"-0.5'))
        await session.send(frame("DOGEUSDT", 1))
        await session.send(frame("BTCUSDT", 2).encode())  # a binary frame, and sound
        await session.send("x" * (2**20 + 1))
        await session.trade("BTCUSDT", 3)

    with RudeVenue(script) as venue, RunningFeed(venue) as run:
        run.until(lambda: len(run.ids()) == 3)
    malformed = [RejectReason.MALFORMED] * 3
    assert [event.reason for event in run.rejected()] == [
        *malformed, RejectReason.UNKNOWN_TYPE, RejectReason.MALFORMED, RejectReason.QTY,
        RejectReason.SYMBOL, RejectReason.TOO_LARGE,
    ]  # fmt: skip
    assert run.feed.stats().rejected == 8
    assert len(venue.sessions) == 1


def test_a_message_beyond_all_bounds_ends_the_connection_and_no_more() -> None:
    async def script(session: Session) -> None:
        await session.trade("BTCUSDT", 1)
        await session.send("x" * (5 * 2**20))

    with RudeVenue(script, gives(2)) as venue, RunningFeed(venue) as run:
        run.until(lambda: len(run.ids()) == 2)


def test_pings_are_answered_with_their_payload() -> None:
    latencies_s: list[float] = []

    async def insist(session: Session) -> None:
        for number in range(5):
            pong = await session.socket.ping(f"payload {number}")
            latencies_s.append(await asyncio.wait_for(pong, 20))
        await session.trade("BTCUSDT", 1)

    with RudeVenue(insist) as venue, RunningFeed(venue) as run:
        run.until(run.ids)
        assert len(venue.sessions) == 1
    assert len(latencies_s) == 5


def test_a_venue_that_answers_no_ping_is_left() -> None:
    async def dead(session: Session) -> None:
        await session.trade("BTCUSDT", 1)
        session.socket.transport.pause_reading()
        with contextlib.suppress(OSError):
            await session.connections(2)

    with (
        RudeVenue(dead, gives(2)) as venue,
        RunningFeed(venue, ping_interval_s=0.1, ping_timeout_s=0.1) as run,
    ):
        run.until(lambda: len(run.ids()) == 2)


def test_quotes_come_from_one_connection_only() -> None:
    async def old(session: Session) -> None:
        await session.trade("BTCUSDT", 1)
        await session.connections(2)
        await session.told("new delivers")
        await session.send(quote_frame("BTCUSDT", 10))
        session.venue.tell("old is done")

    async def new(session: Session) -> None:
        await session.send(quote_frame("BTCUSDT", 10))
        await session.send(quote_frame("BTCUSDT", 11))
        session.venue.tell("new delivers")
        await session.told("old is done")
        while session.venue.sessions[0].socket.state.name == "OPEN":
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        await session.send(quote_frame("BTCUSDT", 12))

    with (
        RudeVenue(old, new) as venue,
        RunningFeed(venue, quotes=True, rotate_after_s=0.5, overlap_s_min=0.2) as run,
    ):
        run.until(lambda: len(run.quotes()) == 2)
    assert [quote.bid_nano // 10**9 for quote in run.quotes()] == [10, 12]


def test_refused_connections_are_tried_again_ever_more_slowly_and_not_for_ever_quickly() -> None:
    with (
        RudeVenue(gives(1), refusals=[503] * 6) as venue,
        RunningFeed(
            venue, feed={"draw": lambda: 1.0}, backoff_base_s=0.02, backoff_cap_s=0.1
        ) as run,
    ):
        run.until(run.ids)
    pauses_s = [b - a for a, b in zip(venue.attempts_s, venue.attempts_s[1:], strict=False)]
    assert len(pauses_s) == 6
    for pause_s, least_s in zip(pauses_s, [0.02, 0.04, 0.08, 0.1, 0.1, 0.1], strict=True):
        assert pause_s >= least_s
    assert run.feed.stats().attempts == 7


def test_attempts_stay_within_the_venues_limit() -> None:
    with (
        RudeVenue(refusals=[503] * 100) as venue,
        RunningFeed(venue, attempts_max=5, attempts_window_s=60.0) as run,
    ):
        run.until(lambda: len(venue.attempts_s) == 5)
        time.sleep(0.3)  # six back-offs
        assert len(venue.attempts_s) == 5
    assert run.links() == []


def test_a_venue_that_says_when_to_come_back_is_heeded() -> None:
    venue = RudeVenue(gives(1), refusals=[429])
    venue.refusal_headers = {"Retry-After": "0.4"}
    with venue, RunningFeed(venue) as run:
        run.until(run.ids)
    assert venue.attempts_s[1] - venue.attempts_s[0] >= 0.4


@pytest.mark.parametrize("status", [451, 404])
def test_a_venue_that_will_never_serve_us_is_an_error_that_says_so(status: int) -> None:
    with RudeVenue(refusals=[status]) as venue:
        config = BinanceConfig(stream_url=venue.stream_url, **QUICK)
        with pytest.raises(FeedError, match=f"{status}.*stream_url"):
            BinanceFeed(["BTCUSDT"], config=config).run(lambda events: None)


def test_nobody_listening_is_no_error_and_stops_at_once() -> None:
    with RudeVenue() as venue:
        url = venue.stream_url
    with RunningFeed(venue, stream_url=url) as run:
        run.until(lambda: run.feed.stats().attempts >= 3)
    assert run.links() == []


def test_time_passes_also_when_nothing_comes() -> None:
    with RudeVenue() as venue, RunningFeed(venue) as run:
        run.until(lambda: len(run.ticks()) >= 5)


def test_a_clock_that_is_set_back_never_shows() -> None:
    clock = iter(range(2 * 10**18, 0, -(10**9)))
    with (
        RudeVenue(gives(*range(1, 51))) as venue,
        RunningFeed(venue, feed={"clock": lambda: next(clock)}) as run,
    ):
        run.until(lambda: len(run.ids()) == 50)
    assert len({event.received_ns for event in run.events}) == 1


def test_a_feed_that_was_stopped_before_it_ran_returns_at_once() -> None:
    feed = BinanceFeed(["BTCUSDT"])
    feed.stop()
    feed.run(lambda events: None)


def test_an_emit_that_fails_ends_the_run_and_leaves_nothing_behind() -> None:
    def emit(events):
        raise ZeroDivisionError

    with RudeVenue(gives(1)) as venue:
        config = BinanceConfig(stream_url=venue.stream_url, rest_url=venue.rest_url, **QUICK)
        with pytest.raises(ZeroDivisionError):
            BinanceFeed(["BTCUSDT"], config=config).run(emit)
    assert "binance" not in {thread.name for thread in threading.enumerate()}


def test_single_trades_are_followed_when_they_are_asked_for() -> None:
    async def script(session: Session) -> None:
        await session.trade("BTCUSDT", 1, 2, kind="trade")
        await session.trade("BTCUSDT", 500, kind="aggTrade")
        await session.trade("BTCUSDT", 5, kind="trade")

    with (
        RudeVenue(script, rest=honest(5)) as venue,
        RunningFeed(venue, trade_stream="trade") as run,
    ):
        run.until(lambda: run.notices(NoticeKind.BACKFILLED))
    assert sorted(run.ids()) == [1, 2, 3, 4, 5]
    assert venue.queries[0]["path"] == "/api/v3/historicalTrades"
