"""Peers that mean harm: the sidecar's memory stays within its bounds, and it goes on counting."""

from __future__ import annotations

import itertools
import re
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
import zmq

from metrics_sidecar import inbox as inbox_module
from metrics_sidecar.connections import CONNECTIONS_MAX
from metrics_sidecar.epochs import EPOCHS_MAX
from metrics_sidecar.inbox import Inbox
from metrics_sidecar.ledger import Ledger
from trade_telemetry import Publisher, Trade
from trade_telemetry.messages import encode

MIB = 2**20
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


def frame(body: bytes, *, more: bool = False) -> bytes:
    """One frame; with ``more`` it is not the last of its message."""
    if len(body) < 256:
        return bytes([int(more), len(body)]) + body
    return bytes([2 | int(more)]) + len(body).to_bytes(8, "big") + body


def dial(address: str, kind: bytes) -> socket.socket:
    """A connection of a socket of this kind (``b"PUSH"``), after the handshake."""
    host, port = address.removeprefix("tcp://").split(":")
    peer = socket.create_connection((host, int(port)))
    peer.sendall(GREETING)
    _read(peer, len(GREETING))
    peer.sendall(_command(b"\x05READY" + _property(b"Socket-Type", kind)))
    _flags, length = _read(peer, 2)
    _read(peer, length)
    return peer


def _read(peer: socket.socket, size: int) -> bytes:
    data = peer.recv(size, socket.MSG_WAITALL)
    if len(data) < size:
        raise ConnectionResetError
    return data


def _command(body: bytes) -> bytes:
    return bytes([4, len(body)]) + body


def _property(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value


def resident_mib(sidecar):
    return psutil.Process(sidecar.process.pid).memory_info().rss / MIB


def peak_mib(sidecar):
    """The most that it ever had, where the system tells; else what it has now."""
    try:
        status = Path(f"/proc/{sidecar.process.pid}/status").read_text()
    except FileNotFoundError:
        return resident_mib(sidecar)
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def refused(sidecar, reason="limit"):
    return sidecar.value("telemetry_connections_refused_total", reason=reason)


def still_counts(sidecar, count=100):
    """A publisher that means well is served."""
    before = sidecar.value("trades_total", side="sell")
    with Publisher(sidecar.zmq_address, source="good") as publisher:
        for _ in range(count):
            assert publisher.publish("sell", 1)
        assert publisher.close(20) == 0
    sidecar.until(lambda: sidecar.value("trades_total", side="sell") == before + count)
    assert sidecar.get("/health").status_code == 200


def send_until_cut(peer, data, bytes_max):
    """Send the same again and again; how much went out until the sidecar ended the connection."""
    sent = 0
    with suppress(ConnectionError):
        while sent < bytes_max:
            peer.sendall(data)
            sent += len(data)
    return sent


@pytest.mark.parametrize("part_bytes", [0, 100, 60_000])
def test_a_message_that_never_ends_costs_its_peer_the_connection_before_it_fills_the_memory(
    sidecar, part_bytes
):
    still_counts(sidecar)
    before_mib = resident_mib(sidecar)
    part = frame(b"x" * part_bytes, more=True)
    for _ in range(3):
        with dial(sidecar.zmq_address, b"PUSH") as peer:
            sent = send_until_cut(peer, part * (256_000 // len(part) + 1), 2_000 * MIB)
        assert sent < 2_000 * MIB
        assert peak_mib(sidecar) < before_mib + 400
    still_counts(sidecar)
    sidecar.until(lambda: refused(sidecar) >= 3)
    assert sidecar.events("connections ended")


def test_whole_messages_are_bounded_while_nothing_is_taken(free_ports, monkeypatch):
    """As while the state cannot be written: who was ended comes back, and may not fill it anew."""
    monkeypatch.setattr(inbox_module, "HELD_BYTES_MAX", 2 * MIB)
    monkeypatch.setattr(inbox_module, "GUARD_INTERVAL_S", 0.0)
    address = f"tcp://127.0.0.1:{free_ports()}"
    inbox, ledger = Inbox(), Ledger()
    inbox.bind(address)
    with ExitStack() as stack:
        stack.callback(inbox.close)
        context = stack.enter_context(zmq.Context())
        peers = [stack.enter_context(context.socket(zmq.PUSH)) for _ in range(3)]
        for push in peers:
            push.setsockopt(zmq.LINGER, 0)
            push.connect(address)
            push.send(b"x")

        def come_round(done):
            deadline_s = time.monotonic() + 10
            while not done():
                assert time.monotonic() < deadline_s
                inbox.handle(ledger)
                inbox.guard()

        come_round(lambda: inbox.receive(ledger) or ledger.uncommitted == 3)
        for push, _ in itertools.product(peers, range(300)):
            push.send(b"x" * 60_000)
        ended = 0

        def count_ended():
            nonlocal ended
            ended += inbox.connections.take_refused().limit
            return ended

        come_round(lambda: count_ended() == 3)
        come_round(lambda: inbox.connections._zap.poll(0))  # they are back, and ask
        again_s = time.monotonic() + 0.3
        come_round(lambda: time.monotonic() > again_s)
        assert count_ended() == 3
        assert inbox.connections.read_bytes() < 1_000
        monkeypatch.setattr(inbox_module, "HELD_BYTES_MAX", 1_000 * MIB)
        held_frames = 3 + 3 * (inbox_module.RECEIVE_HIGH_WATER_MARK + 1)
        come_round(lambda: inbox.receive(ledger) or ledger.uncommitted > held_frames)  # of 900


def test_endless_messages_of_many_peers_are_bounded_together(sidecar):
    before_mib = resident_mib(sidecar)
    part = frame(b"x" * 1_000, more=True)
    with ExitStack() as stack:
        peers = [stack.enter_context(dial(sidecar.zmq_address, b"PUSH")) for _ in range(100)]
        for _ in range(200):
            for peer in peers:  # 100 KB in turn
                with suppress(ConnectionError):
                    peer.sendall(part * 100)
        assert peak_mib(sidecar) < before_mib + 400
    sidecar.until(lambda: refused(sidecar) >= 100)
    still_counts(sidecar)


def test_whole_messages_however_large_do_not_cost_anybody_the_connection(sidecar):
    big = Trade("buy", 1, 1.0)
    padded = encode(big)[:-1] + b',"note":"' + b"x" * 15_000 + b'"}'
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.connect(sidecar.zmq_address)
        for _ in range(5_000):  # 75 MB
            push.send(padded)
        sidecar.until(lambda: sidecar.value("trades_total", side="buy") == 5_000)
    assert refused(sidecar) == 0


@pytest.mark.parametrize("port", ["zmq_address", "ack_address"])
def test_a_thousand_connections_are_too_many_and_harmless(sidecar, port):
    before_mib = resident_mib(sidecar)
    host, number = getattr(sidecar, port).removeprefix("tcp://").split(":")
    with ExitStack() as stack:
        for _ in range(1_000):
            with suppress(ConnectionError):  # some are refused so quickly that they see it here
                stack.enter_context(socket.create_connection((host, int(number))))
        sidecar.until(lambda: refused(sidecar) > 0)
        assert sidecar.value("telemetry_receiver_connections") <= CONNECTIONS_MAX
        assert peak_mib(sidecar) < before_mib + 100
    sidecar.until(lambda: refused(sidecar) + refused(sidecar, "handshake") == 1_000)
    still_counts(sidecar)


def test_a_subscriber_that_never_reads_misses_answers_and_costs_little(sidecar):
    with dial(sidecar.ack_address, b"SUB") as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.sendall(frame(b"\x01"))  # everything
        before_mib = resident_mib(sidecar)
        with zmq.Context() as context, context.socket(zmq.PUSH) as push:
            push.connect(sidecar.zmq_address)
            sources = [f"{'long-name/' * 6}{number}" for number in range(500)]

            def applied():
                return sidecar.get("/api/summary").json()["trades"]["buy"]

            for seq in range(1, 11):
                for source in sources:
                    push.send(encode(Trade("buy", 1, 1.0, src=source, epoch=1, seq=seq)))
                sidecar.until(lambda seq=seq: applied() == seq * len(sources))
        still_counts(sidecar)
        assert peak_mib(sidecar) < before_mib + 100


def topics():
    """Ever new ones, of the shape that makes ZeroMQ's table of them largest."""
    for first, second, third in itertools.product(range(256), range(256), (0, 255)):
        yield frame(bytes([1, first, second, third]))


@pytest.mark.parametrize("kind", ["a million topics", "a giant topic"])
def test_a_subscriber_that_says_too_much_is_disconnected(sidecar, kind):
    before_mib = resident_mib(sidecar)
    endless = b"".join(topics()) if kind == "a million topics" else frame(b"\x01" + b"x" * 60_000)
    for _ in range(5):
        with dial(sidecar.ack_address, b"SUB") as peer:
            sent = send_until_cut(peer, endless, 1_000 * MIB)
        assert sent < 1_000 * MIB
    still_counts(sidecar)
    assert peak_mib(sidecar) < before_mib + 100
    if kind == "a million topics":
        sidecar.until(lambda: refused(sidecar) == 5)
        assert sidecar.events("connections ended: a subscriber")


def test_a_flood_of_new_names_and_lives_is_turned_away_and_counted(sidecar):
    before_mib = resident_mib(sidecar)
    still_counts(sidecar)
    flood = 20_000
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.SNDHWM, 0)
        push.connect(sidecar.zmq_address)
        for number in range(flood):
            name = f"{number:064}" if number % 2 else "one"
            push.send(encode(Trade("buy", 1, 1.0, src=name, epoch=number + 1, seq=1)))
        sidecar.until(lambda: sidecar.value("telemetry_received_total") >= flood)
        taken = sidecar.value("trades_total", side="buy")
        assert 0 < taken <= EPOCHS_MAX
        assert sidecar.value("telemetry_turned_away_total") == flood - taken
        assert sidecar.value("telemetry_epochs") <= EPOCHS_MAX
        assert peak_mib(sidecar) < before_mib + 150
        push.send(b'{"type":"trade","side":"buy","qty":1,"ts":1}')
        sidecar.until(lambda: sidecar.value("trades_total", side="buy") == taken + 1)
    assert sidecar.get("/health").status_code == 200
