"""The Live page's panel of the last benchmark: empty, running, done, failed, broken off, away."""

import re
from datetime import UTC

import pytest
from streamlit.testing.v1 import AppTest

from trading_app.benchmark.wording import nanoseconds, times
from trading_app.sidecar_answers import Benchmarks
from trading_app.sidecar_client import Away
from trading_app.ui.live_benchmark import SILENT_AFTER_S, benchmark, note

NOW_S = 1_790_000_000.0
COUNTS = {"offered": 9_000, "accepted": 8_000, "refused": 1_000, "lost": 0, "waiting": 0}


def found(name, p50_s=None, p99_s=None, *, at_s=NOW_S - 300, applied=8_000, **fields):
    """A result as the sidecar tells it; without a latency where no median is given."""
    result = {"type": "benchmark", "test_type": "suite", "test_name": name, "timestamp": at_s}
    if p50_s:
        result["latency"] = {"count": 9_000, "mean": 1, "p50": p50_s, "p99": p99_s, "max": 1}
        result["totals"] = COUNTS | ({} if applied is None else {"applied": applied})
    return result | fields


def said(status, test="suite", *, at_s=NOW_S - 300, message=""):
    return {
        "suite": "suite", "test_type": "suite", "test_name": test, "timestamp": at_s,
        "status": status, "message": message, "runs": {},
    }  # fmt: skip


def answer(*suites, tests=()):
    body = {"now_s": NOW_S, "suites": suites, "tests": tests}
    return Benchmarks.model_validate(body)


RUN = [
    found("paced", 5e-6, 8e-6, figures={"publish_to_send_ratio": 0.8}),
    found("burst", 0.83e-6, 2.1e-6, figures={"publish_to_send_ratio": 1.9}),
    found("busy", 0.9e-6, 13.5e-6),
    found("peers", figures={"publish_to_send_ratio": 2.5, "statsd_to_publish_ratio": 12}),
]
DONE = said("completed", message="A publish costs 830 ns; 8 000 of 8 000 were counted.")


def tiles(html):
    parts = re.findall(r'<div class="ta-(label[^"]*|big|small)">([^<]*)</div>', html)
    names, bigs, smalls = parts[::3], parts[1::3], parts[2::3]
    return {
        name: (big, small)
        for (_, name), (_, big), (_, small) in zip(names, bigs, smalls, strict=True)
    }


def line(html):
    """The state, its shape, its words and what to do, as text."""
    text, *_ = html.split('<div class="ta-totals')
    return re.sub(r"<[^>]+>", " ", text).split()


def words(html):
    return " ".join(line(html))


def test_before_the_first_one_it_says_what_it_will_show_and_the_one_command():
    html = benchmark(answer())
    assert words(html).startswith("◐ none yet · this will show what a publish costs")
    assert "<code>make benchmark</code> takes about two minutes" in html
    assert tiles(html) == {}
    assert note(answer(), UTC) == ""


def test_a_completed_run_says_its_sentence_and_four_figures_of_that_run():
    html = benchmark(answer(DONE, tests=RUN))
    assert words(html) == "● completed · A publish costs 830 ns; 8 000 of 8 000 were counted."
    assert tiles(html) == {
        "A publish": (nanoseconds(830), f"median, burst · p99 {nanoseconds(2_100)}"),
        "Dearest p99": (nanoseconds(13_500), "busy"),
        "Beside a bare send": (times(1.9), "of the same bytes"),
        "Counted": ("24\u202f000", "of 24\u202f000 accepted"),
    }
    assert "ta-danger" not in html
    assert "ta-old" not in html
    assert note(answer(DONE, tests=RUN), UTC) == "figures of 14:08:20, 5 min ago"


def test_figures_of_an_earlier_run_are_not_mixed_with_those_of_the_last():
    last = found("sustained", 1e-6, 2e-6, at_s=NOW_S - 10)
    shown = tiles(benchmark(answer(DONE, tests=[*RUN, last])))
    assert shown["A publish"] == (
        nanoseconds(1_000),
        f"median, sustained · p99 {nanoseconds(2_000)}",
    )
    assert shown["Beside a bare send"] == ("—", "of the same bytes")
    assert shown["Counted"] == ("8\u202f000", "of 8\u202f000 accepted")


def test_a_run_of_peers_alone_has_no_cost_and_says_why_on_hover():
    html = benchmark(answer(DONE, tests=[RUN[-1]]))
    shown = tiles(html)
    assert shown["A publish"] == ("—", "median")
    assert shown["Dearest p99"] == ("—", "of all tests")
    assert shown["Counted"] == ("—", "of accepted")
    assert shown["Beside a bare send"] == (times(2.5), "of the same bytes")
    assert html.count('title="The last run did not measure this"') == 3


@pytest.mark.parametrize(
    ("result", "shown", "is_trouble"),
    [
        (found("a", 1, 1, applied=7_999), ("7\u202f999", "of 8\u202f000 accepted"), True),
        (found("a", 1, 1, applied=8_001), ("8\u202f001", "of 8\u202f000 accepted"), True),
        (
            found("a", 1, 1, totals=COUNTS | {"applied": 0, "waiting": 8_000}),
            ("0", "of 8\u202f000 accepted, 8\u202f000 wait"),
            False,
        ),
        (found("a", 1, 1, applied=None), ("—", "of 8\u202f000 accepted"), False),
    ],
)
def test_what_was_accepted_and_is_neither_counted_nor_waits_is_trouble(result, shown, is_trouble):
    html = benchmark(answer(DONE, tests=[result]))
    assert tiles(html)["Counted"] == shown
    assert ('class="ta-label ta-danger">Counted' in html) == is_trouble


def test_while_it_runs_the_part_is_named_beside_the_figures_of_the_run_before():
    running = said("running", "busy", at_s=NOW_S - 20)
    html = benchmark(answer(running, tests=RUN))
    assert words(html) == "● running · at busy"
    assert tiles(html)["A publish"][0] == nanoseconds(830)
    assert "ta-old" not in html
    assert words(benchmark(answer(said("started", at_s=NOW_S)))) == "● running · it has begun"


def test_a_run_that_said_nothing_for_long_is_stale_and_its_figures_are_grey():
    silent = said("running", "busy", at_s=NOW_S - SILENT_AFTER_S - 1)
    html = benchmark(answer(silent, tests=RUN))
    assert words(html).startswith("◆ stale · at busy, 3 min ago, and nothing since")
    assert "<code>make benchmark</code>" in html
    assert "ta-totals ta-found ta-old" in html


def test_a_failed_run_says_why_and_what_to_do_and_keeps_the_figures_of_before_in_grey():
    failed = said("failed", at_s=NOW_S, message="<b>no room</b>")
    html = benchmark(answer(DONE | {"suite": "peers"}, failed, tests=RUN))
    assert "ta-benchmark ta-broken" in html
    assert "&lt;b&gt;no room&lt;/b&gt;" in html
    assert "<code>make benchmark</code>" in html
    assert "ta-totals ta-found ta-old" in html


def test_with_the_sidecar_away_the_last_figures_are_grey_and_the_reason_is_said():
    away = Away("nothing answers", NOW_S, answer(DONE, tests=RUN), NOW_S)
    assert words(benchmark(away)) == "▲ away · not known: nothing answers"
    assert "ta-totals ta-found ta-old" in benchmark(away)
    never = Away("nothing answers", NOW_S, None, None)
    assert words(benchmark(never)) == "▲ away · not known: nothing answers"
    assert tiles(benchmark(never)) == {}
    assert note(never, UTC) == ""


@pytest.mark.parametrize("name", ["<i>x</i>", '"onmouseover="x'])
def test_names_are_escaped(name):
    html = benchmark(answer(said("running", name, at_s=NOW_S), tests=[found(name, 1, 1)]))
    assert name not in html


def live_page(desk):
    from trading_app.ui.live import show  # noqa: PLC0415 - the script is this text alone

    show(desk)


def test_the_page_ends_with_the_panel_in_each_state(desk, sidecar):
    page = AppTest.from_function(live_page, kwargs={"desk": desk}, default_timeout=20)

    def state():
        assert not page.run().exception
        html = "\n".join(element.proto.body for element in page.get("html"))
        _, panel = html.split("what telemetry costs: the last benchmark")
        return re.search(r"<b>(.*?)</b>", panel)[1]

    assert state() == "none yet"
    sidecar.found = answer(DONE, tests=RUN)
    assert state() == "completed"
    sidecar.leave()
    assert state() == "away"
