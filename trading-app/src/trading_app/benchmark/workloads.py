"""The workloads: how trades are offered, and what stands beside it for comparison.

Each takes a bench and its size, and gives the figures. It must not know which run wants it, nor how
figures are made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Final

from trading_app.benchmark import BenchmarkError
from trading_app.benchmark.clock import (
    HEAD_START_NS,
    NANO,
    Calls,
    Schedule,
    Times,
    back_to_back,
    in_order,
    on_schedule,
)
from trading_app.benchmark.figures import Recording, describe, latency
from trading_app.benchmark.results import Counts, Setting, Workload
from trading_app.benchmark.session import CAPACITY, Bench, Session
from trading_app.benchmark.subject import Bare, bare_socket, doing_nothing
from trading_app.formats import number

BUSY_THREAD: Final = "busy"
Timed = Callable[[Calls], Times]
PROFILE_CAPACITY: Final = 65_536
"""As shipped: where a rate is too high, the ring fills."""
TRIES: Final = 2
KEPT_SHARE: Final = 0.95
KEPT_WITHIN_S: Final = 0.5
"""A rate is kept when so much of it is offered, none refused, and all committed so soon after."""


def burst(bench: Bench, trades: int, rounds: int) -> list[Workload]:
    """All at once, round by round, and as many bare sends in turns with it.

    The setting ``measuring_ns`` is what a call that does nothing takes, measured the same way.
    """
    timed = partial(back_to_back, count=trades)
    session, sends = _beside_sends(bench, "burst", rounds, timed)
    nothing = latency(timed(doing_nothing()).calls_ns())
    settings: dict[str, Setting] = {
        "trades": trades,
        "rounds": rounds,
        "measuring_ns": nothing.p50_ns,
    }
    return [
        _described(session, "burst", f"Burst of {number(trades)}", settings),
        describe(sends, "burst-send", f"Burst of {number(trades)} bare sends", settings),
    ]


def paced(bench: Bench, rate_per_s: int, seconds: float, rounds: int) -> list[Workload]:
    """At a leisurely rate, where each call finds cold caches; and bare sends, in turns with it."""
    timed = partial(_open_loop, rate_per_s=rate_per_s, seconds=seconds)
    session, sends = _beside_sends(bench, "paced", rounds, timed)
    settings = _paced_settings(rate_per_s, seconds, rounds)
    return [
        _described(session, "paced", f"Paced at {number(rate_per_s)}/s", settings),
        describe(sends, "paced-send", f"Bare sends paced at {number(rate_per_s)}/s", settings),
    ]


def busy(bench: Bench, trades: int, rounds: int) -> list[Workload]:
    """A burst while a Python thread wants the interpreter all the time; bare sends in turns."""
    timed = _beside_busy_thread(partial(back_to_back, count=trades))
    session, sends = _beside_sends(bench, "busy", rounds, timed)
    settings: dict[str, Setting] = {"trades": trades, "rounds": rounds}
    return [
        _described(session, "busy", f"Burst of {number(trades)} beside a busy thread", settings),
        describe(
            sends,
            "busy-send",
            f"Burst of {number(trades)} bare sends beside a busy thread",
            settings,
        ),
    ]


def busy_paced(bench: Bench, rate_per_s: int, seconds: float, rounds: int) -> list[Workload]:
    """The same at a rate: the response has the time in which the thread waits for its turn."""
    timed = _beside_busy_thread(partial(_open_loop, rate_per_s=rate_per_s, seconds=seconds))
    session, sends = _beside_sends(bench, "busy-paced", rounds, timed)
    settings = _paced_settings(rate_per_s, seconds, rounds)
    rate = f"paced at {number(rate_per_s)}/s beside a busy thread"
    return [
        _described(session, "busy-paced", rate.capitalize(), settings),
        describe(sends, "busy-paced-send", f"Bare sends {rate}", settings),
    ]


def sustained(bench: Bench, rate_per_s: int, seconds: float) -> list[Workload]:
    """A rate, without a pause."""
    if rate_per_s * seconds < 1:
        raise BenchmarkError(f"at {rate_per_s}/s nothing is due in {seconds:g} s: raise --rate")
    bench.tell(f"{number(rate_per_s)}/s for {seconds:g} s")
    with Session(bench, "sustained") as session:
        session.round(partial(_open_loop, rate_per_s=rate_per_s, seconds=seconds))
    settings: dict[str, Setting] = {"rate_per_s": rate_per_s, "seconds": seconds}
    return [_described(session, "sustained", f"Sustained at {number(rate_per_s)}/s", settings)]


def threads(bench: Bench, rate_per_s: int, seconds: float, count: int) -> list[Workload]:
    """The same rate from several threads, which share one publisher."""
    bench.tell(f"{number(rate_per_s)}/s from {count} threads for {seconds:g} s")
    with Session(bench, "threads") as session:
        session.round(partial(_from_threads, rate_per_s=rate_per_s, seconds=seconds, threads=count))
    settings: dict[str, Setting] = {
        "rate_per_s": rate_per_s,
        "seconds": seconds,
        "threads": count,
    }
    return [_described(session, "threads", f"{count} threads at {number(rate_per_s)}/s", settings)]


def away(bench: Bench, rate_per_s: int, seconds: float) -> list[Workload]:
    """The sidecar is ended; when it is started again, everything is counted."""
    bench.tell(f"{number(rate_per_s)}/s for {seconds:g} s while there is no sidecar")
    with Session(bench, "away") as session:
        bench.sidecar.stop()
        session.record(partial(_open_loop, rate_per_s=rate_per_s, seconds=seconds))
        bench.sidecar.start()
        session.settle()
    settings: dict[str, Setting] = {"rate_per_s": rate_per_s, "seconds": seconds}
    return [_described(session, "away", f"Sidecar away, {number(rate_per_s)}/s", settings)]


def profile(bench: Bench, rates_per_s: Sequence[int], seconds: float) -> list[Workload]:
    """Higher and higher rates, until one is too much; a moment for each try.

    The setting ``kept_per_s`` is the highest one that was kept. One that is not kept is tried once
    more: a machine that others use stumbles now and then.
    """
    kept_per_s = 0
    with Session(bench, "profile", PROFILE_CAPACITY) as session:
        for rate_per_s in rates_per_s:
            bench.tell(f"{number(rate_per_s)}/s for {seconds:g} s")
            if not any(_keeps(session, rate_per_s, seconds) for _ in range(TRIES)):
                break
            kept_per_s = rate_per_s
    settings: dict[str, Setting] = {
        "seconds_each": seconds,
        "rate_per_s_max": rates_per_s[-1],
        "kept_per_s": kept_per_s,
        "capacity": PROFILE_CAPACITY,
    }
    return [
        _described(
            session,
            "profile",
            f"Higher and higher rates, up to {number(kept_per_s)}/s kept",
            settings,
        )
    ]


def _keeps(session: Session, rate_per_s: int, seconds: float) -> bool:
    times = session.record(partial(_open_loop, rate_per_s=rate_per_s, seconds=seconds))
    session.settle()
    late_s = time.perf_counter() - times.ended[-1] / NANO
    offered_per_s = len(times) / times.seconds
    is_offered = offered_per_s >= KEPT_SHARE * rate_per_s
    return is_offered and not times.refused and late_s <= KEPT_WITHIN_S


def _open_loop(calls: Calls, rate_per_s: float, seconds: float) -> Times:
    begin_ns = time.perf_counter_ns() + HEAD_START_NS
    return on_schedule(calls, Schedule(begin_ns, rate_per_s, round(rate_per_s * seconds)))


def _from_threads(calls: Calls, rate_per_s: float, seconds: float, threads: int) -> Times:
    """Each thread has its part of the rate, and they take turns."""
    begin_ns = time.perf_counter_ns() + HEAD_START_NS
    count = round(rate_per_s * seconds / threads)
    schedules = [
        Schedule(begin_ns + round(thread * NANO / rate_per_s), rate_per_s / threads, count)
        for thread in range(threads)
    ]
    with ThreadPoolExecutor(threads) as pool:
        return in_order(list(pool.map(partial(on_schedule, calls), schedules)))


def _beside_busy_thread(timed: Timed) -> Timed:
    def beside(calls: Calls) -> Times:
        with _busy_thread():
            return timed(calls)

    return beside


@contextmanager
def _busy_thread() -> Iterator[None]:
    """A Python thread that computes, and lets go of the interpreter only when it must."""
    stopping = threading.Event()

    def compute() -> None:
        while not stopping.is_set():
            sum(range(100))

    thread = threading.Thread(target=compute, name=BUSY_THREAD)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _beside_sends(bench: Bench, name: str, rounds: int, timed: Timed) -> tuple[Session, Recording]:
    """The publisher and bare sends in turns, because only what is near in time can be compared."""
    sent: list[Times] = []
    cpu_s = 0.0
    with bare_socket() as bare, Session(bench, name) as session:
        back_to_back(bare.calls, bench.warm_up)
        for turn in range(rounds):
            bench.tell(f"round {turn + 1} of {rounds}")
            session.round(timed)
            began_s = time.process_time()
            sent.append(timed(bare.calls))
            cpu_s += time.process_time() - began_s
            _await_arrival(bare, bench.warm_up + sum(map(len, sent)), bench.patience_s)
        arrived = bare.received() - bench.warm_up
    return session, Recording(sent, _sent_counts(sum(map(len, sent)), arrived), None, cpu_s)


def _await_arrival(bare: Bare, expected: int, seconds_max: float) -> None:
    deadline_s = time.monotonic() + seconds_max
    while bare.received() < expected and time.monotonic() < deadline_s:
        time.sleep(0.01)


def _sent_counts(sent: int, arrived: int) -> Counts:
    """Of bare sends: applied is what arrived, lost what did not."""
    return Counts(
        offered=sent, accepted=sent, refused=0, applied=arrived, lost=sent - arrived, waiting=0
    )


def _paced_settings(rate_per_s: int, seconds: float, rounds: int) -> dict[str, Setting]:
    return {"rate_per_s": rate_per_s, "seconds_each": seconds, "rounds": rounds}


def _described(session: Session, name: str, title: str, settings: dict[str, Setting]) -> Workload:
    common: dict[str, Setting] = {"capacity": CAPACITY, "journal": True}
    return describe(session.recording(), name, title, common | settings, session.problem())
