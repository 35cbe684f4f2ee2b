"""What was missing before a restart is missing after it, and no bar depends on the restart."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from storage_parts import messages, url_of

from market_engine.analytics.bars import Bar
from market_engine.bar_rows import row_of
from market_engine.decimals import NANO
from market_engine.events import SECOND_NS, Event, Notice, NoticeKind, Trade
from market_engine.health.faults import SymbolHealthView
from market_engine.pipeline import BarOutput, Output, Pipeline
from market_engine.pipeline_config import PipelineConfig
from market_engine.restore import newest_trades, restore
from market_engine.storage.batches import BatchWriter
from market_engine.storage.database import Database
from market_engine.storage.market_store import MarketStore
from market_engine.storage.retention import DAY_NS, KeptDays, Retention
from market_engine.view import MarketView

S = SECOND_NS
START_NS = 1_790_000_040 * S
WAITS = PipelineConfig(waits_for_backfill=True)


class Kept:
    """A store, and what an engine that is started on it has."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = MarketStore(database)

    def write(self, outputs: Iterable[Output], *, with_bars: bool = True) -> None:
        values: list[object] = [o for o in outputs if isinstance(o, Trade)]
        if with_bars:
            values += [row_of(o) for o in outputs if isinstance(o, BarOutput)]
        BatchWriter(self.database).write(messages(values))

    def started(
        self, was_closed: Callable[[int, int], bool] | None = None
    ) -> tuple[Pipeline, list[Output]]:
        kept = newest_trades(self.store, "v", ["X"])
        pipeline = Pipeline("v", ["X"], WAITS, kept)
        return pipeline, restore(self.store, pipeline, MarketView(pipeline), kept, was_closed)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    with closing(Database(url_of(tmp_path / "market.db"))) as database:
        yield Kept(database)


def trade(trade_id: int, at_s: float, price: int = 100, came_s: float | None = None) -> Trade:
    event_ns = START_NS + round(at_s * S)
    received_ns = event_ns + 1 if came_s is None else START_NS + round(came_s * S)
    return Trade("v", "X", price * NANO, NANO, "buy", trade_id, event_ns, received_ns,
                 backfilled=came_s is not None)  # fmt: skip


def each_second(count: int, missing: range) -> list[Event]:
    """Trade n at second n; that those missing cannot be had is told with the first after them."""
    events: list[Event] = []
    for number in range(1, count):
        if number == missing.stop:
            events.append(
                Notice(
                    NoticeKind.BACKFILL_FAILED, START_NS + number * S, "X", "no",
                    missing.start, missing.stop - 1,
                )
            )  # fmt: skip
        if number not in missing:
            events.append(trade(number, number, 100 + number % 3))
    return events


def bars_of(outputs: Iterable[Output]) -> list[Bar]:
    return [o.closed.bar for o in outputs if isinstance(o, BarOutput)]


def health_of(pipeline: Pipeline) -> SymbolHealthView:
    (health,) = pipeline.health.snapshot()
    return health


def completeness(pipeline: Pipeline) -> list[tuple[int, bool, bool]]:
    metrics = pipeline.analytics_of("X").metrics()
    assert metrics is not None
    return [(w.window_s, w.complete, w.volatility is not None) for w in metrics.windows]


def test_a_bar_that_was_not_stored_closes_with_the_trades_that_were_fetched_for_it(kept):
    events = [trade(number, number) for number in range(1, 10)]
    events += [trade(21, 63)]  # of the next minute: it waits behind the gap
    events += [trade(number, 10 + number, 200, came_s=65) for number in range(10, 21)]
    events += [Notice(NoticeKind.BACKFILLED, START_NS + 66 * S, "X", "", 10, 20)]
    undisturbed = Pipeline("v", ["X"], WAITS).handle(events)
    kept.write(undisturbed, with_bars=False)
    pipeline, outputs = kept.started()
    assert [bar.trades for bar in bars_of(undisturbed)] == [20]
    assert outputs == [o for o in undisturbed if isinstance(o, BarOutput)]
    assert pipeline.late_counts() == {"X": (0, 0)}


def test_a_hole_is_in_the_windows_and_counted_after_a_restart_until_it_is_filled(kept):
    before = Pipeline("v", ["X"], WAITS)
    kept.write(before.handle(each_second(4_000, range(1_500, 2_000))))
    pipeline, _ = kept.started()
    for each in (before, pipeline):
        each.handle([trade(number, number) for number in (4_000, 4_001)])
    wanted = [(60, True, True), (300, True, True), (3_600, False, False)]
    assert completeness(pipeline) == completeness(before) == wanted
    assert health_of(pipeline).ids_missing == health_of(before).ids_missing == 500
    assert health_of(pipeline).id_gaps == 0, "that counts since the start"
    late = trade(1_700, 1_700, came_s=4_002)
    assert late in pipeline.handle([late])
    assert health_of(pipeline).ids_missing == 499
    assert late not in pipeline.handle([late])
    pipeline.handle([trade(number, number) for number in range(4_002, 5_602)])
    assert completeness(pipeline)[-1] == (3_600, True, True), "the hole has left the window"


def test_a_hole_that_was_filled_in_the_end_leaves_no_trace_after_a_restart(kept):
    events = each_second(4_000, range(1_500, 2_000))
    events += [trade(number, number, came_s=4_000) for number in range(1_500, 2_000)]
    kept.write(Pipeline("v", ["X"], WAITS).handle(events))
    pipeline, _ = kept.started()
    pipeline.handle([trade(4_000, 4_001)])
    assert completeness(pipeline)[-1] == (3_600, True, True)
    assert health_of(pipeline).ids_missing == 0


def test_what_traded_while_the_window_was_closed_is_an_outage_and_not_missing(kept):
    holes = (range(1_000, 1_100), range(1_500, 2_000), range(3_000, 3_010))
    kept.write([trade(n, n) for n in range(1, 4_000) if not any(n in hole for hole in holes)])
    closed_ns = START_NS + 1_800 * S
    pipeline, _ = kept.started(lambda from_ns, to_ns: from_ns <= closed_ns <= to_ns)
    pipeline.handle([trade(4_000, 4_000)])
    assert completeness(pipeline) == [(60, True, True), (300, True, True), (3_600, False, False)]
    assert health_of(pipeline).ids_missing == 10


def test_ids_that_retention_has_deleted_are_not_missing(kept):
    kept.write(Pipeline("v", ["X"], WAITS).handle(each_second(5_000, range(100, 300))))
    cut_ns = START_NS + 1_000 * S
    while Retention(kept.database, KeptDays(trades=1)).step(cut_ns + DAY_NS):
        pass
    assert kept.store.first_id("v", "X", 0) == 1_000
    pipeline, _ = kept.started()
    pipeline.handle([trade(5_000, 5_000)])
    assert health_of(pipeline).ids_missing == 0
    assert completeness(pipeline)[-1] == (3_600, True, True)


def test_a_hole_that_began_long_before_the_window_is_still_found(kept):
    trades = [trade(number, number) for number in range(1, 100)]
    trades += [trade(number, number + 90_000) for number in range(200, 300)]
    kept.write(Pipeline("v", ["X"]).handle(trades))
    pipeline, _ = kept.started()
    pipeline.handle([trade(300, 90_300)])
    assert health_of(pipeline).ids_missing == 100
    assert completeness(pipeline) == [(60, True, True), (300, False, False), (3_600, False, False)]


def test_a_symbol_that_hardly_trades_goes_on_with_every_digit(kept):
    """The price that is carried into a window may be older than all that the window needs."""
    events = [trade(number, 2_000 * number, 100 + number % 7) for number in range(1, 60)]
    before = Pipeline("v", ["X"], WAITS)
    kept.write(before.handle(events))
    pipeline, outputs = kept.started()
    for each in (before, pipeline):
        each.handle([trade(60, 2_000 * 59 + 100, 111)])
    assert outputs == []
    assert pipeline.analytics_of("X").metrics() == before.analytics_of("X").metrics()
    assert completeness(pipeline)[-1] == (3_600, True, True)


def test_trades_that_were_kept_do_not_count_as_late(kept):
    kept.write(Pipeline("v", ["X"], WAITS).handle(each_second(4_000, range(0))))
    pipeline, _ = kept.started()
    assert pipeline.late_counts() == {"X": (0, 0)}
    pipeline.handle([trade(4_000, 4_000), trade(4_001, 3_500)])
    assert pipeline.late_counts() == {"X": (1, 0)}


@pytest.mark.parametrize("lost", [0, 1, 400, 3_000])
def test_bars_that_were_not_stored_close_as_they_did_however_far_back(kept, lost):
    events = each_second(9_000, range(4_000, 4_100))
    undisturbed = Pipeline("v", ["X"], WAITS).handle(events)
    closed = [o for o in undisturbed if isinstance(o, BarOutput)]
    gone = closed[len(closed) - lost // 60 :] if lost >= 60 else []
    kept.write([o for o in undisturbed if o not in gone])
    pipeline, outputs = kept.started()
    assert outputs == gone
    times = [bar.start_ns for bar in bars_of(outputs)]
    assert all(later - earlier == 60 * S for earlier, later in itertools.pairwise(times))
    assert health_of(pipeline).ids_missing == 100
