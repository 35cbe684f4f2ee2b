import pytest

from trading_app import palette
from trading_app.flow import Flow, Span
from trading_app.ui.tracks import Frame, Window, by_side, event_age, receiver

NOW_S = 1_790_000_003.0
END_S = 1_790_000_005.0
FRAME = Frame(span_s=300, bin_s=5, theme="light", height_px=100)
LIVE = Window(NOW_S, END_S, [Span("live", NOW_S - 400, NOW_S)], [])
UNKNOWN = (None, None)


def flowing(*age_counts):
    return Flow(1.0, age_counts=age_counts, age_bounds_s=(0.001, 0.01, 60.0))


def data(spec, name):
    return spec["datasets"][name]


def test_a_known_bin_has_two_marks_and_an_unknown_one_none_rather_than_zero():
    spec = by_side(FRAME, LIVE, [UNKNOWN, (0.0, 0.0), (2.0, 3.0)])
    assert [(row["from"], row["to"], row["rate"]) for row in data(spec, "rates")] == [
        (-10, -5, 0), (-10, -5, 0), (-5, 0, 2), (-5, 0, -3)
    ]  # fmt: skip


def test_the_time_in_which_the_receiver_was_not_seen_at_work_is_shaded_up_to_now():
    spans = [
        Span("live", NOW_S - 200, NOW_S - 100),
        Span("stalled", NOW_S - 100, NOW_S - 90),
        Span("live", NOW_S - 90, NOW_S - 20),
    ]
    spec = by_side(FRAME, Window(NOW_S, END_S, spans, [NOW_S - 200, NOW_S - 999]), [])
    assert [(row["from"], row["to"]) for row in data(spec, "unseen")] == [
        (-300, -202), (-102, -92), (-22, -2)
    ]  # fmt: skip
    assert data(spec, "starts") == [{"at": -202}]


def test_nothing_is_shaded_while_all_was_seen():
    assert data(by_side(FRAME, LIVE, []), "unseen") == []


def test_a_stalled_receiver_differs_in_height_and_colour_from_a_live_one():
    spans = [Span("live", NOW_S - 400, NOW_S - 50), Span("stalled", NOW_S - 50, NOW_S)]
    spec = receiver(FRAME, Window(NOW_S, END_S, spans, []), "stalled")
    rows = [(row["state"], row["from"], row["to"], row["height"]) for row in data(spec, "states")]
    assert rows == [("live", -300, -52, 1.0), ("stalled", -52, -2, 0.5)]
    assert [row["name"] for row in data(spec, "names")] == ["stalled"]


def test_each_line_is_named_at_its_end_and_names_do_not_cover_each_other():
    spec = event_age(FRAME, LIVE, [flowing(0, 10, 0), flowing(10, 0, 0)])
    names = data(spec, "names")
    assert [row["name"] for row in names] == ["p50", "p90", "p99"]
    heights = [row["age"] for row in names]
    assert heights == sorted(set(heights))
    assert heights[0] == pytest.approx(0.0005)


def test_a_bin_without_trades_is_a_break_in_the_lines_of_event_age():
    spec = event_age(FRAME, LIVE, [flowing(0, 10, 0), flowing(0, 0, 0), flowing(0, 10, 0)])
    p50 = [row["age"] for row in data(spec, "ages") if row["name"] == "p50"]
    assert (p50[0], p50[1], p50[2]) == (pytest.approx(0.0055), None, pytest.approx(0.0055))


@pytest.mark.parametrize("bins", [60])
def test_no_track_has_more_than_three_hundred_points(bins):
    rates = [(1.0, 1.0)] * bins
    spans = [Span("live", NOW_S - 3 * n - 2, NOW_S - 3 * n) for n in range(300, 0, -1)]
    busy = Window(NOW_S, END_S, spans, [])
    wide = Frame(900, 15, "light", 100)
    assert len(data(by_side(wide, busy, rates), "rates")) == 120
    assert len(data(event_age(wide, busy, [flowing(0, 1, 0)] * bins), "ages")) == 180
    assert len(data(receiver(wide, busy, "live"), "states")) <= 300


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_in_a_track_have_the_shades_of_its_theme(theme):
    spec = str(by_side(Frame(300, 5, theme, 100), LIVE, []))
    assert getattr(palette.BUY, theme) in spec
    assert getattr(palette.MUTED, theme) in spec


def test_only_the_data_change_between_two_redraws_so_that_nothing_flickers():
    quiet, busy = by_side(FRAME, LIVE, []), by_side(FRAME, LIVE, [(0.5, 1.0)])
    assert quiet.pop("datasets") != busy.pop("datasets")
    assert quiet == busy


def test_every_track_says_in_words_what_it_shows():
    for spec in (by_side(FRAME, LIVE, []), event_age(FRAME, LIVE, []), receiver(FRAME, LIVE, "")):
        assert "in the last 5 minutes, in steps of 5 seconds" in spec["description"]
