import pytest

from trading_app.sidecar_answers import Sample
from trading_app.ui.chart import bars, ceiling, chart, in_words

NOW_S = 1_790_000_002.0


def samples(*counts, last_s=NOW_S):
    first_s = last_s - len(counts) + 1
    return [
        Sample(
            at_s=first_s + place,
            trades_buy=buy,
            trades_sell=sell,
            volume_buy=0,
            volume_sell=0,
            age_counts=(),
            busy_s=0,
        )
        for place, (buy, sell) in enumerate(counts)
    ]


def test_five_minutes_are_sixty_bars_of_five_seconds():
    shown = bars([], NOW_S)
    assert [bar.end_s for bar in shown] == list(range(-295, 1, 5))


def test_growth_of_the_counters_falls_into_its_five_seconds():
    shown = bars(samples((10, 5), (13, 5), (13, 6)), NOW_S)
    assert (shown[-1].buys, shown[-1].sells) == (3, 1)
    assert sum(bar.buys + bar.sells for bar in shown) == 4


def test_counters_that_begin_again_from_zero_are_no_negative_trades():
    shown = bars(samples((100, 100), (2, 0)), NOW_S)
    assert (shown[-1].buys, shown[-1].sells) == (2, 0)


def test_what_is_older_than_five_minutes_is_left_out():
    shown = bars(samples((0, 0), (9, 9), last_s=NOW_S - 301), NOW_S)
    assert sum(bar.buys + bar.sells for bar in shown) == 0


@pytest.mark.parametrize(
    ("most", "end"),
    [(0, 5), (5, 5), (6, 10), (11, 20), (21, 50), (51, 100), (101, 200), (300, 500)],
)
def test_the_axis_grows_in_steps(most, end):
    assert ceiling(most) == end


@pytest.mark.parametrize(
    ("most", "least", "end"), [(0, 1, 1), (1.2, 1, 2), (2.5, 1, 5), (0.03, 0.01, 0.05), (7, 5, 10)]
)
def test_the_smallest_axis_is_the_one_asked_for(most, least, end):
    assert ceiling(most, least) == end


def test_the_sums_are_said_in_words_beside_a_chart_that_says_what_it_shows():
    shown = bars(samples((0, 0), (2, 1)), NOW_S)
    assert in_words(shown) == "last 5 minutes: 2 buys, 1 sell"
    assert "bars of five seconds" in chart(shown)["description"]


def test_the_chart_has_at_most_two_marks_for_each_bar_and_a_fixed_axis():
    busy = [(place, place) for place in range(301)]
    spec = chart(bars(samples(*busy), NOW_S))
    assert len(spec["datasets"]["trades"]) == 120
    assert spec["encoding"]["x"]["scale"]["domain"] == [-300, 0]
    assert spec["encoding"]["y"]["scale"]["domain"] == [-5, 5]


def test_only_the_data_change_between_two_redraws_so_that_nothing_flickers():
    quiet, busy = (chart(bars(samples(*counts), NOW_S)) for counts in ([], [(0, 0), (3, 0)]))
    assert quiet.pop("datasets") != busy.pop("datasets")
    assert quiet == busy
