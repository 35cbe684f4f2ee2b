from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from trade_telemetry.testing import RecordingPublisher
from trading_app.desk import Desk
from trading_app.sidecar_client import Away
from trading_app.ui import shared

NOW_S = 1_790_000_000.0


def trade_page(desk):
    from trading_app.ui.trade import show  # noqa: PLC0415 - the script is this text alone

    show(desk)


@pytest.fixture
def open_page(desk):
    def open_it(shown=desk, **query):
        page = AppTest.from_function(trade_page, kwargs={"desk": shown}, default_timeout=20)
        for name, value in query.items():
            page.query_params[name] = value
        return checked(page.run())

    return open_it


def checked(page):
    assert not page.exception, page.exception
    return page


def html(page):
    return "\n".join(element.proto.body for element in page.get("html"))


def press(page, side):
    return checked(page.button(key=side).click().run())


def toasts(page):
    return [toast.value for toast in page.toast]


def test_the_first_visit_says_live_and_what_will_appear_where(open_page):
    page = html(open_page())
    assert "<b>live</b>" in page
    assert "nothing waiting" in page
    assert "Your trades appear here" in page
    assert "python -m trade_telemetry send buy 1" in page
    assert ">none yet<" in page
    assert "residue 0" in page


def test_the_quantity_is_one_at_first_and_a_click_publishes_it(open_page, publisher):
    page = press(open_page(), "buy")
    assert [(trade.side, trade.qty, trade.symbol) for trade in publisher.trades] == [
        ("buy", 1.0, "BTCUSDT")
    ]
    assert toasts(page) == ["Buy 1 BTCUSDT is on its way"]
    assert "✓ counted" in html(page)


def test_another_run_of_the_script_publishes_nothing(open_page, publisher):
    page = press(open_page(), "buy")
    checked(page.run())
    assert len(publisher.trades) == 1
    assert toasts(page) == []


def test_quantity_symbol_and_price_are_what_the_ticket_says(open_page, publisher):
    page = open_page()
    page.number_input(key="quantity").set_value(0.25)
    page.number_input(key="price").set_value(3_000.5)
    page.selectbox(key="symbol").set_value("ETHUSDT")
    press(page, "sell")
    (trade,) = publisher.trades
    assert (trade.side, trade.qty, trade.symbol, trade.price) == ("sell", 0.25, "ETHUSDT", 3_000.5)


def test_a_trade_needs_no_symbol(open_page, publisher):
    page = open_page()
    page.selectbox(key="symbol").set_value("no symbol")
    press(page, "buy")
    assert publisher.trades[0].symbol is None


def test_a_wrong_field_is_refused_with_the_reason_in_place_until_it_is_mended(open_page, publisher):
    page = open_page()
    page.number_input(key="price").set_value(0.0)
    press(page, "buy")
    assert publisher.trades == []
    assert 'role="alert"><li>price must be finite and above 0' in html(page)
    assert toasts(page)[0].startswith("Not traded: price must be")
    page.number_input(key="price").set_value(0.5)
    press(page, "buy")
    assert 'role="alert"' not in html(page)


def test_away_says_how_many_wait_and_where_nothing_is_known_shows_a_dash(
    open_page, publisher, sidecar
):
    publisher.connected = False
    sidecar.leave()
    sidecar.answer = sidecar.past = Away(sidecar.answer.reason, NOW_S, None, None)
    page = open_page()
    for _ in range(4):
        page = press(page, "buy")
    text = html(page)
    assert "<b>away</b>" in text
    assert "4 trades wait here and will be counted when it returns" in text
    assert "<code>make sidecar-up</code>" in text
    assert '<div class="ta-big">—</div>' in text
    assert "not known: nothing answers" in text
    assert "last 5 minutes: —" in text
    assert text.count("◐ waits here") == 4
    assert toasts(page) == ["Buy 1 BTCUSDT waits here for the sidecar"]


def test_figures_from_before_the_sidecar_left_are_shown_with_their_age(
    open_page, publisher, sidecar, make_summary
):
    sidecar.answer = make_summary(trades={"buy": 128, "sell": 97})
    sidecar.leave()
    publisher.connected = False
    text = html(open_page())
    assert 'class="ta-totals ta-old"' in text
    assert ">128</div>" in text
    assert "as of 60 s ago" in text


def test_a_full_ring_refuses_and_counts_what_it_refused(open_page, sidecar):
    full = RecordingPublisher(capacity=1, connected=False, clock=lambda: NOW_S)
    sidecar.leave()
    page = open_page(Desk(full, sidecar, clock=lambda: NOW_S))
    page = press(press(page, "buy"), "sell")
    text = html(page)
    assert "waiting room: 1 of 1 places" in text
    assert "1 trade refused: the waiting room was full" in text
    assert "✕ no room" in text
    assert "was **not** taken" in toasts(page)[0]


def test_totals_volumes_and_the_last_trade_are_as_the_sidecar_counted_them(
    open_page, sidecar, make_summary
):
    sidecar.answer = make_summary(
        trades={"buy": 65_536, "sell": 97},
        volume={"buy": 341.5, "sell": 288.125},
        last_trade_ts_s=NOW_S - 2,
    )
    text = html(open_page())
    assert ">65\u202f536</div>" in text
    assert "volume 341.500" in text
    assert "volume 288.125" in text
    assert "2 s ago" in text


def test_an_own_event_is_ticked_off_with_the_time_it_took(
    open_page, publisher, sidecar, make_summary
):
    page = press(open_page(), "buy")
    sidecar.answer = make_summary(
        recent=[
            {"id": 1, "side": "buy", "qty": 1, "ts": NOW_S, "symbol": "BTCUSDT", "epoch": 1,
             "publisher": "trading-app", "seq": 1, "applied_s": NOW_S + 0.061}
        ]
    )  # fmt: skip
    text = html(checked(page.run()))
    assert "✓ 61 ms" in text
    assert "61 ms after the click" in text


def test_other_publishers_trades_are_listed_newest_first_and_escaped(
    open_page, sidecar, make_summary
):
    trade = {"id": 1, "side": "sell", "qty": 0.25, "ts": NOW_S, "applied_s": NOW_S - 9}
    sidecar.answer = make_summary(
        recent=[trade | {"publisher": "<b>old</b>"}, trade | {"id": 2, "publisher": "bot-7"}],
        publishers=[
            {"publisher": "bot-7", "epoch": 1, "last_seq": 5, "applied": 3, "lost": {"state": 2},
             "last_seen_s": NOW_S - 60},
            {"publisher": "done", "epoch": 1, "last_seq": 5, "open": False,
             "last_seen_s": NOW_S - 60},
        ],
    )  # fmt: skip
    text = html(open_page())
    assert "&lt;b&gt;old&lt;/b&gt;" in text
    assert "<b>old</b>" not in text
    assert text.index(">bot-7<") < text.index("&lt;b&gt;old")
    assert "bot-7: away, last heard 60 s ago" in text
    assert "done: ended, last heard 60 s ago" in text
    assert '<td class="ta-num ta-danger" title="Published, but never counted">2</td>' in text


@pytest.mark.parametrize(
    ("durable", "said"),
    [(True, "totals survive a restart"), (False, "totals in memory, 0 after a restart")],
)
def test_the_totals_say_whether_they_survive_a_restart_of_the_sidecar(
    open_page, sidecar, make_summary, durable, said
):
    sidecar.answer = make_summary(state={"durable": durable})
    assert f">{said} · it runs since 13:13:20<" in html(open_page())


def test_a_problem_of_the_journal_is_a_warning_that_names_the_key(open_page, sidecar, make_stats):
    class Troubled(RecordingPublisher):
        def stats(self):
            return make_stats(durable=False, problem="no journal file in <x>: free 4 bytes there")

    text = html(open_page(Desk(Troubled(), sidecar, clock=lambda: NOW_S)))
    assert (
        '<span class="ta-warn" role="alert">no journal file in &lt;x&gt;: free 4 bytes there'
    ) in text
    assert "WEBAPP_JOURNAL_DIR" in text
    assert "places, in memory" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"durable": True}, "9 of 65\u202f536 places, in a file"),
        ({"durable": False}, "9 of 65\u202f536 places, in memory"),
        ({"durable": False, "tracked": False}, "9 of 65\u202f536 places, fire and forget"),
    ],
)
def test_the_waiting_room_says_where_trades_are_kept(open_page, sidecar, make_stats, changes, said):
    class Keeping(RecordingPublisher):
        def stats(self):
            return make_stats(waiting=9, **changes)

    assert said in html(open_page(Desk(Keeping(), sidecar, clock=lambda: NOW_S)))


@pytest.mark.parametrize("status", ["starting", "stalled", "dead"])
def test_a_sidecar_in_trouble_is_said_plainly(open_page, sidecar, make_summary, status):
    sidecar.answer = make_summary(status=status, reason="no sign of life for 7 s")
    text = html(open_page())
    assert (
        "the sidecar is starting" if status == "starting" else "no sign of life for 7 s"
    ) in text


def test_the_chart_is_drawn_from_the_history(open_page, sidecar, make_life):
    sidecar.past = make_life({-2: (0, 0), -1: (2, 1)})
    page = open_page()
    assert "last 5 minutes: 2 buys, 1 sell" in html(page)
    assert len(page.get("arrow_vega_lite_chart") or page.get("vega_lite_chart")) == 1


def test_a_form_trade_of_the_http_endpoint_is_told_once(open_page):
    page = open_page(traded="buy-3")
    assert toasts(page) == ["The HTTP endpoint took: buy 3"]
    assert "traded" not in page.query_params
    assert toasts(checked(page.run())) == []


@pytest.mark.parametrize("note", ["<script>", "buy-", "hold-1", "buy-1 [x](http://evil)"])
def test_a_made_up_note_is_not_shown(open_page, note):
    assert toasts(open_page(traded=note)) == []


@pytest.fixture
def whole_app(clean_settings, monkeypatch, free_port):
    """All pages, with a real publisher, while the sidecar is away."""
    for key in ("WEBAPP_ZMQ_ADDR", "WEBAPP_ZMQ_ACK_ADDR"):
        monkeypatch.setenv(key, f"tcp://127.0.0.1:{free_port()}")
    monkeypatch.setenv("SIDECAR_URL", f"http://127.0.0.1:{free_port()}")
    for resource in (shared.settings, shared.publisher, shared._desk):
        resource.clear()
    page = AppTest.from_file(Path(shared.__file__).with_name("app.py"), default_timeout=20)
    yield checked(page.run())
    shared.publisher().close(0)


def test_the_whole_app_runs_with_a_real_publisher_while_the_sidecar_is_away(whole_app):
    press(whole_app, "buy")
    assert "1 trade waits here" in html(checked(whole_app.run()))
    assert "places, in a file" in html(whole_app)
    assert shared.publisher().close(0) == 1


def test_what_waited_when_the_desk_ended_is_found_by_the_next_one(whole_app, wait_until):
    press(whole_app, "buy")
    assert shared.publisher().close(0) == 1
    shared.publisher.clear()
    wait_until(lambda: shared.publisher().stats().leftover == 1)


def test_each_page_has_links_to_the_others_and_says_which_one_it_is(whole_app):
    assert '<span aria-current="page">Trade</span>' in html(whole_app)
    names = [link.proto.label for link in whole_app.get("page_link")]
    assert names == ["Orders", "Portfolio", "Market", "Live", "Delivery"]
