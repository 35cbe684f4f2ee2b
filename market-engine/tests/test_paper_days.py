"""Where a day of a portfolio begins and ends: over restarts, and over days without a market."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from test_paper_desk import START_NS, UNLIMITED, Rig, nano

from market_engine.events import Quote
from market_engine.paper.daily import DailyEquities
from market_engine.paper.model import OrderState
from market_engine.paper.reasons import Denial

DAY_S = 86_400
DAY_NS = DAY_S * 10**9


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path / "desk.db")
    yield rig
    rig.database.close()


def held_over_midnight(rig: Rig, **more: object) -> None:
    """One bought at 100, worth 120 when the process ends; it begins again the next day."""
    rig.make(**more)
    rig.quote("99", "100", size="5")
    rig.buy(1, "1")
    rig.quote("120", "121", size="5")
    rig.restart()
    rig.now_ns += DAY_NS


def day_profit(rig: Rig) -> Decimal | None:
    return rig.desk.portfolio("main").day_profit


def a_quote(bid: int, at_ns: int) -> Quote:
    size = nano("5")
    return Quote("t", "BTCUSDT", nano(str(bid)), size, nano(str(bid + 1)), size, at_ns, at_ns)


@pytest.mark.parametrize("restarts", [1, 2, 3])
def test_a_day_that_began_unpriced_begins_with_its_first_known_equity_after_each_restart(
    rig, restarts
):
    held_over_midnight(rig)
    rig.quote("125", "126")
    rig.quote("130", "131", after_s=90)
    assert day_profit(rig) == 5
    for step in range(1, restarts + 1):
        rig.restart()
        rig.quote(str(130 + step), str(131 + step), after_s=90)
        assert day_profit(rig) == 5 + step


def test_the_first_known_equity_is_kept_though_more_quotes_come_in_the_same_batch(rig):
    held_over_midnight(rig)
    now_ns = rig.now_ns
    rig.desk.take([a_quote(bid, now_ns) for bid in (125, 90, 140)], now_ns)
    assert day_profit(rig) == 15
    rig.restart()
    rig.quote("141", "142")
    assert day_profit(rig) == 16


def test_while_a_day_has_no_known_equity_the_next_one_begins_it_after_a_restart_too(rig):
    held_over_midnight(rig)
    rig.desk.take([], rig.now_ns)
    assert day_profit(rig) is None
    rig.restart()
    rig.quote("125", "126")
    assert day_profit(rig) == 0
    rig.quote("130", "131")
    rig.restart()
    rig.quote("131", "132")
    assert day_profit(rig) == 6


def test_the_daily_loss_is_not_forgotten_by_a_restart_of_a_day_that_began_unpriced(rig):
    limits = msgspec.structs.replace(UNLIMITED, max_daily_loss=Decimal(10))
    held_over_midnight(rig, limits=limits)
    rig.quote("120", "121", size="5")
    for number in range(2, 5):
        rig.quote("105", "106", size="5", after_s=90)
        denied = rig.buy(number, "0.1")
        assert (denied.state, denied.why) == (OrderState.DENIED, Denial.MAX_DAILY_LOSS)
        rig.restart()


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_day_ends_within_itself_though_the_next_event_is_days_later(rig, is_restarted):
    rig.make(annual_days=252)
    rig.quote("99", "100", size="5", after_s=3 * DAY_S)  # START is a Tuesday, this a Friday
    rig.buy(1, "1")
    rig.quote("120", "121")
    if is_restarted:
        rig.restart()
    rig.quote("130", "131", after_s=3 * DAY_S)
    friday = START_NS // DAY_NS + 3
    stamps = [snapshot.at_ns for snapshot in rig.desk.store.snapshots("main", 0, 100)]
    assert stamps == sorted(stamps)
    assert (friday + 1) * DAY_NS - 1 in stamps
    assert {stamp // DAY_NS for stamp in stamps} & {friday + 1, friday + 2} == set()
    known = DailyEquities(rig.database).until("main", rig.now_ns)
    found = {at_ns // DAY_NS - friday: equity for at_ns, equity in known}
    assert found[0] == (99_999 if is_restarted else 100_020)
    assert set(found) <= {-3, 0, 3}
