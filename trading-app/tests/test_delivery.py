"""The Delivery page: what it says in each state, and that its figures are those of the sidecar."""

import re

import pytest
from streamlit.testing.v1 import AppTest

from trade_telemetry import LossReason
from trade_telemetry.testing import RecordingPublisher
from trading_app.desk import Desk
from trading_app.sidecar_client import Away
from trading_app.ui import delivery_parts
from trading_app.ui.delivery_table import SHOWN_MAX

NOW_S = 1_790_000_000.0


def delivery_page(desk):
    from trading_app.ui.delivery import show  # noqa: PLC0415 - the script is this text alone

    show(desk)


@pytest.fixture
def open_page(desk):
    def open_it(shown=desk):
        page = AppTest.from_function(delivery_page, kwargs={"desk": shown}, default_timeout=20)
        return checked(page.run())

    return open_it


def checked(page):
    assert not page.exception, page.exception
    return page


def html(page):
    return "\n".join(element.proto.body for element in page.get("html"))


def rows(page):
    """The rows of the table: the text of each cell, its reasons after a blank."""
    found = re.findall(r"<tr(?: class=\"ta-sum\")?>(<td.*?)</tr>", html(page))
    return [
        tuple(
            re.sub("<[^>]+>", "", cell.replace("<small>", " "))
            for cell in re.findall("<td[^>]*>(.*?)</td>", row)
        )
        for row in found
    ]


def facts(page):
    """Where what waits is kept, and the totals: by name."""
    shown = html(page).partition("ta-words")[0]
    return dict(re.findall(r"<dt>([^<]*)</dt><dd[^>]*>([^<]*)</dd>", shown))


def publisher(name, published=0, **changes):
    figures = {"publisher": name, "epoch": 1, "last_seq": published, "last_seen_s": NOW_S - 0.5}
    return figures | {"published": published, "applied": published, "durable": True} | changes


@pytest.fixture
def counted(sidecar, make_summary):
    """Three publishers with 12,345 trades, of which 3 went lost and 2 are under way."""
    bots = [
        publisher("bot-7", 12_000, duplicates=40),
        publisher("grid-2", 340, applied=338, waiting=2, last_seen_s=NOW_S - 60, durable=False),
        publisher(
            "old", 5, applied=2, lost={"state": 1, "overwritten": 2, "silent": 0},
            refused={"ring_full": 7, "closed": 0}, open=False, last_seen_s=NOW_S - 7_300,
        ),
    ]  # fmt: skip
    sidecar.answer = make_summary(
        trades={"buy": 12_300, "sell": 45},
        publishers=bots,
        untracked=5,
        duplicates=40,
        state={
            "durable": True, "bytes": 131_072, "free_bytes": 20_500_000_000,
            "last_commit_s": NOW_S - 0.05, "set_aside": 0, "commit_failures": 0,
        },
    )  # fmt: skip
    return sidecar


def test_the_answer_is_the_account_in_words_with_its_evidence_below(open_page, counted):
    page = open_page()
    said = html(page).replace("\u202f", " ")
    assert "ta-live" in said
    assert (
        "<b>accounted for</b><span>· "
        "12 345 published = 12 340 applied + 3 lost + 2 waiting · residue 0</span>"
    ) in said
    assert '<span class="ta-danger">lost: 2 overwritten, 1 state</span>' in said
    assert "40 duplicates recognised · 5 untracked" in said


def test_each_publisher_has_a_row_trouble_first_below_the_sum_of_all(open_page, counted):
    found = [tuple(cell.replace("\u202f", " ") for cell in row) for row in rows(open_page())]
    assert found == [
        ("all 3 publishers", "12 345", "12 340", "3 2 overwritten, 1 state", "2", "0", "40", "7",
         "", ""),
        ("▲ grid-2", "340", "338", "0", "2", "0", "0", "0", "memory", "60 s ago"),
        ("○ old", "5", "2", "3 2 overwritten, 1 state", "0", "0", "0", "7 7 ring full",
         "file", "2 h ago, ended"),
        ("● bot-7", "12 000", "12 000", "0", "0", "0", "40", "0", "file", "now"),
    ]  # fmt: skip


def test_one_publisher_needs_no_sum(open_page, sidecar, make_summary):
    sidecar.answer = make_summary(publishers=[publisher("bot", 1)])
    assert [row[0] for row in rows(open_page())] == ["● bot"]


def test_a_residue_is_said_in_the_colour_of_danger_and_whose_it_is(
    open_page, sidecar, make_summary
):
    off = [publisher("a", 9), publisher("b", 9, applied=10, residue=-1)]
    sidecar.answer = make_summary(publishers=off)
    page = open_page()
    assert 'class="ta-status ta-broken"' in html(page)
    assert "✕</span><b>not accounted for</b>" in html(page)
    assert rows(page)[1][0] == "● b"
    assert rows(page)[1][5] == "\u22121"
    assert re.search(r'<td class="ta-num ta-danger" data-label="residue"', html(page))


def test_the_first_visit_says_what_will_appear_and_how(open_page):
    text = html(open_page())
    assert "<b>waiting</b><span>· nothing has been published yet</span>" in text
    assert "<code>make demo</code>" in text
    assert "python -m trade_telemetry send buy 1" in text


def test_while_the_sidecar_is_away_the_figures_are_grey_and_say_their_age(
    open_page, publisher, counted
):
    publisher.connected = False
    counted.leave()
    page = open_page()
    assert 'class="ta-status ta-away"' in html(page)
    assert "· 60 s ago: 12\u202f345 published" in html(page)
    assert "<code>make sidecar-up</code>" in html(page)
    assert 'class="ta-rows ta-account ta-old"' in html(page)
    assert rows(page)[-1][0] == "? bot-7"
    assert rows(page)[-1][-1] == "60 s ago"
    assert facts(page)["last commit"] == "60 s ago"


def test_a_sidecar_that_never_answered_leaves_everything_unknown(open_page, publisher, sidecar):
    publisher.connected = False
    sidecar.answer = Away("nothing answers at X", NOW_S, None, None)
    page = open_page()
    assert "what became of each trade is not known yet" in html(page)
    assert html(page).count("Not known: nothing answers at X.") == 2
    assert rows(page) == []


def test_a_sidecar_that_stopped_counting_is_stale(open_page, sidecar, counted):
    sidecar.answer = counted.answer.model_copy(update={"status": "stalled", "reason": "no disk"})
    assert 'class="ta-status ta-stale"' in html(open_page())
    assert "the sidecar has stopped counting: no disk" in html(open_page())


def test_of_a_thousand_publishers_a_hundred_are_shown_and_the_rest_is_summed_up(
    open_page, sidecar, make_summary
):
    crowd = [publisher(f"p{number:04}", 10) for number in range(1_023)]
    lost = publisher("zz", 10, applied=9, lost={"state": 1})
    sidecar.answer = make_summary(publishers=[*crowd, lost])
    page = open_page()
    found = rows(page)
    assert len(found) == SHOWN_MAX + 1
    assert [row[0] for row in found[:3]] == ["all 1\u202f024 publishers", "● zz", "● p0000"]
    rest = "9\u202f240 published = 9\u202f240 applied + 0 lost + 0 waiting · residue 0"
    assert f"and 924 other publishers: {rest}" in html(page)


def test_the_desks_own_journal_says_where_it_is_and_what_is_in_it(open_page, sidecar, make_stats):
    class Keeping(RecordingPublisher):
        def stats(self):
            return make_stats(waiting=4, leftover=12, refused={"ring_full": 3, "closed": 0})

    page = open_page(Desk(Keeping(), sidecar, clock=lambda: NOW_S))
    assert facts(page) == {
        "trades wait": "in a file",
        "places taken": "4 of 65\u202f536",
        "of earlier runs": "12",
        "refused": "3",
        "trades in the totals": "0",
        "of them untracked": "0",
    }
    assert "they survive a restart of this desk" in html(page)


def test_a_problem_of_the_journal_takes_the_place_of_the_praise(open_page, sidecar, make_stats):
    class Troubled(RecordingPublisher):
        def stats(self):
            return make_stats(durable=False, problem="no journal file in <x>: free some bytes")

    text = html(open_page(Desk(Troubled(), sidecar, clock=lambda: NOW_S)))
    assert "no journal file in &lt;x&gt;: free some bytes" in text
    assert "they survive a restart of this desk" not in text


def test_the_state_says_how_it_is_kept_and_that_rows_and_totals_agree(open_page, counted):
    page = open_page()
    assert facts(page)["totals are kept"] == "in a file"
    assert facts(page)["size"] == "131 kB, 20.5 GB free"
    assert facts(page)["last commit"] == "now"
    assert facts(page)["trades in the totals"] == "12\u202f345"
    assert facts(page)["of them untracked"] == "5"
    assert '<dd class="ta-danger"' not in html(page)


def test_trouble_of_the_state_is_said_in_the_colour_of_danger(open_page, sidecar, make_summary):
    trouble = {"durable": False, "set_aside": 1, "commit_failures": 2}
    sidecar.answer = make_summary(
        state=trouble, trades={"buy": 1, "sell": 0}, turned_away=3, publishers=[publisher("b", 5)]
    )
    page = open_page()
    assert facts(page)["totals are kept"] == "in memory"
    assert facts(page)["last commit"] == "—"
    for fact in ("failed commits", "states set aside", "trades in the totals"):
        assert re.search(f'<dt>{fact}</dt><dd class="ta-danger">', html(page))
    assert '<span class="ta-danger">3 turned away</span>' in html(page)


def test_a_publishers_name_is_escaped(open_page, sidecar, make_summary):
    sidecar.answer = make_summary(publishers=[publisher("<b>x</b>", 1)])
    assert "&lt;b&gt;x&lt;/b&gt;" in html(open_page())
    assert "<b>x</b>" not in html(open_page())


def test_each_word_is_explained_and_so_is_each_reason_of_a_loss():
    text = delivery_parts.words()
    for word in ("published", "applied", "waiting", "residue", "duplicates", "refused"):
        assert f"<dt>{word}</dt>" in text
    for reason in LossReason:
        assert f"<dt>· {reason}</dt>" in text
