"""A known input for a sidecar, and what must be counted of it: an account in plain Python.

Nothing here is imported from the project: what it says is worked out from the messages alone.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

AGE_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
AGES_S = (-5, 7, 30)
"""Seconds between a trade and its sending: each is seconds away from the next bound, so that a slow
machine changes no bucket. A trade of the future counts as of age 0."""

REASONS = re.findall(
    r"\w+",
    """empty too_large oversized multipart malformed too_deep not_object unknown_type
    missing_field side qty ts symbol price ts_unit ts_future stamp batch beat skip
    benchmark benchmark_status""",
)
"""Why a message may be rejected, as the contract has it: each has a series from the start."""

LOSSES = ("rejected", "overwritten", "journal", "state", "silent")
"""Why an event may be lost, as the contract has it: each has a series from the first word on."""

EPOCHS_MAX = 1_024

STATUSES = ("started", "running", "completed", "failed")
QUANTILES = {"0.5": "p50", "0.9": "p90", "0.99": "p99", "0.999": "p99_9", "0.9999": "p99_99"}
QUANTILES["1"] = "max"
FIGURES = {
    "_ratio": "benchmark_ratio",
    "_seconds": "benchmark_duration_seconds",
    "_per_second": "benchmark_rate_per_second",
    "_bytes": "benchmark_size_bytes",
}
"""By the unit at the end of a figure's name: the metric that shows it."""

Labels = frozenset[tuple[str, str]]
Series = tuple[str, Labels]


def series(name: str, **labels: str) -> Series:
    """The identity of a series, without job and instance."""
    return name, frozenset(labels.items())


@dataclass
class Publisher:
    """A publisher: the numbers that it gave out, and what became of them."""

    last: int = 0
    head: int = 0
    oldest: int = 0
    capacity: int = 0
    durable: bool = False
    refused: Counter[str] = field(default_factory=Counter)
    open: bool = True
    applied: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    gaps: int = 0

    @property
    def waiting(self) -> int:
        return self.head - self.last

    def raise_head(self, head: int) -> None:
        self.head = max(self.head, head, self.last)

    def take_sequence(self, seq: int) -> bool:
        """Whether it is the next one; otherwise it is a duplicate or a gap."""
        self.duplicates += seq <= self.last
        self.gaps += seq > self.last + 1
        is_next = seq == self.last + 1
        self.last += is_next
        self.raise_head(self.last)
        return is_next


class Benchmarks:
    """The last result of each test, and the last word and the runs of each suite."""

    def __init__(self) -> None:
        self.heard = 0
        self.tests: dict[str, dict[str, Any]] = {}
        self.suites: dict[str, dict[str, Any]] = {}
        self.runs: Counter[tuple[str, str]] = Counter()

    def take(self, message: dict[str, Any]) -> None:
        self.heard += 1
        if message["type"] == "benchmark":
            self.tests[message["test_name"]] = message
        else:
            self.suites[message["test_type"]] = message
            self.runs[message["test_type"], message["status"]] += 1

    def series(self) -> dict[Series, float]:
        found: dict[Series, float] = {
            series("telemetry_benchmarks_total"): self.heard,
            series("benchmark_tests_forgotten_total"): 0,
        }
        for test, result in self.tests.items():
            found |= _of_test(test, result)
        for suite, last in self.suites.items():
            said = series("benchmark_status_timestamp_seconds", suite=suite)
            found[said] = last["timestamp"]
            for status in STATUSES:
                labels = {"suite": suite, "status": status}
                found[series("benchmark_status", **labels)] = int(last["status"] == status)
                if status != "running":
                    found[series("benchmark_runs_total", **labels)] = self.runs[suite, status]
        return found


def _of_test(test: str, result: dict[str, Any]) -> dict[Series, float]:
    latency = result["latency"]
    found: dict[Series, float] = {
        series("benchmark_last_run_timestamp_seconds", test=test): result["timestamp"],
        series("benchmark_publish_mean_seconds", test=test): latency["mean"],
        series("benchmark_publish_calls", test=test): latency["count"],
    }
    for quantile, name in QUANTILES.items():
        found[series("benchmark_publish_seconds", test=test, quantile=quantile)] = latency[name]
    for outcome, count in result["totals"].items():
        found[series("benchmark_trades", test=test, outcome=outcome)] = count
    for name, value in result["figures"].items():
        (unit,) = [unit for unit in FIGURES if name.endswith(unit)]
        figure = name.removesuffix(unit)
        found[series(FIGURES[unit], test=test, figure=figure)] = value
    return found


class Account:
    """Takes messages as they are sent, and says what every series must be."""

    def __init__(self) -> None:
        self.received = self.beats = self.skips = self.untracked = 0
        self.trades: Counter[tuple[str | None, str]] = Counter()
        self.volume: Counter[tuple[str | None, str]] = Counter()
        self.symbols: set[str | None] = {None}
        self.ages: Counter[float] = Counter()
        self.rejected = Counter(dict.fromkeys(REASONS, 0))
        self.publishers: dict[str, Publisher] = {}
        self.last_ts = 0.0
        self.benchmarks = Benchmarks()

    def take(self, message: dict[str, Any], rejected: str | None, age_s: float) -> None:
        """Account for one message, rejected for a reason or not."""
        self.received += 1
        if message["type"].startswith("benchmark") and not rejected:
            self.benchmarks.take(message)
            return
        if "src" not in message:
            self.untracked += not rejected
            self._settle(message, rejected, age_s)
            return
        publisher = self.publishers.setdefault(message["src"], Publisher())
        if message["type"] == "beat":
            self._beat(publisher, message)
        elif message["type"] == "skip":
            self._skip(publisher, message)
        elif publisher.take_sequence(message["seq"]):
            publisher.applied += not rejected
            publisher.lost["rejected"] += bool(rejected)
            self._settle(message, rejected, age_s)

    def _settle(self, message: dict[str, Any], rejected: str | None, age_s: float) -> None:
        if rejected:
            self.rejected[rejected] += 1
            return
        symbol, side = message.get("symbol"), message["side"]
        self.symbols.add(symbol)
        self.trades[symbol, side] += 1
        self.volume[symbol, side] += message["qty"]
        self.ages[max(age_s, 0)] += 1
        self.last_ts = message["ts"]

    def _beat(self, publisher: Publisher, message: dict[str, Any]) -> None:
        self.beats += 1
        publisher.raise_head(message["head"])
        publisher.oldest = message["oldest"]
        publisher.capacity = message["capacity"]
        publisher.durable = message["durable"]
        publisher.open = not message["ending"]
        publisher.refused = Counter(message["refused"])

    def _skip(self, publisher: Publisher, message: dict[str, Any]) -> None:
        if message["first"] > publisher.last + 1:
            publisher.gaps += 1
            return
        self.skips += 1
        publisher.lost[message["reason"]] += max(message["last"] - publisher.last, 0)
        publisher.last = max(message["last"], publisher.last)
        publisher.raise_head(publisher.last)

    def series(self) -> dict[Series, float]:
        """Every series that the input decides, with its value."""
        of_side = {side: [key for key in self.trades if key[1] == side] for side in ("buy", "sell")}
        found: dict[Series, float] = {
            series("telemetry_received_total"): self.received,
            series("telemetry_beats_total"): self.beats,
            series("telemetry_untracked_total"): self.untracked,
            series("telemetry_skips_total"): self.skips,
            series("telemetry_duplicates_total"): sum(
                each.duplicates for each in self.publishers.values()
            ),
            series("telemetry_gaps_total"): sum(each.gaps for each in self.publishers.values()),
            series("telemetry_turned_away_total"): 0,
            series("telemetry_epochs"): len(self.publishers),
            series("telemetry_epochs_limit"): EPOCHS_MAX,
            series("telemetry_epochs_spent"): 0,
            series("telemetry_state_durable"): 1,
            series("telemetry_state_set_aside_total"): 0,
            series("telemetry_state_rewritten_total"): 0,
            series("telemetry_commit_failures_total"): 0,
            series("telemetry_starts_total"): 1,
            series("last_trade_ts_seconds"): self.last_ts,
            series("telemetry_receiver_up"): 1,
            series("telemetry_receiver_backlog_bytes"): 0,
            series("telemetry_receiver_errors_total"): 0,
            series("telemetry_connections_refused_total", reason="limit"): 0,
            series("telemetry_connections_refused_total", reason="handshake"): 0,
        }
        for side, keys in of_side.items():
            found[series("trades_total", side=side)] = sum(self.trades[key] for key in keys)
            found[series("volume_total", side=side)] = sum(self.volume[key] for key in keys)
            for symbol in self.symbols:
                labels = {"symbol": symbol or "(none)", "side": side}
                trades, volume = self.trades[symbol, side], self.volume[symbol, side]
                found[series("telemetry_symbol_trades_total", **labels)] = trades
                found[series("telemetry_symbol_volume_total", **labels)] = volume
        for reason, count in self.rejected.items():
            found[series("telemetry_rejected_total", reason=reason)] = count
        for bound_s in (*AGE_BOUNDS_S, float("inf")):
            le = "+Inf" if bound_s == float("inf") else f"{bound_s:g}"
            count = sum(n for age_s, n in self.ages.items() if age_s <= bound_s)
            found[series("telemetry_event_age_seconds_bucket", le=le)] = count
        for name, publisher in self.publishers.items():
            found |= _of_publisher(name, publisher)
        return found | self.benchmarks.series()


def _of_publisher(name: str, publisher: Publisher) -> dict[Series, float]:
    values = {
        "published_total": publisher.head,
        "applied_total": publisher.applied,
        "duplicates_total": publisher.duplicates,
        "gaps_total": publisher.gaps,
        "waiting": publisher.waiting,
        "residue": 0,
        "open": int(publisher.open),
        "epochs": int(publisher.open),
        "durable": int(publisher.durable),
        "held": publisher.head - publisher.oldest + 1 if publisher.oldest else 0,
        "ring_capacity": publisher.capacity,
    }
    found = {
        series(f"telemetry_publisher_{key}", publisher=name): value for key, value in values.items()
    }
    for reasons, metric, counts in (
        (("ring_full", "closed"), "refused", publisher.refused),
        (LOSSES, "lost", publisher.lost),
    ):
        for reason in reasons:
            labels = {"publisher": name, "reason": reason}
            found[series(f"telemetry_publisher_{metric}_total", **labels)] = counts[reason]
    return found


BAD_SIDE = {"type": "trade", "side": "hold", "qty": 1, "ts": 1}
RUBBISH = (
    (BAD_SIDE, "side"),
    ({"type": "trade", "side": "buy", "qty": -1, "ts": 1}, "qty"),
    ({"type": "trade", "side": "buy", "qty": 1}, "missing_field"),
    ({"type": "skip"}, "skip"),
    ({"type": "cheer"}, "unknown_type"),
    ({"type": "benchmark"}, "benchmark"),
    ({"type": "benchmark_status", "status": "cheered"}, "benchmark_status"),
)


class Input:
    """Makes the messages of one sidecar from a seed, and keeps their account.

    ``first_sight`` shows each symbol, reason and publisher once: a series that is born with a value
    has no rate yet. ``burst`` is what is measured; ``ending`` names a publisher that ends with it.
    """

    def __init__(
        self,
        seed: int,
        names: tuple[str, ...],
        symbols: tuple[str | None, ...],
        ending: str | None = None,
    ) -> None:
        self.account = Account()
        self.since_s = time.time()
        self._random = random.Random(seed)
        self._symbols = symbols
        self._ending = ending
        self._epochs = {name: seed * 100 + index for index, name in enumerate(names)}
        self._seqs = dict.fromkeys(names, 0)
        self._beats = 0
        self._said_s = 0.0

    def first_sight(self) -> list[bytes]:
        frames = [self._trade(None, symbol, AGES_S[1]) for symbol in self._symbols]
        frames += [self._trade(name, self._symbols[0], AGES_S[1]) for name in self._seqs]
        frames += [self._rubbish(*each) for each in RUBBISH]
        frames += [self._status("profile", "started", age_s=300), self._status("peers", "running")]
        frames += self._results(("burst", "busy"))
        return frames + [self._beat(name, waiting=0, refused=0) for name in self._seqs]

    def burst(self) -> list[bytes]:
        """Trades of every kind, losses, gaps, repetitions, rubbish, and beats with refusals."""
        frames = []
        for name in self._seqs:
            frames += [self._random_trade(name) for _ in range(self._random.randrange(20, 60))]
            frames += self._again(frames[-1], None, self._random.randrange(1, 4))
            for reason in self._random.sample(LOSSES[1:], 2):
                frames += self._losses(name, reason)
                frames.append(self._random_trade(name))
            frames += self._above_a_hole(name)
            frames.append(self._rubbish(BAD_SIDE | self._stamps(name), "side"))
            frames += self._again(frames[-1], "side", 2)
        for _ in range(self._random.randrange(10, 30)):
            frames.append(self._random_trade(None))
        for message, reason in RUBBISH:
            frames += [self._rubbish(message, reason) for _ in range(self._random.randrange(2, 5))]
        frames += [self._status("peers", "started"), *self._results(("away", "burst"))]
        frames += [self._status("suite", "running"), self._status("quick", "started")]
        frames.append(self._status("peers", "failed" if self._ending else "completed"))
        return frames + [self._last_beat(name) for name in self._seqs]

    def _losses(self, name: str, reason: str) -> list[bytes]:
        """Some that will never come, said twice, the second time with more."""
        first = self._seqs[name] + 1
        frames = []
        for _ in range(2):
            self._seqs[name] += self._random.randrange(1, 6)
            frames.append(self._skip(name, first, self._seqs[name], reason))
        return frames + self._again(frames[0], None, 1)

    def _above_a_hole(self, name: str) -> list[bytes]:
        """What must not be applied: a trade, a rejected one, and a loss, one too far ahead."""
        ahead = self._seqs[name] + 2
        stamps = {"src": name, "epoch": self._epochs[name], "seq": ahead}
        trade = {"type": "trade", "side": "buy", "qty": 1, "ts": round(time.time(), 3)}
        return [
            self._send(trade | stamps, None, 0),
            self._send(BAD_SIDE | stamps, "side", 0),
            self._skip(name, ahead, ahead + 3, "state"),
        ]

    def _last_beat(self, name: str) -> bytes:
        refused = self._random.randrange(1, 9)
        if name == self._ending:
            return self._beat(name, waiting=0, refused=refused, ending=True)
        waiting = self._random.randrange(1, 9)
        self._seqs[name] += waiting
        return self._beat(name, waiting=waiting, refused=refused)

    def _status(self, suite: str, status: str, age_s: float = 0) -> bytes:
        message = self._benchmark("benchmark_status", suite) | {"status": status}
        message["timestamp"] -= age_s
        return self._send(message)

    def _results(self, tests: tuple[str, ...]) -> list[bytes]:
        return [self._send(self._result(test)) for test in tests]

    def _result(self, test: str) -> dict[str, Any]:
        draw = self._random.randrange
        counts = {"refused": draw(9), "applied": draw(90, 99), "lost": draw(9), "waiting": draw(9)}
        accepted = counts["applied"] + counts["lost"] + counts["waiting"] + draw(3)
        counts |= {"accepted": accepted, "offered": accepted + counts["refused"]}
        times = sorted(draw(1, 10**6) / 10**9 for _ in QUANTILES)
        latency = {"count": draw(1, 10**6), "mean": times[2]}
        figures = {f"publish_to_send{unit}": draw(1, 10**6) / 8 for unit in FIGURES}
        return self._benchmark("benchmark", test) | {
            "totals": counts,
            "latency": latency | dict(zip(QUANTILES.values(), times, strict=True)),
            "figures": figures | {f"{test}_memory_bytes": draw(1, 10**9)},
        }

    def _benchmark(self, kind: str, test: str) -> dict[str, Any]:
        """Each a millisecond or more after the one before, so that one of them is the last."""
        self._said_s = max(round(time.time(), 3), self._said_s + 0.001)
        return {"type": kind, "test_type": test, "test_name": test, "timestamp": self._said_s}

    def _random_trade(self, name: str | None) -> bytes:
        choose = self._random
        age_s = choose.choices(AGES_S, weights=(60, 35, 5))[0]
        return self._trade(name, choose.choice(self._symbols), age_s)

    def _trade(self, name: str | None, symbol: str | None, age_s: float) -> bytes:
        message: dict[str, Any] = {
            "type": "trade",
            "side": self._random.choice(("buy", "sell")),
            "qty": self._random.randrange(1, 400) / 8,  # eighths: their sums are exact
            "ts": round(time.time() - age_s, 3),
        }
        if symbol:
            message["symbol"] = symbol
        if name:
            message |= self._stamps(name)
        return self._send(message, None, age_s)

    def _stamps(self, name: str) -> dict[str, Any]:
        self._seqs[name] += 1
        return {"src": name, "epoch": self._epochs[name], "seq": self._seqs[name]}

    def _again(self, frame: bytes, reason: str | None, times: int) -> list[bytes]:
        message = json.loads(frame)
        return [self._send(message, reason, 0) for _ in range(times)]

    def _skip(self, name: str, first: int, last: int, reason: str) -> bytes:
        stretch = {"first": first, "last": last, "reason": reason}
        return self._send({"type": "skip", "src": name, "epoch": self._epochs[name]} | stretch)

    def _rubbish(self, message: dict[str, Any], reason: str) -> bytes:
        return self._send(message, reason, 0)

    def _beat(self, name: str, *, waiting: int, refused: int, ending: bool = False) -> bytes:
        self._beats += 1
        message = {
            "type": "beat",
            "src": name,
            "epoch": self._epochs[name],
            "since": self.since_s,
            "number": self._beats,
            "head": self._seqs[name],
            "sent": self._seqs[name] - waiting,
            "oldest": min(3, self._seqs[name]),
            "capacity": 65_536,
            "refused": {"ring_full": refused, "closed": 0},
            "durable": name == "p1",
            "ending": ending,
        }
        return self._send(message)

    def _send(self, message: dict[str, Any], reason: str | None = None, age_s: float = 0) -> bytes:
        self.account.take(message, reason, age_s)
        return json.dumps(message).encode()
