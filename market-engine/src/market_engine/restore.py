"""Going on after a restart: the analytics of each symbol from the trades and bars that were kept.

What comes out is the state that an engine which was never ended would have had after the newest
trade that was kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from market_engine.analytics.symbol import ClosedBar
from market_engine.bar_rows import bar_of
from market_engine.events import SECOND_NS, Trade
from market_engine.health.ids import HOLES_MAX, Stretch
from market_engine.pipeline import Output, Pipeline
from market_engine.pipeline_config import PipelineConfig
from market_engine.storage.market_store import MarketStore, Order
from market_engine.storage.trade_rows import Listing
from market_engine.view import BARS_KEPT, TRADES_KEPT, BarPoint, MarketView

DAY_NS = 86_400 * SECOND_NS
_PAGE_ROWS: Final = 5_000

Hole = tuple[Trade, Trade]
"""The last before ids that are missing, and the first after them."""
WasClosed = Callable[[int, int], bool]


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
    store: MarketStore,
    pipeline: Pipeline,
    view: MarketView,
    kept: dict[str, Trade],
    was_closed: WasClosed | None = None,
) -> list[Output]:
    """Give a new pipeline, made with the same ``kept``, what was kept before it.

    ``was_closed`` says whether live data was left out on purpose at some time between two moments:
    what traded then is not missing. Bars that close by it and were not kept are returned.
    """
    outputs: list[Output] = []
    for symbol, newest in kept.items():
        listing: Listing = (pipeline.venue, symbol)
        bars = _bars(store, pipeline.config, *listing)
        since_ns = _since_ns(pipeline.config, newest, bars)
        if bars and (carried := store.latest_trades(*listing, 1, since_ns)):
            since_ns = carried[0].event_ns  # its price is that of the seconds without a trade
        session_ns = _session_ns(pipeline.config, newest)
        sums = store.sums(*listing, session_ns, since_ns) if session_ns < since_ns else (0, 0)
        holes = _holes(store, listing, min(session_ns, since_ns))
        _recall(pipeline, newest, holes, was_closed)
        (oldest,) = store.trades(*listing, limit=1, order=Order.EVENT)
        outputs += pipeline.restore(
            symbol,
            [closed.bar for closed in bars],
            _trades(store, listing, since_ns),
            oldest.event_ns,
            (session_ns, *sums),
        )
        view.restore(
            symbol,
            [BarPoint(*closed) for closed in bars],
            store.latest_trades(*listing, TRADES_KEPT),
        )
    return outputs


def _trades(store: MarketStore, listing: Listing, since_ns: int) -> Iterator[Trade]:
    """In the order in which the pipeline took them: of their ids, where they have one."""
    first_id = store.first_id(*listing, since_ns)
    if first_id is None:
        yield from store.trades(*listing, since_ns, order=Order.ARRIVAL)
        return
    while page := store.trades_from_id(*listing, first_id, _PAGE_ROWS):
        yield from (trade for trade in page if trade.event_ns >= since_ns)
        first_id = _id_of(page[-1]) + 1


def _holes(store: MarketStore, listing: Listing, from_ns: int) -> list[Hole]:
    """The newest stretches that are missing since a moment; never ids before all that is kept."""
    before = store.latest_trades(*listing, 1, from_ns)
    gaps = store.id_gaps(*listing, _id_of(before[0]) if before else 0, HOLES_MAX)
    pairs = (store.trades_from_id(*listing, gap.first_id - 1, 2) for gap in gaps)
    return [(last, first) for last, first in pairs]


def _recall(
    pipeline: Pipeline, newest: Trade, holes: list[Hole], was_closed: WasClosed | None
) -> None:
    """Say what is missing: nothing is known in between, and it counts unless left out."""
    analytics = pipeline.analytics_of(newest.symbol)
    missing: list[Stretch] = []
    for last, first in holes:
        analytics.begin_outage(last.event_ns)
        analytics.end_outage(first.event_ns, filled=False)
        if was_closed is not None and was_closed(last.event_ns, first.event_ns):
            missing.clear()  # as when a window opens: ids are counted from there on
        else:
            missing.append((_id_of(last) + 1, _id_of(first) - 1))
    analytics.begin_outage(newest.event_ns)  # the one of the restart itself
    pipeline.health.recall(newest.symbol, missing)


def _id_of(trade: Trade) -> int:
    return trade.trade_id or 0


def _bars(store: MarketStore, config: PipelineConfig, venue: str, symbol: str) -> list[ClosedBar]:
    rows = store.latest_bars(venue, symbol, config.analytics.bar_s, BARS_KEPT)
    return sorted(map(bar_of, rows), key=lambda closed: closed.bar.start_ns)


def _since_ns(config: PipelineConfig, newest: Trade, bars: list[ClosedBar]) -> int:
    """How far back trades are needed one by one: the longest window of the oldest open bar."""
    analytics = config.analytics
    slack_ns = 2 * (analytics.bar_s + analytics.bar_grace_s) * SECOND_NS
    open_ns = bars[-1].bar.start_ns + bars[-1].bar.span_ns if bars else newest.event_ns
    since_ns = min(open_ns, newest.event_ns) - max(analytics.windows_s) * SECOND_NS - slack_ns
    return max(since_ns - since_ns % (analytics.bar_s * SECOND_NS), 0)


def _session_ns(config: PipelineConfig, newest: Trade) -> int:
    """When the session of the newest trade began; of what is before the window, sums will do."""
    opens_ns = config.analytics.session_opens_s * SECOND_NS
    return (newest.event_ns - opens_ns) // DAY_NS * DAY_NS + opens_ns
