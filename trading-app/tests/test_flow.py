from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_app import flow
from trading_app.flow import Flow, Span, quantile
from trading_app.past import Past

NOW_S = 1_790_000_000.0
BOUNDS_S = (0.001, 0.01, 0.1, 1.0, 60.0)


@pytest.fixture
def make_past(make_life):
    """A history with these totals, as it is now; the sidecar was started ``starts_s`` from now."""

    def make(totals, starts_s=(), **changes):
        return Past(NOW_S, make_life(totals, **changes), tuple(NOW_S + at for at in starts_s))

    return make


def test_a_rate_is_what_was_counted_over_the_time_between_the_samples(make_past):
    past = make_past({-2.1: (10, 4), -0.6: (13, 6)})
    now = flow.lately(past, 10)
    assert now.seconds == pytest.approx(1.5)
    assert now.rates("trades") == pytest.approx((2.0, 4 / 3))
    assert now.rates("volume") == pytest.approx((1.0, 8 / 3))
    assert now.rate(now.busy_s) == pytest.approx(0.5)
    assert now.trades == 5


def test_what_is_older_than_the_span_is_not_in_the_rate(make_past):
    totals = {after_s: (1000 if after_s > -30 else 0, 0) for after_s in range(-60, 1)}
    assert flow.lately(make_past(totals), 10).rates("trades") == (0.0, 0.0)
    assert flow.lately(make_past(totals), 60).trades_buy == 1000


def test_nothing_is_known_of_now_when_the_newest_sample_is_old(make_past):
    past = make_past({-9: (0, 0), -8: (5, 5), -3.5: (6, 6)})
    assert flow.lately(past, 60) == Flow()
    assert flow.lately(past, 60).rates("trades") == (None, None)
    assert flow.lately(past, 60).age_s(0.5) is None


def test_nothing_is_known_of_now_while_the_sidecar_is_away(make_past):
    past = make_past({-2: (0, 0), -1: (5, 5)})
    assert flow.lately(Past(past.now_s, past.history, away="nothing answers"), 60) == Flow()


def test_what_came_in_a_gap_is_in_no_rate(make_past):
    past = make_past({-9: (0, 0), -8: (1, 0), -2: (100, 50), -1: (102, 50)})
    now = flow.lately(past, 60)
    assert (now.seconds, now.trades_buy, now.trades_sell) == (2, 3, 0)


def test_totals_that_continue_over_a_quick_restart_are_in_the_rate(make_past):
    past = make_past({-4: (100, 100), -3: (105, 100), -2: (107, 101), -1: (107, 101)}, (-2.5,))
    now = flow.lately(past, 60)
    assert (now.seconds, now.trades_buy, now.trades_sell) == (3, 7, 1)


def test_nothing_is_subtracted_where_totals_began_again(make_past):
    past = make_past({-4: (100, 100), -3: (105, 100), -2: (0, 0), -1: (2, 1)})
    now = flow.lately(past, 60)
    assert (now.seconds, now.trades_buy, now.trades_sell) == (2, 7, 1)


def test_totals_that_fall_make_no_rate(make_past):
    assert flow.lately(make_past({-2: (9, 9), -1: (1, 1)}), 60) == Flow()


def test_bins_hold_what_was_counted_in_them_and_where_nothing_was_seen_nothing(make_past):
    assert NOW_S % 5 == 0, "the last bin has just begun"
    past = make_past({-12: (0, 0), -11: (1, 0), -10: (3, 0), -9: (3, 4), 0: (3, 4)})
    shown = flow.bins(past, 20, 5)
    assert [each.seconds for each in shown] == [1, 2, 0, 0]
    unknown = (None, None)
    assert [each.rates("trades") for each in shown] == [(1, 0), (1, 2), unknown, unknown]


def test_a_bin_in_which_nobody_traded_is_zero_and_not_unknown(make_past):
    shown = flow.bins(make_past({-2: (7, 7), -1: (7, 7)}), 10, 5)
    assert shown[0].rates("trades") == (0.0, 0.0)
    assert shown[0].age_s(0.5) is None


def test_the_bins_of_a_span_add_up_to_what_was_counted_in_it(make_past):
    totals = {second: (second * 3 + 3000, second + 900) for second in range(-900, 1)}
    shown = flow.bins(make_past(totals), 900, 15)
    assert len(shown) == 60
    assert sum(each.trades_buy for each in shown) == 3 * sum(each.seconds for each in shown)


def test_how_long_it_is_quiet_counts_from_the_last_trade_though_it_came_in_a_gap(make_past):
    assert flow.quiet_s(make_past({-90: (0, 0), -80: (1, 0), -79: (1, 0), -1: (1, 0)})) == 80
    assert flow.quiet_s(make_past({-2: (1, 0), -1: (1, 0)})) is None
    assert flow.quiet_s(make_past({})) is None


def test_health_is_live_while_samples_come_and_stalled_in_a_gap(make_past):
    past = make_past({-20: (0, 0), -19: (0, 0), -10: (0, 0), -9: (0, 0), -8.2: (0, 0)})
    assert [(s.state, s.from_s - NOW_S, s.to_s - NOW_S) for s in flow.health(past)] == [
        ("live", -20, -19),
        ("stalled", -19, -10),
        ("live", -10, pytest.approx(-8.2)),
        ("stalled", pytest.approx(-8.2), 0),
    ]


def test_the_newest_sample_is_live_up_to_now_unless_the_sidecar_is_away(make_past):
    past = make_past({-2: (0, 0), -1: (0, 0)})
    assert flow.health(past) == [Span("live", NOW_S - 2, NOW_S)]
    gone = Past(NOW_S, past.history, away="nothing answers")
    assert flow.health(gone) == [Span("live", NOW_S - 2, NOW_S - 1)]


def test_across_a_restart_nothing_is_known_of_the_time_between(make_past):
    past = make_past({-9: (0, 0), -8: (0, 0), -2: (0, 0), -1: (0, 0)}, (-2.5,))
    assert [(s.state, s.from_s - NOW_S, s.to_s - NOW_S) for s in flow.health(past)] == [
        ("live", -9, -8),
        ("live", -2, 0),
    ]


def marks(*rows):
    return [{"at_s": NOW_S + at, "trades_buy": buy, "trades_sell": sell} for at, buy, sell in rows]


def test_the_rate_of_a_symbol_is_over_the_time_between_its_first_and_last_mark(make_past):
    past = make_past(
        dict.fromkeys(range(-70, 1), (0, 0)),
        symbols=("(none)", "BTCUSDT", "NEW", "NEWER"),
        symbol_marks=marks((-62, (0, 10), (0, 0)), (-2, (0, 40), (0, 15))) + marks(
            (-1, (0, 40, 6), (0, 15, 0))
        ),
    )  # fmt: skip
    assert flow.symbol_rates(past) == {
        "(none)": (0, 0),
        "BTCUSDT": (30 / 61, 15 / 61),
        "NEW": (6 / 61, 0),
    }


def test_the_rate_of_a_symbol_never_reaches_across_a_gap(make_past):
    past = make_past(
        {-20: (0, 0), -19: (0, 0)} | dict.fromkeys(range(-12, 1), (0, 0)),
        symbols=("BTCUSDT",),
        symbol_marks=marks((-20, (0,), (0,)), (-12, (900,), (0,)), (-2, (920,), (5,))),
    )
    assert flow.symbol_rates(past) == {"BTCUSDT": (2.0, 0.5)}


@pytest.mark.parametrize("newest_s", [0, -30])
def test_the_rate_of_a_symbol_is_not_known_from_one_mark_or_from_old_ones(make_past, newest_s):
    both = marks((-40, (0,), (0,)), (-35, (9,), (9,)))
    past = make_past(
        dict.fromkeys(range(-60, newest_s + 1), (0, 0)),
        symbols=("BTCUSDT",),
        symbol_marks=both if newest_s else both[:1],
    )
    assert flow.symbol_rates(past) == {}


@given(st.lists(st.floats(0, 59), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(ages_s, q):
    counts = [0] * (len(BOUNDS_S) + 1)
    for age_s in ages_s:
        counts[bisect_left(BOUNDS_S, age_s)] += 1
    true_s = sorted(ages_s)[max(0, -int(-(q * len(ages_s)) // 1) - 1)]
    bucket = bisect_left(BOUNDS_S, true_s)
    lower_s = BOUNDS_S[bucket - 1] if bucket else 0
    assert lower_s <= quantile(counts, BOUNDS_S, q) <= BOUNDS_S[bucket]


def test_a_quantile_is_linear_within_its_bucket_and_never_above_the_highest_bound():
    assert quantile((0, 10, 0), (1.0, 3.0), 0.5) == 2.0
    assert quantile((0, 0, 7), (1.0, 3.0), 0.5) == 3.0
    assert quantile((0, 0, 0), (1.0, 3.0), 0.5) is None
