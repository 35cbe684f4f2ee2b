from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rude_venue import Reply, RudeVenue, Session, honest, rows, single_row
from running_feed import RunningFeed

from market_engine.errors import RejectReason
from market_engine.events import NoticeKind, Trade
from market_engine.feeds.binance_config import BinanceStats
from market_engine.feeds.binance_rest import retry_after_s
from market_engine.feeds.binance_trades import Stretch, TradeMerge

ASKED, DONE, FAILED = (
    NoticeKind.BACKFILLING,
    NoticeKind.BACKFILLED,
    NoticeKind.BACKFILL_FAILED,
)


async def gap(session: Session) -> None:
    """The stream leaves out 2 to 9, and goes on."""
    await session.trade("BTCUSDT", 1, 10)
    await session.told("more")
    await session.trade("BTCUSDT", 11)


def test_a_gap_that_the_venue_can_fill_is_filled_exactly() -> None:
    with RudeVenue(gap, rest=honest(11)) as venue, RunningFeed(venue) as run:
        run.until(lambda: run.notices(DONE))
    assert sorted(run.ids()) == list(range(1, 11))
    assert run.filled() == list(range(2, 10))
    assert run.notices(ASKED) == run.notices(DONE) == [(2, 9)]
    assert run.feed.stats().backfilled == 8


def test_a_gap_is_fetched_page_by_page() -> None:
    with (
        RudeVenue(gap, rest=honest(11)) as venue,
        RunningFeed(venue, page_trades_max=3) as run,
    ):
        run.until(lambda: run.notices(DONE))
    assert [(q["fromId"], q["limit"]) for q in venue.queries] == [
        ("2", "3"),
        ("5", "3"),
        ("8", "2"),
    ]
    assert run.filled() == list(range(2, 10))


def test_of_a_gap_that_is_too_long_the_newest_trades_are_fetched() -> None:
    with (
        RudeVenue(gap, rest=honest(11)) as venue,
        RunningFeed(venue, gap_trades_max=3) as run,
    ):
        run.until(lambda: run.notices(DONE))
    assert run.filled() == [7, 8, 9]
    assert (run.notices(FAILED), run.notices(ASKED)) == ([(2, 6)], [(7, 9)])
    assert "3 trades" in run.why()


CANNOT = {
    "it has none": (lambda query: Reply(), "has no trades"),
    "it says that we ask wrongly": (lambda query: Reply(b"bad symbol", 400), "HTTP 400 bad symbol"),
    "it is broken": (lambda query: Reply(b"oops", 500), "HTTP 500 oops"),
    "it throttles for ever": (
        lambda query: Reply(status=429, headers={"Retry-After": "0.01"}),
        "HTTP 429",
    ),
    "it bans us for a day": (
        lambda query: Reply(status=418, headers={"Retry-After": "86400"}),
        "86400 s",
    ),
    "it hangs": (lambda query: Reply(hangs=True), "no answer in time"),
    "it drips": (lambda query: Reply(b"[" + b" " * 1_000, drips=True), "no answer in time"),
    "it hangs up": (lambda query: rows([2, 3], cut=20), "Protocol"),
    "it lies with older ids": (lambda query: rows([1, 2, 3]), "out of place"),
    "it lies with falling ids": (lambda query: rows([2, 4, 3]), "out of place"),
    "it lies with equal ids": (lambda query: rows([2, 2]), "out of place"),
    "it skips them": (lambda query: rows([11, 12]), "does not have them"),
    "it answers with a page": (lambda query: Reply(b"<html>"), "no list of trades"),
    "it answers with an object": (lambda query: Reply(b'{"code":0}'), "no list of trades"),
    "its numbers are none": (lambda query: Reply(b'[{"a":"2"}]'), "no list of trades"),
    "it never ends": (lambda query: Reply(b" " * 2_000_000), "longer than"),
    "it redirects": (lambda query: Reply(status=302, headers={"Location": "/x"}), "HTTP 302"),
}


@pytest.mark.parametrize("case", CANNOT)
def test_a_gap_that_the_venue_cannot_fill_is_told_with_the_reason(case: str) -> None:
    answer, why = CANNOT[case]
    with (
        RudeVenue(gap, rest=answer) as venue,
        RunningFeed(venue, rest_timeout_s=0.15 if why == "no answer in time" else 10) as run,
    ):
        run.until(lambda: run.notices(FAILED))
        venue.tell("more")
        run.until(lambda: run.ids() == [1, 10, 11])
    assert why in run.why()
    assert run.notices(ASKED) == run.notices(FAILED) == [(2, 9)]
    assert run.notices(DONE) == []
    assert 1 <= len(venue.queries) <= 3
    assert run.feed.stats().backfill_failed == 8


def test_of_a_gap_that_is_filled_in_part_each_part_is_told() -> None:
    def answer(query):
        return rows(i for i in (2, 3, 6, 9) if i >= int(query["fromId"]))

    with RudeVenue(gap, rest=answer) as venue, RunningFeed(venue) as run:
        run.until(lambda: len(run.notices(FAILED)) == 2)
        run.until(lambda: len(run.notices(DONE)) == 3)
    assert run.filled() == [2, 3, 6, 9]
    assert run.notices(DONE) == [(2, 3), (6, 6), (9, 9)]
    assert run.notices(FAILED) == [(4, 5), (7, 8)]


def test_pages_before_the_one_that_fails_are_kept() -> None:
    def answer(query):
        return rows([2, 3]) if query["fromId"] == "2" else Reply(b"no", 400)

    with RudeVenue(gap, rest=answer) as venue, RunningFeed(venue) as run:
        run.until(lambda: run.notices(FAILED))
    assert run.filled() == [2, 3]
    assert (run.notices(DONE), run.notices(FAILED)) == ([(2, 3)], [(4, 9)])


def test_trades_beyond_the_gap_are_not_taken_from_the_answer() -> None:
    with (
        RudeVenue(gap, rest=lambda query: rows(range(2, 500))) as venue,
        RunningFeed(venue) as run,
    ):
        run.until(lambda: run.notices(DONE))
        venue.tell("more")
        run.until(lambda: 11 in run.ids())
    assert sorted(run.ids()) == list(range(1, 12))
    assert 11 not in run.filled()


def test_a_trade_that_makes_no_sense_is_rejected_and_stays_missing() -> None:
    def answer(query):
        reply = honest(11)(query)
        bad = reply.body.replace(b'"a": 5, "p": "105.25000000"', b'"a": 5, "p": "-105"')
        return Reply(bad)

    with RudeVenue(gap, rest=answer) as venue, RunningFeed(venue) as run:
        run.until(lambda: run.notices(FAILED))
    assert run.filled() == [2, 3, 4, 6, 7, 8, 9]
    assert run.notices(FAILED) == [(5, 5)]
    assert [event.reason for event in run.rejected()] == [RejectReason.PRICE]


@pytest.mark.parametrize(
    "bad",
    [Reply(b"oops", 500), Reply(hangs=True), rows([2, 3], cut=9), Reply(), rows([9, 2])],
    ids=["broken", "hangs", "hangs up", "is behind the stream", "lies"],
)
def test_a_venue_that_fails_once_is_asked_again(bad: Reply) -> None:
    replies = [bad]

    def answer(query):
        return replies.pop() if replies else honest(11)(query)

    with (
        RudeVenue(gap, rest=answer) as venue,
        RunningFeed(venue, rest_timeout_s=0.5 if bad.hangs else 10) as run,
    ):
        run.until(lambda: run.notices(DONE))
    assert run.filled() == list(range(2, 10))
    assert run.notices(FAILED) == []


def test_a_venue_that_throttles_is_left_alone_for_as_long_as_it_says() -> None:
    replies = [Reply(status=429, headers={"Retry-After": "0.4"})]

    def answer(query):
        return replies.pop() if replies else honest(11)(query)

    with RudeVenue(gap, rest=answer) as venue, RunningFeed(venue) as run:
        run.until(lambda: run.notices(DONE))
    assert venue.asked_s[1] - venue.asked_s[0] >= 0.39


def test_requests_pause_before_the_venues_weight_is_used_up() -> None:
    def answer(query):
        reply = honest(11)(query)
        reply.headers["X-MBX-USED-WEIGHT-1M"] = "4800" if query["fromId"] == "2" else "10"
        return reply

    with (
        RudeVenue(gap, rest=answer) as venue,
        RunningFeed(venue, page_trades_max=4) as run,
    ):
        run.until(lambda: run.notices(DONE))
    assert len(venue.asked_s) == 2
    assert venue.asked_s[1] - venue.asked_s[0] >= 0.29


def test_more_gaps_than_the_queue_holds_are_told_and_not_kept() -> None:
    async def holes(session: Session) -> None:
        await session.trade("BTCUSDT", *range(1, 40, 2))

    with (
        RudeVenue(holes, rest=lambda query: Reply(hangs=True)) as venue,
        RunningFeed(venue, gaps_queued_max=2, rest_timeout_s=30) as run,
    ):
        run.until(lambda: len(run.ids()) == 20)
    assert len(run.notices(ASKED)) + len(run.notices(FAILED)) == 19
    assert 2 <= len(run.notices(ASKED)) <= 3
    assert "waiting already" in run.why()


def test_stopping_does_not_wait_for_a_venue_that_hangs() -> None:
    with (
        RudeVenue(gap, rest=lambda query: Reply(hangs=True)) as venue,
        RunningFeed(venue, rest_timeout_s=60) as run,
    ):
        run.until(lambda: venue.queries)
        started_s = time.monotonic()
        run.stop()
        assert time.monotonic() - started_s < 5


def test_single_trades_are_read_as_the_venue_writes_them() -> None:
    async def script(session: Session) -> None:
        await session.trade("BTCUSDT", 1, 4, kind="trade")

    with (
        RudeVenue(script, rest=lambda query: rows([2, 3], single_row)) as venue,
        RunningFeed(venue, trade_stream="trade") as run,
    ):
        run.until(lambda: run.notices(DONE))
    assert run.filled() == [2, 3]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3), ("0", 0), ("", None), ("soon", None), ("-1", None), ("nan", None)],
)
def test_a_retry_after_is_a_number_of_seconds_or_nothing(text: str, seconds: float | None) -> None:
    assert retry_after_s(text) == seconds


def trade(trade_id: int) -> Trade:
    return Trade("binance", "A", 1, 1, "buy", trade_id, 0, 0)


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ox-")), max_size=80))
def test_whatever_two_connections_bring_each_trade_is_passed_on_once(steps) -> None:
    merge = TradeMerge(["A"], {}, BinanceStats())
    brought: set[int] = set()
    given_: list[int] = []
    gaps: list[Stretch] = []
    for trade_id, step in steps:
        merge.is_overlapping = step == "o"
        if step == "-":
            trades, found = merge.release()
        else:
            brought.add(trade_id)
            trades, found = merge.take(trade(trade_id))
        given_ += [passed.trade_id or 0 for passed in trades]
        gaps += found
    trades, found = merge.release()
    given_ += [passed.trade_id or 0 for passed in trades]
    assert sorted(given_) == sorted(brought)
    told = {i for hole in [*gaps, *found] for i in range(hole.first, hole.last + 1)}
    if given_:
        missing = set(range(given_[0], max(given_))) - brought
        assert missing <= told


@given(st.integers(1, 40), st.integers(0, 40), st.data())
def test_two_connections_that_overlap_bring_every_trade_in_order(last, start, draw) -> None:
    """However the two streams are interleaved, as long as they overlap."""
    merge = TradeMerge(["A"], {"A": 0}, BinanceStats())
    merge.is_overlapping = True
    old = list(range(1, last + 1))
    new = list(range(min(start + 1, last + 1), last + 6))
    given_: list[int] = []
    while old or new:
        source = old if old and (not new or draw.draw(st.booleans())) else new
        trades, gaps = merge.take(trade(source.pop(0)))
        assert not gaps
        given_ += [passed.trade_id or 0 for passed in trades]
    assert given_ == list(range(1, last + 6))
    assert not merge.is_holding
