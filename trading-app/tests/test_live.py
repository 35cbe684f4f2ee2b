"""The Live page: what it says in each state, and that its figures are those of the sidecar."""

import re

import pytest
from streamlit.testing.v1 import AppTest

from trading_app.sidecar_client import Away
from trading_app.ui import symbols
from trading_app.ui.live_parts import length

NOW_S = 1_790_000_000.0


def live_page(desk):
    from trading_app.ui.live import show  # noqa: PLC0415 - the script is this text alone

    show(desk)


@pytest.fixture
def open_page(desk):
    def open_it():
        page = AppTest.from_function(live_page, kwargs={"desk": desk}, default_timeout=20)
        return checked(page.run())

    return open_it


def checked(page):
    assert not page.exception, page.exception
    return page


def html(page):
    return "\n".join(element.proto.body for element in page.get("html"))


def tiles(page):
    """The figures at the top: what each is called, shows, and says below."""
    parts = re.findall(r'<div class="ta-(?:label[^"]*|big|small)">([^<]*)</div>', html(page))
    return {name: (big, small) for name, big, small in batches(parts, 3)}


def batches(items, size):
    return zip(*[iter(items)] * size, strict=True)


def table(page):
    """The rows of the table of symbols: the text of each cell."""
    rows = re.findall(r"<tr>(<td.*?)</tr>", html(page))
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row)[:5] for row in rows]
    return [
        tuple(cell.replace("<small>", " ").replace("</small>", "") for cell in row) for row in cells
    ]


def symbol(name, buys, sells, bought=0.0, sold=0.0):
    return {
        "symbol": name,
        "trades": {"buy": buys, "sell": sells},
        "volume": {"buy": bought, "sell": sold},
    }


@pytest.fixture
def flowing(sidecar, make_summary, make_life):
    """Ten minutes in which each second had 4 buys and 1 sell; two symbols."""
    totals = {second: (4 * second + 2400, second + 600) for second in range(-600, 1)}
    minute = [
        {
            "at_s": NOW_S + at,
            "trades_buy": (0, 3 * at + 200, at + 90),
            "trades_sell": (0, at + 90, 0),
        }
        for at in range(-60, 1, 5)
    ]
    sidecar.past = make_life(
        totals,
        started_s=NOW_S - 600,
        symbols=("(none)", "BTCUSDT", "ETHUSDT"),
        symbol_marks=minute,
    )
    sidecar.answer = make_summary(
        started_s=NOW_S - 600,
        trades={"buy": 2400, "sell": 600},
        volume={"buy": 1200.5, "sell": 1200},
        last_trade_ts_s=NOW_S - 2,
        symbols=[
            symbol("(none)", 0, 0),
            symbol("BTCUSDT", 1800, 600, 900.25, 1200),
            symbol("ETHUSDT", 600, 0, 300.25),
        ],
        publishers=[{"publisher": "bot-7", "epoch": 1, "last_seq": 3000, "last_seen_s": NOW_S}],
    )
    return sidecar


def test_while_trades_flow_the_first_line_says_so_and_the_number_is_their_rate(open_page, flowing):
    page = open_page()
    assert "<b>live</b><span>· everything flows · 1 publisher</span>" in html(page)
    assert "nothing lost" in html(page)
    assert "receiver busy 50 %" in html(page)
    assert tiles(page) == {
        "Trades a second": ("5.0", "in the last 10 s"),
        "Buys": ("2\u202f400", "volume 1\u202f200.5"),
        "Sells": ("600", "volume 1\u202f200.0"),
        "Last trade": ("2 s ago", "at 14:13:18"),
        "Event age p99": ("10 ms", "p50 6 ms, last minute"),
    }


def test_each_track_has_its_figures_in_words(open_page, flowing):
    text = html(open_page())
    assert "trades a second<span>last 10 s: buys 4.00 · sells 1.00</span>" in text
    assert "volume a second, in units<span>last 10 s: buys 2.00 · sells 2.00</span>" in text
    assert "event age<span>last minute: p50 6 ms · p90 9 ms · p99 10 ms</span>" in text
    assert "receiver<span>live 5 min 00 s</span>" in text


def test_the_reader_chooses_how_far_the_tracks_reach_back(open_page, flowing):
    page = open_page()
    page.segmented_control(key="span").set_value("15 min")
    text = html(checked(page.run()))
    assert (
        "receiver<span>live 10 min 00 s · not seen 5 min 00 s · started at 14:03:20</span>" in text
    )


def test_each_symbol_has_its_totals_and_the_rates_of_the_last_minute(open_page, flowing):
    assert table(open_page()) == [
        ("BTCUSDT", "1\u202f800 900.25", "600 1\u202f200.00", "3.00", "1.00"),
        ("ETHUSDT", "600 300.25", "0 0.00", "1.00", "0.00"),
    ]


def test_what_is_lost_or_rejected_is_said_in_the_colour_of_trouble(
    open_page, flowing, make_summary
):
    answer = flowing.answer.model_dump(exclude={"publishers"})
    bot = {
        "publisher": "bot",
        "epoch": 1,
        "last_seq": 9,
        "lost": {"state": 3},
        "last_seen_s": NOW_S,
    }
    flowing.answer = make_summary(**answer | {"publishers": [bot], "rejected": {"json": 7}})
    text = html(open_page())
    assert "trades flow, and 3 trades in all went lost · 1 publisher" in text
    assert re.search(r'<span class="ta-danger"[^>]*>3 lost</span>', text)
    assert re.search(r'<span class="ta-danger"[^>]*>7 rejected</span>', text)


def test_before_the_first_trade_the_page_says_what_it_will_show_and_how(
    open_page, sidecar, make_life
):
    sidecar.past = make_life({-2: (0, 0), -1: (0, 0)}, started_s=NOW_S - 2)
    page = open_page()
    text = html(page)
    assert "<b>waiting</b><span>· the sidecar counts, and no trade has come yet</span>" in text
    assert "<code>make demo</code> shows a lively stream" in text
    assert "Each symbol that is traded gets a row" in text
    assert tiles(page)["Trades a second"] == ("0.0", "in the last 10 s")
    assert tiles(page)["Event age p99"][0] == "—"


def test_a_silence_of_more_than_a_minute_is_waiting_and_says_how_long(
    open_page, flowing, make_life
):
    flowing.past = make_life({-90: (0, 0), -89: (9, 9)} | dict.fromkeys(range(-88, 1), (9, 9)))
    assert "<b>waiting</b><span>· the sidecar counts, and the last trade came 89 s ago" in html(
        open_page()
    )


def test_while_the_sidecar_is_away_totals_say_their_age_and_what_is_not_known_is_a_dash(
    open_page, publisher, flowing
):
    publisher.connected = False
    page = open_page()
    flowing.leave()
    page = checked(page.run())
    text = html(page)
    assert "<b>away</b>" in text
    assert "figures as of 60 s ago" in text
    assert "receiver<span>live 4 min 00 s · not seen 60 s</span>" in text.replace(
        "1 min 00 s", "60 s"
    )
    assert 'class="ta-totals ta-answer ta-old"' in text
    assert 'class="ta-rows ta-symbols ta-old"' in text
    assert tiles(page)["Buys"][0] == "2\u202f400"
    assert tiles(page)["Trades a second"][0] == tiles(page)["Event age p99"][0] == "—"
    assert table(page)[0][3:] == ("—", "—")


def test_a_sidecar_that_never_answered_leaves_everything_unknown(open_page, publisher, sidecar):
    publisher.connected = False
    sidecar.answer = sidecar.past = Away("nothing answers at X", NOW_S, None, None)
    page = open_page()
    assert [big for big, _ in tiles(page).values()] == ["—"] * 5
    assert "Not known: nothing answers at X." in html(page)
    assert "receiver<span>live 0 s · not seen 5 min 00 s</span>" in html(page)


def test_a_restart_that_the_desk_saw_leaves_a_gap_and_totals_go_on(open_page, flowing, make_life):
    page = open_page()
    after = {second: (2400 + second, 600) for second in range(5, 31)}
    flowing.past = make_life(after, started_s=NOW_S + 4, now_s=NOW_S + 30)
    text = html(checked(page.run()))
    said = "live 4 min 55 s · not seen 5 s · started at 14:13:24"
    assert f"receiver<span>{said}</span>" in text
    assert "last 10 s: buys 1.00 · sells 0.00" in text


def test_the_busiest_symbols_are_listed_by_name_and_the_others_in_one_row(make_summary):
    crowd = [symbol(f"S{number:02}", number, 1, 0.5, 0.25) for number in range(20)]
    totals = make_summary(symbols=[symbol("(none)", 99, 0), *crowd, symbol("other", 50, 0)]).symbols
    rates = {f"S{number:02}": (number / 10, 0.5) for number in range(5)}
    found = symbols.rows(totals, rates)
    names = [f"S{number:02}" for number in range(10, 20)]
    assert [row.name for row in found] == [*names, "(none)", "other", "10 others"]
    assert found[-1].trades == (sum(range(10)), 10)
    assert found[-1].volume == (5.0, 2.5)
    assert found[-1].rates == pytest.approx((1.0, 2.5))
    assert found[0].rates is None
    assert sum(row.trades[0] for row in found) == sum(each.trades.buy for each in totals)


def test_a_symbol_is_escaped(open_page, sidecar, make_summary):
    sidecar.answer = make_summary(trades={"buy": 1, "sell": 0}, symbols=[symbol("<b>x</b>", 1, 0)])
    assert "&lt;b&gt;x&lt;/b&gt;" in html(open_page())
    assert "<b>x</b>" not in html(open_page())


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (301, "5 min 01 s")]
)
def test_a_length_is_in_minutes_and_seconds(seconds, text):
    assert length(seconds) == text
