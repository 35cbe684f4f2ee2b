"""An engine that starts again: what its window left out on purpose is not fetched afterwards."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from api_server import until
from rude_venue import RudeVenue, Session, honest, price, time_ns

from market_engine.bus.base import Message, Topic
from market_engine.decimals import NANO, to_nano
from market_engine.engine import Engine
from market_engine.events import Trade
from market_engine.schedule import Schedule, Window
from market_engine.settings import Settings
from market_engine.storage.batches import BatchWriter
from market_engine.storage.database import Database


def keep_trade(url: str, trade_id: int) -> None:
    at_ns = time_ns(trade_id)
    trade = Trade(
        "binance", "BTCUSDT", to_nano(price(trade_id)), NANO, "buy", trade_id, at_ns, at_ns
    )
    database = Database(url)
    BatchWriter(database).write([Message(Topic.MARKET_DATA, "BTCUSDT", trade, 0)])
    database.close()


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
        given = {
            "feed": "binance",
            "symbols": "BTCUSDT",
            "database_url": url,
            "binance_stream_url": venue.stream_url,
            "binance_rest_url": venue.rest_url,
        }
        engine = Engine(Settings(_env_file=None, **given), open_now() if is_gated else None)
        engine.start()
        try:
            wanted = [10] if is_gated else [6, 7, 8, 9, 10]
            until(lambda: set(wanted) <= {t.trade_id for t in engine.view.symbol("BTCUSDT").trades})
            health = engine.view.health()[0]
        finally:
            engine.stop()
    assert health.id_gaps == (0 if is_gated else 1)
    assert bool(venue.queries) is not is_gated
