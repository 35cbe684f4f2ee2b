"""The report of a benchmark says what was found, to anybody, with nothing but its own file."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from msgspec.structs import replace
from playwright.sync_api import Page, expect
from tests import sample_result as sample

from trading_app import palette
from trading_app.benchmark import findings, wording
from trading_app.benchmark.curves import curve
from trading_app.benchmark.findings import headline, imbalance, notices
from trading_app.benchmark.limits import limits
from trading_app.benchmark.report import render
from trading_app.benchmark.results import Result, ResultError

BYTES_MAX = 3_000_000
HOSTILE = "<script>alert(1)</script> \"'&<b>"
LAID_OVER = """figure => {
    const boxes = [...figure.querySelectorAll('text')].filter(text => text.textContent.trim())
        .map(text => ({ text: text.textContent, box: text.getBoundingClientRect() }));
    return boxes.flatMap((one, at) => boxes.slice(at + 1).filter(({ box }) =>
        one.box.left < box.right - 1 && box.left < one.box.right - 1 &&
        one.box.top < box.bottom - 4 && box.top < one.box.bottom - 4
    ).map(other => one.text + ' over ' + other.text));
}"""


@pytest.fixture(scope="module")
def result() -> Result:
    return sample.result()


@pytest.fixture(scope="module")
def report(result, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(result), encoding="utf-8")
    return path


@pytest.fixture
def small(result) -> Result:
    """A run of the burst alone."""
    bursts = result.workloads[:2]
    return replace(result, workloads=bursts, peers=[], receiving=[], checks=[], settings={})


def said(html: str) -> str:
    """Its words, without the style sheet and the tags."""
    body = re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL)
    return re.sub(r" +", " ", body)


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1440, "dark"), (390, "light")])
def test_it_opens_from_disk_asks_for_nothing_and_shows_every_plot(
    report, result, new_page, width, scheme
):
    page: Page = new_page(width, 900, scheme)
    page.context.set_offline(True)
    asked, told = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: told.append(message.text))
    page.goto(report.as_uri())
    expect(page.locator("h1")).to_have_text(headline(result))
    plots = page.locator("figure svg")
    expect(plots).to_have_count(1 + 2 * len(findings.published(result)))
    for plot in plots.all():
        box = plot.bounding_box()
        assert box["width"] > 280
        assert box["height"] > 200
        assert plot.locator("path[stroke], path[fill]").count() > 3
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) <= 0
    page.wait_for_timeout(300)  # what would be asked for late
    assert asked == [report.as_uri()]
    assert told == []


@pytest.mark.parametrize("width", [1440, 390])
def test_no_word_in_a_plot_lies_over_another(report, new_page, width):
    page: Page = new_page(width)
    page.goto(report.as_uri())
    figures = page.locator("figure").all()
    assert [word for figure in figures for word in figure.evaluate(LAID_OVER)] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_and_plots_follow_the_theme(report, new_page, scheme):
    page: Page = new_page(scheme=scheme)
    page.goto(report.as_uri())
    colour = "(element, of) => getComputedStyle(element)[of]"
    assert page.locator("body").evaluate(colour, "backgroundColor") == rgb(palette.PAGE, scheme)
    name = page.locator("figure text", has_text="call").first
    assert name.evaluate(colour, "fill") == rgb(palette.NEUTRAL, scheme)


def test_every_colour_in_a_plot_is_one_of_the_theme(report):
    drawn = " ".join(re.findall("<svg.*?</svg>", report.read_text(encoding="utf-8")))
    colours = set(re.findall(r'(?:fill|stroke)="([^"]+)"', drawn))
    assert {colour for colour in colours if not colour.startswith("var(--")} == {"none"}


def rgb(shades: palette.Shades, scheme: str) -> str:
    code = shades.dark if scheme == "dark" else shades.light
    return "rgb({}, {}, {})".format(*bytes.fromhex(code[1:]))


def test_on_paper_it_is_light_whatever_the_screen_is(report, new_page):
    page: Page = new_page(scheme="dark")
    page.goto(report.as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    fill = page.locator("figure text", has_text="call").first.evaluate(
        "element => getComputedStyle(element).fill"
    )
    assert fill == rgb(palette.NEUTRAL, "light")


def test_the_file_is_small_and_has_neither_script_nor_address(report):
    html = report.read_text(encoding="utf-8")
    assert len(html.encode()) < BYTES_MAX
    assert "<script" not in html
    assert set(re.findall(r"https?://[^\"\s]+", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_the_sentence_says_the_cost_the_ratio_and_the_count(result):
    assert headline(result) == (
        "A publish costs 1.10 µs, 2.13 × a bare send; 20\u202f000 of 20\u202f000 were counted."
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"applied": 19_990, "lost": 10}, "19\u202f990 of 20\u202f000 were counted, 10 lost"),
        (
            {"accepted": 15_000, "refused": 5_000, "applied": 14_000, "waiting": 1_000},
            "14\u202f000 of 20\u202f000 were counted, 5\u202f000 refused, 1\u202f000 waiting",
        ),
        ({"applied": None, "lost": None, "waiting": None}, findings.UNREAD),
    ],
)
def test_the_sentence_hides_no_trade(small, changes, sentence):
    burst, sends = small.workloads
    found = replace(small, workloads=[replace(burst, counts=sample.counts(**changes)), sends])
    assert headline(found).endswith(f"; {sentence}.")


def test_without_workloads_the_sentence_is_about_the_peers():
    found = sample.result(workloads=[])
    assert "2.10 × (prometheus-client, children cached) to 61 × (DogStatsD" in headline(found)
    assert headline(found).endswith("Less than a publish: bare zmq send 0.470 ×.")
    assert headline(replace(found, peers=[])) == "Nothing was measured."


def test_bare_sends_are_beside_their_workload_and_no_workload_of_their_own(result):
    assert "burst-send" not in [workload.name for workload in findings.published(result)]
    text = said(render(replace(result, workloads=result.workloads[:2])))
    assert text.count("Latency by percentile") == 1
    assert re.search(r"µs call bare send p50 1\.10 0\.55", text)


def test_counts_that_do_not_add_up_come_before_everything(small):
    burst, sends = small.workloads
    counts = sample.counts(applied=19_993)
    found = replace(
        small, workloads=[replace(burst, counts=counts, problem="too slow"), sends],
        checks=sample.checks(),
    )  # fmt: skip
    assert [notice.kind for notice in notices(found)] == ["danger", "warning", "warning"]
    assert notices(found)[0].head == "The counts do not add up."
    wrong = "accepted 20\u202f000 is not applied 19\u202f993 + lost 0 + waiting 0: 7 missing"
    text = said(render(found))
    assert f"■ The counts do not add up. {burst.title}: {wrong}." in text
    assert f"✗ {wrong}" in text
    assert f"▲ Not to be trusted. {burst.title}: too slow." in text
    assert "▲ 2 of 5 checks failed." in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"refused": 1}, "offered 20\u202f000 is not accepted 20\u202f000 + refused 1: 1 too many"),
        ({"accepted": 19_999, "applied": 19_999}, "accepted 19\u202f999 + refused 0: 1 missing"),
        ({"waiting": 3}, "waiting 3: 3 too many"),
        ({"lost": None}, findings.UNREAD),
        (
            {"accepted": 19_000, "refused": 1_000, "applied": 18_000, "lost": 400, "waiting": 600},
            "",
        ),
    ],
)
def test_every_trade_is_explained_or_it_is_said_which_sum_is_wrong(changes, said):
    found = imbalance(sample.counts(**changes))
    assert (found or "").endswith(said)
    assert (found is None) == (said == "")


def test_a_problem_that_is_the_wrong_sum_is_told_once(small):
    counts = sample.counts(applied=1)
    burst = replace(small.workloads[0], counts=counts, problem=imbalance(counts))
    assert len(notices(replace(small, workloads=[burst]))) == 1


def test_lost_trades_are_trouble_but_those_of_bare_sends_are_their_nature(small):
    lossy = sample.counts(applied=19_990, lost=10)
    burst, sends = small.workloads
    told = notices(replace(small, workloads=[burst, replace(sends, counts=lossy)]))
    assert [notice.kind for notice in told] == ["good"]
    told = notices(replace(small, workloads=[replace(burst, counts=lossy), sends]))
    assert [notice.head for notice in told] == ["Trades were lost."]


def test_a_check_says_by_word_and_shape_whether_it_passed(small):
    text = said(render(replace(small, checks=sample.checks())))
    assert "✗ failed Burst: publish to a bare send, p50 ≤ 2 × 2.13 ×" in text
    assert "✓ passed statsd to publish, p50 ≥ 10 × 23 ×" in text
    assert "✓ passed Beside a busy thread: publish, p99 on this machine ≤ 20 µs 13.5 µs" in text
    assert "✗ failed Desk: idle on this machine ≤ 1 % —" in text


def test_all_is_well_only_when_every_check_passed(small):
    passed = [replace(check, passed=True) for check in sample.checks()]
    (good,) = notices(replace(small, checks=passed))
    assert good.kind == "good"
    assert "Every trade is accounted for." in good.head


def test_a_peer_that_is_missing_is_named_with_the_reason(report):
    text = said(report.read_text(encoding="utf-8"))
    reason = "the package opentelemetry-sdk is not installed (opentelemetry)"
    assert f"Left out: OpenTelemetry SDK: {reason}." in text


def test_peers_stand_with_their_spread_and_what_they_do_not_do(report):
    text = said(report.read_text(encoding="utf-8"))
    assert re.search(r"statsd 1\.2\.3 .* 23 × 22\.3 – 23\.9 ×, 5 rounds Three datagrams", text)
    assert sample.UDP.replace("'", "&#x27;") in text


def test_the_curve_is_that_of_the_histogram_up_to_the_maximum():
    found = sample.latency(1_000, count=10_000)
    points = curve("burst", found)
    assert points[-1] == (10_000, found.max_ns)
    assert all(one.one_in < two.one_in and one.ns <= two.ns for one, two in pairwise(points))
    histogram = HdrHistogram.decode(found.histogram)
    for one_in, value_ns in points[1:-1]:
        rank = histogram.get_value_at_percentile(100 * (1 - 1 / one_in))
        assert value_ns == pytest.approx(rank, rel=0.002)


def test_the_plots_have_their_curves_where_the_values_are(new_page, tmp_path):
    """A workload ten times slower is one decade higher on the shared axis."""
    fast, slow = (sample.workload(f"w{p50}", f"p50 of {p50}", p50) for p50 in (1_000, 10_000))
    path = tmp_path / "report.html"
    path.write_text(render(sample.result(workloads=[fast, slow], peers=[])), encoding="utf-8")
    page: Page = new_page()
    page.goto(path.as_uri())
    ends = [
        plot.locator("text", has_text=re.compile("^call$")).bounding_box()["y"]
        - plot.bounding_box()["y"]
        for plot in page.locator("figure svg").all()[::2]
    ]
    decades = [
        plot.locator("text", has_text=re.compile(f"^{label}$")).bounding_box()["y"]
        for plot in page.locator("figure svg").all()[:1]
        for label in ("1 µs", "10 µs")
    ]
    assert ends[0] - ends[1] == pytest.approx(decades[0] - decades[1], abs=2)


@pytest.mark.parametrize(
    ("kept", "why"),
    [
        ("AAAA", "cannot be read"),
        ("no base64 at all!", "cannot be read"),
        ("", "cannot be read"),
        (sample.latency(5, 10).histogram, "holds 10 values, not 20000"),
    ],
    ids=["too short", "no base64", "empty", "of another"],
)
def test_a_histogram_that_is_none_is_refused_in_one_line(small, kept, why):
    burst = small.workloads[0]
    broken = replace(burst, call=replace(burst.call, histogram=kept))
    with pytest.raises(ResultError, match=f"the histogram of .*{why}") as error:
        render(replace(small, workloads=[broken]))
    assert burst.title in str(error.value)
    assert "\n" not in str(error.value)


def test_names_settings_and_words_of_others_stay_words(new_page, tmp_path):
    burst = sample.workload("burst", HOSTILE, 1_000, settings={HOSTILE: HOSTILE}, problem=HOSTILE)
    hostile = sample.result(
        suite=HOSTILE,
        settings={HOSTILE: HOSTILE},
        workloads=[burst],
        peers=[sample.peer("bare", HOSTILE, 2.0, HOSTILE, version=HOSTILE, missing=HOSTILE)],
        receiving=[sample.figure("x", HOSTILE, HOSTILE, 5.0, HOSTILE)],
        checks=[sample.check("x", HOSTILE, 5.0, HOSTILE, HOSTILE)],
        machine=sample.machine(processor=HOSTILE, commit=HOSTILE, versions={HOSTILE: HOSTILE}),
    )
    path = tmp_path / "report.html"
    path.write_text(render(hostile), encoding="utf-8")
    assert "<script" not in path.read_text(encoding="utf-8")
    page: Page = new_page()
    page.on("dialog", lambda _: pytest.fail("a script ran"))
    page.goto(path.as_uri())
    expect(page.locator("h3")).to_have_text(HOSTILE)
    expect(page.locator("figure text", has_text=HOSTILE)).to_have_count(1)
    assert page.locator("script").count() == 0


def test_a_part_that_was_not_measured_has_no_empty_section(small):
    alone = render(replace(small, workloads=[]))
    assert "Nothing was measured." in alone
    titles = re.findall("<h2>(.*?)</h2>", alone)
    assert titles == ["Machine and versions", "What the numbers do not say"]


def test_a_single_call_and_a_rest_of_nothing_are_drawn_too(small):
    alone = sample.latency(1_000, count=1)
    burst = replace(small.workloads[0], call=alone, moments=[], rounds_p50_ns=[], seconds=0.0)
    assert "Latency by percentile" in render(replace(small, workloads=[burst]))
    moment = small.workloads[0].moments[:1]
    silent = [replace(each, offered_per_s=0.0, p50_ns=0, p99_ns=0, max_ns=0) for each in moment]
    assert "over the run" in render(replace(small, workloads=[replace(burst, moments=silent)]))


def test_a_percentile_that_rests_on_too_few_values_is_grey_and_said(small):
    html = render(small)
    grey = re.findall(r'<span class="thin">([^<]+)</span>', html)
    burst, sends = small.workloads
    assert grey == [wording.microseconds(each.call.p99_99_ns) for each in (burst, sends)]
    assert any("fewer than ten values" in limit for limit in limits(small))


def test_a_busy_machine_and_a_changed_tree_are_said(small):
    quiet = limits(small)
    doubtful = replace(small, machine=sample.machine(load_1m=1.9, modified=True))
    more = [limit for limit in limits(doubtful) if limit not in quiet]
    assert len(more) == 2
    assert "a load of 1.90" in more[0]
    assert "not committed" in more[1]
    assert "and changes" in said(render(doubtful))


@pytest.mark.parametrize(
    ("value_ns", "written"),
    [(58, "58 ns"), (999.6, "1.00 µs"), (1_104, "1.10 µs"), (14_230, "14.2 µs"),
     (5_010_000, "5.01 ms"), (2e9, "2 s"), (0, "0 ns")],
)  # fmt: skip
def test_a_duration_is_written_in_the_unit_that_a_person_would_choose(value_ns, written):
    assert wording.nanoseconds(value_ns) == written


@pytest.mark.parametrize(
    ("value", "unit", "written"),
    [
        (2.134, "×", "2.13 ×"),
        (0.47, "ratio", "0.470 ×"),
        (412_000.4, "events/s", "412\u202f000 events/s"),
        (0.052, "s", "52 ms"),
        (71_000_000, "bytes", "71.0 MB"),
        (None, "ms", "—"),
        (100, "%", "100 %"),
        (3, "", "3"),
    ],
)
def test_a_figure_is_written_with_three_digits_and_its_unit(value, unit, written):
    assert wording.figure(value, unit) == written


def test_a_range_says_its_unit_once_unless_it_changes():
    assert wording.span(1_070, 1_140, "ns") == "1.07 – 1.14 µs"
    assert wording.span(980, 1_020, "ns") == "980 ns – 1.02 µs"
