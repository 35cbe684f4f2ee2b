"""A sidecar for the tests of publishers: the real protocol, with an exact ledger of few lines."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import hypothesis
import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from trade_telemetry.acknowledgements import Acknowledgement, encode_acknowledgement
from trade_telemetry.messages import Batch, Beat, Skip, Trade, decode, one_by_one

COMMIT_INTERVAL_S = 0.02
TIMEOUT_S = 30.0

hypothesis.settings.register_profile("project", deadline=None, derandomize=True)
hypothesis.settings.load_profile("project")


def wait_until(condition: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
    """Wait for what another thread or process will make true."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true"
        time.sleep(0.002)


class _Epoch:
    def __init__(self) -> None:
        self.last = self.head = self.beat = 0
        self.gap = False


class FakeSidecar:
    """A bound PULL and a bound PUB socket, and a thread that counts, commits and answers.

    ``state`` holds what is committed and may be given to the next one, as a state file would be.
    ``receiving`` and ``answering`` may be set to False and back. What was received is in ``trades``
    (applied ones), ``plain``, ``beats`` and ``skips``; ``duplicates``, ``gaps``, the open
    ``connections`` and all ``subscriptions`` so far are counted.
    """

    incarnations = itertools.count(1)

    def __init__(self, address: str | None = None, state: FakeSidecar | None = None) -> None:
        self.incarnation = next(self.incarnations)
        self.epochs: dict[tuple[str, int], _Epoch] = {}
        for key, last in (state.committed if state else {}).items():
            self.epochs[key] = _Epoch()
            self.epochs[key].last = self.epochs[key].head = last
        self.committed = {key: epoch.last for key, epoch in self.epochs.items()}
        self.trades: list[Trade] = []
        self.plain: list[Trade] = []
        self.beats: list[Beat] = []
        self.skips: list[Skip] = []
        self.duplicates = self.gaps = self.connections = self.subscriptions = 0
        self.receiving = self.answering = True
        self._touched: set[tuple[str, int]] = set()
        self._stopping = threading.Event()
        self._bind(address)
        self._thread = threading.Thread(target=self._run, name="fake-sidecar", daemon=True)
        self._thread.start()

    def _bind(self, address: str | None) -> None:
        self._context = zmq.Context()
        while True:
            self._pull = self._context.socket(zmq.PULL)
            self._pull.bind(address or "tcp://127.0.0.1:*")
            self.address = self._pull.getsockopt_string(zmq.LAST_ENDPOINT)
            self._pub = self._context.socket(zmq.PUB)
            host, port = self.address.rsplit(":", 1)
            try:
                self._pub.bind(f"{host}:{int(port) + 1}")
            except zmq.ZMQError:
                assert address is None, f"the port after {address} is taken"
                self._pull.close(linger=0)
                self._pub.close(linger=0)
            else:
                break
        events = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED
        self._pull_monitor = self._pull.get_monitor_socket(events)
        self._pub_monitor = self._pub.get_monitor_socket(zmq.EVENT_ACCEPTED)

    def _run(self) -> None:
        committed_s = time.monotonic()
        while not self._stopping.is_set():
            if self.receiving:
                self._receive()
            else:
                time.sleep(0.002)
            self._follow()
            if time.monotonic() > committed_s + COMMIT_INTERVAL_S:
                committed_s = time.monotonic()
                self._commit()
        for socket, monitor in ((self._pull, self._pull_monitor), (self._pub, self._pub_monitor)):
            socket.disable_monitor()
            monitor.close(linger=0)
            socket.close(linger=0)
        self._context.term()

    def _follow(self) -> None:
        while self._pull_monitor.poll(0):
            made = recv_monitor_message(self._pull_monitor)["event"] == zmq.EVENT_ACCEPTED
            self.connections += 1 if made else -1
        while self._pub_monitor.poll(0):
            recv_monitor_message(self._pub_monitor)
            self.subscriptions += 1

    def _receive(self) -> None:
        if not self._pull.poll(5):
            return
        for _ in range(1_000):
            try:
                message = decode(self._pull.recv(zmq.NOBLOCK), time.time())
            except zmq.Again:
                return
            for each in one_by_one(message) if isinstance(message, Batch) else [message]:
                self._take(each)

    def _take(self, message: Trade | Beat | Skip) -> None:
        if isinstance(message, Trade) and message.src is None:
            self.plain.append(message)
            return
        key = (message.src, message.epoch)
        epoch = self.epochs.setdefault(key, _Epoch())
        self._touched.add(key)
        if isinstance(message, Beat):
            epoch.beat, epoch.gap = message.number, False
            epoch.head = max(epoch.head, message.head)
            self.beats.append(message)
        else:
            self._take_event(epoch, message)

    def _take_event(self, epoch: _Epoch, message: Trade | Skip) -> None:
        if isinstance(message, Skip):
            first, last = message.first, message.last
            self.skips.append(message)
        else:
            first = last = message.seq
        if first > epoch.last + 1:
            self.gaps += 1
            epoch.gap = True
        elif last <= epoch.last:
            self.duplicates += 1
        else:
            epoch.last = last
            epoch.head = max(epoch.head, last)
            if isinstance(message, Trade):
                self.trades.append(message)

    def _commit(self) -> None:
        for key in self._touched:
            epoch = self.epochs[key]
            self.committed[key] = epoch.last
            if self.answering:
                answer = Acknowledgement(
                    self.incarnation, key[1], epoch.last, epoch.head, epoch.beat, epoch.gap
                )
                self._pub.send(encode_acknowledgement(key[0], answer))
        self._touched.clear()

    def say(self, source: str, acknowledgement: Acknowledgement) -> None:
        """Answer what a sidecar would not; while it does not receive, so that no thread is met."""
        assert not self.receiving
        self._pub.send(encode_acknowledgement(source, acknowledgement))

    def await_trades(self, count: int) -> list[Trade]:
        wait_until(lambda: len(self.trades) >= count)
        return self.trades

    def await_beat(self, condition: Callable[[Beat], bool] = bool) -> Beat:
        wait_until(lambda: any(condition(beat) for beat in list(self.beats)))
        return next(beat for beat in self.beats if condition(beat))

    def kill(self) -> None:
        """End, and lose what was not committed."""
        self._stopping.set()
        self._thread.join()


@pytest.fixture
def start_sidecar() -> Iterator[Callable[..., FakeSidecar]]:
    """Start a sidecar, at a given address, with the state of an earlier one."""
    started: list[FakeSidecar] = []

    def start(address: str | None = None, state: FakeSidecar | None = None) -> FakeSidecar:
        started.append(FakeSidecar(address, state))
        return started[-1]

    yield start
    for sidecar in started:
        sidecar.kill()


@pytest.fixture
def sidecar(start_sidecar: Callable[..., FakeSidecar]) -> FakeSidecar:
    return start_sidecar()


@pytest.fixture
def free_address() -> str:
    """An address at which nothing listens, nor at the port after it."""
    sidecar = FakeSidecar()
    sidecar.kill()
    return sidecar.address


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_until
