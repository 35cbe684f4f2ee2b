"""What the numbers of a result do not say. Pure; composed from the data alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from trading_app.benchmark.results import Result
from trading_app.benchmark.wording import nanoseconds
from trading_app.formats import duration, number, plural

BUSY_LOAD: Final = 0.5
COUNT_MIN: Final = 100_000


def limits(result: Result) -> list[str]:
    """The limits of a result, a sentence or two each."""
    return [*_always(result), *_here(result)]


def _always(result: Result) -> Iterator[str]:
    machine = result.machine
    cores = plural(machine.cores, "core")
    yield (
        f"All was measured on one machine with {cores}, which the publisher, the sidecar and the "
        "peers shared, over its loopback: no network was in the way. Ratios mean the same "
        "elsewhere, absolute figures do not."
    )
    yield (
        "A publish that has returned has kept the trade and not delivered it. That it arrived is "
        "what “applied” says, which is read back from the totals that the sidecar has committed."
    )
    yield (f"One reading of the clock, {nanoseconds(machine.clock_ns)} here, is in every latency.")
    yield (
        "The spread is that of the rounds of one run. Another hour, kernel or processor may lie "
        "outside of it."
    )
    yield (
        f"The run took {duration(result.seconds)}. What needs hours to show, such as memory that "
        "grows or a disk that fills, cannot be seen in it."
    )
    if result.peers:
        yield (
            "The peers answer different questions. Only what each does for one trade was timed, "
            "with its own defaults unless its line says otherwise; what it sends later, and what "
            "that loses, was not."
        )


def _here(result: Result) -> Iterator[str]:
    few = [work.title for work in result.workloads if work.call.count < COUNT_MIN]
    if few:
        yield (
            f"p99.99 rests on fewer than ten values, and is as much chance as the maximum, in: "
            f"{'; '.join(few)}. What rests on so few is grey in the tables."
        )
    if result.machine.load_1m > BUSY_LOAD * result.machine.cores:
        load = number(result.machine.load_1m, 2)
        yield f"The machine was busy before it began: a load of {load} in the minute before."
    if result.machine.modified:
        yield f"The tree was not that of {result.machine.commit}: changes were not committed."
