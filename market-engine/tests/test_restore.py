"""After a restart the analytics are those of an engine that was never ended."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from storage_parts import messages, url_of

from market_engine.decimals import NANO
from market_engine.events import Trade
from market_engine.feeds.binance_parser import BinanceParser
from market_engine.feeds.simulated_day import DAY_START_NS
from market_engine.feeds.simulated_market import MarketConfig, SimulatedMarket
from market_engine.feeds.simulated_plan import PlanConfig
from market_engine.pipeline import BarOutput, Output, Pipeline
from market_engine.restore import newest_trades, restore
from market_engine.routing import publish
from market_engine.storage import market_store
from market_engine.storage.batches import BatchWriter
from market_engine.storage.database import Database
from market_engine.storage.market_store import MarketStore
from market_engine.view import MarketView

HOUR_NS = 3_600 * 10**9
SYMBOLS = ("BTCUSDT", "ETHUSDT")


class ListBus:
    """Keeps what is published, in order."""

    def __init__(self) -> None:
        self.values: list[object] = []

    def publish(self, _topic: object, _key: str, values: list[object]) -> None:
        self.values += values


def test_a_session_longer_than_the_windows_goes_on_with_every_digit(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(market_store, "_SUMMED_PAGE_ROWS", 500)
    plan = PlanConfig(5, with_quiet=False, night_level=0.4)
    config = MarketConfig(DAY_START_NS, seed=5, symbols=SYMBOLS, events_a_day=200_000, plan=plan)
    parser, pipeline, bus = BinanceParser("simulated"), Pipeline("simulated", SYMBOLS), ListBus()
    for received_ns, frame in SimulatedMarket(config).frames():
        if received_ns > DAY_START_NS + 3 * HOUR_NS:
            break
        publish(bus, pipeline.handle(parser.parse(frame, received_ns)))
    with closing(Database(url_of(tmp_path / "market.db"))) as database:
        BatchWriter(database).write(messages(bus.values))
        store = MarketStore(database)
        kept = newest_trades(store, "simulated", SYMBOLS)
        again = Pipeline("simulated", SYMBOLS, kept=kept)
        outputs: list[Output] = restore(store, again, MarketView(again), kept)
        sums = store.sums("simulated", "BTCUSDT", 0, 2**63 - 1)
    trades = [v for v in bus.values if isinstance(v, Trade) and v.symbol == "BTCUSDT"]
    assert len(trades) > 4_000
    assert sums == (
        sum(t.price_nano * t.qty_nano for t in trades),
        sum(t.qty_nano for t in trades),
    )
    assert not [o for o in outputs if isinstance(o, BarOutput)]
    for symbol in SYMBOLS:
        before, after = pipeline.analytics_of(symbol), again.analytics_of(symbol)
        now_ns = max(before.clock_ns, after.clock_ns)
        before.pass_time(now_ns)
        after.pass_time(now_ns)
        after.end_outage(now_ns, filled=True)  # nothing came meanwhile
        wanted = before.metrics()
        assert wanted is not None
        assert wanted.windows[-1].complete
        assert wanted.session_vwap is not None
        assert wanted.price_nano > NANO
        assert after.metrics() == wanted
