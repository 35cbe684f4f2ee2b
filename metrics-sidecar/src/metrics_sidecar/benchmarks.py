"""What is kept of benchmarks: the last result of each test, and how each suite goes. Pure.

They are told by messages of their own, and are never part of a total of trades. It must not know
how they are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from metrics_sidecar.publishers import OTHER
from metrics_sidecar.rows import (
    BenchmarkRow,
    RunEnd,
    State,
    SuiteRow,
    benchmark_key,
    encode_row,
    suite_key,
)
from trade_telemetry.benchmark_messages import Benchmark, BenchmarkStatus

TESTS_MAX: Final = 32
SUITES_MAX: Final = 16
"""And "other" beside them, for those that come later."""
ENDS: Final[tuple[RunEnd, ...]] = ("started", "completed", "failed")


@dataclass(frozen=True, slots=True)
class SuiteTotals:
    """How a suite goes: its latest word, and how often each of ``ENDS`` was said."""

    latest: BenchmarkStatus
    runs: dict[RunEnd, int]


class Benchmarks:
    """At most ``TESTS_MAX`` tests, of which the one told longest ago makes room for a new one.

    At most ``SUITES_MAX`` suites, first come; later ones share "other", so that no count ever goes
    down. ``tests`` (longest ago first) and ``suites`` are replaced whole, never changed in place.
    """

    def __init__(self, state: State) -> None:
        rows = sorted(state.benchmarks.items(), key=lambda item: item[1].number)
        self.tests: dict[str, Benchmark] = {name: row.result for name, row in rows}
        self.suites = {
            name: SuiteTotals(row.latest, dict.fromkeys(ENDS, 0) | row.runs)
            for name, row in state.suites.items()
        }
        self._numbers = {name: row.number for name, row in rows}
        self._changed: set[str] = set()

    def __len__(self) -> int:
        return len(self.tests) + len(self.suites)

    def take(self, message: Benchmark | BenchmarkStatus) -> int:
        """Keep what was said; how many tests were forgotten for it, 0 or 1."""
        if isinstance(message, BenchmarkStatus):
            self._note(message)
            return 0
        return self._keep(message)

    def changes(self) -> dict[str, bytes | None]:
        """The rows of what changed since the last call; None deletes."""
        if not self._changed:
            return {}
        rows, changed = self.rows(), self._changed
        self._changed = set()
        return {key: rows.get(key) for key in changed}

    def rows(self) -> dict[str, bytes]:
        """The rows of everything."""
        found: dict[str, bytes] = {}
        for name, result in self.tests.items():
            found[benchmark_key(name)] = encode_row(BenchmarkRow(self._numbers[name], result))
        for name, suite in self.suites.items():
            found[suite_key(name)] = encode_row(SuiteRow(suite.latest, suite.runs))
        return found

    def _keep(self, result: Benchmark) -> int:
        """The latest stands last."""
        name = result.test_name
        kept = {each: self.tests[each] for each in self.tests if each != name}
        forgotten = list(kept)[: max(0, len(kept) + 1 - TESTS_MAX)]
        for each in forgotten:
            del kept[each], self._numbers[each]
            self._changed.add(benchmark_key(each))
        self._numbers[name] = max(self._numbers.values(), default=0) + 1
        self._changed.add(benchmark_key(name))
        self.tests = kept | {name: result}
        return len(forgotten)

    def _note(self, status: BenchmarkStatus) -> None:
        suites = self.suites
        is_known = status.test_type in suites or len(suites.keys() - {OTHER}) < SUITES_MAX
        name = status.test_type if is_known else OTHER
        before = suites[name].runs if name in suites else dict.fromkeys(ENDS, 0)
        runs = {end: count + (end == status.status) for end, count in before.items()}
        self.suites = suites | {name: SuiteTotals(status, runs)}
        self._changed.add(suite_key(name))
