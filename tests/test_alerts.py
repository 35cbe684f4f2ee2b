"""Each alert, live: break the real thing and it fires, alone; mend it and it clears.

All is broken at once, each thing with a real sidecar of its own, under one Prometheus with our
rules. A case breaks something up to its ``yield``, goes on to mend it once its alert fires, and is
over when nothing fires on that sidecar any more. At the end Prometheus is asked what ever fired.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import zmq
from tests import parts
from tests.parts import ROOT, Prometheus, fetch, need, until
from tests.test_rules import ALERTS
from tests.world import CROWD, held

from trade_telemetry import Publisher
from trade_telemetry.messages import Beat, LossReason, Message, Skip, Trade, encode

pytestmark = pytest.mark.timeout(420)
FIRES_WITHIN_S = 180  # SidecarSaturated takes a minute and a half
CLEARS_WITHIN_S = 120
Steps = Iterator[None]


class Sidecar(parts.Sidecar):
    """A real sidecar, perhaps with a fault on purpose, and the Prometheus that scrapes it."""

    prometheus: Prometheus

    def __init__(self, folder: Path, fault: str) -> None:
        faulty = [sys.executable, str(ROOT / "tests/faulty_sidecar.py"), fault]
        super().__init__(folder, *(faulty if fault else ()))

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def restart(self) -> None:
        self.stop()
        self.start()


class Case(NamedTuple):
    """One way to break something: ``steps`` break it, and go on to mend it."""

    alert: str
    steps: Callable[[Sidecar], Steps]
    fault: str
    restarts: bool
    has_targets: bool

    @property
    def name(self) -> str:
        return f"{self.alert}-{self.steps.__name__}"

    @property
    def expected(self) -> set[str]:
        """What must fire: where a restart is the cure, that is told, too."""
        return {self.alert} | ({"SidecarRestarted"} if self.restarts else set())

    @property
    def tolerated(self) -> set[str]:
        """What may fire: a restart on a slow machine takes longer than SidecarDown waits."""
        return self.expected | ({"SidecarDown"} if self.restarts else set())


CASES: list[Case] = []


def breaks(
    alert: str, *, fault: str = "", restarts: bool = False, has_targets: bool = True
) -> Callable[[Callable[[Sidecar], Steps]], None]:
    """Register the steps of a case, that of an alert."""
    return lambda steps: CASES.append(Case(alert, steps, fault, restarts, has_targets))


@breaks("SidecarNotScraped", has_targets=False)
def no_target(sidecar: Sidecar) -> Steps:
    yield
    sidecar.prometheus.scrape(sidecar.url)


@breaks("SidecarSaturated")
def flood(sidecar: Sidecar) -> Steps:
    """A publisher that speaks of itself without pause: no trade is late, and none is rejected."""
    code = "import sys; from tests.test_alerts import send_beats; send_beats(sys.argv[1])"
    flood = subprocess.Popen([sys.executable, "-c", code, sidecar.zmq_address], cwd=ROOT)
    try:
        yield
    finally:
        flood.kill()
        flood.wait()


def beat(source: str, epoch: int = 1, head: int = 0, **said: object) -> Beat:
    """The word of a publisher that has sent all it has."""
    usual = {"number": 1, "oldest": 1, "capacity": 8, "refused": {}}
    return Beat(source, epoch, since=time.time(), head=head, sent=head, **usual | said)


def send_beats(address: str) -> None:
    """Send beats that take long to read, as fast as they are taken, for 4 minutes at most."""
    refused = {f"a-reason-of-{number}": 0 for number in range(300)}
    now_s = time.time()
    frame = encode(beat("flood", refused=refused, ending=True))
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.LINGER, 0)
        push.connect(address)
        while time.time() < now_s + 240:
            push.send(frame)


@breaks("SidecarDown", restarts=True)
def killed(sidecar: Sidecar) -> Steps:
    sidecar.kill()
    yield
    sidecar.start()


@breaks("SidecarRestarted", restarts=True)
def restarted(sidecar: Sidecar) -> Steps:
    sidecar.restart()
    yield


@breaks("ReceiverStalled", fault="die", restarts=True)
def dead_receiver(sidecar: Sidecar) -> Steps:
    sidecar.send(signal.SIGUSR1)
    yield
    sidecar.restart()


@breaks("ReceiverStalled", fault="stall")
def stalled_receiver(sidecar: Sidecar) -> Steps:
    sidecar.send(signal.SIGUSR1)
    yield
    sidecar.send(signal.SIGUSR2)


@breaks("AccountingResidue", fault="drop", restarts=True)
def dropped_event(sidecar: Sidecar) -> Steps:
    """The state remembers what is wrong, over a restart too: only another one mends it."""
    with pusher(sidecar) as push:
        send(push, trade(1, symbol="FORGOTTEN"), beat("bot", head=1, ending=True))
        yield
        sidecar.stop()
        shutil.rmtree(sidecar.state)
        sidecar.start()
        yield


@breaks("StateNotWritten")
def held_state(sidecar: Sidecar) -> Steps:
    with pusher(sidecar) as push:
        with held(sidecar.state / "ledger.db"):
            push.send(encode(Trade("buy", 1, time.time())))
            yield
        yield


@breaks("StateSetAside")
def deleted_state(sidecar: Sidecar) -> Steps:
    for path in sidecar.state.glob("ledger.db*"):
        path.unlink()
    with pusher(sidecar) as push:
        push.send(encode(Trade("buy", 1, time.time())))
        yield


@breaks("DiskNearlyFull", fault="full")
def full_disk(sidecar: Sidecar) -> Steps:
    sign = sidecar.folder / "full"
    sign.touch()
    yield
    sign.unlink()


@breaks("InputRejected")
def rubbish(sidecar: Sidecar) -> Steps:
    with pusher(sidecar) as push:
        push.send(b"rubbish")
        yield


@breaks("EventsLost")
def overwritten(sidecar: Sidecar) -> Steps:
    """Of five trades two arrive, and then the word that a full ring dropped the others."""
    lost = Skip("bot", 1, first=3, last=5, reason=LossReason.OVERWRITTEN)
    with pusher(sidecar) as push:
        send(push, trade(1), trade(2), lost, beat("bot", head=5, ending=True))
        yield


def trade(seq: int, symbol: str | None = None) -> Trade:
    return Trade("buy", 1, time.time(), symbol, src="bot", epoch=1, seq=seq)


def send(push: zmq.Socket, *messages: Message) -> None:
    for message in messages:
        push.send(encode(message))


@breaks("PublishersTurnedAway")
def crowd(sidecar: Sidecar) -> Steps:
    """Lives of a publisher that end at once, and too many of them."""
    with pusher(sidecar) as push:
        send(push, *(beat("bot", epoch, ending=True) for epoch in range(1, CROWD)))
        yield


@breaks("DeliveryStuck")
def stuck(sidecar: Sidecar) -> Steps:
    """A publisher whose beats arrive and whose trades do not."""
    mended = threading.Event()
    speaker = threading.Thread(target=speak_of_five, args=(sidecar, mended))
    speaker.start()
    try:
        yield
    finally:
        mended.set()
        speaker.join()


def speak_of_five(sidecar: Sidecar, mended: threading.Event) -> None:
    with pusher(sidecar) as push:
        send(push, trade(1))
        while not mended.wait(1):
            send(push, beat("bot", head=5))
        send(push, *map(trade, range(2, 6)), beat("bot", head=5, ending=True))


@breaks("TradesRefused")
def small_ring(sidecar: Sidecar) -> Steps:
    with Publisher(sidecar.zmq_address, source="bot", capacity=4) as publisher:
        while publisher.publish("buy", 1):
            pass
        yield


@breaks("PublisherSilent")
def killed_publisher(sidecar: Sidecar) -> Steps:
    code = "import os, signal, sys, time; from trade_telemetry import Publisher\n"
    code += "p = Publisher(sys.argv[1], source='bot'); p.publish('buy', 1); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, sidecar.zmq_address]) as publisher:
        until(lambda: '"applied":1' in fetch(f"{sidecar.url}/api/summary"), what="its trade")
        publisher.kill()
    yield
    with Publisher(sidecar.zmq_address, source="bot"):
        yield


@breaks("DeliveryLagHigh")
def suspended(sidecar: Sidecar) -> Steps:
    """Too short for SidecarDown, too long for the trade that waits."""
    with Publisher(sidecar.zmq_address, source="bot") as publisher:
        until(lambda: publisher.stats().connected)
        sidecar.send(signal.SIGSTOP)
        made_s = time.monotonic()
        publisher.publish("buy", 1)
        until(lambda: time.monotonic() > made_s + 2)
        sidecar.send(signal.SIGCONT)
        yield


@contextlib.contextmanager
def pusher(sidecar: Sidecar) -> Iterator[zmq.Socket]:
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.connect(sidecar.zmq_address)
        yield push


@dataclass
class Outcome:
    """What came of a case: when, and all that ever fired on its sidecar."""

    case: Case
    instance: str
    fired_after_s: float | None = None
    cleared_after_s: float | None = None
    fires_now: frozenset[str] = frozenset()
    fired_ever: frozenset[str] = frozenset()

    def __str__(self) -> str:
        fires = ", ".join(sorted(self.fires_now)) or "nothing"
        return f"{self.case.name} on {self.instance}, where {fires} fires now"


class Run:
    """A case at work: broken until its alert fires, then mended until nothing fires."""

    def __init__(self, case: Case, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        self._instance = sidecar.instance if case.has_targets else ""  # absent() has no instance
        self.outcome = Outcome(case, sidecar.instance)
        self._steps = case.steps(sidecar)
        next(self._steps)
        self._since_s = time.monotonic()

    def goes_on(self) -> bool:
        """Look, mend when it is time; whether there is something to wait for."""
        outcome, waited_s = self.outcome, time.monotonic() - self._since_s
        outcome.fires_now = frozenset(self._sidecar.prometheus.firing(self._instance))
        outcome.fired_ever |= outcome.fires_now
        if outcome.cleared_after_s is not None:
            return False
        if outcome.fired_after_s is None:
            if outcome.case.alert in outcome.fires_now:
                outcome.fired_after_s = waited_s
                next(self._steps, None)
                self._since_s = time.monotonic()
                return True
            return waited_s < FIRES_WITHIN_S
        if outcome.case.expected <= outcome.fired_ever and not outcome.fires_now:
            outcome.cleared_after_s = waited_s
            return False
        return waited_s < CLEARS_WITHIN_S

    def close(self) -> None:
        """Take what fired between two looks from Prometheus' memory, and end what still runs."""
        which = f', instance="{self._instance}"' if self._instance else ""
        alerts = self._sidecar.prometheus.query(f'ALERTS{{alertstate="firing"{which}}}[15m]')
        self.outcome.fired_ever |= {alert["metric"]["alertname"] for alert in alerts}
        self._steps.close()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, Outcome]:
    """Break everything, mend everything, side by side."""
    folder = tmp_path_factory.mktemp("alerts")
    with contextlib.ExitStack() as stack:
        sidecars = start_sidecars(stack, folder)
        runs = []
        for case in CASES:
            runs.append(Run(case, sidecars[case.name]))
            stack.callback(runs[-1].close)
        while [run for run in runs if run.goes_on()]:
            time.sleep(0.3)
    return {run.outcome.case.name: run.outcome for run in runs}


def start_sidecars(stack: contextlib.ExitStack, folder: Path) -> dict[str, Sidecar]:
    """A healthy sidecar for each case, scraped by Prometheus."""
    program = need("prometheus", package="prometheus")
    sidecars = {case.name: Sidecar(folder / case.name, case.fault) for case in CASES}
    for sidecar in sidecars.values():
        stack.callback(sidecar.kill)
    for sidecar in sidecars.values():
        sidecar.wait_until_healthy()
    for has_targets in (True, False):
        mine = [sidecars[case.name] for case in CASES if case.has_targets is has_targets]
        own = folder / f"prometheus-{has_targets}"
        own.mkdir()
        prometheus = Prometheus(program, own, *[s.url for s in mine if has_targets])
        stack.callback(prometheus.stop)
        for sidecar in mine:
            sidecar.prometheus = prometheus
            if has_targets:
                is_up = f'up{{instance="{sidecar.instance}"}} == 1'
                until(partial(prometheus.query, is_up), 60, "a scrape of each sidecar")
    return sidecars


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_an_alert_fires_when_the_real_thing_breaks_and_clears_when_it_is_mended(outcomes, name):
    outcome = outcomes[name]
    assert outcome.fired_after_s is not None, f"did not fire: {outcome}"
    assert outcome.cleared_after_s is not None, f"did not clear: {outcome}"
    assert outcome.fired_ever >= outcome.case.expected
    assert outcome.fired_ever <= outcome.case.tolerated, f"strangers fired: {outcome}"
    assert not outcome.fires_now, f"fired again: {outcome}"


def test_every_alert_is_broken_for_real():
    assert {case.alert for case in CASES} == set(ALERTS)
