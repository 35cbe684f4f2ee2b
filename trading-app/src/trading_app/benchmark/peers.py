"""Other ways to count a trade, measured beside `Publisher.publish` in one run.

In turns of short blocks, so that whatever else the machine does meets all of them alike, and each
one's count is held against what it was given. It must not know how a way works.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Final

from trade_telemetry import Publisher
from trading_app.benchmark import BenchmarkError
from trading_app.benchmark.clock import back_to_back
from trading_app.benchmark.figures import latency
from trading_app.benchmark.program import wait_until
from trading_app.benchmark.results import Peer
from trading_app.benchmark.ways import TRADES, Counter, Way
from trading_app.benchmark.ways_in_process import IN_PROCESS
from trading_app.benchmark.ways_sending import SENDING

BLOCK_CALLS: Final = 500
PAUSE_S: Final = 0.003
"""After a block, for what it left to do to other processes and to threads without Python."""
SETTLE_S_MAX: Final = 30.0
ARRIVE_S_MAX: Final = 10.0
ARRIVE_LOSSY_S_MAX: Final = 0.5
WAYS: Final = (*SENDING, *IN_PROCESS)


def measure_peers(
    publisher_address: str,
    calls: int,
    rounds: int,
    tell: Callable[[str], None],
    folder: Path | None = None,
    ways: Sequence[Way] = WAYS,
) -> list[Peer]:
    """Each of the ways beside `publish` with a journal file, ``calls`` of each in each round.

    ``publisher_address`` is where a running sidecar receives; the journal is in ``folder``, by
    default the system's temporary one. A way whose package is not installed is ``missing``. Raises
    BenchmarkError when the sidecar goes away, and when a way that loses nothing has not counted
    what it was given.
    """
    with ExitStack() as stack:
        ours = _Lane("publish", stack.enter_context(_publishing(publisher_address, folder)))
        nothing = _Lane("nothing", Counter(_do_nothing, lambda: nothing.given))
        lanes, missing = _open(ways, stack)
        everyone = [nothing, ours, *lanes.values()]
        _run(everyone, min(calls, BLOCK_CALLS))  # to warm up
        for lane in everyone:
            lane.rounds_ns.clear()
        for number in range(1, rounds + 1):
            _run(everyone, calls)
            tell(f"peers: round {number} of {rounds}, publish {median(ours.rounds_ns[-1]):,.0f} ns")
        for lane in everyone:
            lane.check(tell)
    return [
        _peer(way, lanes[way.name], ours, nothing)
        if way.name in lanes
        else _left_out(way, missing[way.name])
        for way in ways
    ]


@dataclass(slots=True)
class _Lane:
    """A way while it is measured: how long each call took, a list for each round."""

    name: str
    counter: Counter
    lossy: bool = False
    given: int = 0
    rounds_ns: list[list[int]] = field(default_factory=list)

    def run(self, calls: int) -> None:
        """A block of calls, part of the latest round; returns when nothing of it runs on."""
        times = back_to_back([partial(self.counter.count, *trade) for trade in TRADES], calls)
        self.given += calls
        self.rounds_ns[-1] += times.calls_ns()
        self.counter.settle()
        time.sleep(PAUSE_S)

    def check(self, tell: Callable[[str], None]) -> None:
        """Hold what has arrived against what was given."""
        seconds_max = ARRIVE_LOSSY_S_MAX if self.lossy else ARRIVE_S_MAX
        with suppress(BenchmarkError):  # what it lacks then is told below
            wait_until(lambda: self.counter.counted() >= self.given, seconds_max, self.name)
        counted = self.counter.counted()
        said = f"{self.name}: {self.given:,} trades were given, and {counted:,} counted"
        if counted > self.given or (counted < self.given and not self.lossy):
            raise BenchmarkError(said)
        if counted < self.given:
            tell(said)


def _open(ways: Sequence[Way], stack: ExitStack) -> tuple[dict[str, _Lane], dict[str, str]]:
    """Those that are there, open until the stack is left, and why the others are not."""
    lanes, missing = {}, {}
    for way in ways:
        try:
            counter = stack.enter_context(way.open())
        except ModuleNotFoundError as error:
            missing[way.name] = f"the package {way.package} is not installed ({error.name})"
        except ImportError as error:
            missing[way.name] = f"the package {way.package} cannot be used: {error}"
        else:
            lanes[way.name] = _Lane(way.title, counter, way.lossy)
    return lanes, missing


def _run(lanes: list[_Lane], calls: int) -> None:
    """A round: so many calls of each, in turns; nobody comes after the same one every time."""
    for lane in lanes:
        lane.rounds_ns.append([])
    for turn, first in enumerate(range(0, calls, BLOCK_CALLS)):
        shift = turn % len(lanes)
        for lane in lanes[shift:] + lanes[:shift]:
            lane.run(min(BLOCK_CALLS, calls - first))


def _do_nothing(_side: str, _qty: float, _symbol: str, _price: float) -> None:
    """What measuring itself takes."""


@contextmanager
def _publishing(address: str, folder: Path | None) -> Iterator[Counter]:
    """Our own way: a publisher with a journal file, at a sidecar that is there."""
    with (
        tempfile.TemporaryDirectory(prefix="peers-", dir=folder) as journal_dir,
        Publisher(address, source="benchmark-peers", journal_dir=journal_dir) as publisher,
    ):
        publish, stats = publisher.publish, publisher.stats

        def count(side: str, qty: float, symbol: str, price: float) -> object:
            return publish(side, qty, symbol=symbol, price=price)

        def has_room() -> bool:
            now = stats()
            if not now.connected:
                raise BenchmarkError(f"the sidecar at {address} went away while it was measured")
            return now.sent == now.published and now.waiting < now.capacity // 2

        def settle() -> None:
            wait_until(has_room, SETTLE_S_MAX, f"the sidecar at {address} takes in nothing")

        wait_until(lambda: stats().connected, SETTLE_S_MAX, f"no sidecar answers at {address}")
        yield Counter(count, lambda: stats().acknowledged, settle)


def _peer(way: Way, lane: _Lane, ours: _Lane, nothing: _Lane) -> Peer:
    ratios = [
        (median(its) - median(none)) / (median(our) - median(none))
        for its, our, none in zip(lane.rounds_ns, ours.rounds_ns, nothing.rounds_ns, strict=True)
    ]
    return Peer(
        name=way.name,
        title=way.title,
        version=version(way.package),
        what=way.what,
        call=latency(chain.from_iterable(lane.rounds_ns)),
        ratios=ratios,
    )


def _left_out(way: Way, why: str) -> Peer:
    return Peer(
        name=way.name,
        title=way.title,
        version=None,
        what=way.what,
        call=None,
        ratios=[],
        missing=why,
    )
