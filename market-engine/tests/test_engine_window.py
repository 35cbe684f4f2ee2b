"""What a closed ingestion window leaves out is not fetched afterwards, and is no fault."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from api_server import until
from rude_venue import RudeVenue, Session, honest, price, time_ns

from market_engine import engine as engine_module
from market_engine.bus.base import Message, Topic
from market_engine.decimals import NANO, to_nano
from market_engine.engine import Engine
from market_engine.events import Notice, NoticeKind, Trade
from market_engine.health.faults import FaultKind, SymbolState
from market_engine.schedule import Schedule, Window
from market_engine.settings import Settings
from market_engine.storage.batches import BatchWriter
from market_engine.storage.database import Database

S = 10**9


def keep_trade(url: str, trade_id: int, symbol: str = "BTCUSDT", at_ns: int | None = None) -> None:
    at_ns = at_ns or time_ns(trade_id)
    trade = Trade("binance", symbol, to_nano(price(trade_id)), NANO, "buy", trade_id, at_ns, at_ns)
    database = Database(url)
    BatchWriter(database).write([Message(Topic.MARKET_DATA, symbol, trade, 0)])
    database.close()


def engine_of(
    venue: RudeVenue, url: str, schedule: Schedule | None, symbols: str = "BTCUSDT"
) -> Engine:
    given = {
        "feed": "binance",
        "symbols": symbols,
        "database_url": url,
        "binance_stream_url": venue.stream_url,
        "binance_rest_url": venue.rest_url,
    }
    return Engine(Settings(_env_file=None, **given), schedule)


def open_now() -> Schedule:
    """Every day from two minutes ago for an hour: it was closed since the trade that is kept."""
    now = datetime.now(UTC)
    minute = now.hour * 60 + now.minute
    window = Window(frozenset(range(7)), (minute - 2) % 1440, (minute + 60) % 1440)
    return Schedule(True, UTC, (window,))


@pytest.mark.parametrize("is_gated", [False, True])
def test_a_restart_in_the_next_window_does_not_fetch_what_was_left_out(
    tmp_path: Path, *, is_gated: bool
):
    url = f"sqlite:///{tmp_path}/market.db"
    keep_trade(url, 5)

    async def gives_ten(session: Session) -> None:
        await session.trade("BTCUSDT", 10)

    with RudeVenue(gives_ten, rest=honest(10)) as venue:
        engine = engine_of(venue, url, open_now() if is_gated else None)
        engine.start()
        try:
            wanted = [10] if is_gated else [6, 7, 8, 9, 10]
            until(lambda: set(wanted) <= {t.trade_id for t in engine.view.symbol("BTCUSDT").trades})
            health = engine.view.health()[0]
        finally:
            engine.stop()
    assert health.id_gaps == (0 if is_gated else 1)
    assert bool(venue.queries) is not is_gated


def test_a_first_attempt_that_is_refused_makes_the_second_fetch_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engine_module, "RETRY_S", 0.05)
    url = f"sqlite:///{tmp_path}/market.db"
    keep_trade(url, 5)

    async def gives_ten(session: Session) -> None:
        await session.trade("BTCUSDT", 10)

    with RudeVenue(gives_ten, rest=honest(10), refusals=[451]) as venue:
        engine = engine_of(venue, url, open_now())
        engine.start()
        try:
            until(lambda: 10 in {t.trade_id for t in engine.view.symbol("BTCUSDT").trades})
        finally:
            engine.stop()
    assert len(venue.attempts_s) == 2
    told = {each.kind for each in engine.view.notices if isinstance(each, Notice)}
    assert NoticeKind.BACKFILLING not in told
    assert not venue.queries


def test_a_symbol_that_has_not_traded_since_it_opened_does_not_go_on_because_another_has(
    tmp_path: Path,
):
    url, now_ns = f"sqlite:///{tmp_path}/market.db", time.time_ns()
    keep_trade(url, 5, "BTCUSDT", now_ns - S)
    keep_trade(url, 5, "ETHUSDT", now_ns - 20 * 3_600 * S)

    async def gives_ten(session: Session) -> None:
        await session.trade("ETHUSDT", 10)
        await session.trade("BTCUSDT", 10)

    with RudeVenue(gives_ten, rest=honest(10)) as venue:
        engine = engine_of(venue, url, open_now(), "BTCUSDT,ETHUSDT")
        engine.start()
        try:
            until(lambda: 10 in {t.trade_id for t in engine.view.symbol("BTCUSDT").trades})
            btc, eth = engine.view.health()
        finally:
            engine.stop()
    assert {query["symbol"] for query in venue.queries} == {"BTCUSDT"}
    assert (btc.id_gaps, eth.id_gaps, eth.ids_missing) == (1, 0, 0)
    assert not [f for f in engine.view.faults if f.kind is FaultKind.BACKFILL_FAILED]


@pytest.mark.parametrize(("before_closing_s", "is_named"), [(1_800, True), (2, False)])
def test_what_traded_after_a_kill_until_the_window_closed_is_named(
    tmp_path: Path, before_closing_s: int, *, is_named: bool
):
    url, schedule = f"sqlite:///{tmp_path}/market.db", open_now()
    closed = datetime.fromtimestamp((schedule.last_change_ns(time.time_ns()) or 0) // S, UTC)
    closed += timedelta(minutes=62) - timedelta(days=1)
    keep_trade(url, 5, at_ns=(int(closed.timestamp()) - before_closing_s) * S)
    with RudeVenue(rest=honest(10)) as venue:
        engine = engine_of(venue, url, schedule)
        engine.start()
        try:
            until(lambda: venue.sessions)
            named = [(f.symbol, f.detail) for f in engine.view.faults]
        finally:
            engine.stop()
    why = "the ingestion window closed before what traded until then could be fetched"
    assert named == ([("BTCUSDT", why)] if is_named else [])


@dataclass(frozen=True, slots=True)
class Moments(Schedule):
    """Open from the beginning to the first moment, closed to the second, and open again."""

    moments_ns: tuple[int, ...] = ()

    def is_open(self, now_ns: int) -> bool:
        return sum(now_ns >= each for each in self.moments_ns) % 2 == 0

    def next_change_ns(self, now_ns: int) -> int | None:
        return next((each for each in self.moments_ns if each > now_ns), None)

    def last_change_ns(self, now_ns: int) -> int | None:
        return next((each for each in self.moments_ns[::-1] if each <= now_ns), None)


def test_a_window_that_closes_names_no_fault_and_what_comes_after_it_begins_anew(tmp_path: Path):
    url, now_ns = f"sqlite:///{tmp_path}/market.db", time.time_ns()
    schedule = Moments(moments_ns=(now_ns + S, now_ns + 5 * S // 2))

    async def gives_until_it_ends(session: Session) -> None:
        await session.trade("BTCUSDT", 1, 2, 3)
        while schedule.is_open(time.time_ns()):
            await asyncio.sleep(0.01)
        await session.trade("BTCUSDT", 4)

    async def gives_ten(session: Session) -> None:
        await session.trade("BTCUSDT", 10, 11)

    with RudeVenue(gives_until_it_ends, gives_ten, rest=honest(11)) as venue:
        engine = engine_of(venue, url, schedule)
        engine.start()
        try:
            until(lambda: engine.view.health()[0].state is SymbolState.CLOSED)
            until(lambda: engine.view.health()[0].last_id == 11)
            health = engine.view.health()[0]
            faults = list(engine.view.faults)
        finally:
            engine.stop()
    assert [t.trade_id for t in engine.view.symbol("BTCUSDT").trades] == [1, 2, 3, 10, 11]
    assert not venue.queries
    kinds = {FaultKind.DISCONNECTED, FaultKind.GAP, FaultKind.BACKFILL_FAILED}
    assert not kinds & {fault.kind for fault in faults}
    assert health.id_gaps == 0
    told = [n.kind for n in engine.view.notices if isinstance(n, Notice)]
    whole = [NoticeKind.CONNECTED, NoticeKind.CLOSED, NoticeKind.OPENED, NoticeKind.CONNECTED]
    assert told[:4] == whole
    bars = engine.view.symbol("BTCUSDT").bars
    assert [point.bar.trades for point in bars] == [3]
    assert not bars[0].metrics.windows[0].complete
