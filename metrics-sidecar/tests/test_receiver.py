"""The receiver in a real process: every kind of input is counted by its name, and it goes on."""

from __future__ import annotations

import json
import math
import random
import socket
import time

import zmq

from metrics_sidecar.inbox import TRANSPORT_FRAME_BYTES_MAX
from trade_telemetry import Publisher
from trade_telemetry.messages import FRAME_BYTES_MAX, RejectReason

OVERSIZED = 8
GOOD = 100_000


def bad_frames() -> list[tuple[list[bytes], RejectReason]]:
    """One of every kind, as the parts of a message; numbers are written as Python's json does."""
    now_s = time.time()

    def frame(**fields: object) -> list[bytes]:
        trade = {"type": "trade", "side": "buy", "qty": 1, "ts": now_s} | fields
        return [json.dumps(trade).encode()]

    return [
        ([b""], RejectReason.EMPTY),
        ([b'{"type":"trade","side":"buy","qty":1'], RejectReason.MALFORMED),
        ([bytes(range(256))], RejectReason.MALFORMED),
        ([b"[" * 10_000], RejectReason.TOO_DEEP),
        ([b'{"a":' * 3_000], RejectReason.TOO_DEEP),
        ([b"x" * (FRAME_BYTES_MAX + 1)], RejectReason.TOO_LARGE),
        (frame(side=1), RejectReason.SIDE),
        (frame(qty="1"), RejectReason.QTY),
        (frame(qty=math.nan), RejectReason.QTY),
        (frame(qty=math.inf), RejectReason.QTY),
        (frame(qty=-1), RejectReason.QTY),
        (frame(qty=2**63 + 1), RejectReason.QTY),
        (frame(ts=now_s * 1000), RejectReason.TS_UNIT),
        (frame(ts=now_s + 3600), RejectReason.TS_FUTURE),
        (frame(ts=[]), RejectReason.TS),
        (frame(symbol="no spaces"), RejectReason.SYMBOL),
        (frame(price=-1), RejectReason.PRICE),
        (frame(src="bot", epoch=1, seq=2**63), RejectReason.STAMP),
        (frame(src="bot"), RejectReason.STAMP),
        (frame(type="order"), RejectReason.UNKNOWN_TYPE),
        ([b'{"type":"trade"}'], RejectReason.MISSING_FIELD),
        ([b'{"type":"batch"}'], RejectReason.BATCH),
        ([b'{"type":"batch","src":"bot","epoch":1,"seq":1,"trades":[]}'], RejectReason.BATCH),
        ([b'{"type":"beat"}'], RejectReason.BEAT),
        ([b'{"type":"skip"}'], RejectReason.SKIP),
        ([b'{"type":"benchmark"}'], RejectReason.BENCHMARK),
        ([b'{"type":"benchmark_status"}'], RejectReason.BENCHMARK_STATUS),
        ([*frame(), *frame()], RejectReason.MULTIPART),
        ([b"", *frame()], RejectReason.MULTIPART),
        ([b"a"] * 100, RejectReason.MULTIPART),
        ([b"[1, 2]"], RejectReason.NOT_OBJECT),
        ([b"17"], RejectReason.NOT_OBJECT),
    ]


def push_oversized(address: str, size_bytes: int) -> None:
    """Send one frame above the transport's limit from a socket of its own."""
    context = zmq.Context()
    pusher = context.socket(zmq.PUSH)
    pusher.setsockopt(zmq.RECONNECT_IVL, -1)  # it does not come back
    monitor = pusher.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    pusher.connect(address)
    pusher.send(b"x" * size_bytes)
    assert monitor.poll(10_000), "the sidecar did not cut the connection"
    pusher.disable_monitor()
    monitor.close()
    pusher.close(linger=0)
    context.term()


def test_100_000_plain_messages_among_every_kind_of_bad_input_are_counted_exactly(sidecar, push):
    generator = random.Random(7)
    expected = dict.fromkeys(RejectReason, 0)
    volume_nano = {"buy": 0, "sell": 0}
    counts = {"buy": 0, "sell": 0}
    kinds = bad_frames()
    latest_ts = 0.0
    for number in range(GOOD):
        if number % 50 == 0:
            parts, reason = kinds[number // 50 % len(kinds)]
            push.send_multipart(parts)
            expected[reason] += 1
        if number % (GOOD // OVERSIZED) == 0:
            push_oversized(sidecar.zmq_address, 2_000_000)
            expected[RejectReason.OVERSIZED] += 1
        side = generator.choice(("buy", "sell"))
        nano = generator.randrange(5_000_000_000)
        latest_ts = time.time()
        plain = {"type": "trade", "side": side, "qty": nano / 10**9, "ts": latest_ts}
        push.send(json.dumps(plain).encode())
        counts[side] += 1
        volume_nano[side] += nano

    bad = sum(expected.values())
    sidecar.until(lambda: sidecar.value("telemetry_received_total") == GOOD + bad)
    for side in ("buy", "sell"):
        assert sidecar.value("trades_total", side=side) == counts[side]
        assert sidecar.value("volume_total", side=side) == volume_nano[side] / 10**9
    for reason in RejectReason:
        found = sidecar.value("telemetry_rejected_total", reason=reason)
        assert found == expected[reason], reason
    assert sidecar.value("telemetry_untracked_total") == GOOD
    assert sidecar.value("last_trade_ts_seconds") == latest_ts
    assert sidecar.value("telemetry_receiver_errors_total") == 0
    assert all(expected.values()), "a kind of bad input was not sent"
    assert sidecar.get("/health").status_code == 200


def test_frames_just_above_the_transport_limit_are_seen_even_if_their_sender_leaves(sidecar):
    for _ in range(5):
        context = zmq.Context()
        pusher = context.socket(zmq.PUSH)
        pusher.connect(sidecar.zmq_address)
        pusher.send(b"x" * (TRANSPORT_FRAME_BYTES_MAX + 1))
        pusher.close(linger=200)
        context.term()
    sidecar.until(lambda: sidecar.value("telemetry_rejected_total", reason="oversized") == 5)


def test_a_frame_above_the_limit_is_seen_while_an_earlier_peer_has_yet_to_speak(sidecar):
    host, port = sidecar.zmq_address.removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port))):
        sidecar.until(lambda: sidecar.value("telemetry_receiver_connections") == 1)
        push_oversized(sidecar.zmq_address, 2_000_000)
        sidecar.until(lambda: sidecar.value("telemetry_rejected_total", reason="oversized") == 1)
        assert sidecar.value("telemetry_connections_refused_total", reason="handshake") == 0
    sidecar.until(
        lambda: sidecar.value("telemetry_connections_refused_total", reason="handshake") == 1
    )
    assert sidecar.value("telemetry_rejected_total", reason="oversized") == 1


def test_peers_that_come_and_go_are_not_taken_for_oversized(sidecar):
    for number in range(20):
        with Publisher(sidecar.zmq_address, source=f"bot-{number}") as publisher:
            publisher.publish("buy", 1)
            publisher.close(10)
    sidecar.until(lambda: sidecar.value("trades_total", side="buy") == 20)
    sidecar.until(lambda: sidecar.value("telemetry_receiver_connections") == 0)
    assert sidecar.value("telemetry_rejected_total", reason="oversized") == 0
    assert sidecar.value("telemetry_connections_refused_total", reason="handshake") == 0


def test_a_peer_that_does_not_speak_zeromq_is_counted_and_harmless(sidecar, push):
    push.send(b'{"type":"trade","side":"buy","qty":2,"ts":1}')
    sidecar.until(lambda: sidecar.value("trades_total", side="buy") == 1)  # it has shaken hands
    host, port = sidecar.zmq_address.removeprefix("tcp://").split(":")
    for _ in range(50):
        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    sidecar.until(
        lambda: sidecar.value("telemetry_connections_refused_total", reason="handshake") == 50
    )
    push.send(b'{"type":"trade","side":"sell","qty":2,"ts":1}')
    sidecar.until(lambda: sidecar.value("trades_total", side="sell") == 1)
    assert sidecar.value("telemetry_rejected_total", reason="oversized") == 0


def test_a_publisher_is_known_by_name_with_its_figures(sidecar):
    with Publisher(sidecar.zmq_address, source="bot-7") as publisher:
        for _ in range(1_000):
            assert publisher.publish("sell", 0.25, symbol="ETHUSDT")
        sidecar.until(
            lambda: (
                sidecar.value("telemetry_symbol_trades_total", symbol="ETHUSDT", side="sell")
                == 1_000
            )
        )
        (known,) = sidecar.get("/api/summary").json()["publishers"]
        assert (known["publisher"], known["epoch"]) == ("bot-7", publisher.epoch)
        assert (known["applied"], known["published"], known["last_seq"]) == (1_000,) * 3
        assert (known["waiting"], known["residue"], known["gaps"]) == (0, 0, 0)
        assert sum(known["lost"].values()) == 0
    assert sidecar.value("telemetry_symbol_volume_total", symbol="ETHUSDT", side="sell") == 250
    assert sidecar.value("telemetry_publisher_applied_total", publisher="bot-7") == 1_000


def test_a_stranger_that_stays_silent_is_not_taken_for_the_publisher_that_came_after(sidecar):
    host, port = sidecar.zmq_address.removeprefix("tcp://").split(":")
    with (
        socket.create_connection((host, int(port))),
        Publisher(sidecar.zmq_address, source="bot") as publisher,
    ):
        publisher.publish("buy", 1)
        sidecar.until(
            lambda: sidecar.value("telemetry_connections_refused_total", reason="handshake") == 1
        )
        publisher.publish("buy", 1)
        sidecar.until(lambda: sidecar.value("trades_total", side="buy") == 2)
    sidecar.until(lambda: sidecar.value("telemetry_receiver_connections") == 0)
    assert sidecar.value("telemetry_rejected_total", reason="oversized") == 0
    assert sidecar.value("telemetry_connections_refused_total", reason="handshake") == 1


def test_trades_of_a_publisher_whose_clock_is_ahead_are_lost_by_name_and_none_waits(sidecar, push):
    stamps = {"src": "ahead", "epoch": 5}
    for seq in range(1, 11):
        late = {"type": "trade", "side": "buy", "qty": 1, "ts": time.time() + 60, "seq": seq}
        push.send_json(late | stamps)
    sidecar.until(lambda: sidecar.value("telemetry_rejected_total", reason="ts_future") == 10)
    lost = {"publisher": "ahead", "reason": "rejected"}
    assert sidecar.value("telemetry_publisher_lost_total", **lost) == 10
    assert sidecar.value("telemetry_publisher_waiting", publisher="ahead") == 0
    assert sidecar.value("telemetry_publisher_residue", publisher="ahead") == 0
