"""Going on after a restart: the analytics of each symbol from the trades and bars that were kept.

What comes out is the state that an engine which was never ended would have had after the newest
trade that was kept.
"""

from __future__ import annotations

from collections.abc import Iterable

from market_engine.analytics.symbol import ClosedBar
from market_engine.bar_rows import bar_of
from market_engine.events import SECOND_NS, Trade
from market_engine.pipeline import Output, Pipeline
from market_engine.pipeline_config import PipelineConfig
from market_engine.storage.market_store import MarketStore, Order
from market_engine.storage.trade_rows import Listing
from market_engine.view import BARS_KEPT, TRADES_KEPT, BarPoint, MarketView

DAY_NS = 86_400 * SECOND_NS


def newest_trades(store: MarketStore, venue: str, symbols: Iterable[str]) -> dict[str, Trade]:
    """The trade with the highest id that was kept of each of these symbols that has one."""
    last_ids = store.last_trade_ids()
    found = {}
    for symbol in symbols:
        last_id = last_ids.get((venue, symbol))
        if last_id is not None:
            (found[symbol],) = store.trades_from_id(venue, symbol, last_id, 1)
    return found


def restore(
    store: MarketStore, pipeline: Pipeline, view: MarketView, kept: dict[str, Trade]
) -> list[Output]:
    """Give a new pipeline what was kept; bars that close by it and were not kept are returned."""
    outputs: list[Output] = []
    for symbol, newest in kept.items():
        listing: Listing = (pipeline.venue, symbol)
        bars = _bars(store, pipeline.config, *listing)
        since_ns = _since_ns(pipeline.config, newest, bars)
        session_ns = _session_ns(pipeline.config, newest)
        sums = store.sums(*listing, session_ns, since_ns) if session_ns < since_ns else (0, 0)
        trades = store.trades(*listing, since_ns)
        (oldest,) = store.trades(*listing, limit=1, order=Order.EVENT)
        outputs += pipeline.restore(
            symbol, [closed.bar for closed in bars], trades, oldest.event_ns, (session_ns, *sums)
        )
        view.restore(
            symbol,
            [BarPoint(*closed) for closed in bars],
            store.latest_trades(*listing, TRADES_KEPT),
        )
    return outputs


def _bars(store: MarketStore, config: PipelineConfig, venue: str, symbol: str) -> list[ClosedBar]:
    rows = store.latest_bars(venue, symbol, config.analytics.bar_s, BARS_KEPT)
    return sorted(map(bar_of, rows), key=lambda closed: closed.bar.start_ns)


def _since_ns(config: PipelineConfig, newest: Trade, bars: list[ClosedBar]) -> int:
    """How far back trades are needed one by one: the longest window, and the open bars."""
    analytics = config.analytics
    slack_ns = 2 * (analytics.bar_s + analytics.bar_grace_s) * SECOND_NS
    window_ns = newest.event_ns - max(analytics.windows_s) * SECOND_NS - slack_ns
    open_ns = bars[-1].bar.start_ns + bars[-1].bar.span_ns if bars else 0
    return max(min(window_ns, open_ns or window_ns), 0)


def _session_ns(config: PipelineConfig, newest: Trade) -> int:
    """When the session of the newest trade began; of what is before the window, sums will do."""
    opens_ns = config.analytics.session_opens_s * SECOND_NS
    return (newest.event_ns - opens_ns) // DAY_NS * DAY_NS + opens_ns
