"""/metrics as the world sees it: one reading, and the sampler that reads through everything.

The sampler knows what a counter is, and nothing of kills: it is told only when a new life begins.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

Readings = Mapping[str, float]
SAMPLE_S: Final = 0.02
REQUEST_S_MAX: Final = 2.0
VIOLATIONS_MAX: Final = 20
END_S_MAX: Final = 60.0
_RECEIVED_AS: Final = ("duplicates", "gaps", "beats", "skips", "turned_away", "benchmarks")
_OF_THE_PROCESS: Final = ("process_", "python_")


class Reader:
    """One keep-alive connection to the sidecar's /metrics; None while nobody answers 200."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: http.client.HTTPConnection | None = None

    def text(self) -> str | None:
        """The page, or None."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(
                    "127.0.0.1", self._port, timeout=REQUEST_S_MAX
                )
            self._connection.request("GET", "/metrics")
            answer = self._connection.getresponse()
            body = answer.read().decode()
        except (OSError, http.client.HTTPException):
            self.close()
            return None
        return body if answer.status == 200 else None

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass(frozen=True, slots=True)
class Page:
    """One reading: each sample by its name and labels, as written.

    ``counters`` are those of them that never go down: counters and the parts of histograms.
    """

    values: dict[str, float] = field(default_factory=dict)
    counters: dict[str, float] = field(default_factory=dict)


def parse(text: str) -> Page:
    """A page, in one pass."""
    page = Page()
    values, counters = page.values, page.counters
    counting = False
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, figure = line.rpartition(" ")
            values[name] = value = float(figure)
            if counting:
                counters[name] = value
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            counting = kind in ("counter", "histogram") and not name.startswith(_OF_THE_PROCESS)
    return page


def sample(name: str, **labels: str) -> str:
    """The name of a sample as it is written."""
    inner = ",".join(f'{key}="{labels[key]}"' for key in sorted(labels))
    return f"{name}{{{inner}}}" if inner else name


def unbalanced(values: Readings, sources: Iterable[str]) -> list[str]:
    """Each identity of the accounts that does not hold in one reading."""
    problems = []
    for source in sources:
        figures = {
            name: values.get(sample(f"telemetry_publisher_{name}", publisher=source), 0.0)
            for name in ("published_total", "applied_total", "waiting", "residue")
        }
        lost = _sum_of(values, f'telemetry_publisher_lost_total{{publisher="{source}"')
        explained = figures["applied_total"] + lost + figures["waiting"]
        if figures["published_total"] != explained or figures["residue"]:
            problems.append(f"the account of {source} does not balance: {figures}, lost {lost:g}")
    received = values.get("telemetry_received_total", 0.0)
    known = sum(values.get(f"telemetry_{name}_total", 0.0) for name in _RECEIVED_AS)
    known += _sum_of(values, "trades_total{") + _sum_of(values, "telemetry_rejected_total{")
    if received != known:
        problems.append(f"received {received:g} messages, counted as something {known:g}")
    return problems


def _sum_of(values: Readings, beginning: str) -> float:
    return sum(value for name, value in values.items() if name.startswith(beginning))


class Watch:
    """What must hold from one reading to the next, over all lives of a sidecar on one state."""

    def __init__(self, sources: Sequence[str]) -> None:
        self._sources = sources
        self._highest: dict[str, float] = {}

    def begin_again(self, figures: Readings) -> None:
        """Go on from an older state, of which /metrics said this."""
        self._highest = {name: figures[name] for name in self._highest if name in figures}

    def take(self, text: str) -> list[str]:
        """Each counter that went down or vanished, each account that does not balance.

        The highest values outlive the sidecar: one that begins at 0 after a start went down.
        """
        page = parse(text)
        problems = unbalanced(page.values, self._sources)
        for name, value in self._highest.items():
            seen = page.counters.get(name)
            if seen is None:
                problems.append(f"{name} was {value:g} and is gone")
            elif seen < value:
                problems.append(f"{name} went down from {value:g} to {seen:g}")
        self._highest.update(page.counters)
        return problems


class Sampler:
    """Reads /metrics every 20 ms, or as often as it is answered; notes what must not be."""

    def __init__(self, port: int, sources: Sequence[str]) -> None:
        self._reader = Reader(port)
        self._watch = Watch(sources)
        self._put_back: Readings = {}
        self._ending = threading.Event()
        self.samples = 0
        self.violations: list[str] = []
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def new_life(self, figures: Readings) -> None:
        """The state is put back to an older one, which had these figures; nobody serves now."""
        self._put_back = dict(figures)

    def close(self) -> None:
        """End the thread."""
        self._ending.set()
        self._thread.join(END_S_MAX)
        self._reader.close()

    def _run(self) -> None:
        life = self._put_back
        due_s = time.monotonic()
        while not self._ending.wait(due_s - time.monotonic()):
            asked_in = self._put_back
            text = self._reader.text()
            if asked_in is self._put_back and text is not None:
                if life is not asked_in:
                    life = asked_in
                    self._watch.begin_again(life)
                self._take(text)
            due_s = max(due_s + SAMPLE_S, time.monotonic())

    def _take(self, text: str) -> None:
        at = time.strftime("%H:%M:%S")
        problems = [f"{at} {problem}" for problem in self._watch.take(text)]
        self.violations += problems[: VIOLATIONS_MAX - len(self.violations)]
        self.samples += 1  # after the rest: who waits for one more waits for what it found
