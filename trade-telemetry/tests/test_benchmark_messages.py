"""What a benchmark says: within its limits it is taken as it is, beyond them it is rejected."""

from __future__ import annotations

import json

import pytest

from trade_telemetry.benchmark_messages import (
    ENTRIES_MAX,
    SENTENCE_LENGTH_MAX,
    SETTING_LENGTH_MAX,
    Benchmark,
    BenchmarkLatency,
    BenchmarkStatus,
    BenchmarkTotals,
    unit_of,
)
from trade_telemetry.errors import RejectedMessageError
from trade_telemetry.messages import CLOCK_AHEAD_S_MAX, FRAME_BYTES_MAX, decode, encode

NOW_S = 1_790_000_000.0
TOTALS = {"offered": 9, "accepted": 8, "refused": 1, "applied": 6, "lost": 0, "waiting": 2}
LATENCY = {
    "count": 9, "mean": 2e-6, "p50": 1e-6, "p90": 2e-6, "p99": 3e-6, "p99_9": 4e-6,
    "p99_99": 5e-6, "max": 6e-6,
}  # fmt: skip
BENCHMARK = {
    "type": "benchmark",
    "test_type": "all",
    "test_name": "burst",
    "timestamp": NOW_S,
    "config": {"events": 9, "rate_per_s": 0.5, "journal": "file", "modified": False},
    "totals": TOTALS,
    "latency": LATENCY,
    "figures": {"publish_to_send_ratio": 1.5, "plain_per_second": 4e5},
}
STATUS = {
    "type": "benchmark_status",
    "test_type": "all",
    "test_name": "burst",
    "timestamp": NOW_S,
    "status": "running",
    "message": "burst, 1 of 6: 0.83 µs",
}


def taken(message):
    return decode(json.dumps(message).encode(), NOW_S)


def reason_of(message):
    with pytest.raises(RejectedMessageError) as rejected:
        taken(message)
    assert rejected.value.stamps is None
    return str(rejected.value.reason)


def test_what_was_said_is_what_is_heard():
    heard = taken(BENCHMARK)
    assert heard == Benchmark(
        "all",
        "burst",
        NOW_S,
        BENCHMARK["config"],
        BenchmarkTotals(**TOTALS),
        BenchmarkLatency(**LATENCY),
        BENCHMARK["figures"],
    )
    assert decode(encode(heard), NOW_S) == heard
    status = taken(STATUS)
    assert status == BenchmarkStatus("all", "burst", NOW_S, "running", STATUS["message"])
    assert decode(encode(status), NOW_S) == status


def test_what_is_not_known_may_be_left_out_and_is_not_0():
    bare = {name: BENCHMARK[name] for name in ("type", "test_type", "test_name", "timestamp")}
    heard = taken(bare)
    assert (heard.config, heard.totals, heard.latency, heard.figures) == ({}, None, None, {})
    counted = {"offered": 1, "accepted": 1, "refused": 0}
    assert taken(bare | {"totals": counted}).totals.applied is None
    assert taken({**STATUS, "message": ""}) == taken(
        {k: STATUS[k] for k in STATUS if k != "message"}
    )


def test_the_quantiles_are_those_of_prometheus_and_1_is_the_longest():
    assert BenchmarkLatency(**LATENCY).by_quantile() == {
        "0.5": 1e-6, "0.9": 2e-6, "0.99": 3e-6, "0.999": 4e-6, "0.9999": 5e-6, "1": 6e-6,
    }  # fmt: skip


BAD_NAMES = ["", "Burst", "a b", "x" * 65, "-a", "a\n", 'a"', None, 7, ["burst"], "é"]
BAD_TIMES = [0, -1, NOW_S * 1000, NOW_S + CLOCK_AHEAD_S_MAX + 1, "now", None, float("nan"), 10**400]
BAD_TEXTS = ["a\nb", "\x00", "\x1b[31m", "a\u2028b", "\u202egnp", "\x85", "\ud800", None, 7, ["a"]]
MANY = range(ENTRIES_MAX + 1)


@pytest.mark.parametrize(
    "changes",
    [
        *({field: bad} for field in ("test_type", "test_name") for bad in BAD_NAMES),
        *({"timestamp": bad} for bad in BAD_TIMES),
        *({"config": {bad: 1}} for bad in BAD_NAMES if isinstance(bad, str)),
        *({"config": {"a": bad}} for bad in BAD_TEXTS if bad != 7),
        {"config": {"a": "x" * (SETTING_LENGTH_MAX + 1)}},
        {"config": {"a": {"b": 1}}},
        {"config": {"a": 2**53 + 1}},
        {"config": {"a": 1e16}},
        {"config": {"a": float("inf")}},
        {"config": {f"a{number}": 1 for number in MANY}},
        {"config": None},
        {"config": []},
        *({"totals": TOTALS | {name: -1}} for name in TOTALS),
        *({"totals": TOTALS | {name: True}} for name in TOTALS),
        *({"totals": TOTALS | {name: 0.5}} for name in TOTALS),
        {"totals": TOTALS | {"applied": 2**53}},
        {"totals": {}},
        {"totals": 7},
        *({"latency": {k: v for k, v in LATENCY.items() if k != name}} for name in LATENCY),
        *({"latency": LATENCY | {name: -1e-9}} for name in LATENCY),
        *({"latency": LATENCY | {name: float("nan")}} for name in LATENCY),
        *({"latency": LATENCY | {name: "1"}} for name in LATENCY),
        {"latency": LATENCY | {"max": 1e6 + 1}},
        {"latency": LATENCY | {"p50": 2.5e-6}},
        {"latency": LATENCY | {"max": 4.5e-6}},
        *({"figures": {bad: 1}} for bad in ("speed", "a_ms", "_ratio", "A_ratio", "a ratio", "")),
        {"figures": {"x" * 49 + "_ratio": 1}},
        {"figures": {"a_ratio": -0.1}},
        {"figures": {"a_ratio": float("nan")}},
        {"figures": {"a_ratio": 1.1e15}},
        {"figures": {"a_ratio": True}},
        {"figures": {f"a{number}_ratio": 1 for number in MANY}},
        *({field: None} for field in ("figures", "timestamp")),
    ],
)
def test_a_result_beyond_its_limits_is_rejected_as_one(changes):
    assert reason_of(BENCHMARK | changes) == "benchmark"


@pytest.mark.parametrize(
    "changes",
    [
        *({field: bad} for field in ("test_type", "test_name") for bad in BAD_NAMES),
        *({"timestamp": bad} for bad in BAD_TIMES),
        *({"message": bad} for bad in BAD_TEXTS),
        {"message": "x" * (SENTENCE_LENGTH_MAX + 1)},
        *({"status": bad} for bad in ("", "done", "Failed", None, 1)),
    ],
)
def test_a_status_beyond_its_limits_is_rejected_as_one(changes):
    assert reason_of(STATUS | changes) == "benchmark_status"


@pytest.mark.parametrize(("message", "field"), [(BENCHMARK, "test_name"), (STATUS, "status")])
def test_a_message_without_what_it_must_say_is_rejected(message, field):
    reason = reason_of({name: message[name] for name in message if name != field})
    assert reason == message["type"]


def test_the_limits_themselves_are_within():
    names = [f"{'n' * 62}{number:02}" for number in range(ENTRIES_MAX)]
    widest = "𝄞" * SETTING_LENGTH_MAX
    figures = {f"f{'g' * 45}{number:02}_per_second": 1.234567890123456e-300 for number in MANY[:-1]}
    largest = Benchmark(
        "t" * 64,
        "u" * 64,
        NOW_S + CLOCK_AHEAD_S_MAX,
        dict.fromkeys(names, widest),
        BenchmarkTotals(*[2**53 - 1] * 6),
        BenchmarkLatency(2**53 - 1, *[1e6] * 7),
        figures,
    )
    frame = encode(largest)
    assert len(frame) <= FRAME_BYTES_MAX
    assert decode(frame, NOW_S) == largest
    numbers = {"a": 2**53, "b": -(2**53), "c": 1e15, "d": -1e15, "e": True, "f": ""}
    assert taken(BENCHMARK | {"config": numbers}).config == numbers
    assert len(taken(STATUS | {"message": "𝄞" * SENTENCE_LENGTH_MAX}).message) == 200


def test_unknown_fields_are_ignored():
    assert taken(BENCHMARK | {"new": [1]}) == taken(BENCHMARK)
    assert taken(STATUS | {"new": {}}) == taken(STATUS)


@pytest.mark.parametrize(
    ("figure", "parts"),
    [
        ("publish_to_send_ratio", ("publish_to_send", "ratio")),
        ("plain_per_second", ("plain", "per_second")),
        ("committed_p99_seconds", ("committed_p99", "seconds")),
        ("memory_bytes", ("memory", "bytes")),
        ("bytes_seconds", ("bytes", "seconds")),
    ],
)
def test_a_figure_says_its_unit_at_the_end_of_its_name(figure, parts):
    assert unit_of(figure) == parts
    assert taken(BENCHMARK | {"figures": {figure: 1.0}}).figures == {figure: 1.0}
