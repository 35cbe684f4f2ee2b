"""The Market page: what it says in each state, and that its figures are those of the engine.

``Engine`` is a test double of the market-engine's HTTP API: a real server on loopback that answers
in the shapes of the contract from memory, and does what a replay is told. No figure is a market's.
"""

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest
from streamlit.testing.v1 import AppTest

from trading_app.market_client import KEEP_S, REST_S, MarketClient

NOW_MS = 1_790_000_000_000
FIRST_MS = NOW_MS - 86_400_000


def feed_of(symbol, state="live", **changes):
    """The health of a symbol of which ten trades came, and none is missing."""
    return {
        "symbol": symbol,
        "state": state,
        "since_ms": NOW_MS - 60_000,
        "why": "trades come",
        "trades": 10,
        "id_gaps": 0,
        "ids_missing": 0,
        "duplicates": 0,
        "time_gaps": 0,
        "late": 0,
        "out_of_order": 0,
        "malformed": 0,
        "backfilled": 0,
        "last_event_ms": NOW_MS - 1_003,
        "last_received_ms": NOW_MS - 1_000,
        "lag_ms": 3,
    } | changes


def bar_of(t_ms, close, **changes):
    """A closed bar that began a little lower."""
    return {
        "t_ms": t_ms,
        "open": str(close - 1),
        "high": str(close + 2),
        "low": str(close - 2),
        "close": str(close),
        "volume": "1.5",
        "trades": 7,
        "vwap": close - 0.5,
        "sma": None,
        "ema_fast": close - 0.25,
        "ema_slow": close - 0.75,
        "volume_z": None,
        "session_vwap": close - 3.0,
        "complete": True,
    } | changes


def window_of(window_s, **changes):
    """A window in which everything is defined."""
    return {
        "window_s": window_s,
        "complete": True,
        "trades": 321,
        "volume": "12.5",
        "vwap": 39_430.125,
        "high": "39440",
        "low": "39420.5",
        "range": "19.5",
        "last": "39432.48",
        "volatility": 0.312,
        "vwap_deviation": 0.44,
        "drawdown": -0.0004,
    } | changes


UNDEFINED = dict.fromkeys(
    ("vwap", "high", "low", "range", "last", "volatility", "vwap_deviation", "drawdown")
)


class Market:
    """What the double says of one source; tests change it between two looks."""

    def __init__(self, start_ms=NOW_MS):
        self.now_ms = start_ms
        self.venue = "simulated"
        self.feeds = [feed_of("BTCUSDT"), feed_of("MSFT")]
        self.prices = {"BTCUSDT": "39432.48", "MSFT": "412.5"}
        self.change_1h = -0.008
        self.bars = [bar_of(start_ms - 60_000 * (20 - n), 39_400 + n) for n in range(20)]
        self.points = [
            bar_of(start_ms - 5_000 * (20 - n), 39_410 + n, volume=None, trades=None)
            for n in range(20)
        ]
        self.windows = [window_of(60), window_of(300), window_of(3_600)]
        self.bar = {
            "start_ms": start_ms - 120_000,
            "sma": None,
            "ema_fast": 39_431.5,
            "ema_slow": 39_429.25,
            "crossing": "up",
            "volume_z": 2.13,
        }
        self.trades = [
            {"id": 9, "t_ms": start_ms - 1_000, "price": "39432.48", "qty": "0.25", "side": "sell",
             "backfilled": True},
            {"id": 8, "t_ms": start_ms - 2_000, "price": "39432.5", "qty": "1.125", "side": "buy",
             "backfilled": False},
        ]  # fmt: skip
        self.faults = []
        self.connection = {"connected": True, "detail": ""}
        self.schedule = {"open": True, "next_change_ms": None}
        self.silent_ms = 400

    def symbol(self, name):
        return next((feed for feed in self.feeds if feed["symbol"] == name), None)

    def entry(self, feed):
        name = feed["symbol"]
        price = None if feed["state"] == "unknown" else self.prices[name]
        return {
            "symbol": name,
            "kind": "crypto",
            "price": price,
            "price_ms": price and self.now_ms - 1_000,
            "state": feed["state"],
            "since_ms": feed["since_ms"],
            "change_1h": price and self.change_1h,
        }


class Engine:
    """The double's server; ``away`` closes each connection, ``starting`` answers 503."""

    def __init__(self):
        self.markets = {"feed": Market(), "replay": Market(FIRST_MS)}
        self.recordings = [
            {"name": "sample.frames.gz", "size_bytes": 812_345, "first_ms": FIRST_MS,
             "last_ms": FIRST_MS + 300_000, "kind": "frames"},
            {"name": "other.csv", "size_bytes": 99, "first_ms": None, "last_ms": None,
             "kind": "csv"},
        ]  # fmt: skip
        self.replay = {
            "state": "none", "file": None, "first_ms": None, "last_ms": None, "at_ms": None,
            "speed": None, "events": 0, "rejected": 0, "error": None,
        }  # fmt: skip
        self.told, self.asked = [], []
        self.away = self.starting = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def _handler(self):
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(length)) if length else None
                if engine.away:
                    self.close_connection = True
                    return
                url = urlsplit(self.path)
                query = dict(parse_qsl(url.query))
                engine.asked.append((url.path, query))
                status, said = engine.say(self.command, url.path, query, body)
                self.send_response(status)
                text = b"" if said is None else json.dumps(said).encode()
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_GET(self):
                self.answer()

            def do_POST(self):
                self.answer()

            def do_PATCH(self):
                self.answer()

            def do_DELETE(self):
                self.answer()

            def log_message(self, *_):
                pass

        return Handler

    def say(self, method, path, query, body):
        if self.starting:
            return problem(503, "starting", "It is starting: try again in a moment.")
        if method != "GET":
            return self._do(method, body)
        apart = {"/api/recordings": {"recordings": self.recordings}, "/api/replay": self.replay}
        if path in apart:
            return 200, apart[path]
        if query["source"] == "replay" and self.replay["state"] == "none":
            return problem(404, "no_replay", "Nothing is being replayed: POST /api/replay.")
        return self._of_market(self.markets[query["source"]], path, query)

    def _of_market(self, market, path, query):
        if path == "/symbols":
            symbols = [market.entry(feed) for feed in market.feeds]
            return 200, {"source": query["source"], "venue": market.venue, "symbols": symbols}
        if path == "/api/feed/health":
            return 200, self._health(market, query["source"])
        name = query.get("symbol") or path.split("/")[2]
        if market.symbol(name) is None:
            return problem(404, "unknown_symbol", f"'{name}' is not known here.")
        return 200, self._of_symbol(market, name, path, query)

    def _health(self, market, source):
        return {
            "source": source, "venue": market.venue, "now_ms": market.now_ms, "events": 5,
            "received_ms": market.now_ms - market.silent_ms, "rejected": 0,
            "symbols": market.feeds, "faults": market.faults, "connection": market.connection,
            "schedule": market.schedule,
        }  # fmt: skip

    def _of_symbol(self, market, name, path, query):
        if path == "/api/metrics/latest":
            figures = {
                "symbol": name, "as_of_ms": market.now_ms, "price": market.prices[name],
                "session_vwap": 39_420.5, "windows": market.windows, "bar": market.bar,
                "year_s": 31_536_000,
            }  # fmt: skip
            return {"as_of_ms": market.now_ms, "symbols": [figures] if market.windows else []}
        if path.endswith("/history"):
            short = query["window"] in {"5m", "15m"}
            return {"symbol": name, "window": query["window"], "span_s": 1 if short else 60,
                    "bars": market.points if short else market.bars}  # fmt: skip
        if path.endswith("/trades"):
            return {"symbol": name, "trades": market.trades}
        return {"symbol": name, "price": market.prices[name], "state": "live",
                "bid": "39432.47", "ask": "39432.48", "bid_qty": "1", "ask_qty": "2",
                "quote_ms": market.now_ms}  # fmt: skip

    def _do(self, method, body):
        self.told.append((method, body))
        if method == "DELETE":
            self.replay = dict.fromkeys(self.replay) | {"state": "none", "events": 0, "rejected": 0}
            return 204, None
        if method == "POST":
            known = {each["name"]: each for each in self.recordings}
            if body["file"] not in known:
                return problem(404, "unknown_recording", "GET /api/recordings lists what is.")
            self.replay |= {
                "state": "playing", "file": body["file"], "first_ms": FIRST_MS, "error": None,
                "last_ms": FIRST_MS + 300_000, "at_ms": FIRST_MS, "speed": body["speed"],
            }  # fmt: skip
            return 201, self.replay
        if "paused" in body:
            self.replay["state"] = "paused" if body["paused"] else "playing"
        if "seek_ms" in body:
            self.replay["at_ms"] = body["seek_ms"]
        if "speed" in body:
            self.replay["speed"] = body["speed"]
        return 200, self.replay

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def problem(status, code, message):
    return status, {"error": {"code": code, "message": message, "field": None}}


@pytest.fixture
def engine():
    engine = Engine()
    yield engine
    engine.stop()


@pytest.fixture
def market(engine):
    return engine.markets["feed"]


@pytest.fixture
def client(engine):
    client = MarketClient(engine.url)
    yield client
    client.close()


def market_page(client):
    from trading_app.ui.market import show  # noqa: PLC0415 - the script is this text alone

    show(client)


@pytest.fixture
def open_page(client):
    def open_it(shown=client):
        page = AppTest.from_function(market_page, kwargs={"client": shown}, default_timeout=20)
        return checked(page.run())

    return open_it


def checked(page):
    assert not page.exception, page.exception
    return page


def again(page):
    """Look once more, when what was answered is no longer kept."""
    time.sleep(KEEP_S)
    return checked(page.run())


def html(page):
    return "\n".join(element.proto.body for element in page.get("html"))


def first_line(page):
    """The state's name, the words after it, and what stands below."""
    found = re.search(
        r'ta-status ta-(\w+)".*?aria-hidden="true">(.)</span><b>(.*?)</b><span>· (.*?)</span>'
        r'<span class="ta-cure">(.*?)</span></div>',
        html(page),
    )
    assert found, html(page)
    return found.groups()


def rows(page, table):
    """The cells of each row of a table, as text."""
    body = re.search(rf'class="ta-rows {table}[^"]*">.*?<tbody>(.*?)</tbody>', html(page))
    assert body, f"no table {table}"
    return [
        [re.sub("<[^>]+>", " ", cell).strip() for cell in re.findall(r"<t[dh].*?</t[dh]>", row)]
        for row in re.findall(r"<tr.*?</tr>", body[1])
    ]


def spec(page, place):
    """The chart at a place, 0 the price and 1 the volume: its form, and its data by name."""
    proto = page.get("vega_lite_chart" if page.get("vega_lite_chart") else "arrow_vega_lite_chart")
    return json.loads(proto[place].proto.spec)


def press(page, key):
    return checked(page.button(key=key).click().run())


def toasts(page):
    return [toast.value for toast in page.toast]


def test_a_sound_market_says_its_price_its_change_and_that_nothing_is_missing(open_page):
    state, shape, name, words, below = first_line(open_page())
    assert (state, shape, name) == ("live", "●", "live")
    assert words == (
        "BTCUSDT 39\u202f432.48 · \u22120.8 % in an hour · feed sound: nothing missing"
    )
    assert "simulated" in below
    assert "1 other symbol without a fault" in below


def test_before_the_first_symbol_it_says_what_will_show(open_page, market):
    market.feeds = []
    page = open_page()
    assert first_line(page)[:4] == (
        "waiting", "◐", "waiting", "the feed has brought no symbol yet",
    )  # fmt: skip
    text = html(page)
    for empty in ("The price is drawn here", "Each symbol that is followed", "Each trade of the"):
        assert empty in text
    market.feeds = [feed_of("MSFT")]
    page = again(again(page))
    assert page.selectbox(key="market-symbol-feed").value == "MSFT"
    assert "MSFT" in first_line(page)[3]


@pytest.mark.parametrize(
    ("feed", "expected"),
    [
        (feed_of("BTCUSDT", "unknown", trades=0, lag_ms=None, ids_missing=None),
         ("waiting", "◐", "waiting", "BTCUSDT — · nothing has come yet")),
        (feed_of("BTCUSDT", "gap", ids_missing=12),
         ("away", "▲", "gap", "12 trades are missing since 14:12:20")),
        (feed_of("BTCUSDT", "gap", ids_missing=1),
         ("away", "▲", "gap", "1 trade is missing since 14:12:20")),
        (feed_of("BTCUSDT", "stale", last_received_ms=NOW_MS - 31_000),
         ("stale", "◆", "stale", "no trade for 31.0 s")),
        (feed_of("BTCUSDT", "late", lag_ms=4_200),
         ("stale", "◆", "late", "what comes is 4.2 s behind, since 14:12:20")),
        (feed_of("BTCUSDT", "backfilling", ids_missing=40),
         ("waiting", "◐", "backfilling", "40 missing trades being fetched since 14:12:20")),
        (feed_of("BTCUSDT", "closed"),
         ("waiting", "◐", "closed", "the market is closed since 14:12:20")),
        (feed_of("BTCUSDT", "live", ids_missing=3),
         ("live", "●", "live", "trades flow, 3 missing")),
        (feed_of("BTCUSDT", "live", ids_missing=None, id_gaps=None, duplicates=None),
         ("live", "●", "live", "what is missing cannot be known: no trade ids")),
    ],
)  # fmt: skip
def test_each_state_of_a_symbol_has_its_word_its_shape_and_its_sentence(
    open_page, market, feed, expected
):
    market.feeds[0] = feed
    state, shape, name, words, _ = first_line(open_page())
    assert (state, shape, name) == expected[:3]
    assert words.endswith(expected[3])


def test_a_venue_that_is_not_connected_is_the_worst_symptom(open_page, market):
    market.connection = {"connected": False, "detail": "the connection was refused"}
    state, _, _, words, below = first_line(open_page())
    assert state == "stale"
    assert words.endswith("the venue is not connected")
    assert below.startswith("the connection was refused")


def test_a_feed_that_says_nothing_at_all_is_stale_whatever_its_symbols_say(open_page, market):
    market.silent_ms = 12_000
    assert first_line(open_page())[3].endswith("nothing has come from the feed for 12.0 s")
    market.schedule = {"open": False, "next_change_ms": NOW_MS + 7_200_000}
    state, *_, below = first_line(again(open_page()))
    assert state == "live"
    assert "outside the hours in which it is recorded, opens in 2 h" in below


def test_trouble_of_another_symbol_is_named_in_the_first_line(open_page, market):
    market.feeds[1] = feed_of("MSFT", "stale")
    assert '<span class="ta-warn">MSFT stale</span>' in html(open_page())


def test_an_engine_that_is_not_there_says_what_it_means_and_the_command(free_port):
    client = MarketClient(f"http://127.0.0.1:{free_port()}")
    page = AppTest.from_function(market_page, kwargs={"client": client}, default_timeout=20)
    state, shape, name, words, below = first_line(checked(page.run()))
    client.close()
    assert (state, shape, name) == ("away", "▲", "away")
    assert words == "the market-engine is not there: no prices, no metrics"
    assert "<code>make apps-up</code>" in below
    assert "nothing answers at" in below
    assert "goes on asking" in below


def test_an_engine_that_starts_says_so_itself(open_page, engine):
    engine.starting = True
    state, *_, words, _ = first_line(open_page())
    assert state == "waiting"
    assert words == "the market-engine is not ready: It is starting: try again in a moment."


def test_an_engine_that_leaves_is_late_then_away_greyed_and_comes_back(engine):
    times = {"s": 1_000.0}
    client = MarketClient(engine.url, clock=lambda: times["s"])
    page = AppTest.from_function(market_page, kwargs={"client": client}, default_timeout=20)
    checked(page.run())
    engine.away = True
    times["s"] = time.time() - 1
    assert first_line(again(page))[3] == "the market-engine&#x27;s answers are late"
    assert "ta-metrics ta-old" not in html(page)
    times["s"] = 1_030.0
    engine.away = False
    time.sleep(REST_S)
    assert first_line(again(page))[2] == "live"
    engine.away = True
    state, *_, words, _ = first_line(again(page))
    assert state == "away"
    assert words.startswith("the market-engine is not there: what is shown is of")
    assert "ta-metrics ta-old" in html(page)
    assert "39\u202f432.48" in html(page)  # the last figures stay, greyed
    engine.away = False
    time.sleep(REST_S)
    assert first_line(again(page))[2] == "live"
    client.close()


def test_a_symbol_that_vanishes_stays_chosen_and_is_said_to_be_gone(open_page, market):
    page = open_page()
    market.feeds = [feed_of("MSFT")]
    page = again(page)
    state, _, name, words, below = first_line(page)
    assert (state, name, words) == ("stale", "unknown symbol", "BTCUSDT is not in this market")
    assert "choose another symbol" in below
    assert "is not known here" in html(page)
    page.selectbox(key="market-symbol-feed").set_value("MSFT")
    assert "MSFT 412.5" in first_line(again(page))[3]
    assert page.selectbox(key="market-symbol-feed").options == ["MSFT"]


def test_the_metrics_of_each_window_are_those_of_the_engine(open_page):
    assert rows(open_page(), "ta-metrics") == [
        ["VWAP", *["39\u202f430.12"] * 3],
        ["VWAP deviation σ", *["+0.4"] * 3],
        ["high", *["39\u202f440.00"] * 3],
        ["low", *["39\u202f420.50"] * 3],
        ["range", *["19.50"] * 3],
        ["drawdown %", *["\u22120.04"] * 3],
        ["volatility % a year", *["31.2"] * 3],
        ["trades", *["321"] * 3],
        ["volume units", *["12.5"] * 3],
    ]


def test_what_is_not_defined_is_a_dash_with_its_reason_and_never_0(open_page, market):
    market.windows = [
        window_of(60, trades=0, volume="0", **UNDEFINED),
        window_of(300, vwap_deviation=None, volatility=None),
        window_of(3_600, complete=False, volatility=None),
    ]
    page = open_page()
    table = {name: cells for name, *cells in rows(page, "ta-metrics")}
    assert table["VWAP"][0] == table["high"][0] == table["drawdown %"][0] == "—"
    assert table["VWAP deviation σ"] == ["—", "—", "+0.4"]
    assert table["volatility % a year"] == ["—", "—", "—"]
    text = html(page)
    assert 'title="No trade in this window">—' in text
    assert 'title="All trades at one price: there is no spread">—' in text
    assert 'title="Not defined over an outage">—' in text
    assert 'title="Not defined until the whole window was watched">—' in text
    assert "◐ incomplete" in text


def test_the_last_closed_bar_says_averages_crossing_and_spike(open_page):
    text = html(open_page())
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd[^>]*>(.*?)</dd>", text))
    assert facts["EMA fast"] == "39\u202f431.50"
    assert facts["crossing"] == "▲ fast above slow"
    assert facts["volume spike"] == "+2.1 σ"
    assert facts["SMA"] == "—"
    assert 'title="Too few closed bars so far">—' in text
    assert "averages: bar of 14:11" in text


def test_the_health_of_every_symbol_is_shown_and_the_unknown_as_unknown(open_page, market):
    market.feeds = [
        feed_of("BTCUSDT", "gap", ids_missing=12, id_gaps=1, why="12 missing: trades 3 to 14"),
        feed_of("MSFT", ids_missing=None, id_gaps=None, duplicates=None, lag_ms=-40),
    ]
    market.faults = [
        {"symbol": "BTCUSDT", "kind": "gap", "at_ms": NOW_MS - 5_000,
         "detail": "12 missing: trades 3 to 14"},
        {"symbol": None, "kind": "malformed", "at_ms": NOW_MS - 9_000, "detail": "<b>"},
    ]  # fmt: skip
    page = open_page()
    assert rows(page, "ta-feeds") == [
        ["BTCUSDT", "▲   gap", "10", "12", "1", "0", "0", "0", "0", "0", "0", "3 ms", "1 s ago"],
        ["MSFT", "●   live", "10", "—", "—", "—", "0", "0", "0", "0", "0", "\u221240 ms",
         "1 s ago"],
    ]  # fmt: skip
    assert "Not known: this venue gives no trade ids" in html(page)
    assert rows(page, "ta-faults") == [
        ["14:13:15", "BTCUSDT", "trades are missing: 12 missing: trades 3 to 14"],
        ["14:13:11", "—", "cannot be read: &lt;b&gt;"],
    ]


def test_the_latest_trades_have_their_side_and_say_when_they_were_fetched_afterwards(open_page):
    page = open_page()
    assert rows(page, "ta-prints") == [
        ["14:13:19.000", "sell  ↺", "39\u202f432.48", "0.250"],
        ["14:13:18.000", "buy", "39\u202f432.50", "1.125"],
    ]
    assert 'class="ta-sell">sell <span class="ta-warn" title="Fetched afterwards' in html(page)


def test_the_form_of_both_charts_holds_still_while_their_data_move(open_page, market):
    page = open_page()
    before = [spec(page, place) for place in (0, 1)]
    market.bars = [bar_of(bar["t_ms"] + 60_000, 41_000 + n) for n, bar in enumerate(market.bars)]
    market.now_ms += 60_000
    page = again(page)
    assert [spec(page, place) for place in (0, 1)] == before
    page.segmented_control(key="market-window").set_value("6h")
    page.segmented_control(key="market-kind").set_value("Candles")
    page.pills(key="market-overlays").set_value(["SMA", "EMA fast", "EMA slow"])
    page = again(page)
    assert [spec(page, place) for place in (0, 1)] == before
    assert "BTCUSDT, last 6 h" in html(page)


def test_each_chart_has_its_alternative_text_and_the_price_is_also_in_words(open_page):
    page = open_page()
    assert "The price over time" in spec(page, 0)["description"]
    assert "volume of each bar" in spec(page, 1)["description"]
    assert "from 39\u202f410.00 to 39\u202f432.48, +0.06 %" in html(page)
    assert "bid 39\u202f432.47 · ask 39\u202f432.48 · spread 0.01" in html(page)


def test_no_more_points_are_asked_for_than_a_chart_may_have(open_page, engine):
    page = open_page()
    page.segmented_control(key="market-kind").set_value("Candles")
    again(page)
    asked = [query for path, query in engine.asked if path.endswith("/history")]
    assert {query["points"] for query in asked} == {"300", "100"}


def test_bars_of_a_second_take_their_volume_from_those_of_a_minute(open_page, engine, market):
    page = open_page()
    windows = {query["window"] for path, query in engine.asked if path.endswith("/history")}
    assert windows == {"15m", "1h"}
    assert "bars of 1 min" in html(page)
    market.bars = []
    assert "no bar has closed yet" in html(again(page))


def test_a_replay_is_started_watched_paused_sought_and_ended(open_page, engine):
    page = open_page()
    assert page.selectbox(key="market-file").options == [
        "sample.frames.gz (812 kB, 2026-09-20 14:13 UTC)", "other.csv (99 B)",
    ]  # fmt: skip
    page.segmented_control(key="market-speed").set_value("100×")
    page = press(page, "market-start")
    assert engine.told == [("POST", {"file": "sample.frames.gz", "speed": 100.0})]
    assert toasts(page) == ["sample.frames.gz is being replayed"]
    assert first_line(page)[2] == "recording, playing"
    assert "A recording, not the market." in html(page)
    assert "<b>playing</b><span>· sample.frames.gz · at 14:13:20, of 14:13:20" in html(page)

    page = press(page, "market-pause")
    assert engine.told[-1] == ("PATCH", {"paused": True})
    assert first_line(page)[:3] == ("waiting", "◐", "recording, paused")
    page = press(page, "market-pause")
    assert engine.told[-1] == ("PATCH", {"paused": False})

    (slider,) = page.select_slider
    page = checked(slider.set_value(FIRST_MS + 150_000).run())
    assert engine.told[-1] == ("PATCH", {"seek_ms": FIRST_MS + 150_000})
    assert "at 14:15:50, of" in html(page)
    page.segmented_control(key="market-speed").set_value("full speed")
    page = checked(page.run())
    assert engine.told[-1] == ("PATCH", {"speed": None})

    page = press(page, "market-end")
    assert engine.told[-1] == ("DELETE", None)
    assert first_line(page)[2] == "live"
    assert "A recording, not the market." not in html(page)


def test_a_replay_that_ended_can_be_played_again_from_its_beginning(open_page, engine):
    page = press(open_page(), "market-start")
    engine.replay |= {"state": "ended", "at_ms": FIRST_MS + 300_000}
    page = again(page)
    assert first_line(page)[2] == "recording, ended"
    assert page.button(key="market-pause").label == "Play again"
    press(page, "market-pause")
    assert engine.told[-1] == ("PATCH", {"paused": False, "seek_ms": FIRST_MS})


def test_a_replay_that_failed_says_why_and_another_can_be_chosen(open_page, engine):
    page = press(open_page(), "market-start")
    engine.replay |= {"state": "failed", "error": "sample.frames.gz is cut off at byte 812"}
    page = again(page)
    state, shape, name, words, below = first_line(page)
    assert (state, shape, name) == ("broken", "✕", "failed")
    assert words == "the replay failed: sample.frames.gz is cut off at byte 812"
    assert "The market itself goes on" in below
    page.selectbox(key="market-file").set_value("other.csv")
    assert "playing" in first_line(press(page, "market-start"))[2]


def test_a_recording_that_is_gone_is_refused_in_words_and_the_market_stays(open_page, engine):
    page = open_page()
    engine.recordings = engine.recordings[1:]
    page = press(page, "market-start")
    assert toasts(page) == ["Not done: GET /api/recordings lists what is."]
    assert first_line(page)[2] == "live"


def test_a_command_without_an_answer_says_so(open_page, engine):
    page = open_page()
    engine.away = True
    page = press(page, "market-start")
    assert toasts(page)[0].startswith("No answer, so look whether it was done")


def test_the_recording_without_a_replay_says_how_to_get_one(open_page):
    page = open_page()
    page.segmented_control(key="market-source").set_value("Recording")
    state, *_, words, below = first_line(checked(page.run()))
    assert (state, words) == ("waiting", "no recording is being replayed")
    assert "Choose one below" in below


def test_a_replay_that_somebody_else_began_opens_its_controls(open_page, engine):
    page = open_page()
    assert "market-pause" not in [button.key for button in page.button]
    engine._do("POST", {"file": "sample.frames.gz", "speed": 1.0})
    page = again(page)
    assert "market-pause" in [button.key for button in page.button]
    assert first_line(page)[2] == "live"  # it does not take away the market that is looked at


def test_what_was_chosen_is_kept_while_another_page_is_open(client):
    def pages(client):
        import streamlit as st  # noqa: PLC0415 - the script is this text alone

        from trading_app.ui.market import show  # noqa: PLC0415

        if st.checkbox("market", value=True):
            show(client)

    page = AppTest.from_function(pages, kwargs={"client": client}, default_timeout=20)
    checked(page.run())
    page.selectbox(key="market-symbol-feed").set_value("MSFT")
    page.segmented_control(key="market-window").set_value("6h")
    page.pills(key="market-overlays").set_value(["EMA slow"])
    checked(page.run())
    checked(page.checkbox[0].uncheck().run())
    checked(page.run())
    checked(page.checkbox[0].check().run())
    assert page.selectbox(key="market-symbol-feed").value == "MSFT"
    assert page.segmented_control(key="market-window").value == "6h"
    assert page.pills(key="market-overlays").value == ["EMA slow"]


def test_the_speed_and_the_moment_that_somebody_else_chose_are_shown(open_page, engine):
    engine._do("POST", {"file": "sample.frames.gz", "speed": 100.0})
    engine.replay["at_ms"] = FIRST_MS + 60_000
    page = open_page()
    assert page.segmented_control(key="market-speed").value == "100×"
    (slider,) = page.select_slider
    assert slider.value == FIRST_MS + 60_000
