"""Two results of a benchmark: what changed beyond the noise, and what cannot be said."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from tests import sample_result as sample

from trading_app.benchmark import results
from trading_app.benchmark.compare import Comparison, compare
from trading_app.benchmark.noise import RULE, Change, Spread
from trading_app.benchmark.results import Result, ResultError, Workload


@pytest.fixture(scope="module")
def base() -> Result:
    return sample.result()


def verdicts(comparison: Comparison) -> dict[str, str]:
    return {change.title: change.verdict for change in comparison.changes}


def moved(comparison: Comparison) -> dict[str, str]:
    return {title: said for title, said in verdicts(comparison).items() if said != "same"}


def with_workload(result: Result, name: str, **changes: object) -> Result:
    changed = [
        replace(workload, **changes) if workload.name == name else workload
        for workload in result.workloads
    ]
    return replace(result, workloads=changed)


def named(result: Result, name: str) -> Workload:
    (workload,) = [workload for workload in result.workloads if workload.name == name]
    return workload


def times(result: Result, name: str, factor: float) -> Result:
    """The medians of a workload's rounds, times a factor."""
    rounds = [round(ns * factor) for ns in named(result, name).rounds_p50_ns]
    return with_workload(result, name, rounds_p50_ns=rounds)


def halved(result: Result, name: str) -> Result:
    """With half of a figure of the receiving side."""
    figures = [
        replace(each, value=each.value / 2, rounds=[value / 2 for value in each.rounds])
        if each.name == name
        else each
        for each in result.receiving
    ]
    return replace(result, receiving=figures)


def verdict(base: list[float], new: list[float], *, more_is_better: bool = False) -> str:
    return Change("x", "ns", Spread.of(base), Spread.of(new), more_is_better).verdict


def test_a_result_has_not_changed_against_itself(base):
    found = compare(base, base)
    assert moved(found) == {}
    assert found.alarms == found.notes == ()
    assert found.exit_code == 0
    assert len(found.changes) == 31
    assert "0 worse, 0 better" in found.text()
    assert "31 unchanged within the noise." in found.text()
    assert RULE in found.text()


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ([121, 122, 123], "worse"),
        ([97, 98, 99], "same"),  # the ranges touch
        ([104, 119, 119], "same"),  # the median moved, one round is as before
        ([104.4, 104.5, 104.9], "same"),  # apart, but by less than 5 %
        ([105.2, 105.3, 106], "worse"),
        ([60, 61, 62], "better"),
        ([200, 300], "unsure"),
    ],
)
def test_a_change_is_more_than_five_percent_and_out_of_the_range_of_both(new, said):
    assert verdict([96, 100, 104], new) == said


def test_a_figure_of_which_more_is_better_is_worse_when_it_falls():
    assert verdict([96, 100, 104], [60, 61, 62], more_is_better=True) == "worse"
    assert verdict([96, 100, 104], [130, 131, 132], more_is_better=True) == "better"


def test_of_ten_rounds_a_straggler_at_each_end_does_not_widen_the_range():
    quiet = [100.0] * 8
    assert verdict([*quiet, 10, 900], [120] * 3) == "worse"
    assert verdict([*quiet[1:], 10, 900], [120] * 3) == "same"  # nine rounds are all kept
    assert Spread.of([*quiet, 10, 900]) == Spread(100, 100, 100, 10)


def test_a_figure_that_was_nothing_is_compared_too():
    assert verdict([0, 0, 0], [1, 1, 1]) == "worse"
    assert verdict([0, 0, 0], [0, 0, 0]) == "same"
    assert verdict([0, 0, 0], [1, 1, 1], more_is_better=True) == "better"


def test_a_slower_publish_is_worse_and_fails(base):
    found = compare(base, times(base, "burst", 1.3))
    assert moved(found) == {
        "20,000 at once: publish p50": "worse",
        "20,000 at once: publish ÷ bare send": "worse",
    }
    assert found.exit_code == 1
    text = found.text()
    assert "2 worse, 0 better" in text
    (row,) = [line for line in text.splitlines() if "20,000 at once: publish p50" in line]
    assert row.split("  ")[0] == "worse"
    assert "1.10 (1.07 – 1.14)" in row
    assert "1.43 (1.39 – 1.49)" in row
    assert row.endswith("+30 %")


def test_a_longer_tail_is_worse_even_with_the_median_as_it_was(base):
    moments = [replace(each, p99_ns=each.p99_ns * 9) for each in named(base, "burst").moments]
    found = compare(base, with_workload(base, "burst", moments=moments))
    assert moved(found) == {"20,000 at once: publish p99": "worse"}


def test_the_tail_of_a_workload_with_a_schedule_is_its_response(base):
    assert "1,000/s: response p99" in verdicts(compare(base, base))


def test_a_figure_is_compared_by_what_stands_for_it(base):
    """Rounds of an idle processor are mostly 0, and their median is."""
    rounds = [0.0, 0.0, 0.0, 0.0, 10.0]
    idle = [replace(base.receiving[0], unit="%", value=2.0, rounds=rounds)]
    (change,) = compare(replace(base, workloads=[], peers=[], receiving=idle), replace(
        base, receiving=[replace(idle[0], value=4.0)])).changes  # fmt: skip
    assert (change.base.middle, change.new.middle) == (2.0, 4.0)


def test_a_faster_publish_is_better_and_passes(base):
    found = compare(base, times(base, "burst", 0.7))
    assert set(moved(found).values()) == {"better"}
    assert found.exit_code == 0


def test_what_is_measured_for_comparison_only_is_not_judged(base):
    slower = times(base, "burst-send", 1.3)
    assert moved(compare(base, slower)) == {"20,000 at once: publish ÷ bare send": "better"}
    assert moved(compare(base, halved(base, "bare_recv_per_s"))) == {}


def test_a_peer_that_is_less_slow_than_it_was_is_worse_for_us(base):
    peers = [replace(peer, ratios=[ratio * 0.8 for ratio in peer.ratios]) for peer in base.peers]
    found = moved(compare(base, replace(base, peers=peers)))
    assert found["statsd ÷ publish"] == "worse"
    assert set(found.values()) == {"worse"}
    assert len(found) == 6


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("plain_per_s", "worse"),
        ("plain_to_bare", "worse"),
        ("committed_p50_ms", "better"),
        ("cpu_sidecar_s", "better"),
        ("memory_sidecar", "better"),
    ],
)
def test_rates_and_ratios_had_better_be_high_and_times_and_sizes_low(base, name, said):
    assert list(moved(compare(base, halved(base, name))).values()) == [said]


@pytest.mark.parametrize(
    "changes", [{"processor": "another"}, {"cores": 64}, {"memory_bytes": 16_000_000_000}]
)
def test_on_another_machine_only_ratios_are_compared_and_it_is_said(base, changes):
    elsewhere = replace(base, machine=sample.machine(**changes))
    found = compare(base, times(elsewhere, "burst", 1.3))
    assert {change.unit for change in found.changes} == {"×"}
    assert moved(found) == {"20,000 at once: publish ÷ bare send": "worse"}
    assert "The machines differ: only ratios are compared." in found.text()


def test_a_kernel_that_reserves_a_little_more_memory_is_no_other_machine(base):
    memory = base.machine.memory_bytes - 40_000_000
    found = compare(base, replace(base, machine=sample.machine(memory_bytes=memory)))
    assert found.notes == ()


def test_versions_that_moved_are_named(base):
    machine = sample.machine(versions={"pyzmq": "28.0.0"}, python="CPython 3.12.1")
    peers = [replace(base.peers[2], version="5.0"), *base.peers[:2], *base.peers[3:]]
    (note,) = compare(base, replace(base, machine=machine, peers=peers)).notes
    assert "Python CPython 3.11.2 → CPython 3.12.1" in note
    assert "pyzmq 27.1.0 → 28.0.0" in note
    assert "msgspec 0.22.0 → none" in note
    assert "statsd 1.2.3 → 5.0" in note


def test_counts_that_do_not_add_up_are_shouted_and_their_figures_not_compared(base):
    short = with_workload(base, "burst", counts=sample.counts(applied=19_993))
    found = compare(base, short)
    first = found.text().splitlines()[0]
    assert first.startswith("■ NEW: THE COUNTS DO NOT ADD UP. 20,000 at once: accepted 20\u202f000")
    assert first.endswith("7 missing.")
    assert found.exit_code == 1
    assert not any("20,000 at once" in title for title in verdicts(found))


def test_a_base_that_is_wrong_is_shouted_but_is_no_regression(base):
    short = with_workload(base, "burst", counts=sample.counts(applied=19_993))
    found = compare(short, base)
    assert found.text().startswith("■ BASE: THE COUNTS DO NOT ADD UP.")
    assert found.exit_code == 0


def test_lost_trades_and_counts_that_were_not_read_are_shouted(base):
    lost = with_workload(base, "burst", counts=sample.counts(applied=19_990, lost=10))
    assert "■ NEW: TRADES WERE LOST. 20,000 at once: 10." in compare(base, lost).text()
    counts = sample.counts(applied=None, lost=None, waiting=None)
    unread = compare(base, with_workload(base, "burst", counts=counts))
    assert "■ NEW: WHAT WAS COUNTED IS NOT KNOWN." in unread.text()
    assert unread.exit_code == 1


def test_a_workload_that_is_not_to_be_trusted_is_said_and_not_compared(base):
    found = compare(base, with_workload(base, "threads", problem="the schedule was not kept"))
    assert found.exit_code == 1
    assert "■ NEW: Not to be trusted. 10,000/s from 4 threads: the schedule" in found.text()
    assert "10,000/s from 4 threads: publish p50" not in verdicts(found)


def test_another_workload_of_the_same_name_is_not_compared(base):
    settings = named(base, "burst").settings
    larger = with_workload(base, "burst", settings=settings | {"trades": 100_000})
    found = compare(base, larger)
    assert not any("20,000 at once" in title for title in verdicts(found))
    (note,) = found.notes
    assert note.startswith("20,000 at once is not compared, it is another workload: trades")
    assert note.endswith("trades 20\u202f000 → 100\u202f000.")


def test_more_rounds_and_what_a_run_finds_out_leave_a_workload_the_same(base):
    settings = named(base, "burst").settings | {"rounds": 9, "measuring_ns": 61}
    found = compare(base, with_workload(base, "burst", settings=settings))
    assert "20,000 at once: publish p50" in verdicts(found)
    assert found.notes == ()


def test_what_only_one_result_has_is_named(base):
    fewer = replace(base, workloads=base.workloads[:2], receiving=base.receiving[:1])
    found = compare(base, fewer)
    (note,) = found.notes
    assert note.startswith("Only in base: 1,000/s; Beside a busy thread;")
    assert "Resident memory" in note
    (note,) = compare(fewer, base).notes
    assert note.startswith("Only in new: 1,000/s;")


def test_a_check_that_passed_and_fails_now_is_told(base):
    checks = [replace(check, passed=False, value=9.5) for check in base.checks]
    found = compare(base, replace(base, checks=checks))
    assert list(found.fallen) == [
        "statsd to publish, p50: 9.50 ×, wanted ≥ 10 ×; it was 23 ×.",
        "Beside a busy thread: publish, p99: 9.50 µs, wanted ≤ 20 µs; it was 13.5 µs.",
        "Burst: offered trades that were applied: 9.50 %, wanted = 100 %; it was 100 %.",
    ]
    assert found.text().startswith("▲ NOW FAILS: statsd to publish, p50: 9.50 ×")
    assert found.exit_code == 0  # a bar can be crossed by noise; what moved is in the table
    elsewhere = replace(base, checks=checks, machine=sample.machine(cores=64))
    assert len(compare(base, elsewhere).fallen) == 2


def test_results_with_nothing_in_common_are_told_so(base):
    nothing = sample.result(workloads=[], peers=[], receiving=[], checks=[])
    found = compare(base, nothing)
    assert found.changes == ()
    assert "Nothing could be compared." in found.text()
    assert found.exit_code == 0


def test_the_columns_of_the_table_stand_below_each_other(base):
    lines = compare(base, times(base, "burst", 1.3)).text().splitlines()
    start = next(place for place, line in enumerate(lines) if "figure" in line and "moved" in line)
    table = lines[start : start + 32]
    assert len({len(line) for line in table}) == 1
    place = table[0].index("figure")
    assert all(line[place - 1] == " " and line[place] != " " for line in table)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "No such file"),
        ("{", "no result of a benchmark"),
        ('{"format": 1}', "no result of a benchmark: .*missing required field"),
        ("\xff", "no result of a benchmark"),
    ],
    ids=["none", "cut", "another", "bytes"],
)
def test_a_file_that_is_no_result_is_told_in_one_line(tmp_path: Path, text, why):
    path = tmp_path / "base.json"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ResultError, match=why) as error:
        results.read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_result_of_another_format_is_refused(tmp_path: Path, base):
    path = tmp_path / "base.json"
    results.write(replace(base, format=2), path)
    with pytest.raises(ResultError, match="has format 2, this program reads 1"):
        results.read(path)


def test_a_result_that_was_kept_compares_as_it_was(tmp_path: Path, base):
    path = tmp_path / "base.json"
    results.write(base, path)
    assert moved(compare(results.read(path), base)) == {}


def test_a_quick_result_is_not_compared_with_a_full_one():
    full = sample.result()
    quick = replace(full, settings=full.settings | {"quick": True})
    with pytest.raises(ResultError, match="quick run"):
        compare(full, quick)
