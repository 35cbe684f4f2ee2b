"""The receiving side: what a sidecar takes in, how soon it is committed, and what that costs.

Each round measures everything once, so that rounds can be compared. It must not know how results
are shown.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import msgspec
import psutil
import zmq

from trading_app.benchmark import BenchmarkError, bot, flood
from trading_app.benchmark.account import Account
from trading_app.benchmark.child import Check, Child
from trading_app.benchmark.program import processor_s
from trading_app.benchmark.results import Figure
from trading_app.benchmark.sidecar import Sidecar

ROUNDS: Final = 5
PACE_PER_S: Final = 10_000
WARM_UP_MESSAGES: Final = 50_000
EVENTS_MIN: Final = 2_000
EVENTS_MAX: Final = 2_000_000
ROUND_OVERHEAD_S: Final = 1.5
"""To start processes, and to connect them."""
RING_FACTOR: Final = 2
"""More than of plain ones: a commit is up to 20,000, and a rate needs many."""
BARE_FACTOR: Final = 4
"""So that a bare loop takes about as long as a sidecar."""
PARTS: Final = 4 + RING_FACTOR
QUEUE_MESSAGES: Final = 4_096
"""Of the bare loop: deeper than the sidecar's, in its favour."""
RECEIVE_S_MAX: Final = 60.0
_Values = dict[str, float]


def measure_receiving(
    seconds: float, tell: Callable[[str], None], folder: Path | None = None
) -> list[Figure]:
    """Measure a sidecar of our own in ROUNDS rounds, in about so many seconds.

    Its state and the journals are in a ``folder`` that is there, by default the system's temporary
    one; where that is in memory, a commit costs less than it does on a disk. Raises BenchmarkError
    when it ends, and when its committed totals are not what it was given.
    """
    slice_s = max(0.0, seconds / ROUNDS - ROUND_OVERHEAD_S) / PARTS
    rounds = []
    with (
        tempfile.TemporaryDirectory(prefix="receiving-", dir=folder) as name,
        Sidecar(Path(name) / "sidecar") as sidecar,
    ):
        account = Account(sidecar, Path(name))
        per_s = flooded(account, WARM_UP_MESSAGES)
        events = min(max(EVENTS_MIN, round(per_s * slice_s)), EVENTS_MAX)
        for number in range(1, ROUNDS + 1):
            tell(f"receiving: round {number} of {ROUNDS}, {events:,} plain messages")
            rounds.append(_round(account, events, slice_s))
        account.give(0)  # nor was anything counted twice meanwhile
    return [kind.of(rounds) for kind in FIGURES]


def _round(account: Account, events: int, slice_s: float) -> _Values:
    plain_per_s = flooded(account, events)
    bare_per_s = received(BARE_FACTOR * events)
    scrapes_s: list[float] = []
    scraped_per_s = flooded(account, events, lambda: scrapes_s.append(account.scrape()))
    lost_s = (events / scraped_per_s - events / plain_per_s) / len(scrapes_s)
    return {
        "plain_per_s": plain_per_s,
        "bare_recv_per_s": bare_per_s,
        "plain_to_bare": plain_per_s / bare_per_s,
        "scrape_ms": median(scrapes_s) * 1e3,
        "scrape_percent": lost_s * 100,
        **filled(account, RING_FACTOR * events),
        **paced(account, max(EVENTS_MIN, round(PACE_PER_S * slice_s))),
    }


def flooded(account: Account, messages: int, check: Check | None = None) -> float:
    """Plain messages a second from one sending process into committed totals.

    From an early commit to the last: what was in it is not counted, nor is the time until then.
    ``check`` is done at least once, and again and again without a pause until all were sent.
    """
    with Child(flood.__name__, account.sidecar.address, str(messages)) as sender:
        sender.hear(account.check)
        began_s = time.perf_counter()
        sender.say()
        first = account.wait_for_first(messages)
        if first >= messages:  # all in one commit
            first = 0
        else:
            began_s = time.perf_counter()
        if check is None:
            sender.hear(account.check)
        else:
            check()
            sender.hear(check, every_s=0.0)
        account.give(messages)
        return (messages - first) / (time.perf_counter() - began_s)


def received(messages: int) -> float:
    """Such messages a second from the same kind of process into a loop that only receives."""
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.setsockopt(zmq.RCVHWM, QUEUE_MESSAGES)
        pull.setsockopt(zmq.RCVTIMEO, round(RECEIVE_S_MAX * 1000))
        port = pull.bind_to_random_port("tcp://127.0.0.1")
        receive = pull.recv
        with Child(flood.__name__, f"tcp://127.0.0.1:{port}", str(messages)) as sender:
            sender.hear()
            began_s = time.perf_counter()
            sender.say()
            try:
                for _ in range(messages):
                    receive()
            except zmq.Again:
                raise BenchmarkError(f"nothing to receive in {RECEIVE_S_MAX:g} s") from None
            return messages / (time.perf_counter() - began_s)


def filled(account: Account, events: int) -> _Values:
    """A full ring, filled while the sidecar stands still: events a second, and processor time."""
    with account.paused(), _bot(account, "fill", events) as child:
        child.hear(account.check)
        processes = (child.process_id, account.process.pid)
        before_s = [processor_s(each) for each in processes]
        child.say()
        child.hear(account.check)
        account.process.resume()
        found = msgspec.json.decode(child.hear(account.check), type=bot.Filled)
        spent_s = [processor_s(each) for each in processes]
        account.give(events)
        child.say()
    bot_s, sidecar_s = (
        (after - before) * 1e6 / events for before, after in zip(before_s, spent_s, strict=True)
    )
    return {
        "committed_per_s": found.committed_per_s,
        "cpu_bot_s": bot_s,
        "cpu_sidecar_s": sidecar_s,
    }


def paced(account: Account, events: int) -> _Values:
    """Trades on a schedule: how soon each is committed, and the memory of both processes then."""
    with _bot(account, "pace", events, str(PACE_PER_S)) as child:
        account.give(int(child.hear(account.check)))
        child.say()
        found = msgspec.json.decode(child.hear(account.check), type=bot.Paced)
        account.give(events)
        memory_bot = psutil.Process(child.process_id).memory_info().rss
        child.say()
    return {
        "committed_p50_ms": found.p50_ms,
        "committed_p99_ms": found.p99_ms,
        "memory_bot": memory_bot,
        "memory_sidecar": account.process.memory_info().rss,
    }


def _bot(account: Account, what: str, events: int, *more: str) -> Child:
    folder = str(account.folder / "journal")
    return Child(bot.__name__, what, account.sidecar.address, folder, str(events), *more)


class _Kind(NamedTuple):
    """A figure without its values."""

    name: str
    title: str
    unit: str
    what: str

    def of(self, rounds: list[_Values]) -> Figure:
        values = [values[self.name] for values in rounds]
        return Figure(value=median(values), rounds=values, **self._asdict())


FIGURES: Final = (
    _Kind(
        "plain_per_s",
        "Plain messages",
        "events/s",
        "Trades without stamps from one sending process: from the first 5 % in committed totals "
        "until all are.",
    ),
    _Kind(
        "bare_recv_per_s",
        "A bare recv loop",
        "messages/s",
        "A process sends the same messages, four times as many, to a loop that only receives them.",
    ),
    _Kind(
        "plain_to_bare",
        "Plain messages to a bare recv loop",
        "×",
        "The first of these through the second, in turns.",
    ),
    _Kind(
        "committed_per_s",
        "Tracked and committed",
        "events/s",
        "A full ring with a journal file, filled while the sidecar stands still: from the first "
        "5 % acknowledged until all are.",
    ),
    _Kind(
        "committed_p50_ms",
        "Publish to committed, p50",
        "ms",
        f"At {PACE_PER_S:,} a second: from when each trade is due until a subscriber of its own at "
        "the acknowledgement address hears that it is committed.",
    ),
    _Kind("committed_p99_ms", "Publish to committed, p99", "ms", "The same, 99th percentile."),
    _Kind(
        "scrape_ms",
        "A scrape under load",
        "ms",
        "One answer of /metrics while plain messages come as fast as they can be sent; the one who "
        "asks shares the cores.",
    ),
    _Kind(
        "scrape_percent",
        "What a scrape a second takes",
        "%",
        "Of the rate of plain messages: how much longer they took while scrapes came one after "
        "another, through the number of scrapes. Below 0: less than the noise.",
    ),
    _Kind(
        "cpu_bot_s",
        "Processor time of the bot",
        "s per million",
        "User and system time for a million events: publishing, sending, hearing that they are "
        "committed; full rings.",
    ),
    _Kind(
        "cpu_sidecar_s",
        "Processor time of the sidecar",
        "s per million",
        "The same of the process that receives and commits them.",
    ),
    _Kind(
        "memory_bot",
        "Resident memory of the bot",
        "bytes",
        "A process with a publisher and its journal file mapped, room for 65,536 trades; at the "
        f"end of {PACE_PER_S:,} a second.",
    ),
    _Kind("memory_sidecar", "Resident memory of the sidecar", "bytes", "At the same moment."),
)
