"""A benchmark's results on their way: to a real sidecar, to one that comes later, to nobody."""

from __future__ import annotations

import json
import math
import re
from contextlib import closing

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests import sample_result
from tests.parts import ROOT, Sidecar, fetch, free_port, until

from trade_telemetry.errors import ConfigurationError
from trade_telemetry.messages import decode, encode
from trading_app.benchmark.announce import Announcer, messages
from trading_app.benchmark.results import Figure

NOW_S = 1_790_000_000.0
replace = msgspec.structs.replace


RECEIVING = [
    Figure(name=name, title="", unit=unit, value=value, rounds=[value], what="")
    for name, unit, value in (
        ("plain_per_s", "events/s", 412_000.0),
        ("plain_to_bare", "×", 0.56),
        ("committed_p50_ms", "ms", 52.0),
        ("committed_p99_ms", "ms", 118.0),
        ("cpu_sidecar_s", "s per million", 2.6),
        ("memory_sidecar", "bytes", 71e6),
        ("scrape_percent", "%", 12.5),
        ("idle_desk", "% of a core", 0.5),
        ("packages", "packages", 0.0),
    )
]


@pytest.fixture(scope="module")
def result():
    return replace(sample_result.result(), suite="suite", receiving=RECEIVING)


@pytest.fixture
def sidecar(tmp_path):
    sidecar = Sidecar(tmp_path / "sidecar")
    yield sidecar
    sidecar.kill()


def samples(sidecar):
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(fetch(f"{sidecar.url}/metrics"))
        for sample in family.samples
    }


def suites(sidecar):
    """The suites that the sidecar has heard of."""
    return json.loads(fetch(f"{sidecar.url}/api/benchmarks") or "{}").get("suites", ())


def told(sidecar):
    """What the sidecar has heard, once the suite is over."""

    def over():
        answer = json.loads(fetch(f"{sidecar.url}/api/benchmarks") or "{}")
        ended = [each for each in answer.get("suites", ()) if each["status"] == "completed"]
        return ended and answer

    return until(over, what="the end of the suite")


def test_a_running_sidecar_hears_all_of_it_and_counts_no_trade(sidecar, result):
    sidecar.wait_until_healthy()
    with closing(Announcer(sidecar.zmq_address)) as announcer:
        announcer.started("suite")
        announcer.running("suite", "burst")
        until(lambda: suites(sidecar), what="the connection")
        announcer.completed(result)
    answer = told(sidecar)
    (suite,) = answer["suites"]
    assert suite["runs"] == {"started": 1, "completed": 1, "failed": 0}
    assert suite["message"].startswith("A publish costs 1.10 µs, ")
    tests = [each.name for each in result.workloads if not each.name.endswith("-send")]
    assert [each["test_name"] for each in answer["tests"]] == [*tests, "peers", "receiving"]
    found = samples(sidecar)
    call, counts = result.workloads[0].call, result.workloads[0].counts
    assert result.workloads[0].name == "burst"
    assert found["benchmark_publish_seconds", "0.5", "burst"] == call.p50_ns / 1e9
    assert found["benchmark_publish_seconds", "0.99", "burst"] == call.p99_ns / 1e9
    assert found["benchmark_publish_calls", "burst"] == call.count
    assert found["benchmark_trades", "applied", "burst"] == counts.applied
    assert found["benchmark_status", "completed", "suite"] == 1
    assert found["telemetry_benchmarks_total",] == 3 + len(answer["tests"])
    assert found["telemetry_received_total",] == found["telemetry_benchmarks_total",]
    assert found["trades_total", "buy"] == found["trades_total", "sell"] == 0
    assert found["telemetry_untracked_total",] == found["telemetry_epochs",] == 0
    assert not any(count for key, count in found.items() if key[0] == "telemetry_rejected_total")


def test_bare_sends_are_told_with_the_test_that_they_were_measured_beside(result):
    burst, sends = result.workloads[:2]
    assert sends.name == "burst-send"
    ours = replace(burst, rounds_p50_ns=[300, 1_100, 500], settings={"measuring_ns": 100})
    beside = replace(sends, rounds_p50_ns=[200, 600, 600])
    (said,) = messages(replace(result, workloads=[ours, beside], peers=[], receiving=[]), NOW_S)
    assert said.test_name == "burst"
    assert said.figures == {
        "publish_to_send_ratio": 2.0,  # of 2, 2 and 0.8
        "send_p50_seconds": sends.call.p50_ns / 1e9,
        "send_p99_seconds": sends.call.p99_ns / 1e9,
    }


def test_peers_are_told_as_times_of_a_publish_and_one_that_is_missing_is_not(result):
    peer = result.peers[0]
    peers = [
        replace(peer, name="bare", ratios=[0.4, 0.5, 0.9]),
        replace(peer, name="prometheus-labels", ratios=[4.0]),
        replace(peer, name="statsd", ratios=[], missing="it is not installed"),
    ]
    (said,) = messages(replace(result, workloads=[], peers=peers, receiving=[]), NOW_S)
    assert said.figures == {
        "bare_to_publish_ratio": 0.5,
        "publish_to_send_ratio": 2.0,
        "prometheus_labels_to_publish_ratio": 4.0,
    }


def test_the_receiving_side_is_told_in_base_units_and_what_has_none_is_left_out(result):
    (said,) = messages(replace(result, workloads=[], peers=[]), NOW_S)
    assert (said.test_name, said.totals, said.latency) == ("receiving", None, None)
    expected = {
        "plain_per_second": 412_000,
        "plain_to_bare_ratio": 0.56,
        "committed_p50_seconds": 0.052,
        "committed_p99_seconds": 0.118,
        "cpu_sidecar_per_million_seconds": 2.6,
        "memory_sidecar_bytes": 71e6,
        "scrape_ratio": 0.125,
        "idle_desk_ratio": 0.005,
    }
    assert said.figures == pytest.approx(expected)


def test_a_sidecar_that_comes_later_hears_what_was_said_before(tmp_path, result):
    sidecar = Sidecar(tmp_path / "sidecar")
    try:
        with closing(Announcer(sidecar.zmq_address)) as announcer:
            announcer.started("suite")
            sidecar.kill()
            announcer.running("suite", "burst")
            sidecar.start()
            until(lambda: suites(sidecar), what="what was said before")
            announcer.completed(result)
        assert told(sidecar)["suites"][0]["status"] == "completed"
    finally:
        sidecar.kill()


def test_with_nobody_there_every_call_returns(result):
    announcer = Announcer(f"tcp://127.0.0.1:{free_port()}")
    announcer.started("suite")
    for _ in range(1_000):  # beyond what any queue holds
        announcer.running("suite", "burst")
    announcer.completed(result)
    announcer.failed("all", "no reason")
    announcer.close()
    announcer.close()
    announcer.failed("all", "after the end")


def test_an_address_that_cannot_be_used_is_told_at_once():
    with pytest.raises(ConfigurationError, match="nowhere"):
        Announcer("nowhere")


def test_a_failure_is_told_with_its_reason_in_one_line(sidecar):
    sidecar.wait_until_healthy()
    with closing(Announcer(sidecar.zmq_address)) as announcer:
        announcer.failed("all", "the sidecar ended:\n\x1b[31mno room\x1b[0m \ud800 " + "x" * 300)
    failed = 'benchmark_status{status="failed",suite="all"} 1.0'
    until(lambda: failed in fetch(f"{sidecar.url}/metrics"), what=failed)
    (suite,) = json.loads(fetch(f"{sidecar.url}/api/benchmarks"))["suites"]
    assert suite["message"].startswith("the sidecar ended: [31mno room [0m ? xxx")
    assert len(suite["message"]) == 200


UNREAD = sample_result.counts(applied=None, lost=None, waiting=None)
SETTINGS = {"inf": math.inf, "nan": math.nan, "huge": 10**300, "none": None, "on": True}
SETTINGS |= {f"{'s' * 80} {number}": "é\n" * 80 for number in range(99)}
FIGURES = [
    Figure(name=name, title="", unit=unit, value=value, rounds=[], what="")
    for name in ("", "7", "p50", "a_seconds", "x" * 99)
    for unit in ("ns", "ms", "s", "events/s", "/s", "×", "bytes", "%", "")
    for value in (1.0, -1.0, math.nan, math.inf, 1e300)
]
ODD = {
    "a good one": lambda result: result,
    "nothing measured": lambda result: replace(
        result, workloads=[], peers=[], receiving=[], suite=""
    ),
    "counts not read": lambda result: with_burst(result, counts=UNREAD),
    "names of people": lambda result: with_burst(
        replace(result, suite="ALL of it"),
        name="Burst, à 1 000/s — " + "x" * 99,
        problem="n\n" * 99,
    ),
    "odd settings": lambda result: with_burst(result, settings=SETTINGS),
    "a maximum below the quantiles": lambda result: with_burst(
        result, call=replace(result.workloads[0].call, max_ns=1, mean_ns=1e30)
    ),
    "ratios that are none": lambda result: replace(
        result, peers=[replace(result.peers[0], ratios=[0.0, 0.0])]
    ),
    "odd figures": lambda result: replace(result, receiving=FIGURES),
}


def with_burst(result, **changes):
    """Only the burst, changed."""
    return replace(result, workloads=[replace(result.workloads[0], **changes)])


@pytest.mark.parametrize("odd", ODD)
def test_whatever_a_result_holds_what_is_said_of_it_is_of_the_contract(result, odd):
    said = list(messages(ODD[odd](result), NOW_S))
    assert [decode(encode(each), NOW_S) for each in said] == said
    assert len({each.test_name for each in said}) == len(said)


def test_what_could_not_be_read_is_left_out_and_what_speaks_against_a_figure_is_not(result):
    changes = {"counts": UNREAD, "problem": "too slow", "settings": {"rounds": 5}}
    said, *_ = messages(with_burst(result, **changes), NOW_S)
    assert (said.totals.accepted, said.totals.applied) == (UNREAD.accepted, None)
    assert (said.config["problem"], said.config["rounds"]) == ("too slow", 5)
    assert said.config["clock_ns"] == result.machine.clock_ns


def test_the_examples_on_the_page_of_the_contract_are_of_the_contract():
    page = (ROOT / "docs/message-contract.md").read_text()
    section = page.split("## Benchmarks")[1].split("\n## ")[0]
    (example,) = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    status, result = (decode(line.encode(), NOW_S + 60) for line in example.splitlines())
    assert (status.status, result.test_name) == ("running", "burst")
    fields = {*msgspec.structs.asdict(status), *msgspec.structs.asdict(result)}
    table = re.findall(r"^\| (`.*?)(?:, optional)? \|", section, re.MULTILINE)
    assert {name for cell in table for name in re.findall(r"`(\w+)`", cell)} == fields
