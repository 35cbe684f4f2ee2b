"""Two sidecars under a known input while a real Prometheus scrapes them, and what became of it."""

from __future__ import annotations

import math
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import zmq
from tests.known_input import EPOCHS_MAX, Input, Series
from tests.parts import ROOT, Prometheus, Sidecar, fetch, until
from tests.promql_oracle import Sample

WINDOW_S = 4.0
"""Over what the boards' rates run."""

CROWD = 1_100
"""So many lives of one publisher, of which some have no place."""

FORGETFUL_S = 50
"""After a minute of silence a full table gives the place of a publisher that ended to another."""

FAULTY = (sys.executable, str(ROOT / "tests/faulty_sidecar.py"), "stall", "drop", "miscount")

Values = dict[frozenset[tuple[str, str]], float]
"""What a query answers: values by labels."""


class UndeterminedError(Exception):
    """The machine stalled just so that the account cannot say what a scrape saw: play again."""


@dataclass
class Phase:
    """What every series was between two moments in which nothing arrived."""

    begins_s: float
    ends_s: float
    values: dict[Series, float]


@dataclass
class Source:
    """One sidecar, its input, and what the operating system said of it."""

    sidecar: Sidecar
    input: Input
    phases: list[Phase] = field(default_factory=list)
    scrapes: dict[float, float] = field(default_factory=dict)
    """When each scrape began, and how many seconds it took."""
    descriptors: int = 0
    rss_bytes: int = 0
    cpu_s: float = 0
    state_bytes: int = 0
    free_bytes: int = 0
    started_s: float = 0
    served: str = ""

    @property
    def name(self) -> str:
        return self.sidecar.instance

    def wait_until_counted(self) -> None:
        counted = f"telemetry_received_total {self.input.account.received:.1f}\n"
        until(lambda: counted in fetch(f"{self.sidecar.url}/metrics"), what=counted)

    def look_from_outside(self) -> None:
        process = psutil.Process(self.sidecar.process.pid)
        self.descriptors = process.num_fds()
        self.rss_bytes = process.memory_info().rss
        self.cpu_s = sum(process.cpu_times()[:2])
        self.started_s = process.create_time()
        state = self.sidecar.folder / "state"
        self.state_bytes = sum(path.stat().st_size for path in state.glob("ledger.db*"))
        self.free_bytes = psutil.disk_usage(str(state)).free
        self.served = fetch(f"{self.sidecar.url}/metrics")

    def burst_seen_s(self) -> float:
        """When the first scrape after the burst began."""
        seen_s = min(t_s for t_s in self.scrapes if t_s >= self.phases[-1].begins_s)
        if seen_s - self.phases[-2].ends_s > WINDOW_S - 2:
            raise UndeterminedError
        return seen_s

    def values(self) -> dict[Series, float]:
        """Every series that the input decides, after all of it."""
        return self.phases[-1].values

    def samples(self, key: Series, until_s: float) -> list[Sample]:
        """The samples that Prometheus must have of a series, by when it scraped."""
        values = [(t_s, self._phase(t_s).values.get(key)) for t_s in self.scrapes if t_s <= until_s]
        return [(t_s, value) for t_s, value in values if value is not None]

    def check(self) -> None:
        """Raise UndeterminedError unless the account can say what each scrape saw."""
        for scrape_s in self.scrapes:
            self._phase(scrape_s)

    def without_last_scrape(self, until_s: float) -> Source:
        """As if the last scrape up to a moment had not been."""
        known = sorted(t_s for t_s in self.scrapes if t_s <= until_s)
        return replace(self, scrapes={t_s: self.scrapes[t_s] for t_s in known[:-1]})

    def _phase(self, scrape_s: float) -> Phase:
        """Where a scrape belongs: it shows some moment between its begin and its end."""
        ended_s = scrape_s + self.scrapes[scrape_s]
        for phase in self.phases:
            if phase.begins_s <= scrape_s and ended_s <= phase.ends_s:
                return phase
        raise UndeterminedError


class World:
    """Two sidecars, a Prometheus, and the moments as of which it is asked.

    ``start_s`` is before anything came, ``moment_s`` right after the burst, ``alarm_s`` when all
    that must fire fires and no publisher is heard any more, ``broken_s`` when the second sidecar
    has miscounted, failed on purpose and turned some of a crowd away, after a stranger has knocked
    at the first (``refused_s``). Then the first one cannot write its state (``blocked_s``), and can
    again (``mended_s``). The second one is stalled (``stalled_s``), is gone (``one_away_s``), and
    at last both are (``away_s``).
    """

    def __init__(self, folder: Path, program: str) -> None:
        one = Input(1, ("p1", "p2"), ("BTCUSDT", None))
        two = Input(2, ("p1", "p3"), ("BTCUSDT", "ETHUSDT", None), ending="p3")
        self.sources = [
            Source(Sidecar(folder / "one"), one),
            Source(Sidecar(folder / "two", *FAULTY), two),
        ]
        for source in self.sources:
            source.sidecar.wait_until_healthy()
        self.prometheus = Prometheus(program, folder, *(s.sidecar.url for s in self.sources))

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        for source in self.sources:
            source.sidecar.kill()
        self.prometheus.stop()

    def play(self) -> None:
        """The whole input, the alerts that it brings, and the end."""
        with self._pushes() as pushes:
            self._settle()
            self.start_s = time.time()
            self._send(pushes, Input.first_sight)
            self._settle()
            self._send(pushes, Input.burst)
            self._settle()
            for source in self.sources:
                source.look_from_outside()
            until(lambda: self.firing() >= self.expected_alerts(), 60, "the alerts")
            self.alarm_s = time.time()
            self._settle()
            for source in self.sources:
                scrapes = self._scrapes(source)
                source.scrapes = {t_s: scrapes[t_s] for t_s in scrapes if t_s <= self.alarm_s}
            self._break(pushes[1])
            self._block(pushes[0])
        self.moment_s = round(max(map(Source.burst_seen_s, self.sources)) + 0.01, 3)
        self._end()

    def _break(self, push: zmq.Socket) -> None:
        """Do what only a defect or a stranger does, and wait until it is scraped."""
        one, two = self.sources
        if time.time() - two.phases[-1].begins_s > FORGETFUL_S:
            raise UndeterminedError
        host, port = one.sidecar.zmq_address.removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            shown = 'telemetry_connections_refused_total{reason="handshake"} 1.0'
            until(lambda: shown in fetch(f"{one.sidecar.url}/metrics"), what="the stranger")
        refused = 'telemetry_connections_refused_total{reason="handshake"} > 0'
        until(lambda: self.prometheus.query(refused), what="the stranger, scraped")
        self.refused_s = round(max(self._scrapes(one)), 3)
        for symbol, seq in (("FAILING", 1), ("FORGOTTEN", 1), *(("DOUBLED", n) for n in (1, 2, 3))):
            push.send_json(_trade(src=symbol.lower(), epoch=1, seq=seq, symbol=symbol))
        for epoch in range(CROWD):
            push.send_json(_trade(src="crowd", epoch=epoch + 1, seq=1))
        self.turned_away = len(two.input.account.publishers) + 2 + CROWD - EPOCHS_MAX
        shown = f"telemetry_turned_away_total {self.turned_away:.1f}"
        until(lambda: shown in fetch(f"{two.sidecar.url}/metrics"), what=shown)
        self._settle()
        self.broken_s = round(min(max(self._scrapes(source)) for source in self.sources), 3)

    def _block(self, push: zmq.Socket) -> None:
        """Hold the first one's state as another program would, until that is scraped."""
        one = self.sources[0]
        with held(one.sidecar.folder / "state/ledger.db"):
            push.send_json(_trade())
            until(lambda: self._is(one, "telemetry_receiver_up", 0), what="a blocked sidecar")
            self.blocked_s = time.time()
        push.send_json(_trade())
        failed = f'telemetry_commit_failures_total{{instance="{one.name}"}} > 0'
        until(lambda: self.prometheus.query(failed), what="the failure, told")
        until(lambda: self._is(one, "telemetry_receiver_up", 1), what="a sidecar that goes on")
        self.mended_s = round(max(self._scrapes(one)), 3)

    def _end(self) -> None:
        """Stall the second sidecar, end it, end the first."""
        one, two = self.sources
        two.sidecar.process.send_signal(signal.SIGUSR1)
        until(lambda: self._is(two, "telemetry_receiver_up", 0), what="a stalled receiver")
        self.stalled_s = time.time()
        two.sidecar.kill()
        until(lambda: self._is(two, "up", 0), what="the end of one sidecar")
        self.one_away_s = time.time()
        one.sidecar.stop()
        seen = f"max(max_over_time(up[{WINDOW_S:g}s]))"
        until(lambda: self.prometheus.value(seen) == 0, what="a window without them")
        self.away_s = time.time()

    @contextmanager
    def _pushes(self) -> Iterator[list[zmq.Socket]]:
        with zmq.Context() as context:
            pushes = [self._connect(context, source) for source in self.sources]
            try:
                yield pushes
            finally:
                for push in pushes:
                    push.close(linger=0)

    def _connect(self, context: zmq.Context, source: Source) -> zmq.Socket:
        push = context.socket(zmq.PUSH)
        push.connect(source.sidecar.zmq_address)
        source.phases.append(Phase(0, math.inf, source.input.account.series()))
        return push

    def _send(self, pushes: list[zmq.Socket], step: Callable[[Input], list[bytes]]) -> None:
        """Send to each just after a scrape, so that none comes in between, until all is counted."""
        for source, push in zip(self.sources, pushes, strict=True):
            self._wait_for_scrapes(source, 1)
            source.phases[-1].ends_s = time.time()
            for frame in step(source.input):
                push.send(frame)
            source.wait_until_counted()
            source.phases.append(Phase(time.time(), math.inf, source.input.account.series()))

    def _settle(self) -> None:
        for source in self.sources:
            self._wait_for_scrapes(source, 2)

    def _wait_for_scrapes(self, source: Source, count: int) -> None:
        now_s = time.time()
        until(lambda: sum(t_s > now_s for t_s in self._scrapes(source)) >= count)

    def _scrapes(self, source: Source) -> dict[float, float]:
        name = f'scrape_duration_seconds{{instance="{source.name}"}}'
        found = self.prometheus.query(f"{name}[5m]")
        answered = self.prometheus.query(f'up{{instance="{source.name}"}}[5m]')
        ups = {t_s for each in answered for t_s, up in each["values"] if up == "1"}
        return {
            t_s: float(took_s) for each in found for t_s, took_s in each["values"] if t_s in ups
        }

    def _is(self, source: Source, name: str, value: float) -> bool:
        return self.prometheus.value(f'{name}{{instance="{source.name}"}}') == value

    def firing(self) -> set[tuple[str, str, str]]:
        """Each alert that fires: its name, its sidecar, its publisher and reason."""
        return {
            which_alert(labels) for labels in self.ask('ALERTS{alertstate="firing"}', time.time())
        }

    def expected_alerts(self) -> set[tuple[str, str, str]]:
        """The alerts that the input must bring: late trades, rubbish, losses, refusals."""
        expected = set()
        for source in self.sources:
            account = source.input.account
            expected.add(("DeliveryLagHigh", source.name, ""))
            expected |= {("InputRejected", source.name, reason) for reason in +account.rejected}
            for name, publisher in account.publishers.items():
                for alert, counts in (
                    ("EventsLost", publisher.lost),
                    ("TradesRefused", publisher.refused),
                ):
                    expected |= {(alert, source.name, f"{name} {reason}") for reason in +counts}
                if publisher.open:
                    expected.add(("PublisherSilent", source.name, name))
        return expected

    def samples(self, metric: str, source: Source, until_s: float, **labels: str) -> list[Sample]:
        """What Prometheus itself has of one series in the five minutes before a moment."""
        pairs = "".join(f', {key}="{value}"' for key, value in labels.items())
        return self.prometheus.samples(f'{metric}{{instance="{source.name}"{pairs}}}', until_s)

    def ask(self, expression: str, moment_s: float | None = None) -> Values:
        """What Prometheus answers as of a moment, by labels without job."""
        found = self.prometheus.query(expression, moment_s or self.moment_s)
        return {
            frozenset((k, v) for k, v in each["metric"].items() if k not in {"__name__", "job"}): (
                float(each["value"][1])
            )
            for each in found
        }


def _trade(**stamps: object) -> dict[str, object]:
    return {"type": "trade", "side": "buy", "qty": 1, "ts": time.time()} | stamps


@contextmanager
def held(database: Path) -> Iterator[None]:
    """Hold the lock of an SQLite file, so that nobody else can write it."""
    with closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def which_alert(labels: frozenset[tuple[str, str]]) -> tuple[str, str, str]:
    """An alert's name, its sidecar, its publisher and reason, of those that it has."""
    its = dict(labels)
    whose = f"{its.get('publisher', '')} {its.get('reason', '')}".strip()
    return its["alertname"], its["instance"], whose
