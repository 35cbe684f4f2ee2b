"""Each panel and each recording rule, on a real Prometheus, against an account of the input.

Two sidecars get a known input while Prometheus scrapes them. Afterwards every query is asked as of
moments of that time, and must answer what `known_input` and `promql_oracle` work out from the
messages and from when the scrapes were. What no message decides (memory, descriptors, load) is held
against what the operating system or the sidecar's own /health says.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.boards import BOARDS, selectors, substitute, targets
from tests.known_input import EPOCHS_MAX, LOSSES, Series, series
from tests.parts import ROOT, need
from tests.promql_oracle import histogram_quantile, rate
from tests.world import (
    CROWD,
    WINDOW_S,
    Source,
    UndeterminedError,
    Values,
    World,
    which_alert,
)

RULES = {
    rule["record"]: rule["expr"]
    for group in yaml.safe_load((ROOT / "infra/prometheus/rules/recording.yml").read_text())[
        "groups"
    ]
    for rule in group["rules"]
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    program = need("prometheus", package="prometheus")
    for attempt in range(5):
        with World(tmp_path_factory.mktemp("world"), program) as world:
            try:
                world.play()
                for source in world.sources:
                    source.check()
            except UndeterminedError:
                assert attempt < 4
                continue
            yield world
            return


# What each panel must say


@dataclass(frozen=True)
class Asked:
    """A question to the account: of which sidecars, and what was chosen on the board."""

    world: World
    sources: list[Source]
    symbol: str | None = None
    publisher: str | None = None
    test: str | None = None

    def each(self, name: str, **labels: str) -> Iterator[tuple[Source, dict[str, str], float]]:
        """Every series of a name that has these labels and was chosen, after all of the input."""
        for source in self.sources:
            for (metric, pairs), value in source.values().items():
                found = dict(pairs)
                if metric == name and labels.items() <= found.items() and self._chosen(found):
                    yield source, found, value

    def _chosen(self, labels: dict[str, str]) -> bool:
        return all(
            wanted is None or labels.get(key, wanted) == wanted
            for key, wanted in (
                ("symbol", self.symbol),
                ("publisher", self.publisher),
                ("test", self.test),
            )
        )

    def total(self, name: str, by: Iterable[str] = (), **labels: str) -> Values:
        """Sums of the values at the end, by some labels."""
        return self._sum(name, by, labels, lambda source, key, value: value)

    def most(self, name: str, by: Iterable[str] = (), **labels: str) -> Values:
        """The largest of the values at the end, by some labels."""
        found = defaultdict(list)
        for _, its_labels, value in self.each(name, **labels):
            found[frozenset((k, its_labels[k]) for k in by)].append(value)
        return {key: max(values) for key, values in found.items()}

    def rate(self, name: str, by: Iterable[str] = (), **labels: str) -> Values:
        """Sums of rates over the window of the boards."""
        end_s = self.world.moment_s

        def value(source: Source, key: Series, _: float) -> float:
            found = rate(source.samples(key, end_s), end_s, WINDOW_S)
            assert found is not None
            return found

        return self._sum(name, by, labels, value)

    def _sum(
        self,
        name: str,
        by: Iterable[str],
        labels: dict[str, str],
        value_of: Callable[[Source, Series, float], float],
    ) -> Values:
        found: dict[frozenset[tuple[str, str]], float] = defaultdict(float)
        for source, its_labels, value in self.each(name, **labels):
            key = its_labels | {"instance": source.name}
            group = frozenset((k, key[k]) for k in by)
            found[group] += value_of(source, series(name, **its_labels), value)
        return dict(found)

    def instances(self, value_of: Callable[[Source], float]) -> Values:
        """A value for each sidecar."""
        return {frozenset({("instance", s.name)}): value_of(s) for s in self.sources}

    def quantile(self, q: float) -> Values:
        buckets = self.rate("telemetry_event_age_seconds_bucket", by=("le",))
        return {NOTHING: histogram_quantile(q, {dict(k)["le"]: v for k, v in buckets.items()})}

    def recorded(self, name: str, by: Iterable[str], fold: Callable = sum, **labels: str) -> Values:
        """Recorded series, which have a proof of their own below, put together."""
        found = defaultdict(list)
        names = {source.name for source in self.sources}
        for key, value in self.world.ask(name).items():
            its = dict(key)
            if its["instance"] in names and labels.items() <= its.items() and self._chosen(its):
                found[frozenset((k, its[k]) for k in by)].append(value)
        return {key: fold(values) for key, values in found.items()}


NOTHING: frozenset[tuple[str, str]] = frozenset()
BUSY = "instance:telemetry_receiver_busy:rate1m"
COMMIT = "instance:telemetry_commit_seconds:mean1m"
SIDE = ("side",)
PUBLISHER = ("instance", "publisher")


def alone(values: Values) -> float:
    """The one value of a question without labels."""
    return values[NOTHING]


def lost(reason: str) -> Callable[[Asked], Values]:
    return lambda asked: asked.total("telemetry_publisher_lost_total", by=PUBLISHER, reason=reason)


def column(metric: str) -> Callable[[Asked], Values]:
    return lambda asked: asked.total(f"telemetry_publisher_{metric}", by=PUBLISHER)


def lost_or_refused(asked: Asked) -> Values:
    lost = alone(asked.total("telemetry_publisher_lost_total"))
    return {NOTHING: lost + alone(asked.total("telemetry_publisher_refused_total"))}


def publish(quantile: str, *by: str) -> Callable[[Asked], Values]:
    return lambda asked: asked.most("benchmark_publish_seconds", by, quantile=quantile)


def outcome(name: str, *by: str) -> Callable[[Asked], Values]:
    return lambda asked: asked.total("benchmark_trades", by, outcome=name)


def unexplained(asked: Asked) -> Values:
    accepted, applied, waiting = (
        alone(outcome(name)(asked)) for name in ("accepted", "applied", "waiting")
    )
    return {NOTHING: accepted - applied - waiting}


def last_run_age(asked: Asked) -> Values:
    ended_s = alone(asked.most("benchmark_last_run_timestamp_seconds"))
    return {NOTHING: asked.world.moment_s - ended_s}


def newest_trade_age(asked: Asked) -> Values:
    newest_s = max(source.values()[series("last_trade_ts_seconds")] for source in asked.sources)
    return {NOTHING: max(asked.world.moment_s - newest_s, 0)}


EXACT: dict[str, Callable[[Asked], Values]] = {
    "trading-telemetry / Buys": lambda a: a.total("trades_total", side="buy"),
    "trading-telemetry / Sells": lambda a: a.total("trades_total", side="sell"),
    "trading-telemetry / Trades per second": lambda a: a.rate("trades_total"),
    "trading-telemetry / Last trade": newest_trade_age,
    "trading-telemetry / Event age p99": lambda a: a.recorded(
        "instance:telemetry_event_age_seconds:p99_1m", (), max
    ),
    "trading-telemetry / Lost or refused": lost_or_refused,
    "trading-telemetry / Trades per second by side / {{side}}": lambda a: a.rate(
        "trades_total", by=SIDE
    ),
    "trading-telemetry / Volume per second by side / {{side}}": lambda a: a.rate(
        "volume_total", by=SIDE
    ),
    "trading-telemetry / Total trades by side / {{side}}": lambda a: a.total(
        "trades_total", by=SIDE
    ),
    "trading-telemetry / Total volume by side / {{side}}": lambda a: a.total(
        "volume_total", by=SIDE
    ),
    "trading-telemetry / Event age percentiles / p50": lambda a: a.quantile(0.5),
    "trading-telemetry / Event age percentiles / p90": lambda a: a.quantile(0.9),
    "trading-telemetry / Event age percentiles / p99": lambda a: a.quantile(0.99),
    "trading-telemetry / Event age / {{le}}": lambda a: a.rate(
        "telemetry_event_age_seconds_bucket", by=("le",)
    ),
    "trading-telemetry / Symbols / Buys": lambda a: a.total(
        "telemetry_symbol_trades_total", by=("symbol",), side="buy"
    ),
    "trading-telemetry / Symbols / Sells": lambda a: a.total(
        "telemetry_symbol_trades_total", by=("symbol",), side="sell"
    ),
    "trading-telemetry / Symbols / Bought": lambda a: a.total(
        "telemetry_symbol_volume_total", by=("symbol",), side="buy"
    ),
    "trading-telemetry / Symbols / Sold": lambda a: a.total(
        "telemetry_symbol_volume_total", by=("symbol",), side="sell"
    ),
    "trading-telemetry / Symbols / Trades/s": lambda a: a.recorded(
        "instance_symbol_side:telemetry_symbol_trades:rate1m", ("symbol",)
    ),
    "trading-telemetry / Trades per second by symbol / {{symbol}}": lambda a: a.rate(
        "telemetry_symbol_trades_total", by=("symbol",)
    ),
    "pipeline-health / Lost": lambda a: a.total("telemetry_publisher_lost_total"),
    "pipeline-health / Waiting": lambda a: a.total("telemetry_publisher_waiting"),
    "pipeline-health / Refused": lambda a: a.total("telemetry_publisher_refused_total"),
    "pipeline-health / Rejected": lambda a: a.total("telemetry_rejected_total"),
    "pipeline-health / Publishers / Published": column("published_total"),
    "pipeline-health / Publishers / Applied": column("applied_total"),
    **{f"pipeline-health / Publishers / Lost: {reason}": lost(reason) for reason in LOSSES},
    "pipeline-health / Publishers / Waiting": column("waiting"),
    "pipeline-health / Publishers / Refused": column("refused_total"),
    "pipeline-health / Publishers / Residue": column("residue"),
    "pipeline-health / Lost by reason / {{reason}}": lambda a: a.total(
        "telemetry_publisher_lost_total", by=("reason",)
    ),
    "pipeline-health / Rings / Ring": column("ring_capacity"),
    "pipeline-health / Rings / Held": column("held"),
    "pipeline-health / Rings / Durable": column("durable"),
    "pipeline-health / Rings / Lives": column("epochs"),
    "pipeline-health / Rings / Duplicates": column("duplicates_total"),
    "pipeline-health / Rings / Gaps": column("gaps_total"),
    "pipeline-health / Repeats per second / duplicate": lambda a: a.rate(
        "telemetry_publisher_duplicates_total"
    ),
    "pipeline-health / Repeats per second / gap": lambda a: a.rate(
        "telemetry_publisher_gaps_total"
    ),
    "pipeline-health / Waiting by publisher / {{publisher}} on {{instance}}": column("waiting"),
    "pipeline-health / Received per second by outcome / applied": lambda a: a.rate("trades_total"),
    "pipeline-health / Received per second by outcome / duplicate": lambda a: a.rate(
        "telemetry_duplicates_total"
    ),
    "pipeline-health / Received per second by outcome / gap": lambda a: a.rate(
        "telemetry_gaps_total"
    ),
    "pipeline-health / Received per second by outcome / skip": lambda a: a.rate(
        "telemetry_skips_total"
    ),
    "pipeline-health / Received per second by outcome / rejected": lambda a: a.rate(
        "telemetry_rejected_total"
    ),
    "pipeline-health / Received per second by outcome / beat": lambda a: a.rate(
        "telemetry_beats_total"
    ),
    "pipeline-health / Received per second by outcome / benchmark": lambda a: a.rate(
        "telemetry_benchmarks_total"
    ),
    "benchmark / A publish, median": publish("0.5"),
    "benchmark / A publish, p99": publish("0.99"),
    "benchmark / Times a bare send": lambda a: a.most("benchmark_ratio", figure="publish_to_send"),
    "benchmark / Lost or unexplained": unexplained,
    "benchmark / Refused": outcome("refused"),
    "benchmark / Last run": last_run_age,
    "benchmark / Median of a publish by test / {{test}}": publish("0.5", "test"),
    "benchmark / p99 of a publish by test / {{test}}": publish("0.99", "test"),
    "benchmark / Tests / Median": publish("0.5", "test"),
    "benchmark / Tests / p90": publish("0.9", "test"),
    "benchmark / Tests / p99": publish("0.99", "test"),
    "benchmark / Tests / p99.9": publish("0.999", "test"),
    "benchmark / Tests / p99.99": publish("0.9999", "test"),
    "benchmark / Tests / Longest": publish("1", "test"),
    **{
        f"benchmark / Tests / {name.capitalize()}": outcome(name, "test")
        for name in ("offered", "accepted", "refused", "applied", "lost", "waiting")
    },
    "benchmark / Ratios / Times": lambda a: a.most("benchmark_ratio", ("figure",)),
    "benchmark / Rates / Per second": lambda a: a.most("benchmark_rate_per_second", ("figure",)),
    "benchmark / Durations / Time": lambda a: a.most("benchmark_duration_seconds", ("figure",)),
    "benchmark / Sizes / Size": lambda a: a.most("benchmark_size_bytes", ("figure",)),
    **{
        f"benchmark / Runs by suite / {status.capitalize()}": lambda a, status=status: a.total(
            "benchmark_runs_total", by=("suite",), status=status
        )
        for status in ("started", "completed", "failed")
    },
    "pipeline-health / Rejected per second by reason / {{reason}}": lambda a: {
        key: value
        for key, value in a.recorded(
            "instance_reason:telemetry_rejected:rate1m", ("reason",)
        ).items()
        if value > 0
    },
    "pipeline-health / Untracked trades per second / untracked": lambda a: a.rate(
        "telemetry_untracked_total"
    ),
    "pipeline-health / Receiver load / {{instance}}": lambda a: a.recorded(
        "instance:telemetry_receiver_busy:rate1m", ("instance",)
    ),
    "pipeline-health / Lives of publishers / live": lambda a: a.total("telemetry_epochs"),
    "pipeline-health / Lives of publishers / limit": lambda a: a.total("telemetry_epochs_limit"),
    "pipeline-health / Lives of publishers / spent": lambda a: a.total("telemetry_epochs_spent"),
    "pipeline-health / Time of a commit / {{instance}}": lambda a: a.recorded(
        COMMIT, ("instance",)
    ),
    "pipeline-health / Connections / {{instance}} connections": lambda a: a.instances(lambda s: 1),
}


@dataclass(frozen=True)
class Between:
    """What no message decides is only known to lie between two figures from elsewhere."""

    low: Callable[[Source], float]
    high: Callable[[Source], float]


MEASURED: dict[str, Between] = {
    # by the operating system; Prometheus looked some seconds before or after
    "pipeline-health / Memory / {{instance}}": Between(
        lambda s: s.rss_bytes * 0.8, lambda s: s.rss_bytes * 1.2
    ),
    "pipeline-health / Connections / {{instance}} descriptors": Between(
        lambda s: s.descriptors - 5, lambda s: s.descriptors + 5
    ),
    "pipeline-health / State size / {{instance}}": Between(
        lambda s: s.state_bytes * 0.5, lambda s: s.state_bytes * 2
    ),
    "pipeline-health / Free on its disk / {{instance}}": Between(
        lambda s: s.free_bytes * 0.9, lambda s: s.free_bytes * 1.1
    ),
    # while nothing comes, the state is written every 10 s
    "pipeline-health / Last commit / {{instance}}": Between(lambda s: 0, lambda s: 12),
    # a receiver that works comes round every 0.2 s, and at most 2 s late
    "pipeline-health / Heartbeat age / {{instance}}": Between(lambda s: 1e-9, lambda s: 2),
}


def last_heard_s(world: World, source: Source) -> tuple[float, float]:
    """Between which ages the last beats are: sent and counted."""
    return (
        world.moment_s - source.phases[-1].begins_s,
        world.moment_s - source.phases[-2].ends_s,
    )


LAST_HEARD = "pipeline-health / Publishers / Last heard"
OF_ENGINES = {"market-data", "paper-desk"}
TARGETS = {target.name: target for target in targets() if target.board not in OF_ENGINES}
"""Of the boards of sidecars; those of the engine are proven in test_market_board.py and
test_paper_board.py."""
VALUED = [target for target in TARGETS.values() if target.board != "alerts"]


def close(expected: Values) -> Any:
    """Equal but for the last digits: times are doubles here, and milliseconds in Prometheus."""
    return pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_each_query_of_the_boards_has_an_oracle_and_no_oracle_is_for_nothing():
    elsewhere = {name for name, *_ in (*WORDS, *LATER)} | {LAST_HEARD, OVER_TIME}
    assert set(TARGETS) == {*EXACT, *MEASURED, *GROWING, *elsewhere}
    assert not {*EXACT} & {*MEASURED, *GROWING}


@pytest.mark.parametrize("name", EXACT)
def test_the_answer_for_all_sidecars_is_what_the_input_gives(world, name):
    target = TARGETS[name]
    asked = Asked(world, world.sources)
    assert world.ask(target.expression()) == close(EXACT[name](asked))


@pytest.mark.parametrize("name", EXACT)
def test_the_answer_for_what_was_chosen_is_what_that_part_of_the_input_gives(world, name):
    target = TARGETS[name]
    source = world.sources[1]
    choice = {"symbol": "ETHUSDT", "publisher": "p3", "test": "burst"}
    heeded = {name: it for name, it in choice.items() if f"${name}" in target.query["expr"]}
    asked = Asked(world, [source], **heeded)
    chosen = target.expression(job="metrics-sidecar", instance=re.escape(source.name), **choice)
    assert world.ask(chosen.replace("\\", "\\\\")) == close(EXACT[name](asked))


@pytest.mark.parametrize("name", MEASURED)
def test_what_no_message_decides_is_what_others_see(world, name):
    target = TARGETS[name]
    found = world.ask(target.expression())
    for source in world.sources:
        value = found.pop(frozenset({("instance", source.name)}))
        assert MEASURED[name].low(source) <= value <= MEASURED[name].high(source)
    assert found == {}


def test_last_heard_is_when_the_last_beats_were_sent(world):
    found = world.ask(TARGETS[LAST_HEARD].expression())
    for source in world.sources:
        low_s, high_s = last_heard_s(world, source)
        for name in source.input.account.publishers:
            value = found.pop(frozenset({("instance", source.name), ("publisher", name)}))
            assert low_s - 0.01 <= value <= high_s + 0.01
    assert found == {}


def test_the_samples_that_prometheus_has_are_the_account_of_the_input(world):
    """What the oracle of the rates rests on: each series, at its scrapes, first and last."""
    for source in world.sources:
        for key in source.values():
            name, labels = key
            got = world.samples(name, source, world.alarm_s, **dict(labels))
            assert got == source.samples(key, world.alarm_s), name


# The recording rules


def recorded_rate(name: str, *by: str) -> Callable[[Source, float], Values]:
    """Sums of rates over a minute, by some labels of one sidecar."""

    def expected(source: Source, end_s: float) -> Values:
        found: dict[frozenset[tuple[str, str]], float] = defaultdict(float)
        for key in source.values():
            if key[0] == name:
                value = rate(source.samples(key, end_s), end_s, 60)
                labels = dict(key[1])
                if value is not None:
                    found[frozenset((k, labels[k]) for k in by)] += value
        return dict(found)

    return expected


def last(name: str) -> Callable[[Source, float], Values]:
    """What each series of a name was at the last scrape."""

    def expected(source: Source, end_s: float) -> Values:
        return {
            key[1]: source.samples(key, end_s)[-1][1]
            for key in source.values()
            if key[0] == name and source.samples(key, end_s)
        }

    return expected


def recorded_quantile(q: float) -> Callable[[Source, float], Values]:
    buckets = recorded_rate("telemetry_event_age_seconds_bucket", "le")

    def expected(source: Source, end_s: float) -> Values:
        found = buckets(source, end_s)
        return {NOTHING: histogram_quantile(q, {dict(k)["le"]: v for k, v in found.items()})}

    return expected


RECORDED = {
    "instance_side:trades:rate1m": recorded_rate("trades_total", "side"),
    "instance_side:volume:rate1m": recorded_rate("volume_total", "side"),
    "instance_symbol_side:telemetry_symbol_trades:rate1m": recorded_rate(
        "telemetry_symbol_trades_total", "symbol", "side"
    ),
    "instance:telemetry_event_age_seconds:p50_1m": recorded_quantile(0.5),
    "instance:telemetry_event_age_seconds:p99_1m": recorded_quantile(0.99),
    "instance_reason:telemetry_rejected:rate1m": recorded_rate(
        "telemetry_rejected_total", "reason"
    ),
    "instance:telemetry_received:known": last("telemetry_received_total"),
    "instance:telemetry_turned_away:known": last("telemetry_turned_away_total"),
    "instance:telemetry_state_set_aside:known": last("telemetry_state_set_aside_total"),
    "instance:telemetry_state_rewritten:known": last("telemetry_state_rewritten_total"),
    "instance_reason:telemetry_rejected:known": last("telemetry_rejected_total"),
    "instance_publisher_reason:telemetry_publisher_lost:known": last(
        "telemetry_publisher_lost_total"
    ),
    "instance_publisher_reason:telemetry_publisher_refused:known": last(
        "telemetry_publisher_refused_total"
    ),
    "instance:telemetry_received_unexplained:difference": lambda source, end_s: {NOTHING: 0},
    "instance:telemetry_trades_unexplained:difference": lambda source, end_s: {NOTHING: 0},
    "instance_publisher:telemetry_publisher_unexplained:difference": lambda source, end_s: {
        frozenset({("publisher", name)}): 0 for name in source.input.account.publishers
    },
}


def test_each_recording_rule_has_an_oracle():
    assert set(RULES) == {*RECORDED, BUSY, COMMIT}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_series_is_what_the_input_gives(world, name):
    """A rule may or may not have seen a scrape of the very moment of its evaluation."""
    for source in world.sources:
        at_s, found = recorded(world, name, source)
        with_last = RECORDED[name](source, at_s)
        without = RECORDED[name](source.without_last_scrape(at_s), at_s)
        assert found in (close(with_last), close(without))


def test_the_recorded_load_is_the_growth_of_the_busy_time(world):
    for source in world.sources:
        at_s, found = recorded(world, BUSY, source)
        samples = world.samples("telemetry_receiver_busy_seconds_total", source, at_s)
        candidates = [rate(samples, at_s, 60), rate(samples[:-1], at_s, 60)]
        assert any(found == close({NOTHING: value}) for value in candidates)
        assert samples[-1][1] <= source.cpu_s  # it cannot have worked for longer than the process


def test_the_recorded_time_of_a_commit_is_the_growth_of_its_time_by_that_of_its_number(world):
    for source in world.sources:
        at_s, found = recorded(world, COMMIT, source)
        times_s = world.samples("telemetry_commit_seconds_total", source, at_s)
        counts = world.samples("telemetry_commits_total", source, at_s)
        candidates = [
            rate(times_s[:end], at_s, 60) / rate(counts[:end], at_s, 60) for end in (None, -1)
        ]
        assert any(found == close({NOTHING: value}) for value in candidates)
        assert 0 < found[NOTHING] < 1  # a second would be a disk that hangs


def test_the_accounts_that_do_not_balance_are_recorded_by_how_much(world):
    unexplained = "instance_publisher:telemetry_publisher_unexplained:difference"
    found = world.ask(f"{unexplained} != 0", world.broken_s)
    assert {dict(key)["publisher"]: value for key, value in found.items()} == {
        "forgotten": 1,
        "doubled": -3,
    }
    two = frozenset({("instance", world.sources[1].name)})
    trades = world.ask("instance:telemetry_trades_unexplained:difference != 0", world.broken_s)
    assert trades == {two: -3}  # in an account, and not in the totals


def recorded(world: World, name: str, source: Source) -> tuple[float, Values]:
    """The last evaluation before the moment, by labels other than job and instance."""
    found: Values = {}
    times = set()
    for each in world.prometheus.query(f'{name}{{instance="{source.name}"}}[5s]', world.moment_s):
        labels = {k: v for k, v in each["metric"].items() if k not in {"__name__", "job"}}
        del labels["instance"]
        at_s, value = each["values"][-1]
        times.add(at_s)
        found[frozenset(labels.items())] = float(value)
    (at_s,) = times
    return at_s, found


# States, as the words that a reader sees, and numbers of other moments

SIDECAR = ("trading-telemetry / Sidecar", "pipeline-health / Sidecar")
HEALTH = (
    "trading-telemetry / Health / {{instance}}",
    "pipeline-health / Receiver over time / {{instance}}",
)
PUBLISHERS = "pipeline-health / Publishers over time / {{publisher}} on {{instance}}"
OVER_TIME = (
    "alerts / Alerts over time / {{alertname}} {{instance}} {{publisher}} {{symbol}} {{reason}}"
)


def each_sidecar(first: str, second: str) -> Callable[[World], dict[frozenset, str]]:
    def expected(world: World) -> dict[frozenset, str]:
        words = zip(world.sources, (first, second), strict=True)
        return {frozenset({("instance", source.name)}): word for source, word in words}

    return expected


def each_publisher(open_word: str) -> Callable[[World], dict[frozenset, str]]:
    def expected(world: World) -> dict[frozenset, str]:
        return {
            frozenset({("instance", source.name), ("publisher", name)}): (
                open_word if publisher.open else "ended"
            )
            for source in world.sources
            for name, publisher in source.input.account.publishers.items()
        }

    return expected


def suites(world: World) -> dict[frozenset, str]:
    """What each said last; one that was under way five minutes ago is silent."""
    return {
        frozenset({("instance", source.name), ("suite", suite)}): (
            "silent" if suite == "profile" else said["status"]
        )
        for source in world.sources
        for suite, said in source.input.account.benchmarks.suites.items()
    }


def last_suite(world: World) -> dict[frozenset, str]:
    said = [
        last for source in world.sources for last in source.input.account.benchmarks.suites.values()
    ]
    return {NOTHING: max(said, key=lambda each: each["timestamp"])["status"]}


def worst(word: str) -> Callable[[World], dict[frozenset, str]]:
    return lambda world: {NOTHING: word}


WORDS: list[tuple[str, str, Callable[[World], dict[frozenset, str]]]] = [
    *((name, "start_s", worst("live")) for name in SIDECAR),
    *((name, "blocked_s", worst("blocked")) for name in SIDECAR),
    *((name, "stalled_s", worst("stalled")) for name in SIDECAR),
    *((name, "one_away_s", worst("away")) for name in SIDECAR),
    *((name, "away_s", worst("away")) for name in SIDECAR),
    *((name, "moment_s", each_sidecar("live", "live")) for name in HEALTH),
    *((name, "blocked_s", each_sidecar("blocked", "live")) for name in HEALTH),
    *((name, "mended_s", each_sidecar("live", "live")) for name in HEALTH),
    *((name, "stalled_s", each_sidecar("live", "stalled")) for name in HEALTH),
    *((name, "one_away_s", each_sidecar("live", "away")) for name in HEALTH),
    (PUBLISHERS, "moment_s", each_publisher("live")),
    (PUBLISHERS, "alarm_s", each_publisher("silent")),
    ("benchmark / Last suite", "moment_s", last_suite),
    ("benchmark / Suites over time / {{suite}} on {{instance}}", "moment_s", suites),
]


@pytest.mark.parametrize(("name", "moment", "expected"), WORDS)
def test_a_state_is_shown_as_its_word(world, name, moment, expected):
    target = TARGETS[name]
    found = world.ask(target.expression(), getattr(world, moment))
    assert {key: target.word(value) for key, value in found.items()} == expected(world)


def publishers_known(world: World) -> float:
    return sum(len(source.input.account.publishers) for source in world.sources)


ZERO_AT_FIRST = [
    "trading-telemetry / Buys",
    "trading-telemetry / Sells",
    "trading-telemetry / Lost or refused",
    "pipeline-health / Publishers heard",
    "pipeline-health / Residue",
    "pipeline-health / Lost",
    "pipeline-health / Waiting",
    "pipeline-health / Refused",
    "pipeline-health / Rejected",
    "pipeline-health / Turned away",
]
LATER: list[tuple[str, str, Callable[[World], Values]]] = [
    *((name, "start_s", lambda world: {NOTHING: 0}) for name in ZERO_AT_FIRST),
    ("pipeline-health / Publishers heard", "moment_s", lambda w: {NOTHING: publishers_known(w)}),
    ("pipeline-health / Publishers heard", "alarm_s", lambda world: {NOTHING: 0}),
    ("pipeline-health / Turned away", "broken_s", lambda world: {NOTHING: world.turned_away}),
    # one event in no count, and three counted twice
    ("pipeline-health / Residue", "broken_s", lambda world: {NOTHING: 1 + 3}),
    (
        "pipeline-health / Queue / {{instance}}",
        "broken_s",
        lambda world: {frozenset({("instance", source.name)}): 0 for source in world.sources},
    ),
    *((f"alerts / {s}", "start_s", lambda world: {NOTHING: 0}) for s in ("Critical", "Warning")),
    ("alerts / Info", "start_s", lambda world: {NOTHING: 0}),
    ("alerts / Firing now / For", "start_s", lambda world: {}),
]


@pytest.mark.parametrize(("name", "moment", "expected"), LATER)
def test_a_number_of_another_moment_is_what_had_happened_then(world, name, moment, expected):
    found = world.ask(TARGETS[name].expression(), getattr(world, moment))
    assert found == expected(world)


def test_the_table_tells_whose_account_does_not_balance_and_by_how_much(world):
    found = world.ask(
        TARGETS["pipeline-health / Publishers / Residue"].expression(), world.broken_s
    )
    wrong = {dict(key)["publisher"]: value for key, value in found.items() if value}
    assert wrong == {"forgotten": 1, "doubled": 3}


def test_a_full_table_is_shown_as_full(world):
    live, limit, spent = (
        world.ask(
            TARGETS[f"pipeline-health / Lives of publishers / {name}"].expression(
                instance=re.escape(world.sources[1].name).replace("\\", "\\\\")
            ),
            world.broken_s,
        )
        for name in ("live", "limit", "spent")
    )
    assert alone(live) == alone(limit) == EPOCHS_MAX
    assert alone(spent) == 0
    assert world.turned_away < CROWD


@dataclass(frozen=True)
class Growth:
    """A counter that grew in one sidecar after the account was closed, up to a moment."""

    metric: str
    source: int
    moment: str = "broken_s"
    labels: tuple[tuple[str, str], ...] = ()
    total: bool = False
    """Whether the board sums it up over all sidecars."""
    ends_at: Callable[[World], float] | None = None
    """What it came to, from 0, where that is known."""


GROWING = {
    "pipeline-health / Connections refused per second / {{reason}}": Growth(
        "telemetry_connections_refused_total",
        0,
        "refused_s",
        labels=(("reason", "handshake"),),
        ends_at=lambda world: 1,
    ),
    "pipeline-health / Errors survived per second / {{instance}}": Growth(
        "telemetry_receiver_errors_total", 1, ends_at=lambda world: 1
    ),
    "pipeline-health / Received per second by outcome / turned away": Growth(
        "telemetry_turned_away_total", 1, total=True, ends_at=lambda world: world.turned_away
    ),
    "pipeline-health / Commits per second / {{instance}} written": Growth(
        "telemetry_commits_total", 1
    ),
    "pipeline-health / Commits per second / {{instance}} failed": Growth(
        "telemetry_commit_failures_total", 0, "mended_s"
    ),
    "pipeline-health / CPU / {{instance}}": Growth("process_cpu_seconds_total", 1),
}
"""Their samples are the oracle."""


@pytest.mark.parametrize("name", GROWING)
def test_what_grew_after_the_account_was_closed_is_the_growth_of_its_samples(world, name):
    growth = GROWING[name]
    source, moment_s = world.sources[growth.source], getattr(world, growth.moment)
    samples = world.samples(growth.metric, source, moment_s, **dict(growth.labels))
    assert samples[0][1] < samples[-1][1]
    expected = rate(samples, moment_s, WINDOW_S)
    assert expected > 0
    key = frozenset(growth.labels or ({} if growth.total else {("instance", source.name)}))
    assert world.ask(TARGETS[name].expression(), moment_s)[key] == pytest.approx(expected)
    if growth.ends_at:
        assert (samples[0][1], samples[-1][1]) == (0, growth.ends_at(world))


# The board of alerts, the annotations, the variables


def severities() -> dict[str, str]:
    rules = yaml.safe_load((ROOT / "infra/prometheus/rules/alerts.yml").read_text())
    return {
        rule["alert"]: rule["labels"]["severity"]
        for group in rules["groups"]
        for rule in group["rules"]
    }


def test_the_alerts_that_fire_are_counted_named_and_timed_and_nothing_else(world):
    expected = world.expected_alerts()
    severity_of = severities()
    for severity in ("critical", "warning", "info"):
        count = sum(severity_of[name] == severity for name, _, _ in expected)
        target = TARGETS[f"alerts / {severity.capitalize()}"]
        assert world.ask(target.expression(), world.alarm_s) == {NOTHING: count}
        assert world.ask(target.expression(), world.start_s) == {NOTHING: 0}
    now = world.ask(TARGETS["alerts / Firing now / For"].expression(), world.alarm_s)
    assert {which_alert(key) for key in now} == expected
    assert all(its["severity"] == severity_of[its["alertname"]] for its in map(dict, now))
    began_s = world.alarm_s - min(source.phases[0].ends_s for source in world.sources)
    assert all(0 < for_s <= began_s for for_s in now.values())


def test_an_alert_over_time_is_pending_before_it_fires(world):
    target = TARGETS[OVER_TIME]
    at_alarm = world.ask(target.expression(), world.alarm_s)
    assert {which_alert(key) for key in at_alarm} == world.expected_alerts()
    assert {target.word(value) for value in at_alarm.values()} == {"firing"}
    pending = world.prometheus.query(
        'ALERTS{alertname="DeliveryLagHigh", alertstate="pending"}[5m]', world.alarm_s
    )
    for each in pending:
        moment_s, _ = each["values"][0]
        found = world.ask(target.expression(), moment_s)
        (value,) = [
            value
            for key, value in found.items()
            if which_alert(key) == ("DeliveryLagHigh", each["metric"]["instance"], "")
        ]
        assert target.word(value) == "pending"
    assert len(pending) == len(world.sources)


def test_the_annotations_mark_starts_and_alerts(world):
    notes = {each["name"]: each for each in BOARDS["alerts"]["annotations"]["list"]}
    starts = notes["Sidecar started"]
    assert starts["useValueForTime"] is True
    found = {
        dict(key)["instance"]: (dict(key)["version"], value)
        for key, value in world.ask(substitute(starts["expr"])).items()
    }
    for source in world.sources:
        at_ms = pytest.approx(source.started_s * 1000, abs=50)
        assert found.pop(source.name) == (version("metrics-sidecar"), at_ms)
    assert found == {}
    marked = world.ask(substitute(notes["Alerts"]["expr"]), world.alarm_s)
    important = {name for name, severity in severities().items() if severity != "info"}
    fired = {name for name, _, _ in world.expected_alerts()}
    assert {dict(key)["alertname"] for key in marked} == fired & important


def test_the_variables_offer_what_there_is(world):
    offered = {}
    for board in BOARDS.values():
        if board["uid"] in OF_ENGINES:
            continue
        for each in board["templating"]["list"]:
            if each["type"] == "query":
                query = re.fullmatch(r"label_values\((.+), (\w+)\)", each["query"])
                found = world.prometheus.query(substitute(query[1]), world.moment_s)
                offered[each["name"]] = {one["metric"][query[2]] for one in found}
    assert offered == {
        "job": {"metrics-sidecar"},
        "instance": {source.name for source in world.sources},
        "symbol": {"BTCUSDT", "ETHUSDT", "(none)"},
        "publisher": {"p1", "p2", "p3"},
        "test": {"away", "burst", "busy"},
    }


def test_every_selector_matches_a_series_that_is_really_served_recorded_or_made_by_prometheus(
    world,
):
    served = {
        sample.name
        for source in world.sources
        for family in text_string_to_metric_families(source.served)
        for sample in family.samples
    }
    known = served | set(RULES) | {"up", "ALERTS", "ALERTS_FOR_STATE"}
    expressions = {target.expression() for target in TARGETS.values()}
    for expression in expressions | set(RULES.values()):
        for selector in selectors(expression):
            assert selector.name in known
            if selector.name != "ALERTS":  # of which there are few, proven above
                assert world.ask(f"count({selector})", world.alarm_s)


# When nobody answers

FADING = {"Event age p99"}
"""What speaks of the last minute goes on doing so until the minute is over."""


@pytest.mark.parametrize(
    "target",
    [t for t in VALUED if t.panel["type"] == "stat" and t.name not in SIDECAR],
    ids=lambda target: target.name,
)
def test_a_number_is_unknown_when_no_sidecar_answers(world, target):
    found = alone(world.ask(target.expression(), world.away_s))
    assert math.isnan(found) == (target.panel["title"] not in FADING)
