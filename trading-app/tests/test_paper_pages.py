"""The paper desk's pages and the one Buy button: what they say and do in each state.

``PaperEngine`` is a test double of the market-engine's HTTP API: a real server on loopback that
answers in the shapes of the contract from memory. The real engine is behind the same pages in the
browser's tests. No figure here is a market's.
"""

import json
import re
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest
from streamlit.testing.v1 import AppTest

from trading_app.market_client import KEEP_S, REST_S
from trading_app.paper_button import way
from trading_app.paper_client import PaperClient
from trading_app.paper_unanswered import DOUBT_S
from trading_app.ui.paper_shared import PAGES, unanswered

NOW_MS = 1_790_000_000_000
EVIDENCE = {
    "kind": "quote", "received_ms": NOW_MS, "event_ms": NOW_MS, "price": "62000.10",
    "size": "0.42", "taken_before": "0.10", "trade_id": None, "rule": "displayed at the ask",
}  # fmt: skip
UNDEFINED = dict.fromkeys(
    ("total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "calmar",
     "win_rate", "profit_factor", "expectancy")
)  # fmt: skip


FINAL = {"filled", "denied", "cancelled"}


class PaperEngine:
    """The double's server. ``refusal``: what risk says of the next orders; ``silent``: after
    what was asked was done, no answer comes."""

    def __init__(self):
        self.portfolios, self.orders, self.told = {}, {}, []
        self.symbols = ["BTCUSDT", "ETHUSDT"]
        self.state = {"state": "active", "since_ms": NOW_MS, "reason": "", "number": 0}
        self.refusal = self.waits = None
        self.away = self.silent = False
        self.displayed, self.failing = "5", {}
        self.slow, self.pause = threading.Event(), threading.Event()
        self.residue, self.equity, self.stale = "0", "100012.40", False
        self.is_stored = True
        self.performance = {"annual_days": 365, "days": 1, "round_trips": 0, "wins": 0,
                            "losses": 0, "breakevens": 0, "by_symbol": []} | UNDEFINED  # fmt: skip
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
                status, said = engine.say(self.command, url.path, query, body)
                if engine.silent and self.command != "GET":
                    self.close_connection = True
                    return
                self.send_response(status)
                text = json.dumps(said).encode()
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_GET(self):
                self.answer()

            def do_POST(self):
                self.answer()

            def do_DELETE(self):
                self.answer()

            def log_message(self, *_):
                pass

            def handle(self):
                with suppress(BrokenPipeError, ConnectionResetError):
                    super().handle()

        return Handler

    def say(self, method, path, query, body):  # noqa: PLR0911 - an API has many answers
        if method != "GET" and path != "/orders/preview":
            self.told.append((method, path, body))
        if self.slow.is_set():
            self.pause.wait(20)
        if path in self.failing:
            return problem(503, self.failing[path], "It cannot be stored now.")
        lists = {"/symbols": ("symbol", self.symbols)}
        if path.startswith("/symbols/"):
            return 200, {"symbol": path.split("/")[2], "ask": "62000.10", "ask_qty": self.displayed}
        if path == "/portfolios":
            return 200, {"portfolios": [{"name": each, "open_orders": self._waiting(each)}
                                        for each in self.portfolios]}  # fmt: skip
        if path in lists:
            key, found = lists[path]
            return 200, {path.strip("/"): [{key: each} for each in found]}
        if path == "/trading-state":
            self.state |= body or {}
            return 200, self.state
        if path == "/portfolio/init":
            return self._make(body)
        name = (body or query)["portfolio"]
        if name not in self.portfolios:
            return problem(404, "unknown_portfolio", "No such portfolio: POST /portfolio/init.")
        if path.startswith("/orders"):
            return self._orders(method, path.removeprefix("/orders").strip("/"), query, body)
        return 200, self._of(path, name)

    def _make(self, body):
        before = self.portfolios.setdefault(body["name"], body)
        if before != body:
            return problem(409, "portfolio_exists", "It is there already, made otherwise.")
        return 201, body | {"created_ms": NOW_MS, "annual_days": 365}

    def _orders(self, method, which, query, body):
        if which == "preview":
            detail = self.refusal and "Too much at once."
            return 200, {"price": "62000.10", "notional": "62000.10", "fee": "31.00005",
                         "cash_after": "37968.89995", "position_after": body["qty"],
                         "denial": self.refusal, "detail": detail}  # fmt: skip
        if method == "POST":
            return self._place(body)
        if method == "DELETE" and not which:
            waiting = [o for o in self.orders.values() if o["state"] not in FINAL]
            for order in waiting:
                order["state"] = "cancelled"
            return 200, {"cancelled": len(waiting)}
        if not which:
            before = int(query.get("before", 1_000_000))
            orders = [o for o in self.orders.values() if o["number"] < before
                      and (query["state"] == "all" or o["state"] not in FINAL)]  # fmt: skip
            return 200, {"orders": orders[::-1][: int(query["limit"])]}
        if which not in self.orders:
            return problem(404, "unknown_order", "No such order.")
        if method == "DELETE":
            self.orders[which] |= {"state": "cancelled", "why": "cancelled",
                                   "detail": "cancelled by its owner",
                                   "closed_ms": NOW_MS + 1}  # fmt: skip
        return 200, self.orders[which]

    def _place(self, body):
        which = body["client_order_id"]
        if which in self.orders:
            return 200, self.orders[which]
        order = body | {"number": len(self.orders) + 1, "accepted_ms": NOW_MS, "source": "api",
                        "filled_qty": "0", "average_price": None}  # fmt: skip
        if self.refusal:
            order |= {"state": "denied", "why": self.refusal, "detail": "Too much at once."}
        elif self.waits:
            order |= {"state": "working", "why": "price", "detail": self.waits}
        else:
            order |= {"state": "filled", "why": "", "detail": "", "filled_qty": body["qty"],
                      "average_price": "62000.10"}  # fmt: skip
        self.orders[which] = order
        return 201, order

    def _of(self, path, name):
        if path == "/fills":
            return {"fills": [self._fill(order) for order in self.orders.values()
                              if order["state"] == "filled"]}  # fmt: skip
        if path == "/portfolio/history":
            return {"snapshots": [
                {"at_ms": NOW_MS + 60_000 * place, "equity": str(100_000 + place), "drawdown": 0}
                for place in range(5)
            ]}  # fmt: skip
        if path == "/portfolio/performance":
            return self.performance
        return self._portfolio(name)

    def _waiting(self, name):
        return sum(o["state"] not in FINAL and o["portfolio"] == name
                   for o in self.orders.values())  # fmt: skip

    def _fill(self, order):
        return {"number": 1, "book": "neutral", "client_order_id": order["client_order_id"],
                "symbol": order["symbol"], "side": order["side"], "price": "62000.10",
                "qty": order["qty"], "fee": "31.00005", "is_maker": False, "filled_ms": NOW_MS,
                "evidence": EVIDENCE}  # fmt: skip

    def _portfolio(self, name):
        position = {
            "symbol": "BTCUSDT", "qty": "1", "average_price": "62000.1", "cost": "62000.1",
            "price": "62043.5", "price_source": "bid", "price_ms": NOW_MS - 12_000,
            "is_stale": self.stale, "value": "62043.5", "unrealised": "43.4", "realised": "0",
        }  # fmt: skip
        books = [{"book": book, "equity": self.equity, "profit": profit, "fees": "31.00005",
                  "fills": 1, "traded": "62000.1"}
                 for book, profit in (("optimistic", "13"), ("neutral", "12.4"),
                                      ("pessimistic", "-3"))]  # fmt: skip
        return {
            "portfolio": self.portfolios[name], "now_ms": NOW_MS, "state": self.state,
            "cash": "37968.89995", "equity": self.equity, "realised": "0", "unrealised": "43.4",
            "fees": "31.00005", "residue": self.residue, "gross": "62043.5", "peak": "100012.40",
            "max_drawdown": -0.001, "day_profit": "12.40", "fills": 1,
            "open_orders": self._waiting(name), "is_stored": self.is_stored,
            "positions": [position], "books": books,
        }  # fmt: skip

    def stop(self):
        self.pause.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def problem(status, code, message):
    return status, {"error": {"code": code, "message": message, "field": None}}


@pytest.fixture
def engine():
    engine = PaperEngine()
    yield engine
    engine.stop()


@pytest.fixture
def paper(engine):
    engine.say("POST", "/portfolio/init", {}, main())
    engine.told.clear()
    return engine


@pytest.fixture
def client(engine):
    client = PaperClient(engine.url)
    yield client
    client.close()


def main(balance="100000"):
    return {"name": "main", "currency": "USDT", "balance": balance}


def orders_page(client):
    from trading_app.ui.orders import show  # noqa: PLC0415 - the script is this text alone

    show(client)


def portfolio_page(client):
    from trading_app.ui.portfolio import show  # noqa: PLC0415 - the script is this text alone

    show(client)


def trade_page(desk, paper):
    from trading_app.ui.trade import show  # noqa: PLC0415 - the script is this text alone

    show(desk, paper)


@pytest.fixture
def open_orders(client):
    return lambda: opened(orders_page, client=client)


@pytest.fixture
def open_portfolio(client):
    return lambda: opened(portfolio_page, client=client)


@pytest.fixture
def open_trade(client, desk):
    return lambda **filled_in: opened(trade_page, filled_in, desk=desk, paper=client)


def opened(script, filled_in=None, **arguments):
    page = AppTest.from_function(script, kwargs=arguments, default_timeout=20)
    for field, value in (filled_in or {}).items():
        page.session_state[field] = value
    return checked(page.run())


def checked(page):
    assert not page.exception, page.exception
    return page


def again(page):
    """Look once more, when what was answered is no longer kept."""
    time.sleep(KEEP_S)
    return checked(page.run())


def shown_within(is_so, deadline_s=30.0):
    """Wait until it is so: an answer is kept for a moment, and may be late on a busy machine."""
    end_s = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def comes(page, is_so):
    """Look until something is so: on a loaded machine an answer may come too late for one look."""
    end_s = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end_s, words(page)[:600]
        again(page)


def html(page):
    return "\n".join(element.proto.body for element in page.get("html"))


def words(page):
    """The page without its tags."""
    return re.sub("[ \n]+", " ", re.sub("<[^>]*>", " ", html(page)))


def toasts(page):
    return [toast.value for toast in page.toast]


def click(page, key):
    return checked(page.button(key=key).click().run())


def clock_of(client, at_s=0.0):
    """Let the orders without an answer wait by a clock that stands still."""
    for name in PAGES:
        unanswered(client, name).clock = lambda: at_s


def placed(engine):
    return [body for method, path, body in engine.told if (method, path) == ("POST", "/orders")]


# --- one Buy button


def test_buy_is_a_market_order_on_the_desk_and_main_is_made_on_first_use(
    open_trade, engine, publisher
):
    page = open_trade()
    assert "trades go to the paper desk, portfolio main" in words(page)
    click(page, "buy")
    assert toasts(page) == [
        "portfolio main was made with 100\u202f000 USDT · Buy 1 BTCUSDT: filled at 62\u202f000.1"
    ]
    assert publisher.trades == []
    assert engine.portfolios == {"main": main()}
    (order,) = engine.orders.values()
    assert (order["portfolio"], order["side"], order["type"]) == ("main", "buy", "market")
    click(page, "sell")
    assert toasts(page) == ["Sell 1 BTCUSDT: filled at 62\u202f000.1"]
    assert len(engine.orders) == 2
    assert "sell 1 BTCUSDT market : filled at 62\u202f000.1" in words(page)


def test_another_run_of_the_script_places_nothing(open_trade, paper):
    page = click(open_trade(), "buy")
    again(page)
    assert len(placed(paper)) == 1
    assert toasts(page) == []


def test_a_denied_buy_says_the_reason(open_trade, paper):
    paper.refusal = "max_order"
    page = click(open_trade(), "buy")
    assert toasts(page) == ["Buy 1 BTCUSDT: denied: Too much at once."]


def test_a_retry_after_an_answer_that_did_not_come_is_one_order(
    open_trade, paper, client, publisher
):
    page = open_trade()
    clock_of(client)
    paper.silent = True
    click(page, "buy")
    assert "not known whether the desk took it" in toasts(page)[0]
    assert publisher.trades == []
    paper.silent = False
    click(again(page), "buy")
    assert toasts(page) == [
        "Buy 1 BTCUSDT: it had been taken at the first try: filled at 62\u202f000.1"
    ]
    assert len(paper.orders) == 1
    clock_of(client, 100.0)
    click(again(page), "buy")
    assert len(paper.orders) == 2


@pytest.mark.parametrize(
    ("symbol", "price", "said"),
    [
        ("no symbol", None, "no symbol: trades are published, not on the paper desk"),
        ("SOLUSDT", None, "SOLUSDT has no market here: trades are published, not on the"),
        ("BTCUSDT", 3.5, "with a price typed in: trades are published, not on the paper desk"),
    ],
)
def test_what_cannot_be_an_order_is_published_and_the_line_and_the_toast_say_so(
    open_trade, paper, publisher, symbol, price, said
):
    page = open_trade(symbol=symbol, price=price)
    assert said in words(page)
    click(page, "buy")
    assert toasts(page)[0].endswith("not on the paper desk: no risk check, and not in its ledger")
    assert len(publisher.trades) == 1
    assert paper.told == []


def test_without_an_engine_trades_are_published_as_before(open_trade, paper, publisher):
    paper.stop()
    page = open_trade()
    assert "market-engine is away: trades are published, not on the paper desk" in words(page)
    click(page, "buy")
    (said,) = toasts(page)
    assert said.startswith("Buy 1 BTCUSDT is on its way · not on the paper desk")
    assert said.endswith("no risk check, and not in its ledger")
    assert len(publisher.trades) == 1
    assert paper.told == []


def test_a_halted_desk_is_said_before_the_click(open_trade, paper):
    paper.state["state"] = "halted"
    assert "the paper desk is halted: it denies new orders" in words(open_trade())


@pytest.mark.parametrize("state", ["halted", "reducing", "flatten"])
@pytest.mark.parametrize(("symbol", "price"), [(None, None), ("SOLUSDT", None), ("BTCUSDT", 3.5)])
def test_no_trade_may_pass_a_desk_that_is_not_active(paper, client, state, symbol, price):
    shown_within(lambda: way(client, symbol, price).may_pass)
    paper.state["state"] = state
    held = f"the paper desk is {state}: nothing is published past it"
    shown_within(lambda: held in way(client, symbol, price).words)
    found = way(client, symbol, price)
    assert (found.may_pass, found.to_desk) == (False, False)


def test_nothing_is_published_past_a_halted_desk_and_the_page_says_so(open_trade, paper, publisher):
    paper.state["state"] = "halted"
    page = open_trade(symbol="SOLUSDT")
    held = "the paper desk is halted: nothing is published past it"
    assert f"{held}. The way out: Active on the page Orders." in words(page)
    click(page, "buy")
    assert f"**not** taken: {held}" in toasts(page)[0]
    assert publisher.trades == []
    assert paper.told == []


def test_a_halt_holds_for_trades_when_the_engine_has_gone(open_trade, paper, publisher):
    paper.state["state"] = "halted"
    page = open_trade()
    paper.stop()
    page = click(again(page), "buy")
    assert "the paper desk was halted when market-engine went away" in toasts(page)[0]
    assert publisher.trades == []


def test_a_halt_of_an_engine_that_has_long_been_gone_holds_no_longer(
    open_trade, paper, publisher, monkeypatch
):
    monkeypatch.setattr("trading_app.paper_button.HALT_OUTLIVES_S", -1)
    paper.state["state"] = "halted"
    page = open_trade()
    paper.stop()
    page = click(again(page), "buy")
    assert "not on the paper desk" in toasts(page)[0]
    assert len(publisher.trades) == 1


def test_nothing_is_published_while_it_is_not_known_whether_the_desk_is_halted(
    open_trade, paper, publisher
):
    paper.failing["/trading-state"] = "busy"
    page = click(open_trade(symbol="no symbol"), "buy")
    assert "the paper desk answers late" in toasts(page)[0]
    assert publisher.trades == []


def test_small_letters_of_a_symbol_are_its_capital_ones(open_trade, paper, publisher):
    click(open_trade(symbol=" ethusdt"), "buy")
    (order,) = paper.orders.values()
    assert order["symbol"] == "ETHUSDT"
    assert publisher.trades == []


def test_the_symbols_of_the_market_are_offered_while_the_engine_is_there(open_trade, paper):
    paper.symbols = ["AAPL", "BTCUSDT"]
    page = open_trade()
    assert page.selectbox(key="symbol").options == ["BTCUSDT", "AAPL", "no symbol"]
    assert page.selectbox(key="symbol").value == "BTCUSDT"


def test_without_an_engine_the_usual_symbols_are_offered(open_trade, paper):
    paper.stop()
    assert open_trade().selectbox(key="symbol").options == [
        "BTCUSDT", "ETHUSDT", "SOLUSDT", "no symbol"
    ]  # fmt: skip


def test_your_events_list_the_orders_of_this_page_with_what_became_of_each(open_trade, paper):
    place_one(paper)  # of somebody else
    page = open_trade()
    assert "Your trades appear here" in words(page)
    paper.waits = "all that was displayed is taken"
    click(page, "buy")
    paper.waits = None
    click(page, "sell")
    text = words(again(open_trade()))  # after a reload, too
    assert "Your trades appear here" not in text
    listed = text[text.index("your events") : text.index("all publishers")]
    assert re.search("sell 1 BTCUSDT filled at .* buy 1 BTCUSDT waits: all that was", listed)
    assert listed.count("BTCUSDT") == 2
    (waiting,) = [o for o in paper.orders.values() if o["state"] == "working"]
    waiting |= {"state": "filled", "detail": "", "filled_qty": "1", "average_price": "62001"}
    assert "buy 1 BTCUSDT filled at 62\u202f001" in words(again(page))


def test_your_events_say_so_where_the_orders_are_not_known(open_trade, paper):
    paper.failing["/orders"] = "busy"
    assert "your orders on the paper desk are not known" in words(open_trade())


def test_an_order_that_waits_is_followed_to_its_end(open_trade, paper):
    paper.waits = "all that was displayed is taken"
    page = click(open_trade(), "buy")
    assert toasts(page) == ["Buy 1 BTCUSDT: waits: all that was displayed is taken"]
    (order,) = paper.orders.values()
    order |= {"state": "filled", "detail": "", "filled_qty": "1", "average_price": "62001"}
    assert "filled at 62\u202f001" in words(again(page))


# --- Orders


def test_the_first_visit_offers_to_make_a_portfolio_and_a_click_makes_it(open_orders, engine):
    page = open_orders()
    assert "There is none yet." in words(page)
    page.text_input(key="paper-new-name").set_value("second")
    page.text_input(key="paper-new-balance").set_value("5 000.50")
    page.button[-1].click().run()
    assert engine.portfolios == {
        "second": {"name": "second", "currency": "USDT", "balance": "5000.5"}
    }
    assert toasts(page) == ["Portfolio second has 5\u202f000.5 USDT"]
    assert page.selectbox(key="paper-portfolio").value == "second"


def test_the_ticket_previews_cost_and_risk_and_places_what_it_says(open_orders, paper):
    page = open_orders()
    text = words(page)
    assert "expected price, USDT 62\u202f000.1" in text
    assert "cash after, USDT 37\u202f968.90" in text
    assert "passes the risk checks" in text
    assert paper.told == []
    checked(page.segmented_control(key="order-type").set_value("Limit").run())
    page.text_input(key="order-qty").set_value("0.5")
    page.text_input(key="order-limit").set_value("61 000.25")
    page.checkbox(key="order-post-only").set_value(True)
    checked(page.run())
    paper.waits = "the market is not at its limit"
    click(page, "place-buy")
    (body,) = placed(paper)
    assert (body["type"], body["qty"], body["limit_price"]) == ("limit", "0.5", "61000.25")
    assert body["post_only"]
    assert body["stop_price"] is None
    assert toasts(page)[0].endswith("waits: the market is not at its limit")
    assert "the market is not at its limit" in words(page)


def test_an_open_order_is_cancelled_by_its_button(open_orders, paper):
    paper.waits = "the market is not at its limit"
    page = click(open_orders(), "place-buy")
    click(page, "cancel-1")
    assert toasts(page) == ["Cancelled: buy 1 BTCUSDT market"]
    (order,) = paper.orders.values()
    assert order["state"] == "cancelled"
    text = words(again(page))
    assert "None waits now." in text
    assert "cancelled by its owner, nothing was filled" in text


def test_a_preview_says_in_words_why_risk_would_deny(open_orders, paper):
    paper.refusal = "max_order"
    page = open_orders()
    assert "would be denied : Too much at once." in words(page)
    click(page, "place-buy")
    assert toasts(page) == ["Not done: buy 1 BTCUSDT market: denied: Too much at once."]
    assert "denied: Too much at once." in words(again(page))


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("qty", "", "qty is missing"),
        ("qty", "one", "qty is not a number"),
        ("qty", "0", "qty must be above 0"),
        ("qty", "1.0000000001", "qty has too many digits"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_sent(open_orders, paper, field, text, said):
    page = open_orders()
    page.text_input(key=f"order-{field}").set_value(text)
    checked(page.run())
    assert said in words(page)
    click(page, "place-buy")
    assert toasts(page)[0].startswith("Not sent: ")
    assert placed(paper) == []


def test_a_fill_is_shown_with_its_evidence_in_words(open_orders, paper):
    page = again(click(open_orders(), "place-buy"))
    assert "displayed 0.42 at the ask 62\u202f000.1, 0.1 taken before" in words(page)


@pytest.mark.parametrize(
    ("key", "state", "said"),
    [
        ("state-halted", "halted", "no order is taken and none is filled, in every portfolio"),
        ("state-reducing", "reducing", "only orders that reduce a position are taken"),
        ("state-flatten", "flatten", "orders are cancelled and positions closed"),
    ],
)
def test_the_kill_switch_sets_the_state_and_the_first_line_says_it(
    open_orders, paper, key, state, said
):
    page = click(open_orders(), key)
    assert [body["state"] for _, path, body in paper.told if path == "/trading-state"] == [state]
    text = words(page)
    assert f"◆ {state}" in text
    assert said in text
    click(page, "state-active")
    assert "● live" in words(page)


def test_without_an_engine_both_pages_say_so_and_come_back(open_orders, open_portfolio, paper):
    paper.away = True
    for open_it in (open_orders, open_portfolio):
        text = words(open_it())
        assert "▲ away" in text
        assert "Because: " in text
        assert "make apps-up" not in text  # something listens there
    paper.away = False
    time.sleep(REST_S)
    assert "● live" in words(open_orders())


def test_where_nothing_listens_both_pages_say_how_to_start_it(open_orders, open_portfolio, paper):
    paper.stop()
    for open_it in (open_orders, open_portfolio):
        text = words(open_it())
        assert "▲ away" in text
        assert "make apps-up" in text


def test_an_order_older_than_the_newest_hundred_that_ends_is_listed_first(open_orders, paper):
    paper.waits = "the market is not at its limit"
    place_one(paper)
    paper.waits = None
    for _ in range(130):
        place_one(paper)
    page = open_orders()
    assert "the newest 100" in words(page)
    click(page, "cancel-1")
    first = lambda: re.search(r'<td class="ta-wrap" title="(main-\d+)">', html(page))[1]  # noqa: E731
    comes(page, lambda: first() == "main-0")


# --- Portfolio


def test_figures_of_an_engine_that_left_are_grey_with_their_age_in_every_panel(
    open_portfolio, paper, client
):
    page = open_portfolio()
    comes(page, lambda: "● live" in words(page) and "Not known" not in words(page))
    assert "100\u202f004.00 now" in words(page)
    assert "every cent explained" in words(page)
    assert "as of" not in words(page)
    paper.away = True
    client._clock = lambda: time.time() - 20  # it left long ago
    again(page)
    client._clock = time.time
    panels = "equity, 1 day", "performance", "profit by symbol", "positions", "three books"
    dated = [re.compile(rf"{panel}[^<]*<span>[^<]*as of \d+ s ago") for panel in panels]
    comes(page, lambda: all(each.search(html(page)) for each in dated))
    text = words(page)
    assert "▲ away" in text
    assert "every cent explained" not in text
    assert "100\u202f004.00 now" not in text
    assert re.search(r"100\u202f004.00 as of \d+ s ago", text)


def test_a_portfolio_that_is_not_stored_yet_says_so(open_portfolio, paper):
    page = open_portfolio()
    assert "not stored" not in words(page)
    paper.is_stored = False
    comes(page, lambda: "◆ stale" in words(page))
    assert "not stored yet: what is new in it would be gone after a crash" in words(page)


def test_the_portfolio_says_where_it_stands_and_that_every_cent_is_explained(open_portfolio, paper):
    text = words(open_portfolio())
    assert "● live · 100\u202f012.40 USDT: +12.40 in all, +12.40 today" in text
    assert "every cent explained" in text
    assert "Fees 31.00 1 fill" in text
    assert "optimistic neutral pessimistic" in text
    assert "BTCUSDT 1 62\u202f000.1 62\u202f043.5 62\u202f043.50 +43.40 0.00" in text


def test_a_residue_is_said_as_the_defect_it_is(open_portfolio, paper):
    paper.residue = "0.01"
    text = words(open_portfolio())
    assert "✕ broken · 0.01 USDT cannot be explained" in text
    assert "every cent explained" not in text
    assert "a defect: this must be 0" in text


def test_what_is_not_defined_is_a_dash_with_the_reason(open_portfolio, paper):
    page = open_portfolio()
    assert "Sharpe —" in words(page)
    assert "it takes 10 daily returns" in html(page)
    paper.performance |= {"sharpe": 1.234, "win_rate": 0.5, "wins": 1, "losses": 1}
    text = words(again(page))
    assert "Sharpe 1.23" in text
    assert "win rate 50.0 %" in text


def test_a_stale_price_and_an_unpriced_position_are_said(open_portfolio, paper):
    paper.stale = True
    page = open_portfolio()
    assert "◆ stale" in words(page)
    assert "with an old price of BTCUSDT" in words(page)
    paper.equity = None
    assert "◐ waiting · equity is not known" in words(again(page))


def test_an_engine_that_left_leaves_its_last_figures_greyed_with_their_age(
    open_portfolio, paper, client
):
    page = open_portfolio()
    paper.away = True
    late = words(again(page))
    assert "the market-engine answers late" in late
    assert "100\u202f012.40" in late


# --- one order, however it is pressed


@pytest.mark.parametrize("leaves", [True, False])
def test_a_trade_that_the_desk_may_have_taken_is_never_published(
    open_trade, paper, client, publisher, leaves
):
    page = open_trade()
    clock_of(client)
    paper.silent = True
    click(page, "buy")
    if leaves:
        paper.stop()
    else:
        paper.away = True
    click(again(page), "buy")
    assert "not known whether" in toasts(page)[0]
    assert "what became of it is said here" in toasts(page)[0]
    assert publisher.trades == []
    assert "buy 1 BTCUSDT market: no answer yet" in words(page)
    if leaves:
        click(page, "sell")
        assert [trade.side for trade in publisher.trades] == ["sell"]
        return
    paper.away = paper.silent = False
    time.sleep(REST_S)
    click(again(page), "buy")
    assert "had been taken at the first try" in toasts(page)[0]
    assert len(paper.orders) == 1


def test_an_engine_that_leaves_between_the_look_and_the_click_publishes_nothing_taken(
    open_trade, paper, client, publisher
):
    page = open_trade()
    clock_of(client)
    paper.silent = True
    click(page, "buy")
    again(page)  # what it answered just now is kept, so the next click goes to the desk
    paper.stop()
    click(page, "buy")
    assert "it is not known whether the desk took it" in toasts(page)[0]
    assert publisher.trades == []


@pytest.mark.parametrize(("opens", "key"), [("open_trade", "buy"), ("open_orders", "place-buy")])
def test_a_double_click_is_one_order(request, paper, client, opens, key):
    page = request.getfixturevalue(opens)()
    clock_of(client)
    click(click(page, key), key)
    assert len(paper.orders) == 1
    clock_of(client, 0.6)
    click(page, key)
    assert len(paper.orders) == 2


# --- what a slow or troubled desk must not do


def test_one_slow_answer_publishes_nothing_past_the_desk(open_trade, paper, publisher):
    page = open_trade()
    time.sleep(KEEP_S)
    paper.state["state"] = "halted"
    paper.refusal = "halted"
    paper.slow.set()
    checked(page.run())
    paper.slow.clear()
    paper.pause.set()
    click(page, "buy")
    assert toasts(page) == ["Buy 1 BTCUSDT: denied: Too much at once."]
    assert publisher.trades == []


@pytest.mark.parametrize(("opens", "key"), [("open_trade", "buy"), ("open_orders", "place-buy")])
def test_an_order_without_an_answer_is_asked_for_by_its_id_until_it_is_known(
    request, paper, client, opens, key
):
    page = request.getfixturevalue(opens)()
    clock_of(client)
    paper.silent = True
    click(page, key)
    paper.silent = False
    text = words(again(page))
    assert "buy 1 BTCUSDT market: no answer yet" in text
    clock_of(client, 2.0)
    page = again(page)
    assert toasts(page) == ["Taken after all: buy 1 BTCUSDT market: filled at 62\u202f000.1"]
    assert "no answer yet" not in words(again(page))
    clock_of(client, 4.0)
    click(page, key)
    (which,) = paper.orders
    assert "no other order, it was taken already: filled at 62\u202f000.1." in toasts(page)[0]
    assert toasts(page)[0].endswith(f"For another of the same, wait 8 s ({which})")
    clock_of(client, 2.1 + DOUBT_S)
    click(page, key)
    assert len(paper.orders) == 2


@pytest.mark.parametrize(("opens", "key"), [("open_trade", "buy"), ("open_orders", "place-buy")])
def test_a_toast_of_doubt_never_invites_another_press(request, paper, client, opens, key):
    page = request.getfixturevalue(opens)()
    clock_of(client)
    paper.silent = True
    click(page, key)
    said = toasts(page)[0] + words(page)
    assert "It is being asked for: what became of it is said here" in said
    assert not re.search("[Pp]ress again|same once more|stays one order", said)


@pytest.mark.parametrize(("opens", "key"), [("open_trade", "buy"), ("open_orders", "place-buy")])
def test_a_reload_and_another_tab_know_the_order_without_an_answer(
    request, paper, client, opens, key
):
    opened_anew = request.getfixturevalue(opens)
    page = opened_anew()
    clock_of(client)
    paper.silent = True
    click(page, key)
    paper.silent = False
    other = opened_anew()
    assert "buy 1 BTCUSDT market: no answer yet" in words(other)
    clock_of(client, 2.0)
    time.sleep(KEEP_S)
    checked(page.run())
    click(other, key)
    assert any("it was taken already" in said for said in toasts(other))
    assert len(paper.orders) == 1


def test_every_tab_is_told_once_what_turned_out(open_trade, paper, client):
    page, other = open_trade(), open_trade()
    clock_of(client)
    paper.silent = True
    click(page, "buy")
    paper.silent = False
    clock_of(client, 2.0)
    time.sleep(KEEP_S)
    told = ["Taken after all: buy 1 BTCUSDT market: filled at 62\u202f000.1"]
    assert [toasts(checked(tab.run())) for tab in (page, other)] == [told, told]
    assert toasts(open_trade()) == told  # a reload, a moment after
    assert toasts(checked(page.run())) == []


@pytest.mark.parametrize(("opens", "key"), [("open_trade", "buy"), ("open_orders", "place-buy")])
def test_an_order_that_was_found_late_and_denied_is_no_success(request, paper, client, opens, key):
    page = request.getfixturevalue(opens)()
    clock_of(client)
    paper.refusal, paper.silent = "max_order", True
    click(page, key)
    paper.silent = False
    clock_of(client, 2.0)
    page = again(page)
    assert toasts(page) == ["Answered late: buy 1 BTCUSDT market: denied: Too much at once."]
    assert [toast.icon for toast in page.toast] == [":material/block:"]


def test_an_order_that_never_came_is_said_and_forgotten(open_orders, paper, client):
    page = open_orders()
    clock_of(client)
    paper.silent = True
    click(page, "place-buy")
    paper.silent = False
    paper.orders.clear()
    for at_s, said in ((2.0, []), (13.0, ["Not taken, it never came: buy 1 BTCUSDT market"])):
        clock_of(client, at_s)
        page = again(page)
        assert toasts(page) == said
        assert ("the desk does not know it so far" in words(page)) == (not said)


def test_the_hint_of_one_page_is_not_that_of_the_other(open_orders, open_trade, paper):
    paper.silent = True
    click(open_orders(), "place-buy")
    assert "no answer yet" not in words(open_trade())


def test_an_order_that_could_not_be_stored_is_not_taken_and_is_not_waited_for(open_trade, paper):
    page = open_trade()
    paper.failing["/orders"] = "not_stored"
    click(page, "buy")
    assert toasts(page) == ["Buy 1 BTCUSDT: **not** taken: It cannot be stored now."]
    assert "no answer yet" not in words(page)


def test_a_halt_without_an_answer_stays_on_the_page_until_it_is_in_force(open_orders, paper):
    page = open_orders()
    paper.away = True
    click(page, "state-halted")
    assert "Halted has no answer, and may not be in force" in words(again(page))
    paper.away = False
    time.sleep(REST_S)
    assert "Halted has no answer" in words(again(page))
    paper.state["state"] = "halted"
    assert "Halted has no answer" not in words(again(again(page)))


def test_a_halt_that_could_not_be_stored_is_said_to_be_in_force_and_not_kept(open_orders, paper):
    page = open_orders()
    paper.failing["/trading-state"] = "not_stored"
    click(page, "state-halted")
    paper.failing.clear()
    paper.state["state"] = "halted"
    assert "Halted is in force, but when it was pressed it could not be stored" in words(
        again(again(page))
    )
    click(page, "state-halted")
    assert "not be stored" not in words(again(page))


def test_a_halt_that_a_restart_forgot_is_not_said_to_be_in_force(open_orders, paper):
    page = open_orders()
    paper.failing["/trading-state"] = "not_stored"
    click(page, "state-halted")
    paper.failing.clear()
    text = words(again(page))
    assert "● live" in text
    assert "Halted was not stored, and is not in force: the desk is active" in text


def test_a_halt_that_did_not_reach_the_desk_is_forgotten_once_somebody_else_halted_it(
    open_orders, paper
):
    page = open_orders()
    paper.failing["/trading-state"] = "busy"
    click(page, "state-halted")
    assert "Halted has no answer" in words(page)
    paper.failing.clear()
    paper.state["state"] = "halted"
    text = words(again(again(page)))
    assert "◆ halted" in text
    assert "is not in force" not in text
    assert "has no answer" not in text


def test_while_the_engine_is_away_no_state_is_marked_as_in_force(open_orders, paper, client):
    page = open_orders()
    ahead_s = [0.0]
    client._clock = lambda: time.time() - ahead_s[0]
    ahead_s[0] = 60.0
    paper.away = True
    page = again(page)
    ahead_s[0] = 0.0
    text = words(again(again(page)))
    assert "Active as of" in text
    assert page.button(key="state-active").label == "Active"


def test_the_state_in_force_is_marked_in_words(open_orders, paper):
    page = open_orders()
    assert page.button(key="state-active").label == "● Active now"
    click(page, "state-halted")
    assert page.button(key="state-halted").label == "● Halted now"
    assert page.button(key="state-active").label == "Active"


def test_a_halt_says_how_many_orders_of_all_portfolios_wait_and_all_can_be_cancelled(
    open_orders, paper
):
    paper.say("POST", "/portfolio/init", {}, main() | {"name": "other"})
    paper.waits = "the market is not at its limit"
    for name in ("main", "other"):
        place_one(paper, name)
    paper.state["state"] = "halted"
    page = open_orders()
    assert "2 open orders of all portfolios wait" in words(page)
    click(page, "cancel-all")
    assert ("DELETE", "/orders", None) in paper.told
    assert toasts(page) == ["Cancelled: 2 open orders of main"]


def place_one(paper, name="main"):
    body = {"portfolio": name, "symbol": "BTCUSDT", "side": "buy", "qty": "1",
            "client_order_id": f"{name}-{len(paper.orders)}"}  # fmt: skip
    paper.say("POST", "/orders", {}, body)


def test_every_open_order_is_counted_listed_and_can_be_cancelled(open_orders, paper):
    place_one(paper)
    paper.waits = "the market is not at its limit"
    for _ in range(120):
        place_one(paper)
    page = open_orders()
    text = words(page)
    assert "120 orders, 1 to 20 of them here" in text
    assert "filled at 62\u202f000.1" in text  # the ended one is older than all that are open
    for _ in range(5):
        click(page, "open-older")
    assert "120 orders, 101 to 120 of them here" in words(page)
    click(page, "cancel-2")
    assert paper.orders["main-1"]["state"] == "cancelled"
    click(page, "open-newer")
    assert "81 to 100" in words(page)


def test_what_is_not_known_is_never_shown_as_nothing(open_orders, open_portfolio, paper):
    page, other = open_orders(), open_portfolio()
    assert "Not known" not in words(page) + words(other)
    for path in ("/portfolio", "/fills", "/orders", "/portfolio/performance"):
        paper.failing[path] = "database"
    page, other = open_fresh(orders_page, paper), open_fresh(portfolio_page, paper)
    assert words(page).count("Not known: It cannot be stored now.") >= 3
    assert "Each fill appears here" not in words(page)
    assert words(other).count("Not known: It cannot be stored now.") >= 3
    assert "Nothing is held" not in words(other)


def open_fresh(script, engine):
    """A desk that never had an answer of what is asked now."""
    return opened(script, client=PaperClient(engine.url))


def test_a_preview_says_what_is_displayed_where_that_is_less(open_orders, paper):
    assert "is displayed" not in words(open_orders())
    paper.displayed = "0.05"
    text = words(open_fresh(orders_page, paper))
    assert "0.05 is displayed at the ask 62\u202f000.1: the rest waits for later quotes" in text
