"""/metrics as the world sees it: one reading, and the sampler that reads through everything.

The sampler knows what a counter is, and nothing of kills: it is told only when a new life begins.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

Readings = Mapping[str, float]
SAMPLE_S: Final = 0.02
REQUEST_S_MAX: Final = 2.0
VIOLATIONS_MAX: Final = 20
_RECEIVED_AS: Final = ("duplicates", "gaps", "beats", "skips", "turned_away")
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


def parse(text: str) -> dict[str, float]:
    """Each sample by its name and labels, as written."""
    values = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            values[name] = float(value)
    return values


def counters(text: str) -> dict[str, float]:
    """Only the samples that never go down: counters and the parts of histograms."""
    values = {}
    counting = False
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:4]
            counting = kind in ("counter", "histogram") and not name.startswith(_OF_THE_PROCESS)
        elif counting and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            values[name] = float(value)
    return values


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


class Sampler:
    """Reads /metrics every 20 ms; notes what went down, vanished, or does not balance."""

    def __init__(self, port: int, sources: Sequence[str]) -> None:
        self._reader = Reader(port)
        self._sources = sources
        self._highest: dict[str, float] = {}
        self._life = 0
        self._ending = threading.Event()
        self.samples = 0
        self.violations: list[str] = []
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def new_life(self) -> None:
        """Forget what was: the state is put back to an older one, and nobody serves now."""
        self._life += 1

    def close(self) -> None:
        """End the thread."""
        self._ending.set()
        self._thread.join()
        self._reader.close()

    def _run(self) -> None:
        life = 0
        while not self._ending.wait(SAMPLE_S):
            asked_in = self._life
            text = self._reader.text()
            if asked_in != self._life or text is None:
                continue
            if life != asked_in:
                life = asked_in
                self._highest.clear()
            self.samples += 1
            self._take(text)

    def _take(self, text: str) -> None:
        found = counters(text)
        highest = self._highest
        at = time.strftime("%H:%M:%S")
        for name, value in highest.items():
            seen = found.get(name)
            if seen is None:
                self._note(f"{at} {name} was {value:g} and is gone")
            elif seen < value:
                self._note(f"{at} {name} went down from {value:g} to {seen:g}")
        highest.update(found)
        for problem in unbalanced(parse(text), self._sources):
            self._note(f"{at} {problem}")

    def _note(self, violation: str) -> None:
        with suppress(IndexError):
            if len(self.violations) < VIOLATIONS_MAX:
                self.violations.append(violation)
