"""The board *Paper desk* on a real Prometheus: a real sidecar, and a desk whose numbers are known.

The desk is what it serves: its exposition is written here, from figures of plain Python, so that
each panel has its oracle. How the alerts behave in time is in infra/prometheus/tests; here they
fire once.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.boards import BOARDS, Target, selectors, substitute, targets
from tests.parts import ROOT, Prometheus, Sidecar, fetch, need, until
from tests.promql_oracle import histogram_quantile, rate
from tests.world import Values

from market_engine.api.paper_exposition import paper_families
from market_engine.decimals import NANO
from market_engine.events import Quote
from market_engine.paper.desk import PaperDesk
from market_engine.paper.figures import BOUNDS_S
from market_engine.paper.model import NewOrder, OrderState, OrderType, Portfolio, TradingState
from market_engine.paper.reasons import Denial
from market_engine.paper.store import DeskStore
from market_engine.storage.database import Database
from trade_telemetry import Publisher

pytestmark = pytest.mark.timeout(120)
BOARD = "paper-desk"
TARGETS = {each.name: each for each in targets() if each.board == BOARD}
RULES = yaml.safe_load((ROOT / "infra/prometheus/rules/paper_alerts.yml").read_text())["groups"]
ALERTS = {rule["alert"]: rule["expr"] for group in RULES for rule in group["rules"]}
COUNTED = 7
"""Fills that the sidecar counts."""
SLOW = {"PaperTelemetryMismatch", "PaperTelemetryStuck"}
"""Alerts that take minutes: their cases are promtool's."""
NOTHING: frozenset[tuple[str, str]] = frozenset()
WINDOW_S = 4.0


# A desk whose numbers are known: two portfolios, of which one has a position without a price

MAIN = {
    "equity": 100_250.5, "cash": 50_000.25, "realised": 300.5, "unrealised": -20.0, "fees": 30.0,
    "residue": 0.0, "residue_worst": 0.0, "gross": 50_250.25, "drawdown_ratio": -0.001,
    "max_drawdown_ratio": -0.02, "open_orders": 3.0,
}  # fmt: skip
EURO = {
    "cash": 900.0, "realised": -5.0, "fees": 0.5, "residue": 0.0, "residue_worst": 0.0,
    "gross": 95.0, "max_drawdown_ratio": -0.1, "open_orders": 1.0,
}  # fmt: skip
PORTFOLIOS = {"main": MAIN, "euro": EURO}
MONEY = {"equity", "cash", "realised", "unrealised", "fees", "gross"}
CURRENCIES = {"main": "USDT", "euro": "EUR"}
POSITIONS = {("main", "BTCUSDT"): 0.5, ("main", "ETHUSDT"): -2.0, ("euro", "BTCEUR"): 0.001}
OUTCOMES = {
    ("main", "accepted"): 12, ("main", "denied"): 5, ("main", "repeated"): 2,
    ("euro", "accepted"): 1, ("euro", "denied"): 1, ("euro", "repeated"): 0,
}  # fmt: skip
DENIALS = {(name, str(each)): 0 for name in PORTFOLIOS for each in Denial}
DENIALS |= {("main", "cash"): 3, ("main", "max_order"): 2, ("euro", "cash"): 1}
FILLS = {
    ("main", "optimistic"): 9, ("main", "neutral"): 7, ("main", "pessimistic"): 4,
    ("euro", "optimistic"): 1, ("euro", "neutral"): 1, ("euro", "pessimistic"): 0,
}  # fmt: skip
TELEMETRY = {"fills": 9, "published": 8, "waiting": 1, "residue": 0}
TIMES = {  # how many fall into each bucket at each scrape, the open one last
    "tick_to_order": [2, 5, 30, 10, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    "submit": [0, 0, 4, 40, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
    "order_to_fill": [3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 8, 4, 1, 1],
    "halt": [5, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
}
BOUNDS = [*(f"{bound:g}" for bound in BOUNDS_S), "+Inf"]


class KnownDesk:
    """Serves what a market engine would; ``state`` and what is ``broken`` may change."""

    def __init__(self) -> None:
        self.state = TradingState.ACTIVE
        self.broken = False
        self.worst = 0.0
        """The residue that main had for a moment."""
        self.served = 0
        """How often it was scraped."""
        desk = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = desk.text().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.instance = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.instance}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def text(self) -> str:
        self.served += 1
        return "\n".join([*self._counts(), *self._times(), ""])

    def _counts(self) -> Iterator[str]:
        for portfolio, figures in PORTFOLIOS.items():
            for name, value in figures.items():
                currency = {"currency": CURRENCIES[portfolio]} if name in MONEY else {}
                amount = 0.01 if self.broken and name == "residue" else value
                if (portfolio, name) == ("main", "residue_worst"):
                    amount = self.worst
                yield _series(f"portfolio_{name}", amount, portfolio=portfolio, **currency)
        for (portfolio, symbol), value in POSITIONS.items():
            yield _series("portfolio_position", value, portfolio=portfolio, symbol=symbol)
        for state in TradingState:
            yield _series("portfolio_trading_state", state is self.state, state=state)
        for name, value in TELEMETRY.items():
            yield _series(f"portfolio_telemetry_{name}", value)
        yield from self._counters()

    def _counters(self) -> Iterator[str]:
        grown = self.served if self.broken else 0
        for (portfolio, outcome), value in OUTCOMES.items():
            labels = {"portfolio": portfolio, "outcome": outcome}
            yield _series("portfolio_orders_total", value, **labels)
        for (portfolio, reason), value in DENIALS.items():
            more = grown if reason == "max_daily_loss" else 0
            labels = {"portfolio": portfolio, "reason": reason}
            yield _series("portfolio_denials_total", value + more, **labels)
        for (portfolio, book), value in FILLS.items():
            yield _series("portfolio_fills_total", value, portfolio=portfolio, book=book)
        yield _series("portfolio_store_failures_total", 2 + grown)

    def _times(self) -> Iterator[str]:
        for name, counts in TIMES.items():
            metric = f"portfolio_{name}_seconds"
            yield f"# TYPE {metric} histogram"
            for bound, count in zip(BOUNDS, itertools.accumulate(counts), strict=True):
                yield _series(f"{metric}_bucket", count * self.served, le=bound)
            yield f"{metric}_sum {self.served}"
            yield f"{metric}_count {sum(counts) * self.served}"


def _series(name: str, value: float, **labels: str) -> str:
    inside = ",".join(f'{key}="{its}"' for key, its in labels.items())
    return f"{name}{{{inside}}} {float(value)!r}"


# What happens


class PaperWorld:
    """``before_s``: no fill was published; ``moment_s``: 7 were counted; ``states`` by moment;
    ``broken_s``: all alerts but the slow one fire; ``away_s``: the desk is gone."""

    def __init__(self, folder: Path, program: str) -> None:
        with contextlib.ExitStack() as stack:
            self.desk = KnownDesk()
            self._close_desk = stack.callback(self.desk.close)
            self.sidecar = Sidecar(folder / "sidecar")
            stack.callback(self.sidecar.kill)
            self.sidecar.wait_until_healthy()
            self.prometheus = Prometheus(
                program, folder, self.sidecar.url, engine_urls=[self.desk.url]
            )
            stack.callback(self.prometheus.stop)
            self._stack = stack.pop_all()

    def __enter__(self) -> PaperWorld:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def play(self) -> None:
        until(lambda: self._scrapes() >= 1, what="a scrape")
        self.before_s = self._scraped()
        with Publisher(self.sidecar.zmq_address, source=BOARD) as publisher:
            for _ in range(COUNTED):
                publisher.publish("buy", 1, symbol="BTCUSDT", price=1.0)
            applied = f'telemetry_publisher_applied_total{{publisher="{BOARD}"}}'
            until(lambda: self.prometheus.value(applied) == COUNTED, what="what was counted")
            until(lambda: self._scrapes() >= WINDOW_S + 2, what="a window of scrapes")
            self.moment_s = self._scraped()
        self.states: dict[TradingState, float] = {}
        for self.desk.state in TradingState:
            self.states[self.desk.state] = self._scraped()
        self.desk.worst = -0.02
        self.was_broken_s = self._scraped()
        self.desk.worst = 0.0
        self.desk.state, self.desk.broken = TradingState.HALTED, True
        expected = set(ALERTS) - SLOW
        until(lambda: self.prometheus.firing(self.desk.instance) == expected, what="the alerts")
        self.broken_s = self._scraped()
        self.desk.close()
        down = f'up{{instance="{self.desk.instance}"}}'
        until(lambda: self.prometheus.value(down) == 0, what="the end of the desk")
        self.away_s = round(time.time(), 3)

    def _scrapes(self) -> float:
        which = f'portfolio="main", instance="{self.desk.instance}"'
        return self.prometheus.value(f"count_over_time(portfolio_cash{{{which}}}[5m])") or 0

    def _scraped(self) -> float:
        """A moment at which Prometheus has what the desk is now."""
        first = self.desk.served + 1
        until(lambda: self._scrapes() >= first, what="another scrape")
        return round(time.time(), 3)

    def ask(self, expression: str, moment_s: float | None = None) -> Values:
        """What Prometheus answers as of a moment, by labels without job."""
        found = self.prometheus.query(expression, moment_s or self.moment_s)
        return {
            frozenset((k, v) for k, v in each["metric"].items() if k not in {"__name__", "job"}): (
                float(each["value"][1])
            )
            for each in found
        }

    def rates(self, metric: str, moment_s: float) -> Values:
        """Of what was scraped of the desk, by labels without job and instance; by the oracle."""
        found: Values = {}
        selector = f'{metric}{{instance="{self.desk.instance}"}}[2m]'
        for each in self.prometheus.query(selector, moment_s):
            labels = each["metric"].items()
            key = frozenset(i for i in labels if i[0] not in {"__name__", "job", "instance"})
            samples = [(at_s, float(value)) for at_s, value in each["values"]]
            grown = rate(samples, moment_s, WINDOW_S)
            assert grown is not None
            found[key] = grown
        return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PaperWorld]:
    program = need("prometheus", package="prometheus")
    with PaperWorld(tmp_path_factory.mktemp("paper"), program) as world:
        world.play()
        yield world


def close(expected: Values) -> Any:
    """Equal but for the last digits: times are doubles here, and milliseconds in Prometheus."""
    return pytest.approx(expected, rel=1e-6, abs=1e-12, nan_ok=True)


def expression(name: str, portfolio: str = ".+") -> str:
    query = TARGETS[f"{BOARD} / {name}"].query["expr"]
    return substitute(query.replace("$portfolio", portfolio))


# What each panel must show, for the portfolios that were chosen

Chosen = tuple[str, ...]
Oracle = Callable[[PaperWorld, Chosen], Values]


def key(world: PaperWorld, **labels: str) -> frozenset[tuple[str, str]]:
    return frozenset({("instance", world.desk.instance), *labels.items()})


def each_has(figure: str) -> Oracle:
    """The figure of each portfolio that has it."""
    return lambda world, chosen: {
        key(world, portfolio=name): PORTFOLIOS[name][figure]
        for name in chosen
        if figure in PORTFOLIOS[name]
    }


def money(figure: str) -> Oracle:
    """With its currency."""
    return lambda world, chosen: {
        key(world, portfolio=name, currency=CURRENCIES[name]): PORTFOLIOS[name][figure]
        for name in chosen
        if figure in PORTFOLIOS[name]
    }


def alone(value_of: Callable[[Chosen], float]) -> Oracle:
    return lambda _, chosen: {NOTHING: value_of(chosen)}


def total(counts: Mapping[tuple[str, str], float], what: str) -> Oracle:
    return alone(lambda chosen: sum(n for (p, k), n in counts.items() if p in chosen and k == what))


def by(label: str, counts: Mapping[tuple[str, str], float], *, least: float = -1) -> Oracle:
    """Sums over the portfolios, by the other label."""

    def found(_: PaperWorld, chosen: Chosen) -> Values:
        kinds = {kind for portfolio, kind in counts if portfolio in chosen}
        sums = {kind: sum(counts[portfolio, kind] for portfolio in chosen) for kind in kinds}
        return {frozenset({(label, kind)}): n for kind, n in sums.items() if n > least}

    return found


def positions(world: PaperWorld, chosen: Chosen) -> Values:
    return {
        key(world, portfolio=portfolio, symbol=symbol): value
        for (portfolio, symbol), value in POSITIONS.items()
        if portfolio in chosen
    }


def of_engine(value: float) -> Oracle:
    return lambda world, _: {key(world): value}


ON = "on {{instance}}"
PORTFOLIO_ON = "{{portfolio}} on {{instance}}"
EXACT: dict[str, Oracle] = {
    "Open orders": alone(lambda chosen: sum(PORTFOLIOS[name]["open_orders"] for name in chosen)),
    "Orders accepted": total(OUTCOMES, "accepted"),
    "Denied": alone(lambda chosen: sum(n for (p, _), n in DENIALS.items() if p in chosen)),
    "Fills": total(FILLS, "neutral"),
    "Residue": alone(lambda _: 0),
    "Fills not counted": alone(lambda _: TELEMETRY["fills"] - COUNTED),
    "Store failures": alone(lambda _: 2),
    f"Equity / {{{{portfolio}}}} in {{{{currency}}}} {ON}": money("equity"),
    f"Profit, loss and fees / {{{{portfolio}}}} realised {ON}": money("realised"),
    f"Profit, loss and fees / {{{{portfolio}}}} unrealised {ON}": money("unrealised"),
    f"Profit, loss and fees / {{{{portfolio}}}} fees {ON}": money("fees"),
    f"Drawdown / {{{{portfolio}}}} now {ON}": each_has("drawdown_ratio"),
    f"Drawdown / {{{{portfolio}}}} at most {ON}": each_has("max_drawdown_ratio"),
    "Portfolios / Equity": each_has("equity"),
    "Portfolios / Cash": each_has("cash"),
    "Portfolios / Realised": each_has("realised"),
    "Portfolios / Unrealised": each_has("unrealised"),
    "Portfolios / Fees": each_has("fees"),
    "Portfolios / Gross": each_has("gross"),
    "Portfolios / Drawdown": each_has("drawdown_ratio"),
    "Portfolios / Max drawdown": each_has("max_drawdown_ratio"),
    "Portfolios / Open orders": each_has("open_orders"),
    "Portfolios / Residue": each_has("residue"),
    "Portfolios / Worst residue": each_has("residue_worst"),
    f"Positions / {{{{portfolio}}}} {{{{symbol}}}} {ON}": positions,
    f"Gross / {{{{portfolio}}}} in {{{{currency}}}} {ON}": money("gross"),
    f"Waiting orders / {PORTFOLIO_ON}": each_has("open_orders"),
    "Orders by outcome / {{outcome}}": by("outcome", OUTCOMES),
    "Denials by reason / {{reason}}": by("reason", DENIALS, least=0),
    "Fills by book / {{book}}": by("book", FILLS),
    f"Residue of each portfolio / {PORTFOLIO_ON}": each_has("residue"),
    "Residue of telemetry / {{instance}}": of_engine(TELEMETRY["residue"]),
    "Fills of the ledger and of the sidecar / ledger": alone(lambda _: TELEMETRY["fills"]),
    "Fills of the ledger and of the sidecar / handed over": alone(lambda _: TELEMETRY["published"]),
    "Fills of the ledger and of the sidecar / counted by the sidecar": alone(lambda _: COUNTED),
    "Not counted / fills": alone(lambda _: TELEMETRY["fills"] - COUNTED),
    "On their way / at the desk": alone(lambda _: TELEMETRY["waiting"]),
    "On their way / to the sidecar": alone(lambda _: 0),
    "Lost by reason / {{reason}}": lambda *_: {},
}


@pytest.mark.parametrize("name", EXACT)
def test_a_panel_shows_what_the_desk_and_the_sidecar_have(world, name):
    assert world.ask(expression(name)) == close(EXACT[name](world, tuple(PORTFOLIOS)))


@pytest.mark.parametrize("portfolio", PORTFOLIOS)
@pytest.mark.parametrize(
    "name", [n for n in EXACT if "$portfolio" in TARGETS[f"{BOARD} / {n}"].query["expr"]]
)
def test_a_panel_shows_the_portfolio_that_was_chosen_and_no_other(world, name, portfolio):
    assert world.ask(expression(name, portfolio)) == close(EXACT[name](world, (portfolio,)))


QUANTILES = {
    f"{title} / {legend}": (metric, q)
    for title, metric in (
        ("Tick to order", "tick_to_order"),
        ("Submit", "submit"),
        ("Order to fill", "order_to_fill"),
        ("Time to halt", "halt"),
    )
    for legend, q in (("p50", 0.5), ("p99", 0.99))
}


@pytest.mark.parametrize("name", QUANTILES)
def test_a_quantile_is_that_of_all_since_the_start(world, name):
    metric, q = QUANTILES[name]
    buckets = dict(zip(BOUNDS, itertools.accumulate(TIMES[metric]), strict=True))
    found = world.ask(expression(name))
    assert found == close({NOTHING: histogram_quantile(q, buckets)})
    assert all(value > 0 for value in found.values())


HEATS = {
    "Tick to order over time / {{le}}": "portfolio_tick_to_order_seconds_bucket",
    "Submit over time / {{le}}": "portfolio_submit_seconds_bucket",
    "Order to fill over time / {{le}}": "portfolio_order_to_fill_seconds_bucket",
}


@pytest.mark.parametrize("name", HEATS)
def test_a_heatmap_is_the_growth_of_the_buckets(world, name):
    expected = world.rates(HEATS[name], world.moment_s)
    assert max(expected.values()) > 0
    assert len(expected) == len(BOUNDS)
    assert world.ask(expression(name)) == close(expected)


FAILURES = "Failures of the store per second / {{instance}}"


def test_failures_of_the_store_are_shown_while_they_happen(world):
    for moment_s, happens in ((world.moment_s, False), (world.broken_s, True)):
        (expected,) = world.rates("portfolio_store_failures_total", moment_s).values()
        assert world.ask(expression(FAILURES), moment_s) == close({key(world): expected})
        assert (expected > 0) is happens


# States, and what is not known

WORDS = {
    TradingState.ACTIVE: "active",
    TradingState.REDUCING: "reducing",
    TradingState.HALTED: "halted",
    TradingState.FLATTEN: "flattening",
}


@pytest.mark.parametrize("state", TradingState)
def test_each_trading_state_is_shown_as_its_word(world, state):
    for name in ("Desk", "Trading state / {{instance}}"):
        (value,) = world.ask(expression(name), world.states[state]).values()
        assert TARGETS[f"{BOARD} / {name}"].word(value) == WORDS[state]


def test_a_desk_that_does_not_answer_is_away_and_its_numbers_are_not_known(world):
    (value,) = world.ask(expression("Desk"), world.away_s).values()
    assert TARGETS[f"{BOARD} / Desk"].word(value) == "away"
    for name, target in TARGETS.items():
        if target.panel["type"] == "stat" and not name.endswith("Desk"):
            short = name.removeprefix(f"{BOARD} / ")
            (value,) = world.ask(expression(short), world.away_s).values()
            assert math.isnan(value), name


def test_a_sidecar_that_never_heard_of_the_desk_has_counted_none_of_its_fills(world):
    counted = "Fills of the ledger and of the sidecar / counted by the sidecar"
    assert world.ask(expression(counted), world.before_s) == {NOTHING: 0}
    found = world.ask(expression("Fills not counted"), world.before_s)
    assert found == {NOTHING: TELEMETRY["fills"]}


def test_a_cent_too_much_is_shown_as_the_residue_whatever_its_portfolio(world):
    assert world.ask(expression("Residue"), world.broken_s) == {NOTHING: 0.01}
    assert world.ask(expression("Residue", "euro"), world.broken_s) == {NOTHING: 0.01}


def test_the_alerts_fire_on_what_is_broken_and_on_nothing_before(world):
    ours = f'ALERTS{{alertname=~"{"|".join(ALERTS)}", alertstate="firing"}}'
    assert world.ask(ours, world.moment_s) == {}
    fired = {dict(labels)["alertname"] for labels in world.ask(ours, world.broken_s)}
    assert fired == set(ALERTS) - SLOW


def test_the_mismatch_is_seen_when_nothing_waits_any_more(world):
    """As of a moment: what the alert asks, with and without what waits."""
    asked = ALERTS["PaperTelemetryMismatch"].replace(" offset 30s", "")
    asked = re.sub(r"min_over_time\(([^)]*)\[30s\]\)", r"\1", asked)
    assert world.ask(asked) == {}
    nothing_waits = asked.replace("> 0", "> 1")
    assert world.ask(nothing_waits) == {NOTHING: TELEMETRY["fills"]}


def test_a_fill_that_waits_is_seen_once_it_is_old(world):
    """As of a moment: what the alert asks, of fills that the ledger has now."""
    asked = ALERTS["PaperTelemetryStuck"]
    assert world.ask(asked) == {}
    found = world.ask(asked.replace(" offset 10m", ""))
    assert found == {key(world): TELEMETRY["published"]}


def test_a_residue_that_came_and_went_is_shown_and_fires_until_the_next_start(world):
    assert world.ask(expression("Residue"), world.was_broken_s) == {NOTHING: 0.02}
    assert world.ask(expression("Residue", "euro"), world.was_broken_s) == {NOTHING: 0}
    found = world.ask(ALERTS["PortfolioResidue"], world.was_broken_s)
    assert found == {key(world, portfolio="main"): -0.02}


# All of it


def test_each_query_of_the_board_has_an_oracle_and_no_oracle_is_for_nothing():
    proven = [*EXACT, *QUANTILES, *HEATS, FAILURES, "Desk", "Trading state / {{instance}}"]
    assert len(proven) == len(set(proven))
    assert set(TARGETS) == {f"{BOARD} / {name}" for name in proven}


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_every_selector_names_a_series_that_is_served(world, target: Target):
    served = set(families(world.desk.text(), samples=True))
    served |= set(families(fetch(f"{world.sidecar.url}/metrics"), samples=True)) | {"up"}
    named = substitute(target.query["expr"].replace("$portfolio", ".+"))
    assert {selector.name for selector in selectors(named)} <= served


def test_the_variables_offer_what_there_is(world):
    offered = {}
    for each in BOARDS[BOARD]["templating"]["list"]:
        if each["type"] == "query":
            query = re.fullmatch(r"label_values\((.+), (\w+)\)", each["query"])
            assert query
            found = world.prometheus.query(substitute(query[1]), world.moment_s)
            offered[each["name"]] = {one["metric"][query[2]] for one in found}
    assert offered == {
        "job": {"market-engine", "metrics-sidecar"},
        "instance": {world.desk.instance, world.sidecar.instance},
        "portfolio": set(PORTFOLIOS),
    }


def families(text: str, *, samples: bool = False) -> dict[str, tuple[str, set[str]]]:
    """The names of an exposition, of its families or of its samples: type and labels of each."""
    found: dict[str, tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = f"{family.name}_total" if family.type == "counter" else family.name
            kind, labels = found.get(sample.name if samples else name, (family.type, set()))
            found[sample.name if samples else name] = (kind, labels | set(sample.labels) - {"le"})
    return found


def test_what_the_known_desk_serves_is_named_as_on_the_page_of_metrics(world):
    served = families(world.desk.text())
    assert {name: labels for name, (_, labels) in documented().items()} == {
        name: labels for name, (_, labels) in served.items()
    }


def test_the_page_of_metrics_names_each_one_that_a_real_desk_serves_and_no_other(tmp_path):
    """Without those of telemetry, which it has only with a sidecar to publish to."""
    with contextlib.closing(Database(f"sqlite:///{tmp_path}/desk.db")) as database:
        desk = PaperDesk(DeskStore(database), {"BTCUSDT": "crypto"})
        now_ns = time.time_ns()
        price_nano = 100 * NANO
        quote = (price_nano, NANO, price_nano + NANO, NANO, now_ns, now_ns)
        desk.take([Quote("venue", "BTCUSDT", *quote)], now_ns)
        desk.create(Portfolio("main", "USDT", Decimal(100_000), now_ns))
        order = ("main", "one", "BTCUSDT", "buy", OrderType.MARKET, NANO)
        assert desk.submit(NewOrder(*order)).order.state is OrderState.FILLED
        text = generate_latest(Served(list(paper_families(desk)))).decode()
    expected = {
        name: said
        for name, said in documented().items()
        if not name.startswith("portfolio_telemetry_")
    }
    assert families(text) == expected


class Served:
    """As a registry collects."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def documented() -> dict[str, tuple[str, set[str]]]:
    page = (ROOT / "docs/metrics.md").read_text().split("## The paper desk")[1]
    rows = re.findall(r"^\| `(\w+)(?:\{([\w,]+)\})?` \| (\w+) \|", page, re.MULTILINE)
    return {name: (kind, set(labels.split(",")) - {""}) for name, labels, kind in rows}
