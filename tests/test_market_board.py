"""The board *Market data*, its recording rules and its alerts, on real engines and a Prometheus.

What the engine that plays a known recording must show is worked out from the recording in plain
Python; rates and quantiles by the oracle of Prometheus' own rules from what it scraped; the rest is
what the operating system or the engine's own API says.
"""

from __future__ import annotations

import math
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.boards import BOARDS, Target, selectors, substitute, targets
from tests.market_recording import SECOND_NS
from tests.market_world import (
    ASKED,
    SYMBOLS,
    WINDOW_S,
    Engine,
    MarketWorld,
    is_number,
    rates,
    summed,
)
from tests.parts import ROOT, need
from tests.promql_oracle import histogram_quantile, rate
from tests.test_rules import MARKET_ALERTS
from tests.world import Values

pytestmark = pytest.mark.timeout(180)
JOB = "market-engine"
TARGETS = {each.name: each for each in targets() if each.board == "market-data"}
RULES = {
    rule["record"]: rule["expr"]
    for group in yaml.safe_load((ROOT / "infra/prometheus/rules/market_recording.yml").read_text())[
        "groups"
    ]
    for rule in group["rules"]
}
NOTHING: frozenset[tuple[str, str]] = frozenset()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MarketWorld]:
    program = need("prometheus", package="prometheus")
    with MarketWorld(tmp_path_factory.mktemp("market"), program) as world:
        world.play()
        yield world


def close(expected: Values) -> Any:
    """Equal but for the last digits: times are doubles here, and milliseconds in Prometheus."""
    return pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True)


# What the known recording gives


@dataclass(frozen=True)
class Asked:
    """A question to the account of the recording: of which symbols."""

    world: MarketWorld
    symbols: tuple[str, ...]

    @property
    def account(self) -> Any:
        return self.world.known_input.account

    def key(self, **labels: str) -> frozenset[tuple[str, str]]:
        return frozenset({("instance", self.world.known.instance), *labels.items()})

    def each(self, value_of: Callable[[str], float]) -> Values:
        """A value for each symbol, under the labels of a table."""
        return {self.key(symbol=name): value_of(name) for name in self.symbols}

    def counted(self, metric: str) -> Values:
        return self.each(lambda name: self.account.counts[metric][name])

    def as_of_ns(self, symbol: str) -> int:
        """The moment of the engine's metrics, as its API has it."""
        return int(self.world.metrics[symbol]["as_of_ms"]) * 10**6

    def vwap(self, symbol: str) -> float:
        return self.account.vwap(symbol, self.as_of_ns(symbol), 300)

    def volatility(self, symbol: str) -> float:
        return self.account.volatility(symbol, self.as_of_ns(symbol), 3_600)

    def price(self, symbol: str) -> float:
        return self.account.of(symbol)[-1].price

    def age_s(self, symbol: str) -> float:
        newest_ns = max(trade.event_ns for trade in self.account.of(symbol))
        return self.world.moment_s - newest_ns / SECOND_NS

    def faults(self) -> Counter[tuple[str, str]]:
        """Those of the symbols, and of the feed as a whole."""
        return Counter(
            {key: n for key, n in self.account.faults.items() if key[0] in {"", *self.symbols}}
        )

    def faults_by_kind(self) -> Values:
        return summed(
            {frozenset({("symbol", s), ("kind", k)}): n for (s, k), n in self.faults().items()},
            ("kind",),
        )


def alone(value_of: Callable[[Asked], float]) -> Callable[[Asked], Values]:
    return lambda asked: {NOTHING: value_of(asked)}


def column(metric: str) -> Callable[[Asked], Values]:
    return lambda asked: asked.counted(metric)


BOARD = "market-data"
ONE = "{{instance}}"
SYMBOL_ON = "{{symbol}} on {{instance}}"
EXACT: dict[str, Callable[[Asked], Values]] = {
    "Symbols live": alone(lambda a: a.symbols.count("BTCUSDT")),
    "Symbols not live": alone(lambda a: a.symbols.count("ETHUSDT")),
    "Trades missing": alone(lambda a: sum(a.counted("market_feed_ids_missing").values())),
    "Faults": alone(lambda a: sum(a.faults().values())),
    "Newest trade": alone(lambda a: min(map(a.age_s, a.symbols))),
    "Lag p99": alone(lambda a: math.nan),  # nothing came for as long as it was scraped
    "Store failures": alone(lambda a: 0),
    f"Price against its 5 min VWAP / {SYMBOL_ON}": lambda a: a.each(
        lambda name: a.price(name) / a.vwap(name) - 1
    ),
    "Price and VWAP of $symbol / {{symbol}} price": lambda a: a.each(a.price),
    "Price and VWAP of $symbol / {{symbol}} VWAP": lambda a: {
        a.key(symbol=name, window="5m"): a.vwap(name) for name in a.symbols
    },
    "Symbols / Price": lambda a: a.each(a.price),
    "Symbols / VWAP 5 min": lambda a: a.each(a.vwap),
    "Symbols / Volatility": lambda a: {
        a.key(symbol=name): a.volatility(name) for name in a.symbols if name == "BTCUSDT"
    },
    "Symbols / Trades/s": lambda a: a.each(lambda name: 0),
    "Symbols / Trades": column("market_trades_total"),
    "Symbols / Missing": column("market_feed_ids_missing"),
    "Symbols / Gaps": column("market_feed_id_gaps_total"),
    "Symbols / Duplicates": column("market_feed_duplicates_total"),
    "Symbols / Late": column("market_feed_late_total"),
    "Symbols / Out of order": column("market_feed_out_of_order_total"),
    "Symbols / Time gaps": column("market_feed_time_gaps_total"),
    "Symbols / Malformed": column("market_feed_malformed_total"),
    "Symbols / Backfilled": column("market_feed_backfilled_total"),
    "Symbols / Last trade": lambda a: a.each(a.age_s),
    "Faults by kind / {{kind}}": Asked.faults_by_kind,
    f"Trades missing by symbol / {SYMBOL_ON}": column("market_feed_ids_missing"),
    "Rejected frames by reason / {{reason}}": lambda a: {
        frozenset({("reason", reason)}): n for reason, n in a.account.rejected.items()
    },
    f"Waiting to be stored / {ONE}": lambda a: {a.key(): 0},
    f"Oldest that waits / {ONE}": lambda a: {a.key(): 0},
    f"Stream clients / {ONE}": lambda a: {a.key(): 0},
    "Dropped / clients: {{reason}}": lambda a: {frozenset({("reason", "too_slow")}): 0},
    "Dropped / messages: {{group}}": lambda a: {
        frozenset({("group", group)}): 0 for group in ("writer", "stream-feed", "stream-replay")
    },
}


@pytest.mark.parametrize("name", EXACT)
def test_what_is_shown_of_the_recording_is_what_plain_python_makes_of_it(world, name):
    target = TARGETS[f"{BOARD} / {name}"]
    asked = Asked(world, ("BTCUSDT", "ETHUSDT"))
    found = world.ask(target.expression(job=JOB, instance=world.known.instance))
    assert found == close(EXACT[name](asked))


@pytest.mark.parametrize("name", [n for n in EXACT if "$symbol" in str(TARGETS[f"{BOARD} / {n}"])])
@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_what_is_shown_of_a_symbol_that_was_chosen_is_its_part_of_the_recording(
    world, name, symbol
):
    target = TARGETS[f"{BOARD} / {name}"]
    chosen = target.expression(job=JOB, instance=world.known.instance, symbol=symbol)
    if symbol in chosen:
        assert world.ask(chosen) == close(EXACT[name](Asked(world, (symbol,))))


def test_the_lags_that_are_served_are_those_of_the_recording(world):
    found = world.ask(f'market_feed_lag_seconds_bucket{{instance="{world.known.instance}"}}')
    account = world.known_input.account
    expected = {
        Asked(world, ()).key(symbol=symbol, le=bound): count
        for symbol in ("BTCUSDT", "ETHUSDT")
        for bound, count in account.lags(symbol).items()
    }
    assert found == expected


# Rates and quantiles


@dataclass(frozen=True)
class Rate:
    """A counter whose rate is shown: by which labels, of which engine."""

    metric: str
    by: tuple[str, ...] = ()
    with_instance: bool = False


RATES = {
    "Trades per second by symbol / {{symbol}}": Rate("market_trades_total", ("symbol",)),
    "Lag / {{le}}": Rate("market_feed_lag_seconds_bucket", ("le",)),
    "Duplicates and late trades per second / duplicate": Rate("market_feed_duplicates_total"),
    "Duplicates and late trades per second / late": Rate("market_feed_late_total"),
    "Duplicates and late trades per second / out of order": Rate("market_feed_out_of_order_total"),
    "Stored per second / trades": Rate("market_stored_trades_total"),
    "Stored per second / bars": Rate("market_stored_bars_total"),
    f"Failures per second / {ONE} store": Rate("market_store_failures_total", (), True),
    f"Failures per second / {ONE} delete": Rate("market_retention_failures_total", (), True),
    "Deleted per second by table / {{table}}": Rate("market_retention_deleted_total", ("table",)),
    "Batches and repeats per second / batches": Rate("market_store_batches_total"),
    "Batches and repeats per second / stored before": Rate("market_store_duplicates_total"),
    "Messages per second / messages": Rate("market_stream_messages_total"),
    "HTTP requests per second / {{code_class}} {{route}}": Rate(
        "market_http_requests_total", ("route", "code_class")
    ),
    f"CPU / {ONE}": Rate("process_cpu_seconds_total", (), True),
}
QUANTILES = {
    "Lag percentiles / p50": ("market_feed_lag_seconds_bucket", 0.5),
    "Lag percentiles / p90": ("market_feed_lag_seconds_bucket", 0.9),
    "Lag percentiles / p99": ("market_feed_lag_seconds_bucket", 0.99),
    "Tick to stream / p50": ("market_tick_to_stream_seconds_bucket", 0.5),
    "Tick to stream / p99": ("market_tick_to_stream_seconds_bucket", 0.99),
}
GROWING = {"Trades per second by symbol / {{symbol}}", "Stored per second / trades"}
GROWING |= {"Messages per second / messages", "Batches and repeats per second / batches"}


def oracle(world: MarketWorld, metric: str, by: tuple[str, ...], engine: Engine) -> Values:
    """The sums of the rates of what was scraped of one engine."""
    samples = world.samples(metric, engine, world.moment_s)
    return summed(rates(samples, lambda each: rate(each, world.moment_s, WINDOW_S)), by)


@pytest.mark.parametrize("name", RATES)
def test_a_rate_is_the_growth_of_what_was_scraped(world, name):
    shown, engine = RATES[name], world.simulated
    expected = oracle(world, shown.metric, shown.by, engine)
    if shown.with_instance:
        expected = {frozenset({("instance", engine.instance)}): expected[NOTHING]}
    expression = TARGETS[f"{BOARD} / {name}"].expression(job=JOB, instance=engine.instance)
    assert world.ask(expression) == close(expected)
    if name in GROWING:
        assert max(expected.values()) > 0


@pytest.mark.parametrize("name", QUANTILES)
def test_a_quantile_is_that_of_the_rates_of_the_buckets(world, name):
    metric, q = QUANTILES[name]
    buckets = oracle(world, metric, ("le",), world.simulated)
    expected = histogram_quantile(q, {dict(key)["le"]: value for key, value in buckets.items()})
    target = TARGETS[f"{BOARD} / {name}"]
    found = world.ask(target.expression(job=JOB, instance=world.simulated.instance))
    assert found == close({NOTHING: expected})
    assert 0 < expected <= 2.5


def test_what_was_asked_of_the_api_is_counted_by_route(world):
    samples = world.samples("market_http_requests_total", world.simulated, world.moment_s)
    last = {
        (dict(key)["route"], dict(key)["code_class"]): each[-1][1] for key, each in samples.items()
    }
    assert {key: last[key] for key in ASKED} == ASKED


def recorded(world: MarketWorld, name: str, engine: Engine) -> tuple[float, Values]:
    """The last evaluation before the moment, by labels other than job and instance."""
    found = world.samples(name, engine, world.moment_s)
    (at_s,) = {each[-1][0] for each in found.values()}
    return at_s, {key: each[-1][1] for key, each in found.items()}


RECORDED: dict[str, tuple[str, tuple[str, ...], float | None]] = {
    "instance_symbol:market_trades:rate1m": ("market_trades_total", ("symbol",), None),
    "instance:market_feed_lag_seconds:p99_1m": ("market_feed_lag_seconds_bucket", ("le",), 0.99),
    "instance:market_pipeline_busy:rate1m": ("market_pipeline_busy_seconds_total", (), None),
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_series_is_what_was_scraped_gives(world, name):
    """A rule may or may not have seen a scrape of the very moment of its evaluation."""
    metric, by, q = RECORDED[name]
    at_s, found = recorded(world, name, world.simulated)
    candidates = []
    for end in (None, -1):
        samples = {
            key: [one for one in each if one[0] <= at_s][:end]
            for key, each in world.samples(metric, world.simulated, world.moment_s).items()
        }
        expected = summed(rates(samples, lambda each: rate(each, at_s, 60)), by)
        if q is not None:
            bounds = {dict(key)["le"]: value for key, value in expected.items()}
            expected = {NOTHING: histogram_quantile(q, bounds)}
        candidates.append(close(expected))
    assert found in candidates


def test_each_recording_rule_has_an_oracle():
    assert set(RULES) == set(RECORDED)


# What no recording decides


def of_simulated(low: float, high: float) -> Callable[[MarketWorld], tuple[float, float]]:
    return lambda world: (low, high)


MEASURED: dict[str, Callable[[MarketWorld], tuple[float, float]]] = {
    f"Memory / {ONE}": lambda world: (world.rss_bytes * 0.7, world.rss_bytes * 1.3),
    f"Busy share / {ONE}": of_simulated(1e-4, 0.9),
    f"Size on disk / {ONE} all": lambda world: (
        1,  # it is measured once a minute
        world.disk_bytes[world.simulated.instance] * 1.2,
    ),
    f"Size on disk / {ONE} free": of_simulated(0, 1e6),
}


@pytest.mark.parametrize("name", MEASURED)
def test_what_no_recording_decides_is_near_what_others_see(world, name):
    low, high = MEASURED[name](world)
    target = TARGETS[f"{BOARD} / {name}"]
    found = world.ask(target.expression(job=JOB, instance=world.simulated.instance))
    assert list(found) == [frozenset({("instance", world.simulated.instance)})]
    assert low <= next(iter(found.values())) <= high


CONNECTIONS = {
    f"Connections / {ONE} tried": lambda world: world.alone.log.count("connection_failed"),
    f"Connections / {ONE} made": lambda world: 0,
    f"Connections / {ONE} replaced": lambda world: 0,
}


@pytest.mark.parametrize("name", CONNECTIONS)
def test_connections_are_those_that_the_log_tells_of(world, name):
    """All engines are asked: a simulated feed and a replay have none."""
    found = world.ask(TARGETS[f"{BOARD} / {name}"].expression())
    assert set(found) == {frozenset({("instance", world.alone.instance)})}
    (value,) = found.values()
    most = CONNECTIONS[name](world)
    assert min(1, most) <= value <= most


# States


WORDS: dict[str, str] = {
    "known": "ended",
    "simulated": "live",
    "skewed": "",
    "alone": "disconnected",
}


@pytest.mark.parametrize("name", [name for name, word in WORDS.items() if word])
def test_the_state_of_the_feed_is_shown_as_its_word(world, name):
    target = TARGETS[f"{BOARD} / Feed"]
    engine = getattr(world, name)
    (value,) = world.ask(target.expression(job=JOB, instance=engine.instance)).values()
    assert target.word(value) == WORDS[name]


def test_the_state_of_all_feeds_is_the_worst(world):
    target = TARGETS[f"{BOARD} / Feed"]
    for moment_s, word in ((world.moment_s, "disconnected"), (world.away_s, "away")):
        (value,) = world.ask(target.expression(), moment_s).values()
        assert target.word(value) == word


def test_every_state_of_a_feed_has_its_word(tmp_path):
    """By promtool, for what no engine here is: closed, failed, connected by a real venue."""
    need("prometheus", package="prometheus")
    target = TARGETS[f"{BOARD} / Feed"]
    states = {  # schedule, running, connected, connects
        "live": [(1, 1, 1, 1), (1, 1, None, None)],
        "closed": [(0, 0, 0, 1), (0, 0, None, 0), (0, 1, 1, 1)],
        "disconnected": [(1, 1, 0, 3), (1, 1, None, 0)],
        "ended": [(1, 0, 1, 2), (1, 0, None, None)],
    }
    names = ("market_schedule_open", "market_feed_running", "market_feed_connected")
    names += ("market_feed_connects_total",)
    cases = []
    for word, each in states.items():
        (value,) = [n for n in range(5) if target.word(n) == word]
        for given in each:
            labels = f'job="{JOB}", instance="a:1"'
            told = [("up", 1), *zip(names, given, strict=True)]
            cases.append(
                {
                    "input_series": [
                        {"series": f"{name}{{{labels}}}", "values": str(it)}
                        for name, it in told
                        if it is not None
                    ],
                    "promql_expr_test": [
                        {
                            "expr": target.expression(),
                            "eval_time": "0s",
                            "exp_samples": [{"labels": "{}", "value": value}],
                        }
                    ],
                }
            )
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"tests": cases}))
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_state_of_each_symbol_is_that_of_the_api(world):
    target = TARGETS[f"{BOARD} / State of each symbol / {SYMBOL_ON}"]
    found = {key: target.word(value) for key, value in world.ask(target.expression()).items()}
    before, after = (
        {
            frozenset({("instance", instance), ("symbol", each["symbol"])}): each["state"]
            for instance, health in told.items()
            for each in health["symbols"]
        }
        for told in (world.health_before, world.health)
    )
    assert set(found) == set(after)
    assert all(word in {before[key], after[key]} for key, word in found.items())
    of_known = {
        dict(key)["symbol"]: word
        for key, word in found.items()
        if dict(key)["instance"] == world.known.instance
    }
    assert of_known == {"BTCUSDT": "live", "ETHUSDT": "stale"}
    of_alone = {
        word for key, word in found.items() if dict(key)["instance"] == world.alone.instance
    }
    assert of_alone == {"unknown"}
    assert Counter(found.values())["live"] > SYMBOLS / 2


def test_the_account_is_also_what_the_api_says(world):
    """So that a board and the desk can never tell different things."""
    counts = world.known_input.account.counts
    for each in world.health[world.known.instance]["symbols"]:
        for field in ("trades", "id_gaps", "duplicates", "late", "out_of_order", "malformed"):
            name = f"market_{'' if field == 'trades' else 'feed_'}{field}_total"
            assert each[field] == counts[name][each["symbol"]], field
        assert each["ids_missing"] == counts["market_feed_ids_missing"][each["symbol"]]


# All of it


def test_each_query_of_the_board_has_an_oracle_and_no_oracle_is_for_nothing():
    elsewhere = {"Feed", f"State of each symbol / {SYMBOL_ON}"}
    proven = [*EXACT, *RATES, *QUANTILES, *MEASURED, *CONNECTIONS, *elsewhere]
    assert len(proven) == len(set(proven))
    assert set(TARGETS) == {f"{BOARD} / {name}" for name in proven}


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_every_query_gives_numbers_of_all_engines_together(world, target: Target):
    found = world.ask(target.expression())
    assert any(is_number(value) for value in found.values())


def test_every_selector_matches_a_series_that_is_really_served_recorded_or_made_by_prometheus(
    world,
):
    served = {
        sample.name
        for text in world.served.values()
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    alerts = yaml.safe_load((ROOT / "infra/prometheus/rules/market_alerts.yml").read_text())
    expressions = {target.expression() for target in TARGETS.values()} | set(RULES.values())
    expressions |= {rule["expr"] for group in alerts["groups"] for rule in group["rules"]}
    for expression in expressions:
        for selector in selectors(expression):
            assert selector.name in served | set(RULES) | {"up"}, selector.name


def test_the_variables_offer_what_there_is(world):
    offered = {}
    for each in BOARDS[BOARD]["templating"]["list"]:
        if each["type"] == "query":
            query = re.fullmatch(r"label_values\((.+), (\w+)\)", each["query"])
            found = world.prometheus.query(substitute(query[1]), world.moment_s)
            offered[each["name"]] = {one["metric"][query[2]] for one in found}
    symbols = {one["symbol"] for each in world.health.values() for one in each["symbols"]}
    assert offered == {
        "job": {JOB},
        "instance": {engine.instance for engine in world.engines},
        "symbol": symbols,
    }


def test_the_annotations_mark_starts_of_engines(world):
    notes = {each["name"]: each for each in BOARDS[BOARD]["annotations"]["list"]}
    assert set(notes) == {"Engine started", "Alerts"}
    found = world.ask(substitute(notes["Engine started"]["expr"]))
    assert {dict(key)["instance"] for key in found} == {each.instance for each in world.engines}


def test_a_number_is_unknown_when_no_engine_answers(world):
    """Of the engine that is gone; what speaks of the last minute goes on until it is over."""
    for name, target in TARGETS.items():
        if target.panel["type"] == "stat" and not name.endswith(("Feed", "Lag p99")):
            (value,) = world.ask(
                target.expression(instance=world.simulated.instance), world.away_s
            ).values()
            assert math.isnan(value), name


# The alerts, for real


@pytest.mark.parametrize("name", ["known", "skewed", "alone", "simulated"])
def test_what_is_broken_fires_its_alerts_and_no_other(world, name):
    engine = getattr(world, name)
    assert world.ever_fired(engine, world.alarm_s) == world.expected_alerts()[engine.instance]


def test_a_database_that_is_locked_fires_and_so_does_the_end_of_an_engine(world):
    new = world.ever_fired(world.simulated, world.failing_s) - world.ever_fired(
        world.simulated, world.alarm_s
    )
    assert new == {"MarketStoreFailing"}
    new = world.ever_fired(world.simulated, world.away_s) - world.ever_fired(
        world.simulated, world.failing_s
    )
    assert new == {"MarketEngineDown"}


def test_every_alert_is_made_to_fire_for_real(world):
    fired = set().union(*world.expected_alerts().values())
    assert fired | {"MarketStoreFailing", "MarketEngineDown"} == set(MARKET_ALERTS)


# What the documents say


def test_the_page_of_metrics_names_each_one_that_is_served_and_no_other(world):
    served: dict[str, tuple[str, set[str]]] = {}
    for text in world.served.values():
        for family in text_string_to_metric_families(text):
            if not family.name.startswith(("process_", "python_", "portfolio_")):
                name = f"{family.name}_total" if family.type == "counter" else family.name
                labels = {label for sample in family.samples for label in sample.labels} - {"le"}
                kind, known = served.get(name, (family.type, set()))
                served[name] = (kind, known | labels)
    page = Path(ROOT / "docs/metrics.md").read_text().split("## The market engine")[1]
    page = page.split("## The paper desk")[0]  # proven in test_paper_board
    rows = re.findall(r"^\| `(\w+)(?:\{([\w,]+)\})?` \| (\w+) \|", page, re.MULTILINE)
    written = {name: (kind, set(labels.split(",")) - {""}) for name, labels, kind in rows}
    recorder = {name for name in written if name.startswith("market_recorder_")}
    assert {name: written[name] for name in written if name in served or name not in recorder} == (
        served
    )


def test_prices_of_different_size_are_not_drawn_over_each_other():
    (panel,) = [p for p in BOARDS[BOARD]["panels"] if p["title"] == "Price and VWAP of $symbol"]
    assert (panel["repeat"], panel["repeatDirection"], panel["maxPerRow"]) == ("symbol", "h", 3)
    assert "min" not in panel["fieldConfig"]["defaults"]
