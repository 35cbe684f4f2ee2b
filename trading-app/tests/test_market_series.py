"""What the Market page's charts draw: bounded rows, holes that stay holes, axes that hold still."""

from datetime import UTC, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_app.market_answers import Bar, History
from trading_app.market_series import (
    OVERLAYS,
    POINTS_MAX,
    candle_rows,
    line_rows,
    name_rows,
    overlay_rows,
    price_axis,
    series,
    tip_rows,
    unseen_rows,
    volume_rows,
)
from trading_app.ui.market_charts import Look, price_chart, volume_chart

NOW_MS = 1_790_000_040_000
MINUTE_MS = 60_000
prices = st.floats(1e-6, 1e7, allow_nan=False)


def minutes(*closes, last_ms=NOW_MS, **changes):
    """Bars of a minute that end at ``last_ms``; None leaves one out."""
    first_ms = last_ms - len(closes) * MINUTE_MS
    found = [
        Bar(
            t_ms=first_ms + n * MINUTE_MS, open=close, high=close, low=close, close=close,
            **{"volume": 1.0, **changes},
        )
        for n, close in enumerate(closes)
        if close is not None
    ]  # fmt: skip
    return History(symbol="X", span_s=60, bars=tuple(found))


@given(st.lists(prices, min_size=1, max_size=50))
def test_the_axis_holds_every_price_and_is_not_much_larger(found):
    low, high = price_axis(found)
    assert low <= min(found)
    assert max(found) <= high
    assert high - low <= 2.5 * max(max(found) - min(found), 2e-5 * max(found), 2e-9)


def test_the_axis_holds_still_until_a_step_is_passed():
    assert price_axis([100, 149]) == price_axis([100, 141, 149.9]) == (100, 150)
    assert price_axis([100, 151]) == (100, 160)


def test_a_price_that_does_not_move_is_a_line_within_its_axis():
    low, high = price_axis([39_432.48] * 9)
    assert low < 39_432.48 < high


def test_the_axis_of_time_moves_on_in_steps_of_a_sixtieth():
    early, late, next_ = (
        series(minutes(1, 2, 3), 3_600, NOW_MS + after_ms).axes
        for after_ms in (1, MINUTE_MS, MINUTE_MS + 1)
    )
    assert (early.from_ms, early.to_ms) == (late.from_ms, late.to_ms)
    assert next_.to_ms - late.to_ms == MINUTE_MS
    assert early.to_ms - early.from_ms == 3_600_000


def test_no_more_points_are_drawn_than_a_chart_may_have():
    shown = series(minutes(*range(1, 900)), 86_400, NOW_MS)
    assert len(candle_rows(shown)) == len(volume_rows(shown)) == POINTS_MAX


def test_what_is_older_than_the_window_is_left_out():
    shown = series(minutes(*range(1, 61)), 900, NOW_MS)
    assert [candle.close for candle in shown.bars] == list(range(46, 61))


def test_the_line_is_broken_where_bars_are_missing_and_the_hole_is_shaded():
    shown = series(minutes(5, 6, *[None] * 8, 7, 8), 900, NOW_MS)
    assert [row["p"] for row in line_rows(shown)] == [5, 6, None, 7, 8]
    begins, hole = unseen_rows(shown)
    assert begins["t"] == shown.axes.from_ms
    assert hole["t2"] - hole["t"] == 8 * MINUTE_MS


def test_seconds_in_which_nobody_traded_are_no_hole():
    bars = tuple(
        Bar(t_ms=NOW_MS - after_ms, open=1, high=1, low=1, close=1, complete=False)
        for after_ms in (60_000, 45_000, 44_000, 30_000)
    )
    shown = series(History(symbol="X", span_s=1, bars=bars), 60, NOW_MS)
    assert [row["p"] for row in line_rows(shown)] == [1, 1, 1, 1]
    assert unseen_rows(shown) == []


def test_bars_that_were_not_watched_to_their_end_are_shaded_together():
    shown = series(minutes(1, 2, 3, complete=False), 180, NOW_MS)
    (row,) = unseen_rows(shown)
    assert (row["t"], row["t2"]) == (NOW_MS - 3 * MINUTE_MS, NOW_MS)


def test_a_bar_without_prices_draws_nothing():
    history = History(symbol="X", span_s=60, bars=(Bar(t_ms=NOW_MS - MINUTE_MS),))
    shown = series(history, 300, NOW_MS)
    assert line_rows(shown) == candle_rows(shown) == name_rows(shown, 270) == []


def test_the_newest_price_goes_on_from_the_last_closed_bar():
    shown = series(minutes(5, 6), 300, NOW_MS + 20_000, last=(NOW_MS + 10_000, 6.5))
    assert line_rows(shown)[-1] == {"t": NOW_MS + 10_000, "p": 6.5}
    older = series(minutes(5, 6), 300, NOW_MS, last=(NOW_MS - 90_000, 6.5))
    assert older.last is None


def test_an_average_that_is_not_defined_is_a_break_and_not_a_0():
    shown = series(minutes(5, 6), 300, NOW_MS, ["SMA"])
    assert [row["p"] for row in overlay_rows(shown)] == [None, None]
    assert [row["name"] for row in name_rows(shown, 270)] == ["price"]


@given(st.lists(prices, min_size=1, max_size=5), st.lists(st.sampled_from(sorted(OVERLAYS))))
def test_the_names_beside_the_lines_never_lie_on_each_other(closes, overlays):
    fields = {OVERLAYS[name]: closes[-1] for name in overlays}
    shown = series(minutes(*closes, **fields), 900, NOW_MS, sorted(set(overlays)))
    places = sorted(row["p"] for row in name_rows(shown, 270))
    apart = (shown.axes.high - shown.axes.low) * 12 / 270
    assert all(after - before >= apart for before, after in pairwise(places))


def test_the_mouse_shows_the_time_here_and_in_utc():
    east = timezone(timedelta(hours=2))
    tip = tip_rows(series(minutes(5), 300, NOW_MS), east, 2)[0]
    assert (tip["time"], tip["utc"]) == ("16:13:00", "2026-09-21 14:13:00 UTC")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["line", "candles"])
def test_no_set_of_data_is_ever_empty(theme, kind):
    nothing = series(History(symbol="X", span_s=60), 300, NOW_MS)
    look = Look(theme)
    price = price_chart(look, nothing, kind, UTC, 2)
    data = price["datasets"] | volume_chart(look, nothing)["datasets"]
    assert all(data.values())
